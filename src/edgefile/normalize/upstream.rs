//! `upstream`: servers that are not ours, those that have a node and those that a route names.

use super::Bench;
use super::site::Names;
use crate::contract::app::HealthCheck;
use crate::contract::attempt::AttemptCode;
use crate::contract::config::UpstreamDescriptor;
use crate::contract::route::{RouteAction, RouteRule, RouteTimeouts};
use crate::edgefile::lexer::shown;
use crate::edgefile::span::Span;
use crate::edgefile::surroundings::Trouble;
use crate::edgefile::validate::{Checked, Given};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The upstream that `node` describes; `None` without a name or targets, which has been told.
pub(super) fn upstream(
    node: &Checked,
    edge: RouteTimeouts,
    bench: &mut Bench<'_, '_>,
) -> Option<UpstreamDescriptor> {
    let name = node.argument().and_then(Given::text);
    let targets = targets(node, bench);
    let host = node.child("host").and_then(Checked::argument).and_then(Given::text);
    let ca = node.child("ca").and_then(|ca| authorities(ca, &targets, bench));
    let retry = node.child("retry");
    if let Some(retry) = retry.filter(|it| !it.has_properties() && !it.has_gaps) {
        let hint = "write retry attempts=3, or leave it out";
        bench.report.error(retry.span, &retry.path, "`retry` says nothing", hint);
    }
    let timeouts = node.child("timeouts").map(super::route::timeouts).unwrap_or_default();
    let around = RouteTimeouts {
        connect: timeouts.connect.or(edge.connect),
        read: timeouts.read.or(edge.read),
        queue: None,
    };
    let plain = by_default(name?, targets, around);
    Some(UpstreamDescriptor {
        host: host.map(str::to_owned),
        ca,
        health_check: node.child("health-check").map(health_check),
        attempts: retry
            .and_then(|retry| retry.property("attempts")?.small())
            .unwrap_or(plain.attempts),
        ..plain
    })
    .filter(|upstream| !upstream.targets.is_empty())
}

/// The upstreams that rules name by a URL, each once, by declaration.
pub(super) fn implicit(
    routes: &[RouteRule],
    names: &Names,
    edge: RouteTimeouts,
) -> Vec<UpstreamDescriptor> {
    let mut seen = BTreeSet::new();
    let urls = routes.iter().filter_map(|rule| match &rule.action {
        RouteAction::Proxy { upstream, .. } if !names.upstreams.contains(upstream) => {
            Some(upstream)
        }
        _ => None,
    });
    urls.filter(|url| seen.insert(url.as_str()))
        .map(|url| by_default(url, vec![url.clone()], edge))
        .collect()
}

/// Warns of upstreams that no rule leads to.
pub(super) fn check_used(nodes: &[&Checked], routes: &[RouteRule], bench: &mut Bench<'_, '_>) {
    let used: BTreeSet<&str> = routes
        .iter()
        .filter_map(|rule| match &rule.action {
            RouteAction::Proxy { upstream, .. } => Some(upstream.as_str()),
            _ => None,
        })
        .collect();
    for node in nodes {
        let Some((name, _)) = node.texts().next() else { continue };
        if !used.contains(name) {
            let message = format!("no route leads to the upstream \"{name}\"");
            let hint = format!("give a site a route {{ proxy \"{name}\" }}");
            bench.report.warning(node.span, &node.path, message, hint);
        }
    }
}

fn by_default(id: &str, targets: Vec<String>, timeouts: RouteTimeouts) -> UpstreamDescriptor {
    UpstreamDescriptor {
        id: id.to_owned(),
        targets,
        host: None,
        ca: None,
        health_check: None,
        attempts: limits::UPSTREAM_ATTEMPT_COUNT,
        connect: timeouts.connect.unwrap_or(limits::CONNECT_TIMEOUT),
        read: timeouts.read.unwrap_or(limits::READ_TIMEOUT),
    }
}

/// As the file has them: it is how they are called in listings.
fn targets(node: &Checked, bench: &mut Bench<'_, '_>) -> Vec<String> {
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    let mut targets = Vec::new();
    for target in node.all("target") {
        for (url, span) in target.texts() {
            if targets.len() == limits::UPSTREAM_TARGET_COUNT {
                let most = limits::UPSTREAM_TARGET_COUNT;
                let message = format!("an upstream has at most {most} targets");
                let hint = "make two upstreams of it, or put a name of the DNS before them";
                bench.report.error(span, &target.path, message, hint);
                return targets;
            }
            let first = *seen.entry(server(url)).or_insert(span);
            if first != span {
                let line = bench.report.line(first);
                let message =
                    format!("the target {} stands here twice; first on line {line}", shown(url));
                bench.report.error(span, &target.path, message, "leave one of them out");
                continue;
            }
            targets.push(url.to_owned());
        }
    }
    targets
}

/// The same for every way to write a URL.
fn server(url: &str) -> String {
    if let Some(path) = url.strip_prefix("unix:") {
        return format!("unix:{}", path.strip_prefix("//").unwrap_or(path));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (scheme, port) = match scheme {
        "https" | "wss" => ("https", ":443"),
        _ => ("http", ":80"),
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(port).unwrap_or(&authority);
    format!("{scheme}://{authority}{}", path.trim_end_matches('/'))
}

fn authorities(ca: &Checked, targets: &[String], bench: &mut Bench<'_, '_>) -> Option<String> {
    let given = ca.argument()?;
    let found = bench.machine.authorities(given.text()?);
    let found = found.map_err(|trouble| Trouble { code: AttemptCode::CertUnreadable, ..trouble });
    let path = bench.taken(found, given.span, &ca.path)?;
    let is_secret = |url: &String| url.starts_with("https:") || url.starts_with("wss:");
    if !targets.is_empty() && !targets.iter().any(is_secret) {
        let message = "`ca` does nothing: no target is https";
        bench.report.warning(ca.span, &ca.path, message, "leave it out");
    }
    Some(path)
}

fn health_check(node: &Checked) -> HealthCheck {
    let default = HealthCheck {
        interval_ms: millis(limits::CHECK_INTERVAL),
        timeout_ms: millis(limits::CHECK_TIMEOUT),
        unhealthy_threshold: limits::CHECK_FAILURE_COUNT,
        // Nothing but a good answer says that a server which is not ours is well.
        explicit: true,
        ..HealthCheck::default()
    };
    let duration = |name: &str| node.property(name).and_then(Given::duration).map(millis);
    HealthCheck {
        path: node.property("path").and_then(Given::text).map_or(default.path, str::to_owned),
        interval_ms: duration("interval").unwrap_or(default.interval_ms),
        timeout_ms: duration("timeout").unwrap_or(default.timeout_ms),
        unhealthy_threshold: node
            .property("unhealthy-threshold")
            .and_then(Given::small)
            .unwrap_or(default.unhealthy_threshold),
        explicit: default.explicit,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_one_however_it_is_written() {
        for (one, other, is_same) in [
            ("http://a", "http://A:80/", true),
            ("ws://a/x", "http://a/x/", true),
            ("https://a", "wss://a:443", true),
            ("unix:/a", "unix:///a", true),
            ("http://a", "https://a", false),
            ("http://a", "http://a:443", false),
            ("http://a/x", "http://a/X", false),
            ("http://[::1]:80", "http://[::1]", true),
            ("http://a:8080", "http://a:80", false),
        ] {
            assert_eq!(server(one) == server(other), is_same, "{one} {other}");
        }
    }
}
