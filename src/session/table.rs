//! What runs here, and who looks on from here: one table a master, shared by its loops.
//!
//! It decides nothing about a turn. It finds who runs one, so that a cancellation gets there and the
//! operator sees it, and who is to be told of new events; and it keeps the newest events of each running
//! turn, so that a viewer who keeps up costs the store nothing.

use super::claim::Attempt;
use super::event::Event;
use super::event_id::EventId;
use super::id::SessionId;
use super::viewer::Page;
use crate::ids::{AppId, LoopIndex};
use crate::limits::TAIL_BYTES;
use crate::time::Instant;
use std::collections::{BTreeMap, VecDeque};

/// Something of one loop: a turn or a viewer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The loop.
    pub loop_index: LoopIndex,
    /// That loop's own name for it.
    pub key: u64,
}

/// A turn that runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunningTurn {
    /// Which.
    pub attempt: Attempt,
    /// Whose workers run it.
    pub app: AppId,
    /// When it was begun.
    pub since: Instant,
}

/// What runs and who looks on.
#[derive(Debug, Default)]
pub struct Table {
    sessions: BTreeMap<SessionId, Entry>,
    running: usize,
    viewers: usize,
}

#[derive(Debug, Default)]
struct Entry {
    turn: Option<Run>,
    newest: Option<EventId>,
    viewers: Vec<Place>,
}

#[derive(Debug)]
struct Run {
    place: Place,
    turn: RunningTurn,
    /// The newest events, without a gap.
    tail: VecDeque<Event>,
    bytes: usize,
}

impl Table {
    /// Nothing runs, nobody looks on.
    pub fn new() -> Self {
        Self::default()
    }

    /// `turn` runs at `place`. Who looks on is returned: they are to read again.
    pub fn began(&mut self, turn: RunningTurn, place: Place) -> Vec<Place> {
        let entry = self.sessions.entry(turn.attempt.session).or_default();
        let run = Run { place, turn, tail: VecDeque::new(), bytes: 0 };
        if entry.turn.replace(run).is_none() {
            self.running += 1;
        }
        entry.viewers.clone()
    }

    /// These events of the session are stored. Who looks on is returned.
    pub fn stored(&mut self, session: SessionId, events: &[Event]) -> Vec<Place> {
        let Some(entry) = self.sessions.get_mut(&session) else { return Vec::new() };
        entry.newest = entry.newest.max(events.last().map(|event| event.id));
        if let Some(run) = &mut entry.turn {
            for event in events {
                let next = run.tail.back().map_or(event.id.seq, |last| last.id.seq + 1);
                // The end of the turn before may be told after the first words of this one: it is in the
                // store.
                if event.id.seq < next {
                    continue;
                }
                if event.id.seq > next {
                    run.tail.clear();
                    run.bytes = 0;
                }
                run.bytes += event.byte_count();
                run.tail.push_back(event.clone());
            }
            while run.bytes > TAIL_BYTES && run.tail.len() > 1 {
                run.bytes -= run.tail.pop_front().map_or(0, |event| event.byte_count());
            }
        }
        entry.viewers.clone()
    }

    /// The turn at `place` has ended. Who looks on is returned.
    pub fn ended(&mut self, session: SessionId, place: Place) -> Vec<Place> {
        let Some(entry) = self.sessions.get_mut(&session) else { return Vec::new() };
        if entry.turn.take_if(|run| run.place == place).is_some() {
            self.running -= 1;
        }
        let viewers = entry.viewers.clone();
        self.tidy(session);
        viewers
    }

    /// Where the running turn of `session` is, for who wants it cancelled.
    pub fn place(&self, session: SessionId) -> Option<(u64, Place)> {
        let run = self.sessions.get(&session)?.turn.as_ref()?;
        Some((run.turn.attempt.turn, run.place))
    }

    /// The newest event of `session` that turns here have had since somebody looks on: who has it need
    /// not read.
    pub fn newest(&self, session: SessionId) -> Option<EventId> {
        self.sessions.get(&session)?.newest
    }

