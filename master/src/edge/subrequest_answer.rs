//! Reading the answer to a request of the edge's own: gathered for who wants it whole, handed on piece by
//! piece to a turn.
//!
//! ```text
//!  link ──▶ what waits here ──▶ the turn
//!             │ full: the link is not read        │ takes a piece: it is read on
//! ```

use super::exchange::{Exchange, State};
use super::link::{Duty, Filled};
use super::subrequest::{News, OwnAnswer, OwnRequest, Owner};
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::http1::client::ClientRead;
use rip::http1::fields;
use rip::http1::head::ResponseHead;
use rip::limits;
use rip::pool::Bounce;
use rip::time::Instant;

/// Why reading an answer stopped.
enum Pause {
    Quiet,
    /// A turn has not taken what came before.
    HeldBack,
    Ended {
        reusable: bool,
    },
    Failed(Reason),
    Gone,
}

impl OwnRequest {
    /// Takes in a piece of the answer's body. False when it is more than anybody wants.
    fn push(&mut self, data: &[u8]) -> bool {
        if self.is_ignored {
            let rest = self.answer_bytes.checked_sub(data.len());
            self.answer_bytes = rest.unwrap_or_default();
            return rest.is_some();
        }
        let is_whole = matches!(self.owner, Owner::Socket(_));
        if is_whole && self.answer.body.len() + data.len() > self.answer_bytes {
            return false;
        }
        self.answer.body.extend_from_slice(data);
        true
    }

    /// Its owner has to take something before more is read.
    fn is_full(&self) -> bool {
        matches!(self.owner, Owner::Turn(_))
            && !self.is_ignored
            && self.answer.body.len() >= self.answer_bytes
    }
}

impl Exchange {
    /// When the worker must have said more, or everything.
    pub(super) fn answer_due(&self, now: Instant) -> Instant {
        match self.own.as_ref().and_then(|own| own.time) {
            Some(time) => self.record.leased.unwrap_or(now) + time,
            None => now + self.patience.read,
        }
    }

    /// The worker waits for somebody else, who is not late.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back && self.own.as_ref().is_none_or(|own| own.time.is_none())
    }
}

impl Edge {
    /// Reads what the worker has said.
    pub(super) fn collect_answer(&mut self, link_key: Key, key: Key) {
        let Some(link) = self.links.slab.get_mut(link_key) else { return };
        let mut input = link.input.take().unwrap_or_else(|| self.blocks.take());
        let mut head = std::mem::take(&mut self.answer_head);
        let pause = self.collect(link_key, key, &mut input, &mut head);
        self.answer_head = head;
        match self.links.slab.get_mut(link_key) {
            Some(link) if !input.is_empty() => link.input = Some(input),
            _ => self.blocks.give(input),
        }
        match pause {
            Pause::Gone => {}
            Pause::Quiet => self.note_more(key),
            Pause::HeldBack => {
                if let Some(exchange) = self.exchanges.get_mut(key) {
                    exchange.held_back = true;
                }
                self.note_more(key);
            }
            Pause::Ended { reusable } => self.answer_complete(link_key, key, reusable),
            Pause::Failed(Reason::AnswerTooLarge) => {
                // The worker may be busy with the rest of it.
                if let Some(exchange) = self.exchanges.get_mut(key) {
                    exchange.streaming = true;
                }
                self.fail(key, Reason::AnswerTooLarge);
            }
            Pause::Failed(reason) => self.worker_failed(link_key, key, reason),
        }
    }

