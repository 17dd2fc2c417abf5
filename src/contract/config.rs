//! One configuration, normalized: everything a reload can change.

use super::app::{AppDescriptor, HealthCheck};
use super::listen::{self, ListenAddress};
use super::millis;
use super::realtime::{PublishConfig, RealtimeConfig};
use super::route::{HeaderRules, RouteAction, RouteRule};
use super::sessions::SessionsConfig;
use crate::ids::AppId;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
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
    /// WebSocket endpoints that are asked for, by declaration. An app that is served without one has
    /// one nevertheless, at [`PATH`](super::realtime::PATH).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub realtime: Vec<RealtimeConfig>,
    /// Where sessions are served, by declaration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionsConfig>,
    /// Certificates of sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<CertFiles>,
    /// Hosts whose certificates come from the ACME authority of `edge.acme`; no wildcards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acme_hosts: Vec<String>,
    /// Hosts whose certificates the machine's own local authority makes: names, `*.name`, addresses
    /// as in URLs (`127.0.0.1`, `[::1]`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auto_hosts: Vec<String>,
    /// Hosts that are served in plain HTTP, as in rules: requests for them are not redirected to
    /// HTTPS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain_hosts: Vec<String>,
}

impl Config {
    /// The same as it may be shown: without the values that header fields are set to. (Those of
    /// environments are in no copy that is written down.)
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        for rule in &mut shown.routes {
            rule.headers = rule.headers.as_ref().map(HeaderRules::masked);
            if let RouteAction::Headers(headers) = &mut rule.action {
                *headers = headers.masked();
            }
        }
        shown
    }

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

    /// There is something to serve HTTPS with, or somebody who makes it.
    pub fn has_cert_source(&self) -> bool {
        let named = !self.certs.is_empty() || !self.edge.tls.cert_dirs.is_empty();
        named || !self.acme_hosts.is_empty() || !self.auto_hosts.is_empty()
    }

    /// Why its listeners cannot be served together, one clause. A file is looked at for this as it is
    /// read; together with flags it may say something else.
    pub fn listener_trouble(&self) -> Option<String> {
        let EdgeConfig { http, https, .. } = &self.edge;
        for at in https {
            if let Some(plain) = http.iter().find(|plain| plain.clashes(*at)) {
                return Some(format!("{at} cannot be that of HTTPS, and {plain} of plain HTTP"));
            }
        }
        for at in &self.edge.admin {
            if let Some(public) = self.edge.public_listeners().find(|public| public.clashes(*at)) {
                return Some(format!("{at} cannot be the operator's, and {public} everybody's"));
            }
        }
        if http.is_empty() && https.is_empty() {
            return Some("there is no address to listen at".to_owned());
        }
        let is_bare = !https.is_empty() && !self.has_cert_source();
        is_bare.then(|| "there is no certificate to serve HTTPS with".to_owned())
    }

    /// The URLs under which clients reach the app, each once: its hosts and those of the rules that lead to it,
    /// on each listener, HTTPS first, then, where it is served on every host, each listener by its own
    /// address.
    pub fn urls_of(&self, app: &AppDescriptor) -> Vec<String> {
        let hosts = self.hosts_of(app);
        let named: Vec<_> = hosts.into_iter().filter(|host| !host.starts_with('*')).collect();
        let mut urls = self.named_urls(&named);
        if self.routes.iter().any(|rule| rule.host == "*" && leads_to(rule, app)) {
            urls.extend(self.bare_urls());
        }
        let mut seen = HashSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        urls
    }

    /// Each of `hosts` on each listener that serves it, HTTPS first.
    fn named_urls(&self, hosts: &[&str]) -> Vec<String> {
        let is_secure = |host: &&str| !self.plain_hosts.iter().any(|plain| plain == host);
        let secure: Vec<&str> = hosts.iter().copied().filter(is_secure).collect();
        let mut urls = listen::named_urls(&secure, &self.edge.https, true);
        urls.extend(listen::named_urls(hosts, &self.edge.http, false));
        urls
    }

    /// Where the page that shows the server is: each of the hosts that were named on each listener that
    /// serves it, the listeners for the operator, and the server's own name. None where it is not served.
    pub fn dashboard_urls(&self) -> Vec<String> {
        if !self.edge.dashboard.on {
            return Vec::new();
        }
        let hosts = self.dashboard_hosts();
        let (named, own): (Vec<&str>, Vec<&str>) =
            hosts.into_iter().partition(|host| *host != SERVER_NAME);
        let mut urls = self.named_urls(&named);
        urls.extend(self.admin_urls());
        urls.extend(self.named_urls(&own));
        urls
    }

    /// The hosts that are the dashboard's: those that were named, then the server's own, unless a rule
    /// takes that by its very name.
    pub fn dashboard_hosts(&self) -> Vec<&str> {
        let DashboardConfig { on, hosts } = &self.edge.dashboard;
        if !on {
            return Vec::new();
        }
        let mut found: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let is_taken = self.hosts().iter().any(|host| host == SERVER_NAME);
        if !is_taken && !found.contains(&SERVER_NAME) {
            found.push(SERVER_NAME);
        }
        found
    }

    /// Where only the operator's endpoints are served.
    pub fn admin_urls(&self) -> Vec<String> {
        listen::bare_urls(&self.edge.admin, false)
    }

    /// Each listener by its own address, HTTPS first.
    fn bare_urls(&self) -> Vec<String> {
        let mut urls = listen::bare_urls(&self.edge.https, true);
        urls.extend(listen::bare_urls(&self.edge.http, false));
        urls
    }

    /// The hosts that lead to the app, each once, every host left out.
    pub fn hosts_of<'c>(&'c self, app: &'c AppDescriptor) -> Vec<&'c str> {
        let leads = self.routes.iter().filter(|rule| leads_to(rule, app));
        let of_rules = leads.map(|rule| &rule.host);
        let mut hosts: Vec<&str> = Vec::new();
        for host in app.hosts.iter().chain(of_rules) {
            if host != "*" && !hosts.contains(&host.as_str()) {
                hosts.push(host);
            }
        }
        hosts
    }

    /// The URLs of all apps, each once; where none has any, those of every host, and else those of
    /// the listeners.
    pub fn urls(&self) -> Vec<String> {
        let mut urls: Vec<String> = Vec::new();
        for url in self.apps.iter().flat_map(|app| self.urls_of(app)) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        if urls.is_empty() {
            let hosts = self.hosts();
            let named = hosts.iter().map(String::as_str).filter(|host| !host.starts_with('*'));
            urls = self.named_urls(&named.collect::<Vec<_>>());
        }
        if urls.is_empty() {
            urls = self.bare_urls();
        }
        urls
    }
}

