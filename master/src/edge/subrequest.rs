//! A request that the edge itself makes of an app.
//!
//! It goes the way of any client's: through the pool and its queue, with a lease, over a link, with
//! the app's deadlines, into the counters and the access log. In place of a client there is an owner,
//! who gets the whole answer, or why there is none: exactly once, in a later step of the turn, unless
//! it stopped waiting.
//!
//! Its body comes from memory. Whether it was run is not known when its worker dies, so it is sent
//! again only where no worker can have seen it.

use super::answer::field_of;
use super::exchange::{Exchange, Patience, Record, State};
use super::link::{Duty, Filled};
use super::turn::{Edge, Timer};
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::contract::app::AppTimeouts;
use rip::contract::reason::Reason;
use rip::guard::request_id::RequestId;
use rip::http1::client::ClientRead;
use rip::http1::fields;
use rip::http1::head::ResponseHead;
use rip::ids::{AppId, PoolNumber};
use rip::limits;
use rip::pool::Bounce;
use rip::time::Instant;
use std::mem::take;
use std::net::IpAddr;

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// A WebSocket client.
    Socket(Key),
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) owner: Owner,
    /// Whose workers were asked last.
    pub(super) pool: Option<PoolNumber>,
    pub(super) request_id: RequestId,
    /// On whose behalf.
    pub(super) client: Option<IpAddr>,
    pub(super) method: &'static str,
    pub(super) target: &'a str,
    /// The request's head from its first line on, without what frames the body and without its final
    /// empty line.
    pub(super) head: &'a [u8],
    pub(super) body: Vec<u8>,
    /// The longest body of an answer, in bytes.
    pub(super) answer_bytes: usize,
    /// The word for the access line, where the app has none of its own.
    pub(super) mark: &'static str,
}

/// A request that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) key: Key,
    /// Whose workers it may have.
    pub(super) pool: PoolNumber,
}

/// What an exchange knows that the edge itself began.
pub(super) struct OwnRequest {
    owner: Owner,
    answer: OwnAnswer,
    answer_bytes: usize,
    mark: &'static str,
    /// When waiting for a worker, or for room in its backlog, is over. Each has a timer of its own.
    pub(super) deadline: Option<Instant>,
    /// When to come again, as the pool said.
    pub(super) retry_after_secs: Option<u32>,
}

/// A whole answer to a request of the edge's own.
#[derive(Debug, Default)]
pub(super) struct OwnAnswer {
    pub(super) status: u16,
    /// The fields that are for a client, each a line with its end.
    pub(super) fields: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) reason: Reason,
    pub(super) retry_after_secs: Option<u32>,
    /// The request's body, where the queue was full: no worker has taken it.
    pub(super) body: Vec<u8>,
}

impl Unanswered {
    /// Nobody was asked, for this reason.
    pub(super) fn for_reason(reason: Reason) -> Self {
        Self { reason, retry_after_secs: None, body: Vec::new() }
    }
}

/// What came of a request of the edge's own.
pub(super) struct Answered {
    pub(super) owner: Owner,
    pub(super) request_id: RequestId,
    pub(super) mark: &'static str,
    pub(super) result: Result<OwnAnswer, Unanswered>,
}

/// Why reading an answer stopped.
enum Pause {
    Quiet,
    Ended { reusable: bool },
    Failed(Reason),
    Gone,
}

impl Edge {
    /// Asks the app of the active configuration; where that has no such app any more, those workers
    /// of it that were asked last, as long as they are there. `None` when they are not: then nothing
    /// was asked, and nothing follows. Otherwise the answer comes by [`Self::take_answer`].
    pub(super) fn ask(&mut self, app: &AppId, ask: Ask<'_>) -> Option<Asked> {
        self.look_at_configuration();
        let active = self.snapshots.active();
        let (pool, patience) = match active.config.app_index(app) {
            Some(index) => {
                let timeouts = &active.config.apps.get(index)?.timeouts;
                (active.pools.get(index)?.number, Patience::from(timeouts))
            }
            None => {
                let pool = ask.pool.and_then(|number| self.seats.pool(number))?;
                (pool.number, Patience::from(&AppTimeouts::default()))
            }
        };
        let mut exchange = self.blanks.pop().unwrap_or_else(|| Box::new(Exchange::blank()));
        exchange.own = Some(Box::new(OwnRequest {
            owner: ask.owner,
            answer: OwnAnswer::default(),
            answer_bytes: ask.answer_bytes,
            mark: ask.mark,
            deadline: None,
            retry_after_secs: None,
        }));
        exchange.pool = pool;
        exchange.patience = patience;
        exchange.rule = usize::MAX;
        exchange.snapshot = self.snapshots.pin();
        self.seats.enter(pool);
        exchange.request_id = ask.request_id;
        exchange.request.extend_from_slice(ask.head);
        exchange.request_fields_end = exchange.request.len();
        exchange.has_body = true;
        let record = &mut exchange.record;
        record.begin_own(ask.method, ask.target, field_of(ask.head, b"host"));
        (record.began, record.wall) = (self.clock.now(), self.clock.wall());
        record.peer = ask.client;
        record.bytes_in = ask.body.len() as u64;
        exchange.spool.memory = ask.body;
        let key = self.exchanges.insert(exchange);
        self.ask_for_worker(key);
        Some(Asked { key, pool })
    }

