//! The users of a pool, their mail, and the workers that come and go.

use super::model::{Model, Said, Told};
use crate::seed::Dice;
use rip::contract::app::Select;
use rip::contract::worker::WorkerState;
use rip::ids::{AppId, Generation, LoopIndex, WorkerId};
use rip::pool::{Bounce, Decision, Lease, Outcome, Output, Pool, PoolSettings, TicketId};
use rip::time::Instant;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// One app's life. Everything is said to the pool and to the model, and what they answer is
/// compared.
pub struct World {
    pool: Pool,
    model: Model,
    weights: Vec<(Deed, u64)>,
    now: Instant,
    heard: Instant,
    exchanges: Vec<Exchange>,
    mail: [VecDeque<Letter>; LOOP_COUNT],
    abandoned: Vec<Lease>,
    probes: Vec<Lease>,
    /// Where each wait stands: exactly one end for each.
    waits: HashMap<TicketId, Wait>,
    idle: Vec<WorkerId>,
    unborn: Vec<WorkerId>,
    last_worker: u64,
    last_key: u64,
    generation: u64,
}

impl World {
    /// A world with a temper of its own: some deeds are rare in it and some never happen.
    pub fn new(dice: &mut Dice) -> Self {
        let settings = settings(dice);
        let temper = DEEDS.map(|(deed, weight)| (deed, weight * dice.between(0, 3)));
        let mut world = Self {
            pool: Pool::new(settings.clone()),
            model: Model::new(settings),
            weights: temper.into_iter().chain(ALWAYS).collect(),
            now: Instant::from_millis(1000),
            heard: Instant::default(),
            exchanges: Vec::new(),
            mail: Default::default(),
            abandoned: Vec::new(),
            probes: Vec::new(),
            waits: HashMap::new(),
            idle: Vec::new(),
            unborn: Vec::new(),
            last_worker: 0,
            last_key: 0,
            generation: 1,
        };
        for _ in 0..dice.between(0, 8) {
            world.join(dice);
        }
        world
    }

    /// Something happens.
    pub fn step(&mut self, dice: &mut Dice) {
        match dice.weighted(&self.weights) {
            Deed::Abandon => self.abandon(dice),
            Deed::Bounce => self.bounce(dice),
            Deed::Cancel => self.cancel(dice),
            Deed::Configure => self.configure(dice),
            Deed::Crash => self.crash(dice),
            Deed::Deliver => self.deliver(dice),
            Deed::Finish => self.finish(dice),
            Deed::EndProbe => self.end_probe(),
            Deed::Hold => self.hold(dice.one_in(3)),
            Deed::Probe => self.probe(dice),
            Deed::GiveUp => self.set_abandoned(dice.one_in(4)),
            Deed::Join => self.join(dice),
            Deed::LateEnd => self.end_late(dice),
            Deed::Pass => self.pass_time(dice),
            Deed::Reap => self.reap(),
            Deed::Rejoin => self.rejoin(dice),
            Deed::Request => self.request(dice),
            Deed::Retire => self.retire(dice),
            Deed::Retry => self.retry(dice),
        }
        self.check();
    }

    /// Everything calms down: whoever waits is served, and nothing is left over.
    pub fn settle(&mut self) {
        self.set_abandoned(false);
        self.hold(false);
        for _ in 0..SETTLE_ROUND_COUNT {
            if self.pool.ready_count() == 0 {
                self.last_worker += 1;
                self.join_worker(WorkerId(self.last_worker));
            }
            for index in 0..LOOP_COUNT {
                while let Some(letter) = self.mail[index].pop_front() {
                    self.receive(letter);
                }
            }
            while let Some(lease) = self.abandoned.pop() {
                self.release(lease, Outcome::Finished);
            }
            while !self.probes.is_empty() {
                self.end_probe();
            }
            while let Some(lease) = self.take_holding(0) {
                self.release(lease, Outcome::Finished);
            }
            self.now += Duration::from_millis(50);
            self.handle_timeout();
            self.check();
            if self.exchanges.is_empty() && self.mail.iter().all(VecDeque::is_empty) {
                break;
            }
        }
        assert!(self.exchanges.is_empty(), "somebody starved: {:?}", self.exchanges);
        assert!(self.waits.is_empty(), "a wait has no end");
        assert_eq!(self.pool.inflight(), 0);
        assert_eq!(self.pool.queue_depth(), 0);
        assert!(self.pool.workers().all(|worker| worker.inflight == 0 && worker.abandoned == 0));
    }

