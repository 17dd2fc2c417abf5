//! A client's connection: bytes in, requests out; answers in, bytes out.
//!
//! Reading and writing are the two halves of [`Server`]; what is kept here is the socket's side of
//! it. How the connection ends is one small machine:
//!
//! ```text
//!  Open ── last answer, nothing unread ──▶ Flushing ── flushed ──▶ closed
//!    └──── answered before it was read ──▶ Flushing ── flushed ──▶ Lingering ── EOF, 2 s, 256 KiB ──▶ closed
//! ```
//!
//! Lingering: our side is shut down and what the client still sends is thrown away, because closing
//! a socket with unread bytes resets it and may destroy the answer on its way (RFC 9112 §9.6).

use super::exchange::State;
use super::file_search::FileWork;
use super::identity::Entry;
use super::live_reload::LiveStream;
use super::snapshots::Beginning;
use super::speech::Speaker;
use super::transport::Transport;
use super::turn::{Edge, Timer};
use crate::reactor::buffers::Buffer;
use crate::reactor::outbox::{Flush, Outbox};
use crate::reactor::slab::{Key, TokenKind, token};
use crate::reactor::tls_stream::{Failure, Got};
use crate::shared::mail::Arrival;
use mio::Interest;
use rip::contract::reason::Reason;
use rip::guard::phase::{BodyRate, Deadlines, Phase};
use rip::http1::Malformed;
use rip::http1::head::RequestHead;
use rip::http1::server::{After, Read as Step, Server};
use rip::limits;
use rip::observe::counter::Counter;
use rip::observe::note::Connection;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

/// One client connection. An idle one holds no buffer.
pub(super) struct Front {
    pub(super) transport: Transport,
    pub(super) entry: Entry,
    /// It came by a listener for the operator.
    pub(super) is_admin: bool,
    /// The address it was counted for.
    counted: Option<IpAddr>,
    pub(super) server: Server,
    pub(super) input: Option<Buffer>,
    pub(super) output: Outbox,
    pub(super) exchange: Option<Key>,
    /// What it carries instead of an exchange.
    pub(super) live: Option<Box<LiveStream>>,
    /// The same, where a file is the answer.
    pub(super) file: Option<FileWork>,
    /// The same, where WebSocket is spoken.
    pub(super) speaker: Option<Speaker>,
    pub(super) deadlines: Deadlines,
    /// When its timer goes off; [`UNARMED`] where there is none.
    armed: rip::time::Instant,
    ending: Ending,
    /// The kernel may hold bytes for us.
    pub(super) readable: bool,
    /// The client will send nothing more.
    pub(super) read_closed: bool,
    /// It stands in the list of those that go on at the end of this turn.
    pub(super) runs_later: bool,
    /// It is told to come back over HTTPS only, if anybody is.
    pub(super) is_to_come_back: bool,
    /// What is noted of it with each of its requests.
    pub(super) connection: Connection,
}

/// How the connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Open,
    Flushing { linger: bool },
    Lingering { thrown_away_bytes: u32 },
}

/// What a connection carries.
struct Work {
    exchange: Option<Key>,
    file: Option<FileWork>,
    live: Option<Box<LiveStream>>,
    speaker: Option<Speaker>,
}

impl Front {
    /// Who is at the other end: who connected, or whom its PROXY header names.
    pub(super) fn peer(&self) -> SocketAddr {
        self.connection.peer.unwrap_or(NOBODY)
    }

    fn take_work(&mut self) -> Work {
        Work {
            exchange: self.exchange.take(),
            file: self.file.take(),
            live: self.live.take(),
            speaker: self.speaker.take(),
        }
    }

    /// There is, or may be, more of the client's to read.
    pub(super) fn has_more_to_read(&self) -> bool {
        self.readable || self.input.is_some()
    }

