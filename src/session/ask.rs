//! What a client asks of a turn: the body and fields of a POST.

use super::json::{Members, Object, compact};
use super::key::Key;
use super::refusal::Refusal;
use super::token::Token;
use crate::http1::weight::{FULL, weight};
use crate::limits::TURN_INPUT_BYTES;

/// The fields of a POST that say something about its turn; each is the first of its name.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskFields<'a> {
    /// `Accept`
    pub accept: &'a [u8],
    /// `Idempotency-Key`
    pub key: Option<&'a [u8]>,
    /// `Prefer`
    pub prefer: &'a [u8],
    /// `x-continuation-token`
    pub token: Option<&'a [u8]>,
}

/// What a POST asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The turn's input: a JSON object on one line, without the token.
    pub input: String,
    /// The token that the client presents.
    pub token: Option<Token>,
    /// What makes the request one of a kind.
    pub key: Option<Key>,
    /// How it wants its answer.
    pub form: Form,
    /// What `Prefer` says.
    pub prefer: Prefer,
}

/// The form of an answer to a turn.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// One JSON object, when the turn has ended.
    #[default]
    Json,
    /// `text/event-stream`, as it happens.
    Sse,
    /// Messages of a WebSocket, as it happens.
    Socket,
}

/// What `Prefer` says of a turn (RFC 7240).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Prefer {
    /// Answer 202 at once.
    pub respond_async: bool,
    /// When this connection ends, so does the turn.
    pub cancel_on_disconnect: bool,
}

impl Ask {
    /// Reads a POST. The token in the body wins over the one in its field and is taken out of the
    /// input; one that is no string counts as absent, and is taken out all the same.
    pub fn read(fields: &AskFields<'_>, body: &[u8]) -> Result<Self, Refusal> {
        let (input, in_body) = split_token(body)?;
        let in_field = fields.token.map(|token| String::from_utf8_lossy(token).into_owned());
        Ok(Self {
            input,
            token: in_body.or(in_field).filter(|token| !token.is_empty()).map(Token::presented),
            key: fields.key.map(Key::new).transpose()?,
            form: Form::accepted(fields.accept),
            prefer: Prefer::read(fields.prefer),
        })
    }
}

impl Form {
    /// The form of an answer to a turn that `accept`, the value of `Accept`, asks for: an event stream
    /// where it is named and not wanted less than JSON is; between equals the first named wins.
    pub fn accepted(accept: &[u8]) -> Self {
        Self::preferred(accept, Self::Json)
    }

    /// The form of an answer to a GET of events: a stream unless JSON is asked for.
    pub fn accepted_of_events(accept: &[u8]) -> Self {
        Self::preferred(accept, Self::Sse)
    }

    fn preferred(accept: &[u8], otherwise: Self) -> Self {
        let mut best = (0, otherwise);
        for range in accept.split(|byte| *byte == b',') {
            let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let media = parts.next().unwrap_or_default();
            let form = if media.eq_ignore_ascii_case(b"text/event-stream") {
                Self::Sse
            } else if media.eq_ignore_ascii_case(b"application/json") {
                Self::Json
            } else {
                continue;
            };
            let wanted = parts.find_map(weight).unwrap_or(FULL);
            if wanted > best.0 {
                best = (wanted, form);
            }
        }
        best.1
    }
}

impl Prefer {
    /// Reads the value of `Prefer`; what is unknown is ignored.
    pub fn read(prefer: &[u8]) -> Self {
        let mut read = Self::default();
        for preference in prefer.split(|byte| *byte == b',') {
            let word = preference.split(|byte| *byte == b';').next().unwrap_or_default();
            let (name, value) = match word.iter().position(|byte| *byte == b'=') {
                Some(at) => (&word[..at], &word[at + 1..]),
                None => (word, &b""[..]),
            };
            let value = value.trim_ascii();
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            let value = value.strip_suffix(b"\"").unwrap_or(value);
            if name.trim_ascii().eq_ignore_ascii_case(b"respond-async") {
                read.respond_async = true;
            } else if name.trim_ascii().eq_ignore_ascii_case(b"disconnect") {
                read.cancel_on_disconnect = value.eq_ignore_ascii_case(b"cancel");
            }
        }
        read
    }
}

/// A body as a turn's input, and the token that was in it.
pub(super) fn split_token(body: &[u8]) -> Result<(String, Option<String>), Refusal> {
    if body.len() > TURN_INPUT_BYTES {
        return Err(Refusal::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| Refusal::BadJson)?;
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return Ok(("{}".to_owned(), None));
    }
    let Some(members) = Members::read(text) else {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        return Err(if is_json { Refusal::NotAnObject } else { Refusal::BadJson });
    };
    if members.get(TOKEN).is_none() {
        return Ok((compact(text), None));
    }
    let token = members.text(TOKEN);
    let rest = members.0.iter().filter(|(name, _)| name != TOKEN);
    let input = rest.fold(Object::new(), |input, (name, value)| input.json(name, value.get()));
    Ok((input.end(), token))
}

