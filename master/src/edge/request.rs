//! A request's head is complete: who asks, what for, and who shall answer.

use super::answer::output;
use super::exchange::{Exchange, State};
use super::proxy::Proxied;
use super::routing::{Errand, Way};
use super::turn::Edge;
use super::upload::Upload;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::files::compress::Wish;
use rip::guard::request_id::RequestId;
use rip::http1::changes::Changes;
use rip::http1::fields::{self, ForwardRequest, ToUpstream};
use rip::http1::head::{BodyLength, RequestHead};
use rip::http1::known::Known;
use rip::http1::{encode, upgrade};
use rip::ids::PoolNumber;
use rip::observe::note::Handler;
use std::io::Write;
use std::net::IpAddr;

impl Edge {
    /// Starts what the request asks for. `buf` holds the head and nothing else.
    pub(super) fn begin(&mut self, front: Key, head: &RequestHead, buf: &[u8]) {
        if self.drain.is_some()
            && let Some(front) = self.fronts.get_mut(front)
        {
            front.server.close_after_this();
        }
        self.look_at_configuration();
        if self.answer_admin(front, head, buf) || self.answer_challenge(front, head, buf) {
            return;
        }
        self.note_host(head, buf);
        self.note_come_back(front);
        if self.send_to_https(front, head, buf)
            || self.answer_builtin(front, head, buf)
            || self.refuse_for_rate(front, head, buf)
            || self.answer_operator(front, head, buf)
            || self.begin_dashboard(front, head, buf)
            || self.begin_live_stream(front, head, buf)
            || self.begin_realtime(front, head, buf)
            || self.begin_publish(front, head, buf)
            || self.begin_session(front, head, buf)
        {
            return;
        }
        match self.way(head, buf) {
            Way::Proxy(_) if fields::has_passed(head, buf, self.pseudonym.as_bytes()) => {
                self.refuse(front, Reason::ProxyLoop, "", Some((head, buf)));
            }
            Way::App(errand) | Way::Proxy(errand) => match head.body() {
                BodyLength::Length(length) if length > errand.body_limit => {
                    self.refuse_on_route(front, Reason::BodyTooLarge, (head, buf), &errand);
                }
                _ => self.begin_exchange(front, head, buf, &errand),
            },
            Way::Redirect(rule) => self.redirect(front, head, buf, rule),
            Way::Static(rule) => self.answer_with_file(front, head, buf, rule),
            Way::Refused(Reason::HostNotFound) => {
                self.refuse(front, self.unknown_host(front), "", Some((head, buf)));
            }
            Way::Refused(reason) => self.refuse(front, reason, "", Some((head, buf))),
        }
    }

    /// How a request is refused whose host is none of ours: another connection may lead to whoever is for
    /// it (RFC 9110 §15.5.20).
    pub(super) fn unknown_host(&self, front: Key) -> Reason {
        if self.is_secure(front) { Reason::Misdirected } else { Reason::HostNotFound }
    }

    /// The request's id: the client's own when it is fit to be one.
    pub(super) fn request_id(&mut self, head: &RequestHead, buf: &[u8]) -> RequestId {
        let own = head.find(Known::XRequestId).map(|span| span.of(buf));
        RequestId::new(own, &mut self.entropy)
    }

