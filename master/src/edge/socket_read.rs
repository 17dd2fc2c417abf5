//! What a client says goes into its lane, or waits for room there.

use super::speech::Speaker;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::observe::counter::Counter;
use rip::realtime::lane::{Accepted, Post};
use std::time::Duration;

impl Edge {
    /// A whole message for the app.
    pub(super) fn take_message(&mut self, key: Key, message: Post) {
        let now = self.clock.now();
        self.shard().add(Counter::SocketMessagesIn, 1);
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        if !socket.speech.bucket.take(socket.config.rate, now) {
            return self.close_speaker(Speaker::Client(key), 1008, "too many messages");
        }
        if !socket.lane.has_room_for(&message) {
            let front = socket.speech.front;
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
        let front = socket.speech.front;
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
            self.close_speaker(Speaker::Client(key), 1013, "too much waits for the app");
            self.flush_front(front_key);
        }
    }
}

/// How long a client may be ahead of its app. Until then it is read no further.
const LANE_PATIENCE: Duration = Duration::from_secs(5);
