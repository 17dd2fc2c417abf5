//! Clients behind TLS.

use super::proxy::{peer, upstream};
use super::*;
use crate::shared::certs::{CertSet, Served};
use rip::contract::cert::{CertSource, TlsCertRecord};
use rip::tls::select::ByName;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use std::net::Shutdown;

pub(super) type Client = StreamOwned<ClientConnection, TcpStream>;

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
pub(super) fn certify(house: &House, source: CertSource) {
    let record = TlsCertRecord {
        id: "localhost".to_owned(),
        domains: vec!["localhost".to_owned()],
        not_before: 0,
        not_after: u64::MAX,
        fingerprint: String::new(),
        cert_path: String::new(),
        key_path: String::new(),
        source,
        last_renew_attempt: None,
        last_renew_result: None,
    };
    let mut by_name = ByName::default();
    by_name.add("localhost", 0);
    let served = vec![Served { record, key: Arc::new(key()) }];
    house.shared.tls.certs.replace(CertSet { served, by_name });
}

/// A house whose only listener is for TLS.
pub(super) fn secure(
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
    certify(&house, CertSource::Manual);
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

/// A client that seals with 32 bytes of key, and can be asked for them.
fn open_hearted() -> Arc<ClientConfig> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    roots
}

fn config(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots())
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

pub(super) fn connect(house: &House) -> Client {
    connect_as(house, "localhost", &usual())
}

/// The end was said, and not only come to.
pub(super) fn ends(client: &mut Client) {
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
    certify(&house, CertSource::Manual);
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

#[test]
fn a_hello_in_the_smallest_pieces_is_a_hello() {
    let house = secure(|_| {}, mirror);
    let mut client = connect(&house);
    let mut hello = Vec::new();
    client.conn.write_tls(&mut hello).unwrap();
    client.sock.set_nodelay(true).unwrap();
    for byte in hello {
        client.sock.write_all(&[byte]).unwrap();
    }
    client.write_all(ASK).unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 200 "));
    // Each byte of a message may stand in a record of its own.
    let mut client = connect(&house);
    let mut hello = Vec::new();
    client.conn.write_tls(&mut hello).unwrap();
    for byte in &hello[5..] {
        client.sock.write_all(&[0x16, 3, 1, 0, 1, *byte]).unwrap();
    }
    client.write_all(ASK).unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 200 "));
}

/// What the server says to the raw bytes, to its end.
fn raw(house: &House, bytes: &[u8]) -> Vec<u8> {
    let mut stream = house.client();
    stream.write_all(bytes).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said
}

#[test]
fn what_is_no_tls_gets_an_alert_and_plain_http_a_plain_answer() {
    let house = secure(|_| {}, mirror);
    let said = String::from_utf8(raw(&house, ASK)).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.contains("\r\nConnection: close\r\n"),
        "{said}"
    );
    assert!(said.contains("This port speaks HTTPS."), "{said}");
    wait_until("it is not counted", || house.count(Counter::Refusal(Reason::TlsPlain)) == 1);
    let garbage: [&[u8]; 6] = [
        &[0; 100],
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0x16, 3, 1, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
        &[0x17, 3, 3, 0, 1, 0],
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
    ];
    for bytes in garbage {
        let said = raw(&house, bytes);
        assert!(said.is_empty() || said[0] == 0x15 && said.len() == 7, "{bytes:?}: {said:?}");
    }
    // The alert comes whole also where more was sent than anybody read.
    let mut flood = vec![0x16, 3, 1, 0, 4, 1, 0, 0, 0];
    flood.resize(100_000, 7);
    assert_eq!(raw(&house, &flood)[0], 0x15);
    // A hello that is larger than any is not waited for.
    let mut hello = Vec::new();
    let mut record = vec![0x16, 3, 1, 0x20, 0, 1, 0, 0xf0, 0];
    for _ in 0..12 {
        record.resize(5 + 0x2000, 0);
        hello.append(&mut record);
        record = vec![0x16, 3, 1, 0x20, 0];
    }
    assert_eq!(raw(&house, &hello), [0x15, 3, 3, 0, 2, 2, 50]);
    assert_eq!(house.count(Counter::Refusal(Reason::TlsBroken)), 8);
    wait_until("a connection stays", || house.shared.connections.open() == 0);
}

