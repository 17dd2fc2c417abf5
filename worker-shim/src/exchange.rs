//! One connection from the master: requests in, answers out, in turn.

use crate::request::Request;
use crate::response::{Body, Response, Writer};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use rip::files;
use rip::http1::{self, After, FieldWriter, RequestHead, ResponseLength, Server};
use rip::limits;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The connection and the request being answered on it.
///
/// ```text
/// input   [ head of the request │ bytes of its body, read and not taken yet │ unread ]
///         0                 body_start      ready.start    ready.end    consumed   filled
/// ```
pub(crate) struct Connection {
    stream: UnixStream,
    server: Server,
    head: RequestHead,
    limits: http1::Limits,
    input: Vec<u8>,
    filled: usize,
    body_start: usize,
    ready: Range<usize>,
    consumed: usize,
    ended: bool,
    piece: Vec<u8>,
    out: Vec<u8>,
}

/// The master has held the client to its limits, and then added fields of its own.
const LIMITS: http1::Limits = http1::Limits {
    head_bytes: limits::HEAD_BYTES + limits::BLOCK_BYTES,
    field_count: limits::FORWARDED_FIELD_COUNT,
    empty_host: true,
    target_bytes: limits::HEAD_BYTES,
    body_bytes: u64::MAX,
};
/// Bytes written before a streaming answer is flushed of itself.
const FLUSH_BYTES: usize = limits::BLOCK_BYTES;

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            server: Server::new(),
            head: RequestHead::new(),
            limits: LIMITS,
            input: vec![0; limits::BLOCK_BYTES],
            filled: 0,
            body_start: 0,
            ready: 0..0,
            consumed: 0,
            ended: true,
            piece: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Waits for the next request; false when the master closed the connection.
    pub(crate) fn next_request(&mut self) -> io::Result<bool> {
        // What was read beyond the last request moves to the front.
        self.drop_input(0);
        (self.body_start, self.consumed, self.ready) = (0, 0, 0..0);
        loop {
            let read = self.server.read(&self.input[..self.filled], &mut self.head, &self.limits);
            match read.map_err(invalid)? {
                http1::Read::Head { consumed } => {
                    self.body_start = consumed;
                    self.consumed = consumed;
                    self.ended = false;
                    return Ok(true);
                }
                http1::Read::More if self.fill()? => {}
                _ => return Ok(false),
            }
        }
    }

    pub(crate) fn method(&self) -> &[u8] {
        self.head.method(&self.input)
    }

    pub(crate) fn target(&self) -> &[u8] {
        self.head.target(&self.input)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head
            .fields()
            .iter()
            .map(|field| (field.name.of(&self.input), field.value.of(&self.input)))
    }

    /// The next bytes of the body; 0 at its end.
    pub(crate) fn read_body(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.ended {
            self.advance_body()?;
        }
        Ok(self.take_ready(into))
    }

    /// The same without waiting: `None` when nothing is there yet, and the stream becomes readable
    /// when there is.
    fn read_body_now(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        while self.ready.is_empty() && !self.ended {
            if !self.advance_body_with(MsgFlags::MSG_DONTWAIT)? {
                return Ok(None);
            }
        }
        Ok(Some(self.take_ready(into)))
    }

    fn take_ready(&mut self, into: &mut [u8]) -> usize {
        let count = self.ready.len().min(into.len());
        into[..count].copy_from_slice(&self.input[self.ready.start..self.ready.start + count]);
        self.ready.start += count;
        count
    }

    fn advance_body(&mut self) -> io::Result<()> {
        self.advance_body_with(MsgFlags::empty()).map(drop)
    }

    /// False when it would have to wait, which only `MSG_DONTWAIT` keeps it from.
    fn advance_body_with(&mut self, flags: MsgFlags) -> io::Result<bool> {
        let unread = &self.input[self.consumed..self.filled];
        match self.server.read(unread, &mut self.head, &self.limits).map_err(invalid)? {
            http1::Read::Body { consumed, data } => {
                self.ready = self.consumed + data.start..self.consumed + data.end;
                self.consumed += consumed;
            }
            http1::Read::End { consumed } => {
                self.consumed += consumed;
                self.ended = true;
            }
            http1::Read::More => {
                self.drop_input(self.body_start);
                match self.fill_with(flags) {
                    Ok(true) => {}
                    Ok(false) => return Err(ErrorKind::UnexpectedEof.into()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            http1::Read::Head { .. } | http1::Read::Blocked => {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(true)
    }

    /// Forgets what was consumed after `from`; what is left moves there.
    fn drop_input(&mut self, from: usize) {
        self.input.copy_within(self.consumed..self.filled, from);
        self.filled -= self.consumed - from;
        self.consumed = from;
    }

    /// Reads once from the socket; false at its end.
    fn fill(&mut self) -> io::Result<bool> {
        self.fill_with(MsgFlags::empty())
    }

    fn fill_with(&mut self, flags: MsgFlags) -> io::Result<bool> {
        if self.input.len() - self.filled < limits::BLOCK_BYTES / 2 {
            self.input.resize(self.input.len() * 2, 0);
        }
        loop {
            match recv(self.stream.as_raw_fd(), &mut self.input[self.filled..], flags) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Lets `handler` answer the request. An error ends the connection.
    pub(crate) fn answer(
        &mut self,
        handler: &dyn Fn(&mut Request<'_>) -> Response,
    ) -> io::Result<()> {
        let answered = catch_unwind(AssertUnwindSafe(|| handler(&mut Request::new(self))));
        let response = answered.unwrap_or_else(|_| {
            Response::text("the worker's handler has failed\n").with_status(500)
        });
        // The connection can be kept only behind a request that was read to its end.
        while !self.ended {
            self.advance_body()?;
        }
        self.ready = 0..0;
        self.respond(response)?;
        match self.server.end(&mut self.out) {
            After::KeepAlive => self.flush(),
            After::Close | After::Linger => {
                self.flush()?;
                Err(ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// Lets `gateway` answer the request while its body is still being read. An error ends the
    /// connection, and a body that was begun is seen to be cut short.
    pub(crate) fn pass(
        &mut self,
        gateway: &dyn Fn(&mut Exchange<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        gateway(&mut Exchange { connection: self })?;
        if !self.server.is_responding() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.pack();
        let after = self.server.end(&mut self.out);
        self.flush()?;
        if after == After::KeepAlive {
            return Ok(());
        }
        // Closing before the rest is read would tell the master of a reset.
        while !self.ended {
            self.advance_body()?;
        }
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn respond(&mut self, response: Response) -> io::Result<()> {
        let length = match &response.body {
            Body::Whole(bytes) => ResponseLength::Known(bytes.len() as u64),
            Body::Stream(_) => ResponseLength::Unknown,
            Body::Hangup => return Err(ErrorKind::ConnectionAborted.into()),
        };
        let mut head = self.server.respond(response.status, b"", length, &mut self.out);
        for (name, value) in &response.fields {
            head.field(name.as_bytes(), value.as_bytes());
        }
        head.finish();
        match response.body {
            Body::Whole(bytes) => {
                self.server.body(&bytes, &mut self.out);
                Ok(())
            }
            Body::Stream(write) => {
                self.flush()?;
                write(&mut Writer::new(self))?;
                self.pack();
                Ok(())
            }
            Body::Hangup => Ok(()),
        }
    }

    /// Adds to the body of a streaming answer. Small writes are one chunk when they are flushed.
    pub(crate) fn write_body(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what has been written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.pack();
        (&self.stream).write_all(&self.out)?;
        self.out.clear();
        self.out.shrink_to(FLUSH_BYTES);
        Ok(())
    }

    fn pack(&mut self) {
        if !self.piece.is_empty() {
            self.server.body(&self.piece, &mut self.out);
            self.piece.clear();
            self.piece.shrink_to(FLUSH_BYTES);
        }
    }
}

/// A request and its answer, for a gateway: both go on at once.
pub(crate) struct Exchange<'c> {
    connection: &'c mut Connection,
}

impl Exchange<'_> {
    /// The method, as sent.
    pub(crate) fn method(&self) -> &[u8] {
        self.connection.method()
    }

    /// The target, as sent.
    pub(crate) fn target(&self) -> &[u8] {
        self.connection.target()
    }

    /// The header fields in their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.connection.fields()
    }

    /// What the request says where a file may answer it.
    pub(crate) fn for_file(&self) -> files::Request<'_> {
        files::Request::read(&self.connection.head, &self.connection.input)
    }

    /// Whether the body's length is known, be it that there is none.
    pub(crate) fn is_length_known(&self) -> bool {
        !matches!(self.connection.head.body(), http1::BodyLength::Chunked)
    }

    /// The next bytes of the body that are there; 0 at its end. `None` when none are: the client may
    /// take its time over them, and the exchange becomes readable ([`AsFd`]) with the next.
    pub(crate) fn read_body(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        self.connection.read_body_now(into)
    }

    /// Begins the answer. Of a body whose length is told exactly so much is passed on, and less cuts
    /// the connection. Once for each request.
    pub(crate) fn begin<'f>(
        &mut self,
        status: u16,
        length: Option<u64>,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) {
        self.begin_with(status, length, |head| {
            for (name, value) in fields {
                head.field(name, value);
            }
        });
    }

    /// The same, with fields that `write` adds.
    pub(crate) fn begin_with(
        &mut self,
        status: u16,
        length: Option<u64>,
        write: impl FnOnce(&mut FieldWriter<'_>),
    ) {
        let length = length.map_or(ResponseLength::Unknown, ResponseLength::Known);
        let out = &mut self.connection.out;
        let mut head = self.connection.server.respond(status, b"", length, out);
        write(&mut head);
        head.finish();
    }

    /// Adds to the answer's body. It goes out when it is flushed, or much.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.write_body(bytes)
    }

    /// Sends what has been written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }

    /// Answers with `text` and nothing else.
    pub(crate) fn refuse(&mut self, status: u16, text: &str) -> io::Result<()> {
        let kind: (&[u8], &[u8]) = (b"Content-Type", b"text/plain; charset=utf-8");
        self.begin(status, Some(text.len() as u64), [kind]);
        self.write(text.as_bytes())
    }
}

/// For polling: it hangs up (`POLLRDHUP`) when the client has left, and is readable when more of a body
/// has come of which there was none to be read.
impl AsFd for Exchange<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.stream.as_fd()
    }
}

fn invalid(fault: http1::Malformed) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, fault)
}
