//! Whatever comes from outside: nothing panics, and where it was cut changes nothing.

use crate::entropy::{Entropy, Xoshiro};
use crate::session::answer::{Answer, Said};
use crate::session::frame::Frame;
use crate::session::json::{compact, push_string};
use crate::session::*;

/// Pieces that mean something somewhere, and some that mean nothing.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "data:",
    "data: ",
    ": hb",
    "event: x",
    "\u{feff}",
    "null",
    "true",
    "1.50",
    "-0",
    "1e400",
    "é",
    "😀",
    "\\u00e9",
    "\\ud800",
    "{\"type\":\"delta\",\"text\":\"a\"}",
    "{\"type\":\"record\",\"record\":[1, 2]}",
    "{\"type\":\"outcome\",\"status\":\"finished\",\"output\":1}",
    "{\"type\":\"error\"}",
    "\"status\":\"parked\"",
    "\"wait\":{\"until\":\"2026-03-14T12:00:00Z\"}",
    "\"continuationToken\":\"ct_a\"",
    "\"type\":\"resume\"",
    "\"lastEventId\":\"0001-000000000002\"",
    "ct_",
    "%41",
    "%",
    "&turn=",
];

fn text(random: &mut Xoshiro) -> String {
    (0..random.below(12)).map(|_| WORDS[random.below(WORDS.len() as u64) as usize]).collect()
}

/// Everything that an answer says, in pieces of `length`, and whether it failed.
fn said(content_type: &str, bytes: &[u8], length: usize) -> (Vec<Said>, Option<Failure>) {
    let Answer::Reading(mut reader) = Answer::of(200, Some(content_type.as_bytes())) else {
        panic!("{content_type} is not read");
    };
    let mut all = Vec::new();
    for mut piece in bytes.chunks(length.max(1)) {
        while !piece.is_empty() {
            match reader.next(&mut piece) {
                Ok(something) => all.extend(something),
                Err(failure) => return (all, Some(failure)),
            }
        }
    }
    match reader.finish() {
        Ok(something) => {
            all.extend(something);
            (all, None)
        }
        Err(failure) => (all, Some(failure)),
    }
}

#[test]
fn answers_mean_the_same_wherever_they_are_cut() {
    let mut random = Xoshiro::new(1);
    for _ in 0..4_000 {
        let mut bytes = text(&mut random).into_bytes();
        if random.below(4) == 0 && !bytes.is_empty() {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next_u64() as u8;
        }
        for content_type in ["text/event-stream", "application/x-ndjson", "application/json"] {
            let whole = said(content_type, &bytes, usize::MAX);
            for length in [1, 2, 3, 7] {
                assert_eq!(said(content_type, &bytes, length), whole, "{bytes:?}");
            }
            for one in &whole.0 {
                if let Said::Delta(json) | Said::Record(json) = one {
                    assert!(!json.contains(['\n', '\r']), "{json} would break a block");
                }
            }
        }
    }
}

#[test]
fn requests_are_read_or_refused() {
    let mut random = Xoshiro::new(2);
    for _ in 0..4_000 {
        let text = text(&mut random);
        let fields = AskFields {
            accept: text.as_bytes(),
            prefer: text.as_bytes(),
            key: Some(text.as_bytes()),
            token: Some(text.as_bytes()),
        };
        if let Ok(ask) = Ask::read(&AskFields { key: None, ..fields }, text.as_bytes()) {
            assert!(
                serde_json::from_str::<serde_json::Value>(&ask.input).is_ok()
                    || text.contains("1e400")
                    || text.contains("\\ud800")
            );
            assert!(!ask.input.contains(['\n', '\r']));
        }
        let _ = Ask::read(&fields, text.as_bytes());
        let _ = Frame::read(text.as_bytes());
        if let Ok(reading) = Reading::read(&ReadFields::default(), &text) {
            assert!(reading.limit > 0);
        }
        let _ = Endpoint::find("/v1", "GET", &format!("/v1/session/{text}"));
        for parsed in [
            EventId::parse(&text).map(|id| id.to_string()),
            SessionId::parse(&text).map(|id| id.to_string()),
        ] {
            assert!(parsed.is_none_or(|printed| printed == text));
        }
        let _ = (moment::parse(&text), Cursor::parse(&text), Ledger::decode(&text));
        let mut quoted = String::new();
        push_string(&mut quoted, &text);
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
            let short = compact(&text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&short).unwrap(), value);
            assert_eq!(compact(&short), short);
        }
    }
}
