//! A turn of a session, from its claim to its end.

use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::store::{StoreAnswer, StoreOrder};
use rip::contract::sessions::SessionsConfig;
use rip::guard::request_id::RequestId;
use rip::session::{Client, SessionId};
use std::net::IpAddr;
use std::sync::Arc;

/// One turn.
pub(super) struct SessionTurn {}

/// Who began a turn, and is told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// A timer, or somebody who has left or does not wait.
    Nobody,
    /// The exchange of a POST.
    Post(Key),
    /// A WebSocket.
    Talk(Key),
}

/// What is to be run, once it is claimed.
pub(super) struct Wanted {
    pub(super) origin: Origin,
    pub(super) place: Arc<SessionsConfig>,
    /// How its client is told.
    pub(super) client: Client,
    /// A JSON object.
    pub(super) input: String,
    /// The client's own fields for the app, each a line with its end; without those that the edge
    /// keeps back.
    pub(super) fields: Box<[u8]>,
    pub(super) ip: Option<IpAddr>,
    pub(super) request_id: RequestId,
}

impl Edge {
    /// Claims a turn with `order` (a start, a message or a wake), and runs it if it is to be run. What
    /// comes of it is told to its origin, from a later turn of the loop on.
    pub(super) fn claim_turn(&mut self, order: StoreOrder, wanted: Wanted) -> Key {
        let _ = (order, wanted);
        Key::from_u64(0)
    }

    /// The origin is gone: the turn runs on, or is cancelled, as its client wanted.
    pub(super) fn turn_client_left(&mut self, key: Key) {
        let _ = key;
    }

    /// The turn is to be cancelled, if it is the one with that number.
    pub(super) fn cancel_turn(&mut self, key: Key, turn: u64) {
        let _ = (key, turn);
    }

    /// The store has answered an order of the turn's.
    pub(super) fn turn_stored(&mut self, key: Key, answer: StoreAnswer) {
        let _ = (key, answer);
    }

    /// A deadline of the turn's.
    pub(super) fn turn_timer(&mut self, key: Key) {
        let _ = key;
    }

    /// The timer of a session of `scope` is due.
    pub(super) fn timer_due(&mut self, session: SessionId, scope: &str) {
        let _ = (session, scope);
    }
}
