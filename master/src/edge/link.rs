//! A loop's connections to workers and upstreams: opened on demand, kept while the other side keeps
//! them.
//!
//! ```text
//!            connect                    end of response, reusable
//!   (none) ──────────▶ Busy(exchange) ───────────────────────────▶ Idle ──▶ Busy …
//!      │                 │    │                                      │
//!      │  timeout or     │    │ end, EOF, reset                      │ EOF, too long idle
//!      │  client gone    ▼    ▼                                      ▼
//!      │          Abandoned ──▶ closed, the lease ends             closed
//!      └── a check ──▶ Checking ──▶ closed
//! ```
//!
//! Only a link to a worker is abandoned: a worker that may still be busy gets nothing else. An
//! upstream is not ours to wait for, and its link is closed.

use super::stuck::Left;
use super::subrequest::News;
use super::turn::{Edge, Timer};
use super::upstream_health::Checking;
use super::wire::Wire;
use super::worker_link::{Diag, Ear};
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::{Key, Slab, TokenKind, token};
use crate::shared::target::Target;
use mio::Interest;
use rip::http1::client::Client;
use rip::ids::{PoolNumber, WorkerId};
use rip::pool::{Lease, Outcome};
use rip::time::Instant;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// One connection to a worker or an upstream.
pub(super) struct Link {
    pub(super) wire: Wire,
    pub(super) place: Place,
    /// It does not stand yet: nothing can be written.
    pub(super) opening: bool,
    /// It has carried an exchange before the present one.
    pub(super) seasoned: bool,
    pub(super) client: Client,
    pub(super) input: Option<Buffer>,
    pub(super) duty: Duty,
    /// Deadline of the present duty: an answer, the next byte, the end of an idle time.
    pub(super) deadline: Option<Instant>,
    armed: Option<Instant>,
    /// The kernel may hold bytes for us.
    pub(super) readable: bool,
    /// The other side will say nothing more than what the kernel holds.
    pub(super) ended: bool,
    wants_write: bool,
    /// The exchange that was abandoned here, to be named when the worker does not end it.
    pub(super) left: Option<Box<Left>>,
}

/// Where a link leads.
pub(super) enum Place {
    Target(Arc<Target>),
    Worker(WorkerPlace),
}

/// A worker, and how long it keeps a link.
#[derive(Clone, Copy)]
pub(super) struct WorkerPlace {
    pub(super) pool: PoolNumber,
    pub(super) worker: WorkerId,
    pub(super) slot: u32,
    pub(super) keep_alive: bool,
    pub(super) idle: Option<Duration>,
}

/// What a link is doing.
pub(super) enum Duty {
    /// Carries an exchange.
    Busy { exchange: Key },
    /// Asks an upstream how it is.
    Checking(Box<Checking>),
    /// Waits for the next exchange.
    Idle,
    /// Nobody listens any more.
    Abandoned { lease: Lease, ear: Ear },
}

/// All links of one loop, and which of them are idle.
#[derive(Default)]
pub(super) struct Links {
    pub(super) slab: Slab<Link>,
    /// By pool and slot: idle links to workers, the most recently used last.
    shelves: Vec<Vec<Vec<Key>>>,
    /// By the target's number: idle links to upstreams, the most recently used last.
    targets: HashMap<u64, Vec<Key>>,
    pub(super) diag: Diag,
}

impl Links {
    /// Takes the most recently used idle link to the lease's worker.
    pub(super) fn take_idle(&mut self, pool: PoolNumber, lease: &Lease) -> Option<Key> {
        let shelf = self.shelves.get_mut(pool.0 as usize)?.get_mut(lease.slot() as usize)?;
        while let Some(key) = shelf.pop() {
            // A slot is used again by a later worker: its predecessor's links are not its own.
            let alive = self.slab.get(key).is_some_and(|link| {
                let is_its = |place: &WorkerPlace| place.worker == lease.worker();
                matches!(link.duty, Duty::Idle) && link.worker().is_some_and(is_its)
            });
            if alive {
                return Some(key);
            }
        }
        None
    }

