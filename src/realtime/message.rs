//! A message that is numbered: its place in each group's count, and the frames that tell it.

use super::frame::{Frame, Kind};
use super::group::GroupName;
use std::sync::OnceLock;

/// Where a message stands in one group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Note {
    pub(super) group: GroupName,
    /// Which count: another one begins when a group's messages are forgotten. Never 0, and a whole
    /// number in JavaScript.
    pub(super) epoch: u64,
    /// The first message has 1.
    pub(super) offset: u64,
}

/// A JSON object that was sent to groups that number their messages. A client is told the numbers of
/// those groups that it is in: `{"#":{"/lobby":[epoch,offset]},…}`.
#[derive(Debug)]
pub(super) struct Message {
    /// Unlike that of every other message of the hub, and higher than those before it.
    pub(super) serial: u64,
    /// At least one.
    notes: Box<[Note]>,
    /// With all notes.
    frame: Frame,
    /// What stands behind the notes: the last bytes of the frame.
    rest_byte_count: usize,
    /// With one of several notes each, made when first needed.
    single: Box<[OnceLock<Frame>]>,
}

impl Message {
    /// `object` is a text frame with a JSON object that has a key.
    pub(super) fn new(serial: u64, notes: Vec<Note>, object: &Frame) -> Self {
        let rest = object.payload().get(1..).unwrap_or_default();
        let single_count = if notes.len() > 1 { notes.len() } else { 0 };
        Self {
            serial,
            frame: annotated(notes.iter(), rest),
            rest_byte_count: rest.len(),
            single: (0..single_count).map(|_| OnceLock::new()).collect(),
            notes: notes.into(),
        }
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The frame with the notes at these places, in rising order, at least one. Frames with all or
    /// with one of them are made once.
    pub(super) fn frame(&self, places: &[u32]) -> Frame {
        if places.len() == self.notes.len() {
            return self.frame.clone();
        }
        let make = || {
            let notes = places.iter().filter_map(|place| self.notes.get(*place as usize));
            annotated(notes, self.rest())
        };
        let kept = match places {
            [one] => self.single.get(*one as usize),
            _ => None,
        };
        kept.map_or_else(make, |kept| kept.get_or_init(make).clone())
    }

    /// Epoch and offset of the first of the notes at these places.
    pub(super) fn position(&self, places: &[u32]) -> Option<(u64, u64)> {
        let first = places.first().and_then(|place| self.notes.get(*place as usize));
        first.map(|note| (note.epoch, note.offset))
    }

    /// What it takes while it is kept, in bytes.
    pub(super) fn byte_count(&self) -> usize {
        self.frame.byte_count()
    }

    fn rest(&self) -> &[u8] {
        let bytes = self.frame.as_bytes();
        bytes.get(bytes.len().saturating_sub(self.rest_byte_count)..).unwrap_or_default()
    }
}

fn annotated<'a>(notes: impl Iterator<Item = &'a Note>, rest: &[u8]) -> Frame {
    let mut text = Vec::with_capacity(rest.len() + 64);
    text.extend_from_slice(br##"{"#":{"##);
    for (index, Note { group, epoch, offset }) in notes.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(quoted(group).as_bytes());
        text.extend_from_slice(format!(":[{epoch},{offset}]").as_bytes());
    }
    text.extend_from_slice(b"},");
    text.extend_from_slice(rest);
    Frame::new(Kind::Text, &text)
}

/// A group's name as JSON.
pub(super) fn quoted(group: &GroupName) -> String {
    serde_json::Value::from(group.as_str()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(group: &str, offset: u64) -> Note {
        Note { group: GroupName::new(group).unwrap(), epoch: 7, offset }
    }

    fn text(frame: &Frame) -> &str {
        std::str::from_utf8(frame.payload()).unwrap()
    }

    #[test]
    fn notes_stand_in_front_of_what_was_sent() {
        let object = Frame::text(r#"{"a":{"b":1}}"#);
        let message = Message::new(1, vec![note("/a\"é", 3)], &object);
        assert_eq!(text(&message.frame(&[0])), r##"{"#":{"/a\"é":[7,3]},"a":{"b":1}}"##);
        assert!(message.single.is_empty());
    }

    #[test]
    fn each_client_is_told_of_its_groups_alone() {
        let object = Frame::text(r#"{"a":1}"#);
        let notes = vec![note("/a", 1), note("/b", 2), note("/c", 3)];
        let message = Message::new(1, notes, &object);
        for (places, expected) in [
            (&[0][..], r##"{"#":{"/a":[7,1]},"a":1}"##),
            (&[2], r##"{"#":{"/c":[7,3]},"a":1}"##),
            (&[0, 2], r##"{"#":{"/a":[7,1],"/c":[7,3]},"a":1}"##),
            (&[0, 1, 2], r##"{"#":{"/a":[7,1],"/b":[7,2],"/c":[7,3]},"a":1}"##),
        ] {
            assert_eq!(text(&message.frame(places)), expected);
        }
        let address = |places: &[u32]| message.frame(places).as_bytes().as_ptr();
        assert_eq!(address(&[1]), address(&[1]));
        assert_eq!(address(&[0, 1, 2]), address(&[0, 1, 2]));
    }
}
