//! FastCGI (the specification of 29 April 1996) from the side of the web server: records that ask an
//! application process, and records that answer.
//!
//! ```text
//!  ── BEGIN_REQUEST, PARAMS…, PARAMS (empty), STDIN…, STDIN (empty) ─▶   ABORT_REQUEST ─▶
//!  ◀─ STDOUT…, STDERR…, END_REQUEST ──────────────────────────────────
//! ```
//!
//! One request at a time is asked on a connection, always under the same id: applications that
//! answer several at once on one connection do not exist.

use std::ops::Range;

/// The id that every request has here.
const REQUEST: u16 = 1;
/// The version of the protocol; there is no other (§3.3).
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 8;
/// The most that one record holds, so that its end needs no padding: a multiple of eight.
const CONTENT_BYTES: usize = 65_528;

/// Record types (§8).
mod kind {
    pub const BEGIN_REQUEST: u8 = 1;
    pub const ABORT_REQUEST: u8 = 2;
    pub const END_REQUEST: u8 = 3;
    pub const PARAMS: u8 = 4;
    pub const STDIN: u8 = 5;
    pub const STDOUT: u8 = 6;
    pub const STDERR: u8 = 7;
    pub const GET_VALUES: u8 = 9;
    pub const GET_VALUES_RESULT: u8 = 10;
}

/// Appends the beginning of a request (§5.1): the application is the responder, and leaves the
/// connection open behind its answer.
pub fn begin(out: &mut Vec<u8>) {
    header(kind::BEGIN_REQUEST, REQUEST, 8, out);
    const RESPONDER: [u8; 2] = [0, 1];
    const KEEP_CONNECTION: u8 = 1;
    out.extend_from_slice(&RESPONDER);
    out.extend_from_slice(&[KEEP_CONNECTION, 0, 0, 0, 0, 0]);
}

/// A variable that is longer than a record, and that PHP would not take for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a variable is longer than a FastCGI record")]
pub struct TooLong;

/// Appends the request's variables and their end (§5.2). Each stands whole in one record: the stream
/// may be cut anywhere, but PHP reads every record for itself.
///
/// # Errors
/// When one does not fit into a record. `out` then holds a part.
pub fn variables<'v>(
    variables: impl Iterator<Item = (&'v [u8], &'v [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut content = Vec::new();
    for (name, value) in variables {
        let begin = content.len();
        pair(name, value, &mut content)?;
        if content.len() > CONTENT_BYTES {
            let last = content.split_off(begin);
            record(kind::PARAMS, &content, out);
            content = last;
        }
        if content.len() > CONTENT_BYTES {
            return Err(TooLong);
        }
    }
    record(kind::PARAMS, &content, out);
    header(kind::PARAMS, REQUEST, 0, out);
    Ok(())
}

/// Appends a piece of the request's body (§5.3); nothing for an empty one, which would be its end.
pub fn body(data: &[u8], out: &mut Vec<u8>) {
    for piece in data.chunks(CONTENT_BYTES) {
        record(kind::STDIN, piece, out);
    }
}

/// Appends the end of the request's body.
pub fn end_body(out: &mut Vec<u8>) {
    header(kind::STDIN, REQUEST, 0, out);
}

/// Appends the wish that the request be given up (§5.4). The application ends it when it likes.
pub fn abort(out: &mut Vec<u8>) {
    header(kind::ABORT_REQUEST, REQUEST, 0, out);
}

/// Appends a question about the application itself (§4.1), the answer to which is [`Read::Values`].
/// One that works on a request does not hear it.
pub fn ask_values(out: &mut Vec<u8>) {
    const NAME: &[u8] = b"FCGI_MPXS_CONNS";
    header(kind::GET_VALUES, 0, NAME.len() + 2, out);
    out.extend_from_slice(&[NAME.len() as u8, 0]);
    out.extend_from_slice(NAME);
}

/// A record that is not empty, padded to a multiple of eight (§3.3 recommends it).
fn record(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    if content.is_empty() {
        return;
    }
    header(kind, REQUEST, content.len(), out);
    out.extend_from_slice(content);
    out.resize(out.len() + padding(content.len()), 0);
}

fn header(kind: u8, request: u16, length: usize, out: &mut Vec<u8>) {
    let [id_high, id_low] = request.to_be_bytes();
    // Callers cut what is longer.
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let padding = if request == REQUEST { padding(length) as u8 } else { 0 };
    out.extend_from_slice(&[VERSION, kind, id_high, id_low, high, low, padding, 0]);
}

const fn padding(length: usize) -> usize {
    (8 - length % 8) % 8
}

/// Appends a name and its value (§3.4).
fn pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    for length in [name.len(), value.len()] {
        match u8::try_from(length) {
            Ok(short) if short < LONG => out.push(short),
            _ => {
                let length = u32::try_from(length).map_err(|_| TooLong)?;
                let [first, rest @ ..] = length.to_be_bytes();
                if first >= LONG {
                    return Err(TooLong);
                }
                out.push(first | LONG);
                out.extend_from_slice(&rest);
            }
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    Ok(())
}

/// Set in a length's first byte when three more follow.
const LONG: u8 = 0x80;

/// What [`Reader::read`] found at the start of its input. Ranges are places in that input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Read {
    /// Nothing is complete, and nothing was consumed: call again with the same bytes and more.
    More,
    /// Framing, or what is not for us.
    Nothing {
        /// Bytes to consume; at least 1.
        consumed: usize,
    },
    /// A piece of what the application wrote to its standard output.
    Output {
        /// Bytes to consume; at least 1.
        consumed: usize,
        /// The piece.
        data: Range<usize>,
    },
    /// A piece of what it wrote to its standard error.
    Errors {
        /// Bytes to consume; at least 1.
        consumed: usize,
        /// The piece.
        data: Range<usize>,
    },
    /// The request has ended. The next one may be asked on this connection.
    End {
        /// Bytes to consume; at least 1.
        consumed: usize,
        /// What the application ended with, as an exit code.
        status: u32,
        /// It did not take the request.
        refused: Option<Refused>,
    },
    /// The answer to [`ask_values`].
    Values {
        /// Bytes to consume; at least 1.
        consumed: usize,
    },
}

/// Why an application did not take a request (§5.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// It answers one at a time on a connection.
    Multiplexing,
    /// It has no room.
    Overloaded,
    /// It is no responder.
    Role,
    /// For a reason that has no name.
    Unknown(u8),
}

