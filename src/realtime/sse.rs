//! Messages as server-sent events (HTML Living Standard §9.2).

use super::frame::{Frame, Kind};

/// The event that says what a text frame says; its id is the position behind it. `None` for what is
/// no text.
pub fn event(frame: &Frame, note: Option<(u64, u64)>) -> Option<Vec<u8>> {
    if frame.kind() != Kind::Text {
        return None;
    }
    let mut event = Vec::with_capacity(frame.byte_count() + 48);
    if let Some((epoch, offset)) = note {
        event.extend_from_slice(format!("id: {epoch}:{offset}\n").as_bytes());
    }
    let mut rest = frame.payload();
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let (line, behind) =
            rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, b""));
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
        rest = match behind {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => break,
        };
    }
    event.push(b'\n');
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_an_event() {
        for (text, event) in [
            (r#"{"a":1}"#, "id: 7:3\ndata: {\"a\":1}\n\n"),
            ("", "id: 7:3\ndata: \n\n"),
            ("a\nb\r\nc\rd", "id: 7:3\ndata: a\ndata: b\ndata: c\ndata: d\n\n"),
            ("a\n", "id: 7:3\ndata: a\ndata: \n\n"),
            ("\n\r", "id: 7:3\ndata: \ndata: \ndata: \n\n"),
        ] {
            let found = super::event(&Frame::text(text), Some((7, 3))).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), event);
        }
        assert_eq!(event(&Frame::text("x"), None).unwrap(), b"data: x\n\n");
        assert_eq!(event(&Frame::binary(b"x"), None), None);
        assert_eq!(event(&Frame::close(1000, "x"), None), None);
    }
}
