//! How often one client may send.

use crate::contract::realtime::MessageRate;
use crate::time::Instant;
use std::time::Duration;

/// A bucket that fills at a rate: each message takes one drop, the burst is what it holds. It is
/// kept as the moment at which it is full again, so that a client has eight bytes of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a drop; false when there is none, which costs nothing.
    pub fn take(&mut self, rate: MessageRate, now: Instant) -> bool {
        let drop = 1_000_000_000 / u64::from(rate.per_sec.max(1));
        let room = Duration::from_nanos(drop * u64::from(rate.burst.max(1) - 1));
        let full_at = self.full_at.max(now);
        let allowed = full_at.since(now) <= room;
        if allowed {
            self.full_at = full_at + Duration::from_nanos(drop);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MessageRate = MessageRate { per_sec: 100, burst: 200 };

    fn taken(bucket: &mut Bucket, rate: MessageRate, millis: u64) -> u32 {
        let mut count = 0;
        while count < 10_000 && bucket.take(rate, Instant::from_millis(millis)) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_at_once_and_then_the_rate() {
        let mut bucket = Bucket::new();
        assert_eq!(taken(&mut bucket, RATE, 5000), 200);
        assert_eq!(taken(&mut bucket, RATE, 5009), 0);
        assert_eq!(taken(&mut bucket, RATE, 5010), 1);
        assert_eq!(taken(&mut bucket, RATE, 6010), 100);
        assert_eq!(taken(&mut bucket, RATE, 60_000), 200, "no more than it holds");
    }

    #[test]
    fn who_sends_at_the_rate_is_never_refused() {
        let mut bucket = Bucket::new();
        assert!((0..5000).all(|count| bucket.take(RATE, Instant::from_millis(count * 10))));
        assert_eq!(taken(&mut bucket, RATE, 50_000), 200);
    }

    #[test]
    fn odd_rates_and_times_are_harmless() {
        let least = MessageRate { per_sec: 0, burst: 0 };
        let mut bucket = Bucket::new();
        assert_eq!((taken(&mut bucket, least, 1000), taken(&mut bucket, least, 2000)), (1, 1));
        assert_eq!(taken(&mut bucket, least, 0), 0, "time goes back");
        let most = MessageRate { per_sec: u32::MAX, burst: u32::MAX };
        assert_eq!(taken(&mut Bucket::new(), most, 0), 10_000);
        let slow = MessageRate { per_sec: 1, burst: u32::MAX };
        assert_eq!(taken(&mut Bucket::new(), slow, u64::MAX / 1_000_000), 10_000);
        assert_eq!(size_of::<Bucket>(), 8);
    }
}
