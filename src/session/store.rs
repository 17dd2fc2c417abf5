//! What passes between the decisions and the store.
//!
//! The store is a shell: in one transaction it loads the rows that an order names, asks for the
//! decision, and carries out its writes. What the decision replies is told when the transaction has
//! lasted at its level. So the check of a claim and the claim are one step, whoever else has the
//! database open, and everything that can go wrong between two writes is the database's to undo.
//!
//! ```text
//!   order ─▶ load Found ─▶ decide ─▶ Step { level, writes, reply } ─▶ write, commit at level ─▶ reply
//! ```

use super::claim::{MessageOrder, StartOrder, WakeOrder};
use super::end::{AppendOrder, EndOrder};
use super::event::Event;
use super::id::SessionId;
use super::key::KeyRecord;
use super::look::{CancelOrder, DeleteOrder, LookOrder};
use super::record::{Ending, Session};
use super::token::Digest;

/// What a crash may take back.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// There is nothing to write.
    #[default]
    Unchanged,
    /// It survives the death of the process (`synchronous=NORMAL`).
    Process,
    /// It survives the loss of power (`synchronous=FULL`). So does everything written before it.
    Power,
}

/// What is to be done, how it must last, and what is told then.
#[derive(Clone, Debug)]
#[must_use = "nothing is written until the store writes it"]
pub struct Step<T> {
    /// How the writes must last before the reply is told.
    pub level: Level,
    /// In this order, all or none.
    pub writes: Vec<Write>,
    /// What is told.
    pub reply: T,
}

impl<T> Step<T> {
    /// Nothing is to be written.
    pub(super) fn unchanged(reply: T) -> Self {
        Self { level: Level::Unchanged, writes: Vec::new(), reply }
    }
}

/// One change of the store.
#[derive(Clone, Debug)]
pub enum Write {
    /// The session's row, new or in place of the old one.
    Session(Box<Session>),
    /// The session and everything of it: events, endings, state, keys.
    Forget(SessionId),
    /// New events of a session.
    Events(SessionId, Vec<Event>),
    /// How an attempt ended, in place of what is kept of the same turn.
    Ending(SessionId, Box<Ending>),
    /// What the app wants kept: JSON; `null` is none.
    State(SessionId, String),
    /// A key, in place of the same one.
    Key(KeyRecord),
    /// Events below this number go.
    DropEvents(SessionId, u64),
    /// How this turn ended goes.
    DropEnding(SessionId, u64),
    /// The key goes.
    DropKey(Digest),
}

/// What is loaded for a decision.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The session: that of the order, or that of the key.
    pub session: Option<Session>,
    /// The key's row.
    pub key: Option<KeyRecord>,
    /// How a turn of the session ended: which one says [`Load::ending`].
    pub ending: Option<Ending>,
}

/// What an order needs loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// This session; `None`: that of the key's row.
    pub session: Option<SessionId>,
    /// The row of this key.
    pub key: Option<Digest>,
    /// How this turn ended.
    pub ending: EndingOf,
}

/// Which ending an order needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndingOf {
    /// None.
    Nothing,
    /// That of the turn in the key's row.
    Key,
    /// That of [`Session::last_turn`].
    Last,
    /// That of this turn.
    Turn(u64),
}

impl Session {
    /// The turn that was tried last: the one whose ending tells how it went.
    pub fn last_turn(&self) -> u64 {
        if self.attempts > 0 { self.turn() } else { self.committed }
    }
}

impl StartOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        let key = self.asked.map(|asked| asked.key);
        Load { session: None, key, ending: EndingOf::Key }
    }
}

impl MessageOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        let key = self.asked.map(|asked| asked.key);
        Load { session: SessionId::parse(&self.session), key, ending: EndingOf::Key }
    }
}

impl WakeOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        Load { session: SessionId::parse(&self.session), key: None, ending: EndingOf::Nothing }
    }
}

impl AppendOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        let ending = EndingOf::Turn(self.attempt.turn);
        Load { session: Some(self.attempt.session), key: None, ending }
    }
}

impl EndOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        let ending = EndingOf::Turn(self.attempt.turn);
        Load { session: Some(self.attempt.session), key: None, ending }
    }
}

impl LookOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        let ending = self.turn.map_or(EndingOf::Nothing, EndingOf::Turn);
        Load { session: SessionId::parse(&self.session), key: None, ending }
    }
}

impl CancelOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        Load { session: SessionId::parse(&self.session), key: None, ending: EndingOf::Last }
    }
}

impl DeleteOrder {
    /// What it needs.
    pub fn load(&self) -> Load {
        Load { session: SessionId::parse(&self.session), key: None, ending: EndingOf::Nothing }
    }
}
