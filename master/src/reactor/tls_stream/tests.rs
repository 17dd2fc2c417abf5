use super::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::net::TcpListener;

struct Own(Arc<ServerConfig>);

impl Handshakes for Own {
    fn for_all(&self) -> Option<Arc<ServerConfig>> {
        Some(Arc::clone(&self.0))
    }

    fn for_one(&self, _: &ClientHello<'_>) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// A server that takes key shares of P-384 only: clients begin with another one. With its certificate.
fn picky() -> (Own, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = CryptoProvider { kx_groups: vec![kx_group::SECP384R1], ..default_provider() };
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .unwrap();
    (Own(Arc::new(config)), cert.der().clone())
}

/// A client that believes `cert` alone.
fn client(cert: &CertificateDer<'static>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("a.test").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// Both ends of a connection; ours does not block.
fn connected() -> (std::net::TcpStream, TlsStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut stream = TlsStream::new(TcpStream::from_std(ours));
    stream.begin(&[]);
    (theirs, stream)
}

fn said(client: &mut ClientConnection) -> Vec<u8> {
    let mut flight = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut flight).unwrap();
    }
    flight
}

/// Reads what has been sent, all of it.
fn take(stream: &mut TlsStream, blocks: &mut TlsBlocks, own: &Own) -> Result<Got, Failure> {
    let mut input = Buffer::with_capacity(BLOCK_BYTES);
    loop {
        match stream.read(&mut input, blocks, own) {
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

#[test]
fn the_hello_that_costs_is_the_one_behind_a_retry() {
    let (own, cert) = picky();
    let (mut blocks, mut client) = (TlsBlocks::default(), client(&cert));
    let (mut theirs, mut stream) = connected();
    theirs.write_all(&said(&mut client)).unwrap();
    take(&mut stream, &mut blocks, &own).unwrap();
    assert!(stream.awaits_hello() && stream.unsent() > 0, "it was asked for another one");
    assert!(stream.send(&mut blocks).unwrap());
    client.read_tls(&mut theirs).unwrap();
    client.process_new_packets().unwrap();
    theirs.write_all(&said(&mut client)).unwrap();
    take(&mut stream, &mut blocks, &own).unwrap();
    assert!(!stream.awaits_hello() && stream.is_handshaking());
    stream.send(&mut blocks).unwrap();
    while client.is_handshaking() {
        client.read_tls(&mut theirs).unwrap();
        client.process_new_packets().unwrap();
    }
    theirs.write_all(&said(&mut client)).unwrap();
    take(&mut stream, &mut blocks, &own).unwrap();
    assert!(!stream.is_handshaking());
}

#[test]
fn letters_in_the_place_of_the_second_hello_are_no_http() {
    let (own, cert) = picky();
    let (mut blocks, mut client) = (TlsBlocks::default(), client(&cert));
    let (mut theirs, mut stream) = connected();
    theirs.write_all(&said(&mut client)).unwrap();
    take(&mut stream, &mut blocks, &own).unwrap();
    theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let refused = take(&mut stream, &mut blocks, &own);
    assert!(matches!(refused, Err(Failure::Tls(_))), "{refused:?}");
}
