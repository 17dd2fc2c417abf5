//! Names of the local network (RFC 6762): which of a configuration's hosts other machines there may
//! be told, and at which ports they find what.
//!
//! A host is told when it ends in `.local` and a listener can be reached from outside this machine.
//! Where nothing but addresses of this machine itself is listened at, nothing is told; nor where
//! connections begin with a PROXY header, because those who look names up do not send one.
//!
//! [`SERVER_NAME`] stands for the server itself. It is told where it is of use: a rule takes it, as
//! one for every host does, or there is another name to tell. A server of public names alone tells
//! nothing.

use super::Table;
use crate::contract::config::Config;
pub use crate::contract::config::SERVER_NAME;
use crate::contract::listen::ListenAddress;
use std::net::IpAddr;

/// A name that the local network is told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LocalName {
    /// In lower case, with its `.local` and without a final dot.
    pub host: String,
    /// What is served under it: HTTP, HTTPS, or both in this order.
    pub services: Vec<LocalService>,
}

/// What clients find under a name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LocalService {
    /// TLS is spoken there: `_https._tcp`, else `_http._tcp`.
    pub secure: bool,
    /// The port.
    pub port: u16,
    /// The addresses it is listened at, none of them one of this machine alone; `None` is every
    /// address, IPv6 and IPv4.
    pub at: Vec<Option<IpAddr>>,
}

impl LocalName {
    /// The name without its `.local`: what people are shown. One to 63 bytes (RFC 6763 §4.1.1).
    pub fn instance(&self) -> &str {
        self.host.strip_suffix(SUFFIX).unwrap_or(&self.host)
    }

