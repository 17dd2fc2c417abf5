//! What the pool and its users hand to each other: tickets in, leases out.

use crate::ids::{LoopIndex, WorkerId};

/// One request that wants a worker. At most one request uses an id at a time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TicketId {
    /// The loop that holds the request; grants go there.
    pub loop_index: LoopIndex,
    /// That loop's own name for the request.
    pub key: u64,
}

/// The right to use one worker for one exchange.
///
/// It cannot be copied: it ends exactly once, by [`Pool::release`](super::Pool::release),
/// [`Pool::bounce`](super::Pool::bounce) or [`Pool::retry`](super::Pool::retry). One that is
/// dropped instead occupies its worker until that worker is removed.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a lease that is not given back occupies its worker for ever"]
pub struct Lease {
    pub(super) worker: WorkerId,
    pub(super) slot: u32,
    pub(super) serial: u64,
    pub(super) abandoned: bool,
}

impl Lease {
    /// The worker.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The worker's place in the pool: small, dense, given to another worker only after
    /// [`Pool::remove`](super::Pool::remove). Good as an index of a table.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The lease's number: no two leases of a pool have the same.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// True after [`Pool::abandon`](super::Pool::abandon).
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }
}

/// An upgraded connection to a worker: what its lease became.
///
/// It takes no place among the worker's leases, but a retired worker is idle only without one. It
/// ends exactly once, by [`Pool::end_tunnel`](super::Pool::end_tunnel).
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a tunnel that is not ended keeps its worker until that is removed"]
pub struct Tunnel {
    pub(super) worker: WorkerId,
    pub(super) slot: u32,
}

impl Tunnel {
    /// The worker.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }
}

/// How the use of a worker ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It failed after the request was sent: the worker closed, timed out, or answered nonsense.
    Failed,
    /// The worker's answer was read to its end.
    Finished,
    /// Nothing was sent: the grant came when its exchange was gone.
    Unused,
}

/// Why a worker gave a request back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bounce {
    /// It cannot take the request now.
    Busy,
    /// It wants to be retired.
    Draining,
}
