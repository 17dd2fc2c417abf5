//! Frames from server to client, encoded once and shared.

use crate::limits::CLOSE_REASON_BYTES;
use std::fmt;
use std::sync::Arc;

/// One finished WebSocket frame (RFC 6455 §5.2), unmasked and never fragmented, as it goes out to
/// any number of clients. Cheap to clone.
#[derive(Clone, Eq, PartialEq)]
pub struct Frame(Arc<[u8]>);

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The last frame.
    Close,
    /// A question whether somebody is there.
    Ping,
    /// The answer.
    Pong,
}

impl Frame {
    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::new(Kind::Text, text.as_bytes())
    }

    /// A binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(Kind::Binary, bytes)
    }

    /// A Ping. What is beyond 125 bytes is cut off (§5.5).
    pub fn ping(bytes: &[u8]) -> Self {
        Self::new(Kind::Ping, first(bytes, CONTROL_BYTES))
    }

    /// The Pong for a Ping with these bytes.
    pub fn pong(bytes: &[u8]) -> Self {
        Self::new(Kind::Pong, first(bytes, CONTROL_BYTES))
    }

    /// A Close. The reason is cut where its first 123 bytes end, between two characters. With 1005 or
    /// 1006, which are never sent (§7.4.1), it is a Close without a code.
    pub fn close(code: u16, reason: &str) -> Self {
        if matches!(code, 1005 | 1006) {
            return Self::new(Kind::Close, b"");
        }
        let mut end = reason.len().min(CLOSE_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = reason.get(..end).unwrap_or_default();
        Self::new(Kind::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// All of it, as it goes out.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its length with its header.
    pub fn byte_count(&self) -> usize {
        self.0.len()
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.0.first().copied().unwrap_or_default() & 0x0f {
            1 => Kind::Text,
            2 => Kind::Binary,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => Kind::Close,
        }
    }

    /// What it carries.
    pub fn payload(&self) -> &[u8] {
        self.0.get(self.header_byte_count()..).unwrap_or_default()
    }

    /// A frame of `kind`. The payload of a control frame is short enough.
    pub(super) fn new(kind: Kind, payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(payload.len() + HEADER_BYTES);
        let opcode = match kind {
            Kind::Text => 1,
            Kind::Binary => 2,
            Kind::Close => 8,
            Kind::Ping => 9,
            Kind::Pong => 10,
        };
        bytes.push(0x80 | opcode);
        match payload.len() {
            // It is one byte where it fits into seven bits.
            length @ 0..=125 => bytes.push(length as u8),
            length => match u16::try_from(length) {
                Ok(length) => {
                    bytes.push(126);
                    bytes.extend(length.to_be_bytes());
                }
                Err(_) => {
                    bytes.push(127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            },
        }
        bytes.extend_from_slice(payload);
        Self(bytes.into())
    }

    fn header_byte_count(&self) -> usize {
        match self.0.get(1) {
            Some(127) => 10,
            Some(126) => 4,
            _ => 2,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = first(self.payload(), 100).escape_ascii();
        write!(out, "{:?} {} bytes {payload}", self.kind(), self.payload().len())
    }
}

fn first(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(..count).unwrap_or(bytes)
}

/// The longest header of a frame that is not masked.
const HEADER_BYTES: usize = 10;
/// The payload of a control frame (§5.5).
const CONTROL_BYTES: usize = 125;

#[cfg(test)]
mod tests {
    use super::*;

    /// Read as §5.2 has it: first byte, payload.
    fn read(bytes: &[u8]) -> (u8, &[u8]) {
        assert_eq!(bytes[1] & 0x80, 0, "masked");
        let (length, at) = match bytes[1] {
            126 => (u64::from(u16::from_be_bytes(bytes[2..4].try_into().unwrap())), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()), 10),
            short => (u64::from(short), 2),
        };
        assert_eq!(bytes.len() as u64, at as u64 + length);
        (bytes[0], &bytes[at..])
    }

    #[test]
    fn lengths_are_encoded_in_the_fewest_bytes() {
        for (length, header) in
            [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (1 << 20, 10)]
        {
            let payload = vec![b'x'; length];
            let frame = Frame::binary(&payload);
            assert_eq!(frame.byte_count(), header + length);
            assert_eq!(read(frame.as_bytes()), (0x82, &payload[..]));
            assert_eq!(frame.payload(), payload);
        }
    }

    #[test]
    fn examples_of_the_rfc() {
        assert_eq!(Frame::text("Hello").as_bytes(), b"\x81\x05Hello");
        assert_eq!(Frame::ping(b"Hello").as_bytes(), b"\x89\x05Hello");
        assert_eq!(Frame::pong(b"").as_bytes(), b"\x8a\x00");
        assert_eq!(Frame::binary(&[0; 256]).as_bytes()[..4], *b"\x82\x7e\x01\x00");
        assert_eq!(Frame::binary(&[0; 65_536]).as_bytes()[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
        assert_eq!(Frame::close(1000, "").as_bytes(), b"\x88\x02\x03\xe8");
    }

    #[test]
    fn control_frames_stay_short_and_reasons_whole_characters() {
        assert_eq!(Frame::ping(&[7; 126]).payload(), [7; 125]);
        assert_eq!(Frame::pong(&[7; 125]).payload(), [7; 125]);
        let reason = "é".repeat(100);
        let frame = Frame::close(4000, &reason);
        assert_eq!(frame.payload().len(), 2 + 122, "62 of them would be 124 bytes");
        assert_eq!(std::str::from_utf8(&frame.payload()[2..]).unwrap(), "é".repeat(61));
        assert_eq!(Frame::close(4000, &"x".repeat(200)).payload().len(), 125);
        for code in [1005, 1006] {
            assert_eq!(Frame::close(code, "never said").as_bytes(), b"\x88\x00");
        }
    }

    #[test]
    fn a_frame_says_what_it_is() {
        let kinds = [
            (Frame::text(""), Kind::Text),
            (Frame::binary(b""), Kind::Binary),
            (Frame::close(1001, "bye"), Kind::Close),
            (Frame::ping(b""), Kind::Ping),
            (Frame::pong(b""), Kind::Pong),
        ];
        for (frame, kind) in kinds {
            assert_eq!(frame.kind(), kind);
            assert!(Arc::ptr_eq(&frame.0, &frame.clone().0));
        }
        assert_eq!(format!("{:?}", Frame::text("a\n")), "Text 2 bytes a\\n");
    }
}
