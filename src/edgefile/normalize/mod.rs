//! From nodes that are right by themselves to a configuration that is right as a whole: defaults,
//! inheritance, what names refer to, and what the machine has to say.

mod app;
mod edge;
mod files;
mod hosts;
mod https;
mod listeners;
mod realtime;
mod route;
mod rules;
mod sessions;
mod site;
mod upstream;

use self::site::Names;
use super::report::Report;
use super::span::Span;
use super::surroundings::{Surroundings, Trouble};
use super::validate::{Checked, Given};
use crate::contract::app::AppDescriptor;
use crate::contract::config::Config;
use crate::contract::route::RouteAction;
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};

/// What everything here works with.
pub(super) struct Bench<'a, 'text> {
    pub report: &'a mut Report<'text>,
    pub machine: &'a dyn Surroundings,
    /// Rules that may still be made.
    pub room: usize,
}

impl<'a, 'text> Bench<'a, 'text> {
    pub(super) fn new(report: &'a mut Report<'text>, machine: &'a dyn Surroundings) -> Self {
        Self { report, machine, room: limits::RULE_COUNT }
    }

    /// Whether `node` may become so many rules more.
    fn has_room(&mut self, rules: usize, node: &Checked) -> bool {
        if let Some(room) = self.room.checked_sub(rules) {
            self.room = room;
            return true;
        }
        let message =
            format!("hosts and routes up to here make more than {} rules", limits::RULE_COUNT);
        let hint = "a wildcard host or a prefix can stand for many";
        self.report.error(node.span, &node.path, message, hint);
        false
    }

    /// What the machine said; its trouble is told of.
    fn taken<T>(&mut self, found: Result<T, Trouble>, span: Span, path: &str) -> Option<T> {
        found.map_err(|trouble| self.report.trouble(span, path, trouble)).ok()
    }

    /// The absolute path of a directory that `node` names.
    fn directory(&mut self, path: &str, given: Option<&Given>, node: &Checked) -> Option<String> {
        let found = self.machine.existing_directory(path);
        self.taken(found, given.map_or(node.span, |given| given.span), &node.path)
    }

    fn port(&mut self, port: u16, is_secure: bool, span: Span, path: &str) {
        let may = self.machine.may_listen(port, is_secure);
        self.taken(may, span, path);
    }
}

