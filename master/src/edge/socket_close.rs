//! How a client's connection ends, and by whom.

use super::socket::Stage;
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::http1::server::After;
use rip::realtime::Frame;
use rip::time::Instant;
use std::sync::Arc;
use std::time::Duration;

impl Edge {
    /// Closes a client's connection: it hears of it with the next flush, and has some time to answer.
    pub(super) fn close_socket(&mut self, key: Key, code: u16, reason: &str) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        socket.say_close(code, reason);
        self.see_off(key);
    }

    /// The same at once, for one that does not take what it is told: the rest of it is let go.
    pub(super) fn close_slow_socket(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        if socket.stage == Stage::Open {
            socket.outbox.fail(Frame::close(1013, "slow"));
            socket.say_close(1013, "slow");
        }
        self.see_off(key);
    }

    /// The client broke the protocol: nothing it says is understood any more.
    pub(super) fn break_off(&mut self, key: Key, code: u16, what: &str) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        log::debug!("{}: the client broke the protocol: {what}", socket.id);
        socket.say_close(code, "");
        socket.stage = Stage::Closing { heard: true };
        self.see_off(key);
    }

    /// The client closes, or answers our close.
    pub(super) fn client_closes(&mut self, key: Key, code: u16, reason: &str) {
        let Some(socket) = self.sockets.slab.get_mut(key) else { return };
        if socket.stage == Stage::Open {
            socket.note_close(code, reason);
            socket.outbox.close(Frame::close(code, reason));
        }
        socket.stage = Stage::Closing { heard: true };
        self.see_off(key);
    }

    /// A close frame waits to be sent: the app is told, and the connection's time is limited.
    pub(super) fn see_off(&mut self, key: Key) {
        let Some(socket) = self.sockets.slab.get(key) else { return };
        let front = socket.front;
        self.part(key);
        if let Some(front) = front {
            self.front_deadline(front, Phase::Idle, self.clock.now() + CLOSE_PATIENCE);
        }
    }

    /// The server stops: every client is told so, one after the other until `until`.
    pub(super) fn spread_closes(&mut self, until: Instant) {
        let now = self.clock.now();
        let fronts: Vec<Key> = (self.sockets.slab.keys())
            .filter_map(|key| self.sockets.slab.get(key))
            .filter(|socket| socket.stage == Stage::Open)
            .filter_map(|socket| socket.front)
            .collect();
        let count = u32::try_from(fronts.len()).unwrap_or(u32::MAX).max(1);
        let pause = until.since(now) / count;
        for (turn, front) in (0..).zip(fronts) {
            self.front_deadline(front, Phase::Idle, now + pause * turn);
        }
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
            let front = socket.front;
            match active.realtime.succeeds(&socket.config) {
                Some(config) => socket.config = Arc::clone(config),
                None if socket.stage == Stage::Open && socket.view.is_some() => {
                    if let Some(front) = front {
                        self.end_view(front, key);
                    }
                }
                None if socket.stage == Stage::Open => {
                    self.close_socket(key, 1001, "no longer served");
                    if let Some(front) = front {
                        self.run_later(front);
                    }
                }
                None => {}
            }
        }
    }

    /// Where the client sends nothing more it is gone: the app has not said yet whether it may come
    /// in, or it only reads.
    pub(super) fn ends_with_client(&self, socket: Option<Key>) -> bool {
        socket
            .and_then(|key| self.sockets.slab.get(key))
            .is_some_and(|socket| socket.stage == Stage::Opening || socket.view.is_some())
    }

    /// Everything was said on both sides, or is not expected any more: the connection ends.
    pub(super) fn end_socket(&mut self, front_key: Key, key: Key) {
        if let Some(front) = self.fronts.get_mut(front_key) {
            front.socket = None;
        }
        // With bytes unread a close is a reset, and our close frame may be lost to it.
        self.answer_ended(front_key, After::Linger);
        self.socket_gone(key);
        self.forget_socket_if_over(key);
    }
}

/// What a client may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
