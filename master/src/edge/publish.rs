//! `POST /publish`: messages for WebSocket clients from who holds no worker.
//!
//! The app is that of the host's realtime. The request is an exchange without a pool: its body is
//! read like any other's, its instructions are carried out by the hub, and it is answered when every
//! loop has said how many of its clients got something.

use super::answer::OwnAnswer;
use super::exchange::State;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::hub::AppHub;
use crate::shared::mail::EdgeMessage;
use rip::contract::realtime::RealtimeConfig;
use rip::contract::reason::Reason;
use rip::entropy::Entropy;
use rip::http1::Method;
use rip::http1::head::{BodyLength, RequestHead};
use rip::limits;
use rip::observe::note::Handler;
use rip::realtime::publish::{self, Tally, bearer, is_same_secret};
use rip::realtime::{Count, CountFor};
use std::sync::Arc;

/// What an exchange knows that publishes.
pub(super) struct Publishing {
    pub(super) hub: Arc<AppHub>,
    body: Vec<u8>,
    tally: Tally,
}

impl Publishing {
    /// Takes in a piece of the body.
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Reason> {
        if self.body.len() + data.len() > limits::PUBLISH_BYTES {
            return Err(Reason::BodyTooLarge);
        }
        self.body.extend_from_slice(data);
        Ok(())
    }
}

impl Edge {
    /// Begins to publish if that is what the request is for. False when it is not.
    pub(super) fn begin_publish(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let path = head.path().path(buf);
        let own = self.snapshots.active().config.edge.publish.path.as_deref();
        let is_own = own.is_some_and(|own| own.as_bytes() == path);
        if !is_own || head.method_kind() != Method::Post {
            return false;
        }
        let Some(config) = self.realtime_of_host() else {
            self.refuse(key, Reason::NotFound, "", Some((head, buf)));
            return true;
        };
        if self.refuse_unless_told(key, (head, buf), Some(&config)) {
            return true;
        }
        match head.body() {
            BodyLength::Length(length) if length > limits::PUBLISH_BYTES as u64 => {
                self.refuse(key, Reason::BodyTooLarge, "", Some((head, buf)));
            }
            _ => self.read_what_is_published(key, head, buf, &config),
        }
        true
    }

    /// The realtime of the host noted last.
    pub(super) fn realtime_of_host(&mut self) -> Option<Arc<RealtimeConfig>> {
        let active = self.snapshots.active();
        if let Some(config) = active.realtime.of_whole_host(self.routing.host()) {
            return Some(Arc::clone(config));
        }
        let rule = self.rule_at(crate::shared::realtime::UNASKED_PATH)?;
        let active = self.snapshots.active();
        let (app, _) = active.app_of(rule)?;
        active.realtime.unasked(&app.id).cloned()
    }

    /// Refuses who does not know the secret of publishing: that of the host's realtime, `config`, else the
    /// server's. True when it was refused.
    pub(super) fn refuse_unless_told(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        config: Option<&RealtimeConfig>,
    ) -> bool {
        let Err(reason) = self.may_publish(key, (head, buf), config) else { return false };
        self.refuse_with(key, reason, (head, buf), b"WWW-Authenticate: Bearer\r\n");
        true
    }

    fn may_publish(
        &self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        config: Option<&RealtimeConfig>,
    ) -> Result<(), Reason> {
        let active = self.snapshots.active();
        let given = head
            .fields()
            .iter()
            .find(|field| field.name.of(buf).eq_ignore_ascii_case(b"authorization"))
            .and_then(|field| bearer(field.value.of(buf)))
            .unwrap_or_default();
        let publish = &active.config.edge.publish;
        let is_right = match (
            config.and_then(|config| config.publish_secret_file.as_ref()),
            self.shared.publish_secret.as_ref(),
            publish.secret_file.as_ref(),
        ) {
            (Some(file), ..) | (None, None, Some(file)) => active.secrets.is_in(file, given),
            (None, Some(secret), _) => is_same_secret(given, secret.expose().as_bytes()),
            (None, None, None) => {
                let may = publish.open || self.is_local(key, head, buf);
                return if may { Ok(()) } else { Err(Reason::NoSecret) };
            }
        };
        if is_right { Ok(()) } else { Err(Reason::Unauthorized) }
    }

    fn read_what_is_published(
        &mut self,
        key: Key,
        head: &RequestHead,
        buf: &[u8],
        config: &RealtimeConfig,
    ) {
        let seed = self.entropy.next_u64();
        let settings = || self.snapshots.active().realtime.settings_of(&config.app_id);
        let hub = self.shared.hubs.of(&config.app_id, settings, seed);
        let mut exchange = self.poolless(key, head, buf);
        exchange.body_limit = limits::PUBLISH_BYTES as u64;
        exchange.record.trail.handler = Handler::Realtime;
        exchange.publishing =
            Some(Box::new(Publishing { hub, body: Vec::new(), tally: Tally::new() }));
        self.enter(key, head, exchange);
    }

    /// Everything that is to be published has come.
    pub(super) fn publish(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.state = State::Answering;
        let Some(publishing) = &mut exchange.publishing else { return };
        let items = match publish::parse(&std::mem::take(&mut publishing.body)) {
            Ok(items) => items,
            Err(why) => {
                return self.answer_publish(key, 400, PLAIN, &format!("{why}\n").into_bytes());
            }
        };
        items.iter().for_each(|item| publishing.tally.name(item));
        let hub = Arc::clone(&publishing.hub);
        let count = CountFor { at: self.index, key: key.as_u64() };
        let letters = hub.apply(self.index, items, None, Some(count), now);
        publishing.tally.expect(letters);
        self.answer_publish_if_counted(key);
    }

    /// Tells the loop that wants to know how many of this loop's clients got something.
    pub(super) fn send_count(&self, count: Count) {
        if count.count_for.at == self.index {
            self.own.leave(EdgeMessage::Counted(count));
        } else {
            self.shared.hubs.mail(count.count_for.at, EdgeMessage::Counted(count));
        }
    }

    /// A loop has counted.
    pub(super) fn take_count(&mut self, count: Count) {
        let key = Key::from_u64(count.count_for.key);
        if let Some(exchange) = self.exchanges.get_mut(key)
            && let Some(publishing) = &mut exchange.publishing
        {
            publishing.tally.count(count);
            self.answer_publish_if_counted(key);
        }
    }

    fn answer_publish_if_counted(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let Some(publishing) = &exchange.publishing else { return };
        if publishing.tally.is_complete() {
            let body = publishing.tally.json();
            self.answer_publish(key, 200, "application/json", &body);
        }
    }

    fn answer_publish(&mut self, key: Key, status: u16, content_type: &str, body: &[u8]) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(front) = exchange.front else { return };
        let id = exchange.request_id;
        let own = OwnAnswer {
            status,
            content_type,
            body,
            changes: None,
            handler: Handler::Realtime,
            rule: None,
        };
        let Some((after, body_bytes)) = self.write_answer(front, &id, &own, |_| {}) else { return };
        if let Some(exchange) = self.exchanges.get_mut(key) {
            let record = &mut exchange.record;
            record.status = status;
            record.bytes_out = body_bytes;
            record.media_type.extend_from_slice(content_type.as_bytes());
        }
        self.forget(key, None);
        self.answer_ended(front, after);
        self.flush_and_go_on(front);
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
