//! Certificates as an operator sees them.

use serde::{Deserialize, Serialize};

/// One certificate that is, or could be, served. Times are seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsCertRecord {
    /// Its name among the others: the first domain, a number behind it where several have that one.
    pub id: String,
    /// The names it is good for: its subject alternative names, addresses among them as text.
    pub domains: Vec<String>,
    /// Good from then on.
    pub not_before: u64,
    /// Good until then.
    pub not_after: u64,
    /// SHA-256 of the leaf, in lower-case hexadecimal.
    pub fingerprint: String,
    /// The chain in PEM; empty for one that is in memory only.
    pub cert_path: String,
    /// The key in PEM; empty for one that is in memory only.
    pub key_path: String,
    /// Where it comes from.
    pub source: CertSource,
    /// When another one was last asked for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renew_attempt: Option<u64>,
    /// What came of it: `ok`, or what was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renew_result: Option<String>,
}

/// Whether a certificate for `name`, which may be a wildcard, is one for `host`: it stands for one label
/// (RFC 9525 §6.3). An address of `host` may be in brackets, as in a URL.
pub fn covers(name: &str, host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let above = name.strip_prefix("*.").zip(host.split_once('.'));
    above.is_some_and(|(name, (_, host))| name.eq_ignore_ascii_case(host))
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CertSource {
    /// Files that the operator named, or put into a directory of certificates.
    Manual,
    /// An ACME authority (RFC 8555).
    Acme,
    /// The machine's own local authority, or a self-signed one until a better one is there.
    Auto,
    /// Part of the package. There is none: a private key that everybody has protects nobody.
    Shipped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, host) in [
            ("a.x", "A.x"),
            ("*.x", "a.x"),
            ("*.x", "*.x"),
            ("::1", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert!(covers(name, host), "{name} {host}");
        }
        for (name, host) in [("a.x", "b.x"), ("*.x", "x"), ("*.x", "a.b.x"), ("a.x", "*.x")] {
            assert!(!covers(name, host), "{name} {host}");
        }
    }
}
