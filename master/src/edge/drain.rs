//! The end of a loop's work: what was accepted is finished, then it says so.

use super::exchange::State;
use super::front::Front;
use super::identity::Entry;
use super::turn::Edge;
use crate::shared::mail::Farewell;
use rip::contract::reason::Reason;
use rip::guard::phase::Phase;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A loop that finishes.
pub(super) struct Drain {
    /// How long an idle connection may ask once more.
    pub(super) idle: Duration,
    /// Another server takes its place.
    pub(super) is_succeeded: bool,
    reported: bool,
}

impl Edge {
    /// Takes in what the backlogs still hold, then finishes: each connection's next answer is its
    /// last, and idle ones are closed after a while.
    pub(super) fn begin_drain(&mut self, farewell: &Farewell) {
        self.accept_the_last(farewell);
        let idle_until = farewell.idle_until;
        let idle = idle_until.since(self.clock.now());
        let is_succeeded = farewell.left_to.is_some();
        self.drain = Some(Drain { idle, is_succeeded, reported: false });
        self.end_live_streams();
        self.spread_closes(idle_until);
        for key in self.fronts.keys().collect::<Vec<_>>() {
            let Some(front) = self.fronts.get_mut(key) else { continue };
            if front.speaker.is_some() {
                continue;
            }
            front.server.close_after_this();
            let is_silent = front.entry == Entry::HeaderAwaited || front.transport.is_handshaking();
            if front.deadlines.at(Phase::Idle).is_some() {
                self.front_deadline(key, Phase::Idle, idle_until);
            } else if let Some(at) = front.deadlines.at(Phase::Head).filter(|_| is_silent) {
                // A connection that somebody holds ready is an idle one.
                self.front_deadline(key, Phase::Head, at.min(idle_until));
            }
        }
        self.drain_views();
    }

    /// Tells the control loop, once, that nothing is left to finish.
    pub(super) fn look_whether_drained(&mut self) {
        let idle = self.fronts.is_empty()
            && self.exchanges.is_empty()
            && self.sockets.slab.is_empty()
            && self.sessions.is_empty();
        if let Some(drain) = &mut self.drain
            && idle
            && !drain.reported
        {
            drain.reported = true;
            let message = crate::shared::mail::ControlMessage::LoopDrained(self.index);
            self.shared.control.send(message);
        }
    }

    /// Ends the exchanges of rules that the active configuration does not have any more.
    pub(super) fn end_removed(&mut self) {
        self.look_at_configuration();
        let active = Arc::clone(self.snapshots.active());
        let rules: HashSet<&str> = active.config.routes.iter().map(|rule| &*rule.id).collect();
        for key in self.exchanges.keys().collect::<Vec<_>>() {
            let Some(exchange) = self.exchanges.get(key) else { continue };
            let born_with = self.snapshots.get(exchange.snapshot);
            let rule = born_with.and_then(|snapshot| snapshot.config.routes.get(exchange.rule));
            // A tunnel ends when one of its sides does.
            let ends = exchange.state != State::Tunnelling;
            let is_removed = match (&exchange.own, rule) {
                (Some(_), _) => (self.seats.pool(exchange.pool))
                    .is_some_and(|pool| active.config.app_index(&pool.id).is_none()),
                (None, rule) => rule.is_some_and(|rule| !rules.contains(&*rule.id)),
            };
            if ends && is_removed {
                self.fail(key, Reason::RouteRemoved);
            }
        }
    }

    /// Closes everything. Returns how many exchanges were cut off.
    pub(super) fn cut_everything(&mut self) -> u64 {
        self.abandon_turns();
        let mut cut = self.abandon_lanes();
        for key in self.fronts.keys().collect::<Vec<_>>() {
            if self.fronts.get(key).is_some_and(Front::is_busy) {
                cut += 1;
            }
            self.cut_front(key, Reason::Stopping);
        }
        for key in self.exchanges.keys().collect::<Vec<_>>() {
            cut += 1;
            self.fail(key, Reason::Stopping);
        }
        cut
    }
}