    /// Takes the most recently used idle link to a target.
    pub(super) fn take_idle_to(&mut self, target: &Target) -> Option<Key> {
        let shelf = self.targets.get_mut(&target.number)?;
        while let Some(key) = shelf.pop() {
            if self.slab.get(key).is_some_and(|link| matches!(link.duty, Duty::Idle)) {
                return Some(key);
            }
        }
        None
    }

    pub(super) fn take_shelf(&mut self, place: &Place) -> Vec<Key> {
        match place {
            Place::Target(target) => self.targets.remove(&target.number).unwrap_or_default(),
            Place::Worker(WorkerPlace { pool, slot, .. }) => {
                let shelf = self
                    .shelves
                    .get_mut(pool.0 as usize)
                    .and_then(|shelves| shelves.get_mut(*slot as usize));
                shelf.map(std::mem::take).unwrap_or_default()
            }
        }
    }

    /// False when there are enough idle links to a target.
    fn put_idle(&mut self, key: Key) -> bool {
        match self.slab.get(key).map(|link| &link.place) {
            None => false,
            Some(Place::Target(target)) => {
                let shelf = self.targets.entry(target.number).or_default();
                if shelf.len() >= IDLE_TARGET_LINK_COUNT {
                    return false;
                }
                shelf.push(key);
                true
            }
            Some(Place::Worker(WorkerPlace { pool, slot, .. })) => {
                let (pool, slot) = (pool.0 as usize, *slot as usize);
                if self.shelves.len() <= pool {
                    self.shelves.resize_with(pool + 1, Vec::new);
                }
                let shelves = &mut self.shelves[pool];
                if shelves.len() <= slot {
                    shelves.resize_with(slot + 1, Vec::new);
                }
                shelves[slot].push(key);
                true
            }
        }
    }

    fn forget_idle(&mut self, place: &Place, key: Key) {
        match place {
            Place::Target(target) => {
                if let Some(shelf) = self.targets.get_mut(&target.number) {
                    shelf.retain(|idle| *idle != key);
                    // Targets come and go with configurations.
                    if shelf.is_empty() {
                        self.targets.remove(&target.number);
                    }
                }
            }
            Place::Worker(WorkerPlace { pool, slot, .. }) => {
                if let Some(shelf) = self
                    .shelves
                    .get_mut(pool.0 as usize)
                    .and_then(|shelves| shelves.get_mut(*slot as usize))
                {
                    shelf.retain(|idle| *idle != key);
                }
            }
        }
    }

    /// The pool is gone, and with it every worker that a link could lead to.
    pub(super) fn forget_pool(&mut self, pool: PoolNumber) {
        if let Some(shelves) = self.shelves.get_mut(pool.0 as usize) {
            *shelves = Vec::new();
        }
    }
}

/// Why no link could be had.
pub(super) enum ConnectError {
    /// The backlog is full just now, or a name is still being asked for.
    Full,
    /// There is nobody to connect to.
    Failed(io::Error),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        // A full backlog of a Unix socket cannot be waited for: the kernel says try again.
        if error.kind() == io::ErrorKind::WouldBlock { Self::Full } else { Self::Failed(error) }
    }
}

/// What one read of a link came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Filled {
    /// So many bytes.
    Bytes(usize),
    /// Nothing this time; [`Link::readable`] says whether to try again.
    Nothing,
    /// The other side says nothing more.
    End,
    /// The connection broke.
    Reset,
}

