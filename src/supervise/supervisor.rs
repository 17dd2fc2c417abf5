//! Keeps one app's slots occupied by workers.
//!
//! Facts (forked, joined, quit, idle, exited) are methods; each changes what *is*.
//! [`Supervisor::settle`] compares that with what *should be* and acts on the difference: it expires
//! deadlines and starts workers. So the shell calls it once after a batch of facts and at
//! [`Supervisor::next_deadline`], then drains [`Supervisor::poll_output`].
//!
//! A worker that is to be replaced gets a successor in its slot; it is retired when, and only when,
//! the successor is ready: [`succession`] decides who gets one and when. Slots that nobody holds are
//! filled all the same, so an older generation's worker that dies during a roll is made up for: by
//! the new generation once it is proven, by the old one before.
//!
//! Always true: a slot has at most one holder and one successor; any other worker is leaving; no
//! worker is started when the processes outnumber the slots by the surge, but for one more when a
//! slot is empty; two starts in a slot are never closer than the first restart pause.

mod setup;
mod succession;

use super::exit::{Exit, Meaning};
use super::output::Output;
use super::oversleep::Oversleep;
use super::recycle::{Lifespan, Wish};
use super::restart::Verdict;
use super::roll::Rolls;
use super::slot::{Seat, Slot};
use super::worker::{Patience, Stage, Worker};
use crate::contract::app::{AppDescriptor, Recycle, RestartPolicy, Surge};
use crate::entropy::Entropy;
use crate::ids::{Generation, WorkerId};
use crate::limits;
use crate::time::Instant;
use crate::wire::boot::BootStage;
use setup::Setup;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Why something that concerns the workers is refused although it was understood and admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Nothing new is begun any more.
    #[error("the server is ending")]
    Ending,
    /// The worker has been told to go.
    #[error("the worker is leaving")]
    Leaving,
    /// There is no such worker.
    #[error("no such worker")]
    Unknown,
}

/// How an app's processes are kept.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Workers that should serve.
    pub slots: usize,
    /// When to stop restarting.
    pub restart: RestartPolicy,
    /// When a worker has served enough.
    pub recycle: Recycle,
    /// Fresh workers that a roll starts at a time.
    pub surge: Surge,
    /// Deadlines of a worker's life.
    pub patience: Patience,
}

impl From<&AppDescriptor> for Policy {
    fn from(app: &AppDescriptor) -> Self {
        let timeouts = &app.timeouts;
        Self {
            slots: app.workers as usize,
            restart: app.restart_policy,
            recycle: app.recycle,
            surge: app.surge,
            patience: Patience {
                start: timeouts.start,
                drain: timeouts.drain,
                kill: timeouts.kill,
            },
        }
    }
}

/// Gives out worker ids; one for all apps of a master, so that none is ever used twice.
#[derive(Clone, Debug, Default)]
pub struct WorkerIds {
    last: u64,
}

impl WorkerIds {
    fn mint(&mut self) -> WorkerId {
        self.last += 1;
        WorkerId(self.last)
    }
}

/// The supervision of one app.
#[derive(Clone, Debug)]
pub struct Supervisor {
    policy: Policy,
    /// The code that workers run which are started outside of a roll.
    generation: Generation,
    desired: Desired,
    /// By number; a number is used again when its slot is gone.
    slots: BTreeMap<usize, Slot>,
    workers: BTreeMap<WorkerId, Worker>,
    outputs: VecDeque<Output>,
    oversleep: Oversleep,
    app_abandoned: bool,
    ever_ready: bool,
    restarts: u64,
    rolls: Rolls,
    setup: Setup,
    /// The number of workers that somebody waits for.
    scaling: Option<usize>,
}

