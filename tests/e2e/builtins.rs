//! The built-in apps, which are what the worker library gives a Rust program.

use crate::harness::http::chunked;
use crate::harness::{Setup, eventually};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn a_native_worker_echoes_bodies_of_every_size() {
    let server = Setup::builtin("echo").workers(1).start();
    let mut client = server.connect();
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20, 50_000_000] {
        let body: Vec<u8> =
            (0..size).map(|index: u32| index.to_le_bytes()[index as usize % 3]).collect();
        client.request("POST", "/e", "", &body);
        let response = client.response();
        assert!(response.status == 200 && response.body == body, "{size}");
        client.request("POST", "/e?chunked", "", &body);
        assert!(client.response().body == body, "{size} answered in chunks");
        client.send("PUT /e HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(chunked(&body, 60_000));
        let response = client.response();
        assert!(response.status == 200 && response.body == body, "{size} sent in chunks");
        assert_eq!(response.field("echo-method"), "PUT");
    }
}

#[test]
fn one_worker_never_has_two_requests_unless_allowed() {
    for (concurrency, overlap) in [(1, "1"), (4, "4")] {
        let server = Setup::builtin("sleep").workers(1).concurrency(concurrency).start();
        let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.request("GET", "/?ms=100", "", b"");
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
        let response = server.get("/?ms=0");
        assert_eq!(response.field("overlap"), overlap);
        assert_eq!(response.field("served"), "9");
    }
}

#[test]
fn events_of_a_native_worker_arrive_within_50_ms() {
    let server = Setup::builtin("stream").workers(1).start();
    for kind in ["events", "ndjson"] {
        let mut client = server.connect();
        client.request("GET", &format!("/?ms=20&count=20&type={kind}"), "", b"");
        assert_eq!(client.head().status, 200);
        let mut delays = Vec::new();
        while let Some(chunk) = client.chunk() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let text = String::from_utf8(chunk).unwrap();
            let words = text.split(|letter: char| !letter.is_ascii_digit());
            let written = words.filter_map(|word| word.parse::<u64>().ok()).max();
            let written = written.expect("a whole event in each chunk");
            delays.push(now.saturating_sub(Duration::from_millis(written)));
        }
        assert_eq!(delays.len(), 20);
        delays.sort_unstable();
        assert!(delays[18] < Duration::from_millis(50), "{kind}: {delays:?}");
    }
}

#[test]
fn every_way_to_crash_is_survived() {
    let server = Setup::builtin("crash").workers(1).flag("--restart-backoff-ms", 20).start();
    for way in ["exit", "abort", "kill", "hangup"] {
        let response = server.request("POST", &format!("/crash?how={way}"), "", b"");
        assert_eq!(response.status, 502, "{way}");
        assert_eq!(server.get("/").text(), "fine\n", "after {way}");
    }
    for way in ["middle", "cut"] {
        let mut client = server.connect();
        client.request("POST", &format!("/crash?how={way}"), "", b"");
        assert!(client.try_response("POST").map_or(true, |r| r.status == 502), "{way}");
        assert_eq!(server.get("/").text(), "fine\n", "after {way}");
    }
    assert_eq!(server.request("POST", "/crash?how=panic", "", b"").status, 500);
    assert_eq!(server.get("/").text(), "fine\n", "after a panic");
}

#[test]
fn a_native_worker_that_says_busy_or_draining_is_believed() {
    let server = Setup::builtin("busy").workers(2).start();
    server.wait_for_workers(2);
    let response = server.get("/bounce?times=1");
    assert_eq!((response.status, response.text().as_str()), (200, "done\n"));
    assert_eq!(server.get("/never?always").status, 503);
    let response = server.get("/leave?draining&only=w1");
    assert_eq!(response.status, 200);
    let response = server.get("/retire?retire&only=w2");
    assert_eq!(response.status, 200);
    assert!(response.values("rip-worker-draining").is_empty());
    if response.field("worker") == "w2" {
        eventually("the replacement", || {
            server.ready_workers().iter().all(|worker| worker["workerId"] != 2)
        });
    }
    server.wait_for_workers(2);
}
