//! The first process of a PID namespace, as in a container: everything that loses its parent there
//! comes to it, and no signal has a default.

use crate::harness::{Client, Server, Setup, eventually, processes, until};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use std::process::Command;

/// The master in a PID namespace of its own. Whoever may not make one sees that said.
fn in_a_namespace(setup: Setup) -> Option<(Server, u32)> {
    if !geteuid().is_root() {
        eprintln!("not root: a PID namespace cannot be made here");
        return None;
    }
    let server = setup
        .wrapped(|command, _| {
            let mut unshare = Command::new("unshare");
            // What is killed with it is the whole namespace.
            unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
            unshare.arg(command.get_program()).args(command.get_args());
            unshare
        })
        .start();
    let first = until("the first process of the namespace", || {
        let below = processes::below(server.pid());
        below.into_iter().find(|pid| processes::parent(*pid) == Some(server.pid()))
    });
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(inner.split_whitespace().last(), Some("1"), "{inner}");
    Some((server, first))
}

/// Leaves a process behind that is nobody's child but init's, and says how to find it.
const LEAVES_STRANGERS: &str = r#"
import os, subprocess, sys

def application(environ, start_response):
    # The middle one ends at once; a new session is out of reach of whoever ends the group.
    seconds = environ["QUERY_STRING"]
    subprocess.run([sys.executable, "-c",
        "import subprocess; subprocess.Popen(['sleep', '%s'], start_new_session=True)" % seconds])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"left"]
"#;

fn sleepers(first: u32, seconds: &str) -> Vec<u32> {
    let is_one = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line == format!("sleep\0{seconds}\0").as_bytes())
    };
    processes::below(first).into_iter().filter(is_one).collect()
}

#[test]
fn strangers_are_reaped_and_the_server_ends_as_it_is_told() {
    let setup = Setup::python(LEAVES_STRANGERS).workers(1);
    let Some((mut server, first)) = in_a_namespace(setup) else { return };
    // Its shim is the reaper of what an app leaves.
    assert_eq!(server.get("/?0.3").text(), "left");
    // Without the shim it is the first process.
    assert_eq!(server.get("/?1").text(), "left");
    let sleeper = until("the stranger", || sleepers(first, "1").first().copied());
    let shim = processes::parent(sleeper).expect("somebody has it");
    assert_ne!(shim, first);
    processes::signal(shim, Signal::SIGKILL);
    eventually("no zombie in the namespace", || {
        let below = processes::below(first);
        !below.contains(&sleeper) && below.iter().all(|pid| processes::is_alive(*pid))
    });
    eventually("another worker", || server.get("/?0").text() == "left");
    processes::signal(first, Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_stranger_that_came_from_elsewhere_is_reaped_and_not_killed() {
    let setup = Setup::builtin("hello").workers(1);
    let Some((mut server, first)) = in_a_namespace(setup) else { return };
    // As `docker exec` does it: a process that is nobody's here, and leaves a child behind.
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &first.to_string(), "--pid", "--mount", "--"]);
    enter.args(["sh", "-c", "sleep 4.5 & echo started"]);
    assert!(enter.status().unwrap().success());
    let stranger = until("the stranger", || sleepers(first, "4.5").first().copied());
    assert_eq!(processes::parent(stranger), Some(first), "it was adopted");
    // A worker ends: its leftovers are looked for, and this is none.
    let (code, said) = server.cli(&["restart", "--wait"]);
    assert_eq!(code, 0, "{said}");
    assert!(processes::is_alive(stranger), "it has nothing to do with a worker");
    eventually("its end", || !processes::below(first).contains(&stranger));
    processes::signal(first, Signal::SIGINT);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn the_exit_code_passes_and_every_signal_counts() {
    let setup = Setup::recorder().workers(1);
    let Some((mut server, first)) = in_a_namespace(setup) else { return };
    let mut client = server.connect();
    client.request("GET", "/?gate=never", "", b"");
    server.wait_for_seen("/?gate=never");
    processes::signal(first, Signal::SIGTERM);
    eventually("closed listeners", || Client::try_connect(server.port()).is_err());
    processes::signal(first, Signal::SIGTERM);
    // A request was cut.
    assert_eq!(server.exit_code(), 1);
}

#[test]
fn a_start_that_fails_says_so_with_its_code() {
    if !geteuid().is_root() {
        eprintln!("not root: a PID namespace cannot be made here");
        return;
    }
    let setup = Setup::entry("there-is-no-such-thing").wrapped(|command, _| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc"]);
        unshare.arg(command.get_program()).args(command.get_args());
        unshare
    });
    let (code, text) = setup.fails();
    assert_eq!(code, 78, "{text}");
}
