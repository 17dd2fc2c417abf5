//! Processes, time and fate.

use super::Seen;
use super::promises::Promises;
use rip::contract::app::{Recycle, RestartPolicy, Surge};
use rip::entropy::{Entropy, Xoshiro};
use rip::ids::{Generation, WorkerId};
use rip::limits;
use rip::supervise::worker::Patience;
use rip::supervise::{
    Cause, Exit, Order, Output, Policy, Shutdown, Stage, Supervisor, Wish, WorkerIds,
};
use rip::time::Instant;
use rip::wire::boot::BootStage;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is wrong with a generation's code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flaw {
    None,
    /// It ends before it is ready.
    Broken,
    /// It is never ready.
    Hangs,
    /// It ends as soon as it was ready.
    FallsOver,
}

/// One simulated process.
struct Process {
    flaw: Flaw,
    leases: u32,
    requests: u64,
    quit_waits: bool,
    /// Ignores SIGTERM.
    stubborn: bool,
    /// Survives even SIGKILL (uninterruptible sleep).
    undead: bool,
    will_exit: Option<(Instant, Exit)>,
}

pub struct World {
    random: Xoshiro,
    now: Instant,
    asleep: Duration,
    policy: Policy,
    core: Supervisor,
    promises: Promises,
    ids: WorkerIds,
    shutdown: Shutdown,
    asked_at: Option<(Instant, Duration)>,
    edges_busy: bool,
    finished: Option<bool>,
    living: BTreeMap<WorkerId, Process>,
    flaws: BTreeMap<Generation, Flaw>,
    past: Vec<WorkerId>,
    /// How bad the times are, in percent.
    gloom: u64,
    pub seen: Seen,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Xoshiro::new(seed);
        let gloom = random.below(100);
        Self::with(random, gloom)
    }

    pub fn without_gloom(seed: u64) -> Self {
        Self::with(Xoshiro::new(seed), 0)
    }

    fn with(mut random: Xoshiro, gloom: u64) -> Self {
        let millis = |random: &mut Xoshiro, low: u64, high: u64| {
            Duration::from_millis(low + random.below(high - low))
        };
        let some = |random: &mut Xoshiro, value: u64| (random.below(2) == 0).then_some(value);
        let policy = Policy {
            slots: 1 + random.below(8) as usize,
            restart: RestartPolicy {
                max_restarts: random.below(6) as u32,
                backoff_ms: 50 + random.below(1000),
                window_ms: 1000 + random.below(60_000),
            },
            recycle: Recycle {
                requests: some(&mut random, 50),
                seconds: some(&mut random, 120),
                reloads: None,
                max_rss_bytes: some(&mut random, 1000),
            },
            surge: match random.below(3) {
                0 => Surge::default(),
                1 => Surge::Count(1 + random.below(4) as u32),
                _ => Surge::Percent(random.below(101) as u32),
            },
            patience: Patience {
                start: if gloom == 0 {
                    Duration::from_secs(600)
                } else {
                    millis(&mut random, 500, 30_000)
                },
                drain: millis(&mut random, 100, 30_000),
                kill: millis(&mut random, 100, 5000),
            },
        };
        let now = Instant::from_millis(random.below(10_000));
        Self {
            now,
            asleep: Duration::ZERO,
            core: Supervisor::new(policy, Generation(1), now),
            promises: Promises::new(policy),
            shutdown: Shutdown::new(policy.patience.drain, policy.patience.kill, now),
            policy,
            ids: WorkerIds::default(),
            asked_at: None,
            edges_busy: true,
            finished: None,
            living: BTreeMap::new(),
            flaws: BTreeMap::new(),
            past: Vec::new(),
            gloom,
            random,
            seen: Seen::default(),
        }
    }

    pub fn run(&mut self) {
        let steps = 100 + self.random.below(900);
        for step in 0.. {
            self.turn();
            if self.finished.is_some() {
                break;
            }
            if step == steps || (self.asked_at.is_none() && self.one_in(2000)) {
                self.ask();
            }
            self.something_happens();
            self.pass_time();
            assert!(step < 200_000, "the end never comes");
        }
        let forced = self.finished == Some(true);
        if forced {
            self.seen.count("forced");
            // What a forced end leaves is killed by now: all that is missing is its reaping.
            for id in self.living.keys().copied().collect::<Vec<_>>() {
                self.reap(id, Exit::Signaled(9));
            }
            self.obey();
        }
        assert!(self.living.is_empty(), "orphans: {:?}", self.living.keys());
        assert_eq!(self.core.worker_count(), 0);
        let promises = &self.promises;
        assert!(promises.rolls_asked.is_empty(), "unanswered: {:?}", promises.rolls_asked);
        assert!(promises.drains_asked.is_empty(), "unanswered: {:?}", promises.drains_asked);
        assert_eq!(promises.scale_asked, None, "unanswered");
    }

    /// One turn of the shell's loop.
    fn turn(&mut self) {
        self.shutdown.settle(self.core.worker_count() == 0, self.now);
        while let Some(order) = self.shutdown.poll_order() {
            self.promises.hurried |=
                matches!(order, Order::TerminateWorkers { .. } | Order::KillWorkers);
            self.promises.ending |= order == Order::RetireWorkers;
            match order {
                Order::DrainEdges { .. } => {}
                Order::CutEdges => {
                    self.edges_busy = false;
                    self.living.values_mut().for_each(|process| process.leases = 0);
                }
                Order::RetireWorkers => self.core.retire_all(self.now),
                Order::TerminateWorkers { kill } => self.core.terminate_all(kill, self.now),
                Order::KillWorkers => self.core.kill_all(self.now),
                Order::Finish { forced } => self.finished = Some(forced),
            }
            self.obey();
        }
        self.core.settle(&mut self.ids, &mut self.random, self.now);
        self.obey();
        self.promises.check_turn();
        if let Some((asked, asleep)) = self.asked_at {
            let patience = &self.policy.patience;
            let bound = patience.drain + patience.kill + limits::SHUTDOWN_SLACK;
            let awake = self.now.since(asked).saturating_sub(self.asleep - asleep);
            // A loop may be late by its slack once for each deadline on the way.
            assert!(
                self.finished.is_some() || awake <= bound + Duration::from_secs(3),
                "still there {awake:?} after it was asked to end"
            );
        }
    }

    fn obey(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let wanted = self.core.wanted();
            self.promises.check(&output, wanted, self.now, &mut self.seen);
            match output {
                Output::Spawn { worker, generation, .. } => self.fork(worker, generation),
                Output::Retire { worker }
                    if self.living.get(&worker).is_some_and(|process| process.leases == 0) =>
                {
                    self.core.idle(worker, self.now);
                }
                Output::AnswerQuit { worker, .. } => {
                    // It may have died while it waited.
                    if let Some(process) = self.living.get_mut(&worker) {
                        assert!(std::mem::take(&mut process.quit_waits), "nobody asked");
                    }
                    self.will_exit(worker, 2000, Exit::Exited(0));
                }
                Output::Terminate { worker } => self.will_exit(worker, 2000, Exit::Exited(0)),
                Output::Abort { worker } => self.will_exit(worker, 5000, Exit::Signaled(6)),
                Output::Kill { worker } => {
                    if let Some(process) = self.living.get_mut(&worker) {
                        process.will_exit = Some((self.now, Exit::Signaled(9)));
                    }
                }
                Output::Gone { worker, .. } => {
                    assert!(!self.living.contains_key(&worker));
                    assert!(!self.past.contains(&worker), "{worker} was gone already");
                    self.past.push(worker);
                }
                Output::RollStarted { generation, .. } => {
                    let flaw = match self.random.below(4) {
                        _ if !self.bad(100) => Flaw::None,
                        0 => Flaw::Broken,
                        1 => Flaw::Hangs,
                        2 => Flaw::FallsOver,
                        _ => Flaw::None,
                    };
                    self.flaws.insert(generation, flaw);
                }
                _ => {}
            }
        }
    }

    fn will_exit(&mut self, worker: WorkerId, within_millis: u64, exit: Exit) {
        let soon = self.soon(within_millis);
        if let Some(process) = self.living.get_mut(&worker)
            && !process.stubborn
        {
            process.will_exit = Some((soon, exit));
        }
    }

    fn fork(&mut self, worker: WorkerId, generation: Generation) {
        assert!(!self.shutdown_retires(), "started while the workers go");
        if self.bad(20) {
            self.core.fork_failed(worker, "out of processes".to_owned(), self.now);
        } else {
            let process = Process {
                flaw: self.flaws.get(&generation).copied().unwrap_or(Flaw::None),
                leases: 0,
                requests: 0,
                quit_waits: false,
                stubborn: self.bad(15),
                undead: self.bad(1),
                will_exit: None,
            };
            self.living.insert(worker, process);
            self.core.forked(worker, self.now);
        }
    }

    fn shutdown_retires(&self) -> bool {
        self.shutdown.is_asked() && !self.edges_busy
    }

    fn something_happens(&mut self) {
        for _ in 0..self.random.below(8) {
            self.touch_some_process();
        }
        if self.one_in(25) {
            self.operate();
        }
        if self.asked_at.is_some() {
            if self.edges_busy && self.one_in(20) {
                self.edges_busy = false;
                self.living.values_mut().for_each(|process| process.leases = 0);
                self.tell_idle();
                self.shutdown.edges_drained(self.now);
            }
            if self.one_in(60) {
                self.ask();
            }
        }
    }

    /// Somebody wants something.
    fn operate(&mut self) {
        let ending = self.asked_at.is_some();
        match self.random.below(4) {
            0 | 1 => match self.core.roll(Cause::new("api"), self.now) {
                Ok(generation) => {
                    assert!(!ending);
                    if !self.promises.rolls_asked.insert(generation) {
                        self.seen.count("rolls in one");
                    }
                }
                Err(_) => assert!(ending),
            },
            2 => self.scale(),
            _ => {
                let Some(worker) = self.some_living() else { return };
                if self.core.replace(worker, Wish::Drain, self.now).is_ok() {
                    self.promises.drains_asked.insert(worker);
                }
            }
        }
        self.obey();
    }

    fn scale(&mut self) {
        let wanted = 1 + self.random.below(10) as usize;
        self.obey();
        let serving = self.promises.serving();
        let (was, before) = (self.core.wanted(), self.promises.scale_asked);
        if self.core.scale(wanted, self.now).is_err() {
            assert!(self.asked_at.is_some());
            return;
        }
        assert_eq!(self.core.wanted(), wanted);
        if before.is_some() {
            let failed = self.core.poll_output();
            assert!(matches!(failed, Some(Output::ScaleFailed { .. })), "{failed:?}");
        }
        self.promises.scale_asked = Some(wanted);
        if wanted < was {
            self.promises.slots_changed();
            // Whoever goes by this was dismissed: as many as need not be missed.
            let workers: Vec<_> = self.promises.workers.keys().copied().collect();
            workers.iter().for_each(|worker| self.promises.excuse(*worker));
            self.obey();
            for known in self.promises.workers.values_mut() {
                known.excused = known.retired || !known.serves;
            }
            let left = self.promises.serving();
            assert!(left >= serving.min(wanted), "{serving} served, {left} do, of {wanted}");
        }
    }

    fn touch_some_process(&mut self) {
        let Some(id) = self.some_living() else { return };
        let soon = self.soon(500);
        let kind = self.random.below(13);
        let bad = self.bad(30);
        let serving = self.edges_busy;
        let stage = self.core.worker(id).map(|(stage, _)| stage);
        let process = self.living.get_mut(&id).expect("chosen among the living");
        match kind {
            0..=3 if stage == Some(Stage::Booting) => self.boot(id, bad),
            4 if bad => process.will_exit = Some((soon, Exit::Signaled(11))),
            5 if stage == Some(Stage::Ready) && serving => {
                process.leases = 1;
                process.requests += self.random.below(20);
            }
            6 | 7 => {
                process.leases = 0;
                self.tell_idle();
            }
            8 if !process.quit_waits && bad => {
                process.quit_waits = true;
                self.seen.count("quit");
                self.promises.excuse(id);
                assert_eq!(self.core.quit(id, self.now), Ok(()));
            }
            9 if bad => {
                self.promises.excuse(id);
                self.core.drain(id, self.now);
                self.obey();
            }
            10 if bad && process.leases > 0 => {
                self.promises.excuse(id);
                self.core.stuck(id, self.now);
                self.obey();
            }
            11 => {
                let rss = self.random.below(2) == 0;
                let rss = rss.then(|| self.random.below(1500));
                self.core.observed(id, process.requests, rss, self.now);
            }
            12 if bad => {
                let _ending_or_leaving = self.core.replace(id, Wish::Unhealthy, self.now);
            }
            _ => {}
        }
        // Somebody from an earlier life.
        if self.one_in(20)
            && let Some(past) = self.past.last().copied()
        {
            assert!(self.core.join(past, self.now).is_err());
            assert!(self.core.quit(past, self.now).is_err());
            assert!(self.core.replace(past, Wish::Unhealthy, self.now).is_err());
            assert!(!self.core.stuck(past, self.now));
            self.core.idle(past, self.now);
            self.core.exited(past, Exit::Exited(0), self.now);
        }
    }

    fn boot(&mut self, id: WorkerId, bad: bool) {
        let process = self.living.get_mut(&id).expect("it boots");
        let falls_over = process.flaw == Flaw::FallsOver;
        if process.flaw == Flaw::Hangs {
            return;
        }
        if process.flaw == Flaw::Broken || bad {
            self.core.boot_failed(id, BootStage::Start, "no such module", self.now);
            self.will_exit(id, 500, Exit::Exited(1));
            return;
        }
        assert_eq!(self.core.join(id, self.now), Ok(()));
        self.obey();
        if falls_over {
            self.will_exit(id, 400, Exit::Exited(3));
        }
    }

    fn tell_idle(&mut self) {
        let retired = |id: &WorkerId| self.promises.workers.get(id).is_some_and(|it| it.retired);
        let idle: Vec<_> = self
            .living
            .iter()
            .filter(|(id, process)| process.leases == 0 && retired(id))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.core.idle(id, self.now);
        }
    }

    /// Time goes on to the next moment at which the loop would wake, or less; at times much more.
    fn pass_time(&mut self) {
        let due = [self.core.next_deadline(), self.shutdown.next_deadline()];
        let next = due.into_iter().flatten().min();
        let step = Duration::from_millis(self.random.below(3000));
        let mut to = self.now + step;
        if let Some(next) = next {
            to = to.min(next.max(self.now) + Duration::from_millis(self.random.below(20)));
        }
        if self.one_in(200) {
            let suspended = Duration::from_secs(1 + self.random.below(600));
            self.seen.count("suspended");
            self.asleep += to.since(self.now) + suspended;
            to += suspended;
        }
        self.now = self.now.max(to);
        let dead: Vec<_> = self
            .living
            .iter()
            .filter(|(_, process)| !process.undead)
            .filter_map(|(id, process)| process.will_exit.map(|(at, exit)| (*id, at, exit)))
            .filter(|(_, at, _)| *at <= self.now)
            .collect();
        for (id, _, exit) in dead {
            self.reap(id, exit);
        }
    }

    fn reap(&mut self, id: WorkerId, exit: Exit) {
        if self.core.worker(id).is_some_and(|(stage, _)| stage == Stage::Proving) {
            self.seen.count("fell over in probation");
        }
        // Who is dead serves nobody and needs no leave.
        if let Some(known) = self.promises.workers.get_mut(&id) {
            known.serves = false;
        }
        self.living.remove(&id);
        self.core.exited(id, exit, self.now);
        self.obey();
    }

    fn ask(&mut self) {
        self.asked_at.get_or_insert((self.now, self.asleep));
        self.core.wind_down(self.now);
        self.obey();
        if self.one_in(4) {
            self.shutdown.ask_fast(self.now);
        } else {
            self.shutdown.ask(self.now);
        }
    }

    fn some_living(&mut self) -> Option<WorkerId> {
        let index = self.random.below(self.living.len() as u64) as usize;
        self.living.keys().nth(index).copied()
    }

    fn soon(&mut self, millis: u64) -> Instant {
        self.now + Duration::from_millis(self.random.below(millis))
    }

    fn bad(&mut self, percent: u64) -> bool {
        self.random.below(10_000) < percent * self.gloom
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }
}
