//! A WebSocket of a client: which session it is bound to, and what each of its messages asks for.

use super::access::{Access, Reading};
use super::claim::Right;
use super::event_id::{Cursor, EventId};
use super::frame::Frame;
use super::id::SessionId;
use super::refusal::Refusal;
use super::token::Token;
use crate::limits::EVENT_PAGE_COUNT;
use std::time::Duration;

/// What a connection is bound to.
///
/// ```text
///             a message                       its claim
///   Fresh ───────────────▶ Starting ───────────────────────▶ Bound ◀─┐ each message:
///    │ ▲                       │                               │ ▲   │ claim, turn, end
///    │ └─── nothing came to exist ──┘                          └─┴───┘
///    │       resume                    the view
///    └──────────────▶ Resuming ──────────────────▶ Bound, or Reading (a resume token; Bound once
///                                                   a message with the token runs)
///          ▲              │ refused
///          └──────────────┘
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Binding {
    Fresh,
    /// A claim or a view is awaited.
    Pending,
    Bound(SessionId),
    /// It may look on and nothing else.
    Reading(SessionId),
}

/// A WebSocket.
#[derive(Debug)]
pub struct Socket {
    binding: Binding,
    /// A claim or a turn of this connection is under way.
    is_busy: bool,
    /// The last event that it was sent.
    last: Option<EventId>,
}

/// What a message asks for.
#[derive(Debug)]
pub enum Asks {
    /// To start a session: say what became of it with [`Socket::claimed`].
    Start {
        /// The turn's input.
        input: String,
    },
    /// To run a turn: say what became of it with [`Socket::claimed`].
    Message {
        /// The session.
        session: SessionId,
        /// The turn's input.
        input: String,
        /// By what right.
        right: Right,
    },
    /// To look on: say what became of it with [`Socket::resumed`].
    Resume {
        /// The session's name, as the client wrote it.
        session: String,
        /// By what right and from where.
        read: Reading,
    },
    /// To cancel the running turn.
    Cancel(SessionId),
    /// To be answered `{"type":"pong"}`.
    Pong,
    /// Nothing: this is what it gets.
    Refused(Refusal),
}

impl Socket {
    /// A fresh connection.
    pub fn new() -> Self {
        Self { binding: Binding::Fresh, is_busy: false, last: None }
    }

    /// The session it is bound to.
    pub fn session(&self) -> Option<SessionId> {
        match self.binding {
            Binding::Bound(session) | Binding::Reading(session) => Some(session),
            Binding::Fresh | Binding::Pending => None,
        }
    }

    /// What goes into messages that are no events of a turn as their `id`.
    pub fn last(&self) -> Option<EventId> {
        self.last
    }

    /// It was sent this event.
    pub fn sent(&mut self, event: EventId) {
        self.last = self.last.max(Some(event));
    }

    /// What the message `text` asks for. The connection stays, whatever it is.
    pub fn receive(&mut self, text: &[u8]) -> Asks {
        match Frame::read(text) {
            Err(refusal) => Asks::Refused(refusal),
            Ok(Frame::Ping) => Asks::Pong,
            Ok(Frame::Cancel) => match self.binding {
                Binding::Bound(session) => Asks::Cancel(session),
                Binding::Reading(session) => Asks::Refused(Refusal::MissingToken(session)),
                Binding::Fresh | Binding::Pending => {
                    Asks::Refused(Refusal::UnknownSession(String::new()))
                }
            },
            Ok(Frame::Resume { session, access, cursor }) => self.resume(session, access, cursor),
            Ok(Frame::Message { input, token }) => self.message(input, token),
        }
    }

    /// What became of a claim: the session that runs its turn now, or that it was refused for.
    /// `None`: there is none, the message that would have started it was refused.
    pub fn claimed(&mut self, session: Option<SessionId>, runs: bool) {
        self.is_busy = runs;
        match (self.binding, session) {
            (Binding::Pending, session) => {
                self.binding = session.map_or(Binding::Fresh, Binding::Bound);
            }
            // It only looked on, and has shown the token now.
            (Binding::Reading(_), Some(session)) if runs => self.binding = Binding::Bound(session),
            _ => {}
        }
    }

    /// The turn has ended. `exists`: its session does.
    pub fn ended(&mut self, exists: bool) {
        self.is_busy = false;
        if !exists {
            self.binding = Binding::Fresh;
        }
    }

    /// What became of a resumption: the session, and whether it may be written to.
    pub fn resumed(&mut self, session: Option<(SessionId, bool)>) {
        self.is_busy = false;
        self.binding = match session {
            Some((session, true)) => Binding::Bound(session),
            Some((session, false)) => Binding::Reading(session),
            None => Binding::Fresh,
        };
    }

    fn message(&mut self, input: String, token: Option<Token>) -> Asks {
        let (session, right) = match (self.binding, token) {
            (Binding::Fresh, Some(_)) => return Asks::Refused(Refusal::TokenOnStart),
            (Binding::Fresh, None) => {
                self.binding = Binding::Pending;
                self.is_busy = true;
                return Asks::Start { input };
            }
            (Binding::Pending, _) => return Asks::Refused(Refusal::Busy),
            (Binding::Bound(session), None) => (session, Right::Bound),
            // The store checks it, in its order; a reader without one is told that it is missing.
            (Binding::Bound(session) | Binding::Reading(session), token) => {
                (session, Right::Token(token))
            }
        };
        if self.is_busy && matches!(right, Right::Bound) {
            return Asks::Refused(Refusal::InFlight { session, own_turn: None });
        }
        Asks::Message { session, input, right }
    }

    fn resume(&mut self, session: String, access: Access, cursor: Cursor) -> Asks {
        if self.binding != Binding::Fresh {
            return Asks::Refused(Refusal::AlreadyBound);
        }
        self.binding = Binding::Pending;
        self.is_busy = true;
        let (wait, limit) = (Duration::ZERO, EVENT_PAGE_COUNT);
        Asks::Resume { session, read: Reading { access, cursor, turn: None, wait, limit } }
    }
}

impl Default for Socket {
    fn default() -> Self {
        Self::new()
    }
}
