//! What it takes to get from one configuration to another.
//!
//! Each field of an app is either the pool's or the process's. What is the pool's is changed while
//! the workers go on; what a process is born with takes a fresh process, so a pool with the change is
//! started beside the old one. [`fate_of_app`] and [`edge_changes`] take their subjects apart field by
//! field: a field that is added to them does not compile before it is said here what its change means.
//!
//! Files that a configuration names are not looked into: a certificate renewed under its old path, or
//! an app whose source has changed, is no change.

use crate::contract::app::{AppDescriptor, AppTimeouts, HealthCheck, Launch};
use crate::contract::config::{
    Builtin, CertFiles, Config, EdgeConfig, EdgeLimits, LogConfig, Phases, Verify,
};
use crate::contract::listen::ListenAddress;
use crate::contract::route::{HeaderChanges, Methods, RouteAction, RouteRule};
use crate::ids::AppId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is to be done, by subject. Prints one line for each change, or that there is none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where clients connect.
    pub listeners: ListenerChanges,
    /// What becomes of each app: those of the new configuration by declaration, then those removed.
    pub apps: Vec<AppChange>,
    /// Rules, by id.
    pub routes: RouteChanges,
    /// Certificates, by the hosts they are meant for.
    pub certs: CertChanges,
    /// Settings of the edge that change at once, by their JSON names.
    pub edge: Vec<String>,
    /// Settings of the edge that change only when the server is started anew.
    pub restart_needed: Vec<String>,
}

/// What becomes of the listeners. Their order has no meaning.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ListenerChanges {
    /// To be bound.
    pub open: Vec<ListenAddress>,
    /// To be given up.
    pub close: Vec<ListenAddress>,
    /// Neither.
    pub keep: Vec<ListenAddress>,
}

/// What becomes of an app.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AppChange {
    /// The app.
    pub app: AppId,
    /// What becomes of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What becomes of an app and its workers. Fields are called by their JSON names.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "fate", rename_all = "lowercase")]
pub enum Fate {
    /// The app is gone: its workers drain.
    Removed,
    /// A fresh pool takes the place of the present one.
    Replaced {
        /// The fields that a process is born with and that have changed.
        because: Vec<String>,
    },
    /// The pool and its workers stay, and are used in another way.
    Retuned {
        /// The fields that have changed.
        what: Vec<String>,
        /// The number of workers changes as well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaled: Option<Scale>,
    },
    /// Nothing happens to it.
    Same,
    /// Only the number of workers changes, and what follows from it.
    Scaled(Scale),
    /// The app is new.
    Started,
}

/// Another number of workers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Scale {
    /// The number it had.
    pub from: u32,
    /// The number it gets.
    pub to: u32,
}

/// What becomes of the rules.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RouteChanges {
    /// New ones, by declaration.
    pub added: Vec<String>,
    /// Those that are gone, by their old declaration.
    pub removed: Vec<String>,
    /// Those that take or do something else, by declaration.
    pub changed: Vec<String>,
    /// Those that are the same, but now stand before or behind others for the same paths: there, and
    /// only there, the order of the declaration decides.
    pub moved: Vec<String>,
}

/// What becomes of the certificates.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct CertChanges {
    /// For hosts that had none.
    pub added: Vec<String>,
    /// For hosts that have none any more.
    pub removed: Vec<String>,
    /// For hosts that get theirs from other files.
    pub changed: Vec<String>,
}

/// What it takes to get from `old` to `new`.
pub fn plan(old: &Config, new: &Config) -> Plan {
    let Config { edge, apps: _, routes, certs } = old;
    let mut plan = Plan {
        listeners: listener_changes(&edge.http, &new.edge.http),
        apps: app_changes(old, new),
        routes: route_changes(routes, &new.routes),
        certs: cert_changes(certs, &new.certs),
        ..Plan::default()
    };
    edge_changes(edge, &new.edge, &mut plan);
    plan
}

impl Plan {
    /// The configurations mean the same.
    pub fn is_empty(&self) -> bool {
        let Self { listeners, apps, routes, certs, edge, restart_needed } = self;
        let ListenerChanges { open, close, keep: _ } = listeners;
        open.is_empty()
            && close.is_empty()
            && apps.iter().all(|change| change.fate == Fate::Same)
            && *routes == RouteChanges::default()
            && *certs == CertChanges::default()
            && edge.is_empty()
            && restart_needed.is_empty()
    }

