//! What the control socket tells: apps, workers, hosts, status.

use super::crew::{Crew, Hosted};
use super::crews::Crews;
use super::reload::Added;
use crate::shared::upstreams::UpstreamView;
use crate::sys::proc::rss_bytes;
use rip::contract::app::AppDescriptor;
use rip::contract::config::Config;
use rip::contract::worker::{WorkerEndpoint, WorkerState};
use rip::ids::{AppId, Generation, WorkerId};
use rip::observe::lives::{AppLives, Lives};
use rip::observe::report::{AppReport, WorkerReport};
use rip::pool::WorkerView;
use rip::supervise::RollProgress;
use rip::time::UnixMillis;

use serde::Serialize;
use std::collections::BTreeMap;

/// `GET /workers`.
#[derive(Serialize)]
pub struct Workers {
    ok: bool,
    workers: Vec<WorkerRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerRow {
    #[serde(flatten)]
    endpoint: WorkerEndpoint,
    pid: Option<u32>,
    app_pid: Option<u32>,
    generation: Generation,
    /// Of the app's process, or of the shim while there is none.
    rss_bytes: Option<u64>,
    /// How the slot's last worker ended.
    last_exit: Option<String>,
}

impl Workers {
    /// Every worker, by app and id.
    pub fn of(crews: &Crews) -> Self {
        Self { ok: true, workers: crews.iter().flat_map(WorkerRow::all_of).collect() }
    }
}

impl WorkerRow {
    /// Each worker of `crew`, by id.
    fn all_of(crew: &Crew) -> Vec<Self> {
        let views: BTreeMap<WorkerId, WorkerView> =
            crew.pool.view(|pool| pool.workers().map(|view| (view.worker, view)).collect());
        let row = |(worker, hosted): (WorkerId, &Hosted)| {
            let (stage, generation) = crew.stage(worker)?;
            let view = views.get(&worker);
            Some(Self {
                endpoint: WorkerEndpoint {
                    app_id: crew.descriptor().id.clone(),
                    worker_id: worker,
                    socket_path: hosted.socket.display().to_string(),
                    inflight: view.map_or(0, |view| view.inflight),
                    version: generation,
                    state: stage.state(),
                    started_at: hosted.started_wall,
                    request_count: view.map_or(0, |view| view.requests),
                },
                pid: hosted.pid(),
                app_pid: hosted.app_pid,
                generation,
                rss_bytes: hosted.app_pid.or(hosted.pid()).and_then(rss_bytes),
                last_exit: crew.last_exit_before(worker).map(str::to_owned),
            })
        };
        crew.workers().filter_map(row).collect()
    }

    fn report(self, wall: UnixMillis) -> WorkerReport {
        let Self { endpoint, pid, app_pid, generation, rss_bytes, last_exit: _ } = self;
        WorkerReport {
            id: endpoint.worker_id,
            pid: app_pid.or(pid),
            state: word_of(endpoint.state).to_owned(),
            generation,
            inflight: endpoint.inflight,
            requests: endpoint.request_count,
            rss_bytes,
            age: wall.0.saturating_sub(endpoint.started_at) / 1000,
        }
    }
}

/// As it is in JSON.
fn word_of(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Starting => "starting",
        WorkerState::Ready => "ready",
        WorkerState::Draining => "draining",
        WorkerState::Stopped => "stopped",
    }
}

/// `GET /apps`.
#[derive(Serialize)]
pub struct Apps<'a> {
    ok: bool,
    apps: Vec<AppRow<'a>>,
}

/// What the rows of `/apps` need besides the crews.
pub struct AppNotes<'a> {
    /// The server is on its way down.
    pub stopping: bool,
    /// How the last worker of each app ended that was not asked to.
    pub last_exits: &'a BTreeMap<AppId, String>,
    /// What became of workers so far.
    pub lives: &'a Lives,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppRow<'a> {
    /// With the number of workers that is wanted now.
    #[serde(flatten)]
    descriptor: AppDescriptor,
    state: &'static str,
    ready: usize,
    generation: Generation,
    inflight: u32,
    queue_depth: u32,
    restarts: u64,
    abandoned: bool,
    /// Requests wait although workers may be free.
    paused: bool,
    rolling: Option<Rolling>,
    /// How the last worker ended that was not asked to.
    last_exit: Option<&'a str>,
}

