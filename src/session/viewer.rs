//! One who looks on: what of a session's events it gets, from where, and when it has them all.
//!
//! A viewer remembers a position and nothing else. Whatever it is given comes from the store (or from
//! the newest events in memory, which are the same), at its own speed: a slow one costs nobody anything.

use super::access::Reading;
use super::ask::Form;
use super::claim::Run;
use super::event::{Closes, Event};
use super::event_id::{Cursor, EventId};
use super::id::SessionId;
use super::ledger::Reset;
use super::look::View;
use super::refusal::Refusal;
use crate::limits::EVENT_PAGE_COUNT;
use crate::time::Instant;

/// One who looks on.
///
/// ```text
///            ┌───────── page ──────────┐
///            ▼                         │ more
///  open ─▶ Wanting ─────────────────▶ ─┤
///            ▲                         │ all read, a turn runs (or a client waits for one)
///            └──── stirred ── Waiting ◀┤
///                                      │ all read, nothing runs; the turn's end was read; time over
///                             Done ◀───┘
/// ```
#[derive(Debug)]
pub struct Viewer {
    session: SessionId,
    form: Form,
    state: State,
    /// What it has read last.
    after: EventId,
    /// It wants this turn only.
    turn: Option<u64>,
    /// It wants one attempt of that turn only.
    is_of_run: bool,
    /// It begins with whatever is the oldest event when it reads.
    is_from_earliest: bool,
    /// It was told that its cursor leads nowhere.
    reset: Option<Reset>,
    /// JSON: how many more it takes.
    room: u32,
    /// JSON: until when it waits for the first one.
    wait_until: Option<Instant>,
    /// JSON: something was read.
    has_read: bool,
    is_up_to_date: bool,
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Done,
    Waiting,
    Wanting,
}

/// What a viewer does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// It has all it will get.
    Done,
    /// It wants a page of the events behind this one, this many at most.
    Page {
        /// The event that it has read last.
        after: EventId,
        /// How many.
        count: u32,
    },
    /// It wants to be told of new events, and of the time.
    Wait {
        /// When to give up.
        until: Option<Instant>,
    },
}

/// How a reading begins.
#[derive(Debug)]
pub enum Opening {
    /// There is nothing left to read, and no turn runs: 204, which stops an EventSource.
    Nothing,
    /// Something is read, or awaited.
    Viewer(Viewer),
}

/// Events as they are stored, and how things stood when they were read.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Events in their order, the first of them the one behind the position, unless it was deleted.
    pub events: Vec<Event>,
    /// The session's last event.
    pub last: EventId,
    /// The number of the oldest event that is kept.
    pub first: u64,
    /// The turn that runs.
    pub running: Option<u64>,
}

/// What a page brings a viewer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Its cursor leads nowhere any more: it was too slow. It goes on behind the second value.
    pub reset: Option<(Reset, EventId)>,
    /// These are for it.
    pub events: Vec<Event>,
}

impl Viewer {
    /// Begins to read `session` as `read` asks and `view` allows, at `now`. JSON is refused where a
    /// stream is told to start again.
    pub fn open(read: &Reading, form: Form, view: &View, now: Instant) -> Result<Opening, Refusal> {
        let start = |turn: Option<u64>| match turn {
            Some(turn) if turn != view.turn => match view.asked {
                Some((first, _)) => view.ledger.before(first),
                // It is not remembered, or yet to come.
                None if turn < view.turn => view.ledger.before(0),
                None => view.last(),
            },
            _ => view.ledger.before(view.turn_start),
        };
        let (after, reset) = match read.cursor {
            Cursor::Turn => (start(read.turn), None),
            Cursor::Earliest => (view.ledger.before(0), None),
            Cursor::Now => (view.last(), None),
            Cursor::After(id) => match view.ledger.check(id) {
                Ok(after) => (after, None),
                Err(reset) if form == Form::Json => {
                    return Err(Refusal::Gone { session: view.id, reset });
                }
                Err(reset) => (start(read.turn), Some(reset)),
            },
        };
        let is_behind_turn = match (read.turn, view.asked) {
            (Some(turn), Some((_, last))) => {
                let runs = view.running.is_some() && view.turn == turn;
                after.seq >= last && !runs
            }
            _ => false,
        };
        let is_all_read = after.seq >= view.last().seq && view.running.is_none();
        if form != Form::Json && reset.is_none() && (is_all_read || is_behind_turn) {
            return Ok(Opening::Nothing);
        }
        let wait_until = (form == Form::Json && !read.wait.is_zero()).then(|| now + read.wait);
        Ok(Opening::Viewer(Self {
            session: view.id,
            form,
            state: if is_behind_turn { State::Done } else { State::Wanting },
            after,
            turn: read.turn,
            is_of_run: false,
            is_from_earliest: read.cursor == Cursor::Earliest,
            reset,
            room: if form == Form::Json { read.limit } else { u32::MAX },
            wait_until,
            has_read: false,
            is_up_to_date: is_behind_turn || is_all_read,
            is_closed: is_behind_turn || view.running.is_none(),
        }))
    }

