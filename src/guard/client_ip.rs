//! Who asks: the client's address, scheme and host, when proxies stand between; and whether it asks
//! from this very machine.
//!
//! What a proxy says is believed only when the proxy is trusted. Each proxy appends to
//! `X-Forwarded-For` the address that it was asked from, so the list is read from its end: the first
//! address that is not a trusted proxy's is the client's, and everything before it is what that
//! client wrote itself.

use super::cidr::CidrSet;
use crate::http1::{Known, RequestHead, target};
use std::net::{IpAddr, SocketAddr};

/// By what a client reached us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Through TLS.
    Https,
}

impl Scheme {
    /// As it stands in a URL and in `X-Forwarded-Proto`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL need not name.
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn of(text: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }
}

/// Who asks, as far as it can be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Client<'b> {
    /// Its address; never an IPv4-mapped IPv6 address.
    pub ip: IpAddr,
    /// By what it reached us, or the proxy that it trusts.
    pub scheme: Scheme,
    /// Which host it asked, with a port when it named one: a valid authority, or empty when it
    /// named none.
    pub host: &'b [u8],
    /// The peer is a trusted proxy, so what it forwards was believed.
    pub is_proxied: bool,
}

impl<'b> Client<'b> {
    /// Who asks what `head` says, read from `buf`.
    ///
    /// `peer` is the connection's other end, or the source that its PROXY header named. `scheme`
    /// says whether the connection is TLS. `X-Forwarded-For`, `-Proto` and `-Host` are looked at
    /// only when `peer` is in `trusted`.
    ///
    /// Where the chain of proxies cannot be followed any further (`unknown`, garbage), the client is
    /// the last trusted proxy that was reached. Of a list of schemes or hosts, that one is taken
    /// which the proxy nearest to the client appended: as far from the end as the client's address
    /// is from the end of its list. In a shorter list it is the first.
    pub fn of(
        head: &RequestHead,
        buf: &'b [u8],
        peer: IpAddr,
        scheme: Scheme,
        trusted: &CidrSet,
    ) -> Self {
        let peer = peer.to_canonical();
        let host = head.authority(buf);
        if !trusted.contains(peer) {
            return Self { ip: peer, scheme, host, is_proxied: false };
        }
        let mut ip = peer;
        let mut hop_count = 0;
        for entry in from_the_end(head, buf, Known::XForwardedFor) {
            let Some(address) = address(entry) else { break };
            ip = address;
            if !trusted.contains(ip) {
                break;
            }
            hop_count += 1;
        }
        let told =
            |known| from_the_end(head, buf, known).take(hop_count + 1).last().unwrap_or_default();
        let forwarded_host = told(Known::XForwardedHost);
        let is_host = target::is_authority(forwarded_host);
        Self {
            ip,
            scheme: Scheme::of(told(Known::XForwardedProto)).unwrap_or(scheme),
            host: if is_host { forwarded_host } else { host },
            is_proxied: true,
        }
    }
}

/// Whether a request comes from this very machine, and not through something that stands for
/// somebody else: what is told to such a request is told to who may log in here.
///
/// That is: `peer` is a loopback address; no `Forwarded`, `X-Forwarded-*`, `X-Real-IP` or `Via`; the
/// host asked is an IP address, `localhost`, or a name in `own_names` that ends in `.local`; and
/// `Origin` is absent or the same scheme, host and port, and `Sec-Fetch-Site` absent, `same-origin` or
/// `none`. So neither a web page that the user of this
/// machine reads, nor a name that was made to lead here (DNS rebinding), nor a proxy's client is
/// local.
///
/// `peer` is the connection's other end. A connection whose PROXY header names a source has that for
/// its peer, and one whose header names none ([`Source::Unknown`](super::proxy_header::Source)) must
/// not be asked about: it is not local.
pub fn is_local(
    head: &RequestHead,
    buf: &[u8],
    peer: IpAddr,
    scheme: Scheme,
    own_names: &[impl AsRef<str>],
) -> bool {
    let is_forwarded = head.fields().iter().any(|field| {
        matches!(field.known, Known::Forwarded | Known::XRealIp | Known::Via)
            || field
                .name
                .of(buf)
                .get(..FORWARDED.len())
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case(FORWARDED))
    });
    let Some(asked) = Place::of(head.authority(buf), scheme) else { return false };
    let mut origins = head.fields().iter().filter(|field| field.known == Known::Origin);
    let mut sites = head
        .fields()
        .iter()
        .filter(|field| field.name.of(buf).eq_ignore_ascii_case(b"sec-fetch-site"));
    peer.to_canonical().is_loopback()
        && !is_forwarded
        && asked.is_here(own_names)
        && origins.all(|origin| asked.is_origin(origin.value.of(buf), scheme))
        && sites.all(|site| matches!(site.value.of(buf), b"same-origin" | b"none"))
}

