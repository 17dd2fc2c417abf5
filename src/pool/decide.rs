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
            algorithm: ALGORITHMS[algorithm_of(self.select)],
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

/// How often each rule decided, and why the first choice was not taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Decisions {
    counts: [[u64; 1 + Fallback::ALL.len()]; ALGORITHMS.len()],
}

impl Decisions {
    /// Counts one more.
    pub(super) fn add(&mut self, select: Select, fallback: Option<Fallback>) {
        let fallback = fallback.map_or(0, |fallback| 1 + fallback as usize);
        self.counts[algorithm_of(select)][fallback] += 1;
    }

    /// Counts what `other` counted as well.
    pub fn merge(&mut self, other: &Self) {
        let ours = self.counts.as_flattened_mut().iter_mut();
        ours.zip(other.counts.as_flattened()).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// Those that were made: the rule, the fallback as records name it, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>, u64)> + '_ {
        let fallbacks = || std::iter::once(None).chain(Fallback::ALL.map(Some));
        ALGORITHMS.into_iter().zip(&self.counts).flat_map(move |(algorithm, counts)| {
            let counts = fallbacks().zip(counts).filter(|(_, count)| **count > 0);
            counts.map(move |(fallback, count)| (algorithm, fallback.map(Fallback::as_str), *count))
        })
    }
}

/// Rules as records name them.
const ALGORITHMS: [&str; 2] = ["least-inflight", "lifo"];

const fn algorithm_of(select: Select) -> usize {
    match select {
        Select::LeastInflight => 0,
        Select::Lifo => 1,
    }
}

impl Fallback {
    /// All of them, in the order of their discriminants.
    const ALL: [Self; 4] = [Self::Bounced, Self::Queued, Self::Retried, Self::Shed];

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
    /// Decisions about tickets: one when a ticket asks, another one when it had to wait and is granted.
    pub decisions: Decisions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_counted_by_rule_and_fallback() {
        for (index, fallback) in Fallback::ALL.into_iter().enumerate() {
            assert_eq!(fallback as usize, index);
        }
        let (mut decisions, mut others) = (Decisions::default(), Decisions::default());
        decisions.add(Select::Lifo, None);
        decisions.add(Select::Lifo, Some(Fallback::Shed));
        others.add(Select::Lifo, None);
        others.add(Select::LeastInflight, Some(Fallback::Bounced));
        decisions.merge(&others);
        let expected =
            [("least-inflight", Some("bounced"), 1), ("lifo", None, 2), ("lifo", Some("shed"), 1)];
        assert_eq!(decisions.iter().collect::<Vec<_>>(), expected);
    }
}
