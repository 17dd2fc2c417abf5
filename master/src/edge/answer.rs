//! Answers the edge makes itself, and how every exchange ends: the one place where a reason becomes
//! a status, a body, a counter and a line.

use super::exchange::{Exchange, Record};
use super::front::Front;
use super::request::AddressText;
use super::routing::Errand;
use super::secure::{add_hsts, hsts};
use super::turn::Edge;
use crate::reactor::buffers::Blocks;
use crate::reactor::outbox::Outbox;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::files::range;
use rip::guard::request_id::RequestId;
use rip::http1::changes::Changes;
use rip::http1::fields::Signals;
use rip::http1::head::{RequestHead, ResponseHead};
use rip::http1::known::Known;
use rip::http1::method::Method;
use rip::http1::opening::opening;
use rip::http1::server::After;
use rip::http1::{FieldWriter, ResponseLength, encode};
use rip::observe::access::Access;
use rip::observe::counter::Counter;
use rip::observe::note::Handler;
use rip::observe::tally::{Done, is_endless};
use rip::pool::Outcome;
use rip::session;
use rip::time::{Instant, UnixMillis};
use rip::upstream::Outcome as UpstreamOutcome;
use std::sync::Arc;

impl Edge {
    /// Refuses what came on a connection that carries no exchange. `head` is what was read of the
    /// request, if it was a request.
    pub(super) fn refuse(
        &mut self,
        key: Key,
        reason: Reason,
        detail: &'static str,
        head: Option<(&RequestHead, &[u8])>,
    ) {
        let request = head.map_or(Refused::Unread(b""), |(head, buf)| Refused::Read(head, buf, ""));
        self.refuse_changed(key, reason, detail, request, (b"", None), None);
    }

    /// Refuses what could not be read as a request; `input` is what came of it.
    pub(super) fn refuse_unread(
        &mut self,
        key: Key,
        reason: Reason,
        detail: &'static str,
        input: &[u8],
    ) {
        self.refuse_changed(key, reason, detail, Refused::Unread(input), (b"", None), None);
    }

    /// What came is not HTTP at all: the connection ends without a word, but not untold.
    pub(super) fn refuse_silently(&mut self, key: Key, reason: Reason) {
        let id = RequestId::new(None, &mut self.entropy);
        let mut record = Record { status: reason.status(), ..Record::default() };
        (record.began, record.wall) = (self.clock.now(), self.clock.wall());
        self.tell(key, &id, "", &record, Some(reason));
        self.close_front(key);
    }

    /// Refuses a request with further fields in the answer, `fields`, as whole lines.
    pub(super) fn refuse_with(
        &mut self,
        key: Key,
        reason: Reason,
        head: (&RequestHead, &[u8]),
        fields: &[u8],
    ) {
        let request = Refused::Read(head.0, head.1, "");
        self.refuse_changed(key, reason, "", request, (fields, None), None);
    }

    /// The same for a request that a rule has taken: its answer is changed as all of that route are.
    pub(super) fn refuse_on_route(
        &mut self,
        key: Key,
        reason: Reason,
        head: (&RequestHead, &[u8]),
        errand: &Errand,
    ) {
        let snapshot = Arc::clone(self.snapshots.active());
        let pool = self.seats.pool(errand.pool).cloned();
        let upstream = errand.upstream.and_then(|upstream| snapshot.config.upstreams.get(upstream));
        let app = pool.as_ref().map(|pool| pool.id.as_str());
        let app = app.or(upstream.map(|upstream| upstream.id.as_str())).unwrap_or_default();
        let mut rules = Vec::new();
        self.collect_changes(errand.rule, &mut rules);
        let changes = snapshot.table.headers().response(&rules);
        let changes = changes.as_ref().map(|changes| changes as &dyn Changes);
        let request = Refused::Read(head.0, head.1, app);
        self.refuse_changed(key, reason, "", request, (b"", changes), Some(errand.rule));
    }

