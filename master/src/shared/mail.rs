//! What travels between threads. Messages that carry an obligation are never refused: connections
//! and tickets bound their number.

use crate::shared::door::{Answer, Caller, DoorAsk};
use crate::shared::draft::{Draft, DraftId, Unmade};
use crate::shared::files::{FileDone, SearchDone};
use crate::shared::sessions::SessionMail;
use crate::shared::store::StoreMail;
use mio::net::TcpStream;
use rip::contract::event::Event;
use rip::contract::listen::ListenAddress;
use rip::contract::reason::Reason;
use rip::ids::{LoopIndex, PoolNumber, WorkerId};
use rip::observe::note::Note;
use rip::pool::Lease;
use rip::realtime::{Count, Letter};
use rip::time::Instant;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// To an edge loop.
pub enum EdgeMessage {
    /// A client connected.
    Accepted(Arrival),
    /// A ticket of this loop got its worker. If the exchange is gone the lease goes back.
    Grant {
        /// Whose worker it is.
        pool: PoolNumber,
        /// The ticket's key.
        key: u64,
        /// The right to the worker.
        lease: Lease,
    },
    /// A ticket of this loop will not get a worker.
    Refused {
        /// The ticket's key.
        key: u64,
        /// Why.
        reason: Reason,
        /// When to come again.
        retry_after_secs: u32,
    },
    /// The control loop answers what was asked of it. Who asked may be gone.
    Answered {
        /// What the caller called itself.
        key: u64,
        /// The answer.
        answer: Answer,
    },
    /// A frame of the feed, for whoever of this loop watches.
    Report(Arc<[u8]>),
    /// A loop has counted whom something that this loop published has reached.
    Counted(Count),
    /// A hub has something for clients of this loop.
    Realtime {
        /// The hub's number.
        hub: u32,
        /// What it is.
        letter: Letter,
    },
    /// The files agent looked beneath a directory.
    Beneath(SearchDone),
    /// The files agent did a job.
    File(FileDone),
    /// Files that pages of a registered prefix are made of have changed.
    FilesChanged {
        /// The prefix.
        prefix: Arc<str>,
        /// Only style sheets.
        styles_only: bool,
    },
    /// The store of sessions has done something, or wants something done.
    Store(Box<StoreMail>),
    /// Something of a session concerns this loop.
    Session(SessionMail),
    /// Somebody wants to know of the requests called `id` that have not ended:
    /// [`ControlMessage::Recalled`] follows.
    Recall {
        /// Who asks.
        ticket: u64,
        /// The id.
        id: Arc<[u8]>,
    },
    /// Say that this loop lives: [`ControlMessage::Alive`] with this number.
    Live(u64),
    /// Accept at one more address: to the loop that accepts.
    Open(Listening),
    /// Accept no longer there. Connections from there live on.
    Close(ListenAddress),
    /// Another configuration is active.
    Activated,
    /// Requests are no longer given to the pool: report [`ControlMessage::PoolLeft`] when none of
    /// this loop needs it.
    Vacate(PoolNumber),
    /// The pool is used again: whoever was to report that it is not needed does not.
    Stay(PoolNumber),
    /// Requests whose rule is not in the active configuration any more had their time: they end.
    EndRemoved,
    /// The pool is gone.
    Forget(PoolNumber),
    /// Finish what was accepted, then report [`ControlMessage::LoopDrained`]. No connection comes
    /// after this.
    Drain(Farewell),
    /// Cut what is left and end the thread.
    Stop,
}

/// How the clients' side of the server ends.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// Idle connections are closed at this moment.
    pub idle_until: Instant,
    /// The listeners at which another server accepts from now on: their backlogs are its. `None`
    /// when nothing comes after this server.
    pub left_to: Option<Arc<[ListenAddress]>>,
}

impl Farewell {
    /// Nothing comes after this server, and idle connections are closed at `idle_until`.
    pub fn until(idle_until: Instant) -> Self {
        Self { idle_until, left_to: None }
    }

