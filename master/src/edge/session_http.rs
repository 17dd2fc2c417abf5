//! What is asked of sessions over HTTP, and answered with JSON.

use super::subrequest::OwnAnswer;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::store::StoreAnswer;
use rip::contract::sessions::SessionsConfig;
use rip::http1::head::RequestHead;
use rip::session::claim::Run;
use rip::session::{Ending, Endpoint, Failure, Refusal, Seed, SessionId};
use std::sync::Arc;

/// A request to a mount of sessions: what an exchange has of it, which goes to no pool.
pub(super) struct Asking {
    pub(super) place: Arc<SessionsConfig>,
    pub(super) endpoint: Endpoint,
    /// What has come of its body.
    pub(super) body: Vec<u8>,
    /// The turn that it began, until it was answered.
    pub(super) turn: Option<Key>,
    /// It reads events.
    pub(super) view: Option<Key>,
}

impl Edge {
    /// Begins what is asked of a mount of sessions. False when the request is for none.
    pub(super) fn begin_session(&mut self, key: Key, head: &RequestHead, buf: &[u8]) -> bool {
        let _ = (key, head, buf);
        false
    }

    /// The store has answered a look, a cancellation or a deletion.
    pub(super) fn request_stored(&mut self, key: Key, answer: StoreAnswer) {
        let _ = (key, answer);
    }

    /// To the client of a POST: nothing ran.
    pub(super) fn post_refused(&mut self, key: Key, refusal: &Refusal) {
        let _ = (key, refusal);
    }

    /// To the client of a POST: this was committed before.
    pub(super) fn post_replayed(
        &mut self,
        key: Key,
        session: SessionId,
        ending: &Ending,
        token: Seed,
        resume: &Seed,
    ) {
        let _ = (key, session, ending, token, resume);
    }

    /// To the client of a POST: 202.
    pub(super) fn post_accepted(&mut self, key: Key, run: &Run) {
        let _ = (key, run);
    }

    /// To the client of a POST: the whole answer.
    pub(super) fn post_answered(&mut self, key: Key, run: &Run, ending: &Ending) {
        let _ = (key, run, ending);
    }

    /// To the client of a POST: the app's own refusal, as it is.
    pub(super) fn post_passed(&mut self, key: Key, run: &Run, answer: &OwnAnswer) {
        let _ = (key, run, answer);
    }

    /// To the client of a POST: an error that is not stored, before a stream has begun.
    pub(super) fn post_failed(&mut self, key: Key, run: &Run, failure: &Failure) {
        let _ = (key, run, failure);
    }
}