    /// Its owner does not wait for the answer any more: what no worker has seen is never sent.
    pub(super) fn stop_asking(&mut self, key: Key) {
        if let Some(exchange) = self.exchanges.get_mut(key)
            && exchange.own.take().is_some()
        {
            self.client_gone(key, Reason::ClientGone);
        }
    }

    /// The pool is gone: requests for apps that were removed may still wait for its workers.
    pub(super) fn fail_own_requests(&mut self, pool: PoolNumber) {
        for key in self.exchanges.keys().collect::<Vec<_>>() {
            let is_its = |exchange: &Exchange| exchange.own.is_some() && exchange.pool == pool;
            if self.exchanges.get(key).is_some_and(|exchange| is_its(exchange)) {
                self.fail(key, Reason::RouteRemoved);
            }
        }
    }

    /// Whether a worker may have seen the request.
    pub(super) fn was_sent(&self, key: Key) -> bool {
        let sent = |exchange: &Exchange| exchange.sent > 0 || exchange.state == State::Answering;
        self.exchanges.get(key).is_some_and(|exchange| sent(exchange))
    }

    /// The exchange ends: its owner is told, once this step of the turn is over.
    pub(super) fn answer_own(
        &mut self,
        own: OwnRequest,
        exchange: &mut Exchange,
        reason: Option<Reason>,
    ) {
        let OwnRequest { owner, answer, mark, retry_after_secs, .. } = own;
        if exchange.record.mark.is_empty() {
            exchange.record.mark.extend_from_slice(mark.as_bytes());
        }
        let result = match reason {
            None => Ok(answer),
            Some(reason) => {
                let is_unseen = reason == Reason::QueueFull;
                let body = if is_unseen { take(&mut exchange.spool.memory) } else { Vec::new() };
                Err(Unanswered { reason, retry_after_secs, body })
            }
        };
        let request_id = exchange.request_id;
        self.answered.push_back(Answered { owner, request_id, mark, result });
    }

    /// Sets when waiting is over.
    pub(super) fn own_deadline(&mut self, key: Key, at: Instant) {
        let Some(own) = self.exchanges.get_mut(key).and_then(|found| found.own.as_mut()) else {
            return;
        };
        own.deadline = Some(at);
        self.wheel.schedule(Timer::Own(key), at);
    }

    /// A timer went off; the deadline may have moved since, and then has another one.
    pub(super) fn own_timer(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(own) = &mut exchange.own else { return };
        if own.deadline.take_if(|at| *at <= now).is_none() {
            return;
        }
        match exchange.state {
            State::Waiting => self.waited_too_long(key),
            State::Linking => self.link_exchange(key),
            _ => {}
        }
    }

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
            Pause::Quiet | Pause::Gone => {}
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
                            if own.answer.body.len() + data.len() > own.answer_bytes {
                                return Pause::Failed(Reason::AnswerTooLarge);
                            }
                            own.answer.body.extend_from_slice(data);
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
            if input.space().is_empty() && !input.grow(limits::HEAD_BYTES + 4) {
                return Pause::Failed(Reason::WorkerMalformed);
            }
            match link.fill(input, usize::MAX) {
                Filled::Bytes(_) => {
                    if let Some(exchange) = self.exchanges.get(key)
                        && exchange.state == State::Answering
                    {
                        link.deadline = Some(self.clock.now() + exchange.patience.read);
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
        exchange.record.answer_begins(head, buf, &signals);
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
}

impl Record {
    /// The edge itself asks.
    fn begin_own(&mut self, method: &str, target: &str, host: &[u8]) {
        self.method.extend_from_slice(method.as_bytes());
        self.path.extend_from_slice(target.as_bytes());
        self.host.extend_from_slice(host);
    }
}
