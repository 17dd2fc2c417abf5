//! The control socket: HTTP/1.1 with JSON bodies, for shims and for whoever may command the master.
//!
//! A connection is read until it holds one whole request; then nothing more is read from it until
//! that request is answered, which for a quit may take as long as a drain. Only root and the
//! master's own user are let in.
//!
//! A follower is a connection whose answer does not end: it gets every frame that is published. One
//! that takes frames more slowly than they come is dropped and counted.

mod connection;
#[cfg(test)]
mod tests;

pub use crate::shared::door::Answer;
use crate::shared::door::Caller;
use crate::sys::peer::Peer;
use connection::{Connection, Phase};
use mio::event::Event;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::unistd::geteuid;
use rip::http1::{Limits, Method};
use rip::limits;
use rip::time::Instant;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// One connection for as long as it lives; never used again after.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

/// Where an answer goes. Nobody may be there any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asker {
    /// To a connection on the control socket.
    Connection(ConnectionId),
    /// To a loop that asks for a client of its own.
    Door(Caller),
}

/// Who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// A process that is connected to the control socket.
    Process(Peer),
    /// A client of the public side.
    Client(Option<IpAddr>),
}

impl By {
    /// The process, where it is one.
    pub fn process(&self) -> Option<Peer> {
        match self {
            Self::Process(peer) => Some(*peer),
            Self::Client(_) => None,
        }
    }
}

/// A whole request: it waits for its answer.
#[derive(Debug)]
pub struct Request {
    /// Where the answer goes.
    pub from: Asker,
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
    /// The value of `Accept`; empty without one.
    pub accept: Vec<u8>,
    /// The body, complete.
    pub body: Vec<u8>,
    /// Who asks.
    pub by: By,
}

/// The listening sockets and their connections.
///
/// Workers have one of their own: that of everybody else goes from one master to the next.
pub struct ControlServer {
    workers: UnixListener,
    /// Everybody else's, as long as it is ours.
    public: Option<UnixListener>,
    token: Token,
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
    /// Serves `workers`, and everybody once [`Self::open`] is called; `token` is the name of both in
    /// the event loop and `name` that of a connection.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn new(
        workers: std::os::unix::net::UnixListener,
        token: Token,
        name: fn(ConnectionId) -> Token,
        registry: Registry,
    ) -> io::Result<Self> {
        let workers = watched(workers, token, &registry)?;
        let limits = Limits { body_bytes: limits::CONTROL_BODY_BYTES as u64, ..Limits::default() };
        Ok(Self {
            workers,
            public: None,
            token,
            accept_again: None,
            name,
            connections: BTreeMap::new(),
            last_id: 0,
            dropped_followers: 0,
            registry,
            limits,
        })
    }

    /// Everybody who may is served at `public` from now on.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn open(&mut self, public: std::os::unix::net::UnixListener) -> io::Result<()> {
        self.public = Some(watched(public, self.token, &self.registry)?);
        Ok(())
    }

    /// The socket that everybody is served at.
    pub fn public(&self) -> Option<BorrowedFd<'_>> {
        self.public.as_ref().map(AsFd::as_fd)
    }

    /// Another master serves everybody from now on: who has asked is answered and goes. Workers stay.
    pub fn hand_on(&mut self) {
        if let Some(mut public) = self.public.take()
            && let Err(error) = self.registry.deregister(&mut public)
        {
            // Without it, our event loop would be told of the other one's clients.
            log::debug!("the control socket was not watched: {error}");
        }
        self.end_streams();
        self.connections.retain(|_, connection| !connection.is_public || connection.take_leave());
    }

    /// Somebody wants to connect.
    pub fn accept(&mut self, now: Instant) {
        self.accept_again = None;
        for is_public in [false, true] {
            self.accept_at(is_public, now);
        }
    }

    fn accept_at(&mut self, is_public: bool, now: Instant) {
        loop {
            let listener = match is_public {
                true => self.public.as_ref(),
                false => Some(&self.workers),
            };
            let Some(listener) = listener else { return };
            match listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.admit(stream, is_public, now) {
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

    fn admit(&mut self, mut stream: UnixStream, is_public: bool, now: Instant) -> io::Result<()> {
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
        self.connections.insert(id, Connection::new(stream, is_public, peer, now));
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

fn watched(
    listener: std::os::unix::net::UnixListener,
    token: Token,
    registry: &Registry,
) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    let mut listener = UnixListener::from_std(listener);
    registry.register(&mut listener, token, Interest::READABLE)?;
    Ok(listener)
}

/// Connections at once: each shim keeps one, the rest is for commands.
const CONNECTION_COUNT: usize = 4096;
/// How long the kernel gets to find descriptors again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
