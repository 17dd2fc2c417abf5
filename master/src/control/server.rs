//! The control socket: HTTP/1.1 with JSON bodies, for shims and for whoever may command the master.
//!
//! A connection is read until it holds one whole request; then nothing more is read from it until
//! that request is answered, which for a quit may take as long as a drain. Only root and the
//! master's own user are let in.
//!
//! A follower is a connection whose answer does not end: it gets every frame that is published. One
//! that takes frames more slowly than they come is dropped and counted.

use crate::reactor::buffers::Buffer;
use crate::reactor::outbox::{Flush, Outbox};
use crate::sys::peer::Peer;
use mio::event::Event;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::unistd::geteuid;
use rip::http1::{
    After, CONTINUE, Limits, Malformed, Method, Read, RequestHead, ResponseLength, Server,
};
use rip::limits;
use rip::time::Instant;
use rip::wire::verb::Refused;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

/// One connection for as long as it lives; never used again after.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// A whole request. Its connection waits for [`ControlServer::answer`].
#[derive(Debug)]
pub struct Request {
    /// Where the answer goes.
    pub from: ConnectionId,
    /// The method.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// What follows the `?`; empty without one.
    pub query: String,
    /// The value of `Last-Event-ID`.
    pub last_event_id: Option<Vec<u8>>,
    /// The value of `Authorization`.
    pub authorization: Option<Vec<u8>>,
    /// The body, complete.
    pub body: Vec<u8>,
    /// Who asks.
    pub peer: Peer,
}

/// What a request is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// The method that would have been right, on 405.
    pub allow: Option<&'static str>,
}

impl Answer {
    /// `status` with `body` as JSON.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_else(|error| {
            log::error!("an answer cannot be written: {error}");
            b"{\"ok\":false,\"error\":\"the answer cannot be written\"}".to_vec()
        });
        Self { status, body, allow: None }
    }

    /// 200 with `body`.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// A refusal: what is wrong and, unless empty, what to do about it.
    pub fn refused(status: u16, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::json(status, &Refused { ok: false, error: error.into(), hint: hint.into() })
    }
}

/// The listening socket and its connections.
pub struct ControlServer {
    listener: UnixListener,
    /// There were no descriptors: then more of the backlog is taken.
    accept_again: Option<Instant>,
    name: fn(ConnectionId) -> Token,
    connections: BTreeMap<ConnectionId, Connection>,
    last_id: u64,
    dropped_followers: u64,
    registry: Registry,
    limits: Limits,
}