impl Supervisor {
    /// Wants every slot of `policy` occupied by a worker of `generation`; the first
    /// [`Self::settle`] starts them.
    pub fn new(policy: Policy, generation: Generation, now: Instant) -> Self {
        Self {
            policy,
            generation,
            desired: Desired::Serving,
            slots: (0..policy.slots).map(|slot| (slot, Slot::new(policy.restart, now))).collect(),
            workers: BTreeMap::new(),
            outputs: VecDeque::new(),
            oversleep: Oversleep::new(now),
            app_abandoned: false,
            ever_ready: false,
            restarts: 0,
            rolls: Rolls::new(generation),
            setup: Setup::default(),
            scaling: None,
        }
    }

    /// Keeps the app by `policy` from now on, but for the number of slots, which [`Self::scale`]
    /// changes. Deadlines that run stay as they are; other limits hold for the workers that there
    /// are, from `random` as for fresh ones.
    pub fn configure(&mut self, policy: Policy, random: &mut dyn Entropy, now: Instant) {
        self.wake(now);
        for slot in self.slots.values_mut() {
            slot.restarts.configure(policy.restart);
        }
        if policy.recycle != self.policy.recycle {
            for worker in self.workers.values_mut() {
                worker.limit(Lifespan::new(&policy.recycle, random));
            }
        }
        self.policy = policy;
        self.check_invariants();
    }

