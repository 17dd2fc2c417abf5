//! What the pool should do, said in the plainest way.

use rip::contract::app::Select;
use rip::contract::reason::Reason;
use rip::ids::{Generation, WorkerId};
use rip::limits;
use rip::pool::{Bounce, Outcome, PoolSettings, TicketId};
use rip::time::Instant;
use std::cmp::Reverse;
use std::collections::VecDeque;

/// A decision, by worker instead of by lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    Assigned(WorkerId),
    Queued(u32),
    Shed(Reason),
}

/// An output, by worker instead of by lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    Grant(TicketId, WorkerId),
    Idle(WorkerId),
    Refused(TicketId, Reason),
    Retired(WorkerId),
}

#[derive(Clone, Debug)]
pub struct ModelWorker {
    pub id: WorkerId,
    pub generation: Generation,
    pub inflight: u32,
    pub requests: u64,
    pub is_draining: bool,
    pub paused_until: Option<Instant>,
    pause_count: u32,
    pause_serial: u64,
    /// Under `lifo` the highest is chosen first.
    warmth: i64,
}

pub struct Model {
    pub settings: PoolSettings,
    pub workers: Vec<ModelWorker>,
    pub returned: VecDeque<TicketId>,
    pub waiting: VecDeque<TicketId>,
    pub is_abandoned: bool,
    pub is_held: bool,
    pub told: Vec<Told>,
    warmest: i64,
    coldest: i64,
    last_pause: u64,
}

impl Model {
    pub fn new(settings: PoolSettings) -> Self {
        Self {
            settings,
            workers: Vec::new(),
            returned: VecDeque::new(),
            waiting: VecDeque::new(),
            is_abandoned: false,
            is_held: false,
            told: Vec::new(),
            warmest: 0,
            coldest: 0,
            last_pause: 0,
        }
    }

    pub fn configure(&mut self, settings: PoolSettings) {
        let old = std::mem::replace(&mut self.settings, settings);
        for index in 0..self.workers.len() {
            let worker = &self.workers[index];
            let newly = !worker.has_room(&old) && worker.has_room(&self.settings);
            if newly || old.select != self.settings.select {
                self.cool(index);
            }
        }
        self.dispatch();
    }

    pub fn join(&mut self, id: WorkerId, generation: Generation) {
        if self.index_of(id).is_some() {
            return;
        }
        let position = self.workers.partition_point(|worker| worker.id < id);
        let worker = ModelWorker {
            id,
            generation,
            inflight: 0,
            requests: 0,
            is_draining: false,
            paused_until: None,
            pause_count: 0,
            pause_serial: 0,
            warmth: 0,
        };
        self.workers.insert(position, worker);
        self.cool(position);
        self.is_abandoned = false;
        self.dispatch();
    }

    pub fn retire(&mut self, id: WorkerId) {
        let Some(index) = self.index_of(id) else { return };
        let worker = &mut self.workers[index];
        let was_draining = std::mem::replace(&mut worker.is_draining, true);
        if !was_draining && worker.inflight == 0 {
            self.told.push(Told::Idle(id));
        }
    }

    pub fn remove(&mut self, id: WorkerId) {
        self.workers.retain(|worker| worker.id != id);
        self.dispatch();
    }

    pub fn set_abandoned(&mut self, abandoned: bool) {
        self.is_abandoned = abandoned;
        if abandoned {
            for ticket in self.returned.drain(..).chain(self.waiting.drain(..)) {
                self.told.push(Told::Refused(ticket, Reason::AppAbandoned));
            }
        }
    }

    pub fn hold(&mut self, held: bool) {
        self.is_held = held;
        self.dispatch();
    }

    pub fn probe(&mut self, id: WorkerId) -> bool {
        let Some(index) = self.index_of(id) else { return false };
        let free = self.workers[index].has_room(&self.settings)
            && self.depth() == 0
            && self.inflight() < self.settings.max_inflight;
        if free {
            self.workers[index].inflight += 1;
            self.cool(index);
        }
        free
    }

    pub fn request(&mut self, ticket: TicketId) -> Said {
        if self.is_abandoned {
            return Said::Shed(Reason::AppAbandoned);
        }
        if self.depth() == 0
            && let Some(worker) = self.lease()
        {
            return Said::Assigned(worker);
        }
        if self.depth() >= self.settings.max_queue {
            return Said::Shed(Reason::QueueFull);
        }
        self.waiting.push_back(ticket);
        Said::Queued(self.depth())
    }

    pub fn bounce(
        &mut self,
        worker: WorkerId,
        ticket: TicketId,
        bounce: Bounce,
        bounces_so_far: u32,
        now: Instant,
    ) -> Said {
        if let Some(index) = self.index_of(worker) {
            match bounce {
                Bounce::Busy => self.pause(index, now),
                Bounce::Draining if self.workers[index].is_draining => {}
                Bounce::Draining => {
                    self.workers[index].is_draining = true;
                    self.told.push(Told::Retired(worker));
                }
            }
        }
        self.end(worker);
        if bounces_so_far + 1 >= limits::BOUNCE_COUNT {
            self.dispatch();
            return Said::Shed(Reason::WorkerBusy);
        }
        self.place_returned(ticket)
    }

