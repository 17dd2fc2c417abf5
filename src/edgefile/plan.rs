//! What it takes to get from one configuration to another.
//!
//! Each field of an app is either the pool's or the process's. What is the pool's is changed while
//! the workers go on; what a process is born with takes a fresh process, so a pool with the change is
//! started beside the old one. [`apps`] and [`edge`] take their subjects apart field by field: one
//! that is added to them does not compile before it is said there what its change means.
//!
//! Files that a configuration names are not looked into: a certificate renewed under its old path, or
//! an app whose source has changed, is no change.

mod apps;
mod edge;
mod realtime;
mod routes;
mod sessions;
mod sources;

use crate::contract::config::{CertFiles, Config, EdgeConfig, UpstreamDescriptor};
use crate::contract::listen::ListenAddress;
use crate::ids::AppId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

pub use sources::{Source, SourceChange};

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
    pub certs: NamedChanges,
    /// Hosts whose certificates come from somewhere else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceChange>,
    /// What becomes of upstreams, by id.
    #[serde(default)]
    pub upstreams: NamedChanges,
    /// Where WebSocket clients come, as `HOST PATH → APP`. Clients of what is removed are closed.
    #[serde(default)]
    pub realtime: NamedChanges,
    /// Where sessions are served, as `HOST MOUNT → APP`. Sessions of what is removed are kept.
    #[serde(default)]
    pub sessions: NamedChanges,
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
    /// Those of `open` and `close` that are of HTTPS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub https: Vec<ListenAddress>,
    /// Those of `open` and `close` that are for the operator alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin: Vec<ListenAddress>,
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

/// What becomes of things that have a name: upstreams, and certificates, which go by their hosts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct NamedChanges {
    /// There was none of the name.
    pub added: Vec<String>,
    /// There is none of the name any more.
    pub removed: Vec<String>,
    /// The name stands for something else.
    pub changed: Vec<String>,
}

/// What it takes to get from `old` to `new`.
pub fn plan(old: &Config, new: &Config) -> Plan {
    let Config {
        edge,
        apps: _,
        routes,
        upstreams,
        rate_limits,
        realtime: _,
        sessions,
        certs,
        acme_hosts: _,
        auto_hosts: _,
        plain_hosts: _,
    } = old;
    let mut plan = Plan {
        listeners: listener_changes(edge, &new.edge),
        apps: apps::app_changes(old, new),
        routes: routes::route_changes(routes, &new.routes),
        upstreams: upstream_changes(upstreams, &new.upstreams),
        certs: cert_changes(certs, &new.certs),
        realtime: realtime::realtime_changes(old, new),
        sessions: sessions::session_changes(sessions, &new.sessions),
        sources: sources::source_changes(old, new),
        ..Plan::default()
    };
    edge::edge_changes(edge, &new.edge, !sessions.is_empty(), &mut plan);
    if *rate_limits != new.rate_limits {
        plan.edge.push("rateLimits".to_owned());
    }
    // The port is kept and what is spoken there is not.
    if edge.https.iter().any(|at| new.edge.http.contains(at))
        || edge.http.iter().any(|at| new.edge.https.contains(at))
    {
        plan.edge.push("https".to_owned());
    }
    if edge
        .listeners()
        .into_iter()
        .any(|at| new.edge.has_listener(at) && new.edge.is_admin(at) != edge.is_admin(at))
    {
        plan.edge.push("admin".to_owned());
    }
    plan
}

