//! A file that is compressed on its way, for clients that take it and files without an encoded
//! sibling.
//!
//! Piece by piece: what the encoder has made of one leaves before the next is read. Without an
//! encoder to be had the file goes as it is, which its own tag then says.

use super::answer::output;
use super::encoder::Encoder;
use super::file_search::FileWork;
use super::file_send::{Source, Step};
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::sys::beneath::{self, Wait};
use rip::files::answer::Answer;
use rip::limits;

impl Edge {
    /// What becomes of an answer that is to be compressed, and its encoder. The answer to `HEAD` has
    /// none.
    pub(super) fn lend_encoder(
        &mut self,
        answer: Answer,
        to_head: bool,
    ) -> (Answer, Option<Encoder>) {
        let Answer::Compressed { plain, coding } = answer else { return (answer, None) };
        if to_head {
            return (answer, None);
        }
        match self.compressor.encoders.lend(coding, Some(plain.size)) {
            Some(encoder) => (answer, Some(encoder)),
            None => (Answer::Whole(plain), None),
        }
    }

    pub(super) fn take_encoder_back(&mut self, encoder: Option<Encoder>) {
        if let Some(encoder) = encoder {
            self.compressor.encoders.take_back(encoder);
        }
    }

    /// How much of its file a front may send in one go; `unbound` of one that is not compressed.
    pub(super) fn file_go_bytes(&self, key: Key, unbound: usize) -> usize {
        match self.fronts.get(key).and_then(|front| front.file.as_ref()) {
            Some(FileWork::Sending(send)) if send.encoder.is_some() => limits::COMPRESS_TURN_BYTES,
            _ => unbound,
        }
    }

    /// Compresses the next bytes of a file, `most` of them, and its end with the last ones.
    pub(super) fn compress_piece(&mut self, key: Key, most: usize) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Failed };
        let Some(FileWork::Sending(send)) = &mut front.file else { return Step::Failed };
        let Some(encoder) = &mut send.encoder else { return Step::Failed };
        let most = most.min(limits::COMPRESS_TURN_BYTES);
        let mut copy = Vec::new();
        let piece = match &send.source {
            Source::Bytes(bytes) => {
                let from = usize::try_from(send.offset).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                rest.get(..most).unwrap_or(rest)
            }
            Source::File(file) => {
                copy.resize(most, 0);
                match beneath::read_at(file, &mut copy, send.offset, Wait::Disk) {
                    Ok(filled) => copy.get(..filled).unwrap_or_default(),
                    Err(error) => {
                        log::error!("{}: a file cannot be read: {error}", send.id);
                        return Step::Failed;
                    }
                }
            }
        };
        if piece.is_empty() {
            return Step::Shrunk;
        }
        let count = piece.len();
        send.offset = send.offset.saturating_add(count as u64);
        send.left = send.left.saturating_sub(count as u64);
        let mut made = Vec::new();
        let mut result = encoder.feed(piece, &mut made);
        if send.left == 0 && result.is_ok() {
            result = encoder.finish(&mut made);
        }
        if let Err(error) = result {
            log::error!("{}: cannot compress: {error}", send.id);
            return Step::Failed;
        }
        send.record.bytes_out += made.len() as u64;
        front.server.body(&made, output(&mut front.output, &mut self.blocks));
        Step::Sent(count)
    }
}
