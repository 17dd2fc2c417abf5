//! A configuration that is ready to become the active one.

use super::certs::StagedCerts;
use super::snapshot::Snapshot;
use rip::contract::config::Config;
use rip::edgefile::plan::Plan;
use rip::reload::{Failure, Overlay, Work};
use std::sync::Arc;

/// Which making of a draft is meant; never used again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DraftId(pub u64);

/// A configuration with everything that takes time to make of it.
pub struct Draft {
    /// What its source said, flags and environment applied, without the hosts that were added.
    pub base: Arc<Config>,
    /// The hosts that were added, and the apps of those that have one of their own.
    pub overlay: Overlay,
    /// What requests will be born with.
    pub snapshot: Arc<Snapshot>,
    /// What HTTPS is served with; `None` in one that is only looked at.
    pub certs: Option<StagedCerts>,
    /// The public URLs of each app, by its position.
    pub urls: Vec<Vec<String>>,
    /// What it changes, compared with the active one.
    pub plan: Plan,
    /// What it needs, compared with the active one.
    pub work: Work,
}

/// Why there is no draft.
pub enum Unmade {
    /// The process that reads the file said nothing that makes sense; how, in a clause.
    Garbled(String),
    /// There is something wrong with the configuration.
    Rejected(Failure),
}