    /// The worker's process runs.
    pub fn forked(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.forked();
        }
        self.check_invariants();
    }

    /// The worker's process could not be made.
    pub fn fork_failed(&mut self, worker: WorkerId, reason: String, now: Instant) {
        self.wake(now);
        if let Some(failed) = self.workers.remove(&worker) {
            self.outputs.push_back(Output::Gone { worker, exit: None, expected: false });
            self.follow_failure(&failed, reason, now);
        }
        self.check_invariants();
    }

    /// The worker's shim says that its boot ended at `stage`; its exit follows.
    pub fn boot_failed(&mut self, worker: WorkerId, stage: BootStage, message: &str, now: Instant) {
        self.wake(now);
        let Some(failed) = self.workers.get_mut(&worker) else { return };
        if !matches!(failed.stage(), Stage::Spawning | Stage::Booting) {
            return;
        }
        let reason = format!("{stage}: {message}");
        failed.failure = Some(reason.clone());
        failed.terminate(self.policy.patience.kill, now, &mut self.outputs);
        if matches!(stage, BootStage::Find | BootStage::Setup) && !self.ever_ready {
            self.outputs.push_back(Output::Hopeless { worker, reason: message.to_owned() });
        }
        self.check_invariants();
    }

    /// The worker joins, and is offered work at once unless it is the first of a roll and others
    /// serve. Idempotent.
    ///
    /// # Errors
    /// When the worker is gone or has been told to go.
    pub fn join(&mut self, worker: WorkerId, now: Instant) -> Result<(), Refusal> {
        self.wake(now);
        let probation = self.probation_of(worker);
        let joining = self.workers.get_mut(&worker).ok_or(Refusal::Unknown)?;
        if joining.join(probation, now) {
            self.admit(worker, now);
        } else if !matches!(joining.stage(), Stage::Proving | Stage::Ready) {
            return Err(Refusal::Leaving);
        }
        self.check_invariants();
        Ok(())
    }

    /// The worker quits: its exit will be expected. [`Output::AnswerQuit`] follows when its last
    /// lease has ended or its drain deadline has passed.
    ///
    /// # Errors
    /// When there is no such worker.
    pub fn quit(&mut self, worker: WorkerId, now: Instant) -> Result<(), Refusal> {
        self.wake(now);
        let leaving = self.workers.get_mut(&worker).ok_or(Refusal::Unknown)?;
        leaving.quit(&self.policy.patience, now, &mut self.outputs);
        self.vacate(worker, now);
        self.check_invariants();
        Ok(())
    }

    /// The worker asks to be retired; it is not made to wait for another.
    pub fn drain(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        if let Some(leaving) = self.workers.get_mut(&worker)
            && leaving.stage() == Stage::Ready
        {
            leaving.retire(&self.policy.patience, now, &mut self.outputs);
            self.vacate(worker, now);
        }
        self.check_invariants();
    }

    /// The retired worker's last lease has ended.
    pub fn idle(&mut self, worker: WorkerId, now: Instant) {
        self.wake(now);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.idle(self.policy.patience.kill, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// The worker's process has been reaped.
    pub fn exited(&mut self, worker: WorkerId, exit: Exit, now: Instant) {
        self.wake(now);
        let Some(gone) = self.workers.remove(&worker) else { return };
        let meaning = exit.meaning(gone.stage(), gone.failure.is_some());
        let expected = meaning == Meaning::Expected;
        self.outputs.push_back(Output::Gone { worker, exit: Some(exit), expected });
        let slot = self.slots.get(&gone.slot);
        let succeeds = slot.is_some_and(|slot| slot.successor == Some(worker));
        let reason = gone.failure.clone().unwrap_or_else(|| match gone.stage() {
            Stage::Proving => format!("{exit} as soon as it was ready"),
            _ if succeeds || meaning == Meaning::FailedStart => {
                format!("{exit} before it was ready")
            }
            _ => exit.to_string(),
        });
        // A successor was wanted, however it went.
        if expected && !succeeds {
            self.vacate_by(&gone, now);
        } else {
            self.follow_failure(&gone, reason, now);
        }
        self.check_invariants();
    }

    /// Ends the app gently: workers finish what they have, and none is started any more.
    pub fn retire_all(&mut self, now: Instant) {
        self.wake(now);
        self.leave_off(now);
        self.desired = Desired::Gone;
        for worker in self.workers.values_mut() {
            worker.retire(&self.policy.patience, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// Ends the app at once: SIGTERM to every worker, SIGKILL after `kill`.
    pub fn terminate_all(&mut self, kill: Duration, now: Instant) {
        self.wake(now);
        self.leave_off(now);
        self.desired = Desired::Gone;
        for worker in self.workers.values_mut() {
            worker.terminate(kill, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// Ends the app by force: SIGKILL to every process group.
    pub fn kill_all(&mut self, now: Instant) {
        self.wake(now);
        self.leave_off(now);
        self.desired = Desired::Gone;
        for worker in self.workers.values_mut() {
            worker.kill(self.policy.patience.kill, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// Acts on the difference between what is and what should be: expires deadlines, starts
    /// workers. To be called after each batch of facts and at [`Self::next_deadline`].
    ///
    /// Fresh workers get limits of their own from `random`.
    pub fn settle(&mut self, ids: &mut WorkerIds, random: &mut dyn Entropy, now: Instant) {
        self.wake(now);
        let mut proven = Vec::new();
        for worker in self.workers.values_mut() {
            worker.expire(&self.policy.patience, now, &mut self.outputs);
            if worker.prove(now) {
                proven.push(worker.id);
            }
            if worker.aged().is_some_and(|aged| now >= aged) {
                worker.wish(Wish::Recycle("seconds"));
            }
        }
        proven.into_iter().for_each(|worker| self.admit(worker, now));
        self.succeed(ids, random, now);
        if self.desired != Desired::Gone {
            self.occupy(ids, random, now);
        }
        self.conclude();
        if self.rolls.has_next() {
            // It waited for the one that has just ended.
            self.succeed(ids, random, now);
        }
        self.check_invariants();
    }

    /// The next order; drain it after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::settle`] must be called next, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let starts = self
            .slots
            .values()
            .filter_map(Slot::vacant_at)
            .filter(|_| self.desired != Desired::Gone && self.has_room())
            .filter(|_| !self.waits_for_setup(self.generation_to_fill()));
        let ages = self.workers.values().filter_map(Worker::aged);
        let successions = self.candidates().map(|candidate| candidate.due);
        let deadlines = self.workers.values().filter_map(Worker::deadline);
        deadlines.chain(starts).chain(ages).chain(successions).min()
    }

    /// True while some slot is given up.
    pub fn is_short(&self) -> bool {
        self.slots.values().any(|slot| matches!(slot.seat, Seat::Abandoned { .. }))
    }

    /// True while every slot is given up and none of them has a worker that serves.
    pub fn app_abandoned(&self) -> bool {
        self.app_abandoned
    }

    /// Living processes, and those about to be forked.
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Workers that are offered work.
    pub fn ready_count(&self) -> usize {
        self.workers.values().filter(|worker| worker.stage() == Stage::Ready).count()
    }

    /// Restarts after failures so far.
    pub fn restart_count(&self) -> u64 {
        self.restarts
    }

    /// True once a worker has joined.
    pub fn ever_ready(&self) -> bool {
        self.ever_ready
    }

    /// The code new workers run.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The newest code that was ever asked for, by a roll that waits or failed included.
    pub fn newest_generation(&self) -> Generation {
        self.rolls.newest()
    }

    /// The worker's stage and generation, while it lives.
    pub fn worker(&self, worker: WorkerId) -> Option<(Stage, Generation)> {
        self.workers.get(&worker).map(|worker| (worker.stage(), worker.generation))
    }

    /// How many workers should serve.
    pub fn wanted(&self) -> usize {
        self.slots.len()
    }

    fn wake(&mut self, now: Instant) {
        let next = self.next_deadline();
        if let Some(absent) = self.oversleep.wake(now, next) {
            self.workers.values_mut().for_each(|worker| worker.excuse(absent));
        }
    }

    /// Starts a worker in every slot that is due, as far as there is room.
    fn occupy(&mut self, ids: &mut WorkerIds, random: &mut dyn Entropy, now: Instant) {
        let generation = self.generation_to_fill();
        let due: Vec<usize> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.vacant_at().is_some_and(|due| now >= due))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            if !self.has_room() || self.waits_for_setup(generation) {
                break;
            }
            let id = self.spawn(number, generation, ids, random, now);
            if let Some(slot) = self.slots.get_mut(&number) {
                slot.seat = Seat::Taken(id);
            }
        }
    }

    /// The code that empty slots are filled with.
    fn generation_to_fill(&self) -> Generation {
        let proven = self.rolls.current.as_ref().filter(|roll| roll.proven);
        proven.map_or(self.generation, |roll| roll.generation)
    }

    fn spawn(
        &mut self,
        slot: usize,
        generation: Generation,
        ids: &mut WorkerIds,
        random: &mut dyn Entropy,
        now: Instant,
    ) -> WorkerId {
        let id = ids.mint();
        let lifespan = Lifespan::new(&self.policy.recycle, random);
        // The shim keeps the time itself and knows better what was missing.
        let deadline = now + self.policy.patience.start + limits::START_SLACK;
        self.workers.insert(id, Worker::new(id, generation, slot, lifespan, deadline));
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.starts(now);
        }
        self.outputs.push_back(Output::Spawn { worker: id, generation, slot });
        debug_assert!(self.workers.len() <= self.slots.len() + self.surge() + SPARE);
        id
    }

    /// The worker is ready: it takes its seat, and who held it until now retires.
    fn admit(&mut self, worker: WorkerId, now: Instant) {
        let Some(fresh) = self.workers.get(&worker) else { return };
        let (number, generation) = (fresh.slot, fresh.generation);
        self.ever_ready = true;
        if self.app_abandoned {
            self.app_abandoned = false;
            self.outputs.push_back(Output::AppAbandoned(false));
        }
        self.outputs.push_back(Output::Admit { worker });
        let old = self.slots.get_mut(&number).and_then(|slot| slot.enthrone(worker));
        if let Some(old) = old.and_then(|old| self.workers.get_mut(&old)) {
            old.retire(&self.policy.patience, now, &mut self.outputs);
        }
        self.roll_stepped(generation);
    }

    /// Whether one more process is not too many for an empty slot.
    fn has_room(&self) -> bool {
        self.workers.len() < self.slots.len() + self.surge() + SPARE
    }

    fn surge(&self) -> usize {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.policy.surge.of(slots) as usize
    }

    /// The worker leaves: its slot is for the next one, not sooner than the floor allows.
    fn vacate(&mut self, worker: WorkerId, now: Instant) {
        if let Some(leaving) = self.workers.get(&worker) {
            let leaving = leaving.clone();
            self.vacate_by(&leaving, now);
        }
    }

    fn vacate_by(&mut self, leaving: &Worker, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&leaving.slot)
            && slot.seat == Seat::Taken(leaving.id)
        {
            slot.seat = Seat::Down { not_before: slot.open_at().max(now) };
        }
    }

    /// Decides about the slot of a worker that failed while it had a claim to it.
    fn follow_failure(&mut self, failed: &Worker, reason: String, now: Instant) {
        let Some(slot) = self.slots.get_mut(&failed.slot) else { return };
        let worker = failed.id;
        if slot.successor == Some(worker) {
            slot.succession_failed(now);
            self.succession_failed(failed, reason, now);
            return;
        }
        if slot.seat != Seat::Taken(worker) {
            return;
        }
        if self.desired == Desired::Gone {
            slot.seat = Seat::Down { not_before: now };
            return;
        }
        match slot.restarts.failed(failed.up(now)) {
            Verdict::Again { attempt, backoff } => {
                self.restarts += 1;
                slot.seat = Seat::Down { not_before: now + backoff };
                let reason = reason.clone();
                self.outputs.push_back(Output::Restart { worker, attempt, backoff, reason });
            }
            Verdict::GiveUp { failures } => {
                slot.seat = Seat::Abandoned { retry_at: now + limits::ABANDON_RETRY };
                let reason = reason.clone();
                self.outputs.push_back(Output::Abandon { worker, failures, reason });
                self.give_up_app();
            }
        }
        self.holder_failed(failed, reason, now);
    }

    /// An app is abandoned when its last slot is, and stays so until a worker joins: a slot's
    /// single new try must not make every request wait for it.
    fn give_up_app(&mut self) {
        let all = self.slots.values().all(|slot| matches!(slot.seat, Seat::Abandoned { .. }));
        if all && !self.app_abandoned {
            self.app_abandoned = true;
            self.outputs.push_back(Output::AppAbandoned(true));
        }
    }

    fn check_invariants(&self) {
        let claims = |worker: &Worker| {
            let slot = self.slots.get(&worker.slot);
            let seat = slot.is_some_and(|slot| slot.seat == Seat::Taken(worker.id));
            let successor = slot.is_some_and(|slot| slot.successor == Some(worker.id));
            (seat, successor)
        };
        for slot in self.slots.values() {
            let claimants = slot.seat.holder().into_iter().chain(slot.successor);
            debug_assert!(claimants.into_iter().all(|id| self.workers.contains_key(&id)));
        }
        for worker in self.workers.values() {
            let (seat, successor) = claims(worker);
            let leaves = matches!(worker.stage(), Stage::Draining | Stage::Exiting);
            debug_assert!(!(seat && successor));
            debug_assert!(seat || successor || leaves, "{} has no claim to its slot", worker.id);
            debug_assert!(!successor || worker.stage() != Stage::Ready);
            debug_assert!(worker.stage() == Stage::Ready || worker.deadline().is_some());
        }
        debug_assert!(!self.app_abandoned || self.ready_count() == 0);
    }
}

/// What the app should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Desired {
    /// Served until no request is left; nothing new is begun.
    Finishing,
    Gone,
    Serving,
}

/// Processes beyond slots and surge: an empty slot is filled although others are on their way out.
pub const SPARE: usize = 1;

#[cfg(test)]
mod tests;
