//! What flags and the environment say about a configuration that a file describes.

use super::app::Reload;
use super::config::{Config, DashboardConfig, RateLimit};
use super::https_flags::HttpsFlags;
use super::listen::{FreePorts, ListenAddress};
use crate::limits::RATE_WINDOW;
use std::time::Duration;

/// Values that stand above those of the file; `None` leaves the file's. Those of apps hold for every
/// app.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overrides {
    /// Plain HTTP listeners.
    pub http: Option<Vec<ListenAddress>>,
    /// HTTPS listeners; none for plain HTTP alone.
    pub https: Option<Vec<ListenAddress>>,
    /// The only listeners, but for those of `http`: of HTTPS where there is something to serve it
    /// with, else of plain HTTP.
    pub only: Option<Vec<ListenAddress>>,
    /// Certificates, and what goes with them.
    pub tls: HttpsFlags,
    /// Who the server becomes.
    pub user: Option<String>,
    /// Edge loops.
    pub loops: Option<u16>,
    /// Largest request body in bytes.
    pub body_bytes: Option<u64>,
    /// Client connections at once.
    pub connections: Option<u32>,
    /// Client connections of one address at once.
    pub per_address: Option<u32>,
    /// Requests of one client within the window, at sites without a limit of their own.
    pub rate_limit: Option<u32>,
    /// That window.
    pub rate_window: Option<Duration>,
    /// Where large request bodies go.
    pub spool_dir: Option<String>,
    /// Where sessions are kept.
    pub store: Option<String>,
    /// A request head.
    pub head_timeout: Option<Duration>,
    /// A silence inside a request body.
    pub body_timeout: Option<Duration>,
    /// A connection between requests.
    pub idle_timeout: Option<Duration>,
    /// A response without progress.
    pub write_timeout: Option<Duration>,
    /// Hosts of the page that shows the server.
    pub dashboard: Option<Vec<String>>,
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
        if let Some(hosts) = &self.dashboard {
            config.edge.dashboard = DashboardConfig { on: true, hosts: hosts.clone() };
        }
        self.tls.apply(config);
        self.apply_listeners(config);
        let edge = &mut config.edge;
        replace(&mut edge.user, &self.user.clone().map(Some));
        replace(&mut edge.loops, &self.loops.map(Some));
        replace(&mut edge.limits.body_bytes, &self.body_bytes);
        replace(&mut edge.limits.connections, &self.connections.map(Some));
        replace(&mut edge.limits.per_address, &self.per_address.map(Some));
        edge.rate_limit = self.rate(edge.rate_limit);
        replace(&mut edge.spool_dir, &self.spool_dir.clone().map(Some));
        replace(&mut edge.store, &self.store.clone().map(Some));
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

impl Overrides {
    /// What of a file's own listeners is not listened at.
    pub fn free_ports(&self) -> FreePorts {
        FreePorts {
            http: self.http.is_some() || self.only.is_some(),
            https: self.https.is_some() || self.only.is_some(),
        }
    }

    /// How often one client may ask, where `said` is what the file says. A window alone changes nothing
    /// where nothing is limited.
    pub fn rate(&self, said: Option<RateLimit>) -> Option<RateLimit> {
        let limit = self.rate_limit.or(said.map(|said| said.limit))?;
        let window = self.rate_window.or(said.map(|said| said.window)).unwrap_or(RATE_WINDOW);
        Some(RateLimit { limit, window })
    }

    fn apply_listeners(&self, config: &mut Config) {
        let has_source = config.has_cert_source();
        let edge = &mut config.edge;
        match (&self.https, &self.only) {
            (Some(https), _) => edge.https.clone_from(https),
            (None, Some(only)) if has_source => {
                edge.https.clone_from(only);
                edge.http.clear();
            }
            (None, Some(only)) => edge.http.clone_from(only),
            (None, None) if edge.https.is_empty() && self.tls.has_source() => {
                edge.https.push(ListenAddress { ip: None, port: 443 });
            }
            (None, None) => {}
        }
        replace(&mut edge.http, &self.http);
        if config.edge.https.is_empty() {
            // Nobody is asked for what nobody is served with.
            config.acme_hosts.clear();
            config.auto_hosts.clear();
        }
    }
}

fn replace<T: Clone>(value: &mut T, with: &Option<T>) {
    if let Some(with) = with {
        value.clone_from(with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_said_in_two_halves() {
        let rate = |limit, secs| RateLimit { limit, window: Duration::from_secs(secs) };
        for (limit, window, file, said) in [
            (None, None, None, None),
            (None, None, Some(rate(5, 10)), Some(rate(5, 10))),
            (Some(7), None, None, Some(rate(7, 60))),
            (Some(7), None, Some(rate(5, 10)), Some(rate(7, 10))),
            (None, Some(1), Some(rate(5, 10)), Some(rate(5, 1))),
            (Some(7), Some(1), Some(rate(5, 10)), Some(rate(7, 1))),
            (None, Some(1), None, None),
        ] {
            let flags = Overrides {
                rate_limit: limit,
                rate_window: window.map(Duration::from_secs),
                ..Overrides::default()
            };
            assert_eq!(flags.rate(file), said, "{limit:?} {window:?} {file:?}");
        }
    }
}
