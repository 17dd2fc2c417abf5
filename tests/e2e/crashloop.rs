//! A worker that cannot live is given up for a while, loudly, and its clients learn it at once.

use crate::harness::Setup;
use std::time::{Duration, Instant};

#[test]
fn an_app_that_always_dies_is_abandoned_and_requests_are_refused_at_once() {
    let server = Setup::recorder()
        .env("DIE_AT_START", "cannot find the database")
        .flag("--restart-backoff-ms", 20)
        .flag("--max-restarts", 3)
        .workers(1)
        .unawaited()
        .start();
    let mut early = server.connect();
    early.request("GET", "/early", "", b"");
    let refused = early.response();
    assert_eq!(refused.status, 503, "a request that waits is refused when the slot is given up");
    server.wait_for_log("worker_abandon");
    let log = server.log();
    let abandoned = log.lines().find(|line| line.contains("worker_abandon")).unwrap();
    assert!(abandoned.contains("status 3"), "the last exit status: {abandoned}");
    assert!(log.contains("cannot find the database"), "{log}");

    let begin = Instant::now();
    let response = server.get("/now");
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").parse::<u32>().unwrap() >= 1);
    assert!(begin.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!(server.get("/status").status, 503);
    let app = server.app();
    assert!(app["abandoned"] == true || app["abandoned"] == 1, "{app}");
    assert_eq!(server.get("/server").status, 200);
}

#[test]
fn pauses_between_restarts_double() {
    let server = Setup::recorder()
        .env("DIE_AT_START", "no")
        .flag("--restart-backoff-ms", 10)
        .flag("--max-restarts", 4)
        .word("--json-logging")
        .workers(1)
        .unawaited()
        .start();
    server.wait_for_log("worker_abandon");
    let pauses: Vec<_> = server
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| line["event"] == "worker_restart")
        .map(|line| line["backoffMs"].as_u64().unwrap())
        .collect();
    assert_eq!(pauses, [10, 20, 40, 80]);
}

#[test]
fn requests_wait_while_a_slot_is_backing_off() {
    let server = Setup::recorder().workers(1).flag("--restart-backoff-ms", 500).start();
    assert_eq!(server.request("POST", "/die?die=before", "", b"").status, 502);
    let mut client = server.connect();
    client.request("GET", "/patient", "", b"");
    assert_eq!(client.response().status, 200);
}
