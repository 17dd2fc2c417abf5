//! What is due and when: a hierarchical timer wheel of 4 ms ticks.
//!
//! Four levels of 64 slots. Level 0 holds what is due within the current block of 64 ticks, each
//! higher level what lies beyond it in slots 64 times as wide; when time reaches such a slot its
//! entries move down. What lies beyond the top level (18 hours) waits there and is placed again.
//!
//! Nothing is ever taken out: the owner forgets (its key no longer finds anybody) or looks at its
//! real deadline when the entry fires and schedules again. So one entry per connection is enough
//! and a request that ends in time costs no timer operation.
//!
//! Invariants: no entry fires before its moment; it fires at the first [`Wheel::expire`] not
//! earlier than its moment rounded up to a tick; entries fire in order of their ticks.

use rip::time::Instant;
use std::time::Duration;

/// Entries waiting for their moment. `T` is small and `Copy`, mostly a slab's key.
#[derive(Debug)]
pub struct Wheel<T: Copy> {
    levels: [Level<T>; LEVEL_COUNT],
    /// What was already due when it was scheduled.
    due: Vec<T>,
    /// Every slot up to this tick has been emptied.
    tick: u64,
    count: usize,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel whose time begins at `now`; it allocates nothing.
    pub fn new(now: Instant) -> Self {
        Self {
            levels: std::array::from_fn(|_| Level::new()),
            due: Vec::new(),
            tick: now.as_nanos() / TICK_NANOS,
            count: 0,
        }
    }

    /// `entry` comes out of the first [`Wheel::expire`] at or after `at` (rounded up to a tick).
    pub fn schedule(&mut self, entry: T, at: Instant) {
        let tick = at.as_nanos().div_ceil(TICK_NANOS);
        self.count += 1;
        self.place(entry, tick);
    }

    /// Appends to `out` every entry whose moment has come, in order. Time that runs backwards is
    /// ignored.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<T>) {
        let before = out.len();
        let target = now.as_nanos() / TICK_NANOS;
        out.append(&mut self.due);
        while let Some((level, slot, tick)) = self.first_slot() {
            if tick > target {
                break;
            }
            self.tick = tick;
            self.empty_slot(level, slot, out);
        }
        self.tick = self.tick.max(target);
        self.count -= out.len() - before;
        self.check_invariants();
    }

    /// When [`Wheel::expire`] should be called next: never later than the earliest entry's moment,
    /// at times earlier (a slot of a higher level is then merely spread out).
    pub fn next(&self) -> Option<Instant> {
        if !self.due.is_empty() {
            return Some(instant(self.tick));
        }
        self.first_slot().map(|(_, _, tick)| instant(tick))
    }

    /// How many entries wait, those included whose owner has forgotten them.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn place(&mut self, entry: T, tick: u64) {
        if tick <= self.tick {
            self.due.push(entry);
            return;
        }
        // The top level turns round: what is nearly a whole turn away would meet the slot that is
        // being emptied, so it waits one slot before that.
        let reach = self.tick.saturating_add(SLOT_COUNT.pow(LEVEL_COUNT as u32) - TOP_WIDTH);
        let position = tick.min(reach);
        let level = level_of(self.tick, position);
        self.levels[level].push(slot_of(level, position), entry, tick);
    }

    /// The occupied slot that time reaches first, and the tick at which it does. The lowest
    /// occupied level has it, for every level lies wholly beyond the ones below.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        let (level, slots) =
            self.levels.iter().enumerate().find(|(_, level)| level.occupied != 0)?;
        let shift = level as u32 * SLOT_BITS;
        let here = (self.tick >> shift) % SLOT_COUNT;
        let ahead = u64::from(slots.occupied.rotate_right(here as u32).trailing_zeros());
        let tick = ((self.tick >> shift) + ahead) << shift;
        Some((level, ((here + ahead) % SLOT_COUNT) as usize, tick))
    }

    fn empty_slot(&mut self, level: usize, slot: usize, out: &mut Vec<T>) {
        let mut entries = self.levels[level].take(slot);
        for (entry, halves) in entries.drain(..) {
            let tick = joined(halves);
            if tick <= self.tick {
                out.push(entry);
            } else {
                self.place(entry, tick);
            }
        }
        self.levels[level].give_back(slot, entries);
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let held: usize = self
                .levels
                .iter()
                .map(|level| level.slots.iter().map(Vec::len).sum::<usize>())
                .sum();
            assert_eq!(self.count, held + self.due.len());
            assert!(self.first_slot().is_none_or(|(_, _, tick)| tick > self.tick));
        }
    }
}

