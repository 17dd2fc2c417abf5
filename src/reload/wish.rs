//! What was asked for and has not begun.

use crate::contract::attempt::AttemptSource;
use std::collections::VecDeque;

/// Somebody who waits for an attempt's end; the shell knows whom the number means.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Waiter(pub u64);

/// What somebody wants to become active.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// What the source said last, with the hosts that were added or removed since.
    Hosts,
    /// What the source says now.
    Reload,
    /// The version that was active before the one that is active while this is wished. When
    /// another one is active by the time the wish's turn comes, it is refused: going back from that
    /// one was not asked for.
    Rollback,
}

/// Wishes that wait, at most one of a kind; in the order in which each kind was first asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    waiting: VecDeque<Wanted>,
}

/// A wish and all that was merged into it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) source: AttemptSource,
    pub(super) waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A configuration is to be made.
    Compile {
        /// From what the source says now.
        reread: bool,
    },
    /// The version before this one is to become active again.
    Leave {
        /// The version that was active when that was asked for.
        version: u64,
    },
}

impl Wishes {
    /// Adds a wish, or merges it into one of its kind. The answer is how many go before it.
    pub(super) fn add(&mut self, kind: Kind, source: AttemptSource, waiter: Option<Waiter>) -> u64 {
        let same = self.waiting.iter_mut().zip(0..).find(|(wanted, _)| match (wanted.kind, kind) {
            (Kind::Compile { .. }, Kind::Compile { .. }) => true,
            (own, other) => own == other,
        });
        let Some((wanted, place)) = same else {
            let waiters = Vec::from_iter(waiter);
            self.waiting.push_back(Wanted { kind, source, waiters });
            return self.waiting.len() as u64 - 1;
        };
        if kind == (Kind::Compile { reread: true }) {
            wanted.kind = kind;
        }
        if rank(source) > rank(wanted.source) {
            wanted.source = source;
        }
        wanted.waiters.extend(waiter);
        place
    }

    /// The wish whose turn it is.
    pub(super) fn take(&mut self) -> Option<Wanted> {
        self.waiting.pop_front()
    }

    /// How many attempts they will become.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }
}

/// Whose name an attempt bears that several have asked for: the one most likely to look for it.
fn rank(source: AttemptSource) -> u8 {
    match source {
        AttemptSource::Start => 0,
        AttemptSource::Watch => 1,
        AttemptSource::Signal => 2,
        AttemptSource::Api => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_of_a_kind_become_one_with_the_highest_source_and_every_waiter() {
        let mut wishes = Wishes::default();
        wishes.add(Kind::Compile { reread: false }, AttemptSource::Watch, None);
        wishes.add(Kind::Leave { version: 4 }, AttemptSource::Api, Some(Waiter(1)));
        wishes.add(Kind::Compile { reread: true }, AttemptSource::Api, Some(Waiter(2)));
        wishes.add(Kind::Compile { reread: false }, AttemptSource::Signal, Some(Waiter(3)));
        wishes.add(Kind::Leave { version: 5 }, AttemptSource::Api, Some(Waiter(4)));
        let before = wishes.add(Kind::Leave { version: 4 }, AttemptSource::Api, Some(Waiter(5)));
        assert_eq!((before, wishes.count()), (1, 3));
        let mut next = || {
            let wanted = wishes.take()?;
            Some((wanted.kind, wanted.source, wanted.waiters))
        };
        let (two, three) = (Waiter(2), Waiter(3));
        let reload = (Kind::Compile { reread: true }, AttemptSource::Api, vec![two, three]);
        assert_eq!(next(), Some(reload));
        let (one, five) = (Waiter(1), Waiter(5));
        let leave = (Kind::Leave { version: 4 }, AttemptSource::Api, vec![one, five]);
        assert_eq!(next(), Some(leave));
        let leave = (Kind::Leave { version: 5 }, AttemptSource::Api, vec![Waiter(4)]);
        assert_eq!(next(), Some(leave));
        assert_eq!(next(), None);
    }
}
