//! The thread that writes: it opens the store, carries orders out in batches, and does the chores.
//!
//! ```text
//!            opened                          makes no sense: moved aside, a new one
//!   Shut ───────────────▶ Open ──────────────────────────────────────────────▶ Open
//!    ▲  ╲ every second ╱   │
//!    └───┴─── cannot ◀─────┘ its file is another one, or it cannot be opened anew
//! ```

use super::chores::Chores;
use super::database::Database;
use super::fault::Faults;
use super::group::Group;
use super::open::{Broken, Moved};
use super::place::Place;
use super::trouble::{Kind, Trouble};
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::Sender;
use crate::shared::mail::{ControlMessage, EdgeMessage};
use crate::shared::store::{StoreAnswer, StoreJob, StoreMail, StoreQueue, Taken};
use crate::shared::store_state::StoreState;
use rip::contract::event::Event;
use rip::session::SessionId;
use rip::session::claim::{Attempt, Claim};
use rip::time::Instant;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Who writes.
pub struct Writer {
    place: Place,
    faults: Faults,
    queue: StoreQueue,
    control: Sender<ControlMessage>,
    /// How often a store was opened; readers open it anew when this has changed. 0: it is shut.
    lives: Arc<AtomicU64>,
    opened: u64,
    life: Life,
    /// Whose turns run: who made the claim, and what for.
    homes: BTreeMap<SessionId, Home>,
    chores: Chores,
    /// Ends of turns that wait for others.
    group: Group,
    failing: Option<Failing>,
    /// When what is in the database made no sense the last time.
    broke: Option<Instant>,
    /// When it was looked through the last time because a row made none.
    looked: Option<Instant>,
    clock: Clock,
}

enum Life {
    Open(Box<Database>),
    Shut { reason: &'static str, again: Instant },
}

struct Home {
    attempt: Attempt,
    reply: Sender<EdgeMessage>,
    key: u64,
}

/// The operator was told that the store fails.
struct Failing {
    kind: Kind,
    last: Instant,
}

impl Writer {
    /// A writer of the store at `place`, which opens it when it runs.
    pub fn new(
        place: Place,
        faults: Faults,
        queue: StoreQueue,
        control: Sender<ControlMessage>,
        lives: Arc<AtomicU64>,
    ) -> Self {
        let clock = Clock::new();
        Self {
            place,
            faults,
            queue,
            control,
            lives,
            opened: 0,
            life: Life::Shut { reason: "closed", again: clock.now() },
            homes: BTreeMap::new(),
            chores: Chores::new(clock.now()),
            group: Group::default(),
            failing: None,
            broke: None,
            looked: None,
            clock,
        }
    }

    /// Serves the queue until it is closed and everything in it is done.
    pub fn run(mut self) {
        loop {
            self.clock.refresh();
            self.open_if_shut();
            self.do_chores();
            self.try_again();
            let Some(mut taken) = self.queue.take_writes(BATCH_COUNT, self.pause()) else { break };
            self.clock.refresh();
            match &self.life {
                Life::Open(database) => {
                    let live = database.live().len();
                    taken.jobs = self.group.sift(taken.jobs, live, self.clock.now());
                }
                // They are told so like everybody.
                Life::Shut { .. } => taken.jobs.append(&mut self.group.take()),
            }
            self.serve(taken);
        }
        let jobs = self.group.take();
        self.serve(Taken { jobs, ..Taken::default() });
    }

    fn pause(&self) -> Duration {
        match &self.life {
            Life::Shut { again, .. } => again.since(self.clock.now()),
            Life::Open(_) => {
                let next = self.chores.next();
                self.group.due().map_or(next, |due| due.min(next)).since(self.clock.now())
            }
        }
    }

    fn open_if_shut(&mut self) {
        let is_time = matches!(&self.life, Life::Shut { again, .. } if *again <= self.clock.now());
        if is_time {
            self.open(None);
        }
    }

    fn open(&mut self, reason: Option<&str>) {
        let identity = match &self.life {
            Life::Open(database) => database.identity(),
            Life::Shut { .. } => None,
        };
        let broken = reason.map(|reason| Broken { reason, identity });
        // What is open is closed first: its epoch ends. What is shut stays so for the reason it has.
        if matches!(self.life, Life::Open(_)) {
            self.shut("closed");
        }
        let opened = Database::open(&self.place, broken, self.faults.clone(), self.clock.wall());
        match opened {
            Ok((database, moved)) => {
                self.queue.set_key(database.key().clone());
                self.life = Life::Open(Box::new(database));
                self.queue.set_state(StoreState::Open);
                self.opened += 1;
                self.lives.store(self.opened, Ordering::Release);
                self.homes.clear();
                self.chores = Chores::new(self.clock.now());
                moved.into_iter().for_each(|moved| self.tell_moved(moved));
            }
            Err(trouble) => {
                self.shut(trouble.reason());
                self.tell_trouble(&trouble);
            }
        }
    }

