//! Who runs the next turn: the checks and the claim, which are one step.

use super::event_id::{Epoch, EventId};
use super::id::SessionId;
use super::key::{Asked, KeyRecord};
use super::ledger::Ledger;
use super::record::{Cause, Ending, Running, Session, after};
use super::refusal::Refusal;
use super::store::{Found, Level, Step, Write};
use super::token::{Digest, Kind, Nonce, Seed, Token, TokenKey};
use crate::limits::IDEMPOTENCY_KEEP;
use crate::time::UnixMillis;

/// By what right somebody does something with a session.
#[derive(Clone, Debug)]
pub enum Right {
    /// A token, which must be the current one. `None`: none was presented.
    Token(Option<Token>),
    /// A WebSocket that is bound to the session: it showed its token before, or started it.
    Bound,
}

/// To start a session, or to start it again where its idempotency key says that it exists.
#[derive(Clone, Debug)]
pub struct StartOrder {
    /// Who claims it.
    pub owner: Epoch,
    /// The name of a new session.
    pub session: SessionId,
    /// The site, mount and app.
    pub scope: String,
    /// Makes its first token.
    pub token: Nonce,
    /// Makes its resume token.
    pub resume: Nonce,
    /// The request's idempotency key.
    pub asked: Option<Asked>,
    /// The client hears of the claim itself: by a 202, or by the head of a stream.
    pub is_told: bool,
}

/// To run the next turn of a session.
#[derive(Clone, Debug)]
pub struct MessageOrder {
    /// Who claims it.
    pub owner: Epoch,
    /// The session's name, as the client wrote it.
    pub session: String,
    /// The site, mount and app.
    pub scope: String,
    /// By what right.
    pub right: Right,
    /// The request's idempotency key.
    pub asked: Option<Asked>,
    /// The client hears of the claim itself: by a 202, or by the head of a stream.
    pub is_told: bool,
}

/// To run a turn of a session that waits.
#[derive(Clone, Debug)]
pub struct WakeOrder {
    /// Who claims it.
    pub owner: Epoch,
    /// The session's name, as the client wrote it.
    pub session: String,
    /// The site, mount and app; `None` for a timer, which knows its session.
    pub scope: Option<String>,
    /// What the app is told: a JSON object. `None`: the timer, if it is due.
    pub wake: Option<String>,
    /// The client hears of the claim itself, by a 202.
    pub is_told: bool,
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub enum Claim {
    /// The turn is this request's to run.
    Run(Run),
    /// The request was committed before: nothing runs.
    Replay {
        /// The session.
        session: SessionId,
        /// The stored outcome.
        ending: Box<Ending>,
        /// The current token.
        token: Seed,
        /// The token that reads.
        resume: Seed,
    },
    /// Nothing happened.
    Refused(Refusal),
}

/// A turn that is claimed.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which one.
    pub attempt: Attempt,
    /// What began it.
    pub cause: Cause,
    /// No turn is committed yet: the client may not know the session's name and token.
    pub is_first: bool,
    /// Its last event; the turn's own events follow.
    pub last: EventId,
    /// The token it was claimed with, which stays good unless it commits.
    pub token: Seed,
    /// The token that reads.
    pub resume: Seed,
    /// What the app is told of why it runs: JSON.
    pub wake: Option<String>,
}

/// One attempt of one turn, and who runs it: what every write of it must still find true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The session.
    pub session: SessionId,
    /// The turn.
    pub turn: u64,
    /// From 1.
    pub number: u32,
    /// The master.
    pub owner: Epoch,
}

/// Starts a session.
pub fn start(order: &StartOrder, found: Found, key: &TokenKey, now: UnixMillis) -> Step<Claim> {
    let known = found.key.zip(order.asked).filter(|(record, _)| is_kept(record, &found, now));
    let (Some((record, asked)), Some(session)) = (known, &found.session) else {
        return begin(order, key, now);
    };
    if record.asked.fingerprint != asked.fingerprint {
        return refused(Refusal::KeyReused);
    }
    if let Some(answer) = replay(&record, session, found.ending.as_ref()) {
        return answer;
    }
    if session.turn() != record.turn {
        // Another request took its turn with the token of its failed attempt.
        return refused(Refusal::StaleToken(session.id));
    }
    let session = session.clone();
    claim(session, order.owner, Cause::Start, Some((asked, None)), None, order.is_told, now)
}

/// Runs the next turn of a session.
pub fn message(order: &MessageOrder, found: Found, now: UnixMillis) -> Step<Claim> {
    let session = match known(&found, &order.session, &order.scope, now) {
        Ok(session) => session,
        Err(refusal) => return refused(refusal),
    };
    let presented = match &order.right {
        Right::Bound => None,
        Right::Token(None) => return refused(Refusal::MissingToken(session.id)),
        Right::Token(Some(token)) => Some(token.digest()),
    };
    let is_current = presented.is_none_or(|digest| digest == session.token.digest);
    let record = found.key.filter(|record| is_kept(record, &found, now));
    if let Some((record, asked)) = record.zip(order.asked) {
        // Who has the key but never had the token gets nothing.
        if !is_current && presented != record.presented {
            return refused(Refusal::StaleToken(session.id));
        }
        if record.asked.fingerprint != asked.fingerprint || record.session != session.id {
            return refused(Refusal::KeyReused);
        }
        if let Some(answer) = replay(&record, session, found.ending.as_ref()) {
            return answer;
        }
    }
    if !is_current {
        return refused(Refusal::StaleToken(session.id));
    }
    let cause = if session.committed == 0 { Cause::Start } else { Cause::Message };
    let asked = order.asked.map(|asked| (asked, Some(session.token.digest)));
    claim(session.clone(), order.owner, cause, asked, None, order.is_told, now)
}

