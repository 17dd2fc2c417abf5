//! The life of one worker process, from the decision to fork it until it is reaped.
//!
//! ```text
//!   slot                       worker
//!
//!   Down ── room, pause over ─▶ Spawning ── forked ──▶ Booting ── joined ──▶ Ready ◀─┐
//!    ▲                             │ fork failed          │   │ first of its roll      │ probation
//!    │                             │                      │   └───────▶ Proving ───────┘ over
//!    │                             │  report of failure,  │                │       │ stop, its own quit,
//!    │                             │  start deadline,     │                │       │ its own wish to
//!    │                             │  stop, quit, abort   │                │       ▼ drain, successor
//!    │                             │                      │                │    Draining
//!    │                             │                      ▼                ▼       │ last lease ended,
//!    │                             │                   Exiting ◀────────────────────┘ drain deadline
//!    │                             ▼                      │ SIGTERM; kill deadline: SIGKILL, again
//!    └─ restart decides ◀─────── Reaped ◀── exit, from any state
//!    │
//!   Abandoned ── a minute later: one more try
//! ```
//!
//! What a worker *is* stands in its [`Stage`]; whether it is *wanted* stands in its slot: it holds
//! the seat, or is the successor of who does, or leaves. Every stage but Ready has a deadline, and the
//! first one is set before the fork. A process that SIGKILL does not end is sent it again.

use super::output::Output;
use super::recycle::{Lifespan, Wish};
use crate::contract::worker::WorkerState;
use crate::ids::{Generation, WorkerId};
use crate::limits;
use crate::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Where a worker is in its life. One that was reaped is no worker any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// About to be forked.
    Spawning,
    /// Its process runs and has not joined.
    Booting,
    /// It has joined, and is not trusted with work before it has stayed up for a moment.
    Proving,
    /// It is offered work.
    Ready,
    /// It is offered no work and finishes what it has.
    Draining,
    /// It has no work and should end.
    Exiting,
}

impl Stage {
    /// The stage as the outside sees it.
    pub fn state(self) -> WorkerState {
        match self {
            Self::Spawning | Self::Booting | Self::Proving => WorkerState::Starting,
            Self::Ready => WorkerState::Ready,
            Self::Draining | Self::Exiting => WorkerState::Draining,
        }
    }
}

/// Deadlines of a worker's life.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From spawn to join.
    pub start: Duration,
    /// From retirement to SIGTERM in any case.
    pub drain: Duration,
    /// From SIGTERM to SIGKILL.
    pub kill: Duration,
}

/// One worker.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) generation: Generation,
    pub(super) slot: usize,
    /// Why it will never serve, or had to be ended.
    pub(super) failure: Option<String>,
    /// Why it is to be replaced, start-first.
    pub(super) wish: Option<Wish>,
    pub(super) lifespan: Lifespan,
    /// Its slot is wanted no more.
    pub(super) dismissed: bool,
    stage: Stage,
    deadline: Option<Instant>,
    ready: Option<Instant>,
    /// When it has served long enough.
    aged: Option<Instant>,
    /// It runs the app's setup.
    sets_up: bool,
    quit_waits: bool,
    terminated: bool,
    /// It was told to go before its last lease had ended.
    cut: bool,
}

impl Worker {
    /// A worker about to be forked.
    pub(super) fn new(
        id: WorkerId,
        generation: Generation,
        slot: usize,
        lifespan: Lifespan,
        deadline: Instant,
    ) -> Self {
        Self {
            id,
            generation,
            slot,
            failure: None,
            wish: None,
            lifespan,
            dismissed: false,
            stage: Stage::Spawning,
            deadline: Some(deadline),
            ready: None,
            aged: None,
            sets_up: false,
            quit_waits: false,
            terminated: false,
            cut: false,
        }
    }

    pub(super) fn forked(&mut self) {
        if self.stage == Stage::Spawning {
            self.stage = Stage::Booting;
        }
    }

    /// It runs the app's setup first, until `deadline` at most.
    pub(super) fn begin_setup(&mut self, deadline: Instant) {
        if matches!(self.stage, Stage::Spawning | Stage::Booting) {
            self.sets_up = true;
            self.deadline = Some(deadline);
        }
    }

    /// It has run the setup and must have joined at `deadline`.
    pub(super) fn end_setup(&mut self, deadline: Instant) {
        if std::mem::take(&mut self.sets_up) && self.stage == Stage::Booting {
            self.deadline = Some(deadline);
        }
    }

    /// It has joined. It becomes ready by this, or after `probation`; nothing changes when it has
    /// joined before or cannot any more. True when it is ready now and was not.
    pub(super) fn join(&mut self, probation: Option<Duration>, now: Instant) -> bool {
        if self.stage != Stage::Booting {
            return false;
        }
        match probation {
            None => self.become_ready(now),
            Some(probation) => {
                self.stage = Stage::Proving;
                self.deadline = Some(now + probation);
            }
        }
        self.stage == Stage::Ready
    }

    /// True when it became ready by this: its probation is over.
    pub(super) fn prove(&mut self, now: Instant) -> bool {
        let proven = self.stage == Stage::Proving && self.deadline.is_some_and(|end| now >= end);
        if proven {
            self.become_ready(now);
        }
        proven
    }

    /// Wants it replaced, unless something more urgent wants so already.
    pub(super) fn wish(&mut self, wish: Wish) {
        self.wish = Some(self.wish.map_or(wish, |before| before.min(wish)));
    }

