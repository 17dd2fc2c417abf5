//! `builtin:echo`: what arrived at the worker.
//!
//! The answer's body is the request's body, byte for byte, of the same type. What came in the head
//! is in fields: `Echo-Method`, `Echo-Target`, `Echo-Worker`, and `Echo-Field-NAME` for each field
//! NAME of the request. The query changes the answer:
//!
//! * `json`: the body is instead `{"method","target","worker","fields":[[name,value]…],"bodyBytes"}`;
//! * `bytes=N`: the body is instead N bytes, the alphabet over and over;
//! * `chunked`: the body is sent without its length;
//! * `status=N`: another status.

use super::own_name;
use crate::request::Request;
use crate::response::Response;
use std::borrow::Cow;
use std::io::Write;

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    let Ok(received) = request.bytes() else { return Response::status(400) };
    let content_type = request
        .field("Content-Type")
        .map_or("application/octet-stream".into(), String::from_utf8_lossy);
    let (content_type, body) = if request.parameter("json").is_some() {
        ("application/json".into(), as_json(request, received.len()).into_bytes())
    } else if let Some(count) = request.number("bytes") {
        (content_type, alphabet(usize::try_from(count).unwrap_or(0)))
    } else {
        (content_type, received)
    };
    let content_type = Cow::Owned(content_type.into_owned());
    let mut response = if request.parameter("chunked").is_some() {
        Response::stream(content_type, move |out| out.write_all(&body))
    } else {
        Response::bytes(content_type, body)
    };
    if let Some(status) = request.number("status").and_then(|status| u16::try_from(status).ok()) {
        response = response.with_status(status.clamp(200, 599));
    }
    response = response
        .field("Echo-Method", request.method().to_owned())
        .field("Echo-Target", request.target().to_owned())
        .field("Echo-Worker", own_name());
    for (name, value) in request.fields() {
        let value = String::from_utf8_lossy(value).into_owned();
        response = response.field(format!("Echo-Field-{name}"), value);
    }
    response
}

fn as_json(request: &Request<'_>, body_bytes: usize) -> String {
    let fields: Vec<_> =
        request.fields().map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
    serde_json::json!({
        "method": request.method(),
        "target": request.target(),
        "worker": own_name(),
        "fields": fields,
        "bodyBytes": body_bytes,
    })
    .to_string()
}

fn alphabet(count: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(count).collect()
}
