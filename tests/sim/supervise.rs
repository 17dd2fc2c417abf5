//! A world of processes that fork, boot, crash, hang, quit and outlive signals at random, with a
//! loop that keeps its deadlines and sometimes sleeps through them, kept by the supervisor and
//! brought down by the shutdown.
//!
//! Promises: processes never outnumber the slots by more than the surge; a slot is never started
//! twice within its floor; every process that was forked is reaped; whatever happens, the end comes
//! within drain + kill + slack of awake time; a quit is answered exactly once.

use rip::contract::app::RestartPolicy;
use rip::entropy::{Entropy, Xoshiro};
use rip::ids::{Generation, WorkerId};
use rip::limits;
use rip::supervise::supervisor::SURGE;
use rip::supervise::worker::Patience;
use rip::supervise::{Exit, Order, Output, Policy, Shutdown, Supervisor, WorkerIds};
use rip::time::Instant;
use rip::wire::boot::BootStage;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

#[test]
#[expect(clippy::disallowed_methods, reason = "a replay names its seed in the environment")]
fn processes_are_kept_and_brought_down_whatever_they_do() {
    let seeds = match std::env::var("RIP_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..400,
    };
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let world = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            world.seen
        });
        match world {
            Ok(world) => seen.add(&world),
            Err(cause) => {
                eprintln!("replay with RIP_SIM_SEED={seed} cargo test --test sim");
                std::panic::resume_unwind(cause);
            }
        }
    }
    if seeds.end - seeds.start > 1 {
        assert!(seen.everything(), "the world must show everything: {seen:?}");
    }
}

/// How often the rarer things happened: a simulation that never shows them proves nothing.
#[derive(Debug, Default)]
struct Seen {
    abandoned: u64,
    forced: u64,
    kills: u64,
    quits: u64,
    recovered: u64,
    spawns: u64,
    suspensions: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.abandoned += other.abandoned;
        self.forced += other.forced;
        self.kills += other.kills;
        self.quits += other.quits;
        self.recovered += other.recovered;
        self.spawns += other.spawns;
        self.suspensions += other.suspensions;
    }

    fn everything(&self) -> bool {
        [self.abandoned, self.forced, self.kills, self.quits, self.recovered, self.suspensions]
            .iter()
            .all(|count| *count > 10)
            && self.spawns > 10_000
    }
}

/// One simulated process.
#[derive(Default)]
struct Process {
    joined: bool,
    retired: bool,
    leases: u32,
    quit_waits: bool,
    /// Ignores SIGTERM.
    stubborn: bool,
    /// Survives even SIGKILL (uninterruptible sleep).
    undead: bool,
    will_exit: Option<(Instant, Exit)>,
}

