//! Answers to what was asked of sessions over HTTP: whole ones, and the heads of streams.
//!
//! What came of a turn, of a look, a cancellation or a deletion is put into words, and its exchange ends.
//! The operator's changes of the site's answers hold for these as well.

use super::answer::{OwnAnswer as Answer, field_of};
use super::session::Mark;
use super::subrequest::OwnAnswer;
use super::turn::Edge;
use crate::reactor::slab::Key;
use crate::shared::mail::EdgeMessage;
use crate::shared::sessions::SessionMail;
use crate::shared::store::StoreAnswer;
use rip::guard::request_id::RequestId;
use rip::http1::changes::Changes;
use rip::http1::{FieldWriter, ResponseLength};
use rip::observe::counter::Counter;
use rip::observe::note::Handler;
use rip::session::claim::Run;
use rip::session::encode::{self, Field};
use rip::session::look::{Cancel, Delete};
use rip::session::{Ending, Failure, Form, Refusal, Seed, SessionId, TokenKey};

/// An answer to what was asked.
pub(super) struct Told<'a> {
    pub(super) status: u16,
    /// Empty where there is none, or the fields have it.
    pub(super) content_type: &'a str,
    pub(super) fields: &'a [Field],
    pub(super) body: &'a [u8],
}

impl Edge {
    /// The store has answered a look, a cancellation or a deletion.
    pub(super) fn request_stored(&mut self, key: Key, answer: StoreAnswer) {
        match answer {
            StoreAnswer::Look(found) => match *found {
                Ok(view) => self.answer_json(key, 200, &[], &encode::status_body(&view)),
                Err(refusal) => self.refuse_asking(key, &refusal),
            },
            StoreAnswer::Cancel(Cancel::Cancelling { session, turn, .. }) => {
                self.cancel_where_it_runs(session, Some(turn));
                self.answer_json(key, 202, &[], encode::CANCELLING);
            }
            StoreAnswer::Cancel(Cancel::Ended { session, ending, token }) => {
                let Some(tokens) = self.token_key(key) else { return };
                let body = match ending {
                    Some(ending) => encode::ending_body(&ending, session, Some(token), &tokens),
                    None => encode::idle_body(session, &token, &tokens),
                };
                self.answer_json(key, 200, &[], &body);
            }
            StoreAnswer::Delete(Delete::Gone { session, .. }) => {
                self.cancel_where_it_runs(session, None);
                let gone = Told { status: 204, content_type: "", fields: &[], body: b"" };
                self.answer_asking(key, &gone, b"");
            }
            StoreAnswer::Cancel(Cancel::Refused(refusal))
            | StoreAnswer::Delete(Delete::Refused(refusal)) => self.refuse_asking(key, &refusal),
            StoreAnswer::Claim { .. }
            | StoreAnswer::Appended(_)
            | StoreAnswer::Ended(_)
            | StoreAnswer::Page(_) => {}
        }
    }

    /// Tells whoever runs a turn of `session` here that it is cancelled; whoever runs it elsewhere is
    /// told by the store. With `turn`, only that one.
    pub(super) fn cancel_where_it_runs(&mut self, session: SessionId, turn: Option<u64>) {
        let running = self.shared.sessions.table().place(session);
        let Some((running, place)) = running else { return };
        if turn.is_some_and(|turn| turn != running) {
            return;
        }
        if place.loop_index != self.index {
            let mail = SessionMail::Cancel { key: place.key, turn: running };
            self.shared.hubs.mail(place.loop_index, EdgeMessage::Session(mail));
        } else if let Mark::Turn(key) = Mark::from_u64(place.key) {
            self.cancel_turn(key, running);
        }
    }

    /// To the client of a POST: nothing ran.
    pub(super) fn post_refused(&mut self, key: Key, refusal: &Refusal) {
        self.refuse_asking(key, refusal);
    }

