//! The shell of a pipeline, with compilers, listeners and pools of its own will.

use super::books::{Configured, Desk, Inventory, Pending, What};
use crate::seed::Dice;
use rip::contract::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
use rip::contract::config::Verify;
use rip::contract::listen::ListenAddress;
use rip::ids::{AppId, PoolNumber};
use rip::limits;
use rip::reload::{Failure, FreshPool, Output, Pipeline, Waiter, Wish, Work};
use rip::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One server's reloads. Facts are told at random; after each turn the books must be in order.
pub struct World {
    pipe: Pipeline,
    now: Instant,
    weights: Vec<(Deed, u64)>,
    desk: Desk,
    inventory: Inventory,
    /// By version, those that may be asked for again.
    configs: BTreeMap<u64, Configured>,
    active: u64,
    previous: Option<u64>,
    /// What the attempt under way has been through.
    trial: Option<Trial>,
    is_stopped: bool,
    last_attempt: u64,
    last_version: u64,
    last_pool: u32,
    /// Ends of attempts, by name.
    pub seen: BTreeSet<String>,
}

/// An attempt under way, as the world has seen it.
struct Trial {
    id: u64,
    pending: Pending,
    version: u64,
    is_recalled: bool,
    old: u64,
    began: Instant,
    stage: Stage,
    candidate: Configured,
    fresh: BTreeMap<PoolNumber, &'static str>,
    opened: BTreeSet<ListenAddress>,
    verify: Verify,
    /// What has happened that is reason enough to fail.
    blows: Vec<AttemptCode>,
    /// What has happened that may be.
    grudges: Vec<AttemptCode>,
    /// Apps that were ill when it became active, and not its own.
    ill_before: BTreeSet<&'static str>,
    /// Apps that were ill when it was taken back.
    ill_after: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Compiling,
    Staging { since: Instant },
    Active { since: Instant },
}

impl World {
    /// A world with a temper of its own: some deeds are rare in it and some never happen.
    pub fn new(dice: &mut Dice) -> Self {
        let now = Instant::from_millis(5000);
        let mut inventory = Inventory::default();
        let mut first = Configured::default();
        first.apps.insert("a", PoolNumber(1));
        first.listeners.insert(at(1));
        inventory.start(PoolNumber(1));
        inventory.pools.insert(PoolNumber(1), false);
        inventory.open(at(1));
        inventory.listeners.insert(at(1), true);
        let mut pipe = Pipeline::new([PoolNumber(1)], [at(1)], Duration::ZERO, now);
        assert!(matches!(pipe.poll_output(), Some(Output::Report { .. })));
        let weights = DEEDS.map(|(deed, weight)| (deed, weight * dice.between(0, 3)));
        Self {
            pipe,
            now,
            weights: weights.into_iter().chain(ALWAYS).collect(),
            desk: Desk::default(),
            inventory,
            configs: BTreeMap::from([(1, first)]),
            active: 1,
            previous: None,
            trial: None,
            is_stopped: false,
            last_attempt: 1,
            last_version: 1,
            last_pool: 1,
            seen: BTreeSet::new(),
        }
    }

    /// Something happens; the pipeline draws its conclusions now or with what happens next.
    pub fn step(&mut self, dice: &mut Dice) {
        match dice.weighted(&self.weights) {
            Deed::Ail => self.set_ill(dice, true),
            Deed::Answer => self.answer(dice),
            Deed::Bind => self.bind(dice),
            Deed::Due => {
                self.now = self.pipe.next_deadline().map_or(self.now, |at| at.max(self.now))
            }
            Deed::Err => self.err(dice),
            Deed::Fail => self.fail_pool(dice),
            Deed::FailToBind => self.fail_to_bind(dice),
            Deed::Heal => self.set_ill(dice, false),
            Deed::Lose => self.lose_worker(dice),
            Deed::Pass => self.now += Duration::from_millis(dice.between(0, 400)),
            Deed::Ready => self.make_ready(dice),
            Deed::Sleep => self.now += Duration::from_millis(dice.between(500, 60_000)),
            Deed::Stop if dice.one_in(40) => {
                self.is_stopped = true;
                self.pipe.stop();
            }
            Deed::Stop => {}
            Deed::Stray => self.say_something_stray(dice),
            Deed::Wish => self.wish(dice),
        }
        let is_due = self.pipe.next_deadline().is_some_and(|at| at <= self.now);
        if is_due || !dice.one_in(4) {
            self.turn();
        }
    }

