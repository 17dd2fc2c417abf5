//! How upstreams are spoken to over TLS: which certificates are believed, and nothing of a socket.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// What a connection to one target begins with.
#[derive(Clone, Debug)]
pub struct TlsTarget {
    /// Shared by the targets of an upstream, and with it their resumed sessions.
    pub config: Arc<ClientConfig>,
    /// Whom the certificate must be made out to.
    pub name: ServerName<'static>,
}

/// Believes the certificates in the PEM file `ca`, or those the system believes. Reads files: not
/// for a loop.
///
/// # Errors
/// When there is no certificate to believe, in words.
pub fn client_config(ca: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let roots = match ca {
        Some(path) => roots_in(path)?,
        None => roots_of_the_system()?,
    };
    super::tls::prepare_random();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots_in(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| format!("'{path}': {error}"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("'{path}': {error}"))?;
        roots.add(certificate).map_err(|error| format!("'{path}': {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("'{path}' holds no certificate"));
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system has certificates that are too old to be read: the others count.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
    Err(format!("the system has no certificates to verify others against{why}"))
}
