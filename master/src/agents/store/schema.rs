//! The tables.

use super::trouble::Trouble;
use rusqlite::Connection;

/// What is in the header of every database of ours.
pub const APPLICATION: i32 = 0x7269_7073;

/// The version of the tables below.
pub const VERSION: i32 = 1;

/// Makes the tables in a database that has none, or makes sure that they are ours.
///
/// # Errors
/// When it is somebody else's database, or of a later version: it is left alone.
pub fn prepare(conn: &Connection) -> Result<(), Trouble> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version, tables) {
        (APPLICATION, VERSION, _) => Ok(()),
        (APPLICATION, 1.., _) => Err(Trouble::unusable("of a later version")),
        (0, 0, 0) => make(conn),
        _ => Err(Trouble::unusable("not a store of sessions")),
    }
}

fn make(conn: &Connection) -> Result<(), Trouble> {
    // What is deleted gives its room back step by step; this cannot be said later.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Tables and version come in one step: a database is ours whole or not at all.
    conn.execute_batch(&format!(
        "BEGIN EXCLUSIVE; {TABLES}
         PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))?;
    Ok(())
}

/// `sessions.oldest`: when the oldest event was written that may be pruned, which the last one may
/// not. `endings.is_past`: a later turn has ended.
const TABLES: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES('epoch', 0);
CREATE TABLE sessions(
    id BLOB PRIMARY KEY, scope TEXT NOT NULL, touched INTEGER NOT NULL,
    committed INTEGER NOT NULL, attempts INTEGER NOT NULL,
    token_nonce BLOB NOT NULL, token_digest BLOB NOT NULL,
    previous_digest BLOB, previous_until INTEGER,
    resume_nonce BLOB NOT NULL, resume_digest BLOB NOT NULL,
    is_parked INTEGER NOT NULL,
    timer_at INTEGER, timer_failures INTEGER, timer_wake TEXT,
    run_attempt INTEGER, run_owner INTEGER, run_cause TEXT, run_cancelling INTEGER,
    ledger TEXT NOT NULL, event_bytes INTEGER NOT NULL, turn_start INTEGER NOT NULL,
    oldest INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_touched ON sessions(touched) WHERE run_owner IS NULL;
CREATE INDEX sessions_timer ON sessions(timer_at) WHERE timer_at IS NOT NULL AND run_owner IS NULL;
CREATE INDEX sessions_running ON sessions(run_owner, run_cancelling) WHERE run_owner IS NOT NULL;
CREATE INDEX sessions_oldest ON sessions(oldest) WHERE oldest IS NOT NULL;
CREATE INDEX sessions_large ON sessions(event_bytes) WHERE event_bytes > 67108864;
CREATE TABLE states(
    session BLOB PRIMARY KEY REFERENCES sessions ON DELETE CASCADE, state TEXT NOT NULL
) STRICT;
CREATE TABLE events(
    session BLOB NOT NULL REFERENCES sessions ON DELETE CASCADE, seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL, turn INTEGER NOT NULL, data TEXT NOT NULL,
    seed_turn INTEGER, seed_nonce BLOB, closes INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY(session, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE endings(
    session BLOB NOT NULL REFERENCES sessions ON DELETE CASCADE, turn INTEGER NOT NULL,
    attempt INTEGER NOT NULL, status INTEGER NOT NULL, is_committed INTEGER NOT NULL,
    answer TEXT NOT NULL, seed_turn INTEGER NOT NULL, seed_nonce BLOB NOT NULL,
    first INTEGER NOT NULL, last_epoch INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    at INTEGER NOT NULL, is_past INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(session, turn)
) STRICT, WITHOUT ROWID;
CREATE INDEX endings_past ON endings(at) WHERE is_past = 1;
CREATE TABLE keys(
    digest BLOB PRIMARY KEY, fingerprint BLOB NOT NULL,
    session BLOB NOT NULL REFERENCES sessions ON DELETE CASCADE, turn INTEGER NOT NULL,
    attempt INTEGER NOT NULL, presented BLOB, until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_session ON keys(session);
CREATE INDEX keys_until ON keys(until);
";

const _: () = assert!(rip::limits::SESSION_EVENT_BYTES == 67_108_864);
