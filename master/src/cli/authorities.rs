//! Whether certificates can be used to verify others.

use crate::shared::cert_files::{Wrong, certificates};
use rustls::RootCertStore;

/// Whether others can be verified against the certificates in `pem`.
///
/// # Errors
/// What is wrong, one clause, and how to mend it.
pub fn check(pem: &[u8]) -> Result<(), Wrong> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).map_err(|error| {
        Wrong::new(format!("the certificates are no PEM: {error}"), "export them as PEM")
    })? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_verified_against_certificates() {
        let pem = |name: &str| {
            let path = format!("{}/../tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        };
        let (ca, key) = (pem("ca.pem"), pem("leaf.key"));
        assert_eq!(check(ca.as_bytes()), Ok(()));
        assert_eq!(check(format!("{ca}{}{key}", pem("leaf.pem")).as_bytes()), Ok(()));
        for (pem, said) in [
            ("", "the file has no certificate in it"),
            (key.as_str(), "the file has no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", "the certificates are no PEM"),
            (
                "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                "a certificate cannot be read",
            ),
        ] {
            let found = check(pem.as_bytes()).unwrap_err().message;
            assert!(found.starts_with(said), "{found}");
        }
    }
}
