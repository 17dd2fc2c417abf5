//! What an app answers to a turn: one JSON object, a stream of events, or a refusal.

use super::failure::Failure;
use super::json::{Members, compact};
use super::lines::{Division, Lines, TooLong};
use super::outcome::{Outcome, State};
use crate::limits::{TURN_ANSWER_BYTES, TURN_EVENT_BYTES, TURN_STATE_BYTES};
use std::borrow::Cow;

/// What an app's answer is, by its head.
#[derive(Debug)]
pub enum Answer {
    /// It will say what came of the turn.
    Reading(Reader),
    /// It refuses the turn: its answer goes to the client as it is.
    Refusal,
    /// It is none; the turn has failed.
    Failed(Failure),
}

impl Answer {
    /// The answer of `status` and `content_type`, the value of `Content-Type`.
    pub fn of(status: u16, content_type: Option<&[u8]>) -> Self {
        match status {
            200..=299 => {}
            400 | 401 | 403 | 404 | 409 | 422 | 429 => return Self::Refusal,
            status => return Self::Failed(Failure::Status(status)),
        }
        let Some(content_type) = content_type else { return Self::Reading(Reader::json()) };
        let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
        let media = media.trim_ascii().to_ascii_lowercase();
        match media.as_slice() {
            b"text/event-stream" => Self::Reading(Reader::stream(Division::Blocks)),
            b"application/x-ndjson" | b"application/ndjson" | b"application/jsonl" => {
                Self::Reading(Reader::stream(Division::Lines))
            }
            media
                if media == b"application/json"
                    || media.ends_with(b"+json")
                    || media.is_empty() =>
            {
                Self::Reading(Reader::json())
            }
            media => {
                let what = format!("Content-Type is {}", String::from_utf8_lossy(media));
                Self::Failed(Failure::BadAnswer(what))
            }
        }
    }
}

/// One thing that an app's answer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// A piece of text: a JSON string.
    Delta(String),
    /// Something to be told: JSON.
    Record(String),
    /// What came of the turn; nothing behind it counts.
    Outcome(Outcome, State),
}

/// An answer that is being read.
///
/// ```text
///   feed, next… ─▶ Some(Delta | Record)…, Some(Outcome) ─▶ done
///                  Err(failure) ─▶ done
///   finish      ─▶ Some(Outcome), or Err(Incomplete)
/// ```
#[derive(Debug)]
pub struct Reader {
    form: Form,
    is_done: bool,
}

#[derive(Debug)]
enum Form {
    /// One object.
    Json(Vec<u8>),
    /// Events.
    Stream(Lines),
}

impl Reader {
    fn json() -> Self {
        Self { form: Form::Json(Vec::new()), is_done: false }
    }

    fn stream(division: Division) -> Self {
        Self { form: Form::Stream(Lines::new(division)), is_done: false }
    }

    /// Events may come one by one.
    pub fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream(_))
    }

    /// Takes bytes of `bytes` until they say something; the rest is for the next call. `Ok(None)`: all
    /// were taken. After an outcome or a failure everything is taken and ignored.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Said>, Failure> {
        if self.is_done {
            *bytes = &[];
            return Ok(None);
        }
        let said = match &mut self.form {
            Form::Json(body) if body.len() + bytes.len() > TURN_ANSWER_BYTES => Err(too_large()),
            Form::Json(body) => {
                body.extend_from_slice(bytes);
                *bytes = &[];
                Ok(None)
            }
            Form::Stream(lines) => match lines.next(bytes) {
                Ok(None) => Ok(None),
                Ok(Some(part)) => event(&part).map(Some),
                Err(TooLong) => Err(too_large()),
            },
        };
        self.is_done = matches!(said, Err(_) | Ok(Some(Said::Outcome(..))));
        said
    }

    /// The answer has ended in good order. `Ok(None)` only if it had said everything before.
    pub fn finish(&mut self) -> Result<Option<Said>, Failure> {
        if std::mem::replace(&mut self.is_done, true) {
            return Ok(None);
        }
        match &mut self.form {
            Form::Json(body) => whole(body).map(Some),
            Form::Stream(lines) => match lines.finish() {
                Some(part) => match event(&part)? {
                    outcome @ Said::Outcome(..) => Ok(Some(outcome)),
                    _ => Err(Failure::Incomplete),
                },
                None => Err(Failure::Incomplete),
            },
        }
    }
}

/// A whole JSON answer.
fn whole(body: &[u8]) -> Result<Said, Failure> {
    let text = text(body)?;
    if let Some(members) = Members::read(text)
        && members.get("status").is_some()
    {
        return outcome(&members);
    }
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !is_json {
        return Err(bad("it is not JSON"));
    }
    sized(Outcome::Finished { output: compact(text) }, State::Same)
}

