//! The setup before the app, and changes of the app's files while it serves.

use crate::harness::{Directory, Shim, read_reply, spec, until};
use nix::sys::signal::Signal;
use rip::contract::app::{Reload, Runtime};
use rip::wire::boot::{BootReport, BootStage};
use std::io::Write;

fn setup(directory: Directory, line: &str) -> Shim {
    let mut spec = spec(&directory, Runtime::Builtin, &["hello"]);
    spec.launch.setup = Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
    Shim::start(directory, spec)
}

#[test]
fn a_setup_runs_to_its_end_before_the_app_starts() {
    let directory = Directory::new();
    let made = directory.join("made");
    let line = format!("test \"$RIP_APP_ID\" && test -z \"$RIP_STATUS_FD\" && : > {made}");
    let mut shim = setup(directory, &line);
    assert_eq!(shim.report(), Some(BootReport::SettingUp));
    assert_eq!(shim.report(), Some(BootReport::SetUp));
    assert!(std::path::Path::new(&made).exists());
    shim.joined();
    shim.stop();
}

#[test]
fn a_setup_that_fails_is_named_with_its_status() {
    let shim = setup(Directory::new(), "exit 3");
    let message = "the setup `exit 3` exited with status 3".to_owned();
    assert_eq!(shim.failed(), (BootStage::Setup, message));
}

#[test]
fn what_a_setup_leaves_running_is_ended() {
    let mut shim = setup(Directory::new(), "sleep 1000 & exit 5");
    assert_eq!(shim.report(), Some(BootReport::SettingUp));
    assert_eq!(shim.failed().0, BootStage::Setup);
}

#[test]
fn a_shim_that_is_told_to_end_ends_its_setup() {
    let mut shim = setup(Directory::new(), "sleep 1000");
    assert_eq!(shim.report(), Some(BootReport::SettingUp));
    shim.signal(Signal::SIGTERM);
    assert_eq!(shim.failed().0, BootStage::Setup);
}

fn app(version: &str) -> String {
    format!("def app(environ, start):\n    start('200 OK', [])\n    return [b'{version}']\n")
}

fn python(reload: Reload) -> Shim {
    let directory = Directory::new();
    let entry = directory.write("app.py", &app("one"));
    let mut spec = spec(&directory, Runtime::Python, &[&entry]);
    spec.reload = reload;
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    shim
}

#[test]
fn a_change_is_passed_on_to_an_app_that_reloads_itself() {
    let shim = python(Reload::Module);
    assert_eq!(shim.get("/").body, b"one");
    shim.directory.write("app.py", &app("two"));
    shim.signal(Signal::SIGUSR1);
    until("the new version", || shim.get("/").body == b"two");
    shim.directory.write("app.py", "no python at all");
    shim.signal(Signal::SIGUSR1);
    shim.directory.write("app.py", &app("three"));
    shim.signal(Signal::SIGUSR1);
    until("the version after that", || shim.get("/").body == b"three");
    shim.stop();
}

/// A request that has begun goes on with what it began with, and holds up nobody.
#[test]
fn a_change_is_taken_over_beside_a_request_in_another_thread() {
    let app = |version: &str| {
        format!(
            "import os, time\n\
             def app(environ, start):\n    \
                 if environ['PATH_INFO'] == '/slow':\n        \
                     open('begun', 'w').close()\n        \
                     while not os.path.exists('go'):\n            time.sleep(0.002)\n    \
                 start('200 OK', [])\n    return [b'{version}']\n"
        )
    };
    let directory = Directory::new();
    let entry = directory.write("app.py", &app("one"));
    let mut spec = spec(&directory, Runtime::Python, &[&entry]);
    spec.reload = Reload::Module;
    spec.concurrency = 2;
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    let mut slow = shim.connect();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let begun = shim.directory.path().join("begun");
    until("it works", || begun.exists());
    shim.directory.write("app.py", &app("two"));
    shim.signal(Signal::SIGUSR1);
    until("the new version", || shim.get("/").body == b"two");
    shim.directory.write("app.py", "no python at all");
    shim.signal(Signal::SIGUSR1);
    shim.directory.write("go", "");
    assert_eq!(read_reply(&mut slow, false).text(), "one");
    assert_eq!(shim.get("/").body, b"two");
    let log = shim.stop();
    assert!(!log.contains("request"), "{log}");
}

#[test]
fn a_change_is_kept_from_an_app_that_would_die_of_it() {
    for reload in [Reload::None, Reload::Process] {
        let shim = python(reload);
        shim.signal(Signal::SIGUSR1);
        assert_eq!(shim.get("/").body, b"one");
        shim.stop();
    }
}
