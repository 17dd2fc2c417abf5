//! Whatever a client does wrong, it takes no capacity from anybody else.

use crate::harness::{Client, Server, Setup, eventually};

const ROUNDS: usize = 250;

#[test]
fn a_thousand_faulty_clients_leave_capacity_untouched() {
    let server = Setup::recorder().workers(2).flag("--max-body", 1000).start();
    server.wait_for_workers(2);
    for _ in 0..ROUNDS {
        reset_mid_body(&server);
        bad_chunk(&server);
        duplicate_length(&server);
        too_large(&server);
    }
    let mut both: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for (number, client) in both.iter_mut().enumerate() {
        client.request("GET", &format!("/after{number}?gate=both"), "", b"");
    }
    eventually("both workers at work", || server.seen().len() == 2);
    server.open_gate("both");
    for client in &mut both {
        assert_eq!(client.response().status, 200);
    }
    let seen = server.seen();
    assert!(seen.iter().all(|line| line.target().starts_with("/after")), "nothing faulty came by");
    assert_ne!(seen[0].worker(), seen[1].worker());
    let mut ids: Vec<_> =
        server.ready_workers().iter().map(|worker| worker["workerId"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2], "no worker was removed or replaced");
    assert_eq!((server.inflight(), server.queue_depth()), (0, 0));
}

#[test]
fn clients_that_reset_while_their_answer_comes_leave_capacity_untouched() {
    let server = Setup::recorder().workers(2).start();
    server.wait_for_workers(2);
    for turn in 0..100 {
        let mut client = server.connect();
        client.request("GET", "/big?size=2000000", "", b"");
        if turn % 2 == 0 {
            assert_eq!(client.head().status, 200);
        }
        client.reset();
    }
    for _ in 0..4 {
        assert_eq!(server.get("/after").status, 200);
    }
    eventually("no request in flight", || server.inflight() == 0);
    assert_eq!(server.ready_workers().len(), 2);
}

#[test]
fn clients_that_never_finish_a_head_hold_no_worker() {
    let server = Setup::recorder().workers(1).start();
    let mut stuck: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in &mut stuck {
        client.send("GET / HTTP/1.1\r\nHost: a.te");
    }
    for _ in 0..20 {
        assert_eq!(server.get("/fine").status, 200);
    }
}

#[test]
fn clients_that_upload_slowly_hold_no_worker() {
    let server = Setup::recorder().workers(1).start();
    let mut slow: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("POST /slow?echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nab");
    }
    assert_eq!(server.get("/fine").status, 200);
    assert!(!server.has_seen("/slow?echo"));
    for client in &mut slow {
        client.send("cd");
        assert_eq!(client.response().text(), "abcd");
    }
}

#[test]
fn clients_that_read_slowly_hold_no_worker_for_small_answers() {
    let server = Setup::recorder().workers(1).start();
    let mut slow: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.request("GET", &format!("/slow{number}?size=200000"), "", b"");
    }
    eventually("every answer to be out of the worker", || {
        server.records().iter().filter(|line| line.0["event"] == "answered").count() == 10
    });
    eventually("no request in flight", || server.inflight() == 0);
    for client in &mut slow {
        assert_eq!(client.response().body.len(), 200_000);
    }
}

fn reset_mid_body(server: &Server) {
    let mut client = server.connect();
    client.send("POST /reset HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nonly some");
    client.reset();
}

fn bad_chunk(server: &Server) {
    let mut client = server.connect();
    client.send("POST /chunk HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("5\r\nhello\r\nxyz\r\n");
    assert_eq!(client.response().status, 400);
}

fn duplicate_length(server: &Server) {
    let mut client = server.connect();
    client.send("POST /length HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n");
    client.send("Content-Length: 1\r\n\r\nx");
    assert_eq!(client.response().status, 400);
}

fn too_large(server: &Server) {
    let mut client = server.connect();
    client.send("POST /large HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.response().status, 413);
}