/// One event of a stream.
fn event(part: &[u8]) -> Result<Said, Failure> {
    let text = text(part)?;
    let members = Members::read(text).ok_or_else(|| bad("an event is no JSON object"))?;
    match members.text("type").as_deref() {
        Some("delta") => {
            let text = members.get("text").filter(|text| text.starts_with('"'));
            fits(text.ok_or_else(|| bad("`text` of a delta is no string"))?).map(Said::Delta)
        }
        Some("record") => {
            let record = members.get("record").ok_or_else(|| bad("a record has no `record`"))?;
            fits(&compact(record)).map(Said::Record)
        }
        Some("outcome") => outcome(&members),
        Some("error") => Err(Failure::App {
            message: clipped(
                members.text("message").unwrap_or_else(|| "the app failed".to_owned()),
            ),
            code: members.text("code").map(clipped),
            is_retryable: members.get("retryable") == Some("true"),
        }),
        Some(other) => Err(Failure::BadAnswer(clipped(format!("unknown event type `{other}`")))),
        None => Err(bad("an event has no `type`")),
    }
}

fn outcome(members: &Members<'_>) -> Result<Said, Failure> {
    let outcome = Outcome::read(members).map_err(bad)?;
    sized(outcome, State::read(members))
}

/// An outcome within the limits.
fn sized(outcome: Outcome, state: State) -> Result<Said, Failure> {
    let length = match &outcome {
        Outcome::Finished { output } => output.len(),
        Outcome::Parked { wait, .. } => wait.len(),
        Outcome::Contended { current } => current.len(),
        Outcome::Cancelled => 0,
    };
    if length > EVENT_ROOM {
        return Err(too_large());
    }
    match &state {
        State::New(state) if state.len() > TURN_STATE_BYTES => Err(bad("`state` is over 1 MiB")),
        _ => Ok(Said::Outcome(outcome, state)),
    }
}

fn fits(json: &str) -> Result<String, Failure> {
    if json.len() > EVENT_ROOM { Err(too_large()) } else { Ok(json.to_owned()) }
}

fn text(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))
}

fn bad(what: impl Into<Cow<'static, str>>) -> Failure {
    Failure::BadAnswer(what.into().into_owned())
}

fn too_large() -> Failure {
    bad("an event is over 1 MiB")
}

