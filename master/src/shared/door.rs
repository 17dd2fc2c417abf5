//! Asking the control loop from an edge loop, and what it answers.
//!
//! A client of the public side may ask what only the control loop knows. Its loop mails the question and
//! goes on; the answer comes by mail as well, be it at once or when what was wanted has come true.

use rip::http1::Method;
use rip::ids::LoopIndex;
use rip::wire::verb::Refused;
use serde::Serialize;
use std::net::IpAddr;

/// Who of a loop waits for an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The loop.
    pub index: LoopIndex,
    /// What the loop calls it. Nobody there any more means that nobody waits.
    pub key: u64,
}

/// A question, in the words of the control socket.
#[derive(Clone, Debug)]
pub struct DoorAsk {
    /// The method.
    pub method: Method,
    /// The path on the control socket, without a query.
    pub path: String,
    /// What follows the `?`; empty without one.
    pub query: String,
    /// The value of `Accept`; empty without one.
    pub accept: Vec<u8>,
    /// The body, complete.
    pub body: Vec<u8>,
    /// Who asks.
    pub client: Option<IpAddr>,
}

/// What a request to the control loop is answered, wherever it came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The methods that would have been right, on 405.
    pub allow: Option<String>,
    /// When to ask again, on 503.
    pub retry_after_secs: Option<u32>,
}

impl Answer {
    /// `status` with `body` as JSON.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_else(|error| {
            log::error!("an answer cannot be written: {error}");
            b"{\"ok\":false,\"error\":\"the answer cannot be written\"}".to_vec()
        });
        Self::of(status, JSON, body)
    }

    /// `status` with `body`, which is `content_type`.
    pub fn of(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, body, allow: None, retry_after_secs: None }
    }

    /// 200 with `body`.
    pub fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// A refusal: what is wrong and, unless empty, what to do about it.
    pub fn refused(status: u16, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::json(status, &Refused { ok: false, error: error.into(), hint: hint.into() })
    }
}

/// What most answers are.
pub const JSON: &str = "application/json";