    /// To the client of a POST: this was committed before.
    pub(super) fn post_replayed(
        &mut self,
        key: Key,
        session: SessionId,
        ending: &Ending,
        token: Seed,
        resume: &Seed,
    ) {
        let Some(tokens) = self.token_key(key) else { return };
        let asking = self.exchanges.get(key).and_then(|exchange| exchange.asking.as_ref());
        let Some(form) = asking.map(|asking| asking.form) else { return };
        let mut fields = encode::turn_fields(session, ending.turn, resume, &tokens);
        fields.push(encode::replayed_field());
        if form != Form::Sse {
            let body = encode::ending_body(ending, session, Some(token), &tokens);
            return self.answer_json(key, 200, &fields, &body);
        }
        let mut body = encode::STREAM_START.as_bytes().to_vec();
        let event = encode::replay_event(ending, session, token, &tokens);
        encode::block(Some(ending.last), &event, &mut body);
        let content_type = encode::STREAM_TYPE;
        let told = Told { status: 200, content_type, fields: &fields, body: &body };
        self.answer_asking(key, &told, b"");
    }

    /// To the client of a POST: 202.
    pub(super) fn post_accepted(&mut self, key: Key, run: &Run) {
        let Some(tokens) = self.token_key(key) else { return };
        let Some(exchange) = self.exchanges.get(key) else { return };
        let Some(mount) = exchange.asking.as_ref().map(|asking| &asking.place.mount) else {
            return;
        };
        let attempt = run.attempt;
        let mut fields = encode::turn_fields(attempt.session, attempt.turn, &run.resume, &tokens);
        fields.extend(encode::accepted_fields(mount, run));
        self.answer_json(key, 202, &fields, &encode::accepted_body(run, &tokens));
    }

    /// To the client of a POST: the whole answer.
    pub(super) fn post_answered(&mut self, key: Key, run: &Run, ending: &Ending) {
        let Some(tokens) = self.token_key(key) else { return };
        let body = encode::ending_body(ending, run.attempt.session, None, &tokens);
        self.answer_turn(key, run, ending.status, &body, &tokens);
    }

    /// To the client of a POST: the app's own refusal, as it is.
    pub(super) fn post_passed(&mut self, key: Key, run: &Run, answer: &OwnAnswer) {
        let Some(tokens) = self.token_key(key) else { return };
        let attempt = run.attempt;
        // The first attempt of a first turn leaves no session behind.
        let mut fields = match run.is_first && attempt.number == 1 {
            true => Vec::new(),
            false => encode::turn_fields(attempt.session, attempt.turn, &run.resume, &tokens),
        };
        fields.retain(|(name, _)| field_of(&answer.fields, name.as_bytes()).is_empty());
        let (status, body) = (answer.status, &*answer.body);
        let told = Told { status, content_type: "", fields: &fields, body };
        self.answer_asking(key, &told, &answer.fields);
    }

    /// To the client of a POST: an error that is not stored, before a stream has begun.
    pub(super) fn post_failed(&mut self, key: Key, run: &Run, failure: &Failure) {
        let Some(tokens) = self.token_key(key) else { return };
        let body = encode::trouble_body(failure, run, &tokens);
        self.answer_turn(key, run, failure.status(), &body, &tokens);
    }

    fn answer_turn(&mut self, key: Key, run: &Run, status: u16, body: &str, tokens: &TokenKey) {
        let attempt = run.attempt;
        let mut fields = encode::turn_fields(attempt.session, attempt.turn, &run.resume, tokens);
        let asking = self.exchanges.get(key).and_then(|exchange| exchange.asking.as_ref());
        let turn = asking.and_then(|asking| asking.turn);
        let running = turn.and_then(|turn| self.running_turn(turn));
        if let Some(seconds) = running.and_then(|running| running.retry_after_secs) {
            fields.push((RETRY_AFTER, seconds.to_string()));
        }
        self.answer_json(key, status, &fields, body);
    }

