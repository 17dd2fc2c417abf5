//! Fresh workers in the place of others: rolls, recycling, replacement, scaling.
//!
//! Nobody is retired before the successor is ready, and a successor that fails costs nothing but
//! its roll. The first worker of a roll goes alone; once it has proven its generation, as many as
//! the surge permits are started at a time. Outside of a roll one worker is replaced at a time.

use super::super::output::Output;
use super::super::recycle::Wish;
use super::super::roll::{Cause, PROBATION, RollProgress};
use super::super::slot::{Seat, Slot};
use super::super::worker::{Stage, Worker};
use super::{Desired, Refusal, Supervisor, WorkerIds};
use crate::entropy::Entropy;
use crate::ids::{Generation, WorkerId};
use crate::limits;
use crate::time::Instant;

impl Supervisor {
    /// Puts a fresh worker in every slot. The answer is the generation of the roll that will: a
    /// roll that is asked for while one runs comes after it, and all that are asked for meanwhile
    /// are one. [`Output::RollDone`] or [`Output::RollAborted`] follows.
    ///
    /// # Errors
    /// When the app is ending.
    pub fn roll(&mut self, cause: Cause, now: Instant) -> Result<Generation, Refusal> {
        self.wake(now);
        self.begun(|core| Ok(core.rolls.ask(cause)))
    }

    /// Wants `workers` of them, at least one. [`Output::Scaled`] or [`Output::ScaleFailed`] follows.
    /// Those dismissed finish what they have; slots without a ready worker go first.
    ///
    /// # Errors
    /// When the app is ending.
    pub fn scale(&mut self, workers: usize, now: Instant) -> Result<(), Refusal> {
        self.wake(now);
        self.begun(|core| {
            let workers = workers.max(1);
            core.scale_failed(None, &format!("{workers} are wanted now"));
            while core.slots.len() < workers {
                let number = (0..).find(|number| !core.slots.contains_key(number)).unwrap_or(0);
                core.slots.insert(number, Slot::new(core.policy.restart, now));
            }
            while core.slots.len() > workers {
                core.dismiss_one(now);
            }
            core.scaling = Some(workers);
            core.give_up_app();
            Ok(())
        })
    }

    /// Replaces the worker by a fresh one, start-first. The worker's [`Output::Gone`] follows, or
    /// [`Output::DrainFailed`] when it was an operator's wish; others are tried again.
    ///
    /// # Errors
    /// When the app is ending, or the worker is leaving or unknown.
    pub fn replace(&mut self, worker: WorkerId, wish: Wish, now: Instant) -> Result<(), Refusal> {
        self.wake(now);
        self.begun(|core| {
            let worker = core.workers.get_mut(&worker).ok_or(Refusal::Unknown)?;
            if matches!(worker.stage(), Stage::Draining | Stage::Exiting) {
                return Err(Refusal::Leaving);
            }
            worker.wish(wish);
            Ok(())
        })
    }

    /// What was seen of the worker: how many requests it has had, and its memory if that was looked
    /// at. One that has reached a limit is replaced when its turn comes.
    pub fn observed(
        &mut self,
        worker: WorkerId,
        requests: u64,
        rss_bytes: Option<u64>,
        now: Instant,
    ) {
        self.wake(now);
        let worker = self.workers.get_mut(&worker);
        let Some(worker) = worker.filter(|worker| worker.stage() == Stage::Ready) else { return };
        if let Some(reason) = worker.lifespan.reached(requests, rss_bytes)
            && worker.wish.is_none()
        {
            worker.wish(Wish::Recycle(reason));
        }
    }

    /// The worker does not end a request: it is aborted, killed after [`limits::ABORT_GRACE`], and
    /// its slot is filled at once. False when it was being ended anyway.
    pub fn stuck(&mut self, worker: WorkerId, now: Instant) -> bool {
        self.wake(now);
        let Some(stuck) = self.workers.get_mut(&worker) else { return false };
        let aborted = stuck.abort(limits::ABORT_GRACE, now, &mut self.outputs);
        if aborted {
            self.vacate(worker, now);
        }
        self.check_invariants();
        aborted
    }

    /// The server is about to end: nothing new is begun, what was begun is left off, and what
    /// serves is kept until [`Self::retire_all`].
    pub fn wind_down(&mut self, now: Instant) {
        self.wake(now);
        self.leave_off(Refusal::Ending, now);
        self.check_invariants();
    }

    /// How far the roll under way has come.
    pub fn roll_progress(&self) -> Option<RollProgress> {
        let generation = self.rolls.current.as_ref()?.generation;
        let fresh = self.holders().filter(|holder| is_fresh(holder, generation)).count();
        Some(RollProgress { generation, fresh, wanted: self.slots.len() })
    }

