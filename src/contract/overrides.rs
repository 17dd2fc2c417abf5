//! What flags and the environment say about a configuration that a file describes.

use super::app::Reload;
use super::config::Config;
use super::listen::ListenAddress;
use std::time::Duration;

/// Values that stand above those of the file; `None` leaves the file's. Those of apps hold for every
/// app.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// Plain HTTP listeners.
    pub http: Option<Vec<ListenAddress>>,
    /// Edge loops.
    pub loops: Option<u16>,
    /// Largest request body in bytes.
    pub body_bytes: Option<u64>,
    /// Client connections at once.
    pub connections: Option<u32>,
    /// Client connections of one address at once.
    pub per_address: Option<u32>,
    /// Where large request bodies go.
    pub spool_dir: Option<String>,
    /// A request head.
    pub head_timeout: Option<Duration>,
    /// A silence inside a request body.
    pub body_timeout: Option<Duration>,
    /// A connection between requests.
    pub idle_timeout: Option<Duration>,
    /// A response without progress.
    pub write_timeout: Option<Duration>,
    /// One line per request.
    pub access_log: Option<bool>,
    /// JSON lines.
    pub json: Option<bool>,
    /// Workers of each app.
    pub workers: Option<u32>,
    /// Requests one worker may have in flight.
    pub concurrency: Option<u32>,
    /// Requests that may wait.
    pub max_queue: Option<u32>,
    /// Connecting to a worker.
    pub connect_timeout: Option<Duration>,
    /// A worker's answer.
    pub read_timeout: Option<Duration>,
    /// Waiting for a worker.
    pub queue_timeout: Option<Duration>,
    /// From spawn to join.
    pub start_timeout: Option<Duration>,
    /// From retirement to SIGTERM.
    pub drain_timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub kill_timeout: Option<Duration>,
    /// Until a worker that does not end a request is aborted.
    pub stuck_timeout: Option<Duration>,
    /// The files of apps do not change: none is watched.
    pub static_apps: bool,
}

impl Overrides {
    /// Puts them above what `config` says.
    pub fn apply(&self, config: &mut Config) {
        let edge = &mut config.edge;
        replace(&mut edge.http, &self.http);
        replace(&mut edge.loops, &self.loops.map(Some));
        replace(&mut edge.limits.body_bytes, &self.body_bytes);
        replace(&mut edge.limits.connections, &self.connections.map(Some));
        replace(&mut edge.limits.per_address, &self.per_address.map(Some));
        replace(&mut edge.spool_dir, &self.spool_dir.clone().map(Some));
        replace(&mut edge.phases.head, &self.head_timeout);
        replace(&mut edge.phases.body, &self.body_timeout);
        replace(&mut edge.phases.idle, &self.idle_timeout);
        replace(&mut edge.phases.write, &self.write_timeout);
        replace(&mut edge.log.access, &self.access_log);
        replace(&mut edge.log.json, &self.json);
        for app in &mut config.apps {
            let whole = app.workers.saturating_mul(app.concurrency);
            replace(&mut app.workers, &self.workers);
            replace(&mut app.concurrency, &self.concurrency);
            if app.max_inflight >= whole {
                app.max_inflight = app.workers.saturating_mul(app.concurrency);
            }
            replace(&mut app.max_queue, &self.max_queue);
            let timeouts = &mut app.timeouts;
            replace(&mut timeouts.connect, &self.connect_timeout);
            replace(&mut timeouts.read, &self.read_timeout);
            replace(&mut timeouts.queue, &self.queue_timeout);
            replace(&mut timeouts.start, &self.start_timeout);
            replace(&mut timeouts.drain, &self.drain_timeout);
            replace(&mut timeouts.kill, &self.kill_timeout);
            replace(&mut timeouts.stuck, &self.stuck_timeout);
            if self.static_apps {
                app.reload = Reload::None;
                app.watch.clear();
            }
        }
    }
}

fn replace<T: Clone>(value: &mut T, with: &Option<T>) {
    if let Some(with) = with {
        value.clone_from(with);
    }
}
