//! Who reads the events of a session, at its own speed: the stream of a POST, a GET of events, a
//! WebSocket.

use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::store::StoreAnswer;
use rip::session::claim::Run;
use rip::session::{Failure, Form, Reading};

/// One who reads.
pub(super) struct SessionView {}

impl Edge {
    /// The stream of a POST begins: its exchange becomes a reader of the turn of `run`.
    pub(super) fn stream_begins(&mut self, exchange: Key, run: &Run) {
        let _ = (exchange, run);
    }

    /// To the stream of a POST: an error that is not stored, as its last event.
    pub(super) fn stream_failed(&mut self, exchange: Key, run: &Run, failure: &Failure) {
        let _ = (exchange, run, failure);
    }

    /// The turn of a stream has ended: what is stored of it is still sent, then the stream ends.
    pub(super) fn stream_finishes(&mut self, exchange: Key) {
        let _ = exchange;
    }

    /// A GET of events: its exchange becomes a reader, if the store lets it.
    pub(super) fn open_session_view(
        &mut self,
        exchange: Key,
        session: String,
        reading: Reading,
        form: Form,
    ) {
        let _ = (exchange, session, reading, form);
    }

    /// The client of a reader takes more.
    pub(super) fn view_has_room(&mut self, key: Key) {
        let _ = key;
    }

    /// The client of a reader is gone. The turn does not notice.
    pub(super) fn view_left(&mut self, key: Key) {
        let _ = key;
    }

    /// The store has answered a reader's order.
    pub(super) fn view_stored(&mut self, key: Key, answer: StoreAnswer) {
        let _ = (key, answer);
    }

    /// There is something new for a reader.
    pub(super) fn view_stirred(&mut self, key: Key) {
        let _ = key;
    }

    /// A reader's deadline: a sign of life, the end of a long poll.
    pub(super) fn view_timer(&mut self, key: Key) {
        let _ = key;
    }
}
