//! What clients are sent: the bytes of streams, bodies and messages, and the fields of answers.

use super::claim::Run;
use super::event::{Event, with_token};
use super::event_id::EventId;
use super::failure::Failure;
use super::id::SessionId;
use super::json::Object;
use super::ledger::Reset;
use super::look::View;
use super::moment;
use super::record::Ending;
use super::refusal::Refusal;
use super::token::{Seed, TokenKey};

/// A field of an answer.
pub type Field = (&'static str, String);

/// The first bytes of every event stream: a client whose connection breaks comes back after a second.
pub const STREAM_START: &str = "retry: 1000\n\n";
/// Sent when nothing else was for a while.
pub const HEARTBEAT: &str = ": hb\n\n";
/// `Content-Type` of an event stream.
pub const STREAM_TYPE: &str = "text/event-stream";
/// `Content-Type` of every other answer.
pub const JSON_TYPE: &str = "application/json";
/// The body of a 202 to a cancellation.
pub const CANCELLING: &str = "{\"status\":\"cancelling\"}";

/// Appends a block of an event stream. `text` is one line of JSON; without an id the client's cursor
/// stays where it is.
pub fn block(id: Option<EventId>, text: &str, out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Appends `event` as a block of an event stream.
pub fn event_block(event: &Event, session: SessionId, key: &TokenKey, out: &mut Vec<u8>) {
    block(Some(event.id), &event.text(session, key), out);
}

/// Appends what a viewer is told first whose cursor leads nowhere; it goes on behind `from`.
pub fn reset_block(reset: Reset, from: EventId, out: &mut Vec<u8>) {
    block(Some(from), &reset_event(reset, from), out);
}

/// `{"type":"reset","reason","from"}`
pub fn reset_event(reset: Reset, from: EventId) -> String {
    let event = Object::new().text("type", "reset").text("reason", reset.as_str());
    event.text("from", &from.to_string()).end()
}

/// An error of a turn that could not be stored: it has no number and is not told again.
pub fn trouble_event(failure: &Failure, turn: u64) -> String {
    failure.write_event(Object::new().text("type", "error").plain("turn", turn)).end()
}

/// A message of a WebSocket: `text`, an object, with its `id` in front of all else.
pub fn message(id: Option<EventId>, text: &str) -> String {
    match (id, text.strip_prefix('{')) {
        (Some(id), Some("}")) => format!("{{\"id\":\"{id}\"}}"),
        (Some(id), Some(rest)) => format!("{{\"id\":\"{id}\",{rest}"),
        _ => text.to_owned(),
    }
}

/// `event` as a message of a WebSocket.
pub fn event_message(event: &Event, session: SessionId, key: &TokenKey) -> String {
    message(Some(event.id), &event.text(session, key))
}

/// The body of an answer to a turn that has ended so. With `token` in place of the one that was good
/// then: what a replay tells.
pub fn ending_body(
    ending: &Ending,
    session: SessionId,
    token: Option<Seed>,
    key: &TokenKey,
) -> String {
    let seed = token.unwrap_or(ending.token);
    with_token(&ending.answer, session, Some(&seed), key).into_owned()
}

/// The outcome of a turn that was committed before, as an event: what a replay tells in a stream. Its
/// name is [`Ending::last`].
pub fn replay_event(ending: &Ending, session: SessionId, token: Seed, key: &TokenKey) -> String {
    let start = Object::new().text("type", "outcome").plain("turn", ending.turn);
    let start = start.plain("seq", ending.last.seq).open();
    let rest = ending.answer.strip_prefix('{').unwrap_or_default();
    with_token(&format!("{start},{rest}"), session, Some(&token), key).into_owned()
}

/// The body of an answer to a turn that failed without being stored, with the token that stays good.
pub fn trouble_body(failure: &Failure, run: &Run, key: &TokenKey) -> String {
    let session = run.attempt.session;
    with_token(&failure.answer(session), session, Some(&run.token), key).into_owned()
}

/// The body of a 202 to a turn: `{"sessionId","status":"running","turn","continuationToken"}`.
pub fn accepted_body(run: &Run, key: &TokenKey) -> String {
    let session = run.attempt.session;
    let body = Object::new().plain("sessionId", format_args!("\"{session}\""));
    let body = body.text("status", "running").plain("turn", run.attempt.turn).open();
    with_token(&body, session, Some(&run.token), key).into_owned()
}

/// The body of an answer to a cancellation when no turn runs and how the last one ended is forgotten:
/// `{"sessionId","status":"idle","continuationToken"}`.
pub fn idle_body(session: SessionId, token: &Seed, key: &TokenKey) -> String {
    let body = Object::new().plain("sessionId", format_args!("\"{session}\""));
    let body = body.text("status", "idle").open();
    with_token(&body, session, Some(token), key).into_owned()
}

/// The body of a GET of a session: `{"status","turn","lastEventId","expiresAt"}`.
pub fn status_body(view: &View) -> String {
    let body = Object::new().text("status", view.status).plain("turn", view.turn);
    let body = body.text("lastEventId", &view.last().to_string());
    body.text("expiresAt", &moment::print(view.expires_at)).end()
}

/// The body of a GET of events as JSON: `{"events","next","upToDate","closed"}`.
pub fn events_body<'e>(
    events: impl IntoIterator<Item = &'e Event>,
    session: SessionId,
    next: EventId,
    is_up_to_date: bool,
    is_closed: bool,
    key: &TokenKey,
) -> String {
    let mut list = String::from("[");
    for event in events {
        if list.len() > 1 {
            list.push(',');
        }
        list.push_str(&event.text(session, key));
    }
    list.push(']');
    // The list has no white space to take out.
    let body = Object::new().plain("events", list).text("next", &next.to_string());
    body.plain("upToDate", is_up_to_date).plain("closed", is_closed).end()
}

/// The fields of every answer to a turn.
pub fn turn_fields(session: SessionId, turn: u64, resume: &Seed, key: &TokenKey) -> Vec<Field> {
    let token = key.token(session, resume);
    vec![
        ("Rip-Session-Id", session.to_string()),
        ("Rip-Turn", turn.to_string()),
        ("Rip-Resume-Token", token.expose().to_owned()),
        ("Cache-Control", "no-store".to_owned()),
        ("X-Accel-Buffering", "no".to_owned()),
    ]
}

/// The fields of a 202, besides those of a turn.
pub fn accepted_fields(mount: &str, run: &Run) -> Vec<Field> {
    vec![
        ("Location", events_location(mount, run.attempt.session, run.attempt.turn)),
        ("Preference-Applied", "respond-async".to_owned()),
    ]
}

/// The field of an answer that was given before.
pub fn replayed_field() -> Field {
    ("Idempotency-Replayed", "true".to_owned())
}

/// The fields of an event stream that is not a turn's own answer.
pub fn resume_fields(session: SessionId, after: EventId) -> Vec<Field> {
    vec![
        ("Rip-Session-Id", session.to_string()),
        ("Rip-Last-Event-ID", after.to_string()),
        ("Cache-Control", "no-store".to_owned()),
        ("X-Accel-Buffering", "no".to_owned()),
    ]
}

/// Where the events of a turn are read.
pub fn events_location(mount: &str, session: SessionId, turn: u64) -> String {
    format!("{mount}/session/{session}/events?turn={turn}")
}

/// A refusal as a message of a WebSocket.
pub fn refusal_message(refusal: &Refusal, last: Option<EventId>) -> String {
    message(last, &refusal.event())
}
