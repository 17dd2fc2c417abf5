//! What clients are told: letters from the hub into outboxes.

use super::socket::{Hall, Sockets};
use super::speech::{Speaker, Stage};
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use rip::guard::phase::Phase;
use rip::observe::counter::Counter;
use rip::realtime::outbox::Pushed;
use rip::realtime::{Deed, Letter};
use rip::time::Instant;
use std::time::Duration;

impl Edge {
    /// A hub says something to clients of this loop.
    pub(super) fn receive_letter(&mut self, hub: u32, letter: &Letter) {
        let Sockets { slab, halls, touched, .. } = &mut self.sockets;
        let Some(Hall { roll, .. }) = halls.get_mut(hub as usize).and_then(Option::as_mut) else {
            return;
        };
        let (mut delivered, mut dropped) = (0, 0);
        let (fronts, blocks) = (&mut self.fronts, &mut self.blocks);
        let count = roll.apply(letter, &mut |key, deed| {
            let key = Key::from_u64(key);
            let Some(socket) = slab.get_mut(key) else { return false };
            if !std::mem::replace(&mut socket.is_touched, true) {
                touched.push_back(key);
            }
            if socket.view.is_some() {
                let front = socket.speech.front.and_then(|front| fronts.get_mut(front));
                let shown = front.is_some_and(|front| socket.show(deed, front, blocks));
                delivered += u64::from(shown);
                return shown;
            }
            let pushed = match deed {
                Deed::Send { frame, is_lossy, .. } => socket.speech.outbox.push(frame, is_lossy),
                Deed::SendMissed { frame, .. } => return socket.speech.outbox.push_missed(frame),
                Deed::Close(close) => {
                    socket.say_close(close.code, &close.reason);
                    return true;
                }
                Deed::Overflow => Pushed::Slow,
                Deed::GroupLimit => {
                    log::warn!("{}: {} is in too many groups", socket.hub.app, socket.id);
                    return false;
                }
            };
            match pushed {
                Pushed::Taken { dropped: older } => {
                    delivered += 1;
                    dropped += u64::from(older);
                }
                Pushed::Dropped => dropped += 1,
                Pushed::Slow => socket.is_slow = true,
                Pushed::Closing => {}
            }
            matches!(pushed, Pushed::Taken { .. })
        });
        let shard = self.shard();
        shard.add(Counter::SocketDeliveries, delivered);
        shard.add(Counter::SocketDropped, dropped);
        if let Some(count) = count {
            self.send_count(count);
        }
    }

    /// Looks after clients that got something or were closed, so many that others have their turn, and
    /// tells the hubs what this loop has got through.
    pub(super) fn tend_sockets(&mut self) {
        for _ in 0..TENDED_PER_TURN {
            let Some(key) = self.sockets.touched.pop_front() else { break };
            let Some(socket) = self.sockets.slab.get_mut(key) else { continue };
            socket.is_touched = false;
            let (front, stage) = (socket.speech.front, socket.speech.stage);
            if socket.view.is_some() {
                self.tend_view(key);
            } else if std::mem::take(&mut socket.is_slow) {
                self.close_slow_socket(key);
            } else if matches!(stage, Stage::Closing { .. }) {
                self.see_off(Speaker::Client(key));
            }
            // One that takes no more now is told of when it does.
            let is_blocked = |front| {
                let front = self.fronts.get(front);
                front.is_some_and(|front| front.deadlines.at(Phase::Write).is_some())
            };
            if let Some(front) = front.filter(|front| !is_blocked(*front)) {
                self.flush_front(front);
            }
        }
        let index = self.index;
        let settle = |Hall { hub, roll, .. }: &mut Hall| hub.settle(index, roll.take_settled()?);
        if let Some(at) = self.sockets.halls().filter_map(settle).min() {
            self.watch_archives(at);
        }
    }

    /// Makes sure that what hubs keep is looked at when some of it is too old.
    fn watch_archives(&mut self, at: Instant) {
        // Not for each message by itself.
        let at = at.max(self.clock.now() + ARCHIVE_PAUSE);
        if self.sockets.archives.is_none_or(|armed| at < armed) {
            self.sockets.archives = Some(at);
            self.wheel.schedule(Timer::Archives, at);
        }
    }

    /// Something that hubs keep is too old.
    pub(super) fn tidy_archives(&mut self) {
        let now = self.clock.now();
        if self.sockets.archives.take_if(|at| *at <= now).is_none() {
            return;
        }
        let next = self.sockets.halls().filter_map(|hall| hall.hub.forget_old(now)).min();
        if let Some(at) = next {
            self.watch_archives(at);
        }
    }
}

/// Between two looks at what hubs keep.
const ARCHIVE_PAUSE: Duration = Duration::from_secs(1);
/// A message for many is written to so many of them before others have their turn.
const TENDED_PER_TURN: usize = 1024;
