//! The server's half of WebSocket's opening handshake (RFC 6455 §4.2), of a request that
//! [`upgrade::wants_websocket`](super::upgrade::wants_websocket).

use super::head::RequestHead;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Why the handshake fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Another version is asked for, or none: 426 and `Sec-WebSocket-Version: 13`.
    Version,
    /// `Sec-WebSocket-Key` is missing, sent twice, or not 16 bytes in base64: 400.
    Key,
}

/// `Sec-WebSocket-Accept`, as it is sent.
pub type Accept = [u8; 28];

/// What the answer says to a handshake that is sound.
///
/// # Errors
/// When it is not.
pub fn accept(head: &RequestHead, buf: &[u8]) -> Result<Accept, Fault> {
    if only(head, buf, b"sec-websocket-version") != Some(b"13") {
        return Err(Fault::Version);
    }
    let key = only(head, buf, b"sec-websocket-key").ok_or(Fault::Key)?;
    let mut nonce = [0; 18];
    match STANDARD.decode_slice(key, &mut nonce) {
        Ok(16) => Ok(answer_to(key)),
        _ => Err(Fault::Key),
    }
}

/// The subprotocols that the client speaks, in its order.
pub fn offered<'b>(head: &'b RequestHead, buf: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
    values(head, buf, b"sec-websocket-protocol")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|protocol| !protocol.is_empty())
}

/// Whether a request's field is about this very handshake, and not about the client.
pub fn is_of_handshake(name: &[u8]) -> bool {
    [&b"sec-websocket-key"[..], b"sec-websocket-version", b"sec-websocket-extensions"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

fn values<'b>(
    head: &'b RequestHead,
    buf: &'b [u8],
    name: &'static [u8],
) -> impl Iterator<Item = &'b [u8]> {
    let is_it = move |field: &&super::head::Field| field.name.of(buf).eq_ignore_ascii_case(name);
    head.fields().iter().filter(is_it).map(|field| field.value.of(buf))
}

fn only<'b>(head: &'b RequestHead, buf: &'b [u8], name: &'static [u8]) -> Option<&'b [u8]> {
    let mut found = values(head, buf, name);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// SHA-1 protects nothing here: the handshake wants it so.
fn answer_to(key: &[u8]) -> Accept {
    let digest = Sha1::new().chain_update(key).chain_update(NAME).finalize();
    let mut accept = [0; 28];
    // 20 bytes are 28 characters: there is room.
    let _ = STANDARD.encode_slice(digest, &mut accept);
    accept
}

/// RFC 6455 §1.3.
const NAME: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::parse::Limits;
    use crate::http1::server::Server;

    fn check(fields: &str) -> Result<String, Fault> {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        Server::new().read(request.as_bytes(), &mut head, &Limits::default()).unwrap();
        accept(&head, request.as_bytes())
            .map(|accept| String::from_utf8_lossy(&accept).into_owned())
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let fields = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
        assert_eq!(check(fields).as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let other = fields.replace("dGhlIHNhbXBsZSBub25jZQ==", "x3JJHMbDL1EzLkh9GBhXDw==");
        assert_eq!(check(&other).as_deref(), Ok("HSmrc0sMlYUkAGmm5OPpG2HaGWk="));
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let version = "Sec-WebSocket-Version: 13\r\n";
        for (fields, fault) in [
            (key.to_owned(), Fault::Version),
            (format!("{key}Sec-WebSocket-Version: 8\r\n"), Fault::Version),
            (format!("{key}Sec-WebSocket-Version: 13, 8\r\n"), Fault::Version),
            (format!("{key}{version}{version}"), Fault::Version),
            (version.to_owned(), Fault::Key),
            (format!("{version}{key}{key}"), Fault::Key),
            (format!("{version}Sec-WebSocket-Key: \r\n"), Fault::Key),
            (format!("{version}Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"), Fault::Key),
            (format!("{version}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"), Fault::Key),
            (format!("{version}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBsb25n\r\n"), Fault::Key),
            (format!("{version}Sec-WebSocket-Key: {}\r\n", "A".repeat(400)), Fault::Key),
        ] {
            assert_eq!(check(&fields), Err(fault), "{fields}");
        }
    }

    #[test]
    fn subprotocols_are_offered_in_lists_and_lines() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: chat.v2 ,, chat\r\n\
            sec-websocket-protocol: other\r\n\r\n";
        let mut head = RequestHead::new();
        Server::new().read(request.as_bytes(), &mut head, &Limits::default()).unwrap();
        let found: Vec<_> = offered(&head, request.as_bytes()).collect();
        assert_eq!(found, [&b"chat.v2"[..], b"chat", b"other"]);
    }
}
