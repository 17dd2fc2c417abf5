//! Counters: one shard a loop, written by its loop alone, added up on reading.

use rip::observe::counter::{COUNTER_COUNT, Counter, Counters};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of all loops, and of who accepts for them.
pub struct Stats {
    shards: Vec<Shard>,
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
        Self { shards: (0..=loops.max(1)).map(|_| zero()).collect() }
    }

    /// The shard of loop `index`.
    pub fn shard(&self, index: usize) -> &Shard {
        &self.shards[index]
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
