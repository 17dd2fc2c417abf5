//! One worker's place in the pool.

use super::list::{Linked, Links};
use crate::contract::worker::WorkerState;
use crate::ids::{Generation, WorkerId};
use crate::time::Instant;

/// A place in the pool, with its worker or vacant.
///
/// ```text
///            join            busy, or its connection failed
///   Vacant ───────▶ Ready ─────────────────────────────────▶ Paused
///     ▲               │  ◀──── time passed, or it finished ────┘ │
///     │ remove        │ retire                                   │ retire
///     └────────────── Draining ◀─────────────────────────────────┘
/// ```
/// `remove` leads from every state to `Vacant`. A `Ready` worker with room is *offered*.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) worker: WorkerId,
    pub(super) generation: Generation,
    /// Leases that are not yet given back.
    pub(super) inflight: u32,
    /// Those among them whose client left.
    pub(super) abandoned: u32,
    /// Upgraded connections; they are no leases.
    pub(super) tunnels: u32,
    /// Exchanges that ended here.
    pub(super) requests: u64,
    /// Position among all workers ordered by id.
    pub(super) rank: u32,
    /// Pauses since it last finished something; says how long the next one is.
    pub(super) pause_count: u8,
    /// End of the pause; meaningful while `Paused`.
    pub(super) resume_at: Instant,
    /// Neighbours among the offered, or among the paused.
    pub(super) links: Links,
}

impl Slot {
    pub(super) fn new(worker: WorkerId, generation: Generation) -> Self {
        Self {
            state: State::Ready,
            worker,
            generation,
            inflight: 0,
            abandoned: 0,
            tunnels: 0,
            requests: 0,
            rank: 0,
            pause_count: 0,
            resume_at: Instant::default(),
            links: Links::default(),
        }
    }

    pub(super) fn view(&self) -> WorkerView {
        WorkerView {
            worker: self.worker,
            generation: self.generation,
            state: match self.state {
                State::Ready | State::Paused => WorkerState::Ready,
                State::Draining => WorkerState::Draining,
                State::Vacant => WorkerState::Stopped,
            },
            paused: self.state == State::Paused,
            inflight: self.inflight,
            abandoned: self.abandoned,
            tunnels: self.tunnels,
            requests: self.requests,
        }
    }
}

impl Slot {
    /// Nothing goes on here any more.
    pub(super) fn is_idle(&self) -> bool {
        self.inflight == 0 && self.tunnels == 0
    }
}

impl Linked for Slot {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Draining,
    Paused,
    Ready,
    Vacant,
}

/// A worker as the pool sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorkerView {
    /// The worker.
    pub worker: WorkerId,
    /// The code it runs.
    pub generation: Generation,
    /// `Ready` or `Draining`.
    pub state: WorkerState,
    /// It said busy, or could not be connected, and gets nothing for a moment.
    pub paused: bool,
    /// Leases that are not yet given back.
    pub inflight: u32,
    /// Those among them whose client left.
    pub abandoned: u32,
    /// Upgraded connections; they are no leases, but keep a retired worker from being idle.
    pub tunnels: u32,
    /// Exchanges that ended here.
    pub requests: u64,
}

impl WorkerView {
    /// Nothing goes on there: no lease, no tunnel.
    pub fn is_idle(&self) -> bool {
        self.inflight == 0 && self.tunnels == 0
    }
}
