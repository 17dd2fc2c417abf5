//! The memory that a crowd of clients has needed goes back when they have left.

use super::turn::{Edge, Timer};
use crate::reactor::buffers::Blocks;
use crate::sys::memory;
use rip::time::Instant;
use std::time::Duration;

/// How many clients there were, and whether most of them have left. After a look it begins anew from
/// those that are there.
#[derive(Debug, Default)]
pub(super) struct Ebb {
    most: usize,
    /// A look is due.
    is_watched: bool,
    /// Memory was given back not long ago: whoever comes and goes in crowds does not have all of it
    /// searched each time.
    rests_until: Instant,
}

impl Ebb {
    /// So many are there now. True when most of a crowd has left and nobody looks yet.
    fn begins(&mut self, count: usize) -> bool {
        self.most = self.most.max(count);
        self.is_out(count) && !std::mem::replace(&mut self.is_watched, true)
    }

    /// When to look, seen from `now`.
    fn look_at(&self, now: Instant) -> Instant {
        (now + PAUSE).max(self.rests_until)
    }

    /// The look. True when they are still away.
    fn lasts(&mut self, count: usize, now: Instant) -> bool {
        self.is_watched = false;
        let is_out = self.is_out(count);
        if is_out {
            self.most = count;
            self.rests_until = now + REST;
        }
        is_out
    }

    fn is_out(&self, count: usize) -> bool {
        self.most >= CROWD && count <= self.most / 4
    }
}

impl Edge {
    /// Looks, once a turn, whether many have left.
    pub(super) fn watch_ebb(&mut self) {
        if self.ebb.begins(self.fronts.len()) {
            self.wheel.schedule(Timer::Ebb, self.ebb.look_at(self.clock.now()));
        }
    }

    /// Gives back what they have needed, unless others came.
    pub(super) fn ebb_due(&mut self) {
        if self.ebb.lasts(self.fronts.len(), self.clock.now()) {
            self.fronts.shrink();
            self.exchanges.shrink();
            self.blanks = Vec::new();
            self.blocks = Blocks::new();
            memory::trim();
        }
    }
}

/// Fewer clients are not worth a look.
const CROWD: usize = 256;
/// Clients who come and go all the time need their memory.
const PAUSE: Duration = Duration::from_secs(2);
/// Between one look that gave something back and the next one.
const REST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_once_when_three_of_four_have_left() {
        let mut ebb = Ebb::default();
        assert!(!ebb.begins(1000) && !ebb.begins(251));
        assert!(ebb.begins(250) && !ebb.begins(10));
        let now = Instant::from_millis(100_000);
        assert_eq!(ebb.look_at(now), now + PAUSE);
        assert!(ebb.lasts(10, now) && !ebb.begins(0), "ten are no crowd");
        assert!(!ebb.begins(CROWD) && ebb.begins(1));
        assert_eq!(ebb.look_at(now), now + REST, "not again at once");
        assert!(!ebb.lasts(CROWD, now), "others came");
        assert!(ebb.begins(1));
    }
}
