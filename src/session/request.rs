//! What the app is asked: one POST a turn.

use super::claim::Run;
use super::encode::Field;

/// What the edge adds to the client's own fields. The shell passes those on that are end to end, but
/// for [`is_kept_back`].
pub fn fields(run: &Run, traceparent: &str) -> Vec<Field> {
    let attempt = run.attempt;
    vec![
        ("Content-Type", "application/json".to_owned()),
        ("Accept", "text/event-stream, application/x-ndjson, application/json".to_owned()),
        ("Rip-Edge", "turn".to_owned()),
        ("Rip-Session-Id", attempt.session.to_string()),
        ("Rip-Turn", attempt.turn.to_string()),
        ("Rip-Turn-Attempt", attempt.number.to_string()),
        ("Idempotency-Key", format!("{}:{}", attempt.session, attempt.turn)),
        ("traceparent", traceparent.to_owned()),
    ]
}

/// The body: `{"input","state","wake"?}`. `input` is a JSON object, `state` JSON, as they are stored.
pub fn body(input: &str, state: Option<&str>, wake: Option<&str>) -> Vec<u8> {
    let state = state.unwrap_or("null");
    let length = input.len() + state.len() + wake.map_or(0, str::len) + 40;
    let mut body = String::with_capacity(length);
    for part in ["{\"input\":", input, ",\"state\":", state] {
        body.push_str(part);
    }
    if let Some(wake) = wake {
        body.push_str(",\"wake\":");
        body.push_str(wake);
    }
    body.push('}');
    body.into_bytes()
}

/// The client's field called `name` is not for the app: it is the edge's own business, or describes a
/// body that the app does not get.
pub fn is_kept_back(name: &[u8]) -> bool {
    KEPT_BACK.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A `traceparent` (W3C Trace Context) for a turn whose client sent none, of random bytes.
pub fn traceparent(random: [u8; 24]) -> String {
    use std::fmt::Write;
    let mut text = String::from("00-");
    for (at, byte) in random.iter().enumerate() {
        if at == 16 {
            text.push('-');
        }
        // Neither of the two ids may be all zeros.
        let byte = if at == 15 || at == 23 { *byte | 1 } else { *byte };
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("-00");
    text
}

const KEPT_BACK: [&str; 10] = [
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "idempotency-key",
    "last-event-id",
    "prefer",
    "x-continuation-token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_written_exactly() {
        assert_eq!(body("{\"a\":1}", None, None), b"{\"input\":{\"a\":1},\"state\":null}");
        assert_eq!(
            body("{}", Some("[1]"), Some("{\"id\":\"w\"}")),
            b"{\"input\":{},\"state\":[1],\"wake\":{\"id\":\"w\"}}"
        );
    }

    #[test]
    fn what_is_the_edges_own_stays_with_it() {
        for name in ["X-Continuation-Token", "idempotency-key", "Prefer", "Content-Length"] {
            assert!(is_kept_back(name.as_bytes()), "{name}");
        }
        for name in ["cookie", "authorization", "x-custom", "traceparent", "user-agent"] {
            assert!(!is_kept_back(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_traceparent_is_one() {
        let text = traceparent([0; 24]);
        assert_eq!(text, "00-00000000000000000000000000000001-0000000000000001-00");
        assert_eq!(traceparent([0xab; 24]).len(), 55);
    }
}
