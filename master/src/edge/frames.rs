//! What a WebSocket client says: bytes in, messages out; the protocol itself is tungstenite's.
//!
//! A frame that fits into a block is handed over when all of it is there, a larger one as it comes.
//! Between two messages nothing is kept: whatever the largest message took, an idle client holds
//! neither a buffer nor a machine.

use crate::reactor::buffers::Buffer;
use rip::limits::BLOCK_BYTES;
use std::io::{self, Read, Write};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::OpCode;
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error};

/// One client's side of the conversation.
#[derive(Default)]
pub(super) struct Frames {
    machine: Option<Box<WebSocketContext>>,
    /// Bytes of the present frame that are still to be handed over.
    frame_left: u64,
    /// Parts of a message have come, and more are to follow.
    is_within_message: bool,
    /// A close frame was sent or has come.
    is_closing: bool,
}

/// What the client said.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    /// It wants this back in a pong.
    Ping(Vec<u8>),
    Pong,
    /// It ends, or answers our end, with this code; 1005 when it named none.
    Close {
        code: u16,
        reason: String,
    },
}

/// What the client did that ends its connection.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Violation {
    /// As RFC 6455 §7.4.1 has it.
    pub(super) code: u16,
    pub(super) what: String,
}

impl Frames {
    /// Reads on in `input`, until something was said or more bytes are needed. Messages have at most
    /// `message_bytes`. After a close nothing is to be read any more.
    ///
    /// # Errors
    /// When what was said breaks the protocol: its connection is to be closed with that code.
    pub(super) fn read(
        &mut self,
        input: &mut Buffer,
        message_bytes: usize,
    ) -> Result<Option<Heard>, Violation> {
        loop {
            let Some(count) = self.next_piece(input.filled(), message_bytes as u64) else {
                return Ok(None);
            };
            let piece = input.filled().get(..count).unwrap_or_default();
            let mut pipe = Pipe { input: piece };
            let machine = self.machine.get_or_insert_with(|| machine(message_bytes));
            let said = machine.read(&mut pipe);
            let untouched = pipe.input.len();
            input.consume(count - untouched);
            match said {
                Ok(message) => {
                    self.rest();
                    return Ok(Some(self.heard(message)));
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(violation(&error)),
            }
        }
    }

    /// A close frame is sent: what still comes is heard, up to the client's own close.
    pub(super) fn closes(&mut self, message_bytes: usize) {
        self.is_closing = true;
        let machine = self.machine.get_or_insert_with(|| machine(message_bytes));
        // It writes to nowhere, which does not fail.
        let _ = machine.close(&mut Pipe { input: &[] }, None);
    }

    /// How much of `input` is handed over next; `None` when more is to come first.
    fn next_piece(&mut self, input: &[u8], message_bytes: u64) -> Option<usize> {
        if self.frame_left == 0 {
            let mut cursor = io::Cursor::new(input);
            let (total, opcode, is_final) = match FrameHeader::parse(&mut cursor) {
                Ok(None) => return None,
                // What is wrong with it is found out once more.
                Err(_) => return Some(input.len()),
                Ok(Some((header, length))) => {
                    (cursor.position().saturating_add(length), header.opcode, header.is_final)
                }
            };
            let waits = total > input.len() as u64 && total <= BLOCK_BYTES as u64;
            if waits && total <= message_bytes.saturating_add(HEADER_BYTES) {
                return None;
            }
            if matches!(opcode, OpCode::Data(_)) {
                self.is_within_message = !is_final;
            }
            self.frame_left = total;
        }
        let count = self.frame_left.min(input.len() as u64);
        self.frame_left -= count;
        (count > 0).then_some(count as usize)
    }

    /// Keeps nothing where nothing has begun.
    fn rest(&mut self) {
        if self.frame_left == 0 && !self.is_within_message && !self.is_closing {
            self.machine = None;
        }
    }

    fn heard(&mut self, message: Message) -> Heard {
        match message {
            Message::Text(text) => Heard::Text(owned(text.into())),
            Message::Binary(bytes) => Heard::Binary(owned(bytes)),
            Message::Ping(bytes) => Heard::Ping(owned(bytes)),
            Message::Close(frame) => {
                self.is_closing = true;
                let no_code = || Heard::Close { code: 1005, reason: String::new() };
                frame.map_or_else(no_code, |frame| Heard::Close {
                    code: frame.code.into(),
                    reason: frame.reason.to_string(),
                })
            }
            Message::Pong(_) | Message::Frame(_) => Heard::Pong,
        }
    }
}

fn machine(message_bytes: usize) -> Box<WebSocketContext> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_frame_size(Some(message_bytes))
        .max_message_size(Some(message_bytes));
    Box::new(WebSocketContext::new(Role::Server, Some(config)))
}

fn violation(error: &Error) -> Violation {
    let code = match error {
        Error::Capacity(_) => 1009,
        Error::Utf8(_) => 1007,
        _ => 1002,
    };
    Violation { code, what: error.to_string() }
}

/// A short message is worth a copy: what it came in is larger.
fn owned(bytes: Bytes) -> Vec<u8> {
    if bytes.len() < BLOCK_BYTES { bytes.to_vec() } else { bytes.into() }
}