fn leads_to(rule: &RouteRule, app: &AppDescriptor) -> bool {
    matches!(&rule.action, RouteAction::ToApp { app_id } if *app_id == app.id)
}

/// The server's own side of a configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeConfig {
    /// Plain HTTP listeners; with `https` at least one of both.
    pub http: Vec<ListenAddress>,
    /// HTTPS listeners; no address is in both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub https: Vec<ListenAddress>,
    /// Listeners for who operates the server: nothing else is served there. No address is in two of the
    /// lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin: Vec<ListenAddress>,
    /// What is served at `https`.
    #[serde(default, skip_serializing_if = "TlsConfig::is_default")]
    pub tls: TlsConfig,
    /// The names that end in `.local` are told to the local network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mdns: bool,
    /// Who the server becomes after it listens, by name or number; `None` stays who it is. Read at
    /// start only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Edge loops; `None` is one per core. Read at start only.
    pub loops: Option<u16>,
    /// Bounds of the edge.
    pub limits: EdgeLimits,
    /// Deadlines of client connections.
    pub phases: Phases,
    /// Those of `http` and `https` whose connections begin with a PROXY protocol header.
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
    /// Who may publish to the groups of apps.
    #[serde(default, skip_serializing_if = "PublishConfig::is_default")]
    pub publish: PublishConfig,
    /// The paths of the endpoints that the edge itself answers.
    pub builtin: Builtin,
    /// The page that shows the server.
    #[serde(default, skip_serializing_if = "DashboardConfig::is_default")]
    pub dashboard: DashboardConfig,
    /// Where request bodies that outgrow memory go; `None` is `/var/tmp`. Read at start only.
    pub spool_dir: Option<String>,
    /// Where sessions are kept: an absolute path, or `:memory:`; `None` is `sessions.db` in the state
    /// directory. Read when sessions are served first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

impl EdgeConfig {
    /// Every address that is listened at: plain HTTP, then HTTPS, then those for the operator.
    pub fn listeners(&self) -> Vec<ListenAddress> {
        self.http.iter().chain(&self.https).chain(&self.admin).copied().collect()
    }

    /// Every address that clients connect to: plain HTTP, then HTTPS.
    pub fn public_listeners(&self) -> impl Iterator<Item = ListenAddress> {
        self.http.iter().chain(&self.https).copied()
    }

    /// There is a listener.
    pub fn has_listener(&self, at: ListenAddress) -> bool {
        self.http.contains(&at) || self.https.contains(&at) || self.is_admin(at)
    }

    /// Only the operator's endpoints are served there, to whoever connects.
    pub fn is_admin(&self, at: ListenAddress) -> bool {
        self.admin.contains(&at)
    }

