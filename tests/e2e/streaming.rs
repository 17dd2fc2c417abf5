//! Events reach the client when the worker writes them.

use crate::harness::{Setup, eventually, processes};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[test]
fn an_event_reaches_the_client_within_50_ms_of_being_written() {
    let server = Setup::recorder().workers(1).start();
    for kind in ["text/event-stream", "application/x-ndjson", "text/event-stream;charset%3Dutf-8"] {
        let mut client = server.connect();
        client.request("GET", &format!("/s?count=10&gap=0.05&type={kind}"), "", b"");
        assert_eq!(client.head().status, 200);
        let mut delays: Vec<Duration> = Vec::new();
        while let Some(chunk) = client.chunk() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            delays.extend(stamps(&chunk).map(|written| now.saturating_sub(written)));
        }
        assert_eq!(delays.len(), 10);
        delays.sort_unstable();
        assert!(delays[8] < Duration::from_millis(50), "{kind}: {delays:?}");
    }
}

#[test]
fn an_unbuffered_answer_passes_before_it_is_complete() {
    let server = Setup::recorder().workers(1).start();
    for field in ["&type=text/event-stream", "&field=X-Accel-Buffering:%20no", ""] {
        let mut client = server.connect();
        let gate = format!("go{}", field.len());
        client.request("GET", &format!("/s?count=3&gate_between={gate}{field}"), "", b"");
        assert_eq!(client.head().status, 200);
        for number in 1..3 {
            assert!(client.chunk().is_some());
            server.open_gate(&format!("{gate}{number}"));
        }
        assert!(client.chunk().is_some());
        assert!(client.chunk().is_none());
    }
}

#[test]
fn a_head_whose_body_takes_its_time_is_passed_on_before_it() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/slow?size=5&gate_after_head=go", "", b"");
    assert_eq!(client.head().status, 200);
    server.open_gate("go");
    assert_eq!(client.exactly(5).unwrap().len(), 5);
}

#[test]
fn a_stream_counts_as_in_flight_until_its_last_byte() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/s?count=2&gate_between=go&type=text/event-stream", "", b"");
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().is_some());
    assert_eq!(server.inflight(), 1);
    let mut next = server.connect();
    next.request("GET", "/next", "", b"");
    eventually("a queued request", || server.queue_depth() == 1);
    server.open_gate("go1");
    assert!(client.chunk().is_some());
    assert!(client.chunk().is_none());
    assert_eq!(next.response().status, 200);
}

#[test]
fn a_client_that_leaves_a_stream_is_noticed_by_the_worker() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/s?count=100000&gap=0.02&type=text/event-stream", "", b"");
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().is_some());
    drop(client);
    let begin = Instant::now();
    eventually("the worker's write to fail", || {
        server.records().iter().any(|line| line.0["event"] == "cut")
    });
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(server.get("/after").status, 200);
}

#[test]
fn a_client_that_leaves_as_its_stream_ends_costs_no_worker() {
    let server = Setup::recorder().workers(1).start();
    for turn in 0..100 {
        let framing = ["chunked", "close"][turn % 2];
        let mut client = server.connect();
        let target = format!("/s?count=3&gap=0.001&framing={framing}&type=text/event-stream");
        client.request("GET", &target, "", b"");
        assert_eq!(client.head().status, 200);
        client.reset();
        assert_eq!(server.get("/next").status, 200, "turn {turn}");
    }
}

#[test]
fn a_slow_reader_of_a_large_answer_slows_the_worker_and_not_the_memory() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/big?size=60000000", "", b"");
    assert_eq!(client.head().status, 200);
    let before = server.inflight();
    assert_eq!(before, 1, "the worker is held back");
    assert!(
        processes::resident_bytes(server.pid()) < 60_000_000,
        "the answer is not kept in memory"
    );
    assert_eq!(client.exactly(60_000_000).unwrap().len(), 60_000_000);
    eventually("no request in flight", || server.inflight() == 0);
}

fn stamps(chunk: &[u8]) -> impl Iterator<Item = Duration> {
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let stamps: Vec<_> = text
        .split("data: ")
        .filter_map(|part| part.trim().parse::<u64>().ok())
        .map(Duration::from_nanos)
        .collect();
    stamps.into_iter()
}
