//! Every crew of the master: one for each app, and for a moment two where one takes the place of
//! another.

use super::crew::{Crew, Gear, News, Watched};
use super::workshop::Workshop;
use crate::reactor::clock::Clock;
use crate::shared::pools::AppPool;
use rip::contract::app::AppDescriptor;
use rip::ids::{Generation, PoolNumber, WorkerId};
use rip::supervise::WorkerIds;
use rip::time::Instant;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The crews by the numbers of their pools.
pub struct Crews {
    crews: BTreeMap<PoolNumber, Crew>,
    gear: Gear,
    ids: WorkerIds,
    next: PoolNumber,
}

impl Crews {
    /// None yet.
    pub fn new(gear: Gear) -> Self {
        let (crews, ids) = (BTreeMap::new(), WorkerIds::default());
        Self { crews, gear, ids, next: PoolNumber(0) }
    }

    /// A crew for `pool`, which is `app`'s and has none yet; the next [`Self::settle`] starts its
    /// workers with the code called `generation`.
    ///
    /// # Errors
    /// When the system refuses another handle of the event loop, or random numbers.
    pub fn found(
        &mut self,
        pool: Arc<AppPool>,
        app: AppDescriptor,
        generation: Generation,
        urls: Vec<String>,
        now: Instant,
    ) -> io::Result<()> {
        let number = pool.number;
        let crew = Crew::new(pool, app, generation, urls, self.gear.try_clone()?, now)?;
        self.crews.insert(number, crew);
        Ok(())
    }

    /// The number that [`Self::reserve`] gives out next.
    pub fn next_number(&self) -> PoolNumber {
        self.next
    }

    /// Numbers for `count` pools, from this one on. Each is given out once.
    pub fn reserve(&mut self, count: usize) -> PoolNumber {
        let first = self.next;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.next = PoolNumber(first.0.saturating_add(count));
        first
    }

    /// The crew of a pool.
    pub fn get(&self, pool: PoolNumber) -> Option<&Crew> {
        self.crews.get(&pool)
    }

    /// The crew of a pool.
    pub fn get_mut(&mut self, pool: PoolNumber) -> Option<&mut Crew> {
        self.crews.get_mut(&pool)
    }

    /// The crew a worker belongs to.
    pub fn of_worker(&mut self, worker: WorkerId) -> Option<&mut Crew> {
        self.crews.values_mut().find(|crew| crew.has(worker))
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Crew> {
        self.crews.values()
    }

    /// All of them, by number.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Crew> {
        self.crews.values_mut()
    }

    /// Whether `pid` is one of our shims.
    pub fn owns(&self, pid: u32) -> bool {
        self.iter().any(|crew| crew.owns(pid))
    }

    /// No process is left.
    pub fn is_gone(&self) -> bool {
        self.iter().all(Crew::is_gone)
    }

    /// Takes a crew out whose last process has ended.
    pub fn disband(&mut self, pool: PoolNumber) {
        debug_assert!(self.get(pool).is_none_or(Crew::is_gone));
        self.crews.remove(&pool);
    }

    /// Lets every crew act on what has become known.
    pub fn settle(&mut self, shop: &Workshop, clock: &Clock, news: &mut Vec<(PoolNumber, News)>) {
        let mut own = Vec::new();
        for (pool, crew) in &mut self.crews {
            crew.settle(&mut self.ids, shop, clock, &mut own);
            news.extend(own.drain(..).map(|news| (*pool, news)));
        }
    }

    /// Carries out what a worker's crew has decided so far.
    pub fn carry_out(
        &mut self,
        worker: WorkerId,
        shop: &Workshop,
        clock: &Clock,
        news: &mut Vec<(PoolNumber, News)>,
    ) {
        let Some(crew) = self.of_worker(worker) else { return };
        let (pool, mut own) = (crew.pool.number, Vec::new());
        crew.carry_out(shop, clock, &mut own);
        news.extend(own.into_iter().map(|news| (pool, news)));
    }

    /// When [`Self::settle`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.iter().filter_map(Crew::next_deadline).min()
    }

    /// Something that is watched for a worker has become readable.
    pub fn ready(&mut self, watched: Watched, clock: &Clock) {
        if let Some(crew) = self.of_worker(watched.worker()) {
            crew.ready(watched, clock);
        }
    }
}
