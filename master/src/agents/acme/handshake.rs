//! Whether a client that comes now gets a certificate: a handshake in memory.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig};
use rustls::{ServerConnection, SignatureScheme};
use std::io::Cursor;
use std::sync::Arc;

/// The certificate that a client gets which names `name` and is served with `site`.
///
/// # Errors
/// What the handshake failed with.
pub fn served(site: &Arc<ServerConfig>, name: &str) -> Result<CertificateDer<'static>, String> {
    let provider = Arc::new(default_provider());
    let anybody = Arc::new(Anybody { provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(anybody)
        .with_no_client_auth();
    let named = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let mut client =
        ClientConnection::new(Arc::new(config), named).map_err(|error| error.to_string())?;
    let mut server = ServerConnection::new(Arc::clone(site)).map_err(|error| error.to_string())?;
    for _ in 0..FLIGHTS {
        let mut flight = Vec::new();
        carry(&mut client, &mut flight)?;
        server.read_tls(&mut Cursor::new(&flight)).map_err(|error| error.to_string())?;
        server.process_new_packets().map_err(|error| error.to_string())?;
        flight.clear();
        while server.wants_write() {
            server.write_tls(&mut flight).map_err(|error| error.to_string())?;
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).map_err(|error| error.to_string())?;
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
        if let Some(leaf) = client.peer_certificates().and_then(<[_]>::first) {
            return Ok(leaf.clone().into_owned());
        }
    }
    Err("the handshake does not come to an end".to_owned())
}

fn carry(client: &mut ClientConnection, flight: &mut Vec<u8>) -> Result<(), String> {
    while client.wants_write() {
        client.write_tls(flight).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Believes everybody: the question is who answers, not whether to believe it. Signatures are checked.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// More than any handshake takes.
const FLIGHTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::cert_files;
    use crate::shared::certs::{CertSet, Served};
    use crate::shared::tls::Tls;
    use rcgen::{CertificateParams, KeyPair};
    use rip::contract::cert::CertSource;

    #[test]
    fn who_comes_now_gets_what_is_served_now() {
        let tls = Tls::new().unwrap();
        assert!(served(&tls.site, "a.x").is_err(), "nothing is served yet");
        for _ in 0..2 {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["a.x".to_owned()]).unwrap();
            let cert = params.self_signed(&key).unwrap();
            let leaf =
                cert_files::parse(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
            let record = leaf.record(CertSource::Acme, "", "");
            let mut set = CertSet::default();
            set.served.push(Served { record, key: leaf.key });
            set.by_name.add("a.x", 0);
            tls.certs.replace(set);
            assert_eq!(served(&tls.site, "a.x").unwrap(), *cert.der());
        }
        assert!(served(&tls.site, "b.x").is_err());
    }
}
