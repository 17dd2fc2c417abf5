//! Whether a target that fails gets requests: what its exchanges say about it.
//!
//! ```text
//!            at least 10 exchanges in 10 s, half of them failed
//!   Closed ────────────────────────────────────────────────────▶ Open ◀─────────────┐
//!     ▲                                                           │ 30 s and a bit  │
//!     │ it finished                                               ▼ one request     │ it failed
//!     └──────────────────────────────────────────────────────── Trying ─────────────┘
//! ```
//!
//! A trial that shows nothing, because its client left, makes the next request the trial. What was
//! begun before the circuit last opened or closed says nothing about it now.

use crate::entropy::Entropy;
use crate::limits;
use crate::time::Instant;
use std::time::Duration;

/// The circuit of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    state: State,
    /// Counts how often it opened or closed.
    era: u64,
    samples: Samples,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Trying,
}

/// The era in which a request was let through; its end counts in that one only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pass(u64);

/// What the end of a request changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Closed,
    Opened { until: Instant },
}

impl Circuit {
    /// Whether a request is let through.
    pub(super) fn lets_through(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => until <= now,
            State::Trying => false,
        }
    }

    /// Lets a request through, which [`Self::lets_through`] allows.
    pub(super) fn begin(&mut self) -> Pass {
        if let State::Open { .. } = self.state {
            self.state = State::Trying;
        }
        Pass(self.era)
    }

    /// The request of `pass` ended; `failed` is `None` when its end shows nothing.
    pub(super) fn end(
        &mut self,
        pass: Pass,
        failed: Option<bool>,
        random: &mut dyn Entropy,
        now: Instant,
    ) -> Option<Change> {
        if pass.0 != self.era {
            return None;
        }
        match (self.state, failed) {
            (State::Closed, Some(failed)) => {
                self.samples.add(failed, now);
                self.samples.are_bad().then(|| self.open(random, now))
            }
            (State::Trying, Some(true)) => Some(self.open(random, now)),
            (State::Trying, Some(false)) => {
                self.state = State::Closed;
                self.era += 1;
                Some(Change::Closed)
            }
            (State::Trying, None) => {
                self.state = State::Open { until: now };
                None
            }
            (State::Closed, None) | (State::Open { .. }, _) => None,
        }
    }

    /// When it lets a trial through; `None` while it is closed.
    pub(super) fn opens_until(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until),
            State::Trying => Some(now),
        }
    }

    /// True while the trial is in flight.
    pub(super) fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying)
    }

    fn open(&mut self, random: &mut dyn Entropy, now: Instant) -> Change {
        let jitter = random.below(limits::EJECT_JITTER.as_nanos() as u64 + 1);
        let until = now + limits::EJECT_TIME + Duration::from_nanos(jitter);
        self.state = State::Open { until };
        self.era += 1;
        self.samples = Samples::default();
        Change::Opened { until }
    }
}

/// How the exchanges of the last [`limits::EJECT_WINDOW`] ended, where windows begin at each tenth of
/// one.
#[derive(Clone, Debug, Default)]
struct Samples {
    steps: [Step; STEP_COUNT],
    /// The newest step, counted from the beginning of time.
    last_step: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Step {
    count: u32,
    failure_count: u32,
}

impl Samples {
    fn add(&mut self, failed: bool, now: Instant) {
        let step = now.as_nanos() / STEP_NANOS;
        // Each step between is over, and no more than all of them are remembered.
        for over in (self.last_step + 1..=step).rev().take(STEP_COUNT) {
            self.steps[(over % STEP_COUNT as u64) as usize] = Step::default();
        }
        self.last_step = self.last_step.max(step);
        let sums = &mut self.steps[(self.last_step % STEP_COUNT as u64) as usize];
        sums.count = sums.count.saturating_add(1);
        sums.failure_count = sums.failure_count.saturating_add(u32::from(failed));
    }

    fn are_bad(&self) -> bool {
        let sum = |of: fn(&Step) -> u32| self.steps.iter().map(|step| u64::from(of(step))).sum();
        let (count, failure_count): (u64, u64) =
            (sum(|step| step.count), sum(|step| step.failure_count));
        count >= u64::from(limits::EJECT_SAMPLE_COUNT)
            && failure_count * 100 >= count * u64::from(limits::EJECT_FAILURE_PERCENT)
    }
}

const STEP_COUNT: usize = 10;
const STEP_NANOS: u64 = limits::EJECT_WINDOW.as_nanos() as u64 / STEP_COUNT as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;

