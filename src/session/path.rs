//! Which endpoint a path is.

use super::refusal::Refusal;
use std::borrow::Cow;

/// What is asked of a mount of sessions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// `POST …/session`
    Start,
    /// `POST …/session/{id}/message`
    Message(String),
    /// `GET …/session/{id}/events`
    Events(String),
    /// `GET …/session/{id}`
    Status(String),
    /// `DELETE …/session/{id}`
    Delete(String),
    /// `POST …/session/{id}/cancel`
    Cancel(String),
    /// `POST …/session/{id}/wake`
    Wake(String),
    /// `GET …/ws`
    Socket,
}

impl Endpoint {
    /// The endpoint of `method` and `path`, whose dot segments are resolved and which is not decoded
    /// yet, under `mount` (without a `/` at its end). `None`: the path is the app's. The id is what the
    /// client wrote, decoded; it may be the name of no session.
    pub fn find(mount: &str, method: &str, path: &str) -> Option<Result<Self, Refusal>> {
        let below = path.strip_prefix(mount)?;
        let mut parts = below.strip_prefix('/')?.split('/');
        let first = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let (endpoint, allow) = match (first, rest.as_slice(), method) {
            ("session", [], "POST") => (Some(Self::Start), "POST"),
            ("session", [], _) => (None, "POST"),
            ("ws", [], "GET" | "HEAD") => (Some(Self::Socket), ""),
            ("ws", [], _) => (None, "GET, HEAD"),
            ("session", [id, last @ ..], _) if !id.is_empty() => {
                let id = || decode(id).into_owned();
                match (last, method) {
                    ([], "GET" | "HEAD") => (Some(Self::Status(id())), ""),
                    ([], "DELETE") => (Some(Self::Delete(id())), ""),
                    ([], _) => (None, "GET, HEAD, DELETE"),
                    (["events"], "GET" | "HEAD") => (Some(Self::Events(id())), ""),
                    (["events"], _) => (None, "GET, HEAD"),
                    (["message"], "POST") => (Some(Self::Message(id())), ""),
                    (["cancel"], "POST") => (Some(Self::Cancel(id())), ""),
                    (["wake"], "POST") => (Some(Self::Wake(id())), ""),
                    (["message" | "cancel" | "wake"], _) => (None, "POST"),
                    _ => return Some(Err(Refusal::NoRoute(path.to_owned()))),
                }
            }
            ("session" | "ws", ..) => return Some(Err(Refusal::NoRoute(path.to_owned()))),
            _ => return None,
        };
        Some(endpoint.ok_or(Refusal::Method(allow)))
    }
}

/// `text` with its `%XX` decoded; bytes that make no UTF-8 become U+FFFD, a `%` that begins nothing
/// stays.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|value| value as u8);
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%'
            && let [high, low, behind @ ..] = after
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            out.push(high << 4 | low);
            rest = behind;
        } else {
            out.push(*first);
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_is_found() {
        let id = || "s_1".to_owned();
        for (method, path, endpoint) in [
            ("POST", "/v1/session", Endpoint::Start),
            ("POST", "/v1/session/s_1/message", Endpoint::Message(id())),
            ("POST", "/v1/session/%73_%31/message", Endpoint::Message(id())),
            ("GET", "/v1/session/s_1/events", Endpoint::Events(id())),
            ("GET", "/v1/session/s_1", Endpoint::Status(id())),
            ("HEAD", "/v1/session/s_1", Endpoint::Status(id())),
            ("HEAD", "/v1/session/s_1/events", Endpoint::Events(id())),
            ("DELETE", "/v1/session/s_1", Endpoint::Delete(id())),
            ("POST", "/v1/session/s_1/cancel", Endpoint::Cancel(id())),
            ("POST", "/v1/session/s_1/wake", Endpoint::Wake(id())),
            ("GET", "/v1/ws", Endpoint::Socket),
            ("HEAD", "/v1/ws", Endpoint::Socket),
        ] {
            assert_eq!(Endpoint::find("/v1", method, path), Some(Ok(endpoint.clone())), "{path}");
            let elsewhere = path.replace("/v1", "");
            assert_eq!(Endpoint::find("", method, &elsewhere), Some(Ok(endpoint)), "{elsewhere}");
        }
    }

    #[test]
    fn unknown_paths_below_are_refused_and_others_are_the_apps() {
        for path in [
            "/v1/session/",
            "/v1/session/s_1/",
            "/v1/session/s_1/x",
            "/v1/ws/",
            "/v1/ws/x",
            "/v1/session/s_1/message/x",
            "/v1/session//message",
        ] {
            let refusal = Refusal::NoRoute(path.into());
            assert_eq!(Endpoint::find("/v1", "POST", path), Some(Err(refusal)), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/sessions",
            "/v1/turn",
            "/v1/wsx",
            "/v2/session",
            "/v1session",
            "/session",
        ] {
            assert_eq!(Endpoint::find("/v1", "POST", path), None, "{path}");
        }
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        for (method, path, allow) in [
            ("GET", "/v1/session", "POST"),
            ("PUT", "/v1/session/s_1", "GET, HEAD, DELETE"),
            ("GET", "/v1/session/s_1/message", "POST"),
            ("POST", "/v1/session/s_1/events", "GET, HEAD"),
            ("HEAD", "/v1/session/s_1/message", "POST"),
            ("DELETE", "/v1/session/s_1/cancel", "POST"),
            ("GET", "/v1/session/s_1/wake", "POST"),
            ("POST", "/v1/ws", "GET, HEAD"),
        ] {
            let found = Endpoint::find("/v1", method, path);
            assert_eq!(found, Some(Err(Refusal::Method(allow))), "{method} {path}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_stays() {
        for (text, decoded) in [
            ("a%2Fb", "a/b"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%ff", "\u{fffd}"),
            ("%%41", "%A"),
        ] {
            assert_eq!(decode(text), decoded);
        }
    }
}
