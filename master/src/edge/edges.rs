//! All loops of the process and their acceptor, as the control loop sees them.

use super::acceptor::{self, Acceptor, AcceptorMessage};
use super::turn::Edge;
use crate::reactor::mailbox::{Sender, mailbox};
use crate::reactor::slab::{TokenKind, plain_token};
use crate::shared::Shared;
use crate::shared::mail::{EdgeMessage, Farewell, Listening};
use crate::shared::pools::AppPool;
use mio::{Poll, Waker};
use rip::contract::listen::ListenAddress;
use rip::entropy::{Entropy, Xoshiro};
use rip::ids::LoopIndex;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The running loops. Dropped without [`Self::stop`], their threads end with the process.
pub struct Edges {
    loops: Vec<Sender<EdgeMessage>>,
    acceptor: Option<Sender<AcceptorMessage>>,
    threads: Vec<JoinHandle<()>>,
}

impl Edges {
    /// Starts `count` loops (at least one) that serve `listeners`, already bound and listening.
    /// `seed` makes request ids differ from one start to the next.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance or thread; then nothing runs.
    pub fn start(
        shared: &Arc<Shared>,
        listeners: Vec<Listening>,
        count: u16,
        seed: u64,
    ) -> io::Result<Self> {
        let count = count.max(1);
        let mut prepared = Vec::new();
        for _ in 0..count {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), plain_token(TokenKind::Waker, 0))?);
            let (own, mail) = mailbox(Arc::clone(&waker));
            prepared.push((poll, waker, own, mail));
        }
        let loops: Vec<_> = prepared.iter().map(|(_, _, own, _)| own.clone()).collect();
        for pool in &shared.current.load().pools {
            pool.connect_loops(loops.clone());
        }
        shared.hubs.connect_loops(loops.clone());
        loops.iter().for_each(|own| shared.sessions.queue.attach(own.clone()));
        let pseudonym = format!("rip-{:012x}", Xoshiro::new(!seed).next_u64() >> 16);
        let mut edges = Self { loops: loops.clone(), acceptor: None, threads: Vec::new() };
        let mut listeners = Some(listeners);
        for (index, (poll, waker, own, mail)) in (0u16..).zip(prepared) {
            let acceptor = match listeners.take_if(|_| count == 1) {
                Some(listeners) => {
                    shared.connections.wake_on_room(waker);
                    Some(Acceptor::new(listeners, poll.registry())?)
                }
                None => None,
            };
            let index = LoopIndex(index);
            let loop_seed = seed ^ (u64::from(index.0) << 48);
            let edge = Edge::new(
                index,
                Arc::clone(shared),
                poll,
                (own, mail),
                loop_seed,
                pseudonym.clone(),
                acceptor,
            )?;
            edges
                .threads
                .push(thread::Builder::new().name(index.to_string()).spawn(move || edge.run())?);
        }
        if let Some(listeners) = listeners {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), plain_token(TokenKind::Waker, 0))?);
            shared.connections.wake_on_room(Arc::clone(&waker));
            let (sender, mail) = mailbox(waker);
            let acceptor = Acceptor::new(listeners, poll.registry())?;
            let shared = Arc::clone(shared);
            edges.acceptor = Some(sender);
            edges.threads.push(
                thread::Builder::new()
                    .name("acceptor".to_owned())
                    .spawn(move || acceptor::run(acceptor, poll, mail, &loops, &shared))?,
            );
        }
        Ok(edges)
    }

    /// Accepts what is in the backlogs, closes the listeners, and lets the loops finish. Each loop
    /// reports [`crate::shared::mail::ControlMessage::LoopDrained`] when it has. Idle connections
    /// may ask once more for a moment.
    pub fn drain(&self, farewell: Farewell) {
        match &self.acceptor {
            Some(acceptor) => acceptor.send(AcceptorMessage::Drain(farewell)),
            None => self.tell(|| EdgeMessage::Drain(farewell.clone())),
        }
    }

    /// Accepts at one more address.
    pub fn open(&self, listening: Listening) {
        match (&self.acceptor, self.loops.first()) {
            (Some(acceptor), _) => acceptor.send(AcceptorMessage::Open(listening)),
            (None, Some(edge)) => edge.send(EdgeMessage::Open(listening)),
            (None, None) => {}
        }
    }

    /// Accepts what waits at an address, then no longer there. Connections from there live on.
    pub fn close(&self, address: ListenAddress) {
        match (&self.acceptor, self.loops.first()) {
            (Some(acceptor), _) => acceptor.send(AcceptorMessage::Close(address)),
            (None, Some(edge)) => edge.send(EdgeMessage::Close(address)),
            (None, None) => {}
        }
    }

    /// Tells the clients of every loop that files of `prefix` have changed.
    pub fn tell_of_changes(&self, prefix: &Arc<str>, styles_only: bool) {
        for edge in &self.loops {
            edge.send(EdgeMessage::FilesChanged { prefix: Arc::clone(prefix), styles_only });
        }
    }

    /// Cuts what is left and ends the threads. Each loop reports
    /// [`crate::shared::mail::ControlMessage::LoopStopped`] with the number of exchanges it cut.
    pub fn stop(self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.send(AcceptorMessage::Stop);
        }
        for edge in &self.loops {
            edge.send(EdgeMessage::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("an edge loop ended by a panic");
            }
        }
    }

    /// Tells `pool` where the loops' tickets are answered.
    pub fn connect(&self, pool: &AppPool) {
        pool.connect_loops(self.loops.clone());
    }

    /// Tells every loop the same.
    pub fn tell(&self, message: impl Fn() -> EdgeMessage) {
        for edge in &self.loops {
            edge.send(message());
        }
    }

    /// Asks everyone who serves clients for a sign of life,
    /// [`crate::shared::mail::ControlMessage::Alive`] with the number `round`; returns how many were
    /// asked. The acceptor is one of them while it `accepts`.
    pub fn ask_alive(&self, round: u64, accepts: bool) -> usize {
        self.tell(|| EdgeMessage::Live(round));
        let acceptor = self.acceptor.as_ref().filter(|_| accepts);
        acceptor.inspect(|acceptor| acceptor.send(AcceptorMessage::Live(round)));
        self.loops.len() + usize::from(acceptor.is_some())
    }

    /// Tells one loop something.
    pub fn tell_one(&self, to: LoopIndex, message: EdgeMessage) {
        if let Some(edge) = self.loops.get(usize::from(to.0)) {
            edge.send(message);
        }
    }

    /// How many loops run.
    pub fn count(&self) -> usize {
        self.loops.len()
    }
}
