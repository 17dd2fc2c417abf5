//! Which pages may connect (RFC 6455 §10.2): a browser sends a user's cookies along from whatever
//! page opens the connection, and only says which one it is.

/// Who asks, of those that may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guest {
    /// It says no origin: it is no page.
    NoPage,
    /// A page of the host or the site, or one that is named: what it is given, it may read with what
    /// the browser knows of its user.
    Named,
    /// A page like any other, let in by `*` (or one that hides its origin): it may read what anybody may.
    Anyone,
}

/// Who a client is that says it is a page of `origin` and asks at `host`, the authority; `None` when
/// it may not. It may if it is a page of that very host or of one of the site's `hosts` (`*.` stands
/// for one label, `*` adds nothing), whatever the scheme and port, or if `allowed` names it: by origin
/// (`https://example.com`, `https://*.example.com`), by host (`example.com`), or `*` for all pages.
/// Who sends no origin is no page, and may.
pub fn guest(
    origin: Option<&[u8]>,
    host: &[u8],
    hosts: &[String],
    allowed: &[String],
) -> Option<Guest> {
    let Some(origin) = origin else { return Some(Guest::NoPage) };
    let anyone = allowed.iter().any(|allowed| allowed == "*").then_some(Guest::Anyone);
    let Ok(text) = std::str::from_utf8(origin) else { return anyone };
    let Some(origin) = Origin::of(text) else {
        // `null`: a page that has none, or hides it.
        let is_named = allowed.iter().any(|allowed| allowed == text);
        return is_named.then_some(Guest::Anyone).or(anyone);
    };
    let own = std::str::from_utf8(host).ok().and_then(|host| Origin::of_authority("", host));
    let is_named = own.is_some_and(|own| own.host == origin.host)
        || hosts.iter().any(|host| host != "*" && meets(&host_of(host), &origin.host))
        || allowed.iter().any(|allowed| origin.is_allowed_by(allowed));
    is_named.then_some(Guest::Named).or(anyone)
}

/// A page's origin, in lower case (RFC 6454 §4).
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// `scheme://host` or `scheme://host:port`, and nothing behind it.
    fn of(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Self::of_authority(scheme, authority)
    }

    fn of_authority(scheme: &str, authority: &str) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an address in brackets are its own.
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let is_one = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '\\']);
        let scheme = scheme.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        };
        is_one.then(|| Self { host: host_of(host), port: port.or(usual), scheme })
    }

    fn is_allowed_by(&self, allowed: &str) -> bool {
        if !allowed.contains("://") {
            return meets(&host_of(allowed), &self.host);
        }
        Self::of(allowed).is_some_and(|allowed| {
            allowed.scheme == self.scheme
                && allowed.port == self.port
                && meets(&allowed.host, &self.host)
        })
    }
}

/// A host as it is compared: in lower case, without a final dot.
fn host_of(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn meets(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
        }
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::Guest;

    fn allows(origin: &str, host: &str, hosts: &[&str], allowed: &[&str]) -> bool {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (hosts, allowed) = (owned(hosts), owned(allowed));
        super::guest(Some(origin.as_bytes()), host.as_bytes(), &hosts, &allowed).is_some()
    }

    #[test]
    fn only_who_is_named_is_more_than_anyone() {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let guest = |origin: &str, allowed: &[&str]| {
            let hosts = owned(&["b.test"]);
            super::guest(Some(origin.as_bytes()), b"a.test", &hosts, &owned(allowed))
        };
        for (origin, allowed, expected) in [
            ("https://a.test", &[][..], Some(Guest::Named)),
            ("https://b.test", &["*"], Some(Guest::Named)),
            ("https://c.test", &["*", "https://c.test"], Some(Guest::Named)),
            ("https://x.c.test", &["*.c.test"], Some(Guest::Named)),
            ("https://c.test", &["*"], Some(Guest::Anyone)),
            ("null", &["null"], Some(Guest::Anyone)),
            ("null", &["*"], Some(Guest::Anyone)),
            ("https://c.test", &["d.test"], None),
        ] {
            assert_eq!(guest(origin, allowed), expected, "{origin} by {allowed:?}");
        }
    }

    #[test]
    fn pages_of_the_same_host_may() {
        for (origin, host) in [
            ("http://a.test", "a.test"),
            ("https://a.test", "a.test:8443"),
            ("http://a.test:3000", "a.test:8080"),
            ("HTTPS://A.Test", "a.test."),
            ("http://127.0.0.1:1", "127.0.0.1:2"),
            ("http://[::1]:3000", "[::1]"),
        ] {
            assert!(allows(origin, host, &["*"], &[]), "{origin} at {host}");
        }
    }

    #[test]
    fn pages_of_other_hosts_may_not() {
        for (origin, host) in [
            ("http://b.test", "a.test"),
            ("http://a.test.evil.test", "a.test"),
            ("http://evil-a.test", "a.test"),
            ("http://a.test@evil.test", "a.test"),
            ("http://evil.test/a.test", "a.test"),
            ("http://evil.test:80/://a.test", "a.test"),
            ("null", "a.test"),
            ("null", "null"),
            ("", "a.test"),
            ("a.test", "a.test"),
            ("http://", "a.test"),
            ("http://a.test:x", "a.test"),
            ("http://a.test:99999", "a.test"),
            ("http://[::1]", "[::2]"),
            ("http://a.test", ""),
        ] {
            assert!(!allows(origin, host, &["*"], &[]), "{origin} at {host}");
        }
        assert_eq!(super::guest(Some(b"http://\xff"), b"\xff", &[], &[]), None);
    }

    #[test]
    fn pages_of_the_sites_hosts_may() {
        let hosts = ["a.test", "*.b.test"];
        for origin in ["https://a.test", "http://x.b.test", "http://X.B.test:99"] {
            assert!(allows(origin, "other.test", &hosts, &[]), "{origin}");
        }
        for origin in ["https://b.test", "http://x.y.b.test", "http://.b.test", "http://www.a.test"]
        {
            assert!(!allows(origin, "other.test", &hosts, &[]), "{origin}");
        }
    }

    #[test]
    fn pages_that_are_named_may() {
        for (origin, allowed, may) in [
            ("https://b.test", "https://b.test", true),
            ("https://b.test", "https://b.test:443", true),
            ("https://b.test:443", "https://B.test", true),
            ("http://b.test", "https://b.test", false),
            ("https://b.test:8443", "https://b.test", false),
            ("https://b.test:8443", "b.test", true),
            ("http://x.b.test", "*.b.test", true),
            ("https://x.b.test", "https://*.b.test", true),
            ("http://b.test", "*.b.test", false),
            ("http://b.test", "*", true),
            ("null", "*", true),
            ("null", "null", true),
            ("null", "b.test", false),
            ("file://", "b.test", false),
        ] {
            assert_eq!(allows(origin, "a.test", &[], &[allowed]), may, "{origin} by {allowed}");
        }
    }

    #[test]
    fn who_is_no_page_may() {
        assert_eq!(super::guest(None, b"a.test", &[], &[]), Some(Guest::NoPage));
    }
}