/// The app's words, within reason.
fn clipped(mut text: String) -> String {
    if text.len() > APP_TEXT_BYTES {
        let end = (0..=APP_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

/// What an event may hold besides its names and its token.
const EVENT_ROOM: usize = TURN_EVENT_BYTES - 512;
/// The message of an app's error.
const APP_TEXT_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(content_type: &str) -> Reader {
        match Answer::of(200, Some(content_type.as_bytes())) {
            Answer::Reading(reader) => reader,
            other => panic!("{other:?}"),
        }
    }

    fn read(content_type: &str, pieces: &[&[u8]]) -> (Vec<Said>, Option<Failure>) {
        let mut reader = reader(content_type);
        let mut said = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                match reader.next(&mut rest) {
                    Ok(something) => said.extend(something),
                    Err(failure) => return (said, Some(failure)),
                }
            }
        }
        match reader.finish() {
            Ok(last) => {
                said.extend(last);
                (said, None)
            }
            Err(failure) => (said, Some(failure)),
        }
    }

    fn finished(output: &str) -> Outcome {
        Outcome::Finished { output: output.into() }
    }

    const SSE: &str = "text/event-stream; charset=utf-8";
    const NDJSON: &str = "application/x-ndjson";

    #[test]
    fn the_head_decides() {
        for status in [400, 401, 403, 404, 409, 422, 429] {
            assert!(matches!(Answer::of(status, None), Answer::Refusal), "{status}");
        }
        for status in [100, 101, 301, 302, 304, 402, 405, 408, 410, 413, 451, 500, 502, 503] {
            let answer = Answer::of(status, Some(b"application/json"));
            assert!(matches!(answer, Answer::Failed(Failure::Status(told)) if told == status));
        }
        for (content_type, is_stream) in [
            ("application/json", false),
            ("APPLICATION/JSON ;charset=utf-8", false),
            ("application/problem+json", false),
            ("", false),
            ("Text/Event-Stream", true),
            ("application/x-ndjson; x=y", true),
        ] {
            assert_eq!(reader(content_type).is_stream(), is_stream, "{content_type}");
        }
        assert!(matches!(Answer::of(204, None), Answer::Reading(_)));
        let html = Answer::of(200, Some(b"text/html"));
        assert!(matches!(html, Answer::Failed(Failure::BadAnswer(_))));
    }

    #[test]
    fn json_answers_are_read() {
        for (body, outcome, state) in [
            (
                "{\"status\":\"finished\",\"output\":[ 1 ],\"state\":{ }}",
                finished("[1]"),
                State::New("{}".into()),
            ),
            ("{\"answer\": 42}", finished("{\"answer\":42}"), State::Same),
            ("{\"answer\":42,\"state\":1}", finished("{\"answer\":42,\"state\":1}"), State::Same),
            (" [1, 2] ", finished("[1,2]"), State::Same),
            ("null", finished("null"), State::Same),
            (
                "{\"status\":\"contended\",\"current\":3}",
                Outcome::Contended { current: "3".into() },
                State::Same,
            ),
        ] {
            for cut in 0..=body.len() {
                let pieces = [&body.as_bytes()[..cut], &body.as_bytes()[cut..]];
                let (said, failure) = read("application/json", &pieces);
                assert_eq!(
                    (said, failure),
                    (vec![Said::Outcome(outcome.clone(), state.clone())], None)
                );
            }
        }
        for body in
            ["", "{", "{\"status\":\"ok\"}", "{\"status\":null}", "hello", "{} {}", "\u{feff}{}"]
        {
            let (said, failure) = read("application/json", &[body.as_bytes()]);
            assert!(said.is_empty() && matches!(failure, Some(Failure::BadAnswer(_))), "{body}");
        }
        let (_, failure) = read("application/json", &[b"\"\xff\""]);
        assert_eq!(failure, Some(bad("it is not UTF-8")));
    }

    #[test]
    fn both_streams_say_the_same_wherever_they_are_cut() {
        let events = [
            "{\"type\":\"delta\",\"text\":\"H\\u00e9l \"}",
            "{ \"record\" : { \"n\" : 1.0 }, \"type\":\"record\" }",
            "{\"type\":\"outcome\",\"status\":\"finished\",\"output\":\"😀\",\"state\":{\"n\":1}}",
            "{\"type\":\"delta\",\"text\":\"ignored\"}",
        ];
        let expected = vec![
            Said::Delta("\"H\\u00e9l \"".into()),
            Said::Record("{\"n\":1.0}".into()),
            Said::Outcome(finished("\"😀\""), State::New("{\"n\":1}".into())),
        ];
        let sse: String =
            events.iter().map(|event| format!(": c\r\ndata: {event}\r\n\r\n")).collect();
        let ndjson: String = events.iter().map(|event| format!("{event}\n")).collect();
        for (content_type, stream) in [(SSE, sse), (NDJSON, ndjson)] {
            let bytes = stream.as_bytes();
            for cut in 0..=bytes.len() {
                let (said, failure) = read(content_type, &[&bytes[..cut], &bytes[cut..]]);
                assert_eq!((&said, failure), (&expected, None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_stream_that_ends_too_early_is_incomplete() {
        let whole = "data: {\"type\":\"delta\",\"text\":\"a\"}\n\ndata: {\"type\":\"outcome\",\"status\":\"finished\"}";
        let (said, failure) = read(SSE, &[whole.as_bytes()]);
        assert_eq!((said.len(), failure), (2, None));
        for end in 0..whole.len() {
            let (_, failure) = read(SSE, &[&whole.as_bytes()[..end]]);
            assert!(failure.is_some(), "{}", &whole[..end]);
        }
    }

    #[test]
    fn nonsense_in_a_stream_is_named() {
        for (event, words) in [
            ("{\"type\":\"delta\"}", "`text` of a delta is no string"),
            ("{\"type\":\"delta\",\"text\":1}", "`text` of a delta is no string"),
            ("{\"type\":\"record\"}", "a record has no `record`"),
            ("{\"type\":\"x\"}", "unknown event type `x`"),
            ("{\"text\":\"a\"}", "an event has no `type`"),
            ("[1]", "an event is no JSON object"),
            ("{", "an event is no JSON object"),
            ("{\"type\":\"outcome\"}", "`status` is none of finished, parked, contended"),
        ] {
            let (said, failure) = read(NDJSON, &[event.as_bytes(), b"\n"]);
            assert!(said.is_empty());
            assert_eq!(failure, Some(bad(words)), "{event}");
        }
        let error = "{\"type\":\"error\",\"message\":\"no\",\"code\":\"c\",\"retryable\":true}\n";
        let failure = read(NDJSON, &[error.as_bytes()]).1;
        let expected =
            Failure::App { message: "no".into(), code: Some("c".into()), is_retryable: true };
        assert_eq!(failure, Some(expected));
    }

    #[test]
    fn limits_hold() {
        let text = |length: usize| "x".repeat(length);
        let delta = format!("{{\"type\":\"delta\",\"text\":\"{}\"}}\n", text(EVENT_ROOM));
        assert_eq!(read(NDJSON, &[delta.as_bytes()]).1, Some(too_large()));
        let state = format!("{{\"status\":\"finished\",\"state\":\"{}\"}}", text(TURN_STATE_BYTES));
        let (_, failure) = read("application/json", &[state.as_bytes()]);
        assert_eq!(failure, Some(bad("`state` is over 1 MiB")));
        let both = format!(
            "{{\"status\":\"finished\",\"state\":\"{}\",\"output\":\"{}\"}}",
            text(TURN_STATE_BYTES - 2),
            text(EVENT_ROOM - 2)
        );
        assert_eq!(read("application/json", &[both.as_bytes()]).1, None);
        let endless = vec![b' '; TURN_ANSWER_BYTES + 1];
        assert_eq!(read("application/json", &[&endless]).1, Some(too_large()));
        assert_eq!(clipped("é".repeat(APP_TEXT_BYTES)).len(), APP_TEXT_BYTES);
    }
}
