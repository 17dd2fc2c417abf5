//! Compressing answers on their way from a worker to the client.
//!
//! ```text
//!            length known ─────────────────────────────▶ Encoding ── end ──▶ the encoder's rest
//!  head ──┤                    1 KiB is there, 50 ms ──────▲
//!            length not known ─▶ Waiting ── end before ──▶ sent as it is
//! ```
//!
//! While it waits both heads are held, and the beginning of the body with them; the worker may still
//! be replaced. An encoder is flushed when the worker pauses, so that a slow page is seen as it
//! grows, but not more often than every [`limits::ENCODER_PAUSE`]; a stream after every piece.

use super::answer::output;
use super::encoder::{EncodeError, Encoder, Encoders};
use super::exchange::Exchange;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::files::Encoding;
use rip::files::compress::Plan;
use rip::http1::server::Server;
use rip::limits;
use rip::time::Instant;
use std::time::Duration;

/// An answer that is compressed, or may be.
pub(super) struct Coding {
    stage: Stage,
    /// Every piece is passed on at once.
    is_stream: bool,
    began: Instant,
    /// The encoder holds something that the client has not got.
    is_pending: bool,
    flushed: Option<Instant>,
    /// The turn in which it was last fed, and with how much.
    turn: u64,
    fed_bytes: usize,
}

enum Stage {
    /// It is not known yet whether it is long enough. The plain head is the exchange's.
    Waiting {
        coding: Encoding,
        coded_head: Vec<u8>,
        beginning: Vec<u8>,
    },
    Encoding(Encoder),
}

/// What one loop compresses with.
#[derive(Default)]
pub(super) struct Compressor {
    pub(super) encoders: Encoders,
    /// What an encoder has just made.
    scratch: Vec<u8>,
    turn: u64,
}

impl Coding {
    /// Where to write the head of the compressed answer, while it is not known whether it is one.
    pub(super) fn coded_head(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.stage {
            Stage::Waiting { coded_head, .. } => Some(coded_head),
            Stage::Encoding(_) => None,
        }
    }
}

impl Compressor {
    /// The loop's next turn begins: every connection may have [`limits::COMPRESS_TURN_BYTES`].
    pub(super) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// An answer begins whose fate is `plan`. Returns what becomes of it: without an encoder it stays
    /// plain. `length` is the body's; one to `HEAD` has none to encode.
    pub(super) fn begin(
        &mut self,
        plan: Plan,
        to_head: bool,
        length: Option<u64>,
        is_stream: bool,
        now: Instant,
    ) -> (Plan, Option<Box<Coding>>) {
        let stage = match plan {
            Plan::Coded(_) if to_head => return (plan, None),
            Plan::Coded(coding) => match self.encoders.lend(coding, length) {
                Some(encoder) => Stage::Encoding(encoder),
                None => return (Plan::Plain, None),
            },
            Plan::Undecided(coding) => {
                Stage::Waiting { coding, coded_head: Vec::new(), beginning: Vec::new() }
            }
            Plan::Untouched | Plan::Plain | Plan::NotModified => return (plan, None),
        };
        let coding = Coding {
            stage,
            is_stream,
            began: now,
            is_pending: false,
            flushed: None,
            turn: self.turn,
            fed_bytes: 0,
        };
        (plan, Some(Box::new(coding)))
    }

    /// The answer is over, or taken back.
    pub(super) fn drop_coding(&mut self, exchange: &mut Exchange) {
        if let Some(coding) = exchange.coding.take()
            && let Stage::Encoding(encoder) = coding.stage
        {
            self.encoders.take_back(encoder);
        }
    }

    /// How much may be read in one go for an exchange, of which `at_hand` was read already;
    /// `unbound` for one that is not compressed.
    pub(super) fn go_bytes(&self, exchange: &Exchange, at_hand: usize, unbound: usize) -> usize {
        let Some(coding) = &exchange.coding else { return unbound };
        let fed = if coding.turn == self.turn { coding.fed_bytes } else { 0 };
        limits::COMPRESS_TURN_BYTES.saturating_sub(fed.saturating_add(at_hand))
    }

