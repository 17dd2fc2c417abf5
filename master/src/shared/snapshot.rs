//! The configuration as traffic sees it, and the one place where another one takes its place.

use super::pools::AppPool;
use rip::contract::config::Config;
use rip::ids::PoolNumber;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One configuration version with everything a request needs of it. It never changes: a request
/// keeps the one it was born with.
pub struct Snapshot {
    /// Its number; never used for another one.
    pub version: u64,
    /// What it was made of.
    pub config: Config,
    /// The pool of each of the configuration's apps, by the app's position there.
    pub pools: Vec<Arc<AppPool>>,
}

impl Snapshot {
    /// The pools by number.
    pub fn pool(&self, number: PoolNumber) -> Option<&Arc<AppPool>> {
        self.pools.iter().find(|pool| pool.number == number)
    }
}

/// The active snapshot.
pub struct Current {
    /// Looked at for every request: the lock is only taken when it has changed.
    version: AtomicU64,
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Current {
    /// `snapshot` is active.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { version: AtomicU64::new(snapshot.version), snapshot: Mutex::new(snapshot) }
    }

    /// The number of the active one.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The active one.
    pub fn load(&self) -> Arc<Snapshot> {
        Arc::clone(&self.lock())
    }

    /// Makes `snapshot` the active one; what it replaces is returned.
    pub fn activate(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        let mut active = self.lock();
        self.version.store(snapshot.version, Ordering::Release);
        std::mem::replace(&mut *active, snapshot)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Snapshot>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
