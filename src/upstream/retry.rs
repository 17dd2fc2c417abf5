//! Whether a request that failed is sent again.
//!
//! Only when nothing of an answer went to the client and tries are left, and then:
//!
//! | it failed | sent again |
//! |---|---|
//! | before the target accepted a byte | to another target, whatever the method |
//! | afterwards, the connection broke | if idempotent and at hand: to another target, or the same |
//! | afterwards, in silence | if idempotent and at hand: to another target |
//!
//! A request that the target may have begun is never sent again when twice is not once: a server
//! that ends a keep-alive connection looks exactly like one that died over the request.

use super::target::TargetId;
use crate::http1::Method;
use crate::limits;

/// How an exchange with a target failed before its answer was complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The connection broke after the target accepted a byte, or what it said is no HTTP.
    Broken,
    /// There was no connection, or the target accepted no byte through it.
    Connect,
    /// The target did not answer in time.
    Timeout,
}

/// The tries of one request.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    max_count: usize,
    made: usize,
    tried: [TargetId; limits::UPSTREAM_ATTEMPT_COUNT_MAX],
    allow_same: bool,
}

impl Tries {
    /// Nothing was tried; the request may be sent `attempts` times in all, from 1 to
    /// [`limits::UPSTREAM_ATTEMPT_COUNT_MAX`].
    pub fn new(attempts: u32) -> Self {
        Self {
            max_count: (attempts as usize).clamp(1, limits::UPSTREAM_ATTEMPT_COUNT_MAX),
            made: 0,
            tried: [TargetId::default(); limits::UPSTREAM_ATTEMPT_COUNT_MAX],
            allow_same: false,
        }
    }

    /// How often it was sent.
    pub fn made(&self) -> usize {
        self.made
    }

    /// The last try failed: whether another may be made, with
    /// [`Upstream::choose`](super::Upstream::choose). When that finds nobody, the request failed as
    /// it did.
    ///
    /// `at_hand`: the whole body can be sent again. `answered`: some byte of an answer went to the
    /// client, be it of an interim one.
    pub fn failed(
        &mut self,
        failure: Failure,
        method: Method,
        at_hand: bool,
        answered: bool,
    ) -> bool {
        self.allow_same = failure == Failure::Broken;
        let is_harmless = match failure {
            Failure::Connect => true,
            Failure::Broken | Failure::Timeout => method.is_idempotent() && at_hand,
        };
        is_harmless && !answered && !self.is_over()
    }

    /// True when no try is left.
    pub(super) fn is_over(&self) -> bool {
        self.made >= self.max_count
    }

    pub(super) fn has_tried(&self, target: TargetId) -> bool {
        self.tried.iter().take(self.made).any(|tried| *tried == target)
    }

    /// Whether a target may be tried twice.
    pub(super) fn allow_same(&self) -> bool {
        self.allow_same
    }

    /// `target` is tried.
    pub(super) fn begin(&mut self, target: TargetId) {
        if let Some(place) = self.tried.get_mut(self.made) {
            *place = target;
            self.made += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: [Failure; 3] = [Failure::Broken, Failure::Connect, Failure::Timeout];

    fn tried(attempts: u32, count: usize) -> Tries {
        let mut tries = Tries::new(attempts);
        for _ in 0..count {
            tries.begin(TargetId(7));
        }
        tries
    }

    #[test]
    fn what_may_have_happened_is_not_done_twice() {
        for (failure, method, at_hand, expected) in [
            (Failure::Connect, Method::Get, true, true),
            (Failure::Connect, Method::Post, true, true),
            (Failure::Connect, Method::Post, false, true),
            (Failure::Broken, Method::Get, true, true),
            (Failure::Broken, Method::Put, true, true),
            (Failure::Broken, Method::Put, false, false),
            (Failure::Broken, Method::Post, true, false),
            (Failure::Broken, Method::Patch, true, false),
            (Failure::Broken, Method::Other, true, false),
            (Failure::Timeout, Method::Delete, true, true),
            (Failure::Timeout, Method::Delete, false, false),
            (Failure::Timeout, Method::Post, true, false),
        ] {
            let decided = tried(2, 1).failed(failure, method, at_hand, false);
            assert_eq!(decided, expected, "{failure:?} {method:?} {at_hand}");
        }
    }

    #[test]
    fn nothing_is_sent_again_once_the_client_has_heard_something() {
        for failure in FAILURES {
            assert!(!tried(2, 1).failed(failure, Method::Get, true, true), "{failure:?}");
        }
    }

    #[test]
    fn tries_come_to_an_end() {
        for (attempts, count) in [(0, 1), (1, 1), (2, 2), (8, 8), (u32::MAX, 8)] {
            for failure in FAILURES {
                let mut last = tried(attempts, count);
                assert!(!last.failed(failure, Method::Get, true, false), "{attempts}");
                last.begin(TargetId(8));
                assert!(!last.failed(failure, Method::Get, true, false), "{attempts}");
            }
            if count > 1 {
                assert!(tried(attempts, count - 1).failed(
                    Failure::Connect,
                    Method::Get,
                    true,
                    false
                ));
            }
        }
    }

    #[test]
    fn only_a_broken_connection_allows_the_same_target() {
        for failure in FAILURES {
            let mut tries = tried(2, 1);
            tries.failed(failure, Method::Get, true, false);
            assert_eq!(tries.allow_same(), failure == Failure::Broken);
        }
    }
}
