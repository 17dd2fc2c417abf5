//! The tickets that wait, first come first served; those a worker gave back come before all
//! others, in the order they came back.

use super::lease::TicketId;
use super::list::{Linked, Links, List};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Tickets in order. Every operation costs the same at any length; room once made is kept.
#[derive(Debug)]
pub(super) struct Queue {
    entries: Vec<Entry>,
    vacant: List,
    returned: Lane,
    waiting: Lane,
    index_of: HashMap<TicketId, u32, BuildHasherDefault<TicketHasher>>,
}

impl Queue {
    /// An empty queue with room for `capacity` tickets.
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity.min(FIRST_ROOM_COUNT) as usize;
        Self {
            entries: Vec::with_capacity(capacity),
            vacant: List::default(),
            returned: Lane::default(),
            waiting: Lane::default(),
            // Twice the room, so that churn is absorbed in place.
            index_of: HashMap::with_capacity_and_hasher(2 * capacity, Default::default()),
        }
    }

    /// Adds `ticket`, which is not in the queue, after all others; its 1-based position.
    pub(super) fn push(&mut self, ticket: TicketId) -> u32 {
        self.add(ticket, false);
        self.len()
    }

    /// Adds `ticket`, which is not in the queue, before all that never had a worker; its 1-based
    /// position.
    pub(super) fn push_returned(&mut self, ticket: TicketId) -> u32 {
        self.add(ticket, true);
        self.returned.count
    }

    /// Takes out the next ticket.
    pub(super) fn pop(&mut self) -> Option<TicketId> {
        let index = self.first_index()?;
        Some(self.take(index))
    }

    /// The next ticket.
    pub(super) fn first(&self) -> Option<TicketId> {
        self.first_index().map(|index| self.entries[index as usize].ticket)
    }

    /// True when a ticket waits that had a worker before.
    pub(super) fn has_returned(&self) -> bool {
        self.returned.count > 0
    }

    /// Takes out `ticket`; false when it is not in the queue.
    pub(super) fn remove(&mut self, ticket: TicketId) -> bool {
        match self.index_of.get(&ticket) {
            Some(index) => {
                self.take(*index);
                true
            }
            None => false,
        }
    }

    /// True when `ticket` waits.
    pub(super) fn contains(&self, ticket: TicketId) -> bool {
        self.index_of.contains_key(&ticket)
    }

    /// Tickets that wait.
    pub(super) fn len(&self) -> u32 {
        self.returned.count + self.waiting.count
    }

    /// True when no ticket waits.
    pub(super) fn is_empty(&self) -> bool {
        self.returned.list.is_empty() && self.waiting.list.is_empty()
    }

    /// Panics when the structure contradicts itself.
    pub(super) fn check_invariants(&self) {
        for (lane, returned) in [(&self.returned, true), (&self.waiting, false)] {
            let mut count = 0;
            for index in lane.list.iter(&self.entries) {
                let entry = &self.entries[index as usize];
                assert_eq!(entry.returned, returned, "a ticket stands in the other lane");
                assert_eq!(self.index_of.get(&entry.ticket), Some(&index), "a ticket is lost");
                count += 1;
            }
            assert_eq!(count, lane.count, "a lane is miscounted");
        }
        assert_eq!(self.index_of.len(), self.len() as usize, "a ticket stands nowhere");
        let vacant = self.vacant.iter(&self.entries).count();
        assert_eq!(vacant + self.index_of.len(), self.entries.len(), "an entry leaked");
    }

    fn first_index(&self) -> Option<u32> {
        self.returned.list.first().or(self.waiting.list.first())
    }

    fn add(&mut self, ticket: TicketId, returned: bool) {
        let index = self.vacant.pop_front(&mut self.entries).unwrap_or_else(|| {
            self.entries.push(Entry::default());
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[index as usize];
        entry.ticket = ticket;
        entry.returned = returned;
        let lane = if returned { &mut self.returned } else { &mut self.waiting };
        lane.list.push_back(&mut self.entries, index);
        lane.count += 1;
        self.index_of.insert(ticket, index);
    }

    fn take(&mut self, index: u32) -> TicketId {
        let Entry { ticket, returned, .. } = self.entries[index as usize];
        let lane = if returned { &mut self.returned } else { &mut self.waiting };
        lane.list.unlink(&mut self.entries, index);
        lane.count -= 1;
        self.vacant.push_front(&mut self.entries, index);
        self.index_of.remove(&ticket);
        ticket
    }
}

#[derive(Debug, Default)]
struct Lane {
    list: List,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ticket: TicketId,
    returned: bool,
    links: Links,
}

impl Default for Entry {
    fn default() -> Self {
        let ticket = TicketId { loop_index: Default::default(), key: 0 };
        Self { ticket, returned: false, links: Links::default() }
    }
}

impl Linked for Entry {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Mixes the two numbers of a ticket. They are ours, not a client's, so nobody can choose them.
#[derive(Default)]
struct TicketHasher(u64);

impl Hasher for TicketHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Room made at once; a longer queue grows into its room the first time.
const FIRST_ROOM_COUNT: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};
    use crate::ids::LoopIndex;

    fn ticket(key: u64) -> TicketId {
        TicketId { loop_index: LoopIndex((key % 3) as u16), key }
    }

    #[test]
    fn returned_tickets_come_first_and_each_lane_keeps_its_order() {
        let mut queue = Queue::new(4);
        assert_eq!(queue.push(ticket(1)), 1);
        assert_eq!(queue.push(ticket(2)), 2);
        assert_eq!(queue.push_returned(ticket(3)), 1);
        assert_eq!(queue.push_returned(ticket(4)), 2);
        assert!(queue.remove(ticket(1)));
        assert!(!queue.remove(ticket(1)));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|ticket| ticket.key).collect();
        assert_eq!(order, [3, 4, 2]);
        assert!(queue.is_empty());
    }

    #[test]
    fn behaves_like_two_vectors() {
        let mut random = Xoshiro::new(5);
        let mut queue = Queue::new(8);
        let (mut returned, mut waiting) = (Vec::new(), Vec::new());
        for key in 0..5000 {
            match random.below(4) {
                0 => {
                    returned.push(ticket(key));
                    assert_eq!(queue.push_returned(ticket(key)), returned.len() as u32);
                }
                1 => {
                    waiting.push(ticket(key));
                    assert_eq!(queue.push(ticket(key)), (returned.len() + waiting.len()) as u32);
                }
                2 => {
                    let lane = if returned.is_empty() { &mut waiting } else { &mut returned };
                    let expected = (!lane.is_empty()).then(|| lane.remove(0));
                    assert_eq!(queue.pop(), expected);
                }
                _ => {
                    let gone = ticket(random.below(key + 1));
                    let known = returned.contains(&gone) || waiting.contains(&gone);
                    assert_eq!(queue.contains(gone), known);
                    assert_eq!(queue.remove(gone), known);
                    returned.retain(|ticket| *ticket != gone);
                    waiting.retain(|ticket| *ticket != gone);
                }
            }
            queue.check_invariants();
        }
    }
}
