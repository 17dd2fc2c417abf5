//! Who may read a session: the fields and the query of a GET.

use super::event_id::Cursor;
use super::path::decode;
use super::refusal::Refusal;
use super::token::Token;
use crate::limits::{EVENT_PAGE_COUNT, LONG_POLL_MAX};
use std::time::Duration;

/// The tokens that a reader presents. Any of them may be the one that opens.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Said to be a continuation token: `x-continuation-token`.
    pub continuation: Option<Token>,
    /// Said to be a resume token: `Rip-Resume-Token`, or `resume` in the query.
    pub resume: Option<Token>,
}

impl Access {
    /// Nothing was presented.
    pub fn is_empty(&self) -> bool {
        self.continuation.is_none() && self.resume.is_none()
    }
}

/// The fields of a GET of events; each is the first of its name.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadFields<'a> {
    /// `x-continuation-token`
    pub token: Option<&'a [u8]>,
    /// `Rip-Resume-Token`
    pub resume: Option<&'a [u8]>,
    /// `Last-Event-ID`
    pub last_event_id: Option<&'a [u8]>,
}

/// What a GET asks for.
#[derive(Clone, Debug)]
pub struct Reading {
    /// By what right.
    pub access: Access,
    /// From where.
    pub cursor: Cursor,
    /// Only this turn, to its end.
    pub turn: Option<u64>,
    /// How long to wait for an event when there is none (JSON).
    pub wait: Duration,
    /// How many events at most (JSON).
    pub limit: u32,
}

impl Reading {
    /// Reads the fields and the query (without its `?`) of a GET. `Last-Event-ID` wins over
    /// `last_event_id`, a field over the query; an empty value counts as absent.
    pub fn read(fields: &ReadFields<'_>, query: &str) -> Result<Self, Refusal> {
        check_query(query)?;
        let text =
            |field: Option<&[u8]>| field.map(|value| String::from_utf8_lossy(value).into_owned());
        let token = |field| text(field).filter(|token| !token.is_empty()).map(Token::presented);
        let mut read = Self {
            access: Access { continuation: token(fields.token), resume: token(fields.resume) },
            cursor: Cursor::Turn,
            turn: None,
            wait: Duration::ZERO,
            limit: EVENT_PAGE_COUNT,
        };
        let mut cursor = None;
        for (name, value) in pairs(query).filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "resume" if read.access.resume.is_none() => {
                    read.access.resume = Some(Token::presented(value));
                }
                "last_event_id" => cursor = Some(value),
                "turn" => {
                    let turn = number(&value).filter(|turn| *turn > 0);
                    read.turn = Some(turn.ok_or(Refusal::BadParameter("turn"))?);
                }
                "wait" => {
                    let seconds = number(&value).ok_or(Refusal::BadParameter("wait"))?;
                    read.wait = Duration::from_secs(seconds).min(LONG_POLL_MAX);
                }
                "limit" => {
                    let limit = number(&value).filter(|limit| *limit > 0);
                    let limit = limit.ok_or(Refusal::BadParameter("limit"))?;
                    read.limit = limit.min(u64::from(EVENT_PAGE_COUNT)) as u32;
                }
                _ => {}
            }
        }
        let cursor = text(fields.last_event_id).filter(|id| !id.is_empty()).or(cursor);
        if let Some(cursor) = cursor {
            read.cursor = Cursor::parse(&cursor).ok_or(Refusal::BadCursor)?;
        }
        Ok(read)
    }
}

/// Refuses a query with a continuation token in it; every endpoint of a session asks.
pub fn check_query(query: &str) -> Result<(), Refusal> {
    let has_token = pairs(query).any(|(_, value)| value.starts_with("ct_"));
    if has_token { Err(Refusal::TokenInQuery) } else { Ok(()) }
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decode(&text.replace('+', " ")).into_owned();
        (plain(name), plain(value))
    })
}

/// A number in decimal digits and nothing else.
fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::event_id::{Epoch, EventId};

    fn read(query: &str) -> Reading {
        Reading::read(&ReadFields::default(), query).unwrap()
    }

    #[test]
    fn queries_are_read() {
        let read = read("resume=rt_a%2Db&last_event_id=earliest&turn=3&wait=25&limit=7&x=y");
        assert_eq!(read.access.resume.unwrap().expose(), "rt_a-b");
        assert!(read.access.continuation.is_none());
        assert_eq!((read.cursor, read.turn), (Cursor::Earliest, Some(3)));
        assert_eq!((read.wait, read.limit), (Duration::from_secs(25), 7));
    }

    #[test]
    fn without_anything_the_defaults_hold() {
        for query in ["", "last_event_id=&resume=&turn=&wait=&limit="] {
            let read = read(query);
            assert!(read.access.is_empty());
            assert_eq!((read.cursor, read.turn), (Cursor::Turn, None));
            assert_eq!((read.wait, read.limit), (Duration::ZERO, EVENT_PAGE_COUNT));
        }
        assert_eq!(read("wait=86400&limit=999999").wait, LONG_POLL_MAX);
        assert_eq!(read("limit=999999").limit, EVENT_PAGE_COUNT);
    }

    #[test]
    fn fields_win_over_the_query() {
        let fields = ReadFields {
            token: Some(b"ct_a"),
            resume: Some(b"rt_field"),
            last_event_id: Some(b"0001-000000000002"),
        };
        let read = Reading::read(&fields, "resume=rt_query&last_event_id=now").unwrap();
        assert_eq!(read.access.continuation.unwrap().expose(), "ct_a");
        assert_eq!(read.access.resume.unwrap().expose(), "rt_field");
        assert_eq!(read.cursor, Cursor::After(EventId::new(Epoch(1), 2)));
        let fields = ReadFields { last_event_id: Some(b""), ..ReadFields::default() };
        let read = Reading::read(&fields, "last_event_id=now").unwrap();
        assert_eq!(read.cursor, Cursor::Now);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (query, refusal) in [
            ("resume=ct_a", Refusal::TokenInQuery),
            ("resume=%63t_a", Refusal::TokenInQuery),
            ("a=b&x-continuation-token=ct_", Refusal::TokenInQuery),
            ("last_event_id=7", Refusal::BadCursor),
            ("last_event_id=latest", Refusal::BadCursor),
            ("turn=x", Refusal::BadParameter("turn")),
            ("turn=-1", Refusal::BadParameter("turn")),
            ("turn=0", Refusal::BadParameter("turn")),
            ("wait=1.5", Refusal::BadParameter("wait")),
            ("limit=0", Refusal::BadParameter("limit")),
            ("turn=99999999999999999999", Refusal::BadParameter("turn")),
        ] {
            let found = Reading::read(&ReadFields::default(), query);
            assert_eq!(found.unwrap_err(), refusal, "{query}");
        }
        assert_eq!(check_query("token=ct_x"), Err(Refusal::TokenInQuery));
        assert_eq!(check_query("token=act_x&"), Ok(()));
    }
}
