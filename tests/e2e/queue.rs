//! Requests wait in one bounded queue, and whoever leaves it never reaches a worker.

use crate::harness::{Client, Server, Setup, eventually};

/// A server with one worker that is busy with `/hold` until the gate `go` opens.
fn occupied(setup: Setup) -> (Server, Client) {
    let server = setup.workers(1).start();
    let mut holder = server.connect();
    holder.request("GET", "/hold?gate=go", "", b"");
    server.wait_for_seen("/hold?gate=go");
    (server, holder)
}

fn waiting(server: &Server, target: &str, depth: u64) -> Client {
    let mut client = server.connect();
    client.request("GET", target, "", b"");
    eventually("the queue to grow", || server.queue_depth() == depth);
    client
}

#[test]
fn a_full_queue_refuses_at_once_with_a_time_to_come_back() {
    let (server, mut holder) = occupied(Setup::recorder().flag("--max-queue", 2));
    let mut queued = [waiting(&server, "/q1", 1), waiting(&server, "/q2", 2)];
    let response = server.get("/shed");
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").parse::<u32>().unwrap() >= 1);

    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
    for client in &mut queued {
        assert_eq!(client.response().status, 200);
    }
    assert!(!server.has_seen("/shed"));
    assert_eq!(server.get("/after").status, 200, "there is room again");
}

#[test]
fn the_queue_is_served_in_the_order_of_arrival() {
    let (server, _holder) = occupied(Setup::recorder());
    let targets: Vec<String> = (1..=5).map(|number| format!("/turn{number}")).collect();
    let mut queued: Vec<_> =
        targets.iter().zip(1..).map(|(target, depth)| waiting(&server, target, depth)).collect();
    server.open_gate("go");
    for client in &mut queued {
        assert_eq!(client.response().status, 200);
    }
    let seen: Vec<_> = server.seen().iter().skip(1).map(|s| s.target().to_owned()).collect();
    assert_eq!(seen, targets);
}

#[test]
fn who_waits_too_long_gets_504_and_never_reaches_a_worker() {
    let (server, mut holder) = occupied(Setup::recorder().flag("--queue-timeout-ms", 300));
    let response = server.get("/late");
    assert_eq!(response.status, 504);
    assert_eq!(server.queue_depth(), 0);
    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
    assert_eq!(server.get("/next").status, 200);
    assert!(!server.has_seen("/late"));
}

#[test]
fn without_any_worker_a_request_still_ends_with_504() {
    let server = Setup::recorder()
        .env("START_GATE", "never")
        .flag("--queue-timeout-ms", 300)
        .flag("--drain-timeout-ms", 500)
        .workers(1)
        .unawaited()
        .start();
    assert_eq!(server.get("/nobody").status, 504);
}

#[test]
fn a_client_that_leaves_the_queue_is_never_seen_by_a_worker() {
    let (server, mut holder) = occupied(Setup::recorder());
    let polite = waiting(&server, "/left", 1);
    drop(polite);
    eventually("an empty queue", || server.queue_depth() == 0);
    let rude = waiting(&server, "/reset", 1);
    rude.reset();
    eventually("an empty queue", || server.queue_depth() == 0);

    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
    assert_eq!(server.get("/next").status, 200);
    assert!(!server.has_seen("/left") && !server.has_seen("/reset"));
}

#[test]
fn a_client_that_leaves_amid_a_pipeline_takes_its_waiting_request_with_it() {
    let (server, mut holder) = occupied(Setup::recorder());
    let mut client = server.connect();
    let rest = "HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.send(format!("GET /one {rest}GET /two {rest}"));
    eventually("a queued request", || server.queue_depth() == 1);
    client.reset();
    eventually("an empty queue", || server.queue_depth() == 0);
    server.open_gate("go");
    assert_eq!(holder.response().status, 200);
    assert_eq!(server.get("/next").status, 200);
    assert!(!server.has_seen("/one") && !server.has_seen("/two"));
}

#[test]
fn a_lone_worker_gets_one_request_at_a_time() {
    let server = Setup::recorder().workers(1).start();
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.request("GET", &format!("/one?sleep=0.01&n={number}"), "", b"");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    let events: Vec<_> =
        server.records().iter().map(|line| line.0["event"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = ["request", "answered"].repeat(8);
    assert_eq!(events, expected, "no request began before the last had ended");
}