struct World {
    random: Xoshiro,
    now: Instant,
    asleep: Duration,
    policy: Policy,
    core: Supervisor,
    ids: WorkerIds,
    shutdown: Shutdown,
    asked_at: Option<(Instant, Duration)>,
    edges_busy: bool,
    finished: Option<bool>,
    living: BTreeMap<WorkerId, Process>,
    past: Vec<WorkerId>,
    starts: VecDeque<Instant>,
    /// How bad the times are, in percent.
    gloom: u64,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Xoshiro::new(seed);
        let millis = |random: &mut Xoshiro, low: u64, high: u64| {
            Duration::from_millis(low + random.below(high - low))
        };
        let policy = Policy {
            slots: 1 + random.below(8) as usize,
            restart: RestartPolicy {
                max_restarts: random.below(6) as u32,
                backoff_ms: 50 + random.below(1000),
                window_ms: 1000 + random.below(60_000),
            },
            patience: Patience {
                start: millis(&mut random, 500, 30_000),
                drain: millis(&mut random, 100, 30_000),
                kill: millis(&mut random, 100, 5000),
            },
        };
        let now = Instant::from_millis(random.below(10_000));
        let gloom = random.below(100);
        Self {
            now,
            asleep: Duration::ZERO,
            core: Supervisor::new(policy, Generation(1), now),
            shutdown: Shutdown::new(policy.patience.drain, policy.patience.kill, now),
            policy,
            ids: WorkerIds::default(),
            asked_at: None,
            edges_busy: true,
            finished: None,
            living: BTreeMap::new(),
            past: Vec::new(),
            starts: VecDeque::new(),
            gloom,
            random,
            seen: Seen::default(),
        }
    }

    fn run(&mut self) {
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
        self.seen.forced += u64::from(forced);
        // What a forced end leaves is killed by now: all that is missing is its reaping.
        if forced {
            for id in self.living.keys().copied().collect::<Vec<_>>() {
                self.reap(id, Exit::Signaled(9));
            }
            self.obey();
        }
        assert!(self.living.is_empty(), "orphans: {:?}", self.living.keys());
        assert_eq!(self.core.worker_count(), 0);
    }

    /// One turn of the shell's loop.
    fn turn(&mut self) {
        self.shutdown.settle(self.core.worker_count() == 0, self.now);
        while let Some(order) = self.shutdown.poll_order() {
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
        self.core.settle(&mut self.ids, self.now);
        self.obey();
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
        let live = self.living.len();
        assert!(live <= self.policy.slots + SURGE, "{live} processes");
    }

    fn obey(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Spawn { worker, .. } => self.fork(worker),
                Output::Admit { worker } => {
                    let process = self.living.get_mut(&worker).expect("admitted alive");
                    assert!(!process.joined, "admitted twice");
                    process.joined = true;
                }
                Output::Retire { worker } => {
                    if let Some(process) = self.living.get_mut(&worker) {
                        process.retired = true;
                        if process.leases == 0 {
                            self.core.idle(worker, self.now);
                        }
                    }
                }
                Output::AnswerQuit { worker, .. } => {
                    let soon = self.soon(2000);
                    if let Some(process) = self.living.get_mut(&worker) {
                        assert!(std::mem::take(&mut process.quit_waits), "nobody asked");
                        if !process.stubborn {
                            process.will_exit = Some((soon, Exit::Exited(0)));
                        }
                    }
                }
                Output::Terminate { worker } => {
                    let soon = self.soon(2000);
                    if let Some(process) = self.living.get_mut(&worker)
                        && !process.stubborn
                    {
                        process.will_exit = Some((soon, Exit::Exited(0)));
                    }
                }
                Output::Kill { worker } => {
                    self.seen.kills += 1;
                    if let Some(process) = self.living.get_mut(&worker) {
                        process.will_exit = Some((self.now, Exit::Signaled(9)));
                    }
                }
                Output::Gone { worker, .. } => {
                    assert!(!self.living.contains_key(&worker));
                    assert!(!self.past.contains(&worker), "{worker} was gone already");
                    self.past.push(worker);
                }
                Output::AppAbandoned(true) => self.seen.abandoned += 1,
                Output::AppAbandoned(false) => self.seen.recovered += 1,
                Output::Abandon { .. } | Output::Hopeless { .. } | Output::Restart { .. } => {}
            }
        }
    }

    fn fork(&mut self, worker: WorkerId) {
        self.seen.spawns += 1;
        assert!(!self.shutdown_retires(), "started while the workers go");
        // No storm: more starts than slots within one floor means that some slot had two.
        let floor = Duration::from_millis(self.policy.restart.backoff_ms);
        self.starts.push_back(self.now);
        while self.starts.front().is_some_and(|start| self.now.since(*start) >= floor) {
            self.starts.pop_front();
        }
        assert!(self.starts.len() <= self.policy.slots, "a restart storm");
        if self.bad(30) {
            self.core.fork_failed(worker, "out of processes".to_owned(), self.now);
        } else {
            let process = Process {
                stubborn: self.bad(15),
                undead: self.bad(1),
                will_exit: None,
                ..Process::default()
            };
            self.living.insert(worker, process);
            self.core.forked(worker, self.now);
        }
    }

    fn shutdown_retires(&self) -> bool {
        self.shutdown.is_asked() && !self.edges_busy
    }

    fn something_happens(&mut self) {
        for _ in 0..self.random.below(4) {
            self.touch_some_process();
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

    fn touch_some_process(&mut self) {
        let Some(id) = self.some_living() else { return };
        let soon = self.soon(500);
        let kind = self.random.below(10);
        let bad = self.bad(60);
        let serving = self.edges_busy;
        let process = self.living.get_mut(&id).expect("chosen among the living");
        match kind {
            0..=3 if !process.joined => {
                let _late_ones_are_refused = self.core.join(id, self.now);
                self.obey();
            }
            0 if bad && !process.joined => {
                self.core.boot_failed(id, BootStage::Start, "no such module", self.now);
                let process = self.living.get_mut(&id).expect("still there");
                process.will_exit = Some((soon, Exit::Exited(1)));
            }
            4 if bad => process.will_exit = Some((soon, Exit::Signaled(11))),
            5 if process.joined && !process.retired && serving => process.leases = 1,
            6 | 7 => {
                process.leases = 0;
                self.tell_idle();
            }
            8 if !process.quit_waits && bad => {
                process.quit_waits = true;
                self.seen.quits += 1;
                assert_eq!(self.core.quit(id, self.now), Ok(()));
            }
            9 if bad => self.core.drain(id, self.now),
            _ => {}
        }
        // Somebody from an earlier life, and one that never was.
        if let Some(past) = self.past.last().copied() {
            assert!(self.core.join(past, self.now).is_err());
            assert!(self.core.quit(past, self.now).is_err());
            self.core.idle(past, self.now);
            self.core.exited(past, Exit::Exited(0), self.now);
        }
    }

    fn tell_idle(&mut self) {
        let idle: Vec<_> = self
            .living
            .iter()
            .filter(|(_, process)| process.retired && process.leases == 0)
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
            self.seen.suspensions += 1;
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
        self.living.remove(&id);
        self.core.exited(id, exit, self.now);
    }

    fn ask(&mut self) {
        self.asked_at.get_or_insert((self.now, self.asleep));
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