    /// Nothing happens any more but time: every attempt ends, and every wish has its own.
    pub fn finish(&mut self) {
        self.turn();
        for _ in 0..100 {
            let Some(due) = self.pipe.next_deadline() else { break };
            assert!(due.since(self.now) <= Duration::from_secs(600), "a deadline without end");
            self.now = self.now.max(due);
            self.turn();
        }
        assert!(self.trial.is_none(), "an attempt never ends");
        self.desk.check_all_answered();
    }

    fn wish(&mut self, dice: &mut Dice) {
        let wish = dice.weighted(&[(Wish::Reload, 6), (Wish::Hosts, 2), (Wish::Rollback, 2)]);
        let source = dice.weighted(&[
            (AttemptSource::Api, 2),
            (AttemptSource::Signal, 1),
            (AttemptSource::Watch, 2),
        ]);
        let waiter = dice.one_in(2).then(|| self.desk.waiter());
        self.pipe.wish(wish, source, waiter);
        self.desk.ask(wish, self.active, source, waiter);
    }

    fn answer(&mut self, dice: &mut Dice) {
        let Some((id, is_recalled, version)) = self.compiling() else { return };
        let mut candidate = Configured::default();
        if is_recalled {
            candidate = self.configs[&version].clone();
        } else {
            let ports = (1..=4).filter(|_| dice.one_in(2)).map(at);
            candidate.listeners = ports.collect();
            let names = NAMES.into_iter().filter(|_| !dice.one_in(3));
            candidate.apps = names.map(|name| (name, PoolNumber(0))).collect();
        }
        let mut work = Work {
            listeners: candidate.listeners.iter().copied().collect(),
            verify: Verify {
                healthy_apps: !dice.one_in(6),
                within: Duration::from_millis(dice.between(200, 12_000)),
                ..Verify::default()
            },
            ..Work::default()
        };
        let mut fresh = BTreeMap::new();
        let active = &self.configs[&self.active];
        for (name, pool) in &mut candidate.apps {
            let stays = is_recalled || !dice.one_in(3);
            match active.apps.get(name).filter(|own| stays && (!is_recalled || *own == pool)) {
                Some(own) => {
                    *pool = *own;
                    work.kept.push(*own);
                }
                None => {
                    self.last_pool += 1;
                    *pool = PoolNumber(self.last_pool);
                    fresh.insert(*pool, *name);
                    let patience = Duration::from_millis(dice.between(500, 20_000));
                    work.fresh.push(FreshPool { pool: *pool, app: AppId::new(name), patience });
                }
            }
        }
        let verify = work.verify;
        assert!(self.pipe.compiled(id, Ok(work), self.now));
        assert!(!self.pipe.compiled(id, Ok(Work::default()), self.now), "answered twice");
        let now = self.now;
        if let Some(trial) = &mut self.trial {
            trial.stage = Stage::Staging { since: now };
            (trial.candidate, trial.fresh, trial.verify) = (candidate, fresh, verify);
        }
    }

    fn err(&mut self, _: &mut Dice) {
        let Some((id, ..)) = self.compiling() else { return };
        let failure = Failure::new(AttemptCode::ParseError, "line 1: what is that");
        assert!(self.pipe.compiled(id, Err(failure), self.now));
        self.blow(AttemptCode::ParseError);
        // There is nothing to be answered any more.
        if let Some(trial) = &mut self.trial {
            trial.stage = Stage::Staging { since: self.now };
        }
    }