    /// Every address that one of its services is listened at, each once, `None` for all.
    pub fn addresses(&self) -> Vec<Option<IpAddr>> {
        let mut addresses: Vec<_> =
            self.services.iter().flat_map(|service| service.at.iter().copied()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

/// The names to be told for `config`, whose rules `table` is made of, in alphabetical order; none
/// where it says that none shall be.
pub fn local_names(config: &Config, table: &Table) -> Vec<LocalName> {
    if !config.edge.mdns {
        return Vec::new();
    }
    let plain = service(&config.edge.http, false, config);
    let secure = service(&config.edge.https, true, config);
    if plain.is_none() && secure.is_none() {
        return Vec::new();
    }
    let of_apps = config.apps.iter().flat_map(|app| &app.hosts);
    let hosts = of_apps.chain(config.routes.iter().map(|rule| &rule.host));
    let mut hosts: Vec<_> =
        hosts.map(|host| host.to_ascii_lowercase()).filter(|host| is_local(host)).collect();
    if !hosts.is_empty() || table.knows_host(SERVER_NAME.as_bytes()) {
        hosts.push(SERVER_NAME.to_owned());
    }
    hosts.sort_unstable();
    hosts.dedup();
    let name = |host: String| {
        // Nobody is sent to a certificate that is not there.
        let is_plain = plain.is_some() && config.plain_hosts.contains(&host);
        let secure = secure.iter().filter(|_| !is_plain);
        LocalName { services: plain.iter().chain(secure).cloned().collect(), host }
    };
    hosts.into_iter().map(name).collect()
}

/// What can be reached from outside at the first port of these listeners that can be at all.
fn service(listeners: &[ListenAddress], secure: bool, config: &Config) -> Option<LocalService> {
    let mut open = listeners.iter().filter(|at| {
        let is_own = at.ip.is_some_and(|ip| ip.to_canonical().is_loopback());
        !is_own && !config.edge.proxy_protocol.contains(at)
    });
    let first = open.next()?;
    let others = open.filter(|at| at.port == first.port).map(|at| at.ip);
    let mut at: Vec<_> = std::iter::once(first.ip).chain(others).collect();
    at.sort_unstable();
    at.dedup();
    Some(LocalService { secure, port: first.port, at })
}

/// A host of the local network that can be told: no pattern, and short enough for a label.
fn is_local(host: &str) -> bool {
    host.strip_suffix(SUFFIX).is_some_and(|name| {
        let is_pattern = name.starts_with('*');
        !is_pattern && (1..=LABEL_BYTES).contains(&name.len())
    })
}

const SUFFIX: &str = ".local";
/// The longest label of a DNS name (RFC 1035 §2.3.4).
const LABEL_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::config::EdgeConfig;
    use crate::contract::route::{RouteAction, RouteRule};
    use crate::ids::AppId;

    fn config(http: &[&str], https: &[&str], hosts: &[&str]) -> Config {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let rule = |host: &&str| {
            RouteRule::new(host, "/*", RouteAction::ToApp { app_id: AppId::new("app") })
        };
        Config {
            edge: EdgeConfig {
                http: addresses(http),
                https: addresses(https),
                mdns: true,
                ..EdgeConfig::default()
            },
            routes: hosts.iter().map(rule).collect(),
            ..Config::default()
        }
    }

    /// `shop.local http:8080@* https:8443@192.0.2.1,192.0.2.2`
    fn told(config: &Config) -> Vec<String> {
        let service = |service: &LocalService| {
            let kind = if service.secure { "https" } else { "http" };
            let at: Vec<_> = service
                .at
                .iter()
                .map(|ip| ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string()))
                .collect();
            format!(" {kind}:{}@{}", service.port, at.join(","))
        };
        let names = local_names(config, &Table::new(&config.routes));
        let line = |name: &LocalName| {
            name.host.clone() + &name.services.iter().map(service).collect::<String>()
        };
        names.iter().map(line).collect()
    }

    #[test]
    fn hosts_of_the_local_network_are_told_and_the_server_beside_them() {
        let hosts =
            ["Shop.local", "shop.local", "shop.example.com", "a.b.local", "*.local", "local"];
        let expected =
            ["a.b.local", "rip.local", "shop.local"].map(|host| format!("{host} http:8080@*"));
        assert_eq!(told(&config(&[":8080"], &[], &hosts)), expected);
        assert_eq!(told(&config(&[":80"], &[], &["*"])), ["rip.local http:80@*"]);
        assert_eq!(told(&config(&[":80"], &[], &["*.local"])), ["rip.local http:80@*"]);
        assert_eq!(told(&config(&[":80"], &[], &["example.com", "*.example.com"])), [""; 0]);
        assert_eq!(told(&config(&[":80"], &[], &[])), [""; 0]);
    }

    #[test]
    fn what_no_label_can_hold_is_not_told() {
        let long = format!("{}.local", "a".repeat(64));
        assert_eq!(told(&config(&[":80"], &[], &[&long])), [""; 0]);
        let longest = format!("{}.local", "a".repeat(63));
        assert_eq!(told(&config(&[":80"], &[], &[&longest])).len(), 2);
    }

    #[test]
    fn each_name_has_the_first_port_that_can_be_reached_from_outside() {
        let own = ["127.0.0.1:8080", "[::1]:8080", "127.9.9.9:81"];
        assert_eq!(told(&config(&own, &["[::1]:443"], &["*"])), [""; 0]);
        let mixed = ["127.0.0.1:80", "192.0.2.2:8080", "192.0.2.3:81", "192.0.2.1:8080"];
        assert_eq!(
            told(&config(&mixed, &["127.0.0.1:443", ":8443"], &["*"])),
            ["rip.local http:8080@192.0.2.1,192.0.2.2 https:8443@*"]
        );
        assert_eq!(told(&config(&[], &[":443"], &["*"])), ["rip.local https:443@*"]);
        assert_eq!(
            told(&config(&["0.0.0.0:80", "[::]:80"], &[], &["*"])),
            ["rip.local http:80@0.0.0.0,::"]
        );
    }

    #[test]
    fn listeners_behind_a_proxy_are_not_told() {
        let mut config = config(&[":80", ":8080"], &[], &["*"]);
        config.edge.proxy_protocol = vec![":80".parse().unwrap()];
        assert_eq!(told(&config), ["rip.local http:8080@*"]);
        config.edge.proxy_protocol.push(":8080".parse().unwrap());
        assert_eq!(told(&config), [""; 0]);
    }

    #[test]
    fn hosts_without_tls_are_told_without_it() {
        let mut config = config(&[":80"], &[":443"], &["a.local", "b.local"]);
        config.plain_hosts = vec!["a.local".to_owned()];
        let both = "http:80@* https:443@*";
        assert_eq!(
            told(&config),
            ["a.local http:80@*", &format!("b.local {both}"), &format!("rip.local {both}")]
        );
        config.edge.http.clear();
        assert_eq!(told(&config)[0], "a.local https:443@*");
    }

    #[test]
    fn nothing_is_told_where_that_is_off() {
        let mut config = config(&[":80"], &[], &["a.local"]);
        config.edge.mdns = false;
        assert_eq!(told(&config), [""; 0]);
    }

    #[test]
    fn a_name_knows_its_label_and_its_addresses() {
        let config = config(&["192.0.2.1:80"], &["192.0.2.1:443", "192.0.2.2:443"], &["a.b.local"]);
        let names = local_names(&config, &Table::new(&config.routes));
        assert_eq!(names[0].instance(), "a.b");
        let addresses = ["192.0.2.1", "192.0.2.2"].map(|ip| Some(ip.parse().unwrap()));
        assert_eq!(names[0].addresses(), addresses);
    }
}
