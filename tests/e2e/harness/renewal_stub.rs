//! A directory that says when certificates are to be renewed (RFC 9773), in front of an authority
//! that does not.

use super::pebble::Pebble;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// It answers until it is dropped.
pub struct RenewalStub {
    port: u16,
    /// The certificates that it was asked about, each once.
    asked: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RenewalStub {
    /// The first certificate that is asked about should have been renewed long ago; all others are
    /// good for a while.
    pub fn start(pebble: &Pebble) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        listener.set_nonblocking(true).expect("a listener that does not wait");
        let (cert, key) = pebble.own_files();
        let cert = CertificateDer::from_pem_file(cert).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![cert], key).expect("a configuration");
        let mut directory: Value = pebble.directory_document();
        directory["renewalInfo"] = format!("https://127.0.0.1:{port}/renewal").into();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (end, known) = (Arc::clone(&ends), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let config = Arc::new(config);
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Who does not speak TLS is not answered.
                    Ok((stream, _)) => drop(serve(stream, &config, &directory, &known)),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { port, asked, ends, thread: Some(thread) }
    }

    /// The URL of the directory.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// The certificates that it was asked about.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the list").clone()
    }
}

impl Drop for RenewalStub {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the stub");
        }
    }
}

fn serve(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    directory: &Value,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let session = ServerConnection::new(Arc::clone(config)).expect("a session");
    let mut stream = StreamOwned::new(session, stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let body = match path.strip_prefix("/renewal/") {
        None => directory.clone(),
        Some(id) => {
            let mut asked = asked.lock().expect("the list");
            if !asked.iter().any(|known| known == id) {
                asked.push(id.to_owned());
            }
            let (start, end) = match asked.first().is_some_and(|first| first == id) {
                true => ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"),
                false => ("2098-01-01T00:00:00Z", "2098-01-02T00:00:00Z"),
            };
            json!({"suggestedWindow": {"start": start, "end": end}})
        }
    };
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRetry-After: 21600\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
