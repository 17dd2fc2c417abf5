use super::connection::REQUEST_TIMEOUT;
use super::*;
use crate::sys::listen::unix_listener;
use crate::sys::test_dir::TestDir;
use mio::{Events, Poll};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as Peer;

struct Stand {
    poll: Poll,
    server: ControlServer,
    path: std::path::PathBuf,
    _dir: TestDir,
    now: Instant,
    requests: Vec<Request>,
}

impl Stand {
    fn new() -> Self {
        let dir = TestDir::make();
        let path = dir.path().join("ctl.sock");
        let listener = unix_listener(&path, 0o600).expect("a socket");
        let poll = Poll::new().expect("an event loop");
        let registry = poll.registry().try_clone().expect("another handle");
        let name = |ConnectionId(id)| Token(id as usize);
        let server = ControlServer::new(listener, Token(0), name, registry).expect("a server");
        let now = Instant::from_millis(1000);
        Self { poll, server, path, _dir: dir, now, requests: Vec::new() }
    }

    fn connect(&self) -> Peer {
        let peer = Peer::connect(&self.path).expect("it listens");
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        peer
    }

    /// Takes events until `until` holds, for ten seconds at most.
    fn turn_until(&mut self, until: impl Fn(&Self) -> bool) {
        let mut events = Events::with_capacity(16);
        let give_up = std::time::Instant::now() + Duration::from_secs(10);
        while !until(self) {
            assert!(std::time::Instant::now() < give_up, "it never happens");
            self.poll.poll(&mut events, Some(Duration::from_millis(100))).expect("events");
            for event in &events {
                match event.token() {
                    Token(0) => self.server.accept(self.now),
                    Token(id) => {
                        let id = ConnectionId(id as u64);
                        self.server.ready(id, event, self.now, &mut self.requests);
                    }
                }
            }
        }
    }

    fn next_request(&mut self) -> Request {
        self.turn_until(|stand| !stand.requests.is_empty());
        self.requests.remove(0)
    }

    fn answer(&mut self, request: &Request, text: &str) {
        let answer = Answer::ok(&text);
        self.server.answer(connection(request), &answer, self.now, &mut self.requests);
    }
}

fn connection(request: &Request) -> ConnectionId {
    match request.from {
        Asker::Connection(connection) => connection,
        Asker::Door(_) => panic!("it came by the socket"),
    }
}

/// Reads one answer with a `Content-Length`.
fn read_answer(peer: &mut Peer) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.expect("a length").parse().expect("a number");
    let mut body = vec![0; length];
    peer.read_exact(&mut body).expect("a whole body");
    (head, String::from_utf8(body).expect("text"))
}

#[test]
fn pipelined_requests_are_answered_in_order_also_byte_by_byte() {
    let mut stand = Stand::new();
    let mut peer = stand.connect();
    let bytes = b"POST /worker HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\
        Content-Length: 2\r\n\r\n{}GET /apps?x HTTP/1.1\r\nHost: x\r\n\r\n";
    for byte in bytes {
        peer.write_all(&[*byte]).expect("it reads");
        stand.poll.poll(&mut Events::with_capacity(1), Some(Duration::ZERO)).expect("events");
        stand.server.accept(stand.now);
        for id in 1..=stand.server.last_id {
            stand.server.advance(ConnectionId(id), stand.now, &mut stand.requests);
        }
    }
    let first = stand.next_request();
    assert_eq!((first.method, first.path.as_str()), (Method::Post, "/worker"));
    assert_eq!(first.authorization.as_deref(), Some(&b"Bearer t"[..]));
    assert_eq!(first.body, b"{}");
    assert!(stand.requests.is_empty(), "one at a time");
    stand.answer(&first, "one");
    let second = stand.next_request();
    assert_eq!((second.method, second.path.as_str()), (Method::Get, "/apps"));
    stand.answer(&second, "two");
    assert_eq!(read_answer(&mut peer).1, "\"one\"");
    assert_eq!(read_answer(&mut peer).1, "\"two\"");
}