/// Whether a request was made by a page of the very place that it asks, `host` by `scheme`: there is one
/// `Origin` and it says so. Nothing without one is believed, and no page of another site that a browser
/// sends its user's cookies along for.
pub fn is_same_origin(head: &RequestHead, buf: &[u8], scheme: Scheme, host: &[u8]) -> bool {
    let mut origins = head.fields().iter().filter(|field| field.known == Known::Origin);
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    Place::of(host, scheme).is_some_and(|asked| asked.is_origin(origin.value.of(buf), scheme))
}

/// Whether a request to an address that is for the operator alone is one that the operator wants: a
/// program's, or that of a browser which was not led here by somebody else's page.
///
/// What a browser asks has to name an IP address, `localhost` or one of `own_names`, both as its Host and
/// as the `host` that a trusted proxy saw; and its `Origin` is absent or that host by `scheme`. A name
/// that anybody can make lead here (DNS rebinding) is none of these, and to the browser its pages are of
/// the same origin as the answers. A program may ask by any name.
pub fn is_wanted(
    head: &RequestHead,
    buf: &[u8],
    scheme: Scheme,
    host: &[u8],
    own_names: &[impl AsRef<str>],
) -> bool {
    if !is_of_browser(head, buf) {
        return true;
    }
    let asked = Place::of(head.authority(buf), scheme);
    let (Some(asked), Some(shown)) = (asked, Place::of(host, scheme)) else { return false };
    let mut origins = head.fields().iter().filter(|field| field.known == Known::Origin);
    asked.is_called(own_names)
        && shown.is_called(own_names)
        && origins.all(|origin| shown.is_origin(origin.value.of(buf), scheme))
}

/// Whether there is any field that browsers send. Over plain HTTP they leave out `Sec-Fetch-*` (Fetch
/// Metadata §3), a page that reads its own site sends no `Origin`, and it can leave out `Referer` and
/// choose a `User-Agent`; but not even it makes a browser be silent about the language.
fn is_of_browser(head: &RequestHead, buf: &[u8]) -> bool {
    head.fields().iter().any(|field| {
        let name = field.name.of(buf);
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let begins = |text: &[u8], with: &[u8]| {
            text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        ["accept-language", "cookie", "origin", "referer"].into_iter().any(is)
            || begins(name, b"sec-fetch-")
            || is("user-agent") && begins(field.value.of(buf), b"mozilla/")
    })
}

const FORWARDED: &[u8] = b"x-forwarded-";

/// A host and a port that are being asked.
#[derive(Clone, Copy)]
struct Place<'b> {
    /// Without brackets and without a final dot.
    host: &'b str,
    ip: Option<IpAddr>,
    port: u16,
}

