//! Answers that take their time: they come as they are written, beside each other, and nobody minds
//! when a client does not wait.

use super::Can;
use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::harness::wait::eventually;
use std::time::{Duration, Instant};

/// From the first to the last line of `/stream`.
const LASTING: Duration = Duration::from_millis(400);

pub fn check(server: &Server, can: &Can) {
    at_once(server);
    if can.events {
        events(server);
    }
    gone(server);
}

/// Two streams and a third client: each of the two workers has one of the streams, and the third
/// waits for neither to be read.
fn at_once(server: &Server) {
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.request("GET", "/stream", "", b"");
    }
    let ends = std::thread::scope(|scope| {
        let readers = clients.map(|client| scope.spawn(|| stream(client)));
        readers.map(|reader| reader.join().expect("a stream"))
    });
    let [(first, last), (other_first, other_last)] = ends;
    assert!(first < other_last && other_first < last, "one after the other: {ends:?}");
    let served =
        |row: &serde_json::Value| row["requestCount"].as_u64().is_some_and(|count| count > 0);
    assert!(server.workers().iter().all(served), "each has its share: {:?}", server.workers());
    let who: u32 = server.get("/who").text().trim().parse().expect("a process's id");
    assert_ne!(who, server.pid());
}

/// When the first and the last line came.
fn stream(mut client: Client) -> (Instant, Instant) {
    let head = client.head();
    assert_eq!(head.status, 200, "{head:?}");
    let named = |name: &str| head.fields.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
    assert!(!named("content-length"), "{head:?}");
    let mut text = String::new();
    let mut first = None;
    let mut last = Instant::now();
    while let Some(chunk) = client.chunk() {
        last = Instant::now();
        first.get_or_insert(last);
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert_eq!(text.trim_end(), "line 1\nline 2\nline 3\nline 4\nline 5");
    let first = first.expect("a line");
    assert!(last - first > LASTING.mul_f64(0.8), "it was held back: {:?}", last - first);
    (first, last)
}

fn events(server: &Server) {
    let response = server.get("/events");
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.field("content-type").starts_with("text/event-stream"), "{response:?}");
    let text = response.text();
    let lines = text.lines().filter(|line| line.starts_with("data:"));
    assert_eq!(lines.count(), 3, "{response:?}");
}

/// Clients that leave amid an answer leave workers as they were.
fn gone(server: &Server) {
    let mut clients = [server.connect(), server.connect()];
    for client in &mut clients {
        client.request("GET", "/stream", "", b"");
    }
    for mut client in clients {
        client.head();
        client.chunk();
        client.reset();
    }
    eventually("workers that are free again", || server.inflight() == 0);
    for _ in 0..4 {
        assert_eq!(server.get("/").status, 200);
    }
}