    fn refuse_changed(
        &mut self,
        key: Key,
        reason: Reason,
        detail: &'static str,
        request: Refused<'_>,
        (fields, changes): (&[u8], Option<&dyn Changes>),
        rule: Option<usize>,
    ) {
        let mut record = Record::default();
        let (id, accept, app, head) = match request {
            Refused::Read(head, buf, app) => {
                record.begin(head, buf, self.clock.now(), self.clock.wall());
                let accept = head.find(Known::Accept).unwrap_or_default().of(buf);
                (self.request_id(head, buf), accept, app, Some((head, buf)))
            }
            Refused::Unread(input) => {
                let (method, target) = opening(input);
                (record.began, record.wall) = (self.clock.now(), self.clock.wall());
                record.method.extend_from_slice(method);
                record.path.extend_from_slice(target);
                (RequestId::new(None, &mut self.entropy), &b""[..], "", None)
            }
        };
        if !detail.is_empty() {
            log::debug!("{id}: refused as {}: {detail}", reason.code());
        }
        record.peer = self.client_ip(key, head);
        record.trail.detail = detail;
        self.note_rule(&mut record, rule);
        let refusal =
            Refusal { reason, accept, retry_after_secs: None, fields, size: None, changes };
        self.write_refusal(key, &id, &refusal, &mut record);
        self.tell(key, &id, app, &record, Some(reason));
    }

    /// Answers the exchange with `reason`, or cuts its answer off where one has begun.
    pub(super) fn fail(&mut self, key: Key, reason: Reason) {
        self.fail_for(key, reason, None);
    }

    /// The pool refused the exchange.
    pub(super) fn shed(&mut self, key: Key, reason: Reason, retry_after_secs: u32) {
        self.fail_for(key, reason, Some(retry_after_secs));
    }

    fn fail_for(&mut self, key: Key, reason: Reason, retry_after_secs: Option<u32>) {
        self.take_back_head(key);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(front_key) = exchange.front else {
            if let Some(own) = &mut exchange.own {
                own.retry_after_secs = retry_after_secs;
            }
            return self.forget(key, Some(reason));
        };
        if !exchange.answered {
            if reason == Reason::BodyTooLarge && exchange.asking.is_some() {
                return self.refuse_asking(key, &session::Refusal::TooLarge);
            }
            let id = exchange.request_id;
            let request = std::mem::take(&mut exchange.request);
            let mut record = std::mem::take(&mut exchange.record);
            let snapshot = self.snapshots.get(exchange.snapshot).cloned();
            let rules = std::mem::take(&mut exchange.changes);
            let changes =
                snapshot.as_ref().and_then(|found| found.table.headers().response(&rules));
            let accept = match &exchange.asking {
                Some(_) => b"application/json",
                None => field_of(&request, b"accept"),
            };
            let refusal = Refusal {
                reason,
                accept,
                retry_after_secs,
                fields: b"",
                size: None,
                changes: changes.as_ref().map(|changes| changes as &dyn Changes),
            };
            self.write_refusal(front_key, &id, &refusal, &mut record);
            if let Some(exchange) = self.exchanges.get_mut(key) {
                exchange.request = request;
                exchange.record = record;
            }
            return self.forget(key, Some(reason));
        }
        // What the client got is cut off, and not ended: so it can tell that something is missing.
        let Some(front) = self.fronts.get_mut(front_key) else {
            return self.forget(key, Some(reason));
        };
        let is_until_close = front.server.answers_until_close();
        let after = front.abort();
        self.forget(key, Some(reason));
        if is_until_close {
            return self.reset_front(front_key);
        }
        self.answer_ended(front_key, after);
        self.flush_front(front_key);
    }