    /// No new work; what has not joined yet goes at once.
    pub(super) fn retire(&mut self, patience: &Patience, now: Instant, out: &mut VecDeque<Output>) {
        match self.stage {
            Stage::Ready => {
                self.stage = Stage::Draining;
                self.deadline = Some(now + patience.drain);
                out.push_back(Output::Retire { worker: self.id });
            }
            Stage::Spawning | Stage::Booting | Stage::Proving => {
                self.terminate(patience.kill, now, out);
            }
            Stage::Draining | Stage::Exiting => {}
        }
    }

    /// The worker said that it leaves. It is answered when it has no work.
    pub(super) fn quit(&mut self, patience: &Patience, now: Instant, out: &mut VecDeque<Output>) {
        match self.stage {
            Stage::Ready | Stage::Draining => {
                self.quit_waits = true;
                self.retire(patience, now, out);
            }
            Stage::Spawning | Stage::Booting | Stage::Proving => {
                self.leave(patience.kill, now);
                out.push_back(Output::AnswerQuit { worker: self.id, drained: true });
            }
            Stage::Exiting => {
                out.push_back(Output::AnswerQuit { worker: self.id, drained: !self.cut });
            }
        }
    }

    /// Its last lease ended.
    pub(super) fn idle(&mut self, kill: Duration, now: Instant, out: &mut VecDeque<Output>) {
        if self.stage != Stage::Draining {
            return;
        }
        self.leave(kill, now);
        if self.quit_waits {
            // It waits for this answer and then ends by itself.
            self.quit_waits = false;
            out.push_back(Output::AnswerQuit { worker: self.id, drained: true });
        } else {
            self.terminate(kill, now, out);
        }
    }

    /// SIGTERM, and SIGKILL after `kill`; a worker already told so only gets the nearer deadline.
    pub(super) fn terminate(&mut self, kill: Duration, now: Instant, out: &mut VecDeque<Output>) {
        self.cut |= matches!(self.stage, Stage::Ready | Stage::Draining);
        self.leave(kill, now);
        if self.quit_waits {
            self.quit_waits = false;
            out.push_back(Output::AnswerQuit { worker: self.id, drained: false });
        }
        if !self.terminated {
            self.terminated = true;
            out.push_back(Output::Terminate { worker: self.id });
        }
    }

    /// SIGABRT to the app, and SIGKILL to all of it after `grace`: it does not end a request. False
    /// when it is being ended anyway.
    pub(super) fn abort(
        &mut self,
        grace: Duration,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) -> bool {
        match self.stage {
            Stage::Ready => out.push_back(Output::Retire { worker: self.id }),
            Stage::Draining => {}
            Stage::Spawning | Stage::Booting | Stage::Proving | Stage::Exiting => return false,
        }
        self.cut = true;
        self.leave(grace, now);
        if std::mem::take(&mut self.quit_waits) {
            out.push_back(Output::AnswerQuit { worker: self.id, drained: false });
        }
        out.push_back(Output::Abort { worker: self.id });
        true
    }

    /// SIGKILL now.
    pub(super) fn kill(&mut self, kill: Duration, now: Instant, out: &mut VecDeque<Output>) {
        self.stage = Stage::Exiting;
        self.deadline = Some(now + kill.max(KILL_AGAIN));
        out.push_back(Output::Kill { worker: self.id });
    }

    /// Acts on the stage's deadline if it has passed.
    pub(super) fn expire(&mut self, patience: &Patience, now: Instant, out: &mut VecDeque<Output>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.stage {
            Stage::Spawning | Stage::Booting => {
                self.failure = Some(match self.sets_up {
                    true => format!("the setup did not end within {:?}", limits::SETUP_TIMEOUT),
                    false => format!("not ready within {:?}", patience.start),
                });
                self.terminate(patience.kill, now, out);
            }
            Stage::Proving => {}
            Stage::Ready => self.deadline = None,
            Stage::Draining => self.terminate(patience.kill, now, out),
            Stage::Exiting => self.kill(patience.kill, now, out),
        }
    }

    /// Moves its deadline by `absent`: nobody was awake to see it kept.
    pub(super) fn excuse(&mut self, absent: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline + absent);
        self.aged = self.aged.map(|aged| aged + absent);
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// When it will have served long enough, if nothing wants it replaced before.
    pub(super) fn aged(&self) -> Option<Instant> {
        self.aged.filter(|_| self.stage == Stage::Ready && self.wish.is_none())
    }

    /// It has other limits from now on, counted from when it became ready.
    pub(super) fn limit(&mut self, lifespan: Lifespan) {
        self.aged = self.ready.zip(lifespan.age()).map(|(ready, age)| ready + age);
        self.lifespan = lifespan;
    }

    /// How long it had been offered work at `now`; zero if it never was.
    pub(super) fn up(&self, now: Instant) -> Duration {
        self.ready.map_or(Duration::ZERO, |ready| now.since(ready))
    }

    fn become_ready(&mut self, now: Instant) {
        self.stage = Stage::Ready;
        self.ready = Some(now);
        self.aged = self.lifespan.age().map(|age| now + age);
        self.deadline = None;
    }

    fn leave(&mut self, kill: Duration, now: Instant) {
        let due = now + kill;
        self.deadline = match self.deadline {
            Some(deadline) if self.stage == Stage::Exiting => Some(deadline.min(due)),
            _ => Some(due),
        };
        self.stage = Stage::Exiting;
    }
}

/// The least time between two SIGKILLs to one process.
const KILL_AGAIN: Duration = Duration::from_secs(1);
