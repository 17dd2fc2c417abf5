//! Links to workers: how one is had, and how one is left whose exchange nobody waits for.
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

use super::link::{ConnectError, Duty, Link, Links, Place, WorkerPlace};
use super::turn::Edge;
use super::wire::Wire;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use crate::shared::pools::Address;
use crate::sys::diag::SocketDiag;
use mio::net::UnixStream;
use rip::http1::client::ClientRead;
use rip::http1::head::ResponseHead;
use rip::ids::PoolNumber;
use rip::limits;
use rip::pool::{Lease, Outcome};
use std::io::{self, Read};
use std::net::Shutdown;
use std::time::Duration;

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

/// Whether the kernel tells when the other end of a connection was closed.
#[derive(Default)]
pub(super) enum Diag {
    /// It was not asked yet.
    #[default]
    Unknown,
    Answers(SocketDiag),
    Silent,
}

impl Links {
    /// Whether the kernel can be asked about connections like `key`, to a worker that was heard.
    fn can_ask(&mut self, key: Key) -> bool {
        if let (Diag::Unknown, Some(link)) = (&self.diag, self.slab.get(key)) {
            let opened = SocketDiag::open().and_then(|mut diag| {
                let stream = link.wire.unix().ok_or(io::ErrorKind::Unsupported)?;
                diag.is_peer_open(stream).map(|_| diag)
            });
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
            (Diag::Answers(diag), Some(link)) => {
                diag.is_peer_open(link.wire.unix().ok_or(io::ErrorKind::Unsupported)?)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Link {
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
                    // One that switches was asked to, and has nobody to speak to.
                    Ok(ClientRead::End { .. } | ClientRead::Switched { .. }) => return Rest::Over,
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
            match self.wire.read(room) {
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
        let stream = UnixStream::connect(&address.socket_path)?;
        let place = WorkerPlace {
            pool,
            worker: address.worker,
            slot,
            keep_alive: address.keep_alive,
            idle: address.idle,
        };
        self.add_link(Link::new(Wire::Unix(stream), Place::Worker(place), Duty::Busy { exchange }))
    }

    /// The deadline of an abandoned link has passed.
    pub(super) fn abandoned_for_long(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(link) = self.links.slab.get_mut(key) else { return };
        let Duty::Abandoned { ear, .. } = &mut link.duty else { return };
        match ear {
            Ear::Patient { streaming: true } => self.deafen_link(key),
            Ear::Patient { .. } => *ear = Ear::Impatient,
            Ear::Impatient => {}
            Ear::Deaf => self.ask_for_end(key),
            Ear::Slow => {
                self.discard_response(key);
                self.link_deadline(key, now + SLOW_PAUSE);
            }
        }
    }

    /// Something happened on an abandoned link; with `ended` it says nothing more.
    pub(super) fn abandoned_event(&mut self, key: Key, ended: bool) {
        match self.links.slab.get(key).map(|link| &link.duty) {
            Some(Duty::Abandoned { ear: Ear::Deaf, .. }) => self.ask_for_end(key),
            Some(Duty::Abandoned { ear: Ear::Slow, .. }) => {
                if ended {
                    self.close_link(key);
                }
            }
            _ => self.discard_response(key),
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
        let _ = link.wire.unix().map(|stream| stream.shutdown(Shutdown::Write));
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
        if link.ended || matches!(link.wire.read(&mut [0]), Ok(0)) {
            return self.close_link(key);
        }
        *ear = Ear::Deaf;
        link.deadline = None;
        if let Some(input) = link.input.take() {
            self.blocks.give(input);
        }
        let _ = link.wire.unix().map(|stream| stream.shutdown(Shutdown::Read));
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
}

/// A worker that writes more than this to nobody has not noticed.
const DISCARDED_BYTES: usize = 1024 * 1024;
/// A worker that watches its connection ends a stream within this, and that it does is then seen.
const STREAM_GRACE: Duration = Duration::from_millis(100);
/// The kernel refuses an answer only when it is short of memory.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Between two pieces of at most [`DISCARDED_BYTES`] that are read slowly.
const SLOW_PAUSE: Duration = Duration::from_millis(100);
