//! Where the loops meet over sessions: which turns run, who looks on, and the queue of the store.
//!
//! What the table says is carried out after its lock: who is to be stirred in another loop gets mail.

use super::hub::Hubs;
use super::mail::EdgeMessage;
use super::store::StoreQueue;
use rip::ids::{AppId, LoopIndex};
use rip::session::claim::Attempt;
use rip::session::table::Place;
use rip::session::{SessionId, Table};
use rip::time::Instant;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The sessions of one master.
#[derive(Default)]
pub struct Sessions {
    table: Mutex<Table>,
    turns: Mutex<BTreeMap<SessionId, RunningTurn>>,
    /// Where orders for the store go. Nobody serves it while no session was ever configured.
    pub queue: StoreQueue,
}

/// A turn that runs, as it is told to the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunningTurn {
    /// Which.
    pub attempt: Attempt,
    /// Who runs it.
    pub app: AppId,
    /// When it was begun.
    pub since: Instant,
}

/// What a loop is told of a session.
#[derive(Clone, Copy, Debug)]
pub enum SessionMail {
    /// The viewer with this number is to look again.
    Stirred(u64),
    /// The turn with this number is to be cancelled.
    Cancel {
        /// What its loop calls it.
        key: u64,
        /// Which turn of its session, in case another one runs there by now.
        turn: u64,
    },
}

impl Sessions {
    /// The table. Nothing is sent while it is held.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `app` runs the turn of `attempt` from now on.
    pub fn turn_began(&self, attempt: Attempt, app: &AppId, now: Instant) {
        let turn = RunningTurn { attempt, app: app.clone(), since: now };
        self.turns().insert(attempt.session, turn);
    }

    /// The turn of `attempt` has ended, however it did.
    pub fn turn_ended(&self, attempt: &Attempt) {
        let mut turns = self.turns();
        if turns.get(&attempt.session).is_some_and(|turn| turn.attempt == *attempt) {
            turns.remove(&attempt.session);
        }
    }

    /// How many turns run, and the `count` of them that were begun last, the last one first.
    pub fn running(&self, count: usize) -> (usize, Vec<RunningTurn>) {
        let turns = self.turns();
        let mut newest: Vec<_> = turns.values().cloned().collect();
        drop(turns);
        newest.sort_by_key(|turn| std::cmp::Reverse(turn.since));
        let all = newest.len();
        newest.truncate(count);
        (all, newest)
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<SessionId, RunningTurn>> {
        // Nothing that can panic runs under this lock.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those of `places` that are not the loop `own`'s; returns the numbers of its own.
    pub fn stir(&self, places: Vec<Place>, own: LoopIndex, loops: &Hubs) -> Vec<u64> {
        let mut mine = Vec::new();
        for place in places {
            if place.loop_index == own {
                mine.push(place.key);
            } else {
                let mail = EdgeMessage::Session(SessionMail::Stirred(place.key));
                loops.mail(place.loop_index, mail);
            }
        }
        mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::session::Epoch;
    use std::time::Duration;

    #[test]
    fn the_newest_turns_are_told_of_until_they_end() {
        let sessions = Sessions::default();
        let attempt = |byte: u8, number| {
            let session = SessionId::new([byte; 16]);
            Attempt { session, turn: 1, number, owner: Epoch(1) }
        };
        let app = AppId::new("api");
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        for (byte, seconds) in [(1, 3), (2, 1), (3, 2)] {
            sessions.turn_began(attempt(byte, 1), &app, at(seconds));
        }
        let (count, newest) = sessions.running(2);
        let since: Vec<_> = newest.iter().map(|turn| turn.since).collect();
        assert_eq!((count, since), (3, vec![at(3), at(2)]));
        sessions.turn_began(attempt(1, 2), &app, at(4));
        sessions.turn_ended(&attempt(1, 1));
        assert_eq!(sessions.running(9).0, 3, "another attempt of it runs");
        for (byte, number) in [(1, 2), (2, 1), (3, 1)] {
            sessions.turn_ended(&attempt(byte, number));
        }
        assert_eq!(sessions.running(9), (0, Vec::new()));
    }
}