    /// Passes a piece of the body on.
    pub(super) fn pass(
        &mut self,
        exchange: &mut Exchange,
        server: &mut Server,
        piece: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let Some(coding) = &mut exchange.coding else { return Ok(()) };
        if coding.turn != self.turn {
            coding.turn = self.turn;
            coding.fed_bytes = 0;
        }
        coding.fed_bytes = coding.fed_bytes.saturating_add(piece.len());
        match &mut coding.stage {
            Stage::Waiting { beginning, .. } => {
                beginning.extend_from_slice(piece);
                if beginning.len() as u64 > limits::COMPRESS_BYTES {
                    self.decide(exchange, server, out)?;
                }
                Ok(())
            }
            Stage::Encoding(encoder) => {
                self.scratch.clear();
                encoder.feed(piece, &mut self.scratch)?;
                coding.is_pending |= !piece.is_empty();
                if coding.is_stream && coding.is_pending {
                    encoder.flush(&mut self.scratch)?;
                    coding.is_pending = false;
                }
                exchange.release_head(out);
                self.send_scratch(exchange, server, out);
                Ok(())
            }
        }
    }

    /// The body is complete.
    pub(super) fn finish(
        &mut self,
        exchange: &mut Exchange,
        server: &mut Server,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        exchange.release_head(out);
        let Some(coding) = exchange.coding.take() else { return Ok(()) };
        self.scratch.clear();
        let finished = match coding.stage {
            Stage::Waiting { beginning, .. } => {
                self.scratch = beginning;
                Ok(())
            }
            Stage::Encoding(mut encoder) => {
                let finished = encoder.finish(&mut self.scratch);
                self.encoders.take_back(encoder);
                finished
            }
        };
        self.send_scratch(exchange, server, out);
        finished
    }

    /// The answer is long enough, or takes its time: it is compressed from its beginning.
    fn decide(
        &mut self,
        exchange: &mut Exchange,
        server: &mut Server,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let Some(coding) = &mut exchange.coding else { return Ok(()) };
        let Stage::Waiting { coding: chosen, coded_head, beginning } = &mut coding.stage else {
            return Ok(());
        };
        let (coded_head, beginning) = (std::mem::take(coded_head), std::mem::take(beginning));
        match self.encoders.lend(*chosen, None) {
            Some(encoder) => {
                coding.stage = Stage::Encoding(encoder);
                exchange.held_head = coded_head;
                exchange.release_head(out);
                let turn_bytes = coding_bytes(exchange);
                let passed = self.pass(exchange, server, &beginning, out);
                // They were counted when they came.
                if let Some(coding) = &mut exchange.coding {
                    coding.fed_bytes = turn_bytes;
                }
                passed
            }
            None => {
                exchange.coding = None;
                exchange.release_head(out);
                exchange.record.bytes_out += beginning.len() as u64;
                server.body(&beginning, out);
                Ok(())
            }
        }
    }

    /// Lets the client have what is there.
    fn flush(
        &mut self,
        exchange: &mut Exchange,
        server: &mut Server,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.decide(exchange, server, out)?;
        let Some(coding) = &mut exchange.coding else { return Ok(()) };
        let Stage::Encoding(encoder) = &mut coding.stage else { return Ok(()) };
        if std::mem::take(&mut coding.is_pending) {
            self.scratch.clear();
            encoder.flush(&mut self.scratch)?;
            coding.flushed = Some(now);
            self.send_scratch(exchange, server, out);
        }
        Ok(())
    }

    fn send_scratch(&mut self, exchange: &mut Exchange, server: &mut Server, out: &mut Vec<u8>) {
        exchange.record.bytes_out += self.scratch.len() as u64;
        server.body(&self.scratch, out);
        self.scratch.clear();
        if self.scratch.capacity() > SCRATCH_BYTES {
            self.scratch = Vec::new();
        }
    }
}

