//! The database of a store, and its transactions.
//!
//! ```text
//!  orders ─▶ BEGIN IMMEDIATE ─▶ each: load, decide, write ─▶ COMMIT at the batch's level ─▶ answers
//!                 │ fails            │ fails                   │ fails
//!                 └──────────────────┴────────── ROLLBACK ─────┴─▶ every order: refused, nothing changed
//! ```
//!
//! How a transaction lasts must be said before it begins, when it is not known yet what its orders come
//! to: [`needs`] says what they come to at most.

use super::check::Check;
use super::fault::Faults;
use super::open::{self, Broken, Moved, Opened};
use super::place::{self, Living, Place};
use super::rows;
use super::trouble::{Kind, Trouble};
use super::write;
use crate::shared::store::{StoreAnswer, StoreOrder};
use rip::limits::SESSION_EVENT_BYTES;
use rip::session::claim::{self, Attempt, Claim};
use rip::session::end::{self, Appended, End, Ended};
use rip::session::look;
use rip::session::{Epoch, Level, SessionId, Step, TokenKey, Write};
use rip::time::UnixMillis;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::time::Duration;

/// An open store.
pub struct Database {
    pub(super) conn: Connection,
    pub(super) place: Place,
    identity: Option<(u64, u64)>,
    pub(super) epoch: Epoch,
    _living: Option<Living>,
    /// It is still being looked through.
    check: Option<Check>,
    /// A row made no sense: there may be more that does not.
    is_doubted: bool,
    pub(super) key: TokenKey,
    /// The turns that were claimed here and have not ended.
    live: BTreeMap<SessionId, Attempt>,
    /// What `synchronous` is set to.
    level: Level,
    pub(super) faults: Faults,
}

impl Database {
    /// Opens the store at `place`, with what had to be moved out of the way for it; `broken` in any case.
    pub fn open(
        place: &Place,
        broken: Option<Broken<'_>>,
        faults: Faults,
        now: UnixMillis,
    ) -> Result<(Self, Vec<Moved>), Trouble> {
        let opened = open::open(place, broken, faults.check_pause(), now)?;
        let Opened { conn, identity, epoch, living, key, moved, check } = opened;
        let database = Self {
            conn,
            place: place.clone(),
            identity,
            epoch,
            _living: living,
            check,
            is_doubted: false,
            key,
            live: BTreeMap::new(),
            level: Level::Power,
            faults,
        };
        Ok((database, moved))
    }

    /// What tokens are made with.
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    /// Our life in it.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The turns that were claimed here and have not ended.
    pub fn live(&self) -> &BTreeMap<SessionId, Attempt> {
        &self.live
    }

    /// How many sessions there are; `None` when that cannot be told.
    pub fn session_count(&self) -> Option<u64> {
        rows::session_count(&self.conn).ok()
    }

    /// Nobody runs `attempt` any more: the next sweep ends it.
    pub fn abandon(&mut self, attempt: &Attempt) {
        if self.live.get(&attempt.session) == Some(attempt) {
            self.live.remove(&attempt.session);
        }
    }

    /// Which file it is in.
    pub fn identity(&self) -> Option<(u64, u64)> {
        self.identity
    }

    /// The file that is open is still the one at its place.
    pub fn is_in_place(&self) -> bool {
        match &self.place {
            Place::Memory => true,
            Place::File(path) => place::identity(path) == self.identity,
        }
    }

    /// Looks it through if a row made no sense since that was done last; true when that begins. One
    /// bad row is nobody's but its session's; a hole in the file is everybody's.
    ///
    /// # Errors
    /// When that cannot be begun.
    pub fn look_through(&mut self) -> Result<bool, Trouble> {
        let Place::File(path) = &self.place else { return Ok(false) };
        if self.check.is_some() || !std::mem::take(&mut self.is_doubted) {
            return Ok(false);
        }
        self.check = Some(Check::start(path)?);
        Ok(true)
    }

    /// It is being looked through.
    #[cfg(test)]
    pub fn is_looked_through(&self) -> bool {
        self.check.is_some()
    }

