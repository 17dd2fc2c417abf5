//! What a client says over its connection.

use super::frames::Heard;
use super::socket::Stage;
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::observe::counter::Counter;
use rip::realtime::Frame;
use rip::realtime::lane::{Accepted, Post};
use std::time::Duration;

impl Edge {
    /// Takes in what was read of a client's connection. True when it wants more.
    pub(super) fn hear(&mut self, front_key: Key, key: Key, input: &mut Buffer) -> bool {
        let now = self.clock.now();
        loop {
            if self.fronts.get(front_key).is_none_or(super::front::Front::is_behind) {
                return false;
            }
            let Some(socket) = self.sockets.slab.get_mut(key) else { return false };
            match socket.stage {
                // Its words have to wait for the app's.
                Stage::Opening | Stage::Gone => return false,
                Stage::Open | Stage::Closing { heard: false, .. } => {}
                Stage::Closing { heard: true, .. } => {
                    input.consume(input.len());
                    return false;
                }
            }
            if socket.view.is_some() {
                input.consume(input.len());
                return true;
            }
            if socket.held.is_some() && socket.stage == Stage::Open {
                return false;
            }
            if !input.is_empty() {
                socket.pulse.heard(now);
            }
            let message_bytes = socket.message_bytes();
            let is_open = socket.stage == Stage::Open;
            match socket.frames.read(input, message_bytes) {
                Ok(None) => {
                    // It is not ahead of its app any more.
                    if let Some(front) = self.fronts.get_mut(front_key) {
                        front.deadlines.clear(Phase::Queue);
                    }
                    return true;
                }
                Ok(Some(Heard::Close { code, reason })) => self.client_closes(key, code, &reason),
                Err(violation) => self.break_off(key, violation.code, &violation.what),
                Ok(Some(_)) if !is_open => {}
                Ok(Some(Heard::Text(text))) => self.take_message(key, Post::Text(text)),
                Ok(Some(Heard::Binary(bytes))) => self.take_message(key, Post::Binary(bytes)),
                Ok(Some(Heard::Ping(bytes))) => {
                    let _ = socket.outbox.push(&Frame::pong(&bytes), false);
                }
                Ok(Some(Heard::Pong)) => {}
            }
        }
    }

    /// A whole message for the app.
    fn take_message(&mut self, key: Key, message: Post) {
        let now = self.clock.now();
        self.shard().add(Counter::SocketMessagesIn, 1);
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        if !socket.bucket.take(socket.config.rate, now) {
            return self.close_socket(key, 1008, "too many messages");
        }
        if !socket.lane.has_room_for(&message) {
            let front = socket.front;
            socket.held = Some(Box::new(message));
            if let Some(front) = front {
                let is_ahead = self
                    .fronts
                    .get(front)
                    .is_some_and(|front| front.deadlines.at(Phase::Queue).is_some());
                if !is_ahead {
                    self.front_deadline(front, Phase::Queue, now + LANE_PATIENCE);
                }
            }
            return;
        }
        if socket.lane.message(message) == Accepted::Yes {
            self.post_next(key);
        }
    }

    /// The lane may have room again for what the client said.
    pub(super) fn resume_hearing(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        let Some(held) = socket.held.take_if(|held| socket.lane.has_room_for(held)) else { return };
        let front = socket.front;
        if socket.lane.message(*held) == Accepted::Yes {
            self.post_next(key);
        }
        if let Some(front) = front {
            self.run_later(front);
        }
    }

    /// The client has said more than its app takes for too long.
    pub(super) fn lane_timer(&mut self, front_key: Key, key: Key) {
        if self.sockets.slab.get(key).is_some_and(|socket| socket.held.is_some()) {
            self.close_socket(key, 1013, "too much waits for the app");
            self.flush_front(front_key);
        }
    }
}

/// How long a client may be ahead of its app. Until then it is read no further.
const LANE_PATIENCE: Duration = Duration::from_secs(5);
