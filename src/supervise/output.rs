//! What the supervision of an app wants done.

use super::exit::Exit;
use super::roll::{Cause, RollProgress};
use crate::ids::{Generation, WorkerId};
use std::time::Duration;

/// What the shell has to do or tell, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// SIGABRT to the app's own process, so that it can tell where it was.
    Abort {
        /// The worker.
        worker: WorkerId,
    },
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
    /// The worker that an operator wanted replaced goes on serving: its replacement failed.
    DrainFailed {
        /// The worker that stays.
        worker: WorkerId,
        /// The one that did not become ready; `None` when the app ends.
        failed: Option<WorkerId>,
        /// Why.
        reason: String,
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
    /// A fresh worker is started to take the place of one with which nothing is wrong.
    Recycle {
        /// The worker to be replaced.
        worker: WorkerId,
        /// Which limit it reached.
        reason: &'static str,
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
    /// Take the worker out of its pool's choice; then report
    /// [`idle`](super::supervisor::Supervisor::idle) when it has no lease, now or later.
    Retire {
        /// The worker.
        worker: WorkerId,
    },
    /// A fresh worker did not become ready: what is left of its generation goes, the older one
    /// serves on.
    RollAborted {
        /// The generation that failed.
        generation: Generation,
        /// The worker that failed; `None` when the app ends.
        failed: Option<WorkerId>,
        /// Why.
        reason: String,
    },
    /// Every slot has a worker of this generation, and no older one lives.
    RollDone {
        /// The generation.
        generation: Generation,
    },
    /// Fresh workers begin to take the place of the old ones.
    RollStarted {
        /// The new generation.
        generation: Generation,
        /// What asked for it.
        cause: Cause,
    },
    /// One more fresh worker serves.
    RollStepped(RollProgress),
    /// The wanted number of workers serves, and those dismissed have ended.
    Scaled {
        /// How many.
        workers: usize,
    },
    /// The wanted number does not serve (yet).
    ScaleFailed {
        /// How many were wanted.
        workers: usize,
        /// The worker that did not become ready, if that was it.
        failed: Option<WorkerId>,
        /// Why.
        reason: String,
    },
    /// Fork it now; then report [`forked`](super::supervisor::Supervisor::forked) or
    /// [`fork_failed`](super::supervisor::Supervisor::fork_failed).
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
