//! A server that is asked to hand over again and again, to successors that get ready, hang, die, talk
//! nonsense and take over at random, while reloads run, the loop sleeps and somebody may stop it all.
//!
//! What must hold: one successor at a time, none that lives when a failure is reported, none that is
//! killed once it serves; who asked hears exactly once; what a successor may have taken is given back;
//! nobody waits longer than the two deadlines allow.

use crate::seed::{Dice, for_each_seed, is_replayed};
use rip::limits;
use rip::supervise::upgrade::{Failure, Order, Upgrade};
use rip::time::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn every_hand_over_ends_well_or_as_if_it_had_not_begun() {
    let mut seen = BTreeMap::new();
    for_each_seed(4000, |dice| {
        let mut world = World::new();
        world.run(dice);
        for (what, count) in world.seen {
            *seen.entry(what).or_insert(0) += count;
        }
    });
    if !is_replayed() {
        for what in RARE {
            assert!(seen.get(what).is_some_and(|count| *count > 20), "{what}: {seen:?}");
        }
    }
}

const RARE: [&str; 10] = [
    "ended",
    "garbled",
    "left",
    "not_ready",
    "not_started",
    "not_taken",
    "recovered",
    "refused",
    "stopped",
    "suspended",
];

/// A successor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    Nobody,
    Alive,
    /// Its process has ended, and was not reaped.
    Dead,
    /// Reaped; what it started may still be there.
    Reaped,
}

