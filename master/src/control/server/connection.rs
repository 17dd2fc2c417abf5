//! One connection to the control socket: reading a request, writing its answer, following.

use super::{Answer, Asker, By, ConnectionId, Request};
use crate::reactor::buffers::Buffer;
use crate::reactor::outbox::{Flush, Outbox};
use crate::sys::peer::Peer;
use mio::net::UnixStream;
use rip::http1::{After, CONTINUE, Limits, Malformed, Read, RequestHead, ResponseLength, Server};
use rip::limits;
use rip::time::Instant;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

/// One connection.
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    /// It has had a request.
    has_asked: bool,
    /// It came by the socket that is everybody's.
    pub(super) is_public: bool,
    peer: Peer,
    pub(super) input: Buffer,
    pub(super) http: Server,
    head: RequestHead,
    request: Option<Request>,
    pub(super) outbox: Outbox,
    pub(super) phase: Phase,
    /// A whole request was handed on and is not answered yet.
    pub(super) awaits: bool,
    pub(super) deadline: Option<Instant>,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
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
    pub(super) fn new(stream: UnixStream, is_public: bool, peer: Peer, now: Instant) -> Self {
        Self {
            stream,
            is_public,
            has_asked: false,
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
    pub(super) fn advance(
        &mut self,
        id: ConnectionId,
        limits: &Limits,
        now: Instant,
    ) -> Option<Request> {
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

    /// Its answer, if it waits for one, is its last. False when it need not stay.
    pub(super) fn take_leave(&mut self) -> bool {
        self.http.close_after_this();
        let is_idle = self.phase == Phase::Open && !self.awaits && self.is_between_requests();
        // One that has asked nothing yet is about to.
        !is_idle || !self.has_asked
    }

    fn is_between_requests(&self) -> bool {
        self.http.is_idle() && self.input.is_empty() && self.outbox.is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
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
                    self.has_asked = true;
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
            from: Asker::Connection(id),
            method: self.head.method_kind(),
            path: String::from_utf8_lossy(path).into_owned(),
            query: String::from_utf8_lossy(query).into_owned(),
            last_event_id: value(b"last-event-id"),
            authorization: value(b"authorization"),
            accept: value(b"accept").unwrap_or_default(),
            body: Vec::new(),
            by: By::Process(self.peer),
        }
    }

    fn refuse(&mut self, malformed: &Malformed) {
        self.write(&Answer::refused(malformed.reason.status(), malformed.detail, ""));
    }

    pub(super) fn begin_stream(&mut self, first: &[u8]) {
        let out = self.outbox.bytes_mut();
        self.http.close_after_this();
        let mut fields = self.http.respond(200, b"", ResponseLength::Unknown, out);
        fields.field(b"Content-Type", b"text/event-stream");
        fields.field(b"Cache-Control", b"no-store");
        fields.finish();
        self.http.body(first, out);
        self.phase = Phase::Following;
    }

    pub(super) fn write(&mut self, answer: &Answer) {
        let length = ResponseLength::Known(answer.body.len() as u64);
        let out = self.outbox.bytes_mut();
        let mut fields = self.http.respond(answer.status, b"", length, out);
        fields.field(b"Content-Type", answer.content_type.as_bytes());
        fields.field(b"Cache-Control", b"no-store");
        if let Some(allow) = &answer.allow {
            fields.field(b"Allow", allow.as_bytes());
        }
        if let Some(secs) = answer.retry_after_secs {
            fields.field(b"Retry-After", secs.to_string().as_bytes());
        }
        fields.finish();
        self.http.body(&answer.body, out);
        self.phase = match self.http.end(out) {
            After::KeepAlive => Phase::Open,
            After::Close | After::Linger => Phase::Closing,
        };
    }
}

/// A request must be complete, and its answer taken, within this.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 4096;
