//! Durations in buckets whose bounds are promised, as Prometheus wants them.

use super::spread::micros_of;
use std::time::Duration;

/// The upper bounds, inclusive, in microseconds; one more bucket is for all that is longer.
pub const BOUNDS_MICROS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// Buckets in all.
pub const BUCKET_COUNT: usize = BOUNDS_MICROS.len() + 1;

/// Which bucket a duration falls into; below [`BUCKET_COUNT`].
pub const fn bucket_of(duration: Duration) -> usize {
    let micros = micros_of(duration);
    // A nanosecond beyond a bound is beyond it.
    let beyond = !duration.subsec_nanos().is_multiple_of(1000) as u64;
    let mut bucket = 0;
    while bucket < BOUNDS_MICROS.len() && micros + beyond > BOUNDS_MICROS[bucket] {
        bucket += 1;
    }
    bucket
}

/// Many durations.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timings {
    counts: [u64; BUCKET_COUNT],
    sum_micros: u64,
}

impl Timings {
    /// Counts one more.
    pub fn add(&mut self, duration: Duration) {
        self.add_at(bucket_of(duration), 1);
        self.add_sum(micros_of(duration));
    }

    /// Counts `count` more in `bucket`; nothing beyond the last.
    pub fn add_at(&mut self, bucket: usize, count: u64) {
        if let Some(number) = self.counts.get_mut(bucket) {
            *number = number.saturating_add(count);
        }
    }

    /// Adds to the sum of all durations.
    pub fn add_sum(&mut self, micros: u64) {
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// Counts what `other` counted as well.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.counts.into_iter().enumerate() {
            self.add_at(bucket, count);
        }
        self.add_sum(other.sum_micros);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// For each bound, in seconds, how many were not longer; the last bound is infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_MICROS.into_iter().map(|micros| micros as f64 / 1e6);
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.chain([f64::INFINITY]).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_their_bucket_and_what_is_longer_does_not() {
        for (bucket, micros) in BOUNDS_MICROS.into_iter().enumerate() {
            let bound = Duration::from_micros(micros);
            assert_eq!(bucket_of(bound), bucket);
            assert_eq!(bucket_of(bound + Duration::from_nanos(1)), bucket + 1);
        }
        assert_eq!(bucket_of(Duration::ZERO), 0);
        assert_eq!(bucket_of(Duration::from_secs(1 << 40)), BUCKET_COUNT - 1);
    }

    #[test]
    fn buckets_hold_all_that_is_shorter() {
        let (mut timings, mut other) = (Timings::default(), Timings::default());
        for millis in [1, 2, 3, 100_000] {
            timings.add(Duration::from_millis(millis));
        }
        other.add(Duration::from_millis(2));
        timings.merge(&other);
        assert_eq!((timings.count(), timings.sum()), (5, 100.008));
        let cumulative: Vec<_> = timings.cumulative().collect();
        assert_eq!(cumulative.len(), BUCKET_COUNT);
        assert_eq!(cumulative[..3], [(0.001, 1), (0.0025, 3), (0.005, 4)]);
        assert_eq!(cumulative[14], (60.0, 4));
        assert_eq!(cumulative[15], (f64::INFINITY, 5));
    }
}
