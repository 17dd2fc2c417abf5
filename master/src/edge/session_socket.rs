//! `<mount>/ws`: turns and events of a session as JSON in text messages.
//!
//! ```text
//!            what it says: a claim, a look, a cancellation
//!  client ──────────────────────────────────────────────────▶ session_turn, the store
//!     ▲                                                            │
//!     └── events: pages, pulled as the client takes them ◀─────────┘ stirred
//! ```
//! A talk is a conversation ([`Speech`]), what it is bound to ([`Socket`]), at most one turn of its own,
//! and a reader of its session. Events are pulled whenever the client has taken what it was told, whoever
//! began the turn; so a slow client costs a page of memory. While the store is asked what becomes of a
//! message nothing more is read: what a message may do depends on the one before it.
//!
//! Messages are text: a binary one closes the connection with 1003.

use super::session::Mark;
use super::session_pages::{Pages, READ_ON_BYTES};
use super::session_turn::{Origin, Wanted};
use super::speech::{Speaker, Speech};
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::store::{StoreAnswer, StoreOrder};
use rip::contract::realtime::MessageRate;
use rip::contract::sessions::{OnDisconnect, SessionsConfig};
use rip::guard::request_id::RequestId;
use rip::limits;
use rip::observe::counter::Counter;
use rip::realtime::Frame;
use rip::session::claim::{MessageOrder, Right, Run, StartOrder};
use rip::session::look::{Cancel, CancelOrder, LookOrder, View};
use rip::session::socket::Asks;
use rip::session::viewer::Opening;
use rip::session::{
    Client, Epoch, EventId, Failure, Form, Reading, Refusal, SessionId, Socket, Viewer, encode,
};
use std::net::IpAddr;
use std::sync::Arc;

/// One WebSocket.
pub(super) struct Talk {
    pub(super) speech: Speech,
    pub(super) place: Arc<SessionsConfig>,
    /// Fields of every turn's request on its behalf, each a line with its end.
    pub(super) fields: Box<[u8]>,
    pub(super) ip: Option<IpAddr>,
    pub(super) socket: Socket,
    /// The session whose news it is told of.
    pub(super) watched: Option<SessionId>,
    /// The turn that the store is asked for.
    pub(super) claim: Option<Key>,
    /// What else the store is asked.
    pub(super) question: Option<Question>,
    /// Its own turn.
    pub(super) turn: Option<Key>,
    pub(super) reads: Reads,
    pub(super) pages: Option<Pages>,
    /// It is read no further before it has taken what it was told.
    pub(super) is_held_back: bool,
}

/// What a talk reads of its session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reads {
    Nothing,
    /// It has everything up to this event, and goes on when there is news.
    UpTo(EventId),
    /// Its pages.
    On,
}

/// What a talk asks the store.
pub(super) enum Question {
    /// Whether it may look on.
    Resume(Reading),
    /// To cancel the running turn.
    Cancel,
}

impl Talk {
    /// With a client that has just come.
    pub(super) fn new(
        speech: Speech,
        place: Arc<SessionsConfig>,
        fields: Box<[u8]>,
        ip: Option<IpAddr>,
    ) -> Self {
        Self {
            speech,
            place,
            fields,
            ip,
            socket: Socket::new(),
            watched: None,
            claim: None,
            question: None,
            turn: None,
            reads: Reads::Nothing,
            pages: None,
            is_held_back: false,
        }
    }

    /// Tells the client `text`. There is always room: it is not heard, and nothing is read for it, before
    /// it has taken what it was told.
    pub(super) fn say(&mut self, text: &str) {
        self.speech.outbox.push_missed(&Frame::text(text));
    }

    /// Tells the client that it gets nothing.
    fn refuse(&mut self, refusal: &Refusal) {
        let text = encode::refusal_message(refusal, self.socket.last());
        self.say(&text);
    }

    /// The client has so much to take that nothing is read for it.
    pub(super) fn has_enough(&self) -> bool {
        self.speech.outbox.byte_count() >= READ_ON_BYTES
    }

    /// The client has so much to take that it is not heard.
    pub(super) fn is_full(&self) -> bool {
        self.speech.outbox.byte_count() >= limits::RESPONSE_BUFFER_BYTES
    }

    /// The client can go on behind this event, if it comes again.
    fn knows(&mut self, event: EventId) {
        if event.seq > 0 {
            self.socket.sent(event);
        }
    }

