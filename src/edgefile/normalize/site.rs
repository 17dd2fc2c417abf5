//! `site`: hosts, and the rules that their routes become.

use super::route::{self, Route};
use super::rules::{Candidate, Origin};
use super::{Bench, edge};
use crate::contract::config::RateLimit;
use crate::contract::route::{Compress, RouteTimeouts};
use crate::edgefile::validate::Checked;
use crate::ids::AppId;
use std::collections::BTreeSet;

/// What routes may refer to.
pub(super) struct Names {
    pub apps: BTreeSet<String>,
    pub upstreams: BTreeSet<String>,
}

/// What a site becomes.
pub(super) struct Site {
    /// Its rules, for each of its hosts.
    pub rules: Vec<Candidate>,
    pub hosts: Vec<String>,
    /// Its own, if it says one.
    pub rate_limit: Option<RateLimit>,
}

/// The site that `node` describes.
pub(super) fn site(node: &Checked, names: &Names, bench: &mut Bench<'_, '_>) -> Site {
    let mut hosts: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for (host, span) in node.texts() {
        if !seen.insert(host) {
            let message = format!("the host \"{host}\" stands here twice");
            bench.report.error(span, &node.path, message, "leave one of them out");
        } else {
            hosts.push(host.to_owned());
        }
    }
    let around = node.child("timeouts").map(route::timeouts).unwrap_or_default();
    let body_limit = route::body_limit(node);
    let compress = route::compress(node, Compress::default(), bench);
    let rate_limit = node.child("rate-limit").and_then(|limit| edge::rate_limit(limit, bench));
    let routes: Vec<Route> =
        node.all("route").filter_map(|found| route::route(found, names, compress, bench)).collect();
    if node.all("route").next().is_none() && !node.has_gaps && !says_more(node) {
        let message = "the site has no route";
        let hint = "give it route \"/*\" { to-app \"NAME\" }";
        bench.report.error(node.span, &node.path, message, hint);
    }
    if !bench.has_room(hosts.len().saturating_mul(routes.len()), node) {
        return Site { rules: Vec::new(), hosts, rate_limit };
    }
    let is_alone = hosts.len() == 1;
    let mut rules = Vec::new();
    for host in &hosts {
        for found in &routes {
            let timeouts = RouteTimeouts {
                connect: found.timeouts.connect.or(around.connect),
                read: found.timeouts.read.or(around.read),
                queue: found.timeouts.queue.or(around.queue),
            };
            let id = found.id.as_ref().map(|(id, span)| {
                // A name has to be unique, and this route is several rules.
                (if is_alone { id.clone() } else { format!("{id}@{host}") }, *span)
            });
            rules.push(Candidate {
                origin: Origin::Route,
                span: found.span,
                path: found.path.clone(),
                host: host.clone(),
                pattern: found.pattern.clone(),
                methods: found.methods.clone(),
                priority: found.priority,
                id,
                action: found.action.clone(),
                headers: found.headers.clone(),
                timeouts: Some(timeouts).filter(|it| *it != RouteTimeouts::default()),
                body_limit: found.body_limit.or(body_limit),
                compress: found.compress,
                stream_request: found.stream_request,
            });
        }
    }
    Site { rules, hosts, rate_limit }
}

/// It has nodes besides routes that answer requests, or could and are not served.
fn says_more(node: &Checked) -> bool {
    node.children
        .iter()
        .any(|child| !child.rule.is_served || ["realtime", "sessions"].contains(&child.rule.name))
}

/// The app that `node` names in `app=`, or the only one there is; `None` is told of, with `what` it should
/// have said.
pub(super) fn app_of(
    node: &Checked,
    what: &str,
    names: &Names,
    bench: &mut Bench<'_, '_>,
) -> Option<AppId> {
    if let Some(given) = node.property("app") {
        return route::app(given, &node.path_to("app"), &names.apps, bench);
    }
    let mut apps = names.apps.iter();
    match (apps.next(), apps.next()) {
        (Some(only), None) => Some(AppId::new(only)),
        (first, _) => {
            let message = format!("`{}` does not say {what}", node.rule.name);
            let hint = match first {
                Some(first) => format!("write app=\"{first}\""),
                None => "add an app, and name it: app=\"NAME\"".to_owned(),
            };
            bench.report.error(node.span, &node.path, message, hint);
            None
        }
    }
}
