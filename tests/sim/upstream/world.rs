//! The users of an upstream, its targets, and what happens to them.

use super::model::{Model, Told};
use crate::seed::Dice;
use rip::entropy::Entropy;
use rip::http1::Method;
use rip::time::Instant;
use rip::upstream::{
    ActiveCheck, Check, Choice, Claim, Failure, Outcome, Output, TargetId, Tries, Upstream,
    UpstreamSettings, Verdict,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// One upstream's life. Everything is said to the core and to the model, and what they answer is
/// compared.
pub struct World {
    core: Upstream,
    model: Model,
    weights: Vec<(Deed, u64)>,
    now: Instant,
    heard: Instant,
    exchanges: Vec<Exchange>,
    checks: Vec<Check>,
    /// Targets that fail nearly always.
    sick: HashSet<String>,
}

struct Exchange {
    claim: Claim,
    number: u64,
    tries: Tries,
    tried: Vec<TargetId>,
    attempts: usize,
}

#[derive(Clone, Copy)]
enum Deed {
    Ail,
    Answer,
    Configure,
    End,
    Pass,
    Request,
    Settle,
    Storm,
}

const DEEDS: [(Deed, u64); 8] = [
    (Deed::Ail, 1),
    (Deed::Answer, 6),
    (Deed::Configure, 1),
    (Deed::End, 12),
    (Deed::Pass, 6),
    (Deed::Request, 14),
    (Deed::Settle, 6),
    (Deed::Storm, 2),
];

/// Says the same number again and again, so that the core and the model throw alike.
struct Same(u64);

impl Entropy for Same {
    fn next_u64(&mut self) -> u64 {
        self.0
    }
}

impl World {
    pub fn new(dice: &mut Dice) -> Self {
        let settings = settings(dice);
        let now = Instant::from_nanos(dice.between(0, 1 << 45));
        let weights = DEEDS.map(|(deed, weight)| (deed, 1 + weight * dice.between(0, 3)));
        Self {
            core: Upstream::new(settings.clone(), now),
            model: Model::new(settings, now),
            weights: weights.to_vec(),
            now,
            heard: now,
            exchanges: Vec::new(),
            checks: Vec::new(),
            sick: HashSet::new(),
        }
    }

    /// Something happens.
    pub fn step(&mut self, dice: &mut Dice) {
        match dice.weighted(&self.weights) {
            Deed::Ail => self.ail(dice),
            Deed::Answer => self.answer(dice),
            Deed::Configure => self.configure(dice),
            Deed::End => self.end(dice),
            Deed::Pass => self.pass_time(dice),
            Deed::Request => self.request(dice),
            Deed::Settle => self.settle_due(dice),
            Deed::Storm => {
                for _ in 0..dice.between(5, 25) {
                    self.request(dice);
                    self.end(dice);
                }
            }
        }
        self.check();
    }

    /// Everybody is well again: each target is chosen before long, and nothing is left over.
    pub fn settle(&mut self, dice: &mut Dice) {
        self.sick.clear();
        while let Some(exchange) = self.exchanges.pop() {
            self.finish(dice, exchange, Outcome::Finished);
        }
        for _ in 0..200 {
            self.now += Duration::from_secs(1);
            self.settle_due(dice);
            while let Some(check) = self.checks.pop() {
                self.checked(dice, check, true);
            }
            self.begin_anew();
            while let Some(exchange) = self.exchanges.pop() {
                self.finish(dice, exchange, Outcome::Finished);
            }
            self.check();
        }
        for target in self.core.targets(self.now) {
            assert!(target.may_be_chosen && target.inflight == 0, "{target:?}");
            assert!(target.ejected_until.is_none() && target.requests > 0, "{target:?}");
            assert!(matches!(target.verdict, None | Some(Verdict::Healthy)), "{target:?}");
        }
    }

    fn request(&mut self, dice: &mut Dice) {
        self.hear(dice);
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        let attempts = self.model.settings.attempts as usize;
        self.begin(self.core.tries(), Vec::new(), attempts, true);
    }

    /// `others`: only to a target that was not tried.
    fn begin(&mut self, mut tries: Tries, mut tried: Vec<TargetId>, attempts: usize, others: bool) {
        let expected = self.model.choice(&tried, others, self.heard);
        match (self.core.choose(&mut tries, self.now), expected) {
            (Choice::NoneHealthy, None) => assert_eq!(tries.made(), tried.len()),
            (Choice::Target(claim), Some(expected)) if claim.target() == expected => {
                tried.push(expected);
                assert_eq!(tries.made(), tried.len());
                let number = self.model.begin(expected);
                self.exchanges.push(Exchange { claim, number, tries, tried, attempts });
            }
            (choice, expected) => panic!("{choice:?} instead of {expected:?}"),
        }
    }

    fn end(&mut self, dice: &mut Dice) {
        let Some(index) = dice.index(self.exchanges.len()) else { return };
        self.hear(dice);
        let exchange = self.exchanges.swap_remove(index);
        let fails = if self.sick.contains(exchange.claim.name()) { 9 } else { 1 };
        let outcome = dice.weighted(&[
            (Outcome::Failed, fails),
            (Outcome::Finished, 10 - fails),
            (Outcome::Unknown, 1),
        ]);
        let Exchange { mut tries, attempts, .. } = exchange;
        let tried = exchange.tried.clone();
        self.finish(dice, exchange, outcome);
        if outcome != Outcome::Failed {
            return;
        }
        let failure =
            dice.weighted(&[(Failure::Broken, 1), (Failure::Connect, 1), (Failure::Timeout, 1)]);
        let method = dice.weighted(&[(Method::Get, 1), (Method::Post, 1)]);
        let (at_hand, answered) = (!dice.one_in(3), dice.one_in(3));
        let is_harmless = failure == Failure::Connect || method == Method::Get && at_hand;
        let expected = is_harmless && !answered && tried.len() < attempts;
        assert_eq!(tries.failed(failure, method, at_hand, answered), expected);
        if expected {
            self.begin(tries, tried, attempts, failure != Failure::Broken);
        }
    }

    fn finish(&mut self, dice: &mut Dice, exchange: Exchange, outcome: Outcome) {
        let chance = chance(dice);
        self.core.end(exchange.claim, outcome, &mut Same(chance), self.now);
        self.heard = self.heard.max(self.now);
        self.model.end(exchange.number, outcome, &mut Same(chance), self.heard);
        self.drain();
    }

    fn settle_due(&mut self, dice: &mut Dice) {
        self.hear(dice);
        let chance = chance(dice);
        self.core.settle(&mut Same(chance), self.now);
        self.model.settle(&mut Same(chance), self.heard);
        self.drain();
    }

    /// A check is answered, be it one that is over, or lost.
    fn answer(&mut self, dice: &mut Dice) {
        let Some(index) = dice.index(self.checks.len()) else { return };
        let check = self.checks.swap_remove(index);
        if dice.one_in(8) {
            return;
        }
        self.hear(dice);
        let good = dice.one_in(10) == self.sick.contains(&*check.name);
        self.checked(dice, check, good);
    }

    fn checked(&mut self, dice: &mut Dice, check: Check, good: bool) {
        let chance = chance(dice);
        let (id, until) = (check.target, check.until);
        self.core.checked(check, good, &mut Same(chance), self.now);
        self.heard = self.heard.max(self.now);
        self.model.checked(id, until, good, &mut Same(chance), self.heard);
        self.drain();
    }

    fn configure(&mut self, dice: &mut Dice) {
        self.hear(dice);
        let mut settings = settings(dice);
        if dice.one_in(2) {
            settings.check = self.model.settings.check.clone();
        }
        self.core.configure(settings.clone(), self.now);
        self.model.configure(settings, self.heard);
        self.drain();
    }

    fn ail(&mut self, dice: &mut Dice) {
        let name = NAMES[dice.between(0, NAMES.len() as u64 - 1) as usize];
        if !self.sick.remove(name) {
            self.sick.insert(name.to_owned());
        }
    }

    fn pass_time(&mut self, dice: &mut Dice) {
        let ejected = self.model.targets.iter().find_map(|target| target.ejected_until);
        match dice.between(0, 9) {
            0..=2 => self.now += Duration::from_millis(dice.between(0, 300)),
            3..=4 => self.now += Duration::from_millis(dice.between(0, 3000)),
            5..=6 => {
                if let Some(due) = self.core.next_deadline() {
                    self.now = self.now.max(due);
                }
            }
            7 => {
                if let Some(until) = ejected {
                    self.now = self.now.max(until - Duration::from_nanos(dice.between(0, 1)));
                }
            }
            8 => self.now += Duration::from_secs(dice.between(8, 12)),
            _ if dice.one_in(10) => self.now += Duration::from_secs(3600),
            _ => {}
        }
    }

    /// The next call comes now, or from a thread whose clock was read a little earlier.
    fn hear(&mut self, dice: &mut Dice) {
        if dice.one_in(10) {
            self.now = self.now - Duration::from_millis(dice.between(0, 20));
        }
        self.heard = self.heard.max(self.now);
    }

    fn drain(&mut self) {
        let mut told = Vec::new();
        while let Some(output) = self.core.poll_output() {
            told.push(match output {
                Output::Cancel(id) => Told::Cancel(id),
                Output::Check(check) => {
                    let rules = self.model.settings.check.as_ref().expect("checks are made");
                    assert_eq!(check.path, rules.path);
                    let said = Told::Check(check.target, check.until);
                    self.checks.push(check);
                    said
                }
                Output::Ejected { target, until } => Told::Ejected(target, until),
                Output::Healthy(id) => Told::Healthy(id),
                Output::Restored(id) => Told::Restored(id),
                Output::Unhealthy(id) => Told::Unhealthy(id),
            });
        }
        assert_eq!(told, std::mem::take(&mut self.model.told));
    }

    fn check(&mut self) {
        self.core.check_invariants();
        assert_eq!(self.core.next_deadline(), self.model.next_deadline());
        let now = self.heard;
        assert_eq!(self.core.is_proven(now), self.model.is_proven(now));
        assert_eq!(self.core.targets(now).count(), self.model.targets.len());
        for (view, target) in self.core.targets(now).zip(&self.model.targets) {
            assert_eq!((view.id, view.name), (target.id, target.name.as_str()));
            assert_eq!(view.inflight, self.model.inflight(target.id));
            assert_eq!(view.requests as usize, target.ends.len());
            let failures = target.ends.iter().filter(|(_, failed)| *failed).count();
            assert_eq!(view.failures as usize, failures);
            assert_eq!(view.verdict, target.verdict);
            assert_eq!(view.may_be_chosen, self.model.is_free(target, now));
            let until =
                if self.model.is_tried(target.id) { Some(now) } else { target.ejected_until };
            assert_eq!(view.ejected_until, until);
        }
    }
}

fn settings(dice: &mut Dice) -> UpstreamSettings {
    let mut targets = Vec::new();
    for _ in 0..dice.between(0, 5) {
        targets.push(Arc::from(NAMES[dice.between(0, NAMES.len() as u64 - 1) as usize]));
    }
    let check = (!dice.one_in(3)).then(|| ActiveCheck {
        path: format!("/{}", dice.between(0, 3)).into(),
        interval: Duration::from_millis(dice.between(0, 8000)),
        timeout: Duration::from_millis(dice.between(1, 3000)),
        failures: dice.between(1, 4) as u32,
        successes: dice.between(1, 3) as u32,
    });
    UpstreamSettings { targets, check, attempts: dice.between(1, 4) as u32 }
}

fn chance(dice: &mut Dice) -> u64 {
    dice.between(0, u64::MAX - 1)
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