    fn request(&mut self, dice: &mut Dice) {
        let burst = if dice.one_in(6) { dice.between(2, 12) } else { 1 };
        for _ in 0..burst {
            self.last_key += 1;
            let loop_index = LoopIndex(dice.between(0, LOOP_COUNT as u64 - 1) as u16);
            let ticket = TicketId { loop_index, key: self.last_key };
            let now = self.hear(dice);
            let free = self.model.choice();
            let decision = self.pool.request(ticket, now);
            let said = self.model.request(ticket);
            if let Decision::Assigned(lease) = &decision {
                assert_eq!(Some(lease.worker()), free, "not the first choice");
            }
            self.answered(Exchange { ticket, bounces: 0, lease: None }, decision, said);
        }
    }

    fn bounce(&mut self, dice: &mut Dice) {
        let Some((mut exchange, lease)) = self.take_exchange(dice) else { return };
        let bounce = if dice.one_in(5) { Bounce::Draining } else { Bounce::Busy };
        let now = self.hear(dice);
        let (worker, ticket) = (lease.worker(), exchange.ticket);
        let decision = self.pool.bounce(lease, ticket, bounce, exchange.bounces, now);
        let said = self.model.bounce(worker, ticket, bounce, exchange.bounces, self.heard);
        exchange.bounces += 1;
        self.answered(exchange, decision, said);
    }

    fn retry(&mut self, dice: &mut Dice) {
        let Some((exchange, lease)) = self.take_exchange(dice) else { return };
        let now = self.hear(dice);
        let (worker, ticket) = (lease.worker(), exchange.ticket);
        let others = self
            .pool
            .workers()
            .any(|other| other.worker != worker && other.state == WorkerState::Ready);
        let decision = self.pool.retry(lease, ticket, now);
        if let Decision::Assigned(lease) = &decision {
            assert!(!others || lease.worker() != worker, "sent to the same worker again");
        }
        let said = self.model.retry(worker, ticket, self.heard);
        self.answered(exchange, decision, said);
    }

    fn cancel(&mut self, dice: &mut Dice) {
        let waiting: Vec<_> =
            (0..self.exchanges.len()).filter(|at| self.exchanges[*at].lease.is_none()).collect();
        let Some(choice) = dice.index(waiting.len()) else { return };
        let ticket = self.exchanges.remove(waiting[choice]).ticket;
        let now = self.hear(dice);
        let waited = self.pool.cancel(ticket, now);
        assert_eq!(waited, self.model.cancel(ticket));
        assert_eq!(waited, self.waits[&ticket] == Wait::Queued);
        if waited {
            self.waits.remove(&ticket);
        }
    }

    fn finish(&mut self, dice: &mut Dice) {
        let Some((_, lease)) = self.take_exchange(dice) else { return };
        let outcome = if dice.one_in(4) { Outcome::Failed } else { Outcome::Finished };
        self.hear(dice);
        self.release(lease, outcome);
    }

    fn abandon(&mut self, dice: &mut Dice) {
        let Some((_, mut lease)) = self.take_exchange(dice) else { return };
        self.pool.abandon(&mut lease);
        self.pool.abandon(&mut lease);
        self.abandoned.push(lease);
    }

    fn end_late(&mut self, dice: &mut Dice) {
        let Some(index) = dice.index(self.abandoned.len()) else { return };
        let lease = self.abandoned.swap_remove(index);
        let outcome = if dice.one_in(2) { Outcome::Failed } else { Outcome::Finished };
        self.release(lease, outcome);
    }

    fn deliver(&mut self, dice: &mut Dice) {
        let index = dice.between(0, LOOP_COUNT as u64 - 1) as usize;
        for _ in 0..dice.between(1, 5) {
            let Some(letter) = self.mail[index].pop_front() else { return };
            self.receive(letter);
        }
    }

