//! How fast waiting tickets are served: the measure behind `Retry-After`.

use crate::time::Instant;

/// The mean time between two grants, measured only while tickets wait.
#[derive(Debug, Default)]
pub(super) struct DrainRate {
    mean_nanos: Option<u64>,
    /// The last grant, or when the queue began to fill.
    last: Instant,
}

impl DrainRate {
    /// The first ticket begins to wait: idle time before it says nothing about the speed.
    pub(super) fn waiting_began(&mut self, now: Instant) {
        self.last = now;
    }

    /// A waiting ticket was granted.
    pub(super) fn granted(&mut self, now: Instant) {
        self.mean_nanos = Some(self.mean_if_granted(now));
        self.last = now;
    }

    /// Whole seconds in which `waiting` tickets will probably be served; between 1 and
    /// [`RETRY_AFTER_MAX_SECS`].
    pub(super) fn secs_for(&self, waiting: u32, now: Instant) -> u32 {
        // A stall longer than the mean counts as if it ended now.
        let mean = self.mean_nanos.unwrap_or(0).max(self.mean_if_granted(now));
        let secs = (u128::from(mean) * u128::from(waiting)).div_ceil(1_000_000_000);
        u32::try_from(secs).unwrap_or(u32::MAX).clamp(1, RETRY_AFTER_MAX_SECS)
    }

    fn mean_if_granted(&self, now: Instant) -> u64 {
        let sample = u64::try_from(now.since(self.last).as_nanos()).unwrap_or(u64::MAX);
        match self.mean_nanos {
            Some(mean) => mean - mean / WEIGHT + sample / WEIGHT,
            None => sample,
        }
    }
}

/// The longest `Retry-After` that is computed: beyond it the measure says nothing.
pub(super) const RETRY_AFTER_MAX_SECS: u32 = 60;
/// One sample's share of the mean is one in this many.
const WEIGHT: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_drain_is_measured() {
        let mut rate = DrainRate::default();
        rate.waiting_began(Instant::from_millis(0));
        for step in 1..100 {
            rate.granted(Instant::from_millis(step * 100));
        }
        assert_eq!(rate.secs_for(95, Instant::from_millis(9_900)), 10);
        assert_eq!(rate.secs_for(1, Instant::from_millis(9_900)), 1);
    }

    #[test]
    fn idle_time_is_not_slowness_but_a_stall_is() {
        let mut rate = DrainRate::default();
        rate.waiting_began(Instant::from_millis(0));
        rate.granted(Instant::from_millis(100));
        rate.waiting_began(Instant::from_millis(3_600_000));
        assert_eq!(rate.secs_for(20, Instant::from_millis(3_600_000)), 2);
        assert!(rate.secs_for(20, Instant::from_millis(3_610_000)) > 10);
    }

    #[test]
    fn the_answer_stays_within_its_bounds() {
        let mut rate = DrainRate::default();
        assert_eq!(rate.secs_for(0, Instant::from_millis(0)), 1);
        assert_eq!(rate.secs_for(u32::MAX, Instant::from_nanos(u64::MAX)), RETRY_AFTER_MAX_SECS);
        rate.granted(Instant::from_nanos(u64::MAX));
        assert_eq!(rate.secs_for(u32::MAX, Instant::from_nanos(u64::MAX)), RETRY_AFTER_MAX_SECS);
    }
}
