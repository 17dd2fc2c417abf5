//! The machine: tickets, leases and workers of one app.

use super::decide::{Choice, Decision, Fallback, Output, PoolCounters};
use super::lease::{Bounce, Lease, Outcome, TicketId, Tunnel};
use super::list::List;
use super::pause::Pauses;
use super::queue::Queue;
use super::rate::DrainRate;
use super::select::Offer;
use super::worker::{Slot, State, WorkerView};
use crate::contract::app::Select;
use crate::contract::reason::Reason;
use crate::ids::{AppId, Generation, WorkerId};
use crate::limits;
use crate::time::Instant;
use std::collections::VecDeque;

/// How one app's workers are shared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolSettings {
    /// The app.
    pub app: AppId,
    /// Leases one worker may have; 0 counts as 1.
    pub concurrency: u32,
    /// Leases all workers together may have; 0 counts as 1.
    pub max_inflight: u32,
    /// Tickets that may wait. Those a worker gave back are never refused for it.
    pub max_queue: u32,
    /// How a worker is chosen.
    pub select: Select,
}

/// The workers of one app, and who may use them.
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    slots: Vec<Slot>,
    vacant: List,
    /// Indexes of all workers, ordered by worker id.
    order: Vec<u32>,
    offer: Offer,
    pauses: Pauses,
    queue: Queue,
    rate: DrainRate,
    outputs: VecDeque<Output>,
    inflight: u32,
    ready_count: u32,
    abandoned: bool,
    held: bool,
    last_serial: u64,
    choice: Option<Choice>,
    counters: PoolCounters,
    now: Instant,
}

impl Pool {
    /// A pool without workers.
    pub fn new(settings: PoolSettings) -> Self {
        let settings = sane(settings);
        Self {
            slots: Vec::new(),
            vacant: List::default(),
            order: Vec::new(),
            offer: Offer::new(settings.select),
            pauses: Pauses::default(),
            queue: Queue::new(settings.max_queue),
            rate: DrainRate::default(),
            outputs: VecDeque::with_capacity(OUTPUT_ROOM_COUNT),
            inflight: 0,
            ready_count: 0,
            abandoned: false,
            held: false,
            last_serial: 0,
            choice: None,
            counters: PoolCounters::default(),
            now: Instant::default(),
            settings,
        }
    }

    /// Follows `settings` from now on. Leases and tickets that exceed a lowered limit stay.
    pub fn configure(&mut self, settings: PoolSettings, now: Instant) {
        self.hear(now);
        let old = std::mem::replace(&mut self.settings, sane(settings));
        if old.select != self.settings.select {
            self.offer_all_again();
        } else {
            for position in 0..self.order.len() {
                let index = self.order[position];
                let slot = &self.slots[index as usize];
                let was = is_offered(slot, old.concurrency);
                let is = is_offered(slot, self.settings.concurrency);
                if was && !is {
                    self.offer.remove(&mut self.slots, index);
                } else if is && !was {
                    self.offer.add(&mut self.slots, index, false);
                }
            }
        }
        self.dispatch();
        self.check();
    }

