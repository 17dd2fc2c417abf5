//! The writes of a running turn: its events and its end.
//!
//! Each says which attempt it belongs to. If the session runs another one by now, or none, nothing is
//! written: a turn that was given up by others, or deleted, cannot commit any more.

use super::claim::Attempt;
use super::event::Event;
use super::event_id::{Epoch, EventId};
use super::failure::Failure;
use super::json::Object;
use super::outcome::{Outcome, State};
use super::record::{Cause, Ending, Previous, Session, Timer, after};
use super::store::{Found, Level, Step, Write};
use super::token::{Kind, Nonce, Seed, TokenKey};
use crate::limits::{PREVIOUS_TOKEN_KEEP, STORE_PAUSE_MAX, STORE_PAUSE_MIN};
use crate::time::UnixMillis;
use std::time::Duration;

/// Events of a turn.
#[derive(Clone, Debug)]
pub struct AppendOrder {
    /// Whose.
    pub attempt: Attempt,
    /// In their order; their numbers follow the session's last one.
    pub events: Vec<Event>,
}

/// What became of events.
#[derive(Clone, Debug)]
pub enum Appended {
    /// They are stored.
    Stored {
        /// Somebody wants the turn cancelled.
        is_cancelling: bool,
    },
    /// They are not: the turn is not this attempt's any more.
    Lost(Lost),
}

/// A turn that is not its runner's any more.
#[derive(Clone, Debug)]
pub enum Lost {
    /// It has ended so before.
    Ended(Box<Ending>),
    /// It was given up by others, or its session is gone.
    Taken,
}

/// The end of a turn.
#[derive(Clone, Debug)]
pub struct EndOrder {
    /// Whose.
    pub attempt: Attempt,
    /// Events that are not stored yet.
    pub events: Vec<Event>,
    /// How it ends.
    pub end: End,
    /// Makes the next token, if it commits.
    pub next: Nonce,
}

/// How a turn ends.
#[derive(Clone, Debug)]
pub enum End {
    /// It came to something.
    Outcome(Outcome, State),
    /// It came to nothing.
    Failed(Failure),
    /// The app refused it: its own answer goes to the client.
    Refused {
        /// Its status.
        status: u16,
        /// Nobody has heard of the session: there is none.
        is_unheard: bool,
    },
}

/// What became of a turn.
#[derive(Clone, Debug)]
pub enum Ended {
    /// It has ended.
    Stored {
        /// How, which is not always as it was ordered: a turn that is being cancelled is cancelled.
        ending: Box<Ending>,
        /// Its last event; `None`: the session is gone with the turn.
        event: Option<Event>,
        /// The answer is not the app's refusal, but this ending's.
        is_refused: bool,
    },
    /// It had ended before, or is not this attempt's any more.
    Lost(Lost),
}

/// Stores events.
pub fn append(order: AppendOrder, found: Found) -> Step<Appended> {
    let mut session = match owned(&order.attempt, found) {
        Ok(session) => session,
        Err(lost) => return Step::unchanged(Appended::Lost(lost)),
    };
    let is_cancelling = session.running.is_some_and(|running| running.is_cancelling);
    let mut writes = Vec::with_capacity(2);
    add(&mut session, order.events, &mut writes);
    writes.push(Write::Session(Box::new(session)));
    Step { level: Level::Process, writes, reply: Appended::Stored { is_cancelling } }
}

/// Ends a turn.
pub fn end(order: EndOrder, found: Found, key: &TokenKey, now: UnixMillis) -> Step<Ended> {
    let mut session = match owned(&order.attempt, found) {
        Ok(session) => session,
        Err(lost) => return Step::unchanged(Ended::Lost(lost)),
    };
    let is_cancelling = session.running.is_some_and(|running| running.is_cancelling);
    let mut end = order.end;
    if is_cancelling {
        end = End::Outcome(Outcome::Cancelled, State::Same);
    }
    if let End::Refused { status, is_unheard: true } = end {
        let ending = Box::new(refused(&session, status, now));
        return Step {
            level: Level::Process,
            writes: vec![Write::Forget(session.id)],
            reply: Ended::Stored { ending, event: None, is_refused: true },
        };
    }
    let mut writes = Vec::with_capacity(5);
    add(&mut session, order.events, &mut writes);
    let is_refused = matches!(end, End::Refused { .. });
    let (ending, event) =
        conclude(&mut session, end, order.next, order.attempt, &mut writes, key, now);
    let is_heard = ending.is_committed || !is_refused && session.committed == 0;
    let level = if is_heard { Level::Power } else { Level::Process };
    Step { level, writes, reply: Ended::Stored { ending, event: Some(event), is_refused } }
}

/// Ends the turn that runs if nobody runs it: its master is gone, or knows nothing of it (a claim whose
/// reply was lost). `by` writes its last event. `None`: no turn runs, or somebody runs it.
pub fn interrupt(
    mut session: Session,
    is_orphan: impl Fn(&Attempt) -> bool,
    by: Epoch,
    key: &TokenKey,
    now: UnixMillis,
) -> Option<Step<Event>> {
    let running = session.running?;
    let (number, turn) = (running.attempt, session.turn());
    if !is_orphan(&Attempt { session: session.id, turn, number, owner: running.owner }) {
        return None;
    }
    let end = if running.is_cancelling {
        End::Outcome(Outcome::Cancelled, State::Same)
    } else {
        End::Failed(Failure::Interrupted)
    };
    let attempt = Attempt { session: session.id, turn, number, owner: by };
    let mut writes = Vec::with_capacity(3);
    // An interrupted turn neither commits nor takes a token.
    let unused = Nonce([0; 16]);
    let (_, event) = conclude(&mut session, end, unused, attempt, &mut writes, key, now);
    Some(Step { level: Level::Process, writes, reply: event })
}

