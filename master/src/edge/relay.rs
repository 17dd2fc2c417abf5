//! An exchange with a worker: the request goes there, the answer comes back and is passed on.
//!
//! The answer is read at the worker's speed until the client is a buffer behind; then the worker
//! has to wait. Whatever a read brought is handed to the client in the same go, so a stream's
//! events never wait for the next one.

use super::answer::{field_of, output};
use super::exchange::{Exchange, State};
use super::link::{Duty, Filled};
use super::secure::{add_hsts, hsts};
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::files::compress::{self, Plan};
use rip::http1::changes::Changes;
use rip::http1::client::ClientRead;
use rip::http1::encode::ResponseLength;
use rip::http1::fields::{self, Signals};
use rip::http1::head::ResponseHead;
use rip::http1::server::Server;
use rip::limits;
use rip::observe::note::TryEnd;
use rip::pool::{Bounce, Outcome};
use rip::upstream::{Failure, Outcome as UpstreamOutcome};
use std::io::{self, IoSlice, Write};
use std::time::Duration;

/// Why reading an answer stopped.
enum Pause {
    /// The worker has not said more yet.
    Quiet,
    /// The client is behind, or others want their turn.
    HeldBack,
    /// The answer is complete.
    Ended { reusable: bool },
    /// It leaves HTTP.
    Switched,
    /// It will never be.
    Failed(Reason),
    /// The exchange ended meanwhile.
    Gone,
}

