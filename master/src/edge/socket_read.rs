//! What a client says over its connection.

use super::frames::Heard;
use super::socket::Stage;
use super::turn::Edge;
use crate::reactor::buffers::Buffer;
use crate::reactor::slab::Key;
use rip::observe::counter::Counter;
use rip::realtime::Frame;
use rip::realtime::lane::{Accepted, Post};

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
            if !input.is_empty() {
                socket.pulse.heard(now);
            }
            let message_bytes = socket.message_bytes();
            let is_open = socket.stage == Stage::Open;
            match socket.frames.read(input, message_bytes) {
                Ok(None) => return true,
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
        match socket.lane.message(message) {
            Accepted::Yes => self.post_next(key),
            Accepted::Ignored => {}
            Accepted::Overflow => self.close_socket(key, 1013, "too much waits for the app"),
        }
    }
}
