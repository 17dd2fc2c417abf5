//! How long each part of an exchange may take.
//!
//! A connection keeps one [`Deadlines`] table and asks its loop for one timer: that of
//! [`Deadlines::next`]. Setting and clearing costs a store; the timer is only moved when it fires.

use crate::limits;
use crate::time::Instant;
use std::time::Duration;

/// A part of an exchange that has a deadline of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// An abandoned exchange: its worker may write this long.
    Abandon,
    /// The next bytes of the request body.
    Body,
    /// The next look at the body's speed, see [`BodyRate`].
    BodyRate,
    /// Connecting to a worker.
    Connect,
    /// The whole request head.
    Head,
    /// The first byte of the next request.
    Idle,
    /// Reading and throwing away after an early answer.
    Linger,
    /// A free worker.
    Queue,
    /// The worker's response head, then its next bytes.
    Read,
    /// Progress while the response is written.
    Write,
}

impl Phase {
    /// Every phase, in the order of their discriminants.
    pub const ALL: [Self; 10] = [
        Self::Abandon,
        Self::Body,
        Self::BodyRate,
        Self::Connect,
        Self::Head,
        Self::Idle,
        Self::Linger,
        Self::Queue,
        Self::Read,
        Self::Write,
    ];

    /// The phase's position in [`Self::ALL`], for arrays of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One optional deadline for each phase.
///
/// An idle connection has one and a busy one mostly two: these have a place of their own, so that ten
/// thousand idle connections do not hold ten places each. Further ones ask for memory.
#[derive(Clone, Debug)]
pub struct Deadlines {
    /// [`NEVER`] is a free place.
    at: [Instant; FEW],
    phases: [Phase; FEW],
    /// By [`Phase::index`]; a phase stands here or above.
    more: Option<Box<[Instant; Phase::ALL.len()]>>,
}

impl Deadlines {
    /// No deadline is set.
    pub const fn new() -> Self {
        Self { at: [NEVER; FEW], phases: [Phase::Idle; FEW], more: None }
    }

    /// `phase` must end before `at`; replaces its earlier deadline.
    pub fn set(&mut self, phase: Phase, at: Instant) {
        self.clear(phase);
        let mut places = self.at.iter_mut().zip(&mut self.phases);
        match places.find(|(place, _)| **place == NEVER) {
            Some((place, whose)) => (*place, *whose) = (at, phase),
            None => {
                let more = self.more.get_or_insert_with(|| Box::new([NEVER; Phase::ALL.len()]));
                more[phase.index()] = at;
            }
        }
    }

    /// `phase` has ended, or never began.
    pub fn clear(&mut self, phase: Phase) {
        for (at, whose) in self.at.iter_mut().zip(self.phases) {
            if whose == phase {
                *at = NEVER;
            }
        }
        if let Some(more) = &mut self.more {
            more[phase.index()] = NEVER;
        }
    }

    /// Every phase has ended.
    pub fn clear_all(&mut self) {
        *self = Self::new();
    }

    /// The deadline of `phase`.
    pub fn at(&self, phase: Phase) -> Option<Instant> {
        self.all().find(|(_, whose)| *whose == phase).map(|(at, _)| at)
    }

    /// The nearest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.all().map(|(at, _)| at).min()
    }

    /// The phase whose deadline passed first. It stays until it is set or cleared.
    pub fn expired(&self, now: Instant) -> Option<Phase> {
        let first = self.all().min_by_key(|(at, phase)| (*at, phase.index()));
        first.filter(|(at, _)| *at <= now).map(|(_, phase)| phase)
    }

    fn all(&self) -> impl Iterator<Item = (Instant, Phase)> {
        let few = self.at.into_iter().zip(self.phases);
        let more = self.more.iter().flat_map(|more| more.iter().copied().zip(Phase::ALL));
        few.chain(more).filter(|(at, _)| *at != NEVER)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::new()
    }
}

/// The rule that a body must arrive at [`limits::BODY_RATE_BYTES_PER_SEC`] or faster over any
/// [`limits::BODY_RATE_WINDOW`], where windows begin at each sixth of one.
///
/// After a time in which we did not read on purpose, begin a new one.
#[derive(Clone, Copy, Debug)]
pub struct BodyRate {
    step_began: Instant,
    /// Bytes of the current step and the five before it.
    steps: [u64; STEP_COUNT],
    step_index: u8,
    /// Steps before the current one, at most the five that are remembered.
    past_count: u8,
    too_slow: bool,
}

impl BodyRate {
    /// A body begins.
    pub const fn new(now: Instant) -> Self {
        let steps = [0; STEP_COUNT];
        Self { step_began: now, steps, step_index: 0, past_count: 0, too_slow: false }
    }

    /// Some of it arrived.
    pub fn received(&mut self, bytes: usize, now: Instant) {
        self.slide(now);
        let step = &mut self.steps[usize::from(self.step_index)];
        *step = step.saturating_add(bytes as u64);
    }

    /// When to ask [`Self::is_too_slow`] next: the end of the first whole window, then of each step.
    pub fn next_check(&self) -> Instant {
        self.step_began + STEP * (STEP_COUNT as u32 - u32::from(self.past_count))
    }