    /// `worker` is ready. It serves waiting tickets at once; an app that was given up is not any
    /// more. No change when the worker is in the pool already, also when it is retired.
    pub fn join(&mut self, worker: WorkerId, generation: Generation, now: Instant) {
        self.hear(now);
        let Err(position) = self.find(worker) else { return };
        let slot = Slot::new(worker, generation);
        let index = match self.vacant.pop_front(&mut self.slots) {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.offer.enlist(generation);
        self.ready_count += 1;
        self.abandoned = false;
        self.order.insert(position, index);
        match self.settings.select {
            Select::LeastInflight => self.offer_all_again(),
            Select::Lifo => {
                self.number();
                self.add_offer(index, false);
            }
        }
        self.dispatch();
        self.check();
    }

    /// No new lease for `worker`. [`Output::Idle`] follows when its last lease and its last tunnel
    /// have ended: at once when it has none.
    pub fn retire(&mut self, worker: WorkerId, now: Instant) {
        self.hear(now);
        if let Ok(position) = self.find(worker) {
            let index = self.order[position];
            if self.drain(index) && self.slots[index as usize].is_idle() {
                self.outputs.push_back(Output::Idle { worker });
            }
        }
        self.check();
    }

    /// The process of `worker` is gone. Its leases count no more; they are still to be given back,
    /// which then changes nothing.
    pub fn remove(&mut self, worker: WorkerId, now: Instant) {
        self.hear(now);
        let Ok(position) = self.find(worker) else { return };
        let index = self.order.remove(position);
        self.drain(index);
        let slot = &mut self.slots[index as usize];
        slot.state = State::Vacant;
        slot.tunnels = 0;
        self.inflight -= std::mem::take(&mut slot.inflight);
        self.offer.discharge(slot.generation);
        self.vacant.push_front(&mut self.slots, index);
        match self.settings.select {
            Select::LeastInflight => self.offer_all_again(),
            Select::Lifo => self.number(),
        }
        self.dispatch();
        self.check();
    }

    /// `true`: every worker slot was given up. Waiting tickets are refused and new ones shed, until
    /// `false` or a join.
    pub fn set_abandoned(&mut self, abandoned: bool, now: Instant) {
        self.hear(now);
        self.abandoned = abandoned;
        while abandoned && let Some(ticket) = self.queue.pop() {
            let Refusal { reason, retry_after_secs } = self.refuse(Reason::AppAbandoned);
            self.outputs.push_back(Output::Refused { ticket, reason, retry_after_secs });
        }
        self.check();
    }

    /// `true`: every request waits, whoever is free, until `false`. Leases in use go on.
    pub fn hold(&mut self, held: bool, now: Instant) {
        self.hear(now);
        self.held = held;
        self.dispatch();
        self.check();
    }

    /// A lease for a look at `worker`'s health. `None` while it has no room, rests or is retired, and
    /// while anybody waits. To be given back with [`Outcome::Unused`].
    pub fn probe(&mut self, worker: WorkerId, now: Instant) -> Option<Lease> {
        self.hear(now);
        let index = self.order[self.find(worker).ok()?];
        let free = is_offered(&self.slots[index as usize], self.settings.concurrency)
            && self.queue.is_empty()
            && self.inflight < self.settings.max_inflight;
        let lease = free.then(|| self.lease_of(index));
        self.check();
        lease
    }

    /// A request wants a worker. `ticket` does not wait already.
    pub fn request(&mut self, ticket: TicketId, now: Instant) -> Decision {
        self.hear(now);
        self.counters.requests += 1;
        let decision = if self.abandoned {
            self.refuse(Reason::AppAbandoned).into()
        } else if self.queue.is_empty()
            && let Some(lease) = self.lease(None)
        {
            self.counters.assigned += 1;
            Decision::Assigned(lease)
        } else if self.queue.len() >= self.settings.max_queue {
            self.refuse(Reason::QueueFull).into()
        } else {
            self.wait(ticket, Fallback::Queued)
        };
        self.check();
        decision
    }

    /// The worker of `lease` gave the request back unserved, for the first time when
    /// `bounces_so_far` is 0. The lease ends, and the request is placed before all that never had a
    /// worker; at the bounce that makes [`limits::BOUNCE_COUNT`] it is refused. A busy worker gets nothing for
    /// a moment or until it finishes something; a draining one is retired.
    pub fn bounce(
        &mut self,
        lease: Lease,
        ticket: TicketId,
        bounce: Bounce,
        bounces_so_far: u32,
        now: Instant,
    ) -> Decision {
        self.hear(now);
        self.counters.bounced += 1;
        if let Some(index) = self.index_of(&lease) {
            match bounce {
                Bounce::Busy => self.pause(index),
                Bounce::Draining => {
                    if self.drain(index) {
                        self.outputs.push_back(Output::Retired { worker: lease.worker });
                    }
                }
            }
        }
        self.end(lease);
        let decision = if bounces_so_far + 1 >= limits::BOUNCE_COUNT {
            self.refuse(Reason::WorkerBusy).into()
        } else {
            self.place_returned(ticket, Fallback::Bounced)
        };
        self.dispatch();
        self.check();
        decision
    }

    /// The request could not be brought to the worker of `lease`. The lease ends, and the request
    /// is placed before all that never had a worker. While there is another worker, this one gets
    /// nothing for a moment, so that the other, even if busy now, is the likely one.
    pub fn retry(&mut self, lease: Lease, ticket: TicketId, now: Instant) -> Decision {
        self.hear(now);
        self.counters.retried += 1;
        if self.ready_count > 1
            && let Some(index) = self.index_of(&lease)
        {
            self.pause(index);
        }
        self.end(lease);
        let decision = self.place_returned(ticket, Fallback::Retried);
        self.dispatch();
        self.check();
        decision
    }

    /// The request behind `ticket` wants no worker any more. True: it waited and is forgotten.
    /// False: it does not wait; a grant for it may be on its way and must be released.
    pub fn cancel(&mut self, ticket: TicketId, now: Instant) -> bool {
        self.hear(now);
        let waited = self.queue.remove(ticket);
        self.counters.cancelled += u64::from(waited);
        self.check();
        waited
    }

    /// The use of a worker is over. After a failure the worker gets nothing for a moment: it may have
    /// died, and its end be known only then.
    pub fn release(&mut self, lease: Lease, outcome: Outcome, now: Instant) {
        self.hear(now);
        if let Some(index) = self.index_of(&lease) {
            let slot = &mut self.slots[index as usize];
            slot.requests += u64::from(outcome != Outcome::Unused);
            match outcome {
                Outcome::Finished => {
                    if slot.state == State::Paused {
                        self.resume(index);
                    }
                    self.slots[index as usize].pause_count = 0;
                }
                Outcome::Failed => self.pause(index),
                Outcome::Unused => {}
            }
        }
        self.end(lease);
        self.dispatch();
        self.check();
    }

    /// The worker of `lease` switched its connection to another protocol. The exchange has finished:
    /// the lease ends, and what goes on is a tunnel.
    pub fn upgrade(&mut self, lease: Lease, now: Instant) -> Tunnel {
        let tunnel = Tunnel { worker: lease.worker, slot: lease.slot };
        if let Some(index) = self.index_of(&lease) {
            self.slots[index as usize].tunnels += 1;
        }
        self.release(lease, Outcome::Finished, now);
        tunnel
    }

    /// The connection of a tunnel has ended.
    pub fn end_tunnel(&mut self, tunnel: Tunnel, now: Instant) {
        self.hear(now);
        if let Some(slot) = self.slots.get_mut(tunnel.slot as usize)
            && slot.worker == tunnel.worker
            && slot.state != State::Vacant
        {
            slot.tunnels = slot.tunnels.saturating_sub(1);
            if slot.state == State::Draining && slot.is_idle() {
                self.outputs.push_back(Output::Idle { worker: slot.worker });
            }
        }
        self.check();
    }

    /// The client of `lease` left; its worker may still be busy with it. The lease is kept until it
    /// is released as any other.
    pub fn abandon(&mut self, lease: &mut Lease) {
        if std::mem::replace(&mut lease.abandoned, true) {
            return;
        }
        self.counters.abandoned += 1;
        if let Some(index) = self.index_of(lease) {
            self.slots[index as usize].abandoned += 1;
        }
        self.check();
    }

    /// The next thing to tell; to be drained after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called. May change with every call.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.pauses.next(&self.slots)
    }