    /// What becomes of the app; `None` for one that is in neither configuration.
    pub fn fate_of(&self, app: &AppId) -> Option<&Fate> {
        self.apps.iter().find(|change| change.app == *app).map(|change| &change.fate)
    }

    /// One line for each change; none when nothing changes.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut all = |said: &str, names: &[String]| {
            lines.extend(names.iter().map(|name| format!("{said}{name}")));
        };
        let texts = |at: &[ListenAddress]| at.iter().map(ToString::to_string).collect::<Vec<_>>();
        all("listener added: ", &texts(&self.listeners.open));
        all("listener removed: ", &texts(&self.listeners.close));
        let fates: Vec<_> = self.apps.iter().filter_map(AppChange::line).collect();
        all("", &fates);
        all("route added: ", &self.routes.added);
        all("route removed: ", &self.routes.removed);
        all("route changed: ", &self.routes.changed);
        all("route moved: ", &self.routes.moved);
        all("certificate added: ", &self.certs.added);
        all("certificate removed: ", &self.certs.removed);
        all("certificate changed: ", &self.certs.changed);
        all("edge changed: ", &self.edge);
        all("edge changed, after a restart only: ", &self.restart_needed);
        lines
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines() {
            lines if lines.is_empty() => out.write_str("nothing changes"),
            lines => out.write_str(&lines.join("\n")),
        }
    }
}

impl AppChange {
    fn line(&self) -> Option<String> {
        let said = match &self.fate {
            Fate::Same => return None,
            Fate::Removed => "removed".to_owned(),
            Fate::Replaced { because } => format!("replaced: {}", because.join(", ")),
            Fate::Retuned { what, scaled: None } => format!("retuned: {}", what.join(", ")),
            Fate::Retuned { what, scaled: Some(scale) } => {
                format!("scaled: {scale}; retuned: {}", what.join(", "))
            }
            Fate::Scaled(scale) => format!("scaled: {scale}"),
            Fate::Started => "started".to_owned(),
        };
        Some(format!("app {} {said}", self.app))
    }
}

impl Fate {
    /// A pool has to be started for it.
    pub fn starts_pool(&self) -> bool {
        matches!(self, Self::Replaced { .. } | Self::Started)
    }

    /// The pool that it has is not used any more.
    pub fn ends_pool(&self) -> bool {
        matches!(self, Self::Removed | Self::Replaced { .. })
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} to {} workers", self.from, self.to)
    }
}

fn listener_changes(old: &[ListenAddress], new: &[ListenAddress]) -> ListenerChanges {
    let (keep, open) = new.iter().partition(|at| old.contains(at));
    let close = old.iter().filter(|at| !new.contains(at)).copied().collect();
    ListenerChanges { open, close, keep }
}

fn app_changes(old: &Config, new: &Config) -> Vec<AppChange> {
    let before: BTreeMap<_, _> = old.apps.iter().map(|app| (&app.id, app)).collect();
    let after: BTreeSet<_> = new.apps.iter().map(|app| &app.id).collect();
    let present = new.apps.iter().map(|app| AppChange {
        app: app.id.clone(),
        fate: before.get(&app.id).map_or(Fate::Started, |old| fate_of_app(old, app)),
    });
    let removed = old
        .apps
        .iter()
        .filter(|app| !after.contains(&app.id))
        .map(|app| AppChange { app: app.id.clone(), fate: Fate::Removed });
    present.chain(removed).collect()
}

