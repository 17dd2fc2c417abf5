//! Reading a whole connection's bytes, cut in any way, into a list of what was understood.

use rip::contract::reason::Reason;
use rip::http1::{After, Limits, Malformed, Read, RequestHead, ResponseLength, Server};

/// Something a connection said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    /// A head, as text: method, target, version, framing, then the fields.
    Head(String),
    /// The body of the last head, in one piece.
    Body(Vec<u8>),
    /// The end of a request.
    End,
    /// A refusal; nothing comes after it.
    Refused(Malformed),
    /// The connection does not go on.
    Closed,
}

/// Reads `pieces` one after the other; each request is answered at once when it is complete.
pub fn read(pieces: &[&[u8]], limits: &Limits) -> Vec<Seen> {
    let mut connection = Connection::new(*limits);
    for piece in pieces {
        if !connection.feed(piece) {
            break;
        }
    }
    connection.seen
}

/// Reads `bytes` as a whole, cut in two at every place (of very long ones, at many), and byte by
/// byte; all must agree.
pub fn read_every_way(bytes: &[u8], limits: &Limits) -> Vec<Seen> {
    let whole = read(&[bytes], limits);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single, limits), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in (1..bytes.len()).step_by(1 + bytes.len() / 2000) {
        let (left, right) = bytes.split_at(cut);
        let cut_in_two = read(&[left, right], limits);
        assert_eq!(cut_in_two, whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

/// The reason the last thing seen was a refusal.
pub fn refusal(seen: &[Seen]) -> Option<Reason> {
    match seen.last() {
        Some(Seen::Refused(fault)) => Some(fault.reason),
        _ => None,
    }
}

/// How many requests were complete.
pub fn request_count(seen: &[Seen]) -> usize {
    seen.iter().filter(|event| **event == Seen::End).count()
}

/// Everything a client sent as body.
pub fn body(seen: &[Seen]) -> Vec<u8> {
    let bodies = seen.iter().filter_map(|event| match event {
        Seen::Body(body) => Some(body.as_slice()),
        _ => None,
    });
    bodies.collect::<Vec<_>>().concat()
}

struct Connection {
    server: Server,
    head: RequestHead,
    limits: Limits,
    buffer: Vec<u8>,
    seen: Vec<Seen>,
}

impl Connection {
    fn new(limits: Limits) -> Self {
        Self {
            server: Server::new(),
            head: RequestHead::new(),
            limits,
            buffer: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// False once the connection is over.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.buffer.extend_from_slice(bytes);
        loop {
            let consumed = match self.server.read(&self.buffer, &mut self.head, &self.limits) {
                Ok(Read::More) => return true,
                Ok(Read::Blocked) => panic!("every request is answered when it is complete"),
                Ok(Read::Head { consumed }) => {
                    self.seen.push(Seen::Head(describe(&self.head, &self.buffer[..consumed])));
                    consumed
                }
                Ok(Read::Body { consumed, data }) => {
                    assert!(consumed > 0 && data.end <= consumed);
                    self.body(data);
                    consumed
                }
                Ok(Read::End { consumed }) => {
                    self.seen.push(Seen::End);
                    if !self.answer() {
                        self.seen.push(Seen::Closed);
                        return false;
                    }
                    consumed
                }
                Err(fault) => {
                    self.seen.push(Seen::Refused(fault));
                    assert!(self.server.read(&self.buffer, &mut self.head, &self.limits).is_err());
                    return false;
                }
            };
            self.buffer.drain(..consumed);
        }
    }

    fn body(&mut self, data: std::ops::Range<usize>) {
        if data.is_empty() {
            return;
        }
        if let Some(Seen::Body(body)) = self.seen.last_mut() {
            body.extend_from_slice(&self.buffer[data]);
        } else {
            self.seen.push(Seen::Body(self.buffer[data].to_vec()));
        }
    }

    fn answer(&mut self) -> bool {
        let mut out = Vec::new();
        self.server.respond(200, b"", ResponseLength::Known(2), &mut out).finish();
        self.server.body(b"ok", &mut out);
        self.server.end(&mut out) == After::KeepAlive
    }
}

fn describe(head: &RequestHead, buf: &[u8]) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut out = format!(
        "{} {} {:?} {:?} {:?} path={} query={} authority={} expects={}",
        text(head.method(buf)),
        text(head.target(buf)),
        head.version(),
        head.body(),
        head.method_kind(),
        text(head.path().path(buf)),
        text(head.path().query.of(buf)),
        text(head.authority(buf)),
        head.expect_continue(),
    );
    for field in head.fields() {
        let (name, value) = (text(field.name.of(buf)), text(field.value.of(buf)));
        out.push_str(&format!("\n{name}={value} {:?}", field.known));
        out.push_str(if field.nominated { " nominated" } else { "" });
        out.push_str(if field.underscore { " underscore" } else { "" });
    }
    out
}
