//! Leaving HTTP on a connection: to WebSocket (RFC 6455), and to nothing else.
//!
//! Any other protocol that is asked for is not passed on: a server that switched to it behind our
//! back would take bytes for requests that we never saw.

use super::encode::FieldWriter;
use super::head::{BodyLength, Field, RequestHead, ResponseHead, Version};
use super::known::Known;
use super::method::Method;

/// Whether the request asks for WebSocket, in the one form that does (RFC 6455 §4.1): HTTP/1.1,
/// `GET` without a body, `Upgrade: websocket` that `Connection` names.
pub fn wants_websocket(head: &RequestHead, buf: &[u8]) -> bool {
    head.version() == Version::Http11
        && head.method_kind() == Method::Get
        && matches!(head.body(), BodyLength::None | BodyLength::Length(0))
        && names_websocket(head.fields(), buf)
}

/// Whether a 101 says that it switches to WebSocket.
pub fn is_websocket(head: &ResponseHead, buf: &[u8]) -> bool {
    head.status() == 101 && names_websocket(head.fields(), buf)
}

fn names_websocket(fields: &[Field], buf: &[u8]) -> bool {
    let mut found = fields.iter().filter(|field| field.known == Known::Upgrade);
    let is_it = found.next().is_some_and(|field| {
        field.nominated && field.value.of(buf).eq_ignore_ascii_case(b"websocket")
    });
    is_it && found.next().is_none()
}

/// Completes a request head that asks for WebSocket; what
/// [`finish_request`](super::fields::finish_request) is to others.
pub fn finish_upgrade(out: &mut Vec<u8>) {
    out.extend_from_slice(LINES);
    out.extend_from_slice(b"\r\n");
}

/// Adds to a 101 what says that it switches to WebSocket.
pub fn switching(fields: &mut FieldWriter<'_>) {
    fields.raw(LINES);
}

const LINES: &[u8] = b"Connection: Upgrade\r\nUpgrade: websocket\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::parse::Limits;
    use crate::http1::server::{Read, Server};
    use crate::http1::{Client, ClientRead};

    fn asks(request: &str) -> bool {
        let mut head = RequestHead::new();
        let read = Server::new().read(request.as_bytes(), &mut head, &Limits::default());
        assert!(matches!(read, Ok(Read::Head { .. })), "{read:?}");
        wants_websocket(&head, request.as_bytes())
    }

    #[test]
    fn only_the_one_form_asks_for_websocket() {
        let good = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
        let request = |line: &str, fields: &str| format!("{line}\r\nHost: a\r\n{fields}\r\n");
        assert!(asks(&request("GET / HTTP/1.1", good)));
        for (line, fields) in [
            ("GET / HTTP/1.0", good),
            ("POST / HTTP/1.1", good),
            ("GET / HTTP/1.1", "Upgrade: websocket\r\n"),
            ("GET / HTTP/1.1", "Connection: upgrade\r\n"),
            ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n"),
            ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"),
            ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
            (
                "GET / HTTP/1.1",
                "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
            ),
        ] {
            assert!(!asks(&request(line, fields)), "{line} {fields}");
        }
    }

    #[test]
    fn a_101_switches_only_when_it_was_asked_for() {
        let answer =
            b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81";
        let mut head = ResponseHead::new();
        let mut client = Client::new();
        client.request(false);
        assert!(client.read(answer, false, &mut head).is_err());
        let mut client = Client::new();
        client.request_upgrade();
        let consumed = answer.len() - 1;
        assert_eq!(client.read(answer, false, &mut head), Ok(ClientRead::Switched { consumed }));
        assert!(is_websocket(&head, answer));
        assert!(!client.is_idle(), "it carries no HTTP any more");
        let other = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
        let mut client = Client::new();
        client.request_upgrade();
        assert!(client.read(other, false, &mut head).is_ok());
        assert!(!is_websocket(&head, other));
    }
}
