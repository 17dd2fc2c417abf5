//! Looking at a session, cancelling its turn, and deleting it.

use super::access::Access;
use super::claim::{Right, known};
use super::event_id::{Epoch, EventId};
use super::id::SessionId;
use super::ledger::Ledger;
use super::record::{Ending, Session};
use super::refusal::Refusal;
use super::store::{Found, Level, Step, Write};
use super::token::Seed;
use crate::time::UnixMillis;

/// To read a session.
#[derive(Clone, Debug)]
pub struct LookOrder {
    /// The session's name, as the client wrote it.
    pub session: String,
    /// The site, mount and app.
    pub scope: String,
    /// By what right.
    pub access: Access,
    /// The turn that is asked for.
    pub turn: Option<u64>,
}

/// A session as a reader may see it.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub id: SessionId,
    /// `idle`, `running`, `parked` or `closed`.
    pub status: &'static str,
    /// The turn that runs, else the one that was tried last.
    pub turn: u64,
    /// It runs.
    pub running: Option<Epoch>,
    /// Which cursors are good.
    pub ledger: Ledger,
    /// The number of the first event of that turn's last attempt.
    pub turn_start: u64,
    /// When the session is forgotten.
    pub expires_at: UnixMillis,
    /// What the turn that was asked for has: the numbers of its first and its last event, while they
    /// are remembered.
    pub asked: Option<(u64, u64)>,
    /// The current token; only a reader who presented it, or may bind to it, is told.
    pub token: Seed,
    /// The token that reads.
    pub resume: Seed,
    /// The reader presented the current token: it may write.
    pub may_write: bool,
}

impl View {
    /// Its last event.
    pub fn last(&self) -> EventId {
        self.ledger.last()
    }
}

/// To cancel the running turn.
#[derive(Clone, Debug)]
pub struct CancelOrder {
    /// The session's name, as the client wrote it.
    pub session: String,
    /// The site, mount and app.
    pub scope: String,
    /// By what right.
    pub right: Right,
}

/// What became of a cancellation.
#[derive(Clone, Debug)]
pub enum Cancel {
    /// The turn cannot commit any more.
    Cancelling {
        /// The session.
        session: SessionId,
        /// The turn.
        turn: u64,
        /// Who runs it and is to let go.
        owner: Epoch,
    },
    /// No turn runs; how the last one ended.
    Ended {
        /// The session.
        session: SessionId,
        /// The ending; `None` when it is forgotten.
        ending: Option<Box<Ending>>,
        /// The current token.
        token: Seed,
    },
    /// Nothing happened.
    Refused(Refusal),
}

/// To delete a session.
#[derive(Clone, Debug)]
pub struct DeleteOrder {
    /// The session's name, as the client wrote it.
    pub session: String,
    /// The site, mount and app.
    pub scope: String,
    /// By what right.
    pub right: Right,
}

/// What became of a deletion.
#[derive(Clone, Debug)]
pub enum Delete {
    /// There is no such session any more.
    Gone {
        /// Its name.
        session: SessionId,
        /// Who runs a turn of it and is to let go.
        owner: Option<Epoch>,
    },
    /// Nothing happened.
    Refused(Refusal),
}

/// Looks at a session. The current token, once it is seen, ends the reading of the one before it.
pub fn look(order: &LookOrder, found: Found, now: UnixMillis) -> Step<Result<View, Refusal>> {
    let name = SessionId::parse(&order.session);
    let session = found.session.filter(|session| {
        // What is past its time can be read until it is pruned.
        session.scope == order.scope && name == Some(session.id)
    });
    let Some(mut session) = session else {
        let refusal = Refusal::UnknownSession(order.session.clone());
        return Step::unchanged(Err(refusal));
    };
    let opening = match opens(&session, &order.access, now) {
        Ok(opening) => opening,
        Err(refusal) => return Step::unchanged(Err(refusal)),
    };
    let asked = found.ending.filter(|ending| Some(ending.turn) == order.turn);
    let view = View {
        id: session.id,
        status: session.status(now),
        turn: if session.running.is_some() { session.turn() } else { session.last_turn() },
        running: session.running.map(|running| running.owner),
        ledger: session.ledger.clone(),
        turn_start: session.turn_start,
        expires_at: session.expires_at(),
        asked: asked.map(|ending| (ending.first, ending.last.seq)),
        token: session.token.seed,
        resume: session.resume.seed,
        may_write: opening == Opening::Current,
    };
    if opening == Opening::Current && session.previous.take().is_some() {
        let writes = vec![Write::Session(Box::new(session))];
        return Step { level: Level::Process, writes, reply: Ok(view) };
    }
    Step::unchanged(Ok(view))
}

/// Cancels the running turn: from here on it cannot commit, whoever runs it.
pub fn cancel(order: &CancelOrder, found: Found, now: UnixMillis) -> Step<Cancel> {
    let session = match holds(&found, &order.session, &order.scope, &order.right, now) {
        Ok(session) => session,
        Err(refusal) => return Step::unchanged(Cancel::Refused(refusal)),
    };
    let Some(mut running) = session.running else {
        let last = session.last_turn();
        let ending = found.ending.as_ref().filter(|ending| ending.turn == last);
        return Step::unchanged(Cancel::Ended {
            session: session.id,
            ending: ending.cloned().map(Box::new),
            token: session.token.seed,
        });
    };
    let (id, turn, owner) = (session.id, session.turn(), running.owner);
    let reply = Cancel::Cancelling { session: id, turn, owner };
    if running.is_cancelling {
        return Step::unchanged(reply);
    }
    running.is_cancelling = true;
    let session = Session { running: Some(running), previous: None, ..session.clone() };
    Step { level: Level::Process, writes: vec![Write::Session(Box::new(session))], reply }
}

/// Deletes a session, also while a turn of it runs.
pub fn delete(order: &DeleteOrder, found: Found, now: UnixMillis) -> Step<Delete> {
    match holds(&found, &order.session, &order.scope, &order.right, now) {
        Ok(session) => {
            let owner = session.running.map(|running| running.owner);
            let reply = Delete::Gone { session: session.id, owner };
            Step { level: Level::Power, writes: vec![Write::Forget(session.id)], reply }
        }
        Err(refusal) => Step::unchanged(Delete::Refused(refusal)),
    }
}

/// The session, for who holds its current token.
fn holds<'f>(
    found: &'f Found,
    name: &str,
    scope: &str,
    right: &Right,
    now: UnixMillis,
) -> Result<&'f Session, Refusal> {
    let session = known(found, name, scope, now)?;
    match right {
        Right::Token(None) => Err(Refusal::MissingToken(session.id)),
        Right::Token(Some(token)) if token.digest() != session.token.digest => {
            Err(Refusal::StaleToken(session.id))
        }
        Right::Token(Some(_)) | Right::Bound => Ok(session),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Opening {
    Current,
    Reading,
}

/// Whether one of the tokens opens the session for reading.
fn opens(session: &Session, access: &Access, now: UnixMillis) -> Result<Opening, Refusal> {
    if access.is_empty() {
        return Err(Refusal::MissingToken(session.id));
    }
    let continuation = access.continuation.as_ref().map(|token| token.digest());
    if continuation == Some(session.token.digest) {
        return Ok(Opening::Current);
    }
    let previous = session.previous.filter(|previous| now < previous.until);
    let is_previous = continuation.is_some() && continuation == previous.map(|token| token.digest);
    let resume = access.resume.as_ref().map(|token| token.digest());
    if is_previous || resume == Some(session.resume.digest) {
        return Ok(Opening::Reading);
    }
    Err(Refusal::StaleToken(session.id))
}
