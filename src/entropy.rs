//! Randomness as an argument.

/// A source of random numbers. The shell seeds one from the kernel; a simulation from its seed.
pub trait Entropy {
    /// The next 64 random bits.
    fn next_u64(&mut self) -> u64;

    /// A number below `bound`; 0 when `bound` is 0.
    fn below(&mut self, bound: u64) -> u64 {
        // Multiply-shift: the bias is below 2^-32 for every bound this project uses.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// xoshiro256**: fast, small, statistically sound, and not for secrets.
#[derive(Clone, Debug)]
pub struct Xoshiro {
    state: [u64; 4],
}

impl Xoshiro {
    /// The generator of `seed`; equal seeds give equal sequences.
    pub fn new(seed: u64) -> Self {
        let mut split = seed;
        let state = std::array::from_fn(|_| {
            split = split.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = split;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        });
        Self { state }
    }
}

impl Entropy for Xoshiro {
    fn next_u64(&mut self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state = [a, b, c, d];
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences_and_bounds_hold() {
        let (mut left, mut right) = (Xoshiro::new(7), Xoshiro::new(7));
        for _ in 0..1000 {
            assert_eq!(left.next_u64(), right.next_u64());
            assert!(left.below(10) < 10);
            right.next_u64();
        }
        assert_eq!(left.below(0), 0);
    }
}
