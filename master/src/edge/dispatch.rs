//! From a complete request to a worker: the app's pool decides, this carries it out.

use super::exchange::State;
use super::link::ConnectError;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use rip::http1::head::BodyLength;
use rip::http1::{fields, upgrade};
use rip::ids::PoolNumber;
use rip::observe::note::TryEnd;
use rip::pool::{Bounce, Decision, Lease, Outcome, TicketId};
use rip::time::Instant;
use std::time::Duration;

impl Edge {
    /// The request may be sent now: to a worker, or to an upstream.
    pub(super) fn ask_for_backend(&mut self, key: Key) {
        let is_proxied = self.exchanges.get(key).is_some_and(|exchange| exchange.proxied.is_some());
        if is_proxied { self.choose_target(key) } else { self.ask_for_worker(key) }
    }

    /// Asks the app's pool for a worker.
    pub(super) fn ask_for_worker(&mut self, key: Key) {
        let now = self.clock.now();
        let ticket = self.ticket(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.record.queued = Some(now);
        exchange.state = State::Waiting;
        let Some(pool) = self.seats.pool(exchange.pool) else { return };
        let decision = pool.request(ticket, now, &mut self.settled);
        self.decided(key, decision);
    }

    /// Gives the lease back, because the worker did not take the request, and asks again.
    pub(super) fn bounce(&mut self, key: Key, bounce: Bounce) {
        let now = self.clock.now();
        let ticket = self.ticket(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(lease) = exchange.lease.take() else { return };
        exchange.rewind();
        exchange.record.leased = None;
        exchange.state = State::Waiting;
        self.rest_upload(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let (number, bounces) = (exchange.pool, exchange.bounces);
        exchange.bounces += 1;
        let Some(pool) = self.seats.pool(number) else { return };
        let decision = pool.bounce(lease, ticket, bounce, bounces, now, &mut self.settled);
        self.watch_pauses(number);
        self.decided(key, decision);
    }

    /// Gives the lease back, because the worker failed before it could have run the request (or
    /// the request may be run twice), and asks for another one.
    pub(super) fn retry(&mut self, key: Key) {
        let now = self.clock.now();
        let ticket = self.ticket(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(lease) = exchange.lease.take() else { return };
        exchange.retried = true;
        exchange.rewind();
        exchange.record.leased = None;
        exchange.state = State::Waiting;
        let number = exchange.pool;
        self.rest_upload(key);
        let Some(pool) = self.seats.pool(number) else { return };
        let decision = pool.retry(lease, ticket, now, &mut self.settled);
        self.watch_pauses(number);
        self.decided(key, decision);
    }

    fn decided(&mut self, key: Key, decision: Decision) {
        match decision {
            Decision::Assigned(lease) => self.leased(key, lease),
            Decision::Queued { position } => self.queued(key, position),
            Decision::Shed { reason, retry_after_secs } => self.shed(key, reason, retry_after_secs),
        }
    }

    fn queued(&mut self, key: Key, position: u32) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.record.waited = true;
        if exchange.record.trail.try_count() == 0 {
            exchange.record.trail.position = position;
        }
        let front = exchange.front;
        if let Some(front) = front
            && self.fronts.get(front).is_some_and(|front| front.read_closed)
        {
            return self.close_front(front);
        }
        let queued = exchange.record.queued.unwrap_or_else(|| self.clock.now());
        let at = queued + exchange.patience.queue;
        self.asker_deadline(key, Phase::Queue, at);
    }

    /// Sets a deadline of whoever waits for the exchange's answer.
    fn asker_deadline(&mut self, key: Key, phase: Phase, at: Instant) {
        match self.exchanges.get(key).and_then(|exchange| exchange.front) {
            Some(front) => self.front_deadline(front, phase, at),
            None => self.own_deadline(key, at),
        }
    }

    /// A ticket got its worker, perhaps after its exchange has gone.
    pub(super) fn granted(&mut self, pool: PoolNumber, key: Key, lease: Lease) {
        let waiting =
            self.exchanges.get(key).is_some_and(|exchange| exchange.state == State::Waiting);
        if waiting {
            self.leased(key, lease);
        } else {
            self.release(pool, lease, Outcome::Unused);
        }
    }

    fn leased(&mut self, key: Key, lease: Lease) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.state = State::Linking;
        exchange.record.leased = Some(now);
        exchange.record.worker = Some(lease.worker());
        exchange.lease = Some(lease);
        if let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) {
            front.deadlines.clear(Phase::Queue);
        } else if let Some(own) = &mut exchange.own {
            own.deadline = None;
        }
        self.link_exchange(key);
    }

    /// Finds a connection to the exchange's worker and sends the request.
    pub(super) fn link_exchange(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.proxied.is_some() {
            return self.link_to_target(key);
        }
        let pool = exchange.pool;
        let Some(lease) = exchange.lease.take() else { return };
        let linked = self.link_for(pool, &lease, key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.lease = Some(lease);
        let error = match linked {
            Ok(link) => {
                exchange.link = Some(link);
                exchange.state = State::Sending;
                exchange.connecting = None;
                return self.send_on(link, key);
            }
            Err(error) => error,
        };
        let worker = exchange.lease.as_ref().map(Lease::worker).unwrap_or_default();
        let earlier = exchange.connecting.filter(|(tried, _)| *tried == worker);
        let (_, since) = earlier.unwrap_or((worker, now));
        exchange.connecting = Some((worker, since));
        let patient = now.since(since) < exchange.patience.connect;
        match error {
            ConnectError::Full if patient => {
                self.asker_deadline(key, Phase::Connect, now + BACKLOG_PAUSE);
            }
            ConnectError::Failed(error) if patient => {
                log::debug!("cannot connect to a worker: {error}");
                // A worker that just died is refused to us a moment before its end is known here.
                // It is left alone for a moment; the request keeps its place and was not sent.
                exchange.bounces = 0;
                exchange.note_try(TryEnd::Connect, now);
                self.bounce(key, Bounce::Busy);
            }
            _ => self.fail(key, Reason::WorkerConnect),
        }
    }

    /// The request goes over `link`, as soon as there is something to send.
    pub(super) fn send_on(&mut self, link: Key, key: Key) {
        self.complete_head(link, key);
        let waits = self.exchanges.get(key).is_some_and(|exchange| exchange.upload.is_some());
        if waits { self.invite_upload(key) } else { self.send_request(link, key) }
    }

    /// Writes the end of the request's head: it depends on the body's length and on the link.
    fn complete_head(&mut self, link: Key, key: Key) {
        let Some(link) = self.links.slab.get_mut(link) else { return };
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.request.truncate(exchange.request_fields_end);
        if exchange.upgrade {
            link.client.request_upgrade();
            return upgrade::finish_upgrade(&mut exchange.request);
        }
        link.client.request(exchange.head_only);
        let body = match (&exchange.upload, exchange.has_body) {
            (Some(upload), _) => upload.length,
            (None, true) => BodyLength::Length(exchange.spool.total_bytes()),
            (None, false) => BodyLength::None,
        };
        fields::finish_request(body, link.keeps_alive(), &mut exchange.request);
    }

    /// The request waited in the queue for as long as the app allows.
    pub(super) fn waited_too_long(&mut self, key: Key) {
        let now = self.clock.now();
        let ticket = self.ticket(key);
        let Some(exchange) = self.exchanges.get(key) else { return };
        if exchange.state != State::Waiting {
            return;
        }
        if exchange.door.is_some() {
            return self.control_is_busy(key);
        }
        // When the ticket is not in the queue any more its grant is in the mail and comes in time.
        let Some(pool) = self.seats.pool(exchange.pool) else { return };
        if pool.cancel(ticket, now, &mut self.settled) {
            self.fail(key, Reason::QueueTimeout);
        }
    }

    /// This loop's ticket for an exchange.
    pub(super) fn ticket(&self, key: Key) -> TicketId {
        TicketId { loop_index: self.index, key: key.as_u64() }
    }
}

/// A worker's full backlog is tried again after this.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);
