//! Whether a certificate can be used: it is there, it belongs to its key, today is one of its days.

use rip::time::{Civil, UnixMillis};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

/// Whether `chain` and `key`, both PEM, are a certificate with its issuers and its key. That `now` is
/// none of its days is told, and no error: the day may come, and who has nothing better goes on with
/// what is old.
///
/// # Errors
/// What is wrong, one clause, and how to mend it.
pub fn check(chain: &[u8], key: &[u8], now: UnixMillis) -> Result<Option<Wrong>, Wrong> {
    let certificates =
        CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(|error| {
            Wrong::new(format!("the certificate is no PEM: {error}"), "export it as PEM")
        })?;
    let Some(own) = certificates.first().cloned() else {
        return Err(Wrong::new(
            "the file has no certificate in it",
            "a chain begins with -----BEGIN CERTIFICATE-----, the server's own first",
        ));
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => Wrong::new(
            "the file has no private key in it",
            "an encrypted key is none: openssl pkey -in KEY -out PLAIN",
        ),
        error => Wrong::new(format!("the key is no PEM: {error}"), "export it as PEM"),
    })?;
    let key = default_provider()
        .key_provider
        .load_private_key(key)
        .map_err(|error| Wrong::new(format!("the key cannot be used: {error}"), KEYS))?;
    match CertifiedKey::new(certificates, key).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(Wrong::new(
                "certificate and key do not belong together",
                "the server's own certificate must come first in its file",
            ));
        }
        Err(error) => {
            return Err(Wrong::new(format!("the certificate cannot be read: {error}"), "renew it"));
        }
    }
    let Some(Validity { from, until }) = validity(&own) else {
        return Err(Wrong::new("the certificate does not say how long it is valid", "renew it"));
    };
    let now = moment(now);
    if now > until {
        let message = format!("the certificate expired on {}", day(&until));
        return Ok(Some(Wrong::new(message, "renew it")));
    }
    if now < from {
        return Ok(Some(Wrong::new(
            format!("the certificate is valid from {} on only", day(&from)),
            "is the clock of this machine right?",
        )));
    }
    Ok(None)
}

/// Whether others can be verified against the certificates in `pem`.
///
/// # Errors
/// What is wrong, one clause, and how to mend it.
pub fn check_authorities(pem: &[u8]) -> Result<(), Wrong> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| {
            Wrong::new(format!("the certificates are no PEM: {error}"), "export them as PEM")
        })?;
        roots.add(certificate).map_err(|error| {
            Wrong::new(format!("a certificate cannot be read: {error}"), "export it anew, as PEM")
        })?;
    }
    if roots.is_empty() {
        return Err(Wrong::new(
            "the file has no certificate in it",
            "each begins with -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(())
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    /// What is wrong, one clause.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

impl Wrong {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Days a certificate holds, as [`moment`]s.
#[derive(Debug)]
struct Validity {
    from: String,
    until: String,
}

/// The field of that name (RFC 5280 §4.1.2.5).
fn validity(certificate: &[u8]) -> Option<Validity> {
    let (SEQUENCE, mut certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, signed, _) = element(certificate)? else { return None };
    certificate = signed;
    // Version (absent in the oldest), serial number, algorithm, issuer.
    let (first, _, mut rest) = element(certificate)?;
    let skipped = if first == VERSION { 3 } else { 2 };
    for _ in 0..skipped {
        (_, _, rest) = element(rest)?;
    }
    let (SEQUENCE, both, _) = element(rest)? else { return None };
    let (kind, from, rest) = element(both)?;
    let from = time(kind, from)?;
    let (kind, until, _) = element(rest)?;
    Some(Validity { from, until: time(kind, until)? })
}

/// The first element of DER: its tag, its content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// A time of a certificate, always in UTC and to the second, as a [`moment`].
fn time(kind: u8, content: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match (kind, text.len()) {
        (UTC_TIME, 12) => {
            let century = if text < "50" { "20" } else { "19" };
            Some(format!("{century}{text}"))
        }
        (GENERALIZED_TIME, 14) => Some(text.to_owned()),
        _ => None,
    }
}

/// A moment as fourteen digits, which sort as moments do: `20260314120000`.
fn moment(at: UnixMillis) -> String {
    let civil = Civil::from_unix(at.as_secs());
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

/// The day of a moment: `2026-03-14`.
fn day(moment: &str) -> String {
    let part = |range: std::ops::Range<usize>| moment.get(range).unwrap_or_default();
    format!("{}-{}-{}", part(0..4), part(4..6), part(6..8))
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const KEYS: &str = "keys are RSA, ECDSA (P-256, P-384, P-521) or Ed25519";

#[cfg(test)]
mod tests;
