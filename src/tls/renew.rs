//! When a certificate of one name is ordered from an ACME authority.
//!
//! Inputs: what is on disk at the start, what is remembered of earlier orders ([`Past`]), the wall
//! clock in seconds since 1970-01-01T00:00:00Z, and what came of the last step. Output: the next
//! [`Step`]. Nothing is ordered while a certificate is good, unless its authority suggests it
//! (RFC 9773), its last third has begun, or somebody asks for it.

use super::past::{Failure, LONGEST, Past};
use super::validity::{HOUR, Validity};
use super::window::{Offer, Window, ask_again};
use crate::entropy::Entropy;

/// The certificate of one name.
#[derive(Clone, Debug)]
pub struct Renewal {
    stage: Stage,
    /// What is on disk and was good when it was looked at.
    held: Option<Validity>,
    /// The window the authority suggested last, and the moment chosen in it.
    suggested: Option<(Window, u64)>,
    past: Past,
}

/// ```text
///  new, held ──▶ Resting ◀───────────── issued, found ──────────┐
///                 │  ▲ told: a window, none, no answer          │
///      time to ask▼  │                                          │
///                Asking                                         │
///                 │ renewal is due, or asked for (any stage)    │
///                 ▼                                             │
///  new, none ──▶ Waiting ── pause over, budgets allow it ──▶ Ordering
///                 ▲  │ budgets spent: until there is room       │
///                 └──┴────────────────── failed ────────────────┘
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// There is a good certificate.
    Resting {
        /// When its authority is asked what it thinks.
        ask_at: u64,
    },
    /// Its authority is being asked.
    Asking,
    /// Another one is wanted, but not before this moment.
    Waiting {
        /// The moment.
        until: u64,
    },
    /// It is being ordered.
    Ordering,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing before this moment.
    Wait(u64),
    /// Ask the authority for the window of the certificate that is held; then
    /// [`told`](Renewal::told).
    Ask,
    /// Store [`past`](Renewal::past), then order; then [`issued`](Renewal::issued) or
    /// [`failed`](Renewal::failed).
    Order,
}

impl Renewal {
    /// A name with the certificate `held`, if there is one, and what is remembered of it.
    pub fn new(
        held: Option<Validity>,
        mut past: Past,
        now: u64,
        entropy: &mut impl Entropy,
    ) -> Self {
        past.resume(now);
        let held = held.filter(|validity| validity.holds(now));
        if let Some(validity) = held {
            past.length = Some(validity.length());
        }
        let stage = match held {
            Some(_) => {
                Stage::Resting { ask_at: now + past.pace().scale(entropy.below(FIRST_CHECK)) }
            }
            None => Stage::Waiting { until: past.pause_until },
        };
        Self { stage, held, suggested: None, past }
    }

    /// What is to be stored after each step, and before an order.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// The certificate on disk, as far as it was told of.
    pub fn held(&self) -> Option<Validity> {
        self.held
    }

    /// When another certificate will be ordered if nothing else happens; the past where one is being
    /// ordered or waits for nothing.
    pub fn next_order(&self) -> u64 {
        match self.stage {
            Stage::Resting { .. } | Stage::Asking => self.renew_at(),
            Stage::Waiting { until } => until,
            Stage::Ordering => 0,
        }
    }

    /// The next step at `now`. To be called again at the moment it says, and after every other call.
    pub fn poll(&mut self, now: u64) -> Step {
        self.distrust(now);
        let wait = match self.stage {
            Stage::Ordering | Stage::Asking => u64::MAX,
            Stage::Resting { .. } if now >= self.renew_at() => {
                self.stage = Stage::Waiting { until: now.max(self.past.pause_until) };
                return self.poll(now);
            }
            Stage::Resting { ask_at } if now >= ask_at => {
                self.stage = Stage::Asking;
                return Step::Ask;
            }
            Stage::Resting { ask_at } => ask_at.min(self.renew_at()),
            Stage::Waiting { until } if now < until => until,
            Stage::Waiting { .. } => {
                let affordable = self.past.affordable(now);
                if affordable <= now {
                    self.past.begin(now);
                    self.stage = Stage::Ordering;
                    return Step::Order;
                }
                self.stage = Stage::Waiting { until: affordable };
                affordable
            }
        };
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        Step::Wait(wait)
    }

