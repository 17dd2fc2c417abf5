//! What an init system is told, and what it may do.

use crate::harness::{Setup, eventually, processes, tools, until};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

#[test]
fn ready_is_told_when_the_first_worker_is_and_stopping_before_the_end() {
    let setup = Setup::recorder().env("START_GATE", "go").workers(1).unawaited();
    let path = setup.path("notify");
    let ear = UnixDatagram::bind(&path).unwrap();
    ear.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut server = setup.env("NOTIFY_SOCKET", path).start();
    let mut letter = [0; 4096];
    assert!(ear.recv(&mut letter).is_err(), "nobody is ready yet");
    server.open_gate("go");
    let mut hear = |wanted: &str| {
        until(wanted, || {
            let length = ear.recv(&mut letter).ok()?;
            let text = String::from_utf8_lossy(&letter[..length]).into_owned();
            text.lines().any(|line| line == wanted).then_some(())
        });
    };
    hear("READY=1");
    server.signal(Signal::SIGTERM);
    hear("STOPPING=1");
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
