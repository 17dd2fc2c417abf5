//! A client comes to `<mount>/ws`, and goes.

use super::exchange::Record;
use super::session_http::without;
use super::session_socket::Talk;
use super::speech::{Speaker, Speech, Stage};
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::contract::sessions::SessionsConfig;
use rip::guard::phase::Phase;
use rip::http1::head::RequestHead;
use rip::limits;
use rip::observe::note::Handler;
use rip::session::request;
use std::sync::Arc;

impl Edge {
    /// Begins a conversation at `<mount>/ws` of `place` for who asks for WebSocket, or refuses it; `rule`
    /// would take the request otherwise.
    pub(super) fn open_talk(
        &mut self,
        key: Key,
        (head, buf): (&RequestHead, &[u8]),
        place: Arc<SessionsConfig>,
        rule: Option<usize>,
    ) {
        let allowed = (&place.hosts[..], &place.origins[..]);
        let Some(accept) = self.shake_hands(key, (head, buf), allowed) else { return };
        if self.drain.is_some() {
            return self.refuse(key, Reason::Stopping, "", Some((head, buf)));
        }
        let now = self.clock.now();
        let id = self.request_id(head, buf);
        let ip = self.client_ip(key, Some((head, buf)));
        let fields = self.fields_of_client(key, (head, buf), rule);
        let fields = without(&fields, request::is_kept_back).into_boxed_slice();
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.switch(&mut self.blocks, &accept, &id, |_| {});
        let message_bytes = limits::TURN_INPUT_BYTES;
        let speech = Speech::new(key, Stage::Open, message_bytes, now, &mut self.entropy);
        let wake = speech.pulse.next();
        let app = place.app_id.clone();
        let talk = Talk::new(speech, place, fields, ip);
        let talk = self.sessions.talks.insert(Box::new(talk));
        front.speaker = Some(Speaker::Talk(talk));
        self.front_deadline(key, Phase::Idle, wake);
        let mut record = Record::default();
        record.begin(head, buf, now, self.clock.wall());
        record.peer = ip;
        record.status = 101;
        record.trail.handler = Handler::Session;
        self.tell(key, &id, app.as_str(), &record, None);
    }

    /// Its connection is closed. Its turn runs on, or is cancelled, as its site has it.
    pub(super) fn talk_gone(&mut self, key: Key) {
        self.talk_leaves(key);
        let Some(talk) = self.sessions.talks.remove(key) else { return };
        for turn in [talk.claim, talk.turn].into_iter().flatten() {
            self.turn_client_left(turn);
        }
    }

    /// Closes those of mounts that the active configuration does not have.
    pub(super) fn close_removed_talks(&mut self) {
        if self.sessions.talks.is_empty() {
            return;
        }
        let active = Arc::clone(self.snapshots.active());
        for key in self.sessions.talks.keys().collect::<Vec<_>>() {
            let Some(talk) = self.sessions.talks.get_mut(key) else { continue };
            let place = active.sessions.of_scope(&talk.place.scope());
            match place.filter(|place| place.websockets) {
                Some(place) => talk.place = Arc::clone(place),
                None => {
                    let front = talk.speech.front;
                    self.close_speaker(Speaker::Talk(key), 1001, "no longer served");
                    if let Some(front) = front {
                        self.run_later(front);
                    }
                }
            }
        }
    }
}
