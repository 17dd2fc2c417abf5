//! What an app is and how it wants to be run.

use super::millis;
pub use super::runtime::Runtime;
use crate::ids::AppId;
use crate::limits;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// One app: its identity, how it is launched, and its share of the machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppDescriptor {
    /// The app's name.
    pub id: AppId,
    /// What the operator named: a file, a directory, `builtin:NAME`, or the command as one line.
    pub entry: String,
    /// Host names the app answers; empty means every host.
    pub hosts: Vec<String>,
    /// Path prefixes the app answers; empty means every path.
    pub prefixes: Vec<String>,
    /// Worker processes.
    pub workers: u32,
    /// Requests one worker may have in flight; 1 is single in-flight isolation.
    pub concurrency: u32,
    /// Requests that may wait for a worker.
    pub max_queue: u32,
    /// Requests that may be in flight over all workers.
    pub max_inflight: u32,
    /// How an idle worker is chosen.
    pub select: Select,
    /// Environment added for the app; values are secret and never shown.
    #[serde(serialize_with = "names_only")]
    pub env: BTreeMap<String, String>,
    /// When to stop restarting.
    pub restart_policy: RestartPolicy,
    /// How readiness and health are asked.
    pub health_check: HealthCheck,
    /// When a worker is replaced by a fresh one although nothing is wrong.
    pub recycle: Recycle,
    /// How many fresh workers a roll may start beyond the wanted number.
    pub surge: Surge,
    /// What a change of the app's files does.
    pub reload: Reload,
    /// Names of the files that matter to `reload`, as globs: `*.py`.
    pub watch: Vec<String>,
    /// Deadlines of the app's requests and processes.
    pub timeouts: AppTimeouts,
    /// Request bodies are passed on as they come, and hold a worker as long as they take.
    #[serde(default)]
    pub stream_request: bool,
    /// A response that its client does not take is kept up to this many bytes, in a file beyond
    /// what fits into memory, so that its worker is free; `None` keeps what fits into memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_response_bytes: Option<u64>,
    /// Where it hears of WebSockets, by requests that only the edge makes.
    #[serde(default = "realtime_path", skip_serializing_if = "is_realtime_path")]
    pub realtime_path: String,
    /// Where it is asked to run turns of sessions, by requests that only the edge makes.
    #[serde(default = "turn_path", skip_serializing_if = "is_turn_path")]
    pub turn_path: String,
    /// Who its processes run as; `None` is the master's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Bounds of each of its processes.
    #[serde(default, skip_serializing_if = "ProcessLimits::is_empty")]
    pub limits: ProcessLimits,
    /// How its processes are started.
    #[serde(flatten)]
    pub launch: Launch,
}

/// How an app's processes are started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// What runs the entry.
    pub runtime: Runtime,
    /// `command`: the argument vector. `builtin`: the name, alone. Else the entry, alone: a file or
    /// directory, absolute, or Python's `pkg.module:attr`.
    pub argv: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// How the app gets its listener.
    pub listen: Listen,
    /// What counts as ready. Called `readyBy` beside the count of ready workers.
    #[serde(rename = "readyBy")]
    pub ready: Ready,
    /// The signal that asks the app to stop, by name: `TERM`.
    pub stop_signal: String,
    /// Run once before the first worker of a generation; a failure fails the generation's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<Vec<String>>,
}

/// Bounds that the kernel keeps for each process of an app; `None` is what the master has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessLimits {
    /// Address space in bytes (`RLIMIT_AS`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Open files (`RLIMIT_NOFILE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Processes of its user (`RLIMIT_NPROC`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Size of a core dump in bytes (`RLIMIT_CORE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core_bytes: Option<u64>,
}

impl ProcessLimits {
    /// Nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How an app gets its listener.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Listen {
    /// Inherited descriptor 3 (`LISTEN_FDS`).
    #[default]
    Fd,
    /// The app binds `RIP_WORKER_SOCKET` itself.
    Path,
    /// The app binds `127.0.0.1:$PORT`; the shim relays.
    Port,
}

/// What counts as ready.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// An HTTP answer from the health-check path, or `READY=1` on the status pipe.
    #[default]
    Http,
    /// A successful connect.
    Listen,
}

/// How an idle worker is chosen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// Lowest in-flight first; ties to the lowest worker id.
    LeastInflight,
    /// Lowest in-flight first; ties to the most recently freed (warm caches).
    Lifo,
}

/// When to stop restarting a worker slot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartPolicy {
    /// More crashes than this within the window give the slot up.
    pub max_restarts: u32,
    /// First pause before a restart; doubles up to [`limits::BACKOFF_MAX`].
    pub backoff_ms: u64,
    /// The window.
    pub window_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { max_restarts: 10, backoff_ms: 1000, window_ms: 60_000 }
    }
}