    /// What the authority answered to [`Step::Ask`].
    pub fn told(&mut self, offer: Offer, now: u64, entropy: &mut impl Entropy) {
        if self.stage != Stage::Asking {
            return;
        }
        let pace = self.past.pace();
        let mut pause = match offer {
            Offer::Window(window, retry_after) => {
                let known = self.suggested.filter(|(known, _)| *known == window);
                let chosen = || {
                    let moment = window.moment(self.held?, entropy)?;
                    Some((window, moment))
                };
                self.suggested = known.or_else(chosen);
                ask_again(retry_after)
            }
            Offer::None => {
                self.suggested = None;
                CHECK
            }
            // What it suggested last is better than nothing.
            Offer::Unknown => CHECK / 2,
        };
        if !matches!(offer, Offer::Window(..)) {
            pause = pace.scale(pause - JITTER + entropy.below(2 * JITTER));
        }
        self.stage = Stage::Resting { ask_at: now.saturating_add(pause) };
    }

    /// The order brought a certificate, and it is in use.
    pub fn issued(&mut self, validity: Validity, now: u64, entropy: &mut impl Entropy) {
        self.past.succeed(now, validity.length());
        self.rest(validity, now, entropy);
    }

    /// There is another certificate on disk than the one that was held, and nobody here ordered it.
    pub fn found(&mut self, validity: Validity, now: u64, entropy: &mut impl Entropy) {
        if self.stage != Stage::Ordering && validity.holds(now) {
            self.past.length = Some(validity.length());
            self.rest(validity, now, entropy);
        }
    }

    /// The certificate that was held is not on disk any more, or of no use.
    pub fn lost(&mut self) {
        self.held = None;
        self.suggested = None;
        if matches!(self.stage, Stage::Resting { .. } | Stage::Asking) {
            self.stage = Stage::Waiting { until: self.past.pause_until };
        }
    }

    /// The order failed. The answer is the moment of the next one.
    pub fn failed(&mut self, how: Failure, now: u64, entropy: &mut impl Entropy) -> u64 {
        let shortest = self.past.pace().scale(HOUR);
        let mut pause = self.past.fail(how);
        if let Some(left) = self.held.map(|held| held.left(now)).filter(|left| *left > 0) {
            // The closer the end, the less may pass: a certificate must not expire in a pause.
            pause = pause.min((left / 3).max(shortest));
        }
        let until = now.saturating_add(pause + entropy.below(pause / 10));
        self.past.pause_until = until;
        self.stage = Stage::Waiting { until };
        until
    }

    /// Another certificate is wanted now, whatever is held and however long it would wait. The
    /// budgets hold nevertheless.
    pub fn want(&mut self, now: u64) {
        if self.stage != Stage::Ordering {
            self.stage = Stage::Waiting { until: now };
        }
    }

    fn rest(&mut self, validity: Validity, now: u64, entropy: &mut impl Entropy) {
        self.held = Some(validity);
        self.suggested = None;
        let soon = self.past.pace().scale(entropy.below(FIRST_CHECK));
        self.stage = Stage::Resting { ask_at: now.saturating_add(soon) };
    }

    /// When what is held should be renewed.
    fn renew_at(&self) -> u64 {
        let by_age = self.held.map_or(0, Validity::last_third);
        self.suggested.map_or(by_age, |(_, moment)| moment)
    }

    /// A clock that was set back must not make a wait of years.
    fn distrust(&mut self, now: u64) {
        match &mut self.stage {
            Stage::Resting { ask_at } => *ask_at = (*ask_at).min(now.saturating_add(LONGEST)),
            Stage::Waiting { until } => *until = (*until).min(now.saturating_add(7 * LONGEST)),
            Stage::Asking | Stage::Ordering => {}
        }
    }

    /// Panics when the machine contradicts itself.
    pub fn check_invariants(&self) {
        let rests = matches!(self.stage, Stage::Resting { .. } | Stage::Asking);
        assert!(!rests || self.held.is_some(), "it rests without a certificate");
        let orders = self.stage == Stage::Ordering;
        assert_eq!(orders, self.past.under_way, "what is remembered says otherwise");
    }
}