struct World {
    core: Upgrade,
    now: Instant,
    next: Next,
    /// Somebody waits for the end.
    waits: bool,
    asked_at: Instant,
    /// When it began to wait for nothing but the successor.
    started_at: Option<Instant>,
    busy_until: Instant,
    /// The successor may take the pid file.
    was_told: bool,
    /// It has.
    has_taken: bool,
    serves: bool,
    asleep: Duration,
    seen: BTreeMap<&'static str, u64>,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(1000);
        Self {
            core: Upgrade::new(now),
            now,
            next: Next::Nobody,
            waits: false,
            asked_at: now,
            started_at: None,
            busy_until: now,
            was_told: false,
            has_taken: false,
            serves: false,
            asleep: Duration::ZERO,
            seen: BTreeMap::new(),
        }
    }

    fn run(&mut self, dice: &mut Dice) {
        for _ in 0..200 {
            self.pass(dice);
            self.happen(dice);
            self.settle(dice);
            self.check();
        }
        // Whatever was begun comes to its end without any further help.
        for _ in 0..400 {
            if !self.core.is_under_way() {
                break;
            }
            let due = self.core.next_deadline().map_or(self.now, |due| due.max(self.now));
            self.now = due + Duration::from_millis(dice.between(0, 300));
            if self.next == Next::Dead {
                self.reap();
            } else if self.next == Next::Reaped {
                self.core.gone();
            }
            self.settle(dice);
            self.check();
        }
        assert!(!self.core.is_under_way() && !self.waits, "it never ends");
    }

    fn pass(&mut self, dice: &mut Dice) {
        if dice.one_in(150) {
            let nap = Duration::from_secs(dice.between(100, 5000));
            // What was due is not due any more: it was nobody's fault.
            if self.core.next_deadline().is_some_and(|due| self.now + nap > due + SLACK) {
                self.count("suspended");
                self.asleep += nap;
            }
            self.now += nap;
            return;
        }
        let step = Duration::from_millis(dice.between(0, 6000));
        let due = self.core.next_deadline().map(|due| due.max(self.now));
        // A loop that is awake wakes for its deadline.
        self.now = due.map_or(self.now + step, |due| due.min(self.now + step));
    }

    fn happen(&mut self, dice: &mut Dice) {
        let choices = [("ask", 8), ("next", 12), ("busy", 2), ("stop", 1), ("nothing", 8)];
        match dice.weighted(&choices) {
            "ask" => match self.core.ask(PATIENCE, self.now) {
                Ok(()) => {
                    assert!(!self.waits && !self.serves, "one at a time");
                    self.waits = true;
                    self.asked_at = self.now;
                    self.asleep = Duration::ZERO;
                }
                Err(_) => {
                    assert!(self.waits || self.serves, "it could have begun");
                    self.count("refused");
                }
            },
            "next" => self.successor(dice),
            "busy" => {
                self.busy_until = self.now + Duration::from_millis(dice.between(0, 9000));
            }
            "stop" if dice.one_in(12) => self.core.stop(),
            _ => {}
        }
    }

    /// Something of the successor, or nonsense from one that is not there.
    fn successor(&mut self, dice: &mut Dice) {
        match self.next {
            Next::Alive => match dice.weighted(&[
                ("ready", 6),
                ("taken", 5),
                ("garbled", 1),
                ("silent", 1),
                ("dies", 1),
                ("hangs", 6),
            ]) {
                "ready" => self.core.ready(self.now),
                "taken" => self.core.taken(),
                "garbled" => self.core.garbled("?"),
                "silent" => self.core.silent(self.now),
                "dies" => self.next = Next::Dead,
                _ => {}
            },
            Next::Dead => self.reap(),
            // Orphans of it are found dead sooner or later.
            Next::Reaped if dice.one_in(3) => self.core.gone(),
            Next::Reaped | Next::Nobody => {}
        }
    }

    fn reap(&mut self) {
        self.next = Next::Reaped;
        self.core.ended("exited 1");
    }

    fn settle(&mut self, dice: &mut Dice) {
        self.core.settle(self.now < self.busy_until, self.now);
        while let Some(order) = self.core.poll_order() {
            self.obey(order, dice);
        }
    }

    fn obey(&mut self, order: Order, dice: &mut Dice) {
        match order {
            Order::Start => {
                assert_eq!(self.next, Next::Nobody, "one at a time");
                assert!(self.waits && self.now >= self.busy_until);
                if dice.one_in(6) {
                    self.core.not_started("exec".to_owned());
                } else {
                    self.next = Next::Alive;
                    self.core.started(self.now);
                    self.started_at = Some(self.now);
                    self.asleep = Duration::ZERO;
                }
            }
            Order::TakeOver => {
                assert!(matches!(self.next, Next::Alive | Next::Dead));
                self.was_told = true;
            }
            Order::Recover => {
                assert!(self.was_told, "nothing was given");
                assert_eq!(self.next, Next::Reaped, "who lives may take it again");
                (self.was_told, self.has_taken) = (false, false);
                self.count("recovered");
            }
            Order::Kill => {
                assert!(!self.serves, "one that serves lives");
                if self.next == Next::Alive {
                    // It goes on until the signal reaches it.
                    self.has_taken |= self.was_told && dice.one_in(2);
                    self.next = Next::Dead;
                }
            }
            Order::Leave => {
                assert!(self.was_told && self.waits && !self.serves);
                (self.serves, self.waits) = (true, false);
                self.count("left");
            }
            Order::Report(failure) => {
                assert!(self.waits, "nobody has asked");
                assert!(!self.was_told && !self.has_taken, "what it took is ours again");
                let stopped = failure == Failure::Stopped;
                assert!(self.next == Next::Nobody || self.next == Next::Reaped || stopped);
                assert_ne!(self.next, Next::Alive, "nothing is left of it");
                (self.waits, self.next, self.started_at) = (false, Next::Nobody, None);
                self.count(failure.code());
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.core.is_under_way(), self.waits);
        assert_eq!(self.core.is_over(), self.serves);
        let limit = PATIENCE + limits::UPGRADE_TAKEOVER + self.asleep + SLACK * 2;
        let lives = self.next == Next::Alive && !self.serves;
        if let Some(started) = self.started_at.filter(|_| lives) {
            assert!(self.now.since(started) <= limit, "it lives too long");
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }
}

/// How late the loop may be and still be called awake.
const SLACK: Duration = Duration::from_secs(1);
