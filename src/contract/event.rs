//! Lifecycle events: one enum, so that logs, the event stream and the documentation agree.
//!
//! JSON: `{"t":…,"event":"worker_ready",…}`; the human form is `rip: worker_ready app=api …`.

use super::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
use super::cert::CertSource;
use crate::ids::{AppId, Generation, WorkerId};
use serde::Serialize;

/// Something in the life of the server worth telling its operator.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// The app's files have changed, and its workers load it anew without being replaced.
    AppReload {
        /// The app.
        app: AppId,
        /// The file that changed first, below the app's directory.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// How many workers were told.
        workers: usize,
    },
    /// Certificates are made by a local authority, which browsers have to be told of once.
    CertAuthority {
        /// Its certificate.
        path: String,
        /// It was made just now.
        made: bool,
        /// How to have it believed, one way a line; only when it was made just now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        trust: Vec<String>,
    },
    /// A certificate that only its operator can renew ends soon.
    CertExpiring {
        /// The names it is good for.
        domains: Vec<String>,
        /// Its file.
        path: String,
        /// Good until then, in seconds since 1970.
        not_after: u64,
        /// Whole days until then.
        days: u64,
    },
    /// A certificate cannot be used, or none could be got.
    CertFailed {
        /// The names it is for, as far as they are known.
        domains: Vec<String>,
        /// Its file, or its directory.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// What is wrong, and how to mend it.
        reason: String,
        /// The one before it is served on.
        kept: bool,
        /// When it is tried again by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    /// A certificate is served from now on, or is what it should be again.
    CertLoaded {
        /// The names it is good for.
        domains: Vec<String>,
        /// Where it comes from.
        source: CertSource,
        /// Good until then, in seconds since 1970.
        not_after: u64,
        /// SHA-256 in lower-case hexadecimal.
        fingerprint: String,
        /// Its file; none for one that is in memory only.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// An ACME authority has given a certificate, and it is served.
    CertRenewed {
        /// The name it is for.
        domain: String,
        /// The URL of the authority's directory.
        authority: String,
        /// How the name was shown to be ours: `http-01`, `tls-alpn-01`, or `none` where the authority
        /// still knew.
        challenge: &'static str,
        /// Good until then, in seconds since 1970.
        not_after: u64,
        /// Milliseconds since it was ordered.
        took_ms: u64,
    },
    /// A new configuration is active.
    #[serde(rename = "config-activated")]
    ConfigActivated(Attempted),
    /// A new configuration was refused before it became active.
    #[serde(rename = "config-rejected")]
    ConfigRejected(Attempted),
    /// A new configuration became active and was taken back.
    #[serde(rename = "config-rollback")]
    ConfigRollback(Attempted),
    /// Somebody has ordered something.
    Control {
        /// What, as the command line calls it: `restart`, `scale`, `stop`, …, or `login` and `logout` of
        /// the dashboard.
        verb: &'static str,
        /// What of, as far as the order says: an app, a worker, a host, a name, a number of workers.
        #[serde(skip_serializing_if = "String::is_empty")]
        target: String,
        /// How it came.
        by: Door,
        /// The user who asked, as the kernel says; with the control socket only.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        /// The process that asked, as the kernel says; with the control socket only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        /// The client's address; with the dashboard only.
        #[serde(skip_serializing_if = "Option::is_none")]
        ip: Option<String>,
        /// What became of it.
        result: Ordered,
    },
    /// Lines could not be told.
    LogDropped {
        /// What was not told: `stdout`, `stderr`, or a worker's output, `w3`.
        from: String,
        /// How many lines.
        lines: u64,
        /// Why: `too fast`, `too slow`, `closed`, `failed`.
        reason: &'static str,
    },
    /// The master has read its configuration and begins.
    ServerStart {
        /// The app.
        app: AppId,
        /// Workers to be started.
        workers: u32,
        /// The master's pid.
        pid: u32,
        /// Its version.
        version: &'static str,
    },
    /// Listening, and the first worker has joined.
    ServerReady {
        /// Addresses clients can use.
        urls: Vec<String>,
        /// Milliseconds since the start.
        took_ms: u64,
    },
    /// The server ends.
    ServerStop {
        /// What asked for it: `TERM`, `INT`, `QUIT`, `api`.
        reason: String,
        /// Exchanges that were cut off.
        cut: u64,
    },
    /// A turn had nobody to run it any more: whoever ran it has ended or has lost it. Its token is good,
    /// and it may be run again.
    SessionInterrupted {
        /// Its session, which is no secret: nothing can be read or done with it alone.
        session_id: String,
        /// The turn.
        turn: u64,
        /// So many more were found with it, and are not told one by one.
        #[serde(skip_serializing_if = "is_zero")]
        untold: u64,
    },
    /// The store of sessions is broken: it was moved out of the way, and a new one is empty.
    SessionsBroken {
        /// Where it was.
        path: String,
        /// Where it is now; nothing was deleted.
        moved_to: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store of sessions takes nothing: turns are refused.
    SessionsFailed {
        /// Where it is.
        path: String,
        /// Why.
        reason: String,
    },
    /// The store of sessions takes turns again.
    SessionsRecovered {
        /// Where it is.
        path: String,
    },
    /// The server hands over to another of itself: it begins to.
    UpgradeStart {
        /// The process that hands over.
        pid: u32,
        /// The program that is started.
        binary: String,
    },
    /// The hand-over has ended.
    UpgradeDone {
        /// How.
        result: UpgradeResult,
        /// The process that began it.
        old_pid: u32,
        /// The process that was started; when it got as far.
        #[serde(skip_serializing_if = "Option::is_none")]
        new_pid: Option<u32>,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Milliseconds since it began.
        took_ms: u64,
    },
    /// A server of an upstream gets no requests any more.
    UpstreamDown {
        /// The upstream.
        upstream: String,
        /// The server's URL.
        target: String,
        /// `checks` that it failed, or `failures` of requests.
        reason: &'static str,
        /// After so many milliseconds one request tries it; only with `failures`.
        #[serde(skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// A server of an upstream that was down gets requests again.
    UpstreamUp {
        /// The upstream.
        upstream: String,
        /// The server's URL.
        target: String,
    },
    /// A WebSocket client has left.
    WsClose {
        /// Its app.
        app: AppId,
        /// The client.
        client_id: String,
        /// How it was closed (RFC 6455 §7.4).
        code: u16,
        /// In words, of whoever closed it.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// What an app answered for a WebSocket client, or a part of it, reaches nobody. Of an app that
    /// always fails not all are told.
    WsError {
        /// The app.
        app: AppId,
        /// The client it was asked for.
        client_id: String,
        /// The request.
        request_id: String,
        /// What is wrong with the answer.
        reason: String,
        /// How many more there were since the one told before.
        #[serde(skip_serializing_if = "is_zero")]
        untold: u64,
    },
    /// A WebSocket client has come, and its app let it in.
    WsOpen {
        /// Its app.
        app: AppId,
        /// The client.
        client_id: String,
        /// Its address.
        #[serde(skip_serializing_if = "Option::is_none")]
        ip: Option<String>,
    },
    /// A worker's process was started.
    WorkerStart {
        /// Its app.
        app: AppId,
        /// The worker.
        worker_id: WorkerId,
        /// The code it runs.
        generation: Generation,
        /// The shim's pid.
        pid: u32,
    },
    /// A worker joined its pool.
    WorkerReady {
        /// Its app.
        app: AppId,
        /// The worker.
        worker_id: WorkerId,
        /// The code it runs.
        generation: Generation,
        /// The app's own pid.
        app_pid: u32,
        /// Milliseconds since its spawn.
        took_ms: u64,
    },
    /// A worker's process ended.
    WorkerExit {
        /// Its app.
        app: AppId,
        /// The worker.
        worker_id: WorkerId,
        /// The shim's pid.
        pid: u32,
        /// How: `exited 0`, `killed by SIGKILL`.
        status: String,
        /// It was asked to.
        expected: bool,
        /// The last lines it wrote to stderr; only when unexpected.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        stderr: Vec<String>,
    },
    /// A worker slot waits and then starts again.
    WorkerRestart {
        /// Its app.
        app: AppId,
        /// The worker that ended.
        worker_id: WorkerId,
        /// Failures in a row.
        attempt: u32,
        /// The pause before the next start.
        backoff_ms: u64,
        /// Why the last one ended.
        reason: String,
    },
    /// A worker slot failed too often and is given up for a while.
    WorkerAbandon {
        /// Its app.
        app: AppId,
        /// The worker that ended last.
        worker_id: WorkerId,
        /// Failures within the window.
        restarts: u32,
        /// Why the last one ended.
        reason: String,
        /// The last lines it wrote to stderr.
        stderr: Vec<String>,
    },
    /// A worker is replaced by a fresh one although nothing is wrong with it.
    WorkerRecycle {
        /// Its app.
        app: AppId,
        /// The worker.
        worker_id: WorkerId,
        /// `requests`, `seconds`, `reloads` or `rss`.
        reason: &'static str,
    },
    /// A worker does not end a request and is replaced.
    WorkerStuck {
        /// Its app.
        app: AppId,
        /// The worker.
        worker_id: WorkerId,
        /// The request it does not end; null when a health check found it out.
        request_id: Option<String>,
        /// The request's method.
        method: Option<String>,
        /// The request's path, without its query.
        path: Option<String>,
        /// Milliseconds since it got the request.
        age_ms: Option<u64>,
    },
    /// Fresh workers begin to take the place of the old ones.
    RollStart {
        /// The app.
        app: AppId,
        /// The new generation.
        generation: Generation,
        /// What asked for it: `api`, `HUP`, `watch`, `health`.
        reason: String,
        /// The file whose change asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// Every worker is fresh.
    RollDone {
        /// The app.
        app: AppId,
        /// The new generation.
        generation: Generation,
        /// Milliseconds since the roll began.
        took_ms: u64,
    },
    /// A fresh worker did not become ready: the old ones go on serving.
    RollAborted {
        /// The app.
        app: AppId,
        /// The generation that failed.
        generation: Generation,
        /// Why.
        reason: String,
        /// The last lines the failed worker wrote to stderr.
        stderr: Vec<String>,
    },
    /// A join or quit was refused.
    WorkerRefused {
        /// The worker it claimed to be.
        worker_id: WorkerId,
        /// Why.
        reason: String,
    },
}

/// An attempt, as events tell of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempted {
    /// Its number.
    pub attempt: u64,
    /// What asked for it.
    pub source: AttemptSource,
    /// The version that was active.
    pub old_version: u64,
    /// The version it was to be.
    pub new_version: u64,
    /// How it ended.
    pub result: AttemptResult,
    /// Why.
    pub code: AttemptCode,
    /// In words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// How long it took.
    pub duration_ms: u64,
}

/// Where an order came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Door {
    /// The control socket.
    Control,
    /// The dashboard, in a session of its own.
    Dashboard,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ordered {
    /// It is done.
    Done,
    /// It has begun; other events tell how it ends.
    Taken,
    /// It was refused, or came to nothing.
    Refused,
}

/// How a hand-over to another of itself ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UpgradeResult {
    /// The new one serves; the old one ends when it has finished what it has.
    Applied,
    /// The old one goes on as if nothing had been asked.
    Failed,
}

impl From<&Attempt> for Event {
    fn from(attempt: &Attempt) -> Self {
        let attempted = Attempted {
            attempt: attempt.id,
            source: attempt.source,
            old_version: attempt.old_version,
            new_version: attempt.new_version,
            result: attempt.result,
            code: attempt.code,
            details: attempt.details.clone(),
            duration_ms: attempt.duration_ms,
        };
        match attempt.result {
            AttemptResult::Applied => Self::ConfigActivated(attempted),
            AttemptResult::Rejected => Self::ConfigRejected(attempted),
            AttemptResult::RolledBack => Self::ConfigRollback(attempted),
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Event {
    /// True for events that tell of something wrong.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::RollAborted { .. }
            | Self::CertExpiring { .. }
            | Self::CertFailed { .. }
            | Self::ConfigRejected(_)
            | Self::ConfigRollback(_)
            | Self::WorkerStuck { .. }
            | Self::WsError { .. }
            | Self::LogDropped { .. }
            | Self::SessionsBroken { .. }
            | Self::SessionsFailed { .. }
            | Self::SessionInterrupted { .. }
            | Self::UpgradeDone { result: UpgradeResult::Failed, .. }
            | Self::UpstreamDown { .. }
            | Self::WorkerAbandon { .. }
            | Self::WorkerRefused { .. }
            | Self::WorkerRestart { .. }
            | Self::WorkerExit { expected: false, .. } => true,
            Self::ServerStop { cut, .. } => *cut > 0,
            _ => false,
        }
    }
}
