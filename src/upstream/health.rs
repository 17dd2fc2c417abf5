//! What checks say about a target, and when the next one is due.
//!
//! ```text
//!   Waiting ── due ──▶ (Output::Check) Asked ── answered ──▶ Waiting, an interval after it was asked
//!      ▲                                 │
//!      └───── time over: a failure ──────┘ (Output::Cancel)
//! ```
//!
//! A target is `Untested` at first, and gets requests: traffic does not wait for checks. Its first
//! good check makes it `Healthy`, as many bad ones in a row as the threshold make it `Unhealthy`,
//! and then as many good ones in a row as the other threshold make it `Healthy` again.

use super::target::TargetId;
use crate::entropy::Entropy;
use crate::limits;
use crate::time::Instant;
use std::sync::Arc;
use std::time::Duration;

/// How targets are checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ActiveCheck {
    /// What is asked with `GET`; a status from 200 to 399 is good.
    pub path: Arc<str>,
    /// From one check of a target to the next; up to a tenth is added to each by chance.
    pub interval: Duration,
    /// A target that has not answered after this has failed.
    pub timeout: Duration,
    /// Failures in a row that make a target unhealthy; 0 counts as 1.
    pub failures: u32,
    /// Good checks in a row that make it healthy again; 0 counts as 1.
    pub successes: u32,
}

impl ActiveCheck {
    /// Checks of `path` with the usual times and thresholds.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.into(),
            interval: limits::CHECK_INTERVAL,
            timeout: limits::CHECK_TIMEOUT,
            failures: limits::CHECK_FAILURE_COUNT,
            successes: limits::CHECK_SUCCESS_COUNT,
        }
    }

    fn next(&self, asked: Instant, random: &mut dyn Entropy) -> Instant {
        let interval = self.interval.max(LEAST_INTERVAL);
        let tenth = u64::try_from((interval / 10).as_nanos()).unwrap_or(u64::MAX);
        asked + interval + Duration::from_nanos(random.below(tenth))
    }
}

/// One check to be made; give it back to [`Upstream::checked`](super::Upstream::checked) with the
/// answer, or drop it when it is cancelled.
#[derive(Debug, Eq, PartialEq)]
pub struct Check {
    /// Whom to ask.
    pub target: TargetId,
    /// The target as it is called in the settings.
    pub name: Arc<str>,
    /// What to ask.
    pub path: Arc<str>,
    /// [`Output::Cancel`](super::Output::Cancel) comes then.
    pub until: Instant,
    pub(super) serial: u64,
}

/// What checks say about a target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Verdict {
    /// The last ones were good enough.
    Healthy,
    /// Too many in a row were bad: it gets no requests.
    Unhealthy,
    /// There was no good one yet, and not enough bad ones.
    #[default]
    Untested,
}

/// The health of one target.
#[derive(Clone, Debug)]
pub(super) struct Health {
    verdict: Verdict,
    /// Results in a row that speak against the verdict.
    against_count: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Asked { since: Instant, until: Instant, serial: u64 },
    Waiting { at: Instant },
}

/// What has to be done for a target whose time came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// Ask it, and say so by [`Health::asked`].
    Ask,
    /// Ask no more; the verdict is the new one, if it changed.
    Late(Option<Verdict>),
}

impl Health {
    /// Nothing is known; it is due now.
    pub(super) fn new(now: Instant) -> Self {
        let state = State::Waiting { at: now };
        Self { verdict: Verdict::Untested, against_count: 0, state }
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    /// When [`Self::due`] says something, if nothing happens before.
    pub(super) fn deadline(&self) -> Instant {
        match self.state {
            State::Asked { until: at, .. } | State::Waiting { at } => at,
        }
    }

    /// Other rules hold: it is due now, and counts anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.against_count = 0;
        self.state = State::Waiting { at: now };
    }

    /// What is due at `now`.
    pub(super) fn due(
        &mut self,
        rules: &ActiveCheck,
        random: &mut dyn Entropy,
        now: Instant,
    ) -> Option<Due> {
        match self.state {
            State::Waiting { at } => (at <= now).then_some(Due::Ask),
            State::Asked { until, .. } if now < until => None,
            // Nobody listened, because this machine was suspended: its silence means nothing.
            State::Asked { until, .. } if now.since(until) > rules.timeout.max(OVERSLEPT) => {
                self.state = State::Waiting { at: now };
                Some(Due::Late(None))
            }
            State::Asked { since, .. } => {
                self.state = State::Waiting { at: rules.next(since, random).max(now) };
                Some(Due::Late(self.judge(false, rules)))
            }
        }
    }

    /// It is being asked; says until when.
    pub(super) fn asked(&mut self, rules: &ActiveCheck, serial: u64, now: Instant) -> Instant {
        let until = now + rules.timeout;
        self.state = State::Asked { since: now, until, serial };
        until
    }

