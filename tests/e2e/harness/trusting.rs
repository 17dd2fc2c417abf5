//! A client over TLS that believes the authority of `tests/tls`, and hears every end.

use super::tools;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// One connection. Its handshake is made with the first request.
pub struct Trusting {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Trusting {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Self { stream: StreamOwned::new(session(), socket) }
    }

    /// What a client says first.
    pub fn hello() -> Vec<u8> {
        let mut hello = Vec::new();
        session().write_tls(&mut hello).expect("a hello");
        hello
    }

    /// Asks for `target`.
    pub fn send(&mut self, target: &str) {
        let ask = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.stream.write_all(ask.as_bytes()).expect("the server takes the request");
    }

    /// The next answer, head and body; one with a `Content-Length`.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("a head");
            answer.extend(byte);
        }
        let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length = length.lines().next().and_then(|text| text.parse().ok()).expect("a number");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        answer.extend(body);
        String::from_utf8(answer).expect("text")
    }

    /// Asks, and waits for the answer.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> String {
        self.send(target);
        self.answer()
    }
}

fn session() -> ClientConnection {
    let ca = tools::repository().join("tests/tls/ca.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("the authority")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a session")
}
