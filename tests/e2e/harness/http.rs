//! An HTTP/1.1 client of the tests' own: sends any bytes, reads strictly.

use super::wait;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// One connection.
pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
}

/// One answer, with the informational ones before it.
#[derive(Clone)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Heads of the 1xx answers that came first.
    pub informational: Vec<Head>,
}

/// A status line and its fields.
#[derive(Clone, Debug)]
pub struct Head {
    pub version: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("a connection to the server")
    }

    /// Connects, or tells why not.
    pub fn try_connect(port: u16) -> io::Result<Self> {
        Self::over(TcpStream::connect(("127.0.0.1", port))?)
    }

    /// Connects from another address of this machine's own network.
    pub fn connect_from(address: &str, port: u16) -> Self {
        let from: SocketAddr = format!("{address}:0").parse().expect("an address");
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.bind(&from.into()).expect("an address of this machine");
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        socket.connect(&to.into()).expect("a connection to the server");
        Self::over(socket.into()).expect("a connection to the server")
    }

    /// Speaks over this connection.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(wait::SOON))?;
        stream.set_write_timeout(Some(wait::SOON))?;
        Ok(Self { stream: Stream::Tcp(stream), unread: Vec::new() })
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(wait::SOON))?;
        Ok(Self { stream: Stream::Unix(stream), unread: Vec::new() })
    }

    /// Longest wait for bytes from here on.
    pub fn patience(&mut self, limit: Duration) {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(limit)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(limit)),
        };
        done.expect("a read timeout");
    }

    /// Longest wait for the server to take bytes from here on.
    pub fn write_patience(&mut self, limit: Duration) {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(limit)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(limit)),
        };
        done.expect("a write timeout");
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes the request");
    }

    /// Sends, or tells why not.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a request with a body of known length.
    pub fn request(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) {
        self.request_at("a.test", method, target, fields, body);
    }

    /// The same for another host.
    pub fn request_at(
        &mut self,
        host: &str,
        method: &str,
        target: &str,
        fields: &str,
        body: &[u8],
    ) {
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{length}{fields}\r\n"));
        self.send(body);
    }

    /// One whole request and answer.
    pub fn ask(&mut self, method: &str, target: &str) -> Response {
        self.request(method, target, "", b"");
        self.response_to(method)
    }

    /// One whole request for another host, and its answer.
    pub fn ask_at(&mut self, host: &str, method: &str, target: &str) -> Response {
        self.request_at(host, method, target, "", b"");
        self.response_to(method)
    }

    /// Reads the next answer to a request that was not HEAD.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads the next answer.
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).expect("an answer")
    }

    /// Reads the next answer, or tells why there is none.
    pub fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let mut informational = Vec::new();
        let head = loop {
            let head = self.try_head()?;
            if head.status >= 200 {
                break head;
            }
            informational.push(head);
        };
        let body = self.body(method, &head)?;
        let Head { version, status, fields } = head;
        Ok(Response { version, status, fields, body, informational })
    }

    /// Reads a head only.
    pub fn head(&mut self) -> Head {
        self.try_head().expect("the head of an answer")
    }

    /// Reads a head only, or tells why there is none.
    pub fn try_head(&mut self) -> io::Result<Head> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            self.fill()?;
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let text: String = head[..end].iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let (version, rest) = line.split_once(' ').ok_or_else(|| wrong(line))?;
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return Err(wrong(line));
        }
        let status = rest.get(..3).and_then(|code| code.parse().ok()).ok_or_else(|| wrong(line))?;
        let fields = lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| wrong(line))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Head { version: version.to_owned(), status, fields })
    }

    /// Reads the body of an answer whose head was read.
    pub fn body(&mut self, method: &str, head: &Head) -> io::Result<Vec<u8>> {
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            return Ok(Vec::new());
        }
        let lengths = values(&head.fields, "content-length");
        let codings = values(&head.fields, "transfer-encoding");
        match (lengths.as_slice(), codings.as_slice()) {
            ([length], []) => {
                let length = length.parse().map_err(wrong)?;
                self.exactly(length)
            }
            ([], ["chunked"]) => self.chunks(),
            ([], []) => self.rest(),
            _ => Err(wrong(format!("lengths {lengths:?} and codings {codings:?}"))),
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.try_chunk()? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Reads one chunk of an answer whose head was read; none after the last.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().expect("a chunk")
    }

    /// Reads one chunk, or tells why there is none.
    pub fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| wrong(&line))?;
        let chunk = self.exactly(size)?;
        let end = self.line()?;
        if !end.is_empty() {
            return Err(wrong(format!("chunk ends with {end:?}")));
        }
        Ok((size > 0).then_some(chunk))
    }

    fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                break end;
            }
            self.fill()?;
        };
        let line: Vec<u8> = self.unread.drain(..end + 2).take(end).collect();
        String::from_utf8(line).map_err(wrong)
    }

    /// Reads this many bytes.
    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Reads until the server closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.unread));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// True when bytes have come that belong to no answer read so far.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// True when the server closes, or has closed, without another byte.
    pub fn closes(&mut self) -> bool {
        match self.fill() {
            Ok(()) => false,
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ),
        }
    }

    /// True when no byte and no end comes within this time.
    pub fn is_silent_for(&mut self, limit: Duration) -> bool {
        self.patience(limit);
        let begin = Instant::now();
        let mut silent = self.unread.is_empty();
        // The kernel counts in ticks and may say so a little early.
        while silent && begin.elapsed() < limit {
            silent = self.fill().is_err_and(|error| {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
            });
        }
        self.patience(wait::SOON);
        silent
    }

    /// Sends nothing more; reading goes on.
    pub fn finish_sending(&mut self) {
        let done = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        done.expect("the end of sending");
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = self.stream {
            let socket = socket2::Socket::from(stream);
            socket.set_linger(Some(Duration::ZERO)).expect("no lingering");
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; 65536];
        match self.stream.read(&mut block)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.unread.extend_from_slice(&block[..count]);
                Ok(())
            }
        }
    }
}

impl Response {
    /// The value of a field that occurs once.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        match self.values(name).as_slice() {
            [value] => value,
            other => panic!("{name} is {other:?} in {self:?}"),
        }
    }

    /// Every value of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(&self.fields, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in {:?}", self.text()),
        }
    }

    /// True when the server says that it closes after this.
    pub fn says_close(&self) -> bool {
        self.values("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, status, fields, informational, .. } = self;
        write!(out, "{version} {status} {fields:?} {informational:?} {:?}", self.text())
    }
}

impl Read for Stream {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(block),
            Self::Unix(stream) => stream.read(block),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body in chunks of the given size, with the last one.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16 * (body.len() / size + 2));
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Bytes that say what they must not.
pub fn wrong(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}
