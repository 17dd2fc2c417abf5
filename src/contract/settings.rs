//! What one master was asked to do: resolved once by the command line, read by everyone.

use crate::contract::app::AppDescriptor;
use crate::limits;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Everything a master needs to know to start. Plain values: nothing in here was looked up later
/// than the command line, and nothing changes while the master lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The app that is served.
    pub app: AppDescriptor,
    /// The master's name: what `--name` selects and what its runtime directory is called.
    pub name: String,
    /// Plain HTTP listeners; at least one.
    pub http: Vec<ListenAddress>,
    /// Edge loops; `None` is one per core.
    pub loops: Option<u16>,
    /// Bounds of the edge.
    pub limits: EdgeLimits,
    /// Deadlines of client connections.
    pub phases: Phases,
    /// One line per request.
    pub access_log: bool,
    /// Access lines, events and worker output as JSON objects.
    pub json: bool,
    /// Only trouble is told: no access lines and no ordinary lifecycle events.
    pub quiet: bool,
    /// Diagnostics down to the debug level.
    pub debug: bool,
    /// Changed files are looked for now and then instead of being told of by the kernel.
    pub watch_poll: bool,
    /// Where request bodies that outgrow memory go; `None` is `/var/tmp`.
    pub spool_dir: Option<String>,
    /// Public addresses of the app, told to workers as `RIP_URLS` and shown when ready.
    pub urls: Vec<String>,
}

impl Settings {
    /// The settings of `app` listening on `http`, everything else by default.
    pub fn new(app: AppDescriptor, http: Vec<ListenAddress>) -> Self {
        let urls = public_urls(&app.hosts, &http);
        Self {
            name: app.id.as_str().to_owned(),
            app,
            http,
            loops: None,
            limits: EdgeLimits::default(),
            phases: Phases::default(),
            access_log: true,
            json: false,
            quiet: false,
            debug: false,
            watch_poll: false,
            spool_dir: None,
            urls,
        }
    }
}

/// Where clients connect. Prints as `*:8080`, `127.0.0.1:8080`, `[::1]:8080`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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

    /// The address with `host` as a URL a client can use; port 80 is left out.
    pub fn url(self, host: &str) -> String {
        if self.port == 80 {
            format!("http://{host}/")
        } else {
            format!("http://{host}:{}/", self.port)
        }
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

/// The URLs under which the app answers: each of `hosts` on each listener, then each listener by
/// its own address, `localhost` for a wildcard.
pub fn public_urls(hosts: &[String], listeners: &[ListenAddress]) -> Vec<String> {
    let named = listeners.iter().flat_map(|at| hosts.iter().map(|host| at.url(host)));
    let bare = listeners.iter().map(|at| {
        at.url(&match at.ip.filter(|ip| !ip.is_unspecified()) {
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            None => "localhost".to_owned(),
        })
    });
    named.chain(bare).collect()
}

/// Bounds of the edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EdgeLimits {
    /// A request body: 413 beyond.
    pub body_bytes: u64,
    /// Client connections at once; `None` follows from the file descriptor limit.
    pub connections: Option<u32>,
    /// Client connections of one address at once, loopback excepted; `None` is no limit.
    pub per_address: Option<u32>,
    /// Spooled bytes in memory over the whole process.
    pub spool_memory_bytes: u64,
    /// Spooled bytes in files over the whole process.
    pub spool_disk_bytes: u64,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            body_bytes: limits::BODY_BYTES,
            connections: None,
            per_address: None,
            spool_memory_bytes: limits::SPOOL_MEMORY_BYTES,
            spool_disk_bytes: limits::SPOOL_DISK_BYTES,
        }
    }
}

/// Deadlines of a client connection, by phase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Phases {
    /// First byte of a request until its head is complete.
    pub head: Duration,
    /// Longest silence inside a request body.
    pub body: Duration,
    /// A connection between two requests.
    pub idle: Duration,
    /// A response without progress.
    pub write: Duration,
    /// Reading on after an early answer.
    pub linger: Duration,
}

impl Default for Phases {
    fn default() -> Self {
        Self {
            head: limits::HEAD_TIMEOUT,
            body: limits::BODY_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            write: limits::WRITE_TIMEOUT,
            linger: limits::LINGER_TIMEOUT,
        }
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
        assert_eq!(public_urls(&[], &[every, six]), ["http://localhost:8080/", "http://[::1]/"]);
        let hosts = ["a.local".to_owned(), "b.local".to_owned()];
        assert_eq!(
            public_urls(&hosts, &[every]),
            ["http://a.local:8080/", "http://b.local:8080/", "http://localhost:8080/"]
        );
    }
}
