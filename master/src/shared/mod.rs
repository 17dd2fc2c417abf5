//! What several threads may touch: mailboxes' messages, short mutexes over pure cores, counters.
//!
//! Nothing here waits and no lock is held across a system call. What a core wants done is taken
//! out under its lock and carried out after it.

pub mod budget;
pub mod cert_files;
pub mod certs;
pub mod connections;
pub mod diagnostics;
pub mod disk_file;
pub mod door;
pub mod draft;
pub mod files;
pub mod hub;
pub mod log;
pub mod logins;
pub mod mail;
pub mod names;
pub mod notes;
pub mod pages;
pub mod pools;
pub mod private_path;
pub mod rates;
pub mod realtime;
pub mod renewals;
pub mod secrets;
pub mod session_places;
pub mod sessions;
pub mod sites;
pub mod snapshot;
pub mod stats;
pub mod store;
pub mod store_state;
pub mod stored;
pub mod tallies;
pub mod target;
pub mod tls;
pub mod upstream_tls;
pub mod upstreams;

use crate::reactor::mailbox::Sender;
use crate::shared::log::LogSink;
use connections::Connections;
use mail::ControlMessage;
use rip::contract::secret::Secret;
use rip::ids::AppId;
use rip::observe::status::{Health, Status};
use rip::pool::Pool;
use rip::time::Instant;
use snapshot::{Current, Snapshot};
use stats::Stats;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything the threads of one master share.
pub struct Shared {
    /// The active configuration.
    pub current: Current,
    /// One line per request.
    pub access_log: bool,
    /// Lines are JSON objects.
    pub json: bool,
    /// Counters, a shard for each loop.
    pub stats: Stats,
    /// What is remembered of the last requests.
    pub notes: notes::LoopNotes,
    /// Client connections of the whole process.
    pub connections: Connections,
    /// Request bodies waiting in memory.
    pub spool_memory: budget::Budget,
    /// Request bodies waiting in files.
    pub spool_disk: budget::Budget,
    /// Where request bodies that outgrow memory go.
    pub spool_dir: PathBuf,
    /// Prefixes whose pages want to hear of changed files.
    pub pages: pages::Pages,
    /// What HTTPS is served with.
    pub tls: Arc<tls::Tls>,
    /// Certificates that somebody wants renewed now.
    pub renewals: renewals::Renewals,
    /// What who publishes has to know, unless a site or the configuration has a file of its own.
    pub publish_secret: Option<Secret>,
    /// What WebSocket clients are told.
    pub hubs: hub::Hubs,
    /// Turns that run, who looks on, and where the store gets its orders.
    pub sessions: sessions::Sessions,
    /// Who may order something from the dashboard.
    pub logins: logins::SharedLogins,
    /// Jobs for the files agent.
    pub files: files::FileQueue,
    /// Lines for the log agent.
    pub log: LogSink,
    /// The control loop's mailbox.
    pub control: Sender<ControlMessage>,
}

impl Shared {
    /// How the active configuration's upstreams are.
    pub fn upstreams(&self, now: Instant) -> Vec<upstreams::UpstreamView> {
        self.current.load().upstreams.iter().map(|upstream| upstream.view(now)).collect()
    }

    /// Makes `snapshot` the active one; what it replaces is returned. Its bounds apply at once to
    /// what is there already, and who was counted under a rate limit stays counted. There may be
    /// `max_connections` clients.
    ///
    /// Taken back by activating what was returned. The loops are to be told of it.
    pub fn activate(
        &self,
        snapshot: Arc<Snapshot>,
        max_connections: u32,
        now: Instant,
    ) -> Arc<Snapshot> {
        let limits = snapshot.config.edge.limits;
        self.connections.configure(max_connections, limits.per_address);
        self.spool_memory.configure(limits.spool_memory_bytes);
        self.spool_disk.configure(limits.spool_disk_bytes);
        snapshot.rates.succeed(&self.current.load().rates);
        for hub in self.hubs.all() {
            hub.configure(&snapshot.realtime.settings_of(&hub.app), now);
        }
        self.current.activate(snapshot)
    }

    /// The apps without a worker that is ready.
    pub fn unready(&self) -> Vec<AppId> {
        let snapshot = self.current.load();
        let is_ready = |pool: &pools::AppPool| pool.view(Pool::ready_count) > 0;
        let unready = snapshot.pools.iter().filter(|pool| !is_ready(pool));
        unready.map(|pool| pool.id.clone()).collect()
    }

    /// The short answer to "is it well?".
    pub fn status(&self, now: Instant) -> Status {
        let snapshot = self.current.load();
        let config = &snapshot.config;
        let ready = snapshot.pools.iter().map(|pool| pool.view(Pool::ready_count));
        let (serves, workers) =
            ready.fold((true, 0), |(all, sum), count| (all && count > 0, sum + count));
        let well = serves && !snapshot.pools.iter().any(|pool| pool.is_short());
        Status {
            health: if well { Health::Healthy } else { Health::Degraded },
            serves,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app: config.apps.first().map(|app| app.id.clone()),
            workers,
            ports: config.edge.public_listeners().map(|listener| listener.port).collect(),
            uptime: now.since(Instant::default()).as_secs(),
            hosts: config.hosts(),
        }
    }
}
