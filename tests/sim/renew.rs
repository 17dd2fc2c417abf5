//! A year of one name: certificates of 6, 45 and 90 days, an authority that breaks down, refuses,
//! suggests windows and revokes, and a server that is started anew, also in the middle of an order
//! and also again and again.

use crate::seed::{Dice, for_each_seed};
use rip::entropy::Xoshiro;
use rip::tls::past::{Failure, Past};
use rip::tls::renew::{Renewal, Step};
use rip::tls::validity::Validity;
use rip::tls::window::{Offer, Window};

#[test]
fn a_year_passes_without_an_expired_certificate_or_an_order_too_many() {
    for_each_seed(SEED_COUNT, |dice| {
        let mut world = World::new(dice);
        while world.now < START + YEAR {
            world.turn(dice);
        }
        world.settle();
    });
}

#[test]
fn with_an_authority_that_never_fails_each_certificate_is_renewed_once_in_its_last_third() {
    for (days, expected) in [(6, 365 / 4), (45, 365 / 30), (90, 365 / 60)] {
        for_each_seed(20, |dice| {
            let mut world = World::new(dice);
            (world.length, world.bad, world.temper) = (days * DAY, Vec::new(), Temper::Silent);
            while world.now < START + YEAR {
                world.turn(dice);
            }
            world.settle();
            let renewals = world.issued.len() as u64 - 1;
            assert!(renewals.abs_diff(expected) <= 1, "{renewals} renewals of {days} days");
        });
    }
}

/// What the authority thinks of windows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Temper {
    /// It offers none.
    Silent,
    /// It offers some time after the middle, with this pause between questions.
    Suggesting(u64),
    /// It wants every certificate renewed at once, always.
    Mad,
}

/// How it fails for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bad {
    Down,
    Refusing,
}