    /// Whether who waits at `address` is another server's to accept.
    pub fn leaves(&self, address: ListenAddress) -> bool {
        self.left_to.as_ref().is_some_and(|left| left.contains(&address))
    }
}

/// A client that connected and was counted.
pub struct Arrival {
    /// The connection, non-blocking, not registered anywhere.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// The listener it came by.
    pub at: ListenAddress,
    /// The address it was counted for; to be given back with it.
    pub counted: Option<IpAddr>,
}

/// A socket that listens.
pub struct Listening {
    /// Where, as the configuration has it.
    pub address: ListenAddress,
    /// The socket, bound and listening.
    pub listener: TcpListener,
}

/// Directories that are watched for changes, for as long as they are.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct WatchId(pub u64);

/// An exchange that its worker does not end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StuckExchange {
    /// The worker.
    pub worker: WorkerId,
    /// The request's id.
    pub request_id: String,
    /// The request's method.
    pub method: String,
    /// The request's path, without its query.
    pub path: String,
    /// How long the worker has had it.
    pub age: Duration,
}

/// What somebody is waiting for who wants certificates loaded or renewed; never used again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CertTicket(pub u64);

/// To the control loop.
pub enum ControlMessage {
    /// A loop, or the acceptor, lives: it was asked with this number.
    Alive(u64),
    /// A client of a loop asks what only the control loop knows: [`EdgeMessage::Answered`] follows.
    Asked {
        /// Who waits for the answer.
        from: Caller,
        /// What is asked.
        ask: DoorAsk,
    },
    /// Somebody watches the server, or nobody does any more: while anybody does, [`EdgeMessage::Report`]
    /// follows.
    Watching {
        /// The loop of whoever watches.
        index: LoopIndex,
        /// The loop has somebody now; else it has nobody any more.
        on: bool,
    },
    /// Certificates were loaded anew or renewed, as was asked for.
    CertsDone {
        /// Who asked.
        ticket: CertTicket,
        /// What was in the way, one clause.
        result: Result<(), String>,
    },
    /// A configuration has been made ready, or not.
    Drafted {
        /// Which.
        id: DraftId,
        /// What came of it.
        result: Result<Box<Draft>, Unmade>,
    },
    /// A scan found other files than the one before it.
    FilesChanged {
        /// Where.
        watch: WatchId,
        /// Which, by name.
        paths: Vec<PathBuf>,
    },
    /// The sessions in the store were counted, as was asked for.
    SessionsCounted {
        /// What for.
        ticket: u64,
        /// How many there are; `None`: the store cannot tell.
        sessions: Option<u64>,
    },
    /// Another thread has found out what is to be told.
    Tell(Box<Event>),
    /// A retired worker's last lease has ended.
    WorkerIdle(WorkerId),
    /// A worker asked to be retired by a response field.
    WorkerDraining(WorkerId),
    /// A worker has not ended an exchange long after its client was answered or left.
    WorkerStuck(StuckExchange),
    /// Nobody listens at the address any more.
    ListenerClosed(ListenAddress),
    /// No request of a loop needs the pool any more.
    PoolLeft {
        /// Which loop.
        index: LoopIndex,
        /// The pool.
        pool: PoolNumber,
    },
    /// A draining loop holds no connection and no exchange any more.
    LoopDrained(LoopIndex),
    /// A stopped loop's thread ends.
    LoopStopped {
        /// Which.
        index: LoopIndex,
        /// Exchanges it cut off.
        cut: u64,
    },
    /// What a loop knows of requests that somebody asks about and that have not ended.
    Recalled {
        /// Who asks.
        ticket: u64,
        /// Which loop.
        index: LoopIndex,
        /// What they met so far.
        notes: Vec<Note>,
    },
    /// The last stderr lines of a worker, its pipes read to what was there.
    LastLines {
        /// The worker.
        worker: WorkerId,
        /// Oldest first.
        lines: Vec<String>,
    },
}
