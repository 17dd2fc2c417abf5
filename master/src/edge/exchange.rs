//! One request to an app and its answer, from the request's head to the response's last byte.
//!
//! ```text
//!  Receiving ─▶ Storing ─▶ Waiting ─ lease ─▶ Linking ─ link ─▶ Sending ─▶ Answering ─▶ (gone)
//!      │                        ▲  │                │                  │           │
//!      │                        └──┼── busy, draining, not connected ◀─┴───────────┘ nothing was
//!      ▼                           ▼                                   101 ▼         answered yet
//!   refused                     shed, timeout, client gone            Tunnelling ─▶ (gone)
//! ```
//!
//! The lease is held from `Linking` until the worker's last byte; then it ends, although the
//! client may still be reading. An exchange whose client left hands its lease to its link, which is
//! abandoned.

use super::compress::Coding;
use super::door::Knock;
use super::proxy::Proxied;
use super::publish::Publishing;
use super::session_http::Asking;
use super::snapshots::SnapshotKey;
use super::spool::Spool;
use super::subrequest::OwnRequest;
use super::tunnel::Tunnel;
use super::upload::Upload;
use crate::reactor::slab::Key;
use rip::contract::app::AppTimeouts;
use rip::files::compress::Wish;
use rip::guard::phase::BodyRate;
use rip::guard::request_id::RequestId;
use rip::ids::{PoolNumber, WorkerId};
use rip::observe::note::Trail;
use rip::pool::{Bounce, Lease};
use rip::time::{Instant, UnixMillis};
use std::net::IpAddr;
use std::time::Duration;

/// One request to an app.
pub(super) struct Exchange {
    /// The client's connection; none where the edge itself asks.
    pub(super) front: Option<Key>,
    /// The edge itself asks.
    pub(super) own: Option<Box<OwnRequest>>,
    /// Whose workers it may have; [`PoolNumber::NONE`] when it goes to an upstream, or has become a
    /// tunnel.
    pub(super) pool: PoolNumber,
    /// The configuration it was born with.
    pub(super) snapshot: SnapshotKey,
    /// The rule of that configuration which took it; none has that number where the edge itself asks.
    pub(super) rule: usize,
    /// The rules of that configuration which change its heads, the last one having the last word.
    pub(super) changes: Vec<usize>,
    pub(super) patience: Patience,
    /// Its body may have this many bytes.
    pub(super) body_limit: u64,
    pub(super) state: State,
    /// Its turn with a worker.
    pub(super) lease: Option<Lease>,
    /// The connection to that worker, or to an upstream.
    pub(super) link: Option<Key>,
    /// It goes to an upstream.
    pub(super) proxied: Option<Box<Proxied>>,
    /// It publishes, and goes to nobody.
    pub(super) publishing: Option<Box<Publishing>>,
    /// The control loop answers it, and it goes to nobody else.
    pub(super) door: Option<Box<Knock>>,
    /// It is for a mount of sessions, and goes to nobody itself.
    pub(super) asking: Option<Box<Asking>>,
    /// It asks for WebSocket.
    pub(super) upgrade: bool,
    /// It got it.
    pub(super) tunnel: Option<Box<Tunnel>>,

    pub(super) request_id: RequestId,
    /// May be run twice (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
    /// The answer has no body.
    pub(super) head_only: bool,
    /// The request's head as the worker gets it.
    pub(super) request: Vec<u8>,
    /// Where its end begins, which says how long the body is and whether the link is kept.
    pub(super) request_fields_end: usize,
    /// The client sent a body, be it empty.
    pub(super) has_body: bool,
    pub(super) body_rate: Option<BodyRate>,
    pub(super) spool: Spool,
    /// Its body is passed on as it comes, and not spooled.
    pub(super) upload: Option<Upload>,
    /// Bytes of head and body in memory that the worker's socket has taken, then bytes of the file.
    pub(super) sent: u64,
    /// A part of the file on its way to the worker, and how much of it was taken.
    pub(super) part: Vec<u8>,
    pub(super) part_sent: usize,
    /// The part the agent is reading is the one that is wanted, and not that of an earlier try.
    pub(super) part_wanted: bool,
    /// The worker stopped reading; its answer may still come.
    pub(super) write_failed: bool,

    /// Answers busy or draining so far.
    pub(super) bounces: u32,
    /// The present answer says that the request was not taken: it goes back when it has ended.
    pub(super) bounce: Option<Bounce>,
    /// The one further try was used.
    pub(super) retried: bool,
    /// The first of several failed attempts to connect to one worker.
    pub(super) connecting: Option<(WorkerId, Instant)>,

    /// What was asked for as to compressing the answer; `None` where nothing is compressed.
    pub(super) wish: Option<Wish>,
    /// The answer is compressed, or may be.
    pub(super) coding: Option<Box<Coding>>,
    /// The head of an answer that waits for its body: until then the worker may still be replaced.
    pub(super) held_head: Vec<u8>,
    /// Something of the answer went to the client.
    pub(super) answered: bool,
    /// The answer is passed on as it comes, or is no answer: nobody waits for its end.
    pub(super) streaming: bool,
    /// The answer waits for the client to read.
    pub(super) held_back: bool,

    pub(super) record: Record,
}