    /// What looking it through has come to since it was opened; an error is not to be had twice.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn checked(&mut self) -> Result<(), Trouble> {
        let verdict = self.check.as_ref().and_then(|check| check.wait(Duration::ZERO));
        if verdict.is_some() {
            self.check = None;
        }
        verdict.unwrap_or(Ok(()))
    }

    /// Takes another connection to the same database, after one that failed.
    pub fn reconnect(&mut self) -> Result<(), Trouble> {
        if let Place::File(path) = &self.place {
            let conn = open::connect(path)?;
            if !self.is_in_place() {
                return Err(Trouble::unusable("another database is in its place"));
            }
            self.conn = conn;
            self.level = Level::Power;
        }
        Ok(())
    }

    /// Carries `orders` out, in one transaction if that can be. What is answered has lasted. When it
    /// could not be done, the answers say so, nothing has changed, and the trouble is returned too.
    pub fn carry_out(
        &mut self,
        orders: &[StoreOrder],
        now: UnixMillis,
    ) -> (Vec<StoreAnswer>, Option<Trouble>) {
        match self.batch(orders, now) {
            Ok(answers) => (answers, None),
            // One of them is to blame, and the others need not suffer.
            Err(Trouble { kind: Kind::Order, .. }) if orders.len() > 1 => {
                let mut answers = Vec::with_capacity(orders.len());
                let mut last = None;
                for order in orders {
                    let (answer, trouble) = self.carry_out(std::slice::from_ref(order), now);
                    answers.extend(answer);
                    last = trouble.filter(|trouble| trouble.kind != Kind::Order).or(last);
                }
                (answers, last)
            }
            Err(trouble) => {
                let reason = trouble.reason();
                (orders.iter().map(|order| order.refused(reason)).collect(), Some(trouble))
            }
        }
    }

    fn batch(
        &mut self,
        orders: &[StoreOrder],
        now: UnixMillis,
    ) -> Result<Vec<StoreAnswer>, Trouble> {
        if orders.iter().all(StoreOrder::only_reads) {
            // A store that cannot be written can still be read.
            match self.batch_in("BEGIN", orders, now) {
                // What turned out to be written began to read before another master wrote.
                Err(Trouble { kind: Kind::Busy, .. }) => {}
                done => return done,
            }
        }
        self.batch_in(BEGIN, orders, now)
    }

    fn batch_in(
        &mut self,
        begin: &'static str,
        orders: &[StoreOrder],
        now: UnixMillis,
    ) -> Result<Vec<StoreAnswer>, Trouble> {
        let level = orders.iter().map(needs).max().unwrap_or_default();
        let mut reached = Level::Unchanged;
        let answers = self.transaction_in(begin, level, |database| {
            let mut answers = Vec::with_capacity(orders.len());
            for order in orders {
                database.faults.step()?;
                answers.push(match database.decide(order, now, &mut reached) {
                    // A row that makes no sense is read before anything is written.
                    Err(Trouble { kind: Kind::Row, detail }) => {
                        log::error!("the store of sessions has a bad row: {detail}");
                        database.is_doubted = true;
                        order.refused("broken")
                    }
                    answer => answer?,
                });
            }
            Ok(answers)
        })?;
        debug_assert!(reached <= level, "an order needs more than was thought");
        if reached > level {
            self.sync()?;
        }
        orders.iter().zip(&answers).for_each(|(order, answer)| self.note(order, answer));
        Ok(answers)
    }

    /// Runs `work` in a transaction that lasts as `level` says.
    pub(super) fn transaction<T>(
        &mut self,
        level: Level,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.transaction_in(BEGIN, level, work)
    }

    fn transaction_in<T>(
        &mut self,
        begin: &'static str,
        level: Level,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let level = level.max(Level::Process);
        if self.level != level {
            let name = if level == Level::Power { "FULL" } else { "NORMAL" };
            self.conn.pragma_update(None, "synchronous", name)?;
            self.level = level;
        }
        self.faults.step()?;
        self.conn.prepare_cached(begin)?.execute([])?;
        let result = work(self).and_then(|value| {
            self.faults.step()?;
            self.conn.prepare_cached("COMMIT")?.execute([])?;
            Ok(value)
        });
        if result.is_err() && !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        let value = result?;
        // Whatever fails from here on: it was done. A test may die here, but not fail.
        let _ = self.faults.step();
        Ok(value)
    }

    /// Writes, so that everything that was written so far survives a loss of power.
    ///
    /// # Errors
    /// The store takes nothing.
    pub fn sync(&mut self) -> Result<(), Trouble> {
        self.transaction(Level::Power, |database| {
            let touch = "UPDATE meta SET value = value WHERE name = 'epoch'";
            database.conn.execute(touch, [])?;
            Ok(())
        })
    }

    /// Decides one order and carries out what it comes to.
    fn decide(
        &self,
        order: &StoreOrder,
        now: UnixMillis,
        reached: &mut Level,
    ) -> Result<StoreAnswer, Trouble> {
        let (conn, key, owner) = (&self.conn, &self.key, self.epoch);
        Ok(match order {
            StoreOrder::Start(order) => {
                let found = rows::load(conn, &order.load())?;
                let order = claim::StartOrder { owner, ..order.clone() };
                self.claimed(claim::start(&order, found, key, now), reached)?
            }
            StoreOrder::Message(order) => {
                let found = rows::load(conn, &order.load())?;
                let order = claim::MessageOrder { owner, ..order.clone() };
                self.claimed(claim::message(&order, found, now), reached)?
            }
            StoreOrder::Wake(order) => {
                let found = rows::load(conn, &order.load())?;
                let order = claim::WakeOrder { owner, ..order.clone() };
                self.claimed(claim::wake(&order, found, now), reached)?
            }
            StoreOrder::Append(order) => {
                let found = rows::load(conn, &order.load())?;
                let step = end::append(order.clone(), found);
                let is_too_much = |write: &Write| matches!(write, Write::Session(session) if session.event_bytes > SESSION_EVENT_BYTES);
                let is_full = step.writes.iter().any(is_too_much);
                let appended = self.write(step, reached)?;
                if is_full {
                    self.make_room(order.attempt.session, now)?;
                }
                StoreAnswer::Appended(Ok(appended))
            }
            StoreOrder::End(order) => {
                let found = rows::load(conn, &order.load())?;
                let step = end::end(order.clone(), found, key, now);
                StoreAnswer::Ended(Ok(self.write(step, reached)?))
            }
            StoreOrder::Cancel(order) => {
                let found = rows::load(conn, &order.load())?;
                StoreAnswer::Cancel(self.write(look::cancel(order, found, now), reached)?)
            }
            StoreOrder::Delete(order) => {
                let found = rows::load(conn, &order.load())?;
                StoreAnswer::Delete(self.write(look::delete(order, found, now), reached)?)
            }
            StoreOrder::Look(order) => {
                let found = rows::load(conn, &order.load())?;
                StoreAnswer::Look(Box::new(self.write(look::look(order, found, now), reached)?))
            }
            StoreOrder::Page { session, after, count } => {
                StoreAnswer::Page(Ok(rows::page(conn, *session, *after, *count)?))
            }
        })
    }

    fn claimed(&self, step: Step<Claim>, reached: &mut Level) -> Result<StoreAnswer, Trouble> {
        let state = match &step.reply {
            Claim::Run(run) => rows::state(&self.conn, run.attempt.session)?,
            _ => None,
        };
        let claim = Box::new(self.write(step, reached)?);
        Ok(StoreAnswer::Claim { claim, state })
    }

    /// Carries out `step` in the transaction it was decided in.
    pub(super) fn write<T>(&self, step: Step<T>, reached: &mut Level) -> Result<T, Trouble> {
        *reached = step.level.max(*reached);
        for write in &step.writes {
            self.faults.step()?;
            write::apply(&self.conn, write)?;
        }
        Ok(step.reply)
    }

    /// Keeps account of who runs what.
    fn note(&mut self, order: &StoreOrder, answer: &StoreAnswer) {
        let over = match (order, answer) {
            (_, StoreAnswer::Claim { claim, .. }) => {
                if let Claim::Run(run) = &**claim {
                    self.live.insert(run.attempt.session, run.attempt);
                }
                return;
            }
            (StoreOrder::Append(order), StoreAnswer::Appended(Ok(Appended::Lost(_)))) => {
                order.attempt
            }
            (
                StoreOrder::End(order),
                StoreAnswer::Ended(Ok(Ended::Stored { .. } | Ended::Lost(_))),
            ) => order.attempt,
            _ => return,
        };
        self.abandon(&over);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.conn.execute_batch("PRAGMA optimize") {
            log::debug!("the store of sessions: {error}");
        }
    }
}

/// How what `order` comes to must last, at most.
pub(super) fn needs(order: &StoreOrder) -> Level {
    let is_power = match order {
        StoreOrder::Start(order) => order.is_told,
        StoreOrder::Message(order) => order.is_told,
        StoreOrder::Wake(order) => order.is_told,
        StoreOrder::Delete(_) => true,
        StoreOrder::End(order) => match &order.end {
            // The end of a first turn tells the session's name, also when nothing came of it, or
            // somebody has cancelled it.
            End::Outcome(outcome, _) => outcome.commits() || order.attempt.turn == 1,
            End::Failed(_) => order.attempt.turn == 1,
            End::Refused { .. } => order.attempt.turn == 1,
        },
        StoreOrder::Append(_)
        | StoreOrder::Cancel(_)
        | StoreOrder::Look(_)
        | StoreOrder::Page { .. } => false,
    };
    if is_power { Level::Power } else { Level::Process }
}

/// Who decides on what it has read is the only one who writes from then on.
const BEGIN: &str = "BEGIN IMMEDIATE";
