//! What the supervision of an app wants done.

use super::exit::Exit;
use crate::ids::{Generation, WorkerId};
use std::time::Duration;

/// What the shell has to do or tell, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// Every slot was given up (true), or a worker serves again (false).
    AppAbandoned(bool),
    /// The slot is given up for [`crate::limits::ABANDON_RETRY`].
    Abandon {
        /// The worker that ended last.
        worker: WorkerId,
        /// Failures in a row.
        failures: u32,
        /// Why the last one ended.
        reason: String,
    },
    /// Offer the worker to its pool.
    Admit {
        /// The worker.
        worker: WorkerId,
    },
    /// Answer the worker's quit.
    AnswerQuit {
        /// The worker.
        worker: WorkerId,
        /// Its last lease ended; false when the drain deadline came first.
        drained: bool,
    },
    /// The worker's process is gone.
    Gone {
        /// The worker.
        worker: WorkerId,
        /// How it ended; `None` when it was never forked.
        exit: Option<Exit>,
        /// It was asked to, or asked itself.
        expected: bool,
    },
    /// Something no restart can mend is missing, and no worker ever served.
    Hopeless {
        /// The worker that found out.
        worker: WorkerId,
        /// What is missing.
        reason: String,
    },
    /// SIGKILL to the worker's process group.
    Kill {
        /// The worker.
        worker: WorkerId,
    },
    /// The slot pauses and then starts another worker.
    Restart {
        /// The worker that ended.
        worker: WorkerId,
        /// Failures in a row.
        attempt: u32,
        /// The pause.
        backoff: Duration,
        /// Why it ended.
        reason: String,
    },
    /// Take the worker out of its pool's choice; then report [`super::supervisor::Supervisor::idle`] when it has no
    /// lease, now or later.
    Retire {
        /// The worker.
        worker: WorkerId,
    },
    /// Fork it now; then report [`super::supervisor::Supervisor::forked`] or [`super::supervisor::Supervisor::fork_failed`].
    Spawn {
        /// The worker.
        worker: WorkerId,
        /// The code it shall run.
        generation: Generation,
        /// The place it takes, 0-based.
        slot: usize,
    },
    /// SIGTERM to the shim alone.
    Terminate {
        /// The worker.
        worker: WorkerId,
    },
}