/// The pause before the end of a turn that could not be stored is tried again.
pub(super) fn store_pause(failures: u32) -> Duration {
    STORE_PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(STORE_PAUSE_MAX)
}

/// The session while it runs `attempt`.
fn owned(attempt: &Attempt, found: Found) -> Result<Session, Lost> {
    let is_own = |session: &Session| {
        let running = session.running.map(|running| (running.attempt, running.owner));
        session.turn() == attempt.turn && running == Some((attempt.number, attempt.owner))
    };
    if let Some(session) = found.session.filter(is_own) {
        return Ok(session);
    }
    let is_own = |ending: &Ending| (ending.turn, ending.attempt) == (attempt.turn, attempt.number);
    Err(match found.ending.filter(is_own) {
        Some(ending) => Lost::Ended(Box::new(ending)),
        None => Lost::Taken,
    })
}

fn add(session: &mut Session, events: Vec<Event>, writes: &mut Vec<Write>) {
    let Some(last) = events.last().map(|event| event.id) else { return };
    session.ledger.extend(last);
    session.event_bytes += events.iter().map(|event| event.byte_count() as u64).sum::<u64>();
    writes.push(Write::Events(session.id, events));
}

/// Ends the running turn of `session` as `end` says; the writes make it so.
fn conclude(
    session: &mut Session,
    end: End,
    next: Nonce,
    attempt: Attempt,
    writes: &mut Vec<Write>,
    key: &TokenKey,
    now: UnixMillis,
) -> (Box<Ending>, Event) {
    let id = session.id;
    let turn = session.turn();
    let cause = session.running.take().map(|running| running.cause);
    let number = session.ledger.last().seq + 1;
    let event_id = EventId::new(session.ledger.epoch_for(attempt.owner), number);
    session.touched = now;
    let (status, answer, event, is_committed) = match end {
        End::Outcome(outcome, state) => {
            if outcome.commits() {
                commit(session, &outcome, next, key, now);
                if let State::New(state) = state {
                    writes.push(Write::State(id, state));
                }
            }
            let token = session.token.seed;
            let event = Event::outcome(event_id, turn, now, id, &outcome, token);
            let answer = outcome.write(id, Object::new()).open();
            (200, answer, event, outcome.commits())
        }
        End::Failed(failure) => {
            let heard = (session.committed == 0).then_some((id, session.token.seed));
            let event = Event::error(event_id, turn, now, &failure, heard);
            (failure.status(), failure.answer(id), event, false)
        }
        End::Refused { status, .. } => {
            let failure = Failure::Refused(status);
            let heard = (session.committed == 0).then_some((id, session.token.seed));
            let event = Event::error(event_id, turn, now, &failure, heard);
            (status, failure.answer(id), event, false)
        }
    };
    if !is_committed && cause == Some(Cause::Timer) {
        // The app does not want it, or it is tried again later.
        let is_unwanted = matches!(status, 400..=499);
        let timer = session.timer.take().filter(|_| !is_unwanted);
        session.timer = timer.map(|timer| timer.postponed(now));
    }
    let ending = Box::new(Ending {
        turn,
        attempt: attempt.number,
        status,
        is_committed,
        answer,
        token: session.token.seed,
        first: session.turn_start,
        last: event_id,
        at: now,
    });
    writes.push(Write::Ending(id, ending.clone()));
    add(session, vec![event.clone()], writes);
    debug_assert_eq!(session.contradiction(), None);
    writes.push(Write::Session(Box::new(session.clone())));
    (ending, event)
}

/// The token rotates: from here on the old one reads at most.
fn commit(session: &mut Session, outcome: &Outcome, next: Nonce, key: &TokenKey, now: UnixMillis) {
    let until = after(now, PREVIOUS_TOKEN_KEEP);
    session.previous = Some(Previous { digest: session.token.digest, until });
    session.committed = session.turn();
    session.attempts = 0;
    session.token = key.mint(Kind::Continuation, session.id, session.turn(), next);
    session.is_parked = matches!(outcome, Outcome::Parked { .. });
    session.timer = match outcome {
        Outcome::Parked { until: Some(at), .. } => {
            let wake = outcome.wake().unwrap_or_else(|| "{}".to_owned());
            Some(Timer { at: *at, failures: 0, wake })
        }
        _ => None,
    };
}

/// How a turn ends whose session nobody has heard of.
fn refused(session: &Session, status: u16, now: UnixMillis) -> Ending {
    let last = session.ledger.last();
    let token: Seed = session.token.seed;
    Ending {
        turn: session.turn(),
        attempt: session.attempts,
        status,
        is_committed: false,
        answer: Failure::Refused(status).answer(session.id),
        token,
        first: session.turn_start,
        last,
        at: now,
    }
}