#[test]
fn a_client_hears_why_its_handshake_fails() {
    let house = secure(|_| {}, mirror);
    let fails = |name: &str, config: ClientConfig| {
        let mut client = connect_as(&house, name, &Arc::new(config));
        let error = client.write_all(ASK).and_then(|()| client.read(&mut [0])).unwrap_err();
        error.to_string()
    };
    let h2 = fails("localhost", config(rustls::ALL_VERSIONS, &["h2"]));
    assert!(h2.contains("NoApplicationProtocol"), "{h2}");
    assert_eq!(house.count(Counter::Refusal(Reason::TlsIncompatible)), 1);
    let nobody = fails("other.test", config(rustls::ALL_VERSIONS, &[]));
    assert!(nobody.contains("AccessDenied"), "{nobody}");
    assert_eq!(house.count(Counter::Refusal(Reason::TlsName)), 1);
    // No authority asks for anything.
    let acme = fails("localhost", config(rustls::ALL_VERSIONS, &["acme-tls/1"]));
    assert!(acme.contains("NoApplicationProtocol"), "{acme}");
    let stranger = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let unknown = fails("localhost", stranger);
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    wait_until("an alert is not counted", || {
        house.count(Counter::Refusal(Reason::TlsRefused)) == 1
    });
    assert_eq!(house.count(Counter::Handshakes), 0);
}

#[test]
fn ends_are_said_on_both_sides() {
    let house = secure(|config| config.edge.phases.idle = Duration::from_millis(300), mirror);
    // Ours, for idling.
    let mut client = connect(&house);
    client.write_all(ASK).unwrap();
    response(&mut client);
    ends(&mut client);
    // Ours, for it was asked for.
    let mut client = connect(&house);
    client.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    response(&mut client);
    ends(&mut client);
    // Ours, behind a request that is refused before it was read.
    let mut client = connect(&house);
    let ask = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n";
    client.write_all(&[&ask[..], &[0; 100_000]].concat()).unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 413 "));
    ends(&mut client);
    // The client's: what it asked before is answered.
    let mut client = connect(&house);
    client.write_all(&[ASK, ASK].concat()).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    response(&mut client);
    response(&mut client);
    ends(&mut client);
    wait_until("a connection stays", || house.shared.connections.open() == 0);
}

