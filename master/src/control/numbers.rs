//! All numbers at one moment: what loops, pools, hubs and sessions have counted, and what became of
//! workers, configurations and certificates.
//!
//! Whoever shows numbers asks once and draws everything from the answer, so that it agrees with
//! itself: [`Master::numbers`].

use super::crew::Crew;
use super::master::Master;
use crate::shared::certs::CertSet;
use crate::shared::pools::AppPool;
use crate::sys::proc::rss_bytes;
use rip::contract::event::Event;
use rip::ids::{AppId, PoolNumber};
use rip::observe::lives::Lives;
use rip::observe::numbers::{
    AppNumbers, Decided, Numbers, RealtimeNumbers, TargetNumbers, WorkerNumbers,
};
use rip::observe::report::Version;
use rip::pool::Decisions;
use rip::time::{Instant, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};

/// What was counted of things that are not there any more, or never stay.
#[derive(Debug)]
pub struct Past {
    /// When the server was started, in seconds since 1970.
    started: f64,
    /// Events.
    lives: Lives,
    /// Decisions of pools that have gone.
    decisions: BTreeMap<AppId, Decisions>,
}

impl Past {
    /// Nothing was yet, of a server whose clock shows this.
    pub fn new(now: Instant, wall: UnixMillis) -> Self {
        let uptime = now.since(Instant::default());
        let started = wall.0 as f64 / 1e3 - uptime.as_secs_f64();
        // To the millisecond: the clocks know no more of it.
        let started = (started * 1e3).round() / 1e3;
        Self { started, lives: Lives::default(), decisions: BTreeMap::new() }
    }

    /// Counts what happened.
    pub fn tell(&mut self, event: &Event) {
        self.lives.tell(event);
    }

    /// What was counted of events.
    pub fn lives(&self) -> &Lives {
        &self.lives
    }

    /// A pool is about to go: what it has counted stays.
    pub fn remember(&mut self, pool: &AppPool) {
        let decisions = pool.view(|pool| pool.counters().decisions);
        self.decisions.entry(pool.id.clone()).or_default().merge(&decisions);
    }
}

impl Master {
    /// Everything that is counted or measured, now.
    pub(super) fn numbers(&self) -> Numbers {
        let now = self.clock.now();
        let shared = &self.shared;
        let active = shared.current.load();
        let (turns_running, session_readers) = {
            let table = shared.sessions.table();
            (table.running_count() as u64, table.viewer_count() as u64)
        };
        let (followers, followers_dropped) = self.server.followers();
        Numbers {
            version: version(),
            started: self.past.started,
            uptime: now.since(Instant::default()),
            tally: shared.stats.read_tallies(now),
            counters: shared.stats.read(),
            lives: self.past.lives.clone(),
            apps: self.app_numbers(&self.active_pools()),
            decisions: self.decisions(),
            config_version: active.version,
            certs: ends_of(&shared.tls.certs.load()),
            connections: shared.connections.open().into(),
            realtime: self.realtime_numbers(),
            turns_running,
            session_readers,
            targets: self.target_numbers(),
            followers: followers as u64,
            followers_dropped,
            lines_dropped: shared.log.lost_lines(),
            spooled: [shared.spool_memory.taken(), shared.spool_disk.taken()],
            rss_bytes: rss_bytes(std::process::id()),
        }
    }

    /// The apps of the `active` pools, by declaration, then others that still have a crew. An app with
    /// two crews, because one takes the place of the other, is one app: its requests and workers are
    /// those of both, what is wanted and ready is the active one's.
    fn app_numbers(&self, active: &[PoolNumber]) -> Vec<AppNumbers> {
        let mut apps: Vec<AppNumbers> = Vec::new();
        let is_active = |crew: &&Crew| active.contains(&crew.pool.number);
        let serving = active.iter().filter_map(|pool| self.crews.get(*pool));
        let others = self.crews.iter().filter(|crew| !is_active(crew));
        for crew in serving.chain(others) {
            let numbers = numbers_of(crew, is_active(&crew));
            match apps.iter_mut().find(|app| app.id == numbers.id) {
                None => apps.push(numbers),
                Some(app) => {
                    app.inflight += numbers.inflight;
                    app.queue_depth += numbers.queue_depth;
                    app.workers.extend(numbers.workers);
                }
            }
        }
        apps
    }