#[derive(Debug)]
struct Level<T> {
    /// One bit per slot that holds something.
    occupied: u64,
    /// Entries and their ticks, these in halves: with most of `T` a whole one costs 4 bytes more.
    slots: [Vec<(T, [u32; 2])>; SLOT_COUNT as usize],
}

impl<T: Copy> Level<T> {
    fn new() -> Self {
        Self { occupied: 0, slots: std::array::from_fn(|_| Vec::new()) }
    }

    fn push(&mut self, slot: usize, entry: T, tick: u64) {
        self.slots[slot].push((entry, halves(tick)));
        self.occupied |= 1 << slot;
    }

    fn take(&mut self, slot: usize) -> Vec<(T, [u32; 2])> {
        self.occupied &= !(1 << slot);
        std::mem::take(&mut self.slots[slot])
    }

    /// A small allocation stays with its slot; a crowd's is given back to the system.
    fn give_back(&mut self, slot: usize, empty: Vec<(T, [u32; 2])>) {
        if self.slots[slot].capacity() == 0 && empty.capacity() <= KEPT_ENTRY_COUNT {
            self.slots[slot] = empty;
        }
    }
}

fn halves(tick: u64) -> [u32; 2] {
    [(tick >> 32) as u32, tick as u32]
}

fn joined([high, low]: [u32; 2]) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The level whose slots tell `tick` from `now`: the one that holds the highest differing bit.
fn level_of(now: u64, tick: u64) -> usize {
    let highest = 63 - (now ^ tick | 1).leading_zeros();
    ((highest / SLOT_BITS) as usize).min(LEVEL_COUNT - 1)
}

fn slot_of(level: usize, tick: u64) -> usize {
    ((tick >> (level as u32 * SLOT_BITS)) % SLOT_COUNT) as usize
}

fn instant(tick: u64) -> Instant {
    Instant::default() + Duration::from_nanos(tick.saturating_mul(TICK_NANOS))
}

