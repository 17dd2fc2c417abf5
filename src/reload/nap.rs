//! Telling a missed deadline from a loop that was itself asleep.

use crate::time::Instant;
use std::time::Duration;

/// Remembers when the loop was last awake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nap {
    awake: Instant,
}

impl Nap {
    /// Awake at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { awake: now }
    }

    /// To be called first on every entry, with the deadline the loop should have woken for. The
    /// answer is how much every pending deadline must be moved: the time in which nobody looked
    /// does not count against anybody.
    pub(super) fn end(&mut self, now: Instant, next: Option<Instant>) -> Option<Duration> {
        let absent = now.since(self.awake);
        self.awake = self.awake.max(now);
        next.is_some_and(|next| now > next + SLACK).then_some(absent)
    }
}

/// How late a loop may be and still be called awake.
const SLACK: Duration = Duration::from_secs(1);