    /// Reads as `viewer` does from here on.
    pub(super) fn read_as(&mut self, viewer: Viewer) {
        self.reads = Reads::On;
        match &mut self.pages {
            Some(pages) => pages.restart(viewer),
            None => self.pages = Some(Pages::new(viewer)),
        }
    }
}

impl Edge {
    /// A whole message of the client's.
    pub(super) fn talk_said(&mut self, key: Key, text: &[u8]) {
        let now = self.clock.now();
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        if !talk.speech.bucket.take(MessageRate::default(), now) {
            return self.close_speaker(Speaker::Talk(key), 1008, "too many messages");
        }
        match talk.socket.receive(text) {
            Asks::Start { input } => self.start_by_talk(key, input),
            Asks::Message { session, input, right } => {
                let order = StoreOrder::Message(MessageOrder {
                    owner: Epoch::default(),
                    session: session.to_string(),
                    scope: talk.place.scope(),
                    right,
                    asked: None,
                    is_told: false,
                });
                self.claim_by_talk(key, order, input);
            }
            Asks::Resume { session, read } => {
                let order = StoreOrder::Look(LookOrder {
                    session: session.clone(),
                    scope: talk.place.scope(),
                    access: read.access.clone(),
                    turn: None,
                });
                talk.question = Some(Question::Resume(read));
                talk.watched = SessionId::parse(&session);
                if let Some(session) = talk.watched {
                    self.watch_session(session, Mark::Talk(key));
                }
                self.order(Mark::Talk(key), order);
            }
            Asks::Cancel(session) => {
                let order = StoreOrder::Cancel(CancelOrder {
                    session: session.to_string(),
                    scope: talk.place.scope(),
                    right: Right::Bound,
                });
                talk.question = Some(Question::Cancel);
                self.order(Mark::Talk(key), order);
            }
            Asks::Pong => {
                let text = encode::message(talk.socket.last(), "{\"type\":\"pong\"}");
                talk.say(&text);
            }
            Asks::Refused(refusal) => {
                talk.refuse(&refusal);
                self.shard().add(Counter::SessionRefused, 1);
            }
        }
    }

    fn start_by_talk(&mut self, key: Key, input: String) {
        let drawn = self.sessions.draw_session();
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        let (session, token, resume) = match drawn {
            Ok(drawn) => drawn,
            Err(error) => {
                log::error!("the kernel gives no random numbers: {error}");
                talk.socket.claimed(None, false);
                return talk.refuse(&Refusal::Store("no random numbers"));
            }
        };
        let order = StoreOrder::Start(StartOrder {
            owner: Epoch::default(),
            session,
            scope: talk.place.scope(),
            token,
            resume,
            asked: None,
            is_told: true,
        });
        self.claim_by_talk(key, order, input);
    }

    fn claim_by_talk(&mut self, key: Key, order: StoreOrder, input: String) {
        let request_id = RequestId::new(None, &mut self.entropy);
        let Some(talk) = self.sessions.talks.get(key) else { return };
        let cancels_by_leaving = talk.place.on_disconnect == OnDisconnect::Cancel;
        let wanted = Wanted {
            origin: Origin::Talk(key),
            place: Arc::clone(&talk.place),
            client: Client { form: Form::Socket, is_async: false, cancels_by_leaving },
            input,
            fields: talk.fields.clone(),
            ip: talk.ip,
            request_id,
        };
        let turn = self.claim_turn(order, wanted);
        if let Some(talk) = self.sessions.talks.get_mut(key) {
            talk.claim = Some(turn);
        }
    }