    /// Somebody at `place` looks on. Once added it misses nothing: it reads after this.
    pub fn watch(&mut self, session: SessionId, place: Place) {
        let viewers = &mut self.sessions.entry(session).or_default().viewers;
        if !viewers.contains(&place) {
            viewers.push(place);
            self.viewers += 1;
        }
    }

    /// It looks on no more. The turn does not notice.
    pub fn leave(&mut self, session: SessionId, place: Place) {
        let Some(entry) = self.sessions.get_mut(&session) else { return };
        let before = entry.viewers.len();
        entry.viewers.retain(|viewer| *viewer != place);
        self.viewers -= before - entry.viewers.len();
        self.tidy(session);
    }

    /// The events behind `after` from memory; `None` when they are to be read from the store: because
    /// the turn runs elsewhere, or some of them are not in memory any more.
    pub fn page(&self, session: SessionId, after: EventId, count: u32) -> Option<Page> {
        let run = self.sessions.get(&session)?.turn.as_ref()?;
        let (first, last) = (run.tail.front()?.id, run.tail.back()?.id);
        if after.seq + 1 < first.seq || after.seq > last.seq {
            return None;
        }
        let skipped = usize::try_from(after.seq + 1 - first.seq).ok()?;
        let events = run.tail.iter().skip(skipped).take(count as usize).cloned().collect();
        let running = Some(run.turn.attempt.turn);
        // What was deleted is nobody's business who is this close to the end.
        Some(Page { events, last, first: first.seq, running })
    }

    /// Sessions with viewers whose turn does not run here: another master may run it, so the store is to
    /// be asked now and then.
    pub fn foreign(&self) -> impl Iterator<Item = (SessionId, &[Place])> {
        let foreign = |entry: &&Entry| entry.turn.is_none() && !entry.viewers.is_empty();
        self.sessions
            .iter()
            .filter(move |(_, entry)| foreign(entry))
            .map(|(session, entry)| (*session, entry.viewers.as_slice()))
    }

    /// The `count` turns that were begun last, the last one first.
    pub fn newest_turns(&self, count: usize) -> Vec<RunningTurn> {
        let turns = self.sessions.values().filter_map(|entry| entry.turn.as_ref());
        let mut turns: Vec<_> = turns.map(|run| &run.turn).collect();
        turns.sort_by_key(|turn| std::cmp::Reverse(turn.since));
        turns.into_iter().take(count).cloned().collect()
    }

    /// Turns that run here.
    pub fn running_count(&self) -> usize {
        self.running
    }

    /// Viewers that look on from here.
    pub fn viewer_count(&self) -> usize {
        self.viewers
    }

    /// Panics when the table contradicts itself.
    pub fn check_invariants(&self) {
        let running = self.sessions.values().filter(|entry| entry.turn.is_some()).count();
        let viewers: usize = self.sessions.values().map(|entry| entry.viewers.len()).sum();
        assert_eq!((running, viewers), (self.running, self.viewers), "the table is miscounted");
        for entry in self.sessions.values() {
            assert!(entry.turn.is_some() || !entry.viewers.is_empty(), "an entry leaked");
            let Some(run) = &entry.turn else { continue };
            let bytes: usize = run.tail.iter().map(Event::byte_count).sum();
            assert_eq!(bytes, run.bytes, "a tail is miscounted");
            assert!(bytes <= TAIL_BYTES || run.tail.len() == 1, "a tail grew too long");
            let ids = run.tail.iter().map(|event| event.id.seq);
            assert!(ids.clone().zip(ids.skip(1)).all(|(one, next)| one + 1 == next), "a gap");
        }
    }

    fn tidy(&mut self, session: SessionId) {
        let is_empty = |entry: &Entry| entry.turn.is_none() && entry.viewers.is_empty();
        if self.sessions.get(&session).is_some_and(is_empty) {
            self.sessions.remove(&session);
        }
    }
}
