//! Which of the workers that could take a request is chosen.
//!
//! The newest generation first; within it the fewest in flight; among those the most recently
//! freed (`lifo`, warm caches) or the lowest id (`least-inflight`).

use super::bitset::BitSet;
use super::list::List;
use super::worker::{Slot, State};
use crate::contract::app::Select;
use crate::ids::Generation;

/// The offered workers in the order of choice. Choosing, adding and taking out look at a constant
/// number of words, whatever the number of workers.
#[derive(Debug)]
pub(super) struct Offer {
    select: Select,
    /// Newest generation first; one for each generation that has a worker in the pool.
    bands: Vec<Band>,
}

impl Offer {
    pub(super) fn new(select: Select) -> Self {
        Self { select, bands: Vec::new() }
    }

    /// A worker of `generation` joined the pool.
    pub(super) fn enlist(&mut self, generation: Generation) {
        let position = self.bands.partition_point(|band| band.generation > generation);
        match self.bands.get_mut(position) {
            Some(band) if band.generation == generation => band.worker_count += 1,
            _ => self.bands.insert(position, Band::new(generation)),
        }
    }

    /// A worker of `generation`, not offered any more, left the pool.
    pub(super) fn discharge(&mut self, generation: Generation) {
        let Some(position) = self.position(generation) else { return };
        self.bands[position].worker_count -= 1;
        if self.bands[position].worker_count == 0 {
            self.bands.remove(position);
        }
    }

    /// Offers `index`, which is not offered. `freed`: it has just given a lease back, which makes
    /// it the first choice among its equals under `lifo`; otherwise it becomes the last.
    pub(super) fn add(&mut self, slots: &mut [Slot], index: u32, freed: bool) {
        let slot = &slots[index as usize];
        let (level, rank) = (slot.inflight, slot.rank);
        let Some(position) = self.position(slot.generation) else { return };
        let band = &mut self.bands[position];
        band.occupied.insert(level);
        if level as usize >= band.levels.len() {
            band.levels.resize_with(level as usize + 1, Level::default);
        }
        let found = &mut band.levels[level as usize];
        match self.select {
            Select::LeastInflight => found.ranks.insert(rank),
            Select::Lifo if freed => found.stack.push_front(slots, index),
            Select::Lifo => found.stack.push_back(slots, index),
        }
    }

    /// Takes back the offer of `index`, which is offered with the in-flight count it has now.
    pub(super) fn remove(&mut self, slots: &mut [Slot], index: u32) {
        let slot = &slots[index as usize];
        let (level, rank) = (slot.inflight, slot.rank);
        let Some(position) = self.position(slot.generation) else { return };
        let band = &mut self.bands[position];
        let found = &mut band.levels[level as usize];
        let empty = match self.select {
            Select::LeastInflight => {
                found.ranks.remove(rank);
                found.ranks.is_empty()
            }
            Select::Lifo => {
                found.stack.unlink(slots, index);
                found.stack.is_empty()
            }
        };
        if empty {
            band.occupied.remove(level);
        }
    }

    /// The worker to be chosen now. `order` lists all workers by id.
    pub(super) fn first(&self, order: &[u32]) -> Option<u32> {
        let band = self.bands.iter().find(|band| !band.occupied.is_empty())?;
        let level = &band.levels[band.occupied.first()? as usize];
        match self.select {
            Select::LeastInflight => Some(order[level.ranks.first()? as usize]),
            Select::Lifo => level.stack.first(),
        }
    }

    /// True when no worker is offered.
    pub(super) fn is_empty(&self) -> bool {
        self.bands.iter().all(|band| band.occupied.is_empty())
    }

    /// Withdraws every offer and follows `select` from now on; the caller adds them again.
    pub(super) fn restart(&mut self, slots: &mut [Slot], select: Select) {
        for band in &mut self.bands {
            band.occupied.clear();
            for level in &mut band.levels {
                level.ranks.clear();
                while level.stack.pop_front(slots).is_some() {}
            }
        }
        self.select = select;
    }

    /// Panics unless exactly the workers of `offered` are offered, each at its place.
    pub(super) fn check_invariants(&self, slots: &[Slot], offered: impl Fn(&Slot) -> bool) {
        let mut member_count = 0;
        for band in &self.bands {
            let members = slots
                .iter()
                .filter(|slot| slot.state != State::Vacant && slot.generation == band.generation);
            assert_eq!(members.count(), band.worker_count as usize, "a generation is miscounted");
            for (inflight, level) in band.levels.iter().enumerate() {
                let count = level.count(slots, |slot| {
                    slot.generation == band.generation && slot.inflight as usize == inflight
                });
                assert_eq!(count > 0, band.occupied.contains(inflight as u32), "a level is hidden");
                member_count += count;
            }
        }
        let expected = slots.iter().filter(|slot| offered(slot));
        for slot in expected.clone().filter(|_| self.select == Select::LeastInflight) {
            let level = self
                .position(slot.generation)
                .and_then(|position| self.bands[position].levels.get(slot.inflight as usize));
            assert!(level.is_some_and(|level| level.ranks.contains(slot.rank)), "{slot:?} is lost");
        }
        assert_eq!(expected.count(), member_count, "the offer is not what it should be");
    }

    fn position(&self, generation: Generation) -> Option<usize> {
        self.bands.iter().position(|band| band.generation == generation)
    }
}

/// The offered workers of one generation.
#[derive(Debug)]
struct Band {
    generation: Generation,
    /// Workers of this generation in the pool, offered or not.
    worker_count: u32,
    /// Indexed by in-flight count; made when first needed.
    levels: Vec<Level>,
    /// The levels that have a worker.
    occupied: BitSet,
}

impl Band {
    fn new(generation: Generation) -> Self {
        Self { generation, worker_count: 1, levels: Vec::new(), occupied: BitSet::default() }
    }
}

/// The offered workers with the same number in flight; only the current rule's half is used.
#[derive(Debug, Default)]
struct Level {
    stack: List,
    ranks: BitSet,
}

impl Level {
    /// Members; panics unless every one in the stack is at its place.
    fn count(&self, slots: &[Slot], belongs: impl Fn(&Slot) -> bool) -> usize {
        let stacked = self.stack.iter(slots).inspect(|index| {
            assert!(belongs(&slots[*index as usize]), "a worker stands in another's stack");
        });
        stacked.count() + self.ranks.count()
    }
}