impl<'b> Place<'b> {
    /// Where a valid authority leads; `None` for any other.
    fn of(authority: &'b [u8], scheme: Scheme) -> Option<Self> {
        if !target::is_authority(authority) {
            return None;
        }
        let text = std::str::from_utf8(authority).ok()?;
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (text, ""),
        };
        let port = if port.is_empty() { scheme.port() } else { port.parse().ok()? };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        Some(Self { host, ip: host.parse().ok(), port })
    }

    /// Whether `origin` is this very place by `scheme`.
    fn is_origin(&self, origin: &[u8], scheme: Scheme) -> bool {
        let scheme_length = origin.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (named, rest) = origin.split_at(scheme_length);
        Scheme::of(named) == Some(scheme)
            && rest
                .strip_prefix(b"://")
                .and_then(|authority| Place::of(authority, scheme))
                .is_some_and(|place| place == *self)
    }

    /// Whether it is an address, `localhost`, or one of `own_names`.
    fn is_called(&self, own_names: &[impl AsRef<str>]) -> bool {
        let is_named = |name: &str| self.host.eq_ignore_ascii_case(name);
        self.ip.is_some()
            || is_named("localhost")
            || own_names.iter().any(|name| is_named(name.as_ref()))
    }

    /// Whether nobody else can make the name lead here.
    fn is_here(&self, own_names: &[impl AsRef<str>]) -> bool {
        let is_multicast = self.host.len() > LOCAL.len()
            && self.host.as_bytes()[self.host.len() - LOCAL.len()..].eq_ignore_ascii_case(LOCAL);
        match is_multicast {
            true => self.is_called(own_names),
            false => self.is_called(&[""; 0]),
        }
    }
}

impl PartialEq for Place<'_> {
    fn eq(&self, other: &Self) -> bool {
        let same_host = match (self.ip, other.ip) {
            (None, None) => self.host.eq_ignore_ascii_case(other.host),
            (mine, others) => mine == others,
        };
        same_host && self.port == other.port
    }
}

const LOCAL: &[u8] = b".local";

/// The elements of the lists in all fields of this kind, the last first. Empty ones are left out
/// (RFC 9110 §5.6.1).
fn from_the_end<'b>(
    head: &RequestHead,
    buf: &'b [u8],
    known: Known,
) -> impl Iterator<Item = &'b [u8]> {
    head.fields()
        .iter()
        .rev()
        .filter(move |field| field.known == known)
        .flat_map(|field| field.value.of(buf).rsplit(|byte| *byte == b','))
        .map(|element| element.trim_ascii())
        .filter(|element| !element.is_empty())
}

/// The address in one element of `X-Forwarded-For`: with or without a port, IPv6 with or without
/// brackets. `unknown` and names are none, nor is what could be read in two ways.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(six) => IpAddr::V6(six.parse().ok()?),
        None => match text.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddr>().ok().filter(has_no_zone)?.ip(),
        },
    };
    Some(address.to_canonical())
}