    /// The check called `serial` is answered. Says the new verdict, if it changed; an answer to a
    /// check that is over changes nothing.
    pub(super) fn answered(
        &mut self,
        serial: u64,
        good: bool,
        rules: &ActiveCheck,
        random: &mut dyn Entropy,
        now: Instant,
    ) -> Option<Verdict> {
        match self.state {
            State::Asked { since, serial: asked, .. } if asked == serial => {
                self.state = State::Waiting { at: rules.next(since, random).max(now) };
                self.judge(good, rules)
            }
            _ => None,
        }
    }

    fn judge(&mut self, good: bool, rules: &ActiveCheck) -> Option<Verdict> {
        let (wanted, threshold) = match (self.verdict, good) {
            (Verdict::Untested, true) => (Verdict::Healthy, 1),
            (Verdict::Untested | Verdict::Healthy, false) => (Verdict::Unhealthy, rules.failures),
            (Verdict::Unhealthy, true) => (Verdict::Healthy, rules.successes),
            (Verdict::Healthy, true) | (Verdict::Unhealthy, false) => {
                self.against_count = 0;
                return None;
            }
        };
        self.against_count += 1;
        if self.against_count < threshold {
            return None;
        }
        self.against_count = 0;
        self.verdict = wanted;
        Some(wanted)
    }
}

/// Nobody is asked more often, whatever was configured.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// No loop that is awake is this late.
const OVERSLEPT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    struct Stand {
        health: Health,
        rules: ActiveCheck,
        random: Xoshiro,
        now: Instant,
        serial: u64,
    }

    impl Stand {
        fn new() -> Self {
            let now = Instant::from_millis(1000);
            Self {
                health: Health::new(now),
                rules: ActiveCheck::new("/healthz"),
                random: Xoshiro::new(1),
                now,
                serial: 0,
            }
        }

        fn due(&mut self) -> Option<Due> {
            self.health.due(&self.rules, &mut self.random, self.now)
        }

        /// Goes on to the next check and asks; says how long that took.
        fn ask(&mut self) -> Duration {
            let before = self.now;
            self.now = self.health.deadline().max(self.now);
            assert_eq!(self.due(), Some(Due::Ask));
            self.serial += 1;
            let until = self.health.asked(&self.rules, self.serial, self.now);
            assert_eq!(until, self.now + self.rules.timeout);
            assert_eq!(self.due(), None);
            self.now.since(before)
        }

        fn answer(&mut self, good: bool) -> Option<Verdict> {
            self.health.answered(self.serial, good, &self.rules, &mut self.random, self.now)
        }
    }

    #[test]
    fn verdicts_follow_the_thresholds() {
        let mut stand = Stand::new();
        let results = [
            (false, None),
            (false, None),
            (true, Some(Verdict::Healthy)),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(Verdict::Unhealthy)),
            (false, None),
            (true, None),
            (false, None),
            (true, None),
            (true, Some(Verdict::Healthy)),
        ];
        for (turn, (good, expected)) in results.into_iter().enumerate() {
            stand.ask();
            assert_eq!(stand.answer(good), expected, "{turn}");
        }
        let mut bad = Stand::new();
        for expected in [None, None, Some(Verdict::Unhealthy)] {
            bad.ask();
            assert_eq!(bad.answer(false), expected);
        }
    }

    #[test]
    fn the_first_check_is_at_once_and_the_next_an_interval_and_a_bit_after_it_was_asked() {
        let mut stand = Stand::new();
        assert_eq!(stand.ask(), Duration::ZERO);
        for _ in 0..100 {
            let asked = stand.now;
            stand.now += Duration::from_millis(1500);
            stand.answer(true);
            stand.ask();
            let gap = stand.now.since(asked);
            assert!((5000..5500).contains(&gap.as_millis()), "{gap:?}");
        }
    }

    #[test]
    fn silence_is_a_failure_and_a_late_answer_is_none() {
        let mut stand = Stand::new();
        for expected in [None, None, Some(Verdict::Unhealthy)] {
            stand.ask();
            stand.now = stand.health.deadline();
            assert_eq!(stand.due(), Some(Due::Late(expected)));
            assert_eq!(stand.answer(true), None);
            assert_eq!(stand.due(), None);
        }
        assert_eq!(stand.health.verdict(), Verdict::Unhealthy);
        stand.ask();
        let earlier = stand.serial - 1;
        let late = stand.health.answered(earlier, true, &stand.rules, &mut stand.random, stand.now);
        assert_eq!(late, None);
        assert!(stand.health.is_asked(), "the answer was to another question");
    }

    #[test]
    fn silence_while_nobody_listened_is_no_failure() {
        let mut stand = Stand::new();
        stand.rules.failures = 1;
        stand.ask();
        stand.now += Duration::from_secs(3600);
        assert_eq!(stand.due(), Some(Due::Late(None)));
        assert_eq!(stand.ask(), Duration::ZERO, "it is asked again at once");
    }

    #[test]
    fn a_check_that_takes_longer_than_the_interval_is_followed_at_once() {
        let mut stand = Stand::new();
        stand.rules.interval = Duration::ZERO;
        stand.ask();
        stand.now += Duration::from_millis(1900);
        stand.answer(true);
        assert_eq!(stand.ask(), Duration::ZERO);
        stand.answer(true);
        assert!(stand.ask() >= LEAST_INTERVAL);
    }
}
