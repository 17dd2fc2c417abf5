//! Who may order something from the dashboard: known to every loop, and to nobody else.

use rip::guard::login::{Key, Login, LoginId, Logins};
use rip::time::Instant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The links and sessions of one master, held for nanoseconds.
#[derive(Debug, Default)]
pub struct SharedLogins(Mutex<Logins>, Mutex<Failures>);

/// Logins that came to nothing. Anybody can try, so that they are told at most once a second.
#[derive(Debug, Default)]
struct Failures {
    told_at: Option<Instant>,
    untold: u64,
}

impl Failures {
    fn fail(&mut self, now: Instant) -> Option<u64> {
        if self.told_at.is_some_and(|at| now.since(at) < FAILURE_INTERVAL) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl SharedLogins {
    /// As [`Logins::offer`].
    pub fn offer(&self, key: &Key, now: Instant) {
        self.lock().offer(key, now);
    }

    /// As [`Logins::log_in`].
    pub fn log_in(&self, link: &[u8], session: &Key, now: Instant) -> Option<Login> {
        self.lock().log_in(link, session, now)
    }

    /// As [`Logins::session`], of whichever of `keys` is one.
    pub fn session<'k>(&self, keys: impl Iterator<Item = &'k [u8]>, now: Instant) -> Option<Login> {
        // Each costs a digest, and a client may send as many as it likes.
        keys.take(COOKIE_COUNT).find_map(|key| self.lock().session(key, now))
    }

    /// As [`Logins::lives`].
    pub fn lives(&self, id: LoginId, now: Instant) -> bool {
        self.lock().lives(id, now)
    }

    /// As [`Logins::log_out`].
    pub fn log_out(&self, id: LoginId) {
        self.lock().log_out(id);
    }

    /// A login came to nothing. When that is to be told: how many were not told since the last one.
    pub fn fail(&self, now: Instant) -> Option<u64> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).fail(now)
    }

    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys of one request that are looked at.
const COOKIE_COUNT: usize = 4;
/// Between two lines about logins that came to nothing.
const FAILURE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_that_fail_are_told_once_a_second_with_how_many_there_were() {
        let logins = SharedLogins::default();
        let fail = |millis| logins.fail(Instant::from_millis(millis));
        assert_eq!(fail(10), Some(0));
        for millis in 11..=1009 {
            assert_eq!(fail(millis), None, "{millis}");
        }
        assert_eq!(fail(1010), Some(999));
        assert_eq!(fail(1011), None);
        assert_eq!(fail(9000), Some(1));
        assert_eq!(fail(10_000), Some(0));
    }
}