fn coding_bytes(exchange: &Exchange) -> usize {
    exchange.coding.as_ref().map_or(0, |coding| coding.fed_bytes)
}

impl Edge {
    /// The worker has nothing more to say just now. Returns when it is to be looked at again.
    pub(super) fn encoder_rests(&mut self, key: Key) -> Option<Instant> {
        let now = self.clock.now();
        let coding = self.exchanges.get(key)?.coding.as_ref()?;
        let due = match &coding.stage {
            Stage::Waiting { .. } => coding.began + HEAD_HOLD,
            Stage::Encoding(_) if !coding.is_pending => return None,
            Stage::Encoding(_) => match coding.flushed {
                Some(flushed) => flushed + limits::ENCODER_PAUSE,
                None => now,
            },
        };
        if due > now {
            return Some(due);
        }
        self.flush_encoder(key);
        None
    }

    /// Looks again, when the worker has said nothing more. True when there was something to be
    /// passed on.
    pub(super) fn encoder_rested(&mut self, key: Key) -> bool {
        let Some(exchange) = self.exchanges.get(key) else { return false };
        let Some(coding) = &exchange.coding else { return false };
        if matches!(coding.stage, Stage::Encoding(_)) && !coding.is_pending {
            return false;
        }
        let (front, link, timeout) = (exchange.front, exchange.link, exchange.patience.read);
        if !self.flush_encoder(key) {
            return true;
        }
        if let Some(link) = link {
            let now = self.clock.now();
            self.link_deadline(link, now + timeout);
        }
        if let Some(front) = front {
            self.flush_front(front);
        }
        true
    }

    /// False when the answer was cut off.
    fn flush_encoder(&mut self, key: Key) -> bool {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) else {
            return false;
        };
        let out = output(&mut front.output, &mut self.blocks);
        let flushed = self.compressor.flush(exchange, &mut front.server, now, out);
        if let Err(error) = flushed {
            log::error!("{}: cannot compress: {error}", exchange.request_id);
            self.fail(key, Reason::EncodeFailed);
            return false;
        }
        true
    }
}

/// An answer of unknown length waits this long for more than its first bytes.
const HEAD_HOLD: Duration = Duration::from_millis(50);
/// What the scratch may keep.
const SCRATCH_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::http1::ResponseLength;

    #[test]
    fn a_connection_is_fed_no_more_in_a_turn_than_its_share() {
        let mut compressor = Compressor::default();
        let mut exchange = Exchange::blank();
        assert_eq!(compressor.go_bytes(&exchange, 9, 1000), 1000, "nothing is compressed");
        let plan = Plan::Coded(Encoding::Gzip);
        let (_, coding) = compressor.begin(plan, false, None, false, Instant::default());
        exchange.coding = coding;
        let mut server = Server::new();
        let mut out = Vec::new();
        server.respond(200, b"", ResponseLength::Unknown, &mut out).finish();
        let share = limits::COMPRESS_TURN_BYTES;
        assert_eq!(compressor.go_bytes(&exchange, 100, 1 << 20), share - 100);
        for _ in 0..3 {
            compressor.next_turn();
            assert_eq!(compressor.go_bytes(&exchange, 0, 1 << 20), share);
            compressor.pass(&mut exchange, &mut server, &[b'a'; 60_000], &mut out).unwrap();
            assert_eq!(compressor.go_bytes(&exchange, 0, 1 << 20), share - 60_000);
            compressor.pass(&mut exchange, &mut server, &[b'a'; 9000], &mut out).unwrap();
            assert_eq!(compressor.go_bytes(&exchange, 0, 1 << 20), 0);
        }
        let begun = exchange.record.bytes_out;
        assert!(begun <= 10, "all but the coding's own head is in the encoder");
        compressor.finish(&mut exchange, &mut server, &mut out).unwrap();
        assert!(exchange.coding.is_none() && exchange.record.bytes_out > begun + 100);
    }
}
