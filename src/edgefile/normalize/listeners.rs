//! `http` and `https`: where clients connect. `admin`: where the operator does.

use super::Bench;
use super::https::Origin;
use crate::contract::listen::ListenAddress;
use crate::edgefile::kind::Typed;
use crate::edgefile::span::Span;
use crate::edgefile::validate::Checked;

/// Addresses of plain HTTP, of HTTPS, and for the operator.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Listeners {
    pub http: Vec<ListenAddress>,
    pub https: Vec<ListenAddress>,
    pub admin: Vec<ListenAddress>,
}

/// Where `node`, which is `edge`, says that clients connect, else where they look first. HTTPS can
/// be served with what `origin` names.
pub(super) fn listeners(
    node: Option<&Checked>,
    origin: Option<&Origin>,
    bench: &mut Bench<'_, '_>,
) -> Listeners {
    let mut list = List::default();
    let http = said(node, HTTP, &mut list, bench);
    let https = said(node, HTTPS, &mut list, bench);
    said(node, ADMIN, &mut list, bench);
    for found in list.of(ADMIN).filter(|found| !found.is_of_this_machine()) {
        let message = "whoever can connect there sees everything: paths, names, workers";
        let hint = format!("admin \"127.0.0.1:{}\" is for this machine alone", found.address.port);
        bench.report.warning(found.span, "edge › admin", message, hint);
    }
    let has_gaps = node.is_some_and(|edge| edge.has_gaps);
    if let (Said::Addresses, None, false) = (https, origin, bench.report.has_errors())
        && let Some(first) = list.of(HTTPS).next()
    {
        let message = "there is nothing to serve HTTPS with: no site has a certificate";
        bench.report.error(first.span, "edge › https", message, SOURCES);
    }
    if let (Said::Off(span), Some(_)) = (https, origin) {
        let message = "there are certificates, and no HTTPS that they are for";
        let hint = "leave `https \"off\"` out, or the certificates";
        bench.report.warning(span, "edge › https", message, hint);
    }
    // Nothing is said of it: where everybody looks first.
    let (span, path) = node.map_or((Span::default(), "edge"), |edge| (edge.span, &*edge.path));
    if https == Said::Nothing
        && !has_gaps
        && let Some(Origin { span, path }) = origin
    {
        list.add_default(HTTPS, (*span, path), bench);
    }
    if http == Said::Nothing && !has_gaps {
        list.add_default(HTTP, (span, path), bench);
    }
    if let Said::Off(span) = http
        && list.of(HTTP).chain(list.of(HTTPS)).next().is_none()
        && !has_gaps
    {
        let message = "\"off\" leaves the server without any address";
        let hint = "write http \":8080\", or https \":443\" and where its certificates come from";
        bench.report.error(span, "edge › http", message, hint);
    }
    let of = |protocol| list.of(protocol).map(|found| found.address).collect();
    Listeners { http: of(HTTP), https: of(HTTPS), admin: of(ADMIN) }
}

/// Those of the addresses that are behind proxies which say for whom they connect.
pub(super) fn proxy_protocol(node: &Checked, bench: &mut Bench<'_, '_>) -> Vec<ListenAddress> {
    let mut found = Vec::new();
    for listener in node.all(HTTP).chain(node.all(HTTPS)) {
        let Some(given) = listener.property("proxy-protocol") else { continue };
        if given.flag() != Some(true) {
            continue;
        }
        if node.child("trusted-proxies").is_none() && !node.has_gaps {
            let message = "`proxy-protocol` needs `trusted-proxies`: without, nobody could connect";
            let hint = "name the proxies in `edge`: trusted-proxies \"10.0.0.0/8\"";
            bench.report.error(given.span, &listener.path_to("proxy-protocol"), message, hint);
        }
        found.extend(listener.arguments.iter().filter_map(|given| match given.typed {
            Typed::Address(address) => Some(address),
            _ => None,
        }));
    }
    found
}