    pub fn retry(&mut self, worker: WorkerId, ticket: TicketId, now: Instant) -> Said {
        let ready = self.workers.iter().filter(|worker| !worker.is_draining);
        if ready.count() > 1
            && let Some(index) = self.index_of(worker)
        {
            self.pause(index, now);
        }
        self.end(worker);
        self.place_returned(ticket)
    }

    pub fn cancel(&mut self, ticket: TicketId) -> bool {
        let depth = self.depth();
        self.returned.retain(|waiting| *waiting != ticket);
        self.waiting.retain(|waiting| *waiting != ticket);
        self.depth() < depth
    }

    pub fn release(&mut self, worker: WorkerId, outcome: Outcome, now: Instant) {
        if let Some(index) = self.index_of(worker) {
            let worker = &mut self.workers[index];
            worker.requests += u64::from(outcome != Outcome::Unused);
            match outcome {
                Outcome::Finished => {
                    worker.paused_until = None;
                    worker.pause_count = 0;
                }
                Outcome::Failed => self.pause(index, now),
                Outcome::Unused => {}
            }
        }
        self.end(worker);
        self.dispatch();
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        // The shortest pauses are looked at first, each length in the order it began.
        let mut due: Vec<_> = (0..self.workers.len())
            .filter(|index| self.workers[*index].is_paused())
            .filter(|index| self.workers[*index].paused_until <= Some(now))
            .collect();
        due.sort_by_key(|index| {
            let worker = &self.workers[*index];
            (worker.pause_count.min(5), worker.pause_serial)
        });
        for index in due {
            self.workers[index].paused_until = None;
            self.cool(index);
        }
        self.dispatch();
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let paused = self.workers.iter().filter(|worker| worker.is_paused());
        paused.filter_map(|worker| worker.paused_until).min()
    }

    pub fn depth(&self) -> u32 {
        (self.returned.len() + self.waiting.len()) as u32
    }

    pub fn inflight(&self) -> u32 {
        self.workers.iter().map(|worker| worker.inflight).sum()
    }

    pub fn worker(&self, id: WorkerId) -> Option<&ModelWorker> {
        self.workers.iter().find(|worker| worker.id == id)
    }

    /// The worker that would be chosen now.
    pub fn choice(&self) -> Option<WorkerId> {
        if self.is_held || self.inflight() >= self.settings.max_inflight {
            return None;
        }
        let free = self.workers.iter().filter(|worker| worker.has_room(&self.settings));
        let best = free.max_by_key(|worker| {
            let tie = match self.settings.select {
                Select::LeastInflight => -(worker.id.0 as i64),
                Select::Lifo => worker.warmth,
            };
            (worker.generation, Reverse(worker.inflight), tie)
        })?;
        Some(best.id)
    }

    fn place_returned(&mut self, ticket: TicketId) -> Said {
        if self.is_abandoned {
            return Said::Shed(Reason::AppAbandoned);
        }
        if self.returned.is_empty()
            && let Some(worker) = self.lease()
        {
            self.dispatch();
            return Said::Assigned(worker);
        }
        self.returned.push_back(ticket);
        let position = self.returned.len() as u32;
        self.dispatch();
        Said::Queued(position)
    }

    fn dispatch(&mut self) {
        while self.depth() > 0
            && let Some(worker) = self.lease()
        {
            let ticket = self.returned.pop_front().or_else(|| self.waiting.pop_front()).unwrap();
            self.told.push(Told::Grant(ticket, worker));
        }
    }

    fn lease(&mut self) -> Option<WorkerId> {
        let id = self.choice()?;
        let index = self.index_of(id)?;
        self.workers[index].inflight += 1;
        self.cool(index);
        Some(id)
    }

    fn end(&mut self, id: WorkerId) {
        let Some(index) = self.index_of(id) else { return };
        self.warmest += 1;
        let worker = &mut self.workers[index];
        worker.inflight -= 1;
        worker.warmth = self.warmest;
        if worker.is_draining && worker.inflight == 0 {
            self.told.push(Told::Idle(id));
        }
    }

    fn pause(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        if worker.is_draining || worker.paused_until.is_some() {
            return;
        }
        let length = limits::BUSY_PAUSE_MIN * (1 << worker.pause_count.min(4));
        worker.pause_count += 1;
        self.last_pause += 1;
        worker.pause_serial = self.last_pause;
        worker.paused_until = Some(now + length.min(limits::BUSY_PAUSE_MAX));
    }

    fn cool(&mut self, index: usize) {
        self.coldest -= 1;
        self.workers[index].warmth = self.coldest;
    }

    fn index_of(&self, id: WorkerId) -> Option<usize> {
        self.workers.iter().position(|worker| worker.id == id)
    }
}

impl ModelWorker {
    pub fn is_paused(&self) -> bool {
        self.paused_until.is_some() && !self.is_draining
    }

    fn has_room(&self, settings: &PoolSettings) -> bool {
        !self.is_draining && self.paused_until.is_none() && self.inflight < settings.concurrency
    }
}