    fn receive(&mut self, letter: Letter) {
        let (ticket, lease) = match letter {
            Letter::Grant(ticket, lease) => (ticket, Some(lease)),
            Letter::Refused(ticket) => (ticket, None),
        };
        assert_eq!(self.waits.remove(&ticket), Some(Wait::Answered));
        let exchange = self.exchanges.iter().position(|exchange| exchange.ticket == ticket);
        match (exchange, lease) {
            (Some(index), Some(lease)) => self.exchanges[index].lease = Some(lease),
            (Some(index), None) => drop(self.exchanges.remove(index)),
            (None, Some(lease)) => self.release(lease, Outcome::Unused),
            (None, None) => {}
        }
    }

    fn join(&mut self, dice: &mut Dice) {
        while self.unborn.len() < 4 {
            self.last_worker += 1;
            self.unborn.push(WorkerId(self.last_worker));
        }
        if self.model.workers.len() >= WORKER_COUNT {
            return;
        }
        self.generation += u64::from(dice.one_in(6));
        let index = dice.between(0, 3) as usize;
        let worker = self.unborn.swap_remove(index);
        self.hear(dice);
        self.join_worker(worker);
    }

    fn join_worker(&mut self, worker: WorkerId) {
        self.pool.join(worker, Generation(self.generation), self.heard);
        self.model.join(worker, Generation(self.generation));
        self.listen();
    }

    fn rejoin(&mut self, dice: &mut Dice) {
        if let Some(worker) = self.any_worker(dice) {
            self.join_worker(worker);
        }
    }

    fn hold(&mut self, held: bool) {
        self.pool.hold(held, self.heard);
        self.model.hold(held);
        self.listen();
        assert_eq!(self.pool.is_held(), held);
    }

    fn probe(&mut self, dice: &mut Dice) {
        let Some(worker) = self.any_worker(dice) else { return };
        let lease = self.pool.probe(worker, self.heard);
        assert_eq!(lease.is_some(), self.model.probe(worker));
        if let Some(lease) = lease {
            assert_eq!(lease.worker(), worker);
            self.check_lease(&lease);
            self.probes.push(lease);
        }
        self.listen();
    }

    fn end_probe(&mut self) {
        if let Some(lease) = self.probes.pop() {
            self.release(lease, Outcome::Unused);
        }
    }

    fn retire(&mut self, dice: &mut Dice) {
        let Some(worker) = self.any_worker(dice) else { return };
        self.pool.retire(worker, self.heard);
        self.model.retire(worker);
        self.listen();
    }

    fn crash(&mut self, dice: &mut Dice) {
        if let Some(worker) = self.any_worker(dice) {
            self.remove(worker);
        }
    }

    fn reap(&mut self) {
        if let Some(worker) = self.idle.pop() {
            let view = self.pool.worker(worker);
            assert!(view.is_none_or(|view| view.inflight == 0), "told idle while busy");
            self.remove(worker);
        }
    }

    fn remove(&mut self, worker: WorkerId) {
        self.pool.remove(worker, self.heard);
        self.model.remove(worker);
        self.listen();
        assert_eq!(self.pool.worker(worker), None);
    }

    fn set_abandoned(&mut self, abandoned: bool) {
        self.pool.set_abandoned(abandoned, self.heard);
        self.model.set_abandoned(abandoned);
        self.listen();
    }

    fn configure(&mut self, dice: &mut Dice) {
        let settings = settings(dice);
        let now = self.hear(dice);
        self.pool.configure(settings.clone(), now);
        self.model.configure(settings);
        self.listen();
    }

    fn pass_time(&mut self, dice: &mut Dice) {
        self.now += Duration::from_millis(dice.between(0, 40));
        // Now and then the loop is late, or wakes for nothing.
        let is_due = self.pool.next_deadline().is_some_and(|at| at <= self.now);
        if is_due != dice.one_in(8) {
            self.handle_timeout();
        }
    }

