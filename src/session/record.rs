//! What the store keeps of a session, row by row.

use super::event_id::{Epoch, EventId};
use super::id::SessionId;
use super::ledger::Ledger;
use super::token::{Digest, Seed, Stamp};
use crate::limits::{SESSION_KEEP, WAKE_PAUSE_MAX, WAKE_PAUSE_MIN};
use crate::time::UnixMillis;
use std::time::Duration;

/// A session.
///
/// ```text
///  start                       finished, parked: commit, the token rotates
///    │      ┌──────────────────────────────────────────────────────────┐
///    ▼      ▼        message, wake                                     │
///    │   resting ───────────────────────▶ running ─────────────────────┤
///    │      ▲                                ▲  │                      │
///    └──────┼────────────────────────────────┘  │                      │
///           └───────────────────────────────────┘ contended, failed,   │
///                                                 cancelled, interrupted: the same token
/// ```
/// *Resting* is idle or parked, as the last commit said. `delete`, and a refusal of its first turn,
/// lead from everywhere to nothing.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// The site, mount and app it belongs to; elsewhere it is unknown.
    pub scope: String,
    /// When something of it began or ended.
    pub touched: UnixMillis,
    /// How many turns are committed. The next one, which may be running, has the number after that.
    pub committed: u64,
    /// How often the next turn was tried.
    pub attempts: u32,
    /// The token of the next turn.
    pub token: Stamp,
    /// The token before it, while it may read.
    pub previous: Option<Previous>,
    /// The token that reads.
    pub resume: Stamp,
    /// The last commit left it waiting for something.
    pub is_parked: bool,
    /// When the master runs a turn by itself.
    pub timer: Option<Timer>,
    /// The turn that runs.
    pub running: Option<Running>,
    /// Its events.
    pub ledger: Ledger,
    /// Bytes of the events that are kept.
    pub event_bytes: u64,
    /// The number of the first event of the attempt that runs, else of the last one.
    pub turn_start: u64,
}

/// The turn that runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Running {
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The master that runs it.
    pub owner: Epoch,
    /// What began it.
    pub cause: Cause,
    /// Somebody was told that it is being cancelled: it cannot commit any more.
    pub is_cancelling: bool,
}

/// What began a turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// A client's message.
    Message,
    /// A client that started the session.
    Start,
    /// The master's timer.
    Timer,
    /// A request to wake it.
    Wake,
}

/// The token before the current one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Previous {
    /// Its SHA-256.
    pub digest: Digest,
    /// It reads until then, unless the current one is used before.
    pub until: UnixMillis,
}

/// A wake-up call that outlives the master.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timer {
    /// When.
    pub at: UnixMillis,
    /// Turns that it began and that came to nothing.
    pub failures: u32,
    /// What the app is told: JSON.
    pub wake: String,
}

impl Timer {
    /// The timer after the turn that it began came to nothing.
    pub fn postponed(&self, now: UnixMillis) -> Self {
        let doublings = self.failures.min(16);
        let pause = WAKE_PAUSE_MIN.saturating_mul(1 << doublings).min(WAKE_PAUSE_MAX);
        Self {
            at: after(now, pause),
            failures: self.failures.saturating_add(1),
            wake: self.wake.clone(),
        }
    }
}

impl Session {
    /// The number of the next turn, or of the running one.
    pub fn turn(&self) -> u64 {
        self.committed.saturating_add(1)
    }

    /// When it is forgotten unless it is used before; a running one is not. One that waits for its time
    /// is kept beyond that.
    pub fn expires_at(&self) -> UnixMillis {
        let timer = self.timer.as_ref().map(|timer| timer.at);
        after(timer.map_or(self.touched, |at| at.max(self.touched)), SESSION_KEEP)
    }

    /// It is past its time: no turn may begin, and it goes with the next pruning.
    pub fn is_closed(&self, now: UnixMillis) -> bool {
        self.running.is_none() && self.expires_at() <= now
    }

    /// Its state for clients.
    pub fn status(&self, now: UnixMillis) -> &'static str {
        match self {
            Self { running: Some(_), .. } => "running",
            _ if self.is_closed(now) => "closed",
            Self { is_parked: true, .. } => "parked",
            _ => "idle",
        }
    }

    /// The timer is due and no turn runs.
    pub fn is_due(&self, now: UnixMillis) -> bool {
        let is_past = self.timer.as_ref().is_some_and(|timer| timer.at <= now);
        is_past && self.running.is_none() && !self.is_closed(now)
    }

    /// In what the record contradicts itself. What comes from a store is asked before it is used: such a
    /// store is broken.
    pub fn contradiction(&self) -> Option<&'static str> {
        let last = self.ledger.last().seq;
        let is_counted = self.running.is_none_or(|running| running.attempt == self.attempts);
        [
            (self.token.seed.turn != self.turn(), "the token is of another turn"),
            (self.ledger.first() > last + 1, "events are miscounted"),
            (
                self.timer.is_some() && !self.is_parked,
                "a session that waits for nothing has a timer",
            ),
            (self.turn_start == 0 || self.turn_start > last + 1, "the turn starts nowhere"),
            (!is_counted, "another attempt runs"),
            (self.running.is_some() && self.attempts == 0, "an attempt has no number"),
        ]
        .into_iter()
        .find_map(|(is_wrong, what)| is_wrong.then_some(what))
    }

    /// Panics when the record contradicts itself.
    pub fn check_invariants(&self) {
        assert_eq!(self.contradiction(), None);
    }
}

/// How an attempt of a turn ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The turn.
    pub turn: u64,
    /// Which attempt of it: only the last one is kept.
    pub attempt: u32,
    /// The status of the answer to the request that began it.
    pub status: u16,
    /// It was committed.
    pub is_committed: bool,
    /// The answer's JSON body, without its token and its closing brace.
    pub answer: String,
    /// The token that was good when it ended.
    pub token: Seed,
    /// The number of its first event.
    pub first: u64,
    /// Its last event.
    pub last: EventId,
    /// When.
    pub at: UnixMillis,
}

/// The moment `pause` after `moment`.
pub(super) fn after(moment: UnixMillis, pause: Duration) -> UnixMillis {
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    UnixMillis(moment.0.saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_waits_longer_each_time() {
        let mut timer = Timer { at: UnixMillis(0), failures: 0, wake: "{}".into() };
        let mut pauses = Vec::new();
        for _ in 0..11 {
            timer = timer.postponed(UnixMillis(1_000_000));
            pauses.push((timer.at.0 - 1_000_000) / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        timer.failures = u32::MAX;
        assert_eq!(timer.postponed(UnixMillis(0)).failures, u32::MAX);
    }
}
