//! A map of bounded size that forgets what was not asked for longest.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, in the order in which they were last asked for. Room is made as it is needed and
/// used again; asking, adding and forgetting take the same time at any size.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    max_count: usize,
    places: HashMap<K, u32>,
    entries: Vec<Entry<K, V>>,
    /// Entries without a key in `places`.
    vacant: Vec<u32>,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    newer: u32,
    older: u32,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// Nothing is known. At most `max_count` values will be (0 counts as 1).
    pub(super) fn new(max_count: usize) -> Self {
        Self {
            max_count: max_count.clamp(1, NONE as usize),
            places: HashMap::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// The value of `key`, which is the newest from now on; `first` when it has none, in place of
    /// the oldest when there is no room.
    pub(super) fn touch(&mut self, key: K, first: V) -> &mut V {
        let place = match self.places.get(&key) {
            Some(place) => {
                let place = *place;
                self.unlink(place);
                place
            }
            None => {
                if self.places.len() >= self.max_count {
                    self.forget_oldest();
                }
                self.add(key, first)
            }
        };
        let entry = &mut self.entries[place as usize];
        (entry.newer, entry.older) = (NONE, self.newest);
        match self.newest {
            NONE => self.oldest = place,
            newest => self.entries[newest as usize].newer = place,
        }
        self.newest = place;
        &mut self.entries[place as usize].value
    }

    /// The value that was not asked for longest.
    pub(super) fn oldest(&self) -> Option<&V> {
        self.entries.get(self.oldest as usize).map(|entry| &entry.value)
    }

    /// Forgets it.
    pub(super) fn forget_oldest(&mut self) {
        let place = self.oldest;
        if let Some(entry) = self.entries.get(place as usize) {
            self.places.remove(&entry.key);
            self.unlink(place);
            self.vacant.push(place);
        }
    }

    /// Forgets everything and gives the room back.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_count);
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The values, the newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let first = self.entries.get(self.newest as usize);
        std::iter::successors(first, |entry| self.entries.get(entry.older as usize))
            .map(|entry| (&entry.key, &entry.value))
    }

    /// Panics unless every value stands at its place.
    pub(super) fn check_invariants(&self) {
        assert!(self.places.len() <= self.max_count, "there is more than there may be");
        assert!(self.entries.len() <= self.max_count, "room is not used again");
        assert_eq!(self.places.len() + self.vacant.len(), self.entries.len(), "room is lost");
        assert_eq!(self.iter().count(), self.places.len(), "the order is broken");
        let (mut newer, mut place) = (NONE, self.newest);
        while let Some(entry) = self.entries.get(place as usize) {
            assert_eq!(entry.newer, newer, "a neighbour is not one");
            assert_eq!(self.places.get(&entry.key), Some(&place), "a key leads elsewhere");
            (newer, place) = (place, entry.older);
        }
        assert_eq!(newer, self.oldest, "the last is not the oldest");
    }

    fn add(&mut self, key: K, value: V) -> u32 {
        let entry = Entry { key, value, newer: NONE, older: NONE };
        let place = match self.vacant.pop() {
            Some(place) => {
                self.entries[place as usize] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.places.insert(key, place);
        place
    }

    fn unlink(&mut self, place: u32) {
        let Entry { newer, older, .. } = self.entries[place as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};

    #[test]
    fn behaves_like_a_list_that_is_searched() {
        let mut random = Xoshiro::new(3);
        for max_count in [0, 1, 2, 7] {
            let mut recent = Recent::new(max_count);
            let mut model: Vec<(u64, u64)> = Vec::new();
            for step in 0..3000 {
                if random.below(8) == 0 {
                    recent.forget_oldest();
                    model.pop();
                } else if random.below(300) == 0 {
                    recent.clear();
                    model.clear();
                } else {
                    let key = random.below(10);
                    let found = model.iter().position(|(known, _)| *known == key);
                    let value = found.map_or(step, |position| model.remove(position).1);
                    model.truncate(max_count.max(1) - 1);
                    model.insert(0, (key, value));
                    assert_eq!(*recent.touch(key, step), value);
                }
                recent.check_invariants();
                assert!(recent.iter().map(|(key, value)| (*key, *value)).eq(model.iter().copied()));
                assert_eq!(recent.oldest(), model.last().map(|(_, value)| value));
                assert_eq!(recent.len(), model.len());
            }
        }
    }
}