/// A piece of what came. Answers go nowhere: the edge writes its own, among what else it has to say.
struct Pipe<'a> {
    input: &'a [u8],
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.input.read(into) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the machine reads at a time, and allocates when it begins.
const READ_BYTES: usize = 1024;
/// The longest header of a frame (RFC 6455 §5.2).
const HEADER_BYTES: u64 = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use rip::entropy::{Entropy, Xoshiro};

    const LIMIT: usize = 100_000;

    /// One masked frame; `first` is its first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | short as u8),
            long @ 126..65536 => {
                frame.push(0x80 | 126);
                frame.extend((long as u16).to_be_bytes());
            }
            longer => {
                frame.push(0x80 | 127);
                frame.extend((longer as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 250];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Everything that is heard when `bytes` come in pieces of `piece` bytes, and how it ended.
    fn hear(bytes: &[u8], piece: usize) -> (Vec<Heard>, Option<u16>) {
        let (mut frames, mut input) = (Frames::default(), Buffer::default());
        let mut heard = Vec::new();
        for piece in bytes.chunks(piece) {
            input.push(piece);
            loop {
                match frames.read(&mut input, LIMIT) {
                    Ok(Some(said)) => heard.push(said),
                    Ok(None) => break,
                    Err(violation) => return (heard, Some(violation.code)),
                }
            }
        }
        (heard, None)
    }

    #[test]
    fn messages_are_heard_whatever_the_pieces() {
        let mut entropy = Xoshiro::new(1);
        let sizes = [0, 1, 125, 126, 5000, 16_370, 16_384, 65_535, 65_536, LIMIT];
        let bodies: Vec<Vec<u8>> = sizes
            .iter()
            .map(|size| (0..*size).map(|_| entropy.next_u64() as u8).collect())
            .collect();
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for body in &bodies {
            let (head, tail) = body.split_at(body.len() / 3);
            bytes.extend([frame(0x82, body), frame(0x02, head), frame(0x89, b"hi")].concat());
            bytes.extend([frame(0x00, b""), frame(0x80, tail), frame(0x81, b"t\xc3\xa4")].concat());
            bytes.extend(frame(0x8a, b"hi"));
            expected.extend([Heard::Binary(body.clone()), Heard::Ping(b"hi".to_vec())]);
            expected.extend([Heard::Binary(body.clone()), Heard::Text("tä".into()), Heard::Pong]);
        }
        for piece in [1, 2, 7, 1000, 1024, 16_384, usize::MAX] {
            let (heard, ended) = hear(&bytes, piece.min(bytes.len()));
            assert_eq!(ended, None);
            assert!(heard == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn between_messages_nothing_is_kept() {
        let (mut frames, mut input) = (Frames::default(), Buffer::default());
        for (bytes, keeps) in [
            (frame(0x82, &[7; 50_000]), false),
            (frame(0x01, b"a"), true),
            (frame(0x89, b""), true),
            (frame(0x80, b"b"), false),
            (frame(0x8a, b""), false),
        ] {
            input.push(&bytes);
            while let Some(_heard) = frames.read(&mut input, LIMIT).unwrap() {}
            assert_eq!(frames.machine.is_some(), keeps);
        }
    }

    #[test]
    fn what_breaks_the_protocol_ends_with_its_code() {
        let unmasked = b"\x81\x02hi".to_vec();
        let too_large = [&[0x82, 0xff][..], &(LIMIT as u64 + 1).to_be_bytes(), &[0; 4]].concat();
        let in_parts = [frame(0x02, &[0; LIMIT]), frame(0x80, b"x")].concat();
        for (bytes, code) in [
            (unmasked, 1002),
            (frame(0xc1, b"rsv"), 1002),
            (frame(0x83, b"opcode"), 1002),
            (frame(0x8b, b"control"), 1002),
            (frame(0x09, b"part of a ping"), 1002),
            (frame(0x89, &[b'x'; 126]), 1002),
            (frame(0x80, b"continues nothing"), 1002),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
            (frame(0x88, b"\x03"), 1002),
            (frame(0x88, b"\x03\xe8\xff"), 1007),
            (frame(0x81, b"\xc3\x28"), 1007),
            ([frame(0x01, b"\xce\xba"), frame(0x80, b"\xe1\xbd")].concat(), 1007),
            (too_large, 1009),
            (in_parts, 1009),
        ] {
            for piece in [1, usize::MAX] {
                let (heard, ended) = hear(&bytes, piece.min(bytes.len()));
                assert_eq!((heard.as_slice(), ended), (&[][..], Some(code)), "{:?}", &bytes[..2]);
            }
        }
    }

    #[test]
    fn a_close_is_heard_with_its_code_and_ours_does_not_make_us_deaf() {
        let close = |code: u16, reason: &str| Heard::Close { code, reason: reason.to_owned() };
        for (payload, expected) in [
            (&b"\x03\xe8bye"[..], close(1000, "bye")),
            (b"\x0f\xa0", close(4000, "")),
            (b"", close(1005, "")),
        ] {
            let (heard, ended) = hear(&frame(0x88, payload), 3);
            assert_eq!((heard, ended), (vec![expected], None));
        }
        for code in [0_u16, 999, 1004, 1005, 1006, 1016, 2999, 5000] {
            let (heard, _) = hear(&frame(0x88, &code.to_be_bytes()), 64);
            assert!(matches!(heard[..], [Heard::Close { code: 1002, .. }]), "{code}: {heard:?}");
        }
        let (mut frames, mut input) = (Frames::default(), Buffer::default());
        frames.closes(LIMIT);
        input.push(&[frame(0x81, b"on its way"), frame(0x88, b"\x0f\xa0")].concat());
        let first = frames.read(&mut input, LIMIT).unwrap();
        assert_eq!(first, Some(Heard::Text(b"on its way".to_vec())));
        assert_eq!(frames.read(&mut input, LIMIT).unwrap(), Some(close(4000, "")));
    }
}