/// How far a roll is.
#[derive(Serialize)]
struct Rolling {
    /// The new code.
    generation: Generation,
    /// Workers that run it and are ready.
    fresh: usize,
    /// Workers that should.
    wanted: usize,
    /// Processes that run older code.
    old: usize,
}

impl Rolling {
    fn of(crew: &Crew) -> Option<Self> {
        let RollProgress { generation, fresh, wanted } = crew.roll_progress()?;
        let is_old = |worker| crew.stage(worker).is_some_and(|(_, runs)| runs < generation);
        let old = crew.workers().filter(|(worker, _)| is_old(*worker)).count();
        Some(Self { generation, fresh, wanted, old })
    }
}

impl<'a> Apps<'a> {
    /// The apps that `crews` serve.
    pub fn of(crews: impl Iterator<Item = &'a Crew>, notes: &AppNotes<'a>) -> Self {
        Self { ok: true, apps: crews.map(|crew| AppRow::of(crew, notes)).collect() }
    }
}

impl<'a> AppRow<'a> {
    fn of(crew: &Crew, notes: &AppNotes<'a>) -> Self {
        let mut descriptor = crew.descriptor().clone();
        let whole = descriptor.workers.saturating_mul(descriptor.concurrency);
        descriptor.workers = u32::try_from(crew.wanted()).unwrap_or(u32::MAX);
        if descriptor.max_inflight >= whole {
            descriptor.max_inflight = descriptor.workers.saturating_mul(descriptor.concurrency);
        }
        let summary = crew.summary();
        let (inflight, queue_depth, paused) =
            crew.pool.view(|pool| (pool.inflight(), pool.queue_depth(), pool.is_held()));
        let state = match summary.ready {
            _ if notes.stopping => "stopping",
            _ if summary.abandoned => "abandoned",
            0 if !summary.ever_ready => "starting",
            0 => "down",
            ready if ready < summary.wanted => "degraded",
            _ => "ready",
        };
        let last_exit = notes.last_exits.get(&descriptor.id).map(String::as_str);
        Self {
            descriptor,
            state,
            ready: summary.ready,
            generation: summary.generation,
            inflight,
            queue_depth,
            // Those of the process, whichever crew the app had.
            restarts: notes.lives.apps.get(&crew.pool.id).map_or(0, AppLives::restarted),
            abandoned: summary.abandoned,
            paused,
            rolling: Rolling::of(crew),
            last_exit,
        }
    }
}

/// What is reported of the app that `crew` serves, whose workers are in `crews`.
pub fn app_report<'a>(
    crew: &Crew,
    crews: impl Iterator<Item = &'a Crew>,
    notes: &AppNotes<'_>,
    wall: UnixMillis,
) -> AppReport {
    let row = AppRow::of(crew, notes);
    AppReport {
        id: row.descriptor.id,
        state: row.state.to_owned(),
        workers: row.descriptor.workers,
        ready: u32::try_from(row.ready).unwrap_or(u32::MAX),
        inflight: row.inflight,
        queue_depth: row.queue_depth,
        generation: row.generation,
        restarts: row.restarts,
        last_exit: row.last_exit.map(str::to_owned),
        paused: row.paused,
        rolling: row.rolling.is_some(),
        processes: crews.flat_map(WorkerRow::all_of).map(|row| row.report(wall)).collect(),
    }
}

/// `GET /upstreams`.
#[derive(Serialize)]
pub struct Upstreams {
    ok: bool,
    upstreams: Vec<UpstreamView>,
}

impl Upstreams {
    /// As they are.
    pub fn of(upstreams: Vec<UpstreamView>) -> Self {
        Self { ok: true, upstreams }
    }
}

/// `GET /registry`.
#[derive(Serialize)]
pub struct Registry<'a> {
    ok: bool,
    hosts: Vec<String>,
    apps: BTreeMap<&'a AppId, Vec<&'a str>>,
    /// Those that were added while the server runs.
    added: Vec<Added<'a>>,
}

impl<'a> Registry<'a> {
    /// The hosts of each app.
    pub fn of(config: &'a Config, added: Vec<Added<'a>>) -> Self {
        let row = |app: &'a AppDescriptor| (&app.id, config.hosts_of(app));
        Self { ok: true, hosts: config.hosts(), apps: config.apps.iter().map(row).collect(), added }
    }
}
