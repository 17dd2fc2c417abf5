//! Bodies of the worker verbs on the control socket (`POST /worker`).

use crate::ids::{AppId, Generation, WorkerId};
use serde::{Deserialize, Serialize};

/// What a shim says about its worker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "op")]
pub enum WorkerVerb {
    /// The worker is ready; waiting requests may be given to it at once. Idempotent.
    Join(Join),
    /// The worker leaves; answered when its last lease has ended.
    Quit(Quit),
}

/// The worker is ready.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// The worker.
    pub worker_id: WorkerId,
    /// The code it runs.
    pub generation: Generation,
    /// The same number as `generation`.
    pub version: Generation,
    /// The shim's pid.
    pub pid: u32,
    /// The app's pid.
    pub app_pid: u32,
    /// Where it listens.
    pub socket: String,
    /// The app.
    pub app_id: AppId,
    /// The app serves a second connection while one is open and idle.
    pub keep_alive: bool,
}

/// The worker leaves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quit {
    /// The worker.
    pub worker_id: WorkerId,
    /// The code it runs.
    pub generation: Generation,
    /// The app.
    pub app_id: AppId,
}

/// The answer to a join or quit that was accepted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Accepted {
    /// Always true; a refusal is a [`Refused`].
    pub ok: bool,
    /// On quit: every lease had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<bool>,
}

/// Every error of the control socket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// Always false.
    pub ok: bool,
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}
