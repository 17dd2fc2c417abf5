//! What a client says goes to its app, one POST after the other, and what the app answers is done.

use super::socket::Stage;
use super::subrequest::{Answered, Ask, OwnAnswer, Owner, Unanswered};
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::guard::request_id::RequestId;
use rip::http1::encode;
use rip::limits;
use rip::observe::counter::Counter;
use std::sync::Arc;

impl Edge {
    /// POSTs the next of what waits, unless something is in flight. A client that is through with
    /// everything is forgotten.
    pub(super) fn post_next(&mut self, key: Key) {
        loop {
            let Some(socket) = self.sockets.slab.get_mut(key) else { return };
            if socket.call.is_some() || socket.stage == Stage::Opening {
                return;
            }
            let Some(post) = socket.lane.next_post() else { break };
            let id = RequestId::new(None, &mut self.entropy);
            let (word, media_type) = (post.word(), post.content_type());
            if self.post(key, word, Some(media_type), post.into_body(), id) {
                return;
            }
            // There is no app any more that could be told.
            if let Some(socket) = self.sockets.slab.get_mut(key) {
                socket.lane.answered();
            }
        }
        self.forget_socket_if_over(key);
    }

    /// Makes a POST on a client's behalf. False when its app is gone.
    pub(super) fn post(
        &mut self,
        key: Key,
        word: &'static str,
        media_type: Option<&'static str>,
        body: Vec<u8>,
        id: RequestId,
    ) -> bool {
        let Some(socket) = self.sockets.slab.get(key) else { return false };
        let (app, config, ip) = (socket.hub.app.clone(), Arc::clone(&socket.config), socket.ip);
        let mut head = std::mem::take(&mut self.scratch);
        head.clear();
        head.extend_from_slice(b"POST ");
        head.extend_from_slice(config.app_path.as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\n");
        head.extend_from_slice(&socket.fields);
        encode::line(b"X-Request-Id", id.as_bytes(), &mut head);
        head.extend_from_slice(b"X-Request-Start: t=");
        encode::decimal(self.clock.wall().0, &mut head);
        head.extend_from_slice(b"\r\n");
        encode::line(b"Sec-WebSocket-Frame", word.as_bytes(), &mut head);
        if let Some(media_type) = media_type {
            encode::line(b"Content-Type", media_type.as_bytes(), &mut head);
        }
        let ask = Ask {
            owner: Owner::Socket(key),
            pool: socket.pool,
            request_id: id,
            client: ip,
            method: "POST",
            target: &config.app_path,
            head: &head,
            body,
            answer_bytes: limits::REALTIME_REPLY_BYTES,
            mark: word,
        };
        let asked = self.ask(&app, ask);
        self.scratch = head;
        if let Some(socket) = self.sockets.slab.get_mut(key)
            && let Some(asked) = asked
        {
            socket.call = Some(asked.key);
            socket.pool = Some(asked.pool);
        }
        asked.is_some()
    }

    /// A request of the edge's own has got its answer.
    pub(super) fn take_answer(&mut self, answered: Answered) {
        let Answered { owner: Owner::Socket(key), request_id, result } = answered;
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        socket.call = None;
        if socket.opening.is_some() {
            return self.open_answered(key, result);
        }
        self.apply_reply(key, &request_id, result);
        if let Some(socket) = self.sockets.slab.get_mut(key) {
            socket.lane.answered();
        }
        self.post_next(key);
        self.resume_hearing(key);
    }

    fn apply_reply(&mut self, key: Key, id: &RequestId, result: Result<OwnAnswer, Unanswered>) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let (client, hub) = (socket.id, Arc::clone(&socket.hub));
        match result {
            Ok(answer) if (200..300).contains(&answer.status) => {
                let items = self.instructions(&hub.app, id, &answer.body);
                if !items.is_empty() {
                    hub.apply(items, Some(client), None, self.clock.now());
                }
            }
            Ok(answer) => {
                log::warn!("{}: {id} of {client} was answered {}", hub.app, answer.status);
                self.shard().add(Counter::SocketReplyFailed, 1);
            }
            Err(Unanswered { reason, .. }) => {
                log::warn!("{}: {id} of {client} got no answer: {}", hub.app, reason.code());
                self.shard().add(Counter::SocketReplyFailed, 1);
            }
        }
    }
}