/// The configuration that a file describes. It holds only when nothing was reported.
pub(super) fn config(file: &[Checked], bench: &mut Bench<'_, '_>) -> Config {
    let find = |name: &str| file.iter().find(|node| node.rule.name == name);
    let edge_node = find("edge");
    let mut edge = edge::edge(edge_node, bench);
    let has_acme = edge_node.is_some_and(|edge| edge.child("acme").is_some());
    let mut secure = https::Hosts::default();
    edge.tls = https::tls(edge_node, &mut secure, bench);
    let inherited = edge::request_timeouts(edge_node);
    let all = |name: &str| file.iter().filter(|it| it.rule.name == name).collect::<Vec<_>>();
    let (app_nodes, site_nodes, upstream_nodes) = (all("app"), all("site"), all("upstream"));
    let names = Names {
        apps: names(&app_nodes, "app", bench),
        upstreams: names(&upstream_nodes, "upstream", bench),
    };
    check_secrets(&app_nodes, bench);
    let contested = hosts::check_unique(&app_nodes, &site_nodes, bench);

    let mut apps: Vec<AppDescriptor> = Vec::new();
    let mut candidates = Vec::new();
    let mut upstreams = Vec::new();
    let mut rate_limits = BTreeMap::new();
    let mut realtime = Vec::new();
    let mut mounts = Vec::new();
    for node in file {
        match node.rule.name {
            "app" => {
                apps.extend(app::app(node, inherited, bench));
                candidates.extend(hosts::rules(node, bench));
                if has_acme {
                    secure.add_app(node);
                }
            }
            "site" => {
                let found = site::site(node, &names, bench);
                candidates.extend(found.rules);
                secure.add_site(node, &found.hosts, has_acme, bench);
                mounts.extend(sessions::mounts(node, &found.hosts, &names, &edge, bench));
                realtime.extend(realtime::endpoints(node, &found.hosts, &names, &edge, bench));
                if let Some(limit) = found.rate_limit {
                    rate_limits.extend(found.hosts.into_iter().map(|host| (host, limit)));
                }
            }
            "upstream" => upstreams.extend(upstream::upstream(node, inherited, bench)),
            _ => {}
        }
    }
    let listeners = listeners::listeners(edge_node, secure.origin.as_ref(), bench);
    (edge.http, edge.https, edge.admin) = (listeners.http, listeners.https, listeners.admin);
    let of_apps = app_nodes.iter().flat_map(|app| hosts::once(app, "hosts"));
    let of_sites = site_nodes.iter().flat_map(|site| site.texts());
    let all: Vec<&str> = of_apps.chain(of_sites).map(|(host, _)| host).collect();
    https::check_used(edge_node, &secure, &all, !edge.https.is_empty(), bench);
    let no_route = candidates.iter().all(|it| matches!(it.action, Some(RouteAction::Headers(_))));
    let no_route = no_route && realtime.is_empty() && mounts.is_empty();
    if no_route && !bench.report.has_errors() {
        let span = app_nodes.first().map_or(Span::default(), |node| node.span);
        let path = app_nodes.first().map_or("", |node| node.path.as_str());
        let message = "no route leads anywhere: every request would be answered 404";
        let hint = match app_nodes.first() {
            Some(_) => "give the app a line such as hosts \"*\"",
            None => "add an app with hosts, or a site with a route",
        };
        bench.report.error(span, path, message, hint);
    }
    let routes = rules::rules(candidates, &contested, bench);
    let reached: BTreeSet<&str> = routes
        .iter()
        .filter_map(|rule| match &rule.action {
            RouteAction::ToApp { app_id } => Some(app_id.as_str()),
            _ => None,
        })
        .chain(realtime.iter().map(|endpoint| endpoint.app_id.as_str()))
        .chain(mounts.iter().map(|mount| mount.app_id.as_str()))
        .collect();
    let is_right = !bench.report.has_errors();
    for node in app_nodes.iter().filter(|_| is_right) {
        let Some((name, _)) = node.texts().next() else { continue };
        if !reached.contains(name) {
            let message = format!("no route leads to the app \"{name}\"");
            let hint = "give it hosts, or a route of a site { to-app … }";
            bench.report.warning(node.span, &node.path, message, hint);
        }
    }
    if is_right {
        upstream::check_used(&upstream_nodes, &routes, bench);
        sessions::check_used(edge_node, &mounts, bench);
    }
    realtime::lead(&mut realtime, &apps);
    upstreams.extend(upstream::implicit(&routes, &names, inherited));
    if edge.https.is_empty() {
        // Nobody is asked for what nobody is served with.
        secure.acme.clear();
        secure.auto.clear();
    }
    let https::Hosts { certs, acme: acme_hosts, auto: auto_hosts, plain: plain_hosts, .. } = secure;
    Config {
        edge,
        apps,
        routes,
        upstreams,
        rate_limits,
        realtime,
        sessions: mounts,
        certs,
        acme_hosts,
        auto_hosts,
        plain_hosts,
    }
}

/// Warns of variables in a file that everybody may read: the first is enough.
fn check_secrets(apps: &[&Checked], bench: &mut Bench<'_, '_>) {
    let first = apps.iter().flat_map(|app| app.all("env")).find(|env| !env.free.is_empty());
    if let Some(env) = first.filter(|_| bench.machine.is_readable_by_others()) {
        let message = "others may read this file, and values of `env` are often secrets";
        let hint = "take that right from them: chmod o-r Edgefile";
        bench.report.warning(env.span, &env.path, message, hint);
    }
}

/// The names of all these nodes, right or not in all else.
fn names(nodes: &[&Checked], noun: &str, bench: &mut Bench<'_, '_>) -> BTreeSet<String> {
    let mut names: BTreeMap<&str, Span> = BTreeMap::new();
    for node in nodes {
        let Some((name, span)) = node.texts().next() else { continue };
        let first = *names.entry(name).or_insert(span);
        if first != span {
            let line = bench.report.line(first);
            let message = format!("another {noun} on line {line} is called \"{name}\"");
            bench.report.error(span, &node.path, message, "give it a name of its own");
        }
    }
    names.into_keys().map(str::to_owned).collect()
}
