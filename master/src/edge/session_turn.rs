//! A turn of a session, from its claim to its end.
//!
//! ```text
//!              claimed                               ended, its worker free, its client told
//!  Claiming ─────────────▶ Running ([`Turn`]) ────────────────────────────────────────────▶ (gone)
//!     │ refused, replayed         │ everything is cut
//!     └─────────────▶ (gone)      └─────────────▶ given up at the store ─▶ (gone)
//! ```
//!
//! What is claimed is never lost: it ends at the store, or is given up there. What the machine says is
//! carried out here; how it gets along with the app is told in [`super::session_app`].

use super::session::Mark;
use super::session_app::Passing;
use super::turn::{Edge, Timer};
use crate::reactor::slab::Key;
use crate::shared::mail::EdgeMessage;
use crate::shared::store::{StoreAnswer, StoreMail, StoreOrder};
use rip::contract::sessions::SessionsConfig;
use rip::guard::request_id::RequestId;
use rip::observe::counter::Counter;
use rip::session::claim::{Attempt, Claim, Run, WakeOrder};
use rip::session::end::{Appended, Ended};
use rip::session::table::RunningTurn;
use rip::session::turn::Output;
use rip::session::{Client, Epoch, Event, Failure, Form, Nonce, Refusal, SessionId, Turn};
use rip::time::Instant;
use std::net::IpAddr;
use std::sync::Arc;

/// One turn.
pub(super) struct SessionTurn {
    pub(super) origin: Origin,
    pub(super) place: Arc<SessionsConfig>,
    pub(super) stage: Stage,
    /// The earliest timer that was set for it.
    armed: Option<Instant>,
}

/// How far it is.
pub(super) enum Stage {
    /// Its claim is at the store.
    Claiming(Box<Claiming>),
    /// It is ours.
    Running(Box<Running>),
}

/// What a turn is made of that is not claimed yet.
pub(super) struct Claiming {
    client: Client,
    pub(super) input: String,
    pub(super) fields: Box<[u8]>,
    pub(super) ip: Option<IpAddr>,
    pub(super) request_id: RequestId,
    /// Who began it did not wait.
    has_left: bool,
}

/// A turn that runs.
pub(super) struct Running {
    pub(super) turn: Turn,
    /// The request to the app, while its answer is listened to.
    pub(super) asked: Option<Key>,
    /// The connection to a worker that was given up and may be busy yet.
    pub(super) left: Option<Key>,
    /// The app's refusal, on its way to the client.
    pub(super) passing: Option<Passing>,
    /// When the client may come again, as the app's queue said.
    pub(super) retry_after_secs: Option<u32>,
    /// The table has it.
    is_listed: bool,
    is_committed: bool,
}

/// Who began a turn, and is told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// A timer, or somebody who has left or does not wait.
    Nobody,
    /// The exchange of a POST.
    Post(Key),
    /// A WebSocket.
    Talk(Key),
}

/// What is to be run, once it is claimed.
pub(super) struct Wanted {
    pub(super) origin: Origin,
    pub(super) place: Arc<SessionsConfig>,
    /// How its client is told.
    pub(super) client: Client,
    /// A JSON object.
    pub(super) input: String,
    /// The client's own fields for the app, each a line with its end; without those that the edge
    /// keeps back.
    pub(super) fields: Box<[u8]>,
    pub(super) ip: Option<IpAddr>,
    pub(super) request_id: RequestId,
}

impl Edge {
    /// Claims a turn with `order` (a start, a message or a wake), and runs it if it is to be run. What
    /// comes of it is told to its origin, from a later turn of the loop on.
    pub(super) fn claim_turn(&mut self, order: StoreOrder, wanted: Wanted) -> Key {
        let Wanted { origin, place, client, input, fields, ip, request_id } = wanted;
        let claiming = Claiming { client, input, fields, ip, request_id, has_left: false };
        let stage = Stage::Claiming(Box::new(claiming));
        let key =
            self.sessions.turns.insert(Box::new(SessionTurn { origin, place, stage, armed: None }));
        self.order(Mark::Turn(key), order);
        key
    }

