//! What is there, and who waits for what: every entry is made once and struck out once.

use rip::contract::attempt::{Attempt, AttemptSource};
use rip::contract::listen::ListenAddress;
use rip::ids::PoolNumber;
use rip::reload::{Waiter, Wish};
use std::collections::{BTreeMap, BTreeSet};

/// What a configuration has.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    pub apps: BTreeMap<&'static str, PoolNumber>,
    pub listeners: BTreeSet<ListenAddress>,
}

impl Configured {
    pub fn has_pool(&self, pool: PoolNumber) -> bool {
        self.apps.values().any(|own| *own == pool)
    }
}

/// Pools that run, each with whether none of its workers is ready; and listeners, each with whether
/// it is bound.
#[derive(Debug, Default)]
pub struct Inventory {
    pub pools: BTreeMap<PoolNumber, bool>,
    pub listeners: BTreeMap<ListenAddress, bool>,
}

impl Inventory {
    pub fn start(&mut self, pool: PoolNumber) {
        assert_eq!(self.pools.insert(pool, true), None, "{pool} is started twice");
    }

    pub fn retire(&mut self, pool: PoolNumber) {
        assert!(self.pools.remove(&pool).is_some(), "{pool} is retired, and does not run");
    }

    pub fn open(&mut self, address: ListenAddress) {
        assert_eq!(self.listeners.insert(address, false), None, "{address} is opened twice");
    }

    pub fn close(&mut self, address: ListenAddress) {
        assert!(self.listeners.remove(&address).is_some(), "{address} is closed, and not open");
    }

    /// Exactly what the configuration has is there.
    pub fn check_is(&self, configured: &Configured) {
        let pools: BTreeSet<_> = configured.apps.values().copied().collect();
        assert_eq!(self.pools.keys().copied().collect::<BTreeSet<_>>(), pools);
        let listeners: BTreeSet<_> = self.listeners.keys().copied().collect();
        assert_eq!(listeners, configured.listeners);
        assert!(self.listeners.values().all(|is_bound| *is_bound));
    }
}

/// Wishes that wait, merged in the plainest way.
#[derive(Debug, Default)]
pub struct Desk {
    pending: Vec<Pending>,
    unanswered: BTreeSet<Waiter>,
    last_waiter: u64,
}

/// An attempt that must come, and for whom.
#[derive(Clone, Debug)]
pub struct Pending {
    pub what: What,
    pub source: AttemptSource,
    pub waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    Compile { reread: bool },
    Leave(u64),
}

impl Desk {
    /// Somebody new who waits.
    pub fn waiter(&mut self) -> Waiter {
        self.last_waiter += 1;
        self.unanswered.insert(Waiter(self.last_waiter));
        Waiter(self.last_waiter)
    }

    pub fn ask(&mut self, wish: Wish, active: u64, source: AttemptSource, waiter: Option<Waiter>) {
        let what = match wish {
            Wish::Hosts => What::Compile { reread: false },
            Wish::Reload => What::Compile { reread: true },
            Wish::Rollback => What::Leave(active),
        };
        for pending in &mut self.pending {
            let merged = match (pending.what, what) {
                (What::Compile { reread: one }, What::Compile { reread: other }) => {
                    What::Compile { reread: one || other }
                }
                (one, other) if one == other => one,
                _ => continue,
            };
            pending.what = merged;
            let order = [AttemptSource::Api, AttemptSource::Signal, AttemptSource::Watch];
            let sources = [pending.source, source];
            pending.source = *order.iter().find(|one| sources.contains(one)).unwrap();
            pending.waiters.extend(waiter);
            return;
        }
        self.pending.push(Pending { what, source, waiters: waiter.into_iter().collect() });
    }

    /// The attempt that must begin next.
    pub fn next(&mut self) -> Pending {
        assert!(!self.pending.is_empty(), "an attempt begins that nobody asked for");
        self.pending.remove(0)
    }

    /// The attempt that was begun for `pending` has ended.
    pub fn answer(&mut self, pending: &Pending, attempt: &Attempt, waiters: &[Waiter]) {
        assert_eq!(attempt.source, pending.source);
        assert_eq!(waiters, pending.waiters, "answered by another attempt than asked for");
        for waiter in waiters {
            assert!(self.unanswered.remove(waiter), "{waiter:?} is answered twice");
        }
    }

    pub fn is_clear(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn check_all_answered(&self) {
        assert!(self.is_clear(), "wishes are left: {:?}", self.pending);
        assert!(self.unanswered.is_empty(), "{:?} wait forever", self.unanswered);
    }
}
