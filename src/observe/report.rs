//! Everything a server says of itself, in one value: what `/diagnostics` shows, what `/metrics` counts,
//! what the dashboard and `ctl top` draw. There is one, so that no two surfaces disagree.
//!
//! It is JSON in the order of its fields. Counters are since the start of the server; times are seconds
//! with fractions, moments are milliseconds since 1970 unless their name says otherwise. Nothing in it is
//! a secret, but it shows paths and names: it is for who operates the server.

use crate::ids::{AppId, Generation, WorkerId};
use crate::observe::status::Health;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether all is well; as `/status` says.
    pub status: Health,
    /// Which server this is.
    pub version: Version,
    /// Whole seconds since the start.
    pub uptime: u64,
    /// When it was made.
    pub at: u64,
    /// The apps of the active configuration, by declaration.
    pub apps: Vec<AppReport>,
    /// Counters since the start.
    pub metrics: Metrics,
    /// The last minute, for who watches.
    pub recent: Recent,
    /// The requests that failed last (5xx), newest first; `GET /explain/{id}` says why.
    pub errors: Vec<ErrorReport>,
    /// What is so at this moment.
    pub gauges: Gauges,
    /// WebSocket clients of the hub.
    pub realtime: RealtimeReport,
    /// The active configuration and how it came to be.
    pub config: ConfigReport,
    /// Certificates that are served.
    pub certs: Vec<CertReport>,
    /// Servers that are not ours.
    pub upstreams: Vec<UpstreamReport>,
    /// Host names that are answered; empty means every host.
    pub hosts: Vec<String>,
    /// URLs under which clients reach the server.
    pub urls: Vec<String>,
}

/// Versions.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Version {
    /// Of the program.
    pub server: String,
    /// Of the crate of its cores.
    pub rip: String,
    /// The commit it was built from; null where that is not known.
    pub git: Option<String>,
}

/// One app.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    /// Its id.
    pub id: AppId,
    /// As `ctl list` says: `ready`, `degraded`, `down`, `starting`, `abandoned`, `stopping`.
    pub state: String,
    /// Workers that are wanted.
    pub workers: u32,
    /// Workers that are ready.
    pub ready: u32,
    /// Requests that workers have.
    pub inflight: u32,
    /// Requests that wait for a worker.
    pub queue_depth: u32,
    /// The code its fresh workers run.
    pub generation: Generation,
    /// Workers that were started again after they ended unasked.
    pub restarts: u64,
    /// How the last worker ended that was not asked to.
    pub last_exit: Option<String>,
    /// Requests wait although workers may be free.
    pub paused: bool,
    /// Fresh workers are taking the place of old ones.
    pub rolling: bool,
    /// Each of its workers, by id.
    pub processes: Vec<WorkerReport>,
}

/// One worker.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerReport {
    /// Its id.
    pub id: WorkerId,
    /// The app's own pid, or the shim's while there is none.
    pub pid: Option<u32>,
    /// `starting`, `ready`, `draining`, …: as `ctl workers` says.
    pub state: String,
    /// The code it runs.
    pub generation: Generation,
    /// Requests it has.
    pub inflight: u32,
    /// Requests it was given.
    pub requests: u64,
    /// Resident memory, bytes; null where it cannot be known.
    pub rss_bytes: Option<u64>,
    /// Whole seconds since it was started.
    pub age: u64,
}

/// Counters since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Requests that were answered, or ended without an answer; those that the edge itself answered or
    /// refused too.
    pub requests: u64,
    /// Of those, by the class of their status: `1xx` to `5xx`, all five.
    pub responses: BTreeMap<String, u64>,
    /// From the first byte of a request to the last of its answer.
    pub latency: Percentiles,
    /// Waiting for workers.
    pub queue: QueueMetrics,
    /// Lives of workers.
    pub workers: WorkerMetrics,
    /// Certificates from ACME authorities.
    pub acme: AcmeMetrics,
    /// WebSocket clients of the hub.
    pub websocket: WebsocketMetrics,
    /// Durable sessions.
    pub sessions: SessionMetrics,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of response bodies.
    pub bytes_out: u64,
    /// What the edge refused or ended, by reason code; only those that happened.
    pub rejects: BTreeMap<String, u64>,
}