    /// Refuses what was asked.
    pub(super) fn refuse_asking(&mut self, key: Key, refusal: &Refusal) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Some(asking) = &exchange.asking else { return };
        let fields = refusal.fields(&asking.place.mount);
        let begins_turn = asking.begins_turn;
        exchange.record.trail.detail = refusal.code();
        if begins_turn {
            self.shard().add(Counter::SessionRefused, 1);
        }
        let front = self.exchanges.get(key).and_then(|exchange| exchange.front);
        if refusal.status() == 426
            && let Some(front) = front.and_then(|front| self.fronts.get_mut(front))
        {
            front.server.close_offering_upgrade();
        }
        self.answer_json(key, refusal.status(), &fields, &refusal.body());
    }

    fn answer_json(&mut self, key: Key, status: u16, fields: &[Field], body: &str) {
        let content_type = encode::JSON_TYPE;
        let told = Told { status, content_type, fields, body: body.as_bytes() };
        self.answer_asking(key, &told, b"");
    }

    /// What tokens are made with. The store has it before it answers anything: without it what was asked
    /// is refused.
    fn token_key(&mut self, key: Key) -> Option<TokenKey> {
        let tokens = self.shared.sessions.queue.key();
        if tokens.is_none() {
            self.refuse_asking(key, &Refusal::Store("unreachable"));
        }
        tokens
    }

    /// Writes the whole answer to what was asked, and ends its exchange. `lines` are further fields, as
    /// whole lines.
    pub(super) fn answer_asking(&mut self, key: Key, told: &Told<'_>, lines: &[u8]) {
        let Some(written) = self.write_told(key, told, |edge, front, id, own| {
            edge.write_answer(front, id, own, |to| add_fields(told, lines, to))
        }) else {
            return;
        };
        let (front, (after, body_bytes)) = written;
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.record.bytes_out = body_bytes;
            if let Some(asking) = &mut exchange.asking {
                asking.turn = None;
            }
        }
        self.forget(key, None);
        self.answer_ended(front, after);
        self.flush_and_go_on(front);
    }

    /// Writes the head of a stream that answers what was asked; its body is [`Server::body`]'s, its end
    /// [`Edge::finish_answer`]'s. False when the client is gone.
    ///
    /// [`Server::body`]: rip::http1::server::Server::body
    pub(super) fn begin_asked_stream(&mut self, key: Key, told: &Told<'_>) -> bool {
        let written = self.write_told(key, told, |edge, front, id, own| {
            let length = ResponseLength::Unknown;
            edge.write_head(front, id, own, length, |to| add_fields(told, b"", to)).map(|_| ())
        });
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.answered = written.is_some();
        }
        written.is_some()
    }

    /// Has the head of an answer written as the operator wants it, and notes it for the access line.
    fn write_told<T>(
        &mut self,
        key: Key,
        told: &Told<'_>,
        write: impl FnOnce(&mut Self, Key, &RequestId, &Answer<'_>) -> Option<T>,
    ) -> Option<(Key, T)> {
        let exchange = self.exchanges.get_mut(key)?;
        let (front, id) = (exchange.front?, exchange.request_id);
        exchange.record.status = told.status;
        exchange.record.media_type.clear();
        exchange.record.media_type.extend_from_slice(told.content_type.as_bytes());
        let rules = std::mem::take(&mut exchange.changes);
        let snapshot = self.snapshots.get(exchange.snapshot).cloned();
        let changes = snapshot.as_ref().and_then(|found| found.table.headers().response(&rules));
        let own = Answer {
            status: told.status,
            content_type: told.content_type,
            body: told.body,
            changes: changes.as_ref().map(|changes| changes as &dyn Changes),
            handler: Handler::Session,
            rule: None,
        };
        let written = write(self, front, &id, &own)?;
        Some((front, written))
    }
}

fn add_fields(told: &Told<'_>, lines: &[u8], to: &mut FieldWriter<'_>) {
    let mut says_cache = false;
    for (name, value) in told.fields {
        says_cache |= *name == NO_STORE.0;
        to.field(name.as_bytes(), value.as_bytes());
    }
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        says_cache |= name.eq_ignore_ascii_case(NO_STORE.0.as_bytes());
        to.field(name, value);
    }
    if !says_cache {
        to.field(NO_STORE.0.as_bytes(), NO_STORE.1);
    }
    if told.status == UNAVAILABLE && !told.fields.iter().any(|(name, _)| *name == RETRY_AFTER) {
        to.field(RETRY_AFTER.as_bytes(), b"1");
    }
}

/// What is said of a session is true once.
const NO_STORE: (&str, &[u8]) = ("Cache-Control", b"no-store");
const RETRY_AFTER: &str = "Retry-After";
/// Of no turn is known when its worker or its store will be there again.
const UNAVAILABLE: u16 = 503;
