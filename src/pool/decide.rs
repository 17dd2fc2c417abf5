//! What the pool answers, announces and counts.

use super::lease::{Lease, TicketId};
use crate::contract::app::Select;
use crate::contract::decision::SchedulerDecision;
use crate::contract::reason::Reason;
use crate::ids::{AppId, WorkerId};

/// The answer to one request for a worker.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "it may hold a lease"]
pub enum Decision {
    /// Use this worker now.
    Assigned(Lease),
    /// Wait: exactly one [`Output::Grant`] or [`Output::Refused`] will name the ticket, unless it
    /// is cancelled first.
    Queued {
        /// 1 is served next.
        position: u32,
    },
    /// Refused at once; the ticket is forgotten.
    Shed {
        /// Why.
        reason: Reason,
        /// When another try makes sense, at least 1.
        retry_after_secs: u32,
    },
}

/// What others must be told.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "it may hold a lease"]
pub enum Output {
    /// A waiting ticket got its worker.
    Grant {
        /// The ticket; it waits no more.
        ticket: TicketId,
        /// Its lease.
        lease: Lease,
    },
    /// A retired worker holds no lease any more; told once.
    Idle {
        /// The worker.
        worker: WorkerId,
    },
    /// A waiting ticket was refused.
    Refused {
        /// The ticket; it waits no more.
        ticket: TicketId,
        /// Why.
        reason: Reason,
        /// When another try makes sense, at least 1.
        retry_after_secs: u32,
    },
    /// A worker asked to be retired, by [`Bounce::Draining`](super::Bounce::Draining), and was.
    Retired {
        /// The worker.
        worker: WorkerId,
    },
}

/// The last decision in a form that costs nothing to keep.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Choice {
    /// The worker; `None` while queued or when refused.
    pub worker: Option<WorkerId>,
    /// The rule that chose.
    pub select: Select,
    /// Why the first choice was not taken.
    pub fallback: Option<Fallback>,
    /// 1-based position in the queue.
    pub queue_position: Option<u32>,
}

impl Choice {
    /// The decision as a record of app `app_id`.
    pub fn record(&self, app_id: &AppId) -> SchedulerDecision {
        SchedulerDecision {
            app_id: app_id.clone(),
            selected_worker: self.worker,
            algorithm: match self.select {
                Select::LeastInflight => "least-inflight",
                Select::Lifo => "lifo",
            },
            fallback: self.fallback.map(Fallback::as_str),
            queue_position: self.queue_position,
        }
    }
}

/// Why a request did not simply get the first choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fallback {
    /// A worker gave it back.
    Bounced,
    /// No worker was free.
    Queued,
    /// The connection to a worker failed.
    Retried,
    /// It was refused.
    Shed,
}

impl Fallback {
    /// Its name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounced => "bounced",
            Self::Queued => "queued",
            Self::Retried => "retried",
            Self::Shed => "shed",
        }
    }
}

/// What happened so far; every number only grows.
///
/// Once no ticket waits: `requests + bounced + retried = assigned + granted + shed + cancelled`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolCounters {
    /// Requests for a worker.
    pub requests: u64,
    /// Leases given at once.
    pub assigned: u64,
    /// Tickets that had to wait.
    pub queued: u64,
    /// Leases given to waiting tickets.
    pub granted: u64,
    /// Refusals, at once or while waiting.
    pub shed: u64,
    /// Tickets cancelled while they waited.
    pub cancelled: u64,
    /// Requests a worker gave back.
    pub bounced: u64,
    /// Requests whose connection to a worker failed.
    pub retried: u64,
    /// Leases whose client left first.
    pub abandoned: u64,
}
