//! A place in which one worker shall be.

use super::restart::Restarts;
use crate::ids::WorkerId;
use crate::time::Instant;

/// A place for one worker.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) seat: Seat,
    pub(super) restarts: Restarts,
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
    /// When it wants a worker.
    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Self::Abandoned { retry_at: due } | Self::Down { not_before: due } => Some(due),
            Self::Taken(_) => None,
        }
    }
}
