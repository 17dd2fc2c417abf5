//! Durable sessions, as one loop has them: which parts there are, and which of them mail is for.
//!
//! ```text
//!  session_http    POST, DELETE, GET of a session: what is asked
//!  session_answer  and what is answered
//!  session_view    who reads events: the stream of a POST, GET …/events
//!  session_pages   where a reader's events come from, and who is told of new ones
//!  session_socket  <mount>/ws
//!        │ claim_turn                         ▲ told
//!        ▼                                    │
//!  session_turn    a turn, from its claim to its end ──▶ session_app ──▶ subrequest ──▶ the app
//!        │ orders              ▲ answers
//!        ▼                     │
//!  shared/store ──▶ agents/store
//! ```
//! `rip::session` decides; here is what it decides about: connections, orders, deadlines.

use super::session_socket::Talk;
use super::session_turn::SessionTurn;
use super::session_view::SessionView;
use super::turn::Edge;
use crate::reactor::slab::{Key, Slab};
use crate::shared::sessions::SessionMail;
use crate::shared::store::{StoreAnswer, StoreJob, StoreMail, StoreOrder};
use rip::session::table::Place;
use rip::session::{Nonce, SessionId};
use std::fs::File;
use std::io::{self, Read};

/// The sessions of one loop.
#[derive(Default)]
pub(super) struct LoopSessions {
    /// Turns, from their claim on.
    pub(super) turns: Slab<Box<SessionTurn>>,
    /// Who reads events.
    pub(super) views: Slab<Box<SessionView>>,
    /// WebSockets.
    pub(super) talks: Slab<Box<Talk>>,
    /// WebSockets that the store had no page for: they ask again with the next poll.
    pub(super) failed: Vec<Key>,
    /// [`Timer::SessionPoll`](super::turn::Timer::SessionPoll) runs.
    pub(super) is_polling: bool,
    /// How often it went off.
    pub(super) poll_count: u32,
    random: Option<File>,
}

impl LoopSessions {
    /// Nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.views.is_empty() && self.talks.is_empty()
    }

    /// Bytes that nobody can guess: for names and for what tokens are made of.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(super) fn draw<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let random = match &mut self.random {
            Some(random) => random,
            None => self.random.insert(File::open("/dev/urandom")?),
        };
        let mut bytes = [0; N];
        random.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// What makes a new session: its name, and what its two tokens are made of.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(super) fn draw_session(&mut self) -> io::Result<(SessionId, Nonce, Nonce)> {
        Ok((SessionId::new(self.draw()?), Nonce(self.draw()?), Nonce(self.draw()?)))
    }
}

/// What an order, a place in the table or a mail is about: a kind and a key in one number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    Turn(Key),
    View(Key),
    /// The exchange of a request that the store answers without a turn.
    Request(Key),
    Talk(Key),
}

impl Mark {
    /// It as a number: like a token of the poll, a slab's generations leave three bits free.
    pub(super) const fn as_u64(self) -> u64 {
        let (kind, key) = match self {
            Self::Turn(key) => (0, key),
            Self::View(key) => (1, key),
            Self::Request(key) => (2, key),
            Self::Talk(key) => (3, key),
        };
        kind << 61 | key.as_u64()
    }

    /// What [`Mark::as_u64`] made a number of.
    pub(super) const fn from_u64(number: u64) -> Self {
        let key = Key::from_u64(number & !(7 << 61));
        match number >> 61 {
            0 => Self::Turn(key),
            1 => Self::View(key),
            2 => Self::Request(key),
            _ => Self::Talk(key),
        }
    }
}

impl Edge {
    /// Orders something of the store; the answer comes to `mark`, in a later turn of the loop.
    pub(super) fn order(&self, mark: Mark, order: StoreOrder) {
        self.shared.sessions.queue.submit(StoreJob {
            order,
            reply: self.own.clone(),
            key: mark.as_u64(),
            since: self.clock.now(),
        });
    }

    /// Where something of this loop is.
    pub(super) fn place_of(&self, mark: Mark) -> Place {
        Place { loop_index: self.index, key: mark.as_u64() }
    }

    /// The store has done something, or wants something done.
    pub(super) fn take_store_mail(&mut self, mail: StoreMail) {
        match mail {
            StoreMail::Done { key, answer } => self.store_answered(Mark::from_u64(key), answer),
            StoreMail::Cancelled { key, attempt } => {
                if let Mark::Turn(key) = Mark::from_u64(key) {
                    self.cancel_turn(key, attempt.turn);
                }
            }
            StoreMail::Swept { sessions } => {
                for session in sessions {
                    let places = self.shared.sessions.table().stored(session, &[]);
                    self.stir(places);
                }
            }
            StoreMail::Due { session, scope } => self.timer_due(session, &scope),
        }
    }

    fn store_answered(&mut self, mark: Mark, answer: StoreAnswer) {
        match mark {
            Mark::Turn(key) => self.turn_stored(key, answer),
            Mark::View(key) => self.view_stored(key, answer),
            Mark::Request(key) => self.request_stored(key, answer),
            Mark::Talk(key) => self.talk_stored(key, answer),
        }
    }

    /// Another loop says something.
    pub(super) fn take_session_mail(&mut self, mail: SessionMail) {
        match mail {
            SessionMail::Stirred(number) => self.stirred(Mark::from_u64(number)),
            SessionMail::Cancel { key, turn } => {
                if let Mark::Turn(key) = Mark::from_u64(key) {
                    self.cancel_turn(key, turn);
                }
            }
        }
    }

    /// Tells who looks on, here and elsewhere.
    pub(super) fn stir(&mut self, places: Vec<Place>) {
        for number in self.shared.sessions.stir(places, self.index, &self.shared.hubs) {
            self.stirred(Mark::from_u64(number));
        }
    }

    fn stirred(&mut self, mark: Mark) {
        match mark {
            Mark::View(key) => self.view_stirred(key),
            Mark::Talk(key) => self.talk_stirred(key),
            Mark::Turn(_) | Mark::Request(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_being_a_number() {
        let mut slab = Slab::default();
        let key = slab.insert(());
        for mark in [Mark::Turn(key), Mark::View(key), Mark::Request(key), Mark::Talk(key)] {
            assert_eq!(Mark::from_u64(mark.as_u64()), mark);
        }
    }
}