/// Seconds; 0 where there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 95 of 100 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
}

/// Waiting for workers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueMetrics {
    /// Requests that had to wait.
    pub queued: u64,
    /// Of those, the ones that waited too long (504).
    pub timeouts: u64,
    /// Requests that were not even let wait (503).
    pub shed: u64,
    /// Seconds; of the requests that had to wait 99 of 100 waited less.
    #[serde(rename = "waitP99")]
    pub wait_p99: f64,
}

/// Lives of workers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct WorkerMetrics {
    /// Started again after they ended unasked.
    pub restarts: u64,
    /// Replaced although nothing was wrong with them.
    pub recycled: u64,
    /// Slots that were given up after crashes.
    pub abandoned: u64,
}

/// Certificates from ACME authorities.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AcmeMetrics {
    /// Certificates that came, first ones too.
    pub renewals: u64,
    /// Tries that failed.
    pub failures: u64,
}

/// WebSocket clients of the hub.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct WebsocketMetrics {
    /// Clients that were let in.
    pub connections: u64,
    /// Messages of theirs.
    pub messages: u64,
    /// Messages that were given to them.
    pub deliveries: u64,
}

/// Durable sessions.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionMetrics {
    /// Turns that run at this moment.
    pub active: u64,
    /// Turns that were begun.
    pub turns: u64,
    /// Turns that were committed.
    pub committed: u64,
    /// Requests for a turn that were refused before anything ran.
    pub refused: u64,
}

/// The last minute, for who watches.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recent {
    /// Seconds it covers: less than a minute after a start.
    pub seconds: f64,
    /// Requests a second in it.
    pub requests_per_second: f64,
    /// Answers with 5xx a second in it.
    pub errors_per_second: f64,
    /// Latency in it.
    pub latency: Percentiles,
}

/// A request that failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorReport {
    /// When it ended.
    pub at: u64,
    /// Its id.
    pub id: String,
    /// What its client got.
    pub status: u16,
    /// The method.
    pub method: String,
    /// The path, without what follows `?`.
    pub path: String,
    /// The app or the upstream; null where none was asked.
    pub app: Option<String>,
    /// The code of why the edge itself answered or ended it; null where it did not.
    pub reason: Option<String>,
}

/// What is so at this moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gauges {
    /// Workers that are ready, of all apps.
    pub workers_active: u32,
    /// Requests that workers have.
    pub inflight: u32,
    /// Requests that wait for a worker.
    pub queue_depth: u32,
    /// Client connections.
    pub connections: u64,
}

/// The hub at this moment, and its counters since the start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RealtimeReport {
    /// Clients that are connected.
    pub clients: u64,
    /// Groups that have members.
    pub groups: u64,
    /// Messages that were given to clients.
    pub deliveries: u64,
    /// Messages of clients.
    pub messages: u64,
    /// Clients that were let in.
    pub connections: u64,
}

/// The active configuration and how it came to be.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReport {
    /// The active version, from 1.
    pub version: u64,
    /// The Edgefile; null where there is none.
    pub path: Option<String>,
    /// The newest of `history`.
    pub last_attempt: Option<serde_json::Value>,
    /// The last attempts to change it, newest last, in the form that `GET /history` has.
    pub history: Vec<serde_json::Value>,
}

/// A certificate that is served.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertReport {
    /// The names it is good for.
    pub domains: Vec<String>,
    /// Where it comes from: `file`, `acme`, …
    pub source: String,
    /// Good until then, in seconds since 1970.
    pub not_after: u64,
    /// Whole days until then; negative when it has ended.
    pub days_left: i64,
}

/// A server that is not ours.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpstreamReport {
    /// Its upstream.
    pub id: String,
    /// As `GET /upstreams` shows its targets.
    pub targets: Vec<serde_json::Value>,
}
