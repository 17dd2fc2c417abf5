//! What a client says goes to its app, one POST after the other, and what the app answers is done.
//!
//! Clients take their turns: so many POSTs of one loop are in flight for an app that its queue has
//! room for others as well, and the rest wait here. One that finds the queue full all the same is
//! made again, because no worker has seen it.

use super::speech::Stage;
use super::subrequest::{Answered, Ask, OwnAnswer, Owner, Unanswered};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use rip::contract::reason::Reason;
use rip::guard::request_id::RequestId;
use rip::http1::encode;
use rip::ids::AppId;
use rip::limits;
use rip::observe::counter::Counter;
use std::sync::Arc;
use std::time::Duration;

/// A POST that waits for its turn.
pub(super) struct Errand {
    word: &'static str,
    body: Vec<u8>,
}

impl Edge {
    /// POSTs the next of what waits, unless something is in flight. A client that is through with
    /// everything is forgotten.
    pub(super) fn post_next(&mut self, key: Key) {
        loop {
            let Some(socket) = self.sockets.slab.get_mut(key) else { return };
            if socket.call.is_some() || socket.speech.stage == Stage::Opening {
                return;
            }
            let Some(post) = socket.lane.next_post() else { break };
            let errand = Errand { word: post.word(), body: post.into_body() };
            let hub = Arc::clone(&socket.hub);
            let most = self.posts_at_once(&hub.app);
            let hall = self.sockets.hall_of(&hub);
            if hall.in_flight >= most || !hall.waiting.is_empty() {
                hall.waiting.push_back(key);
                if let Some(socket) = self.sockets.slab.get_mut(key) {
                    socket.errand = Some(Box::new(errand));
                }
                return;
            }
            if self.run_errand(key, errand) {
                return;
            }
        }
        self.forget_socket_if_over(key);
    }

    /// False when there is no app any more that could be told: then it counts as told.
    fn run_errand(&mut self, key: Key, errand: Errand) -> bool {
        let id = RequestId::new(None, &mut self.entropy);
        let Errand { word, body } = errand;
        let is_posted = self.post(key, word, body, id);
        if !is_posted && let Some(socket) = self.sockets.slab.get_mut(key) {
            socket.lane.answered();
        }
        is_posted
    }

    /// How many POSTs of this loop may be in flight for an app: as many as its workers take, and half
    /// of its queue, shared by the loops.
    fn posts_at_once(&self, app: &AppId) -> usize {
        let config = &self.snapshots.active().config;
        let found = config.app_index(app).and_then(|index| config.apps.get(index));
        let all = found.map_or(1, |app| (app.max_queue / 2).saturating_add(app.max_inflight));
        (all as usize).div_ceil(self.shared.hubs.loop_count()).max(1)
    }

    /// Makes the POSTs that wait, as far as there is room.
    pub(super) fn post_waiting(&mut self, hub: u32) {
        loop {
            let Some(hall) = self.sockets.hall(hub) else { return };
            let (in_flight, app) = (hall.in_flight, hall.hub.app.clone());
            if in_flight >= self.posts_at_once(&app) {
                return;
            }
            let Some(hall) = self.sockets.hall(hub) else { return };
            let Some(key) = hall.waiting.pop_front() else { return };
            let Some(socket) = self.sockets.slab.get_mut(key) else { continue };
            let Some(errand) = socket.errand.take() else { continue };
            if !self.run_errand(key, *errand) {
                self.post_next(key);
            } else if self.was_shed(key) {
                // The rest of the queue is taken by others.
                return;
            }
        }
    }

    /// Its POST was refused at once: its answer is on its way.
    fn was_shed(&self, key: Key) -> bool {
        let call = self.sockets.slab.get(key).and_then(|socket| socket.call);
        call.is_some_and(|call| !self.exchanges.contains(call))
    }

