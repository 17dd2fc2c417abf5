//! Handing the server over to another one of itself, as the one that hands over sees it.
//!
//! ```text
//!  Idle ── asked ──▶ Waiting ── nothing is being reloaded ──▶ Starting ── it runs ──▶ Booting ── ready ──▶ HandingOver ── taken ──▶ Over
//!   ▲                  │ stop                                    │ it cannot run       │ ended, late,        │ ended, late,
//!   │                  ▼                                         ▼                     ▼ garbled, stop       ▼ garbled, stop
//!   └── reported ──────┴─────────────────────────────────────────┴── all of it gone ── Ending ◀──────────────┘
//! ```
//!
//! Until the successor says that it has taken over, whatever goes wrong costs it its life and this
//! server nothing. A failure is reported when no process of it is left. There is one at a time.

use super::oversleep::Oversleep;
use crate::limits;
use crate::time::Instant;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// What the shell has to do, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// Start the successor; [`Upgrade::started`] or [`Upgrade::not_started`] says what came of it.
    Start,
    /// Let it take over.
    TakeOver,
    /// It did not, and is no more: what it may have taken is ours again.
    Recover,
    /// Kill it, and whatever it has started.
    Kill,
    /// It serves: tell the init system, finish what is here, end.
    Leave,
    /// It is gone with all it had, and everything is as it was.
    Report(Failure),
}

/// Why nothing came of it. Prints as a clause about the new server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// It ended by itself.
    Ended {
        /// How: `exited 78`.
        how: String,
        /// While it took over, not before.
        late: bool,
    },
    /// It said something that makes no sense.
    Garbled(String),
    /// It did not become ready in time.
    NotReady(Duration),
    /// It could not be started.
    NotStarted(String),
    /// It did not take over in time.
    NotTaken(Duration),
    /// This server was asked to end.
    Stopped,
}

impl Failure {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ended { .. } => "ended",
            Self::Garbled(_) => "garbled",
            Self::NotReady(_) => "not_ready",
            Self::NotStarted(_) => "not_started",
            Self::NotTaken(_) => "not_taken",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { how, late: false } => write!(out, "it {how} before it was ready"),
            Self::Ended { how, late: true } => write!(out, "it {how} before it had taken over"),
            Self::Garbled(what) => write!(out, "it is not understood: {what}"),
            Self::NotReady(time) => write!(out, "it was not ready within {} s", time.as_secs()),
            Self::NotStarted(why) => write!(out, "it cannot be started: {why}"),
            Self::NotTaken(time) => {
                write!(out, "it had not taken over within {} s", time.as_secs())
            }
            Self::Stopped => out.write_str("the server is stopping"),
        }
    }
}

/// Why an upgrade does not even begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Another one is under way.
    UnderWay,
    /// Another server serves already.
    Over,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::UnderWay => "an upgrade is under way",
            Self::Over => "another server has taken over",
        })
    }
}

/// The hand-over.
#[derive(Clone, Debug)]
pub struct Upgrade {
    phase: Phase,
    /// How long the successor may take until it is ready.
    patience: Duration,
    deadline: Option<Instant>,
    /// It says nothing any more: its end is expected.
    is_silent: bool,
    /// It was let take over, and may have begun to.
    may_have_taken: bool,
    /// What is reported once the successor is gone.
    failure: Option<Failure>,
    orders: VecDeque<Order>,
    oversleep: Oversleep,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Booting,
    Ending,
    HandingOver,
    Idle,
    Over,
    Starting,
    Waiting,
}

