//! What is counted, and where each number stands.
//!
//! The numbers form one array of [`COUNTER_COUNT`], so that a shell can keep them as atomics, one
//! array for each loop, and add the arrays up.

use crate::contract::reason::Reason;

/// One number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counter {
    /// Bytes of request bodies.
    BytesIn,
    /// Bytes of response bodies.
    BytesOut,
    /// Client connections that were accepted.
    Connections,
    /// TLS handshakes of clients that were finished.
    Handshakes,
    /// Those of them that took a session up again.
    Resumptions,
    /// Something the edge itself refused or ended.
    Refusal(Reason),
    /// Turns of sessions that were begun.
    SessionTurns,
    /// Those of them that were committed.
    SessionCommitted,
    /// Those that ended without: failed, contended, cancelled, refused by the app.
    SessionFailed,
    /// Requests and messages for a turn that were refused before anything ran.
    SessionRefused,
    /// WebSocket clients that left, by the code they were closed with.
    SocketClosed(u16),
    /// Messages that were given to WebSocket clients.
    SocketDeliveries,
    /// Messages that WebSocket clients did not get because they were behind.
    SocketDropped,
    /// Messages of WebSocket clients.
    SocketMessagesIn,
    /// Those of them whose POST has ended; the others wait for it, or were dropped.
    SocketMessagesPosted,
    /// WebSocket clients that came.
    SocketOpened,
    /// POSTs on behalf of WebSocket clients that got no answer, or a refusal.
    SocketReplyFailed,
    /// Instructions of apps that were none.
    SocketReplyInvalid,
}

impl Counter {
    /// Where it stands; below [`COUNTER_COUNT`].
    pub const fn index(self) -> usize {
        match self {
            Self::BytesIn => 0,
            Self::BytesOut => 1,
            Self::Connections => 2,
            Self::Handshakes => 3,
            Self::Resumptions => 4,
            Self::Refusal(reason) => FIRST_REFUSAL + reason.index(),
            Self::SocketDeliveries => FIRST_SOCKET,
            Self::SocketDropped => FIRST_SOCKET + 1,
            Self::SocketMessagesIn => FIRST_SOCKET + 2,
            Self::SocketMessagesPosted => FIRST_SOCKET + 3,
            Self::SocketOpened => FIRST_SOCKET + 4,
            Self::SocketReplyFailed => FIRST_SOCKET + 5,
            Self::SocketReplyInvalid => FIRST_SOCKET + 6,
            Self::SocketClosed(code) => FIRST_CLOSE + close_of(code),
            Self::SessionTurns => FIRST_SESSION,
            Self::SessionCommitted => FIRST_SESSION + 1,
            Self::SessionFailed => FIRST_SESSION + 2,
            Self::SessionRefused => FIRST_SESSION + 3,
        }
    }
}

/// All numbers at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counters {
    numbers: [u64; COUNTER_COUNT],
}

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self { numbers: [0; COUNTER_COUNT] }
    }

    /// Adds `amount` to one number.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        self.add_at(counter.index(), amount);
    }

    /// Adds `amount` to the number that stands at `index`; nothing beyond the last.
    pub fn add_at(&mut self, index: usize, amount: u64) {
        if let Some(number) = self.numbers.get_mut(index) {
            *number = number.wrapping_add(amount);
        }
    }

    /// One number.
    pub fn value(&self, counter: Counter) -> u64 {
        self.numbers[counter.index()]
    }

    /// WebSocket clients that left, by code; 0 stands for every code without a place of its own.
    pub fn closes(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        CLOSE_CODES.into_iter().map(|code| (code, self.value(Counter::SocketClosed(code))))
    }

    /// Refusals, each with its reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.value(Counter::Refusal(reason))))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers in all.
pub const COUNTER_COUNT: usize = FIRST_SESSION + 4;
const FIRST_REFUSAL: usize = 5;
const FIRST_SOCKET: usize = FIRST_REFUSAL + Reason::ALL.len();
const FIRST_CLOSE: usize = FIRST_SOCKET + 7;
const FIRST_SESSION: usize = FIRST_CLOSE + CLOSE_CODES.len();

/// Codes that have a place of their own; all others share the first.
const CLOSE_CODES: [u16; 12] =
    [0, 1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013];

const fn close_of(code: u16) -> usize {
    let mut place = CLOSE_CODES.len() - 1;
    while place > 0 && CLOSE_CODES[place] != code {
        place -= 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut places = std::collections::HashSet::new();
        let plain = [
            Counter::BytesIn,
            Counter::BytesOut,
            Counter::Connections,
            Counter::Handshakes,
            Counter::Resumptions,
        ];
        let refusals = Reason::ALL.into_iter().map(Counter::Refusal);
        let sockets = [
            Counter::SocketDeliveries,
            Counter::SocketDropped,
            Counter::SocketMessagesIn,
            Counter::SocketMessagesPosted,
            Counter::SocketOpened,
            Counter::SocketReplyFailed,
            Counter::SocketReplyInvalid,
        ];
        let closes = CLOSE_CODES.into_iter().map(Counter::SocketClosed);
        let sessions = [
            Counter::SessionTurns,
            Counter::SessionCommitted,
            Counter::SessionFailed,
            Counter::SessionRefused,
        ];
        let sockets = sockets.into_iter().chain(closes).chain(sessions);
        for counter in plain.into_iter().chain(refusals).chain(sockets) {
            assert!(places.insert(counter.index()), "{counter:?}");
        }
        assert_eq!(places.len(), COUNTER_COUNT);
        assert_eq!(places.into_iter().max(), Some(COUNTER_COUNT - 1));
        assert_eq!(Counter::SocketClosed(4000).index(), Counter::SocketClosed(0).index());
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let mut counters = Counters::new();
        counters.add(Counter::Refusal(Reason::QueueFull), 4);
        counters.add_at(COUNTER_COUNT, 9);
        let counted: Vec<_> = counters.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Reason::QueueFull, 4)]);
    }
}
