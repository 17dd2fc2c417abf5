//! What an init system is told, and what it may do.

use crate::harness::{Server, Setup, eventually, processes, tools, within};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Where an init system listens.
struct Ear {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Ear {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, heard: Vec::new() }
    }

    fn on_a_path(setup: Setup) -> (Setup, Self) {
        let path = setup.path("notify");
        let ear = Self::new(UnixDatagram::bind(&path).unwrap());
        (setup.env("NOTIFY_SOCKET", path), ear)
    }

    /// One more letter, if there is one soon.
    fn listen(&mut self) -> Option<String> {
        let mut letter = [0; 4096];
        let length = self.socket.recv(&mut letter).ok()?;
        let text = String::from_utf8_lossy(&letter[..length]).into_owned();
        self.heard.push(text.clone());
        Some(text)
    }

    /// Waits for a letter with such a line.
    #[track_caller]
    fn hear(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let found = within(Duration::from_secs(20), || {
            self.listen().filter(|text| text.lines().any(&is_it))
        });
        found.unwrap_or_else(|| panic!("waited in vain for {what}: {:?}", self.heard))
    }

    #[track_caller]
    fn hear_line(&mut self, wanted: &str) -> String {
        self.hear(wanted, |line| line == wanted)
    }

    /// Everything that comes within this time.
    fn hear_for(&mut self, time: Duration) -> Vec<String> {
        let until = Instant::now() + time;
        let mut heard = Vec::new();
        while Instant::now() < until {
            heard.extend(self.listen());
        }
        heard
    }
}

