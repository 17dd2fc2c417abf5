//! What the pipeline wants done.

use super::wish::Waiter;
use crate::contract::attempt::Attempt;
use crate::contract::listen::ListenAddress;
use crate::ids::PoolNumber;

/// What the shell has to do or tell, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Make this version the one that requests are born with. The workers of pools that it keeps
    /// become as many, and are used, as it says; the listeners that were opened for it accept.
    /// Nothing of the version before is given up yet.
    Activate {
        /// The version.
        version: u64,
    },
    /// Whatever still compiles or recalls for this attempt is not wanted any more.
    Cancel {
        /// The attempt.
        attempt: u64,
    },
    /// Give up the listener. It is either one that was opened in vain or one that no configuration
    /// has any more.
    Close {
        /// The listener.
        address: ListenAddress,
    },
    /// Make a configuration, then report [`compiled`](super::Pipeline::compiled).
    Compile {
        /// The attempt it is for.
        attempt: u64,
        /// The version it will be.
        version: u64,
        /// The source is read again; else what it said last is taken, with the hosts that were added
        /// or removed since.
        reread: bool,
    },
    /// The configuration of this version will not be asked for again.
    Forget {
        /// The version.
        version: u64,
    },
    /// Bind it and accept nobody; then report [`listening`](super::Pipeline::listening) or
    /// [`listen_failed`](super::Pipeline::listen_failed).
    Listen {
        /// The listener.
        address: ListenAddress,
    },
    /// Take the configuration of this version as it was, find out what it needs by now, then report
    /// [`compiled`](super::Pipeline::compiled).
    Recall {
        /// The attempt it is for.
        attempt: u64,
        /// The version.
        version: u64,
    },
    /// The attempt has ended: keep it, tell of it, answer those who waited for it.
    Report {
        /// The attempt.
        attempt: Attempt,
        /// Who waited.
        waiters: Vec<Waiter>,
    },
    /// Drain the pool and end it: it failed, was started in vain, or no configuration has it any
    /// more.
    Retire {
        /// The pool.
        pool: PoolNumber,
    },
    /// Undo [`Self::Activate`]: requests are born with this version again.
    RollBack {
        /// The version that was active before.
        to: u64,
    },
    /// Start the pool; then report [`pool_ready`](super::Pipeline::pool_ready) or
    /// [`pool_failed`](super::Pipeline::pool_failed).
    Start {
        /// The pool.
        pool: PoolNumber,
    },
}