    /// The attempt that waits for a configuration.
    fn compiling(&self) -> Option<(u64, bool, u64)> {
        let trial = self.trial.as_ref().filter(|trial| trial.stage == Stage::Compiling)?;
        Some((trial.id, trial.is_recalled, trial.version))
    }

    fn bind(&mut self, dice: &mut Dice) {
        let Some(address) = self.any_unbound(dice) else { return };
        self.inventory.listeners.insert(address, true);
        self.pipe.listening(address, self.now);
    }

    fn fail_to_bind(&mut self, dice: &mut Dice) {
        let Some(address) = self.any_unbound(dice) else { return };
        self.inventory.close(address);
        self.pipe.listen_failed(address, "in use", self.now);
        self.blow(AttemptCode::ListenFailed);
    }

    fn any_unbound(&self, dice: &mut Dice) -> Option<ListenAddress> {
        let unbound = self.inventory.listeners.iter().filter(|(_, is_bound)| !**is_bound);
        let unbound: Vec<_> = unbound.map(|(address, _)| *address).collect();
        dice.index(unbound.len()).map(|index| unbound[index])
    }

    fn make_ready(&mut self, dice: &mut Dice) {
        let Some(pool) = self.any_pool(dice, |trial, pool| trial.fresh.contains_key(&pool)) else {
            return;
        };
        self.inventory.pools.insert(pool, false);
        self.pipe.pool_ready(pool, self.now);
    }

    fn fail_pool(&mut self, dice: &mut Dice) {
        let Some(pool) = self.any_pool(dice, |trial, pool| trial.fresh.contains_key(&pool)) else {
            return;
        };
        self.pipe.pool_failed(pool, "exited 1 before it was ready", self.now);
        self.strike(pool, AttemptCode::AppNotReady);
    }

    fn lose_worker(&mut self, dice: &mut Dice) {
        let is_own = dice.one_in(2);
        let Some(pool) =
            self.any_pool(dice, |trial, pool| !is_own || trial.fresh.contains_key(&pool))
        else {
            return;
        };
        if dice.one_in(2) {
            self.inventory.pools.insert(pool, true);
        }
        self.pipe.worker_lost(pool, "killed by SIGKILL", self.now);
        self.strike(pool, AttemptCode::AppDied);
    }

    fn set_ill(&mut self, dice: &mut Dice, ill: bool) {
        if let Some(pool) = self.any_pool(dice, |_, _| true) {
            self.inventory.pools.insert(pool, ill);
        }
    }

    /// A pool that runs, of those that `admit` admits while an attempt is under way.
    fn any_pool(
        &self,
        dice: &mut Dice,
        admit: impl Fn(&Trial, PoolNumber) -> bool,
    ) -> Option<PoolNumber> {
        let pools = self.inventory.pools.keys().copied();
        let pools: Vec<_> = pools
            .filter(|pool| self.trial.as_ref().is_none_or(|trial| admit(trial, *pool)))
            .collect();
        dice.index(pools.len()).map(|index| pools[index])
    }

    /// Something that concerns nothing under way, or too late.
    fn say_something_stray(&mut self, dice: &mut Dice) {
        let stray = PoolNumber(10_000 + dice.between(0, 9) as u32);
        let live = *dice_pick(dice, &self.configs[&self.active].apps).unwrap_or(&stray);
        for pool in [stray, live] {
            let is_fresh = self.trial.as_ref().is_some_and(|trial| trial.fresh.contains_key(&pool));
            if !is_fresh {
                self.pipe.pool_ready(pool, self.now);
                self.pipe.pool_failed(pool, "stray", self.now);
                self.pipe.worker_lost(pool, "stray", self.now);
            }
        }
        self.pipe.listening(at(99), self.now);
        self.pipe.listen_failed(at(99), "stray", self.now);
        let late = self.last_attempt.saturating_sub(u64::from(self.trial.is_some()));
        assert!(!self.pipe.compiled(late, Ok(Work::default()), self.now));
    }