    /// TLS is spoken there.
    pub fn is_secure(&self, at: ListenAddress) -> bool {
        self.https.contains(&at)
    }
}

/// The server's own name in the local network.
pub const SERVER_NAME: &str = "rip.local";

/// The page that shows the server: a host of its own, because what runs in a page may do what the page
/// may do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DashboardConfig {
    /// It is served.
    pub on: bool,
    /// Where, in lower case, beside `rip.local`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { on: true, hosts: Vec::new() }
    }
}

impl DashboardConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How HTTPS is served, and what plain HTTP has to do with it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsConfig {
    /// Requests at plain listeners are sent on to the first HTTPS listener.
    pub redirect_http: bool,
    /// Directories of certificates, absolute: each `<stem>.crt` or `<stem>.pem` with its `<stem>.key`.
    pub cert_dirs: Vec<String>,
    /// The authority that `acmeHosts` get their certificates from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeConfig>,
    /// Browsers are told to come back over HTTPS only (RFC 6797).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { redirect_http: true, cert_dirs: Vec::new(), acme: None, hsts: None }
    }
}

impl TlsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An ACME authority (RFC 8555).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AcmeConfig {
    /// Who is told of trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The URL of its directory.
    pub directory: String,
    /// What its own certificate is verified against, a PEM file; `None` is what the system believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// What a host gets that has no certificate yet.
    #[serde(default)]
    pub fallback: Fallback,
}

impl AcmeConfig {
    /// The directory of Let's Encrypt.
    pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
    /// That of its test system, whose certificates nobody trusts.
    pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
}

/// What a host gets over HTTPS as long as its certificate has not come.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// A certificate that nobody trusts, made for the moment.
    #[default]
    SelfSigned,
    /// An alert: the handshake fails.
    Refuse,
}

/// `Strict-Transport-Security` (RFC 6797 §6.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hsts {
    /// For how long.
    #[serde(rename = "maxAgeMs", with = "millis")]
    pub max_age: Duration,
    /// Subdomains as well.
    pub include_subdomains: bool,
    /// Browsers' own lists as well.
    pub preload: bool,
}

impl Hsts {
    /// For how long when nothing is said: a year.
    pub const MAX_AGE: Duration = Duration::from_secs(365 * 86_400);
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

/// Paths of the edge's own endpoints; `None` is not served. At the listeners for the operator they are
/// where they are by default.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Builtin {
    /// `ok`.
    pub server: Option<String>,
    /// Whether it is well.
    pub status: Option<String>,
    /// `ok` while the loop runs.
    pub livez: Option<String>,
    /// Whether every app has a worker, in a line.
    pub readyz: Option<String>,
    /// The same.
    pub healthz: Option<String>,
    /// What is counted and measured.
    pub metrics: Option<String>,
    /// Everything the server says of itself.
    pub diagnostics: Option<String>,
    /// The last two are for everybody, and not for requests from this machine alone.
    pub open: bool,
}

impl Default for Builtin {
    fn default() -> Self {
        let at = |path: &str| Some(path.to_owned());
        Self {
            server: at("/server"),
            status: at("/status"),
            livez: at("/livez"),
            readyz: at("/readyz"),
            healthz: at("/healthz"),
            metrics: at("/metrics"),
            diagnostics: at("/diagnostics"),
            open: false,
        }
    }
}

impl Builtin {
    /// None of them is served.
    pub fn off() -> Self {
        Self {
            server: None,
            status: None,
            livez: None,
            readyz: None,
            healthz: None,
            metrics: None,
            diagnostics: None,
            open: false,
        }
    }

