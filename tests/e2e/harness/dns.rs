//! A name server that knows one answer: every name is this machine.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// It answers until it is dropped.
pub struct Dns {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    /// Every name is 127.0.0.1, but for those that end in `.nowhere.test`.
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket for names");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let address = socket.local_addr().expect("its address");
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut query = [0; 512];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                if let Some(answer) = answer(&query[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, ends, thread: Some(thread) }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the name server");
        }
    }
}

/// The answer to a query with one question (RFC 1035 §4).
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = HEADER;
    let mut name = String::new();
    while let length @ 1.. = usize::from(*query.get(end)?) {
        name.push_str(&String::from_utf8_lossy(query.get(end + 1..=end + length)?));
        name.push('.');
        end += 1 + length;
    }
    let question = query.get(HEADER..end + 5)?;
    let asks_address = question.get(question.len() - 4..question.len() - 2)? == [0, 1];
    let exists = !name.ends_with(".nowhere.test.");
    let answers = asks_address && exists;
    let mut out = query.get(..2)?.to_vec();
    // A response, authoritative, recursion wanted and available; no such name where there is none.
    out.extend([0x85, if exists { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(answers), 0, 0, 0, 0]);
    out.extend(question);
    if answers {
        // The name above, an address of the internet, for a second.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(out)
}

const HEADER: usize = 12;