/// What becomes of an app of both configurations.
fn fate_of_app(old: &AppDescriptor, new: &AppDescriptor) -> Fate {
    let AppDescriptor {
        id: _,
        entry,
        hosts,
        prefixes,
        workers,
        concurrency,
        max_queue,
        max_inflight,
        select,
        env,
        restart_policy,
        health_check,
        recycle,
        surge,
        reload,
        watch,
        timeouts,
        user,
        limits,
        launch,
    } = old;
    let HealthCheck { path, interval_ms, timeout_ms, unhealthy_threshold, explicit } = health_check;
    let Launch { runtime, argv, cwd, listen, ready, stop_signal, setup } = launch;

    let mut born = Names::default();
    born.note("entry", *entry != new.entry);
    born.note("runtime", *runtime != new.launch.runtime);
    born.note("argv", *argv != new.launch.argv);
    born.note("cwd", *cwd != new.launch.cwd);
    born.note("listen", *listen != new.launch.listen);
    born.note("readyBy", *ready != new.launch.ready);
    born.note("stopSignal", *stop_signal != new.launch.stop_signal);
    born.note("setup", *setup != new.launch.setup);
    // The process is told at its birth, and arranges itself for being reloaded within.
    born.note("reload", *reload != new.reload);
    born.note("user", *user != new.user);
    born.note("limits", *limits != new.limits);
    born.note("healthCheck.path", *path != new.health_check.path);
    born.note("healthCheck.explicit", *explicit != new.health_check.explicit);
    let variables: BTreeSet<_> = env.keys().chain(new.env.keys()).collect();
    for name in variables {
        born.note(&format!("env.{name}"), env.get(name) != new.env.get(name));
    }
    if !born.0.is_empty() {
        return Fate::Replaced { because: born.0 };
    }

    let mut tuned = Names::default();
    tuned.note("hosts", sorted(hosts) != sorted(&new.hosts));
    tuned.note("prefixes", sorted(prefixes) != sorted(&new.prefixes));
    tuned.note("concurrency", *concurrency != new.concurrency);
    tuned.note("maxQueue", *max_queue != new.max_queue);
    let follows = follows_workers(old) && follows_workers(new) && *concurrency == new.concurrency;
    tuned.note("maxInflight", *max_inflight != new.max_inflight && !follows);
    tuned.note("select", *select != new.select);
    tuned.note("restartPolicy", *restart_policy != new.restart_policy);
    tuned.note("healthCheck.intervalMs", *interval_ms != new.health_check.interval_ms);
    tuned.note("healthCheck.timeoutMs", *timeout_ms != new.health_check.timeout_ms);
    let threshold = new.health_check.unhealthy_threshold;
    tuned.note("healthCheck.unhealthyThreshold", *unhealthy_threshold != threshold);
    tuned.note("recycle", *recycle != new.recycle);
    tuned.note("surge", *surge != new.surge);
    tuned.note("watch", sorted(watch) != sorted(&new.watch));
    note_timeouts(timeouts, &new.timeouts, &mut tuned);
    let scaled = (*workers != new.workers).then_some(Scale { from: *workers, to: new.workers });
    match scaled {
        _ if !tuned.0.is_empty() => Fate::Retuned { what: tuned.0, scaled },
        Some(scale) => Fate::Scaled(scale),
        None => Fate::Same,
    }
}

fn note_timeouts(old: &AppTimeouts, new: &AppTimeouts, tuned: &mut Names) {
    let AppTimeouts { connect, read, queue, start, drain, kill, stuck, keepalive } = old;
    tuned.note("timeouts.connectMs", *connect != new.connect);
    tuned.note("timeouts.readMs", *read != new.read);
    tuned.note("timeouts.queueMs", *queue != new.queue);
    tuned.note("timeouts.startMs", *start != new.start);
    tuned.note("timeouts.drainMs", *drain != new.drain);
    tuned.note("timeouts.killMs", *kill != new.kill);
    tuned.note("timeouts.stuckMs", *stuck != new.stuck);
    tuned.note("timeouts.keepaliveMs", *keepalive != new.keepalive);
}

/// The app may have as many requests in flight as its workers take.
fn follows_workers(app: &AppDescriptor) -> bool {
    app.max_inflight == app.workers.saturating_mul(app.concurrency)
}

fn edge_changes(old: &EdgeConfig, new: &EdgeConfig, plan: &mut Plan) {
    let EdgeConfig { http: _, loops, limits, phases, underscores, verify, log, builtin, spool_dir } =
        old;
    let LogConfig { access, json } = log;
    let mut late = Names::default();
    late.note("loops", *loops != new.loops);
    late.note("log.access", *access != new.log.access);
    late.note("log.json", *json != new.log.json);
    late.note("spoolDir", *spool_dir != new.spool_dir);
    plan.restart_needed = late.0;

    let EdgeLimits { body_bytes, connections, per_address, spool_memory_bytes, spool_disk_bytes } =
        limits;
    let Phases { head, body, idle, write, linger } = phases;
    let Verify { healthy_apps, healthy_upstreams, within } = verify;
    let Builtin { server, status } = builtin;
    let mut live = Names::default();
    live.note("limits.bodyBytes", *body_bytes != new.limits.body_bytes);
    live.note("limits.connections", *connections != new.limits.connections);
    live.note("limits.perAddress", *per_address != new.limits.per_address);
    live.note("limits.spoolMemoryBytes", *spool_memory_bytes != new.limits.spool_memory_bytes);
    live.note("limits.spoolDiskBytes", *spool_disk_bytes != new.limits.spool_disk_bytes);
    live.note("phases.headMs", *head != new.phases.head);
    live.note("phases.bodyMs", *body != new.phases.body);
    live.note("phases.idleMs", *idle != new.phases.idle);
    live.note("phases.writeMs", *write != new.phases.write);
    live.note("phases.lingerMs", *linger != new.phases.linger);
    live.note("underscores", *underscores != new.underscores);
    live.note("verify.healthyApps", *healthy_apps != new.verify.healthy_apps);
    live.note("verify.healthyUpstreams", *healthy_upstreams != new.verify.healthy_upstreams);
    live.note("verify.withinMs", *within != new.verify.within);
    live.note("builtin.server", *server != new.builtin.server);
    live.note("builtin.status", *status != new.builtin.status);
    plan.edge = live.0;
}

