//! Upstreams behind TLS.

use super::proxy::{house, upstream};
use super::*;
use rip::contract::config::UpstreamDescriptor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn file(name: &str) -> String {
    format!("{}/../tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A server that says how many connections came before, echoes bodies, and switches when asked to.
fn server() -> SocketAddr {
    let certificates = CertificateDer::pem_file_iter(file("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.map(Result::unwrap).collect(), key)
        .unwrap();
    let config = Arc::new(config);
    super::proxy::peer(move |number, stream| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        serve(number, &mut StreamOwned::new(session, stream));
    })
}

fn serve(number: usize, stream: &mut (impl Read + Write)) {
    while let Some(asked) = head(stream) {
        if asked.contains("Upgrade: websocket") {
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\n\r\n";
            stream.write_all(switch).unwrap();
            let mut block = vec![0; 65536];
            while let Ok(count @ 1..) = stream.read(&mut block) {
                stream.write_all(&block[..count]).unwrap();
            }
            return;
        }
        let length = asked.split("Content-Length: ").nth(1);
        let length = length.map_or(0, |text| text.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Connection: {number}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stream.flush().unwrap();
    }
}

fn at(host: &str, ca: Option<String>) -> UpstreamDescriptor {
    let port = server().port();
    UpstreamDescriptor { ca, ..upstream(&[format!("https://{host}:{port}")]) }
}

#[test]
fn a_verified_upstream_is_spoken_to_over_connections_that_are_kept() {
    for host in ["127.0.0.1", "localhost"] {
        let house = house(at(host, Some(file("ca.pem"))));
        let body: String =
            (0..1_000_000).map(|at| char::from(b'a' + (at / 7 % 26) as u8)).collect();
        let mut client = house.client();
        for _ in 0..5 {
            let head =
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut writer = client.try_clone().unwrap();
            let sent = body.clone();
            let writes = thread::spawn(move || {
                writer.write_all(head.as_bytes()).unwrap();
                writer.write_all(sent.as_bytes()).unwrap();
            });
            let answer = response(&mut client);
            writes.join().unwrap();
            assert!(answer.contains("X-Connection: 0\r\n"), "{}", &answer[..200]);
            assert!(answer.ends_with(&body));
        }
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_no_upstream() {
    let house = house(at("127.0.0.1", None));
    let mut client = house.client();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let answer = response(&mut client);
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[test]
fn a_tunnel_leads_through_tls() {
    let house = house(at("localhost", Some(file("ca.pem"))));
    let mut client = house.client();
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(ask).unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101 "));
    let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 5 % 251) as u8).collect();
    let (mut writer, expected) = (client.try_clone().unwrap(), sent.clone());
    let writes = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).unwrap();
    writes.join().unwrap();
    assert!(got == expected);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    wait_until("the tunnel never ends", || house.shared.connections.open() == 0);
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let broken = UpstreamDescriptor {
        ca: Some("/nowhere/ca.pem".to_owned()),
        ..upstream(&["https://127.0.0.1:1".to_owned()])
    };
    let config = Config { upstreams: vec![broken], ..Config::default() };
    let poll = Poll::new().unwrap();
    let (control, _mail) = mailbox(Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()));
    let why = prepare(&config, &[], &control).err().unwrap();
    assert!(why.contains("upstream 'up'") && why.contains("/nowhere/ca.pem"), "{why}");
}
