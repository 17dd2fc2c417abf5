//! What is refused, in which words.
//!
//! The order of the four refusals of a turn is a promise: unknown session, missing token, stale
//! token, turn in flight. [`super::store`] checks in that order, in one step with the claim.

use super::id::SessionId;
use super::json::Object;
use super::ledger::Reset;
use std::time::Duration;

/// Why a request gets nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No session has this name here; what the client wrote.
    UnknownSession(String),
    /// No token was presented.
    MissingToken(SessionId),
    /// The token is not the one that is wanted: used up, of another session, or made up.
    StaleToken(SessionId),
    /// A turn runs.
    InFlight {
        /// The session.
        session: SessionId,
        /// The turn, when it is the one that the request's own idempotency key began.
        own_turn: Option<u64>,
    },
    /// The idempotency key stands for another request.
    KeyReused,
    /// The idempotency key is too short or too long.
    BadKey,
    /// The body is no JSON.
    BadJson,
    /// The body is JSON, but no object.
    NotAnObject,
    /// The body is longer than a turn's input may be.
    TooLarge,
    /// A continuation token stands in a query, where logs and histories keep it.
    TokenInQuery,
    /// The cursor is neither an event's name nor one of the two words.
    BadCursor,
    /// A parameter of the query, by name, cannot be read.
    BadParameter(&'static str),
    /// The cursor leads nowhere.
    Gone {
        /// The session.
        session: SessionId,
        /// Why.
        reset: Reset,
    },
    /// The session waits for nothing.
    NotParked(SessionId),
    /// No endpoint has this path; the path.
    NoRoute(String),
    /// The endpoint takes other methods: the value of `Allow`.
    Method(&'static str),
    /// The site has no WebSockets.
    UpgradeRequired,
    /// The path speaks WebSocket, and the request does not ask for it.
    NoUpgrade,
    /// A fresh WebSocket's first message carries a token.
    TokenOnStart,
    /// The WebSocket is bound to a session already.
    AlreadyBound,
    /// The WebSocket's first message is still being looked at.
    Busy,
    /// The store cannot take it, for this reason; nothing was changed.
    Store(&'static str),
}

impl Refusal {
    /// The status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownSession(_) | Self::NoRoute(_) => 404,
            Self::MissingToken(_)
            | Self::BadKey
            | Self::BadJson
            | Self::NotAnObject
            | Self::TokenInQuery
            | Self::BadCursor
            | Self::BadParameter(_)
            | Self::TokenOnStart => 400,
            Self::StaleToken(_)
            | Self::InFlight { .. }
            | Self::NotParked(_)
            | Self::AlreadyBound
            | Self::Busy => 409,
            Self::Method(_) => 405,
            Self::Gone { .. } => 410,
            Self::TooLarge => 413,
            Self::KeyReused => 422,
            Self::UpgradeRequired | Self::NoUpgrade => 426,
            Self::Store(_) => 503,
        }
    }

    /// Its name for programs: `code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AlreadyBound => "already-bound",
            Self::BadCursor => "bad-cursor",
            Self::BadJson => "bad-json",
            Self::BadKey => "bad-idempotency-key",
            Self::BadParameter(_) => "bad-parameter",
            Self::Gone { .. } => "gone",
            Self::Busy | Self::InFlight { .. } => "in-flight",
            Self::KeyReused => "idempotency-key-reused",
            Self::Method(_) => "method-not-allowed",
            Self::MissingToken(_) => "missing-token",
            Self::NoRoute(_) => "no-route",
            Self::NotAnObject => "not-an-object",
            Self::NotParked(_) => "not-parked",
            Self::StaleToken(_) => "stale-token",
            Self::Store(_) => "store",
            Self::TokenInQuery => "token-in-query",
            Self::TokenOnStart => "token-on-start",
            Self::TooLarge => "too-large",
            Self::UnknownSession(_) => "unknown-session",
            Self::UpgradeRequired | Self::NoUpgrade => "upgrade-required",
        }
    }

    /// Its words: `error`.
    pub fn text(&self) -> String {
        match self {
            Self::UnknownSession(id) if id.is_empty() => "no session is named",
            Self::UnknownSession(id) => return format!("unknown session '{id}'"),
            Self::NoRoute(path) => return format!("no route for {path}"),
            Self::BadParameter(name) => return format!("bad value of '{name}'"),
            Self::Store(reason) => return format!("session store: {reason}"),
            Self::Gone { reset: Reset::Epoch, .. } => "the event of this cursor was never kept",
            Self::Gone { .. } => "events behind this cursor are not kept any more",
            Self::AlreadyBound => "this connection is bound to a session already",
            Self::BadCursor => "malformed event id",
            Self::BadJson => "body is not JSON",
            Self::BadKey => "Idempotency-Key must be 16 to 255 bytes",
            Self::Busy | Self::InFlight { .. } => "a turn is already in flight for this session",
            Self::KeyReused => "Idempotency-Key was used with another request",
            Self::Method(_) => "method not allowed",
            Self::MissingToken(_) => "missing continuationToken",
            Self::NotAnObject => "body must be a JSON object",
            Self::NotParked(_) => "session is not parked",
            Self::StaleToken(_) => "stale or invalid continuationToken",
            Self::TokenInQuery => "a continuationToken must not be in a query",
            Self::TokenOnStart => "present no continuationToken to start a session",
            Self::TooLarge => "body is too large",
            Self::UpgradeRequired => "websockets are disabled",
            Self::NoUpgrade => "only WebSocket is spoken here",
        }
        .to_owned()
    }

    /// The session it is about, when there is one.
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::MissingToken(session)
            | Self::StaleToken(session)
            | Self::NotParked(session)
            | Self::InFlight { session, .. }
            | Self::Gone { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// The body: `{"error","code","sessionId"?}`, for a cursor that leads nowhere also `reason`.
    pub fn body(&self) -> String {
        let mut body = Object::new().text("error", &self.text()).text("code", self.code());
        if let Some(session) = self.session() {
            body = body.plain("sessionId", format_args!("\"{session}\""));
        }
        if let Self::Gone { reset, .. } = self {
            body = body.text("reason", reset.as_str());
        }
        body.end()
    }

    /// The fields that only this refusal has; `mount` is where the sessions are. With a 426 the
    /// connection ends, which its `Connection` says.
    pub fn fields(&self, mount: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::InFlight { session, own_turn: Some(turn) } => {
                vec![("Location", super::encode::events_location(mount, *session, *turn))]
            }
            Self::Method(allow) => vec![("Allow", (*allow).to_owned())],
            Self::UpgradeRequired => vec![("Upgrade", "HTTP/1.1".to_owned())],
            Self::NoUpgrade => vec![("Upgrade", "websocket".to_owned())],
            Self::Store(_) => vec![("Retry-After", STORE_RETRY.as_secs().to_string())],
            _ => Vec::new(),
        }
    }

    /// The same in a stream of events: `{"type":"error","message","code"}`. It belongs to no turn and
    /// has no number.
    pub fn event(&self) -> String {
        let event = Object::new().text("type", "error").text("message", &self.text());
        event.text("code", self.code()).end()
    }
}