/// How long its app and its route let it wait for what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    pub(super) read: Duration,
    pub(super) queue: Duration,
    pub(super) stuck: Duration,
}

impl From<&AppTimeouts> for Patience {
    fn from(app: &AppTimeouts) -> Self {
        Self { connect: app.connect, read: app.read, queue: app.queue, stuck: app.stuck }
    }
}

/// Where an exchange is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// The request's body arrives.
    Receiving,
    /// The body is complete, but not all of it is in its file yet.
    Storing,
    /// A ticket waits in the app's queue.
    Waiting,
    /// A lease is held, a connection not yet.
    Linking,
    /// The request goes to the worker.
    Sending,
    /// The worker has the request.
    Answering,
    /// It is no exchange any more: bytes pass both ways.
    Tunnelling,
}

/// What the access line will say, and what is noted of it.
#[derive(Default)]
pub(super) struct Record {
    pub(super) method: Vec<u8>,
    /// The target as received.
    pub(super) path: Vec<u8>,
    pub(super) host: Vec<u8>,
    /// Who asked.
    pub(super) peer: Option<IpAddr>,
    pub(super) media_type: Vec<u8>,
    pub(super) mark: Vec<u8>,
    pub(super) silent: bool,
    pub(super) status: u16,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) worker: Option<WorkerId>,
    pub(super) wall: UnixMillis,
    pub(super) began: Instant,
    pub(super) queued: Option<Instant>,
    /// No worker was free at once.
    pub(super) waited: bool,
    /// When a worker got it; `None` when none did.
    pub(super) leased: Option<Instant>,
    /// The upstream's server that got it last.
    pub(super) server: Vec<u8>,
    /// What the access line does not say.
    pub(super) trail: Trail,
}

impl Exchange {
    /// An exchange to be filled in; its buffers are kept from one use to the next.
    pub(super) fn blank() -> Self {
        Self {
            front: None,
            own: None,
            pool: PoolNumber::default(),
            snapshot: SnapshotKey::default(),
            rule: 0,
            changes: Vec::new(),
            patience: Patience::default(),
            body_limit: 0,
            state: State::Receiving,
            lease: None,
            link: None,
            proxied: None,
            publishing: None,
            door: None,
            asking: None,
            upgrade: false,
            tunnel: None,
            request_id: RequestId::default(),
            idempotent: false,
            head_only: false,
            request: Vec::new(),
            request_fields_end: 0,
            has_body: false,
            body_rate: None,
            spool: Spool::default(),
            upload: None,
            sent: 0,
            part: Vec::new(),
            part_sent: 0,
            part_wanted: false,
            write_failed: false,
            bounces: 0,
            bounce: None,
            retried: false,
            connecting: None,
            wish: None,
            coding: None,
            held_head: Vec::new(),
            answered: false,
            streaming: false,
            held_back: false,
            record: Record::default(),
        }
    }

    /// Makes a used exchange blank again, keeping small buffers.
    pub(super) fn reset(&mut self) {
        let mut request = std::mem::take(&mut self.request);
        let mut memory = std::mem::take(&mut self.spool.memory);
        let mut record = std::mem::take(&mut self.record);
        let mut changes = std::mem::take(&mut self.changes);
        let mut held_head = std::mem::take(&mut self.held_head);
        changes.clear();
        reuse(&mut held_head);
        reuse(&mut request);
        reuse(&mut memory);
        record.clear();
        *self = Self { request, record, changes, held_head, ..Self::blank() };
        self.spool.memory = memory;
    }

    /// More of the request's body may be read.
    pub(super) fn takes_body(&self) -> bool {
        match &self.upload {
            None => self.state == State::Receiving,
            Some(upload) => self.state == State::Sending && !upload.is_ended(),
        }
    }

    /// The client has to wait before more of its body is read.
    pub(super) fn is_full(&self) -> bool {
        self.spool.is_full() || self.upload.as_ref().is_some_and(Upload::is_full)
    }

    /// Sends the head that waited for its body.
    pub(super) fn release_head(&mut self, out: &mut Vec<u8>) {
        if !self.held_head.is_empty() {
            out.append(&mut self.held_head);
            self.answered = true;
        }
    }

    /// Before another try: nothing was sent, nothing was answered.
    pub(super) fn rewind(&mut self) {
        self.link = None;
        self.sent = 0;
        self.part.clear();
        self.part_sent = 0;
        self.part_wanted = false;
        self.write_failed = false;
        self.bounce = None;
    }
}

impl Record {
    /// Makes a used record blank again, keeping small buffers.
    pub(super) fn clear(&mut self) {
        let Self { method, path, host, media_type, mark, server, .. } = self;
        for buffer in [method, path, host, media_type, mark, server] {
            reuse(buffer);
        }
        self.peer = None;
        self.silent = false;
        self.status = 0;
        (self.bytes_in, self.bytes_out) = (0, 0);
        self.worker = None;
        self.wall = UnixMillis::default();
        self.began = Instant::default();
        self.queued = None;
        self.waited = false;
        self.leased = None;
        self.trail = Trail::default();
    }
}

/// Empties a buffer; one that grew large gives its memory back.
fn reuse(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}

/// What a used buffer may keep.
const KEPT_BYTES: usize = 4096;
