//! Clients that are closed because of what they are clients of, or do not take what they are told.

use super::speech::{Speaker, Stage};
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::realtime::Frame;
use std::sync::Arc;

impl Edge {
    /// Closes a client that does not take what it is told: the rest of it is let go.
    pub(super) fn close_slow_socket(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        if socket.speech.stage == Stage::Open {
            socket.speech.outbox.fail(Frame::close(1013, "slow"));
            socket.say_close(1013, "slow");
        }
        self.see_off(Speaker::Client(key));
    }

    /// The server ends: what clients still had to say is not POSTed any more. Returns how much that
    /// is, `close` included.
    pub(super) fn abandon_lanes(&mut self) -> u64 {
        let mut cut = 0;
        for key in self.sockets.slab.keys().collect::<Vec<_>>() {
            if let Some(socket) = self.sockets.slab.get_mut(key) {
                cut += socket.lane.abandon() as u64;
            }
        }
        cut
    }

    /// Closes the clients of apps, or of places, that the active configuration does not have.
    pub(super) fn close_removed_sockets(&mut self) {
        if self.sockets.slab.is_empty() {
            return;
        }
        let active = Arc::clone(self.snapshots.active());
        for key in self.sockets.slab.keys().collect::<Vec<_>>() {
            let Some(socket) = self.sockets.slab.get_mut(key) else { continue };
            let front = socket.speech.front;
            match active.realtime.succeeds(&socket.config) {
                Some(config) => {
                    socket.speech.message_bytes = config.message_bytes();
                    socket.config = Arc::clone(config);
                }
                None if socket.speech.stage == Stage::Open && socket.view.is_some() => {
                    if let Some(front) = front {
                        self.end_view(front, key);
                    }
                }
                None if socket.speech.stage == Stage::Open => {
                    self.close_speaker(Speaker::Client(key), 1001, "no longer served");
                    if let Some(front) = front {
                        self.run_later(front);
                    }
                }
                None => {}
            }
        }
    }
}
