//! Orders for the store of sessions, and its answers.
//!
//! There is room for what carries an obligation, always: the events and the end of a turn that runs
//! (one order of each turn is out at a time), and a turn that was given up. Everything else is
//! refused beyond a bound: nobody waits behind a store that does not keep up.

use crate::reactor::mailbox::Sender;
use crate::shared::mail::EdgeMessage;
use crate::shared::store_state::{CountAsk, StoreState};
use rip::session::claim::{Attempt, Claim, MessageOrder, StartOrder, WakeOrder};
use rip::session::end::{AppendOrder, Appended, EndOrder, Ended};
use rip::session::look::{Cancel, CancelOrder, Delete, DeleteOrder, LookOrder, View};
use rip::session::viewer::Page;
use rip::session::{EventId, Refusal, SessionId, TokenKey};
use rip::time::Instant;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Where orders for the store go. Cheap to clone.
#[derive(Clone, Default)]
pub struct StoreQueue {
    shared: Arc<Shared>,
}

impl StoreQueue {
    /// A queue that nobody serves yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands `job` to the agent. It is answered by [`StoreMail::Done`], also when the store fails or the
    /// agent has ended; from one sender, orders that write are done in the order they came.
    pub fn submit(&self, job: StoreJob) {
        let lane = if job.order.only_reads() { Lane::Read } else { Lane::Write };
        let mut lanes = self.shared.lock();
        let refusal = match () {
            () if lanes.is_closed => Some(CLOSED),
            () if job.order.is_obliged() => None,
            () if lanes.waiting(lane) >= WAITING_COUNT => Some(BUSY),
            () => None,
        };
        if let Some(reason) = refusal {
            drop(lanes);
            return job.refuse(reason);
        }
        // Who works already looks again before it sleeps: waking costs a system call.
        let is_asleep = lanes.is_idle(lane);
        lanes.push(lane, job);
        drop(lanes);
        if is_asleep {
            self.shared.changed(lane).notify_one();
        }
    }

    /// Hands `job` on to whoever writes: what it found wants to be written.
    pub fn pass_on(&self, job: StoreJob) {
        let mut lanes = self.shared.lock();
        if lanes.is_closed {
            drop(lanes);
            return job.refuse(CLOSED);
        }
        lanes.write.push_back(job);
        drop(lanes);
        self.shared.changed(Lane::Write).notify_one();
    }

    /// Gives a claimed turn up that nobody runs: it is interrupted, its token stays good.
    pub fn abandon(&self, attempt: Attempt) {
        let mut lanes = self.shared.lock();
        if !lanes.is_closed {
            lanes.abandoned.push(attempt);
            drop(lanes);
            self.shared.changed(Lane::Write).notify_one();
        }
    }

    /// A loop that runs turns: timers that are due are told to one of those.
    pub fn attach(&self, to: Sender<EdgeMessage>) {
        self.shared.lock().loops.push(to);
    }

    /// The loops that were attached. For the agent.
    pub fn loops(&self) -> Vec<Sender<EdgeMessage>> {
        self.shared.lock().loops.clone()
    }

