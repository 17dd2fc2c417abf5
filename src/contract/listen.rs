//! Where clients connect, and what the addresses are called outside.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where clients connect. Prints, and is in JSON, `*:8080`, `127.0.0.1:8080`, `[::1]:8080`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ListenAddress {
    /// The address; `None` is every address of the machine, IPv6 and IPv4.
    pub ip: Option<IpAddr>,
    /// The port, never 0.
    pub port: u16,
}

impl ListenAddress {
    /// The socket addresses to bind, the first that the machine supports: for every address one
    /// IPv6 socket that takes IPv4 as well (`IPV6_V6ONLY` cleared), where there is no IPv6 the
    /// IPv4 wildcard.
    pub fn candidates(self) -> Vec<SocketAddr> {
        match self.ip {
            Some(ip) => vec![SocketAddr::new(ip, self.port)],
            None => vec![
                SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.port),
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port),
            ],
        }
    }

    /// The address with `host` as a URL a client can use, `https` where TLS is spoken there; the
    /// port is left out where it goes without saying.
    pub fn url(self, host: &str, is_secure: bool) -> String {
        match (is_secure, self.port) {
            (false, 80) => format!("http://{host}/"),
            (true, 443) => format!("https://{host}/"),
            (false, port) => format!("http://{host}:{port}/"),
            (true, port) => format!("https://{host}:{port}/"),
        }
    }
}

impl ListenAddress {
    /// Two sockets cannot be bound to both.
    pub fn clashes(self, other: Self) -> bool {
        let every = |address: Self, beside: Self| match address.ip {
            None => true,
            // An IPv6 wildcard takes IPv4 as well, an IPv4 wildcard only its own.
            Some(IpAddr::V6(ip)) => ip.is_unspecified(),
            Some(IpAddr::V4(ip)) => ip.is_unspecified() && matches!(beside.ip, Some(IpAddr::V4(_))),
        };
        let is_one = || self.ip == other.ip || every(self, other) || every(other, self);
        self.port == other.port && is_one()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(out),
            None => write!(out, "*:{}", self.port),
        }
    }
}

/// Each of `hosts` on each listener, of HTTPS or of plain HTTP.
pub fn named_urls(hosts: &[&str], listeners: &[ListenAddress], is_secure: bool) -> Vec<String> {
    listeners.iter().flat_map(|at| hosts.iter().map(|host| at.url(host, is_secure))).collect()
}

/// Each listener by its own address, `localhost` for a wildcard.
pub fn bare_urls(listeners: &[ListenAddress], is_secure: bool) -> Vec<String> {
    let bare = listeners.iter().map(|at| {
        let host = match at.ip.filter(|ip| !ip.is_unspecified()) {
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            None => "localhost".to_owned(),
        };
        at.url(&host, is_secure)
    });
    bare.collect()
}

/// Listeners that are put in the place of a file's own: there it may name ports that cannot be
/// listened at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreePorts {
    /// Those of plain HTTP.
    pub http: bool,
    /// Those of HTTPS.
    pub https: bool,
}

impl FreePorts {
    /// Whether the process may listen at any of them does not matter: others open them, or have.
    pub const ALL: Self = Self { http: true, https: true };
}

impl std::str::FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("an address is HOST:PORT, or :PORT")?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err("the port is a number from 1 to 65535"),
            Ok(port) => port,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let ip = match (host, bare) {
            ("" | "*", _) => None,
            (_, Some(six)) => {
                Some(six.parse::<Ipv6Addr>().map_err(|_| "that is no IPv6 address")?.into())
            }
            (four, None) => Some(
                four.parse::<Ipv4Addr>()
                    .map_err(|_| "the host is an IPv4 address, an IPv6 address in [], or nothing")?
                    .into(),
            ),
        };
        Ok(Self { ip, port })
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_bind_and_become_urls() {
        let every = ListenAddress { ip: None, port: 8080 };
        assert_eq!(every.to_string(), "*:8080");
        assert_eq!(
            every.candidates(),
            ["[::]:8080", "0.0.0.0:8080"].map(|text| text.parse::<SocketAddr>().unwrap())
        );
        let six = ListenAddress { ip: Some(Ipv6Addr::LOCALHOST.into()), port: 80 };
        assert_eq!(six.to_string(), "[::1]:80");
        assert_eq!(bare_urls(&[every, six], false), ["http://localhost:8080/", "http://[::1]/"]);
        assert_eq!(bare_urls(&[six], true), ["https://[::1]:80/"]);
        let hosts = ["a.local", "b.local"];
        let named = named_urls(&hosts, &[every], false);
        assert_eq!(named, ["http://a.local:8080/", "http://b.local:8080/"]);
        let usual = ListenAddress { ip: None, port: 443 };
        assert_eq!(usual.url("a.local", true), "https://a.local/");
        assert_eq!(usual.url("a.local", false), "http://a.local:443/");
    }

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
            assert_eq!(parse(one).clashes(parse(other)), expected, "{one} {other}");
        }
    }
}
