//! Names that an authority can vouch for: what it must see of a name before it is asked.

use std::fmt;
use std::net::IpAddr;

/// Whether an ACME authority can give a certificate for the host `name`, as far as the name alone
/// says: a refused order would cost one of the few that an authority allows.
///
/// `own_authority` is true for an authority with roots of its own: it may know names that the public
/// name system does not have (RFC 6761, RFC 8375, RFC 9476), and nobody else does.
///
/// # Errors
/// Why it cannot.
pub fn check(name: &str, own_authority: bool) -> Result<(), NotPublic> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<IpAddr>().is_ok() {
        return Err(NotPublic::Address);
    }
    if name.contains('*') {
        return Err(NotPublic::Wildcard);
    }
    if name == "localhost" || name.ends_with(".localhost") {
        return Err(NotPublic::Localhost);
    }
    if !is_name(&name) {
        return Err(NotPublic::Malformed);
    }
    let Some((_, top)) = name.rsplit_once('.') else { return Err(NotPublic::Bare) };
    if top == "local" {
        return Err(NotPublic::Local);
    }
    let is_reserved =
        |suffix: &&&str| name.strip_suffix(**suffix).is_some_and(|left| left.ends_with('.'));
    match RESERVED.iter().find(is_reserved) {
        Some(suffix) if !own_authority => Err(NotPublic::Reserved(suffix)),
        _ => Ok(()),
    }
}

/// Labels of letters, digits and hyphens; the last one is no number (RFC 1123 §2.1, RFC 3696 §2).
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top_is_number = name.rsplit('.').next().is_some_and(|top| top.parse::<u64>().is_ok());
    name.len() <= 253 && name.split('.').all(is_label) && !top_is_number
}

/// Why no authority vouches for a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotPublic {
    /// An address.
    Address,
    /// `*.example.com`: only the DNS challenge proves it.
    Wildcard,
    /// It is every machine's own name.
    Localhost,
    /// No host name at all.
    Malformed,
    /// It has no dot.
    Bare,
    /// It is said on the local network only (RFC 6762).
    Local,
    /// Nobody can own it: the top of it is kept for other uses.
    Reserved(&'static str),
}

impl fmt::Display for NotPublic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => out.write_str("it is an address, not a name"),
            Self::Wildcard => out.write_str("a wildcard can be proven through the DNS only"),
            Self::Localhost => out.write_str("it is every machine's own name"),
            Self::Malformed => out.write_str("it is not a host name"),
            Self::Bare => out.write_str("a public name has a dot in it"),
            Self::Local => out.write_str("names in `.local` are known on the local network only"),
            Self::Reserved(suffix) => write!(out, "nobody can own a name in `.{suffix}`"),
        }
    }
}

/// What the public name system will never have.
const RESERVED: [&str; 7] = ["alt", "example", "home.arpa", "internal", "invalid", "onion", "test"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_authority_can_vouch_for_is_refused_with_a_reason() {
        for (name, why) in [
            ("localhost", NotPublic::Localhost),
            ("App.LocalHost.", NotPublic::Localhost),
            ("printer.local", NotPublic::Local),
            ("intranet", NotPublic::Bare),
            ("192.0.2.7", NotPublic::Address),
            ("[2001:db8::7]", NotPublic::Address),
            ("::1", NotPublic::Address),
            ("*.example.com", NotPublic::Wildcard),
            ("*", NotPublic::Wildcard),
            ("", NotPublic::Malformed),
            ("a..b.com", NotPublic::Malformed),
            ("-a.com", NotPublic::Malformed),
            ("snake_case.com", NotPublic::Malformed),
            ("bücher.de", NotPublic::Malformed),
            ("1.2.3.4.5", NotPublic::Malformed),
            ("shop.example", NotPublic::Reserved("example")),
            ("nas.home.arpa", NotPublic::Reserved("home.arpa")),
            ("db.internal", NotPublic::Reserved("internal")),
            ("shop.test", NotPublic::Reserved("test")),
        ] {
            assert_eq!(check(name, false), Err(why), "{name}");
            assert!(!why.to_string().is_empty());
        }
        let long = format!("{}.com", "a".repeat(64));
        assert_eq!(check(&long, false), Err(NotPublic::Malformed));
    }

    #[test]
    fn public_names_pass_and_an_authority_of_ones_own_knows_more() {
        for name in
            ["example.com", "WWW.Example.COM.", "xn--bcher-kva.de", "a.b.c.io", "2.example.net"]
        {
            assert_eq!(check(name, false), Ok(()), "{name}");
        }
        for name in ["shop.test", "db.internal", "nas.home.arpa"] {
            assert_eq!(check(name, true), Ok(()), "{name}");
        }
        for name in ["localhost", "printer.local", "*.shop.test", "10.0.0.1", "db"] {
            assert!(check(name, true).is_err(), "{name}");
        }
    }
}
