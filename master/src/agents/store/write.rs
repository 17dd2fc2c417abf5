//! Carrying out what was decided.

use super::rows::{cause_name, closes_code, signed};
use super::trouble::Trouble;
use rip::session::{Ending, Event, KeyRecord, Session, SessionId, Write};
use rusqlite::{Connection, params};

/// Makes one change, in the transaction that the decision was made in.
pub fn apply(conn: &Connection, write: &Write) -> Result<(), Trouble> {
    match write {
        Write::Session(session) => put_session(conn, session),
        Write::Forget(id) => {
            let mut statement = conn.prepare_cached("DELETE FROM sessions WHERE id = ?1")?;
            statement.execute([id.as_bytes()])?;
            Ok(())
        }
        Write::Events(id, events) => put_events(conn, *id, events),
        Write::Ending(id, ending) => put_ending(conn, *id, ending),
        Write::State(id, state) if state == "null" => {
            let mut statement = conn.prepare_cached("DELETE FROM states WHERE session = ?1")?;
            statement.execute([id.as_bytes()])?;
            Ok(())
        }
        Write::State(id, state) => {
            let mut statement = conn.prepare_cached("REPLACE INTO states VALUES(?1, ?2)")?;
            statement.execute(params![id.as_bytes(), state])?;
            Ok(())
        }
        Write::Key(key) => put_key(conn, key),
        Write::DropEvents(id, below) => drop_events(conn, *id, *below),
        Write::DropEnding(id, turn) => {
            let mut statement =
                conn.prepare_cached("DELETE FROM endings WHERE session = ?1 AND turn = ?2")?;
            statement.execute(params![id.as_bytes(), signed(*turn)])?;
            Ok(())
        }
        Write::DropKey(digest) => {
            let mut statement = conn.prepare_cached("DELETE FROM keys WHERE digest = ?1")?;
            statement.execute([&digest.0])?;
            Ok(())
        }
    }
}

fn put_session(conn: &Connection, session: &Session) -> Result<(), Trouble> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO sessions(id, scope, touched, committed, attempts, token_nonce, token_digest, \
         previous_digest, previous_until, resume_nonce, resume_digest, is_parked, timer_at, \
         timer_failures, timer_wake, run_attempt, run_owner, run_cause, run_cancelling, ledger, \
         event_bytes, turn_start) \
         VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22) \
         ON CONFLICT(id) DO UPDATE SET touched=?3, committed=?4, attempts=?5, token_nonce=?6, \
         token_digest=?7, previous_digest=?8, previous_until=?9, resume_nonce=?10, \
         resume_digest=?11, is_parked=?12, timer_at=?13, timer_failures=?14, timer_wake=?15, \
         run_attempt=?16, run_owner=?17, run_cause=?18, run_cancelling=?19, ledger=?20, \
         event_bytes=?21, turn_start=?22",
    )?;
    let (previous, timer, running) = (session.previous, &session.timer, session.running);
    statement.execute(params![
        session.id.as_bytes(),
        session.scope,
        signed(session.touched.0),
        signed(session.committed),
        session.attempts,
        session.token.seed.nonce.0,
        session.token.digest.0,
        previous.map(|previous| previous.digest.0),
        previous.map(|previous| signed(previous.until.0)),
        session.resume.seed.nonce.0,
        session.resume.digest.0,
        session.is_parked,
        timer.as_ref().map(|timer| signed(timer.at.0)),
        timer.as_ref().map(|timer| timer.failures),
        timer.as_ref().map(|timer| timer.wake.as_str()),
        running.map(|running| running.attempt),
        running.map(|running| running.owner.0),
        running.map(|running| cause_name(running.cause)),
        running.map(|running| running.is_cancelling),
        session.ledger.encode(),
        signed(session.event_bytes),
        signed(session.turn_start),
    ])?;
    Ok(())
}

/// The age of what a session has told, where nothing is known of it.
pub const AGE: &str = "UPDATE sessions SET oldest = coalesce( \
     (SELECT at FROM events WHERE session = ?1 AND seq < ?3 ORDER BY seq LIMIT 1), ?2) \
     WHERE id = ?1 AND oldest IS NULL";
/// An ending that is not a session's last one any more.
pub const PASS: &str =
    "UPDATE endings SET is_past = 1 WHERE session = ?1 AND turn = ?2 AND is_past = 0";

fn put_events(conn: &Connection, id: SessionId, events: &[Event]) -> Result<(), Trouble> {
    let mut statement =
        conn.prepare_cached("INSERT INTO events VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)")?;
    for event in events {
        statement.execute(params![
            id.as_bytes(),
            signed(event.id.seq),
            event.id.epoch.0,
            signed(event.turn),
            &*event.data,
            event.seed.map(|seed| signed(seed.turn)),
            event.seed.map(|seed| seed.nonce.0),
            closes_code(event.closes),
            signed(event.at.0),
        ])?;
    }
    let Some(first) = events.first() else { return Ok(()) };
    // The event that was the last one until now may go with its age; new ones are younger.
    let mut statement = conn.prepare_cached(AGE)?;
    statement.execute(params![id.as_bytes(), signed(first.at.0), signed(first.id.seq)])?;
    Ok(())
}

fn drop_events(conn: &Connection, id: SessionId, below: u64) -> Result<(), Trouble> {
    let mut statement =
        conn.prepare_cached("DELETE FROM events WHERE session = ?1 AND seq < ?2")?;
    statement.execute(params![id.as_bytes(), signed(below)])?;
    let mut statement = conn.prepare_cached(
        "UPDATE sessions SET oldest = (SELECT CASE WHEN count(*) > 1 THEN min(at) END FROM \
         (SELECT at FROM events WHERE session = ?1 ORDER BY seq LIMIT 2)) WHERE id = ?1",
    )?;
    statement.execute([id.as_bytes()])?;
    Ok(())
}

fn put_ending(conn: &Connection, id: SessionId, ending: &Ending) -> Result<(), Trouble> {
    let mut statement = conn
        .prepare_cached("REPLACE INTO endings VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,0)")?;
    statement.execute(params![
        id.as_bytes(),
        signed(ending.turn),
        ending.attempt,
        ending.status,
        ending.is_committed,
        ending.answer,
        signed(ending.token.turn),
        ending.token.nonce.0,
        signed(ending.first),
        ending.last.epoch.0,
        signed(ending.last.seq),
        signed(ending.at.0),
    ])?;
    let mut statement = conn.prepare_cached(PASS)?;
    // Turns end in their order, so only the one before it can be the last one yet.
    let before = signed(ending.turn.saturating_sub(1));
    statement.execute(params![id.as_bytes(), before])?;
    Ok(())
}

fn put_key(conn: &Connection, key: &KeyRecord) -> Result<(), Trouble> {
    let mut statement = conn.prepare_cached("REPLACE INTO keys VALUES(?1,?2,?3,?4,?5,?6,?7)")?;
    statement.execute(params![
        key.asked.key.0,
        key.asked.fingerprint.0,
        key.session.as_bytes(),
        signed(key.turn),
        key.attempt,
        key.presented.map(|digest| digest.0),
        signed(key.until.0),
    ])?;
    Ok(())
}