    /// Whether what a client says next has to wait.
    pub(super) fn talk_has_to_wait(&mut self, key: Key) -> bool {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return false };
        talk.is_held_back |= talk.is_full();
        talk.is_held_back || talk.claim.is_some() || talk.question.is_some()
    }

    /// To a WebSocket: its message runs as a turn.
    pub(super) fn talk_runs(&mut self, key: Key, run: &Run) {
        let session = run.attempt.session;
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        talk.turn = talk.claim.take();
        talk.socket.claimed(Some(session), true);
        let is_new = talk.watched.is_none();
        if is_new {
            talk.watched = Some(session);
            talk.reads = Reads::UpTo(run.last);
        }
        talk.knows(run.last);
        // There is nothing to read before the turn's first event; unless it missed what came from
        // elsewhere.
        match talk.reads {
            Reads::UpTo(at) if at < run.last => {
                talk.read_as(Viewer::behind(session, at, Form::Socket));
            }
            Reads::UpTo(_) => talk.read_as(Viewer::of_run(run, Form::Socket)),
            Reads::Nothing | Reads::On => {}
        }
        if is_new {
            self.watch_session(session, Mark::Talk(key));
        }
        self.talk_goes_on(key);
    }

    /// To a WebSocket: nothing ran.
    pub(super) fn talk_refused(&mut self, key: Key, refusal: &Refusal) {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        talk.claim = None;
        // A message with a token of its own may have been refused while a turn runs.
        talk.socket.claimed(None, talk.turn.is_some());
        talk.refuse(refusal);
        self.shard().add(Counter::SessionRefused, 1);
        self.talk_goes_on(key);
    }

    /// To a WebSocket: an error that is not stored.
    pub(super) fn talk_failed(&mut self, key: Key, run: &Run, failure: &Failure) {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        let event = encode::trouble_event(failure, run.attempt.turn);
        let text = encode::message(talk.socket.last(), &event);
        talk.say(&text);
        self.talk_goes_on(key);
    }

    /// The turn of a WebSocket has ended; whether its session exists.
    pub(super) fn talk_ended(&mut self, key: Key, exists: bool) {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        talk.turn = None;
        talk.socket.ended(exists);
        if !exists {
            self.talk_leaves(key);
        }
        self.talk_goes_on(key);
    }

    /// It is told of no session's news any more.
    pub(super) fn talk_leaves(&mut self, key: Key) {
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        talk.reads = Reads::Nothing;
        if let Some(session) = talk.watched.take() {
            self.leave_session(session, Mark::Talk(key));
        }
    }

    /// The store has answered an order of a WebSocket's: a look, a cancellation, a page.
    pub(super) fn talk_stored(&mut self, key: Key, answer: StoreAnswer) {
        match answer {
            StoreAnswer::Look(seen) => self.talk_resumed(key, *seen),
            StoreAnswer::Cancel(cancel) => self.talk_cancels(key, cancel),
            StoreAnswer::Page(page) => self.talk_got(key, page),
            _ => return,
        }
        self.talk_goes_on(key);
    }

    /// The store has said whether a talk may look on.
    fn talk_resumed(&mut self, key: Key, seen: Result<View, Refusal>) {
        let now = self.clock.now();
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        let Some(Question::Resume(read)) = talk.question.take() else { return };
        let opened = seen.and_then(|view| {
            let opening = Viewer::open(&read, Form::Socket, &view, now)?;
            Ok((view, opening))
        });
        match opened {
            Ok((view, opening)) => {
                talk.socket.resumed(Some((view.id, view.may_write)));
                match opening {
                    Opening::Viewer(viewer) => {
                        let after = viewer.after();
                        talk.knows(after);
                        if let Some(reset) = viewer.reset() {
                            let event = encode::reset_event(reset, after);
                            talk.say(&encode::message(Some(after), &event));
                        }
                        talk.read_as(viewer);
                    }
                    Opening::Nothing => {
                        talk.knows(view.last());
                        talk.reads = Reads::UpTo(view.last());
                    }
                }
            }
            Err(refusal) => {
                talk.socket.resumed(None);
                talk.refuse(&refusal);
                self.talk_leaves(key);
            }
        }
    }

    /// The store has said what becomes of a cancellation.
    fn talk_cancels(&mut self, key: Key, cancel: Cancel) {
        let token_key = self.shared.sessions.queue.key();
        let Some(talk) = self.sessions.talks.get_mut(key) else { return };
        talk.question = None;
        match cancel {
            // The outcome will say so.
            Cancel::Cancelling { session, turn, .. } => {
                self.cancel_where_it_runs(session, Some(turn))
            }
            Cancel::Ended { session, ending, token } => {
                // Its outcome is told once more, unless that is still on its way.
                if let Some(ending) = ending
                    && ending.status == 200
                    && talk.socket.last() >= Some(ending.last)
                    && let Some(token_key) = token_key
                {
                    let event = encode::replay_event(&ending, session, token, &token_key);
                    talk.say(&encode::message(Some(ending.last), &event));
                }
            }
            Cancel::Refused(refusal) => talk.refuse(&refusal),
        }
    }
}
