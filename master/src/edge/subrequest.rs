//! A request that the edge itself makes of an app.
//!
//! It goes the way of any client's: through the pool and its queue, with a lease, over a link, with
//! the app's deadlines, into the counters and the access log. In place of a client there is an owner,
//! who is told in a later step of the loop's turn what came of it, exactly once, unless it stopped
//! waiting:
//!
//! * A WebSocket client gets the whole answer, or why there is none.
//! * A turn of a session is told that there is more of it, and takes it as fast as it can; what it has
//!   not taken yet when the answer ends comes with the end. Its worker has so much time in all, and may
//!   be silent for as long as it likes within that.
//!
//! Its body comes from memory. Whether it was run is not known when its worker dies, so it is sent
//! again only where no worker can have seen it.

use super::answer::field_of;
use super::exchange::{Exchange, Patience, Record, State};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use rip::contract::app::AppTimeouts;
use rip::contract::reason::Reason;
use rip::guard::request_id::RequestId;
use rip::ids::{AppId, PoolNumber};
use rip::observe::note::Handler;
use rip::time::Instant;
use std::mem::take;
use std::net::IpAddr;
use std::time::Duration;

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// A WebSocket client.
    Socket(Key),
    /// A turn of a session.
    Turn(Key),
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
    /// The longest body of an answer, in bytes; to a turn, how much of it waits here for being taken.
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
    pub(super) owner: Owner,
    /// What its owner has not got yet.
    pub(super) answer: OwnAnswer,
    pub(super) answer_bytes: usize,
    /// How long a worker may take in all, where the app's read timeout does not count.
    pub(super) time: Option<Duration>,
    /// Its owner is about to be told that there is more of the answer.
    pub(super) is_noted: bool,
    /// Nobody wants the rest of the answer, but its end.
    pub(super) is_ignored: bool,
    mark: &'static str,
    /// When waiting for a worker, or for room in its backlog, or for others is over. Each has a timer of
    /// its own.
    pub(super) deadline: Option<Instant>,
    /// When to come again, as the pool said.
    pub(super) retry_after_secs: Option<u32>,
}

/// An answer to a request of the edge's own, or a piece of one.
#[derive(Debug, Default)]
pub(super) struct OwnAnswer {
    /// 0 in a piece that follows the first.
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

/// Something about a request of the edge's own, for who asked.
pub(super) enum News {
    /// What came of the POST of a WebSocket client.
    Answered(Answered),
    /// There is more of the answer to this turn.
    More(Key),
    /// The answer to this turn has ended: what of it was not taken yet, and why that is not all of it.
    Ended(Key, OwnAnswer, Option<Unanswered>),
    /// The worker that this turn gave up is free, or gone.
    Free(Key),
}

/// What came of a request on behalf of a WebSocket client.
pub(super) struct Answered {
    pub(super) socket: Key,
    pub(super) request_id: RequestId,
    pub(super) mark: &'static str,
    pub(super) result: Result<OwnAnswer, Unanswered>,
}

impl Edge {
    /// Asks the app of the active configuration; where that has no such app any more, those workers
    /// of it that were asked last, as long as they are there. `None` when they are not: then nothing
    /// was asked, and nothing follows. Otherwise the answer comes by [`Self::take_answer`].
    pub(super) fn ask(&mut self, app: &AppId, ask: Ask<'_>) -> Option<Asked> {
        self.look_at_configuration();
        let active = self.snapshots.active();
        let (pool, timeouts) = match active.config.app_index(app) {
            Some(index) => {
                let timeouts = &active.config.apps.get(index)?.timeouts;
                (active.pools.get(index)?.number, timeouts)
            }
            None => {
                let pool = ask.pool.and_then(|number| self.seats.pool(number))?;
                (pool.number, &AppTimeouts::default())
            }
        };
        let patience = Patience::from(timeouts);
        let is_turn = matches!(ask.owner, Owner::Turn(_));
        let mut exchange = self.blanks.pop().unwrap_or_else(|| Box::new(Exchange::blank()));
        exchange.own = Some(Box::new(OwnRequest {
            owner: ask.owner,
            answer: OwnAnswer::default(),
            answer_bytes: ask.answer_bytes,
            time: is_turn.then_some(timeouts.turn),
            is_noted: false,
            is_ignored: false,
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
        record.trail.own = true;
        record.trail.handler = Handler::App;
        record.trail.config = self.snapshots.active().version;
        record.bytes_in = ask.body.len() as u64;
        // What a WebSocket client says is bounded where it comes in.
        let has_room = !is_turn || exchange.spool.reserve(ask.body.len() as u64, &self.shared);
        exchange.spool.memory = ask.body;
        let key = self.exchanges.insert(exchange);
        if has_room {
            self.ask_for_worker(key);
        } else {
            self.fail(key, Reason::SpoolFull);
        }
        Some(Asked { key, pool })
    }

    /// Hands on what there is to be told.
    pub(super) fn take_news(&mut self, news: News) {
        match news {
            News::Answered(answered) => self.take_answer(answered),
            News::More(turn) => self.drive_turn(turn),
            News::Ended(turn, rest, unanswered) => self.turn_answered(turn, rest, unanswered),
            News::Free(turn) => self.worker_is_free(turn),
        }
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
        let unanswered = reason.map(|reason| {
            let is_unseen = reason == Reason::QueueFull;
            let body = if is_unseen { take(&mut exchange.spool.memory) } else { Vec::new() };
            Unanswered { reason, retry_after_secs, body }
        });
        self.news.push_back(match owner {
            Owner::Turn(turn) => News::Ended(turn, answer, unanswered),
            Owner::Socket(socket) => {
                let (request_id, result) =
                    (exchange.request_id, unanswered.map_or(Ok(answer), Err));
                News::Answered(Answered { socket, request_id, mark, result })
            }
        });
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
            State::Sending | State::Answering => self.read_on(key),
            _ => {}
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
