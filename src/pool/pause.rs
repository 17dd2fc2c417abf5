//! Workers that get nothing for a moment, and when each moment ends.

use super::list::List;
use super::worker::Slot;
use crate::limits;
use crate::time::Instant;
use std::time::Duration;

/// Paused workers, one list for each length of pause.
///
/// Time never runs backwards in a pool, so each list is ordered by its end and the nearest end is
/// that of a list's head.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    lists: [List; STEP_COUNT],
}

impl Pauses {
    /// Pauses `index`, which is in no list. Each pause is twice as long as the one before.
    pub(super) fn begin(&mut self, slots: &mut [Slot], index: u32, now: Instant) {
        let slot = &mut slots[index as usize];
        slot.pause_count = (slot.pause_count + 1).min(STEP_COUNT as u8);
        let step = step_of(slot);
        slot.resume_at = now + length(step);
        self.lists[step].push_back(slots, index);
    }

    /// Ends the pause of `index`, which is paused.
    pub(super) fn end(&mut self, slots: &mut [Slot], index: u32) {
        let step = step_of(&slots[index as usize]);
        self.lists[step].unlink(slots, index);
    }

    /// A paused worker whose time has come.
    pub(super) fn expired(&self, slots: &[Slot], now: Instant) -> Option<u32> {
        self.heads().find(|index| slots[*index as usize].resume_at <= now)
    }

    /// The nearest end of a pause.
    pub(super) fn next(&self, slots: &[Slot]) -> Option<Instant> {
        self.heads().map(|index| slots[index as usize].resume_at).min()
    }

    /// Everyone who is paused.
    pub(super) fn iter<'a>(&'a self, slots: &'a [Slot]) -> impl Iterator<Item = u32> + 'a {
        self.lists.iter().flat_map(|list| list.iter(slots))
    }

    fn heads(&self) -> impl Iterator<Item = u32> + '_ {
        self.lists.iter().filter_map(List::first)
    }
}

fn step_of(slot: &Slot) -> usize {
    usize::from(slot.pause_count.max(1)) - 1
}

const fn length(step: usize) -> Duration {
    limits::BUSY_PAUSE_MIN.saturating_mul(1 << step)
}

const STEP_COUNT: usize = 5;
const _: () = assert!(length(STEP_COUNT - 1).as_nanos() == limits::BUSY_PAUSE_MAX.as_nanos());