impl Plan {
    /// The configurations mean the same.
    pub fn is_empty(&self) -> bool {
        let Self {
            listeners,
            apps,
            routes,
            upstreams,
            certs,
            sources,
            realtime,
            sessions,
            edge,
            restart_needed,
        } = self;
        let ListenerChanges { open, close, keep: _, https: _, admin: _ } = listeners;
        open.is_empty()
            && close.is_empty()
            && apps.iter().all(|change| change.fate == Fate::Same)
            && *routes == RouteChanges::default()
            && *upstreams == NamedChanges::default()
            && *certs == NamedChanges::default()
            && *realtime == NamedChanges::default()
            && *sessions == NamedChanges::default()
            && sources.is_empty()
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
        let protocol = |at: &ListenAddress| match &self.listeners {
            listeners if listeners.https.contains(at) => "https",
            listeners if listeners.admin.contains(at) => "admin",
            _ => "http",
        };
        let texts = |addresses: &[ListenAddress]| {
            addresses.iter().map(|at| format!("{} {at}", protocol(at))).collect::<Vec<_>>()
        };
        all("listener added: ", &texts(&self.listeners.open));
        all("listener removed: ", &texts(&self.listeners.close));
        let fates: Vec<_> = self.apps.iter().filter_map(AppChange::line).collect();
        all("", &fates);
        all("route added: ", &self.routes.added);
        all("route removed: ", &self.routes.removed);
        all("route changed: ", &self.routes.changed);
        all("route moved: ", &self.routes.moved);
        all("upstream added: ", &self.upstreams.added);
        all("upstream removed: ", &self.upstreams.removed);
        all("upstream changed: ", &self.upstreams.changed);
        all("certificate added: ", &self.certs.added);
        all("certificate removed: ", &self.certs.removed);
        all("certificate changed: ", &self.certs.changed);
        let closed = |place: &String| format!("{place} (its clients are closed)");
        all("realtime added: ", &self.realtime.added);
        all("realtime removed: ", &self.realtime.removed.iter().map(closed).collect::<Vec<_>>());
        all("realtime changed: ", &self.realtime.changed);
        let kept =
            |mount: &String| format!("{mount} (its sessions are kept, and served no longer)");
        all("sessions added: ", &self.sessions.added);
        all("sessions removed: ", &self.sessions.removed.iter().map(kept).collect::<Vec<_>>());
        all("sessions changed: ", &self.sessions.changed);
        let sources: Vec<_> = self.sources.iter().map(SourceChange::to_string).collect();
        all("certificate source of ", &sources);
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

fn listener_changes(old: &EdgeConfig, new: &EdgeConfig) -> ListenerChanges {
    let (before, after) = (old.listeners(), new.listeners());
    let (keep, open): (Vec<_>, Vec<_>) = after.iter().partition(|at| before.contains(at));
    let close: Vec<_> = before.into_iter().filter(|at| !after.contains(at)).collect();
    let of = |is: fn(&EdgeConfig, ListenAddress) -> bool| {
        let opened = open.iter().filter(|at| is(new, **at));
        opened.chain(close.iter().filter(|at| is(old, **at))).copied().collect()
    };
    let (https, admin) = (of(EdgeConfig::is_secure), of(EdgeConfig::is_admin));
    ListenerChanges { open, close, keep, https, admin }
}

fn cert_changes(old: &[CertFiles], new: &[CertFiles]) -> NamedChanges {
    let files = |certs: &[CertFiles]| {
        let named = certs.iter().map(|CertFiles { hosts, cert_path, key_path }| {
            (sorted(hosts).join(", "), (cert_path.clone(), key_path.clone()))
        });
        named.collect()
    };
    named_changes(&files(old), &files(new))
}

fn upstream_changes(old: &[UpstreamDescriptor], new: &[UpstreamDescriptor]) -> NamedChanges {
    let named = |all: &[UpstreamDescriptor]| {
        all.iter().map(|upstream| (upstream.id.clone(), upstream.clone())).collect()
    };
    named_changes(&named(old), &named(new))
}

fn named_changes<T: PartialEq>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> NamedChanges {
    let mut changes = NamedChanges::default();
    for (name, value) in after {
        match before.get(name) {
            None => changes.added.push(name.clone()),
            Some(old) if old != value => changes.changed.push(name.clone()),
            Some(_) => {}
        }
    }
    changes.removed = before.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
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
pub(crate) mod tests;
