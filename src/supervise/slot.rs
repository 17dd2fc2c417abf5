//! A place in which one worker shall be.

use super::restart::Restarts;
use crate::contract::app::RestartPolicy;
use crate::ids::WorkerId;
use crate::limits;
use crate::time::Instant;
use std::time::Duration;

/// A place for one worker.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) seat: Seat,
    pub(super) restarts: Restarts,
    /// The worker that takes the seat once it is ready; who holds it until then retires.
    pub(super) successor: Option<WorkerId>,
    /// When a worker was last started here.
    last_start: Option<Instant>,
    /// Successors in a row that did not become ready, and when the next one may be tried.
    failures: u32,
    retry_at: Instant,
}

impl Slot {
    /// A place that wants a worker at once.
    pub(super) fn new(policy: RestartPolicy, now: Instant) -> Self {
        Self {
            seat: Seat::Down { not_before: now },
            restarts: Restarts::new(policy),
            successor: None,
            last_start: None,
            failures: 0,
            retry_at: now,
        }
    }

    /// A worker is started here.
    pub(super) fn starts(&mut self, now: Instant) {
        self.last_start = Some(now);
    }

    /// The earliest moment at which another worker may be started here.
    pub(super) fn open_at(&self) -> Instant {
        let floor = self.restarts.floor();
        self.last_start.map_or(Instant::default(), |start| start + floor)
    }

    /// When it wants a worker because nobody holds it, or is about to.
    pub(super) fn vacant_at(&self) -> Option<Instant> {
        let due = match self.seat {
            Seat::Abandoned { retry_at: due } | Seat::Down { not_before: due } => due,
            Seat::Taken(_) => return None,
        };
        self.successor.is_none().then(|| due.max(self.open_at()))
    }

    /// The earliest moment at which a successor may be tried again.
    pub(super) fn succession_at(&self) -> Instant {
        self.open_at().max(self.retry_at)
    }

    /// No successor has failed since the seat was taken.
    pub(super) fn is_first_try(&self) -> bool {
        self.failures == 0
    }

    /// The worker takes the seat; the answer is who held it.
    pub(super) fn enthrone(&mut self, worker: WorkerId) -> Option<WorkerId> {
        if self.successor == Some(worker) {
            (self.successor, self.failures) = (None, 0);
        }
        match std::mem::replace(&mut self.seat, Seat::Taken(worker)) {
            Seat::Taken(old) if old != worker => Some(old),
            _ => None,
        }
    }

    /// The successor did not become ready. It costs the one who holds the seat nothing.
    pub(super) fn succession_failed(&mut self, now: Instant) {
        self.successor = None;
        let pause = self.restarts.floor().max(LEAST_PAUSE) * (1 << self.failures.min(5));
        self.retry_at = now + pause.min(limits::BACKOFF_MAX);
        self.failures += 1;
    }
}

/// Who holds a slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seat {
    /// Nobody, after too many failures.
    Abandoned { retry_at: Instant },
    /// Nobody yet.
    Down { not_before: Instant },
    /// This worker.
    Taken(WorkerId),
}

impl Seat {
    /// Who holds it.
    pub(super) fn holder(self) -> Option<WorkerId> {
        match self {
            Self::Taken(worker) => Some(worker),
            Self::Abandoned { .. } | Self::Down { .. } => None,
        }
    }
}

/// The first pause after a successor that failed, where restarts have a shorter one.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