/// The first check follows a start, and a certificate, within this many seconds.
const FIRST_CHECK: u64 = 10;
/// Between two checks.
const CHECK: u64 = 12 * HOUR;
/// Checks come so much sooner or later.
const JITTER: u64 = HOUR;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Xoshiro;
    use crate::tls::validity::DAY;

    const START: u64 = 1_700_000_000;

    fn good_for(days: u64) -> Validity {
        Validity { not_before: START, not_after: START + days * DAY }
    }

    fn held(days: u64) -> (Renewal, Xoshiro) {
        let mut entropy = Xoshiro::new(days);
        let renewal = Renewal::new(Some(good_for(days)), Past::default(), START, &mut entropy);
        (renewal, entropy)
    }

    /// Steps until something is to be done, answering every question with `offer`.
    fn next_order(renewal: &mut Renewal, offer: Offer, entropy: &mut Xoshiro) -> (u64, u32) {
        let (mut now, mut asked) = (START, 0);
        loop {
            match renewal.poll(now) {
                Step::Wait(until) => {
                    assert!(until > now);
                    now = until;
                }
                Step::Ask => {
                    asked += 1;
                    renewal.told(offer, now, entropy);
                }
                Step::Order => return (now, asked),
            }
        }
    }

    #[test]
    fn a_good_certificate_is_not_ordered_again_before_its_last_third() {
        for (days, left) in [(90, 30), (45, 15), (6, 2)] {
            let (mut renewal, mut entropy) = held(days);
            let (at, asked) = next_order(&mut renewal, Offer::None, &mut entropy);
            assert_eq!(START + days * DAY - at, left * DAY);
            let checks = (days - left) as u32 * 2;
            assert!(asked.abs_diff(checks) <= checks / 5 + 1, "{asked} checks in {days} days");
        }
    }

    #[test]
    fn nothing_on_disk_or_nothing_good_is_ordered_at_once() {
        let mut entropy = Xoshiro::new(1);
        let late = START + 91 * DAY;
        for held in [None, Some(good_for(90))] {
            let mut renewal = Renewal::new(held, Past::default(), late, &mut entropy);
            assert_eq!(renewal.poll(late), Step::Order);
            assert!(renewal.past().under_way);
            renewal.issued(
                Validity { not_before: late, not_after: late + DAY },
                late,
                &mut entropy,
            );
            assert!(matches!(renewal.poll(late), Step::Wait(_) | Step::Ask));
            assert!(!renewal.past().under_way);
        }
    }

    #[test]
    fn the_window_of_the_authority_decides_and_its_moment_stays() {
        let (mut renewal, mut entropy) = held(90);
        let window = Window { start: START + 20 * DAY, end: START + 22 * DAY };
        let offer = Offer::Window(window, 6 * HOUR);
        let (at, asked) = next_order(&mut renewal, offer, &mut entropy);
        assert!((window.start..window.end).contains(&at));
        assert!(asked >= 70, "{asked}: every six hours");
    }

    #[test]
    fn a_window_in_the_past_means_now() {
        let (mut renewal, mut entropy) = held(90);
        let offer = Offer::Window(Window { start: START - DAY, end: START - HOUR }, HOUR);
        let (at, asked) = next_order(&mut renewal, offer, &mut entropy);
        assert!(at <= START + FIRST_CHECK && asked == 1);
    }

    #[test]
    fn an_authority_that_always_wants_it_now_gets_three_orders_a_week_more() {
        let (mut renewal, mut entropy) = held(90);
        let (mut now, mut orders) = (START, Vec::new());
        while now < START + 30 * DAY {
            match renewal.poll(now) {
                Step::Wait(until) => now = until,
                Step::Ask => {
                    let window = Window { start: now - 10, end: now - 5 };
                    renewal.told(Offer::Window(window, HOUR), now, &mut entropy);
                }
                Step::Order => {
                    orders.push(now);
                    let validity = Validity { not_before: now, not_after: now + 90 * DAY };
                    renewal.issued(validity, now, &mut entropy);
                }
            }
        }
        let most = orders.windows(5).find(|five| five[4] - five[0] < 7 * DAY);
        assert!(most.is_none() && orders.len() > 10, "{orders:?}");
    }

    #[test]
    fn without_an_answer_what_was_said_last_counts() {
        let (mut renewal, mut entropy) = held(90);
        renewal.stage = Stage::Asking;
        let window = Window { start: START + 10 * DAY, end: START + 11 * DAY };
        renewal.told(Offer::Window(window, HOUR), START, &mut entropy);
        let moment = renewal.next_order();
        for (offer, expected) in [
            (Offer::Unknown, moment),
            (Offer::Window(window, HOUR), moment),
            (Offer::None, START + 60 * DAY),
        ] {
            renewal.stage = Stage::Asking;
            renewal.told(offer, START, &mut entropy);
            assert_eq!(renewal.next_order(), expected, "{offer:?}");
        }
    }

    #[test]
    fn close_to_the_end_pauses_get_shorter_and_never_below_an_hour() {
        let (mut renewal, mut entropy) = held(6);
        let mut now = START + 4 * DAY;
        let mut pauses = Vec::new();
        while now < START + 6 * DAY {
            match renewal.poll(now) {
                Step::Order => {
                    let until = renewal.failed(Failure::Refused, now, &mut entropy);
                    pauses.push(until - now);
                    now = until;
                }
                Step::Wait(until) => now = until,
                Step::Ask => renewal.told(Offer::None, now, &mut entropy),
            }
        }
        assert!(pauses.iter().all(|pause| *pause >= HOUR), "{pauses:?}");
        assert!(pauses.last().is_some_and(|pause| *pause < 2 * HOUR), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause > 7 * HOUR), "{pauses:?}");
    }

    #[test]
    fn what_is_wanted_now_waits_for_no_pause_but_for_the_budget() {
        let (mut renewal, mut entropy) = held(90);
        let mut ordered = 0;
        for turn in 0..10 {
            renewal.want(START + turn);
            if renewal.poll(START + turn) == Step::Order {
                ordered += 1;
                renewal.failed(Failure::Refused, START + turn, &mut entropy);
            }
        }
        assert_eq!(ordered, 2);
        assert_eq!(renewal.poll(START + 10), Step::Wait(START + HOUR));
    }

    #[test]
    fn a_pause_outlives_a_restart() {
        let mut entropy = Xoshiro::new(3);
        let mut renewal = Renewal::new(None, Past::default(), START, &mut entropy);
        assert_eq!(renewal.poll(START), Step::Order);
        let until = renewal.failed(Failure::Refused, START, &mut entropy);
        assert!((START + HOUR..START + HOUR + HOUR / 10).contains(&until));
        let past = renewal.past().clone();
        let mut again = Renewal::new(None, past, START + 5, &mut entropy);
        assert_eq!(again.poll(START + 5), Step::Wait(until));
        assert_eq!(again.poll(until), Step::Order);
    }

    #[test]
    fn a_clock_set_back_stops_nothing_for_long() {
        let (mut renewal, _) = held(90);
        renewal.poll(START);
        let Step::Wait(until) = renewal.poll(START - 400 * DAY) else { panic!("it is not due") };
        assert!(until <= START - 400 * DAY + LONGEST);
    }

    #[test]
    fn what_somebody_else_renewed_is_taken_and_what_is_gone_is_ordered() {
        let (mut renewal, mut entropy) = held(90);
        let now = START + 70 * DAY;
        let other = Validity { not_before: now - DAY, not_after: now + 89 * DAY };
        renewal.found(other, now, &mut entropy);
        assert_eq!(renewal.next_order(), other.last_third());
        renewal.lost();
        assert_eq!(renewal.poll(now), Step::Order);
        renewal.lost();
        renewal.found(other, now, &mut entropy);
        renewal.check_invariants();
        assert_eq!(renewal.poll(now), Step::Wait(u64::MAX));
    }

    #[test]
    fn certificates_of_a_minute_are_renewed_within_seconds() {
        let mut entropy = Xoshiro::new(3);
        let minute = Validity { not_before: START, not_after: START + 60 };
        let mut renewal = Renewal::new(Some(minute), Past::default(), START, &mut entropy);
        let (at, asked) = next_order(&mut renewal, Offer::None, &mut entropy);
        assert_eq!(at, START + 40);
        assert!(asked <= 3);
        let until = renewal.failed(Failure::Refused, at, &mut entropy);
        assert!(until <= at + 7, "{}", until - at);
    }
}