/// When it makes sense to ask a store again that could not take something.
const STORE_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_and_its_words() {
        let session = SessionId::new([0xab; 16]);
        let id = "s_abababababababababababababababab";
        let in_flight = |own_turn| Refusal::InFlight { session, own_turn };
        let gone = |reset| Refusal::Gone { session, reset };
        let rows: [(Refusal, u16, &str, &str); 22] = [
            (
                Refusal::UnknownSession("s_1".into()),
                404,
                "unknown-session",
                "unknown session 's_1'",
            ),
            (Refusal::MissingToken(session), 400, "missing-token", "missing continuationToken"),
            (
                Refusal::StaleToken(session),
                409,
                "stale-token",
                "stale or invalid continuationToken",
            ),
            (in_flight(None), 409, "in-flight", "a turn is already in flight for this session"),
            (in_flight(Some(2)), 409, "in-flight", "a turn is already in flight for this session"),
            (
                Refusal::KeyReused,
                422,
                "idempotency-key-reused",
                "Idempotency-Key was used with another request",
            ),
            (
                Refusal::BadKey,
                400,
                "bad-idempotency-key",
                "Idempotency-Key must be 16 to 255 bytes",
            ),
            (Refusal::BadJson, 400, "bad-json", "body is not JSON"),
            (Refusal::NotAnObject, 400, "not-an-object", "body must be a JSON object"),
            (Refusal::TooLarge, 413, "too-large", "body is too large"),
            (
                Refusal::TokenInQuery,
                400,
                "token-in-query",
                "a continuationToken must not be in a query",
            ),
            (Refusal::BadCursor, 400, "bad-cursor", "malformed event id"),
            (Refusal::BadParameter("turn"), 400, "bad-parameter", "bad value of 'turn'"),
            (gone(Reset::Epoch), 410, "gone", "the event of this cursor was never kept"),
            (
                gone(Reset::Truncated),
                410,
                "gone",
                "events behind this cursor are not kept any more",
            ),
            (Refusal::NotParked(session), 409, "not-parked", "session is not parked"),
            (
                Refusal::NoRoute("/v1/session/a/b".into()),
                404,
                "no-route",
                "no route for /v1/session/a/b",
            ),
            (Refusal::Method("POST"), 405, "method-not-allowed", "method not allowed"),
            (Refusal::UpgradeRequired, 426, "upgrade-required", "websockets are disabled"),
            (Refusal::NoUpgrade, 426, "upgrade-required", "only WebSocket is spoken here"),
            (
                Refusal::TokenOnStart,
                400,
                "token-on-start",
                "present no continuationToken to start a session",
            ),
            (Refusal::Store("full"), 503, "store", "session store: full"),
        ];
        for (refusal, status, code, text) in rows {
            assert_eq!((refusal.status(), refusal.code()), (status, code), "{text}");
            assert_eq!(refusal.text(), text);
            let body: serde_json::Value = serde_json::from_str(&refusal.body()).unwrap();
            assert_eq!((&body["error"], &body["code"]), (&text.into(), &code.into()));
            let known = refusal.session().is_some();
            assert_eq!(body["sessionId"], if known { id.into() } else { serde_json::Value::Null });
            let event: serde_json::Value = serde_json::from_str(&refusal.event()).unwrap();
            assert_eq!((&event["type"], &event["message"]), (&"error".into(), &text.into()));
        }
    }

    #[test]
    fn bodies_are_written_exactly() {
        let session = SessionId::new([0; 16]);
        assert_eq!(
            Refusal::StaleToken(session).body(),
            "{\"error\":\"stale or invalid continuationToken\",\"code\":\"stale-token\",\
             \"sessionId\":\"s_00000000000000000000000000000000\"}"
        );
        assert_eq!(
            Refusal::UnknownSession("a\"b".into()).body(),
            "{\"error\":\"unknown session 'a\\\"b'\",\"code\":\"unknown-session\"}"
        );
        assert_eq!(Refusal::AlreadyBound.status(), 409);
    }

    #[test]
    fn some_refusals_have_fields() {
        let session = SessionId::new([0; 16]);
        let own = Refusal::InFlight { session, own_turn: Some(3) };
        let location = "/v1/session/s_00000000000000000000000000000000/events?turn=3".to_owned();
        assert_eq!(own.fields("/v1"), [("Location", location)]);
        let upgrade = |refusal: Refusal| refusal.fields("/v1");
        assert_eq!(upgrade(Refusal::UpgradeRequired), [("Upgrade", "HTTP/1.1".into())]);
        assert_eq!(upgrade(Refusal::NoUpgrade), [("Upgrade", "websocket".into())]);
        assert_eq!(Refusal::Method("GET, DELETE").fields("/v1"), [("Allow", "GET, DELETE".into())]);
        assert!(Refusal::InFlight { session, own_turn: None }.fields("/v1").is_empty());
    }
}
