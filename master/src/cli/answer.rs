//! What a master answers on its control socket, as far as people are shown it. Members that are
//! missing or unknown do no harm: master and command line may differ in version.

use rip::contract::cert::TlsCertRecord;
use rip::contract::worker::WorkerState;
use rip::ids::{AppId, Generation, WorkerId};
use serde::Deserialize;
use std::collections::BTreeMap;

/// `GET /certs`.
#[derive(Debug, Default, Deserialize)]
pub struct Certs {
    /// Every certificate that is served.
    #[serde(default)]
    pub certs: Vec<TlsCertRecord>,
    /// What is wrong with what should be, one line each.
    #[serde(default)]
    pub faults: Vec<String>,
    /// The certificate of the local authority, where there is one.
    #[serde(default)]
    pub authority: Option<String>,
}

/// `GET /sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// Where they are kept; none where none were ever served.
    pub store: Option<Store>,
    /// How many there are, as far as the store can tell.
    pub sessions: Option<u64>,
    /// Turns that run.
    pub running: u64,
    /// Who looks on.
    pub readers: u64,
    /// Turns that were begun.
    pub turns: u64,
    /// Those that were committed.
    pub committed: u64,
    /// Those that ended without.
    pub failed: u64,
    /// Requests for a turn that were refused.
    pub refused: u64,
    /// The turns that were begun last of those that run.
    pub newest: Vec<Turn>,
}

/// Where sessions are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Store {
    /// Its file.
    pub path: String,
    /// In one word.
    pub state: String,
    /// Why it is not as it should be.
    pub reason: Option<String>,
}

/// A turn that runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Turn {
    /// Of which session.
    pub id: String,
    /// Which.
    pub turn: u64,
    /// How often it was begun.
    pub attempt: u64,
    /// Who runs it.
    pub app: String,
    /// For how long.
    pub age_ms: u64,
}

/// `GET /apps`.
#[derive(Debug, Default, Deserialize)]
pub struct Apps {
    /// Every app.
    #[serde(default)]
    pub apps: Vec<App>,
}

/// One app.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Its name.
    pub id: AppId,
    /// What the operator named.
    #[serde(default)]
    pub entry: String,
    /// Workers it should have.
    #[serde(default)]
    pub workers: u32,
    /// Workers that may get requests.
    #[serde(default)]
    pub ready: u32,
    /// In one word.
    #[serde(default)]
    pub state: String,
    /// The newest code.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// Requests workers are busy with.
    #[serde(default)]
    pub inflight: u64,
    /// Requests that wait.
    #[serde(default)]
    pub queue_depth: u64,
    /// Restarts so far.
    #[serde(default)]
    pub restarts: u64,
    /// Its requests wait although workers may be free.
    #[serde(default)]
    pub paused: bool,
    /// Fresh workers are taking the place of the others.
    #[serde(default)]
    pub rolling: Option<Rolling>,
    /// How the last worker ended that was not asked to.
    #[serde(default)]
    pub last_exit: Option<String>,
}

/// How far a roll is.
#[derive(Debug, Deserialize)]
pub struct Rolling {
    /// The new code.
    pub generation: Generation,
    /// Workers that run it and are ready.
    pub fresh: u32,
    /// Workers that should.
    pub wanted: u32,
    /// Workers of older code.
    #[serde(default)]
    pub old: u32,
}

/// `GET /workers`.
#[derive(Debug, Default, Deserialize)]
pub struct Workers {
    /// Every worker.
    #[serde(default)]
    pub workers: Vec<Worker>,
}

/// One worker.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Its app.
    pub app_id: AppId,
    /// Its id.
    pub worker_id: WorkerId,
    /// The shim's pid.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The app's own pid.
    #[serde(default)]
    pub app_pid: Option<u32>,
    /// The code it runs.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// Where it is in its life.
    pub state: WorkerState,
    /// Requests it is working on.
    #[serde(default)]
    pub inflight: u64,
    /// Requests it has finished.
    #[serde(default)]
    pub request_count: u64,
    /// When it was spawned, in milliseconds since the epoch.
    #[serde(default)]
    pub started_at: u64,
    /// Memory it holds.
    #[serde(default)]
    pub rss_bytes: Option<u64>,
    /// How the process before it in its slot ended.
    #[serde(default)]
    pub last_exit: Option<String>,
}

/// `GET /status`.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// `healthy` or `degraded`.
    pub status: String,
    /// The master's version.
    #[serde(default)]
    pub version: String,
    /// The first app; `None` where only files are served.
    #[serde(default)]
    pub app: Option<String>,
    /// Workers of all apps that may get requests.
    #[serde(default)]
    pub workers: serde_json::Value,
    /// Ports that are listened on.
    #[serde(default)]
    pub ports: serde_json::Value,
    /// Seconds since the start.
    #[serde(default)]
    pub uptime: f64,
}

/// The answer to an order.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Carried {
    /// The app it was about.
    pub app: String,
    /// The code its workers run, or will run.
    pub generation: Option<Generation>,
    /// Workers it has, or will have.
    pub workers: u32,
    /// How long it took; absent when it was not waited for.
    pub duration_ms: Option<u64>,
}

/// How an attempt to change the configuration ended, and each of `GET /history`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Attempt {
    /// Its number.
    pub id: u64,
    /// What asked for it.
    pub source: String,
    /// The version that was active.
    pub old_version: u64,
    /// The version it was to be.
    pub new_version: u64,
    /// `applied`, `rejected` or `rolled_back`; empty in what is no such answer.
    pub result: String,
    /// Why.
    pub code: String,
    /// Each thing that is wrong, or what was changed.
    pub details: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// When it ended, in milliseconds since 1970; 0 where that is not told.
    pub at: u64,
    /// What the worker wrote last that it failed of.
    pub stderr: Vec<String>,
}

/// `GET /history`.
#[derive(Debug, Default, Deserialize)]
pub struct History {
    /// The version that is active.
    #[serde(default)]
    pub version: u64,
    /// Attempts since the start.
    #[serde(default)]
    pub counts: AttemptCounts,
    /// The last ones.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// Attempts since the start, by how they ended.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AttemptCounts {
    /// The new configuration became active.
    pub applied: u64,
    /// It did not.
    pub rejected: u64,
    /// It did for a moment.
    pub rolled_back: u64,
}

/// `GET /config`, beside the configuration itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Active {
    /// Its version.
    pub version: u64,
    /// The Edgefile it is from.
    pub path: Option<String>,
}

/// `GET /registry`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Every host that is served.
    pub hosts: Vec<String>,
    /// Which apps serve them.
    pub apps: BTreeMap<AppId, Vec<String>>,
    /// Those that were added while the server runs.
    pub added: Vec<AddedHost>,
}

/// A host that was added.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AddedHost {
    /// The host.
    pub host: String,
    /// The app that serves it.
    pub app: Option<AppId>,
    /// What its app was started from.
    pub path: Option<String>,
}

/// The answer to the order to serve one more host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Addition {
    /// What ends it.
    pub until: Option<String>,
    /// What was changed.
    pub details: Vec<String>,
}

/// What a reload would do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Planned {
    /// A line for each change.
    pub lines: Vec<String>,
    /// What is odd about the file.
    pub warnings: Vec<String>,
    /// Why there is nothing to be planned.
    pub note: Option<String>,
}

/// Every refusal.
#[derive(Debug, Deserialize)]
pub struct Refused {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: String,
    /// Each thing that is wrong.
    #[serde(default)]
    pub details: Vec<String>,
    /// What a worker wrote last.
    #[serde(default)]
    pub stderr: Vec<String>,
}