    /// Each endpoint by its name in an Edgefile, with its path.
    pub fn paths(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("server", &self.server),
            ("status", &self.status),
            ("livez", &self.livez),
            ("readyz", &self.readyz),
            ("healthz", &self.healthz),
            ("metrics", &self.metrics),
            ("diagnostics", &self.diagnostics),
        ]
    }

    /// The paths that are served.
    pub fn served(&self) -> impl Iterator<Item = &str> {
        self.paths().into_iter().filter_map(|(_, path)| path.as_deref())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str, hosts: &[&str]) -> AppDescriptor {
        let json = serde_json::json!({
            "id": id, "entry": "x", "hosts": hosts, "prefixes": [], "workers": 1, "concurrency": 1,
            "maxQueue": 1, "maxInflight": 1, "select": "lifo", "env": {},
            "restartPolicy": {"maxRestarts": 1, "backoffMs": 1, "windowMs": 1},
            "healthCheck": {"path": "/", "intervalMs": 1, "timeoutMs": 1, "unhealthyThreshold": 1},
            "recycle": {}, "surge": {"count": 1}, "reload": "none", "watch": [],
            "timeouts": {"connectMs": 1, "readMs": 1, "queueMs": 1, "startMs": 1, "drainMs": 1,
                         "killMs": 1, "stuckMs": 1, "keepaliveMs": null},
            "runtime": "builtin", "argv": ["x"], "cwd": "/", "listen": "fd", "readyBy": "http",
            "stopSignal": "TERM",
        });
        serde_json::from_value(json).expect("a descriptor")
    }

    fn rule(host: &str, app: &str) -> RouteRule {
        let action = RouteAction::ToApp { app_id: AppId::new(app) };
        RouteRule::new(host, "/*", action)
    }

    #[test]
    fn listeners_need_an_address_each_and_https_a_certificate() {
        let at = |text: &str| vec![text.parse::<ListenAddress>().unwrap()];
        let mut config = Config::default();
        assert!(config.listener_trouble().unwrap().contains("no address"));
        config.edge.https = at(":8443");
        assert!(config.listener_trouble().unwrap().contains("no certificate"));
        config.auto_hosts.push("a.test".to_owned());
        assert_eq!(config.listener_trouble(), None);
        config.edge.http = at("127.0.0.1:8443");
        let told = "*:8443 cannot be that of HTTPS, and 127.0.0.1:8443 of plain HTTP";
        assert_eq!(config.listener_trouble().as_deref(), Some(told));
        config.edge.http = at("127.0.0.1:8080");
        assert_eq!(config.listener_trouble(), None);
        config.edge.admin = at(":8080");
        let told = "*:8080 cannot be the operator's, and 127.0.0.1:8080 everybody's";
        assert_eq!(config.listener_trouble().as_deref(), Some(told));
        config.edge.admin = at("127.0.0.1:9000");
        assert_eq!(config.listener_trouble(), None);
        assert_eq!(config.admin_urls(), ["http://127.0.0.1:9000/"]);
    }

    #[test]
    fn the_dashboard_is_where_nothing_else_is() {
        let http = vec![ListenAddress { ip: None, port: 8080 }];
        let mut config = Config {
            edge: EdgeConfig { http, ..EdgeConfig::default() },
            routes: vec![rule("*", "a")],
            ..Config::default()
        };
        assert_eq!(config.dashboard_urls(), ["http://rip.local:8080/"]);
        config.edge.dashboard.hosts = vec!["panel.test".to_owned()];
        let both = ["http://panel.test:8080/", "http://rip.local:8080/"];
        assert_eq!(config.dashboard_urls(), both);
        config.routes.push(rule("rip.local", "a"));
        assert_eq!(config.dashboard_hosts(), ["panel.test"]);
        config.edge.dashboard.on = false;
        assert_eq!(config.dashboard_hosts(), [""; 0]);
    }

    #[test]
    fn urls_are_those_that_lead_to_an_app() {
        let http = vec![ListenAddress { ip: None, port: 8080 }];
        let mut config = Config {
            edge: EdgeConfig { http, ..EdgeConfig::default() },
            apps: vec![app("a", &["a.test"]), app("b", &[])],
            routes: vec![rule("a.test", "a"), rule("b.test", "b"), rule("*.b.test", "b")],
            ..Config::default()
        };
        let urls = |config: &Config| (config.urls_of(&config.apps[1]), config.urls());
        let named = ["http://a.test:8080/".to_owned(), "http://b.test:8080/".to_owned()];
        assert_eq!(urls(&config), (named[1..].to_vec(), named.to_vec()));
        config.routes.push(rule("*", "b"));
        let bare = "http://localhost:8080/".to_owned();
        let all = [named.as_slice(), std::slice::from_ref(&bare)].concat();
        assert_eq!(urls(&config), (vec![named[1].clone(), bare.clone()], all));
        config.apps.clear();
        assert_eq!(config.urls(), named, "of hosts that others answer");
        config.routes.drain(..3);
        assert_eq!(config.urls(), std::slice::from_ref(&bare));
        config.edge.https.push(ListenAddress { ip: None, port: 443 });
        assert_eq!(config.urls(), ["https://localhost/".to_owned(), bare]);
        config.plain_hosts.push("b.test".to_owned());
        let urls = ["https://a.test/", "http://a.test:8080/", "http://b.test:8080/"];
        assert_eq!(config.named_urls(&["a.test", "b.test"]), urls);
        let at = |ip: &str| ListenAddress { ip: Some(ip.parse().unwrap()), port: 8080 };
        config.edge.http = vec![at("127.0.0.1"), at("::1")];
        config.edge.https.clear();
        config.apps = vec![app("b", &["b.test"])];
        let named = config.urls_of(&config.apps[0]);
        assert_eq!(named[0], "http://b.test:8080/");
        assert_eq!(named.iter().filter(|url| **url == named[0]).count(), 1, "{named:?}");
    }
}
