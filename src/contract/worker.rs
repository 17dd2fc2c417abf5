//! A worker as the outside sees it.

use crate::ids::{AppId, Generation, WorkerId};
use serde::{Deserialize, Serialize};

/// One worker: where it listens, what it runs, what it is doing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerEndpoint {
    /// Its app.
    pub app_id: AppId,
    /// Its id.
    pub worker_id: WorkerId,
    /// The Unix socket it answers on.
    pub socket_path: String,
    /// Requests it is working on.
    pub inflight: u32,
    /// The code it runs; the same number as its generation.
    pub version: Generation,
    /// Where it is in its life.
    pub state: WorkerState,
    /// When it was spawned, in milliseconds since the epoch.
    pub started_at: u64,
    /// Requests it has finished.
    pub request_count: u64,
}

/// Where a worker is in its life, as the outside sees it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Spawned, not joined yet.
    Starting,
    /// Joined; may get requests.
    Ready,
    /// Gets no new requests.
    Draining,
    /// No process.
    Stopped,
}
