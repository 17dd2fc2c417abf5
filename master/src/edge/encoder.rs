//! Encoders: bytes in, compressed bytes out, a piece at a time.
//!
//! Their windows are small (zstd 256 KiB, Brotli 256 KiB, gzip 32 KiB) and their number is bounded,
//! because one is held for as long as its answer takes. Those of gzip and zstd are used again; one of
//! Brotli cannot be.

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::{Compress, Compression, FlushCompress, Status};
use rip::files::Encoding;
use rip::limits;
use std::fmt;
use std::io::Write;
use zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

/// One answer's encoder.
pub(super) enum Encoder {
    /// `None` behind its end.
    Brotli(Option<Box<CompressorWriter<Vec<u8>>>>),
    Gzip(Compress),
    Zstd(CCtx<'static>),
}

/// The encoder failed: it got no memory, or another number of bytes than it was promised. What it
/// has made so far has no end.
#[derive(Debug)]
pub(super) struct EncodeError(String);

impl EncodeError {
    fn ended() -> Self {
        Self("its body has ended".to_owned())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One loop's encoders.
#[derive(Default)]
pub(super) struct Encoders {
    lent: usize,
    gzip: Vec<Compress>,
    zstd: Vec<CCtx<'static>>,
}

impl Encoders {
    /// An encoder for a body of `length`, which must then be exactly so long. `None` for identity,
    /// and when no more are to be had: the body goes as it is.
    pub(super) fn lend(&mut self, coding: Encoding, length: Option<u64>) -> Option<Encoder> {
        if self.lent >= limits::ENCODER_COUNT {
            return None;
        }
        let encoder = match coding {
            Encoding::Identity => return None,
            Encoding::Br => Encoder::Brotli(Some(Box::new(brotli()))),
            Encoding::Gzip => Encoder::Gzip(self.gzip.pop().unwrap_or_else(gzip)),
            Encoding::Zstd => {
                let mut context = match self.zstd.pop() {
                    Some(context) => context,
                    None => zstd()?,
                };
                // A short body needs no large tables.
                context.set_pledged_src_size(length).ok()?;
                Encoder::Zstd(context)
            }
        };
        self.lent += 1;
        Some(encoder)
    }

    /// Takes an encoder back, in the middle of a body or behind it.
    pub(super) fn take_back(&mut self, encoder: Encoder) {
        self.lent = self.lent.saturating_sub(1);
        match encoder {
            Encoder::Gzip(mut state) if self.gzip.len() < KEPT_COUNT => {
                state.reset();
                self.gzip.push(state);
            }
            Encoder::Zstd(mut context) if self.zstd.len() < KEPT_COUNT => {
                let is_fresh = context.reset(ResetDirective::SessionOnly).is_ok();
                self.zstd.extend(is_fresh.then_some(context));
            }
            _ => {}
        }
    }
}

impl Encoder {
    /// Takes in a piece of the body; appends what is ready to be sent, often nothing.
    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Brotli(writer) => {
                let writer = writer.as_mut().ok_or_else(EncodeError::ended)?;
                writer.write_all(piece).map_err(|error| EncodeError(error.to_string()))?;
                out.append(writer.get_mut());
                Ok(())
            }
            Self::Gzip(state) => deflate(state, piece, FlushCompress::None, out),
            Self::Zstd(context) => zstd_step(context, piece, Directive::ZSTD_e_continue, out),
        }
    }

    /// Appends all that is needed to decode what was taken in so far.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Brotli(writer) => {
                let writer = writer.as_mut().ok_or_else(EncodeError::ended)?;
                writer.flush().map_err(|error| EncodeError(error.to_string()))?;
                out.append(writer.get_mut());
                Ok(())
            }
            Self::Gzip(state) => deflate(state, &[], FlushCompress::Sync, out),
            Self::Zstd(context) => zstd_step(context, &[], Directive::ZSTD_e_flush, out),
        }
    }

    /// The body is complete: appends the rest. The encoder is then of no use but to be taken back.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Brotli(writer) => {
                let writer = writer.take().ok_or_else(EncodeError::ended)?;
                out.append(&mut writer.into_inner());
                Ok(())
            }
            Self::Gzip(state) => deflate(state, &[], FlushCompress::Finish, out),
            Self::Zstd(context) => zstd_step(context, &[], Directive::ZSTD_e_end, out),
        }
    }
}

fn brotli() -> CompressorWriter<Vec<u8>> {
    // It is told no size: one of 1 MiB or more would double its tables for nothing.
    let params = BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: WINDOW_BITS as i32,
        ..BrotliEncoderParams::default()
    };
    CompressorWriter::with_params(Vec::new(), BROTLI_PIECE_BYTES, &params)
}

fn gzip() -> Compress {
    Compress::new_gzip(Compression::new(GZIP_LEVEL), GZIP_WINDOW_BITS)
}

fn zstd() -> Option<CCtx<'static>> {
    let mut context = CCtx::try_create()?;
    context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).ok()?;
    context.set_parameter(CParameter::WindowLog(WINDOW_BITS)).ok()?;
    Some(context)
}

fn deflate(
    state: &mut Compress,
    mut piece: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    loop {
        out.reserve(ROOM_BYTES);
        let before = state.total_in();
        let status = state
            .compress_vec(piece, out, flush)
            .map_err(|error| EncodeError(error.to_string()))?;
        let taken = usize::try_from(state.total_in() - before).unwrap_or(usize::MAX);
        piece = piece.get(taken..).unwrap_or_default();
        let has_said_all = out.len() < out.capacity();
        if piece.is_empty()
            && has_said_all
            && (flush != FlushCompress::Finish || status == Status::StreamEnd)
        {
            return Ok(());
        }
        if status == Status::StreamEnd {
            return Ok(());
        }
    }
}

fn zstd_step(
    context: &mut CCtx<'static>,
    piece: &[u8],
    directive: Directive,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut input = InBuffer::around(piece);
    loop {
        out.reserve(ROOM_BYTES);
        let at = out.len();
        let left = context
            .compress_stream2(&mut OutBuffer::around_pos(out, at), &mut input, directive)
            .map_err(|code| EncodeError(zstd_safe::get_error_name(code).to_owned()))?;
        let is_done = match directive {
            Directive::ZSTD_e_continue => input.pos() >= piece.len(),
            _ => left == 0,
        };
        if is_done {
            return Ok(());
        }
    }
}

/// What costs least for its size; measured in `docs/PERFORMANCE.md`.
const BROTLI_QUALITY: i32 = 4;
const GZIP_LEVEL: u32 = 5;
const ZSTD_LEVEL: i32 = 3;
/// 256 KiB
const WINDOW_BITS: u32 = 18;
/// 32 KiB, the most there is.
const GZIP_WINDOW_BITS: u8 = 15;
const BROTLI_PIECE_BYTES: usize = 4096;
/// Room that is made for one step's output.
const ROOM_BYTES: usize = 16 * 1024;
/// Encoders of a kind that are kept for the next answers.
const KEPT_COUNT: usize = 4;

#[cfg(test)]
#[path = "encoder_tests.rs"]
mod tests;
