//! Clients that look on: what they have seen must be what was written, without a gap.

use super::disk::Disk;
use super::model::Life;
use rip::session::look::View;
use rip::session::viewer::{Next, Opening};
use rip::session::{
    Access, Cursor, EventId, Form, Reading, Reset, SessionId, Token, TokenKey, Viewer,
};
use rip::time::Instant;
use std::time::Duration;

pub struct Watcher {
    pub session: SessionId,
    pub viewer: Option<Viewer>,
    /// The master it is connected to.
    pub master: u16,
    pub resume: String,
    pub form: Form,
    /// What it has read last.
    pub last: Option<EventId>,
    /// An event of that name was seen; otherwise it is a position that it was given.
    pub has_seen_last: bool,
    pub turn: Option<u64>,
    pub seen: u64,
}

impl Watcher {
    pub fn read(&self, cursor: Cursor) -> Reading {
        let resume = Some(Token::presented(self.resume.clone()));
        Reading {
            access: Access { continuation: None, resume },
            cursor,
            turn: self.turn,
            wait: Duration::from_secs(if self.form == Form::Json { 20 } else { 0 }),
            limit: 3,
        }
    }

    /// Connects to `master` with the event it has read last, or from the start.
    /// True: its cursor leads nowhere, as it must after a loss.
    pub fn open(
        &mut self,
        view: &View,
        cursor: Cursor,
        life: &Life,
        master: u16,
        now: Instant,
    ) -> bool {
        self.master = master;
        let is_good = match cursor {
            Cursor::After(id) => {
                let known = life.log.get(&id.seq).map(|(known, _)| *known);
                // A position is as good as the events of its life that lasted.
                let lasted =
                    |(known, _): &(EventId, _)| known.epoch == id.epoch && known.seq >= id.seq;
                let is_known = match self.has_seen_last {
                    true => known == Some(id),
                    false => id.seq == 0 || life.log.values().any(lasted),
                };
                if id.seq + 1 < view.ledger.first() {
                    Err(Reset::Truncated)
                } else if !is_known {
                    Err(Reset::Epoch)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        };
        match Viewer::open(&self.read(cursor), self.form, view, now) {
            Err(refusal) => {
                assert_eq!(refusal.code(), "gone");
                assert!(is_good.is_err() && self.form == Form::Json, "a good cursor was refused");
                self.last = None;
            }
            Ok(Opening::Nothing) => {
                assert!(is_good.is_ok(), "a lost cursor was taken for the end");
                assert!(view.running.is_none() || self.turn.is_some(), "204 while a turn runs");
            }
            Ok(Opening::Viewer(viewer)) => {
                let told = viewer.reset();
                assert_eq!(told, is_good.err().filter(|_| self.form != Form::Json), "{cursor:?}");
                if let (Cursor::After(id), None) = (cursor, told) {
                    assert_eq!(viewer.after(), id);
                }
                self.has_seen_last &= told.is_none() && self.last == Some(viewer.after());
                self.last = Some(viewer.after());
                self.viewer = Some(viewer);
            }
        }
        is_good.is_err()
    }

    /// Reads one page, if it wants one.
    pub fn pull(&mut self, disk: &Disk, life: Option<&Life>, key: &TokenKey, now: Instant) {
        let Some(viewer) = &mut self.viewer else { return };
        viewer.handle_timeout(now);
        match viewer.next() {
            Next::Done => self.viewer = None,
            Next::Wait { .. } => viewer.stir(),
            Next::Page { after, count } => {
                let batch = viewer.take(disk.page(self.session, after, count));
                let Some(life) = life else {
                    assert!(batch.events.is_empty());
                    return;
                };
                let mut at = batch.reset.map_or(after, |(_, from)| from).seq;
                for event in &batch.events {
                    at += 1;
                    let (id, text) = &life.log[&at];
                    assert_eq!(*id, event.id, "a gap");
                    assert_eq!(&**text, &*event.text(self.session, key), "other bytes");
                    self.seen += 1;
                }
                self.has_seen_last &= batch.reset.is_none();
                self.has_seen_last |= !batch.events.is_empty();
                self.last = Some(viewer.after());
                assert_eq!(viewer.after().seq, at);
                if viewer.next() == Next::Done && self.form != Form::Json && self.turn.is_none() {
                    let last = life.log.last_key_value().map_or(0, |(seq, _)| *seq);
                    assert!(at == last && life.running.is_none(), "it ended too early");
                }
            }
        }
    }
}