impl Upgrade {
    /// Nobody has asked.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Idle,
            patience: Duration::ZERO,
            deadline: None,
            is_silent: false,
            may_have_taken: false,
            failure: None,
            orders: VecDeque::new(),
            oversleep: Oversleep::new(now),
        }
    }

    /// Somebody wants the server to be taken over by another one, which has `patience` to become
    /// ready.
    ///
    /// # Errors
    /// One is under way, or was the last.
    pub fn ask(&mut self, patience: Duration, now: Instant) -> Result<(), Refusal> {
        self.wake(now);
        match self.phase {
            Phase::Idle => {
                self.phase = Phase::Waiting;
                self.patience = patience;
                Ok(())
            }
            Phase::Over => Err(Refusal::Over),
            _ => Err(Refusal::UnderWay),
        }
    }

    /// Acts on what has passed: `is_busy` says that another configuration is being taken up.
    pub fn settle(&mut self, is_busy: bool, now: Instant) {
        self.wake(now);
        if self.phase == Phase::Waiting && !is_busy {
            self.phase = Phase::Starting;
            self.orders.push_back(Order::Start);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            match self.phase {
                Phase::Booting | Phase::HandingOver if self.is_silent => {
                    self.garbled("it has closed the connection");
                }
                Phase::Booting => self.give_up(Failure::NotReady(self.patience)),
                Phase::HandingOver => self.give_up(Failure::NotTaken(limits::UPGRADE_TAKEOVER)),
                _ => self.deadline = None,
            }
        }
    }

    /// The successor runs.
    pub fn started(&mut self, now: Instant) {
        self.wake(now);
        if self.phase == Phase::Starting {
            self.phase = Phase::Booting;
            self.is_silent = false;
            self.deadline = Some(now + self.patience);
        }
    }

    /// There is no successor.
    pub fn not_started(&mut self, why: String) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Idle;
            self.orders.push_back(Order::Report(Failure::NotStarted(why)));
        }
    }

    /// The successor could serve.
    pub fn ready(&mut self, now: Instant) {
        self.wake(now);
        match self.phase {
            Phase::Booting => {
                self.phase = Phase::HandingOver;
                self.may_have_taken = true;
                self.deadline = Some(now + limits::UPGRADE_TAKEOVER);
                self.orders.push_back(Order::TakeOver);
            }
            Phase::HandingOver => self.garbled("it is ready twice"),
            _ => {}
        }
    }

    /// The successor serves.
    pub fn taken(&mut self) {
        match self.phase {
            Phase::HandingOver => {
                self.phase = Phase::Over;
                self.deadline = None;
                self.orders.push_back(Order::Leave);
            }
            Phase::Booting => self.garbled("it takes over before it may"),
            _ => {}
        }
    }

    /// The successor will say nothing more. One that ends is silent a moment before.
    pub fn silent(&mut self, now: Instant) {
        self.wake(now);
        if matches!(self.phase, Phase::Booting | Phase::HandingOver) && !self.is_silent {
            self.is_silent = true;
            let soon = now + SILENCE;
            self.deadline = self.deadline.map(|deadline| deadline.min(soon));
        }
    }

    /// The successor said something else.
    pub fn garbled(&mut self, what: &str) {
        if matches!(self.phase, Phase::Booting | Phase::HandingOver) {
            self.give_up(Failure::Garbled(what.to_owned()));
        }
    }

    /// The successor's process has ended. What it started may still be there.
    pub fn ended(&mut self, how: &str) {
        let late = self.phase == Phase::HandingOver;
        if matches!(self.phase, Phase::Booting | Phase::HandingOver) {
            self.give_up(Failure::Ended { how: how.to_owned(), late });
        }
    }

    /// Nothing is left of it.
    pub fn gone(&mut self) {
        if self.phase == Phase::Ending {
            self.phase = Phase::Idle;
            // Not before: as long as it lives it may go on taking.
            if std::mem::take(&mut self.may_have_taken) {
                self.orders.push_back(Order::Recover);
            }
            self.orders.extend(self.failure.take().map(Order::Report));
        }
    }

    /// This server is to end.
    pub fn stop(&mut self) {
        match self.phase {
            Phase::Waiting => {
                self.phase = Phase::Idle;
                self.orders.push_back(Order::Report(Failure::Stopped));
            }
            Phase::Booting | Phase::HandingOver => self.give_up(Failure::Stopped),
            Phase::Idle | Phase::Starting | Phase::Ending | Phase::Over => {}
        }
    }

    /// The next order; drain it after every call.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// When [`Self::settle`] must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Something was asked for and is not decided yet: the configuration stays as it is.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Over)
    }

    /// Another server serves.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn give_up(&mut self, failure: Failure) {
        // What it has not heard yet it shall not hear.
        let count = self.orders.len();
        self.orders.retain(|order| *order != Order::TakeOver);
        self.may_have_taken &= self.orders.len() == count;
        self.phase = Phase::Ending;
        self.deadline = None;
        self.failure = Some(failure);
        self.orders.push_back(Order::Kill);
    }

    fn wake(&mut self, now: Instant) {
        if let Some(absent) = self.oversleep.wake(now, self.deadline) {
            self.deadline = self.deadline.map(|deadline| deadline + absent);
        }
    }
}

