//! The machine of one client connection. It holds no bytes and no fields: only where it is.
//!
//! ```text
//! Reading   Head ──head──▶ Body ──last byte──▶ Finished ──end()──▶ Head …
//!             │  └─no body─▶ Ending ──End──────────▲
//!             └──malformed──▶ Failed  ◀──malformed── Body
//!
//! Writing   Idle ──respond()──▶ Length │ Chunked │ UntilClose │ Empty ──end()──▶ Idle
//! ```
//!
//! The two halves run on their own, with one rule between them: the next head is read only after
//! the response to the last one has ended, so pipelined requests are answered in order.

use super::body::{Chunked, Decoder, Piece};
use super::encode::{self, FieldWriter, ResponseLength};
use super::head::{BodyLength, RequestHead, Version};
use super::method::Method;
use super::parse::{self, Limits, Malformed, Scan};
use super::status;
use crate::contract::reason::Reason;
use std::ops::Range;

/// What [`Server::read`] found at the start of its input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Read {
    /// Nothing is complete. Nothing was consumed: call again with the same bytes and more.
    More,
    /// A request head, now in the scratch head; its spans lie within `input[..consumed]`. Use them,
    /// consume, and call again: every head is followed by an end.
    Head {
        /// Bytes to consume.
        consumed: usize,
    },
    /// A piece of the body.
    Body {
        /// Bytes to consume; at least 1.
        consumed: usize,
        /// Where in the input the body's bytes are; none when only framing was read.
        data: Range<usize>,
    },
    /// The request is complete.
    End {
        /// Bytes to consume; may be 0.
        consumed: usize,
    },
    /// The next request waits in the input: call again after [`Server::end`].
    Blocked,
}

/// What becomes of the connection after a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    /// Close it once everything is written.
    Close,
    /// Read on: the next request may come, or be in the input already.
    KeepAlive,
    /// Write everything, shut down the writing side, and read the rest away for a while before
    /// closing: the client may still be sending, and a reset would destroy the answer on its way.
    Linger,
}

/// One client connection.
#[derive(Debug)]
pub struct Server {
    reading: Reading,
    writing: Writing,
    /// The client sends another request on this connection, and gets to.
    keep_alive: bool,
    /// The current request is HTTP/1.0.
    old: bool,
    /// The current request is `HEAD`.
    to_head: bool,
    /// The client waits for `100 Continue`.
    expects: bool,
    /// The response names another protocol.
    offers_upgrade: bool,
}

#[derive(Debug)]
enum Reading {
    Head(Scan),
    Body(Decoder),
    Ending,
    Finished,
    Failed,
}

#[derive(Debug)]
enum Writing {
    Idle,
    Length(u64),
    Chunked,
    UntilClose,
    Empty,
}

