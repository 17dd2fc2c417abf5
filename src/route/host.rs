//! Hosts: what of an authority is compared, and with what.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Replaces `out` by the host of `authority` as it is compared: in lower case, without a port and
/// without the final dot of a name, an IPv6 address in brackets and in its canonical spelling
/// (RFC 5952). Of an authority that is none, whatever is left of it: it meets no rule but those for
/// every host.
pub fn normalize(authority: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let end = authority.iter().position(|byte| matches!(byte, b':' | b']'));
    let (name, rest) = authority.split_at(end.unwrap_or(authority.len()));
    if let Some(close) = rest.iter().position(|byte| *byte == b']') {
        let (address, _) = authority.split_at(name.len() + close + 1);
        match ipv6(address) {
            // A Vec takes every byte.
            Some(address) => drop(write!(out, "[{address}]")),
            None => out.extend(address.iter().map(u8::to_ascii_lowercase)),
        }
        return;
    }
    out.extend_from_slice(name.strip_suffix(b".").unwrap_or(name));
    out.make_ascii_lowercase();
}

/// Whether a normalized host is an address or `localhost`: names that belong to no site and to every
/// machine.
pub fn is_ip_or_localhost(host: &[u8]) -> bool {
    if host == b"localhost" || ipv6(host).is_some() {
        return true;
    }
    // An address ends in a digit: no need to read the others.
    host.last().is_some_and(u8::is_ascii_digit)
        && std::str::from_utf8(host).is_ok_and(|text| text.parse::<Ipv4Addr>().is_ok())
}

/// The host of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostPattern {
    /// This one.
    Exact(Vec<u8>),
    /// `*.` and this: one label more, which is not empty.
    Wildcard(Vec<u8>),
    /// `*`: every host, and a request that names none.
    Any,
}

impl HostPattern {
    /// The pattern that is written `text`. Its host is normalized.
    pub fn new(text: &str) -> Self {
        let mut host = Vec::new();
        match text.strip_prefix("*.") {
            _ if text == "*" => Self::Any,
            Some(parent) => {
                normalize(parent.as_bytes(), &mut host);
                Self::Wildcard(host)
            }
            None => {
                normalize(text.as_bytes(), &mut host);
                Self::Exact(host)
            }
        }
    }

    /// Whether it takes a normalized host.
    pub fn takes(&self, host: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => own == host,
            Self::Wildcard(own) => parent(host) == Some(own),
        }
    }

    /// 0 for one host, 1 for hosts of one parent, 2 for all: the lower one is more specific.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Exact(_) => 0,
            Self::Wildcard(_) => 1,
            Self::Any => 2,
        }
    }
}

/// What follows the first label of a host; `None` without a label in front of a dot.
pub fn parent(host: &[u8]) -> Option<&[u8]> {
    match host.iter().position(|byte| *byte == b'.') {
        None | Some(0) => None,
        Some(dot) => host.get(dot + 1..),
    }
}

fn ipv6(bracketed: &[u8]) -> Option<Ipv6Addr> {
    let address = bracketed.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(address).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_loses_what_is_accidental() {
        let mut out = b"old".to_vec();
        for (authority, host) in [
            ("example.com", "example.com"),
            ("Example.COM:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:80", "example.com"),
            ("example.com:", "example.com"),
            ("example.com..", "example.com."),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
            ("[V1.a]:1", "[v1.a]"),
            ("", ""),
            (".", ""),
            ("]", "]"),
        ] {
            normalize(authority.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), host, "{authority}");
        }
    }

    #[test]
    fn addresses_and_localhost_belong_to_every_machine() {
        for host in ["127.0.0.1", "192.0.2.7", "[::1]", "[2001:db8::1]", "localhost"] {
            assert!(is_ip_or_localhost(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "a.localhost",
            "1.2.3",
            "1.2.3.4.5",
            "[v1.a]",
            "::1",
        ] {
            assert!(!is_ip_or_localhost(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_wildcard_takes_one_label_more_and_no_other() {
        let wildcard = HostPattern::new("*.Example.com");
        for (host, takes) in [
            ("a.example.com", true),
            ("example.com", false),
            (".example.com", false),
            ("a.b.example.com", false),
            ("a.example.com.", false),
            ("aexample.com", false),
            ("", false),
        ] {
            assert_eq!(wildcard.takes(host.as_bytes()), takes, "{host}");
        }
        assert!(HostPattern::new("*").takes(b""));
        assert!(HostPattern::new("[0::1]").takes(b"[::1]"));
        assert!(!HostPattern::new("a").takes(b"b"));
        let ranks = ["a.b", "*.b", "*"].map(|text| HostPattern::new(text).rank());
        assert_eq!(ranks, [0, 1, 2]);
    }
}
