//! The machine of one connection to a worker or an upstream: requests go out, answers are read.
//!
//! ```text
//! Idle ──request()──▶ Head ──head──▶ Body ──last byte──▶ Idle
//!                     ▲  │ 1xx        │
//!                     └──┘            └──fault──▶ Failed
//!                        └─ 101, asked for ──▶ Failed: it carries no HTTP any more
//! ```

use super::body::{Chunked, Decoder, Piece};
use super::head::{ResponseBody, ResponseHead};
use super::parse::{self, Malformed, Scan};
use crate::contract::reason::Reason;
use std::ops::Range;

/// What [`Client::read`] found at the start of its input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientRead {
    /// Nothing is complete. Nothing was consumed: call again with the same bytes and more.
    More,
    /// A 1xx head, now in the scratch head. The real answer still follows.
    Informational {
        /// Bytes to consume.
        consumed: usize,
    },
    /// The answer's head, now in the scratch head; its spans lie within `input[..consumed]`.
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
    /// A 101 that the request asked for, now in the scratch head. What follows it is not HTTP: the
    /// connection has left this machine.
    Switched {
        /// Bytes to consume.
        consumed: usize,
    },
    /// The answer is complete.
    End {
        /// Bytes to consume; may be 0.
        consumed: usize,
        /// The connection may carry another request.
        reusable: bool,
    },
}

/// One connection to a worker.
#[derive(Debug)]
pub struct Client {
    reading: Reading,
    /// The request was `HEAD`.
    to_head: bool,
    /// The request asked for another protocol.
    upgrade: bool,
    /// The worker keeps the connection.
    keep_alive: bool,
}

#[derive(Debug)]
enum Reading {
    Idle,
    Head(Scan),
    Body(Decoder),
    Failed,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A fresh connection.
    pub fn new() -> Self {
        Self { reading: Reading::Idle, to_head: false, upgrade: false, keep_alive: true }
    }

    /// A request is being sent; its answer is read next. Only when [`Client::is_idle`]; on a
    /// connection that was not reusable the next read fails.
    pub fn request(&mut self, to_head: bool) {
        debug_assert!(self.is_idle(), "one request at a time");
        let usable = matches!(self.reading, Reading::Idle) && self.keep_alive;
        self.reading = if usable { Reading::Head(Scan::default()) } else { Reading::Failed };
        self.to_head = to_head;
        self.upgrade = false;
    }

    /// The same for a request that asks for another protocol: a 101 may be its answer.
    pub fn request_upgrade(&mut self) {
        self.request(false);
        self.upgrade = true;
    }

    /// Reads on in `input`, which is every byte not consumed yet; `eof`: no more will come. Call
    /// until it says [`ClientRead::More`] or [`ClientRead::End`]. An error is
    /// [`Reason::WorkerGone`] when the connection ended before the answer did, and
    /// [`Reason::WorkerMalformed`] when the answer is not HTTP; the connection is then of no use.
    pub fn read(
        &mut self,
        input: &[u8],
        eof: bool,
        head: &mut ResponseHead,
    ) -> Result<ClientRead, Malformed> {
        let read = self.read_on(input, eof, head);
        if read.is_err() {
            self.reading = Reading::Failed;
        }
        read
    }

    fn read_on(
        &mut self,
        input: &[u8],
        eof: bool,
        head: &mut ResponseHead,
    ) -> Result<ClientRead, Malformed> {
        match &mut self.reading {
            Reading::Idle if input.is_empty() && !eof => Ok(ClientRead::More),
            Reading::Idle if input.is_empty() => Err(gone("the connection ended")),
            Reading::Idle => Err(malformed("bytes that no request asked for")),
            Reading::Head(scan) => match parse::response(input, scan, head, self.to_head)? {
                Some(consumed) => self.head_read(consumed, head),
                None if eof => Err(gone("the connection ended before the answer's head")),
                None => Ok(ClientRead::More),
            },
            Reading::Body(decoder) => {
                let piece = decoder.read(input, u64::MAX).map_err(Malformed::of_worker)?;
                let until_close = *decoder == Decoder::UntilClose;
                self.piece_read(piece, until_close, input, eof)
            }
            Reading::Failed => Err(malformed("the connection has failed")),
        }
    }

    fn head_read(&mut self, consumed: usize, head: &ResponseHead) -> Result<ClientRead, Malformed> {
        match head.status() {
            101 if self.upgrade => {
                self.reading = Reading::Failed;
                return Ok(ClientRead::Switched { consumed });
            }
            101 => return Err(malformed("a switch of protocols that no request asked for")),
            100..200 => {
                self.reading = Reading::Head(Scan::default());
                return Ok(ClientRead::Informational { consumed });
            }
            _ => {}
        }
        self.keep_alive = head.keep_alive();
        self.reading = Reading::Body(match head.body() {
            ResponseBody::None => Decoder::Length(0),
            ResponseBody::Length(length) => Decoder::Length(length),
            ResponseBody::Chunked => Decoder::Chunked(Chunked::default()),
            ResponseBody::UntilClose => Decoder::UntilClose,
        });
        Ok(ClientRead::Head { consumed })
    }

    fn piece_read(
        &mut self,
        piece: Piece,
        until_close: bool,
        input: &[u8],
        eof: bool,
    ) -> Result<ClientRead, Malformed> {
        match piece {
            Piece::Data { consumed, data } => Ok(ClientRead::Body { consumed, data }),
            Piece::End { consumed } => {
                self.keep_alive &= !eof && consumed == input.len();
                self.reading = Reading::Idle;
                Ok(ClientRead::End { consumed, reusable: self.keep_alive })
            }
            Piece::More if eof && until_close => {
                self.keep_alive = false;
                self.reading = Reading::Idle;
                Ok(ClientRead::End { consumed: 0, reusable: false })
            }
            Piece::More if eof => Err(gone("the connection ended before the answer did")),
            Piece::More => Ok(ClientRead::More),
        }
    }

    /// True when no answer is awaited.
    pub fn is_idle(&self) -> bool {
        matches!(self.reading, Reading::Idle)
    }
}

fn gone(detail: &'static str) -> Malformed {
    Malformed::new(Reason::WorkerGone, detail)
}

fn malformed(detail: &'static str) -> Malformed {
    Malformed::new(Reason::WorkerMalformed, detail)
}
