//! Taking in clients: every listening socket, the caps, and what happens when descriptors run out.
//!
//! With one loop that loop accepts. With several, a thread of its own accepts and deals each
//! connection to the loop that has the fewest.

use super::turn::{Edge, Timer};
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::{Receiver, Sender};
use crate::reactor::slab::{TokenKind, plain_token};
use crate::shared::Shared;
use crate::shared::mail::{Arrival, ControlMessage, EdgeMessage, Farewell, Listening};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Registry};
use rip::contract::listen::ListenAddress;
use rip::contract::reason::Reason;
use rip::observe::counter::Counter;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The listening sockets. They come and go with configurations.
pub(super) struct Acceptor {
    listeners: Vec<(ListenAddress, TcpListener)>,
    registry: Registry,
    /// Tokens are not used twice.
    next_index: u32,
    /// Given up for a moment when there is no descriptor left, so that a client can be taken out of
    /// the backlog and told so by a close.
    spare: Option<File>,
    /// There may be more in a backlog than was taken.
    pub(super) unfinished: bool,
}

/// What comes after a go at the backlogs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Every backlog is empty: the kernel will tell of the next client.
    Dry,
    /// The house is full: its end will be told.
    Full,
    /// Others have their turn first.
    Later,
    /// The kernel has no descriptor or memory: try again in a while.
    Starved,
}

impl Acceptor {
    /// Watches `listeners` with `registry`.
    pub(super) fn new(listeners: Vec<Listening>, registry: &Registry) -> io::Result<Self> {
        let mut acceptor = Self {
            listeners: Vec::with_capacity(listeners.len()),
            registry: registry.try_clone()?,
            next_index: 0,
            spare: spare_descriptor(),
            unfinished: false,
        };
        for listening in listeners {
            acceptor.open(listening)?;
        }
        Ok(acceptor)
    }

    /// Watches one more. Clients that are in its backlog already are told of like those to come.
    pub(super) fn open(&mut self, Listening { address, listener }: Listening) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let token = plain_token(TokenKind::Listener, self.next_index);
        self.registry.register(&mut listener, token, Interest::READABLE)?;
        self.next_index = self.next_index.wrapping_add(1);
        self.listeners.push((address, listener));
        Ok(())
    }

    /// Gives one up: clients in its backlog are given to `take` first, whatever the cap, because a
    /// listener that is closed resets them. Connections it has accepted live on.
    pub(super) fn close(
        &mut self,
        address: ListenAddress,
        shared: &Shared,
        take: impl FnMut(usize, Arrival),
    ) {
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.listeners.drain(..).partition(|(own, _)| *own == address);
        self.listeners = gone;
        let unfinished = self.unfinished;
        // Where the kernel has no descriptor left the rest of them is lost.
        let _nothing_is_tried_again = self.accept(shared, true, take);
        self.unfinished = unfinished;
        self.unwatch();
        self.listeners = stay;
    }

    /// Gives all of them up: backlogs that are nobody else's are emptied first, as by [`Self::close`].
    pub(super) fn close_all(
        &mut self,
        farewell: &Farewell,
        shared: &Shared,
        take: impl FnMut(usize, Arrival),
    ) {
        let (left, own): (Vec<_>, Vec<_>) =
            self.listeners.drain(..).partition(|(address, _)| farewell.leaves(*address));
        self.listeners = own;
        let _nothing_is_tried_again = self.accept(shared, true, take);
        self.listeners.extend(left);
        self.unwatch();
        self.unfinished = false;
    }

    /// Closes the listeners. A socket that another process has open as well stays in the event loop
    /// when our descriptor is closed: it is taken out before.
    fn unwatch(&mut self) {
        for (address, mut listener) in self.listeners.drain(..) {
            if let Err(error) = self.registry.deregister(&mut listener) {
                log::debug!("{address} was not watched: {error}");
            }
        }
    }

    /// Takes clients out of the backlogs and gives each to `take` with the loop it was dealt to.
    /// `whatever_the_cap` is for the last go of a server that stops.
    pub(super) fn accept(
        &mut self,
        shared: &Shared,
        whatever_the_cap: bool,
        mut take: impl FnMut(usize, Arrival),
    ) -> Next {
        self.unfinished = true;
        let mut budget = ACCEPTS_PER_GO;
        let connections = &shared.connections;
        let active = shared.current.load();
        for (at, listener) in &self.listeners {
            loop {
                if !whatever_the_cap {
                    if budget == 0 {
                        return Next::Later;
                    }
                    if !connections.has_room() {
                        return Next::Full;
                    }
                }
                budget = budget.saturating_sub(1);
                match listener.accept() {
                    Ok((stream, peer)) => {
                        // A proxy that is trusted stands for any number of clients.
                        let counted = Some(peer.ip()).filter(|ip| !active.trusted.contains(*ip));
                        match connections.enter(counted) {
                            Some(to) => take(to, Arrival { stream, peer, at: *at, counted }),
                            // One client too many of its address is closed at once.
                            None => {
                                let refusal = Counter::Refusal(Reason::AddressCap);
                                shared.stats.acceptor().add(refusal, 1);
                            }
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_starvation(&error) => {
                        log::error!("cannot accept a client: {error}");
                        self.spare = None;
                        drop(listener.accept());
                        self.spare = spare_descriptor();
                        return Next::Starved;
                    }
                    // The client left while it waited, or a signal came.
                    Err(_) => {}
                }
            }
        }
        self.unfinished = false;
        Next::Dry
    }
}

impl Edge {
    /// Accepts on this loop.
    pub(super) fn accept(&mut self) {
        if !self.accept_starved {
            self.accept_more();
        }
    }

    /// Accepts at one more address.
    pub(super) fn open_listener(&mut self, listening: Listening) {
        let address = listening.address;
        if let Some(acceptor) = &mut self.acceptor
            && let Err(error) = acceptor.open(listening)
        {
            log::error!("nobody is accepted at {address}: {error}");
        }
    }

    /// Accepts no longer there.
    pub(super) fn close_listener(&mut self, address: ListenAddress) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        let shared = Arc::clone(&self.shared);
        acceptor.close(address, &shared, |_, arrival| self.welcome(arrival));
        self.acceptor = Some(acceptor);
        shared.control.send(ControlMessage::ListenerClosed(address));
    }

    /// The last go: the backlogs are emptied, unless others do, then the listeners are closed.
    pub(super) fn accept_the_last(&mut self, farewell: &Farewell) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        let shared = Arc::clone(&self.shared);
        acceptor.close_all(farewell, &shared, |_, arrival| self.welcome(arrival));
        (self.accept_later, self.accept_starved) = (false, false);
    }

    fn accept_more(&mut self) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        let shared = Arc::clone(&self.shared);
        let next = acceptor.accept(&shared, false, |_, arrival| self.welcome(arrival));
        self.accept_starved = next == Next::Starved;
        if self.accept_starved {
            self.wheel.schedule(Timer::Accept, self.clock.now() + STARVATION_PAUSE);
        }
        self.accept_later = next == Next::Later;
        self.acceptor = Some(acceptor);
    }
}