    /// Writes the whole answer to a refused request and settles the connection's future.
    pub(super) fn write_refusal(
        &mut self,
        key: Key,
        id: &RequestId,
        refusal: &Refusal<'_>,
        record: &mut Record,
    ) {
        let Refusal { reason, accept, retry_after_secs, fields: more, size, changes } = *refusal;
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        let allow = self.routing.take_allow();
        let content_type =
            rip::http1::refusal::error_body(reason, accept, id.as_bytes(), &mut body);
        record.status = reason.status();
        record.media_type.clear();
        record.media_type.extend_from_slice(content_type.as_bytes());
        let status = reason.status();
        let (handler, rule) = (Handler::Edge, None);
        let own = OwnAnswer { status, content_type, body: &body, changes, handler, rule };
        let after = self.write_answer(key, id, &own, |fields| {
            if let Some(seconds) = retry_after_secs {
                fields.raw(format!("Retry-After: {seconds}\r\n").as_bytes());
            }
            fields.raw(more);
            if let Some(size) = size {
                let mut value = Vec::new();
                range::content_range_of_none(size, &mut value);
                fields.field(b"Content-Range", &value);
            }
            if reason == Reason::MethodNotAllowed {
                fields.field(b"Allow", allow.as_deref().unwrap_or(encode::ALLOW));
            }
        });
        self.scratch = body;
        if let Some((after, body_bytes)) = after {
            record.bytes_out = body_bytes;
            self.answer_ended(key, after);
            self.flush_and_go_on(key);
        }
    }

