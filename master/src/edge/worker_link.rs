//! A loop's connections to the workers: opened on demand, kept while the worker keeps them.
//!
//! ```text
//!            connect                    end of response, reusable
//!   (none) ──────────▶ Busy(exchange) ───────────────────────────▶ Idle ──▶ Busy …
//!                        │    │                                      │
//!     timeout or client  │    │ end, EOF, reset                      │ EOF, too long idle
//!                        ▼    ▼                                      ▼
//!                 Abandoned ──▶ closed, the lease ends             closed
//! ```
//!
//! An abandoned link is told that nobody listens: its write side is shut down at once, and what it
//! still sends is thrown away. A worker that writes on after a second, or a lot, finds that its
//! writes fail; so does one that streams and has not ended at once. The lease ends with the response
//! or with the connection and never by a timer: until then the worker may still be busy.
//!
//! Where both directions were shut down by us no event and no read tells whose end it is, so the
//! kernel is asked ([`SocketDiag`]). Where it does not answer, because it was built without that or
//! a sandbox forbids it, the worker's writes are left alone: the rest is read a little at a time, and
//! its end is seen as that of any answer.

use super::stuck::Left;
use super::turn::{Edge, Timer};
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::{Key, Slab, TokenKind, token};
use crate::shared::pools::Address;
use crate::sys::diag::SocketDiag;
use mio::Interest;
use mio::net::UnixStream;
use rip::http1::client::{Client, ClientRead};
use rip::http1::head::ResponseHead;
use rip::ids::{PoolNumber, WorkerId};
use rip::limits;
use rip::pool::{Lease, Outcome};
use rip::time::Instant;
use std::io::{self, Read};
use std::net::Shutdown;
use std::time::Duration;

/// One connection to a worker.
pub(super) struct Link {
    pub(super) stream: UnixStream,
    pub(super) pool: PoolNumber,
    pub(super) worker: WorkerId,
    slot: u32,
    pub(super) keep_alive: bool,
    idle: Option<Duration>,
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
    /// The worker will say nothing more than what the kernel holds.
    pub(super) ended: bool,
    wants_write: bool,
    /// The exchange that was abandoned here, to be named when the worker does not end it.
    pub(super) left: Option<Box<Left>>,
}

/// What a link is doing.
pub(super) enum Duty {
    /// Carries an exchange.
    Busy { exchange: Key },
    /// Waits for the next exchange.
    Idle,
    /// Nobody listens any more.
    Abandoned { lease: Lease, ear: Ear },
}

/// How an abandoned link takes what the worker still says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ear {
    /// It is thrown away. A stream has no end to wait for: unless it ends soon it becomes deaf.
    Patient { streaming: bool },
    /// The same, but it must end the answer: a further piece makes the link deaf.
    Impatient,
    /// The worker's writes fail. Both directions were shut down by us: only the kernel knows when
    /// the worker has closed.
    Deaf,
    /// It is thrown away a little at a time, because the kernel would not tell of a deaf link's end.
    Slow,
}

/// All links of one loop, and which of them are idle.
#[derive(Default)]
pub(super) struct Links {
    pub(super) slab: Slab<Link>,
    /// By pool and slot: idle links, the most recently used last.
    shelves: Vec<Vec<Vec<Key>>>,
    diag: Diag,
}

/// Whether the kernel tells when the other end of a connection was closed.
#[derive(Default)]
enum Diag {
    /// It was not asked yet.
    #[default]
    Unknown,
    Answers(SocketDiag),
    Silent,
}

impl Links {
    /// Takes the most recently used idle link to the lease's worker.
    fn take_idle(&mut self, pool: PoolNumber, lease: &Lease) -> Option<Key> {
        let shelf = self.shelves.get_mut(pool.0 as usize)?.get_mut(lease.slot() as usize)?;
        while let Some(key) = shelf.pop() {
            // A slot is used again by a later worker: its predecessor's links are not its own.
            let alive = self.slab.get(key).is_some_and(|link| {
                matches!(link.duty, Duty::Idle) && link.worker == lease.worker()
            });
            if alive {
                return Some(key);
            }
        }
        None
    }

