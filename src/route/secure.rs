//! From plain HTTP to HTTPS: which requests are sent on, and where to; and what browsers are told
//! once they are there.

use super::host::HostPattern;
use crate::contract::config::{Config, Hsts};
use crate::http1::encode;
use crate::http1::head::RequestHead;
use crate::http1::method::Method;
use std::collections::{HashMap, HashSet};

/// What requests at plain listeners are answered with where HTTPS is served as well.
#[derive(Clone, Debug)]
pub struct ToHttps {
    /// Of the HTTPS listener that clients are sent to.
    port: u16,
    /// `None` where every host is sent on.
    plain: Option<PlainHosts>,
    /// Hosts whose certificates an authority makes.
    ordered: HashSet<Vec<u8>>,
}

impl ToHttps {
    /// `None` where nobody is sent on.
    pub fn of(config: &Config) -> Option<Self> {
        let first = config.edge.https.first().filter(|_| config.edge.tls.redirect_http)?;
        let is_any = !config.plain_hosts.is_empty();
        let plain = is_any.then(|| PlainHosts::of(config));
        let ordered = config.acme_hosts.iter().map(|host| host.clone().into_bytes()).collect();
        Some(Self { port: first.port, plain, ordered })
    }

    /// Whether an authority makes the certificate of `host`: it may not have come yet.
    pub fn is_ordered(&self, host: &[u8]) -> bool {
        self.ordered.contains(host)
    }

    /// Whether requests for `host`, as [`normalize`](super::host::normalize) leaves it, are sent on.
    pub fn takes(&self, host: &[u8]) -> bool {
        self.plain.as_ref().is_none_or(|plain| !plain.contains(host))
    }

    /// Appends the origin that requests for `host` are sent to: `https://a.example:8443`.
    pub fn origin(&self, host: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"https://");
        out.extend_from_slice(host);
        if self.port != 443 {
            out.push(b':');
            encode::decimal(u64::from(self.port), out);
        }
    }

    /// Where a client is sent that asked `host` for what `head` says: the same path and query, byte
    /// for byte, but that several leading slashes are one.
    pub fn location(&self, host: &[u8], head: &RequestHead, buf: &[u8]) -> Vec<u8> {
        let target = head.path();
        let path = match target.path(buf) {
            // A question about the server as a whole has no URL.
            b"*" => b"/",
            path => path,
        };
        let slashes = path.iter().take_while(|byte| **byte == b'/').count();
        let mut to = Vec::new();
        self.origin(host, &mut to);
        to.extend_from_slice(path.get(slashes.saturating_sub(1)..).unwrap_or_default());
        if target.has_query {
            to.push(b'?');
            to.extend_from_slice(target.query.of(buf));
        }
        to
    }
}

/// The status that sends a client on for good: one that lets methods without a body become GET, as
/// everybody does, and one that keeps method and body (RFC 9110 §15.4).
pub fn status(method: Method) -> u16 {
    if matches!(method, Method::Get | Method::Head) { 301 } else { 308 }
}

/// Which answers tell a browser to come back over HTTPS only.
#[derive(Clone, Debug)]
pub struct ComeBack {
    line: Vec<u8>,
    /// `None` where every host is told of.
    plain: Option<PlainHosts>,
}

impl ComeBack {
    /// `None` where nobody is told.
    pub fn of(config: &Config) -> Option<Self> {
        let line = hsts_line(config.edge.tls.hsts.as_ref()?);
        let is_any = !config.plain_hosts.is_empty();
        Some(Self { line, plain: is_any.then(|| PlainHosts::of(config)) })
    }

    /// The whole line of `Strict-Transport-Security`.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Whether it is said in answers for `host`, as [`normalize`](super::host::normalize) leaves it;
    /// `None` is one that is not known. Not where a host is to stay plain: its clients would never
    /// come back that way.
    pub fn is_for(&self, host: Option<&[u8]>) -> bool {
        self.plain.as_ref().is_none_or(|plain| host.is_some_and(|host| !plain.contains(host)))
    }
}

/// The whole line of `Strict-Transport-Security` (RFC 6797 §6.1).
fn hsts_line(hsts: &Hsts) -> Vec<u8> {
    let mut line = format!("Strict-Transport-Security: max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        line.push_str("; includeSubDomains");
    }
    if hsts.preload {
        line.push_str("; preload");
    }
    line.push_str("\r\n");
    line.into_bytes()
}

/// Which hosts are plain: that of the exact name says, else the wildcard above, else every host.
#[derive(Clone, Debug, Default)]
struct PlainHosts {
    exact: HashMap<Vec<u8>, bool>,
    /// By what follows the `*.`.
    wildcard: HashMap<Vec<u8>, bool>,
    any: bool,
}

impl PlainHosts {
    fn of(config: &Config) -> Self {
        let mut hosts = Self::default();
        for host in config.hosts().iter().chain(&config.plain_hosts) {
            let is_plain = config.plain_hosts.contains(host);
            match HostPattern::new(host) {
                HostPattern::Exact(name) => hosts.exact.insert(name, is_plain),
                HostPattern::Wildcard(above) => hosts.wildcard.insert(above, is_plain),
                HostPattern::Any => {
                    hosts.any = is_plain;
                    None
                }
            };
        }
        hosts
    }

