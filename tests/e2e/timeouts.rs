//! A worker that does not answer in time costs its client a 504 and itself every further request
//! until it is free.

use crate::harness::{Setup, eventually};
use std::time::{Duration, Instant};

#[test]
fn a_request_that_takes_too_long_is_answered_504() {
    let server = Setup::recorder().workers(1).flag("--read-timeout-ms", 300).start();
    let begin = Instant::now();
    assert_eq!(server.get("/slow?gate=go").status, 504);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    server.open_gate("go");
    eventually("the worker's capacity", || server.inflight() == 0);
}

#[test]
fn a_timed_out_worker_gets_nothing_until_it_is_free() {
    let server = Setup::recorder().workers(1).flag("--read-timeout-ms", 300).start();
    assert_eq!(server.get("/slow?gate=go").status, 504);
    let mut next = server.connect();
    next.request("GET", "/next", "", b"");
    eventually("a queued request", || server.queue_depth() == 1);
    assert!(next.is_silent_for(Duration::from_millis(700)), "the busy worker was given work");
    assert_eq!(server.inflight(), 1, "the abandoned exchange still counts");
    assert!(!server.has_seen("/next"));

    server.open_gate("go");
    assert_eq!(next.response().status, 200);
}

#[test]
fn the_other_worker_serves_while_one_hangs() {
    let server = Setup::recorder().workers(2).flag("--read-timeout-ms", 300).start();
    server.wait_for_workers(2);
    assert_eq!(server.get("/slow?gate=go").status, 504);
    let hung = server.seen()[0].worker();
    for _ in 0..10 {
        assert_eq!(server.get("/quick").status, 200);
    }
    assert!(server.seen().iter().skip(1).all(|line| line.worker() != hung));
    server.open_gate("go");
    eventually("the worker's capacity", || server.inflight() == 0);
}

#[test]
fn an_answer_that_stalls_between_its_bytes_is_cut_and_the_client_can_tell() {
    let server = Setup::recorder().workers(1).flag("--read-timeout-ms", 300).start();
    let mut client = server.connect();
    client.request("GET", "/stall?count=3&gate_between=go", "", b"");
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().is_some());
    assert!(client.try_chunk().is_err(), "the end must not look like a complete answer");
    server.open_gate("go1");
    server.open_gate("go2");
    assert_eq!(server.get("/after").status, 200);
}

#[test]
fn a_slow_stream_that_keeps_writing_is_not_timed_out() {
    let server = Setup::recorder().workers(1).flag("--read-timeout-ms", 500).start();
    let response = server.get("/steady?count=8&gap=0.1");
    assert_eq!(response.text().matches("data: ").count(), 8);
}

#[test]
fn a_client_that_leaves_during_its_request_frees_the_worker_only_when_that_has_ended() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/left?gate=go", "", b"");
    server.wait_for_seen("/left?gate=go");
    client.reset();
    let mut next = server.connect();
    next.request("GET", "/next", "", b"");
    assert!(next.is_silent_for(Duration::from_millis(300)), "the busy worker was given work");
    assert!(!server.has_seen("/next"));
    server.open_gate("go");
    assert_eq!(next.response().status, 200);
}
