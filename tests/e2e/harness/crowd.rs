//! Thousands of WebSocket clients on one thread: they are told things, and answer pings.

use super::server::Server;
use super::wait::SOON;
use super::websocket::{CLOSE, PING, PONG, TEXT, UPGRADE, masked};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients that listen until they are dropped.
pub struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// Texts that each client was told.
    texts: Vec<AtomicU64>,
    /// Why clients are no more.
    lost: Mutex<Vec<String>>,
}

struct Member {
    stream: TcpStream,
    /// The beginning of a frame.
    unread: Vec<u8>,
}

/// How many clients there can be at most, of those wanted: both sides have a descriptor for each.
pub fn possible(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the descriptor limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("as many descriptors as may be");
    wanted.min(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(1500))
}

impl Crowd {
    /// So many clients at this target, all of which are in when it returns.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    pub fn gather(server: &Server, target: &str, count: usize) -> Self {
        let members = gathered(server.port(), target, count);
        let members = members.unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        let shared = Arc::new(Shared {
            texts: (0..count).map(|_| AtomicU64::new(0)).collect(),
            ..Shared::default()
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || listen(members, &shared).expect("a crowd that listens")
        });
        Self { shared, thread: Some(thread) }
    }

    /// Why clients are no more: for each what happened.
    pub fn lost(&self) -> Vec<String> {
        self.shared.lost.lock().expect("the lost").clone()
    }

    /// How many clients were told exactly so many texts.
    pub fn told(&self, texts: u64) -> usize {
        let all = self.shared.texts.iter();
        all.filter(|count| count.load(Ordering::Relaxed) == texts).count()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the crowd's thread");
        }
    }
}

/// Connects in batches: each client of a batch has sent its request before the first one waits.
fn gathered(port: u16, target: &str, count: usize) -> io::Result<Vec<Member>> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{UPGRADE}\r\n");
    let mut members = Vec::with_capacity(count);
    while members.len() < count {
        let batch = BATCH.min(count - members.len());
        let streams: io::Result<Vec<_>> = (0..batch)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
                stream.set_read_timeout(Some(SOON))?;
                stream.write_all(request.as_bytes())?;
                Ok(stream)
            })
            .collect();
        for mut stream in streams? {
            let mut head = Vec::new();
            let mut block = [0; 1024];
            let end = loop {
                let length = stream.read(&mut block)?;
                head.extend_from_slice(&block[..length]);
                if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    break end + 4;
                }
                if length == 0 {
                    break head.len();
                }
            };
            if !head.starts_with(b"HTTP/1.1 101 ") {
                let text = String::from_utf8_lossy(&head).into_owned();
                return Err(io::Error::other(format!("client {}: {text}", members.len())));
            }
            stream.set_nonblocking(true)?;
            let unread = head.split_off(end);
            members.push(Member { stream: TcpStream::from_std(stream), unread });
        }
    }
    Ok(members)
}

fn listen(members: Vec<Member>, shared: &Shared) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut members: Vec<Option<Member>> = members.into_iter().map(Some).collect();
    for (number, member) in members.iter_mut().enumerate() {
        let Some(member) = member else { continue };
        poll.registry().register(&mut member.stream, Token(number), Interest::READABLE)?;
    }
    let mut block = vec![0; 65_536];
    while !shared.ends.load(Ordering::Relaxed) {
        match poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let Token(number) = event.token();
            let Some(member) = members[number].as_mut() else { continue };
            let texts = &shared.texts[number];
            if let Err(end) = member.hear(&mut block, texts) {
                members[number] = None;
                let mut lost = shared.lost.lock().expect("the lost");
                lost.push(format!("client {number}: {end}"));
            }
        }
    }
    Ok(())
}

impl Member {
    /// Reads what has come. An error is its end.
    fn hear(&mut self, block: &mut [u8], texts: &AtomicU64) -> Result<(), String> {
        loop {
            match self.stream.read(block) {
                Ok(0) => return Err("the end of the connection".to_owned()),
                Ok(length) => self.unread.extend_from_slice(&block[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        while let [first, length, rest @ ..] = self.unread.as_slice() {
            let length = usize::from(*length);
            assert!(length < 126, "crowds are told short things");
            let Some(payload) = rest.get(..length) else { break };
            match *first {
                TEXT => drop(texts.fetch_add(1, Ordering::Relaxed)),
                PING => {
                    let pong = masked(PONG, payload);
                    self.stream.write_all(&pong).map_err(|error| error.to_string())?;
                }
                CLOSE => return Err(format!("closed with {payload:?}")),
                other => return Err(format!("a frame that begins with {other}")),
            }
            self.unread.drain(..2 + length);
        }
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        Ok(())
    }
}

const BATCH: usize = 200;