/// Bytes that are no FastCGI.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// Reads what an application sends, as it comes.
///
/// ```text
///  Header ──▶ Content ──▶ Padding ──▶ Header …
///     └──END_REQUEST: with its eight bytes──▲
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    /// Of a record of this kind there are still so many bytes, and padding behind them.
    Content {
        stream: Stream,
        left: usize,
        padding: usize,
    },
    Padding {
        left: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Output,
    Errors,
    Ignored,
}

impl Reader {
    /// Reads on in `input`, which is every byte not consumed yet. Call until it says [`Read::More`].
    /// Pieces are given as they come: a record need not be complete.
    ///
    /// # Errors
    /// When the bytes are no FastCGI; the connection is of no use any more.
    pub fn read(&mut self, input: &[u8]) -> Result<Read, Malformed> {
        if input.is_empty() {
            return Ok(Read::More);
        }
        match self.state {
            State::Header => self.header(input),
            State::Content { stream, left, padding } => {
                let consumed = left.min(input.len());
                self.state = match left - consumed {
                    0 => behind(padding),
                    left => State::Content { stream, left, padding },
                };
                let data = 0..consumed;
                Ok(match stream {
                    Stream::Output => Read::Output { consumed, data },
                    Stream::Errors => Read::Errors { consumed, data },
                    Stream::Ignored => Read::Nothing { consumed },
                })
            }
            State::Padding { left } => {
                let consumed = left.min(input.len());
                self.state = behind(left - consumed);
                Ok(Read::Nothing { consumed })
            }
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<Read, Malformed> {
        let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Read::More);
        };
        let [version, kind, id_high, id_low, high, low, padding, _] = *header;
        if version != VERSION {
            return Err(Malformed("a record of another version than 1"));
        }
        let left = usize::from(u16::from_be_bytes([high, low]));
        let padding = usize::from(padding);
        let id = u16::from_be_bytes([id_high, id_low]);
        if (kind, id) == (kind::END_REQUEST, REQUEST) {
            let Some((end, _)) = rest.split_first_chunk::<8>() else {
                return if left < 8 {
                    Err(Malformed("an end without its end"))
                } else {
                    Ok(Read::More)
                };
            };
            return self.end(*end, left, padding);
        }
        let stream = match (kind, id) {
            (kind::STDOUT, REQUEST) => Stream::Output,
            (kind::STDERR, REQUEST) => Stream::Errors,
            _ => Stream::Ignored,
        };
        self.state = match left {
            0 => behind(padding),
            left => State::Content { stream, left, padding },
        };
        let consumed = HEADER_BYTES;
        Ok(match (kind, id) {
            (kind::GET_VALUES_RESULT, 0) => Read::Values { consumed },
            _ => Read::Nothing { consumed },
        })
    }

    fn end(&mut self, end: [u8; 8], length: usize, padding: usize) -> Result<Read, Malformed> {
        let Some(more) = length.checked_sub(end.len()) else {
            return Err(Malformed("an end without its end"));
        };
        self.state = behind(more + padding);
        let [status @ .., protocol, _, _, _] = end;
        Ok(Read::End {
            consumed: HEADER_BYTES + end.len(),
            status: u32::from_be_bytes(status),
            refused: match protocol {
                0 => None,
                1 => Some(Refused::Multiplexing),
                2 => Some(Refused::Overloaded),
                3 => Some(Refused::Role),
                other => Some(Refused::Unknown(other)),
            },
        })
    }
}

const fn behind(padding: usize) -> State {
    match padding {
        0 => State::Header,
        left => State::Padding { left },
    }
}

#[cfg(test)]
#[path = "fastcgi_tests.rs"]
mod tests;
