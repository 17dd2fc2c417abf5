//! Which events of a session there are, and which a cursor may name.

use super::event_id::{Epoch, EventId};

/// The numbers of a session's events by the life of the store in which they were written.
///
/// A number whose event was lost with the tail of the store is given again, in a later life: the
/// ledger knows the last number that lasted of each life, so the lost event's name is no cursor.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ledger {
    /// The number of the oldest event that is kept; one more than the last when none is.
    first: u64,
    /// The last number of each life that wrote something, oldest life first; both grow.
    marks: Vec<EventId>,
}

/// Why a cursor leads nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reset {
    /// Its event was never kept: it was lost with the tail of the store.
    Epoch,
    /// Events behind it are not kept any more.
    Truncated,
}

impl Reset {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Truncated => "truncated",
        }
    }
}

impl Ledger {
    /// No event yet.
    pub fn new() -> Self {
        Self { first: 1, marks: Vec::new() }
    }

    /// The last event; number 0 before the first.
    pub fn last(&self) -> EventId {
        self.marks.last().copied().unwrap_or_default()
    }

    /// The number of the oldest event that is kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The life that an event written by a master of `epoch` belongs to: names never sort backwards,
    /// also while two masters use one store.
    pub fn epoch_for(&self, epoch: Epoch) -> Epoch {
        epoch.max(self.last().epoch)
    }

    /// Events up to `last` were written; what is not behind the last one is ignored.
    pub fn extend(&mut self, last: EventId) {
        let before = self.last();
        if last.seq <= before.seq || last.epoch < before.epoch {
            return;
        }
        match self.marks.last_mut() {
            Some(mark) if mark.epoch == last.epoch => mark.seq = last.seq,
            _ => self.marks.push(last),
        }
    }

    /// Events below `first` were deleted.
    pub fn truncate(&mut self, first: u64) {
        self.first = self.first.max(first.min(self.last().seq + 1));
        // A life all of whose events are gone says nothing any more.
        self.marks.retain(|mark| mark.seq + 1 >= self.first);
    }

    /// The position that reading goes on behind when `cursor` was read last.
    pub fn check(&self, cursor: EventId) -> Result<EventId, Reset> {
        let lasted = self.marks.iter().rev().find(|mark| mark.epoch <= cursor.epoch);
        let is_later_life = cursor.epoch > self.last().epoch;
        if cursor.seq + 1 < self.first {
            Err(Reset::Truncated)
        } else if cursor.seq > lasted.map_or(0, |mark| mark.seq)
            || (is_later_life && cursor.seq > 0)
        {
            Err(Reset::Epoch)
        } else {
            Ok(cursor)
        }
    }

    /// The position just before the event numbered `seq`, or the nearest one that can be read from.
    pub fn before(&self, seq: u64) -> EventId {
        let seq = seq.clamp(self.first, self.last().seq + 1) - 1;
        let mark = self.marks.iter().find(|mark| mark.seq >= seq);
        EventId::new(mark.map_or_else(Epoch::default, |mark| mark.epoch), seq)
    }

    /// The ledger as one line of text for the store: `first:life-last,…`.
    pub fn encode(&self) -> String {
        let marks: Vec<String> = self.marks.iter().map(EventId::to_string).collect();
        format!("{}:{}", self.first, marks.join(","))
    }

    /// Reads what [`Ledger::encode`] wrote; `None` when it did not write that.
    pub fn decode(text: &str) -> Option<Self> {
        let (first, marks) = text.split_once(':')?;
        let mut ledger = Self { first: 1, marks: Vec::new() };
        for mark in marks.split(',').filter(|mark| !mark.is_empty()) {
            let mark = EventId::parse(mark)?;
            let before = ledger.last();
            if mark.seq <= before.seq || (before.seq > 0 && mark.epoch <= before.epoch) {
                return None;
            }
            ledger.extend(mark);
        }
        let first: u64 = first.parse().ok()?;
        if first == 0 || first > ledger.last().seq + 1 {
            return None;
        }
        ledger.first = first;
        Some(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u16, seq: u64) -> EventId {
        EventId::new(Epoch(epoch), seq)
    }

    /// Life 2 wrote 1 to 9 of which 8 and 9 were lost; life 4 wrote 8 to 20.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new();
        ledger.extend(id(2, 5));
        ledger.extend(id(2, 7));
        ledger.extend(id(4, 20));
        ledger
    }

    #[test]
    fn a_cursor_is_good_when_its_event_lasted_and_what_follows_is_kept() {
        let mut ledger = ledger();
        ledger.truncate(4);
        for (cursor, verdict) in [
            (id(2, 3), Ok(())),
            (id(2, 7), Ok(())),
            (id(2, 8), Err(Reset::Epoch)),
            (id(2, 9), Err(Reset::Epoch)),
            (id(3, 8), Err(Reset::Epoch)),
            (id(4, 8), Ok(())),
            (id(4, 20), Ok(())),
            (id(4, 21), Err(Reset::Epoch)),
            (id(5, 20), Err(Reset::Epoch)),
            (id(1, 1), Err(Reset::Truncated)),
            (id(1, 4), Err(Reset::Epoch)),
            (id(2, 2), Err(Reset::Truncated)),
            (id(0, 0), Err(Reset::Truncated)),
        ] {
            assert_eq!(ledger.check(cursor), verdict.map(|()| cursor), "{cursor}");
        }
    }

    #[test]
    fn an_empty_ledger_knows_only_its_start() {
        let ledger = Ledger::new();
        assert_eq!(ledger.check(id(0, 0)), Ok(id(0, 0)));
        assert_eq!(ledger.check(id(7, 0)), Ok(id(7, 0)));
        assert_eq!(ledger.check(id(1, 1)), Err(Reset::Epoch));
        assert_eq!(ledger.before(1), id(0, 0));
        assert_eq!(ledger.before(9), id(0, 0));
    }

    #[test]
    fn every_position_before_an_event_is_a_good_cursor() {
        let mut ledger = ledger();
        for first in [1, 2, 8, 9, 20, 21] {
            ledger.truncate(first);
            assert_eq!(ledger.last(), id(4, 20));
            for seq in 0..30 {
                let before = ledger.before(seq);
                assert_eq!(ledger.check(before), Ok(before), "{first} {seq}");
                assert_eq!(before.seq, seq.clamp(first, 21) - 1);
            }
        }
    }

    #[test]
    fn names_never_go_back() {
        let mut ledger = ledger();
        assert_eq!(ledger.epoch_for(Epoch(3)), Epoch(4));
        assert_eq!(ledger.epoch_for(Epoch(5)), Epoch(5));
        let before = ledger.clone();
        ledger.extend(id(3, 21));
        ledger.extend(id(4, 20));
        assert_eq!(ledger, before);
    }

    #[test]
    fn the_text_is_read_as_it_was_written_or_not_at_all() {
        let mut ledger = ledger();
        ledger.truncate(3);
        assert_eq!(ledger.encode(), "3:0002-000000000007,0004-000000000014");
        assert_eq!(Ledger::decode(&ledger.encode()), Some(ledger));
        assert_eq!(Ledger::decode("1:"), Some(Ledger::new()));
        for bad in [
            "",
            "1",
            "x:",
            "0:",
            "2:",
            "9:0002-000000000007",
            "1:0002-7",
            "1:0002-000000000007,0002-000000000009",
            "1:0002-000000000007,0001-000000000009",
        ] {
            assert_eq!(Ledger::decode(bad), None, "{bad}");
        }
    }
}
