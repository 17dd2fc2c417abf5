//! A client asks for WebSocket at a realtime path: the handshake, and the app's word on it.
//!
//! The app is POSTed `open` before anything is answered. With a 2xx the connection switches, and what
//! the answer instructs follows the 101; any other answer is the client's, as it is.

use super::answer::{Refusal, field_of, output};
use super::exchange::Record;
use super::front::Front;
use super::routing::Way;
use super::socket::Socket;
use super::speech::{Speaker, Speech, Stage};
use super::subrequest::{OwnAnswer, Unanswered};
use super::turn::Edge;
use crate::reactor::buffers::Blocks;
use crate::reactor::slab::Key;
use crate::shared::hub::AppHub;
use crate::shared::realtime::Part;
use rip::contract::realtime::RealtimeConfig;
use rip::contract::reason::Reason;
use rip::entropy::Entropy;
use rip::guard::phase::Phase;
use rip::guard::request_id::RequestId;
use rip::http1::handshake::{self, Accept, Fault};
use rip::http1::head::RequestHead;
use rip::http1::known::Known;
use rip::http1::{FieldWriter, ResponseLength, encode, upgrade};
use rip::ids::AppId;
use rip::observe::counter::Counter;
use rip::observe::note::Handler;
use rip::realtime::lane::Lane;
use rip::realtime::recover;
use rip::realtime::{ClientId, GroupName, Item, Position, instruct, origin};
use std::sync::Arc;

/// What is kept of the request until the app has answered.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) id: RequestId,
    accept: Accept,
    /// The subprotocols it speaks.
    offered: Vec<Box<[u8]>>,
    /// Where it was in groups that keep history.
    pub(super) recover: Vec<Position>,
    /// Fields that let a page of another origin read the answer, as whole lines.
    pub(super) sharing: Vec<u8>,
    /// Its `Accept`.
    wanted: Box<[u8]>,
    pub(super) record: Record,
}

impl Opening {
    /// That of a reader, who has what came up to `position` and is answered with `sharing`.
    pub(super) fn of_view(position: Option<Position>, sharing: Vec<u8>) -> Self {
        Self { recover: position.into_iter().collect(), sharing, ..Self::default() }
    }
}

impl Front {
    /// Switches to WebSocket, with `more` in the answer's head.
    pub(super) fn switch(
        &mut self,
        blocks: &mut Blocks,
        accept: &Accept,
        id: &RequestId,
        more: impl FnOnce(&mut FieldWriter<'_>),
    ) {
        let out = output(&mut self.output, blocks);
        if let Some(mut head) = self.server.informational(101, b"", out) {
            upgrade::switching(&mut head);
            head.field(b"Sec-WebSocket-Accept", accept);
            head.field(b"X-Request-Id", id.as_bytes());
            more(&mut head);
            head.finish();
        }
    }
}

impl Edge {
    /// Begins a client's connection if the request is for a realtime path. False when it is not.
    pub(super) fn begin_realtime(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let path = head.path().path(buf);
        if !self.snapshots.active().realtime.may_be(path) {
            return false;
        }
        let Some((config, part, rule)) = self.realtime_at(head, buf) else { return false };
        let wants = upgrade::wants_websocket(head, buf);
        match part {
            Part::Socket if wants => self.open_socket(key, (head, buf), config, rule),
            Part::Socket if config.explicit => {
                self.refuse_with(key, Reason::UpgradeRequired, (head, buf), UPGRADE);
            }
            Part::Socket => return false,
            Part::Events => self.open_view(key, (head, buf), config, rule),
        }
        true
    }

    /// What is served at a request's path of realtime, and the rule that would take the request
    /// otherwise.
    fn realtime_at(
        &mut self,
        head: &RequestHead,
        buf: &[u8],
    ) -> Option<(Arc<RealtimeConfig>, Part, Option<usize>)> {
        let rule = match self.way(head, buf) {
            Way::App(errand) => Some(errand.rule),
            _ => None,
        };
        let active = self.snapshots.active();
        let path = head.path().path(buf);
        if let Some((config, part)) = active.realtime.at(self.routing.host(), path) {
            return Some((Arc::clone(config), part, rule));
        }
        let (app, _) = active.app_of(rule?)?;
        let config = active.realtime.unasked(&app.id)?;
        (config.path.as_bytes() == path).then(|| (Arc::clone(config), Part::Socket, rule))
    }

    fn open_socket(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        config: Arc<RealtimeConfig>,
        rule: Option<usize>,
    ) {
        let allowed = (&config.hosts[..], &config.origins[..]);
        let Some(accept) = self.shake_hands(key, (head, buf), allowed) else { return };
        let Ok(recover) = recover::parse(head.path().query.of(buf)) else {
            return self.refuse(key, Reason::RecoverMalformed, "", Some((head, buf)));
        };
        let opening = Opening {
            accept,
            offered: handshake::offered(head, buf).map(Into::into).collect(),
            recover,
            ..Opening::default()
        };
        self.ask_to_open(key, (head, buf), (config, rule), opening, None);
    }