    fn collect(
        &mut self,
        link_key: Key,
        key: Key,
        input: &mut Buffer,
        head: &mut ResponseHead,
    ) -> Pause {
        let mut eof = false;
        loop {
            loop {
                let Some(link) = self.links.slab.get_mut(link_key) else { return Pause::Gone };
                let Some(exchange) = self.exchanges.get_mut(key) else { return Pause::Gone };
                match link.client.read(input.filled(), eof, head) {
                    Ok(ClientRead::More) => break,
                    Ok(ClientRead::Informational { consumed }) => input.consume(consumed),
                    // It was not asked to.
                    Ok(ClientRead::Switched { .. }) => {
                        return Pause::Failed(Reason::WorkerMalformed);
                    }
                    Ok(ClientRead::Head { consumed }) => {
                        self.own_answer_begins(key, head, &input.filled()[..consumed]);
                        input.consume(consumed);
                    }
                    Ok(ClientRead::Body { consumed, data }) => {
                        if exchange.bounce.is_none()
                            && let Some(own) = &mut exchange.own
                        {
                            let data = &input.filled()[data];
                            if !own.push(data) {
                                return Pause::Failed(Reason::AnswerTooLarge);
                            }
                            exchange.record.bytes_out += data.len() as u64;
                        }
                        input.consume(consumed);
                    }
                    Ok(ClientRead::End { consumed, reusable }) => {
                        input.consume(consumed);
                        return Pause::Ended { reusable };
                    }
                    Err(malformed) => {
                        log::debug!("{}: {}", exchange.request_id, malformed.detail);
                        exchange.record.trail.detail = malformed.detail;
                        return Pause::Failed(malformed.reason);
                    }
                }
            }
            let Some(link) = self.links.slab.get_mut(link_key) else { return Pause::Gone };
            if !matches!(link.duty, Duty::Busy { exchange } if exchange == key) {
                return Pause::Gone;
            }
            if !link.readable {
                return Pause::Quiet;
            }
            let is_full = |exchange: &&mut Box<Exchange>| {
                exchange.own.as_ref().is_some_and(|own| own.is_full())
            };
            let Some(exchange) = self.exchanges.get_mut(key) else { return Pause::Gone };
            if is_full(&exchange) {
                return Pause::HeldBack;
            }
            if input.space().is_empty() && !input.grow(limits::HEAD_BYTES + 4) {
                return Pause::Failed(Reason::WorkerMalformed);
            }
            match link.fill(input, usize::MAX) {
                Filled::Bytes(_) => {
                    if exchange.state == State::Answering {
                        link.deadline = Some(exchange.answer_due(self.clock.now()));
                    }
                }
                Filled::Nothing => {}
                // A reset after bytes were taken is the end of the connection as well.
                Filled::End | Filled::Reset => eof = true,
            }
        }
    }

    fn own_answer_begins(&mut self, key: Key, head: &ResponseHead, buf: &[u8]) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let signals = fields::signals(head, buf);
        if head.status() == 503 && (signals.busy || signals.draining) {
            let bounce = if signals.busy { Bounce::Busy } else { Bounce::Draining };
            exchange.bounce = Some(bounce);
            return;
        }
        exchange.streaming = signals.unbuffered;
        exchange.record.answer_begins(head, buf, &signals, self.clock.now());
        if let Some(OwnRequest { answer, .. }) = exchange.own.as_deref_mut() {
            answer.status = head.status();
            for (name, value) in fields::response_fields(head, buf) {
                answer.fields.extend_from_slice(name);
                answer.fields.extend_from_slice(b": ");
                answer.fields.extend_from_slice(value);
                answer.fields.extend_from_slice(b"\r\n");
            }
        }
        if signals.draining {
            self.retire_as_asked(key);
        }
    }

    /// Sees to it that a turn takes what has come of its answer.
    fn note_more(&mut self, key: Key) {
        let Some(own) = self.exchanges.get_mut(key).and_then(|found| found.own.as_mut()) else {
            return;
        };
        let Owner::Turn(turn) = own.owner else { return };
        let has_more = own.answer.status != 0 || !own.answer.body.is_empty();
        if has_more && !std::mem::replace(&mut own.is_noted, true) {
            self.news.push_back(News::More(turn));
        }
    }

    /// What there is of the answer to a turn: its beginning, or if the turn wants it anything.
    pub(super) fn take_piece(&mut self, key: Key, wants_bytes: bool) -> Option<OwnAnswer> {
        let own = self.exchanges.get_mut(key)?.own.as_mut()?;
        own.is_noted = false;
        let is_head = own.answer.status != 0;
        let is_some = is_head || (wants_bytes && !own.answer.body.is_empty());
        is_some.then(|| std::mem::take(&mut own.answer))
    }

    /// Reads on where a turn has taken what had come.
    pub(super) fn read_on(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let is_full = exchange.own.as_ref().is_some_and(|own| own.is_full());
        if is_full || !std::mem::take(&mut exchange.held_back) {
            return;
        }
        if let Some(link) = exchange.link {
            self.receive_response(link);
        }
    }

    /// Nobody wants the rest of the answer: it is read to its end, so that the link serves again, unless
    /// that is far. The worker has no more time for it than for every other answer.
    pub(super) fn ignore_rest(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(own) = &mut exchange.own else { return };
        own.is_ignored = true;
        own.answer = OwnAnswer::default();
        own.answer_bytes = IGNORED_BYTES;
        // However slowly it goes on.
        let leased = exchange.record.leased.unwrap_or(now);
        let least = now.since(leased) + exchange.patience.read;
        own.time = Some(own.time.map_or(least, |time| time.min(least)));
        let due = exchange.answer_due(now);
        if let Some(link) = exchange.link {
            self.link_deadline(link, due);
        }
        self.read_on(key);
    }
}

/// An answer that goes on for longer than this behind its outcome is not waited for.
const IGNORED_BYTES: usize = 256 * 1024;
