//! One client: sends numbered requests in its own manner and checks each answer.

use super::aim::Place;
use super::book::{Answer, Entry};
use super::{Kind, Shared};
use crate::harness::http::{Client, Response, chunked};
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// A body that is kept in memory, and two that are not.
const SMALL: usize = 40;
const LARGE: usize = 300_000;
const LARGER: usize = 1_500_000;
/// A slow client's drops and the pause before each.
const DROP: usize = 24;
const PAUSE: Duration = Duration::from_millis(12);
/// The pieces of a long answer and the seconds between them.
const PIECES: usize = 24;
const GAP: &str = "0.05";
/// Longest wait for an answer: queues and slow machines are part of the test.
const PATIENCE: Duration = Duration::from_secs(45);

/// Works until the ledger is closed, or until no new connection may be made and none is left.
pub fn work(kind: Kind, index: usize, shared: &Shared) -> Vec<Entry> {
    let mut book = Vec::new();
    let mut kept = None;
    while !shared.is_closed.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let begun = SystemTime::now();
        let place = shared.aims.place(number, matches!(kind, Kind::Upload | Kind::Slow));
        let request = Request::new(kind, number, place, book.len());
        let outcome = match kept.take().map_or_else(|| shared.connect(), |client| Ok(Some(client)))
        {
            Ok(Some(client)) => request.run(client),
            Ok(None) => break,
            Err(error) => Err(format!("not connected: {error}")),
        };
        let ended = SystemTime::now();
        let outcome = outcome.and_then(|(answer, client)| {
            kept = client;
            match shared.aims.fault(&request.place, (begun, ended), &answer.who()) {
                Some(fault) => Err(fault),
                None => Ok(answer),
            }
        });
        let Request { method, place, .. } = request;
        let entry = Entry { number, kind, method, place, begun, ended, outcome };
        if entry.outcome.is_err() {
            // One failure of a client is enough: what follows it would hide it.
            shared.failures.lock().expect("the failures").push(entry);
            break;
        }
        book.push(entry);
        shared.answered[index].fetch_add(1, Ordering::Relaxed);
    }
    book
}

/// One numbered request.
struct Request {
    kind: Kind,
    number: u64,
    place: Place,
    method: &'static str,
    body: Vec<u8>,
    is_chunked: bool,
    /// The client says that it is the connection's last.
    closes: bool,
}

impl Request {
    /// The `turn`th one of a client.
    fn new(kind: Kind, number: u64, place: Place, turn: usize) -> Self {
        let is_even = turn.is_multiple_of(2);
        let (method, length) = match kind {
            Kind::KeepAlive if is_even => ("GET", 0),
            Kind::KeepAlive | Kind::Fresh | Kind::Slow => ("POST", SMALL),
            Kind::Upload if turn % 4 == 3 => ("POST", LARGER),
            Kind::Upload => ("POST", LARGE),
            Kind::Stream => ("GET", 0),
        };
        // Different for each number: bodies that are mixed up are noticed.
        let body = (0..length).map(|index| (index as u64 * 7 + number * 13) as u8).collect();
        let is_chunked = kind == Kind::Upload && !is_even;
        let closes = kind == Kind::Fresh && is_even;
        Self { kind, number, place, method, body, is_chunked, closes }
    }

    /// Sends it and reads its answer; the connection with it when it goes on.
    fn run(&self, mut client: Client) -> Result<(Answer, Option<Client>), String> {
        client.patience(PATIENCE);
        self.send(&mut client).map_err(|error| format!("not sent: {error}"))?;
        client.patience(PATIENCE);
        let response = client
            .try_response(self.method)
            .map_err(|error| format!("no whole answer: {error} ({:?})", error.kind()))?;
        let answer = self.check(&response)?;
        if client.has_unread() {
            return Err("more than one answer".to_owned());
        }
        let goes_on = self.kind != Kind::Fresh && !response.says_close();
        Ok((answer, goes_on.then_some(client)))
    }

    fn send(&self, client: &mut Client) -> io::Result<()> {
        let Self { number, method, body, .. } = self;
        let target = match self.kind {
            Kind::KeepAlive => format!("/keep-alive/{number}?ms=5"),
            Kind::Fresh => format!("/fresh/{number}?ms=5"),
            Kind::Slow => format!("/slow/{number}"),
            Kind::Upload => format!("/upload/{number}?ms=2"),
            Kind::Stream => format!("/stream/{number}?pieces={PIECES}&gap={GAP}"),
        };
        let length = match (body.len(), self.is_chunked) {
            (0, _) => String::new(),
            (_, true) => "Transfer-Encoding: chunked\r\n".to_owned(),
            (length, false) => format!("Content-Length: {length}\r\n"),
        };
        let close = if self.closes { "Connection: close\r\n" } else { "" };
        let Place { host, path, .. } = &self.place;
        let head =
            format!("{method} {path}{target} HTTP/1.1\r\nHost: {host}\r\n{length}{close}\r\n");
        let mut bytes = head.into_bytes();
        if self.is_chunked {
            bytes.extend(chunked(body, 50_000));
        } else {
            bytes.extend_from_slice(body);
        }
        if self.kind != Kind::Slow {
            return client.try_send(bytes);
        }
        for drop in bytes.chunks(DROP) {
            if !client.is_silent_for(PAUSE) {
                return Err(io::Error::other("answered before it was sent"));
            }
            client.try_send(drop)?;
        }
        Ok(())
    }

    fn check(&self, response: &Response) -> Result<Answer, String> {
        let text = response.text();
        if response.status == 404 && text.starts_with("404 Not Found\n") {
            return Ok(Answer::of_nobody());
        }
        if response.status != 200 {
            return Err(format!("answered {} {text:?}", response.status));
        }
        let answer = match self.kind {
            Kind::Stream => self.end_of_stream(&text),
            _ => self.receipt(response),
        };
        answer.ok_or_else(|| format!("the wrong answer: {text:?}"))
    }

    /// The app's receipt, which must be for this request.
    fn receipt(&self, response: &Response) -> Option<Answer> {
        let receipt: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
        let is_right = receipt["number"] == self.number
            && receipt["method"] == self.method
            && receipt["bytes"] == self.body.len()
            && receipt["checksum"] == adler32(&self.body);
        if !is_right {
            return None;
        }
        let release = receipt["release"].as_str()?.to_owned();
        let app = receipt["app"].as_str()?.to_owned();
        Some(Answer { worker: receipt["worker"].as_u64()?, app, release })
    }

    /// The end of a stream of which nothing may be missing.
    fn end_of_stream(&self, text: &str) -> Option<Answer> {
        let mut rest = text;
        for index in 0..PIECES {
            rest = rest.strip_prefix(&format!("data: {} {index}\n\n", self.number))?;
        }
        let rest = rest.strip_prefix(&format!("data: {} end ", self.number))?;
        let (worker, rest) = rest.strip_suffix("\n\n")?.split_once(' ')?;
        let (app, release) = rest.split_once(' ')?;
        let (app, release) = (app.to_owned(), release.to_owned());
        Some(Answer { worker: worker.parse().ok()?, app, release })
    }
}

impl Shared {
    /// A new connection; none after the last call.
    fn connect(&self) -> io::Result<Option<Client>> {
        let is_last_call = self.is_last_call.read().expect("the last call");
        if *is_last_call { Ok(None) } else { Client::try_connect(self.port).map(Some) }
    }
}

/// The checksum of RFC 1950.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1_u32, 0_u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}