    fn take_shelf(&mut self, pool: PoolNumber, slot: u32) -> Vec<Key> {
        let shelf = self
            .shelves
            .get_mut(pool.0 as usize)
            .and_then(|shelves| shelves.get_mut(slot as usize));
        shelf.map(std::mem::take).unwrap_or_default()
    }

    fn put_idle(&mut self, pool: PoolNumber, slot: u32, key: Key) {
        let pool = pool.0 as usize;
        if self.shelves.len() <= pool {
            self.shelves.resize_with(pool + 1, Vec::new);
        }
        let shelves = &mut self.shelves[pool];
        if shelves.len() <= slot as usize {
            shelves.resize_with(slot as usize + 1, Vec::new);
        }
        shelves[slot as usize].push(key);
    }

    fn forget_idle(&mut self, pool: PoolNumber, slot: u32, key: Key) {
        if let Some(shelf) =
            self.shelves.get_mut(pool.0 as usize).and_then(|shelves| shelves.get_mut(slot as usize))
        {
            shelf.retain(|idle| *idle != key);
        }
    }

    /// The pool is gone, and with it every worker that a link could lead to.
    pub(super) fn forget_pool(&mut self, pool: PoolNumber) {
        if let Some(shelves) = self.shelves.get_mut(pool.0 as usize) {
            *shelves = Vec::new();
        }
    }

    /// Whether the kernel can be asked about connections like `key`, to a worker that was heard.
    fn can_ask(&mut self, key: Key) -> bool {
        if let (Diag::Unknown, Some(link)) = (&self.diag, self.slab.get(key)) {
            let opened = SocketDiag::open()
                .and_then(|mut diag| diag.is_peer_open(&link.stream).map(|_| diag));
            self.diag = match opened {
                Ok(diag) => Diag::Answers(diag),
                Err(error) => {
                    log::warn!(
                        "the kernel does not tell when a connection was closed ({error}): \
                         a worker that writes on after its client left is not stopped from it"
                    );
                    Diag::Silent
                }
            };
        }
        matches!(self.diag, Diag::Answers(_))
    }

