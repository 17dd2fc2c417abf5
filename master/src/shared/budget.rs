//! A process-wide amount of bytes that may be held at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes taken out of a fixed amount.
pub struct Budget {
    taken_bytes: AtomicU64,
    limit_bytes: AtomicU64,
}

impl Budget {
    /// Nothing taken of `limit_bytes`.
    pub const fn new(limit_bytes: u64) -> Self {
        Self { taken_bytes: AtomicU64::new(0), limit_bytes: AtomicU64::new(limit_bytes) }
    }

    /// Takes `bytes`, or nothing and returns false when they would pass the limit.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let before = self.taken_bytes.fetch_add(bytes, Relaxed);
        let fits = before.saturating_add(bytes) <= self.limit_bytes.load(Relaxed);
        if !fits {
            self.give(bytes);
        }
        fits
    }

    /// The limit from now on. What is taken beyond it stays taken.
    pub fn configure(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Relaxed);
    }

    /// Gives back `bytes` taken before.
    pub fn give(&self, bytes: u64) {
        self.taken_bytes.fetch_sub(bytes, Relaxed);
    }

    /// Bytes taken now.
    pub fn taken(&self) -> u64 {
        self.taken_bytes.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_would_pass_its_limit_and_keeps_the_rest() {
        let budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        assert_eq!(budget.taken(), 6);
        assert!(budget.take(4));
        budget.configure(5);
        assert!(!budget.take(1));
        budget.give(10);
        assert!(budget.take(5));
        budget.give(5);
        assert_eq!(budget.taken(), 0);
    }
}
