//! The pools a loop knows, and whether any of its requests still needs one that has had its time.

use crate::shared::pools::AppPool;
use rip::ids::PoolNumber;
use rip::time::Instant;
use std::sync::Arc;

/// The pools by number. Numbers are never used again, and few: one for each start of an app.
#[derive(Default)]
pub(super) struct Seats {
    seats: Vec<Option<Seat>>,
}

/// One pool as this loop uses it.
pub(super) struct Seat {
    pub(super) pool: Arc<AppPool>,
    /// Exchanges of this loop that were given to it and have not ended.
    exchanges: usize,
    /// The control loop waits for the last of them.
    leaving: bool,
    /// When this loop looks at the pool's busy workers.
    pub(super) pause: Option<Instant>,
}

impl Seats {
    /// Makes `pool` known.
    pub(super) fn learn(&mut self, pool: &Arc<AppPool>) {
        let index = pool.number.0 as usize;
        if self.seats.len() <= index {
            self.seats.resize_with(index + 1, || None);
        }
        if let Some(place @ None) = self.seats.get_mut(index) {
            let pool = Arc::clone(pool);
            *place = Some(Seat { pool, exchanges: 0, leaving: false, pause: None });
        }
    }

    /// The pool with this number. Every exchange's is known as long as it lives.
    pub(super) fn pool(&self, number: PoolNumber) -> Option<&Arc<AppPool>> {
        Some(&self.seats.get(number.0 as usize)?.as_ref()?.pool)
    }

    /// This loop's dealings with the pool.
    pub(super) fn seat(&mut self, number: PoolNumber) -> Option<&mut Seat> {
        self.seats.get_mut(number.0 as usize)?.as_mut()
    }

    /// An exchange is given to the pool.
    pub(super) fn enter(&mut self, number: PoolNumber) {
        if let Some(seat) = self.seat(number) {
            seat.exchanges += 1;
        }
    }

    /// An exchange of the pool has ended. True when it was the last that the control loop waits
    /// for.
    #[must_use]
    pub(super) fn leave(&mut self, number: PoolNumber) -> bool {
        let Some(seat) = self.seat(number) else { return false };
        debug_assert!(seat.exchanges > 0);
        seat.exchanges = seat.exchanges.saturating_sub(1);
        seat.exchanges == 0 && std::mem::take(&mut seat.leaving)
    }

    /// No new exchange is given to the pool any more. True when none is left; otherwise
    /// [`Self::leave`] will say so.
    #[must_use]
    pub(super) fn vacate(&mut self, number: PoolNumber) -> bool {
        let Some(seat) = self.seat(number) else { return true };
        seat.leaving = seat.exchanges > 0;
        !seat.leaving
    }

    /// The pool is needed again after all.
    pub(super) fn stay(&mut self, number: PoolNumber) {
        if let Some(seat) = self.seat(number) {
            seat.leaving = false;
        }
    }

    /// The pool is gone: no lease of it is held any more.
    pub(super) fn forget(&mut self, number: PoolNumber) {
        if let Some(place) = self.seats.get_mut(number.0 as usize) {
            *place = None;
        }
    }
}
