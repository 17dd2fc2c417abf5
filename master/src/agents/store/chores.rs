//! What the store does of its own accord: ending turns that nobody runs, noticing timers and
//! cancellations, forgetting.

use super::database::Database;
use super::place::{self, Place};
use super::rows::{self, signed};
use super::trouble::{Kind, Trouble};
use rip::limits::{IDEMPOTENCY_KEEP, PRUNE_COUNT, SESSION_EVENT_BYTES};
use rip::session::claim::Attempt;
use rip::session::prune::{self, Old};
use rip::session::{Epoch, Event, Level, Session, SessionId, Step, Write, end};
use rip::time::{Instant, UnixMillis};
use rusqlite::params;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

/// When what is to be done.
pub struct Chores {
    sweep: Instant,
    prune: Instant,
    glance: Instant,
    /// Where the next look for timers that are due begins: some may be due for as long as nobody serves
    /// them, and the others get their turn all the same.
    due_after: (i64, Vec<u8>),
    /// Sessions whose timer a loop was told of, and when.
    told: BTreeMap<SessionId, Instant>,
}

/// What a round of chores has found.
#[derive(Default)]
pub struct News {
    /// Turns of ours that are to be cancelled.
    pub cancelled: Vec<Attempt>,
    /// Sessions whose turn nobody ran; an event says so now.
    pub swept: Vec<(SessionId, u64)>,
    /// Sessions whose timer is due, with their scopes.
    pub due: Vec<(SessionId, String)>,
    /// What went wrong.
    pub trouble: Option<Trouble>,
}

impl Chores {
    /// Everything is to be done at once.
    pub fn new(now: Instant) -> Self {
        let due_after = Default::default();
        Self { sweep: now, prune: now, glance: now, due_after, told: BTreeMap::new() }
    }

    /// When the next of them is to be done.
    pub fn next(&self) -> Instant {
        self.sweep.min(self.prune).min(self.glance)
    }

    /// There may be turns that nobody runs: they are looked for at once.
    pub fn hurry(&mut self, now: Instant) {
        self.sweep = now;
    }

    /// Does what is to be done by `now`.
    pub fn round(&mut self, database: &mut Database, now: Instant, wall: UnixMillis) -> News {
        let mut news = News::default();
        news.trouble = self.try_round(database, now, wall, &mut news).err();
        news
    }

    fn try_round(
        &mut self,
        database: &mut Database,
        now: Instant,
        wall: UnixMillis,
        news: &mut News,
    ) -> Result<(), Trouble> {
        // The next time first: what fails is not tried again at once.
        if self.sweep <= now {
            self.sweep = now + SWEEP_PAUSE;
            let swept = database.sweep(wall)?.into_iter();
            news.swept.extend(swept.map(|(session, event)| (session, event.turn)));
        }
        if self.glance <= now {
            self.glance = now + GLANCE_PAUSE;
            news.cancelled = database.cancelled()?;
            self.told.retain(|_, told| now.since(*told) < TOLD_KEEP);
            for (session, scope) in database.due(wall, &mut self.due_after, DUE_COUNT)? {
                if let Entry::Vacant(untold) = self.told.entry(session) {
                    untold.insert(now);
                    news.due.push((session, scope));
                }
            }
        }
        if self.prune <= now {
            self.prune = now + PRUNE_PAUSE;
            if database.prune(wall)? {
                self.prune = now + PRUNE_AGAIN;
            }
        }
        Ok(())
    }
}