/// When a worker is replaced by a fresh one although nothing is wrong. Each limit is jittered by a
/// tenth, so that the workers of an app do not reach it together.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recycle {
    /// After this many requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// After this many seconds, idle or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// After this many reloads inside the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reloads: Option<u32>,
    /// When its resident memory was above this twice in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rss_bytes: Option<u64>,
}

/// How many fresh workers a roll may start beyond the wanted number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Surge {
    /// This many, at least 1.
    Count(u32),
    /// This share of the wanted number in percent, at least one worker.
    Percent(u32),
}

impl Default for Surge {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl Surge {
    /// The number for an app that wants `workers`; at least 1.
    pub fn of(self, workers: u32) -> u32 {
        match self {
            Self::Count(count) => count.max(1),
            Self::Percent(share) => {
                let count = u64::from(workers) * u64::from(share) / 100;
                u32::try_from(count).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// What a change of the app's files does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reload {
    /// The adapter reloads the app inside the worker.
    Module,
    /// Nothing: files are not watched.
    #[default]
    None,
    /// The workers are rolled.
    Process,
}

/// How readiness and health are asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// The probed path.
    pub path: String,
    /// Between probes of a running worker.
    pub interval_ms: u64,
    /// For one probe.
    pub timeout_ms: u64,
    /// Failures in a row that replace a worker.
    pub unhealthy_threshold: u32,
    /// Set by the operator: then only 2xx is healthy; otherwise any status below 500.
    #[serde(default)]
    pub explicit: bool,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/ready".to_owned(),
            interval_ms: 5000,
            timeout_ms: 2000,
            unhealthy_threshold: 3,
            explicit: false,
        }
    }
}

/// Deadlines of one app, all in milliseconds in JSON.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppTimeouts {
    /// Connecting to a worker.
    #[serde(rename = "connectMs", with = "millis")]
    pub connect: Duration,
    /// Response head, then each gap between bytes.
    #[serde(rename = "readMs", with = "millis")]
    pub read: Duration,
    /// Waiting for a worker.
    #[serde(rename = "queueMs", with = "millis")]
    pub queue: Duration,
    /// From spawn to join.
    #[serde(rename = "startMs", with = "millis")]
    pub start: Duration,
    /// From retirement to SIGTERM in any case.
    #[serde(rename = "drainMs", with = "millis")]
    pub drain: Duration,
    /// From SIGTERM to SIGKILL.
    #[serde(rename = "killMs", with = "millis")]
    pub kill: Duration,
    /// From the end of a request's patience until its worker is aborted.
    #[serde(rename = "stuckMs", with = "millis")]
    pub stuck: Duration,
    /// A whole turn of a session, from the worker's getting it to its outcome.
    #[serde(rename = "turnMs", with = "millis", default = "turn", skip_serializing_if = "is_turn")]
    pub turn: Duration,
    /// How long an idle link to a worker is kept; `None` keeps it.
    #[serde(rename = "keepaliveMs", with = "millis::option")]
    pub keepalive: Option<Duration>,
}

impl Default for AppTimeouts {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_TIMEOUT,
            read: limits::READ_TIMEOUT,
            queue: limits::QUEUE_TIMEOUT,
            start: limits::START_TIMEOUT,
            drain: limits::DRAIN_TIMEOUT,
            kill: limits::KILL_TIMEOUT,
            stuck: limits::STUCK_TIMEOUT,
            turn: limits::TURN_TIMEOUT,
            keepalive: None,
        }
    }
}

/// [`AppDescriptor::realtime_path`] of an app that says nothing of it.
pub const REALTIME_PATH: &str = "/v1/realtime";

fn realtime_path() -> String {
    REALTIME_PATH.to_owned()
}

fn is_realtime_path(path: &String) -> bool {
    path == REALTIME_PATH
}

/// [`AppDescriptor::turn_path`] of an app that says nothing of it.
pub const TURN_PATH: &str = "/v1/turn";

fn turn_path() -> String {
    TURN_PATH.to_owned()
}

fn is_turn_path(path: &String) -> bool {
    path == TURN_PATH
}

const fn turn() -> Duration {
    limits::TURN_TIMEOUT
}

fn is_turn(timeout: &Duration) -> bool {
    *timeout == turn()
}

fn names_only<S: Serializer>(env: &BTreeMap<String, String>, out: S) -> Result<S::Ok, S::Error> {
    out.collect_map(env.keys().map(|name| (name, "***")))
}