#[test]
fn a_body_that_is_cut_off_reaches_nobody() {
    let (heard, hears) = mpsc::channel();
    let house = secure(
        |_| {},
        move |_, mut stream| {
            if let Some(asked) = head(&mut stream) {
                heard.send(asked).unwrap();
            }
        },
    );
    for says_goodbye in [true, false] {
        let mut client = connect(&house);
        client
            .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345")
            .unwrap();
        if says_goodbye {
            client.conn.send_close_notify();
            client.flush().unwrap();
        }
        client.sock.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
    assert!(hears.try_recv().is_err());
}

#[test]
fn an_answer_that_is_cut_off_does_not_look_whole() {
    let house = secure(
        |_| {},
        |_, mut stream| {
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
        },
    );
    // A client of HTTP/1.0 has nothing but the end to go by.
    for ask in [ASK, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"] {
        let mut client = connect(&house);
        client.write_all(ask).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap_err();
    }
}

#[test]
fn handshakes_have_a_deadline_and_nobody_waits_for_them() {
    let house = secure(|config| config.edge.phases.head = Duration::from_millis(400), mirror);
    let mut hello = Vec::new();
    connect(&house).conn.write_tls(&mut hello).unwrap();
    let mut half_open: Vec<TcpStream> = (0..90).map(|_| house.client()).collect();
    for (at, stream) in half_open.iter_mut().enumerate() {
        // Nothing, a part of a hello, a whole one that is left alone.
        let upto = [0, 40, hello.len()][at % 3];
        stream.write_all(&hello[..upto]).unwrap();
    }
    let mut client = connect(&house);
    client.write_all(ASK).unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 200 "));
    let began = Instant::now();
    for stream in &mut half_open {
        let mut said = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut said);
        assert!(!String::from_utf8_lossy(&said).contains("HTTP"));
    }
    assert!(began.elapsed() < PATIENCE);
    wait_until("not all were closed for their slowness", || {
        house.count(Counter::Refusal(Reason::TlsTimeout)) >= 90
    });
    assert_eq!(house.count(Counter::Handshakes), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let house = secure(|_| {}, mirror);
    let mut client = connect(&house);
    let asks: String =
        (0..200).map(|at| format!("GET /{at} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    client.write_all(asks.as_bytes()).unwrap();
    for at in 0..200 {
        let answer = response(&mut client);
        assert!(answer.contains(&format!("GET /{at} HTTP/1.1\r\n")), "{at}: {answer}");
    }
    // Each in a record of its own, all in one segment.
    for at in 0..50 {
        let ask = format!("GET /{at} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.conn.writer().write_all(ask.as_bytes()).unwrap();
    }
    while client.conn.wants_write() {
        client.conn.write_tls(&mut client.sock).unwrap();
    }
    for at in 0..50 {
        assert!(response(&mut client).contains(&format!("GET /{at} HTTP/1.1\r\n")));
    }
}

#[test]
fn a_slow_reader_holds_the_worker_back_and_gets_everything() {
    let house = secure(
        |_| {},
        |_, mut stream| {
            head(&mut stream);
            let length = 20_000_000;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            let block: Vec<u8> = (0..1000_u32).map(|at| (at % 251) as u8).collect();
            for _ in 0..length / 1000 {
                if stream.write_all(&block).is_err() {
                    return;
                }
            }
        },
    );
    let mut client = connect(&house);
    client.write_all(ASK).unwrap();
    head(&mut client).unwrap();
    thread::sleep(Duration::from_millis(200));
    house_turns(&house);
    let mut block = [0; 1000];
    for _ in 0..20_000 {
        client.read_exact(&mut block).unwrap();
        assert!((0..1000_u32).all(|at| block[at as usize] == (at % 251) as u8));
    }
}

/// The loop still turns.
fn house_turns(house: &House) {
    let mut client = connect(house);
    client.write_all(b"GET /server HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with("ok"));
}

#[test]
fn tunnels_lead_through_tls() {
    let ask =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let house = secure(
        |_| {},
        |_, mut stream| {
            head(&mut stream);
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\n\r\n";
            stream.write_all(switch).unwrap();
            let mut all = Vec::new();
            let mut block = vec![0; 65536];
            while let Ok(count @ 1..) = stream.read(&mut block) {
                all.extend_from_slice(&block[..count]);
                if stream.write_all(&block[..count]).is_err() {
                    return;
                }
            }
            // The client has ended; it still hears.
            let _ = stream.write_all(format!("{}", all.len()).as_bytes());
        },
    );
    let mut client = connect(&house);
    client.write_all(&[&ask[..], b"early"].concat()).unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101 "));
    let mut got = [0; 5];
    client.read_exact(&mut got).unwrap();
    let mut echoed = vec![0; 100_000];
    for round in 0..20_u8 {
        client.write_all(&vec![round; 100_000]).unwrap();
        client.read_exact(&mut echoed).unwrap();
        assert!(echoed.iter().all(|byte| *byte == round));
    }
    client.conn.send_close_notify();
    client.flush().unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "2000005");
    wait_until("the tunnel never ends", || house.shared.connections.open() == 0);
}

#[test]
fn a_tunnel_that_breaks_ends_with_an_alert() {
    let house = secure(
        |_| {},
        |_, mut stream| {
            head(&mut stream);
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\n\r\n";
            stream.write_all(switch).unwrap();
            while let Ok(1..) = stream.read(&mut [0; 1024]) {}
        },
    );
    let mut client = connect_as(&house, "localhost", &open_hearted());
    let ask =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(ask).unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101 "));
    let mut sock = client.sock;
    // A record that nobody has sealed, and more than is ever read behind it.
    let mut said = vec![23, 3, 3, 0, 100];
    said.resize(200_000, 7);
    sock.write_all(&said).unwrap();
    let mut alert = Vec::new();
    sock.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&23), "{alert:?}");
    wait_until("it is not counted", || house.count(Counter::Refusal(Reason::TlsBroken)) == 1);
    drop(sock);
    wait_until("the tunnel never ends", || house.shared.connections.open() == 0);
}

#[test]
fn proxies_name_their_clients_before_the_hello() {
    let house = secure(
        |config| {
            config.edge.proxy_protocol = config.edge.https.clone();
            config.edge.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
        },
        mirror,
    );
    let mut client = connect(&house);
    let mut hello = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n".to_vec();
    client.conn.write_tls(&mut hello).unwrap();
    // The header, and what comes behind it, however they are cut.
    client.sock.write_all(&hello[..20]).unwrap();
    client.sock.write_all(&hello[20..60]).unwrap();
    client.sock.write_all(&hello[60..]).unwrap();
    client.write_all(ASK).unwrap();
    let answer = response(&mut client).to_lowercase();
    assert!(answer.contains("x-forwarded-for: 192.0.2.7\r\n"), "{answer}");
    assert!(answer.contains("x-forwarded-proto: https\r\n"), "{answer}");
}

#[test]
fn an_authority_is_shown_what_it_asks_for() {
    let house = secure(|_| {}, mirror);
    let challenges = &house.shared.tls.challenges;
    challenges.show_http("tok-en_1", "tok-en_1.thumb");
    let ask = |path: &str| {
        let mut client = connect(&house);
        let ask = format!("GET /.well-known/acme-challenge/{path} HTTP/1.1\r\nHost: a.b\r\n\r\n");
        client.write_all(ask.as_bytes()).unwrap();
        response(&mut client)
    };
    assert!(ask("tok-en_1").ends_with("\r\n\r\ntok-en_1.thumb"));
    assert!(ask("tok-en_2").contains("GET /.well-known/acme-challenge/tok-en_2 "));
    challenges.forget_http("tok-en_1");
    assert!(ask("tok-en_1").contains("GET /.well-known/acme-challenge/tok-en_1 "));

    challenges.show_alpn("Localhost", key()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let authority = Arc::new(config(&[version], &["acme-tls/1"]));
        let mut client = connect_as(&house, "localhost", &authority);
        ends(&mut client);
        assert_eq!(client.conn.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    }
    // Everybody else is served meanwhile.
    for alpn in [&[][..], &["http/1.1"], &["acme-tls/1", "http/1.1"]] {
        let mut client =
            connect_as(&house, "localhost", &Arc::new(config(rustls::ALL_VERSIONS, alpn)));
        client.write_all(ASK).unwrap();
        assert!(response(&mut client).starts_with("HTTP/1.1 200 "));
    }
    challenges.forget_alpn("localhost");
    let authority = Arc::new(config(rustls::ALL_VERSIONS, &["acme-tls/1"]));
    let mut client = connect_as(&house, "localhost", &authority);
    client.read(&mut [0]).unwrap_err();
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let house = secure(|_| {}, mirror);
    let mut old = connect(&house);
    old.write_all(ASK).unwrap();
    response(&mut old);
    house.shared.tls.certs.replace(CertSet::default());
    connect(&house).write_all(ASK).and_then(|()| connect(&house).read(&mut [0])).unwrap_err();
    old.write_all(ASK).unwrap();
    response(&mut old);
    certify(&house, CertSource::Manual);
    house_turns(&house);
}

/// What was said, sealed by hand.
fn sealed(
    suite: &'static rustls::Tls13CipherSuite,
    (number, secrets): (u64, &rustls::ConnectionTrafficSecrets),
    typ: rustls::ContentType,
    payload: &[u8],
) -> Vec<u8> {
    use rustls::ConnectionTrafficSecrets as Secrets;
    use rustls::crypto::cipher::{AeadKey, Iv, OutboundChunks, OutboundPlainMessage};
    let (key, iv) = match secrets {
        Secrets::Aes256Gcm { key, iv } => (key, iv),
        _ => panic!("the suite has other secrets"),
    };
    let key = <[u8; 32]>::try_from(key.as_ref()).unwrap();
    let iv = <[u8; 12]>::try_from(iv.as_ref()).unwrap();
    let mut seals = suite.aead_alg.encrypter(AeadKey::from(key), Iv::new(iv));
    let message = OutboundPlainMessage {
        typ,
        version: rustls::ProtocolVersion::TLSv1_2,
        payload: OutboundChunks::Single(payload),
    };
    seals.encrypt(message, number).unwrap().encode()
}

#[test]
fn a_message_in_halves_stops_nobody_from_being_answered() {
    let (go, gone) = mpsc::channel::<()>();
    let house = secure(
        |_| {},
        move |_, mut stream| {
            while head(&mut stream).is_some() {
                let _ = gone.recv();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        },
    );
    let mut client = connect_as(&house, "localhost", &open_hearted());
    client.write_all(b"GET /server HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    response(&mut client);
    let suite = client.conn.negotiated_cipher_suite().unwrap().tls13().unwrap();
    let StreamOwned { conn, mut sock } = client;
    let (number, secrets) = conn.dangerous_extract_secrets().unwrap().tx;
    let say = |at: u64, typ, payload: &[u8]| sealed(suite, (number + at, &secrets), typ, payload);
    use rustls::ContentType::{ApplicationData, Handshake};
    // Half of a key update comes between a request and its answer; its other half is garbage.
    sock.write_all(&[say(0, ApplicationData, ASK), say(1, Handshake, &[24, 0])].concat()).unwrap();
    wait_until("the worker never gets it", || house.inflight() == 1);
    house_turns(&house);
    go.send(()).unwrap();
    let mut header = [0; 5];
    sock.read_exact(&mut header).unwrap();
    assert_eq!(header[0], 23);
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    sock.read_exact(&mut body).unwrap();
    assert!(body.len() > 60, "an alert and no answer");
    sock.write_all(&say(2, Handshake, &[0, 1, 7])).unwrap();
    let mut alert = Vec::new();
    sock.read_to_end(&mut alert).unwrap();
    assert!(!alert.is_empty());
    // The same where our own end comes in between.
    house_turns(&house);
}

#[test]
fn whatever_comes_stops_no_loop() {
    use rip::entropy::{Entropy, Xoshiro};
    let house = secure(|_| {}, mirror);
    let suite_of =
        |client: &Client| client.conn.negotiated_cipher_suite().unwrap().tls13().unwrap();
    for seed in 0..60 {
        let mut entropy = Xoshiro::new(seed);
        let mut client = connect_as(&house, "localhost", &open_hearted());
        client.write_all(b"GET /server HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        response(&mut client);
        let suite = suite_of(&client);
        let StreamOwned { conn, mut sock } = client;
        let (number, secrets) = conn.dangerous_extract_secrets().unwrap().tx;
        let mut said = Vec::new();
        for at in 0..entropy.below(12) {
            let typ = match entropy.below(6) {
                0 => rustls::ContentType::Handshake,
                1 => rustls::ContentType::Alert,
                2 => rustls::ContentType::ChangeCipherSpec,
                _ => rustls::ContentType::ApplicationData,
            };
            let payload: Vec<u8> = match entropy.below(4) {
                0 => ASK.to_vec(),
                1 => {
                    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n".to_vec()
                }
                2 => vec![24, 0, 0, 1, 1][..entropy.below(6) as usize].to_vec(),
                _ => vec![entropy.next_u64() as u8; entropy.below(16_385) as usize],
            };
            said.extend(sealed(suite, (number + at, &secrets), typ, &payload));
        }
        for piece in said.chunks(1 + entropy.below(20_000) as usize) {
            if sock.write_all(piece).is_err() {
                break;
            }
        }
        if entropy.below(2) == 0 {
            let _ = sock.shutdown(Shutdown::Write);
            let _ = sock.read_to_end(&mut Vec::new());
        }
    }
    for seed in 0..200 {
        let mut entropy = Xoshiro::new(seed);
        let mut hello = Vec::new();
        connect(&house).conn.write_tls(&mut hello).unwrap();
        for _ in 0..1 + entropy.below(4) {
            let at = entropy.below(hello.len() as u64) as usize;
            hello[at] ^= 1 << entropy.below(8);
        }
        hello.truncate(entropy.below(2 * hello.len() as u64) as usize);
        let mut sock = house.client();
        sock.write_all(&hello).unwrap();
        let _ = sock.shutdown(Shutdown::Write);
        let _ = sock.read_to_end(&mut Vec::new());
    }
    house_turns(&house);
    wait_until("a connection stays", || house.shared.connections.open() == 0);
}

#[test]
fn a_host_that_nobody_serves_here_may_be_somewhere_else() {
    use rip::contract::route::{RouteAction, RouteRule};
    let house = secure(
        |config| {
            let app = RouteAction::ToApp { app_id: config.apps[0].id.clone() };
            config.routes = vec![RouteRule::new("localhost", "/*", app)];
        },
        mirror,
    );
    let mut client = connect(&house);
    client.write_all(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 421 "));
    // The connection is good for those that are served, whatever name began it.
    client.write_all(ASK).unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 200 "));
    assert_eq!(house.count(Counter::Refusal(Reason::Misdirected)), 1);
}
