//! A roll: fresh workers take the place of the old ones, one generation the place of another.

use crate::ids::Generation;
use std::time::Duration;

/// What asked for a roll.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    /// `api`, `HUP`, `watch`.
    pub reason: &'static str,
    /// The file whose change asked for it.
    pub path: Option<String>,
}

impl Cause {
    /// Asked for by `reason`, and by no file.
    pub fn new(reason: &'static str) -> Self {
        Self { reason, path: None }
    }
}

/// How far a roll has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RollProgress {
    /// The new generation.
    pub generation: Generation,
    /// Slots in which a fresh worker serves.
    pub fresh: usize,
    /// All slots.
    pub wanted: usize,
}

/// A roll under way.
#[derive(Clone, Debug)]
pub(super) struct Roll {
    pub(super) generation: Generation,
    /// A worker of the generation serves. Until then one is tried alone, and offered no work
    /// before [`PROBATION`] is over: a release that starts and falls over costs no request.
    pub(super) proven: bool,
}

/// The rolls of an app: at most one runs, at most one waits for its turn.
#[derive(Clone, Debug)]
pub(super) struct Rolls {
    pub(super) current: Option<Roll>,
    pub(super) next: Option<(Generation, Cause)>,
    newest: Generation,
}

impl Rolls {
    /// No roll yet.
    pub(super) fn new(newest: Generation) -> Self {
        Self { current: None, next: None, newest }
    }

    /// The newest generation that was ever asked for.
    pub(super) fn newest(&self) -> Generation {
        self.newest
    }

    /// One more roll is wanted, after all that was asked before. The answer is its generation.
    pub(super) fn ask(&mut self, cause: Cause) -> Generation {
        let generation = match &self.next {
            Some((generation, _)) => *generation,
            None => Generation(self.newest.0 + 1),
        };
        self.newest = generation;
        self.next = Some((generation, cause));
        generation
    }

    /// The roll that can begin now.
    pub(super) fn begin(&mut self) -> Option<(Generation, Cause)> {
        if self.current.is_some() {
            return None;
        }
        let (generation, cause) = self.next.take()?;
        self.current = Some(Roll { generation, proven: false });
        Some((generation, cause))
    }

    /// Whether a roll waits and none is under way.
    pub(super) fn has_next(&self) -> bool {
        self.current.is_none() && self.next.is_some()
    }

    /// Whether the worker of `generation` is one of the roll under way.
    pub(super) fn brings(&self, generation: Generation) -> bool {
        self.current.as_ref().is_some_and(|roll| roll.generation == generation)
    }
}

/// How long the first worker of a generation must stay up before it is offered work.
pub const PROBATION: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_asked_for_during_a_roll_become_one() {
        let mut rolls = Rolls::new(Generation(3));
        assert_eq!(rolls.ask(Cause::new("api")), Generation(4));
        assert!(rolls.begin().is_some());
        assert_eq!(rolls.ask(Cause::new("api")), Generation(5));
        assert_eq!(rolls.ask(Cause::new("HUP")), Generation(5));
        assert!(rolls.begin().is_none(), "one at a time");
        rolls.current = None;
        assert_eq!(rolls.begin(), Some((Generation(5), Cause::new("HUP"))));
        assert!(rolls.brings(Generation(5)) && !rolls.brings(Generation(4)));
        assert_eq!(rolls.ask(Cause::new("api")), Generation(6));
    }
}
