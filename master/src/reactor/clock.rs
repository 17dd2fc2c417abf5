//! The time, read once a turn.

use rip::time::{Instant, UnixMillis};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whoever waits for a loop notices a longer turn.
pub const LONG_TURN: Duration = Duration::from_millis(5);

/// The moment this turn of a loop began, monotonic and on the wall. Every clock of the process
/// counts from the same start, so instants may travel between threads.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Instant,
    wall: UnixMillis,
}

impl Clock {
    /// A clock that shows the present.
    pub fn new() -> Self {
        let mut clock = Self { now: Instant::default(), wall: UnixMillis::default() };
        clock.refresh();
        clock
    }

    /// Shows the present from now on: call it once after every wait.
    pub fn refresh(&mut self) {
        self.now = Self::read();
        // A wall clock set before 1970 shows 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.wall = UnixMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
    }

    /// The present as of the last [`Clock::refresh`]; never runs backwards.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The wall clock as of the last [`Clock::refresh`]; may jump.
    pub fn wall(&self) -> UnixMillis {
        self.wall
    }

    /// How long to wait for `deadline` at most: zero when it has passed.
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.since(self.now)
    }

    /// The present itself, for places that measure within a turn.
    pub fn read() -> Instant {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        Instant::default() + START.get_or_init(std::time::Instant::now).elapsed()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_still_within_a_turn_and_agrees_between_threads() {
        let mut clock = Clock::new();
        let before = clock.now();
        let elsewhere = std::thread::spawn(Clock::read).join().unwrap();
        assert_eq!(clock.now(), before);
        clock.refresh();
        assert!(before <= elsewhere && elsewhere <= clock.now());
        assert!(clock.wall() > UnixMillis(1_600_000_000_000));
        assert_eq!(clock.until(before), Duration::ZERO);
    }
}