    /// The origin is gone: the turn runs on, or is cancelled, as its client wanted.
    pub(super) fn turn_client_left(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(turn) = self.sessions.turns.get_mut(key) else { return };
        turn.origin = Origin::Nobody;
        match &mut turn.stage {
            Stage::Claiming(claiming) => claiming.has_left = true,
            Stage::Running(running) => {
                running.turn.client_left(now);
                self.stop_passing(key);
                self.drive_turn(key);
            }
        }
    }

    /// The turn is to be cancelled, if it is the one with that number.
    pub(super) fn cancel_turn(&mut self, key: Key, turn: u64) {
        let now = self.clock.now();
        if let Some(running) = self.running_turn(key)
            && running.turn.run().attempt.turn == turn
        {
            running.turn.cancel(now);
            self.drive_turn(key);
        }
    }

    /// The store has answered an order of the turn's.
    pub(super) fn turn_stored(&mut self, key: Key, answer: StoreAnswer) {
        let now = self.clock.now();
        let is_last = match answer {
            StoreAnswer::Claim { claim, state } => return self.turn_claimed(key, *claim, state),
            StoreAnswer::Appended(reply) => {
                let is_lost = matches!(reply, Ok(Appended::Lost(_)));
                let Some(running) = self.running_turn(key) else { return };
                running.turn.appended(reply, now);
                is_lost
            }
            StoreAnswer::Ended(reply) => {
                let is_ended = reply.is_ok();
                let Some(running) = self.running_turn(key) else { return };
                running.is_committed =
                    matches!(&reply, Ok(Ended::Stored { ending, .. }) if ending.is_committed);
                running.turn.ended(reply, now);
                is_ended
            }
            _ => return,
        };
        self.carry_out_turn(key);
        if is_last {
            self.strike_off(key);
        }
        self.drive_turn(key);
    }

    /// A deadline of the turn's.
    pub(super) fn turn_timer(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(turn) = self.sessions.turns.get_mut(key) else { return };
        // Another one was set since, for earlier, and has gone off.
        if turn.armed.is_none_or(|armed| armed > now) {
            return;
        }
        turn.armed = None;
        if let Stage::Running(running) = &mut turn.stage {
            running.turn.handle_timeout(now);
            self.drive_turn(key);
        }
    }

    /// The timer of a session of `scope` is due.
    pub(super) fn timer_due(&mut self, session: SessionId, scope: &str) {
        self.look_at_configuration();
        // Where its mount is gone, or will be served by the next master, it stays due.
        let place = self.snapshots.active().sessions.of_scope(scope).cloned();
        let Some(place) = place.filter(|_| self.drain.is_none()) else { return };
        // The store puts its own epoch in the place of the owner.
        let order = WakeOrder {
            owner: Epoch::default(),
            session: session.to_string(),
            scope: None,
            wake: None,
            is_told: false,
        };
        let wanted = Wanted {
            origin: Origin::Nobody,
            client: Client { form: Form::Json, is_async: true, cancels_by_leaving: false },
            input: "{}".to_owned(),
            fields: self.fields_of_nobody(&place),
            place,
            ip: None,
            request_id: RequestId::new(None, &mut self.entropy),
        };
        self.claim_turn(StoreOrder::Wake(order), wanted);
    }

    /// Gives up every turn: the loop ends.
    pub(super) fn abandon_turns(&mut self) {
        for key in self.sessions.turns.keys().collect::<Vec<_>>() {
            if let Some(attempt) = self.strike_off(key) {
                self.shared.sessions.queue.abandon(attempt);
            }
            self.sessions.turns.remove(key);
        }
    }

    /// Gives up what was claimed for a turn that is gone, if `message` says so.
    pub(super) fn forsake(&self, message: EdgeMessage) {
        if let EdgeMessage::Store(mail) = message
            && let StoreMail::Done { answer: StoreAnswer::Claim { claim, .. }, .. } = *mail
            && let Claim::Run(run) = *claim
        {
            self.shared.sessions.queue.abandon(run.attempt);
        }
    }

