//! One configuration, normalized: everything a reload can change.

use super::app::{AppDescriptor, HealthCheck};
use super::listen::{self, ListenAddress};
use super::millis;
use super::route::{RouteAction, RouteRule};
use crate::ids::AppId;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What traffic sees: listeners, apps, and the rules between them. Whether it was written as an
/// Edgefile or as words of a command line does not show.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The server's own side.
    pub edge: EdgeConfig,
    /// The apps, by declaration; ids are unique.
    pub apps: Vec<AppDescriptor>,
    /// Every rule, by declaration: those of sites, and those that apps' hosts and prefixes stand for.
    pub routes: Vec<RouteRule>,
    /// Servers that are not ours, by declaration; ids are unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamDescriptor>,
    /// Rate limits of sites that have their own, by host as in rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rate_limits: BTreeMap<String, RateLimit>,
    /// Certificates of sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<CertFiles>,
}

impl Config {
    /// Every host name that is served: those of apps and rules, each once, `*` left out.
    pub fn hosts(&self) -> Vec<String> {
        let of_apps = self.apps.iter().flat_map(|app| &app.hosts);
        let mut hosts: Vec<String> = Vec::new();
        for host in of_apps.chain(self.routes.iter().map(|rule| &rule.host)) {
            if host != "*" && !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }

    /// Where the app stands among the apps.
    pub fn app_index(&self, id: &AppId) -> Option<usize> {
        self.apps.iter().position(|app| app.id == *id)
    }

    /// The URLs under which clients reach the app: its hosts and those of the rules that lead to it,
    /// on each listener, then each listener by its own address.
    pub fn urls_of(&self, app: &AppDescriptor) -> Vec<String> {
        let hosts = self.hosts_of(app);
        let named: Vec<_> = hosts.into_iter().filter(|host| !host.starts_with('*')).collect();
        listen::public_urls(&named, &self.edge.http)
    }

    /// The hosts that lead to the app, each once, every host left out.
    pub fn hosts_of<'c>(&'c self, app: &'c AppDescriptor) -> Vec<&'c str> {
        let leads = |rule: &&RouteRule| matches!(&rule.action, RouteAction::ToApp { app_id } if *app_id == app.id);
        let of_rules = self.routes.iter().filter(leads).map(|rule| &rule.host);
        let mut hosts: Vec<&str> = Vec::new();
        for host in app.hosts.iter().chain(of_rules) {
            if host != "*" && !hosts.contains(&host.as_str()) {
                hosts.push(host);
            }
        }
        hosts
    }

    /// The URLs of the first app; every request of a server with one app goes there. Without apps those
    /// of every host.
    pub fn urls(&self) -> Vec<String> {
        match self.apps.first() {
            Some(app) => self.urls_of(app),
            None => {
                let hosts = self.hosts();
                let named = hosts.iter().map(String::as_str).filter(|host| !host.starts_with('*'));
                listen::public_urls(&named.collect::<Vec<_>>(), &self.edge.http)
            }
        }
    }
}

/// The server's own side of a configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeConfig {
    /// Plain HTTP listeners; at least one.
    pub http: Vec<ListenAddress>,
    /// Edge loops; `None` is one per core. Read at start only.
    pub loops: Option<u16>,
    /// Bounds of the edge.
    pub limits: EdgeLimits,
    /// Deadlines of client connections.
    pub phases: Phases,
    /// Those of `http` whose connections begin with a PROXY protocol header.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy_protocol: Vec<ListenAddress>,
    /// Peers that are believed when they say whom they speak for: networks in CIDR notation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<String>,
    /// How often one client may ask, at sites without a limit of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Clients' fields whose names contain `_` reach the apps.
    pub underscores: bool,
    /// When a reload counts as well.
    pub verify: Verify,
    /// What is logged. Read at start only.
    pub log: LogConfig,
    /// The paths of the endpoints that the edge itself answers.
    pub builtin: Builtin,
    /// Where request bodies that outgrow memory go; `None` is `/var/tmp`. Read at start only.
    pub spool_dir: Option<String>,
}