impl Link {
    /// Reads once into `input`, which has room, at most `most` bytes.
    pub(super) fn fill(&mut self, input: &mut Buffer, most: usize) -> Filled {
        let room = input.space();
        let asked = room.len().min(most);
        match self.wire.read(&mut room[..asked]) {
            Ok(0) => Filled::End,
            Ok(count) => {
                input.filled_by(count);
                // A short read emptied the socket, unless the end came with the bytes.
                self.readable = self.wire.holds_more(count, asked) || self.ended;
                Filled::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Filled::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Filled::Nothing,
            Err(_) => Filled::Reset,
        }
    }

    /// A link that begins with `duty`.
    pub(super) fn new(wire: Wire, place: Place, duty: Duty) -> Self {
        Self {
            opening: wire.unix().is_none(),
            wire,
            place,
            seasoned: false,
            client: Client::new(),
            input: None,
            duty,
            deadline: None,
            armed: None,
            readable: false,
            ended: false,
            wants_write: false,
            left: None,
        }
    }

    /// The worker it leads to.
    pub(super) fn worker(&self) -> Option<&WorkerPlace> {
        match &self.place {
            Place::Worker(place) => Some(place),
            Place::Target(_) => None,
        }
    }

    /// The other side keeps it open for a further exchange.
    pub(super) fn keeps_alive(&self) -> bool {
        self.worker().is_none_or(|place| place.keep_alive)
    }

    /// How long it may idle.
    fn idle(&self) -> Option<Duration> {
        match &self.place {
            Place::Target(_) => Some(IDLE_TARGET_LINK_TIME),
            Place::Worker(place) => place.idle,
        }
    }

    /// Whether nothing waits to be read, not even an end. Between two requests nobody has anything
    /// to say.
    fn is_quiet(&mut self) -> bool {
        self.readable = false;
        let found = self.wire.read(&mut [0]);
        matches!(found, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Edge {
    /// Takes in a link and has the kernel tell of it.
    pub(super) fn add_link(&mut self, link: Link) -> Result<Key, ConnectError> {
        let interest = match link.wire {
            // See [`Self::link_wants_write`].
            Wire::Unix(_) => Interest::READABLE,
            Wire::Tcp(_) | Wire::Tls(_) => Interest::READABLE | Interest::WRITABLE,
        };
        let key = self.links.slab.insert(link);
        let token = token(TokenKind::Link, key);
        let registered = match self.links.slab.get_mut(key) {
            Some(link) => self.registry.register(&mut link.wire, token, interest),
            None => Ok(()),
        };
        match registered {
            Ok(()) => Ok(key),
            Err(error) => {
                self.links.slab.remove(key);
                Err(ConnectError::Failed(error))
            }
        }
    }

    /// Of a Unix socket writability is asked for only while a write is pending: it raises an edge
    /// whenever its peer reads, which would double the wake-ups.
    pub(super) fn link_wants_write(&mut self, key: Key, wants: bool) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        if link.wants_write == wants || link.wire.unix().is_none() {
            return;
        }
        link.wants_write = wants;
        let interest =
            if wants { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let token = token(TokenKind::Link, key);
        if let Err(error) = self.registry.reregister(&mut link.wire, token, interest) {
            log::error!("cannot change what is asked of a worker's connection: {error}");
        }
    }

    /// Sets the deadline of a link's present duty.
    pub(super) fn link_deadline(&mut self, key: Key, at: Instant) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        link.deadline = Some(at);
        if link.armed.is_none_or(|armed| at < armed) {
            link.armed = Some(at);
            self.wheel.schedule(Timer::Link(key), at);
        }
    }

    /// A timer of this link went off; its deadline may have moved since.
    pub(super) fn link_timer(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(link) = self.links.slab.get_mut(key) else { return };
        if link.armed.is_some_and(|armed| armed > now) {
            return;
        }
        link.armed = None;
        let Some(deadline) = link.deadline else { return };
        if deadline > now {
            return self.link_deadline(key, deadline);
        }
        link.deadline = None;
        match &mut link.duty {
            Duty::Busy { exchange } => {
                let exchange = *exchange;
                self.worker_timed_out(exchange);
            }
            Duty::Checking(_) => self.check_answered(key, false),
            Duty::Idle => self.close_link(key),
            Duty::Abandoned { .. } => self.abandoned_for_long(key),
        }
    }

    /// Events of a link.
    pub(super) fn link_event(&mut self, key: Key, event: &mio::event::Event) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        let ended = event.is_read_closed() || event.is_error();
        link.ended |= ended;
        link.readable |= event.is_readable() || ended;
        if link.opening {
            return self.link_opens(key);
        }
        if event.is_writable() && !link.wire.is_flushed() {
            // An error comes up with the next read or write.
            let _ = link.wire.flush();
        }
        match &mut link.duty {
            Duty::Idle => {
                // It closed, or it is broken, or this event is older than the answer that was read.
                if !link.is_quiet() {
                    self.close_link(key);
                }
            }
            Duty::Busy { exchange } => {
                let exchange = *exchange;
                if self.is_tunnel(exchange) {
                    return self.pump(exchange);
                }
                if event.is_writable() {
                    self.send_request(key, exchange);
                }
                self.receive_response(key);
            }
            Duty::Checking(_) => self.read_check(key),
            Duty::Abandoned { .. } => self.abandoned_event(key, ended),
        }
    }

    /// The exchange on this link has ended with a whole response: the link waits for the next one,
    /// or is closed when it cannot be used again.
    pub(super) fn finish_link(&mut self, key: Key, reusable: bool) {
        let now = self.clock.now();
        let Some(link) = self.links.slab.get_mut(key) else { return };
        if let Some(input) = link.input.take() {
            self.blocks.give(input);
        }
        // What was said beyond the answer would be taken for the next one, and the end may have come
        // in the same event as the answer.
        let quiet = !link.ended && (!link.readable || link.is_quiet());
        if !(reusable && quiet && link.keeps_alive()) {
            return self.close_link(key);
        }
        link.duty = Duty::Idle;
        link.seasoned = true;
        link.deadline = None;
        let idle = link.idle();
        if !self.links.put_idle(key) {
            return self.close_link(key);
        }
        if let Some(idle) = idle {
            self.link_deadline(key, now + idle);
        }
    }

    /// Closes a link that took nothing of what was sent, and the idle ones beside it: the other side
    /// closes what it does not use.
    pub(super) fn close_stale_links(&mut self, key: Key) {
        let Some(link) = self.links.slab.get(key) else { return };
        let place = match &link.place {
            Place::Target(target) => Place::Target(Arc::clone(target)),
            Place::Worker(place) => Place::Worker(*place),
        };
        for idle in self.links.take_shelf(&place) {
            self.close_link(idle);
        }
        self.close_link(key);
    }

    /// Closes a link. An abandoned one's lease ends here; a busy one's exchange must have been told
    /// already.
    pub(super) fn close_link(&mut self, key: Key) {
        let Some(mut link) = self.links.slab.remove(key) else { return };
        // The kernel forgets a closed descriptor's registration by itself.
        if let Some(input) = link.input.take() {
            self.blocks.give(input);
        }
        match link.duty {
            Duty::Busy { .. } | Duty::Checking(_) => {}
            Duty::Idle => self.links.forget_idle(&link.place, key),
            Duty::Abandoned { lease, .. } => {
                if let Place::Worker(place) = link.place {
                    self.release(place.pool, lease, Outcome::Finished);
                }
                if let Some(turn) = link.left.and_then(|left| left.turn) {
                    self.news.push_back(News::Free(turn));
                }
            }
        }
    }
}

/// Idle links of one loop to one target.
const IDLE_TARGET_LINK_COUNT: usize = 64;
/// How long a link to an upstream idles. Servers that close first do so after 5 s and more, and a
/// request that meets such an end on its way cannot always be sent again.
const IDLE_TARGET_LINK_TIME: Duration = Duration::from_secs(4);