    /// What is answered to a request for WebSocket of whom `hosts` and `origins` let in. `None` when it
    /// was refused.
    pub(super) fn shake_hands(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        (hosts, origins): (&[String], &[String]),
    ) -> Option<Accept> {
        let accept = match handshake::accept(head, buf) {
            Ok(accept) => accept,
            Err(Fault::Version) => {
                let fields = [UPGRADE, b"Sec-WebSocket-Version: 13\r\n"].concat();
                self.refuse_with(key, Reason::UpgradeRequired, (head, buf), &fields);
                return None;
            }
            Err(Fault::Key) => {
                let what = "no sound Sec-WebSocket-Key";
                self.refuse(key, Reason::Malformed, what, Some((head, buf)));
                return None;
            }
        };
        let from = head.find(Known::Origin).map(|origin| origin.of(buf));
        if origin::guest(from, head.authority(buf), hosts, origins).is_none() {
            self.refuse(key, Reason::OriginRefused, "", Some((head, buf)));
            return None;
        }
        Some(accept)
    }

    /// Asks the app whether a client may come in; as a reader of a group, or to speak.
    pub(super) fn ask_to_open(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        (config, rule): (Arc<RealtimeConfig>, Option<usize>),
        mut opening: Opening,
        view: Option<GroupName>,
    ) {
        if self.drain.is_some() {
            return self.refuse(key, Reason::Stopping, "", Some((head, buf)));
        }
        let client = match self.sockets.mint() {
            Ok(client) => client,
            Err(error) => {
                log::error!("the kernel gives no random numbers: {error}");
                return self.refuse(key, Reason::Stopping, "", Some((head, buf)));
            }
        };
        let word = if view.is_some() { "subscribe" } else { "open" };
        let id = self.request_id(head, buf);
        let query = head.path().query.of(buf);
        let mut fields = self.fields_of_client(key, (head, buf), rule);
        encode::line(b"Rip-Client-Id", client.to_string().as_bytes(), &mut fields);
        encode::line(b"Rip-Realtime-Query", query, &mut fields);
        fields.extend_from_slice(b"Rip-Edge: realtime\r\n");
        opening.id = id;
        opening.wanted = head.find(Known::Accept).unwrap_or_default().of(buf).into();
        opening.record.begin(head, buf, self.clock.now(), self.clock.wall());
        opening.record.peer = self.client_ip(key, Some((head, buf)));
        opening.record.trail.handler = Handler::Realtime;
        self.note_connection(key, &mut opening.record);
        self.note_rule(&mut opening.record, rule);
        let seed = self.entropy.next_u64();
        let settings = || self.snapshots.active().realtime.settings_of(&config.app_id);
        let hub = self.shared.hubs.of(&config.app_id, settings, seed);
        let message_bytes = config.message_bytes();
        let (now, entropy) = (self.clock.now(), &mut self.entropy);
        let socket = self.sockets.slab.insert(Box::new(Socket {
            id: client,
            speech: Speech::new(key, Stage::Opening, message_bytes, now, entropy),
            hub,
            config,
            fields: fields.into_boxed_slice(),
            ip: opening.record.peer,
            view,
            opening: Some(Box::new(opening)),
            pool: None,
            errand: None,
            call: None,
            lane: Lane::new(),
            held: None,
            closed: None,
            is_slow: false,
            is_touched: false,
        }));
        if let Some(front) = self.fronts.get_mut(key) {
            front.speaker = Some(Speaker::Client(socket));
        }
        if !self.post(socket, word, Vec::new(), id) {
            let reason = Reason::NotFound;
            self.refuse_socket(socket, Unanswered::for_reason(reason));
        }
    }

    /// The app has answered `open`, or not.
    pub(super) fn open_answered(&mut self, key: Key, result: Result<OwnAnswer, Unanswered>) {
        match result {
            Ok(answer) if (200..300).contains(&answer.status) => {
                let is_view =
                    self.sockets.slab.get(key).is_some_and(|socket| socket.view.is_some());
                if is_view { self.admit_view(key, &answer) } else { self.admit(key, &answer) }
            }
            Ok(answer) => self.refuse_as_told(key, &answer),
            Err(unanswered) => self.refuse_socket(key, unanswered),
        }
    }

