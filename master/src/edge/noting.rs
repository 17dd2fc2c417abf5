//! Noting what becomes of requests, and telling of it when somebody asks.
//!
//! What has ended is noted where others find it (shared/notes.rs); of what has not only its loop knows,
//! and is asked by mail.

use super::exchange::{Exchange, Record, State};
use super::file_send::FileAnswer;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::mail::ControlMessage;
use rip::contract::reason::Reason;
use rip::guard::request_id::RequestId;
use rip::observe::note::{Entry, Handler, Note, Stage, TryEnd};
use rip::observe::notes::BATCH_COUNT;
use rip::time::Instant;
use std::io;
use std::time::Duration;

impl Edge {
    /// Notes a request that has ended.
    pub(super) fn note(
        &mut self,
        front: Key,
        id: &RequestId,
        app: &str,
        record: &Record,
        reason: Option<Reason>,
    ) {
        let trail = &record.trail;
        let mut connection = &trail.connection;
        let mut sni = &b""[..];
        if let Some(front) = self.fronts.get(front) {
            if connection.peer.is_none() && !trail.own {
                connection = &front.connection;
            }
            if connection.tls.is_some() {
                sni = front.transport.server_name().unwrap_or_default().as_bytes();
            }
        }
        let config = if trail.config == 0 { self.snapshots.active().version } else { trail.config };
        let now = self.clock.now();
        let entry = entry(id, app, record, reason, (trail, sni), now);
        self.noted.push(&Entry { connection, config, ..entry });
        if self.noted.len() >= BATCH_COUNT {
            self.hand_over_notes();
        }
    }

    /// Gives what was noted to where others find it: before the end of each turn, and before anybody is
    /// told of what has not ended.
    pub(super) fn hand_over_notes(&mut self) {
        if !self.noted.is_empty() {
            self.shared.notes.take(usize::from(self.index.0), &mut self.noted);
        }
    }

    /// The rule at `rule` of the active configuration has taken the request.
    pub(super) fn note_rule(&self, record: &mut Record, rule: Option<usize>) {
        record.trail.config = self.snapshots.active().version;
        record.trail.rule = rule.and_then(|rule| u32::try_from(rule).ok());
    }

    /// The request came by this connection.
    pub(super) fn note_connection(&self, front: Key, record: &mut Record) {
        if let Some(front) = self.fronts.get(front) {
            record.trail.connection = front.connection;
        }
    }

    /// A file answers the request.
    pub(super) fn note_file(&self, ask: &FileAnswer<'_>, record: &mut Record) {
        self.note_connection(ask.key, record);
        record.trail.config = ask.snapshot.version;
        record.trail.rule = u32::try_from(ask.rule).ok();
        record.trail.handler = Handler::File;
    }

    /// The exchange's target could not be connected to.
    pub(super) fn note_unreached(&mut self, key: Key, error: &io::Error) {
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.record.trail.detail = match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused",
                io::ErrorKind::ConnectionReset => "connection reset",
                io::ErrorKind::HostUnreachable => "no route to the host",
                io::ErrorKind::NetworkUnreachable => "network unreachable",
                io::ErrorKind::NotFound => "there is no such socket or name",
                io::ErrorKind::PermissionDenied => "permission denied",
                io::ErrorKind::TimedOut => "timed out",
                io::ErrorKind::UnexpectedEof => "it closed the connection during the TLS handshake",
                io::ErrorKind::InvalidData => "its TLS certificate or handshake is not valid",
                _ => "not connected",
            };
        }
    }

    /// Tells of the requests called `id` that have not ended.
    pub(super) fn recall(&mut self, ticket: u64, id: &[u8]) {
        // Whoever asks looks for what has ended when this loop has answered.
        self.hand_over_notes();
        let notes: Vec<Note> = (self.exchanges.keys())
            .filter_map(|key| self.exchanges.get(key))
            .filter(|exchange| exchange.request_id.as_bytes() == id)
            .take(RECALLED)
            .map(|exchange| self.note_of_running(exchange))
            .collect();
        self.shared.control.send(ControlMessage::Recalled { ticket, index: self.index, notes });
    }

    fn note_of_running(&self, exchange: &Exchange) -> Note {
        let mut trail = exchange.record.trail;
        trail.stage = stage_of(exchange.state);
        trail.begun = exchange.answered;
        let pool = self.seats.pool(exchange.pool).map(|pool| pool.id.as_str());
        let upstream = exchange.proxied.as_ref().map(|proxied| &*proxied.upstream.id);
        let app = pool.or(upstream).unwrap_or_default();
        let (record, now) = (&exchange.record, self.clock.now());
        let id = &exchange.request_id;
        Note::of(&Entry { running: true, ..entry(id, app, record, None, (&trail, b""), now) })
    }
}

fn entry<'a>(
    id: &'a RequestId,
    app: &'a str,
    record: &'a Record,
    reason: Option<Reason>,
    (trail, sni): (&'a rip::observe::note::Trail, &'a [u8]),
    now: Instant,
) -> Entry<'a> {
    let after = |at: Instant| at.since(record.began);
    let is_same = sni.eq_ignore_ascii_case(&record.host);
    Entry {
        id: id.as_bytes(),
        at: record.wall,
        method: &record.method,
        target: &record.path,
        host: &record.host,
        app: app.as_bytes(),
        server: &record.server,
        sni: if is_same { b"" } else { sni },
        mark: &record.mark,
        client: record.peer,
        status: record.status,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        worker: record.worker,
        reason,
        running: false,
        total: after(now),
        queued: record.queued.map(after),
        leased: record.leased.map(after),
        first_byte: (trail.answered != 0).then(|| after(trail.first_byte)),
        connection: &trail.connection,
        config: trail.config,
        trail,
    }
}

impl Exchange {
    /// A try has ended without an answer.
    pub(super) fn note_try(&mut self, end: TryEnd, now: Instant) {
        let target = self.proxied.as_ref().and_then(|proxied| proxied.target_number());
        let whom = target.or(self.record.worker.map(|worker| worker.0)).unwrap_or_default();
        let after = now.since(self.record.began);
        self.record.trail.tried(whom, end, after);
    }

    /// The exchange is over.
    pub(super) fn note_end(&mut self, reason: Option<Reason>) {
        let trail = &mut self.record.trail;
        trail.stage = stage_of(self.state);
        trail.begun = self.answered;
        let Some(reason) = reason else { return };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let linking = self.state == State::Linking;
        let turn = self.own.as_ref().and_then(|own| own.time);
        trail.limit = match reason {
            Reason::BodyTooLarge => self.body_limit,
            Reason::QueueTimeout => millis(self.patience.queue),
            Reason::WorkerTimeout => millis(turn.unwrap_or(self.patience.read)),
            Reason::UpstreamTimeout if linking => millis(self.patience.connect),
            Reason::UpstreamTimeout => millis(self.patience.read),
            Reason::WorkerConnect => millis(self.patience.connect),
            _ => 0,
        };
    }
}

const fn stage_of(state: State) -> Stage {
    match state {
        State::Receiving | State::Storing => Stage::Receiving,
        State::Waiting => Stage::Waiting,
        State::Linking => Stage::Linking,
        State::Sending => Stage::Sending,
        State::Answering => Stage::Answering,
        State::Tunnelling => Stage::Tunnelling,
    }
}

/// Requests of one name that are told of.
const RECALLED: usize = 10;
