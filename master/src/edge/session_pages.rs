//! Where the pages come from that a reader of a session gets: from memory, else from the store; and
//! how it learns that there are new ones.
//!
//! A reader asks for a page when there is room for it on its way out, and never for two at once. So a
//! slow one costs a page of memory, and a fast one costs the store nothing.

use super::session::Mark;
use super::turn::{Edge, Timer};
use crate::shared::sessions::Sessions;
use crate::shared::store::StoreOrder;
use rip::limits::EVENT_PAGE_BYTES;
use rip::session::table::Place;
use rip::session::viewer::{Batch, Next, Page};
use rip::session::{SessionId, Viewer};
use rip::time::Instant;
use std::time::Duration;

/// What a reader has read, and what is on its way to it.
pub(super) struct Pages {
    viewer: Viewer,
    coming: Coming,
    /// There was news while a page was coming.
    is_stirred: bool,
}

/// A page that the store was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coming {
    Nothing,
    Page,
    /// It is for a viewer whose place this one has taken: nobody wants it.
    Stale,
    /// The store could not give it: it is asked again when there is news, not before.
    Failed,
}

/// What a reader does next.
pub(super) enum Pull {
    /// These are for it. There may be more at once.
    Batch(Batch),
    /// This is to be ordered; what comes of it goes to [`Pages::take`].
    Order(StoreOrder),
    /// What was ordered has not come yet.
    Coming,
    /// It has everything there is for now: it is stirred, or it is time to give up.
    Wait { until: Option<Instant> },
    /// It has everything that it will get.
    Done,
}

impl Pages {
    /// Begins to read as `viewer` does.
    pub(super) fn new(viewer: Viewer) -> Self {
        Self { viewer, coming: Coming::Nothing, is_stirred: false }
    }

    /// Reads as `viewer` does from here on, in place of the one before.
    pub(super) fn restart(&mut self, viewer: Viewer) {
        self.viewer = viewer;
        self.is_stirred = false;
        self.coming = match self.coming {
            Coming::Page | Coming::Stale => Coming::Stale,
            Coming::Nothing | Coming::Failed => Coming::Nothing,
        };
    }

    /// It has everything there is.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.viewer.next(), Next::Wait { .. })
    }

    /// Who reads.
    pub(super) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The next thing for it. To be called while there is room on its way out, until it is to wait.
    pub(super) fn pull(&mut self, sessions: &Sessions) -> Pull {
        if self.coming != Coming::Nothing {
            return Pull::Coming;
        }
        match self.viewer.next() {
            Next::Done => Pull::Done,
            Next::Wait { until } => Pull::Wait { until },
            Next::Page { after, count } => {
                let session = self.viewer.session();
                let page = sessions.table().page(session, after, count);
                if let Some(page) = page {
                    return Pull::Batch(self.viewer.take(Some(page)));
                }
                self.coming = Coming::Page;
                Pull::Order(StoreOrder::Page { session, after, count })
            }
        }
    }

    /// Takes what the store gave for [`Pull::Order`]: what is for the reader, who then pulls on; an
    /// error is the reason why there is nothing to be had before it is stirred.
    pub(super) fn take(
        &mut self,
        page: Result<Option<Page>, &'static str>,
    ) -> Result<Batch, &'static str> {
        if std::mem::replace(&mut self.coming, Coming::Nothing) == Coming::Stale {
            return Ok(Batch::default());
        }
        let batch = match page {
            Ok(page) => self.viewer.take(page),
            Err(reason) => {
                self.coming = Coming::Failed;
                return Err(reason);
            }
        };
        if std::mem::take(&mut self.is_stirred) {
            // What it was stirred for may not be in this page yet.
            self.viewer.stir();
        }
        Ok(batch)
    }

    /// There is news: pull again.
    pub(super) fn stir(&mut self) {
        self.is_stirred = self.coming == Coming::Page;
        if self.coming == Coming::Failed {
            self.coming = Coming::Nothing;
        }
        self.viewer.stir();
    }

    /// Time has passed: pull again.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.viewer.handle_timeout(now);
    }
}

impl Edge {
    /// Whoever is at `mark` is stirred from here on when there is news of `session`. To be called before
    /// the session is looked at, so that nothing is missed in between.
    pub(super) fn watch_session(&mut self, session: SessionId, mark: Mark) {
        let place = self.place_of(mark);
        self.shared.sessions.table().watch(session, place);
        if !std::mem::replace(&mut self.sessions.is_polling, true) {
            self.wheel.schedule(Timer::SessionPoll, self.clock.now() + POLL);
        }
    }

    /// Whoever is at `mark` is not stirred any more.
    pub(super) fn leave_session(&self, session: SessionId, mark: Mark) {
        self.shared.sessions.table().leave(session, self.place_of(mark));
    }

    /// A turn of `session` runs in this master.
    pub(super) fn runs_here(&self, session: SessionId) -> bool {
        self.shared.sessions.table().place(session).is_some()
    }