    /// What tokens are made with; `None` while the store could not be opened yet. It changes when another
    /// store with another key is found in the place of the one before.
    pub fn key(&self) -> Option<TokenKey> {
        // Nothing that can panic runs under this lock.
        self.shared.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tokens are made with `key` from now on. For the agent.
    pub fn set_key(&self, key: TokenKey) {
        *self.shared.key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// Has somebody count the sessions in the store.
    pub fn count(&self, ask: CountAsk) {
        let mut lanes = self.shared.lock();
        if lanes.is_closed {
            drop(lanes);
            return ask.answer(None);
        }
        lanes.read.push_back(ReadJob::Count(ask));
        drop(lanes);
        self.shared.changed(Lane::Read).notify_one();
    }

    /// Hands the question on to whoever writes.
    pub fn pass_count_on(&self, ask: CountAsk) {
        let mut lanes = self.shared.lock();
        if lanes.is_closed {
            drop(lanes);
            return ask.answer(None);
        }
        lanes.counts.push(ask);
        drop(lanes);
        self.shared.changed(Lane::Write).notify_one();
    }

    /// How the store is.
    pub fn state(&self) -> StoreState {
        self.shared.lock().state
    }

    /// The store is like this from now on. For the agent.
    pub fn set_state(&self, state: StoreState) {
        self.shared.lock().state = state;
    }

    /// Up to `count` orders that write, and all turns that were given up; waits for the first one, but
    /// not beyond `pause`. `None` when the queue is closed and everything is done. For the agent.
    pub fn take_writes(&self, count: usize, pause: Duration) -> Option<Taken> {
        let lanes = self.shared.lock();
        let is_idle = |lanes: &mut Lanes| lanes.is_idle(Lane::Write) && !lanes.is_closed;
        let (mut lanes, _) = self
            .shared
            .write
            .wait_timeout_while(lanes, pause, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if lanes.is_closed && lanes.write.is_empty() {
            return None;
        }
        let count = count.min(lanes.write.len());
        let jobs = lanes.write.drain(..count).collect();
        let (abandoned, counts) =
            (std::mem::take(&mut lanes.abandoned), std::mem::take(&mut lanes.counts));
        Some(Taken { jobs, abandoned, counts })
    }

    /// The next thing to be read, waited for; `None` when the queue is closed and everything is done.
    /// For the agent.
    pub fn take_read(&self) -> Option<ReadJob> {
        let lanes = self.shared.lock();
        let is_idle = |lanes: &mut Lanes| lanes.is_idle(Lane::Read) && !lanes.is_closed;
        let mut lanes =
            self.shared.read.wait_while(lanes, is_idle).unwrap_or_else(PoisonError::into_inner);
        lanes.read.pop_front()
    }

    /// No further order is taken; those that wait are done.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.read.notify_all();
        self.shared.write.notify_all();
    }
}

/// What the agent has taken.
#[derive(Default)]
pub struct Taken {
    /// Orders, oldest first.
    pub jobs: Vec<StoreJob>,
    /// Turns that were given up.
    pub abandoned: Vec<Attempt>,
    /// Who wants to know how many sessions there are.
    pub counts: Vec<CountAsk>,
}

/// What is to be read.
pub enum ReadJob {
    /// An order.
    Order(StoreJob),
    /// How many sessions there are.
    Count(CountAsk),
}

/// An order and who gets the answer.
pub struct StoreJob {
    /// The order.
    pub order: StoreOrder,
    /// Who gets the answer.
    pub reply: Sender<EdgeMessage>,
    /// What the answer is for.
    pub key: u64,
    /// When it was made.
    pub since: Instant,
}

impl StoreJob {
    /// Sends the answer.
    pub fn answer(self, answer: StoreAnswer) {
        let done = StoreMail::Done { key: self.key, answer };
        self.reply.send(EdgeMessage::Store(Box::new(done)));
    }

    /// Answers that the store cannot do it, for `reason`.
    pub fn refuse(self, reason: &'static str) {
        let answer = self.order.refused(reason);
        self.answer(answer);
    }
}

/// What the store is to do. Whoever is said to own a claim: the agent's own epoch takes its place.
#[derive(Clone, Debug)]
pub enum StoreOrder {
    /// Start a session.
    Start(StartOrder),
    /// Run the next turn.
    Message(MessageOrder),
    /// Run a turn of a session that waits.
    Wake(WakeOrder),
    /// Store events.
    Append(AppendOrder),
    /// End a turn.
    End(EndOrder),
    /// Cancel the running turn.
    Cancel(CancelOrder),
    /// Delete a session.
    Delete(DeleteOrder),
    /// Look at a session.
    Look(LookOrder),
    /// Read events.
    Page {
        /// Of this session.
        session: SessionId,
        /// Behind this one.
        after: EventId,
        /// At most so many; and no more than [`rip::limits::EVENT_PAGE_BYTES`], but one.
        count: u32,
    },
}

impl StoreOrder {
    /// It changes nothing, or as good as nothing.
    pub const fn only_reads(&self) -> bool {
        matches!(self, Self::Look(_) | Self::Page { .. })
    }

    /// A turn that runs depends on it: it is never refused for want of room.
    pub const fn is_obliged(&self) -> bool {
        matches!(self, Self::Append(_) | Self::End(_))
    }

    /// The answer when the store cannot do it, for `reason`: nothing has changed.
    pub fn refused(&self, reason: &'static str) -> StoreAnswer {
        let refusal = Refusal::Store(reason);
        match self {
            Self::Start(_) | Self::Message(_) | Self::Wake(_) => {
                StoreAnswer::Claim { claim: Box::new(Claim::Refused(refusal)), state: None }
            }
            Self::Append(_) => StoreAnswer::Appended(Err(reason)),
            Self::End(_) => StoreAnswer::Ended(Err(reason)),
            Self::Cancel(_) => StoreAnswer::Cancel(Cancel::Refused(refusal)),
            Self::Delete(_) => StoreAnswer::Delete(Delete::Refused(refusal)),
            Self::Look(_) => StoreAnswer::Look(Box::new(Err(refusal))),
            Self::Page { .. } => StoreAnswer::Page(Err(reason)),
        }
    }
}

/// What the store has done. An `Err` is the reason why it could not, in a word or two.
#[derive(Clone, Debug)]
pub enum StoreAnswer {
    /// To a claim.
    Claim {
        /// What became of it.
        claim: Box<Claim>,
        /// What the app wanted kept: JSON. Only with a turn that is to run.
        state: Option<String>,
    },
    /// To [`StoreOrder::Append`].
    Appended(Result<Appended, &'static str>),
    /// To [`StoreOrder::End`].
    Ended(Result<Ended, &'static str>),
    /// To [`StoreOrder::Cancel`].
    Cancel(Cancel),
    /// To [`StoreOrder::Delete`].
    Delete(Delete),
    /// To [`StoreOrder::Look`].
    Look(Box<Result<View, Refusal>>),
    /// To [`StoreOrder::Page`]; `None`: the session is gone.
    Page(Result<Option<Page>, &'static str>),
}

/// From the store to a loop.
#[derive(Clone, Debug)]
pub enum StoreMail {
    /// An order is done.
    Done {
        /// What it was for.
        key: u64,
        /// The answer.
        answer: StoreAnswer,
    },
    /// A turn that a claim of this loop began is to be cancelled: it was asked for by way of another
    /// master.
    Cancelled {
        /// What the claim was for.
        key: u64,
        /// The turn.
        attempt: Attempt,
    },
    /// Turns that nobody ran were ended: who looks on is to look again.
    Swept {
        /// Their sessions.
        sessions: Vec<SessionId>,
    },
    /// A session's timer is due: it wants a [`WakeOrder`] without `scope` and `wake`.
    Due {
        /// The session.
        session: SessionId,
        /// The site, mount and app it belongs to.
        scope: String,
    },
}

#[derive(Clone, Copy)]
enum Lane {
    Read,
    Write,
}

#[derive(Default)]
struct Shared {
    lanes: Mutex<Lanes>,
    read: Condvar,
    write: Condvar,
    key: RwLock<Option<TokenKey>>,
}

#[derive(Default)]
struct Lanes {
    read: VecDeque<ReadJob>,
    write: VecDeque<StoreJob>,
    abandoned: Vec<Attempt>,
    counts: Vec<CountAsk>,
    state: StoreState,
    loops: Vec<Sender<EdgeMessage>>,
    is_closed: bool,
}

impl Lanes {
    fn waiting(&self, lane: Lane) -> usize {
        match lane {
            Lane::Read => self.read.len(),
            Lane::Write => self.write.len(),
        }
    }

    /// Nothing waits: whoever works there sleeps, or will look once more before it does.
    fn is_idle(&self, lane: Lane) -> bool {
        match lane {
            Lane::Read => self.read.is_empty(),
            Lane::Write => {
                self.write.is_empty() && self.abandoned.is_empty() && self.counts.is_empty()
            }
        }
    }

    fn push(&mut self, lane: Lane, job: StoreJob) {
        match lane {
            Lane::Read => self.read.push_back(ReadJob::Order(job)),
            Lane::Write => self.write.push_back(job),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        // Nothing that can panic runs under this lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, lane: Lane) -> &Condvar {
        match lane {
            Lane::Read => &self.read,
            Lane::Write => &self.write,
        }
    }
}

/// Orders that wait, of each kind, before further ones are refused.
pub const WAITING_COUNT: usize = 4096;

const BUSY: &str = "busy";
const CLOSED: &str = "closed";
