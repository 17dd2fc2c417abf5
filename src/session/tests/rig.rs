//! One session store without faults, and one master.

use crate::session::claim::{self, Claim, MessageOrder, Right, Run, StartOrder, WakeOrder};
use crate::session::end::{Appended, EndOrder, Ended, append, end};
use crate::session::look::{self, Cancel, CancelOrder, Delete, DeleteOrder, LookOrder, View};
use crate::session::store::{EndingOf, Found, Level, Load, Step, Write};
use crate::session::turn::Output;
use crate::session::viewer::Page;
use crate::session::*;
use crate::time::{Instant, UnixMillis};
use std::collections::BTreeMap;

pub(super) struct Rig {
    pub(super) key: TokenKey,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) events: Vec<(SessionId, Event)>,
    pub(super) endings: BTreeMap<(SessionId, u64), Ending>,
    pub(super) states: BTreeMap<SessionId, String>,
    pub(super) keys: Vec<KeyRecord>,
    pub(super) now: UnixMillis,
    pub(super) levels: Vec<Level>,
    nonce: u8,
}

pub(super) const SCOPE: &str = "a /v1 app";
pub(super) const OWNER: Epoch = Epoch(3);

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            key: TokenKey::new([5; 32]),
            sessions: BTreeMap::new(),
            events: Vec::new(),
            endings: BTreeMap::new(),
            states: BTreeMap::new(),
            keys: Vec::new(),
            now: UnixMillis(1_000_000_000),
            levels: Vec::new(),
            nonce: 0,
        }
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        self.nonce += 1;
        Nonce([self.nonce; 16])
    }

    fn load(&self, load: Load) -> Found {
        let wanted = load.key;
        let key = self.keys.iter().find(|key| Some(key.asked.key) == wanted).copied();
        let id = load.session.or(key.map(|key| key.session));
        let session = id.and_then(|id| self.sessions.get(&id)).cloned();
        let turn = match load.ending {
            EndingOf::Nothing => None,
            EndingOf::Key => key.map(|key| key.turn),
            EndingOf::Last => session.as_ref().map(Session::last_turn),
            EndingOf::Turn(turn) => Some(turn),
        };
        let ending = id.zip(turn).and_then(|at| self.endings.get(&at)).cloned();
        Found { session, key, ending }
    }

    pub(super) fn write<T>(&mut self, step: Step<T>) -> T {
        self.levels.push(step.level);
        for write in step.writes {
            match write {
                Write::Session(session) => {
                    session.check_invariants();
                    self.sessions.insert(session.id, *session);
                }
                Write::Forget(id) => {
                    self.sessions.remove(&id);
                    self.keys.retain(|key| key.session != id);
                    self.events.retain(|(session, _)| *session != id);
                }
                Write::Events(id, events) => {
                    self.events.extend(events.into_iter().map(|event| (id, event)));
                }
                Write::Ending(id, ending) => {
                    self.endings.insert((id, ending.turn), *ending);
                }
                Write::State(id, state) => {
                    self.states.insert(id, state);
                }
                Write::Key(key) => {
                    self.keys.retain(|known| known.asked.key != key.asked.key);
                    self.keys.push(key);
                }
                Write::DropEvents(id, below) => {
                    self.events.retain(|(session, event)| *session != id || event.id.seq >= below);
                }
                Write::DropEnding(id, turn) => {
                    self.endings.remove(&(id, turn));
                }
                Write::DropKey(key) => self.keys.retain(|known| known.asked.key != key),
            }
        }
        step.reply
    }

    pub(super) fn start(&mut self, asked: Option<Asked>) -> Claim {
        let order = StartOrder {
            owner: OWNER,
            session: SessionId::new(self.nonce().0),
            scope: SCOPE.into(),
            token: self.nonce(),
            resume: self.nonce(),
            asked,
            is_told: false,
        };
        let step = claim::start(&order, self.load(order.load()), &self.key, self.now);
        self.write(step)
    }

    pub(super) fn message(
        &mut self,
        session: &str,
        token: Option<&str>,
        asked: Option<Asked>,
    ) -> Claim {
        let order = MessageOrder {
            owner: OWNER,
            session: session.to_owned(),
            scope: SCOPE.into(),
            right: Right::Token(token.map(Token::presented)),
            asked,
            is_told: false,
        };
        let step = claim::message(&order, self.load(order.load()), self.now);
        self.write(step)
    }

    pub(super) fn wake(&mut self, session: SessionId, wake: Option<&str>) -> Claim {
        let order = WakeOrder {
            owner: OWNER,
            session: session.to_string(),
            scope: wake.map(|_| SCOPE.to_owned()),
            wake: wake.map(str::to_owned),
            is_told: false,
        };
        let step = claim::wake(&order, self.load(order.load()), self.now);
        self.write(step)
    }

    pub(super) fn cancel(&mut self, session: SessionId, token: &str) -> Cancel {
        let right = Right::Token(Some(Token::presented(token)));
        let order = CancelOrder { session: session.to_string(), scope: SCOPE.into(), right };
        let step = look::cancel(&order, self.load(order.load()), self.now);
        self.write(step)
    }

    pub(super) fn delete(&mut self, session: SessionId, token: &str) -> Delete {
        let right = Right::Token(Some(Token::presented(token)));
        let order = DeleteOrder { session: session.to_string(), scope: SCOPE.into(), right };
        let step = look::delete(&order, self.load(order.load()), self.now);
        self.write(step)
    }

    pub(super) fn look(
        &mut self,
        session: SessionId,
        token: Option<&str>,
        resume: Option<&str>,
        turn: Option<u64>,
    ) -> Result<View, Refusal> {
        let access = Access {
            continuation: token.map(Token::presented),
            resume: resume.map(Token::presented),
        };
        let order = LookOrder { session: session.to_string(), scope: SCOPE.into(), access, turn };
        let step = look::look(&order, self.load(order.load()), self.now);
        self.write(step)
    }

    pub(super) fn end(&mut self, order: EndOrder) -> Ended {
        let step = end(order.clone(), self.load(order.load()), &self.key, self.now);
        self.write(step)
    }

    /// Carries out what `turn` wants of the store; the rest is returned.
    pub(super) fn serve(&mut self, turn: &mut Turn) -> Vec<Output> {
        let mut rest = Vec::new();
        while let Some(output) = turn.poll_output() {
            match output {
                Output::Append(order) => {
                    let step = append(order.clone(), self.load(order.load()));
                    let reply: Appended = self.write(step);
                    turn.appended(Ok(reply), Instant::default());
                }
                Output::End(order) => {
                    let reply = self.end(order);
                    turn.ended(Ok(reply), Instant::default());
                }
                output => rest.push(output),
            }
        }
        rest
    }

    pub(super) fn turn(&mut self, run: Run, form: Form) -> Turn {
        let client = Client { form, ..Client::default() };
        Turn::new(run, client, self.nonce())
    }

    /// Runs a turn that the app answers with `body` as `content_type`.
    pub(super) fn answer(
        &mut self,
        run: Run,
        form: Form,
        content_type: &str,
        body: &str,
    ) -> Vec<Output> {
        let mut turn = self.turn(run, form);
        turn.answer_head(200, Some(content_type.as_bytes()));
        let mut outputs = self.serve(&mut turn);
        turn.answer_bytes(body.as_bytes(), self.now);
        turn.answer_end(true, self.now);
        outputs.extend(self.serve(&mut turn));
        assert!(turn.is_over());
        outputs
    }

    /// A session with one committed turn.
    pub(super) fn session(&mut self) -> SessionId {
        let run = ran(self.start(None));
        let id = run.attempt.session;
        self.answer(
            run,
            Form::Json,
            "application/json",
            "{\"status\":\"finished\",\"output\":1,\"state\":1}",
        );
        id
    }

    /// Runs the next turn with its own token.
    pub(super) fn go_on(&mut self, id: SessionId, content_type: &str, body: &str) -> Vec<Output> {
        let token = self.token(id);
        let run = ran(self.message(&id.to_string(), Some(&token), None));
        self.answer(run, Form::Json, content_type, body)
    }

    pub(super) fn token(&self, id: SessionId) -> String {
        self.key.token(id, &self.sessions[&id].token.seed).expose().to_owned()
    }

    pub(super) fn resume(&self, id: SessionId) -> String {
        self.key.token(id, &self.sessions[&id].resume.seed).expose().to_owned()
    }

    pub(super) fn page(&self, id: SessionId, after: EventId, count: u32) -> Option<Page> {
        let session = self.sessions.get(&id)?;
        let own = self.events.iter().filter(|(session, _)| *session == id);
        let events = own.map(|(_, event)| event).filter(|event| event.id.seq > after.seq);
        Some(Page {
            events: events.take(count as usize).cloned().collect(),
            last: session.ledger.last(),
            first: session.ledger.first(),
            running: session.running.map(|_| session.turn()),
        })
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now.0 += millis;
    }
}

#[track_caller]
pub(super) fn ran(claim: Claim) -> Run {
    match claim {
        Claim::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn refused(claim: Claim) -> Refusal {
    match claim {
        Claim::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(super) fn asked(key: u8, input: &str) -> Option<Asked> {
    let key = Key::new(&[b'a' + key; 16]).unwrap().digest(SCOPE);
    Some(Asked { key, fingerprint: key::fingerprint("POST", "/v1/session", input, b"") })
}
