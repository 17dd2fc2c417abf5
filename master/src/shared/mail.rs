//! What travels between threads. Messages that carry an obligation are never refused: connections
//! and tickets bound their number.

use crate::shared::files::FileDone;
use mio::net::TcpStream;
use rip::contract::reason::Reason;
use rip::ids::{LoopIndex, WorkerId};
use rip::pool::Lease;
use rip::time::Instant;
use std::net::SocketAddr;

/// To an edge loop.
pub enum EdgeMessage {
    /// A client connected.
    Accepted {
        /// The connection, non-blocking, not registered anywhere.
        stream: TcpStream,
        /// Who connected.
        peer: SocketAddr,
    },
    /// A ticket of this loop got its worker. If the exchange is gone the lease goes back.
    Grant {
        /// The app's number.
        app: usize,
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
    /// The files agent did a job.
    File(FileDone),
    /// Finish what was accepted, then report [`ControlMessage::LoopDrained`]. No connection comes
    /// after this.
    Drain {
        /// Idle connections are closed at this moment.
        idle_until: Instant,
    },
    /// Cut what is left and end the thread.
    Stop,
}

/// To the control loop.
pub enum ControlMessage {
    /// A retired worker's last lease has ended.
    WorkerIdle(WorkerId),
    /// A worker asked to be retired by a response field.
    WorkerDraining(WorkerId),
    /// A draining loop holds no connection and no exchange any more.
    LoopDrained(LoopIndex),
    /// A stopped loop's thread ends.
    LoopStopped {
        /// Which.
        index: LoopIndex,
        /// Exchanges it cut off.
        cut: u64,
    },
    /// The last stderr lines of a worker, its pipes read to what was there.
    LastLines {
        /// The worker.
        worker: WorkerId,
        /// Oldest first.
        lines: Vec<String>,
    },
}