    /// The pool has suffered something, which may be reason enough to fail.
    fn strike(&mut self, pool: PoolNumber, code: AttemptCode) {
        let now = self.now;
        let Some(trial) = self.trial.as_mut().filter(|trial| trial.fresh.contains_key(&pool))
        else {
            return;
        };
        match trial.stage {
            Stage::Compiling => {}
            Stage::Staging { .. } => trial.blows.push(code),
            Stage::Active { since } => {
                if now < since + limits::VERIFY_PROBATION.min(trial.verify.within) {
                    trial.blows.push(code);
                }
                // It counts later as well if the loop has slept in between.
                trial.grudges.push(code);
            }
        }
    }

    fn blow(&mut self, code: AttemptCode) {
        if let Some(trial) = &mut self.trial {
            trial.blows.push(code);
        }
    }

    /// The pipeline draws its conclusions, and the world obeys, until there is nothing more to say.
    fn turn(&mut self) {
        loop {
            let ill: Vec<_> = self.ill().map(AppId::new).collect();
            self.pipe.settle(&ill, self.now);
            let mut is_quiet = true;
            while let Some(output) = self.pipe.poll_output() {
                is_quiet = false;
                self.obey(output);
            }
            if is_quiet {
                break;
            }
        }
        self.check();
    }

