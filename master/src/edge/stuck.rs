//! Workers that do not end an exchange that nobody waits for any more.
//!
//! Its lease is kept, so the worker gets nothing else. When it has not ended the exchange some time
//! after it was abandoned, the control loop is told which request it was, and acts.

use super::exchange::Exchange;
use super::link::Duty;
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use crate::shared::mail::{ControlMessage, StuckExchange};
use rip::observe::access::path_of;
use rip::time::Instant;

/// An exchange that was abandoned on a link.
pub(super) struct Left {
    /// The turn of a session that it was made for, which wants to hear of the end.
    pub(super) turn: Option<Key>,
    request_id: String,
    method: String,
    path: String,
    leased: Instant,
}

impl Edge {
    /// The exchange is about to be abandoned on `link`: its worker has the app's `stuck` time to end
    /// it.
    pub(super) fn watch_for_stuck(&mut self, link: Key, exchange: &Exchange) {
        let now = self.clock.now();
        let Some(link_entry) = self.links.slab.get_mut(link) else { return };
        let record = &exchange.record;
        link_entry.left = Some(Box::new(Left {
            turn: None,
            request_id: exchange.request_id.to_string(),
            method: String::from_utf8_lossy(&record.method).into_owned(),
            path: String::from_utf8_lossy(path_of(&record.path)).into_owned(),
            leased: record.leased.unwrap_or(now),
        }));
        self.wheel.schedule(Timer::Stuck(link), now + exchange.patience.stuck);
    }

    /// A turn does not wait for its answer any more. Where a worker may still be busy with it the link is
    /// returned, and `News::Free` follows when it is not.
    pub(super) fn leave_worker(&mut self, asked: Key, turn: Key) -> Option<Key> {
        let link = self.exchanges.get(asked)?.link;
        self.stop_asking(asked);
        self.links.slab.get_mut(link?)?.left.as_mut()?.turn = Some(turn);
        link
    }

    /// The time is over: a link that is still abandoned belongs to a worker that is stuck.
    pub(super) fn tell_stuck(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(link) = self.links.slab.get_mut(key) else { return };
        if !matches!(link.duty, Duty::Abandoned { .. }) {
            return;
        }
        let Some(worker) = link.worker().map(|place| place.worker) else { return };
        let Some(left) = link.left.take() else { return };
        self.shared.control.send(ControlMessage::WorkerStuck(StuckExchange {
            worker,
            request_id: left.request_id,
            method: left.method,
            path: left.path,
            age: now.since(left.leased),
        }));
    }
}
