//! Opening a store: what is found is checked, what makes no sense is moved out of the way.

use super::check::Check;
use super::place::{self, Living, Place};
use super::schema;
use super::trouble::{Kind, Trouble};
use rip::session::{Epoch, TokenKey};
use rip::time::UnixMillis;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A store that was opened.
pub struct Opened {
    /// The database.
    pub conn: Connection,
    /// Which file it is in.
    pub identity: Option<(u64, u64)>,
    /// Our life in it.
    pub epoch: Epoch,
    /// The mark of it.
    pub living: Option<Living>,
    /// What tokens are made with.
    pub key: TokenKey,
    /// What was moved out of the way: from where, to where, why.
    pub moved: Vec<Moved>,
    /// It is still being looked through.
    pub check: Option<Check>,
}

/// Something that made no sense and was moved out of the way.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Where it was.
    pub from: PathBuf,
    /// Where it is.
    pub to: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A database that was found to make no sense.
#[derive(Clone, Copy, Debug)]
pub struct Broken<'a> {
    /// What is wrong with it.
    pub reason: &'a str,
    /// Which file it is in. Another master may have put a good one in its place by now.
    pub identity: Option<(u64, u64)>,
}

/// Opens the store at `place`. What is known to be broken is moved out of the way without another look. Looking it through is waited for up to `pause`.
///
/// # Errors
/// When it cannot be opened now. Nothing was lost, and it may be tried again.
pub fn open(
    place: &Place,
    broken: Option<Broken<'_>>,
    pause: Duration,
    now: UnixMillis,
) -> Result<Opened, Trouble> {
    match place {
        Place::Memory => memory(),
        Place::File(path) => file(path, broken, pause, now),
    }
}

fn memory() -> Result<Opened, Trouble> {
    let conn = Connection::open_in_memory()?;
    schema::prepare(&conn)?;
    settle(&conn)?;
    let key = TokenKey::new(place::random()?);
    let moved = Vec::new();
    Ok(Opened { conn, identity: None, epoch: Epoch(1), living: None, key, moved, check: None })
}

fn file(
    path: &Path,
    broken: Option<Broken<'_>>,
    pause: Duration,
    now: UnixMillis,
) -> Result<Opened, Trouble> {
    place::make_dir(path)?;
    let _opening = place::opening(path)?;
    let (secret, moved_key) = place::secret(path, now)?;
    let mut moved = Vec::new();
    if let Some(to) = moved_key {
        let from = path.with_file_name("session.key");
        moved.push(Moved { from, to, reason: "it is not 32 bytes long".to_owned() });
    }
    let mut move_aside = |reason: String| -> Result<(), Trouble> {
        let to = place::move_aside(path, now)?;
        moved.push(Moved { from: path.to_owned(), to, reason });
        Ok(())
    };
    if let Some(Broken { reason, identity }) = broken
        && identity == place::identity(path)
    {
        move_aside(reason.to_owned())?;
    }
    let (conn, check, epoch, living) = match begin(path, pause) {
        Err(Trouble { kind: Kind::Broken | Kind::Row, detail }) => {
            move_aside(detail)?;
            begin(path, pause)?
        }
        other => other?,
    };
    let key = TokenKey::new(secret);
    let identity = place::identity(path);
    Ok(Opened { conn, identity, epoch, living: Some(living), key, moved, check })
}

fn begin(
    path: &Path,
    pause: Duration,
) -> Result<(Connection, Option<Check>, Epoch, Living), Trouble> {
    let conn = connect(path)?;
    let check = Check::start(path)?;
    let verdict = check.wait(pause);
    let check = verdict.is_none().then_some(check);
    verdict.transpose()?;
    let (epoch, living) = take_epoch(&conn, path)?;
    Ok((conn, check, epoch, living))
}

/// A connection that writes, to a database that may yet have to be made.
pub fn connect(path: &Path) -> Result<Connection, Trouble> {
    place::make(path)?;
    let has_log = fs::metadata(place::beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if has_log && fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        // The database would be taken for a new one, and the log thrown away.
        return Err(Trouble::broken("it is empty, but its log is not"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    schema::prepare(&conn)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Trouble::unusable(format!("its journal is {mode}")));
    }
    settle(&conn)?;
    Ok(conn)
}

/// A connection that reads, to a database that somebody else has opened.
pub fn connect_reader(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // A connection that could not write at all could not read either while nobody writes: its log's
    // index is a file that it has to keep.
    conn.pragma_update(None, "query_only", true)?;
    keep_statements(&conn)?;
    Ok(conn)
}

fn settle(conn: &Connection) -> Result<(), Trouble> {
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // After a burst the log gives its room back.
    conn.query_row(&format!("PRAGMA journal_size_limit = {LOG_BYTES}"), [], |_| Ok(()))?;
    keep_statements(conn)
}

/// Statements are compiled once: their plans do not depend on the values in them. Otherwise SQLite would compile
/// again, for each run, what compares a value with a condition of a partial index.
fn keep_statements(conn: &Connection) -> Result<(), Trouble> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_COUNT);
    Ok(())
}

/// Takes the next epoch: later than all before it, and nobody else's. It has lasted when it is ours.
fn take_epoch(conn: &Connection, path: &Path) -> Result<(Epoch, Living), Trouble> {
    let last: i64 =
        conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))?;
    let last = u16::try_from(last).map_err(|_| Trouble::broken(format!("its epoch is {last}")))?;
    // Another master may still live in a database that was moved from here.
    let living = place::living(path)?;
    let highest = living.iter().copied().fold(Epoch(last), Epoch::max);
    let only = || Epoch(last).next().filter(|epoch| !living.contains(epoch));
    let epoch = highest.next().or_else(only);
    let epoch = epoch.ok_or_else(|| Trouble::broken("its epochs are used up"))?;
    let Some(living) = Living::mark(path, epoch)? else {
        return Err(Trouble::unusable(format!("somebody lives in epoch {epoch}")));
    };
    conn.execute("UPDATE meta SET value = ?1 WHERE name = 'epoch'", [epoch.0])?;
    Ok((epoch, living))
}

/// How long another master's transaction is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What the log keeps of its room.
const LOG_BYTES: u32 = 16 * 1024 * 1024;
/// All the statements there are.
const STATEMENT_COUNT: usize = 48;
