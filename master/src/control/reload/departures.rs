//! Pools that no configuration has any more: their requests end, then their workers, then they are
//! forgotten.
//!
//! ```text
//!  Vacating ── no loop needs it, or the time to drain is over ──▶ Retiring ── no process is left and
//!  no loop needs it ──▶ forgotten
//! ```

use crate::control::master::Master;
use crate::shared::mail::EdgeMessage;
use rip::ids::{LoopIndex, PoolNumber};
use rip::time::Instant;
use std::collections::BTreeSet;

/// A pool on its way out.
pub(super) struct Departure {
    /// Loops that may still need it.
    loops: BTreeSet<LoopIndex>,
    /// When its workers retire in any case; `None` once they do.
    retire_at: Option<Instant>,
    /// It was tried and did not prove itself: once none of its workers is ready, none is started
    /// again for what still waits.
    is_refused: bool,
}

impl Departure {
    /// When it must be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retire_at
    }
}

impl Master {
    /// No request is given to the pool any more: what it has ends, and then it.
    pub(super) fn dismiss_pool(&mut self, pool: PoolNumber, now: Instant) {
        let is_refused = self.reload.fresh.remove(&pool).is_some();
        let Some(crew) = self.crews.get_mut(pool) else { return };
        // What waits for the end of a pause must not wait for the end of the pool.
        crew.pool.hold(false, now);
        let retire_at = Some(now + crew.descriptor().timeouts.drain);
        let mut loops = BTreeSet::new();
        if let Some(edges) = &self.edges {
            loops.extend((0..).take(edges.count()).map(LoopIndex));
            edges.tell(|| EdgeMessage::Vacate(pool));
        }
        self.reload.departures.insert(pool, Departure { loops, retire_at, is_refused });
    }

    /// A loop does not need the pool any more.
    pub(in crate::control) fn pool_left(&mut self, index: LoopIndex, pool: PoolNumber) {
        if let Some(departure) = self.reload.departures.get_mut(&pool) {
            departure.loops.remove(&index);
        }
    }

    /// Goes on with all that is on its way out. True when something was done.
    pub(super) fn see_off(&mut self, now: Instant) -> bool {
        let mut gone = Vec::new();
        let mut is_moved = false;
        for (pool, departure) in &mut self.reload.departures {
            let Some(crew) = self.crews.get_mut(*pool) else {
                gone.push(*pool);
                continue;
            };
            let is_left = departure.loops.is_empty();
            let is_hopeless = departure.is_refused && crew.summary().ready == 0;
            if let Some(due) = departure.retire_at
                && (is_left || is_hopeless || now >= due || self.edges.is_none())
            {
                departure.retire_at = None;
                is_moved = true;
                // Nobody will serve what still waits.
                crew.pool.set_abandoned(true, now);
                crew.core().retire_all(now);
            }
            if departure.retire_at.is_none() && crew.is_gone() && (is_left || self.edges.is_none())
            {
                gone.push(*pool);
            }
        }
        for pool in gone {
            self.reload.departures.remove(&pool);
            if let Some(crew) = self.crews.get(pool) {
                self.past.remember(&crew.pool);
            }
            self.crews.disband(pool);
            self.shop.runtime.forget_pool(pool);
            if let Some(edges) = &self.edges {
                edges.tell(|| EdgeMessage::Forget(pool));
            }
        }
        if self.reload.removed_end_at.is_some_and(|due| now >= due) {
            self.reload.removed_end_at = None;
            if let Some(edges) = &self.edges {
                edges.tell(|| EdgeMessage::EndRemoved);
            }
        }
        is_moved
    }
}
