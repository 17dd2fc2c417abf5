//! `builtin:realtime`: an app of WebSocket clients that the edge speaks for.
//!
//! What a client says comes back to it, text as `$text` and binary as `$binary`. The query of the
//! client's URL, in `Rip-Realtime-Query`, changes that:
//!
//! * `status=N`: the answer to `open` has this status;
//! * `protocol=NAME`: the answer to `open` chooses this subprotocol;
//! * `join=/GROUP`: `open` makes it a member; what it says goes to all of them;
//! * `instruct`: what it says in a text is the answer, instructions and all;
//! * `ms=N`: every answer takes that long.
//!
//! Other requests are answered with what they are, as by `builtin:hello`.

use super::hello;
use crate::request::Request;
use crate::response::Response;
use serde_json::{Map, Value};
use std::time::Duration;

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    let own = |name| request.field(name).and_then(|value| std::str::from_utf8(value).ok());
    let Some(word) = own("Sec-WebSocket-Frame").map(str::to_owned) else {
        return hello::answer(request);
    };
    let query = Query(own("Rip-Realtime-Query").unwrap_or_default().to_owned());
    let Ok(body) = request.bytes() else { return Response::status(400) };
    if let Some(pause) = query.get("ms").and_then(|pause| pause.parse().ok()) {
        std::thread::sleep(Duration::from_millis(pause));
    }
    match word.as_str() {
        "open" | "subscribe" => open(&query),
        "text" if query.get("instruct").is_some() => Response::bytes("application/json", body),
        "text" => match String::from_utf8(body) {
            Ok(text) => say(&query, "$text", text),
            Err(_) => Response::status(400),
        },
        "binary" => say(&query, "$binary", base64(&body)),
        _ => Response::status(204),
    }
}

fn open(query: &Query) -> Response {
    let mut reply = Map::new();
    if let Some(group) = query.get("join") {
        reply.insert("+".to_owned(), Value::from(vec![group]));
    }
    let status = query.get("status").and_then(|status| status.parse::<u16>().ok());
    let response = json(reply).with_status(status.unwrap_or(200).clamp(200, 599));
    match query.get("protocol") {
        Some(protocol) => response.field("Sec-WebSocket-Protocol", protocol.to_owned()),
        None => response,
    }
}

fn say(query: &Query, key: &str, text: String) -> Response {
    let mut reply = Map::new();
    if let Some(group) = query.get("join") {
        reply.insert("@".to_owned(), Value::from(vec![group]));
    }
    reply.insert(key.to_owned(), Value::from(text));
    json(reply)
}

fn json(reply: Map<String, Value>) -> Response {
    Response::bytes("application/json", Value::Object(reply).to_string().into_bytes())
}

/// A query as it was sent; nothing in it is decoded.
struct Query(String);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3)
            .fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or_default()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { digit.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn bytes_are_written_as_the_rfc_has_them() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