// One per connection, among them many idle ones.
const _: () = assert!(size_of::<Server>() <= 48);

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A connection on which nothing was said yet.
    pub fn new() -> Self {
        Self {
            reading: Reading::Head(Scan::default()),
            writing: Writing::Idle,
            keep_alive: true,
            old: false,
            to_head: false,
            expects: false,
            offers_upgrade: false,
        }
    }

    /// Reads on in `input`, which is every byte not consumed yet. Call until it says [`Read::More`]
    /// or [`Read::Blocked`]. `head` is filled before [`Read::Head`] and before an error in a head.
    ///
    /// After an error the connection reads no more: respond with the error's status, and
    /// [`Server::end`] says how to part. Every later call gives the same kind of error.
    pub fn read(
        &mut self,
        input: &[u8],
        head: &mut RequestHead,
        limits: &Limits,
    ) -> Result<Read, Malformed> {
        match &mut self.reading {
            Reading::Head(_) if input.is_empty() => Ok(Read::More),
            Reading::Head(scan) => {
                let read = parse::request(input, scan, head, limits);
                self.head_read(read, head)
            }
            Reading::Body(decoder) => match decoder.read(input, limits.body_bytes) {
                Ok(Piece::More) => Ok(Read::More),
                Ok(Piece::Data { consumed, data }) => {
                    self.expects = false;
                    Ok(Read::Body { consumed, data })
                }
                Ok(Piece::End { consumed }) => {
                    self.expects = false;
                    self.reading = Reading::Finished;
                    Ok(Read::End { consumed })
                }
                Err(fault) => {
                    self.reading = Reading::Failed;
                    Err(fault)
                }
            },
            Reading::Ending => {
                self.reading = Reading::Finished;
                Ok(Read::End { consumed: 0 })
            }
            Reading::Finished if input.is_empty() => Ok(Read::More),
            Reading::Finished => Ok(Read::Blocked),
            Reading::Failed => Err(Malformed::new(Reason::Malformed, "the connection has failed")),
        }
    }

    fn head_read(
        &mut self,
        read: Result<Option<usize>, Malformed>,
        head: &RequestHead,
    ) -> Result<Read, Malformed> {
        if !matches!(read, Ok(None)) {
            self.old = head.version() == Version::Http10;
            self.to_head = head.method_kind() == Method::Head;
            self.keep_alive &= head.keep_alive();
        }
        match read {
            Ok(None) => Ok(Read::More),
            Ok(Some(consumed)) => {
                self.reading = match head.body() {
                    BodyLength::None | BodyLength::Length(0) => Reading::Ending,
                    BodyLength::Length(length) => Reading::Body(Decoder::Length(length)),
                    BodyLength::Chunked => Reading::Body(Decoder::Chunked(Chunked::default())),
                };
                self.expects = head.expect_continue() && matches!(self.reading, Reading::Body(_));
                Ok(Read::Head { consumed })
            }
            Err(fault) => {
                self.reading = Reading::Failed;
                Err(fault)
            }
        }
    }

    /// True when the client holds its body back until it gets [`encode::CONTINUE`]. Not true any
    /// more once some of the body has come.
    pub fn wants_continue(&self) -> bool {
        self.expects && matches!(self.writing, Writing::Idle)
    }

    /// [`encode::CONTINUE`] was written.
    pub fn continue_sent(&mut self) {
        self.expects = false;
    }

    /// Begins the response: appends the status line, what frames the body, and `Connection`. The
    /// caller adds fields and finishes the head, then gives the body to [`Server::body`] and calls
    /// [`Server::end`]. An empty `reason` becomes the standard phrase.
    ///
    /// May be called before a request is complete, or after [`Server::read`] failed: then the
    /// connection ends with this response. `HEAD`, 1xx, 204 and 304 have no body whatever is given.
    /// An HTTP/1.0 client gets a body of unknown length by the end of the connection.
    pub fn respond<'o>(
        &mut self,
        status: u16,
        reason: &[u8],
        length: ResponseLength,
        out: &'o mut Vec<u8>,
    ) -> FieldWriter<'o> {
        debug_assert!(matches!(self.writing, Writing::Idle), "one response at a time");
        if !self.is_request_read() {
            self.keep_alive = false;
        }
        encode::status_line(status, reason, out);
        self.writing = if self.to_head || status::is_bodiless(status) {
            if status >= 200
                && status != 204
                && let ResponseLength::Known(length) = length
            {
                encode::number_line(b"Content-Length", length, out);
            }
            Writing::Empty
        } else {
            self.frame(length, out)
        };
        if self.offers_upgrade {
            out.extend_from_slice(b"Connection: close, Upgrade\r\n");
        } else if !self.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.old {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        FieldWriter::new(out)
    }

    fn frame(&mut self, length: ResponseLength, out: &mut Vec<u8>) -> Writing {
        match length {
            ResponseLength::None => {
                out.extend_from_slice(b"Content-Length: 0\r\n");
                Writing::Length(0)
            }
            ResponseLength::Known(length) => {
                encode::number_line(b"Content-Length", length, out);
                Writing::Length(length)
            }
            ResponseLength::Unknown if self.old => {
                self.keep_alive = false;
                Writing::UntilClose
            }
            ResponseLength::Unknown => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Writing::Chunked
            }
        }
    }

    /// Begins an informational response (103); nothing for an HTTP/1.0 client, which does not know
    /// them (RFC 9110 §15.2), nor once the response has begun. The real one still follows.
    pub fn informational<'o>(
        &mut self,
        status: u16,
        reason: &[u8],
        out: &'o mut Vec<u8>,
    ) -> Option<FieldWriter<'o>> {
        if self.old || !(100..200).contains(&status) || !matches!(self.writing, Writing::Idle) {
            return None;
        }
        encode::status_line(status, reason, out);
        Some(FieldWriter::new(out))
    }

    /// Appends a piece of the response's body in its framing. What a response must not have (any
    /// body, or more than its `Content-Length`) is left out.
    pub fn body(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.writing {
            Writing::Length(left) => {
                let fits = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left -= fits as u64;
                out.extend_from_slice(&data[..fits]);
            }
            Writing::Chunked => encode::chunk(data, out),
            Writing::UntilClose => out.extend_from_slice(data),
            Writing::Idle | Writing::Empty => {}
        }
    }

    /// `count` bytes of the response's body went to the client by another way, behind everything that
    /// was appended so far. Only a response whose length is known can be sent so.
    pub fn body_passed(&mut self, count: u64) {
        debug_assert!(matches!(self.writing, Writing::Length(left) if left >= count));
        if let Writing::Length(left) = &mut self.writing {
            *left = left.saturating_sub(count);
        }
    }

    /// The response's body is complete. A body that fell short of its `Content-Length` ends the
    /// connection, which is how the client learns of it.
    pub fn end(&mut self, out: &mut Vec<u8>) -> After {
        match std::mem::replace(&mut self.writing, Writing::Idle) {
            Writing::Chunked => out.extend_from_slice(encode::LAST_CHUNK),
            Writing::Length(left) if left > 0 => self.keep_alive = false,
            _ => {}
        }
        self.part()
    }

    /// The response is taken back: of what [`Server::respond`] wrote nothing was sent, nor will be.
    /// Another one may begin.
    pub fn withdraw(&mut self) {
        self.writing = Writing::Idle;
    }

    /// The response cannot be completed: its producer is gone. Nothing is appended, so that the
    /// client does not take the part for the whole; the connection ends.
    pub fn abort(&mut self) -> After {
        self.writing = Writing::Idle;
        self.keep_alive = false;
        self.part()
    }

    fn part(&mut self) -> After {
        if !self.is_request_read() {
            self.keep_alive = false;
            return After::Linger;
        }
        if !self.keep_alive {
            return After::Close;
        }
        *self = Self::new();
        After::KeepAlive
    }

    /// No further request is wanted: the next response says `Connection: close`. One that has begun
    /// cannot say so any more, and its client may send one more request.
    pub fn close_after_this(&mut self) {
        if matches!(self.writing, Writing::Idle) {
            self.keep_alive = false;
        }
    }

    /// As [`Self::close_after_this`] before a 426, whose `Upgrade` names what the client might speak: its
    /// `Connection` says both (RFC 9110 §7.8).
    pub fn close_offering_upgrade(&mut self) {
        self.close_after_this();
        self.offers_upgrade = true;
    }

    /// True when nothing is going on: no byte of a request, no response.
    pub fn is_idle(&self) -> bool {
        matches!(self.reading, Reading::Head(scan) if !scan.has_begun())
            && matches!(self.writing, Writing::Idle)
    }

    /// True when some byte of the next head was seen, and after that until its response ends.
    pub fn request_started(&self) -> bool {
        !matches!(self.reading, Reading::Head(scan) if !scan.has_begun())
    }

    /// True when only the end of the connection tells the client that the response has ended.
    pub fn answers_until_close(&self) -> bool {
        matches!(self.writing, Writing::UntilClose)
    }

    /// True when a response has begun and not ended.
    pub fn is_responding(&self) -> bool {
        !matches!(self.writing, Writing::Idle)
    }

    /// True when the whole request was read, body included.
    pub fn is_request_read(&self) -> bool {
        match &self.reading {
            Reading::Ending | Reading::Finished => true,
            Reading::Body(decoder) => decoder.is_done(),
            Reading::Head(_) | Reading::Failed => false,
        }
    }

    /// Bytes of the request's body still to be read, where that is known.
    pub fn body_remaining(&self) -> Option<u64> {
        match &self.reading {
            Reading::Body(Decoder::Length(left)) => Some(*left),
            Reading::Ending | Reading::Finished => Some(0),
            _ => None,
        }
    }
}