/// Runs a turn of a session that waits. A timer that is not due, or whose session is busy, is refused:
/// it is asked again later.
pub fn wake(order: &WakeOrder, found: Found, now: UnixMillis) -> Step<Claim> {
    let scope = order.scope.as_deref();
    let scope = scope.or(found.session.as_ref().map(|session| session.scope.as_str()));
    let session = match known(&found, &order.session, scope.unwrap_or_default(), now) {
        Ok(session) => session,
        Err(refusal) => return refused(refusal),
    };
    let (cause, wake) = match (&order.wake, &session.timer) {
        _ if session.running.is_some() => {
            return refused(Refusal::InFlight { session: session.id, own_turn: None });
        }
        (Some(wake), _) if session.is_parked => (Cause::Wake, wake.clone()),
        (None, Some(timer)) if session.is_due(now) => (Cause::Timer, timer.wake.clone()),
        _ => return refused(Refusal::NotParked(session.id)),
    };
    claim(session.clone(), order.owner, cause, None, Some(wake), order.is_told, now)
}

/// The session called `name` in `scope`, while it lives.
pub(super) fn known<'f>(
    found: &'f Found,
    name: &str,
    scope: &str,
    now: UnixMillis,
) -> Result<&'f Session, Refusal> {
    let lives = |session: &&Session| {
        session.scope == scope
            && !session.is_closed(now)
            && SessionId::parse(name) == Some(session.id)
    };
    let session = found.session.as_ref().filter(lives);
    session.ok_or_else(|| Refusal::UnknownSession(name.to_owned()))
}

/// A key past its time is one that never was, but not while its turn runs.
fn is_kept(record: &KeyRecord, found: &Found, now: UnixMillis) -> bool {
    let runs = |session: &Session| runs(record, session);
    record.until > now || found.session.as_ref().is_some_and(runs)
}

fn runs(record: &KeyRecord, session: &Session) -> bool {
    let attempt = session.running.map(|running| running.attempt);
    session.id == record.session && session.turn() == record.turn && attempt == Some(record.attempt)
}

/// What the request of `record` gets if it runs or was committed; `None`: it came to nothing.
fn replay(record: &KeyRecord, session: &Session, ending: Option<&Ending>) -> Option<Step<Claim>> {
    if runs(record, session) {
        let own_turn = Some(record.turn);
        return Some(refused(Refusal::InFlight { session: session.id, own_turn }));
    }
    let ending = ending.filter(|ending| {
        ending.is_committed && (ending.turn, ending.attempt) == (record.turn, record.attempt)
    })?;
    Some(Step::unchanged(Claim::Replay {
        session: session.id,
        ending: Box::new(ending.clone()),
        token: session.token.seed,
        resume: session.resume.seed,
    }))
}

fn begin(order: &StartOrder, key: &TokenKey, now: UnixMillis) -> Step<Claim> {
    let session = Session {
        id: order.session,
        scope: order.scope.clone(),
        touched: now,
        committed: 0,
        attempts: 0,
        token: key.mint(Kind::Continuation, order.session, 1, order.token),
        previous: None,
        resume: key.mint(Kind::Resume, order.session, 0, order.resume),
        is_parked: false,
        timer: None,
        running: None,
        ledger: Ledger::new(),
        event_bytes: 0,
        turn_start: 1,
    };
    let asked = order.asked.map(|asked| (asked, None));
    claim(session, order.owner, Cause::Start, asked, None, order.is_told, now)
}

/// Claims the next turn of `session` unless one runs. With the key goes the token that was presented.
fn claim(
    mut session: Session,
    owner: Epoch,
    cause: Cause,
    asked: Option<(Asked, Option<Digest>)>,
    wake: Option<String>,
    is_told: bool,
    now: UnixMillis,
) -> Step<Claim> {
    if session.running.is_some() {
        return refused(Refusal::InFlight { session: session.id, own_turn: None });
    }
    let number = session.attempts.saturating_add(1);
    session.attempts = number;
    session.running = Some(Running { attempt: number, owner, cause, is_cancelling: false });
    session.touched = now;
    session.turn_start = session.ledger.last().seq + 1;
    if matches!(cause, Cause::Message | Cause::Start) {
        // The current token is used: the one before it has served.
        session.previous = None;
    }
    debug_assert_eq!(session.contradiction(), None);
    let run = Run {
        attempt: Attempt { session: session.id, turn: session.turn(), number, owner },
        cause,
        is_first: session.committed == 0,
        last: session.ledger.last(),
        token: session.token.seed,
        resume: session.resume.seed,
        wake,
    };
    let mut writes = Vec::with_capacity(2);
    if let Some((asked, presented)) = asked {
        writes.push(Write::Key(KeyRecord {
            asked,
            session: session.id,
            turn: run.attempt.turn,
            attempt: number,
            presented,
            until: after(now, IDEMPOTENCY_KEEP),
        }));
    }
    writes.insert(0, Write::Session(Box::new(session)));
    let level = if is_told { Level::Power } else { Level::Process };
    Step { level, writes, reply: Claim::Run(run) }
}

fn refused(refusal: Refusal) -> Step<Claim> {
    Step::unchanged(Claim::Refused(refusal))
}