    fn shut(&mut self, reason: &'static str) {
        // Finding out that it cannot be opened may have taken its time.
        self.clock.refresh();
        self.lives.store(0, Ordering::Release);
        self.queue.set_state(StoreState::Shut(reason));
        self.life = Life::Shut { reason, again: self.clock.now() + OPEN_PAUSE };
    }

    fn serve(&mut self, taken: Taken) {
        let Life::Open(database) = &mut self.life else {
            let Life::Shut { reason, .. } = self.life else { return };
            taken.counts.into_iter().for_each(|ask| ask.answer(None));
            return taken.jobs.into_iter().for_each(|job| job.refuse(reason));
        };
        for ask in taken.counts {
            ask.answer(database.session_count());
        }
        for attempt in &taken.abandoned {
            database.abandon(attempt);
            self.chores.hurry(self.clock.now());
        }
        let now = self.clock.now();
        let is_late = |job: &StoreJob| now.since(job.since) > WAIT_MAX && !job.order.is_obliged();
        let (late, jobs): (Vec<_>, Vec<_>) = taken.jobs.into_iter().partition(is_late);
        late.into_iter().for_each(|job| job.refuse("slow"));
        if jobs.is_empty() {
            return;
        }
        let (mut orders, mut replies) = (Vec::new(), Vec::new());
        for StoreJob { order, reply, key, since } in jobs {
            orders.push(order);
            replies.push((reply, key, since));
        }
        let (answers, trouble) = database.carry_out(&orders, self.clock.wall());
        for (((reply, key, since), order), answer) in replies.into_iter().zip(orders).zip(answers) {
            self.remember(&reply, key, &answer);
            StoreJob { order, reply, key, since }.answer(answer);
        }
        match trouble {
            Some(trouble) => {
                // Claims that were answered with trouble may be there after all.
                self.chores.hurry(self.clock.now());
                self.suffer(&trouble);
            }
            None => self.recover(),
        }
    }

    fn remember(&mut self, reply: &Sender<EdgeMessage>, key: u64, answer: &StoreAnswer) {
        if let StoreAnswer::Claim { claim, .. } = answer
            && let Claim::Run(run) = &**claim
        {
            let home = Home { attempt: run.attempt, reply: reply.clone(), key };
            self.homes.insert(run.attempt.session, home);
        }
    }

    fn do_chores(&mut self) {
        let Life::Open(database) = &mut self.life else { return };
        if self.chores.next() > self.clock.now() {
            return;
        }
        if !database.is_in_place() {
            log::error!("the store of sessions was taken from {}", self.place.shown());
            return self.open(None);
        }
        let now = self.clock.now();
        if self.looked.is_none_or(|looked| now.since(looked) > BROKEN_PAUSE) {
            match database.look_through() {
                Ok(true) => self.looked = Some(now),
                Ok(false) => {}
                Err(trouble) => {
                    log::warn!("the store of sessions is not looked through: {trouble}")
                }
            }
        }
        match database.checked() {
            // No mishap: it was looked through to find this out.
            Err(Trouble { kind: Kind::Broken, detail }) => return self.open(Some(&detail)),
            Err(trouble) => log::warn!("the store of sessions was not looked through: {trouble}"),
            Ok(()) => {}
        }
        let news = self.chores.round(database, self.clock.now(), self.clock.wall());
        let live = database.live();
        self.homes.retain(|id, home| live.get(id) == Some(&home.attempt));
        for attempt in news.cancelled {
            if let Some(home) = self.homes.get(&attempt.session) {
                let mail = StoreMail::Cancelled { key: home.key, attempt };
                home.reply.send(EdgeMessage::Store(Box::new(mail)));
            }
        }
        self.tell_interrupted(&news.swept);
        let loops = self.queue.loops();
        if let Some(to) = loops.first().filter(|_| !news.swept.is_empty()) {
            let sessions = news.swept.into_iter().map(|(session, _)| session).collect();
            let mail = StoreMail::Swept { sessions };
            to.send(EdgeMessage::Store(Box::new(mail)));
        }
        for (index, (session, scope)) in news.due.into_iter().enumerate() {
            if let Some(to) = loops.get(index % loops.len().max(1)) {
                to.send(EdgeMessage::Store(Box::new(StoreMail::Due { session, scope })));
            }
        }
        if let Some(trouble) = news.trouble {
            self.suffer(&trouble);
        }
    }

