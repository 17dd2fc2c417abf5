//! `<mount>/ws`: turns and events of a session as JSON in text messages.

use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::store::StoreAnswer;
use rip::contract::sessions::SessionsConfig;
use rip::http1::head::RequestHead;
use rip::session::claim::Run;
use rip::session::{Failure, Refusal};
use std::sync::Arc;

/// One WebSocket.
pub(super) struct Talk {}

impl Edge {
    /// A request for `<mount>/ws` that asks for WebSocket; `rule` would take it otherwise.
    pub(super) fn open_talk(
        &mut self,
        front: Key,
        (head, buf): (&RequestHead, &[u8]),
        place: Arc<SessionsConfig>,
        rule: Option<usize>,
    ) {
        let _ = (front, head, buf, place, rule);
    }

    /// To a WebSocket: its message runs as a turn.
    pub(super) fn talk_runs(&mut self, key: Key, run: &Run) {
        let _ = (key, run);
    }

    /// To a WebSocket: nothing ran.
    pub(super) fn talk_refused(&mut self, key: Key, refusal: &Refusal) {
        let _ = (key, refusal);
    }

    /// To a WebSocket: an error that is not stored.
    pub(super) fn talk_failed(&mut self, key: Key, run: &Run, failure: &Failure) {
        let _ = (key, run, failure);
    }

    /// The turn of a WebSocket has ended; whether its session exists.
    pub(super) fn talk_ended(&mut self, key: Key, exists: bool) {
        let _ = (key, exists);
    }

    /// The store has answered an order of a WebSocket's: a look, a cancellation.
    pub(super) fn talk_stored(&mut self, key: Key, answer: StoreAnswer) {
        let _ = (key, answer);
    }

    /// There is something new for a WebSocket.
    pub(super) fn talk_stirred(&mut self, key: Key) {
        let _ = key;
    }

    /// The session that a WebSocket looks at runs elsewhere, or nothing of it runs: it may look for news
    /// by itself. Every quarter of a second, `count` times so far.
    pub(super) fn talk_polled(&mut self, key: Key, count: u32) {
        let _ = (key, count);
    }
}
