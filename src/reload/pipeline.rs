//! One attempt at a time to put another configuration in the place of the active one.
//!
//! [`Phase`] is the way of an attempt.
//!
//! Facts (compiled, listening, ready, failed, lost) are methods; each only notes what is.
//! [`Pipeline::settle`] draws the conclusions. So the shell calls it once after a batch of facts and
//! at [`Pipeline::next_deadline`], drains [`Pipeline::poll_output`], and does so again while carrying
//! out the outputs brings new facts.
//!
//! Until *Verifying* nothing of the active configuration is touched, and until the attempt is applied
//! nothing of it is given up: what only the old one uses is retired then, and what was opened and
//! started for the new one is closed and retired if it comes otherwise. A worker that an unchanged
//! app loses meanwhile is not the attempt's fault; but an app that had a ready worker when the
//! attempt became active must have one when it is applied.
//!
//! Versions are never used for two configurations. Going back makes an old version active again, as
//! it was.

use super::nap::Nap;
use super::output::Output;
use super::trial::{Phase, Trial, Version};
use super::wish::{Kind, Waiter, Wanted, Wish, Wishes};
use super::work::{Failure, FreshPool, Work};
use crate::contract::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
use crate::contract::config::Verify;
use crate::contract::listen::ListenAddress;
use crate::ids::{AppId, PoolNumber};
use crate::limits;
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The pipeline of a server that runs.
#[derive(Clone, Debug)]
pub struct Pipeline {
    trial: Option<Trial>,
    wishes: Wishes,
    active: Version,
    /// The version to go back to.
    previous: Option<u64>,
    last_version: u64,
    last_attempt: u64,
    is_stopping: bool,
    outputs: VecDeque<Output>,
    nap: Nap,
}

impl Pipeline {
    /// The start has succeeded after `took` and was the first attempt: version 1 is active and has
    /// these pools and listeners. An [`Output::Report`] says so.
    pub fn new(
        pools: impl IntoIterator<Item = PoolNumber>,
        listeners: impl IntoIterator<Item = ListenAddress>,
        took: Duration,
        now: Instant,
    ) -> Self {
        let active = Version {
            number: 1,
            pools: pools.into_iter().collect(),
            listeners: listeners.into_iter().collect(),
        };
        let attempt = Attempt {
            id: 1,
            source: AttemptSource::Start,
            old_version: 0,
            new_version: 1,
            result: AttemptResult::Applied,
            code: AttemptCode::Ok,
            details: Vec::new(),
            duration_ms: millis(took),
        };
        Self {
            trial: None,
            wishes: Wishes::default(),
            active,
            previous: None,
            last_version: 1,
            last_attempt: 1,
            is_stopping: false,
            outputs: VecDeque::from([Output::Report { attempt, waiters: Vec::new() }]),
            nap: Nap::new(now),
        }
    }

    /// Somebody wants another configuration, and may wait for what comes of it. The attempt begins
    /// when no other is under way; wishes of a kind that wait until then become one attempt. The
    /// answer is the number it will have.
    pub fn wish(&mut self, wish: Wish, source: AttemptSource, waiter: Option<Waiter>) -> u64 {
        let kind = match wish {
            Wish::Hosts => Kind::Compile { reread: false },
            Wish::Reload => Kind::Compile { reread: true },
            Wish::Rollback => Kind::Leave { version: self.version() },
        };
        self.last_attempt + 1 + self.wishes.add(kind, source, waiter)
    }

    /// Gives a number to an attempt that is not one of the pipeline's: a roll that takes up what has
    /// changed without another configuration.
    pub fn number_another(&mut self) -> u64 {
        self.last_attempt += 1;
        self.last_attempt
    }

    /// What came of [`Output::Compile`] or [`Output::Recall`]. False when the attempt has ended
    /// meanwhile: then the configuration is nobody's.
    #[must_use]
    pub fn compiled(&mut self, attempt: u64, result: Result<Work, Failure>, now: Instant) -> bool {
        self.wake(now);
        let Some(trial) = self.trial.as_mut().filter(|trial| trial.id == attempt) else {
            return false;
        };
        let Phase::Compiling { work, is_answered, .. } = &mut trial.phase else { return false };
        if std::mem::replace(is_answered, true) {
            return false;
        }
        match result {
            Ok(done) => *work = Some(done),
            Err(failure) => trial.failure = Some(failure),
        }
        true
    }

    /// The listener of [`Output::Listen`] is bound.
    pub fn listening(&mut self, address: ListenAddress, now: Instant) {
        self.wake(now);
        if let Some(Phase::Staging { unbound, .. }) = self.phase() {
            unbound.remove(&address);
        }
    }

