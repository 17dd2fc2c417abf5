//! The builtins do what their descriptions say.

use crate::harness::{Directory, Shim, ask, read_reply, spec};
use rip::contract::app::Runtime;
use std::io::{Read, Write};

fn joined(name: &str) -> Shim {
    let directory = Directory::new();
    let spec = spec(&directory, Runtime::Builtin, &[name]);
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    shim
}

#[test]
fn echo_gives_back_what_it_got() {
    let shim = joined("echo");
    let body: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let mut stream = shim.connect();
    for framing in ["length", "chunked"] {
        let mut request = b"PUT /a/b?c=d HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n".to_vec();
        if framing == "length" {
            request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
            request.extend(&body);
        } else {
            request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(70_000) {
                request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                request.extend(piece);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\n\r\n");
        }
        let reply = ask(&mut stream, &request);
        assert_eq!(reply.body, body, "{framing}");
        assert_eq!(reply.field("Echo-Method"), Some("PUT"));
        assert_eq!(reply.field("Echo-Target"), Some("/a/b?c=d"));
        assert_eq!(reply.field("Echo-Worker"), Some("w3"));
        assert_eq!(reply.field("Echo-Field-X-Y"), Some("z"));
        assert!(reply.reusable);
    }
    let reply = shim.get("/?json");
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&json["method"], &json["target"]), (&"GET".into(), &"/?json".into()));
    assert_eq!(json["fields"], serde_json::json!([["Host", "app.example"]]));
    let reply = shim.get("/?bytes=100000&chunked&status=404");
    assert_eq!((reply.status, reply.body.len()), (404, 100_000));
    let reply = shim.ask("HEAD /?bytes=5 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.field("Content-Length"), reply.body.len()), (Some("5"), 0));
    shim.stop();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let shim = joined("echo");
    let mut stream = shim.connect();
    stream
        .write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (first, second) = (text.find("Echo-Target: /1"), text.find("Echo-Target: /2"));
    assert!(first.is_some() && first < second, "{text}");
    shim.stop();
}

#[test]
fn sleep_counts_what_overlaps() {
    let shim = joined("sleep");
    let reply = shim.get("/?ms=1");
    assert_eq!(reply.text(), "slept 1 ms\n");
    assert_eq!((reply.field("Served"), reply.field("Overlap")), (Some("1"), Some("1")));
    assert_eq!(reply.field("Worker"), Some("w3"));
    shim.stop();
}

#[test]
fn stream_flushes_every_event() {
    let shim = joined("stream");
    let mut stream = shim.connect();
    stream.write_all(b"GET /?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = Vec::new();
    let mut block = [0; 512];
    while !String::from_utf8_lossy(&text).contains("data: 1 ") {
        let count = stream.read(&mut block).unwrap();
        assert!(count > 0);
        text.extend_from_slice(&block[..count]);
    }
    drop(stream);
    let reply = shim.get("/?ms=0&count=3&type=ndjson");
    assert_eq!(reply.field("Content-Type"), Some("application/x-ndjson"));
    assert_eq!(reply.text().lines().count(), 3);
    // The other request is still being answered: that one is not waited for when it is cut off.
    shim.stop_fast();
}

#[test]
fn crash_can_leave_the_worker_alive() {
    let shim = joined("crash");
    for how in ["hangup", "cut"] {
        let mut stream = shim.connect();
        let request = format!("GET /crash?how={how} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text.is_empty(), how == "hangup", "{text}");
        assert!(!text.ends_with("0\r\n\r\n"), "it does not look complete: {text}");
    }
    assert_eq!(shim.get("/crash?how=panic").status, 500);
    assert_eq!(shim.get("/").text(), "fine\n");
    shim.stop();
}

#[test]
fn busy_sends_work_back() {
    let shim = joined("busy");
    let seen = |target: &str| {
        let reply = shim.get(target);
        let field = |name| reply.field(name).map(str::to_owned);
        (reply.status, field("Rip-Worker-Busy"), field("Rip-Worker-Draining"))
    };
    let one = || Some("1".to_owned());
    assert_eq!(seen("/a?times=1"), (503, one(), None));
    assert_eq!(seen("/a?times=1"), (200, None, None));
    assert_eq!(seen("/b?always"), (503, one(), None));
    assert_eq!(seen("/c?draining"), (503, None, one()));
    assert_eq!(seen("/d?retire"), (200, None, one()));
    assert_eq!(seen("/e?always&only=w9"), (200, None, None));
    let mut stream = shim.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut stream, false).field("Worker"), Some("w3"));
    shim.stop();
}
