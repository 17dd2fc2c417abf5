//! What the master tells a shim about the worker it shall host.
//!
//! The shim inherits these descriptors and no others: 0 `/dev/null`, 1 and 2 pipes to the master,
//! [`SPEC_FD`] the JSON of a [`WorkerSpec`] to be read to its end, [`BOOT_FD`] a pipe on which it
//! reports [`crate::wire::boot::BootReport`] lines, [`LIFELINE_FD`] a pipe whose only writer is the
//! master: end of file there means that the master is gone.

use crate::contract::app::{HealthCheck, Launch, ProcessLimits, Reload};
use crate::ids::{AppId, Generation, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The descriptor the [`WorkerSpec`] is read from.
pub const SPEC_FD: i32 = 3;
/// The descriptor boot reports are written to.
pub const BOOT_FD: i32 = 4;
/// The descriptor that ends with the master.
pub const LIFELINE_FD: i32 = 5;

/// Everything a shim needs to know.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerSpec {
    /// The app.
    pub app_id: AppId,
    /// This worker.
    pub worker_id: WorkerId,
    /// The code it runs.
    pub generation: Generation,
    /// Secret of this spawn; proves that a join or quit comes from this very shim.
    pub token: String,
    /// The master's control socket.
    pub control_socket: String,
    /// Where the worker shall listen. With `listen: path` and a user of its own, the directory must
    /// be that user's, and the way there open to it.
    pub socket: String,
    /// How the app is started; its setup is there only when this worker shall run it.
    pub launch: Launch,
    /// Who the app runs as, by name or number; `None` is the master's own user. The shim becomes
    /// that user before it starts anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Bounds of each of the app's processes.
    #[serde(default, skip_serializing_if = "ProcessLimits::is_empty")]
    pub limits: ProcessLimits,
    /// Requests the worker may have in flight.
    #[serde(default = "one")]
    pub concurrency: u32,
    /// What a change of the app's files does.
    #[serde(default)]
    pub reload: Reload,
    /// How readiness is asked.
    pub health_check: HealthCheck,
    /// Host of the readiness probe.
    pub probe_host: String,
    /// Added to the app's environment.
    pub env: BTreeMap<String, String>,
    /// Public URLs of the app.
    pub urls: Vec<String>,
    /// From spawn to join, in milliseconds.
    pub start_timeout_ms: u64,
    /// From the stop signal until the shim gives up on the app, in milliseconds.
    pub kill_timeout_ms: u64,
    /// The master's pid: the parent the shim expects to have.
    pub master_pid: u32,
}

fn one() -> u32 {
    1
}