fn route_changes(old: &[RouteRule], new: &[RouteRule]) -> RouteChanges {
    let before: BTreeMap<_, _> = old.iter().map(|rule| (rule.id.as_str(), rule)).collect();
    let mut changes = RouteChanges::default();
    let mut same = BTreeSet::new();
    for rule in new {
        match before.get(rule.id.as_str()) {
            None => changes.added.push(rule.id.clone()),
            Some(old) if meaning(old) != meaning(rule) => changes.changed.push(rule.id.clone()),
            Some(_) => drop(same.insert(rule.id.as_str())),
        }
    }
    let after: BTreeSet<_> = new.iter().map(|rule| rule.id.as_str()).collect();
    let gone = old.iter().filter(|rule| !after.contains(rule.id.as_str()));
    changes.removed = gone.map(|rule| rule.id.clone()).collect();
    let (was, is) = (places(old, &same), places(new, &same));
    let moved = new.iter().filter(|rule| was.get(rule.id.as_str()) != is.get(rule.id.as_str()));
    changes.moved = moved.map(|rule| rule.id.clone()).collect();
    changes
}

/// For each rule of `same` its place among those for its host and pattern, in the order in which
/// they are asked.
fn places<'a>(rules: &'a [RouteRule], same: &BTreeSet<&str>) -> BTreeMap<&'a str, usize> {
    let mut asked: Vec<_> = rules.iter().filter(|rule| same.contains(rule.id.as_str())).collect();
    asked.sort_by_key(|rule| if rule.explicit { (0, rule.priority) } else { (1, 0) });
    let mut counts = BTreeMap::new();
    let mut places = BTreeMap::new();
    for rule in asked {
        let count = counts.entry((&rule.host, &rule.path_pattern)).or_insert(0);
        places.insert(rule.id.as_str(), *count);
        *count += 1;
    }
    places
}

/// The rule without what means nothing by itself: where it stands, and in which order methods and
/// names are listed.
fn meaning(rule: &RouteRule) -> RouteRule {
    let mut rule = rule.clone();
    rule.line = None;
    if !rule.explicit {
        rule.priority = 0;
    }
    if let Methods::Only(names) = &mut rule.methods {
        names.sort_unstable();
    }
    let own = match &mut rule.action {
        RouteAction::Headers(headers) => Some(headers),
        RouteAction::Redirect { .. } | RouteAction::ToApp { .. } => None,
    };
    for headers in own.into_iter().chain(&mut rule.headers) {
        for HeaderChanges { set: _, remove } in [&mut headers.response, &mut headers.request] {
            remove.sort_unstable();
        }
    }
    rule
}

fn cert_changes(old: &[CertFiles], new: &[CertFiles]) -> CertChanges {
    let files = |certs: &[CertFiles]| {
        let named = certs.iter().map(|CertFiles { hosts, cert_path, key_path }| {
            (sorted(hosts).join(", "), (cert_path.clone(), key_path.clone()))
        });
        named.collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (files(old), files(new));
    let mut changes = CertChanges::default();
    for (hosts, files) in &after {
        match before.get(hosts) {
            None => changes.added.push(hosts.clone()),
            Some(old) if old != files => changes.changed.push(hosts.clone()),
            Some(_) => {}
        }
    }
    changes.removed = before.into_keys().filter(|hosts| !after.contains_key(hosts)).collect();
    changes
}

fn sorted(list: &[String]) -> Vec<&str> {
    let mut sorted: Vec<_> = list.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted
}

/// Names of fields that differ.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn note(&mut self, name: &str, differs: bool) {
        if differs {
            self.0.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
