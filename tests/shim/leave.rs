//! However a worker ends, the master can tell why, and nothing of it is left.

use crate::harness::{Directory, Shim, ask, read_reply, session, spec, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rip::contract::app::{Ready, Runtime};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;

fn builtin(name: &str) -> Shim {
    let directory = Directory::new();
    let spec = spec(&directory, Runtime::Builtin, &[name]);
    Shim::start(directory, spec)
}

/// A shell script as the app; ready as soon as it listens, which it does not do.
fn script(text: &str, kill_timeout_ms: u64) -> Shim {
    let directory = Directory::new();
    let mut spec = spec(&directory, Runtime::Command, &["sh", "-c", text]);
    spec.launch.ready = Ready::Listen;
    spec.kill_timeout_ms = kill_timeout_ms;
    Shim::start(directory, spec)
}

#[test]
fn a_quit_waits_for_the_masters_answer_while_requests_go_on() {
    let mut shim = builtin("hello");
    let (app_pid, ..) = shim.joined();
    let mut stream = shim.connect();
    shim.signal(Signal::SIGTERM);
    let mut quit = shim.verb();
    let expected =
        serde_json::json!({"op": "quit", "workerId": 3, "generation": 7, "appId": "app"});
    assert_eq!((quit.body.clone(), &*quit.authorization), (expected, "Bearer token-of-this-spawn"));
    let reply = ask(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.status, 200);
    assert!(session(shim.pid()).contains(&(app_pid as i32)), "the app lives until the answer");
    quit.accept();
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut shim = builtin("hello");
    shim.joined();
    shim.signal(Signal::SIGTERM);
    let _unanswered = shim.verb();
    shim.signal(Signal::SIGTERM);
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn a_lost_control_connection_is_opened_again_to_quit() {
    let mut shim = builtin("hello");
    let (_, _, join) = shim.joined();
    join.close();
    shim.stop();
}

#[test]
fn the_end_of_the_lifeline_is_the_end() {
    for when in ["booting", "joining", "serving"] {
        let mut shim = builtin("hello");
        let _unanswered = (when == "joining").then(|| shim.verb());
        if when == "serving" {
            shim.joined();
        }
        shim.cut_lifeline();
        assert_eq!(shim.exit().code(), Some(0), "{when}");
        shim.assert_nothing_left();
    }
}

#[test]
fn a_request_that_has_begun_is_finished_without_the_master() {
    let mut shim = builtin("sleep");
    shim.joined();
    let mut stream = shim.connect();
    stream.write_all(b"GET /?ms=300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // The request has begun when the other connection's answer has seen it.
    until("it is in progress", || shim.get("/").field("Overlap") == Some("2"));
    shim.cut_lifeline();
    let reply = read_reply(&mut stream, false);
    assert_eq!((reply.status, reply.text()), (200, "slept 300 ms\n"));
    assert_eq!(shim.exit().code(), Some(0));
}

#[test]
fn a_crash_is_seen_as_it_was() {
    let mut shim = builtin("crash");
    shim.joined();
    let mut stream = shim.connect();
    stream.write_all(b"GET /crash?code=7 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(shim.exit().code(), Some(7));
    shim.assert_nothing_left();

    let mut shim = builtin("crash");
    let (app_pid, ..) = shim.joined();
    kill(Pid::from_raw(app_pid as i32), Signal::SIGKILL).unwrap();
    assert_eq!(shim.exit().signal(), Some(9));
    shim.assert_nothing_left();
}

#[test]
fn a_killed_shim_takes_its_app_along() {
    let mut shim = builtin("hello");
    let (app_pid, ..) = shim.joined();
    shim.signal(Signal::SIGKILL);
    assert_eq!(shim.exit().signal(), Some(9));
    until("the app is gone", || !session(shim.pid()).contains(&(app_pid as i32)));
}

#[test]
fn wrappers_leave_no_server_behind() {
    let server = "sleep 600 & setsid sleep 600 & wait";
    let mut shim = script(server, 10_000);
    shim.joined();
    until("all are running", || session(shim.pid()).len() >= 3);
    shim.stop();

    // One that does not listen to the signal is killed at the deadline.
    let stubborn = "trap '' TERM; (trap '' TERM; while :; do sleep 600; done) & wait; sleep 600";
    let mut shim = script(stubborn, 200);
    shim.joined();
    until("it is running", || session(shim.pid()).len() >= 3);
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    let status = shim.exit();
    assert_eq!(status.signal(), Some(9), "{status:?}");
    shim.assert_nothing_left();
}

#[test]
fn descendants_that_left_the_session_are_found() {
    let mark = format!("6{:05}", std::process::id());
    let mut shim = script(&format!("setsid sh -c 'sleep {mark}; :' & exec sleep 600"), 10_000);
    let (app_pid, ..) = shim.joined();
    let runs = || crate::harness::running(&format!("sleep\0{mark}"));
    until("it is running", || !runs().is_empty());
    kill(Pid::from_raw(app_pid as i32), Signal::SIGKILL).unwrap();
    assert_eq!(shim.exit().signal(), Some(9));
    assert!(runs().is_empty(), "a descendant is left");
}

#[test]
fn an_app_can_ask_to_be_retired() {
    let directory = Directory::new();
    let go = directory.join("go");
    let text =
        format!("until [ -e {go} ]; do sleep 0.01; done; echo STOPPING=1 >&4; exec sleep 600");
    let mut spec = spec(&directory, Runtime::Command, &["sh", "-c", &text]);
    spec.launch.ready = Ready::Listen;
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    assert!(shim.is_silent());
    shim.directory.write("go", "");
    let mut quit = shim.verb();
    assert_eq!(quit.op(), "quit");
    quit.accept();
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}
