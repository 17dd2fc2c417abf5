//! The names of events, and where a client says it stopped reading.

use super::id::hex;
use std::fmt;

/// Which life of the store an event was written in. Each master that opens a store takes a new one,
/// greater than every one before it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u16);

impl Epoch {
    /// The next life; `None` after the last that a name has room for. The store is then moved aside.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// An event's name: `0003-00000000001a`. As text they sort as they were written.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId {
    /// When it was written.
    pub epoch: Epoch,
    /// Its number within the session, from 1; below 2^48.
    pub seq: u64,
}

impl EventId {
    /// The event numbered `seq` that was written in `epoch`.
    pub const fn new(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, seq }
    }

    /// The event that `text` names; `None` when it could be the name of none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (epoch, seq) = (bytes.get(..4)?, bytes.get(5..)?);
        if bytes.get(4) != Some(&b'-') || seq.len() != 12 {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0, |number, digit| Some(number << 4 | u64::from(hex(*digit)?)))
        };
        Some(Self { epoch: Epoch(number(epoch)? as u16), seq: number(seq)? })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04x}-{:012x}", self.epoch.0, self.seq)
    }
}

/// Where a client wants to read from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cursor {
    /// Behind this event.
    After(EventId),
    /// From the oldest event that is kept.
    Earliest,
    /// Only what is yet to come.
    Now,
    /// From the start of the turn that runs, else of the last one.
    #[default]
    Turn,
}

impl Cursor {
    /// The cursor that `text` means: an event's name, `earliest` or `now`; [`Cursor::Turn`] when it is
    /// empty, as the first `Last-Event-ID` of some clients is. `None`: it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::Turn),
            "earliest" => Some(Self::Earliest),
            "now" => Some(Self::Now),
            id => EventId::parse(id).map(Self::After),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_text() {
        let ids = [(0, 0), (0, 1), (0, 0xffff_ffff_ffff), (1, 0), (3, 0x1a), (0xffff, 2)]
            .map(|(epoch, seq)| EventId::new(Epoch(epoch), seq));
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string());
        }
        assert_eq!(ids[4].to_string(), "0003-00000000001a");
        for id in ids {
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn cursors_are_read_strictly() {
        let id = EventId::new(Epoch(3), 0x1c);
        for (text, cursor) in [
            ("", Some(Cursor::Turn)),
            ("earliest", Some(Cursor::Earliest)),
            ("now", Some(Cursor::Now)),
            ("0003-00000000001c", Some(Cursor::After(id))),
            ("0003-00000000001C", None),
            ("0003-00000000001", None),
            ("0003-00000000001c0", None),
            ("003-00000000001c", None),
            ("0003_00000000001c", None),
            ("0003-+0000000001c", None),
            ("Earliest", None),
            (" now", None),
            ("é003-00000000001c", None),
            ("0003", None),
        ] {
            assert_eq!(Cursor::parse(text), cursor, "{text}");
        }
    }

    #[test]
    fn lives_run_out() {
        assert_eq!(Epoch(3).next(), Some(Epoch(4)));
        assert_eq!(Epoch(0xffff).next(), None);
    }
}
