//! Clients behind TLS.

use super::proxy::{house as proxying, peer, upstream};
use super::*;
use crate::shared::certs::{CertSet, Served};
use rip::contract::cert::{CertSource, TlsCertRecord};
use rip::tls::select::ByName;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use std::net::Shutdown;

type Client = StreamOwned<ClientConnection, TcpStream>;

const ASK: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn file(name: &str) -> String {
    format!("{}/../tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn key() -> CertifiedKey {
    let chain = CertificateDer::pem_file_iter(file("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("leaf.key")).unwrap();
    CertifiedKey::new(chain.map(Result::unwrap).collect(), any_supported_type(&key).unwrap())
}

/// Puts the certificate for `localhost` in place, and for nobody else.
fn certify(house: &House) {
    let record = TlsCertRecord {
        id: "localhost".to_owned(),
        domains: vec!["localhost".to_owned()],
        not_before: 0,
        not_after: u64::MAX,
        fingerprint: String::new(),
        cert_path: String::new(),
        key_path: String::new(),
        source: CertSource::Manual,
        last_renew_attempt: None,
        last_renew_result: None,
    };
    let mut by_name = ByName::default();
    by_name.add("localhost", 0);
    let served = vec![Served { record, key: Arc::new(key()) }];
    house.shared.tls.certs.replace(CertSet { served, by_name });
}

/// A house whose only listener is for TLS.
fn secure(
    adjust: impl FnOnce(&mut Config),
    serve: impl FnMut(usize, UnixStream) + Send + 'static,
) -> House {
    let house = House::new(
        |config| {
            config.edge.https = std::mem::take(&mut config.edge.http);
            adjust(config);
        },
        serve,
    );
    certify(&house);
    house
}

/// A worker that says what it was asked, and how long the body was.
fn mirror(_: usize, stream: UnixStream) {
    thread::spawn(move || answer(stream));
}

fn answer(mut stream: UnixStream) {
    while let Some(asked) = head(&mut stream) {
        let length = asked.to_lowercase();
        let length = length.split("content-length: ").nth(1);
        let length = length.map_or(0, |text| text.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let said = format!("{asked}{}", body.len());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", said.len());
        stream.write_all(format!("{head}{said}").as_bytes()).unwrap();
    }
}

fn config(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn usual() -> Arc<ClientConfig> {
    Arc::new(config(rustls::ALL_VERSIONS, &["http/1.1"]))
}

fn connect_as(house: &House, name: &str, config: &Arc<ClientConfig>) -> Client {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(session, house.client())
}

fn connect(house: &House) -> Client {
    connect_as(house, "localhost", &usual())
}

/// The end was said, and not only come to.
fn ends(client: &mut Client) {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn both_versions_are_spoken_and_workers_hear_of_it() {
    let house = secure(|_| {}, mirror);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(config(&[version], &["h2", "http/1.1"]));
        let mut client = connect_as(&house, "localhost", &config);
        for _ in 0..3 {
            client.write_all(ASK).unwrap();
            let answer = response(&mut client).to_lowercase();
            assert!(answer.contains("x-forwarded-proto: https\r\n"), "{answer}");
        }
        assert_eq!(client.conn.protocol_version(), Some(version.version));
        assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert_eq!(house.count(Counter::Handshakes), 2);
    assert_eq!(house.count(Counter::Resumptions), 0);
}

#[test]
fn sessions_are_taken_up_again() {
    let house = secure(|_| {}, mirror);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = config(&[version], &[]);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let mut client = connect_as(&house, "localhost", &config);
            client.write_all(ASK).unwrap();
            response(&mut client);
            assert_eq!(client.conn.handshake_kind(), Some(kind));
            assert!(!client.conn.is_early_data_accepted());
        }
    }
    assert_eq!(house.count(Counter::Resumptions), 4);
}

#[test]
fn bodies_of_any_size_pass_both_ways() {
    let address = peer(|_, mut stream| {
        while let Some(asked) = head(&mut stream) {
            let length = asked.to_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    let house = House::new(
        |config| {
            let action =
                rip::contract::route::RouteAction::Proxy { upstream: "up".to_owned(), host: None };
            config.routes = vec![rip::contract::route::RouteRule::new("*", "/*", action)];
            config.upstreams = vec![upstream(&[format!("http://{address}")])];
            config.edge.https = std::mem::take(&mut config.edge.http);
        },
        |_, _| {},
    );
    certify(&house);
    let mut client = connect(&house);
    for size in [0, 1, 16_383, 16_384, 16_385, 70_000, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|at: usize| (at / 3 % 251) as u8).collect();
        let head_ = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
        client.write_all(&[head_.as_bytes(), &body].concat()).unwrap();
        head(&mut client).unwrap();
        let mut got = vec![0; size];
        client.read_exact(&mut got).unwrap();
        assert!(got == body, "{size}");
    }
}