impl Edge {
    /// Sends as much of the request as the worker takes.
    pub(super) fn send_request(&mut self, link_key: Key, key: Key) {
        if self.exchanges.get(key).is_some_and(|exchange| exchange.upload.is_some()) {
            return self.send_upload(link_key, key);
        }
        let now = self.clock.now();
        loop {
            let Some(link) = self.links.slab.get_mut(link_key) else { return };
            let Some(exchange) = self.exchanges.get_mut(key) else { return };
            if exchange.state != State::Sending {
                return;
            }
            let due = exchange.answer_due(now);
            let head_bytes = exchange.request.len() as u64;
            let memory_bytes = head_bytes + exchange.spool.memory.len() as u64;
            let from_file = exchange.sent >= memory_bytes;
            let result = if exchange.sent < head_bytes {
                let head = &exchange.request[exchange.sent as usize..];
                if exchange.spool.memory.is_empty() {
                    link.wire.write(head)
                } else {
                    let parts = [IoSlice::new(head), IoSlice::new(&exchange.spool.memory)];
                    link.wire.write_vectored(&parts)
                }
            } else if !from_file {
                let start = (exchange.sent - head_bytes) as usize;
                link.wire.write(&exchange.spool.memory[start..])
            } else if exchange.part_sent < exchange.part.len() {
                link.wire.write(&exchange.part[exchange.part_sent..])
            } else {
                let offset = exchange.sent - memory_bytes;
                if offset < exchange.spool.file_bytes {
                    self.link_wants_write(link_key, false);
                    return self.read_spool(key, offset);
                }
                exchange.state = State::Answering;
                self.link_wants_write(link_key, false);
                return self.link_deadline(link_key, due);
            };
            match result {
                Ok(count) => {
                    exchange.sent += count as u64;
                    if from_file {
                        exchange.part_sent += count;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.link_wants_write(link_key, true);
                    return self.link_deadline(link_key, due);
                }
                Err(_) => return self.send_failed(link_key, key),
            }
        }
    }

    /// A write has failed.
    pub(super) fn send_failed(&mut self, link_key: Key, key: Key) {
        let now = self.clock.now();
        let Some(link) = self.links.slab.get_mut(link_key) else { return };
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.sent > 0 || link.wire.is_tls() {
            // It stopped reading; its answer may be on the way all the same.
            let due = exchange.answer_due(now);
            exchange.write_failed = true;
            exchange.state = State::Answering;
            self.link_wants_write(link_key, false);
            return self.link_deadline(link_key, due);
        }
        // Not a byte was taken: nobody can have run the request.
        if exchange.proxied.is_some() {
            if !self.links_anew(link_key, key) {
                self.upstream_failed(key, Failure::Connect, Reason::UpstreamConnect);
            }
            return;
        }
        let seasoned = link.seasoned;
        self.close_stale_links(link_key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.note_try(if seasoned { TryEnd::Stale } else { TryEnd::Gone }, now);
        if seasoned {
            // It closed the link, and may well be there: a new one will tell.
            exchange.link = None;
            exchange.state = State::Linking;
            return self.link_exchange(key);
        }
        if exchange.retried {
            return self.fail(key, Reason::WorkerGone);
        }
        self.retry(key);
    }

    /// Reads what the worker has said and passes it on.
    pub(super) fn receive_response(&mut self, link_key: Key) {
        let Some(link) = self.links.slab.get_mut(link_key) else { return };
        let Duty::Busy { exchange: key } = link.duty else { return };
        let Some(exchange) = self.exchanges.get(key) else { return };
        if exchange.own.is_some() {
            return self.collect_answer(link_key, key);
        }
        let front = exchange.front;
        let mut budget_bytes = self.compressor.go_bytes(exchange, 0, BYTES_PER_GO);
        loop {
            let Some(link) = self.links.slab.get_mut(link_key) else { return };
            let mut input = link.input.take().unwrap_or_else(|| self.blocks.take());
            let mut head = std::mem::take(&mut self.answer_head);
            let pause = self.relay(link_key, key, &mut input, &mut head, &mut budget_bytes);
            self.answer_head = head;
            match self.links.slab.get_mut(link_key) {
                Some(link) if !input.is_empty() => link.input = Some(input),
                _ => self.blocks.give(input),
            }
            match pause {
                Pause::Gone => return,
                Pause::Ended { reusable } => {
                    self.answer_complete(link_key, key, reusable);
                    return;
                }
                Pause::Failed(reason) => return self.worker_failed(link_key, key, reason),
                Pause::Switched => return self.open_tunnel(link_key, key),
                Pause::Quiet | Pause::HeldBack => {}
            }
            let Some(front) = front else { return };
            let is_quiet = matches!(pause, Pause::Quiet);
            let look_again = if is_quiet { self.encoder_rests(key) } else { None };
            if !self.flush_front(front) {
                return;
            }
            if is_quiet {
                let held = |exchange: &Exchange| !exchange.held_head.is_empty();
                if self.exchanges.get(key).is_some_and(|exchange| held(exchange)) {
                    let hold = self.clock.now() + HEAD_HOLD;
                    self.link_deadline(link_key, look_again.unwrap_or(hold));
                } else if let Some(at) = look_again {
                    self.link_deadline(link_key, at);
                }
                return;
            }
            if budget_bytes == 0 {
                return self.run_later(front);
            }
            if !self.may_resume(key) {
                return;
            }
        }
    }

    /// The client took some of its answer: the worker may go on.
    pub(super) fn resume_response(&mut self, key: Key) {
        let reader = self.exchanges.get(key).and_then(|exchange| exchange.asking.as_ref());
        if let Some(view) = reader.and_then(|asking| asking.view) {
            return self.view_has_room(view);
        }
        if self.may_resume(key)
            && let Some(link) = self.exchanges.get(key).and_then(|exchange| exchange.link)
        {
            self.receive_response(link);
        }
    }

    fn may_resume(&mut self, key: Key) -> bool {
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get(front)) else {
            return false;
        };
        let resume = exchange.held_back && front.output.len() < limits::RESPONSE_BUFFER_BYTES / 2;
        if resume {
            exchange.held_back = false;
        }
        resume
    }

    fn relay(
        &mut self,
        link_key: Key,
        key: Key,
        input: &mut Buffer,
        head: &mut ResponseHead,
        budget_bytes: &mut usize,
    ) -> Pause {
        let mut eof = false;
        loop {
            loop {
                let Some(link) = self.links.slab.get_mut(link_key) else { return Pause::Gone };
                let Some(exchange) = self.exchanges.get_mut(key) else { return Pause::Gone };
                let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front))
                else {
                    return Pause::Gone;
                };
                match link.client.read(input.filled(), eof, head) {
                    Ok(ClientRead::More) => break,
                    Ok(ClientRead::Informational { consumed }) => {
                        // What an upstream says of its progress is not ours to swallow.
                        let passes = head.status() == EARLY_HINTS
                            || (exchange.proxied.is_some() && head.status() > 101);
                        if passes {
                            let buf = &input.filled()[..consumed];
                            let out = output(&mut front.output, &mut self.blocks);
                            let begun = front.server.informational(head.status(), b"", out);
                            if let Some(mut hints) = begun {
                                fields::forward_response(head, buf, &mut hints);
                                hints.finish();
                                if let Some(proxied) = &mut exchange.proxied {
                                    proxied.said_interim = true;
                                }
                            }
                        }
                        input.consume(consumed);
                    }
                    Ok(ClientRead::Switched { consumed }) => {
                        if !self.answer_switches(key, head, &input.filled()[..consumed]) {
                            return Pause::Failed(Reason::WorkerMalformed);
                        }
                        input.consume(consumed);
                        return Pause::Switched;
                    }
                    Ok(ClientRead::Head { consumed }) => {
                        let alone = input.filled().len() == consumed;
                        self.answer_begins(key, head, &input.filled()[..consumed], alone);
                        input.consume(consumed);
                        if let Some(exchange) = self.exchanges.get(key) {
                            let at_hand = input.filled().len();
                            let go = self.compressor.go_bytes(exchange, at_hand, *budget_bytes);
                            *budget_bytes = go.min(*budget_bytes);
                        }
                    }
                    Ok(ClientRead::Body { consumed, data }) => {
                        if exchange.bounce.is_none() {
                            let data = &input.filled()[data];
                            let out = output(&mut front.output, &mut self.blocks);
                            if exchange.coding.is_some() {
                                let server = &mut front.server;
                                let passed = self.compressor.pass(exchange, server, data, out);
                                if let Err(error) = passed {
                                    log::error!(
                                        "{}: cannot compress: {error}",
                                        exchange.request_id
                                    );
                                    return Pause::Failed(Reason::EncodeFailed);
                                }
                            } else {
                                exchange.release_head(out);
                                exchange.record.bytes_out += data.len() as u64;
                                front.server.body(data, out);
                            }
                        }
                        input.consume(consumed);
                    }
                    Ok(ClientRead::End { consumed, reusable }) => {
                        let out = output(&mut front.output, &mut self.blocks);
                        let ended = self.compressor.finish(exchange, &mut front.server, out);
                        if let Err(error) = ended {
                            log::error!("{}: cannot compress: {error}", exchange.request_id);
                            return Pause::Failed(Reason::EncodeFailed);
                        }
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
            if !link.readable {
                return Pause::Quiet;
            }
            let Some(exchange) = self.exchanges.get_mut(key) else { return Pause::Gone };
            let behind = exchange
                .front
                .and_then(|front| self.fronts.get(front))
                .is_some_and(|front| front.output.len() >= limits::RESPONSE_BUFFER_BYTES);
            if behind || *budget_bytes == 0 {
                exchange.held_back = true;
                return Pause::HeldBack;
            }
            if input.space().is_empty() && !input.grow(limits::HEAD_BYTES + 4) {
                return Pause::Failed(Reason::WorkerMalformed);
            }
            match link.fill(input, *budget_bytes) {
                Filled::Bytes(count) => {
                    *budget_bytes = budget_bytes.saturating_sub(count);
                    if exchange.state == State::Answering {
                        let timeout = exchange.patience.read;
                        link.deadline = Some(self.clock.now() + timeout);
                    }
                }
                Filled::Nothing => {}
                // An answer that only ends with its connection does not end like this.
                Filled::Reset if exchange.proxied.is_some() => {
                    return Pause::Failed(Reason::WorkerGone);
                }
                // A reset after bytes were taken is the end of the connection as well.
                Filled::End | Filled::Reset => eof = true,
            }
        }
    }

    /// The worker's response head is complete.
    /// With its head `alone`, the body is still to come.
    fn answer_begins(&mut self, key: Key, head: &ResponseHead, buf: &[u8], alone: bool) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) else {
            return;
        };
        self.compressor.drop_coding(exchange);
        let mut signals = fields::signals(head, buf);
        if exchange.proxied.is_some() {
            // Only workers tell the edge what to do.
            signals = Signals { unbuffered: signals.unbuffered, ..Signals::default() };
        }
        if head.status() == 503 && (signals.busy || signals.draining) {
            let bounce = if signals.busy { Bounce::Busy } else { Bounce::Draining };
            exchange.bounce = Some(bounce);
            return;
        }
        exchange.streaming = signals.unbuffered;
        exchange.record.answer_begins(head, buf, &signals, self.clock.now());
        let born_with = self.snapshots.get(exchange.snapshot);
        let changes =
            born_with.and_then(|snapshot| snapshot.table.headers().response(&exchange.changes));
        let changes = changes.as_ref().map(|changes| changes as &dyn Changes);
        let to_head = exchange.head_only;
        let plan = exchange.wish.map_or(Plan::Untouched, |wish| {
            let if_none_match = || field_of(&exchange.request, b"if-none-match");
            compress::plan(&wish, head, buf, signals.unbuffered, to_head, changes, if_none_match)
        });
        let (now, is_stream) = (self.clock.now(), signals.unbuffered);
        let length = head.content_length();
        let (plan, coding) = self.compressor.begin(plan, to_head, length, is_stream, now);
        exchange.coding = coding;
        let is_undecided = matches!(plan, Plan::Undecided(_));
        let holds = is_undecided || (alone && !signals.unbuffered);
        exchange.answered = !holds;
        let date = self.date.line(self.clock.wall());
        let hsts = hsts(front, &self.snapshots);
        let id = exchange.request_id;
        let write = |server: &mut Server, plan: Plan, out: &mut Vec<u8>| {
            let length = match plan {
                Plan::Coded(_) => ResponseLength::Unknown,
                _ => head.length(),
            };
            let answer = server.respond(head.status(), head.reason(buf), length, out);
            let mut answer = answer.changed_by(changes);
            answer.server();
            answer.raw(date);
            answer.field(b"X-Request-Id", id.as_bytes());
            add_hsts(hsts, Some((head, buf)), &mut answer);
            compress::forward_response(head, buf, plan, &mut answer);
            answer.finish();
        };
        let out = match holds {
            true => &mut exchange.held_head,
            false => output(&mut front.output, &mut self.blocks),
        };
        write(&mut front.server, plan, out);
        if let Plan::Undecided(coding) = plan
            && let Some(out) = exchange.coding.as_mut().and_then(|found| found.coded_head())
        {
            // Both are chunked: which of them is sent makes no difference to the connection.
            front.server.withdraw();
            write(&mut front.server, Plan::Coded(coding), out);
        }
        if signals.draining {
            self.retire_as_asked(key);
        }
    }

