//! Events: what viewers of a turn see, as the store keeps it.

use super::event_id::EventId;
use super::failure::Failure;
use super::id::SessionId;
use super::json::{Object, push_string};
use super::outcome::Outcome;
use super::token::{Seed, TokenKey};
use crate::limits::TURN_EVENT_BYTES;
use crate::time::UnixMillis;
use std::borrow::Cow;
use std::sync::Arc;

/// One event of a session.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub id: EventId,
    /// Its turn.
    pub turn: u64,
    /// Its JSON on one line. With a `seed` the token and the closing brace are missing: the store
    /// keeps no token.
    pub data: Arc<str>,
    /// What its token is made of.
    pub seed: Option<Seed>,
    /// What ends with it.
    pub closes: Closes,
    /// When it was written.
    pub at: UnixMillis,
}

/// What ends with an event.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Closes {
    /// Nothing.
    #[default]
    Nothing,
    /// An attempt of its turn; another may follow.
    Attempt,
    /// Its turn: it is committed.
    Turn,
}

impl Event {
    /// Something that the app wants told: `{"type":"record","turn","seq","record"}`; `record` is JSON.
    pub fn record(id: EventId, turn: u64, at: UnixMillis, record: &str) -> Self {
        let data = start("record", id, turn).json("record", record).end();
        Self { id, turn, data: data.into(), seed: None, closes: Closes::Nothing, at }
    }

    /// A piece of text: `{"type":"delta","turn","seq","text"}`; `text` is a JSON string.
    pub fn delta(id: EventId, turn: u64, at: UnixMillis, text: &str) -> Self {
        let data = start("delta", id, turn).json("text", text).end();
        Self { id, turn, data: data.into(), seed: None, closes: Closes::Nothing, at }
    }

    /// The end of a turn that came to something, with the token that is good from now on.
    pub fn outcome(
        id: EventId,
        turn: u64,
        at: UnixMillis,
        session: SessionId,
        outcome: &Outcome,
        token: Seed,
    ) -> Self {
        let data = outcome.write(session, start("outcome", id, turn)).open();
        let closes = if outcome.commits() { Closes::Turn } else { Closes::Attempt };
        Self { id, turn, data: data.into(), seed: Some(token), closes, at }
    }

    /// The end of a turn that came to nothing. Where `token` is given, the client may never have
    /// learned the session's name and its token: both are told.
    pub fn error(
        id: EventId,
        turn: u64,
        at: UnixMillis,
        failure: &Failure,
        token: Option<(SessionId, Seed)>,
    ) -> Self {
        let object = failure.write_event(start("error", id, turn));
        let (data, seed) = match token {
            Some((session, seed)) => {
                (object.plain("sessionId", format_args!("\"{session}\"")).open(), Some(seed))
            }
            None => (object.end(), None),
        };
        Self { id, turn, data: data.into(), seed, closes: Closes::Attempt, at }
    }

    /// The event as its viewers get it; always the same bytes.
    pub fn text(&self, session: SessionId, key: &TokenKey) -> Cow<'_, str> {
        with_token(&self.data, session, self.seed.as_ref(), key)
    }

    /// Bytes that it takes, within a few.
    pub fn byte_count(&self) -> usize {
        Self::byte_count_of(self.data.len(), self.seed.is_some())
    }

    /// The same of one that is stored with so many bytes of data, and whether with a token.
    pub const fn byte_count_of(data_bytes: usize, has_token: bool) -> usize {
        data_bytes.saturating_add(if has_token { TOKEN_BYTES } else { 0 })
    }

    /// Longer than an event may be.
    pub fn is_too_large(&self) -> bool {
        self.byte_count() > TURN_EVENT_BYTES
    }
}

/// `data` with the token of `seed` and its closing brace, or as it is without a seed.
pub(super) fn with_token<'d>(
    data: &'d str,
    session: SessionId,
    seed: Option<&Seed>,
    key: &TokenKey,
) -> Cow<'d, str> {
    let Some(seed) = seed else { return Cow::Borrowed(data) };
    let mut text = String::with_capacity(data.len() + TOKEN_BYTES);
    text.push_str(data);
    text.push_str(",\"continuationToken\":");
    push_string(&mut text, key.token(session, seed).expose());
    text.push('}');
    Cow::Owned(text)
}

fn start(kind: &str, id: EventId, turn: u64) -> Object {
    Object::new().text("type", kind).plain("turn", turn).plain("seq", id.seq)
}

/// `,"continuationToken":"ct_…"}`
const TOKEN_BYTES: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::event_id::Epoch;
    use crate::session::token::{Kind, Nonce};

    const SESSION: SessionId = SessionId::new([0x9f; 16]);
    const AT: UnixMillis = UnixMillis(0);

    fn id(seq: u64) -> EventId {
        EventId::new(Epoch(3), seq)
    }

    #[test]
    fn events_are_written_exactly() {
        let key = TokenKey::new([0; 32]);
        let seed = Seed { kind: Kind::Continuation, turn: 5, nonce: Nonce([1; 16]) };
        let token = key.token(SESSION, &seed);
        let (session, token) = (SESSION.to_string(), token.expose());
        let finished = Outcome::Finished { output: "{\"a\":1}".into() };
        for (event, expected) in [
            (
                Event::delta(id(26), 4, AT, "\"Hel\""),
                "{\"type\":\"delta\",\"turn\":4,\"seq\":26,\"text\":\"Hel\"}".to_owned(),
            ),
            (
                Event::record(id(27), 4, AT, "{ \"a\":\n[1] }"),
                "{\"type\":\"record\",\"turn\":4,\"seq\":27,\"record\":{\"a\":[1]}}".to_owned(),
            ),
            (
                Event::outcome(id(28), 4, AT, SESSION, &finished, seed),
                format!(
                    "{{\"type\":\"outcome\",\"turn\":4,\"seq\":28,\"sessionId\":\"{session}\",\
                     \"status\":\"finished\",\"output\":{{\"a\":1}},\"continuationToken\":\"{token}\"}}"
                ),
            ),
            (
                Event::error(id(29), 4, AT, &Failure::Interrupted, None),
                "{\"type\":\"error\",\"turn\":4,\"seq\":29,\"message\":\"the turn was interrupted\",\
                 \"code\":\"interrupted\",\"retryable\":true}"
                    .to_owned(),
            ),
            (
                Event::error(id(29), 1, AT, &Failure::Timeout, Some((SESSION, seed))),
                format!(
                    "{{\"type\":\"error\",\"turn\":1,\"seq\":29,\"message\":\"the app took too long\",\
                     \"code\":\"timeout\",\"retryable\":true,\"sessionId\":\"{session}\",\
                     \"continuationToken\":\"{token}\"}}"
                ),
            ),
        ] {
            assert_eq!(event.text(SESSION, &key), expected);
            assert!(!event.data.contains(token), "the store would keep a token");
            assert!(event.byte_count().abs_diff(expected.len()) < 8);
        }
    }

    #[test]
    fn an_event_has_a_largest_size() {
        let long = format!("\"{}\"", "x".repeat(TURN_EVENT_BYTES - 100));
        assert!(!Event::delta(id(1), 1, AT, &long).is_too_large());
        let longer = format!("\"{}\"", "x".repeat(TURN_EVENT_BYTES));
        assert!(Event::delta(id(1), 1, AT, &longer).is_too_large());
    }
}