/// From the last word of one that ends to its end.
const SILENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    type Happening = fn(&mut Upgrade);

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    fn orders(upgrade: &mut Upgrade) -> Vec<Order> {
        std::iter::from_fn(|| upgrade.poll_order()).collect()
    }

    fn booting() -> Upgrade {
        let mut upgrade = Upgrade::new(at(0));
        upgrade.ask(PATIENCE, at(0)).expect("nothing is under way");
        upgrade.settle(false, at(0));
        assert_eq!(orders(&mut upgrade), [Order::Start]);
        upgrade.started(at(0));
        upgrade
    }

    fn handing_over() -> Upgrade {
        let mut upgrade = booting();
        upgrade.ready(at(2));
        assert_eq!(orders(&mut upgrade), [Order::TakeOver]);
        upgrade
    }

    #[test]
    fn a_successor_that_does_as_it_should_is_the_last_thing_that_happens() {
        let mut upgrade = handing_over();
        assert!(upgrade.is_under_way());
        upgrade.taken();
        assert_eq!(orders(&mut upgrade), [Order::Leave]);
        assert!(upgrade.is_over() && !upgrade.is_under_way());
        assert_eq!(upgrade.next_deadline(), None);
        assert_eq!(upgrade.ask(PATIENCE, at(3)), Err(Refusal::Over));
        // It may end long before us, and we may be told to stop.
        upgrade.ended("exited 0");
        upgrade.stop();
        upgrade.settle(false, at(1000));
        assert_eq!(orders(&mut upgrade), []);
    }

    #[test]
    fn it_waits_for_the_end_of_a_reload_and_there_is_one_at_a_time() {
        let mut upgrade = Upgrade::new(at(0));
        upgrade.ask(PATIENCE, at(0)).expect("nothing is under way");
        upgrade.settle(true, at(0));
        assert_eq!(orders(&mut upgrade), []);
        assert_eq!(upgrade.ask(PATIENCE, at(1)), Err(Refusal::UnderWay));
        upgrade.settle(false, at(500));
        assert_eq!(orders(&mut upgrade), [Order::Start]);
        upgrade.not_started("exec: No such file".to_owned());
        let reports = orders(&mut upgrade);
        assert!(matches!(&reports[..], [Order::Report(Failure::NotStarted(_))]), "{reports:?}");
        assert_eq!(upgrade.ask(PATIENCE, at(501)), Ok(()));
    }

    #[test]
    fn a_failure_is_reported_when_nothing_is_left_of_it() {
        let cases: [(Happening, &str); 5] = [
            (|upgrade| upgrade.ended("exited 78"), "ended"),
            (|upgrade| upgrade.settle(false, at(60)), "not_ready"),
            (|upgrade| upgrade.garbled("{"), "garbled"),
            (Upgrade::taken, "garbled"),
            (Upgrade::stop, "stopped"),
        ];
        for (happen, code) in cases {
            let mut upgrade = booting();
            happen(&mut upgrade);
            assert_eq!(orders(&mut upgrade), [Order::Kill], "{code}");
            upgrade.ended("killed by SIGKILL");
            upgrade.garbled("late");
            upgrade.stop();
            assert!(upgrade.is_under_way());
            assert_eq!(orders(&mut upgrade), [], "{code}");
            upgrade.gone();
            match &orders(&mut upgrade)[..] {
                [Order::Report(failure)] => assert_eq!(failure.code(), code),
                other => panic!("{code}: {other:?}"),
            }
            assert_eq!(upgrade.ask(PATIENCE, at(70)), Ok(()));
        }
    }

    #[test]
    fn what_fails_while_it_takes_over_gives_back_what_it_took() {
        let cases: [Happening; 5] = [
            |upgrade| upgrade.ended("killed by SIGSEGV"),
            |upgrade| upgrade.settle(false, at(12)),
            |upgrade| upgrade.garbled("{"),
            |upgrade| upgrade.ready(at(3)),
            Upgrade::stop,
        ];
        for happen in cases {
            let mut upgrade = handing_over();
            happen(&mut upgrade);
            assert_eq!(orders(&mut upgrade), [Order::Kill]);
            // It may still do what it was about to until nothing is left of it.
            upgrade.gone();
            let all = orders(&mut upgrade);
            assert!(matches!(&all[..], [Order::Recover, Order::Report(_)]), "{all:?}");
            // The next one has taken nothing yet.
            upgrade.ask(PATIENCE, at(80)).expect("it is over");
            upgrade.settle(false, at(80));
            upgrade.started(at(80));
            upgrade.garbled("{");
            upgrade.gone();
            assert!(!orders(&mut upgrade).contains(&Order::Recover));
        }
    }

    #[test]
    fn one_that_is_ready_when_all_ends_is_not_let_take_over() {
        let mut upgrade = booting();
        upgrade.ready(at(2));
        upgrade.stop();
        assert_eq!(orders(&mut upgrade), [Order::Kill]);
        upgrade.gone();
        assert_eq!(orders(&mut upgrade), [Order::Report(Failure::Stopped)]);
    }

    #[test]
    fn one_that_says_nothing_more_has_a_moment_to_end() {
        let mut upgrade = booting();
        upgrade.silent(at(5));
        upgrade.silent(at(6));
        upgrade.settle(false, at(6));
        assert_eq!(orders(&mut upgrade), []);
        let mut other = upgrade.clone();
        upgrade.ended("exited 3");
        assert_eq!(orders(&mut upgrade), [Order::Kill]);
        upgrade.gone();
        let Some(Order::Report(failure)) = upgrade.poll_order() else { panic!("a report") };
        assert_eq!(failure.code(), "ended");
        other.settle(false, at(7));
        other.gone();
        let Some(Order::Report(failure)) = orders(&mut other).pop() else { panic!("a report") };
        assert_eq!(failure, Failure::Garbled("it has closed the connection".to_owned()));
    }

    #[test]
    fn a_suspended_machine_kills_no_successor() {
        let mut upgrade = booting();
        upgrade.settle(false, at(3600));
        assert_eq!(orders(&mut upgrade), []);
        assert_eq!(upgrade.next_deadline(), Some(at(3660)));
    }

    #[test]
    fn failures_read_as_an_operator_would_say_them() {
        for (failure, text) in [
            (
                Failure::Ended { how: "exited 78".to_owned(), late: false },
                "it exited 78 before it was ready",
            ),
            (
                Failure::Ended { how: "was killed by SIGSEGV".to_owned(), late: true },
                "it was killed by SIGSEGV before it had taken over",
            ),
            (Failure::NotReady(PATIENCE), "it was not ready within 60 s"),
            (Failure::Stopped, "the server is stopping"),
        ] {
            assert_eq!(failure.to_string(), text);
        }
    }
}
