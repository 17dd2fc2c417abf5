//! How an authority is shown that a name is ours, and what is tried first.

use serde::{Deserialize, Serialize};

/// A way to show it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Challenge {
    /// A file in plain HTTP, at port 80 as the world sees it (RFC 8555 §8.3).
    #[serde(rename = "http-01")]
    Http,
    /// A handshake, at port 443 as the world sees it (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
}

impl Challenge {
    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
        }
    }
}

/// What to try, in this order, where plain HTTP is spoken at the ports `plain` and TLS at `secure`:
/// what worked last; then what is at its own port; then what may be brought there by somebody
/// between the world and us. TLS comes before plain HTTP: it needs no second listener. Empty where
/// nobody listens.
pub fn in_order(plain: &[u16], secure: &[u16], last: Option<Challenge>) -> Vec<Challenge> {
    let mut found = Vec::new();
    if !secure.is_empty() {
        found.push((Challenge::TlsAlpn, secure.contains(&443)));
    }
    if !plain.is_empty() {
        found.push((Challenge::Http, plain.contains(&80)));
    }
    found.sort_by_key(|(challenge, at_home)| (Some(*challenge) != last, !at_home));
    found.into_iter().map(|(challenge, _)| challenge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Challenge::{Http, TlsAlpn};

    #[test]
    fn what_worked_then_what_is_at_home_then_the_rest() {
        for (plain, secure, last, expected) in [
            (&[80][..], &[443][..], None, &[TlsAlpn, Http][..]),
            (&[8080], &[8443], None, &[TlsAlpn, Http]),
            (&[80], &[8443], None, &[Http, TlsAlpn]),
            (&[8080, 80], &[8443], None, &[Http, TlsAlpn]),
            (&[8080], &[443], None, &[TlsAlpn, Http]),
            (&[80], &[443], Some(Http), &[Http, TlsAlpn]),
            (&[80], &[], Some(TlsAlpn), &[Http]),
            (&[], &[443], Some(Http), &[TlsAlpn]),
            (&[], &[], None, &[]),
        ] {
            assert_eq!(in_order(plain, secure, last), expected, "{plain:?} {secure:?} {last:?}");
        }
    }
}
