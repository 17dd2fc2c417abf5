//! Taking in clients: every listening socket, the caps, and what happens when descriptors run out.
//!
//! With one loop that loop accepts. With several, a thread of its own accepts and deals each
//! connection to the loop that has the fewest.

use super::turn::{Edge, Timer};
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::{Receiver, Sender};
use crate::reactor::slab::{TokenKind, plain_token};
use crate::shared::Shared;
use crate::shared::connections::Connections;
use crate::shared::mail::EdgeMessage;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry};
use rip::time::Instant;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The listening sockets.
pub(super) struct Acceptor {
    listeners: Vec<TcpListener>,
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
    pub(super) fn new(
        listeners: Vec<std::net::TcpListener>,
        registry: &Registry,
    ) -> io::Result<Self> {
        let mut watched = Vec::with_capacity(listeners.len());
        for (index, listener) in (0u32..).zip(listeners) {
            listener.set_nonblocking(true)?;
            let mut listener = TcpListener::from_std(listener);
            let token = plain_token(TokenKind::Listener, index);
            registry.register(&mut listener, token, Interest::READABLE)?;
            watched.push(listener);
        }
        Ok(Self { listeners: watched, spare: spare_descriptor(), unfinished: false })
    }

    /// Takes clients out of the backlogs and gives each to `take` with the loop it was dealt to.
    /// `whatever_the_cap` is for the last go of a server that stops.
    pub(super) fn accept(
        &mut self,
        connections: &Connections,
        whatever_the_cap: bool,
        mut take: impl FnMut(usize, TcpStream, SocketAddr),
    ) -> Next {
        self.unfinished = true;
        let mut budget = ACCEPTS_PER_GO;
        for listener in &self.listeners {
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
                        // One client too many of its address is closed at once.
                        if let Some(dealt_to) = connections.enter(peer.ip()) {
                            take(dealt_to, stream, peer);
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
            self.accept_with(false);
        }
    }

    /// The last go: the backlogs are emptied, then the listeners are closed.
    pub(super) fn accept_the_last(&mut self) {
        self.accept_with(true);
        self.acceptor = None;
    }

    fn accept_with(&mut self, whatever_the_cap: bool) {
        let Some(mut acceptor) = self.acceptor.take() else { return };
        let shared = Arc::clone(&self.shared);
        let next = acceptor.accept(&shared.connections, whatever_the_cap, |_, stream, peer| {
            self.welcome(stream, peer);
        });
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
    /// Empty the backlogs, close the listeners, pass this on to the loops, and end.
    Drain { idle_until: Instant },
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
    let deal = |dealt_to: usize, stream, peer| {
        if let Some(chosen) = loops.get(dealt_to) {
            chosen.send(EdgeMessage::Accepted { stream, peer });
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
        if let Some(message) = inbox.pop() {
            if let AcceptorMessage::Drain { idle_until } = message {
                acceptor.accept(&shared.connections, true, deal);
                for edge in loops {
                    edge.send(EdgeMessage::Drain { idle_until });
                }
            }
            return;
        }
        if next == Next::Starved && Clock::read() < starved_until {
            continue;
        }
        next = acceptor.accept(&shared.connections, false, deal);
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
