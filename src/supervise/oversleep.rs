//! Telling a missed deadline from a loop that was itself asleep.
//!
//! A loop wakes at its next deadline. When it comes much later it was stopped, starved or on a
//! suspended machine, and whatever it would punish others for may be its own absence. Then the time
//! since it was last awake does not count.

use crate::time::Instant;
use std::time::Duration;

/// Remembers when the loop was last awake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oversleep {
    awake: Instant,
}

impl Oversleep {
    /// Awake at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { awake: now }
    }

    /// To be called first on every entry, with the deadline the loop should have woken for. The
    /// answer is how much every pending deadline must be moved; afterwards none of them is due.
    pub(super) fn wake(&mut self, now: Instant, next: Option<Instant>) -> Option<Duration> {
        let absent = now.since(self.awake);
        self.awake = self.awake.max(now);
        next.is_some_and(|next| now > next + SLACK).then_some(absent)
    }
}

/// How late a loop may be and still be called awake.
pub(super) const SLACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loop_that_missed_its_own_deadline_was_asleep() {
        let at = Instant::from_millis;
        let mut sleep = Oversleep::new(at(0));
        assert_eq!(sleep.wake(at(60_000), None), None);
        assert_eq!(sleep.wake(at(90_000), Some(at(89_500))), None);
        assert_eq!(sleep.wake(at(100_000), Some(at(91_000))), Some(Duration::from_secs(10)));
    }
}
