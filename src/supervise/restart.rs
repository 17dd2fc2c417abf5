//! What follows a failure of a slot: a pause and another try, or giving it up for a while.
//!
//! Failures are counted over a window of time *during which the slot was up*: the pauses imposed
//! here and the time spent in boots that failed do not make earlier failures forgotten. So an app
//! that cannot start is given up after the same number of tries whatever the pauses are, and one
//! that serves for longer than the window between two failures starts afresh.

use crate::contract::app::RestartPolicy;
use crate::limits;
use std::collections::VecDeque;
use std::time::Duration;

/// The failures of one slot.
#[derive(Clone, Debug)]
pub struct Restarts {
    policy: RestartPolicy,
    /// How long the slot was up before each failure that still counts, oldest first.
    failures: VecDeque<Duration>,
    in_a_row: u32,
    given_up: bool,
}

impl Restarts {
    /// A slot that never failed.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new(), in_a_row: 0, given_up: false }
    }

    /// From now on `policy` decides. What has failed until now counts on.
    pub fn configure(&mut self, policy: RestartPolicy) {
        self.policy = policy;
    }

    /// The slot's worker failed after it had been ready for `up`; zero if it never was.
    pub fn failed(&mut self, up: Duration) -> Verdict {
        let window = Duration::from_millis(self.policy.window_ms);
        if up > window {
            *self = Self::new(self.policy);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failures.push_back(up);
        while self.failures.iter().skip(1).sum::<Duration>() > window {
            self.failures.pop_front();
        }
        let count = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        // A slot that was given up gets one try at a time until it proves itself.
        if self.given_up || count > self.policy.max_restarts {
            self.given_up = true;
            self.failures.truncate(1 + self.policy.max_restarts as usize);
            return Verdict::GiveUp { failures: self.in_a_row };
        }
        Verdict::Again { attempt: self.in_a_row, backoff: self.backoff() }
    }

    /// The least time between two starts of the slot, also when nothing failed.
    pub fn floor(&self) -> Duration {
        Duration::from_millis(self.policy.backoff_ms).min(limits::BACKOFF_MAX)
    }

    fn backoff(&self) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(20);
        Duration::from_millis(self.policy.backoff_ms.saturating_mul(1 << doublings))
            .min(limits::BACKOFF_MAX)
    }
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Another worker after a pause.
    Again {
        /// Failures in a row.
        attempt: u32,
        /// The pause.
        backoff: Duration,
    },
    /// No more for [`limits::ABANDON_RETRY`].
    GiveUp {
        /// Failures in a row.
        failures: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_UP: Duration = Duration::ZERO;

    fn pause(verdict: Verdict) -> Option<u64> {
        match verdict {
            Verdict::Again { backoff, .. } => Some(backoff.as_secs()),
            Verdict::GiveUp { .. } => None,
        }
    }

    #[test]
    fn pauses_double_up_to_thirty_seconds_and_the_eleventh_failure_gives_up() {
        let mut slot = Restarts::new(RestartPolicy::default());
        let pauses: Vec<_> = (0..11).map(|_| pause(slot.failed(NEVER_UP))).collect();
        let expected = [1, 2, 4, 8, 16, 30, 30, 30, 30, 30].map(Some);
        assert_eq!(pauses[..10], expected);
        assert_eq!(pauses[10], None);
    }

    #[test]
    fn a_slot_that_stayed_up_longer_than_the_window_starts_afresh() {
        let mut slot = Restarts::new(RestartPolicy::default());
        for _ in 0..12 {
            slot.failed(NEVER_UP);
        }
        assert_eq!(
            slot.failed(Duration::from_secs(61)),
            Verdict::Again { attempt: 1, backoff: Duration::from_secs(1) }
        );
    }

    #[test]
    fn time_up_makes_old_failures_forgotten() {
        let mut slot = Restarts::new(RestartPolicy { max_restarts: 2, ..RestartPolicy::default() });
        for _ in 0..20 {
            // Two such lives fill the window: never three failures within it.
            assert!(pause(slot.failed(Duration::from_secs(31))).is_some());
        }
    }

    #[test]
    fn a_slot_once_given_up_is_given_up_again_at_its_next_failure() {
        let policy = RestartPolicy { max_restarts: 0, ..RestartPolicy::default() };
        let mut slot = Restarts::new(policy);
        for failures in 1..5 {
            assert_eq!(slot.failed(NEVER_UP), Verdict::GiveUp { failures });
        }
    }
}