const TOKEN: &str = "continuationToken";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, token: Option<&str>) -> (String, Option<String>) {
        let fields = AskFields { token: token.map(str::as_bytes), ..AskFields::default() };
        let ask = Ask::read(&fields, body.as_bytes()).unwrap();
        (ask.input, ask.token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn the_token_is_found_and_taken_out() {
        for (body, field, input, token) in [
            ("", None, "{}", None),
            (" \r\n", Some("ct_f"), "{}", Some("ct_f")),
            ("{\"continuationToken\":\"ct_b\"}", Some("ct_f"), "{}", Some("ct_b")),
            (
                "{ \"a\" : 1.0 , \"continuationToken\" : \"ct_b\", \"b\":[ ] }",
                None,
                "{\"a\":1.0,\"b\":[]}",
                Some("ct_b"),
            ),
            ("{\"continuationToken\":7,\"a\":1}", Some("ct_f"), "{\"a\":1}", Some("ct_f")),
            ("{\"continuationToken\":null}", None, "{}", None),
            ("{\"continuationToken\":\"\"}", None, "{}", None),
            (
                "{\"continuationToken\":\"ct_1\",\"continuationToken\":\"ct_2\"}",
                None,
                "{}",
                Some("ct_2"),
            ),
            ("{\"\\u0063ontinuationToken\":\"ct_b\"}", None, "{}", Some("ct_b")),
            (
                "{\"in\":{\"continuationToken\":\"ct_b\"}}",
                None,
                "{\"in\":{\"continuationToken\":\"ct_b\"}}",
                None,
            ),
            ("{\"a\":1}", Some(""), "{\"a\":1}", None),
        ] {
            assert_eq!(read(body, field), (input.into(), token.map(str::to_owned)), "{body}");
        }
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        let read = |body: &[u8]| Ask::read(&AskFields::default(), body).unwrap_err();
        for body in ["[]", "1", "null", "\"x\"", " [1, 2] "] {
            assert_eq!(read(body.as_bytes()), Refusal::NotAnObject, "{body}");
        }
        for body in ["{", "x", "{}{}", "{\"a\":}", "{'a':1}", "\u{feff}{}"] {
            assert_eq!(read(body.as_bytes()), Refusal::BadJson, "{body}");
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}"), Refusal::BadJson);
        let mut large = vec![b' '; TURN_INPUT_BYTES - 2];
        large.extend_from_slice(b"{}");
        assert!(Ask::read(&AskFields::default(), &large).is_ok());
        large.push(b' ');
        assert_eq!(read(&large), Refusal::TooLarge);
    }

    #[test]
    fn deep_input_needs_no_deep_stack() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(400_000), "]".repeat(400_000));
        assert_eq!(read(&deep, None).0, deep);
    }

    #[test]
    fn the_form_follows_accept() {
        for (accept, form) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("text/event-stream", Form::Sse),
            ("Text/Event-Stream; q=0.5", Form::Sse),
            ("text/event-stream;q=0", Form::Json),
            ("application/json, text/event-stream", Form::Json),
            ("text/event-stream, application/json", Form::Sse),
            ("application/json;q=0.5, text/event-stream", Form::Sse),
            ("text/html", Form::Json),
        ] {
            assert_eq!(Form::accepted(accept.as_bytes()), form, "{accept}");
        }
        for (accept, form) in [
            ("", Form::Sse),
            ("*/*", Form::Sse),
            ("text/event-stream", Form::Sse),
            ("application/json", Form::Json),
            ("application/json;q=0", Form::Sse),
        ] {
            assert_eq!(Form::accepted_of_events(accept.as_bytes()), form, "{accept}");
        }
    }

    #[test]
    fn preferences_are_read() {
        for (prefer, respond_async, cancel_on_disconnect) in [
            ("", false, false),
            ("respond-async", true, false),
            ("Respond-Async, wait=10", true, false),
            ("disconnect=cancel", false, true),
            ("disconnect=\"cancel\"; x=y, respond-async", true, true),
            ("disconnect = cancel", false, true),
            ("disconnect=continue", false, false),
            ("disconnect", false, false),
        ] {
            let expected = Prefer { respond_async, cancel_on_disconnect };
            assert_eq!(Prefer::read(prefer.as_bytes()), expected, "{prefer}");
        }
    }
}
