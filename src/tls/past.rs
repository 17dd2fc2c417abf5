//! What is remembered of a name's orders, so that a server that starts again and again does not
//! spend what an authority allows.

use super::validity::{DAY, HOUR, Pace};
use serde::{Deserialize, Serialize};

/// The orders of one name. It is to be stored before each order and after it: an order that was begun
/// and of which nothing more is known has failed. All times are seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Past {
    /// When the last order was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempted: Option<u64>,
    /// The last order has not ended yet.
    pub under_way: bool,
    /// When the last certificate came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<u64>,
    /// How long it was good, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Orders that the authority refused since then.
    pub refused: u32,
    /// Attempts since then at which it could not be reached, or said nothing.
    pub unreached: u32,
    /// No order before that.
    pub pause_until: u64,
    /// When orders were begun that failed: a day's.
    failures: Vec<u64>,
    /// When orders were begun for certificates that were far from their end: a week's.
    early: Vec<u64>,
}

/// How an order failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The authority did not take it, or not what it was shown: that counts there.
    Refused,
    /// The authority could not be reached, or broke down: nothing was ordered.
    Unreached,
}

impl Past {
    /// Nothing is remembered but when the last order was begun.
    pub fn only_attempted(attempted: Option<u64>) -> Self {
        Self { attempted, ..Self::default() }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace::of(self.length)
    }

    /// When the next order may be begun, as far as the budgets say.
    pub(super) fn affordable(&self, now: u64) -> u64 {
        let pace = self.pace();
        let mut at = now;
        for (count, window) in FAILURES {
            at = at.max(room(&self.failures, count, pace.scale(window)));
        }
        at.max(room(&self.early, EARLY.0, pace.scale(EARLY.1)).min(self.early_until()))
    }

    /// Until then an order is early: a third of the last certificate's time.
    fn early_until(&self) -> u64 {
        let (Some(issued), Some(length)) = (self.issued, self.length) else { return 0 };
        issued.saturating_add(length / 3)
    }

    /// An order is begun. Until more is known it counts as failed.
    pub(super) fn begin(&mut self, now: u64) {
        let pace = self.pace();
        self.failures.retain(|at| at.saturating_add(pace.scale(DAY)) > now);
        self.early.retain(|at| at.saturating_add(pace.scale(EARLY.1)) > now);
        self.attempted = Some(now);
        self.under_way = true;
        self.failures.push(now);
        if now < self.early_until() {
            self.early.push(now);
        }
    }

    /// The order begun last brought a certificate that is good for `length` seconds.
    pub(super) fn succeed(&mut self, now: u64, length: u64) {
        if std::mem::take(&mut self.under_way) {
            self.failures.pop();
        }
        self.issued = Some(now);
        self.length = Some(length);
        (self.refused, self.unreached, self.pause_until) = (0, 0, 0);
    }

    /// The order begun last failed; the answer is the pause that follows, in seconds.
    pub(super) fn fail(&mut self, how: Failure) -> u64 {
        let under_way = std::mem::take(&mut self.under_way);
        let (first, most, doublings) = match how {
            Failure::Refused => {
                self.refused = self.refused.saturating_add(1);
                self.unreached = 0;
                (HOUR, DAY, self.refused)
            }
            Failure::Unreached => {
                if under_way {
                    // Nothing was ordered: it costs nothing, whether it was early or not.
                    let begun = self.failures.pop();
                    self.early.retain(|at| Some(*at) != begun);
                }
                self.unreached = self.unreached.saturating_add(1);
                (UNREACHED_PAUSE, HOUR, self.unreached)
            }
        };
        let doublings = doublings.saturating_sub(1).min(20);
        self.pace().scale((first << doublings).min(most))
    }

    /// What is remembered is taken up after a start.
    pub(super) fn resume(&mut self, now: u64) {
        // A clock that was set back must not make a pause of years.
        self.pause_until = self.pause_until.min(now.saturating_add(self.pace().scale(LONGEST)));
        for at in self.failures.iter_mut().chain(&mut self.early) {
            *at = (*at).min(now);
        }
        self.issued = self.issued.map(|at| at.min(now));
        if std::mem::take(&mut self.under_way) {
            // It counts as a failure of the day, and not as one more in a row: a server that is
            // started anew in the middle of its first order is not punished for it.
            let begun = self.attempted.unwrap_or(now).min(now);
            let pause = begun.saturating_add(self.pace().scale(INTERRUPTED_PAUSE));
            self.pause_until = self.pause_until.max(pause);
        }
    }
}