    fn secs(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    /// One request that ends at once.
    fn sample(circuit: &mut Circuit, failed: bool, now: Instant) -> Option<Change> {
        assert!(circuit.lets_through(now));
        let pass = circuit.begin();
        circuit.end(pass, Some(failed), &mut Xoshiro::new(1), now)
    }

    fn opened(now: Instant) -> (Circuit, Instant) {
        let mut circuit = Circuit::default();
        for _ in 0..9 {
            assert_eq!(sample(&mut circuit, true, now), None);
        }
        match sample(&mut circuit, true, now) {
            Some(Change::Opened { until }) => (circuit, until),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn half_of_ten_failures_open_it_for_thirty_seconds_and_a_bit() {
        let mut circuit = Circuit::default();
        for turn in 0..9 {
            assert_eq!(sample(&mut circuit, turn % 2 == 0, secs(5)), None);
        }
        let mut other = circuit.clone();
        // Five failed already: with the tenth they are half, however it ends.
        assert!(matches!(sample(&mut other, false, secs(5)), Some(Change::Opened { .. })));
        let Some(Change::Opened { until }) = sample(&mut circuit, true, secs(5)) else {
            panic!("it stays closed")
        };
        assert!((secs(35)..=secs(41)).contains(&until));
        assert!(!circuit.lets_through(until - Duration::from_nanos(1)));
        assert!(circuit.lets_through(until));
    }

    #[test]
    fn less_than_half_or_less_than_ten_do_not() {
        let mut circuit = Circuit::default();
        for turn in 0..1000 {
            assert_eq!(sample(&mut circuit, turn % 20 > 10, secs(5 + turn / 100)), None, "{turn}");
        }
        let mut slow = Circuit::default();
        for turn in 0..100 {
            // Nine in any ten seconds.
            assert_eq!(sample(&mut slow, true, Instant::from_millis(turn * 1112)), None);
        }
    }

    #[test]
    fn what_is_ten_seconds_old_does_not_count() {
        let mut circuit = Circuit::default();
        for _ in 0..9 {
            assert_eq!(sample(&mut circuit, true, Instant::from_millis(5999)), None);
        }
        assert_eq!(sample(&mut circuit, true, secs(15)), None);
        let mut circuit = Circuit::default();
        for _ in 0..9 {
            assert_eq!(sample(&mut circuit, true, secs(5)), None);
        }
        assert!(sample(&mut circuit, true, Instant::from_millis(14_999)).is_some());
        // A leap over many windows ends quickly.
        let (mut circuit, now) = (Circuit::default(), Instant::from_nanos(u64::MAX));
        assert_eq!(sample(&mut circuit, true, secs(0)), None);
        for _ in 0..9 {
            assert_eq!(sample(&mut circuit, true, now), None);
        }
        assert!(sample(&mut circuit, true, now).is_some());
    }

    #[test]
    fn one_request_at_a_time_tries_whether_it_is_well() {
        let (mut circuit, until) = opened(secs(5));
        let mut random = Xoshiro::new(2);
        let trial = circuit.begin();
        assert!(circuit.is_trying() && !circuit.lets_through(until + Duration::from_secs(100)));
        assert_eq!(circuit.end(trial, None, &mut random, until), None);
        assert!(circuit.lets_through(until), "it showed nothing");
        let Some(Change::Opened { until: later }) = sample(&mut circuit, true, until) else {
            panic!("a trial that failed closed it")
        };
        assert!(later >= until + limits::EJECT_TIME);
        assert_eq!(sample(&mut circuit, false, later), Some(Change::Closed));
        // It begins anew: nine more failures are not enough.
        for _ in 0..9 {
            assert_eq!(sample(&mut circuit, true, later), None);
        }
    }

    #[test]
    fn what_began_before_it_opened_says_nothing_afterwards() {
        let mut random = Xoshiro::new(3);
        let mut circuit = Circuit::default();
        let old: Vec<Pass> = (0..100).map(|_| circuit.begin()).collect();
        let mut until = None;
        for (turn, pass) in old.iter().enumerate() {
            let change = circuit.end(*pass, Some(true), &mut random, secs(5));
            assert_eq!(change.is_some(), turn == 9);
            until = until.or(circuit.opens_until(secs(5)));
        }
        assert_eq!(circuit.opens_until(secs(5)), until, "late failures do not prolong it");
        let trial = circuit.begin();
        assert_eq!(circuit.end(old[0], Some(false), &mut random, secs(50)), None);
        assert!(circuit.is_trying());
        assert_eq!(circuit.end(trial, Some(false), &mut random, secs(50)), Some(Change::Closed));
        for pass in old {
            assert_eq!(circuit.end(pass, Some(true), &mut random, secs(50)), None);
        }
    }
}