    fn begun<T>(
        &mut self,
        begin: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.desired != Desired::Serving {
            return Err(Refusal::Ending);
        }
        let begun = begin(self);
        self.check_invariants();
        begun
    }

    /// Begins the roll that waits, and starts the successors that are due.
    pub(super) fn succeed(&mut self, ids: &mut WorkerIds, random: &mut dyn Entropy, now: Instant) {
        if self.desired == Desired::Serving
            && let Some((generation, cause)) = self.rolls.begin()
        {
            // What was started for another reason would be of the old generation.
            self.drop_successors(now);
            self.outputs.push_back(Output::RollStarted { generation, cause });
        }
        loop {
            let due = self.candidates().filter(|candidate| now >= candidate.due);
            let Some(next) = due.min_by_key(|candidate| candidate.rank) else { break };
            if let Urgency::Wished(Wish::Recycle(reason)) = next.rank.0
                && let Some(worker) = next.holder
                && self.rolls.current.is_none()
                && next.is_first_try
            {
                self.outputs.push_back(Output::Recycle { worker, reason });
            }
            let id = self.spawn(next.slot, next.generation, ids, random, now);
            if let Some(slot) = self.slots.get_mut(&next.slot) {
                slot.successor = Some(id);
            }
        }
    }

    /// The slots that should get a successor as soon as they are due; none while there is no room.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> {
        let roll = self.rolls.current.as_ref();
        let (most, room, generation) = match roll {
            Some(roll) if roll.proven => (self.surge(), self.surge(), roll.generation),
            Some(roll) => (1, self.surge(), roll.generation),
            None => (1, 1, self.generation),
        };
        let underway = self.slots.values().filter(|slot| slot.successor.is_some()).count();
        let open = self.desired == Desired::Serving
            && underway < most
            && self.workers.len() < self.slots.len() + room;
        let slots = self.slots.iter().filter(move |(_, slot)| open && slot.successor.is_none());
        slots.filter_map(move |(number, slot)| {
            let holder = slot.seat.holder().and_then(|holder| self.workers.get(&holder));
            let (urgency, due) = match (roll, holder) {
                (Some(roll), Some(holder)) if holder.generation == roll.generation => return None,
                (Some(_), None) => (Urgency::Empty, slot.open_at()),
                (Some(_), Some(holder)) if holder.stage() != Stage::Ready => {
                    (Urgency::NotReady, slot.open_at())
                }
                (Some(_), Some(holder)) => {
                    (holder.wish.map_or(Urgency::Well, Urgency::Wished), slot.open_at())
                }
                (None, Some(holder)) if holder.stage() == Stage::Ready => {
                    (Urgency::Wished(holder.wish?), slot.succession_at())
                }
                (None, _) => return None,
            };
            Some(Candidate {
                slot: *number,
                holder: holder.map(|holder| holder.id),
                is_first_try: slot.is_first_try(),
                generation,
                rank: (urgency, *number),
                due,
            })
        })
    }

    /// What has become true by now.
    pub(super) fn conclude(&mut self) {
        let all_serve = self.holders().filter(|holder| holder.stage() == Stage::Ready).count()
            == self.slots.len();
        if let Some(generation) = self.rolls.current.as_ref().map(|roll| roll.generation)
            && all_serve
            && self.workers.values().all(|worker| worker.generation == generation)
        {
            self.rolls.current = None;
            self.generation = generation;
            self.outputs.push_back(Output::RollDone { generation });
        }
        if let Some(workers) = self.scaling
            && all_serve
            && !self.workers.values().any(|worker| worker.dismissed)
        {
            self.scaling = None;
            self.outputs.push_back(Output::Scaled { workers });
        }
    }

    /// How long the joining worker must stay up before it is offered work.
    pub(super) fn probation_of(&self, worker: WorkerId) -> Option<std::time::Duration> {
        let roll = self.rolls.current.as_ref().filter(|roll| !roll.proven)?;
        let worker = self.workers.get(&worker)?;
        (worker.generation == roll.generation && self.ready_count() > 0).then_some(PROBATION)
    }

    /// A worker of `generation` took its seat.
    pub(super) fn roll_stepped(&mut self, generation: Generation) {
        if self.rolls.brings(generation) {
            if let Some(roll) = &mut self.rolls.current {
                roll.proven = true;
            }
            self.outputs.extend(self.roll_progress().map(Output::RollStepped));
        }
    }

    /// A successor did not become ready.
    pub(super) fn succession_failed(&mut self, failed: &Worker, reason: String, now: Instant) {
        if self.rolls.brings(failed.generation) {
            self.abort_roll(Some(failed.id), reason, now);
            return;
        }
        let slot = self.slots.get(&failed.slot);
        let holder = slot.and_then(|slot| slot.seat.holder());
        if let Some(holder) = holder.and_then(|holder| self.workers.get_mut(&holder))
            && holder.wish == Some(Wish::Drain)
        {
            holder.wish = None;
            let (worker, failed) = (holder.id, Some(failed.id));
            self.outputs.push_back(Output::DrainFailed { worker, failed, reason });
        }
    }

    /// A worker failed that held its slot.
    pub(super) fn holder_failed(&mut self, failed: &Worker, reason: String, now: Instant) {
        if failed.up(now).is_zero() {
            self.scale_failed(Some(failed.id), &reason);
        }
        if self.rolls.brings(failed.generation) {
            self.abort_roll(Some(failed.id), reason, now);
        }
    }

    /// Nothing new is begun any more, and nobody waits for it in vain: they are told `why`.
    pub(super) fn leave_off(&mut self, why: Refusal, now: Instant) {
        if self.desired != Desired::Serving {
            return;
        }
        self.desired = Desired::Finishing;
        let ending = why.to_string();
        if self.rolls.current.is_some() {
            self.abort_roll(None, ending.clone(), now);
        }
        if let Some((generation, _)) = self.rolls.next.take() {
            let reason = ending.clone();
            self.outputs.push_back(Output::RollAborted { generation, failed: None, reason });
        }
        self.drop_successors(now);
        self.scale_failed(None, &ending);
        for worker in self.workers.values_mut() {
            let stays = !matches!(worker.stage(), Stage::Draining | Stage::Exiting);
            if worker.wish.take() == Some(Wish::Drain) && stays {
                let (worker, failed, reason) = (worker.id, None, ending.clone());
                self.outputs.push_back(Output::DrainFailed { worker, failed, reason });
            }
        }
    }

    /// The new generation goes: at once where it does not serve yet; where it does, the old one is
    /// started first.
    fn abort_roll(&mut self, failed: Option<WorkerId>, reason: String, now: Instant) {
        let Some(roll) = self.rolls.current.take() else { return };
        let generation = roll.generation;
        self.outputs.push_back(Output::RollAborted { generation, failed, reason });
        self.drop_successors(now);
        let mut emptied = Vec::new();
        for worker in self.workers.values_mut().filter(|it| it.generation == generation) {
            match worker.stage() {
                Stage::Ready => worker.wish(Wish::RolledBack),
                Stage::Spawning | Stage::Booting | Stage::Proving => {
                    worker.terminate(self.policy.patience.kill, now, &mut self.outputs);
                    emptied.push(worker.id);
                }
                Stage::Draining | Stage::Exiting => {}
            }
        }
        emptied.into_iter().for_each(|worker| self.vacate(worker, now));
    }

    fn drop_successors(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            let dropped = slot.successor.take().and_then(|worker| self.workers.get_mut(&worker));
            if let Some(dropped) = dropped {
                dropped.terminate(self.policy.patience.kill, now, &mut self.outputs);
            }
        }
    }

    fn scale_failed(&mut self, failed: Option<WorkerId>, reason: &str) {
        if let Some(workers) = self.scaling.take() {
            let reason = reason.to_owned();
            self.outputs.push_back(Output::ScaleFailed { workers, failed, reason });
        }
    }

    /// Takes away the slot that is missed least: one that does not serve, or an old worker's, or
    /// the last one.
    fn dismiss_one(&mut self, now: Instant) {
        let worth = |(number, slot): &(&usize, &Slot)| {
            let holder = slot.seat.holder().and_then(|holder| self.workers.get(&holder));
            let serves = holder.is_some_and(|holder| holder.stage() == Stage::Ready);
            let lives = !matches!(slot.seat, Seat::Abandoned { .. });
            let generation = holder.map(|holder| holder.generation);
            (serves, lives, holder.is_some(), generation, usize::MAX - **number)
        };
        let least = self.slots.iter().min_by_key(worth).map(|(number, _)| *number);
        let Some(slot) = least.and_then(|number| self.slots.remove(&number)) else { return };
        for worker in slot.seat.holder().into_iter().chain(slot.successor) {
            if let Some(worker) = self.workers.get_mut(&worker) {
                worker.dismissed = true;
                worker.retire(&self.policy.patience, now, &mut self.outputs);
            }
        }
    }

    fn holders(&self) -> impl Iterator<Item = &Worker> {
        let seats = self.slots.values().filter_map(|slot| slot.seat.holder());
        seats.filter_map(|holder| self.workers.get(&holder))
    }
}

fn is_fresh(worker: &Worker, generation: Generation) -> bool {
    worker.generation == generation && worker.stage() == Stage::Ready
}

/// A slot that should get a successor.
pub(super) struct Candidate {
    slot: usize,
    holder: Option<WorkerId>,
    is_first_try: bool,
    generation: Generation,
    /// The least comes first.
    rank: (Urgency, usize),
    pub(super) due: Instant,
}

/// Which slots come first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Urgency {
    Empty,
    NotReady,
    Wished(Wish),
    Well,
}
