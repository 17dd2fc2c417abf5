//! How durations are spread, for percentiles: the places of an HDR histogram, two significant digits,
//! from a microsecond to an hour.
//!
//! A loop counts into a plain array, one place for each value that can be told apart ([`place_of`]): a
//! shift and an addition, nothing to lock. Who reads makes an HDR histogram of the arrays. Buckets for
//! Prometheus are counted apart ([`super::timings`]), because their bounds are promised exactly, and a
//! place may lie on both sides of one.

use super::report::Percentiles;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Places in all.
pub const PLACE_COUNT: usize = (u32::BITS - HALF_BITS) as usize * HALF + HALF;
/// Of each power of two so many places are told apart: two significant digits.
const HALF: usize = 1 << HALF_BITS;
const HALF_BITS: u32 = 7;

/// Where a duration is counted; below [`PLACE_COUNT`]. Longer than an hour counts as about that.
pub const fn place_of(duration: Duration) -> usize {
    let micros = micros_of(duration);
    let value = if micros > u32::MAX as u64 { u32::MAX } else { micros as u32 };
    let octave = (u32::BITS - (value | 1).leading_zeros()).saturating_sub(HALF_BITS + 1);
    octave as usize * HALF + (value >> octave) as usize
}

/// Whole microseconds.
pub const fn micros_of(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros() as u64)
}

/// The smallest value, in microseconds, that is counted at `place`.
const fn least_at(place: usize) -> u64 {
    let octave = match place / HALF {
        0 => 0,
        half => half - 1,
    };
    ((place - octave * HALF) as u64) << octave
}

/// Many durations, by place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spread {
    counts: Vec<u64>,
}

impl Spread {
    /// Counts `count` more at `place`; nothing beyond the last.
    pub fn add_at(&mut self, place: usize, count: u64) {
        if let Some(number) = self.counts.get_mut(place) {
            *number = number.saturating_add(count);
        }
    }

    /// Counts one more.
    pub fn add(&mut self, duration: Duration) {
        self.add_at(place_of(duration), 1);
    }

    /// Counts what `other` counted as well.
    pub fn merge(&mut self, other: &Self) {
        for (place, count) in other.counts.iter().enumerate() {
            self.add_at(place, *count);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// In seconds; all 0 when nothing was counted.
    pub fn percentiles(&self) -> Percentiles {
        let Some(histogram) = self.histogram().filter(|found| !found.is_empty()) else {
            return Percentiles::default();
        };
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }

    /// `None` only if the crate had other ideas of what bounds can be.
    fn histogram(&self) -> Option<Histogram<u64>> {
        let mut histogram =
            Histogram::new_with_bounds(1, u64::from(u32::MAX), SIGNIFICANT_DIGITS).ok()?;
        for (place, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(least_at(place), *count);
        }
        Some(histogram)
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self { counts: vec![0; PLACE_COUNT] }
    }
}

const SIGNIFICANT_DIGITS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_histogram() {
        let histogram =
            Histogram::<u64>::new_with_bounds(1, u64::from(u32::MAX), SIGNIFICANT_DIGITS).unwrap();
        let mut value = 0_u64;
        let mut last = None;
        while value <= u64::from(u32::MAX) {
            let place = place_of(Duration::from_micros(value));
            assert!(place < PLACE_COUNT);
            assert_eq!(least_at(place), histogram.lowest_equivalent(value), "{value}");
            assert!(last <= Some(place), "{value} is counted before what is shorter");
            last = Some(place);
            value = value + 1 + value / 999;
        }
        assert_eq!(place_of(Duration::from_micros(u64::from(u32::MAX))), PLACE_COUNT - 1);
        assert_eq!(place_of(Duration::MAX), PLACE_COUNT - 1);
        assert_eq!(place_of(Duration::ZERO), 0);
    }

    #[test]
    fn percentiles_are_right_to_two_digits() {
        let (mut odd, mut even) = (Spread::default(), Spread::default());
        for millis in 1..=1000 {
            let spread = if millis % 2 == 0 { &mut even } else { &mut odd };
            spread.add(Duration::from_millis(millis));
        }
        odd.merge(&even);
        assert_eq!(odd.count(), 1000);
        let Percentiles { p50, p95, p99 } = odd.percentiles();
        for (found, expected) in [(p50, 0.5), (p95, 0.95), (p99, 0.99)] {
            assert!((found - expected).abs() <= expected * 0.01, "{found} is not {expected}");
        }
    }

    #[test]
    fn nothing_counted_is_zero() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentiles(), Percentiles::default());
        spread.add_at(PLACE_COUNT, 1);
        assert_eq!(spread.count(), 0);
    }
}