    fn contains(&self, host: &[u8]) -> bool {
        let above = || {
            let dot = host.iter().position(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
            self.wildcard.get(host.get(dot + 1..)?)
        };
        self.exact.get(host).or_else(above).copied().unwrap_or(self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::listen::ListenAddress;
    use crate::contract::route::{RouteAction, RouteRule};
    use crate::http1::parse::Limits;
    use crate::http1::server::Server;
    use crate::ids::AppId;
    use std::time::Duration;

    fn config(hosts: &[&str], plain: &[&str], port: u16) -> Config {
        let rule = |host: &&str| {
            RouteRule::new(host, "/*", RouteAction::ToApp { app_id: AppId::new("a") })
        };
        let mut config = Config {
            routes: hosts.iter().map(rule).collect(),
            plain_hosts: plain.iter().map(|host| (*host).to_owned()).collect(),
            ..Config::default()
        };
        config.edge.https = vec![ListenAddress { ip: None, port }];
        config
    }

    #[test]
    fn nobody_is_sent_where_nothing_is() {
        let mut config = config(&["a.test"], &[], 443);
        assert!(ToHttps::of(&config).is_some());
        config.edge.tls.redirect_http = false;
        assert!(ToHttps::of(&config).is_none());
        config.edge.tls.redirect_http = true;
        config.edge.https.clear();
        assert!(ToHttps::of(&config).is_none());
    }

    #[test]
    fn the_nearest_site_says_whether_a_host_is_plain() {
        let hosts = ["a.test", "*.b.test", "x.b.test", "*"];
        let to = ToHttps::of(&config(&hosts, &["a.test", "*.b.test"], 443)).unwrap();
        for (host, is_sent) in [
            ("a.test", false),
            ("c.test", true),
            ("x.b.test", true),
            ("y.b.test", false),
            ("z.y.b.test", true),
            ("b.test", true),
            (".b.test", true),
            ("127.0.0.1", true),
        ] {
            assert_eq!(to.takes(host.as_bytes()), is_sent, "{host}");
        }
        let to = ToHttps::of(&config(&hosts, &["*"], 443)).unwrap();
        assert!(to.takes(b"a.test") && to.takes(b"y.b.test") && !to.takes(b"other.test"));
        let mut config = config(&hosts, &[], 443);
        config.acme_hosts.push("c.test".to_owned());
        let to = ToHttps::of(&config).unwrap();
        assert!(to.takes(b"anything"));
        assert!(to.is_ordered(b"c.test") && !to.is_ordered(b"a.test"));
    }

    fn location(host: &str, port: u16, text: &str) -> String {
        let mut head = RequestHead::new();
        let read = Server::new().read(text.as_bytes(), &mut head, &Limits::default());
        assert!(head.is_complete(), "{read:?}");
        let to = ToHttps::of(&config(&["a.test"], &[], port)).unwrap();
        let found = to.location(host.as_bytes(), &head, text.as_bytes());
        String::from_utf8(found).unwrap()
    }

    #[test]
    fn a_location_is_what_was_asked_over_https() {
        for (target, port, expected) in [
            ("/", 443, "https://a.test/"),
            ("/a/b?c=d&e", 443, "https://a.test/a/b?c=d&e"),
            ("/a?", 8443, "https://a.test:8443/a?"),
            ("//evil.test/x", 443, "https://a.test/evil.test/x"),
            ("///", 443, "https://a.test/"),
            ("/%2F/%61/../b", 443, "https://a.test/%2F/%61/../b"),
            ("http://a.test", 443, "https://a.test/"),
            ("http://a.test/x?y", 8443, "https://a.test:8443/x?y"),
            ("/a//b", 443, "https://a.test/a//b"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
            assert_eq!(location("a.test", port, &text), expected);
        }
        let text = "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n";
        assert_eq!(location("[::1]", 443, text), "https://[::1]/");
        assert_eq!(status(Method::Get), 301);
        assert_eq!(status(Method::Options), 308);
    }

    #[test]
    fn browsers_may_come_back_to_plain_hosts_as_they_came() {
        let mut config = config(&["a.test", "*.b.test"], &["*.b.test"], 443);
        assert!(ComeBack::of(&config).is_none());
        config.edge.tls.hsts = Some(Hsts {
            max_age: Duration::from_secs(9),
            include_subdomains: false,
            preload: false,
        });
        // Whether anybody is sent on is another question.
        config.edge.tls.redirect_http = false;
        let told = ComeBack::of(&config).unwrap();
        assert_eq!(told.line(), b"Strict-Transport-Security: max-age=9\r\n");
        assert!(told.is_for(Some(b"a.test")) && told.is_for(Some(b"b.test")));
        assert!(!told.is_for(Some(b"x.b.test")) && !told.is_for(None));
        config.plain_hosts.clear();
        let told = ComeBack::of(&config).unwrap();
        assert!(told.is_for(Some(b"x.b.test")) && told.is_for(None));
    }

    #[test]
    fn what_browsers_are_told_is_in_seconds() {
        let mut hsts = Hsts {
            max_age: Duration::from_millis(1500),
            include_subdomains: false,
            preload: false,
        };
        assert_eq!(hsts_line(&hsts), b"Strict-Transport-Security: max-age=1\r\n");
        hsts = Hsts { max_age: Hsts::MAX_AGE, include_subdomains: true, preload: true };
        let expected: &[u8] =
            b"Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n";
        assert_eq!(hsts_line(&hsts), expected);
    }
}
