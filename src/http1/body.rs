//! Taking a body out of its framing.
//!
//! ```text
//!           ┌────────────────────────── next chunk ──────────────────────────┐
//!           ▼                                                                │
//! Size ──▶ (Space) ──▶ (Extension) ──▶ SizeLf ──▶ Data ──▶ DataCr ──▶ DataLf ┘
//!                                        │ size 0
//!                                        ▼
//!                      TrailerStart ◀──▶ TrailerName ──▶ TrailerValue ──▶ TrailerLf
//!                           │ empty line
//!                           ▼
//!                         EndLf ──▶ Done
//! ```
//!
//! Every byte of framing is looked at once and then consumed, so feeding byte by byte costs the
//! same as feeding at once. Trailers are judged and dropped.

use super::framing::is_token;
use super::parse::Malformed;
use crate::contract::reason::Reason;
use crate::limits;
use std::ops::Range;

/// What is left of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decoder {
    /// That many bytes.
    Length(u64),
    /// Chunks until the last.
    Chunked(Chunked),
    /// Everything until the connection ends.
    UntilClose,
}

/// What was taken out of the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// Nothing: more input is needed.
    More,
    /// `consumed` bytes, with the body's bytes at `data`, which may be none.
    Data { consumed: usize, data: Range<usize> },
    /// The body ended after `consumed` bytes.
    End { consumed: usize },
}

impl Decoder {
    /// Takes the next piece from `input`, which begins where the last piece ended. `limit` is the
    /// most a chunked body may have in all.
    pub(crate) fn read(&mut self, input: &[u8], limit: u64) -> Result<Piece, Malformed> {
        match self {
            Self::Length(0) => Ok(Piece::End { consumed: 0 }),
            _ if input.is_empty() => Ok(Piece::More),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                Ok(Piece::Data { consumed: taken, data: 0..taken })
            }
            Self::Chunked(chunked) => chunked.read(input, limit),
            Self::UntilClose => Ok(Piece::Data { consumed: input.len(), data: 0..input.len() }),
        }
    }

    /// True when nothing is left to be read, not even framing.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.phase == Phase::Done,
            Self::UntilClose => false,
        }
    }
}

/// Where a chunked body is (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Chunked {
    phase: Phase,
    /// Digits of the size so far.
    digits: u8,
    /// Bytes of the extension, or of the trailer section, so far.
    extra: u16,
    /// The size being read, then the bytes of the chunk still to come.
    left: u64,
    /// All sizes so far.
    total: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Size,
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

// The counters of a chunked body are 16 bits wide.
const _: () = assert!(limits::CHUNK_EXTENSION_BYTES < u16::MAX as usize);
const _: () = assert!(limits::TRAILER_BYTES < u16::MAX as usize);
const _: () = assert!(limits::CHUNK_SIZE_DIGIT_COUNT <= 16);

impl Chunked {
    fn read(&mut self, input: &[u8], limit: u64) -> Result<Piece, Malformed> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            if self.phase == Phase::Data {
                let rest = input.len() - at;
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest);
                self.left -= taken as u64;
                if self.left == 0 {
                    self.phase = Phase::DataCr;
                }
                return Ok(Piece::Data { consumed: at + taken, data: at..at + taken });
            }
            at += 1;
            self.phase = self.step(byte, limit)?;
            if self.phase == Phase::Done {
                return Ok(Piece::End { consumed: at });
            }
        }
        Ok(if at == 0 { Piece::More } else { Piece::Data { consumed: at, data: at..at } })
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8, limit: u64) -> Result<Phase, Malformed> {
        match (self.phase, byte) {
            (Phase::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (Phase::Size | Phase::Space | Phase::Extension, b'\r') => {
                let sized = self.digits > 0 && self.phase != Phase::Space;
                if sized { Ok(Phase::SizeLf) } else { bad("a chunk size is not a number") }
            }
            (Phase::Size | Phase::Space, b' ' | b'\t') if self.digits > 0 => {
                self.extra(Phase::Space, limits::CHUNK_EXTENSION_BYTES, EXTENSION_TOO_LONG)
            }
            (Phase::Size | Phase::Space, b';') if self.digits > 0 => {
                self.extra(Phase::Extension, limits::CHUNK_EXTENSION_BYTES, EXTENSION_TOO_LONG)
            }
            (Phase::Size | Phase::Space, _) => bad("a chunk size is not a number"),
            (Phase::Extension, _) if is_text(byte) => {
                self.extra(Phase::Extension, limits::CHUNK_EXTENSION_BYTES, EXTENSION_TOO_LONG)
            }
            (Phase::Extension, _) => bad("a control character in a chunk extension"),
            (Phase::SizeLf, b'\n') => self.sized(limit),
            (Phase::DataCr, b'\r') => Ok(Phase::DataLf),
            (Phase::DataLf, b'\n') => {
                self.digits = 0;
                Ok(Phase::Size)
            }
            (Phase::SizeLf | Phase::DataCr | Phase::DataLf | Phase::Data, _) => {
                bad("a chunk does not end with CRLF")
            }
            (Phase::TrailerStart, b'\r') => Ok(Phase::EndLf),
            (Phase::TrailerStart | Phase::TrailerName, _) if is_token(byte) => {
                self.extra(Phase::TrailerName, limits::TRAILER_BYTES, TRAILER_TOO_LONG)
            }
            (Phase::TrailerName, b':') => {
                self.extra(Phase::TrailerValue, limits::TRAILER_BYTES, TRAILER_TOO_LONG)
            }
            (Phase::TrailerValue, b'\r') => Ok(Phase::TrailerLf),
            (Phase::TrailerValue, _) if is_text(byte) => {
                self.extra(Phase::TrailerValue, limits::TRAILER_BYTES, TRAILER_TOO_LONG)
            }
            (Phase::TrailerLf, b'\n') => Ok(Phase::TrailerStart),
            (Phase::EndLf, b'\n') | (Phase::Done, _) => Ok(Phase::Done),
            (
                Phase::TrailerStart
                | Phase::TrailerName
                | Phase::TrailerValue
                | Phase::TrailerLf
                | Phase::EndLf,
                _,
            ) => bad("a trailer is not valid"),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<Phase, Malformed> {
        if usize::from(self.digits) == limits::CHUNK_SIZE_DIGIT_COUNT {
            return bad("a chunk size has too many digits");
        }
        // Nothing is left of the chunk before.
        self.left = self.left << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or_default());
        self.digits += 1;
        Ok(Phase::Size)
    }

    fn sized(&mut self, limit: u64) -> Result<Phase, Malformed> {
        self.extra = 0;
        if self.left == 0 {
            return Ok(Phase::TrailerStart);
        }
        self.total = self.total.saturating_add(self.left);
        if self.total > limit {
            return Err(Malformed::new(Reason::BodyTooLarge, "the chunks exceed the limit"));
        }
        Ok(Phase::Data)
    }

    fn extra(
        &mut self,
        next: Phase,
        limit: usize,
        too_long: &'static str,
    ) -> Result<Phase, Malformed> {
        self.extra += 1;
        if usize::from(self.extra) > limit { bad(too_long) } else { Ok(next) }
    }
}

/// Characters of a field value: visible ones, space, tab and obs-text (RFC 9110 §5.5).
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn bad(detail: &'static str) -> Result<Phase, Malformed> {
    Err(Malformed::new(Reason::Malformed, detail))
}

const EXTENSION_TOO_LONG: &str = "a chunk extension is too long";
const TRAILER_TOO_LONG: &str = "the trailer section is too long";