    /// The app's queue was full: the POST is the first of those that wait.
    fn post_again(&mut self, key: Key, errand: Errand) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        socket.errand = Some(Box::new(errand));
        let hub = socket.hub.number;
        let Some(hall) = self.sockets.hall(hub) else { return };
        hall.waiting.push_front(key);
        if !std::mem::replace(&mut hall.is_pausing, true) {
            self.wheel.schedule(Timer::Posts(hub), self.clock.now() + FULL_PAUSE);
        }
    }

    /// The app's queue may have room again.
    pub(super) fn pause_over(&mut self, hub: u32) {
        if let Some(hall) = self.sockets.hall(hub) {
            hall.is_pausing = false;
        }
        self.post_waiting(hub);
    }

    /// Makes a POST on a client's behalf. False when its app is gone.
    pub(super) fn post(
        &mut self,
        key: Key,
        word: &'static str,
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
        if let Some(media_type) = media_type_of(word) {
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
            answer_bytes: limits::REALTIME_REPLY_BYTES
                .max(socket.speech.message_bytes.saturating_mul(2)),
            mark: word,
        };
        let asked = self.ask(&app, ask);
        self.scratch = head;
        let (Some(socket), Some(asked)) = (self.sockets.slab.get_mut(key), asked) else {
            return false;
        };
        socket.call = Some(asked.key);
        socket.pool = Some(asked.pool);
        let hub = Arc::clone(&socket.hub);
        self.sockets.hall_of(&hub).in_flight += 1;
        true
    }

    /// A request of the edge's own has got its answer.
    pub(super) fn take_answer(&mut self, answered: Answered) {
        let Answered { socket: key, request_id, mark, result } = answered;
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        socket.call = None;
        let hub = socket.hub.number;
        let is_opening = socket.opening.is_some();
        self.post_ended(hub);
        match result {
            result if is_opening => self.open_answered(key, result),
            Err(Unanswered { reason: Reason::QueueFull, body, .. }) => {
                return self.post_again(key, Errand { word: mark, body });
            }
            result => {
                if matches!(mark, "text" | "binary") {
                    self.shard().add(Counter::SocketMessagesPosted, 1);
                }
                self.apply_reply(key, &request_id, result);
                if let Some(socket) = self.sockets.slab.get_mut(key) {
                    socket.lane.answered();
                }
                self.post_next(key);
                self.resume_hearing(key);
            }
        }
        self.post_waiting(hub);
    }

    /// A POST is not in flight any more.
    pub(super) fn post_ended(&mut self, hub: u32) {
        if let Some(hall) = self.sockets.hall(hub) {
            hall.in_flight = hall.in_flight.saturating_sub(1);
        }
    }

    fn apply_reply(&mut self, key: Key, id: &RequestId, result: Result<OwnAnswer, Unanswered>) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let (client, hub) = (socket.id, Arc::clone(&socket.hub));
        match result {
            Ok(answer) if (200..300).contains(&answer.status) => {
                let items = self.instructions(&hub, client, id, &answer.body);
                if !items.is_empty() {
                    hub.apply(self.index, items, Some(client), None, self.clock.now());
                }
            }
            Ok(answer) => {
                self.shard().add(Counter::SocketReplyFailed, 1);
                self.tell_mistake(
                    &hub,
                    client,
                    id,
                    &format_args!("it was answered {}", answer.status),
                );
            }
            Err(Unanswered { reason, .. }) => {
                self.shard().add(Counter::SocketReplyFailed, 1);
                self.tell_mistake(
                    &hub,
                    client,
                    id,
                    &format_args!("it got no answer: {}", reason.code()),
                );
            }
        }
    }
}

/// The type of what is posted; `None` where that is nothing.
fn media_type_of(word: &str) -> Option<&'static str> {
    match word {
        "text" => Some("text/plain; charset=utf-8"),
        "binary" => Some("application/octet-stream"),
        "close" => Some("application/json"),
        _ => None,
    }
}

/// A full queue is tried again after this.
const FULL_PAUSE: Duration = Duration::from_millis(50);
