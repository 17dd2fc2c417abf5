//! From rows to what decisions are made on. A row that makes no sense is an error, never a panic.

use super::trouble::Trouble;
use rip::limits::EVENT_PAGE_BYTES;
use rip::session::event::Closes;
use rip::session::prune::Old;
use rip::session::store::EndingOf;
use rip::session::viewer::Page;
use rip::session::{
    Asked, Cause, Digest, Ending, Epoch, Event, EventId, Found, KeyRecord, Kind, Ledger, Load,
    Nonce, Previous, Running, Seed, Session, SessionId, Stamp, Timer,
};
use rip::time::UnixMillis;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The columns of [`session`], in their order.
pub const SESSION: &str = "id, scope, touched, committed, attempts, token_nonce, token_digest, \
    previous_digest, previous_until, resume_nonce, resume_digest, is_parked, timer_at, \
    timer_failures, timer_wake, run_attempt, run_owner, run_cause, run_cancelling, ledger, \
    event_bytes, turn_start";

/// What an order needs.
pub fn load(conn: &Connection, load: &Load) -> Result<Found, Trouble> {
    let key = match load.key {
        Some(digest) => key(conn, &digest)?,
        None => None,
    };
    let id = load.session.or(key.map(|key| key.session));
    let session = match id {
        Some(id) => session(conn, id)?,
        None => None,
    };
    let turn = match load.ending {
        EndingOf::Nothing => None,
        EndingOf::Key => key.map(|key| key.turn),
        EndingOf::Last => session.as_ref().map(Session::last_turn),
        EndingOf::Turn(turn) => Some(turn),
    };
    let ending = match id.zip(turn) {
        Some((id, turn)) => ending(conn, id, turn)?,
        None => None,
    };
    Ok(Found { session, key, ending })
}

/// A session.
pub fn session(conn: &Connection, id: SessionId) -> Result<Option<Session>, Trouble> {
    sessions(conn, "WHERE id = ?1", [id.as_bytes()])?.pop().map(|(_, session)| session).transpose()
}