/// A session whose row makes sense; of any other it is told, and no more.
fn whole(session: Result<Session, Trouble>) -> Result<Option<Session>, Trouble> {
    match session {
        Ok(session) => Ok(Some(session)),
        Err(trouble) if trouble.kind == Kind::Row => {
            log::error!("the store of sessions has a bad row: {}", trouble.detail);
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

/// Between two looks for turns that nobody runs.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks for timers and cancellations.
const GLANCE_PAUSE: Duration = Duration::from_millis(250);
/// Between two looks for what has had its time, and while there is more of it.
const PRUNE_PAUSE: Duration = Duration::from_secs(5);
const PRUNE_AGAIN: Duration = Duration::from_millis(100);
/// Timers that are told of in one round.
const DUE_COUNT: u32 = 256;
/// An order adds less than so many steps drop, unless its events are very small.
const ROOM_STEPS: usize = 8;
/// A timer that a loop was told of and that is still due after this time is told of again.
const TOLD_KEEP: Duration = Duration::from_secs(5);

impl Database {
    /// Ends the turns that nobody runs: those of masters that live no more, and those of ours that
    /// were given up. The events that say so are returned.
    pub fn sweep(&mut self, now: UnixMillis) -> Result<Vec<(SessionId, Event)>, Trouble> {
        let mut swept = Vec::new();
        for epoch in self.running_epochs()? {
            if self.is_suspect(epoch)? {
                while self.sweep_some(epoch, now, &mut swept)? {}
            }
        }
        Ok(swept)
    }

    fn running_epochs(&self) -> Result<Vec<Epoch>, Trouble> {
        let mut statement = self.conn.prepare_cached(
            "SELECT DISTINCT run_owner FROM sessions WHERE run_owner IS NOT NULL",
        )?;
        let epochs = statement.query_map([], |row| Ok(Epoch(row.get(0)?)))?;
        Ok(epochs.collect::<Result<_, _>>()?)
    }

    /// Whether a turn of `epoch` may have nobody who runs it.
    fn is_suspect(&self, epoch: Epoch) -> Result<bool, Trouble> {
        if epoch != self.epoch {
            return Ok(match &self.place {
                Place::Memory => true,
                Place::File(path) => place::is_free(path, epoch),
            });
        }
        // Some that live may be gone from the store, until they are told so: then this is looked at in
        // vain.
        let count = self.running_count()?;
        Ok(count > 0 && count != self.live().len())
    }

    /// Ends some turns of `epoch`; true when there may be more.
    fn sweep_some(
        &mut self,
        epoch: Epoch,
        now: UnixMillis,
        swept: &mut Vec<(SessionId, Event)>,
    ) -> Result<bool, Trouble> {
        let condition = "WHERE run_owner = ?1";
        let mut done = 0;
        let mut found = Vec::new();
        self.transaction(Level::Process, |database| {
            for (_, session) in rows::sessions(&database.conn, condition, [epoch.0])? {
                if done == PRUNE_COUNT {
                    break;
                }
                let Some(session) = whole(session)? else { continue };
                let id = session.id;
                let is_own = epoch == database.epoch;
                let is_orphan =
                    |attempt: &Attempt| !is_own || database.live().get(&id) != Some(attempt);
                let (by, key) = (database.epoch, &database.key);
                if let Some(step) = end::interrupt(session, is_orphan, by, key, now) {
                    database.faults.step()?;
                    found.push((id, database.write(step, &mut Level::default())?));
                    done += 1;
                }
            }
            Ok(())
        })?;
        swept.append(&mut found);
        Ok(done == PRUNE_COUNT)
    }

    /// The turns of ours that are to be cancelled: somebody said so, or their session was deleted.
    pub fn cancelled(&self) -> Result<Vec<Attempt>, Trouble> {
        if self.live().is_empty() {
            return Ok(Vec::new());
        }
        let mut attempts = self.deleted()?;
        let mut statement = self.conn.prepare_cached(
            "SELECT id, committed + 1, run_attempt FROM sessions \
             WHERE run_owner = ?1 AND run_cancelling = 1",
        )?;
        let rows = statement.query_map([self.epoch.0], |row| {
            let id: rows::Fixed<16> = row.get(0)?;
            Ok((SessionId::new(id.0), row.get::<_, i64>(1)?, row.get::<_, u32>(2)?))
        })?;
        for row in rows {
            let (id, turn, number) = row?;
            let known = self.live().get(&id);
            attempts.extend(
                known.filter(|known| {
                    (known.number, i64::try_from(known.turn)) == (number, Ok(turn))
                }),
            );
        }
        Ok(attempts)
    }

    /// The turns of ours whose session was deleted, and that were not told.
    fn deleted(&self) -> Result<Vec<Attempt>, Trouble> {
        if self.running_count()? >= self.live().len() {
            return Ok(Vec::new());
        }
        let mut statement =
            self.conn.prepare_cached("SELECT 1 FROM sessions WHERE id = ?1 AND run_owner = ?2")?;
        let mut attempts = Vec::new();
        for (id, attempt) in self.live() {
            if !statement.exists(params![id.as_bytes(), self.epoch.0])? {
                attempts.push(*attempt);
            }
        }
        Ok(attempts)
    }

    /// How many turns of ours the store says run.
    fn running_count(&self) -> Result<usize, Trouble> {
        let mut statement =
            self.conn.prepare_cached("SELECT count(*) FROM sessions WHERE run_owner = ?1")?;
        let count: i64 = statement.query_row([self.epoch.0], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Up to `limit` sessions whose timer is due, with their scopes, behind `after`, the one that waits
    /// longest first. `after` moves on, and back to the start behind the last one.
    pub fn due(
        &self,
        now: UnixMillis,
        after: &mut (i64, Vec<u8>),
        limit: u32,
    ) -> Result<Vec<(SessionId, String)>, Trouble> {
        let mut statement = self.conn.prepare_cached(
            "SELECT timer_at, id, scope FROM sessions \
             WHERE timer_at IS NOT NULL AND run_owner IS NULL AND timer_at <= ?1 \
             AND (timer_at, id) > (?2, ?3) AND max(timer_at, touched) > ?4 \
             ORDER BY timer_at, id LIMIT ?5",
        )?;
        let kept = signed(prune::sessions_before(now).0);
        let mut rows = statement.query(params![signed(now.0), after.0, after.1, kept, limit])?;
        let (mut count, mut due) = (0, Vec::new());
        while let Some(row) = rows.next()? {
            count += 1;
            *after = (row.get(0)?, row.get(1)?);
            // A name that is none is nobody's.
            if let Ok(name) = <[u8; 16]>::try_from(after.1.as_slice()) {
                due.push((SessionId::new(name), row.get(2)?));
            }
        }
        if count < limit {
            *after = Default::default();
        }
        Ok(due)
    }

    /// Forgets a little of what has had its time; true when there is more.
    pub fn prune(&mut self, now: UnixMillis) -> Result<bool, Trouble> {
        let mut more = self.transaction(Level::Process, |database| database.prune_events(now))?;
        more |= self.transaction(Level::Process, |database| database.prune_sessions(now))?;
        more |= self.transaction(Level::Process, |database| database.prune_endings(now))?;
        more |= self.transaction(Level::Process, |database| database.prune_keys(now))?;
        // Rows of this pragma are pages given back.
        let mut statement = self.conn.prepare_cached("PRAGMA incremental_vacuum(64)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(more)
    }

    /// The oldest events of one session.
    fn prune_events(&mut self, now: UnixMillis) -> Result<bool, Trouble> {
        let before = signed(prune::events_before(now).0);
        let conditions = [
            ("WHERE oldest IS NOT NULL AND oldest <= ?1 ORDER BY oldest LIMIT 8", before),
            (
                "WHERE event_bytes > 67108864 AND event_bytes > ?1 LIMIT 8",
                signed(SESSION_EVENT_BYTES),
            ),
        ];
        let mut more = false;
        for (condition, value) in conditions {
            for (name, session) in rows::sessions(&self.conn, condition, [value])? {
                more = true;
                let Some(session) = whole(session)? else {
                    // It is nobody's until somebody mends it, and not asked about again.
                    let skip = "UPDATE sessions SET oldest = NULL, event_bytes = 0 WHERE id = ?1";
                    self.conn.execute(skip, [name])?;
                    continue;
                };
                let id = session.id;
                let oldest = self.oldest_events(&session)?;
                let mut writes = prune::events(session, &oldest, now);
                if writes.is_empty() {
                    // Only the last one is left: it is not asked about again.
                    writes.push(Write::DropEvents(id, 0));
                }
                self.drop_all(writes)?;
            }
        }
        Ok(more)
    }

    /// Drops the oldest events of a session that has more than it may keep, as far as one step goes. It is
    /// part of the transaction that added to them: however fast an app writes, it fills no disk.
    pub(super) fn make_room(&self, id: SessionId, now: UnixMillis) -> Result<(), Trouble> {
        for _ in 0..ROOM_STEPS {
            let Some(session) = rows::session(&self.conn, id)? else { return Ok(()) };
            if session.event_bytes <= SESSION_EVENT_BYTES {
                return Ok(());
            }
            let oldest = self.oldest_events(&session)?;
            let writes = prune::events(session, &oldest, now);
            if writes.is_empty() {
                return Ok(());
            }
            self.drop_all(writes)?;
        }
        Ok(())
    }

    fn oldest_events(&self, session: &Session) -> Result<Vec<Old>, Trouble> {
        rows::oldest(&self.conn, session.id, session.ledger.first(), PRUNE_COUNT as u32)
    }

    /// A session past its time: first its events, some at a time, then the rest of it.
    fn prune_sessions(&mut self, now: UnixMillis) -> Result<bool, Trouble> {
        let before = signed(prune::sessions_before(now).0);
        let condition = "WHERE run_owner IS NULL AND touched <= ?1 \
                         AND (timer_at IS NULL OR timer_at <= ?1) ORDER BY touched LIMIT 8";
        let mut more = false;
        for (name, session) in rows::sessions(&self.conn, condition, [before])? {
            more = true;
            let Some(mut session) = whole(session)? else {
                self.conn.execute("DELETE FROM sessions WHERE id = ?1", [name])?;
                continue;
            };
            let Some(forget) = prune::session(&session, now) else { return Ok(false) };
            let oldest = self.oldest_events(&session)?;
            let last = session.ledger.last().seq;
            let writes = match oldest.last() {
                Some(old) if old.seq < last => {
                    let bytes: u64 = oldest.iter().map(|old| old.bytes).sum();
                    session.event_bytes = session.event_bytes.saturating_sub(bytes);
                    session.ledger.truncate(old.seq + 1);
                    let drop = Write::DropEvents(session.id, old.seq + 1);
                    vec![drop, Write::Session(Box::new(session))]
                }
                _ => vec![forget],
            };
            self.drop_all(writes)?;
        }
        Ok(more)
    }

    fn prune_endings(&mut self, now: UnixMillis) -> Result<bool, Trouble> {
        let before = now.0.saturating_sub(IDEMPOTENCY_KEEP.as_millis() as u64);
        let count = self
            .conn
            .prepare_cached(
                "DELETE FROM endings WHERE (session, turn) IN (SELECT session, turn FROM endings \
                 WHERE is_past = 1 AND at <= ?1 ORDER BY at LIMIT ?2)",
            )?
            .execute(params![signed(before), PRUNE_COUNT as u32])?;
        Ok(count == PRUNE_COUNT)
    }

    fn prune_keys(&mut self, now: UnixMillis) -> Result<bool, Trouble> {
        let keys = rows::old_keys(&self.conn, now, PRUNE_COUNT as u32)?;
        let mut writes = Vec::with_capacity(keys.len());
        for key in &keys {
            let session = rows::session(&self.conn, key.session)?;
            writes.extend(prune::key(key, session.as_ref(), now));
        }
        let more = writes.len() == PRUNE_COUNT;
        self.drop_all(writes)?;
        Ok(more)
    }

    fn drop_all(&self, writes: Vec<Write>) -> Result<(), Trouble> {
        let step = Step { level: Level::Process, writes, reply: () };
        self.write(step, &mut Level::default())
    }
}