    /// The worker of the exchange said that it wants to be retired.
    pub(super) fn retire_as_asked(&self, key: Key) {
        if let Some(exchange) = self.exchanges.get(key)
            && let Some(lease) = &exchange.lease
            && let Some(pool) = self.seats.pool(exchange.pool)
        {
            pool.retire_as_asked(lease.worker(), self.clock.now());
        }
    }

    /// The worker's last byte was read: its lease ends, whatever the client still has to read.
    pub(super) fn answer_complete(&mut self, link_key: Key, key: Key, reusable: bool) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let sent_whole = exchange.state == State::Answering && !exchange.write_failed;
        exchange.link = None;
        self.finish_link(link_key, reusable && sent_whole);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if let Some(bounce) = exchange.bounce {
            return self.bounce_if_at_hand(key, bounce);
        }
        if let Some(proxied) = &mut exchange.proxied {
            proxied.end(UpstreamOutcome::Finished, self.clock.now());
        }
        if let Some(lease) = exchange.lease.take() {
            let pool = exchange.pool;
            self.release(pool, lease, Outcome::Finished);
        }
        self.finish_answer(key);
    }

    /// The worker did not take the request: it goes to another, unless some of its body is gone.
    fn bounce_if_at_hand(&mut self, key: Key, bounce: Bounce) {
        let now = self.clock.now();
        if let Some(exchange) = self.exchanges.get_mut(key) {
            let busy = bounce == Bounce::Busy;
            exchange.note_try(if busy { TryEnd::Busy } else { TryEnd::Draining }, now);
        }
        if self.exchanges.get(key).is_some_and(|exchange| exchange.is_at_hand()) {
            return self.bounce(key, bounce);
        }
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if let Some(lease) = exchange.lease.take() {
            let pool = exchange.pool;
            self.release(pool, lease, Outcome::Finished);
        }
        self.shed(key, Reason::WorkerBusy, 1);
    }

    /// The connection to the worker ended too early, or what came was not HTTP.
    pub(super) fn worker_failed(&mut self, link_key: Key, key: Key, reason: Reason) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if reason == Reason::EncodeFailed {
            // That is ours: nobody behind is blamed, and may be busy with the rest of its answer.
            exchange.streaming = true;
            return self.fail(key, reason);
        }
        if exchange.proxied.is_some() {
            return self.upstream_broke(link_key, key, reason);
        }
        if reason == Reason::WorkerMalformed && exchange.bounce.is_none() {
            // Nonsense is no end: the worker may be busy with the rest of it.
            exchange.streaming = true;
            return self.fail(key, reason);
        }
        exchange.link = None;
        let was_seasoned = self.links.slab.get(link_key).is_some_and(|link| link.seasoned);
        self.close_link(link_key);
        self.take_back_head(key);
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if let Some(bounce) = exchange.bounce {
            // It had said that it did not take the request.
            return self.bounce_if_at_hand(key, bounce);
        }
        // Bytes were taken, so the request may have run: only a harmless one is sent again.
        let again =
            exchange.idempotent && exchange.is_at_hand() && !exchange.answered && !exchange.retried;
        if again && reason == Reason::WorkerGone {
            // The worker is left alone for a moment: most likely it has died.
            exchange.retried = true;
            exchange.note_try(if was_seasoned { TryEnd::Stale } else { TryEnd::Gone }, now);
            return self.bounce(key, Bounce::Busy);
        }
        if let Some(lease) = exchange.lease.take() {
            let pool = exchange.pool;
            self.release(pool, lease, Outcome::Failed);
        }
        self.fail(key, reason);
    }

    /// Forgets the head of an answer that never got to its client.
    pub(super) fn take_back_head(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.held_head.is_empty() {
            return;
        }
        self.compressor.drop_coding(exchange);
        exchange.held_head.clear();
        if let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) {
            front.server.withdraw();
        }
    }

    /// The worker said nothing for too long.
    pub(super) fn worker_timed_out(&mut self, key: Key) {
        if self.encoder_rested(key) {
            return;
        }
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let timeout = exchange.patience.read;
        if exchange.state == State::Tunnelling {
            return self.end_tunnel(key, None);
        }
        if !exchange.held_head.is_empty() {
            // The body takes its time: the client may as well know what it will be.
            let (front, link) = (exchange.front, exchange.link);
            if let Some(front) = front.and_then(|front| self.fronts.get_mut(front)) {
                exchange.release_head(output(&mut front.output, &mut self.blocks));
            }
            if let Some(link) = link {
                self.link_deadline(link, now + timeout);
            }
            if let Some(front) = front {
                self.flush_front(front);
            }
            return;
        }
        if exchange.is_held_back() || exchange.spool.agent_busy {
            // It is not the worker who is late.
            if let Some(link) = exchange.link {
                self.link_deadline(link, now + timeout);
            }
            return;
        }
        if exchange.proxied.is_some() {
            return self.upstream_timed_out(key);
        }
        self.fail(key, Reason::WorkerTimeout);
    }

    /// The client's connection is closed already, for `reason`.
    pub(super) fn client_gone(&mut self, key: Key, reason: Reason) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.front = None;
        if exchange.state == State::Waiting {
            let pool = exchange.pool;
            let ticket = self.ticket(key);
            if let Some(pool) = self.seats.pool(pool) {
                // When it is not in the queue its grant is in the mail, and goes back on arrival.
                pool.cancel(ticket, now, &mut self.settled);
            }
        }
        self.forget(key, Some(reason));
    }
}

/// A head waits this long for the beginning of its body.
const HEAD_HOLD: Duration = Duration::from_millis(50);
/// RFC 8297.
const EARLY_HINTS: u16 = 103;
/// Bytes read from one worker before the others get their turn.
const BYTES_PER_GO: usize = 1024 * 1024;