    /// It cannot be bound: there is nothing to be closed.
    pub fn listen_failed(&mut self, address: ListenAddress, reason: &str, now: Instant) {
        self.wake(now);
        if let Some(trial) = &mut self.trial
            && let Phase::Staging { unbound, .. } = &mut trial.phase
            && unbound.remove(&address)
        {
            trial.opened.remove(&address);
            trial.fail(AttemptCode::ListenFailed, format!("{address}: {reason}"));
        }
    }

    /// All workers of the pool of [`Output::Start`] are ready.
    pub fn pool_ready(&mut self, pool: PoolNumber, now: Instant) {
        self.wake(now);
        if let Some(Phase::Staging { unready, .. }) = self.phase() {
            unready.remove(&pool);
        }
    }

    /// One of them did not become ready.
    pub fn pool_failed(&mut self, pool: PoolNumber, reason: &str, now: Instant) {
        self.pool_broke(pool, AttemptCode::AppNotReady, reason, now);
    }

    /// One of the pool's ready workers has ended though nobody asked it to. May be told of any pool.
    pub fn worker_lost(&mut self, pool: PoolNumber, reason: &str, now: Instant) {
        self.pool_broke(pool, AttemptCode::AppDied, reason, now);
    }

    /// The server begins to stop: the attempt under way ends, and so does every wish, now or later.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Goes on as far as the facts allow. `unready` are the apps of the active configuration of which
    /// no worker is ready.
    pub fn settle(&mut self, unready: &[AppId], now: Instant) {
        self.wake(now);
        while self.step(unready, now) {}
        self.check_invariants();
    }

