//! Counters: one shard a loop, written by its loop alone, added up on reading.

use super::tallies::LoopTally;
use rip::observe::counter::{COUNTER_COUNT, Counter, Counters};
use rip::observe::tally::Tally;
use rip::time::Instant;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of all loops, and of who accepts for them.
pub struct Stats {
    shards: Vec<Shard>,
    tallies: Vec<LoopTally>,
}

/// The counters of one thread, on cache lines of their own.
#[repr(align(128))]
pub struct Shard {
    numbers: [AtomicU64; COUNTER_COUNT],
}

impl Shard {
    /// Adds `amount`. Must be called by the shard's own thread only: it is a load and a store.
    pub fn add(&self, counter: Counter, amount: u64) {
        let number = &self.numbers[counter.index()];
        number.store(number.load(Relaxed).wrapping_add(amount), Relaxed);
    }
}

impl Stats {
    /// Zero for each of `loops` loops, at least one, and for the acceptor.
    pub fn new(loops: usize) -> Self {
        let zero = || Shard { numbers: [const { AtomicU64::new(0) }; COUNTER_COUNT] };
        let loops = loops.max(1);
        Self {
            shards: (0..=loops).map(|_| zero()).collect(),
            tallies: (0..loops).map(|_| LoopTally::new()).collect(),
        }
    }

    /// The shard of loop `index`.
    pub fn shard(&self, index: usize) -> &Shard {
        &self.shards[index]
    }

    /// The exchanges of loop `index`.
    pub fn tally(&self, index: usize) -> &LoopTally {
        &self.tallies[index]
    }

    /// The exchanges of all loops, and those of the minute before `now`.
    pub fn read_tallies(&self, now: Instant) -> Tally {
        let mut sums = Tally::default();
        self.tallies.iter().for_each(|tally| tally.read(now, &mut sums));
        sums
    }

    /// The shard of whoever accepts: a thread of its own, or the only loop.
    pub fn acceptor(&self) -> &Shard {
        &self.shards[self.shards.len() - 1]
    }

    /// The sums over all of them.
    pub fn read(&self) -> Counters {
        let mut sums = Counters::new();
        for shard in &self.shards {
            for (index, number) in shard.numbers.iter().enumerate() {
                sums.add_at(index, number.load(Relaxed));
            }
        }
        sums
    }
}
