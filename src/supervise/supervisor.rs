//! Keeps one app's slots occupied by workers.
//!
//! Facts (forked, joined, quit, idle, exited) are methods; each changes what *is*.
//! [`Supervisor::settle`] compares that with what *should be* and acts on the difference: it expires
//! deadlines and starts workers. So the shell calls it once after a batch of facts and at
//! [`Supervisor::next_deadline`], then drains [`Supervisor::poll_output`].
//!
//! Always true: a slot holds at most one worker; a worker outside its slot is leaving; processes
//! never outnumber the slots by more than [`SURGE`]; two starts of a slot are never closer than the
//! first restart pause.

use super::exit::{Exit, Meaning};
use super::output::Output;
use super::oversleep::Oversleep;
use super::restart::{Restarts, Verdict};
use super::slot::{Seat, Slot};
use super::worker::{Patience, Stage, Worker};
use crate::contract::app::{AppDescriptor, RestartPolicy};
use crate::ids::{Generation, WorkerId};
use crate::limits;
use crate::time::Instant;
use crate::wire::boot::BootStage;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Why a join or quit that was admitted is refused all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
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
    /// Deadlines of a worker's life.
    pub patience: Patience,
}

impl From<&AppDescriptor> for Policy {
    fn from(app: &AppDescriptor) -> Self {
        let timeouts = &app.timeouts;
        Self {
            slots: app.workers as usize,
            restart: app.restart_policy,
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
    generation: Generation,
    desired: Desired,
    slots: Vec<Slot>,
    workers: BTreeMap<WorkerId, Worker>,
    outputs: VecDeque<Output>,
    oversleep: Oversleep,
    app_abandoned: bool,
    ever_ready: bool,
    restarts: u64,
}

impl Supervisor {
    /// Wants every slot of `policy` occupied by a worker of `generation`; the first
    /// [`Self::settle`] starts them.
    pub fn new(policy: Policy, generation: Generation, now: Instant) -> Self {
        let slot =
            Slot { seat: Seat::Down { not_before: now }, restarts: Restarts::new(policy.restart) };
        Self {
            policy,
            generation,
            desired: Desired::Serving,
            slots: vec![slot; policy.slots],
            workers: BTreeMap::new(),
            outputs: VecDeque::new(),
            oversleep: Oversleep::new(now),
            app_abandoned: false,
            ever_ready: false,
            restarts: 0,
        }
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
        if stage == BootStage::Find && !self.ever_ready {
            self.outputs.push_back(Output::Hopeless { worker, reason: message.to_owned() });
        }
        self.check_invariants();
    }

    /// The worker joins. Idempotent.
    ///
    /// # Errors
    /// When the worker is gone or has been told to go.
    pub fn join(&mut self, worker: WorkerId, now: Instant) -> Result<(), Refusal> {
        self.wake(now);
        let joining = self.workers.get_mut(&worker).ok_or(Refusal::Unknown)?;
        if joining.join(now) {
            self.ever_ready = true;
            if self.app_abandoned {
                self.app_abandoned = false;
                self.outputs.push_back(Output::AppAbandoned(false));
            }
            self.outputs.push_back(Output::Admit { worker });
        } else if joining.stage() != Stage::Ready {
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

    /// The worker asks to be retired.
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
        let reason = gone.failure.clone().unwrap_or_else(|| match meaning {
            Meaning::FailedStart => format!("{exit} before it was ready"),
            Meaning::Crash | Meaning::Expected => exit.to_string(),
        });
        if expected {
            self.vacate_by(&gone, now);
        } else {
            self.follow_failure(&gone, reason, now);
        }
        self.check_invariants();
    }

    /// Ends the app gently: workers finish what they have, and none is started any more.
    pub fn retire_all(&mut self, now: Instant) {
        self.wake(now);
        self.desired = Desired::Gone;
        for worker in self.workers.values_mut() {
            worker.retire(&self.policy.patience, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// Ends the app at once: SIGTERM to every worker, SIGKILL after `kill`.
    pub fn terminate_all(&mut self, kill: Duration, now: Instant) {
        self.wake(now);
        self.desired = Desired::Gone;
        for worker in self.workers.values_mut() {
            worker.terminate(kill, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// Ends the app by force: SIGKILL to every process group.
    pub fn kill_all(&mut self, now: Instant) {
        self.wake(now);
        self.desired = Desired::Gone;
        for worker in self.workers.values_mut() {
            worker.kill(self.policy.patience.kill, now, &mut self.outputs);
        }
        self.check_invariants();
    }

    /// Acts on the difference between what is and what should be: expires deadlines, starts
    /// workers. To be called after each batch of facts and at [`Self::next_deadline`].
    pub fn settle(&mut self, ids: &mut WorkerIds, now: Instant) {
        self.wake(now);
        for worker in self.workers.values_mut() {
            worker.expire(&self.policy.patience, now, &mut self.outputs);
        }
        if self.desired == Desired::Serving {
            self.occupy(ids, now);
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
            .iter()
            .filter_map(|slot| slot.seat.due())
            .filter(|_| self.desired == Desired::Serving && self.has_room());
        self.workers.values().filter_map(Worker::deadline).chain(starts).min()
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

    /// The worker's stage and generation, while it lives.
    pub fn worker(&self, worker: WorkerId) -> Option<(Stage, Generation)> {
        self.workers.get(&worker).map(|worker| (worker.stage(), worker.generation))
    }

    /// When the worker was started, while it lives.
    pub fn started(&self, worker: WorkerId) -> Option<Instant> {
        self.workers.get(&worker).map(|worker| worker.started)
    }

    fn wake(&mut self, now: Instant) {
        let next = self.next_deadline();
        if let Some(absent) = self.oversleep.wake(now, next) {
            self.workers.values_mut().for_each(|worker| worker.excuse(absent));
        }
    }

    /// Starts a worker in every slot that is due, as far as there is room.
    fn occupy(&mut self, ids: &mut WorkerIds, now: Instant) {
        for index in 0..self.slots.len() {
            if !self.has_room() {
                break;
            }
            let slot = &mut self.slots[index];
            if slot.seat.due().is_none_or(|due| now < due) {
                continue;
            }
            let id = ids.mint();
            slot.seat = Seat::Taken(id);
            let start = self.policy.patience.start;
            self.workers.insert(id, Worker::new(id, self.generation, index, start, now));
            self.outputs.push_back(Output::Spawn {
                worker: id,
                generation: self.generation,
                slot: index,
            });
        }
    }

    fn has_room(&self) -> bool {
        self.workers.len() < self.slots.len() + SURGE
    }

    /// The worker leaves: its slot is for the next one, not sooner than the floor allows.
    fn vacate(&mut self, worker: WorkerId, now: Instant) {
        if let Some(leaving) = self.workers.get(&worker) {
            let leaving = leaving.clone();
            self.vacate_by(&leaving, now);
        }
    }

    fn vacate_by(&mut self, leaving: &Worker, now: Instant) {
        let slot = &mut self.slots[leaving.slot];
        if slot.seat == Seat::Taken(leaving.id) {
            let not_before = (leaving.started + slot.restarts.floor()).max(now);
            slot.seat = Seat::Down { not_before };
        }
    }

    /// Decides about the slot of a worker that failed while it held it.
    fn follow_failure(&mut self, failed: &Worker, reason: String, now: Instant) {
        let slot = &mut self.slots[failed.slot];
        if slot.seat != Seat::Taken(failed.id) {
            return;
        }
        if self.desired == Desired::Gone {
            slot.seat = Seat::Down { not_before: now };
            return;
        }
        let worker = failed.id;
        match slot.restarts.failed(failed.up(now)) {
            Verdict::Again { attempt, backoff } => {
                self.restarts += 1;
                slot.seat = Seat::Down { not_before: now + backoff };
                self.outputs.push_back(Output::Restart { worker, attempt, backoff, reason });
            }
            Verdict::GiveUp { failures } => {
                slot.seat = Seat::Abandoned { retry_at: now + limits::ABANDON_RETRY };
                self.outputs.push_back(Output::Abandon { worker, failures, reason });
                self.give_up_app();
            }
        }
    }

    /// An app is abandoned when its last slot is, and stays so until a worker joins: a slot's
    /// single new try must not make every request wait for it.
    fn give_up_app(&mut self) {
        let all = self.slots.iter().all(|slot| matches!(slot.seat, Seat::Abandoned { .. }));
        if all && !self.app_abandoned {
            self.app_abandoned = true;
            self.outputs.push_back(Output::AppAbandoned(true));
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.workers.len() <= self.slots.len() + SURGE);
        for (index, slot) in self.slots.iter().enumerate() {
            if let Seat::Taken(id) = slot.seat {
                debug_assert!(self.workers.get(&id).is_some_and(|worker| worker.slot == index));
            }
        }
        for worker in self.workers.values() {
            let holds = self.slots[worker.slot].seat == Seat::Taken(worker.id);
            let leaves = matches!(worker.stage(), Stage::Draining | Stage::Exiting);
            debug_assert!(holds || leaves, "{} is outside its slot", worker.id);
            debug_assert!(worker.stage() == Stage::Ready || worker.deadline().is_some());
        }
        debug_assert!(!self.app_abandoned || self.ready_count() == 0);
    }
}

/// What the app should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Desired {
    Gone,
    Serving,
}

/// Processes beyond the slots: one that leaves may still live while its replacement boots.
pub const SURGE: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    struct Stand {
        core: Supervisor,
        ids: WorkerIds,
        now: Instant,
    }

    impl Stand {
        fn new(slots: usize) -> Self {
            let seconds = Duration::from_secs;
            let patience = Patience { start: seconds(30), drain: seconds(30), kill: seconds(5) };
            let policy = Policy { slots, restart: RestartPolicy::default(), patience };
            let now = Instant::from_millis(1000);
            let core = Supervisor::new(policy, Generation(1), now);
            Self { core, ids: WorkerIds::default(), now }
        }

        fn after(&mut self, duration: Duration) -> Vec<Output> {
            // A loop that keeps its deadlines: it is awake at each of them.
            let until = self.now + duration;
            let mut outputs = self.settle();
            while let Some(next) = self.core.next_deadline().filter(|next| *next <= until) {
                self.now = next;
                outputs.extend(self.settle());
            }
            self.now = until;
            outputs.extend(self.settle());
            outputs
        }

        fn settle(&mut self) -> Vec<Output> {
            self.core.settle(&mut self.ids, self.now);
            std::iter::from_fn(|| self.core.poll_output()).collect()
        }

        fn serve(&mut self) -> Vec<WorkerId> {
            let workers: Vec<_> = self.settle().iter().filter_map(spawned).collect();
            for worker in &workers {
                self.core.forked(*worker, self.now);
                self.core.join(*worker, self.now).expect("a booting worker may join");
            }
            self.settle();
            workers
        }
    }

    fn spawned(output: &Output) -> Option<WorkerId> {
        match output {
            Output::Spawn { worker, .. } => Some(*worker),
            _ => None,
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const W1: WorkerId = WorkerId(1);
    const W2: WorkerId = WorkerId(2);

    #[test]
    fn every_slot_gets_a_worker_and_joining_twice_admits_once() {
        let mut stand = Stand::new(3);
        assert_eq!(stand.serve().len(), 3);
        assert_eq!(stand.core.join(W1, stand.now), Ok(()));
        assert_eq!(stand.settle(), []);
        assert_eq!(stand.core.join(WorkerId(9), stand.now), Err(Refusal::Unknown));
    }

    #[test]
    fn a_crash_is_followed_by_a_pause_and_a_new_worker() {
        let mut stand = Stand::new(1);
        stand.serve();
        stand.core.exited(W1, Exit::Signaled(9), stand.now);
        let reason = "killed by SIGKILL".to_owned();
        assert_eq!(
            stand.settle(),
            [
                Output::Gone { worker: W1, exit: Some(Exit::Signaled(9)), expected: false },
                Output::Restart { worker: W1, attempt: 1, backoff: SECOND, reason },
            ]
        );
        let later = stand.after(SECOND);
        assert_eq!(later, [Output::Spawn { worker: W2, generation: Generation(1), slot: 0 }]);
    }

    #[test]
    fn a_quit_is_answered_after_the_last_lease_and_its_slot_is_filled_at_once() {
        let mut stand = Stand::new(1);
        stand.serve();
        stand.after(SECOND * 5);
        stand.core.quit(W1, stand.now).expect("it lives");
        assert_eq!(
            stand.settle(),
            [
                Output::Retire { worker: W1 },
                Output::Spawn { worker: W2, generation: Generation(1), slot: 0 }
            ]
        );
        stand.core.idle(W1, stand.now);
        assert_eq!(stand.settle(), [Output::AnswerQuit { worker: W1, drained: true }]);
        stand.core.exited(W1, Exit::Exited(0), stand.now);
        let gone = Output::Gone { worker: W1, exit: Some(Exit::Exited(0)), expected: true };
        assert_eq!(stand.settle(), [gone]);
    }

    #[test]
    fn a_quit_whose_lease_never_ends_is_answered_at_the_drain_deadline_and_then_killed() {
        let mut stand = Stand::new(1);
        stand.serve();
        stand.core.quit(W1, stand.now).expect("it lives");
        stand.core.retire_all(stand.now);
        assert_eq!(stand.after(SECOND * 29), [Output::Retire { worker: W1 }]);
        assert_eq!(
            stand.after(SECOND),
            [Output::AnswerQuit { worker: W1, drained: false }, Output::Terminate { worker: W1 }]
        );
        assert_eq!(stand.after(SECOND * 5), [Output::Kill { worker: W1 }]);
    }

    #[test]
    fn a_worker_that_never_joins_is_ended_and_counts_as_failed() {
        let mut stand = Stand::new(1);
        stand.settle();
        stand.core.forked(W1, stand.now);
        assert_eq!(stand.after(SECOND * 30), [Output::Terminate { worker: W1 }]);
        assert_eq!(stand.core.join(W1, stand.now), Err(Refusal::Leaving));
        assert_eq!(stand.after(SECOND * 5), [Output::Kill { worker: W1 }]);
        stand.core.exited(W1, Exit::Signaled(9), stand.now);
        let outputs = stand.settle();
        assert!(
            matches!(&outputs[1], Output::Restart { reason, .. } if reason == "not ready within 30s"),
            "{outputs:?}"
        );
    }

    #[test]
    fn a_sleeping_loop_kills_nobody() {
        let mut stand = Stand::new(1);
        stand.settle();
        stand.core.forked(W1, stand.now);
        stand.now += Duration::from_secs(3600);
        assert_eq!(stand.settle(), []);
        assert_eq!(stand.core.join(W1, stand.now), Ok(()));
    }

    #[test]
    fn an_app_that_never_starts_is_abandoned_and_tried_again_each_minute() {
        let mut stand = Stand::new(2);
        let mut abandoned_at = None;
        let mut spawns = Vec::new();
        while stand.now < Instant::from_millis(600_000) {
            for worker in stand.settle().iter().filter_map(spawned) {
                spawns.push((stand.now, worker));
                stand.core.forked(worker, stand.now);
                stand.core.exited(worker, Exit::Exited(1), stand.now);
            }
            if stand.core.app_abandoned() {
                abandoned_at.get_or_insert(stand.now);
            }
            stand.now = stand.core.next_deadline().map_or(stand.now, |next| next.max(stand.now));
        }
        let abandoned_at = abandoned_at.expect("it never starts");
        assert!(stand.core.app_abandoned());
        let tries = spawns.iter().filter(|(at, _)| *at <= abandoned_at).count();
        assert_eq!(tries, 22, "eleven a slot");
        let later = spawns.iter().filter(|(at, _)| *at > abandoned_at).count() as u64;
        let minutes = stand.now.since(abandoned_at).as_secs() / 60;
        assert!(later <= 2 * (minutes + 1), "{later} in {minutes} minutes");
    }

    #[test]
    fn a_missing_interpreter_is_hopeless_until_some_worker_has_served() {
        let mut stand = Stand::new(1);
        stand.settle();
        stand.core.forked(W1, stand.now);
        stand.core.boot_failed(W1, BootStage::Find, "python3 is not installed", stand.now);
        let reason = "python3 is not installed".to_owned();
        assert!(stand.settle().contains(&Output::Hopeless { worker: W1, reason }));

        let mut stand = Stand::new(2);
        stand.settle();
        stand.core.forked(W1, stand.now);
        stand.core.join(W1, stand.now).expect("it boots");
        stand.core.forked(W2, stand.now);
        stand.core.boot_failed(W2, BootStage::Find, "python3 is not installed", stand.now);
        let outputs = stand.settle();
        assert!(!outputs.iter().any(|output| matches!(output, Output::Hopeless { .. })));
    }

    #[test]
    fn a_joining_worker_ends_the_abandonment() {
        let mut stand = Stand::new(1);
        for _ in 0..11 {
            stand.now = stand.core.next_deadline().expect("a slot is down").max(stand.now);
            for worker in stand.settle().iter().filter_map(spawned) {
                stand.core.fork_failed(worker, "no memory".to_owned(), stand.now);
            }
            stand.settle();
        }
        assert!(stand.core.app_abandoned());
        stand.now += limits::ABANDON_RETRY;
        let worker = stand.settle().iter().find_map(spawned).expect("a try a minute");
        stand.core.forked(worker, stand.now);
        assert!(stand.core.app_abandoned(), "one try does not make requests wait");
        stand.core.join(worker, stand.now).expect("it boots");
        assert_eq!(stand.settle(), [Output::AppAbandoned(false), Output::Admit { worker }]);
    }
}