    /// The next thing to do; drain it after [`Self::settle`].
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::settle`] must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.trial.as_ref()?.phase {
            Phase::Compiling { deadline, .. } | Phase::Staging { deadline, .. } => Some(*deadline),
            Phase::Verifying { probation, deadline, .. } => Some(probation.unwrap_or(*deadline)),
        }
    }

    /// The version that requests are born with.
    pub fn version(&self) -> u64 {
        match &self.trial {
            Some(Trial { phase: Phase::Verifying { .. }, version, .. }) => *version,
            _ => self.active.number,
        }
    }

    /// The version that a rollback would make active again.
    pub fn previous_version(&self) -> Option<u64> {
        self.previous
    }

    /// The attempt under way.
    pub fn attempt(&self) -> Option<u64> {
        self.trial.as_ref().map(|trial| trial.id)
    }

    /// Attempts that wait for their turn.
    pub fn waiting_count(&self) -> usize {
        self.wishes.count()
    }

    /// One step forward; false when there is none.
    fn step(&mut self, unready: &[AppId], now: Instant) -> bool {
        let Some(trial) = &mut self.trial else { return self.begin(now) };
        if self.is_stopping && trial.failure.is_none() {
            trial.fail(AttemptCode::Stopping, "the server is ending".to_owned());
        }
        if let Some(failure) = trial.failure.take() {
            self.give_up(failure, now);
            return true;
        }
        match &mut trial.phase {
            Phase::Compiling { work, deadline, .. } => match work.take() {
                Some(work) => self.stage(work, now),
                None if now >= *deadline => {
                    let window = limits::COMPILE_TIMEOUT;
                    let detail = format!("there was no configuration within {window:?}");
                    trial.fail(AttemptCode::Timeout, detail);
                }
                None => return false,
            },
            Phase::Staging { unbound, unready: waited_for, is_started, deadline } => {
                if unbound.is_empty() && !*is_started {
                    *is_started = true;
                    let starts = waited_for.iter().map(|pool| Output::Start { pool: *pool });
                    self.outputs.extend(starts);
                } else if *is_started && waited_for.is_empty() {
                    self.activate(unready, now);
                    // Who is unready now is another question, and not answered yet.
                    return self.trial.is_none();
                } else if now >= *deadline {
                    let open =
                        unbound.iter().map(|address| format!("{address}: not bound in time"));
                    let apps = waited_for.iter().filter_map(|pool| trial.fresh.get(pool));
                    let late = apps.map(|app| format!("app {app}: not ready in time"));
                    let details = open.chain(late).collect();
                    trial.failure = Some(Failure { code: AttemptCode::Timeout, details });
                } else {
                    return false;
                }
            }
            Phase::Verifying { probation, excused, deadline } => {
                if probation.is_some_and(|end| now >= end) {
                    *probation = None;
                }
                let ill: Vec<_> = unready.iter().filter(|app| !excused.contains(app)).collect();
                if probation.is_none() && ill.is_empty() {
                    self.apply(now);
                } else if now >= *deadline {
                    let ill = ill.into_iter().map(|app| format!("app {app}: no worker is ready"));
                    let details = ill.collect();
                    trial.failure = Some(Failure { code: AttemptCode::Timeout, details });
                } else {
                    return false;
                }
            }
        }
        true
    }

    /// The next wish becomes an attempt.
    fn begin(&mut self, now: Instant) -> bool {
        let Some(Wanted { kind, source, waiters }) = self.wishes.take() else { return false };
        self.last_attempt += 1;
        let id = self.last_attempt;
        let deadline = now + limits::COMPILE_TIMEOUT + SLACK;
        let mut trial = Trial {
            id,
            source,
            waiters,
            began: now,
            version: self.active.number,
            is_recalled: false,
            failure: None,
            fresh: BTreeMap::new(),
            opened: BTreeSet::new(),
            next: Version::default(),
            verify: Verify::default(),
            details: Vec::new(),
            phase: Phase::Compiling { work: None, is_answered: false, deadline },
        };
        match self.admit(kind) {
            Err(failure) => {
                let Failure { code, details } = failure;
                self.report(trial, AttemptResult::Rejected, code, details, now);
                return true;
            }
            Ok(Some(version)) => {
                (trial.version, trial.is_recalled) = (version, true);
                self.outputs.push_back(Output::Recall { attempt: id, version });
            }
            Ok(None) => {
                self.last_version += 1;
                trial.version = self.last_version;
                let reread = kind == Kind::Compile { reread: true };
                let version = trial.version;
                self.outputs.push_back(Output::Compile { attempt: id, version, reread });
            }
        }
        self.trial = Some(trial);
        true
    }

    /// The version to be recalled, if it is one.
    fn admit(&self, kind: Kind) -> Result<Option<u64>, Failure> {
        if self.is_stopping {
            return Err(Failure::new(AttemptCode::Stopping, "the server is ending"));
        }
        let Kind::Leave { version } = kind else { return Ok(None) };
        let active = self.active.number;
        if version != active {
            let detail = format!("version {version} was to be left, and {active} is active by now");
            return Err(Failure::new(AttemptCode::Invalid, detail));
        }
        let none = || Failure::new(AttemptCode::Invalid, "there is no version to go back to");
        self.previous.map(Some).ok_or_else(none)
    }

    fn stage(&mut self, work: Work, now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        let Work { listeners, kept, fresh, verify, details } = work;
        let patience = fresh.iter().map(|pool| pool.patience).max().unwrap_or_default();
        let deadline = now + patience.max(verify.within) + SLACK;
        let kept: BTreeSet<_> = kept.into_iter().collect();
        debug_assert!(kept.is_subset(&self.active.pools), "a pool that is kept is active");
        // A number that is in use is no fresh pool: it would be retired under the active version.
        let is_new = |fresh: &FreshPool| !self.active.pools.contains(&fresh.pool);
        debug_assert!(fresh.iter().all(is_new), "a fresh pool has a new number");
        let fresh = fresh.into_iter().filter(is_new).map(|fresh| (fresh.pool, fresh.app));
        trial.fresh = fresh.collect();
        let listeners: BTreeSet<_> = listeners.into_iter().collect();
        trial.opened = &listeners - &self.active.listeners;
        let pools = kept.into_iter().chain(trial.fresh.keys().copied()).collect();
        trial.next = Version { number: trial.version, pools, listeners };
        (trial.verify, trial.details) = (verify, details);
        trial.phase = Phase::Staging {
            unbound: trial.opened.clone(),
            unready: trial.fresh.keys().copied().collect(),
            is_started: false,
            deadline,
        };
        let listens = trial.opened.iter().map(|address| Output::Listen { address: *address });
        self.outputs.extend(listens);
    }

    fn activate(&mut self, unready: &[AppId], now: Instant) {
        let Some(trial) = &mut self.trial else { return };
        self.outputs.push_back(Output::Activate { version: trial.version });
        let is_verified = trial.fresh.is_empty() || !trial.verify.healthy_apps;
        let within = trial.verify.within;
        let is_fresh = |app: &&AppId| trial.fresh.values().any(|fresh| fresh == *app);
        trial.phase = Phase::Verifying {
            probation: Some(now + limits::VERIFY_PROBATION.min(within)),
            excused: unready.iter().filter(|app| !is_fresh(app)).cloned().collect(),
            deadline: now + within,
        };
        if is_verified {
            self.apply(now);
        }
    }

    /// The attempt has succeeded; what only the old version used goes.
    fn apply(&mut self, now: Instant) {
        let Some(mut trial) = self.trial.take() else { return };
        let new = std::mem::take(&mut trial.next);
        let details = std::mem::take(&mut trial.details);
        let (version, is_recalled) = (trial.version, trial.is_recalled);
        // Whoever is answered may count on it that nobody listens there any more.
        self.close(&self.active.listeners - &new.listeners);
        self.report(trial, AttemptResult::Applied, AttemptCode::Ok, details, now);
        let old = std::mem::replace(&mut self.active, new);
        self.retire(&old.pools - &self.active.pools);
        let forgotten = self.previous.replace(old.number).filter(|_| !is_recalled);
        debug_assert!(forgotten != Some(version));
        self.outputs.extend(forgotten.map(|version| Output::Forget { version }));
    }

    /// The attempt has failed; what was done for it is undone.
    fn give_up(&mut self, failure: Failure, now: Instant) {
        let Some(mut trial) = self.trial.take() else { return };
        let mut is_active = false;
        let is_compiled = match &trial.phase {
            Phase::Compiling { work, is_answered, .. } => {
                if !*is_answered {
                    self.outputs.push_back(Output::Cancel { attempt: trial.id });
                }
                work.is_some()
            }
            Phase::Staging { is_started, .. } => {
                if !*is_started {
                    trial.fresh.clear();
                }
                true
            }
            Phase::Verifying { .. } => {
                is_active = true;
                true
            }
        };
        if is_active {
            self.outputs.push_back(Output::RollBack { to: self.active.number });
        }
        self.retire(std::mem::take(&mut trial.fresh).into_keys());
        self.close(std::mem::take(&mut trial.opened));
        if is_compiled && !trial.is_recalled {
            self.outputs.push_back(Output::Forget { version: trial.version });
        }
        let result = match is_active {
            true => AttemptResult::RolledBack,
            false => AttemptResult::Rejected,
        };
        self.report(trial, result, failure.code, failure.details, now);
    }

    fn retire(&mut self, pools: impl IntoIterator<Item = PoolNumber>) {
        self.outputs.extend(pools.into_iter().map(|pool| Output::Retire { pool }));
    }

    fn close(&mut self, listeners: impl IntoIterator<Item = ListenAddress>) {
        self.outputs.extend(listeners.into_iter().map(|address| Output::Close { address }));
    }

    fn report(
        &mut self,
        trial: Trial,
        result: AttemptResult,
        code: AttemptCode,
        details: Vec<String>,
        now: Instant,
    ) {
        let attempt = Attempt {
            id: trial.id,
            source: trial.source,
            old_version: self.active.number,
            new_version: trial.version,
            result,
            code,
            details,
            duration_ms: millis(now.since(trial.began)),
        };
        self.outputs.push_back(Output::Report { attempt, waiters: trial.waiters });
    }

    fn pool_broke(&mut self, pool: PoolNumber, code: AttemptCode, reason: &str, now: Instant) {
        self.wake(now);
        let Some(trial) = &mut self.trial else { return };
        let Some(app) = trial.fresh.get(&pool) else { return };
        let counts = match &trial.phase {
            Phase::Compiling { .. } => false,
            Phase::Staging { is_started, .. } => *is_started,
            Phase::Verifying { probation, .. } => probation.is_some_and(|end| now < end),
        };
        if counts {
            let detail = format!("app {app}: {reason}");
            trial.fail(code, detail);
        }
    }

    fn phase(&mut self) -> Option<&mut Phase> {
        self.trial.as_mut().map(|trial| &mut trial.phase)
    }

    fn wake(&mut self, now: Instant) {
        let Some(absent) = self.nap.end(now, self.next_deadline()) else { return };
        match self.phase() {
            Some(Phase::Compiling { deadline, .. } | Phase::Staging { deadline, .. }) => {
                *deadline += absent;
            }
            Some(Phase::Verifying { probation, deadline, .. }) => {
                *probation = probation.map(|end| end + absent);
                *deadline += absent;
            }
            None => {}
        }
    }

    fn check_invariants(&self) {
        let Some(trial) = &self.trial else {
            debug_assert_eq!(self.wishes.count(), 0, "a wish waits for nothing");
            return;
        };
        debug_assert!(trial.failure.is_none(), "a failure has no consequence");
        debug_assert!(trial.is_recalled || trial.version == self.last_version);
        debug_assert!(trial.version != self.active.number);
        debug_assert!(trial.fresh.keys().all(|pool| !self.active.pools.contains(pool)));
        debug_assert!(trial.opened.is_disjoint(&self.active.listeners));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a window gets beyond the time that those are given who work in it, so that they can say
/// themselves that they were too slow.
const SLACK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