    /// Something is still to be answered, or on its way.
    pub(super) fn is_busy(&self) -> bool {
        self.exchange.is_some() || self.file.is_some() || self.unsent() > 0
    }

    /// Bytes that are not the kernel's yet.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() + self.transport.unsent()
    }

    /// The answer cannot be completed, and the way its connection ends will not say that it was.
    pub(super) fn abort(&mut self) -> After {
        self.transport.forgo_farewell();
        self.server.abort()
    }

    /// We are the slow one now: the client's clock stands still until its body is read on.
    pub(super) fn rest_body_clock(&mut self) {
        self.deadlines.clear(Phase::Body);
        self.deadlines.clear(Phase::BodyRate);
    }

    /// The client does not take its answers: no further request is read.
    pub(super) fn is_behind(&self) -> bool {
        self.output.len() >= limits::RESPONSE_BUFFER_BYTES
    }
}

impl Edge {
    /// Takes in a new client.
    pub(super) fn welcome(&mut self, arrival: Arrival) {
        self.shard().add(Counter::Connections, 1);
        self.look_at_configuration();
        let Some(entry) = self.entry(arrival.peer.ip(), arrival.at) else {
            self.shard().add(Counter::Refusal(Reason::ProxyUntrusted), 1);
            return self.shared.connections.leave(arrival.counted, usize::from(self.index.0));
        };
        let Arrival { stream, peer, counted, at } = arrival;
        let Beginning { is_secure, is_admin, .. } = self.snapshots.beginning(at);
        let come_back = self.snapshots.active().come_back.as_ref();
        let is_to_come_back = come_back.is_none_or(|come_back| come_back.is_for(None));
        let mut transport = Transport::new(stream, is_secure);
        if entry == Entry::Direct {
            transport.begin(&[]);
        }
        let key = self.fronts.insert(Front {
            transport,
            entry,
            is_admin,
            counted,
            server: Server::new(),
            input: None,
            output: Outbox::default(),
            exchange: None,
            live: None,
            file: None,
            speaker: None,
            deadlines: Deadlines::default(),
            armed: UNARMED,
            ending: Ending::Open,
            // Most clients have asked by now; one that also leaves at once is never registered.
            readable: true,
            read_closed: false,
            runs_later: false,
            is_to_come_back,
            connection: Connection {
                peer: Some(peer),
                listener: Some(at),
                ..Connection::default()
            },
        });
        if is_secure || entry == Entry::HeaderAwaited {
            self.front_deadline(key, Phase::Head, self.clock.now() + self.phases().head);
        }
        self.run_front(key);
        let Some(front) = self.fronts.get_mut(key) else { return };
        // Registered once, for both directions; the kernel tells of each change once.
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = token(TokenKind::Front, key);
        if let Err(error) = self.registry.register(front.transport.socket_mut(), token, interest) {
            log::error!("cannot watch a client's connection: {error}");
            return self.close_front(key);
        }
        if front.exchange.is_none() && front.deadlines.next().is_none() {
            self.front_idles(key);
        }
    }