impl ControlServer {
    /// Serves `listener`; `token` is its name in the event loop and `name` that of a connection.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn new(
        listener: std::os::unix::net::UnixListener,
        token: Token,
        name: fn(ConnectionId) -> Token,
        registry: Registry,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(listener);
        registry.register(&mut listener, token, Interest::READABLE)?;
        let limits = Limits { body_bytes: limits::CONTROL_BODY_BYTES as u64, ..Limits::default() };
        Ok(Self {
            listener,
            accept_again: None,
            name,
            connections: BTreeMap::new(),
            last_id: 0,
            dropped_followers: 0,
            registry,
            limits,
        })
    }

    /// Somebody wants to connect.
    pub fn accept(&mut self, now: Instant) {
        self.accept_again = None;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.admit(stream, now) {
                        log::warn!("a control connection was turned away: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    log::error!("no control connection can be accepted: {error}");
                    self.accept_again = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    /// A connection can be read or written. Requests that are complete are appended to `requests`.
    pub fn ready(
        &mut self,
        id: ConnectionId,
        event: &Event,
        now: Instant,
        requests: &mut Vec<Request>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.awaits && (event.is_write_closed() || event.is_error()) {
            connection.phase = Phase::Over;
        }
        self.advance(id, now, requests);
    }

    /// Answers the request of a connection, which may be gone by now. The next request may be there
    /// already.
    pub fn answer(
        &mut self,
        id: ConnectionId,
        answer: &Answer,
        now: Instant,
        requests: &mut Vec<Request>,
    ) {
        if let Some(connection) = self.connections.get_mut(&id)
            && std::mem::take(&mut connection.awaits)
        {
            connection.write(answer);
        }
        self.advance(id, now, requests);
    }

    /// Answers the request of a connection with a stream that begins with `first` and goes on with
    /// whatever is published.
    pub fn follow(&mut self, id: ConnectionId, first: &[u8], now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id)
            && std::mem::take(&mut connection.awaits)
        {
            connection.begin_stream(first);
        }
        // A follower asks nothing more.
        self.advance(id, now, &mut Vec::new());
    }

    /// Sends `frame` to every follower.
    pub fn publish(&mut self, frame: &[u8]) {
        let dropped = &mut self.dropped_followers;
        self.connections.retain(|_, connection| {
            if connection.phase != Phase::Following {
                return true;
            }
            connection.http.body(frame, connection.outbox.bytes_mut());
            let flushed = connection.outbox.flush(&mut connection.stream);
            let too_slow = connection.outbox.len() > limits::FOLLOWER_BYTES;
            *dropped += u64::from(too_slow);
            flushed.is_ok() && !too_slow
        });
    }

    /// Ends every stream: nothing more will be published.
    pub fn end_streams(&mut self) {
        for connection in self.connections.values_mut() {
            if connection.phase == Phase::Following {
                connection.http.end(connection.outbox.bytes_mut());
                connection.phase = Phase::Closing;
                // What the peer does not take now nobody will be there to send.
                let _as_far_as_it_goes = connection.outbox.flush(&mut connection.stream);
            }
        }
    }

    /// Connections that follow, and how many were dropped because they were too slow.
    pub fn followers(&self) -> (usize, u64) {
        let following = |connection: &&Connection| connection.phase == Phase::Following;
        (self.connections.values().filter(following).count(), self.dropped_followers)
    }

    /// Closes what took too long over a request or its answer.
    pub fn expire(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|due| now >= due) {
            self.accept(now);
        }
        self.connections.retain(|_, connection| connection.deadline.is_none_or(|due| now < due));
    }

    /// When [`Self::expire`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(|connection| connection.deadline);
        connections.chain(self.accept_again).min()
    }

    fn admit(&mut self, mut stream: UnixStream, now: Instant) -> io::Result<()> {
        let peer = Peer::of(&stream)?;
        if peer.uid != 0 && peer.uid != geteuid().as_raw() {
            let denied = format!("user {} may not command this master", peer.uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, denied));
        }
        if self.connections.len() >= CONNECTION_COUNT {
            return Err(io::Error::other("there are too many"));
        }
        self.last_id += 1;
        let id = ConnectionId(self.last_id);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut stream, (self.name)(id), interest)?;
        self.connections.insert(id, Connection::new(stream, peer, now));
        Ok(())
    }

    fn advance(&mut self, id: ConnectionId, now: Instant, requests: &mut Vec<Request>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(request) = connection.advance(id, &self.limits, now) {
            requests.push(request);
        }
        if connection.is_over() {
            self.connections.remove(&id);
        }
    }
}

/// One connection.
struct Connection {
    stream: UnixStream,
    peer: Peer,
    input: Buffer,
    http: Server,
    head: RequestHead,
    request: Option<Request>,
    outbox: Outbox,
    phase: Phase,
    /// A whole request was handed on and is not answered yet.
    awaits: bool,
    deadline: Option<Instant>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Requests are read.
    Open,
    /// It gets what is published, and is not read but for its end.
    Following,
    /// The last answer is being written; whatever still comes is thrown away.
    Closing,
    /// Nothing more.
    Over,
}

impl Connection {
    fn new(stream: UnixStream, peer: Peer, now: Instant) -> Self {
        Self {
            stream,
            peer,
            input: Buffer::with_capacity(BUFFER_BYTES),
            http: Server::new(),
            head: RequestHead::new(),
            request: None,
            outbox: Outbox::new(),
            phase: Phase::Open,
            awaits: false,
            deadline: Some(now + REQUEST_TIMEOUT),
        }
    }

    /// Reads and writes as far as it goes. Returns a request when one is complete.
    fn advance(&mut self, id: ConnectionId, limits: &Limits, now: Instant) -> Option<Request> {
        let request = self.read(id, limits);
        match self.outbox.flush(&mut self.stream) {
            Ok(Flush::Done) if self.phase == Phase::Closing => {
                let _gone_already = self.stream.shutdown(Shutdown::Write);
                self.throw_away();
            }
            Ok(Flush::Done | Flush::Blocked) if self.phase == Phase::Following => self.throw_away(),
            Ok(Flush::Done | Flush::Blocked) => {}
            Err(_) => self.phase = Phase::Over,
        }
        // Idle between requests is what shims do; everything else has its time.
        self.deadline = match (self.phase, self.awaits) {
            (Phase::Following, _) | (Phase::Open, true) => None,
            (Phase::Open, false) if self.is_between_requests() => None,
            _ => self.deadline.or(Some(now + REQUEST_TIMEOUT)),
        };
        request
    }

    fn is_between_requests(&self) -> bool {
        self.http.is_idle() && self.input.is_empty() && self.outbox.is_empty()
    }

    fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn read(&mut self, id: ConnectionId, limits: &Limits) -> Option<Request> {
        while self.phase == Phase::Open && !self.awaits {
            match self.http.read(self.input.filled(), &mut self.head, limits) {
                Ok(Read::Head { consumed }) => {
                    self.request = Some(self.begin(id));
                    self.input.consume(consumed);
                    if self.http.wants_continue() {
                        self.outbox.bytes_mut().extend_from_slice(CONTINUE);
                        self.http.continue_sent();
                    }
                }
                Ok(Read::Body { consumed, data }) => {
                    if let Some(request) = &mut self.request {
                        request.body.extend_from_slice(&self.input.filled()[data]);
                    }
                    self.input.consume(consumed);
                }
                Ok(Read::End { consumed }) => {
                    self.input.consume(consumed);
                    self.awaits = true;
                    return self.request.take();
                }
                Ok(Read::More | Read::Blocked) => {
                    if !self.fill() {
                        break;
                    }
                }
                Err(malformed) if malformed.silent => self.phase = Phase::Over,
                Err(malformed) => self.refuse(&malformed),
            }
        }
        None
    }

    /// Takes what has arrived. False when nothing has, or nothing will.
    fn fill(&mut self) -> bool {
        if self.input.space().is_empty() {
            self.input.grow(limits::HEAD_BYTES + limits::BLOCK_BYTES);
        }
        match self.input.read_from(&mut self.stream) {
            Ok(0) => self.phase = Phase::Closing,
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.phase = Phase::Over,
        }
        false
    }

    /// Reads the rest away, so that closing does not destroy the answer on its way.
    fn throw_away(&mut self) {
        loop {
            self.input.consume(usize::MAX);
            match self.input.read_from(&mut self.stream) {
                Ok(0) => self.phase = Phase::Over,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.phase = Phase::Over,
            }
            return;
        }
    }

    fn begin(&self, id: ConnectionId) -> Request {
        let bytes = self.input.filled();
        let path = self.head.path().path(bytes);
        let value = |name: &[u8]| {
            let mut fields = self.head.fields().iter();
            let field = fields.find(|field| field.name.of(bytes).eq_ignore_ascii_case(name));
            field.map(|field| field.value.of(bytes).to_vec())
        };
        let query = self.head.path().query.of(bytes);
        Request {
            from: id,
            method: self.head.method_kind(),
            path: String::from_utf8_lossy(path).into_owned(),
            query: String::from_utf8_lossy(query).into_owned(),
            last_event_id: value(b"last-event-id"),
            authorization: value(b"authorization"),
            body: Vec::new(),
            peer: self.peer,
        }
    }

    fn refuse(&mut self, malformed: &Malformed) {
        self.write(&Answer::refused(malformed.reason.status(), malformed.detail, ""));
    }

    fn begin_stream(&mut self, first: &[u8]) {
        let out = self.outbox.bytes_mut();
        self.http.close_after_this();
        let mut fields = self.http.respond(200, b"", ResponseLength::Unknown, out);
        fields.field(b"Content-Type", b"text/event-stream");
        fields.field(b"Cache-Control", b"no-store");
        fields.finish();
        self.http.body(first, out);
        self.phase = Phase::Following;
    }

    fn write(&mut self, answer: &Answer) {
        let length = ResponseLength::Known(answer.body.len() as u64);
        let out = self.outbox.bytes_mut();
        let mut fields = self.http.respond(answer.status, b"", length, out);
        fields.field(b"Content-Type", b"application/json");
        fields.field(b"Cache-Control", b"no-store");
        if let Some(allow) = answer.allow {
            fields.field(b"Allow", allow.as_bytes());
        }
        fields.finish();
        self.http.body(&answer.body, out);
        self.phase = match self.http.end(out) {
            After::KeepAlive => Phase::Open,
            After::Close | After::Linger => Phase::Closing,
        };
    }
}

/// Connections at once: each shim keeps one, the rest is for commands.
const CONNECTION_COUNT: usize = 4096;
/// A request must be complete, and its answer taken, within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the kernel gets to find descriptors again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BUFFER_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
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
            self.server.answer(request.from, &answer, self.now, &mut self.requests);
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
            stand.server.follow(request.from, b"first;", stand.now);
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
        stand.server.follow(request.from, b"", stand.now);
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
        stand.turn_until(|stand| {
            stand.server.connections.values().any(|half| !half.input.is_empty())
        });
        assert_eq!(stand.server.next_deadline(), Some(stand.now + REQUEST_TIMEOUT));
        stand.server.expire(stand.now + REQUEST_TIMEOUT);
        assert_eq!(stand.server.connections.len(), 1);
        assert_eq!(half.read(&mut [0]).expect("an end"), 0);
        assert_eq!(read_answer(&mut idle).1, "\"kept\"");
        assert_eq!(stand.server.next_deadline(), None);
    }
}
