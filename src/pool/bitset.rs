//! A set of small numbers whose least member is found by looking at two words.

/// A set of numbers; grows on insertion and never shrinks.
#[derive(Debug, Default)]
pub(super) struct BitSet {
    words: Vec<u64>,
    /// Bit `n` tells that `words[n]` is not zero.
    summary: Vec<u64>,
}

impl BitSet {
    /// Adds `number`; no change when it is a member.
    pub(super) fn insert(&mut self, number: u32) {
        let (word, bit) = split(number);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
            self.summary.resize(word / 64 + 1, 0);
        }
        self.words[word] |= bit;
        self.summary[word / 64] |= 1 << (word % 64);
    }

    /// Takes `number` out; no change when it is not a member.
    pub(super) fn remove(&mut self, number: u32) {
        let (word, bit) = split(number);
        if word >= self.words.len() {
            return;
        }
        self.words[word] &= !bit;
        if self.words[word] == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
    }

    /// Takes every number out and keeps the room.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
        self.summary.fill(0);
    }

    /// The least member.
    pub(super) fn first(&self) -> Option<u32> {
        let (index, part) = self.summary.iter().enumerate().find(|(_, part)| **part != 0)?;
        let word = index * 64 + part.trailing_zeros() as usize;
        Some(word as u32 * 64 + self.words[word].trailing_zeros())
    }

    /// True when `number` is a member.
    pub(super) fn contains(&self, number: u32) -> bool {
        let (word, bit) = split(number);
        self.words.get(word).is_some_and(|found| found & bit != 0)
    }

    /// The number of members.
    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True when there is no member.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.iter().all(|part| *part == 0)
    }
}

fn split(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, Xoshiro};
    use std::collections::BTreeSet;

    #[test]
    fn behaves_like_an_ordered_set() {
        let mut random = Xoshiro::new(3);
        let (mut bits, mut model) = (BitSet::default(), BTreeSet::new());
        for _ in 0..5000 {
            let number = random.below(9000) as u32;
            if random.below(2) == 0 {
                bits.insert(number);
                model.insert(number);
            } else {
                let present = model.first().copied().unwrap_or(number);
                bits.remove(present);
                model.remove(&present);
            }
            assert_eq!(bits.first(), model.first().copied());
            assert_eq!(bits.is_empty(), model.is_empty());
            assert_eq!(bits.count(), model.len());
            assert_eq!(bits.contains(number), model.contains(&number));
        }
        bits.clear();
        assert_eq!(bits.first(), None);
    }
}