    /// Writes an answer of the edge's own. Returns what becomes of the connection and how much of
    /// the body there was to send; `None` when the client is gone.
    pub(super) fn write_answer(
        &mut self,
        key: Key,
        id: &RequestId,
        own: &OwnAnswer<'_>,
        more: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Option<(After, u64)> {
        let length = ResponseLength::Known(own.body.len() as u64);
        let front = self.write_head(key, id, own, length, more)?;
        let out = front.output.bytes_mut();
        let before = out.len();
        front.server.body(own.body, out);
        let body_bytes = out.len() - before;
        Some((front.server.end(out), body_bytes as u64))
    }

    /// Writes the head of an answer of the edge's own, whose body follows; `None` when the client is gone.
    pub(super) fn write_head(
        &mut self,
        key: Key,
        id: &RequestId,
        own: &OwnAnswer<'_>,
        length: ResponseLength,
        more: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Option<&mut Front> {
        let OwnAnswer { status, content_type, changes, .. } = *own;
        let date = self.date.line(self.clock.wall());
        let front = self.fronts.get_mut(key)?;
        let hsts = hsts(front, &self.snapshots);
        let out = output(&mut front.output, &mut self.blocks);
        let mut fields = front.server.respond(status, b"", length, out).changed_by(changes);
        fields.server();
        fields.raw(date);
        fields.field(b"X-Request-Id", id.as_bytes());
        if !content_type.is_empty() {
            fields.field(b"Content-Type", content_type.as_bytes());
        }
        add_hsts(hsts, None, &mut fields);
        more(&mut fields);
        fields.finish();
        Some(front)
    }

    /// Answers a request that carries no exchange, and tells of it in the log.
    pub(super) fn answer_whole(
        &mut self,
        front: Key,
        (head, buf): (&RequestHead, &[u8]),
        own: &OwnAnswer<'_>,
        more: impl FnOnce(&mut FieldWriter<'_>),
    ) {
        let id = self.request_id(head, buf);
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.begin(head, buf, self.clock.now(), self.clock.wall());
        record.peer = self.client_ip(front, Some((head, buf)));
        record.trail.handler = own.handler;
        self.note_rule(&mut record, own.rule);
        record.status = own.status;
        record.media_type.extend_from_slice(own.content_type.as_bytes());
        if let Some((after, body_bytes)) = self.write_answer(front, &id, own, more) {
            record.bytes_out = body_bytes;
            self.tell(front, &id, "", &record, None);
            self.answer_ended(front, after);
        }
        self.record = record;
    }

    /// The exchange's answer is complete.
    pub(super) fn finish_answer(&mut self, key: Key) {
        let Some(front_key) = self.exchanges.get(key).and_then(|exchange| exchange.front) else {
            return self.forget(key, None);
        };
        let Some(front) = self.fronts.get_mut(front_key) else { return self.forget(key, None) };
        let after = front.server.end(output(&mut front.output, &mut self.blocks));
        self.forget(key, None);
        self.answer_ended(front_key, after);
        self.flush_and_go_on(front_key);
    }

    /// Sends an answer, and sees to the request that may wait behind it.
    pub(super) fn flush_and_go_on(&mut self, key: Key) {
        if self.flush_front(key) && self.fronts.get(key).is_some_and(Front::has_more_to_read) {
            self.run_later(key);
        }
    }

    /// The exchange is over: what it still holds is given back, and it is told of in the log. Its
    /// front, if it still has one, is not touched.
    pub(super) fn forget(&mut self, key: Key, reason: Option<Reason>) {
        let Some(mut exchange) = self.exchanges.remove(key) else { return };
        if let Some(front) = exchange.front.and_then(|front| self.fronts.get_mut(front)) {
            front.exchange = None;
        }
        self.compressor.drop_coding(&mut exchange);
        if let Some(lease) = exchange.lease.take() {
            match exchange.link {
                Some(link) => {
                    self.watch_for_stuck(link, &exchange);
                    self.abandon_link(link, exchange.pool, lease, exchange.streaming);
                }
                None => self.release(exchange.pool, lease, Outcome::Unused),
            }
        }
        if let Some(proxied) = &mut exchange.proxied
            && exchange.tunnel.is_none()
        {
            // It is not ours to wait for, and a client that leaves shows nothing about it.
            proxied.end(UpstreamOutcome::Unknown, self.clock.now());
            if let Some(link) = exchange.link.take() {
                self.close_link(link);
            }
        }
        exchange.spool.settle_budgets(&self.shared);
        if let Some(reason) = reason
            && exchange.record.status == 0
        {
            // Nobody was left to be answered.
            exchange.record.status = reason.status();
        }
        exchange.note_end(reason);
        if let Some(own) = exchange.own.take() {
            self.answer_own(*own, &mut exchange, reason);
        }
        let asking = exchange.asking.take();
        let front = exchange.front.unwrap_or_else(|| Key::from_u64(0));
        if let Some(pool) = self.seats.pool(exchange.pool).cloned() {
            self.tell_of(&exchange, front, pool.id.as_str(), reason);
        } else if let Some(app) = exchange.tunnel.as_ref().and_then(|tunnel| tunnel.app()) {
            self.tell_of(&exchange, front, app, reason);
        } else if let Some(proxied) = &exchange.proxied {
            self.tell_of(&exchange, front, &proxied.upstream.id, reason);
        } else if let Some(publishing) = &exchange.publishing {
            self.tell_of(&exchange, front, publishing.hub.app.as_str(), reason);
        } else if exchange.door.is_some() {
            self.tell_of(&exchange, front, "", reason);
        } else if let Some(asking) = &asking {
            self.tell_of(&exchange, front, asking.place.app_id.as_str(), reason);
        }
        self.close_tunnel(&mut exchange);
        self.snapshots.unpin(exchange.snapshot);
        if self.seats.leave(exchange.pool) {
            self.report_left(exchange.pool);
        }
        exchange.reset();
        if self.blanks.len() < BLANKS_KEPT {
            self.blanks.push(exchange);
        }
        if let Some(asking) = asking {
            self.asker_left(&asking);
        }
    }

    fn tell_of(&mut self, exchange: &Exchange, front: Key, app: &str, reason: Option<Reason>) {
        self.tell(front, &exchange.request_id, app, &exchange.record, reason);
    }

    /// Counts an answer and writes its access line.
    pub(super) fn tell(
        &mut self,
        front: Key,
        id: &RequestId,
        app: &str,
        record: &Record,
        reason: Option<Reason>,
    ) {
        let now = self.clock.now();
        let queued = record.queued.map(|at| record.leased.unwrap_or(now).since(at));
        let total = now.since(record.began);
        let done = Done {
            app,
            method: Method::of(&record.method),
            status: record.status,
            took: (!is_endless(record.status, &record.media_type)).then_some(total),
            waited: queued.filter(|_| record.waited),
        };
        let index = usize::from(self.index.0);
        self.teller.tell(self.shared.stats.tally(index), &done, now);
        let shard = self.shard();
        shard.add(Counter::BytesIn, record.bytes_in);
        shard.add(Counter::BytesOut, record.bytes_out);
        if let Some(reason) = reason {
            shard.add(Counter::Refusal(reason), 1);
        }
        self.note(front, id, app, record, reason);
        if !self.shared.access_log || (record.silent && reason.is_none()) {
            return;
        }
        let mut address = AddressText::default();
        let peer = record.peer.or_else(|| self.fronts.get(front).map(|front| front.peer().ip()));
        let access = Access {
            at: self.clock.wall(),
            request_id: id.as_bytes(),
            client_ip: peer.map_or(&b""[..], |ip| address.of(ip)),
            host: &record.host,
            app,
            worker: record.worker,
            method: &record.method,
            path: &record.path,
            status: record.status,
            total,
            queued,
            served: record.leased.map(|at| now.since(at)),
            content_type: &record.media_type,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            mark: Some(record.mark.as_slice()).filter(|mark| !mark.is_empty()),
            reason,
        };
        if self.shared.json {
            access.write_json(&mut self.lines);
        } else {
            access.write_human(&mut self.lines);
        }
    }
}

/// What is refused.
#[derive(Clone, Copy)]
enum Refused<'a> {
    /// A request, and the app or upstream it was for, if that is known.
    Read(&'a RequestHead, &'a [u8], &'a str),
    /// Bytes that are none, or not yet one.
    Unread(&'a [u8]),
}

/// Why and how a request is refused.
pub(super) struct Refusal<'a> {
    pub(super) reason: Reason,
    /// The request's `Accept`.
    pub(super) accept: &'a [u8],
    pub(super) retry_after_secs: Option<u32>,
    /// Further fields of the answer, as whole lines.
    pub(super) fields: &'a [u8],
    /// The size of the file none of whose bytes was asked for.
    pub(super) size: Option<u64>,
    /// What the operator changes of the answer's head.
    pub(super) changes: Option<&'a dyn Changes>,
}

/// An answer of the edge's own.
pub(super) struct OwnAnswer<'a> {
    pub(super) status: u16,
    /// Empty where there is none, or the further fields have it.
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    /// What the operator changes of its head.
    pub(super) changes: Option<&'a dyn Changes>,
    /// What makes it.
    pub(super) handler: Handler,
    /// The rule of the active configuration that asks for it.
    pub(super) rule: Option<usize>,
}

impl<'a> OwnAnswer<'a> {
    /// An answer that no rule has to do with.
    pub(super) fn of_edge(status: u16, content_type: &'a str, body: &'a [u8]) -> Self {
        Self { status, content_type, body, changes: None, handler: Handler::Edge, rule: None }
    }
}

impl Record {
    /// A request's head was read.
    pub(super) fn begin(&mut self, head: &RequestHead, buf: &[u8], now: Instant, wall: UnixMillis) {
        self.began = now;
        self.wall = wall;
        self.method.extend_from_slice(head.method(buf));
        self.path.extend_from_slice(head.target(buf));
        self.host.extend_from_slice(head.authority(buf));
    }

    /// A worker's answer began.
    pub(super) fn answer_begins(
        &mut self,
        head: &ResponseHead,
        buf: &[u8],
        signals: &Signals,
        now: Instant,
    ) {
        self.status = head.status();
        (self.trail.answered, self.trail.first_byte) = (head.status(), now);
        self.silent = signals.no_log;
        let media_type = head.find(Known::ContentType).unwrap_or_default().of(buf);
        self.media_type.extend_from_slice(media_type);
        self.mark.extend_from_slice(signals.mark.unwrap_or_default().of(buf));
    }
}

/// A front's output, with memory to write into.
pub(super) fn output<'o>(outbox: &'o mut Outbox, blocks: &mut Blocks) -> &'o mut Vec<u8> {
    if !outbox.holds_memory()
        && let Some(spare) = outbox.lend(blocks.take_vec())
    {
        blocks.give_vec(spare);
    }
    outbox.bytes_mut()
}

/// The value of the first field called `name` in a request head of our own making; empty when there
/// is none.
pub(super) fn field_of<'h>(head: &'h [u8], name: &[u8]) -> &'h [u8] {
    head.split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (found, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b":")?;
            found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
        })
        .unwrap_or_default()
}

/// Used exchanges kept for the next ones.
const BLANKS_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_a_head_whatever_its_case() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nACCEPT: text/html\r\nX: y\r\n\r\n";
        assert_eq!(field_of(head, b"accept"), b"text/html");
        assert_eq!(field_of(head, b"acce"), b"");
        assert_eq!(field_of(b"", b"accept"), b"");
    }
}