    fn handle_timeout(&mut self) {
        self.heard = self.heard.max(self.now);
        self.pool.handle_timeout(self.now);
        self.model.handle_timeout(self.heard);
        assert!(self.pool.next_deadline().is_none_or(|at| at > self.now), "a pause never ends");
        self.listen();
    }

    fn release(&mut self, lease: Lease, outcome: Outcome) {
        let worker = lease.worker();
        self.pool.release(lease, outcome, self.heard);
        self.model.release(worker, outcome, self.heard);
        self.listen();
    }

    /// Compares a decision and lets the exchange go on with it.
    fn answered(&mut self, mut exchange: Exchange, decision: Decision, said: Said) {
        let heard = match &decision {
            Decision::Assigned(lease) => Said::Assigned(lease.worker()),
            Decision::Queued { position } => Said::Queued(*position),
            Decision::Shed { reason, retry_after_secs } => {
                assert!(*retry_after_secs >= 1);
                Said::Shed(*reason)
            }
        };
        assert_eq!(heard, said);
        match decision {
            Decision::Assigned(lease) => {
                self.check_lease(&lease);
                exchange.lease = Some(lease);
                self.exchanges.push(exchange);
            }
            Decision::Queued { .. } => {
                let before = self.waits.insert(exchange.ticket, Wait::Queued);
                assert_eq!(before, None);
                self.exchanges.push(exchange);
            }
            Decision::Shed { .. } => {}
        }
        self.listen();
    }

    /// Compares what the pool has to tell and puts it into the mail.
    fn listen(&mut self) {
        let mut told = Vec::new();
        while let Some(output) = self.pool.poll_output() {
            match output {
                Output::Grant { ticket, lease } => {
                    told.push(Told::Grant(ticket, lease.worker()));
                    self.check_lease(&lease);
                    self.post(ticket, Letter::Grant(ticket, lease));
                }
                Output::Idle { worker } => {
                    told.push(Told::Idle(worker));
                    self.idle.push(worker);
                }
                Output::Refused { ticket, reason, retry_after_secs } => {
                    assert!(retry_after_secs >= 1);
                    told.push(Told::Refused(ticket, reason));
                    self.post(ticket, Letter::Refused(ticket));
                }
                Output::Retired { worker } => told.push(Told::Retired(worker)),
            }
        }
        assert_eq!(told, std::mem::take(&mut self.model.told));
    }

    fn post(&mut self, ticket: TicketId, letter: Letter) {
        let before = self.waits.insert(ticket, Wait::Answered);
        assert_eq!(before, Some(Wait::Queued), "{ticket:?} got a second end");
        self.mail[usize::from(ticket.loop_index.0)].push_back(letter);
    }

    fn check_lease(&self, lease: &Lease) {
        let view = self.pool.worker(lease.worker()).expect("the worker of a new lease is there");
        assert_eq!(view.state, WorkerState::Ready, "a retired worker got a lease");
        assert!(!view.paused, "a paused worker got a lease");
        assert!(view.inflight <= self.pool.settings().concurrency, "a worker got too many leases");
        assert!((lease.slot() as usize) < WORKER_COUNT + 2, "slots are not dense");
    }

    fn check(&self) {
        self.pool.check_invariants();
        assert_eq!(self.pool.queue_depth(), self.model.depth());
        assert!(self.model.depth() == 0 || self.model.choice().is_none(), "waiting in vain");
        assert_eq!(self.pool.is_abandoned(), self.model.is_abandoned);
        assert_eq!(self.pool.next_deadline(), self.model.next_deadline());
        assert_eq!(self.pool.workers().count(), self.model.workers.len());
        for (view, expected) in self.pool.workers().zip(&self.model.workers) {
            assert_eq!((view.worker, view.generation), (expected.id, expected.generation));
            assert_eq!((view.inflight, view.requests), (expected.inflight, expected.requests));
            assert_eq!(view.state == WorkerState::Draining, expected.is_draining);
            assert_eq!(view.paused, expected.is_paused());
            assert!(self.pool.worker(view.worker) == Some(view));
        }
        assert_eq!(self.pool.inflight() as usize, self.leases_in_use(), "leases drifted");
    }

