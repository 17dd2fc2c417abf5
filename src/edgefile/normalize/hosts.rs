//! `hosts` and `prefixes` of apps: the rules they stand for; and hosts that are claimed twice.

use super::Bench;
use super::rules::{Candidate, Origin};
use crate::contract::route::{Compress, Methods, RouteAction};
use crate::edgefile::span::Span;
use crate::edgefile::validate::Checked;
use crate::ids::AppId;
use std::collections::{BTreeMap, BTreeSet};

/// The rules of an app, in the order in which its hosts and prefixes stand.
pub(super) fn rules(node: &Checked, bench: &mut Bench<'_, '_>) -> Vec<Candidate> {
    let Some(name) = node.argument().and_then(|given| given.text()) else { return Vec::new() };
    let hosts = once(node, "hosts");
    let prefixes = once(node, "prefixes");
    let Some(origin) = node.child("hosts").or(node.child("prefixes")) else { return Vec::new() };
    let everywhere = [("*", node.child("prefixes").map_or(origin.span, |it| it.span))];
    let hosts = match node.child("hosts") {
        Some(_) => hosts.as_slice(),
        None => &everywhere,
    };
    let mut rules = Vec::new();
    let each = prefixes.len().saturating_mul(2).max(1);
    if !bench.has_room(hosts.len().saturating_mul(each), node) {
        return rules;
    }
    for (host, span) in hosts {
        let mut patterns: Vec<String> = Vec::new();
        for (prefix, _) in &prefixes {
            // What is left of `/` is nothing, and takes everything.
            if !prefix.is_empty() {
                patterns.push((*prefix).to_owned());
            }
            patterns.push(format!("{prefix}/*"));
        }
        if node.child("prefixes").is_none() {
            patterns.push("/*".to_owned());
        }
        for pattern in patterns {
            rules.push(Candidate {
                origin: Origin::App,
                span: *span,
                path: origin.path.clone(),
                host: (*host).to_owned(),
                pattern,
                methods: Methods::Any,
                priority: None,
                id: None,
                action: Some(RouteAction::ToApp { app_id: AppId::new(name) }),
                headers: None,
                timeouts: None,
                body_limit: None,
                compress: Compress::default(),
                stream_request: None,
            });
        }
    }
    rules
}

/// Tells of hosts that two sites, a site and an app, or two apps without prefixes claim.
/// Which hosts they are.
pub(super) fn check_unique(
    apps: &[&Checked],
    sites: &[&Checked],
    bench: &mut Bench<'_, '_>,
) -> BTreeSet<String> {
    let mut contested = BTreeSet::new();
    let mut claims: BTreeMap<&str, Vec<Claim<'_>>> = BTreeMap::new();
    let mut all: Vec<(&str, Claim<'_>)> = Vec::new();
    for node in sites {
        let mut own = BTreeSet::new();
        for (host, span) in node.texts() {
            if own.insert(host) {
                all.push((host, Claim { span, node, path: &node.path }));
            }
        }
    }
    for node in apps {
        for list in node.all("hosts") {
            for (host, span) in list.texts() {
                all.push((host, Claim { span, node, path: &list.path }));
            }
        }
    }
    all.sort_by_key(|(_, claim)| claim.span);
    for (host, claim) in all {
        let earlier = claims.entry(host).or_default();
        let clash = earlier.iter().find_map(|other| Some((other, claim.clashes(other)?)));
        if let Some((other, hint)) = clash {
            let line = bench.report.line(other.span);
            let owner = match other.node.rule.name {
                "site" => format!("the site on line {line}"),
                _ => format!("the app on line {line}"),
            };
            let message = if std::ptr::eq(other.node, claim.node) {
                format!("the host \"{host}\" stands here twice; first on line {line}")
            } else {
                format!("the host \"{host}\" belongs to {owner} already")
            };
            bench.report.error(claim.span, claim.path, message, hint);
            contested.insert(host.to_owned());
        } else if earlier.len() < MOST_CLAIMS {
            earlier.push(claim);
        }
    }
    contested
}

/// So many are enough to find the next clash by.
const MOST_CLAIMS: usize = 100;

/// A node that says a host is its own.
struct Claim<'a> {
    span: Span,
    node: &'a Checked,
    path: &'a str,
}

impl Claim<'_> {
    /// How to mend it, when both cannot be.
    fn clashes(&self, other: &Self) -> Option<&'static str> {
        if std::ptr::eq(self.node, other.node) {
            return Some("leave one of them out");
        }
        match (self.node.rule.name, other.node.rule.name) {
            ("site", "site") => Some("put the routes of both into one site"),
            ("app", "app") => {
                // They share it by their prefixes; whether those clash is seen by their rules.
                let whole = |claim: &Self| claim.node.child("prefixes").is_none();
                (whole(self) && whole(other))
                    .then_some("give the apps prefixes, or write a site with a route to each")
            }
            _ => Some("leave `hosts` of the app out and give the site a route { to-app … }"),
        }
    }
}

/// The texts of all nodes called `name`, each once.
pub(super) fn once<'a>(node: &'a Checked, name: &'a str) -> Vec<(&'a str, Span)> {
    let mut seen = BTreeSet::new();
    node.all(name).flat_map(Checked::texts).filter(|(text, _)| seen.insert(*text)).collect()
}