    /// Apps of the active configuration none of whose workers is ready.
    fn ill(&self) -> impl Iterator<Item = &'static str> {
        let apps = self.configs[&self.active].apps.iter();
        apps.filter(|(_, pool)| self.inventory.pools[pool]).map(|(name, _)| *name)
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Activate { version } => self.activate(version),
            Output::Cancel { attempt } => {
                let trial = self.trial.as_ref().expect("an attempt is cancelled");
                assert_eq!((trial.id, trial.stage), (attempt, Stage::Compiling));
            }
            Output::Close { address } => {
                assert!(!self.configs[&self.active].listeners.contains(&address));
                self.inventory.close(address);
            }
            Output::Compile { attempt, version, reread } => {
                assert_eq!(version, self.last_version + 1, "a version is not the next one");
                self.last_version = version;
                let pending = self.begin(attempt, version, false);
                assert_eq!(pending, What::Compile { reread });
            }
            Output::Forget { version } => {
                assert!(version != self.active && Some(version) != self.previous);
                let is_trial = self.trial.as_ref().is_some_and(|trial| trial.version == version);
                assert!(self.configs.remove(&version).is_some() || is_trial);
            }
            Output::Listen { address } => {
                self.inventory.open(address);
                self.trial.as_mut().expect("an attempt opens").opened.insert(address);
            }
            Output::Recall { attempt, version } => {
                assert_eq!(Some(version), self.previous);
                let pending = self.begin(attempt, version, true);
                assert_eq!(pending, What::Leave(self.active));
            }
            Output::Report { attempt, waiters } => self.end(&attempt, &waiters),
            Output::Retire { pool } => {
                assert!(!self.configs[&self.active].has_pool(pool), "{pool} is in use");
                self.inventory.retire(pool);
            }
            Output::RollBack { to } => {
                let ill = self.ill().collect();
                let trial = self.trial.as_mut().expect("an attempt goes back");
                trial.ill_after = ill;
                assert!(matches!(trial.stage, Stage::Active { .. }));
                assert_eq!((trial.old, trial.version), (to, self.active));
                self.active = to;
            }
            Output::Start { pool } => {
                let trial = self.trial.as_ref().expect("an attempt starts");
                assert!(trial.fresh.contains_key(&pool));
                let mut opened = trial.opened.iter();
                assert!(opened.all(|address| self.inventory.listeners[address]), "too early");
                self.inventory.start(pool);
            }
        }
    }

    fn begin(&mut self, id: u64, version: u64, is_recalled: bool) -> What {
        assert!(self.trial.is_none(), "two attempts at once");
        assert!(!self.is_stopped, "an attempt begins while the server ends");
        self.last_attempt += 1;
        assert_eq!(id, self.last_attempt);
        let pending = self.desk.next();
        let what = pending.what;
        self.trial = Some(Trial {
            id,
            pending,
            version,
            is_recalled,
            old: self.active,
            began: self.now,
            stage: Stage::Compiling,
            candidate: Configured::default(),
            fresh: BTreeMap::new(),
            opened: BTreeSet::new(),
            verify: Verify::default(),
            blows: Vec::new(),
            grudges: Vec::new(),
            ill_before: BTreeSet::new(),
            ill_after: BTreeSet::new(),
        });
        what
    }

    fn activate(&mut self, version: u64) {
        let ill: BTreeSet<_> = self.ill().collect();
        let trial = self.trial.as_mut().expect("an attempt becomes active");
        assert_eq!(trial.version, version);
        assert!(matches!(trial.stage, Stage::Staging { .. }), "active twice");
        assert!(trial.blows.is_empty(), "active in spite of {:?}", trial.blows);
        let is_own = |name: &&str| trial.fresh.values().any(|own| own == name);
        trial.ill_before = ill.into_iter().filter(|name| !is_own(name)).collect();
        trial.stage = Stage::Active { since: self.now };
        self.configs.insert(version, trial.candidate.clone());
        self.active = version;
        let all = self.configs[&version].listeners.iter();
        assert!(all.into_iter().all(|address| self.inventory.listeners[address]));
        assert!(
            self.configs[&version]
                .apps
                .values()
                .all(|pool| self.inventory.pools.contains_key(pool))
        );
    }

    fn end(&mut self, attempt: &Attempt, waiters: &[Waiter]) {
        let name = format!("{} {}", attempt.result, attempt.code);
        let Some(trial) = self.trial.take() else {
            return self.end_at_once(attempt, waiters, name);
        };
        self.desk.answer(&trial.pending, attempt, waiters);
        assert_eq!((attempt.id, attempt.old_version), (trial.id, trial.old));
        assert_eq!(attempt.new_version, trial.version);
        assert_eq!(u128::from(attempt.duration_ms), self.now.since(trial.began).as_millis());
        let is_active = matches!(trial.stage, Stage::Active { .. });
        match attempt.result {
            AttemptResult::Applied => {
                assert_eq!((attempt.code, self.active), (AttemptCode::Ok, trial.version));
                assert!(trial.blows.is_empty(), "applied in spite of {:?}", trial.blows);
                self.check_is_well(&trial);
                self.previous = Some(trial.old);
            }
            AttemptResult::Rejected => assert!(!is_active && self.active == trial.old),
            AttemptResult::RolledBack => assert!(is_active && self.active == trial.old),
        }
        self.check_is_just(attempt.code, &trial);
        if trial.is_recalled {
            self.seen.insert(format!("{name} again"));
        }
        let stage = match (attempt.result, attempt.code, trial.stage) {
            (AttemptResult::Rejected, AttemptCode::Timeout, Stage::Compiling) => " compiling",
            (AttemptResult::Rejected, AttemptCode::Timeout, _) => " staging",
            _ => "",
        };
        self.seen.insert(name + stage);
    }

    /// An attempt that has nothing to do: there is nothing to go back to, or the server stops.
    fn end_at_once(&mut self, attempt: &Attempt, waiters: &[Waiter], name: String) {
        self.last_attempt += 1;
        assert_eq!((attempt.id, attempt.result), (self.last_attempt, AttemptResult::Rejected));
        assert_eq!((attempt.old_version, attempt.new_version), (self.active, self.active));
        let pending = self.desk.next();
        self.desk.answer(&pending, attempt, waiters);
        match (attempt.code, pending.what) {
            (AttemptCode::Stopping, _) => assert!(self.is_stopped),
            (AttemptCode::Invalid, What::Leave(version)) => {
                assert!(version != self.active || self.previous.is_none());
            }
            other => panic!("{other:?}"),
        }
        self.seen.insert(name);
    }

    /// An attempt that is applied has kept what it had to.
    fn check_is_well(&mut self, trial: &Trial) {
        let Stage::Active { since } = trial.stage else { panic!("applied, and never active") };
        let is_trusted = trial.fresh.is_empty() || !trial.verify.healthy_apps;
        if is_trusted {
            assert_eq!(since, self.now);
            return;
        }
        let probation = limits::VERIFY_PROBATION.min(trial.verify.within);
        assert!(self.now.since(since) >= probation, "applied before its probation was over");
        let ill: Vec<_> = self.ill().collect();
        assert!(ill.iter().all(|app| trial.ill_before.contains(app)), "{ill:?}");
        if !ill.is_empty() {
            self.seen.insert("excused".to_owned());
        }
    }

    /// No attempt fails without a reason of that name.
    fn check_is_just(&self, code: AttemptCode, trial: &Trial) {
        let just = match (code, trial.stage) {
            (AttemptCode::Ok, _) => true,
            (AttemptCode::Stopping, _) => self.is_stopped,
            (AttemptCode::Timeout, Stage::Compiling) => {
                self.now.since(trial.began) > limits::COMPILE_TIMEOUT
            }
            (AttemptCode::Timeout, Stage::Staging { since }) => {
                let pools = || trial.fresh.keys().map(|pool| self.inventory.pools.get(pool));
                let waits =
                    trial.opened.iter().any(|at| {
                        self.inventory.listeners.get(at).is_none_or(|is_bound| !*is_bound)
                    }) || pools().any(|ill| ill.is_none_or(|ill| *ill));
                waits && self.now.since(since) > trial.verify.within
            }
            (AttemptCode::Timeout, Stage::Active { since }) => {
                let is_ill = !trial.ill_after.is_subset(&trial.ill_before);
                is_ill && self.now.since(since) >= trial.verify.within
            }
            (code, _) => trial.blows.first() == Some(&code) || trial.grudges.contains(&code),
        };
        assert!(just, "failed of {code} without reason, after {:?}", trial.blows);
    }

    fn check(&self) {
        assert_eq!(self.pipe.version(), self.active);
        assert_eq!(self.pipe.previous_version(), self.previous);
        assert_eq!(self.pipe.attempt(), self.trial.as_ref().map(|trial| trial.id));
        assert!(self.pipe.next_deadline().is_none_or(|at| at > self.now), "a deadline is passed");
        match &self.trial {
            Some(_) => assert!(self.pipe.next_deadline().is_some(), "an attempt without end"),
            None => {
                assert!(self.desk.is_clear(), "a wish waits for nothing");
                self.inventory.check_is(&self.configs[&self.active]);
                let kept: BTreeSet<_> = self.configs.keys().copied().collect();
                let known = self.previous.into_iter().chain([self.active]).collect();
                assert_eq!(kept, known, "a configuration is lost, or kept for nothing");
            }
        }
    }
}

