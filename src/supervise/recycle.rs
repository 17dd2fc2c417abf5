//! How long a worker may live although nothing is wrong with it, and why one is replaced.

use crate::contract::app::Recycle;
use crate::entropy::Entropy;
use std::time::Duration;

/// Why a worker is to be replaced by a fresh one; the first is the most urgent.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Wish {
    /// An operator wants it gone, and is told how that went.
    Drain,
    /// It does not answer.
    Unhealthy,
    /// Its generation was given up.
    RolledBack,
    /// It reached this limit.
    Recycle(&'static str),
}

/// One worker's limits, each a tenth longer or shorter than the app's, so that workers started
/// together do not end together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lifespan {
    requests: Option<u64>,
    age: Option<Duration>,
    max_rss_bytes: Option<u64>,
    /// Its memory was above the limit when last seen.
    bloated: bool,
}

impl Lifespan {
    /// The limits of one more worker.
    pub(super) fn new(recycle: &Recycle, random: &mut dyn Entropy) -> Self {
        let mut jitter = |limit: u64| {
            let fifth = random.below(limit / 5 + 1);
            (limit - limit / 10).saturating_add(fifth).max(1)
        };
        Self {
            requests: recycle.requests.map(&mut jitter),
            age: recycle
                .seconds
                .map(|seconds| Duration::from_millis(jitter(seconds.saturating_mul(1000)))),
            max_rss_bytes: recycle.max_rss_bytes.map(&mut jitter),
            bloated: false,
        }
    }

    /// How long it may serve.
    pub(super) fn age(&self) -> Option<Duration> {
        self.age
    }

    /// The limit it has reached, after `requests` and with `rss_bytes`, where that was looked at.
    /// Memory counts when it was too much twice in a row.
    pub(super) fn reached(
        &mut self,
        requests: u64,
        rss_bytes: Option<u64>,
    ) -> Option<&'static str> {
        if self.requests.is_some_and(|limit| requests >= limit) {
            return Some("requests");
        }
        let bloated = self.max_rss_bytes.zip(rss_bytes).map(|(limit, rss)| rss > limit);
        if let Some(bloated) = bloated
            && std::mem::replace(&mut self.bloated, bloated)
            && bloated
        {
            return Some("rss");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    #[test]
    fn limits_are_spread_over_a_tenth_to_both_sides() {
        let mut random = Xoshiro::new(1);
        let recycle = Recycle { requests: Some(1000), seconds: Some(100), ..Recycle::default() };
        let lives: Vec<_> = (0..200).map(|_| Lifespan::new(&recycle, &mut random)).collect();
        let requests: Vec<u64> = lives.iter().filter_map(|life| life.requests).collect();
        assert!(requests.iter().all(|limit| (900..=1100).contains(limit)), "{requests:?}");
        assert!(requests.iter().any(|limit| *limit < 930));
        assert!(requests.iter().any(|limit| *limit > 1070));
        let ages: Vec<_> = lives.iter().filter_map(Lifespan::age).collect();
        let range = Duration::from_secs(90)..=Duration::from_secs(110);
        assert!(ages.iter().all(|age| range.contains(age)), "{ages:?}");
    }

    #[test]
    fn one_request_stays_one_request() {
        let recycle = Recycle { requests: Some(1), ..Recycle::default() };
        let mut life = Lifespan::new(&recycle, &mut Xoshiro::new(1));
        assert_eq!(life.reached(0, None), None);
        assert_eq!(life.reached(1, None), Some("requests"));
    }

    #[test]
    fn memory_counts_when_it_was_too_much_twice_in_a_row() {
        let recycle = Recycle { max_rss_bytes: Some(100), ..Recycle::default() };
        let mut life = Lifespan::new(&recycle, &mut Xoshiro::new(1));
        assert_eq!(life.reached(0, Some(200)), None);
        assert_eq!(life.reached(0, None), None, "not looked at");
        assert_eq!(life.reached(0, Some(50)), None);
        assert_eq!(life.reached(0, Some(200)), None);
        assert_eq!(life.reached(0, Some(200)), Some("rss"));
    }
}