    /// True once too little arrived in some whole window.
    pub fn is_too_slow(&mut self, now: Instant) -> bool {
        self.slide(now);
        self.too_slow
    }

    fn slide(&mut self, now: Instant) {
        // Twice a window without a call is slow whatever came before.
        if now.since(self.step_began) >= 2 * limits::BODY_RATE_WINDOW {
            *self = Self { too_slow: true, ..Self::new(now) };
        }
        while now.since(self.step_began) >= STEP {
            let is_whole = usize::from(self.past_count) == STEP_COUNT - 1;
            let sum = self.steps.iter().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
            self.too_slow |= is_whole && sum < WINDOW_BYTES;
            self.step_began += STEP;
            self.step_index = (self.step_index + 1) % STEP_COUNT as u8;
            self.steps[usize::from(self.step_index)] = 0;
            self.past_count = (self.past_count + 1).min(STEP_COUNT as u8 - 1);
        }
    }
}

const NEVER: Instant = Instant::from_nanos(u64::MAX);
/// Deadlines that a connection has at a time, as a rule.
const FEW: usize = 2;
const STEP_COUNT: usize = 6;
const STEP: Duration =
    Duration::from_millis(limits::BODY_RATE_WINDOW.as_millis() as u64 / STEP_COUNT as u64);
const WINDOW_BYTES: u64 = limits::BODY_RATE_BYTES_PER_SEC * limits::BODY_RATE_WINDOW.as_secs();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};
    use std::collections::BTreeMap;

    fn secs(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    #[test]
    fn the_nearest_deadline_is_next_and_expires_first() {
        let mut deadlines = Deadlines::new();
        assert_eq!(deadlines.next(), None);
        assert_eq!(deadlines.expired(Instant::from_nanos(u64::MAX)), None);
        deadlines.set(Phase::Write, secs(60));
        deadlines.set(Phase::Head, secs(10));
        assert_eq!(deadlines.next(), Some(secs(10)));
        assert_eq!(deadlines.expired(secs(9)), None);
        assert_eq!(deadlines.expired(secs(100)), Some(Phase::Head));
        deadlines.clear(Phase::Head);
        assert_eq!(deadlines.at(Phase::Head), None);
        assert_eq!(deadlines.expired(secs(100)), Some(Phase::Write));
        deadlines.set(Phase::Write, secs(200));
        assert_eq!(deadlines.expired(secs(100)), None);
        deadlines.clear_all();
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn all_phases_may_have_one_at_a_time() {
        for seed in 0..50 {
            let mut entropy = Xoshiro::new(seed);
            let (mut deadlines, mut expected) = (Deadlines::new(), BTreeMap::new());
            for _ in 0..500 {
                let phase = Phase::ALL[entropy.below(Phase::ALL.len() as u64) as usize];
                if entropy.below(5) < 2 {
                    let at = secs(entropy.below(20));
                    deadlines.set(phase, at);
                    expected.insert(phase.index(), at);
                } else {
                    deadlines.clear(phase);
                    expected.remove(&phase.index());
                }
                for phase in Phase::ALL {
                    assert_eq!(deadlines.at(phase), expected.get(&phase.index()).copied());
                }
                let first = expected.iter().min_by_key(|(index, at)| (**at, **index));
                assert_eq!(deadlines.next(), first.map(|(_, at)| *at), "seed {seed}");
                let now = secs(10);
                let due = first.filter(|(_, at)| **at <= now).map(|(index, _)| Phase::ALL[*index]);
                assert_eq!(deadlines.expired(now), due, "seed {seed}");
            }
        }
    }

    #[test]
    fn every_phase_stands_at_its_index() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase.index(), index);
        }
    }

    #[test]
    fn nothing_is_too_slow_in_the_first_window() {
        let mut rate = BodyRate::new(secs(5));
        assert_eq!(rate.next_check(), secs(65));
        assert!(!rate.is_too_slow(secs(64)));
        assert!(rate.is_too_slow(secs(65)));
    }

    #[test]
    fn a_body_at_the_least_speed_passes_and_one_below_does_not() {
        for (bytes, slow) in [(1024, false), (1023, true)] {
            let mut rate = BodyRate::new(secs(0));
            for second in 0..300 {
                rate.received(bytes, secs(second));
            }
            assert_eq!(rate.is_too_slow(secs(300)), slow);
        }
    }

    #[test]
    fn a_fast_start_does_not_pay_for_a_slow_rest() {
        let mut rate = BodyRate::new(secs(0));
        rate.received(100 << 20, secs(0));
        let mut checks = 0;
        while !rate.is_too_slow(rate.next_check()) {
            checks += 1;
        }
        assert_eq!(checks, 1, "the window that begins after the burst is the first to fail");
    }

    #[test]
    fn what_arrives_after_a_window_does_not_mend_it() {
        let mut rate = BodyRate::new(secs(0));
        rate.received(100 << 20, secs(61));
        assert!(rate.is_too_slow(secs(61)));
    }

    #[test]
    fn a_leap_in_time_ends_quickly() {
        let mut rate = BodyRate::new(secs(0));
        rate.received(1, Instant::from_nanos(u64::MAX));
        assert!(rate.is_too_slow(Instant::from_nanos(u64::MAX)));
    }
}