/// A zone (RFC 4007 §11) means nothing on another machine.
fn has_no_zone(address: &SocketAddr) -> bool {
    !matches!(address, SocketAddr::V6(six) if six.scope_id() != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Limits, Read, Server};

    /// Reads a request with these lines and hands it on.
    fn with<T>(lines: &[&str], use_it: impl FnOnce(&RequestHead, &[u8]) -> T) -> T {
        let bytes = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes();
        let mut head = RequestHead::new();
        let read = Server::new().read(&bytes, &mut head, &Limits::default());
        assert!(matches!(read, Ok(Read::Head { .. })), "{lines:?}: {read:?}");
        use_it(&head, &bytes)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> CidrSet {
        ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into_iter().collect()
    }

    /// The client's address, scheme and host for a request from `peer` with these lines.
    fn client(peer: &str, lines: &[&str]) -> (String, Scheme, String) {
        let lines = [&["Host: own"], lines].concat();
        with(&lines, |head, buf| {
            let client = Client::of(head, buf, ip(peer), Scheme::Http, &trusted());
            assert_eq!(client.is_proxied, trusted().contains(ip(peer)));
            let host = String::from_utf8(client.host.to_vec()).unwrap();
            (client.ip.to_string(), client.scheme, host)
        })
    }

    fn client_ip(peer: &str, forwarded_for: &[&str]) -> String {
        let lines: Vec<_> =
            forwarded_for.iter().map(|value| format!("X-Forwarded-For: {value}")).collect();
        client(peer, &lines.iter().map(String::as_str).collect::<Vec<_>>()).0
    }

    #[test]
    fn only_a_page_of_the_very_place_is_of_the_same_origin() {
        let is_same = |scheme, host: &[u8], lines: &[&str]| {
            with(&[&["Host: x"], lines].concat(), |head, buf| {
                is_same_origin(head, buf, scheme, host)
            })
        };
        let (http, https) = (Scheme::Http, Scheme::Https);
        assert!(is_same(http, b"panel.test:8080", &["Origin: http://panel.test:8080"]));
        assert!(is_same(http, b"Panel.test", &["Origin: http://panel.test:80"]));
        assert!(is_same(https, b"panel.test", &["Origin: https://panel.test"]));
        assert!(is_same(http, b"[::1]:80", &["Origin: http://[::1]"]));
        for lines in [
            &[][..],
            &["Origin: null"],
            &["Origin:"],
            &["Origin: http://panel.test:8081"],
            &["Origin: https://panel.test"],
            &["Origin: http://evil.test"],
            &["Origin: http://panel.test.evil.test"],
            &["Origin: http://panel.test@evil.test"],
            &["Origin: panel.test"],
            &["Origin: http://panel.test", "Origin: http://panel.test"],
        ] {
            assert!(!is_same(http, b"panel.test", lines), "{lines:?}");
        }
        assert!(!is_same(http, b"", &["Origin: http://"]));
    }

    #[test]
    fn a_browser_that_was_led_to_the_operators_address_is_not_wanted() {
        let wanted = |host: &str, lines: &[&str]| {
            let own = ["rip.local", "panel.test"];
            let host_line = format!("Host: {host}");
            with(&[&[host_line.as_str()], lines].concat(), |head, buf| {
                is_wanted(head, buf, Scheme::Http, host.as_bytes(), &own)
            })
        };
        let marks = [
            "Sec-Fetch-Site: same-origin",
            "sec-fetch-mode: cors",
            "Referer: http://evil.test:9000/",
            "Cookie: a=b",
            "Accept-Language:",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
        ];
        for mark in marks {
            for host in ["evil.test", "evil.test:9000", "other.local", "127.0.0.1.evil.test"] {
                assert!(!wanted(host, &[mark]), "{host} {mark}");
            }
            let hosts = [
                "127.0.0.1:9000",
                "[::1]:9000",
                "10.0.0.5",
                "localhost",
                "RIP.local",
                "panel.test:9",
            ];
            for host in hosts {
                assert!(wanted(host, &[mark]), "{host} {mark}");
                let own = format!("Origin: http://{host}");
                assert!(wanted(host, &[mark, &own]), "{host} {mark}");
                assert!(!wanted(host, &[mark, "Origin: http://evil.test"]), "{host} {mark}");
                assert!(!wanted(host, &[&own, "Origin: null"]), "{host} {mark}");
            }
        }
        assert!(!wanted("evil.test", &["Origin: http://evil.test"]));
        // Programs: monitoring that knows the server by name.
        let program =
            ["User-Agent: Prometheus/2.53.0", "Accept: text/plain", "Accept-Encoding: gzip"];
        assert!(wanted("admin.internal:9000", &program));
        assert!(wanted("admin.internal:9000", &[]));
        // What a trusted proxy saw counts as well as what it asks.
        let proxied = |host: &str, seen: &[u8]| {
            let lines = [format!("Host: {host}"), "Accept-Language: de".to_owned()];
            with(&lines.each_ref().map(String::as_str), |head, buf| {
                is_wanted(head, buf, Scheme::Https, seen, &["panel.test"])
            })
        };
        assert!(proxied("10.0.0.5:9000", b"panel.test"));
        assert!(!proxied("10.0.0.5:9000", b"evil.test"));
        assert!(!proxied("evil.test", b"localhost"));
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        let lines = [
            "X-Forwarded-For: 203.0.113.9",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.example",
        ];
        for peer in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(client(peer, &lines), ("192.0.2.1".into(), Scheme::Http, "own".into()));
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        for (fields, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
            (&["198.51.100.1", "203.0.113.9", "10.1.1.1", "10.2.2.2"], "203.0.113.9"),
            (&["198.51.100.1,203.0.113.9", "10.1.1.1\t,  10.2.2.2"], "203.0.113.9"),
            (&[" , 203.0.113.9 ,, ", ""], "203.0.113.9"),
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (&[], "10.0.0.1"),
            (&[",,"], "10.0.0.1"),
        ] {
            assert_eq!(client_ip("10.0.0.1", fields), expected, "{fields:?}");
        }
        assert_eq!(client_ip("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client_ip("fd00::1", &["2001:db8::5, fd00::2"]), "2001:db8::5");
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (element, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("203.0.113.9:0", "203.0.113.9"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("[2001:db8::5]:4711", "2001:db8::5"),
            ("2001:DB8::5", "2001:db8::5"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ] {
            assert_eq!(client_ip("10.0.0.1", &[element]), expected, "{element}");
        }
    }

    #[test]
    fn where_the_chain_breaks_the_last_trusted_proxy_is_the_client() {
        for garbage in [
            "unknown",
            "_hidden",
            "203.0.113",
            "203.0.113.9:",
            "203.0.113.9:port",
            "203.0.113.9:65536",
            "[2001:db8::5",
            "2001:db8::5]",
            "[203.0.113.9]",
            "[203.0.113.9]:80",
            "fe80::1%eth0",
            "[fe80::1%3]:80",
            "0203.0.113.9",
            "\"203.0.113.9\"",
            "203.0.113.9 10.0.0.1",
            "client.example",
            "\u{e9}",
        ] {
            let list = format!("198.51.100.1, {garbage}, 10.4.4.4");
            assert_eq!(client_ip("10.0.0.1", &[&list]), "10.4.4.4", "{garbage}");
            assert_eq!(client_ip("10.0.0.1", &["198.51.100.1", garbage]), "10.0.0.1", "{garbage}");
        }
    }

    #[test]
    fn scheme_and_host_are_those_that_the_outermost_trusted_proxy_saw() {
        let told = |lines: &[&str]| {
            let (_, scheme, host) = client("10.0.0.1", lines);
            (scheme, host)
        };
        let [one, two] = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.1, 10.2.2.2"];
        assert_eq!(
            told(&[one, "X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: a.example:8443"]),
            (Scheme::Https, "a.example:8443".into())
        );
        assert_eq!(
            told(&[
                two,
                "X-Forwarded-Proto: https, http",
                "X-Forwarded-Host: a.example, b.internal"
            ]),
            (Scheme::Https, "a.example".into())
        );
        assert_eq!(
            told(&[two, "X-Forwarded-Proto: https", "X-Forwarded-Host: a.example"]),
            (Scheme::Https, "a.example".into()),
            "only one of the proxies says it"
        );
        assert_eq!(
            told(&[
                one,
                "X-Forwarded-Proto: https",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: evil.example, a.example"
            ]),
            (Scheme::Http, "a.example".into()),
            "what stands before the proxy's own is the client's"
        );
        assert_eq!(
            told(&["X-Forwarded-Proto: https"]),
            (Scheme::Https, "own".into()),
            "without an address"
        );
    }

    #[test]
    fn a_scheme_or_host_that_is_none_changes_nothing() {
        for scheme in ["wss", "http/2", "https://", "", "on"] {
            let line = format!("X-Forwarded-Proto: {scheme}");
            assert_eq!(client("10.0.0.1", &[&line]).1, Scheme::Http, "{scheme}");
        }
        for host in ["", "user@host", "a b", "a/b", "a:port", "[::1", ":80", "a\u{e9}"] {
            let line = format!("X-Forwarded-Host: {host}");
            assert_eq!(client("10.0.0.1", &[&line]).2, "own", "{host}");
        }
    }

    fn local(peer: &str, scheme: Scheme, lines: &[&str]) -> bool {
        let own = ["api.local", "Shop.Local", "public.example"];
        with(lines, |head, buf| is_local(head, buf, ip(peer), scheme, &own))
    }

    #[test]
    fn only_a_loopback_peer_is_local() {
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(local(peer, Scheme::Http, &["Host: localhost"]), "{peer}");
        }
        for peer in ["192.0.2.1", "10.0.0.1", "0.0.0.0", "::", "fe80::1", "::127.0.0.1"] {
            assert!(!local(peer, Scheme::Http, &["Host: localhost"]), "{peer}");
        }
    }

    #[test]
    fn what_was_forwarded_is_not_local() {
        for field in [
            "Forwarded: for=127.0.0.1",
            "X-Forwarded-For: 127.0.0.1",
            "x-forwarded-proto: http",
            "X-Forwarded-Host: localhost",
            "X-FORWARDED-Server: x",
            "X-Forwarded-Port: 80",
            "X-Real-IP: 127.0.0.1",
            "Via: 1.1 proxy",
            "X-Forwarded-: ",
            "Forwarded:",
        ] {
            assert!(!local("127.0.0.1", Scheme::Http, &["Host: localhost", field]), "{field}");
        }
        for field in ["X-Forwarder: a", "X-Forward: a", "X-Request-Id: a"] {
            assert!(local("127.0.0.1", Scheme::Http, &["Host: localhost", field]), "{field}");
        }
    }

    #[test]
    fn a_name_that_others_can_lead_here_is_not_local() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:80",
            "192.0.2.1",
            "[::1]",
            "[::1]:8080",
            "api.local",
            "API.local:8080",
            "shop.local",
            "api.local.",
        ] {
            assert!(local("::1", Scheme::Http, &[&format!("Host: {host}")]), "{host}");
        }
        for host in [
            "evil.example",
            "public.example",
            "other.local",
            ".local",
            "local",
            "localhost.example",
            "localhost..",
            "sub.localhost",
            "127.0.0.1.example",
            "0x7f.1",
            "2130706433",
            "xapi.local",
        ] {
            assert!(!local("::1", Scheme::Http, &[&format!("Host: {host}")]), "{host}");
        }
        // The target's own authority is what is asked.
        let absolute = b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let old = b"GET / HTTP/1.0\r\n\r\n";
        for bytes in [&absolute[..], old] {
            let mut head = RequestHead::new();
            let read = Server::new().read(bytes, &mut head, &Limits::default());
            assert!(matches!(read, Ok(Read::Head { .. })), "{read:?}");
            assert!(!is_local(&head, bytes, ip("::1"), Scheme::Http, &["api.local"]));
        }
    }

    #[test]
    fn a_page_of_another_origin_is_not_local() {
        let same = |host: &str, scheme, origin: &str| {
            let lines = [format!("Host: {host}"), format!("Origin: {origin}")];
            local("::1", scheme, &lines.each_ref().map(String::as_str))
        };
        assert!(same("localhost:8080", Scheme::Http, "http://localhost:8080"));
        assert!(same("localhost:8080", Scheme::Http, "HTTP://LOCALHOST:8080"));
        assert!(same("localhost", Scheme::Http, "http://localhost:80"));
        assert!(same("localhost:443", Scheme::Https, "https://localhost"));
        assert!(same("[::1]:9", Scheme::Http, "http://[0::1]:9"));
        for (host, origin) in [
            ("localhost:8080", "http://localhost"),
            ("localhost:8080", "http://localhost:8081"),
            ("localhost:8080", "https://localhost:8080"),
            ("localhost:8080", "http://127.0.0.1:8080"),
            ("localhost", "https://evil.example"),
            ("localhost", "null"),
            ("localhost", ""),
            ("localhost", "localhost"),
            ("localhost", "http:localhost"),
            ("localhost", "http://localhost/"),
            ("localhost", "http://localhost evil.example"),
            ("localhost", "http://user@localhost"),
            ("localhost", "http://evil.example,http://localhost"),
        ] {
            assert!(!same(host, Scheme::Http, origin), "{host} {origin}");
        }
        for (site, is_local) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            let lines = ["Host: localhost", &format!("Sec-Fetch-Site: {site}")];
            assert_eq!(local("::1", Scheme::Http, &lines), is_local, "{site}");
        }
        let two = ["Host: localhost", "Origin: http://localhost", "Origin: http://evil.example"];
        assert!(!local("::1", Scheme::Http, &two), "each of several");
    }
}