struct World {
    now: u64,
    length: u64,
    temper: Temper,
    /// From when, until when, how.
    bad: Vec<(u64, u64, Bad)>,
    renewal: Renewal,
    entropy: Xoshiro,
    /// The file of the past.
    stored: String,
    /// The certificate on disk.
    disk: Option<Validity>,
    /// The window of what is on disk, as the authority has it.
    window: Option<Window>,
    /// When the authority began to want the certificate on disk to be replaced.
    revoked: Option<u64>,
    issued: Vec<u64>,
    refused: Vec<u64>,
    reached: Vec<u64>,
    restarts_left: u64,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let length = dice.weighted(&[(6, 2), (45, 1), (90, 1)]) * DAY;
        let temper = match dice.between(0, 9) {
            0..=3 => Temper::Silent,
            4..=8 => Temper::Suggesting(dice.between(0, 2 * DAY)),
            _ => Temper::Mad,
        };
        let mut entropy = Xoshiro::new(dice.between(0, u64::MAX - 1));
        let mut bad = Vec::new();
        let mut from = START;
        if dice.one_in(2) {
            from += dice.between(0, YEAR);
        }
        while from < START + YEAR {
            let kind = if dice.one_in(2) { Bad::Down } else { Bad::Refusing };
            let until = from + dice.between(1, length / 4);
            bad.push((from, until, kind));
            // It works for long enough: the longest pause of the last third fits into it.
            from = until + longest_pause(length) + dice.between(0, length * 2);
        }
        Self {
            now: START,
            length,
            temper,
            bad,
            renewal: Renewal::new(None, Past::default(), START, &mut entropy),
            entropy,
            stored: String::new(),
            disk: None,
            window: None,
            revoked: None,
            issued: Vec::new(),
            refused: Vec::new(),
            reached: Vec::new(),
            restarts_left: 0,
        }
    }

    fn turn(&mut self, dice: &mut Dice) {
        if self.restarts_left > 0 || dice.one_in(200) {
            self.restarts_left = match self.restarts_left {
                0 if dice.one_in(10) => dice.between(1, 200),
                left => left.saturating_sub(1),
            };
            self.now += dice.between(0, 60);
            self.restart();
        }
        let revokes = matches!(self.temper, Temper::Suggesting(_)) && self.disk.is_some();
        if revokes && dice.one_in(300) {
            self.revoked.get_or_insert(self.now);
        }
        match self.renewal.poll(self.now) {
            Step::Wait(until) => {
                assert!(until > self.now && until < u64::MAX);
                // Now and then somebody wakes up sooner.
                self.now = if dice.one_in(10) { dice.between(self.now + 1, until) } else { until };
            }
            Step::Ask => {
                let offer = self.offer();
                self.renewal.told(offer, self.now, &mut self.entropy);
            }
            Step::Order => self.order(dice),
        }
        self.renewal.check_invariants();
        if let Some(disk) = self.disk {
            assert!(disk.holds(self.now), "expired at {} of {disk:?}", self.now);
        }
    }

    fn order(&mut self, dice: &mut Dice) {
        assert!(self.restarts_left > 0 || self.renewal.past().under_way);
        self.stored = serde_json::to_string(self.renewal.past()).expect("it can be written");
        if let Some(disk) = self.disk {
            let wanted = self.revoked.is_some() || self.temper == Temper::Mad;
            let start = self.window.map_or(disk.last_third(), |window| window.start);
            assert!(wanted || self.now >= start.min(disk.last_third()), "too soon: {disk:?}");
        }
        let began = self.now;
        self.now += dice.between(1, 120);
        let bad = self.bad();
        if bad != Some(Bad::Down) {
            self.reached.push(began);
        }
        if dice.one_in(15) {
            // The server ends in the middle of it, and the authority counts it or not.
            if bad == Some(Bad::Refusing) {
                self.refused.push(began);
            }
            self.restart();
            return;
        }
        match bad {
            None => {
                let validity =
                    Validity { not_before: self.now - 3600, not_after: self.now + self.length };
                self.issued.push(began);
                self.disk = Some(validity);
                self.revoked = None;
                self.window = match self.temper {
                    Temper::Suggesting(_) => {
                        let start = self.length * dice.between(30, 65) / 100;
                        let end = start + dice.between(1, self.length * 2 / 3 - start);
                        Some(Window { start: self.now + start, end: self.now + end })
                    }
                    _ => None,
                };
                self.renewal.issued(validity, self.now, &mut self.entropy);
            }
            Some(bad) => {
                let how = match bad {
                    Bad::Down => Failure::Unreached,
                    Bad::Refusing => Failure::Refused,
                };
                if bad == Bad::Refusing {
                    self.refused.push(began);
                }
                let again = self.renewal.failed(how, self.now, &mut self.entropy);
                assert!(again > self.now && again <= self.now + DAY + DAY / 10);
            }
        }
        self.stored = serde_json::to_string(self.renewal.past()).expect("it can be written");
    }

    fn restart(&mut self) {
        let past = serde_json::from_str(&self.stored).unwrap_or_default();
        self.renewal = Renewal::new(self.disk, past, self.now, &mut self.entropy);
    }

    fn offer(&self) -> Offer {
        if self.bad().is_some() {
            return Offer::Unknown;
        }
        let past = Window { start: self.now - 2 * DAY, end: self.now - DAY };
        let retry_after = match self.temper {
            Temper::Suggesting(pause) => pause,
            _ => 6 * 3600,
        };
        match self.window {
            _ if self.temper == Temper::Mad || self.revoked.is_some() => {
                Offer::Window(past, retry_after)
            }
            Some(window) => Offer::Window(window, retry_after),
            None => Offer::None,
        }
    }

    fn bad(&self) -> Option<Bad> {
        let now = |(from, until, _): &&(u64, u64, Bad)| (*from..*until).contains(&self.now);
        self.bad.iter().find(now).map(|(_, _, bad)| *bad)
    }

    /// What an authority counts.
    fn settle(&self) {
        let most = |times: &[u64], count: usize, window: u64| {
            let crowd = times.windows(count + 1).find(|few| few[count] - few[0] < window);
            assert!(crowd.is_none(), "more than {count} in {window} seconds: {crowd:?}");
        };
        most(&self.refused, 2, 3600);
        most(&self.refused, 12, DAY);
        // Three that were not due, and one each third of their time.
        let due = (7 * DAY).div_ceil(self.length / 3) as usize;
        most(&self.issued, 3 + due, 7 * DAY);
        most(&self.reached, 6, 3600);
        most(&self.reached, 12 + 3 + due, DAY);
        assert!(!self.issued.is_empty(), "no certificate in a year");
    }
}

/// The longest pause between two orders in the last third of a certificate's time, and what chance
/// adds.
fn longest_pause(length: u64) -> u64 {
    (length / 9).min(DAY) * 11 / 10 + 2 * 3600
}

const START: u64 = 1_700_000_000;
const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;
const SEED_COUNT: u64 = 1500;
