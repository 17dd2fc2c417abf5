//! TLS from the clients' side: certificates made for a test, and connections that tell which one they
//! got.

use rcgen::{CertificateParams, KeyPair};
use rip::tls::fingerprint::fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A certificate and its key.
pub struct Identity {
    /// The certificate in PEM.
    pub cert: String,
    /// Its key in PEM.
    pub key: String,
    /// SHA-256 in hexadecimal.
    pub fingerprint: String,
}

/// A certificate for `names`, by itself, from ten days ago on; it has so many days left.
pub fn identity(names: &[&str], days: i64) -> Identity {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    let day = Duration::from_secs(24 * 60 * 60);
    let back = day * u32::try_from(-days.min(0)).expect("some days");
    let ahead = day * u32::try_from(days.max(0)).expect("some days");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + (now - day * 10 - back);
    // A minute more, so that whole days are whole days.
    params.not_after = epoch + (now + ahead - back + Duration::from_secs(60));
    let key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a certificate");
    Identity { cert: cert.pem(), key: key.serialize_pem(), fingerprint: fingerprint(cert.der()) }
}

impl Identity {
    /// Writes it as `<stem>.crt` and `<stem>.key`.
    pub fn write(&self, stem: &Path) {
        fs::write(stem.with_extension("key"), &self.key).expect("a key");
        fs::write(stem.with_extension("crt"), &self.cert).expect("a certificate");
    }
}

/// A connection over TLS that believes everybody.
pub struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Secure {
    /// Connects to a port of this machine and names `name`, or nobody.
    ///
    /// # Errors
    /// Those of the handshake.
    pub fn connect(port: u16, name: Option<&str>) -> io::Result<Self> {
        let provider = Arc::new(default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.enable_sni = name.is_some();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = name.unwrap_or("nobody.test").to_owned();
        let name = ServerName::try_from(name).expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// The certificate that it got.
    pub fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates().expect("a certificate");
        chain.first().expect("a leaf").clone().into_owned()
    }

    /// What that is recognized by.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate())
    }

    /// The status of the answer to a GET; its body is read.
    pub fn get(&mut self, host: &str) -> io::Result<u16> {
        write!(self.stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut Read::by_ref(&mut self.stream).take(length), &mut io::sink())?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| io::Error::other(format!("no status: {head}")))
    }
}

/// The certificate that a client gets who names `name`, or nobody.
#[track_caller]
pub fn leaf(port: u16, name: Option<&str>) -> String {
    Secure::connect(port, name).expect("a handshake").fingerprint()
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

const TIMEOUT: Duration = Duration::from_secs(20);