/// When there is room for one more of which at most `count` may be in `window` seconds; `times` are
/// in order.
fn room(times: &[u64], count: usize, window: u64) -> u64 {
    let oldest = times.len().checked_sub(count).and_then(|index| times.get(index));
    oldest.map_or(0, |at| at.saturating_add(window))
}

/// Failed orders that one name may cost: so many in so many seconds. An order may fail at two
/// challenges, and authorities allow five an hour.
const FAILURES: [(usize, u64); 2] = [(2, HOUR), (12, DAY)];
/// Orders for certificates that are far from their end, because an authority or an operator wants
/// it: authorities allow five certificates of the same names in a week, and one or two are due.
const EARLY: (usize, u64) = (3, 7 * DAY);
/// What follows the first attempt that did not reach the authority; it doubles up to an hour.
const UNREACHED_PAUSE: u64 = 10;
/// What follows an order in whose middle the server ended.
const INTERRUPTED_PAUSE: u64 = 60;
/// No pause is longer: a day, and what is added by chance.
pub(super) const LONGEST: u64 = DAY + DAY / 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_an_hour_to_a_day_and_start_anew_with_a_certificate() {
        let mut past = Past::default();
        let pauses: Vec<u64> = (0..7).map(|_| past.fail(Failure::Refused) / HOUR).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 24, 24]);
        past.succeed(0, 90 * DAY);
        assert_eq!(past.fail(Failure::Refused), HOUR);
    }

    #[test]
    fn who_cannot_be_reached_is_tried_again_soon_and_it_costs_nothing() {
        let mut past = Past::default();
        for (turn, expected) in
            [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600].iter().enumerate()
        {
            past.begin(turn as u64);
            assert_eq!(past.fail(Failure::Unreached), *expected);
            assert_eq!(past.affordable(turn as u64), turn as u64);
        }
    }

    #[test]
    fn the_third_failure_of_an_hour_and_the_thirteenth_of_a_day_wait() {
        let mut past = Past::default();
        for turn in 0..12 {
            assert_eq!(past.affordable(turn * HOUR), turn * HOUR);
            past.begin(turn * HOUR);
            past.fail(Failure::Refused);
        }
        assert_eq!(past.affordable(11 * HOUR + 5), DAY);
        let mut past = Past::default();
        past.begin(0);
        past.fail(Failure::Refused);
        past.begin(10);
        past.fail(Failure::Refused);
        assert_eq!(past.affordable(20), HOUR);
    }

    #[test]
    fn certificates_far_from_their_end_are_ordered_three_times_a_week() {
        let mut past = Past::default();
        past.begin(0);
        past.succeed(0, 90 * DAY);
        for turn in 1..=3 {
            assert_eq!(past.affordable(turn * 100), turn * 100);
            past.begin(turn * 100);
            past.succeed(turn * 100, 90 * DAY);
        }
        assert_eq!(past.affordable(400), 100 + 7 * DAY);
        assert_eq!(past.affordable(31 * DAY), 31 * DAY);
        // One that lasts six days is not early any more after two.
        past.succeed(500, 6 * DAY);
        assert_eq!(past.affordable(501), 500 + 2 * DAY);
    }

    #[test]
    fn an_order_cut_short_by_a_restart_has_failed() {
        let mut past = Past::default();
        for turn in 0..2 {
            past.begin(turn);
            let stored = serde_json::to_string(&past).expect("it can be written");
            past = serde_json::from_str(&stored).expect("and read");
            past.resume(turn + 1);
            assert_eq!(past.pause_until, turn + 60);
        }
        assert_eq!(past.affordable(100), HOUR);
    }

    #[test]
    fn a_clock_set_back_makes_no_endless_pause() {
        let mut past = Past { pause_until: 1 << 40, ..Past::default() };
        past.begin(1 << 40);
        past.resume(1000);
        assert!(past.pause_until <= 1000 + LONGEST);
        assert!(past.affordable(1000) <= 1000 + DAY);
    }
}
