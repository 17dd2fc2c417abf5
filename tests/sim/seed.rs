//! Where randomness comes from, and how a failure is found again.

use rip::entropy::{Entropy, Xoshiro};

/// Runs `story` for the seeds 0 to `count`, or for `RIP_SIM_SEED` alone. A seed whose story panics
/// is printed.
pub fn for_each_seed(count: u64, mut story: impl FnMut(&mut Dice)) {
    match replayed() {
        Some(seed) => tell(seed, &mut story),
        None => (0..count).for_each(|seed| tell(seed, &mut story)),
    }
}

/// Whether one story is told again: it need not show everything.
pub fn is_replayed() -> bool {
    replayed().is_some()
}

/// The random choices of one story.
pub struct Dice(Xoshiro);

impl Dice {
    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low + 1)
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.0.below(count) == 0
    }

    /// An index of one of `count` things; `None` when there is none.
    pub fn index(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.0.below(count as u64) as usize)
    }

    /// One of `choices`, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, u64)]) -> T {
        let total = choices.iter().map(|(_, weight)| weight).sum();
        let mut point = self.0.below(total);
        for (choice, weight) in choices {
            match point.checked_sub(*weight) {
                Some(rest) => point = rest,
                None => return *choice,
            }
        }
        choices[0].0
    }
}

fn tell(seed: u64, story: &mut impl FnMut(&mut Dice)) {
    let _announced = Announce(seed);
    story(&mut Dice(Xoshiro::new(seed)));
}

#[allow(clippy::disallowed_methods, reason = "a test may look at its environment")]
fn replayed() -> Option<u64> {
    let seed = std::env::var("RIP_SIM_SEED").ok()?;
    Some(seed.parse().expect("RIP_SIM_SEED is a number"))
}

/// Prints the seed when the story around it panics.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed; replay with RIP_SIM_SEED={} cargo test --test sim", self.0);
        }
    }
}