    /// A turn that runs.
    pub(super) fn running_turn(&mut self, key: Key) -> Option<&mut Running> {
        match &mut self.sessions.turns.get_mut(key)?.stage {
            Stage::Running(running) => Some(running),
            Stage::Claiming(_) => None,
        }
    }

    /// Carries out what a turn says, hears what its app says, until there is nothing of either; then a
    /// turn that is over is forgotten.
    pub(super) fn drive_turn(&mut self, key: Key) {
        for goes_left in (0..GOES).rev() {
            self.carry_out_turn(key);
            if !self.hear_more(key, goes_left > 0) {
                break;
            }
        }
        self.carry_out_turn(key);
        self.pass_refusal(key);
        let Some(turn) = self.sessions.turns.get_mut(key) else { return };
        let Stage::Running(running) = &mut turn.stage else { return };
        if running.turn.is_over() && running.passing.is_none() {
            self.sessions.turns.remove(key);
        } else if let Some(at) = running.turn.next_deadline()
            && turn.armed.is_none_or(|armed| at < armed)
        {
            turn.armed = Some(at);
            self.wheel.schedule(Timer::SessionTurn(key), at);
        }
    }

    /// The store has decided on a claim.
    fn turn_claimed(&mut self, key: Key, claim: Claim, state: Option<String>) {
        match claim {
            Claim::Run(run) => self.begin_turn(key, run, state.as_deref()),
            Claim::Refused(refusal) => match self.sessions.turns.remove(key).map(|it| it.origin) {
                Some(Origin::Post(exchange)) => self.post_refused(exchange, &refusal),
                Some(Origin::Talk(talk)) => self.talk_refused(talk, &refusal),
                Some(Origin::Nobody) | None => {}
            },
            Claim::Replay { session, ending, token, resume } => {
                // Only a POST has a key.
                if let Some(turn) = self.sessions.turns.remove(key)
                    && let Origin::Post(exchange) = turn.origin
                {
                    self.post_replayed(exchange, session, &ending, token, &resume);
                }
            }
        }
    }

    fn begin_turn(&mut self, key: Key, run: Run, state: Option<&str>) {
        let now = self.clock.now();
        let next = match self.sessions.draw() {
            Ok(bytes) => Nonce(bytes),
            Err(error) => {
                log::error!("the kernel gives no random numbers: {error}");
                return self.give_back(key, &run);
            }
        };
        let attempt = run.attempt;
        let Some(turn) = self.sessions.turns.get_mut(key) else {
            return self.shared.sessions.queue.abandon(attempt);
        };
        let Stage::Claiming(claiming) = &turn.stage else { return };
        let mut running = Running {
            turn: Turn::new(run, claiming.client, next),
            asked: None,
            left: None,
            passing: None,
            retry_after_secs: None,
            is_listed: true,
            is_committed: false,
        };
        if claiming.has_left {
            running.turn.client_left(now);
        }
        let (origin, app) = (turn.origin, turn.place.app_id.clone());
        let stage = std::mem::replace(&mut turn.stage, Stage::Running(Box::new(running)));
        let place = self.place_of(Mark::Turn(key));
        self.shard().add(Counter::SessionTurns, 1);
        let turn = RunningTurn { attempt, app, since: now };
        let watching = self.shared.sessions.table().began(turn, place);
        self.stir(watching);
        if let Origin::Talk(talk) = origin
            && let Some(run) = self.run_of(key)
        {
            self.talk_runs(talk, &run);
        }
        if let Stage::Claiming(claiming) = stage {
            self.ask_app(key, *claiming, state);
        }
        self.drive_turn(key);
    }

    /// Nothing can be run: the claim is given back, and its origin told.
    fn give_back(&mut self, key: Key, run: &Run) {
        self.shared.sessions.queue.abandon(run.attempt);
        let refusal = Refusal::Store("no random numbers");
        match self.sessions.turns.remove(key).map(|it| it.origin) {
            Some(Origin::Post(exchange)) => self.post_refused(exchange, &refusal),
            Some(Origin::Talk(talk)) => self.talk_refused(talk, &refusal),
            Some(Origin::Nobody) | None => {}
        }
    }

