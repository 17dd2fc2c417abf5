//! Certificates that are made here: by a local authority, or by nobody.

use crate::shared::cert_files::{Leaf, Wrong, parse};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::time::Duration;

/// A certificate and its key, both PEM.
pub struct Made {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Made {
    /// As it can be served.
    ///
    /// # Errors
    /// It cannot.
    pub fn leaf(&self) -> Result<Leaf, Wrong> {
        parse(self.cert.as_bytes(), self.key.as_bytes())
    }
}

/// An authority that is called `name`, from `now` on, in seconds, for ten years. It may make
/// certificates for servers only, not other authorities.
///
/// # Errors
/// What the cryptography says.
pub fn authority(name: &str, now: u64) -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params(Vec::new(), name, now, AUTHORITY_LIFETIME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::OrganizationName, "rip-master");
    let cert = params.self_signed(&key)?;
    Ok(Made { cert: cert.pem(), key: key.serialize_pem() })
}

/// A certificate for `hosts` by `issuer`, which ends at `issuer_ends`.
///
/// # Errors
/// What the cryptography says, also of a host that is none.
pub fn leaf(
    hosts: &[String],
    issuer: &Issuer<'_, KeyPair>,
    issuer_ends: u64,
    now: u64,
) -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let left = Duration::from_secs(issuer_ends.saturating_sub(now));
    let mut params = server(hosts, now, LEAF_LIFETIME.min(left))?;
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, issuer)?;
    Ok(Made { cert: cert.pem(), key: key.serialize_pem() })
}

/// A certificate for `host` that nobody believes, for a week.
///
/// # Errors
/// What the cryptography says, also of a host that is none.
pub fn temporary(host: &str, now: u64) -> Result<Made, rcgen::Error> {
    let key = KeyPair::generate()?;
    let cert = server(&[host.to_owned()], now, TEMPORARY_LIFETIME)?.self_signed(&key)?;
    Ok(Made { cert: cert.pem(), key: key.serialize_pem() })
}

/// Whether a certificate that was made here is to be made anew: a third of its time is left.
pub fn is_due(not_before: u64, not_after: u64, now: u64) -> bool {
    let lifetime = not_after.saturating_sub(not_before);
    now.saturating_add(lifetime / 3) >= not_after || now < not_before
}

fn server(
    hosts: &[String],
    now: u64,
    lifetime: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let name = hosts.first().map_or("localhost", String::as_str);
    let mut params = params(hosts.to_vec(), name, now, lifetime)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn params(
    hosts: Vec<String>,
    name: &str,
    now: u64,
    lifetime: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // Clocks of others may be behind.
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(SKEW.as_secs()));
    params.not_after = epoch + Duration::from_secs(now) + lifetime;
    let mut subject = DistinguishedName::new();
    // A common name has 64 letters at most (RFC 5280, A.1).
    subject.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    params.distinguished_name = subject;
    Ok(params)
}

const DAY: u64 = 24 * 60 * 60;
const SKEW: Duration = Duration::from_secs(DAY);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * DAY);
/// Browsers believe none for longer than 398 days.
const LEAF_LIFETIME: Duration = Duration::from_secs(90 * DAY);
const TEMPORARY_LIFETIME: Duration = Duration::from_secs(7 * DAY);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_served_and_ends_in_time() {
        let now = 1_800_000_000;
        let made = authority("rip-master of somebody", now).unwrap();
        let of_authority = made.leaf().unwrap();
        assert_eq!(of_authority.not_after - now, 3650 * DAY);
        let key = KeyPair::from_pem(&made.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&made.cert, key).unwrap();
        let hosts = ["shop.test", "*.shop.test", "127.0.0.1", "::1"].map(str::to_owned);
        let made = leaf(&hosts, &issuer, of_authority.not_after, now).unwrap().leaf().unwrap();
        assert_eq!(made.names, hosts);
        assert!(made.not_after - made.not_before <= 398 * DAY);
        assert_eq!(made.doubt(now), None);
        let late = of_authority.not_after - 5;
        let last = leaf(&hosts, &issuer, of_authority.not_after, late).unwrap().leaf().unwrap();
        assert_eq!(last.not_after, of_authority.not_after, "not after its issuer");
        let alone = temporary("shop.test", now).unwrap().leaf().unwrap();
        assert_eq!((alone.names, alone.not_after - now), (vec!["shop.test".to_owned()], 7 * DAY));
        assert!(temporary("schön.test", now).is_err());
    }

    #[test]
    fn it_is_due_when_a_third_is_left() {
        for (now, due) in [(0, true), (100, false), (299, false), (300, true), (500, true)] {
            assert_eq!(is_due(100, 400, now), due, "{now}");
        }
    }
}