    /// Nobody says what other masters do: who reads of sessions that run elsewhere, or nowhere, is to
    /// look by itself.
    pub(super) fn poll_sessions(&mut self) {
        if self.sessions.views.is_empty() && self.sessions.talks.is_empty() {
            self.sessions.is_polling = false;
            return;
        }
        self.sessions.poll_count = self.sessions.poll_count.wrapping_add(1);
        let count = self.sessions.poll_count;
        let mine = |place: &&Place| place.loop_index == self.index;
        let marks: Vec<Mark> = (self.shared.sessions.table().foreign())
            .flat_map(|(_, places)| places.iter().filter(mine))
            .map(|place| Mark::from_u64(place.key))
            .collect();
        for mark in marks {
            match mark {
                Mark::View(key) => self.view_polled(key, count),
                Mark::Talk(key) => self.talk_polled(key, count),
                Mark::Turn(_) | Mark::Request(_) => {}
            }
        }
        for key in std::mem::take(&mut self.sessions.failed) {
            self.talk_stirred(key);
        }
        self.wheel.schedule(Timer::SessionPoll, self.clock.now() + POLL);
    }
}

/// A page is read for a client when less than this waits for it. A page is far more: what waits for a slow
/// client is one page, not two.
pub(super) const READ_ON_BYTES: usize = EVENT_PAGE_BYTES / 8;
/// How often those are looked for who read what runs elsewhere.
const POLL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use rip::ids::{AppId, LoopIndex};
    use rip::session::claim::Attempt;
    use rip::session::table::RunningTurn;
    use rip::session::{Epoch, Event, EventId, Form};
    use rip::time::UnixMillis;

    const SESSION: SessionId = SessionId::new([7; 16]);

    fn id(seq: u64) -> EventId {
        EventId::new(Epoch(1), seq)
    }

    fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<Event> {
        seqs.map(|seq| Event::delta(id(seq), 1, UnixMillis(0), "\"x\"")).collect()
    }

    fn page(seqs: std::ops::RangeInclusive<u64>, running: Option<u64>) -> Page {
        let last = id(*seqs.end());
        Page { events: events(seqs), last, first: 1, running }
    }

    fn reader(after: u64) -> Pages {
        Pages::new(Viewer::behind(SESSION, id(after), Form::Sse))
    }

    fn names(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.id.seq).collect()
    }

    #[test]
    fn what_is_in_memory_is_read_there_and_the_rest_in_the_store() {
        let sessions = Sessions::default();
        let place = Place { loop_index: LoopIndex(0), key: 1 };
        let attempt = Attempt { session: SESSION, turn: 1, number: 1, owner: Epoch(1) };
        let turn = RunningTurn { attempt, app: AppId::new("app"), since: Instant::default() };
        sessions.table().began(turn, place);
        sessions.table().stored(SESSION, &events(4..=6));
        let mut reader = reader(0);
        assert!(matches!(
            reader.pull(&sessions),
            Pull::Order(StoreOrder::Page { session: SESSION, after, .. }) if after == id(0)
        ));
        assert!(matches!(reader.pull(&sessions), Pull::Coming), "one page at a time");
        let batch = reader.take(Ok(Some(page(1..=4, Some(1)))));
        assert_eq!(names(&batch.unwrap()), [1, 2, 3, 4]);
        // The store did not know more then: it is told of what came since.
        reader.stir();
        let Pull::Batch(batch) = reader.pull(&sessions) else { panic!("there is more") };
        assert_eq!(names(&batch), [5, 6]);
        assert!(matches!(reader.pull(&sessions), Pull::Wait { until: None }));
    }

    #[test]
    fn news_that_came_while_a_page_did_are_not_missed() {
        let sessions = Sessions::default();
        let mut reader = reader(0);
        assert!(matches!(reader.pull(&sessions), Pull::Order(_)));
        reader.stir();
        let batch = reader.take(Ok(Some(page(1..=2, Some(1)))));
        assert_eq!(names(&batch.unwrap()), [1, 2]);
        assert!(matches!(reader.pull(&sessions), Pull::Order(_)), "it looks again");
        let batch = reader.take(Ok(Some(page(3..=3, Some(1)))));
        assert_eq!(names(&batch.unwrap()), [3]);
        assert!(matches!(reader.pull(&sessions), Pull::Wait { .. }), "but once");
    }

    #[test]
    fn a_page_for_the_one_before_is_thrown_away() {
        let sessions = Sessions::default();
        let mut reader = reader(7);
        assert!(matches!(reader.pull(&sessions), Pull::Order(_)));
        reader.restart(Viewer::behind(SESSION, id(2), Form::Socket));
        assert!(matches!(reader.pull(&sessions), Pull::Coming));
        assert!(reader.take(Ok(Some(page(8..=9, None)))).unwrap().events.is_empty());
        assert!(matches!(
            reader.pull(&sessions),
            Pull::Order(StoreOrder::Page { after, .. }) if after == id(2)
        ));
        let batch = reader.take(Ok(Some(page(3..=9, None)))).unwrap();
        assert_eq!(names(&batch), [3, 4, 5, 6, 7, 8, 9]);
        assert!(matches!(reader.pull(&sessions), Pull::Done));
    }

    #[test]
    fn trouble_is_told_and_may_be_over() {
        let sessions = Sessions::default();
        let mut reader = reader(0);
        assert!(matches!(reader.pull(&sessions), Pull::Order(_)));
        assert_eq!(reader.take(Err("busy")).unwrap_err(), "busy");
        assert!(matches!(reader.pull(&sessions), Pull::Coming), "it is not asked again at once");
        reader.stir();
        assert!(matches!(reader.pull(&sessions), Pull::Order(_)));
        assert!(reader.take(Ok(None)).unwrap().events.is_empty());
        assert!(matches!(reader.pull(&sessions), Pull::Done), "the session is gone");
    }
}
