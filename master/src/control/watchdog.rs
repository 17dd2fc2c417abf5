//! Signs of life for the init system, which restarts a server that gives none (`WATCHDOG_USEC`).
//!
//! That the main loop runs is not enough: clients are served by others. So each sign is preceded by a
//! question to every loop that serves them, and given when the last one has answered. One that hangs
//! does not answer; then there is no further sign, and init does what it was told to do.

use rip::time::Instant;
use std::time::Duration;

/// When loops are asked, and who has not answered.
#[derive(Debug)]
pub struct Watchdog {
    every: Duration,
    next: Instant,
    round: u64,
    missing: usize,
}

impl Watchdog {
    /// What the environment asks for, if it asks this process.
    pub fn from_environment(now: Instant) -> Option<Self> {
        let variable = |name| std::env::var(name).ok();
        let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
        Self::new(usec.as_deref(), pid.as_deref(), std::process::id(), now)
    }

    fn new(usec: Option<&str>, pid: Option<&str>, own_pid: u32, now: Instant) -> Option<Self> {
        let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
        let limit = usec.filter(|_| is_ours)?.parse().ok().filter(|usec| *usec > 0)?;
        // Twice within the limit: one sign may come late.
        let every = (Duration::from_micros(limit) / 2).max(LEAST);
        Some(Self { every, next: now, round: 0, missing: 0 })
    }

    /// When the loops are asked next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The number of the question that is due, if one is. None is while an earlier one has not been
    /// answered by everyone.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        if self.missing > 0 {
            return None;
        }
        self.round += 1;
        Some(self.round)
    }

    /// So many were asked. True when there is nobody to be waited for.
    pub fn asked(&mut self, count: usize) -> bool {
        self.missing = count;
        count == 0
    }

    /// A loop has answered the question with this number. True when it was the last one.
    pub fn answered(&mut self, round: u64) -> bool {
        if round != self.round || self.missing == 0 {
            return false;
        }
        self.missing -= 1;
        self.missing == 0
    }
}

/// No init system wants it more often.
const LEAST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn second() -> Watchdog {
        Watchdog::new(Some("1000000"), Some("7"), 7, at(0)).expect("it is ours")
    }

    #[test]
    fn only_what_concerns_this_process_counts() {
        let is_some = |usec, pid| Watchdog::new(usec, pid, 7, at(0)).is_some();
        assert!(is_some(Some("1000000"), Some("7")) && is_some(Some("1000000"), None));
        assert!(!is_some(Some("1000000"), Some("8")) && !is_some(Some("1000000"), Some("x")));
        assert!(
            !is_some(None, Some("7")) && !is_some(Some("0"), None) && !is_some(Some("x"), None)
        );
    }

    #[test]
    fn a_sign_follows_the_last_answer_and_comes_twice_within_the_limit() {
        let mut watchdog = second();
        let round = watchdog.due(at(0)).expect("at once");
        assert!(!watchdog.asked(2) && !watchdog.answered(round) && watchdog.answered(round));
        assert!(!watchdog.answered(round), "once");
        assert_eq!((watchdog.due(at(499)), watchdog.next()), (None, at(500)));
        assert!(watchdog.due(at(500)).is_some() && watchdog.asked(0));
    }

    #[test]
    fn without_every_answer_there_is_no_sign_until_the_last_one_comes() {
        let mut watchdog = second();
        let round = watchdog.due(at(0)).expect("at once");
        watchdog.asked(2);
        assert!(!watchdog.answered(round));
        assert_eq!(watchdog.due(at(500)), None);
        assert_eq!(watchdog.due(at(1000)), None);
        assert!(!watchdog.answered(round + 1), "nobody asked that");
        assert!(watchdog.answered(round), "it was only slow");
        assert!(watchdog.due(at(1500)).is_some());
    }
}
