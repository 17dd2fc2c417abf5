//! Maps by hosts and segments of paths, with a hash that costs a few instructions.
//!
//! It is not keyed: who knows it can find names that share a hash. The names in these maps are the
//! configuration's alone, and a request is compared with those of its own hash: whoever sends
//! requests can make none of them dear.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Numbers by name.
pub(super) type QuickMap = HashMap<Box<[u8]>, usize, BuildHasherDefault<QuickHasher>>;

/// Multiplies and folds eight bytes at a time.
#[derive(Debug, Default)]
pub(super) struct QuickHasher(u64);

impl QuickHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        // Odd, and without a pattern: the digits of the golden ratio.
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for QuickHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
            self.add(last);
        }
    }

    #[inline]
    fn write_usize(&mut self, length: usize) {
        // No word is zero, so that it does not stay so.
        self.add(length as u64 + 1);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn names_that_are_alike_have_hashes_that_are_not() {
        let hash =
            |name: &str| BuildHasherDefault::<QuickHasher>::default().hash_one(name.as_bytes());
        let names: HashSet<String> = (0..10_000)
            .flat_map(|number| {
                [
                    format!("{number}"),
                    format!("service-{number}"),
                    format!("site-{number}.example.com"),
                    "\0".repeat(number % 64),
                ]
            })
            .collect();
        // What a table looks at: all of it, its lowest bits, its highest.
        let parts: [fn(u64) -> u64; 3] = [|hash| hash, |hash| hash & 0xffff, |hash| hash >> 57];
        let counts = parts.map(|part| {
            let different: HashSet<u64> = names.iter().map(|name| part(hash(name))).collect();
            different.len()
        });
        assert_eq!(counts[0], names.len());
        // By chance it is 65 536 × (1 - e^-(30 063 / 65 536)) = 24 100, give or take 80.
        assert!(counts[1] > 23_700, "{}", counts[1]);
        assert_eq!(counts[2], 128);
    }
}
