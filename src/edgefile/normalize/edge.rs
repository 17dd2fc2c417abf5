//! `edge`: the server's own side.

use super::{Bench, listeners, sessions};
use crate::contract::config::{
    Builtin, EdgeConfig, EdgeLimits, LogConfig, Phases, RateLimit, Verify,
};
use crate::contract::route::RouteTimeouts;
use crate::edgefile::kind::Typed;
use crate::edgefile::span::Span;
use crate::edgefile::validate::{Checked, Given};
use crate::limits;
use std::collections::BTreeMap;

/// The edge that `node` describes, but for its listeners and for what is served with TLS there;
/// without a node all by default.
pub(super) fn edge(node: Option<&Checked>, bench: &mut Bench<'_, '_>) -> EdgeConfig {
    let mut edge = EdgeConfig { mdns: true, ..EdgeConfig::default() };
    let Some(node) = node else { return edge };
    edge.trusted_proxies = trusted_proxies(node, bench);
    edge.proxy_protocol = listeners::proxy_protocol(node, bench);
    edge.rate_limit = node.child("rate-limit").and_then(|limit| rate_limit(limit, bench));
    if let Some(timeouts) = node.child("timeouts") {
        phases(timeouts, &mut edge.phases);
    }
    if let Some(found) = node.child("limits") {
        bounds(found, &mut edge.limits);
    }
    if let Some(spool) = node.child("spool") {
        edge.spool_dir = spool
            .argument()
            .and_then(Given::text)
            .and_then(|path| bench.directory(path, spool.argument(), spool));
    }
    if let Some(found) = node.child("store") {
        edge.store = sessions::store(found, bench);
    }
    if let Some(mdns) = node.child("mdns") {
        edge.mdns = mdns.argument().and_then(Given::flag).unwrap_or(true);
    }
    if let Some(on) = node.child("underscores").and_then(|it| it.argument()?.flag()) {
        edge.underscores = on;
    }
    edge.user = super::app::user(node, bench);
    edge.loops = node
        .child("loops")
        .and_then(|loops| loops.argument()?.number())
        .and_then(|number| u16::try_from(number).ok());
    if let Some(found) = node.child("verify") {
        verify(found, &mut edge.verify);
    }
    if let Some(found) = node.child("log") {
        log(found, &mut edge.log);
    }
    if let Some(found) = node.child("publish") {
        edge.publish = super::realtime::publish(found, bench);
    }
    if let Some(dashboard) = node.child("dashboard") {
        edge.dashboard.on = dashboard.argument().and_then(Given::flag).unwrap_or(true);
    }
    if let Some(found) = node.child("builtin") {
        builtin(found, &mut edge.builtin, bench);
    }
    edge
}

/// Deadlines of requests that `edge` says for all apps.
pub(super) fn request_timeouts(node: Option<&Checked>) -> RouteTimeouts {
    node.and_then(|edge| edge.child("timeouts")).map(super::route::timeouts).unwrap_or_default()
}

/// Networks, each once.
fn trusted_proxies(node: &Checked, bench: &mut Bench<'_, '_>) -> Vec<String> {
    let mut networks: Vec<String> = Vec::new();
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for list in node.all("trusted-proxies") {
        for (network, span) in list.texts() {
            let first = *seen.entry(network).or_insert(span);
            if first != span {
                let line = bench.report.line(first);
                let message = format!("{network} stands here twice; first on line {line}");
                bench.report.warning(span, &list.path, message, "leave one of them out");
                continue;
            }
            if network.ends_with("/0") {
                let message = format!("{network} is everybody: each client may say who it is");
                let hint = "name the networks of your own proxies";
                bench.report.warning(span, &list.path, message, hint);
            }
            networks.push(network.to_owned());
        }
    }
    networks
}

/// The limit that `node` says; `None` when it is wrong, which has been told.
pub(super) fn rate_limit(node: &Checked, bench: &mut Bench<'_, '_>) -> Option<RateLimit> {
    let given = node.argument()?;
    let window = node.property("window");
    if let Typed::Word(_) = given.typed {
        if let Some(window) = window {
            let message = "\"off\" and a window contradict";
            let hint = "leave one of them out";
            bench.report.error(window.span, &node.path_to("window"), message, hint);
        }
        return Some(RateLimit::UNLIMITED);
    }
    Some(RateLimit {
        limit: given.small()?,
        window: window.and_then(Given::duration).unwrap_or(limits::RATE_WINDOW),
    })
}

fn phases(node: &Checked, phases: &mut Phases) {
    let get = |name| node.property(name).and_then(Given::duration);
    phases.head = get("head").unwrap_or(phases.head);
    phases.body = get("body").unwrap_or(phases.body);
    phases.idle = get("idle").unwrap_or(phases.idle);
    phases.write = get("write").unwrap_or(phases.write);
}

fn bounds(node: &Checked, limits: &mut EdgeLimits) {
    let get = |name| node.property(name);
    let number = |name, default| get(name).and_then(Given::number).unwrap_or(default);
    limits.body_bytes = number("body", limits.body_bytes);
    limits.spool_memory_bytes = number("spool-memory", limits.spool_memory_bytes);
    limits.spool_disk_bytes = number("spool-disk", limits.spool_disk_bytes);
    limits.connections = get("connections").and_then(Given::small);
    limits.per_address = get("per-address").and_then(Given::small);
}

fn verify(node: &Checked, verify: &mut Verify) {
    let flag = |name, default| node.property(name).and_then(Given::flag).unwrap_or(default);
    verify.healthy_apps = flag("healthy-apps", verify.healthy_apps);
    verify.healthy_upstreams = flag("healthy-upstreams", verify.healthy_upstreams);
    verify.within = node.property("within").and_then(Given::duration).unwrap_or(verify.within);
}

fn log(node: &Checked, log: &mut LogConfig) {
    log.access = node.property("access").and_then(Given::flag).unwrap_or(log.access);
    log.json = node.property("format").and_then(Given::text).map_or(log.json, |it| it == "json");
}

fn builtin(node: &Checked, builtin: &mut Builtin, bench: &mut Bench<'_, '_>) {
    if let Some(off) = node.argument() {
        if node.has_properties() {
            let hint = "leave \"off\" or the paths out";
            bench.report.error(off.span, &node.path, "\"off\" and paths contradict", hint);
        }
        *builtin = Builtin::off();
        return;
    }
    let Builtin { server, status, livez, readyz, healthz, metrics, diagnostics, open } = builtin;
    let paths = [
        ("server", server),
        ("status", status),
        ("livez", livez),
        ("readyz", readyz),
        ("healthz", healthz),
        ("metrics", metrics),
        ("diagnostics", diagnostics),
    ];
    for (name, path) in paths {
        if let Some(given) = node.property(name) {
            *path = path_of(given);
        }
    }
    *open = node.property("open").and_then(Given::flag).unwrap_or(*open);
    let paths = builtin.paths();
    for (index, (name, path)) in paths.iter().enumerate() {
        let same = |(_, other): &&(&str, &Option<String>)| path.is_some() && other == path;
        let Some((first, _)) = paths.iter().take(index).find(same) else { continue };
        let span = node.property(name).or(node.property(first)).map_or(node.span, |it| it.span);
        let message = format!("`{first}` and `{name}` have the same path");
        bench.report.error(span, &node.path, message, "choose another path for one of them");
    }
}

/// None where the word says so.
fn path_of(given: &Given) -> Option<String> {
    match &given.typed {
        Typed::Text(path) => Some(path.clone()),
        _ => None,
    }
}