    /// Events of a client's connection.
    pub(super) fn front_event(&mut self, key: Key, event: &mio::event::Event) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        if let Some(exchange) = front.exchange
            && self.exchanges.get(exchange).is_some_and(|found| found.state == State::Tunnelling)
        {
            // Its last bytes and its end, or what is wrong, come up in their order.
            let ended = event.is_read_closed() || event.is_error();
            front.read_closed |= ended;
            front.readable |= event.is_readable() || ended;
            return self.pump(exchange);
        }
        let lingers = matches!(front.ending, Ending::Lingering { .. });
        if event.is_error() || (event.is_write_closed() && !lingers) {
            // Reset, or closed in both directions: nobody is there to be answered. While lingering
            // one direction was closed by us, and what is unread must be read.
            return self.close_front(key);
        }
        front.readable |= event.is_readable();
        if event.is_read_closed() {
            front.readable = true;
            front.read_closed = true;
            if front.live.is_some() {
                return self.close_front(key);
            }
            let (exchange, speaker) = (front.exchange, front.speaker);
            if self.ends_with_client(speaker)
                || exchange.is_some_and(|exchange| self.asks_until_it_leaves(exchange))
            {
                return self.close_front(key);
            }
            if let Some(exchange) = exchange
                && self.exchanges.get(exchange).is_some_and(|exchange| {
                    matches!(exchange.state, State::Waiting | State::Linking) || exchange.streaming
                })
            {
                // A client that closed cannot be told from one that only ended its sending side.
                // Where nothing of this request was begun it is not worth a worker, and a stream
                // would hold its worker until it next has something to say.
                return self.close_front(key);
            }
        }
        self.run_front(key);
    }

    /// Goes on with a connection: digests what was read, reads more, answers.
    pub(super) fn run_front(&mut self, key: Key) {
        if let Some(exchange) = self.fronts.get(key).and_then(|front| front.exchange)
            && self.is_tunnel(exchange)
        {
            return self.pump(exchange);
        }
        let mut budget_bytes = BYTES_PER_GO;
        while self.digest(key) {
            let Some(front) = self.fronts.get_mut(key) else { return };
            if !front.readable {
                break;
            }
            if budget_bytes == 0 {
                self.run_later(key);
                break;
            }
            let awaited_hello = front.transport.awaits_hello();
            if awaited_hello && self.hellos_left == 0 {
                self.run_later(key);
                break;
            }
            let was_handshaking = front.transport.is_handshaking();
            let mut input = front.input.take().unwrap_or_else(|| self.blocks.take());
            let result = front.transport.read(&mut input, &mut self.tls, &*self.shared.tls);
            if input.is_empty() {
                self.blocks.give(input);
            } else {
                front.input = Some(input);
            }
            match result {
                Ok(Got::Bytes { count, more }) => {
                    // The end may have come with the last bytes.
                    front.readable = more || front.read_closed;
                    budget_bytes = budget_bytes.saturating_sub(count.max(LEAST_PER_READ_BYTES));
                }
                Ok(Got::End) => {
                    if was_handshaking {
                        self.handshake_moved(key, awaited_hello);
                    }
                    return self.client_ended(key);
                }
                Ok(Got::Plain) => return self.refuse(key, Reason::TlsPlain, "", None),
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    front.readable = false;
                }
                Err(Failure::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(Failure::Io(_)) => return self.close_front(key),
                Err(Failure::Tls(error)) => {
                    return self.tls_failed(key, (awaited_hello, was_handshaking), &error);
                }
            }
            if was_handshaking {
                self.handshake_moved(key, awaited_hello);
            }
        }
        let was_behind = self.fronts.get(key).is_some_and(Front::is_behind);
        if !self.flush_front(key) {
            return;
        }
        self.send_what_came(key);
        let Some(front) = self.fronts.get(key) else { return };
        let exchange = front.exchange;
        if was_behind && !front.is_behind() && front.has_more_to_read() {
            // No event will tell of what was left unread meanwhile.
            self.run_later(key);
        }
        if let Some(exchange) = exchange {
            self.resume_response(exchange);
        }
    }

    /// What was read of a body that is passed on as it comes goes on its way.
    fn send_what_came(&mut self, key: Key) {
        let Some(exchange_key) = self.fronts.get(key).and_then(|front| front.exchange) else {
            return;
        };
        let Some(exchange) = self.exchanges.get(exchange_key) else { return };
        if let Some(link) = exchange.link
            && exchange.upload.is_some()
            && exchange.state == State::Sending
        {
            self.send_upload(link, exchange_key);
        }
    }

    /// Makes what it can of the bytes at hand. True when it wants more.
    fn digest(&mut self, key: Key) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let mut input = front.input.take().unwrap_or_default();
        let mut head = std::mem::take(&mut self.head);
        let wants_more = self.digest_input(key, &mut input, &mut head);
        self.head = head;
        match self.fronts.get_mut(key) {
            Some(front) if !input.is_empty() => front.input = Some(input),
            _ => self.blocks.give(input),
        }
        wants_more
    }

    fn digest_input(&mut self, key: Key, input: &mut Buffer, head: &mut RequestHead) -> bool {
        loop {
            let now = self.clock.now();
            let Some(front) = self.fronts.get_mut(key) else { return false };
            match &mut front.ending {
                Ending::Open if front.live.is_some() => {
                    input.consume(input.len());
                    return true;
                }
                Ending::Open if front.speaker.is_some() => {
                    let Some(speaker) = front.speaker else { return false };
                    return self.hear(key, speaker, input);
                }
                Ending::Open if front.entry == Entry::HeaderAwaited => {
                    match self.read_proxy_header(key, input) {
                        ControlFlow::Continue(()) => continue,
                        ControlFlow::Break(wants_more) => return wants_more,
                    }
                }
                // The next request has to wait for this one's answer.
                Ending::Open if front.file.is_some() => return false,
                Ending::Open => {}
                Ending::Flushing { .. } => return false,
                Ending::Lingering { thrown_away_bytes } => {
                    let more = u32::try_from(input.len()).unwrap_or(u32::MAX);
                    *thrown_away_bytes = thrown_away_bytes.saturating_add(more);
                    input.consume(input.len());
                    if *thrown_away_bytes as usize > limits::LINGER_BYTES {
                        self.close_front(key);
                        return false;
                    }
                    return true;
                }
            }
            if front.is_behind() {
                front.rest_body_clock();
                return false;
            }
            if let Some(exchange) = front.exchange.and_then(|key| self.exchanges.get(key)) {
                if !exchange.takes_body() {
                    // The next request has to wait for this one's answer.
                    return false;
                }
                if exchange.is_full() {
                    front.rest_body_clock();
                    return false;
                }
            }
            match front.server.read(input.filled(), head, &self.head_limits) {
                Ok(Step::More) => {
                    if let Some(exchange) = front.exchange {
                        self.await_body(key, exchange);
                        return true;
                    }
                    if front.server.request_started() && front.deadlines.at(Phase::Head).is_none() {
                        front.deadlines.clear(Phase::Idle);
                        let at = now + self.phases().head;
                        self.front_deadline(key, Phase::Head, at);
                    }
                    // An empty buffer has no memory of its own yet: reading lends it a block.
                    let is_full = !input.is_empty() && input.space().is_empty();
                    if is_full && !input.grow(limits::HEAD_BYTES + 4) {
                        let (reason, detail) = (Reason::HeadTooLarge, "head over the limit");
                        self.refuse_unread(key, reason, detail, input.filled());
                        return false;
                    }
                    return true;
                }
                Ok(Step::Head { consumed }) => {
                    front.deadlines.clear(Phase::Head);
                    front.deadlines.clear(Phase::Idle);
                    front.connection.request = front.connection.request.saturating_add(1);
                    self.begin(key, head, &input.filled()[..consumed]);
                    input.consume(consumed);
                }
                Ok(Step::Body { consumed, data }) => {
                    let Some(exchange) = front.exchange else { return false };
                    if let Some(exchange) = self.exchanges.get_mut(exchange)
                        && let Some(rate) = &mut exchange.body_rate
                    {
                        rate.received(data.len(), now);
                    }
                    let at = now + self.phases().body;
                    self.front_deadline(key, Phase::Body, at);
                    let spooled = self.spool(exchange, &input.filled()[data]);
                    input.consume(consumed);
                    if let Err(reason) = spooled {
                        self.fail(exchange, reason);
                        return false;
                    }
                }
                Ok(Step::End { consumed }) => {
                    input.consume(consumed);
                    front.deadlines.clear(Phase::Body);
                    front.deadlines.clear(Phase::BodyRate);
                    if let Some(exchange) = front.exchange {
                        self.body_complete(exchange);
                    }
                }
                Ok(Step::Blocked) => return false,
                Err(malformed) if malformed.silent => {
                    self.refuse_silently(key, malformed.reason);
                    return false;
                }
                Err(malformed) => {
                    match front.exchange {
                        Some(exchange) => self.fail(exchange, malformed.reason),
                        None => {
                            let Malformed { reason, detail, .. } = malformed;
                            let head = head.is_complete().then(|| (&*head, input.filled()));
                            if head.is_none() {
                                self.refuse_unread(key, reason, detail, input.filled());
                            } else if reason != Reason::BodyTooLarge
                                || !head.is_some_and(|head| self.refuse_large_asking(key, head))
                            {
                                self.refuse(key, reason, detail, head);
                            }
                        }
                    }
                    return false;
                }
            }
        }
    }

    /// More of the body is to come: its clock runs, from the beginning where it stood still.
    pub(super) fn await_body(&mut self, key: Key, exchange: Key) {
        let now = self.clock.now();
        let Some(front) = self.fronts.get(key) else { return };
        let Some(exchange) = self.exchanges.get_mut(exchange) else { return };
        let (no_body, no_rate) = (
            front.deadlines.at(Phase::Body).is_none(),
            front.deadlines.at(Phase::BodyRate).is_none(),
        );
        if no_rate {
            exchange.body_rate = Some(BodyRate::new(now));
            self.front_deadline(key, Phase::BodyRate, now + limits::BODY_RATE_WINDOW);
        }
        if no_body {
            self.front_deadline(key, Phase::Body, now + self.phases().body);
        }
    }

    /// The client sent its last byte, and everything before it was digested.
    fn client_ended(&mut self, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.read_closed = true;
        front.readable = false;
        // Answers still on their way are finished; then there is nothing more to wait for.
        if front.exchange.is_none() && front.live.is_none() && front.unsent() > 0 {
            front.ending = Ending::Flushing { linger: false };
            self.flush_front(key);
            return;
        }
        self.close_front(key);
    }

    /// The answer's last byte is in the output: what becomes of the connection?
    pub(super) fn answer_ended(&mut self, key: Key, after: After) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.exchange = None;
        front.deadlines.clear(Phase::Body);
        front.deadlines.clear(Phase::BodyRate);
        front.deadlines.clear(Phase::Queue);
        front.deadlines.clear(Phase::Connect);
        front.ending = match after {
            After::KeepAlive => return self.front_idles(key),
            // With bytes unread a close is a reset.
            After::Close => Ending::Flushing { linger: front.readable },
            After::Linger => Ending::Flushing { linger: true },
        };
        // The head that was answered before it was whole is not waited for any more.
        front.deadlines.clear(Phase::Head);
        front.deadlines.clear(Phase::Idle);
    }

    /// What the client has is no whole answer, and only the way its connection ends can tell: it is
    /// reset.
    pub(super) fn reset_front(&mut self, key: Key) {
        self.reset_on_close(key);
        self.close_front(key);
    }

    fn reset_on_close(&mut self, key: Key) {
        if let Some(front) = self.fronts.get_mut(key) {
            // What is missing must not look as if it never was.
            front.transport.deafen();
            let socket = socket2::SockRef::from(front.transport.socket());
            let _ = socket.set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Between two requests.
    pub(super) fn front_idles(&mut self, key: Key) {
        let idle = match &self.drain {
            Some(drain) => drain.idle,
            None => self.phases().idle,
        };
        self.front_deadline(key, Phase::Idle, self.clock.now() + idle);
    }

    /// Writes what the kernel takes. False when the connection is gone.
    pub(super) fn flush_front(&mut self, key: Key) -> bool {
        if self.fronts.get(key).is_some_and(|front| front.file.is_some()) && !self.send_file(key) {
            return false;
        }
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let before = front.unsent();
        if before > 0 {
            let result = match (front.exchange, front.ending) {
                (None, Ending::Flushing { .. }) => {
                    front.transport.flush_last(&mut front.output, &mut self.tls)
                }
                _ => front.transport.flush(&mut front.output, &mut self.tls),
            };
            match result {
                Ok(Flush::Done) => {
                    front.deadlines.clear(Phase::Write);
                    if let Some(spare) = front.output.release() {
                        self.blocks.give_vec(spare);
                    }
                }
                Ok(Flush::Blocked) => {
                    if front.unsent() < before || front.deadlines.at(Phase::Write).is_none() {
                        let at = self.clock.now() + self.phases().write;
                        self.front_deadline(key, Phase::Write, at);
                    }
                }
                Err(_) => {
                    self.close_front(key);
                    return false;
                }
            }
        }
        if let Some(front) = self.fronts.get(key)
            && let Some(speaker) = front.speaker
            && front.output.is_empty()
            && !self.flush_speech(key, speaker)
        {
            return false;
        }
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let left = front.unsent();
        match (front.exchange, front.ending) {
            (None, Ending::Flushing { linger: false }) if left == 0 => {
                self.close_front(key);
                false
            }
            (None, Ending::Flushing { linger: true }) if left == 0 => {
                front.transport.shutdown_write(&mut self.tls);
                front.transport.deafen();
                front.ending = Ending::Lingering { thrown_away_bytes: 0 };
                let at = self.clock.now() + self.phases().linger;
                self.front_deadline(key, Phase::Linger, at);
                self.run_later(key);
                true
            }
            _ => true,
        }
    }

    /// Sets one of the connection's deadlines. One timer serves them all and is only touched when
    /// the new deadline comes before it.
    pub(super) fn front_deadline(&mut self, key: Key, phase: Phase, at: rip::time::Instant) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.deadlines.set(phase, at);
        if at < front.armed {
            front.armed = at;
            self.wheel.schedule(Timer::Front(key), at);
        }
    }

    /// A timer of this connection went off; its deadlines may have moved since.
    pub(super) fn front_timer(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(front) = self.fronts.get_mut(key) else { return };
        if front.armed > now {
            return;
        }
        front.armed = UNARMED;
        if let Some(phase) = front.deadlines.expired(now) {
            front.deadlines.clear(phase);
            self.phase_over(key, phase);
        }
        let Some(front) = self.fronts.get_mut(key) else { return };
        // What came of it may have armed a later one than waits already.
        if let Some(at) = front.deadlines.next()
            && at < front.armed
        {
            front.armed = at;
            self.wheel.schedule(Timer::Front(key), at);
        }
    }

    fn phase_over(&mut self, key: Key, phase: Phase) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let exchange = front.exchange;
        if let Some(speaker) = front.speaker {
            match (phase, speaker) {
                (Phase::Idle, _) => return self.pulse(key, speaker),
                (Phase::Queue, Speaker::Client(socket)) => return self.lane_timer(key, socket),
                _ => {}
            }
        }
        match (phase, exchange) {
            (Phase::Head, None) if front.entry == Entry::HeaderAwaited => {
                self.close_without_header(key, "none came in time");
            }
            // Who did not get through is not known to speak HTTP.
            (Phase::Head, None) if front.transport.is_handshaking() => {
                self.cut_front(key, Reason::TlsTimeout);
            }
            (Phase::Head, None) => {
                let input = front.input.take();
                let came = input.as_ref().map_or(&b""[..], Buffer::filled);
                self.refuse_unread(key, Reason::HeadTimeout, "head too slow", came);
                if let Some(input) = input {
                    self.blocks.give(input);
                }
            }
            (Phase::Body, Some(exchange)) => self.fail(exchange, Reason::BodyTimeout),
            (Phase::BodyRate, Some(exchange)) => self.check_body_rate(key, exchange),
            (Phase::Connect, Some(exchange)) => self.link_exchange(exchange),
            (Phase::Queue, Some(exchange)) => self.waited_too_long(exchange),
            // What the kernel holds for this client would stay there for minutes after a close.
            (Phase::Write, Some(_)) => {
                self.reset_on_close(key);
                self.cut_front(key, Reason::WriteTimeout);
            }
            (Phase::Write, None) if front.file.is_some() => {
                self.reset_on_close(key);
                self.cut_front(key, Reason::WriteTimeout);
            }
            (Phase::Write, None) => {
                self.shard().add(Counter::Refusal(Reason::WriteTimeout), 1);
                self.reset_front(key);
            }
            // Idle and lingering connections are closed without a word: an answer now could be
            // taken for that of the next request.
            (Phase::Idle, None) if self.drain.is_none() => {
                self.shard().add(Counter::Refusal(Reason::IdleTimeout), 1);
                self.close_front(key);
            }
            _ => self.close_front(key),
        }
    }

    fn check_body_rate(&mut self, key: Key, exchange: Key) {
        let now = self.clock.now();
        let Some(rate) =
            self.exchanges.get_mut(exchange).and_then(|exchange| exchange.body_rate.as_mut())
        else {
            return;
        };
        if rate.is_too_slow(now) {
            self.fail(exchange, Reason::BodyTimeout);
        } else {
            let at = rate.next_check();
            self.front_deadline(key, Phase::BodyRate, at);
        }
    }

    /// Closes the connection. An exchange it still carries has lost its client.
    pub(super) fn close_front(&mut self, key: Key) {
        self.cut_front(key, Reason::ClientGone);
    }

    /// Closes the connection. `reason` is told of an exchange it still carries.
    pub(super) fn cut_front(&mut self, key: Key, reason: Reason) {
        let Some(mut front) = self.fronts.remove(key) else { return };
        if front.transport.is_handshaking() {
            let reason = if reason == Reason::ClientGone { Reason::TlsGone } else { reason };
            self.shard().add(Counter::Refusal(reason), 1);
        } else if !front.is_busy() {
            front.transport.farewell(&mut self.tls);
        }
        if let Some(input) = front.input.take() {
            self.blocks.give(input);
        }
        front.output.discard();
        if let Some(spare) = front.output.release() {
            self.blocks.give_vec(spare);
        }
        self.shared.connections.leave(front.counted, usize::from(self.index.0));
        self.drop_work(key, front.take_work(), reason);
    }

    /// Sends what is sealed already, and then ends. Who was to be answered otherwise is not.
    pub(super) fn end_with_alert(&mut self, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.output.discard();
        front.deadlines.clear_all();
        front.ending = Ending::Flushing { linger: true };
        let work = front.take_work();
        self.drop_work(key, work, Reason::ClientGone);
        self.flush_front(key);
    }

    /// Whoever was to be answered is gone.
    fn drop_work(&mut self, key: Key, work: Work, reason: Reason) {
        let Work { exchange, file, live, speaker } = work;
        if let Some(exchange) = exchange {
            self.client_gone(exchange, reason);
        }
        if let Some(work) = file {
            self.forget_file(key, work, reason);
        }
        if let Some(stream) = live {
            self.forget_live_stream(key, &stream);
        }
        if let Some(speaker) = speaker {
            self.speaker_gone(speaker);
        }
    }
}

/// Later than any moment that comes.
const UNARMED: rip::time::Instant = rip::time::Instant::from_nanos(u64::MAX);
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
// One per client, among them many idle ones.
const _: () = assert!(size_of::<Front>() <= 304);
/// Bytes read from one client before the others get their turn.
const BYTES_PER_GO: usize = 256 * 1024;
/// A read that brought nothing to the surface counts as one of so many bytes.
const LEAST_PER_READ_BYTES: usize = 1024;
