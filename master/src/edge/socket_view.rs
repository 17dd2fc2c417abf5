//! A group that is read as server-sent events: `GET <path>/events?group=/lobby`.
//!
//! The app is POSTed `subscribe`, and allows it by an answer that has the group in its `"+"`; nothing
//! else of that answer is done. What the reader missed since its `Last-Event-ID` comes first.

use super::answer::output;
use super::front::Front;
use super::socket::Socket;
use super::socket_open::Opening;
use super::speech::Stage;
use super::subrequest::{OwnAnswer, Unanswered};
use super::turn::Edge;
use crate::reactor::buffers::Blocks;
use crate::reactor::slab::Key;
use rip::contract::realtime::RealtimeConfig;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use rip::http1::head::RequestHead;
use rip::http1::known::Known;
use rip::http1::method::Method;
use rip::http1::{ResponseLength, encode};
use rip::realtime::origin::{self, Guest};
use rip::realtime::{Deed, GroupName, Item, recover, sse};
use std::sync::Arc;
use std::time::Duration;

impl Socket {
    /// Tells a reader. True when it got a message.
    pub(super) fn show(&mut self, deed: Deed<'_>, front: &mut Front, blocks: &mut Blocks) -> bool {
        let (frame, note, may_wait) = match deed {
            Deed::Send { frame, note, .. } => (frame, note, false),
            Deed::SendMissed { frame, note } => (frame, note, true),
            Deed::Close(_) | Deed::Overflow => {
                self.speech.stage = Stage::Closing { heard: true };
                return false;
            }
            Deed::GroupLimit => return false,
        };
        let Some(event) = sse::event(frame, note) else { return false };
        if front.is_behind() && !may_wait {
            // It comes again, and gets what it missed.
            self.is_slow = true;
            return false;
        }
        front.server.body(&event, output(&mut front.output, blocks));
        true
    }
}

impl Edge {
    /// A request to read a group.
    pub(super) fn open_view(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        config: Arc<RealtimeConfig>,
        rule: Option<usize>,
    ) {
        if head.method_kind() != Method::Get {
            self.routing.set_allow(b"GET");
            return self.refuse(key, Reason::MethodNotAllowed, "", Some((head, buf)));
        }
        let from = head.find(Known::Origin).map(|origin| origin.of(buf));
        let guest = origin::guest(from, head.authority(buf), &config.hosts, &config.origins);
        let Some(guest) = guest else {
            return self.refuse(key, Reason::OriginRefused, "", Some((head, buf)));
        };
        let sharing = sharing(from, guest);
        let Some(group) = group_of(head.path().query.of(buf)) else {
            return self.refuse_with(key, Reason::GroupMalformed, (head, buf), &sharing);
        };
        let last = head
            .fields()
            .iter()
            .find(|field| field.name.of(buf).eq_ignore_ascii_case(b"last-event-id"));
        let position = last.and_then(|last| recover::last_event_id(&group, last.value.of(buf)));
        let opening = Opening::of_view(position, sharing);
        self.ask_to_open(key, (head, buf), (config, rule), opening, Some(group));
    }