    /// Something went wrong with the whole store.
    fn suffer(&mut self, trouble: &Trouble) {
        let now = self.clock.now();
        match trouble.kind {
            Kind::Broken => {
                // Once it may have been a mishap, which opening it finds out; not twice.
                let is_again = self.broke.is_some_and(|broke| now.since(broke) < BROKEN_PAUSE);
                self.broke = Some(now);
                self.open(is_again.then_some(trouble.detail.as_str()));
            }
            Kind::Row | Kind::Order => log::error!("the store of sessions: {trouble}"),
            Kind::Unreachable => {
                self.tell_trouble(trouble);
                if let Life::Open(database) = &mut self.life
                    && let Err(trouble) = database.reconnect()
                {
                    log::error!("the store of sessions cannot be opened anew: {trouble}");
                    self.shut(trouble.reason());
                }
            }
            Kind::Full | Kind::ReadOnly | Kind::Busy | Kind::Unusable => self.tell_trouble(trouble),
        }
    }

    /// A store that failed is well again although nobody asks anything of it: it is found out.
    fn try_again(&mut self) {
        let now = self.clock.now();
        let Some(failing) = &mut self.failing else { return };
        if now.since(failing.last) <= CALM {
            return;
        }
        // A few bytes fit into what the log has already, where a turn does not fit on the disk.
        if failing.kind == Kind::Full && !self.place.has_room() {
            failing.last = now;
            return;
        }
        let Life::Open(database) = &mut self.life else { return };
        match database.sync() {
            Ok(()) => self.recover(),
            Err(trouble) => {
                failing.last = now;
                self.suffer(&trouble);
            }
        }
    }

    fn recover(&mut self) {
        let now = self.clock.now();
        if self.failing.take_if(|failing| now.since(failing.last) > CALM).is_some() {
            self.queue.set_state(StoreState::Open);
            self.tell(Event::SessionsRecovered { path: self.place.shown() });
        }
    }

    fn tell_trouble(&mut self, trouble: &Trouble) {
        let last = self.clock.now();
        let is_known = self.failing.as_ref().is_some_and(|failing| failing.kind == trouble.kind);
        self.failing = Some(Failing { kind: trouble.kind, last });
        if matches!(self.life, Life::Open(_)) {
            self.queue.set_state(StoreState::Failing(trouble.reason()));
        }
        if !is_known {
            let path = self.place.shown();
            self.tell(Event::SessionsFailed { path, reason: trouble.to_string() });
        }
    }

    fn tell_moved(&self, moved: Moved) {
        self.tell(Event::SessionsBroken {
            path: moved.from.display().to_string(),
            moved_to: moved.to.display().to_string(),
            reason: moved.reason,
        });
    }

    /// Of many only the first are told: what a master leaves behind that was killed.
    fn tell_interrupted(&self, swept: &[(SessionId, u64)]) {
        let told = &swept[..swept.len().min(INTERRUPTED_COUNT)];
        let more = (swept.len() - told.len()) as u64;
        for (index, (session, turn)) in told.iter().enumerate() {
            let untold = if index + 1 == told.len() { more } else { 0 };
            let (session_id, turn) = (session.to_string(), *turn);
            self.tell(Event::SessionInterrupted { session_id, turn, untold });
        }
    }

    fn tell(&self, event: Event) {
        self.control.send(ControlMessage::Tell(Box::new(event)));
    }
}

/// Orders in one transaction at most.
const BATCH_COUNT: usize = 256;
/// An order that waited longer is refused: its client has been waiting too.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Turns found at once that nobody runs, and that are told one by one.
const INTERRUPTED_COUNT: usize = 100;
/// The pause before a store that could not be opened is tried again.
const OPEN_PAUSE: Duration = Duration::from_secs(1);
/// A store that makes no sense twice within this time is moved out of the way, whatever a check says.
const BROKEN_PAUSE: Duration = Duration::from_secs(60);
/// A store that did not fail for this long has recovered.
const CALM: Duration = Duration::from_secs(5);