/// To the acceptor's thread.
pub(super) enum AcceptorMessage {
    /// Accept at one more address.
    Open(Listening),
    /// Accept no longer there.
    Close(ListenAddress),
    /// Say that this thread lives.
    Live(u64),
    /// Empty the backlogs, unless others do, close the listeners, pass this on to the loops, and end.
    Drain(Farewell),
    /// End.
    Stop,
}

/// The acceptor's thread: deals clients to `loops` until it is told to end.
pub(super) fn run(
    mut acceptor: Acceptor,
    mut poll: Poll,
    mut mail: Receiver<AcceptorMessage>,
    loops: &[Sender<EdgeMessage>],
    shared: &Shared,
) {
    let deal = |dealt_to: usize, arrival| {
        if let Some(chosen) = loops.get(dealt_to) {
            chosen.send(EdgeMessage::Accepted(arrival));
        }
    };
    let mut events = Events::with_capacity(16);
    let mut inbox = Vec::new();
    let mut next = Next::Dry;
    let mut starved_until = Clock::read();
    loop {
        let patience = match next {
            Next::Dry | Next::Full => None,
            Next::Later => Some(Duration::ZERO),
            Next::Starved => Some(starved_until.since(Clock::read())),
        };
        if let Err(error) = poll.poll(&mut events, patience)
            && error.kind() != io::ErrorKind::Interrupted
        {
            log::error!("acceptor: cannot wait for clients: {error}");
            return;
        }
        mail.drain(&mut inbox);
        for message in inbox.drain(..) {
            match message {
                AcceptorMessage::Open(listening) => {
                    let address = listening.address;
                    if let Err(error) = acceptor.open(listening) {
                        log::error!("nobody is accepted at {address}: {error}");
                    }
                }
                AcceptorMessage::Close(address) => {
                    acceptor.close(address, shared, deal);
                    shared.control.send(ControlMessage::ListenerClosed(address));
                }
                AcceptorMessage::Live(round) => {
                    shared.control.send(ControlMessage::Alive(round));
                }
                AcceptorMessage::Drain(farewell) => {
                    acceptor.close_all(&farewell, shared, deal);
                    for edge in loops {
                        edge.send(EdgeMessage::Drain(farewell.clone()));
                    }
                    return;
                }
                AcceptorMessage::Stop => return,
            }
        }
        if next == Next::Starved && Clock::read() < starved_until {
            continue;
        }
        next = acceptor.accept(shared, false, deal);
        starved_until = Clock::read() + STARVATION_PAUSE;
    }
}

fn is_starvation(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn spare_descriptor() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Clients taken in before others get their turn.
const ACCEPTS_PER_GO: u32 = 128;
/// The kernel gets this long to find descriptors again.
const STARVATION_PAUSE: Duration = Duration::from_millis(100);