    /// The app has answered `subscribe` with a 2xx.
    pub(super) fn admit_view(&mut self, key: Key, answer: &OwnAnswer) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let (Some(group), Some(opening)) = (socket.view.clone(), &socket.opening) else { return };
        let (id, client, hub) = (opening.id, socket.id, Arc::clone(&socket.hub));
        let items = self.instructions(&hub, client, &id, &answer.body);
        if !items.iter().any(|item| item.joined().contains(&group)) {
            let reason = Reason::GroupRefused;
            return self.refuse_socket(key, Unanswered::for_reason(reason));
        }
        let now = self.clock.now();
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        let Some(opening) = socket.opening.take() else { return };
        let Opening { recover, sharing, mut record, .. } = *opening;
        // Its app hears of it no more.
        socket.lane.refused();
        let Some(front_key) = socket.speech.front else { return self.forget_socket_if_over(key) };
        let date = self.date.line(self.clock.wall());
        let Some(front) = self.fronts.get_mut(front_key) else { return };
        front.server.close_after_this();
        let out = output(&mut front.output, &mut self.blocks);
        let mut fields = front.server.respond(200, b"", ResponseLength::Unknown, out);
        fields.server();
        fields.raw(date);
        fields.field(b"X-Request-Id", id.as_bytes());
        fields.field(b"Content-Type", EVENT_STREAM);
        fields.field(b"Cache-Control", b"no-store");
        fields.field(b"X-Accel-Buffering", b"no");
        fields.raw(&sharing);
        fields.finish();
        front.server.body(RETRY, front.output.bytes_mut());
        socket.speech.stage = Stage::Open;
        self.sockets.hall_of(&hub).roll.enter(client, key.as_u64());
        hub.open(client, self.index, vec![Item::join(group)], &recover, now);
        record.status = 200;
        record.media_type.extend_from_slice(EVENT_STREAM);
        self.tell(front_key, &id, hub.app.as_str(), &record, None);
        let wake = if self.drain.is_some() { now } else { now + HEARTBEAT };
        self.front_deadline(front_key, Phase::Idle, wake);
        self.run_later(front_key);
    }

    /// It got something, or was closed.
    pub(super) fn tend_view(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let Some(front) = socket.speech.front else { return };
        if socket.is_slow {
            return self.close_front(front);
        }
        if matches!(socket.speech.stage, Stage::Closing { .. }) {
            self.end_view(front, key);
        }
    }

    /// It is time for a sign of life, or, where the server drains, for its end.
    pub(super) fn view_pulse(&mut self, front_key: Key, key: Key) {
        if self.drain.is_some() {
            return self.end_view(front_key, key);
        }
        let Some(front) = self.fronts.get_mut(front_key) else { return };
        if front.is_behind() {
            return self.close_front(front_key);
        }
        front.server.body(BEAT, output(&mut front.output, &mut self.blocks));
        self.front_deadline(front_key, Phase::Idle, self.clock.now() + HEARTBEAT);
        self.flush_front(front_key);
    }

    /// Ends what it reads. It comes again by itself.
    pub(super) fn end_view(&mut self, front_key: Key, key: Key) {
        let Some(front) = self.fronts.get_mut(front_key) else { return };
        front.speaker = None;
        let after = front.server.end(output(&mut front.output, &mut self.blocks));
        self.answer_ended(front_key, after);
        self.socket_gone(key);
        self.forget_socket_if_over(key);
        self.flush_front(front_key);
    }
}

/// The fields that let the page of `origin` read the answer (Fetch §3.2): with what the browser knows of
/// its user only where that page, and not just any, may.
fn sharing(origin: Option<&[u8]>, guest: Guest) -> Vec<u8> {
    let mut fields = b"Vary: Origin\r\n".to_vec();
    if let Some(origin) = origin {
        encode::line(b"Access-Control-Allow-Origin", origin, &mut fields);
        if guest == Guest::Named {
            encode::line(b"Access-Control-Allow-Credentials", b"true", &mut fields);
        }
    }
    fields
}

/// The group that a query names, percent-encoded or not.
fn group_of(query: &[u8]) -> Option<GroupName> {
    let value = query.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"group="))?;
    let mut name = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                name.push((digit(*high)? << 4) | digit(*low)?);
                rest = behind;
            }
            (b'+', _) => name.push(b' '),
            (byte, _) => name.push(*byte),
        }
    }
    GroupName::new(std::str::from_utf8(&name).ok()?).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

const EVENT_STREAM: &[u8] = b"text/event-stream";
const RETRY: &[u8] = b"retry: 1000\n\n";
const BEAT: &[u8] = b":\n\n";
/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::group_of;

    #[test]
    fn a_group_is_named_in_the_query() {
        let name = |query: &str| group_of(query.as_bytes()).map(|name| name.as_str().to_owned());
        assert_eq!(name("group=/lobby").as_deref(), Some("/lobby"));
        assert_eq!(name("x=1&group=%2Flobby%2Fa+b&y").as_deref(), Some("/lobby/a b"));
        for query in ["", "group=", "group=lobby", "group=%2", "group=%zz", "group=/%ff"] {
            assert_eq!(name(query), None, "{query}");
        }
    }
}