/// What must be true of a configuration that has just become the active one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// Every app has a worker that is ready.
    pub healthy_apps: bool,
    /// Every upstream has a target that is healthy.
    pub healthy_upstreams: bool,
    /// Within this time.
    #[serde(rename = "withinMs", with = "millis")]
    pub within: Duration,
}

impl Default for Verify {
    fn default() -> Self {
        Self { healthy_apps: true, healthy_upstreams: true, within: limits::VERIFY_WINDOW }
    }
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogConfig {
    /// One line per request.
    pub access: bool,
    /// Access lines, events and worker output as JSON objects.
    pub json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { access: true, json: false }
    }
}

/// Paths of the edge's own endpoints; `None` is not served.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Builtin {
    /// `ok`.
    pub server: Option<String>,
    /// Whether it is well.
    pub status: Option<String>,
}

impl Default for Builtin {
    fn default() -> Self {
        Self { server: Some("/server".to_owned()), status: Some("/status".to_owned()) }
    }
}

/// How often one client may ask.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Requests within the window, at least 1.
    pub limit: u32,
    /// The window.
    #[serde(rename = "windowMs", with = "millis")]
    pub window: Duration,
}

impl RateLimit {
    /// What no client reaches: how a site says that the limit around it is not its own.
    pub const UNLIMITED: Self = Self { limit: u32::MAX, window: Duration::from_secs(1) };
}

/// A server that is not ours.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamDescriptor {
    /// Its name.
    pub id: String,
    /// Where it can be reached, as URLs: `http://10.0.0.7:8080/base`, `https://…`, `unix:/run/x.sock`.
    /// At least one.
    pub targets: Vec<String>,
    /// `Host` of requests to it; `None` keeps the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Certificates that its own are verified against, a PEM file; `None` are the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// How its targets are asked how they are; `None` leaves it to the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// How often an idempotent request is tried in all, at least 1.
    pub attempts: u32,
    /// Connecting to a target.
    #[serde(rename = "connectMs", with = "millis")]
    pub connect: Duration,
    /// Response head, then each gap between bytes.
    #[serde(rename = "readMs", with = "millis")]
    pub read: Duration,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertFiles {
    /// The hosts it is meant for.
    pub hosts: Vec<String>,
    /// The chain in PEM, absolute.
    pub cert_path: String,
    /// The key in PEM, absolute.
    pub key_path: String,
}

/// Bounds of the edge.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeLimits {
    /// A request body: 413 beyond.
    pub body_bytes: u64,
    /// Client connections at once; `None` follows from the file descriptor limit.
    pub connections: Option<u32>,
    /// Client connections of one address at once, loopback excepted; `None` is no limit.
    pub per_address: Option<u32>,
    /// Spooled bytes in memory over the whole process.
    pub spool_memory_bytes: u64,
    /// Spooled bytes in files over the whole process.
    pub spool_disk_bytes: u64,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            body_bytes: limits::BODY_BYTES,
            connections: None,
            per_address: None,
            spool_memory_bytes: limits::SPOOL_MEMORY_BYTES,
            spool_disk_bytes: limits::SPOOL_DISK_BYTES,
        }
    }
}

/// Deadlines of a client connection, by phase.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Phases {
    /// First byte of a request until its head is complete.
    #[serde(rename = "headMs", with = "millis")]
    pub head: Duration,
    /// Longest silence inside a request body.
    #[serde(rename = "bodyMs", with = "millis")]
    pub body: Duration,
    /// A connection between two requests.
    #[serde(rename = "idleMs", with = "millis")]
    pub idle: Duration,
    /// A response without progress.
    #[serde(rename = "writeMs", with = "millis")]
    pub write: Duration,
    /// Reading on after an early answer.
    #[serde(rename = "lingerMs", with = "millis")]
    pub linger: Duration,
}

impl Default for Phases {
    fn default() -> Self {
        Self {
            head: limits::HEAD_TIMEOUT,
            body: limits::BODY_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            write: limits::WRITE_TIMEOUT,
            linger: limits::LINGER_TIMEOUT,
        }
    }
}
