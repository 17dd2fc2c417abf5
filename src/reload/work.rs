//! What a configuration needs before it can be the active one.

use crate::contract::app::AppDescriptor;
use crate::contract::attempt::AttemptCode;
use crate::contract::config::Verify;
use crate::contract::listen::ListenAddress;
use crate::ids::{AppId, PoolNumber};
use crate::limits;
use std::time::Duration;

/// What a configuration needs, compared with the active one.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Every listener it has, those that are open already included.
    pub listeners: Vec<ListenAddress>,
    /// Pools of the active configuration that it goes on using.
    pub kept: Vec<PoolNumber>,
    /// Pools it has besides. Their numbers are new.
    pub fresh: Vec<FreshPool>,
    /// Upstreams that are new, or others than before, and are asked how they are: each must show that
    /// one of its targets is well.
    pub upstreams: Vec<String>,
    /// What must be true of it when it is active.
    pub verify: Verify,
    /// What changes with it, and what is odd about it: the details of the attempt if it is applied.
    pub details: Vec<String>,
}

/// A pool that is to be started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FreshPool {
    /// Its number.
    pub pool: PoolNumber,
    /// Its app.
    pub app: AppId,
    /// How long it may take until all its workers are ready.
    pub patience: Duration,
}

impl FreshPool {
    /// The pool of `app`, with the time that its start takes at most: one after the other its setup,
    /// the worker that ran it, and the other workers.
    pub fn new(pool: PoolNumber, app: &AppDescriptor) -> Self {
        let start = app.timeouts.start.saturating_add(limits::START_SLACK);
        let patience = match app.launch.setup {
            Some(_) => start.saturating_mul(2).saturating_add(limits::SETUP_TIMEOUT),
            None => start,
        };
        Self { pool, app: app.id.clone(), patience }
    }
}

/// Why an attempt fails.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What kind of failure it is.
    pub code: AttemptCode,
    /// In words, each thing that is wrong.
    pub details: Vec<String>,
}

impl Failure {
    /// One thing is wrong.
    pub fn new(code: AttemptCode, detail: impl Into<String>) -> Self {
        Self { code, details: vec![detail.into()] }
    }
}
