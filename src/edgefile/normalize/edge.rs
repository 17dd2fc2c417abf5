//! `edge`: the server's own side.

use super::Bench;
use crate::contract::config::{
    Builtin, EdgeConfig, EdgeLimits, LogConfig, Phases, RateLimit, Verify,
};
use crate::contract::listen::ListenAddress;
use crate::contract::route::RouteTimeouts;
use crate::edgefile::kind::Typed;
use crate::edgefile::span::Span;
use crate::edgefile::validate::{Checked, Given};
use crate::limits;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The edge that `node` describes; without one all by default.
pub(super) fn edge(node: Option<&Checked>, bench: &mut Bench<'_, '_>) -> EdgeConfig {
    let mut edge = EdgeConfig { http: listeners(node, bench), ..EdgeConfig::default() };
    let Some(node) = node else { return edge };
    edge.trusted_proxies = trusted_proxies(node, bench);
    edge.proxy_protocol = proxy_protocol(node, bench);
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
    if let Some(on) = node.child("underscores").and_then(|it| it.argument()?.flag()) {
        edge.underscores = on;
    }
    edge.loops = node
        .child("loops")
        .and_then(|loops| loops.argument()?.number())
        .and_then(|number| u16::try_from(number).ok());
    for http in node
        .all("http")
        .filter(|http| http.property("proxy-protocol").and_then(Given::flag).unwrap_or_default())
    {
        edge.proxy_protocol.extend(http.arguments.iter().filter_map(|given| match given.typed {
            Typed::Address(address) => Some(address),
            _ => None,
        }));
    }
    let networks = node.all("trusted-proxies").flat_map(|it| &it.arguments);
    edge.trusted_proxies = networks.filter_map(|it| Some(it.text()?.to_owned())).collect();
    edge.rate_limit = node.child("rate-limit").and_then(|it| {
        let limit = it.argument()?.small()?;
        let window = it.property("window").and_then(Given::duration);
        Some(RateLimit { limit, window: window.unwrap_or(crate::limits::RATE_WINDOW) })
    });
    if let Some(found) = node.child("verify") {
        verify(found, &mut edge.verify);
    }
    if let Some(found) = node.child("log") {
        log(found, &mut edge.log);
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

fn listeners(node: Option<&Checked>, bench: &mut Bench<'_, '_>) -> Vec<ListenAddress> {
    let mut found: Vec<(ListenAddress, Span)> = Vec::new();
    let mut says = false;
    for http in node.iter().flat_map(|edge| edge.all("http")) {
        says = true;
        for given in &http.arguments {
            let address = match given.typed {
                Typed::Address(address) => address,
                Typed::Word(_) => {
                    bench.report.error(
                        given.span,
                        &http.path,
                        "\"off\" leaves the server without any address",
                        "plain HTTP is all that this version serves: write http \":8080\"",
                    );
                    continue;
                }
                _ => continue,
            };
            if let Some((other, first)) = found.iter().find(|(other, _)| clash(*other, address)) {
                let line = bench.report.line(*first);
                let message = if *other == address {
                    format!("{address} is listened at twice; first on line {line}")
                } else {
                    format!("{address} and {other} (line {line}) are one address")
                };
                let hint = "one of them is enough; `*` and 0.0.0.0 are every address";
                bench.report.error(given.span, &http.path, message, hint);
                continue;
            }
            bench.port(address.port, given.span, &http.path);
            found.push((address, given.span));
        }
    }
    if says || node.is_some_and(|edge| edge.has_gaps) {
        return found.into_iter().map(|(address, _)| address).collect();
    }
    // Nothing is said of it: where everybody looks first.
    let (span, path) = node.map_or((Span::default(), "edge"), |edge| (edge.span, &*edge.path));
    bench.port(DEFAULT_PORT, span, path);
    vec![ListenAddress { ip: None, port: DEFAULT_PORT }]
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

/// The listeners behind proxies that say for whom they connect.
fn proxy_protocol(node: &Checked, bench: &mut Bench<'_, '_>) -> Vec<ListenAddress> {
    let mut found = Vec::new();
    for http in node.all("http") {
        let Some(given) = http.property("proxy-protocol") else { continue };
        if given.flag() != Some(true) {
            continue;
        }
        if node.child("trusted-proxies").is_none() && !node.has_gaps {
            let message = "`proxy-protocol` needs `trusted-proxies`: without, nobody could connect";
            let hint = "name the proxies in `edge`: trusted-proxies \"10.0.0.0/8\"";
            bench.report.error(given.span, &http.path_to("proxy-protocol"), message, hint);
        }
        found.extend(http.arguments.iter().filter_map(|given| match given.typed {
            Typed::Address(address) => Some(address),
            _ => None,
        }));
    }
    found
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

/// Two sockets cannot be bound to both.
fn clash(one: ListenAddress, other: ListenAddress) -> bool {
    let every = |address: ListenAddress, beside: ListenAddress| match address.ip {
        None => true,
        // An IPv6 wildcard takes IPv4 as well, an IPv4 wildcard only its own.
        Some(IpAddr::V6(ip)) => ip.is_unspecified(),
        Some(IpAddr::V4(ip)) => ip.is_unspecified() && matches!(beside.ip, Some(IpAddr::V4(_))),
    };
    one.port == other.port && (one.ip == other.ip || every(one, other) || every(other, one))
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
        *builtin = Builtin { server: None, status: None };
        return;
    }
    let path = |given: &Given| match &given.typed {
        Typed::Text(path) => Some(path.clone()),
        _ => None,
    };
    if let Some(given) = node.property("server") {
        builtin.server = path(given);
    }
    if let Some(given) = node.property("status") {
        builtin.status = path(given);
    }
    if builtin.server.is_some() && builtin.server == builtin.status {
        let span =
            node.property("status").or(node.property("server")).map_or(node.span, |it| it.span);
        let message = "`server` and `status` have the same path";
        bench.report.error(span, &node.path, message, "choose another path for one of them");
    }
}

const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_takes_its_port_on_every_address() {
        for (one, other, expected) in [
            (":80", ":80", true),
            (":80", ":81", false),
            (":80", "127.0.0.1:80", true),
            ("127.0.0.1:80", ":80", true),
            (":80", "[::1]:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:80", true),
        ] {
            let parse = |text: &str| text.parse::<ListenAddress>().unwrap();
            assert_eq!(clash(parse(one), parse(other)), expected, "{one} {other}");
        }
    }
}
