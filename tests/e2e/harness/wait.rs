//! Waiting for a condition, never for time.

use std::time::{Duration, Instant};

/// Longest wait for something that should happen soon; generous, as machines are busy.
pub const SOON: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);

/// Asks until there is an answer.
///
/// # Panics
/// When none came within [`SOON`].
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    match within(SOON, ask) {
        Some(found) => found,
        None => panic!("waited {SOON:?} in vain for {what}"),
    }
}

/// Asks until it is so.
///
/// # Panics
/// When it was not within [`SOON`].
#[track_caller]
pub fn eventually(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}

/// Asks until there is an answer or the time is over.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ask() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(STEP);
    }
}
