//! Showing an authority that a name is ours, for as long as it looks.

use crate::shared::tls::Tls;
use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rip::tls::challenge::Challenge;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// What is shown; taken back when this is dropped.
pub struct Proof {
    tls: Arc<Tls>,
    shown: Shown,
}

enum Shown {
    /// A token.
    Http(String),
    /// A name.
    TlsAlpn(String),
}

impl Proof {
    /// Shows the answer to a challenge for `name`.
    ///
    /// # Errors
    /// What the cryptography says.
    pub fn show(
        tls: &Arc<Tls>,
        challenge: Challenge,
        name: &str,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<Self, String> {
        let shown = match challenge {
            Challenge::Http => {
                tls.challenges.show_http(token, authorization.as_str());
                Shown::Http(token.to_owned())
            }
            Challenge::TlsAlpn => {
                let digest = authorization.digest();
                let certificate = certificate(name, digest.as_ref())?;
                tls.challenges.show_alpn(name, certificate).map_err(|error| error.to_string())?;
                Shown::TlsAlpn(name.to_owned())
            }
        };
        Ok(Self { tls: Arc::clone(tls), shown })
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        match &self.shown {
            Shown::Http(token) => self.tls.challenges.forget_http(token),
            Shown::TlsAlpn(name) => self.tls.challenges.forget_alpn(name),
        }
    }
}

/// The challenge as the client names it.
pub fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http => ChallengeType::Http01,
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
    }
}

/// A certificate for `name` alone with the digest in a critical extension (RFC 8737 §3), and its key.
/// Nobody who does not know that extension can do anything with it: whether they belong together is
/// not asked.
fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params =
        CertificateParams::new(vec![name.to_owned()]).map_err(|error| error.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let signed = params.self_signed(&key).map_err(|error| error.to_string())?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let private = default_provider()
        .key_provider
        .load_private_key(private)
        .map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(vec![signed.der().clone()], private))
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    #[test]
    fn the_certificate_is_for_one_name_and_has_the_digest_in_a_critical_extension() {
        let certificate = certificate("a.x", &[7; 32]).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.cert.first().unwrap()).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(matches!(names.value.general_names.as_slice(), [GeneralName::DNSName("a.x")]));
        let mark = parsed
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .unwrap();
        // An OCTET STRING of 32 bytes.
        assert!(mark.critical && mark.value.starts_with(&[4, 32, 7]) && mark.value.len() == 34);
    }
}