    /// Reads the attempt `run` from its first event to its last, for who began it. It waits for the first
    /// one.
    pub fn of_run(run: &Run, form: Form) -> Self {
        let attempt = run.attempt;
        let viewer = Self::behind(attempt.session, run.last, form);
        Self { state: State::Waiting, turn: Some(attempt.turn), is_of_run: true, ..viewer }
    }

    /// Reads on behind `after`, an event that is known to have been kept, until no turn runs.
    pub fn behind(session: SessionId, after: EventId, form: Form) -> Self {
        Self {
            session,
            form,
            state: State::Wanting,
            after,
            turn: None,
            is_of_run: false,
            is_from_earliest: false,
            reset: None,
            room: u32::MAX,
            wait_until: None,
            has_read: false,
            is_up_to_date: false,
            is_closed: false,
        }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What it has read last: `Rip-Last-Event-ID` before the first page, `next` behind the last one.
    pub fn after(&self) -> EventId {
        self.after
    }

    /// Why its cursor led nowhere: to be told before everything else.
    pub fn reset(&self) -> Option<Reset> {
        self.reset
    }

    /// It has every event there is.
    pub fn is_up_to_date(&self) -> bool {
        self.is_up_to_date
    }

    /// Nothing more comes by itself: no turn runs, or the one that was asked for has ended.
    pub fn is_closed(&self) -> bool {
        self.is_closed && self.is_up_to_date
    }

    /// What it does next.
    pub fn next(&self) -> Next {
        match self.state {
            State::Done => Next::Done,
            State::Waiting => Next::Wait { until: self.wait_until },
            State::Wanting => {
                let count = self.room.min(EVENT_PAGE_COUNT);
                Next::Page { after: self.after, count }
            }
        }
    }

    /// There are new events, or the session's turn has ended.
    pub fn stir(&mut self) {
        if self.state == State::Waiting {
            self.state = State::Wanting;
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_over = self.wait_until.is_some_and(|until| until <= now);
        if is_over && self.state == State::Waiting {
            self.state = State::Done;
        }
    }

    /// Takes a page; `None`: the session is gone.
    pub fn take(&mut self, page: Option<Page>) -> Batch {
        let Some(page) = page else {
            (self.state, self.is_up_to_date, self.is_closed) = (State::Done, true, true);
            return Batch::default();
        };
        let mut read = Batch::default();
        if page.first > self.after.seq + 1 {
            // What it was to read next was deleted meanwhile.
            let before = page.events.first().map_or(page.last, |event| {
                EventId::new(event.id.epoch, event.id.seq.saturating_sub(1))
            });
            self.after = before;
            // In JSON who wants the oldest ones has named none yet that could be gone.
            let is_unnamed = self.form == Form::Json && self.is_from_earliest && !self.has_read;
            read.reset = (!is_unnamed).then_some((Reset::Truncated, before));
        }
        let mut is_turn_over = false;
        // A page from memory may have the commit of a turn that still counts as running.
        let has_committed = page
            .events
            .last()
            .is_some_and(|event| event.closes == Closes::Turn && page.running == Some(event.turn));
        for event in page.events {
            if event.id.seq <= self.after.seq {
                continue;
            }
            // A later turn says so as well, where the end of the own one was deleted.
            is_turn_over |= self.turn.is_some_and(|turn| event.turn > turn);
            if self.room == 0 || is_turn_over {
                break;
            }
            self.after = event.id;
            if self.form == Form::Json {
                self.room -= 1;
            }
            is_turn_over = self.turn == Some(event.turn)
                && match event.closes {
                    Closes::Nothing => false,
                    _ if self.is_of_run => true,
                    // Another attempt may follow.
                    Closes::Attempt => event.id.seq >= page.last.seq && page.running != self.turn,
                    Closes::Turn => true,
                };
            self.has_read = true;
            read.events.push(event);
        }
        self.is_up_to_date = is_turn_over || self.after.seq >= page.last.seq;
        self.is_closed = page.running.is_none() || is_turn_over || has_committed;
        let is_json = self.form == Form::Json;
        let is_all = self.is_up_to_date;
        self.state = if is_turn_over || self.room == 0 || (is_json && self.has_read) {
            State::Done
        } else if !is_all {
            State::Wanting
        } else if page.running.is_some() && !is_json || is_json && self.wait_until.is_some() {
            State::Waiting
        } else {
            State::Done
        };
        read
    }
}
