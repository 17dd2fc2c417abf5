//! Whether a client is still there.

use crate::entropy::Entropy;
use crate::limits::{PING_INTERVAL, SILENCE_TIMEOUT};
use crate::time::Instant;
use std::time::Duration;

/// When one client is to be pinged, and when it is gone. 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    heard: Instant,
    ping_at: Instant,
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beat {
    /// Send a Ping.
    Ping,
    /// Nothing was heard for too long.
    Dead,
}

impl Pulse {
    /// Of a client that has just come. Its first Ping is due after half the interval or later, so
    /// that clients that came together are not pinged together.
    pub fn new(now: Instant, entropy: &mut dyn Entropy) -> Self {
        let half = PING_INTERVAL / 2;
        let more = entropy.below(half.as_nanos() as u64);
        Self { heard: now, ping_at: now + half + Duration::from_nanos(more) }
    }

    /// Bytes came, of whatever kind.
    pub fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// When [`Self::beat`] is to be called.
    pub fn next(&self) -> Instant {
        self.ping_at.min(self.dead_at())
    }

    /// What is due, if anything. A Ping counts as sent.
    pub fn beat(&mut self, now: Instant) -> Option<Beat> {
        if now >= self.ping_at {
            // First of all, and whoever was silent gets time to answer: if this loop slept, what the
            // client said in the meantime is not read yet.
            self.ping_at = now + PING_INTERVAL;
            Some(Beat::Ping)
        } else if now >= self.dead_at() {
            Some(Beat::Dead)
        } else {
            None
        }
    }

    /// Silent for long, and not just pinged.
    fn dead_at(&self) -> Instant {
        let grace = SILENCE_TIMEOUT - PING_INTERVAL * 2;
        let pinged = self.ping_at - PING_INTERVAL;
        (self.heard + SILENCE_TIMEOUT).max(pinged + grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    /// Lets time pass until something else than a Ping is due, or `until`; answers each Ping for
    /// `answers` times. Seconds of the Pings, and of the end.
    fn life(pulse: &mut Pulse, mut answers: u32, until: u64) -> (Vec<u64>, Option<u64>) {
        let mut pings = Vec::new();
        loop {
            let now = pulse.next();
            let secs = now.as_millis() / 1000;
            if secs > until {
                return (pings, None);
            }
            assert_eq!(pulse.beat(now - Duration::from_nanos(1)), None);
            match pulse.beat(now) {
                Some(Beat::Ping) => pings.push(secs),
                Some(Beat::Dead) => return (pings, Some(secs)),
                None => panic!("nothing was due at {secs}"),
            }
            if answers > 0 {
                answers -= 1;
                pulse.heard(now + Duration::from_millis(50));
            }
        }
    }

    fn pulse(ping_at: u64) -> Pulse {
        Pulse { heard: Instant::default(), ping_at: Instant::from_millis(ping_at * 1000) }
    }

    #[test]
    fn who_answers_lives_and_is_pinged_every_thirty_seconds() {
        let (pings, end) = life(&mut pulse(20), u32::MAX, 200);
        assert_eq!((pings, end), (vec![20, 50, 80, 110, 140, 170, 200], None));
    }

    #[test]
    fn who_says_nothing_is_dead_after_seventy_five_seconds() {
        assert_eq!(life(&mut pulse(16), 0, 500), (vec![16, 46], Some(75)));
        // Pinged a second ago: it has fifteen to answer.
        assert_eq!(life(&mut pulse(14), 0, 500), (vec![14, 44, 74], Some(89)));
        assert_eq!(life(&mut pulse(16), 3, 500), (vec![16, 46, 76, 106, 136], Some(151)));
    }

    #[test]
    fn a_loop_that_slept_asks_before_it_buries() {
        let mut pulse = pulse(20);
        let late = Instant::from_millis(500_000);
        assert_eq!(pulse.beat(late), Some(Beat::Ping));
        assert_eq!(pulse.beat(late), None);
        pulse.heard(late + Duration::from_millis(1));
        assert_eq!(pulse.next(), late + PING_INTERVAL);
    }

    #[test]
    fn first_pings_are_spread() {
        let mut random = Xoshiro::new(5);
        let now = Instant::from_millis(1_000_000);
        let mut firsts: Vec<u64> = (0..1000)
            .map(|_| Pulse::new(now, &mut random).next().since(now).as_millis() as u64)
            .collect();
        firsts.sort_unstable();
        assert!(firsts[0] >= 15_000 && firsts[999] < 30_000);
        assert!(firsts[500].abs_diff(22_500) < 1500, "{}", firsts[500]);
        assert_eq!(size_of::<Pulse>(), 16);
    }
}