    /// The client may come in.
    fn admit(&mut self, key: Key, answer: &OwnAnswer) {
        let now = self.clock.now();
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        let Some(opening) = socket.opening.take() else { return };
        socket.lane.opened();
        let Opening { id, accept, offered, recover, mut record, .. } = *opening;
        let Some(front_key) = socket.speech.front else {
            // It did not wait for it.
            record.status = Reason::ClientGone.status();
            let app = socket.hub.app.clone();
            self.tell(Key::from_u64(0), &id, app.as_str(), &record, Some(Reason::ClientGone));
            return self.post_next(key);
        };
        let Some(front) = self.fronts.get_mut(front_key) else { return };
        front.switch(&mut self.blocks, &accept, &id, |head| {
            let chosen = field_of(&answer.fields, b"sec-websocket-protocol");
            if offered.iter().any(|offered| **offered == *chosen) {
                head.field(b"Sec-WebSocket-Protocol", chosen);
            }
            for cookie in lines_of(&answer.fields, b"set-cookie") {
                head.raw(cookie);
            }
        });
        socket.speech.stage = Stage::Open;
        let (client, hub, wake) = (socket.id, Arc::clone(&socket.hub), socket.speech.pulse.next());
        record.status = 101;
        self.tell(front_key, &id, hub.app.as_str(), &record, None);
        let items = self.instructions(&hub, client, &id, &answer.body);
        self.sockets.hall_of(&hub).roll.enter(client, key.as_u64());
        hub.open(client, self.index, items, &recover, now);
        self.tell_opened(key);
        let wake = if self.drain.is_some() { now } else { wake };
        self.front_deadline(front_key, Phase::Idle, wake);
        // What it said meanwhile was not read yet.
        self.run_later(front_key);
    }

    /// The app has refused it, in its own words.
    fn refuse_as_told(&mut self, key: Key, answer: &OwnAnswer) {
        let Some((front_key, app, opening)) = self.unopened(key) else { return };
        let Opening { id, mut record, .. } = *opening;
        let date = self.date.line(self.clock.wall());
        let Some(front) = self.fronts.get_mut(front_key) else { return };
        let out = output(&mut front.output, &mut self.blocks);
        let length = ResponseLength::Known(answer.body.len() as u64);
        let mut fields = front.server.respond(answer.status, b"", length, out);
        fields.server();
        fields.raw(date);
        fields.field(b"X-Request-Id", id.as_bytes());
        fields.raw(&answer.fields);
        fields.finish();
        let out = front.output.bytes_mut();
        front.server.body(&answer.body, out);
        let after = front.server.end(out);
        record.status = answer.status;
        record.bytes_out = answer.body.len() as u64;
        self.tell(front_key, &id, app.as_str(), &record, None);
        self.answer_ended(front_key, after);
        self.flush_and_go_on(front_key);
    }

    /// The app could not be asked, or did not answer.
    pub(super) fn refuse_socket(&mut self, key: Key, unanswered: Unanswered) {
        let Some((front_key, app, opening)) = self.unopened(key) else { return };
        let Opening { id, wanted, mut record, .. } = *opening;
        let Unanswered { reason, retry_after_secs, .. } = unanswered;
        let refusal = Refusal {
            reason,
            accept: &wanted,
            retry_after_secs,
            fields: b"",
            size: None,
            changes: None,
        };
        self.write_refusal(front_key, &id, &refusal, &mut record);
        self.tell(front_key, &id, app.as_str(), &record, Some(reason));
    }

    /// Takes a client back that was never one. `None` when it has not even waited.
    fn unopened(&mut self, key: Key) -> Option<(Key, AppId, Box<Opening>)> {
        let mut socket = self.sockets.slab.remove(key)?;
        let front = socket.speech.front?;
        self.fronts.get_mut(front)?.speaker = None;
        Some((front, socket.hub.app.clone(), socket.opening.take()?))
    }

    /// The instructions of an app's answer; what is wrong with the others is told.
    pub(super) fn instructions(
        &mut self,
        hub: &Arc<AppHub>,
        client: ClientId,
        id: &RequestId,
        body: &[u8],
    ) -> Vec<Item> {
        let items = match instruct::parse(body) {
            Ok(items) => items,
            Err(unreadable) => {
                self.shard().add(Counter::SocketReplyInvalid, 1);
                self.tell_mistake(hub, client, id, &format_args!("no instruction: {unreadable}"));
                return Vec::new();
            }
        };
        let mut sound = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Ok(item) => sound.push(item),
                Err(invalid) => {
                    self.shard().add(Counter::SocketReplyInvalid, 1);
                    self.tell_mistake(hub, client, id, &invalid);
                }
            }
        }
        sound
    }
}

/// The whole lines of the fields called `name`.
fn lines_of<'f>(fields: &'f [u8], name: &'static [u8]) -> impl Iterator<Item = &'f [u8]> {
    fields.split_inclusive(|byte| *byte == b'\n').filter(move |line| {
        line.split_at_checked(name.len())
            .is_some_and(|(found, rest)| found.eq_ignore_ascii_case(name) && rest.starts_with(b":"))
    })
}

const UPGRADE: &[u8] = b"Connection: Upgrade\r\nUpgrade: websocket\r\n";
