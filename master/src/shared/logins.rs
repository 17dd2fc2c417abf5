//! Who may order something from the dashboard: known to every loop, and to nobody else.

use rip::guard::login::{Key, Login, LoginId, Logins};
use rip::time::Instant;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The links and sessions of one master, held for nanoseconds.
#[derive(Debug, Default)]
pub struct SharedLogins(Mutex<Logins>);

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

    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys of one request that are looked at.
const COOKIE_COUNT: usize = 4;