    /// Held by exchanges, in the mail, or abandoned, on workers that exist.
    fn leases_in_use(&self) -> usize {
        let mailed = self.mail.iter().flatten().filter_map(|letter| match letter {
            Letter::Grant(_, lease) => Some(lease),
            Letter::Refused(_) => None,
        });
        let held = self.exchanges.iter().filter_map(|exchange| exchange.lease.as_ref());
        let all = mailed.chain(held).chain(&self.abandoned).chain(&self.probes);
        all.filter(|lease| self.model.worker(lease.worker()).is_some()).count()
    }

    /// Another loop's clock may be a little behind.
    fn hear(&mut self, dice: &mut Dice) -> Instant {
        let stamp = self.now - Duration::from_millis(dice.between(0, 3));
        self.heard = self.heard.max(stamp);
        stamp
    }

    fn any_worker(&self, dice: &mut Dice) -> Option<WorkerId> {
        dice.index(self.model.workers.len()).map(|index| self.model.workers[index].id)
    }

    fn take_exchange(&mut self, dice: &mut Dice) -> Option<(Exchange, Lease)> {
        let holding: Vec<_> =
            (0..self.exchanges.len()).filter(|at| self.exchanges[*at].lease.is_some()).collect();
        let choice = dice.index(holding.len())?;
        let mut exchange = self.exchanges.remove(holding[choice]);
        let lease = exchange.lease.take()?;
        Some((exchange, lease))
    }

    fn take_holding(&mut self, from: usize) -> Option<Lease> {
        let holding =
            self.exchanges[from..].iter().position(|exchange| exchange.lease.is_some())?;
        self.exchanges.remove(from + holding).lease
    }
}

fn settings(dice: &mut Dice) -> PoolSettings {
    let concurrency = if dice.one_in(2) { 1 } else { dice.between(1, 4) as u32 };
    let max_inflight = if dice.one_in(4) { dice.between(1, 8) as u32 } else { 1000 };
    PoolSettings {
        app: AppId::new("api"),
        concurrency,
        max_inflight,
        max_queue: dice.between(0, 40) as u32,
        select: if dice.one_in(2) { Select::Lifo } else { Select::LeastInflight },
    }
}

#[derive(Debug)]
struct Exchange {
    ticket: TicketId,
    bounces: u32,
    lease: Option<Lease>,
}

enum Letter {
    Grant(TicketId, Lease),
    Refused(TicketId),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wait {
    /// In the pool's queue.
    Queued,
    /// Its answer is in the mail.
    Answered,
}

#[derive(Clone, Copy)]
enum Deed {
    Abandon,
    Bounce,
    Cancel,
    Configure,
    Crash,
    Deliver,
    EndProbe,
    Finish,
    GiveUp,
    Hold,
    Join,
    LateEnd,
    Pass,
    Probe,
    Reap,
    Rejoin,
    Request,
    Retire,
    Retry,
}

/// How often each deed is done in a world of even temper.
const DEEDS: [(Deed, u64); 19] = [
    (Deed::Abandon, 4),
    (Deed::Bounce, 8),
    (Deed::Cancel, 6),
    (Deed::Configure, 1),
    (Deed::Crash, 2),
    (Deed::Deliver, 30),
    (Deed::EndProbe, 6),
    (Deed::Finish, 40),
    (Deed::GiveUp, 1),
    (Deed::Hold, 3),
    (Deed::Join, 5),
    (Deed::LateEnd, 4),
    (Deed::Pass, 10),
    (Deed::Probe, 6),
    (Deed::Reap, 5),
    (Deed::Rejoin, 1),
    (Deed::Request, 20),
    (Deed::Retire, 2),
    (Deed::Retry, 5),
];
/// What no world goes without.
const ALWAYS: [(Deed, u64); 6] = [
    (Deed::Deliver, 15),
    (Deed::Finish, 25),
    (Deed::Join, 3),
    (Deed::LateEnd, 3),
    (Deed::Pass, 5),
    (Deed::Request, 8),
];
const LOOP_COUNT: usize = 3;
const WORKER_COUNT: usize = 16;
const SETTLE_ROUND_COUNT: usize = 500;