    fn decisions(&self) -> Vec<Decided> {
        let mut sums = self.past.decisions.clone();
        for crew in self.crews.iter() {
            let decisions = crew.pool.view(|pool| pool.counters().decisions);
            sums.entry(crew.pool.id.clone()).or_default().merge(&decisions);
        }
        let of_app = |(app, decisions): (AppId, Decisions)| {
            let decided = decisions.iter().map(|(algorithm, fallback, count)| Decided {
                app: app.clone(),
                algorithm,
                fallback,
                count,
            });
            decided.collect::<Vec<_>>()
        };
        sums.into_iter().flat_map(of_app).collect()
    }

    fn realtime_numbers(&self) -> RealtimeNumbers {
        let mut sums = RealtimeNumbers::default();
        for hub in self.shared.hubs.all() {
            let counts = hub.counts();
            sums.clients += counts.clients as u64;
            sums.groups += counts.groups as u64;
            sums.kept += counts.history_messages as u64;
            sums.kept_bytes += counts.history_bytes as u64;
            sums.instructions += counts.messages;
            sums.letters += counts.letters;
            sums.letters_dropped += counts.dropped;
        }
        sums
    }

    fn target_numbers(&self) -> Vec<TargetNumbers> {
        let mut seen = BTreeSet::new();
        let mut targets = Vec::new();
        for upstream in self.shared.upstreams(self.clock.now()) {
            for target in upstream.targets {
                // A server that is named twice is one series.
                if seen.insert((upstream.id.clone(), target.url.clone())) {
                    targets.push(TargetNumbers {
                        upstream: upstream.id.clone(),
                        url: target.url,
                        is_up: target.serving,
                        inflight: target.inflight.into(),
                        requests: target.requests,
                        failures: target.failures,
                    });
                }
            }
        }
        targets
    }
}

/// Which server this is.
fn version() -> Version {
    Version {
        server: env!("CARGO_PKG_VERSION").to_owned(),
        rip: rip::VERSION.to_owned(),
        git: option_env!("RIP_GIT").map(str::to_owned),
    }
}

fn numbers_of(crew: &Crew, is_active: bool) -> AppNumbers {
    let summary = crew.summary();
    let (inflight, queue_depth, is_paused, leases) = crew.pool.view(|pool| {
        let leases = pool.workers().map(|view| (view.worker, view.inflight));
        let leases: BTreeMap<_, _> = leases.collect();
        (pool.inflight(), pool.queue_depth(), pool.is_held(), leases)
    });
    let workers = crew.workers().map(|(id, hosted)| WorkerNumbers {
        id,
        inflight: leases.get(&id).copied().unwrap_or_default().into(),
        rss_bytes: hosted.app_pid.or(hosted.pid()).and_then(rss_bytes),
    });
    let serving = |count: usize| if is_active { count as u64 } else { 0 };
    AppNumbers {
        id: crew.pool.id.clone(),
        wanted: serving(summary.wanted),
        ready: serving(summary.ready),
        inflight: inflight.into(),
        queue_depth: queue_depth.into(),
        is_paused,
        workers: workers.collect(),
    }
}

/// Until when the certificate is good that a client of each domain gets. One that is there and is not
/// chosen for its own name does not count, unless none is.
fn ends_of(set: &CertSet) -> Vec<(String, u64)> {
    let mut ends: BTreeMap<&String, u64> = BTreeMap::new();
    for served in &set.served {
        for domain in &served.record.domains {
            let chosen = set.select(Some(domain)).map(|chosen| &chosen.record);
            let chosen = chosen.filter(|record| record.domains.contains(domain));
            let end = ends.entry(domain).or_default();
            *end = match chosen {
                Some(chosen) => chosen.not_after,
                None => served.record.not_after.max(*end),
            };
        }
    }
    ends.into_iter().map(|(domain, end)| (domain.clone(), end)).collect()
}
