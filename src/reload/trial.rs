//! The attempt under way.

use super::wish::Waiter;
use super::work::{Failure, Work};
use crate::contract::attempt::{AttemptCode, AttemptSource};
use crate::contract::config::Verify;
use crate::contract::listen::ListenAddress;
use crate::ids::{AppId, PoolNumber};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// What one version has.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) pools: BTreeSet<PoolNumber>,
    pub(super) listeners: BTreeSet<ListenAddress>,
}

/// The attempt under way.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) id: u64,
    pub(super) source: AttemptSource,
    pub(super) waiters: Vec<Waiter>,
    pub(super) began: Instant,
    /// The version it is to make active.
    pub(super) version: u64,
    /// That version was active before.
    pub(super) is_recalled: bool,
    /// Why it must end, from the fact that says so until the next conclusion.
    pub(super) failure: Option<Failure>,
    /// Pools that are started for it, with their apps.
    pub(super) fresh: BTreeMap<PoolNumber, AppId>,
    /// Listeners that are opened for it.
    pub(super) opened: BTreeSet<ListenAddress>,
    /// What the version has; empty before it is staged.
    pub(super) next: Version,
    /// Upstreams that must show that they are well.
    pub(super) upstreams: Vec<String>,
    pub(super) verify: Verify,
    pub(super) details: Vec<String>,
    pub(super) phase: Phase,
}

impl Trial {
    /// It must end. The first reason decides what its end is called; each is told.
    pub(super) fn fail(&mut self, code: AttemptCode, detail: String) {
        match &mut self.failure {
            Some(failure) => failure.details.push(detail),
            None => self.failure = Some(Failure::new(code, detail)),
        }
    }
}

/// How far an attempt is; *Idle* is no attempt.
///
/// ```text
///       a wish's turn           compiled             all bound, all ready
/// Idle ───────────▶ Compiling ──────────▶ Staging ───────────────────────▶ Verifying
///  ▲                    │                    │                               │   │
///  │                    │ not compiled,      │ not bound, not ready,         │   │
///  │                    │ deadline, stop     │ lost, deadline, stop          │   │
///  ├─────── rejected ───┴────────────────────┘                               │   │
///  ├─────── rolled back ────────────── lost within probation, deadline, stop ┘   │
///  └─────── applied ──────────────────────────────────── probation over, all well┘
/// ```
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Compiling {
        /// What came of it, until the next conclusion.
        work: Option<Work>,
        is_answered: bool,
        deadline: Instant,
    },
    Staging {
        /// Listeners that are awaited; no pool is started before they are bound.
        unbound: BTreeSet<ListenAddress>,
        /// Pools that are awaited.
        unready: BTreeSet<PoolNumber>,
        /// The pools are started.
        is_started: bool,
        deadline: Instant,
    },
    Verifying {
        /// Until when no fresh pool may lose a worker; `None` when that is over.
        probation: Option<Instant>,
        /// Apps with which the attempt has nothing to do and that were not ready before it.
        excused: BTreeSet<AppId>,
        deadline: Instant,
    },
}
