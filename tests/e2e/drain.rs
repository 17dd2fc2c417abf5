//! Stopping answers everything that was accepted and leaves nothing behind.

use crate::harness::load::Load;
use crate::harness::{Client, Setup, eventually, within};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

#[test]
fn stopping_under_load_loses_no_request_and_leaves_nothing_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Setup::recorder().workers(2).start();
        server.wait_for_workers(2);
        let request = "POST /w?sleep=0.01 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx";
        let load = Load::start(server.port(), 8, request);
        eventually("answers", || load.answered() > 50);
        load.last_call();
        server.signal(signal);
        assert_eq!(server.exit_code(), 0, "{signal}");
        let tally = load.join();
        assert!(tally.lost.is_empty(), "{signal}: {:?}", tally.lost);
        assert_eq!(tally.others(200), 0, "{signal}: {:?}", tally.statuses);
    }
}

#[test]
fn queued_requests_are_still_served_and_told_that_the_connection_closes() {
    let mut server = Setup::recorder().workers(1).start();
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.request("GET", "/q?gate=go", "", b"");
    }
    eventually("a queue", || server.queue_depth() == 3);
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    server.open_gate("go");
    for client in &mut clients {
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.says_close());
        assert!(client.closes());
    }
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_idle_keep_alive_client_may_send_one_more_request() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/one").status, 200);
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    let response = client.ask("GET", "/two");
    assert_eq!(response.status, 200);
    assert!(response.says_close());
    assert!(client.closes());
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_upload_under_way_is_received_and_answered() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send("POST /up?echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\nhalf");
    assert_eq!(server.get("/server").status, 200);
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    client.send("half");
    assert_eq!(client.response().text(), "halfhalf");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn an_answer_on_its_way_to_a_slow_client_is_finished() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/slow?size=8000000", "", b"");
    assert_eq!(client.head().status, 200);
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    assert_eq!(client.exactly(8_000_000).unwrap().len(), 8_000_000);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_second_signal_is_fast() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/stuck?gate=never", "", b"");
    server.wait_for_seen("/stuck?gate=never");
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    assert!(within(Duration::from_millis(300), || (!server.is_running()).then_some(())).is_none());
    let begin = Instant::now();
    server.signal(Signal::SIGTERM);
    server.exit_code();
    assert!(begin.elapsed() < Duration::from_secs(8), "took {:?}", begin.elapsed());
}

#[test]
fn past_its_deadline_the_rest_is_cut_and_counted() {
    let mut server = Setup::recorder()
        .workers(1)
        .flag("--drain-timeout-ms", 300)
        .flag("--kill-timeout-ms", 300)
        .start();
    let mut client = server.connect();
    client.request("POST", "/stuck?gate=never", "", b"");
    server.wait_for_seen("/stuck?gate=never");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 1, "something was cut");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("server_stop")).expect("a server_stop");
    assert!(line.contains("cut=1"), "{line}");
}

#[test]
fn the_stop_command_returns_when_the_process_is_gone() {
    let mut server = Setup::recorder().workers(1).start();
    let pid = server.pid();
    let (code, output) = server.cli(&["stop"]);
    assert_eq!(code, 0, "{output}");
    assert!(!crate::harness::processes::is_alive(pid));
    assert_eq!(server.exit_code(), 0);
}