    fn is_peer_open(&mut self, key: Key) -> io::Result<bool> {
        match (&mut self.diag, self.slab.get(key)) {
            (Diag::Answers(diag), Some(link)) => diag.is_peer_open(&link.stream),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Why no link could be had.
pub(super) enum ConnectError {
    /// The worker's backlog is full just now.
    Full,
    /// There is nobody to connect to.
    Failed(io::Error),
}

impl Link {
    /// Whether nothing waits to be read, not even an end. Between two requests a worker has nothing
    /// to say.
    fn is_quiet(&mut self) -> bool {
        self.readable = false;
        let found = self.stream.read(&mut [0]);
        matches!(found, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads and throws away what there is of an answer nobody waits for.
    fn discard(&mut self, input: &mut Buffer, head: &mut ResponseHead) -> Rest {
        let may_go_on = !matches!(self.duty, Duty::Abandoned { ear: Ear::Impatient, .. });
        let mut budget_bytes = DISCARDED_BYTES;
        loop {
            loop {
                match self.client.read(input.filled(), false, head) {
                    Ok(ClientRead::More) => break,
                    Ok(
                        ClientRead::Informational { consumed }
                        | ClientRead::Head { consumed }
                        | ClientRead::Body { consumed, .. },
                    ) => input.consume(consumed),
                    Ok(ClientRead::End { .. }) => return Rest::Over,
                    Err(_) => return Rest::TooMuch,
                }
            }
            if budget_bytes == 0 {
                return Rest::TooMuch;
            }
            if !self.readable {
                let goes_on = budget_bytes < DISCARDED_BYTES;
                return if goes_on && !may_go_on { Rest::TooMuch } else { Rest::Awaited };
            }
            if input.space().is_empty() && !input.grow(limits::HEAD_BYTES + 4) {
                return Rest::TooMuch;
            }
            let room = input.space();
            let asked = room.len();
            match self.stream.read(room) {
                Ok(0) => return Rest::Over,
                Ok(count) => {
                    input.filled_by(count);
                    self.readable = count == asked || self.ended;
                    budget_bytes = budget_bytes.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Rest::Over,
            }
        }
    }
}

/// What is left of an answer nobody waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rest {
    /// More of it may come.
    Awaited,
    /// Nothing: it ended, or its connection did.
    Over,
    /// More than is read for nothing.
    TooMuch,
}

impl Edge {
    /// A link to the lease's worker: an idle one, or a new one. It carries `exchange` from now on.
    pub(super) fn link_for(
        &mut self,
        pool: PoolNumber,
        lease: &Lease,
        exchange: Key,
    ) -> Result<Key, ConnectError> {
        if let Some(key) = self.links.take_idle(pool, lease)
            && let Some(link) = self.links.slab.get_mut(key)
        {
            link.duty = Duty::Busy { exchange };
            link.deadline = None;
            return Ok(key);
        }
        let Some(address) = self.seats.pool(pool).and_then(|pool| pool.address(lease)) else {
            return Err(ConnectError::Failed(io::ErrorKind::NotFound.into()));
        };
        self.connect_link(pool, lease.slot(), &address, exchange)
    }

    fn connect_link(
        &mut self,
        pool: PoolNumber,
        slot: u32,
        address: &Address,
        exchange: Key,
    ) -> Result<Key, ConnectError> {
        let stream = UnixStream::connect(&address.socket_path).map_err(|error| {
            // A full backlog of a Unix socket cannot be waited for: the kernel says try again.
            if error.kind() == io::ErrorKind::WouldBlock {
                ConnectError::Full
            } else {
                ConnectError::Failed(error)
            }
        })?;
        let key = self.links.slab.insert(Link {
            stream,
            pool,
            worker: address.worker,
            slot,
            keep_alive: address.keep_alive,
            idle: address.idle,
            seasoned: false,
            client: Client::new(),
            input: None,
            duty: Duty::Busy { exchange },
            deadline: None,
            armed: None,
            readable: false,
            ended: false,
            wants_write: false,
            left: None,
        });
        let token = token(TokenKind::Link, key);
        let registered = match self.links.slab.get_mut(key) {
            Some(link) => self.registry.register(&mut link.stream, token, Interest::READABLE),
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

    /// Writability is asked for only while a write is pending: a Unix socket raises an edge
    /// whenever its peer reads, which would double the wake-ups.
    pub(super) fn link_wants_write(&mut self, key: Key, wants: bool) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        if link.wants_write == wants {
            return;
        }
        link.wants_write = wants;
        let interest =
            if wants { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let token = token(TokenKind::Link, key);
        if let Err(error) = self.registry.reregister(&mut link.stream, token, interest) {
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
            Duty::Idle => self.close_link(key),
            Duty::Abandoned { ear: Ear::Patient { streaming: true }, .. } => {
                self.deafen_link(key);
            }
            Duty::Abandoned { ear: ear @ Ear::Patient { .. }, .. } => *ear = Ear::Impatient,
            Duty::Abandoned { ear: Ear::Impatient, .. } => {}
            Duty::Abandoned { ear: Ear::Deaf, .. } => self.ask_for_end(key),
            Duty::Abandoned { ear: Ear::Slow, .. } => {
                self.discard_response(key);
                self.link_deadline(key, now + SLOW_PAUSE);
            }
        }
    }

    /// Events of a link.
    pub(super) fn link_event(&mut self, key: Key, event: &mio::event::Event) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        let ended = event.is_read_closed() || event.is_error();
        link.ended |= ended;
        link.readable |= event.is_readable() || ended;
        match &mut link.duty {
            Duty::Idle => {
                // It closed, or it is broken, or this event is older than the answer that was read.
                if !link.is_quiet() {
                    self.close_link(key);
                }
            }
            Duty::Busy { exchange } => {
                let exchange = *exchange;
                if event.is_writable() {
                    self.send_request(key, exchange);
                }
                self.receive_response(key);
            }
            Duty::Abandoned { ear: Ear::Deaf, .. } => self.ask_for_end(key),
            Duty::Abandoned { ear: Ear::Slow, .. } => {
                if ended {
                    self.close_link(key);
                }
            }
            Duty::Abandoned { .. } => self.discard_response(key),
        }
    }

    /// The exchange on this link is over for its client; the worker may still be busy with it.
    pub(super) fn abandon_link(
        &mut self,
        key: Key,
        pool: PoolNumber,
        mut lease: Lease,
        streaming: bool,
    ) {
        let now = self.clock.now();
        // Before anything is shut down: a change of interest repeats what the kernel has to report.
        self.link_wants_write(key, false);
        let Some(link) = self.links.slab.get_mut(key) else {
            return self.release(pool, lease, Outcome::Failed);
        };
        if let Some(pool) = self.seats.pool(pool) {
            pool.abandon(&mut lease);
        }
        link.duty = Duty::Abandoned { lease, ear: Ear::Patient { streaming } };
        let _ = link.stream.shutdown(Shutdown::Write);
        let grace = if streaming { STREAM_GRACE } else { limits::ABANDON_GRACE };
        self.link_deadline(key, now + grace);
        self.discard_response(key);
    }

    /// From now on an abandoned worker's writes fail, or at least it is read slowly.
    fn deafen_link(&mut self, key: Key) {
        let now = self.clock.now();
        let can_ask = self.links.can_ask(key);
        let Some(link) = self.links.slab.get_mut(key) else { return };
        let Duty::Abandoned { ear, .. } = &mut link.duty else { return };
        if !can_ask && !link.ended {
            *ear = Ear::Slow;
            return self.link_deadline(key, now + SLOW_PAUSE);
        }
        // A worker that shut down its side only has ended as well: the kernel would not tell.
        if link.ended || matches!(link.stream.read(&mut [0]), Ok(0)) {
            return self.close_link(key);
        }
        *ear = Ear::Deaf;
        link.deadline = None;
        if let Some(input) = link.input.take() {
            self.blocks.give(input);
        }
        let _ = link.stream.shutdown(Shutdown::Read);
        self.ask_for_end(key);
    }

    /// Closes a deaf link when its worker has closed it. Its end raises an event: asked after each,
    /// and once after the last shutdown, the kernel does not let us miss it.
    fn ask_for_end(&mut self, key: Key) {
        match self.links.is_peer_open(key) {
            Ok(true) => {}
            Ok(false) => self.close_link(key),
            Err(error) => {
                log::debug!("the kernel was asked for a worker's end in vain: {error}");
                let now = self.clock.now();
                self.link_deadline(key, now + ASK_AGAIN);
            }
        }
    }

    /// Reads and throws away what an abandoned worker still says, to its end.
    fn discard_response(&mut self, key: Key) {
        let Some(link) = self.links.slab.get_mut(key) else { return };
        let mut input = link.input.take().unwrap_or_else(|| self.blocks.take());
        let rest = link.discard(&mut input, &mut self.answer_head);
        if input.is_empty() || rest == Rest::Over {
            self.blocks.give(input);
        } else {
            link.input = Some(input);
        }
        match rest {
            Rest::Awaited => {}
            Rest::Over => self.close_link(key),
            Rest::TooMuch => self.deafen_link(key),
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
        // What the worker said beyond its answer would be taken for the next one, and its end may
        // have come in the same event as the answer.
        let quiet = !link.ended && (!link.readable || link.is_quiet());
        if !(reusable && quiet && link.keep_alive) {
            return self.close_link(key);
        }
        link.duty = Duty::Idle;
        link.seasoned = true;
        link.deadline = None;
        let (pool, slot, idle) = (link.pool, link.slot, link.idle);
        if let Some(idle) = idle {
            self.link_deadline(key, now + idle);
        }
        self.links.put_idle(pool, slot, key);
    }

    /// Closes a link that took nothing of what was sent, and the idle ones beside it: the worker
    /// closes what it does not use.
    pub(super) fn close_stale_links(&mut self, key: Key) {
        let Some(link) = self.links.slab.get(key) else { return };
        for idle in self.links.take_shelf(link.pool, link.slot) {
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
            Duty::Busy { .. } => {}
            Duty::Idle => self.links.forget_idle(link.pool, link.slot, key),
            Duty::Abandoned { lease, .. } => self.release(link.pool, lease, Outcome::Finished),
        }
    }
}

/// A worker that writes more than this to nobody has not noticed.
const DISCARDED_BYTES: usize = 1024 * 1024;
/// A worker that watches its connection ends a stream within this, and that it does is then seen.
const STREAM_GRACE: Duration = Duration::from_millis(100);
/// The kernel refuses an answer only when it is short of memory.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Between two pieces of at most [`DISCARDED_BYTES`] that are read slowly.
const SLOW_PAUSE: Duration = Duration::from_millis(100);
