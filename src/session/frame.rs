//! What a client may send over its WebSocket: JSON in text messages.

use super::access::Access;
use super::ask::split_token;
use super::event_id::Cursor;
use super::json::Members;
use super::refusal::Refusal;
use super::token::Token;

/// One message of a client.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A turn's input, with the token that came with it.
    Message {
        /// A JSON object on one line, without the token.
        input: String,
        /// What the client presents.
        token: Option<Token>,
    },
    /// `{"type":"resume","sessionId","continuationToken"|"resumeToken","lastEventId"?}`
    Resume {
        /// The session's name, as the client wrote it.
        session: String,
        /// What it presents.
        access: Access,
        /// From where it reads.
        cursor: Cursor,
    },
    /// `{"type":"cancel"}`
    Cancel,
    /// `{"type":"ping"}`
    Ping,
}

impl Frame {
    /// Reads a message. An object whose `type` is `resume`, `cancel` or `ping` is that; every other
    /// object is a turn's input, as the body of a POST is.
    pub fn read(text: &[u8]) -> Result<Self, Refusal> {
        let (input, token) = split_token(text)?;
        let Some(members) = Members::read(&input) else { return Err(Refusal::NotAnObject) };
        match members.text("type").as_deref() {
            Some("cancel") => Ok(Self::Cancel),
            Some("ping") => Ok(Self::Ping),
            Some("resume") => {
                let named = |name| members.text(name).filter(|token| !token.is_empty());
                let cursor = members.text("lastEventId").unwrap_or_default();
                Ok(Self::Resume {
                    session: members.text("sessionId").unwrap_or_default(),
                    access: Access {
                        continuation: token.filter(|token| !token.is_empty()).map(Token::presented),
                        resume: named("resumeToken").map(Token::presented),
                    },
                    cursor: Cursor::parse(&cursor).ok_or(Refusal::BadCursor)?,
                })
            }
            _ => Ok(Self::Message { input, token: present(token) }),
        }
    }
}

fn present(token: Option<String>) -> Option<Token> {
    token.filter(|token| !token.is_empty()).map(Token::presented)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::event_id::{Epoch, EventId};

    #[test]
    fn messages_are_inputs() {
        for (text, expected, presented) in [
            ("{}", "{}", None),
            ("{\"text\": \"hi\"}", "{\"text\":\"hi\"}", None),
            ("{\"a\":1,\"continuationToken\":\"ct_x\"}", "{\"a\":1}", Some("ct_x")),
            (
                "{\"type\":\"message\",\"input\":{\"a\": 1},\"continuationToken\":\"ct_x\"}",
                "{\"type\":\"message\",\"input\":{\"a\":1}}",
                Some("ct_x"),
            ),
            (
                "{\"type\":\"message\",\"text\":\"hi\"}",
                "{\"type\":\"message\",\"text\":\"hi\"}",
                None,
            ),
            ("{\"type\":\"other\"}", "{\"type\":\"other\"}", None),
            ("{\"type\":7}", "{\"type\":7}", None),
        ] {
            match Frame::read(text.as_bytes()) {
                Ok(Frame::Message { input, token }) => {
                    assert_eq!(input, expected);
                    assert_eq!(token.as_ref().map(Token::expose), presented);
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_other_kinds_are_told_by_their_type() {
        assert!(matches!(Frame::read(b"{\"type\":\"cancel\"}"), Ok(Frame::Cancel)));
        assert!(matches!(Frame::read(b"{\"type\":\"ping\",\"x\":1}"), Ok(Frame::Ping)));
        let text = "{\"type\":\"resume\",\"sessionId\":\"s_1\",\"resumeToken\":\"rt_a\",\
                    \"lastEventId\":\"0001-000000000002\"}";
        match Frame::read(text.as_bytes()) {
            Ok(Frame::Resume { session, access, cursor }) => {
                assert_eq!(session, "s_1");
                assert_eq!(access.resume.unwrap().expose(), "rt_a");
                assert!(access.continuation.is_none());
                assert_eq!(cursor, Cursor::After(EventId::new(Epoch(1), 2)));
            }
            other => panic!("{other:?}"),
        }
        let text = "{\"type\":\"resume\",\"sessionId\":\"s_1\",\"continuationToken\":\"ct_a\"}";
        match Frame::read(text.as_bytes()) {
            Ok(Frame::Resume { access, cursor, .. }) => {
                assert_eq!(access.continuation.unwrap().expose(), "ct_a");
                assert_eq!(cursor, Cursor::Turn);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (text, refusal) in [
            (&b"x"[..], Refusal::BadJson),
            (b"[]", Refusal::NotAnObject),
            (b"\xff", Refusal::BadJson),
            (
                b"{\"type\":\"resume\",\"sessionId\":\"s_1\",\"lastEventId\":\"7\"}",
                Refusal::BadCursor,
            ),
        ] {
            assert_eq!(Frame::read(text).unwrap_err(), refusal);
        }
        assert!(matches!(Frame::read(b""), Ok(Frame::Message { .. })));
    }
}