    /// An exchange of a request that the edge answers itself, once its body has come: no rule takes it
    /// and no pool gets it.
    pub(super) fn poolless(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> Box<Exchange> {
        let request_id = self.request_id(head, buf);
        let peer = self.client_ip(key, Some((head, buf)));
        let mut exchange = self.blanks.pop().unwrap_or_else(|| Box::new(Exchange::blank()));
        exchange.front = Some(key);
        exchange.pool = PoolNumber::NONE;
        exchange.rule = usize::MAX;
        exchange.snapshot = self.snapshots.pin();
        exchange.request_id = request_id;
        exchange.state = State::Receiving;
        exchange.head_only = head.method_kind() == rip::http1::method::Method::Head;
        exchange.record.begin(head, buf, self.clock.now(), self.clock.wall());
        exchange.record.peer = peer;
        self.note_connection(key, &mut exchange.record);
        exchange
    }

    /// The front waits for what comes of `exchange`, whose body is read first.
    pub(super) fn enter(&mut self, key: Key, head: &RequestHead, exchange: Box<Exchange>) -> Key {
        let exchange = self.exchanges.insert(exchange);
        if let Some(front) = self.fronts.get_mut(key) {
            front.exchange = Some(exchange);
        }
        if !matches!(head.body(), BodyLength::None | BodyLength::Length(0)) {
            self.invite_body(key);
            self.await_body(key, exchange);
        }
        exchange
    }

    /// The fields of a client's own that go with every POST on its behalf.
    pub(super) fn fields_of_client(
        &self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        rule: Option<usize>,
    ) -> Vec<u8> {
        let mut fields = Vec::new();
        let Some(front) = self.fronts.get(key) else { return fields };
        let active = self.snapshots.active();
        let client = front.client(head, buf, active);
        let (mut address, mut client_address) = (AddressText::default(), AddressText::default());
        let mut rules = Vec::new();
        self.collect_changes_of(rule, &mut rules);
        let changes = active.table.headers().request(&rules);
        fields::lasting_fields(
            head,
            buf,
            &ForwardRequest {
                request_id: b"",
                client_ip: address.of(front.peer().ip()),
                proto: client.scheme.as_str(),
                proxied: client.is_proxied.then(|| fields::Proxied {
                    host: client.host,
                    client_ip: client_address.of(client.ip),
                }),
                received: self.clock.wall(),
                body: BodyLength::None,
                target: None,
                keep_alive: true,
                underscores: active.config.edge.underscores,
                changes: changes.as_ref().map(|changes| changes as &dyn Changes),
                upstream: None,
            },
            &mut fields,
        );
        fields
    }

    fn begin_exchange(&mut self, key: Key, head: &RequestHead, buf: &[u8], errand: &Errand) {
        let request_id = self.request_id(head, buf);
        let Some(front) = self.fronts.get_mut(key) else { return };
        let now = self.clock.now();
        let mut exchange = self.blanks.pop().unwrap_or_else(|| Box::new(Exchange::blank()));
        exchange.front = Some(key);
        exchange.pool = errand.pool;
        exchange.patience = errand.patience;
        exchange.body_limit = errand.body_limit;
        exchange.rule = errand.rule;
        exchange.snapshot = self.snapshots.pin();
        self.seats.enter(errand.pool);
        exchange.request_id = request_id;
        exchange.idempotent = head.method_kind().is_idempotent();
        exchange.head_only = head.method_kind() == rip::http1::method::Method::Head;
        let client = front.client(head, buf, self.snapshots.active());
        exchange.record.peer = Some(client.ip);
        exchange.record.begin(head, buf, now, self.clock.wall());
        exchange.record.trail.connection = front.connection;
        exchange.record.trail.select = errand.select;
        exchange.record.trail.handler =
            if errand.upstream.is_some() { Handler::Upstream } else { Handler::App };

        let (mut address, mut client_address) = (AddressText::default(), AddressText::default());
        let peer = address.of(front.peer().ip());
        self.collect_changes(errand.rule, &mut exchange.changes);
        self.note_rule(&mut exchange.record, Some(errand.rule));
        let active = self.snapshots.active();
        let changes = active.table.headers().request(&exchange.changes);
        let upstream = errand.upstream.and_then(|index| active.upstreams.get(index));
        // The end of the head is written when the body is whole and its worker is known.
        fields::forward_request_fields(
            head,
            buf,
            &ForwardRequest {
                request_id: exchange.request_id.as_bytes(),
                client_ip: peer,
                proto: client.scheme.as_str(),
                proxied: client.is_proxied.then(|| fields::Proxied {
                    host: client.host,
                    client_ip: client_address.of(client.ip),
                }),
                received: self.clock.wall(),
                body: BodyLength::None,
                target: None,
                keep_alive: true,
                underscores: active.config.edge.underscores,
                changes: changes.as_ref().map(|changes| changes as &dyn Changes),
                upstream: upstream.map(|upstream| ToUpstream {
                    host: active.host_of(errand.rule, upstream).map(str::as_bytes),
                    pseudonym: self.pseudonym.as_bytes(),
                }),
            },
            &mut exchange.request,
        );
        exchange.request_fields_end = exchange.request.len();
        exchange.proxied = upstream.map(|upstream| {
            let path_at = head.method(buf).len() + 1;
            Box::new(Proxied::new(upstream, head.method_kind(), path_at))
        });
        exchange.upgrade = upgrade::wants_websocket(head, buf);
        exchange.record.trail.upgrade = exchange.upgrade;
        exchange.wish = (active.config.routes.get(errand.rule))
            .filter(|_| !exchange.upgrade)
            .and_then(|rule| Wish::of(rule.compress, head, buf));
        exchange.has_body = head.body() != BodyLength::None;
        exchange.state = State::Receiving;
        let body_follows = !matches!(head.body(), BodyLength::None | BodyLength::Length(0));
        let streams = body_follows && errand.streams;
        exchange.upload = streams.then(|| Upload::new(head.body()));
        let exchange = self.exchanges.insert(exchange);
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.exchange = Some(exchange);
        if streams {
            // The body is read when there is somebody to take it.
            return self.ask_for_backend(exchange);
        }
        if body_follows {
            self.invite_body(key);
            self.await_body(key, exchange);
        }
    }

    /// The client may send the body it holds back.
    pub(super) fn invite_body(&mut self, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        if front.server.wants_continue() {
            output(&mut front.output, &mut self.blocks).extend_from_slice(encode::CONTINUE);
            front.server.continue_sent();
            self.flush_front(key);
        }
    }

    /// The body has arrived whole.
    pub(super) fn body_complete(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.upload.is_some() {
            return self.upload_complete(key);
        }
        if exchange.publishing.is_some() {
            return self.publish(key);
        }
        if exchange.door.is_some() {
            return self.send_knock(key);
        }
        if exchange.asking.is_some() {
            return self.session_asked(key);
        }
        exchange.state = State::Storing;
        if self.write_spool(key) {
            self.ask_for_backend(key);
        }
    }
}

/// An address as text, without an allocation.
pub(super) struct AddressText {
    bytes: [u8; 46],
}

impl Default for AddressText {
    fn default() -> Self {
        Self { bytes: [0; 46] }
    }
}

impl AddressText {
    /// `ip` as text; an IPv4 address that came in over IPv6 is shown as what it is.
    pub(super) fn of(&mut self, ip: IpAddr) -> &[u8] {
        let mut rest = &mut self.bytes[..];
        // The longest IPv6 text has 45 bytes: writing cannot fail.
        let _ = match ip.to_canonical() {
            // Every request says who asks; formatting would cost more than all of its fields.
            IpAddr::V4(ip) => write_octets(ip.octets(), &mut rest),
            IpAddr::V6(ip) => write!(rest, "{ip}"),
        };
        let left = rest.len();
        let end = self.bytes.len() - left;
        &self.bytes[..end]
    }
}

fn write_octets(octets: [u8; 4], out: &mut &mut [u8]) -> std::io::Result<()> {
    for (index, octet) in octets.into_iter().enumerate() {
        let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
        let skipped = usize::from(octet < 100) + usize::from(octet < 10);
        if index > 0 {
            out.write_all(b".")?;
        }
        out.write_all(&digits[skipped..])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_what_they_are() {
        for (ip, text) in [
            ("127.0.0.1", "127.0.0.1"),
            ("0.9.10.99", "0.9.10.99"),
            ("100.199.200.255", "100.199.200.255"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let mut address = AddressText::default();
            assert_eq!(address.of(ip.parse().unwrap()), text.as_bytes());
        }
    }
}