fn at(port: u16) -> ListenAddress {
    ListenAddress { ip: None, port }
}

fn dice_pick<'a, T>(dice: &mut Dice, map: &'a BTreeMap<&'static str, T>) -> Option<&'a T> {
    map.values().nth(dice.index(map.len())?)
}

#[derive(Clone, Copy)]
enum Deed {
    Ail,
    Answer,
    Bind,
    Due,
    Err,
    Fail,
    FailToBind,
    Heal,
    Lose,
    Pass,
    Ready,
    Sleep,
    Stop,
    Stray,
    Wish,
}

/// How often each deed is done in a world of even temper.
const DEEDS: [(Deed, u64); 13] = [
    (Deed::Ail, 3),
    (Deed::Answer, 15),
    (Deed::Bind, 20),
    (Deed::Due, 3),
    (Deed::Err, 2),
    (Deed::Fail, 1),
    (Deed::FailToBind, 1),
    (Deed::Heal, 5),
    (Deed::Lose, 2),
    (Deed::Ready, 20),
    (Deed::Sleep, 2),
    (Deed::Stop, 1),
    (Deed::Stray, 3),
];
/// What no world goes without.
const ALWAYS: [(Deed, u64); 5] =
    [(Deed::Answer, 5), (Deed::Bind, 8), (Deed::Pass, 15), (Deed::Ready, 8), (Deed::Wish, 8)];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