/// What the file says of a protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Nothing,
    Addresses,
    Off(Span),
}

fn said(
    node: Option<&Checked>,
    protocol: &'static str,
    list: &mut List,
    bench: &mut Bench<'_, '_>,
) -> Said {
    let mut said = Said::Nothing;
    let mut addresses = 0;
    for listener in node.iter().flat_map(|edge| edge.all(protocol)) {
        // One without any value that is right has been told of.
        if said == Said::Nothing {
            said = Said::Addresses;
        }
        for given in &listener.arguments {
            match given.typed {
                Typed::Address(address) => {
                    addresses += 1;
                    let found = Found { address, span: given.span, protocol };
                    list.add(found, &listener.path, bench);
                }
                Typed::Word(_) => said = Said::Off(given.span),
                _ => {}
            }
        }
    }
    if let (Said::Off(span), 1..) = (said, addresses) {
        let path = format!("edge › {protocol}");
        bench.report.error(span, &path, "\"off\" and an address contradict", "leave one out");
        return Said::Addresses;
    }
    said
}

/// What is listened at so far.
#[derive(Debug, Default)]
struct List {
    found: Vec<Found>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    address: ListenAddress,
    span: Span,
    protocol: &'static str,
}

impl Found {
    fn is_of_this_machine(&self) -> bool {
        self.address.ip.is_some_and(|ip| ip.is_loopback())
    }
}

impl List {
    fn of(&self, protocol: &'static str) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(move |found| found.protocol == protocol)
    }

    fn add(&mut self, new: Found, path: &str, bench: &mut Bench<'_, '_>) {
        let Found { address, span, protocol } = new;
        if let Some(first) = self.found.iter().find(|first| first.address.clashes(address)) {
            let line = bench.report.line(first.span);
            let other = first.address;
            let message = if first.protocol != protocol {
                let told = match first.protocol {
                    HTTPS => "HTTPS",
                    ADMIN => "the operator",
                    _ => "plain HTTP",
                };
                format!("{address} is that of {told} already: {other} on line {line}")
            } else if other == address {
                format!("{address} is listened at twice; first on line {line}")
            } else {
                format!("{address} and {other} (line {line}) are one address")
            };
            let hint = match first.protocol == protocol {
                true => "one of them is enough; `*` and 0.0.0.0 are every address",
                false => "each of them needs an address of its own, such as another port",
            };
            bench.report.error(span, path, message, hint);
            return;
        }
        bench.port(address.port, protocol == HTTPS, span, path);
        self.found.push(new);
    }

    /// The address of `protocol` that goes without saying; for which `span` and `path` are the reason.
    fn add_default(
        &mut self,
        protocol: &'static str,
        (span, path): (Span, &str),
        bench: &mut Bench<'_, '_>,
    ) {
        let port = if protocol == HTTPS { DEFAULT_HTTPS } else { DEFAULT_HTTP };
        let address = ListenAddress { ip: None, port };
        if let Some(first) = self.found.iter().find(|first| first.address.clashes(address)) {
            let message =
                format!("port {port} is where `{protocol}` listens, as nothing else is said of it");
            let hint = format!("say it: {protocol} \":{}\", or \"off\"", u32::from(port) + 8000);
            let path = format!("edge › {}", first.protocol);
            bench.report.error(first.span, &path, message, hint);
            return;
        }
        bench.port(port, protocol == HTTPS, span, path);
        self.found.push(Found { address, span, protocol });
    }
}

const HTTP: &str = "http";
const HTTPS: &str = "https";
const ADMIN: &str = "admin";
const DEFAULT_HTTP: u16 = 80;
const DEFAULT_HTTPS: u16 = 443;
const SOURCES: &str = "give a site tls cert=\"site.crt\" key=\"site.key\" or tls \"auto\"; or `edge` a line \
                       acme email=\"you@example.com\" for public hosts, or certs \"DIRECTORY\"";
