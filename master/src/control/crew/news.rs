//! What becomes of a crew that the rest of the master must hear.

use rip::contract::event::Event;
use rip::ids::{Generation, WorkerId};
use rip::supervise::RollProgress;

/// What the rest of the master must hear.
pub enum News {
    /// A worker joined.
    Admitted,
    /// A worker that an operator wanted replaced goes on serving: its replacement failed.
    DrainFailed {
        /// The worker that stays.
        worker: WorkerId,
        /// Why.
        reason: String,
        /// The last lines the failed one wrote to stderr.
        stderr: Vec<String>,
    },
    /// A worker that held its slot failed; whether it had been ready shows in the reason.
    Failed {
        /// Why.
        reason: String,
        /// The last lines it wrote to stderr.
        stderr: Vec<String>,
    },
    /// Something worth telling the operator.
    Event(Event),
    /// A worker's process is gone.
    Gone(WorkerId),
    /// A worker's quit can be answered.
    QuitAnswered {
        /// The worker.
        worker: WorkerId,
        /// Its last lease had ended.
        drained: bool,
    },
    /// The app cannot start, and a restart would not help.
    Hopeless(String),
    /// A fresh worker did not become ready: the old generation goes on serving.
    RollAborted {
        /// The generation that failed.
        generation: Generation,
        /// Why.
        reason: String,
        /// The last lines the failed worker wrote to stderr.
        stderr: Vec<String>,
    },
    /// Every slot has a worker of this generation, and no older one lives.
    RollDone {
        /// The generation.
        generation: Generation,
    },
    /// One more fresh worker serves.
    RollStepped(RollProgress),
    /// The wanted number of workers serves, and those dismissed have ended.
    Scaled {
        /// How many.
        workers: usize,
    },
    /// The wanted number of workers does not serve (yet).
    ScaleFailed {
        /// How many were wanted.
        workers: usize,
        /// Why.
        reason: String,
        /// The last lines the failed worker wrote to stderr.
        stderr: Vec<String>,
    },
}
