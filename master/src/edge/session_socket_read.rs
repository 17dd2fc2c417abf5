//! What a WebSocket is told of its session: pages of events, as the client takes them; and when it has
//! been told enough to be closed.

use super::session::Mark;
use super::session_pages::{Pages, Pull};
use super::session_socket::{Reads, Talk};
use super::speech::{Speaker, Stage};
use super::turn::Edge;
use crate::reactor::slab::Key;
use rip::session::viewer::{Batch, Page};
use rip::session::{Form, SessionId, TokenKey, Viewer, encode};

impl Talk {
    /// Tells the client these events.
    fn tell(&mut self, batch: Batch, session: SessionId, key: &TokenKey) {
        if let Some((reset, from)) = batch.reset {
            let text = encode::message(Some(from), &encode::reset_event(reset, from));
            self.say(&text);
        }
        for event in batch.events {
            self.say(&encode::event_message(&event, session, key));
            self.socket.sent(event.id);
        }
    }

    /// It has everything there is.
    fn is_waiting(&self) -> bool {
        match self.reads {
            Reads::Nothing | Reads::UpTo(_) => true,
            Reads::On => self.pages.as_ref().is_some_and(Pages::is_waiting),
        }
    }
}

impl Edge {
    /// There is something new for a WebSocket.
    pub(super) fn talk_stirred(&mut self, key: Key) {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        if talk.reads == Reads::On
            && let Some(pages) = &mut talk.pages
        {
            pages.stir();
        }
        self.talk_goes_on(key);
    }

    /// The session that a WebSocket looks at runs elsewhere, or nothing of it runs: it may look for news
    /// by itself. Every quarter of a second, `count` times so far.
    pub(super) fn talk_polled(&mut self, key: Key, count: u32) {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        match (talk.reads, talk.watched) {
            (Reads::On, _) => self.talk_stirred(key),
            // A turn that another master has begun since. They take turns with looking.
            (Reads::UpTo(at), Some(session)) if is_its_turn(key, count) => {
                talk.read_as(Viewer::behind(session, at, Form::Socket));
                self.talk_goes_on(key);
            }
            _ => {}
        }
    }

    /// The store has read a page for a WebSocket, or could not.
    pub(super) fn talk_got(&mut self, key: Key, page: Result<Option<Page>, &'static str>) {
        let token_key = self.shared.sessions.queue.key();
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        let Some(pages) = &mut talk.pages else { return };
        let session = pages.viewer().session();
        let is_gone = matches!(page, Ok(None));
        match pages.take(page) {
            Ok(batch) => {
                if let Some(token_key) = token_key {
                    talk.tell(batch, session, &token_key);
                }
                if is_gone && talk.watched == Some(session) {
                    self.talk_leaves(key);
                }
            }
            Err(reason) => {
                log::debug!("cannot read events of {session}: {reason}");
                self.sessions.failed.push(key);
            }
        }
    }

    /// Reads on for a client that has taken what it was told. True when there is something for it.
    pub(super) fn refill_talk(&mut self, key: Key) -> bool {
        let sessions = &self.shared.sessions;
        let Some(talk) = self.sessions.talks.get_mut(key) else { return false };
        let mut order = None;
        while order.is_none() && talk.speech.stage == Stage::Open && !talk.has_enough() {
            let (Some(session), Some(token_key)) = (talk.watched, sessions.queue.key()) else {
                break;
            };
            match talk.reads {
                Reads::Nothing => break,
                Reads::UpTo(at) if sessions.table().newest(session) <= Some(at) => break,
                Reads::UpTo(at) => talk.read_as(Viewer::behind(session, at, Form::Socket)),
                Reads::On => {}
            }
            let Some(pages) = &mut talk.pages else { break };
            match pages.pull(sessions) {
                Pull::Batch(batch) => talk.tell(batch, session, &token_key),
                Pull::Order(page) => order = Some(page),
                Pull::Done => talk.reads = Reads::UpTo(pages.viewer().after()),
                Pull::Coming | Pull::Wait { .. } => break,
            }
        }
        let has_more = !talk.speech.outbox.is_empty();
        let was_held_back = talk.is_held_back;
        talk.is_held_back &= talk.is_full();
        let may_go_on = was_held_back && !talk.is_held_back;
        let front = talk.speech.front.filter(|_| may_go_on);
        if let Some(order) = order {
            self.order(Mark::Talk(key), order);
        }
        if let Some(front) = front {
            // It is heard again.
            self.run_later(front);
        }
        has_more
    }

    /// Something has come for a talk: it is told, and heard on.
    pub(super) fn talk_goes_on(&mut self, key: Key) {
        self.refill_talk(key);
        if self.drain.is_some() {
            self.drain_talk(key);
        }
        let front = self.sessions.talks.get(key).and_then(|talk| talk.speech.front);
        if let Some(front) = front {
            self.run_later(front);
        }
    }

    /// The server drains: a talk is closed when no turn runs that it would miss, and it has been told
    /// everything.
    pub(super) fn drain_talk(&mut self, key: Key) {
        let Some(talk) = self.sessions.talks.get(key) else { return };
        let is_busy = talk.claim.is_some() || talk.question.is_some() || talk.turn.is_some();
        let is_behind = !talk.is_waiting();
        let runs = talk.watched.is_some_and(|session| self.runs_here(session));
        if talk.speech.stage == Stage::Open && !is_busy && !is_behind && !runs {
            self.close_speaker(Speaker::Talk(key), 1012, "the server is restarting");
        }
    }
}

/// Each one looks once in so many polls, half a minute.
fn is_its_turn(key: Key, count: u32) -> bool {
    (key.as_u64() ^ u64::from(count)).is_multiple_of(128)
}