    /// What a turn runs, for who is told of it.
    pub(super) fn run_of(&mut self, key: Key) -> Option<Run> {
        self.running_turn(key).map(|running| running.turn.run().clone())
    }

    /// The turn has ended, or does not go on: the table forgets it. What it was, if it had not.
    fn strike_off(&mut self, key: Key) -> Option<Attempt> {
        let place = self.place_of(Mark::Turn(key));
        let running = self.running_turn(key)?;
        let attempt = running.turn.run().attempt;
        if !std::mem::take(&mut running.is_listed) {
            return None;
        }
        let counter = match running.is_committed {
            true => Counter::SessionCommitted,
            false => Counter::SessionFailed,
        };
        self.shard().add(counter, 1);
        let watching = self.shared.sessions.table().ended(attempt.session, place);
        self.stir(watching);
        Some(attempt)
    }

    fn carry_out_turn(&mut self, key: Key) {
        while let Some(output) = self.running_turn(key).and_then(|it| it.turn.poll_output()) {
            self.carry_out(key, output);
        }
    }

    fn carry_out(&mut self, key: Key, output: Output) {
        let Some(origin) = self.sessions.turns.get(key).map(|turn| turn.origin) else { return };
        match output {
            Output::Append(order) => self.order(Mark::Turn(key), StoreOrder::Append(order)),
            Output::End(order) => {
                self.heard_enough_but_refusal(key);
                self.order(Mark::Turn(key), StoreOrder::End(order));
            }
            Output::Events(events) => self.tell_events(key, &events),
            Output::LetGo => self.let_go(key),
            Output::Recycle => {
                if let Some(link) = self.running_turn(key).and_then(|it| it.left.take()) {
                    self.tell_stuck(link);
                }
            }
            output => match origin {
                Origin::Post(exchange) => self.tell_post(key, exchange, output),
                Origin::Talk(talk) => self.tell_talk(key, talk, output),
                Origin::Nobody => {}
            },
        }
    }

    fn tell_events(&mut self, key: Key, events: &[Event]) {
        let Some(running) = self.running_turn(key) else { return };
        let session = running.turn.run().attempt.session;
        let watching = self.shared.sessions.table().stored(session, events);
        self.stir(watching);
    }

    fn tell_post(&mut self, key: Key, exchange: Key, output: Output) {
        let Some(running) = self.running_turn(key) else { return };
        let is_streaming = running.turn.is_streaming();
        let run = running.turn.run().clone();
        if !matches!(output, Output::PassThrough) {
            // Something else came of it than the app's refusal.
            self.stop_passing(key);
        }
        match output {
            Output::Accept => {
                if let Some(turn) = self.sessions.turns.get_mut(key) {
                    turn.origin = Origin::Nobody;
                }
                self.post_accepted(exchange, &run);
            }
            Output::Begin => self.stream_begins(exchange, &run),
            Output::Answer(ending) => self.post_answered(exchange, &run, &ending),
            Output::PassThrough => self.refusal_is_due(key),
            Output::Trouble(failure) if is_streaming => {
                self.stream_failed(exchange, &run, &failure);
            }
            Output::Trouble(failure) => self.post_failed(exchange, &run, &failure),
            Output::Finish => self.stream_finishes(exchange),
            _ => {}
        }
    }

    fn tell_talk(&mut self, key: Key, talk: Key, output: Output) {
        match output {
            Output::Trouble(failure) => {
                let Some(run) = self.run_of(key) else { return };
                self.talk_failed(talk, &run, &failure);
                if matches!(failure, Failure::Refused(_)) {
                    // No session has come to exist, and nothing follows.
                    self.talk_ended(talk, false);
                }
            }
            Output::Finish => self.talk_ended(talk, true),
            _ => {}
        }
    }
}

/// Pieces of an answer that one turn hears before the loop looks after others.
const GOES: u32 = 16;