const TICK_NANOS: u64 = 4_000_000;
const LEVEL_COUNT: usize = 4;
const SLOT_BITS: u32 = 6;
const SLOT_COUNT: u64 = 1 << SLOT_BITS;
/// Ticks in one slot of the top level.
const TOP_WIDTH: u64 = SLOT_COUNT.pow(LEVEL_COUNT as u32 - 1);
const KEPT_ENTRY_COUNT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::entropy::{Entropy, Xoshiro};

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn expired(wheel: &mut Wheel<u32>, now: Instant) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.expire(now, &mut out);
        out
    }

    #[test]
    fn nothing_fires_before_its_moment_and_all_by_the_next_tick() {
        let mut wheel = Wheel::new(at(1001));
        wheel.schedule(1, at(1010));
        assert!(expired(&mut wheel, at(1009)).is_empty());
        assert!(expired(&mut wheel, at(1010)).is_empty());
        assert_eq!(wheel.next(), Some(at(1012)));
        assert_eq!(expired(&mut wheel, at(1012)), [1]);
        assert!(wheel.is_empty() && wheel.next().is_none());
    }

    #[test]
    fn what_is_past_already_fires_at_once() {
        let mut wheel = Wheel::new(at(5000));
        wheel.schedule(1, at(0));
        wheel.schedule(2, at(5000));
        assert_eq!(wheel.next(), Some(at(5000)));
        assert_eq!(expired(&mut wheel, at(5000)), [1, 2]);
        assert!(expired(&mut wheel, at(1)).is_empty());
    }

    #[test]
    fn the_end_of_time_never_comes() {
        let mut wheel = Wheel::new(at(0));
        wheel.schedule(1, Instant::from_nanos(u64::MAX));
        let mut now = at(0);
        for _ in 0..100 {
            let next = wheel.next().unwrap();
            assert!(next > now);
            now = next;
            assert!(expired(&mut wheel, now).is_empty());
        }
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn a_crowd_leaves_no_memory_behind() {
        let mut wheel = Wheel::new(at(0));
        for entry in 0..10_000 {
            wheel.schedule(entry, at(75_000));
        }
        assert_eq!(expired(&mut wheel, at(80_000)).len(), 10_000);
        let kept: usize =
            wheel.levels.iter().flat_map(|level| &level.slots).map(Vec::capacity).sum();
        assert!(kept <= KEPT_ENTRY_COUNT * 8);
    }

    /// The same promise kept in the plainest way.
    #[derive(Default)]
    struct Naive {
        entries: Vec<(u64, u32)>,
        tick: u64,
    }

    impl Naive {
        fn schedule(&mut self, entry: u32, at: Instant) {
            self.entries.push((at.as_nanos().div_ceil(TICK_NANOS), entry));
        }

        fn expire(&mut self, now: Instant) -> Vec<u32> {
            self.tick = self.tick.max(now.as_nanos() / TICK_NANOS);
            let (mut fired, rest): (Vec<_>, Vec<_>) =
                self.entries.iter().partition(|(tick, _)| *tick <= self.tick);
            self.entries = rest;
            fired.sort_unstable();
            fired.into_iter().map(|(_, entry)| entry).collect()
        }

        fn earliest(&self) -> Option<u64> {
            self.entries.iter().map(|(tick, _)| *tick).min()
        }
    }

    #[test]
    fn it_agrees_with_the_naive_wheel() {
        for seed in 0..200 {
            let mut entropy = Xoshiro::new(seed);
            let mut now = Instant::from_nanos(entropy.below(1 << 45));
            let mut wheel = Wheel::new(now);
            let mut naive = Naive { tick: now.as_nanos() / TICK_NANOS, ..Naive::default() };
            for step in 0..400_u32 {
                if entropy.below(3) > 0 {
                    let far = 1_u64 << entropy.below(57);
                    let when = now + Duration::from_nanos(entropy.below(far));
                    wheel.schedule(step, when);
                    naive.schedule(step, when);
                }
                if let Some(earliest) = naive.earliest() {
                    let next = wheel.next().expect("an entry waits").as_nanos() / TICK_NANOS;
                    assert!(next <= earliest.max(naive.tick), "seed {seed} step {step}");
                }
                let leap = 1_u64 << entropy.below(52);
                now = match (entropy.below(3), wheel.next()) {
                    (0, Some(next)) => now.max(next),
                    (1, _) => now + Duration::from_nanos(entropy.below(leap)),
                    _ => now + Duration::from_nanos(entropy.below(20_000_000)),
                };
                let mut fired = expired(&mut wheel, now);
                fired.sort_unstable();
                let mut expected = naive.expire(now);
                expected.sort_unstable();
                assert_eq!(fired, expected, "seed {seed} step {step}");
                assert_eq!(wheel.len(), naive.entries.len());
            }
        }
    }

    #[test]
    fn entries_fire_in_the_order_of_their_ticks() {
        let mut entropy = Xoshiro::new(3);
        let mut wheel = Wheel::new(at(77));
        for _ in 0..1000 {
            let millis = 77 + 4 * entropy.below(1 << 16) as u32;
            wheel.schedule(millis, at(millis.into()));
        }
        let fired = expired(&mut wheel, at(1 << 30));
        assert_eq!(fired.len(), 1000);
        assert!(fired.is_sorted());
    }
}
