//! Which names an ACME authority can be asked for, those that anybody can look up; and by whom.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why nobody outside could be shown that `host`, a host of a rule, is ours: one clause that fits
/// behind the name. `None` where a certificate can be asked for. Whether the name is registered is
/// not known here; a private authority may well know names that others do not.
pub fn refusal(host: &str) -> Option<&'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if name == "*" {
        return Some("is every host, and a certificate is for names");
    }
    if name.starts_with("*.") {
        return Some("is a wildcard, which takes a challenge in the DNS that is not offered");
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if bare.parse::<Ipv4Addr>().is_ok() || bare.parse::<Ipv6Addr>().is_ok() {
        return Some("is an address, and authorities take names");
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let is = |word: &str| last.eq_ignore_ascii_case(word);
    if is("localhost") {
        return Some("is this machine, whoever asks");
    }
    if is("local") {
        return Some("is known to the local network only");
    }
    if is("invalid") || is("onion") {
        return Some("is a name that the DNS does not have");
    }
    if last.len() == name.len() {
        return Some("has no domain, so nobody outside can look it up");
    }
    None
}

/// It has what every mail address has; whether mail arrives is for the authority to find out.
pub fn is_email(text: &str) -> bool {
    let is_clean = !text.chars().any(|char| char.is_whitespace() || char.is_control());
    is_clean
        && text.split_once('@').is_some_and(|(who, at)| {
            !who.is_empty() && at.contains('.') && !at.contains('@') && !at.starts_with('.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_can_look_up_is_public() {
        for public in ["example.com", "a.b.example.co.uk", "EXAMPLE.com.", "xn--bcher-kva.example"]
        {
            assert_eq!(refusal(public), None, "{public}");
        }
        for (name, part) in [
            ("*", "every host"),
            ("*.example.com", "wildcard"),
            ("127.0.0.1", "address"),
            ("[::1]", "address"),
            ("::1", "address"),
            ("localhost", "this machine"),
            ("app.Localhost", "this machine"),
            ("shop.local", "local network"),
            ("shop.LOCAL.", "local network"),
            ("x.onion", "DNS does not have"),
            ("intranet", "no domain"),
            ("", "no domain"),
        ] {
            assert!(refusal(name).is_some_and(|why| why.contains(part)), "{name}");
        }
    }

    #[test]
    fn mail_addresses_have_somebody_at_a_domain() {
        assert!(is_email("you@example.com") && is_email("a+b@c.d"));
        for wrong in ["", "you", "@example.com", "you@host", "a b@c.d", "a@b@c.d", "a@.d"] {
            assert!(!is_email(wrong), "{wrong}");
        }
    }
}