    /// Ends the pauses that are over. Too early a call does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.hear(now);
        while let Some(index) = self.pauses.expired(&self.slots, self.now) {
            self.resume(index);
        }
        self.dispatch();
        self.check();
    }

    /// The settings in force.
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// One worker; `None` when it is not in the pool.
    pub fn worker(&self, worker: WorkerId) -> Option<WorkerView> {
        let position = self.find(worker).ok()?;
        Some(self.slots[self.order[position] as usize].view())
    }

    /// All workers, by id.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.order.iter().map(|index| self.slots[*index as usize].view())
    }

    /// Workers that are joined and not retired, paused ones included.
    pub fn ready_count(&self) -> u32 {
        self.ready_count
    }

    /// Leases in use on workers that exist.
    pub fn inflight(&self) -> u32 {
        self.inflight
    }

    /// Tickets that wait.
    pub fn queue_depth(&self) -> u32 {
        self.queue.len()
    }

    /// True while requests are held.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// True while the app is given up.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// What happened so far.
    pub fn counters(&self) -> PoolCounters {
        self.counters
    }

    /// The last decision about a ticket.
    pub fn decision(&self) -> Option<Choice> {
        self.choice
    }

    /// Panics when the pool contradicts itself. Every mutation does this in debug builds.
    pub fn check_invariants(&self) {
        let concurrency = self.settings.concurrency;
        let present = || self.order.iter().map(|index| &self.slots[*index as usize]);
        assert!(present().is_sorted_by(|a, b| a.worker < b.worker), "workers are out of order");
        for (rank, slot) in present().enumerate() {
            assert_eq!(slot.rank as usize, rank, "{slot:?} has another's rank");
            assert!(slot.state != State::Vacant, "{slot:?} is not there");
            assert!(slot.abandoned <= slot.inflight, "{slot:?} abandoned what it never had");
        }
        let vacant_count = self.vacant.iter(&self.slots).count();
        assert_eq!(vacant_count + self.order.len(), self.slots.len(), "a slot leaked");
        let inflight: u32 = present().map(|slot| slot.inflight).sum();
        assert_eq!(inflight, self.inflight, "leases are miscounted");
        let ready = |slot: &&Slot| matches!(slot.state, State::Ready | State::Paused);
        assert_eq!(present().filter(ready).count(), self.ready_count as usize, "ready miscounted");
        let paused = |index: u32| self.slots[index as usize].state == State::Paused;
        assert!(self.pauses.iter(&self.slots).all(paused), "a worker pauses that should not");
        let paused_count = present().filter(|slot| slot.state == State::Paused).count();
        assert_eq!(self.pauses.iter(&self.slots).count(), paused_count, "a pause is lost");
        self.offer.check_invariants(&self.slots, |slot| is_offered(slot, concurrency));
        self.queue.check_invariants();
        if !self.queue.is_empty() {
            assert!(!self.abandoned, "a ticket waits for nothing");
            let full = self.inflight >= self.settings.max_inflight;
            assert!(
                full || self.held || self.offer.is_empty(),
                "a ticket waits while a worker is free"
            );
        }
        let counters = &self.counters;
        assert_eq!(
            counters.requests + counters.bounced + counters.retried,
            counters.assigned
                + counters.granted
                + counters.shed
                + counters.cancelled
                + u64::from(self.queue.len()),
            "a ticket has no end, or two"
        );
    }

    fn place_returned(&mut self, ticket: TicketId, fallback: Fallback) -> Decision {
        if self.abandoned {
            return self.refuse(Reason::AppAbandoned).into();
        }
        if !self.queue.has_returned()
            && let Some(lease) = self.lease(Some(fallback))
        {
            self.counters.assigned += 1;
            return Decision::Assigned(lease);
        }
        self.wait(ticket, fallback)
    }

    fn wait(&mut self, ticket: TicketId, fallback: Fallback) -> Decision {
        debug_assert!(!self.queue.contains(ticket), "{ticket:?} waits already");
        if self.queue.is_empty() {
            self.rate.waiting_began(self.now);
        }
        self.counters.queued += 1;
        let position = match fallback {
            Fallback::Bounced | Fallback::Retried => self.queue.push_returned(ticket),
            Fallback::Queued | Fallback::Shed => self.queue.push(ticket),
        };
        self.note(None, Some(fallback), Some(position));
        Decision::Queued { position }
    }

    fn refuse(&mut self, reason: Reason) -> Refusal {
        self.counters.shed += 1;
        self.note(None, Some(Fallback::Shed), None);
        let retry_after_secs = match reason {
            Reason::AppAbandoned => limits::ABANDON_RETRY.as_secs() as u32,
            _ => self.rate.secs_for(self.queue.len(), self.now),
        };
        Refusal { reason, retry_after_secs }
    }

    /// Gives free workers to waiting tickets.
    fn dispatch(&mut self) {
        while let Some(ticket) = self.queue.first()
            && let Some(lease) = self.lease(Some(Fallback::Queued))
        {
            self.queue.pop();
            self.counters.granted += 1;
            self.rate.granted(self.now);
            self.outputs.push_back(Output::Grant { ticket, lease });
        }
    }

    fn lease(&mut self, fallback: Option<Fallback>) -> Option<Lease> {
        if self.held || self.inflight >= self.settings.max_inflight {
            return None;
        }
        let index = self.offer.first(&self.order)?;
        let lease = self.lease_of(index);
        self.note(Some(lease.worker), fallback, None);
        Some(lease)
    }

    /// A lease on a worker that is offered.
    fn lease_of(&mut self, index: u32) -> Lease {
        self.offer.remove(&mut self.slots, index);
        let slot = &mut self.slots[index as usize];
        slot.inflight += 1;
        let worker = slot.worker;
        self.inflight += 1;
        self.add_offer(index, false);
        self.last_serial += 1;
        Lease { worker, slot: index, serial: self.last_serial, abandoned: false }
    }

    fn end(&mut self, lease: Lease) {
        let Some(index) = self.index_of(&lease) else { return };
        let slot = &self.slots[index as usize];
        if is_offered(slot, self.settings.concurrency) {
            self.offer.remove(&mut self.slots, index);
        }
        let slot = &mut self.slots[index as usize];
        slot.inflight -= 1;
        slot.abandoned -= u32::from(lease.abandoned);
        self.inflight -= 1;
        if slot.state == State::Draining && slot.is_idle() {
            self.outputs.push_back(Output::Idle { worker: slot.worker });
        }
        self.add_offer(index, true);
    }

    fn add_offer(&mut self, index: u32, freed: bool) {
        if is_offered(&self.slots[index as usize], self.settings.concurrency) {
            self.offer.add(&mut self.slots, index, freed);
        }
    }

    /// A pause in force is not lengthened: what the worker refuses now was sent before it began.
    fn pause(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        if slot.state != State::Ready {
            return;
        }
        if is_offered(slot, self.settings.concurrency) {
            self.offer.remove(&mut self.slots, index);
        }
        self.slots[index as usize].state = State::Paused;
        self.pauses.begin(&mut self.slots, index, self.now);
    }

    fn resume(&mut self, index: u32) {
        self.pauses.end(&mut self.slots, index);
        self.slots[index as usize].state = State::Ready;
        self.add_offer(index, false);
    }

    /// False when the worker is retired already.
    fn drain(&mut self, index: u32) -> bool {
        match self.slots[index as usize].state {
            State::Draining | State::Vacant => return false,
            State::Paused => self.pauses.end(&mut self.slots, index),
            State::Ready => {
                if is_offered(&self.slots[index as usize], self.settings.concurrency) {
                    self.offer.remove(&mut self.slots, index);
                }
            }
        }
        self.slots[index as usize].state = State::Draining;
        self.ready_count -= 1;
        true
    }

    /// Makes the whole offer anew, in the order of ids.
    fn offer_all_again(&mut self) {
        self.offer.restart(&mut self.slots, self.settings.select);
        self.number();
        for position in 0..self.order.len() {
            self.add_offer(self.order[position], false);
        }
    }

    fn number(&mut self) {
        for (rank, index) in self.order.iter().enumerate() {
            self.slots[*index as usize].rank = rank as u32;
        }
    }

    fn index_of(&self, lease: &Lease) -> Option<u32> {
        let slot = self.slots.get(lease.slot as usize)?;
        (slot.worker == lease.worker && slot.state != State::Vacant).then_some(lease.slot)
    }

    fn find(&self, worker: WorkerId) -> Result<usize, usize> {
        self.order.binary_search_by_key(&worker, |index| self.slots[*index as usize].worker)
    }

    fn note(&mut self, worker: Option<WorkerId>, fallback: Option<Fallback>, at: Option<u32>) {
        let select = self.settings.select;
        self.counters.decisions.add(select, fallback);
        self.choice = Some(Choice { worker, select, fallback, queue_position: at });
    }

    fn hear(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    #[inline]
    fn check(&self) {
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }
}

struct Refusal {
    reason: Reason,
    retry_after_secs: u32,
}

impl From<Refusal> for Decision {
    fn from(Refusal { reason, retry_after_secs }: Refusal) -> Self {
        Self::Shed { reason, retry_after_secs }
    }
}

fn is_offered(slot: &Slot, concurrency: u32) -> bool {
    slot.state == State::Ready && slot.inflight < concurrency
}

fn sane(settings: PoolSettings) -> PoolSettings {
    PoolSettings {
        concurrency: settings.concurrency.max(1),
        max_inflight: settings.max_inflight.max(1),
        ..settings
    }
}

/// Room for outputs made at once; outputs are drained after every call, so few wait.
const OUTPUT_ROOM_COUNT: usize = 64;