#[test]
fn ready_is_told_when_the_first_worker_is_and_stopping_before_the_end() {
    let setup = Setup::recorder().env("START_GATE", "go").workers(1).unawaited();
    let (setup, mut ear) = Ear::on_a_path(setup);
    let mut server = setup.start();
    let early = ear.hear("a plea for time", |line| line.starts_with("EXTEND_TIMEOUT_USEC="));
    assert!(!early.contains("READY=1"));
    let more = ear.hear_for(Duration::from_millis(200));
    assert!(more.iter().all(|text| !text.contains("READY=1")), "nobody is ready yet: {more:?}");
    server.open_gate("go");
    let ready = ear.hear_line("READY=1");
    assert!(ready.lines().any(|line| line == format!("MAINPID={}", server.pid())), "{ready}");
    assert!(ready.lines().any(|line| line == "STATUS=serving 1 app, 1 worker"), "{ready}");
    server.signal(Signal::SIGTERM);
    ear.hear_line("STOPPING=1");
    ear.hear("a plea for time", |line| line.starts_with("EXTEND_TIMEOUT_USEC="));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_abstract_name_is_heard_as_well() {
    let name = format!("rip-e2e-init-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut ear = Ear::new(UnixDatagram::bind_addr(&address).unwrap());
    let setup = Setup::builtin("hello").workers(1).env("NOTIFY_SOCKET", format!("@{name}"));
    let _server = setup.start();
    ear.hear_line("READY=1");
}

#[test]
fn the_status_follows_the_workers_and_is_not_repeated() {
    let (setup, mut ear) = Ear::on_a_path(Setup::builtin("hello").workers(2));
    let server = setup.start();
    ear.hear("READY", |line| line == "READY=1");
    let wanted = "STATUS=serving 1 app, 2 workers";
    if !ear.heard.iter().any(|text| text.lines().any(|line| line == wanted)) {
        ear.hear_line(wanted);
    }
    let idle = ear.hear_for(Duration::from_millis(1500));
    assert!(idle.is_empty(), "nothing has changed: {idle:?}");
    let (code, said) = server.cli(&["ctl", "scale", "hello", "3", "--wait"]);
    assert_eq!(code, 0, "{said}");
    ear.hear_line("STATUS=serving 1 app, 3 workers");
}

#[test]
fn an_app_without_a_worker_is_named() {
    let setup = Setup::recorder().workers(1);
    let (setup, mut ear) = Ear::on_a_path(setup);
    let server = setup.start();
    ear.hear_line("READY=1");
    // The next one does not get ready: its gate is closed.
    let pid = processes::below(server.pid()).into_iter().next_back().expect("the app");
    processes::signal(pid, Signal::SIGKILL);
    ear.hear("the app that lacks one", |line| {
        line.starts_with("STATUS=degraded: app ") && line.ends_with(" has no worker")
    });
    ear.hear_line("STATUS=serving 1 app, 1 worker");
}

#[test]
fn a_reload_is_announced_with_the_time_and_ends_in_ready() {
    let text = "version 1\nedge {\n http \"127.0.0.1:PORT\"\n}\n\
                app \"a\" {\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n}\n";
    let (setup, mut ear) = Ear::on_a_path(Setup::edgefile(text));
    let server = setup.start();
    ear.hear_line("READY=1");
    server.signal(Signal::SIGHUP);
    let reloading = ear.hear_line("RELOADING=1");
    let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(micros.and_then(|micros| micros.parse::<u64>().ok()).is_some(), "{reloading}");
    ear.hear_line("READY=1");
}

#[test]
fn a_sign_of_life_comes_twice_within_the_limit() {
    let setup = Setup::builtin("hello").workers(1).flag("--loops", 2);
    let (setup, mut ear) = Ear::on_a_path(setup);
    let _server = setup.env("WATCHDOG_USEC", "400000").start();
    ear.hear_line("WATCHDOG=1");
    let signs = ear.hear_for(Duration::from_secs(2));
    let count = signs.iter().filter(|text| *text == "WATCHDOG=1").count();
    // Ten were due.
    assert!((5..=11).contains(&count), "{signs:?}");
}

#[test]
fn signs_of_life_that_another_process_owes_are_not_given() {
    let (setup, mut ear) = Ear::on_a_path(Setup::builtin("hello").workers(1));
    let _server = setup.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1").start();
    let heard = ear.hear_for(Duration::from_secs(1));
    assert!(heard.iter().all(|text| !text.contains("WATCHDOG")), "{heard:?}");
}

/// Stops one thread of the server and nothing else, as a loop would stop that hangs.
fn without(server: &Server, thread: &str, then: impl FnOnce()) {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == thread)
    };
    let task = tasks.flatten().find(named).unwrap_or_else(|| panic!("no thread {thread}"));
    let task: i32 = task.file_name().to_str().and_then(|name| name.parse().ok()).unwrap();
    let task = Pid::from_raw(task);
    ptrace::seize(task, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(task).unwrap();
    waitpid(task, Some(WaitPidFlag::__WALL)).unwrap();
    then();
    ptrace::detach(task, None).unwrap();
}

#[test]
fn a_loop_that_hangs_stops_the_signs_of_life_and_one_that_goes_on_brings_them_back() {
    for thread in ["edge-1", "acceptor"] {
        let setup = Setup::builtin("hello").workers(1).flag("--loops", 2);
        let (setup, mut ear) = Ear::on_a_path(setup);
        let server = setup.env("WATCHDOG_USEC", "200000").start();
        ear.hear_line("WATCHDOG=1");
        without(&server, thread, || {
            // One may have been on its way.
            ear.hear_for(Duration::from_millis(300));
            let heard = ear.hear_for(Duration::from_secs(1));
            assert!(!heard.iter().any(|text| text == "WATCHDOG=1"), "{thread}: {heard:?}");
        });
        ear.hear_line("WATCHDOG=1");
    }
}

#[test]
fn a_server_that_finishes_its_work_still_gives_signs_of_life() {
    let setup = Setup::recorder().workers(1).flag("--loops", 2);
    let (setup, mut ear) = Ear::on_a_path(setup);
    let mut server = setup.env("WATCHDOG_USEC", "200000").start();
    let mut client = server.connect();
    client.request("GET", "/?gate=end", "", b"");
    server.wait_for_seen("/?gate=end");
    server.signal(Signal::SIGTERM);
    ear.hear_line("STOPPING=1");
    for _ in 0..3 {
        ear.hear_line("WATCHDOG=1");
    }
    server.open_gate("end");
    assert_eq!(client.response().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_stranger_that_is_adopted_is_reaped() {
    let script = format!(
        "sh -c '(sleep 0.2; touch $RECORD/over) &'; exec {} -S -I {}",
        tools::python(),
        tools::app("recorder.py")
    );
    let setup = Setup::command(&["sh", "-c", &script]).workers(1);
    let record = setup.path("record");
    std::fs::create_dir(&record).unwrap();
    let server = setup.env("RECORD", &record).start();
    eventually("the end of the stranger", || record.join("over").exists());
    eventually("no zombie below the server", || {
        processes::below(server.pid()).iter().all(|pid| processes::is_alive(*pid))
    });
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn any_second_request_to_end_is_a_fast_one() {
    for (first, second) in [(Signal::SIGTERM, Signal::SIGINT), (Signal::SIGQUIT, Signal::SIGTERM)] {
        let (setup, mut ear) = Ear::on_a_path(Setup::recorder().workers(1));
        let mut server = setup.start();
        let mut client = server.connect();
        client.request("GET", "/?gate=never", "", b"");
        server.wait_for_seen("/?gate=never");
        server.signal(first);
        ear.hear_line("STOPPING=1");
        server.signal(second);
        let began = Instant::now();
        server.exit_code();
        assert!(began.elapsed() < Duration::from_secs(10), "{first} {second}");
    }
}

#[test]
fn rotated_logs_are_opened_anew() {
    let server = Setup::builtin("hello").workers(1).start();
    let (out, err) = (server.path("stdout.log"), server.path("stderr.log"));
    assert_eq!(server.get("/before").status, 200);
    server.wait_for_log("GET /before");
    for path in [&out, &err] {
        std::fs::rename(path, path.with_extension("1")).unwrap();
    }
    server.signal(Signal::SIGUSR1);
    eventually("new files", || out.exists() && err.exists());
    assert_eq!(server.get("/after").status, 200);
    server.wait_for_log("GET /after");
    let old = std::fs::read_to_string(out.with_extension("1")).unwrap();
    assert!(old.contains("GET /before") && !old.contains("GET /after"), "{old}");
    let (code, said) = server.cli(&["restart", "--wait"]);
    assert_eq!(code, 0, "{said}");
    eventually("events in the new file", || server.stderr().contains("worker_ready"));
}

#[test]
fn credentials_are_files_by_their_names() {
    let text = "version 1\nedge {\n http \"127.0.0.1:PORT\"\n mdns #false\n \
        publish secret-file=\"credential:publish\"\n}\n\
        app \"a\" {\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n}\n";
    let (code, said) = Setup::edgefile(text).fails();
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("LoadCredential=publish:"), "{said}");
    let setup = Setup::edgefile(text);
    let directory = setup.path("credentials");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("publish"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let server = setup.env("CREDENTIALS_DIRECTORY", &directory).start();
    let (code, said) = server.cli(&["reload", "--wait"]);
    assert_eq!(code, 0, "{said}");
    // The file that is meant is told, and not what is in it.
    let (_, said) = server.cli(&["ctl", "config", "--json"]);
    assert!(said.contains("credentials/publish") && !said.contains("0123456789abcdef"), "{said}");
}
