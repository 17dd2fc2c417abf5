//! What is forgotten, in small steps.
//!
//! The store asks now and then with a handful of rows; each answer is one small transaction, and says
//! whether there is more. A turn that runs is never touched, but its oldest events may be: whoever
//! reads them is told.

use super::key::KeyRecord;
use super::record::{Ending, Session, after};
use super::store::Write;
use crate::limits::{
    IDEMPOTENCY_KEEP, PRUNE_COUNT, SESSION_EVENT_BYTES, SESSION_EVENT_KEEP, SESSION_KEEP,
};
use crate::time::UnixMillis;

/// Sessions that were touched after this moment, or whose timer is set for later, need not be looked at
/// for their age.
pub fn sessions_before(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(SESSION_KEEP.as_millis() as u64))
}

/// Events that were written after this moment need not be looked at for their age.
pub fn events_before(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(SESSION_EVENT_KEEP.as_millis() as u64))
}

/// Forgets `session` when it is past its time. None is deleted early or while it runs.
pub fn session(session: &Session, now: UnixMillis) -> Option<Write> {
    session.is_closed(now).then_some(Write::Forget(session.id))
}

/// An event as pruning sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Old {
    /// Its number.
    pub seq: u64,
    /// Its size, as [`super::Event::byte_count`] counts.
    pub bytes: u64,
    /// When it was written.
    pub at: UnixMillis,
}

/// Drops the events of `session` that are too old or too many. `oldest` are its oldest ones in their
/// order, [`PRUNE_COUNT`] of them or all there are. The last event stays, so that there is always one
/// that says how things stand.
pub fn events(mut session: Session, oldest: &[Old], now: UnixMillis) -> Vec<Write> {
    let last = session.ledger.last().seq;
    let mut below = session.ledger.first();
    for old in oldest.iter().take(PRUNE_COUNT) {
        let is_old = after(old.at, SESSION_EVENT_KEEP) <= now;
        if old.seq >= last || !(is_old || session.event_bytes > SESSION_EVENT_BYTES) {
            break;
        }
        below = old.seq + 1;
        session.event_bytes = session.event_bytes.saturating_sub(old.bytes);
    }
    if below == session.ledger.first() {
        return Vec::new();
    }
    session.ledger.truncate(below);
    vec![Write::DropEvents(session.id, below), Write::Session(Box::new(session))]
}

/// Drops what is remembered of how a turn of `session` ended. It stays as long as a key may ask for it,
/// and the last one as long as the session.
pub fn ending(session: &Session, ending: &Ending, now: UnixMillis) -> Option<Write> {
    let is_last = ending.turn >= session.last_turn();
    let is_old = after(ending.at, IDEMPOTENCY_KEEP) <= now;
    (is_old && !is_last).then_some(Write::DropEnding(session.id, ending.turn))
}

/// Drops a key whose time is over. `session` is the key's, if it is still there.
pub fn key(key: &KeyRecord, session: Option<&Session>, now: UnixMillis) -> Option<Write> {
    let runs = |session: &Session| session.running.is_some() && session.turn() == key.turn;
    let is_needed = key.until > now || session.is_some_and(runs);
    (!is_needed).then_some(Write::DropKey(key.asked.key))
}

/// When the next timer of these sessions is due; a running one is asked again when its turn has ended.
pub fn next_timer<'s>(sessions: impl Iterator<Item = &'s Session>) -> Option<UnixMillis> {
    let waiting = sessions.filter(|session| session.running.is_none());
    waiting.filter_map(|session| session.timer.as_ref()).map(|timer| timer.at).min()
}
