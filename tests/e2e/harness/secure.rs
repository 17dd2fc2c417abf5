//! A TLS client that believes everybody and remembers whom it met.

use super::wait;
use rustls::StreamOwned;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One connection.
pub struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    host: String,
}

/// A certificate as somebody saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// In lower-case hexadecimal.
    pub serial: String,
    /// Who signed it.
    pub issuer: String,
    /// Good until then, in seconds since 1970.
    pub not_after: i64,
    /// The certificate.
    pub der: Vec<u8>,
}

impl Secure {
    /// Connects to a port of this machine, naming `host`, and shakes hands.
    pub fn connect(port: u16, host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(wait::SOON))?;
        stream.set_write_timeout(Some(wait::SOON))?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, host: host.to_owned() })
    }

    /// What the server showed.
    pub fn seen(&self) -> Seen {
        let leaf = self.stream.conn.peer_certificates().and_then(<[_]>::first);
        Seen::of(leaf.expect("a certificate"))
    }

    /// One GET; the status.
    pub fn ask(&mut self, target: &str) -> u16 {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.write_all(request.as_bytes()).expect("the server takes the request");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        head.split(' ').nth(1).expect("a status").parse().expect("a number")
    }
}

impl Seen {
    /// The certificate `der`.
    pub fn of(der: &[u8]) -> Self {
        let (_, parsed) = X509Certificate::from_der(der).expect("a certificate");
        let serial = parsed.tbs_certificate.raw_serial();
        Self {
            serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            issuer: parsed.issuer().to_string(),
            not_after: parsed.validity().not_after.timestamp(),
            der: der.to_vec(),
        }
    }
}

#[derive(Debug)]
struct Anybody;

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
        let known = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