#[test]
fn followers_get_what_is_published_and_a_slow_one_is_dropped() {
    let mut stand = Stand::new();
    let (mut quick, mut slow) = (stand.connect(), stand.connect());
    for peer in [&mut quick, &mut slow] {
        peer.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 7\r\n\r\n")
            .expect("it reads");
        let request = stand.next_request();
        assert_eq!(request.last_event_id.as_deref(), Some(&b"7"[..]));
        stand.server.follow(connection(&request), b"first;", stand.now);
    }
    assert_eq!(stand.server.followers(), (2, 0));
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        quick.read_to_string(&mut text).expect("text");
        text
    });
    let frame = [b'x'; 4096];
    let mut published = 0;
    while stand.server.followers().1 == 0 {
        published += 1;
        stand.server.publish(&frame);
        // The reader is as quick as it is woken: it is never the one that is dropped.
        stand.turn_until(|stand| {
            stand.server.connections.values().any(|follower| follower.outbox.is_empty())
        });
    }
    assert_eq!(stand.server.followers(), (1, 1));
    stand.server.publish(b"last");
    stand.server.end_streams();
    stand.turn_until(|_| reader.is_finished());
    let text = reader.join().expect("it ends");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("text/event-stream"));
    assert!(text.contains("first;") && text.contains("last") && text.ends_with("0\r\n\r\n"));
    assert_eq!(text.matches("x".repeat(4096).as_str()).count(), published);
    drop(slow);
}

#[test]
fn a_follower_that_leaves_is_forgotten() {
    let mut stand = Stand::new();
    let mut peer = stand.connect();
    peer.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let request = stand.next_request();
    stand.server.follow(connection(&request), b"", stand.now);
    assert_eq!(stand.server.next_deadline(), None);
    drop(peer);
    stand.turn_until(|stand| stand.server.connections.is_empty());
    assert_eq!(stand.server.followers(), (0, 0));
}

#[test]
fn several_connections_do_not_wait_for_each_other() {
    let mut stand = Stand::new();
    let (mut slow, mut quick) = (stand.connect(), stand.connect());
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let slow_request = stand.next_request();
    quick.write_all(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let quick_request = stand.next_request();
    stand.answer(&quick_request, "quick");
    assert_eq!(read_answer(&mut quick).1, "\"quick\"");
    stand.answer(&slow_request, "slow");
    assert_eq!(read_answer(&mut slow).1, "\"slow\"");
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_connection_closed() {
    let mut stand = Stand::new();
    let mut peer = stand.connect();
    peer.write_all(b"POST /worker HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n{")
        .expect("it reads");
    stand.turn_until(|stand| stand.server.last_id == 1);
    let mut refused = peer.try_clone().expect("another handle");
    let reader = std::thread::spawn(move || read_answer(&mut refused));
    stand.turn_until(|_| reader.is_finished());
    let (head, body) = reader.join().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(body.starts_with("{\"ok\":false,"), "{body}");
    assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
    drop(peer);
    stand.turn_until(|stand| stand.server.connections.is_empty());
}

#[test]
fn a_request_that_never_ends_is_given_up_and_an_idle_connection_kept() {
    let mut stand = Stand::new();
    let mut idle = stand.connect();
    idle.write_all(b"GET /apps HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let request = stand.next_request();
    stand.answer(&request, "kept");
    let mut half = stand.connect();
    half.write_all(b"GET /apps HT").expect("it reads");
    stand.turn_until(|stand| stand.server.connections.len() == 2);
    stand.turn_until(|stand| stand.server.connections.values().any(|half| !half.input.is_empty()));
    assert_eq!(stand.server.next_deadline(), Some(stand.now + REQUEST_TIMEOUT));
    stand.server.expire(stand.now + REQUEST_TIMEOUT);
    assert_eq!(stand.server.connections.len(), 1);
    assert_eq!(half.read(&mut [0]).expect("an end"), 0);
    assert_eq!(read_answer(&mut idle).1, "\"kept\"");
    assert_eq!(stand.server.next_deadline(), None);
}