/// How many sessions there are.
pub fn session_count(conn: &Connection) -> Result<u64, Trouble> {
    let mut statement = conn.prepare_cached("SELECT count(*) FROM sessions")?;
    Ok(statement.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// A row of the sessions: what it says is its name, and what comes of it.
pub type Named = (Vec<u8>, Result<Session, Trouble>);

/// The sessions that a condition holds for.
pub fn sessions(
    conn: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Named>, Trouble> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {SESSION} FROM sessions {condition}"))?;
    let rows = statement.query_map(values, |row| Ok((row.get(0)?, of_session(row))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn of_session(row: &Row<'_>) -> Result<Session, Trouble> {
    let id = SessionId::new(bytes(row, 0)?);
    let committed = count(row, 3)?;
    let stamp = |kind, turn, nonce, digest| -> Result<Stamp, Trouble> {
        let seed = Seed { kind, turn, nonce: Nonce(bytes(row, nonce)?) };
        Ok(Stamp { seed, digest: Digest(bytes(row, digest)?) })
    };
    let previous = match row.get::<_, Option<Fixed<32>>>(7)? {
        Some(Fixed(digest)) => {
            Some(Previous { digest: Digest(digest), until: UnixMillis(count(row, 8)?) })
        }
        None => None,
    };
    let timer = match row.get::<_, Option<i64>>(12)? {
        Some(_) => Some(Timer {
            at: UnixMillis(count(row, 12)?),
            failures: row.get(13)?,
            wake: row.get(14)?,
        }),
        None => None,
    };
    let running = match row.get::<_, Option<u32>>(15)? {
        Some(attempt) => Some(Running {
            attempt,
            owner: Epoch(row.get(16)?),
            cause: cause(row.get_ref(17)?)?,
            is_cancelling: row.get(18)?,
        }),
        None => None,
    };
    let ledger = Ledger::decode(&row.get::<_, String>(19)?);
    let session = Session {
        id,
        scope: row.get(1)?,
        touched: UnixMillis(count(row, 2)?),
        committed,
        attempts: row.get(4)?,
        token: stamp(Kind::Continuation, committed.saturating_add(1), 5, 6)?,
        previous,
        resume: stamp(Kind::Resume, 0, 9, 10)?,
        is_parked: row.get(11)?,
        timer,
        running,
        ledger: ledger.ok_or_else(|| Trouble::row(format!("{id}: its events make no sense")))?,
        event_bytes: count(row, 20)?,
        turn_start: count(row, 21)?,
    };
    match session.contradiction() {
        Some(what) => Err(Trouble::row(format!("{id}: {what}"))),
        None => Ok(session),
    }
}

/// What the app wanted kept.
pub fn state(conn: &Connection, id: SessionId) -> Result<Option<String>, Trouble> {
    let mut statement = conn.prepare_cached("SELECT state FROM states WHERE session = ?1")?;
    Ok(statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
}

/// How a turn ended.
pub fn ending(conn: &Connection, id: SessionId, turn: u64) -> Result<Option<Ending>, Trouble> {
    let mut statement = conn.prepare_cached(
        "SELECT turn, attempt, status, is_committed, answer, seed_turn, seed_nonce, first, \
         last_epoch, last_seq, at FROM endings WHERE session = ?1 AND turn = ?2",
    )?;
    // No turn has a number that a row cannot hold.
    let turn = i64::try_from(turn).unwrap_or(-1);
    let row = statement.query_row(params![id.as_bytes(), turn], |row| Ok(of_ending(row)));
    row.optional()?.transpose()
}

fn of_ending(row: &Row<'_>) -> Result<Ending, Trouble> {
    Ok(Ending {
        turn: count(row, 0)?,
        attempt: row.get(1)?,
        status: row.get(2)?,
        is_committed: row.get(3)?,
        answer: row.get(4)?,
        token: Seed {
            kind: Kind::Continuation,
            turn: count(row, 5)?,
            nonce: Nonce(bytes(row, 6)?),
        },
        first: count(row, 7)?,
        last: EventId::new(Epoch(row.get(8)?), count(row, 9)?),
        at: UnixMillis(count(row, 10)?),
    })
}

/// A key.
pub fn key(conn: &Connection, digest: &Digest) -> Result<Option<KeyRecord>, Trouble> {
    let mut statement = conn.prepare_cached(
        "SELECT digest, fingerprint, session, turn, attempt, presented, until FROM keys \
         WHERE digest = ?1",
    )?;
    let row = statement.query_row([&digest.0], |row| Ok(of_key(row)));
    row.optional()?.transpose()
}

/// Up to `limit` keys whose time is over by `now`, those first that were over first.
pub fn old_keys(conn: &Connection, now: UnixMillis, limit: u32) -> Result<Vec<KeyRecord>, Trouble> {
    let mut statement = conn.prepare_cached(
        "SELECT digest, fingerprint, session, turn, attempt, presented, until FROM keys \
         WHERE until <= ?1 ORDER BY until LIMIT ?2",
    )?;
    let rows = statement.query_map(params![signed(now.0), limit], |row| Ok(of_key(row)))?;
    rows.collect::<Result<Vec<_>, _>>()?.into_iter().collect()
}

fn of_key(row: &Row<'_>) -> Result<KeyRecord, Trouble> {
    let presented = row.get::<_, Option<Fixed<32>>>(5)?;
    Ok(KeyRecord {
        asked: Asked { key: Digest(bytes(row, 0)?), fingerprint: Digest(bytes(row, 1)?) },
        session: SessionId::new(bytes(row, 2)?),
        turn: count(row, 3)?,
        attempt: row.get(4)?,
        presented: presented.map(|Fixed(digest)| Digest(digest)),
        until: UnixMillis(count(row, 6)?),
    })
}

/// Up to `count` events of a session behind `after`, with where the session stands; `None` when there
/// is none. They are of one moment if `conn` is in a transaction.
pub fn page(
    conn: &Connection,
    id: SessionId,
    after: EventId,
    limit: u32,
) -> Result<Option<Page>, Trouble> {
    let Some(session) = session(conn, id)? else { return Ok(None) };
    let mut statement = conn.prepare_cached(
        "SELECT seq, epoch, turn, data, seed_turn, seed_nonce, closes, at FROM events \
         WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![id.as_bytes(), signed(after.seq), limit])?;
    let (mut events, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event = of_event(row)?;
        size += event.byte_count();
        if size > EVENT_PAGE_BYTES && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    Ok(Some(Page {
        events,
        last: session.ledger.last(),
        first: session.ledger.first(),
        running: session.running.map(|_| session.turn()),
    }))
}

/// The oldest events of a session from `first` on, as pruning sees them: their texts are not read.
pub fn oldest(
    conn: &Connection,
    id: SessionId,
    first: u64,
    limit: u32,
) -> Result<Vec<Old>, Trouble> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, octet_length(data), seed_nonce IS NOT NULL, at FROM events \
         WHERE session = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![id.as_bytes(), signed(first), limit])?;
    let mut oldest = Vec::new();
    while let Some(row) = rows.next()? {
        let length = usize::try_from(count(row, 1)?).unwrap_or(usize::MAX);
        let bytes = Event::byte_count_of(length, row.get(2)?) as u64;
        oldest.push(Old { seq: count(row, 0)?, bytes, at: UnixMillis(count(row, 3)?) });
    }
    Ok(oldest)
}

fn of_event(row: &Row<'_>) -> Result<Event, Trouble> {
    let seed = match row.get::<_, Option<Fixed<16>>>(5)? {
        Some(Fixed(nonce)) => {
            Some(Seed { kind: Kind::Continuation, turn: count(row, 4)?, nonce: Nonce(nonce) })
        }
        None => None,
    };
    Ok(Event {
        id: EventId::new(Epoch(row.get(1)?), count(row, 0)?),
        turn: count(row, 2)?,
        data: row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?.into(),
        seed,
        closes: match row.get(6)? {
            0_u8 => Closes::Nothing,
            1 => Closes::Attempt,
            2 => Closes::Turn,
            other => return Err(Trouble::row(format!("an event closes {other}"))),
        },
        at: UnixMillis(count(row, 7)?),
    })
}

/// How a [`Closes`] is stored.
pub const fn closes_code(closes: Closes) -> u8 {
    match closes {
        Closes::Nothing => 0,
        Closes::Attempt => 1,
        Closes::Turn => 2,
    }
}

/// How a [`Cause`] is stored.
pub const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Message => "message",
        Cause::Start => "start",
        Cause::Timer => "timer",
        Cause::Wake => "wake",
    }
}

fn cause(value: ValueRef<'_>) -> Result<Cause, Trouble> {
    Ok(match value.as_str().map_err(rusqlite::Error::from)? {
        "message" => Cause::Message,
        "start" => Cause::Start,
        "timer" => Cause::Timer,
        "wake" => Cause::Wake,
        other => return Err(Trouble::row(format!("a turn was begun by {other:?}"))),
    })
}

/// A number as a row holds it. Beyond what fits it is the largest there is: a moment that never comes.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, index: usize) -> Result<u64, Trouble> {
    let number: i64 = row.get(index)?;
    u64::try_from(number).map_err(|_| Trouble::row(format!("{number} where something is counted")))
}

fn bytes<const N: usize>(row: &Row<'_>, index: usize) -> Result<[u8; N], Trouble> {
    Ok(row.get::<_, Fixed<N>>(index)?.0)
}

/// Exactly `N` bytes.
pub struct Fixed<const N: usize>(pub [u8; N]);

impl<const N: usize> FromSql for Fixed<N> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let blob = value.as_blob()?;
        let size = blob.len();
        let fixed = blob.try_into();
        fixed
            .map(Self)
            .map_err(|_| FromSqlError::InvalidBlobSize { expected_size: N, blob_size: size })
    }
}
