//! A store of maps that keeps what a crash lets it keep.

use rip::session::store::{EndingOf, Found, Level, Load, Step, Write};
use rip::session::viewer::Page;
use rip::session::{Ending, Event, EventId, KeyRecord, Session, SessionId};
use std::collections::BTreeMap;

#[derive(Clone, Default)]
pub struct Tables {
    pub sessions: BTreeMap<SessionId, Session>,
    pub events: BTreeMap<(SessionId, u64), Event>,
    pub endings: BTreeMap<(SessionId, u64), Ending>,
    pub states: BTreeMap<SessionId, String>,
    pub keys: BTreeMap<[u8; 32], KeyRecord>,
}

/// What goes wrong with one transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    None,
    /// An error; nothing is written.
    Refused,
    /// An error, but it is written.
    Unsure,
    /// The master dies; nothing is written.
    DiesBefore,
    /// The master dies after it is written.
    DiesAfter,
}

impl Fault {
    pub fn writes(self) -> bool {
        matches!(self, Self::None | Self::Unsure | Self::DiesAfter)
    }

    pub fn dies(self) -> bool {
        matches!(self, Self::DiesBefore | Self::DiesAfter)
    }
}

#[derive(Default)]
pub struct Disk {
    pub now: Tables,
    /// What the loss of power leaves for certain.
    safe: Tables,
    /// Transactions behind it, in their order.
    pending: Vec<Vec<Write>>,
    /// The last life that a master took; written through.
    pub epoch: u16,
}

impl Disk {
    pub fn load(&self, load: Load) -> Found {
        let key = load.key.and_then(|key| self.now.keys.get(&key.0)).copied();
        let id = load.session.or(key.map(|key| key.session));
        let session = id.and_then(|id| self.now.sessions.get(&id)).cloned();
        let turn = match load.ending {
            EndingOf::Nothing => None,
            EndingOf::Key => key.map(|key| key.turn),
            EndingOf::Last => session.as_ref().map(Session::last_turn),
            EndingOf::Turn(turn) => Some(turn),
        };
        let ending = id.zip(turn).and_then(|at| self.now.endings.get(&at)).cloned();
        Found { session, key, ending }
    }

    /// Writes what `step` says, within the transaction that is under way.
    pub fn write<T>(&mut self, step: &Step<T>) {
        assert_eq!(
            step.level == Level::Unchanged,
            step.writes.is_empty(),
            "a level without writes"
        );
        step.writes.iter().for_each(|write| apply(&mut self.now, write));
    }

    /// Ends a transaction of these writes. True: everything so far survives the loss of power.
    pub fn commit(&mut self, writes: Vec<Write>, level: Level) -> bool {
        self.pending.push(writes);
        if level == Level::Power {
            for writes in self.pending.drain(..) {
                writes.iter().for_each(|write| apply(&mut self.safe, write));
            }
        }
        level == Level::Power
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The power is lost: of what was pending the first `kept` transactions remain.
    pub fn lose_power(&mut self, kept: usize) {
        for writes in self.pending.drain(..).take(kept) {
            writes.iter().for_each(|write| apply(&mut self.safe, write));
        }
        self.now = self.safe.clone();
    }

    pub fn page(&self, session: SessionId, after: EventId, count: u32) -> Option<Page> {
        let row = self.now.sessions.get(&session)?;
        let events = self.now.events.range((session, after.seq + 1)..=(session, u64::MAX));
        Some(Page {
            events: events.take(count as usize).map(|(_, event)| event.clone()).collect(),
            last: row.ledger.last(),
            first: row.ledger.first(),
            running: row.running.map(|_| row.turn()),
        })
    }
}

fn apply(tables: &mut Tables, write: &Write) {
    match write {
        Write::Session(session) => {
            session.check_invariants();
            tables.sessions.insert(session.id, (**session).clone());
        }
        Write::Forget(id) => {
            tables.sessions.remove(id);
            tables.states.remove(id);
            tables.events.retain(|(session, _), _| session != id);
            tables.endings.retain(|(session, _), _| session != id);
            tables.keys.retain(|_, key| key.session != *id);
        }
        Write::Events(id, events) => {
            for event in events {
                let before = tables.events.insert((*id, event.id.seq), event.clone());
                assert!(before.is_none(), "an event was written twice");
            }
        }
        Write::Ending(id, ending) => {
            tables.endings.insert((*id, ending.turn), (**ending).clone());
        }
        Write::State(id, state) => {
            tables.states.insert(*id, state.clone());
        }
        Write::Key(key) => {
            tables.keys.insert(key.asked.key.0, *key);
        }
        Write::DropEvents(id, below) => {
            tables.events.retain(|(session, seq), _| session != id || seq >= below);
        }
        Write::DropEnding(id, turn) => {
            tables.endings.remove(&(*id, *turn));
        }
        Write::DropKey(key) => {
            tables.keys.remove(&key.0);
        }
    }
}
