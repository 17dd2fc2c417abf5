//! Masters, clients and time around one store.

use super::app::Script;
use super::disk::{Disk, Fault};
use super::model::{Life, Model, Says, Stood, Tried};
use super::view::Watcher;
use crate::seed::Dice;
use rip::session::claim::{Attempt, Claim, MessageOrder, Right, Run, StartOrder, WakeOrder};
use rip::session::end::{AppendOrder, Appended, EndOrder, Ended, append, end, interrupt};
use rip::session::event::Closes;
use rip::session::key::fingerprint;
use rip::session::look::{
    Cancel, CancelOrder, Delete, DeleteOrder, LookOrder, cancel, delete, look,
};
use rip::session::store::{Found, Level, Load, Step, Write};
use rip::session::turn::Output;
use rip::session::{
    Access, Asked, Cause, Client, Cursor, Epoch, Event, Failure, Form, Key, Nonce, SessionId,
    Token, TokenKey, Turn, claim, encode, prune,
};
use rip::time::{Instant, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::rc::Rc;

pub struct World {
    key: TokenKey,
    disk: Disk,
    batch: Option<Batch>,
    model: Model,
    /// The model after each transaction that a loss of power may take back, and before all of them.
    models: Vec<Model>,
    safe_model: Model,
    masters: Vec<u16>,
    lives: Vec<Live>,
    watchers: Vec<Watcher>,
    requests: Vec<Request>,
    /// Tokens that once were, of whatever session.
    tokens: Vec<String>,
    /// Sessions that a client was told of.
    heard: BTreeSet<SessionId>,
    /// Commits that a client was told of: which one of its session, and the attempt.
    acked: BTreeSet<(SessionId, u64, u64)>,
    /// Attempts whose cancellation a client was promised.
    doomed: BTreeSet<u64>,
    now: u64,
    serial: u64,
    has_faults: bool,
    pub done: Done,
}

/// A turn under way in a master.
struct Live {
    turn: Turn,
    attempt: Attempt,
    tag: u64,
    script: Script,
    order: Option<Order>,
    is_app_active: bool,
}

/// Orders that share a transaction.
struct Batch {
    fault: Fault,
    writes: Vec<Write>,
    level: Level,
}

enum Reply {
    Append(Appended),
    End(Ended),
}

enum Order {
    Append(AppendOrder),
    End(EndOrder),
}

#[derive(Clone)]
struct Request {
    session: Option<SessionId>,
    input: String,
    token: Option<String>,
    key: Option<String>,
}

/// What happened over all seeds.
#[derive(Clone, Debug, Default)]
pub struct Done(BTreeMap<&'static str, u64>);

impl Done {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn check_coverage(&self, seeds: u64) {
        if seeds < 50 || self.0.values().sum::<u64>() < 10_000 {
            return; // a replay of one seed
        }
        for what in COVERED {
            assert!(self.0.contains_key(what), "never happened: {what}; {self:?}");
        }
    }
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

const COVERED: [&str; 21] = [
    "acknowledged commit",
    "ambiguous commit",
    "cancelled",
    "commit",
    "contended",
    "deleted",
    "idempotency-key-reused",
    "in-flight",
    "interrupted",
    "lost",
    "missing-token",
    "not-parked",
    "power lost",
    "refused by the app",
    "replay",
    "reset",
    "run",
    "stale-token",
    "timer",
    "unheard session lost",
    "unknown-session",
];

impl World {
    pub fn new(dice: &mut Dice) -> Self {
        let mut world = Self {
            key: TokenKey::new([3; 32]),
            disk: Disk::default(),
            batch: None,
            model: Model::default(),
            models: Vec::new(),
            safe_model: Model::default(),
            masters: Vec::new(),
            lives: Vec::new(),
            watchers: Vec::new(),
            requests: Vec::new(),
            tokens: vec!["ct_forged".into(), "rt_forged".into()],
            heard: BTreeSet::new(),
            acked: BTreeSet::new(),
            doomed: BTreeSet::new(),
            now: 1_000_000_000_000,
            serial: 0,
            has_faults: true,
            done: Done::default(),
        };
        world.boot(dice);
        world
    }

    pub fn step(&mut self, dice: &mut Dice) {
        const CHOICES: [(u8, u64); 16] = [
            (0, 4),
            (1, 12),
            (2, 40),
            (3, 30),
            (4, 6),
            (5, 3),
            (6, 1),
            (7, 2),
            (8, 3),
            (9, 6),
            (10, 16),
            (11, 2),
            (12, 10),
            (13, 1),
            (14, 2),
            (15, 1),
        ];
        match dice.weighted(&CHOICES) {
            0 => self.start(dice),
            1 => self.message(dice),
            2 => self.feed(dice),
            3 => self.store(dice),
            4 => self.look(dice),
            5 => self.cancel(dice),
            6 => self.delete(dice),
            7 => self.wake(dice),
            8 => self.timers(dice),
            9 => self.watch(dice),
            10 => self.pull(dice),
            11 => self.leave(dice),
            12 => self.tick(dice),
            13 => self.prune(dice),
            14 => self.kill_or_boot(dice),
            _ => self.recover(dice),
        }
        if dice.one_in(400) {
            self.lose_power(dice);
        }
        self.check();
    }

    /// Without any more trouble everything comes to its end, and is all there.
    pub fn settle(&mut self, dice: &mut Dice) {
        self.has_faults = false;
        if self.masters.is_empty() {
            self.boot(dice);
        }
        self.recover(dice);
        for _ in 0..20_000 {
            if self.lives.is_empty() {
                break;
            }
            self.feed(dice);
            self.store(dice);
            self.tick_by(50);
        }
        assert!(self.lives.is_empty(), "a turn never ended");
        self.check();
        for (id, life) in &self.model.sessions {
            assert!(life.running.is_none(), "a turn runs that nobody runs");
            let first = self.disk.now.sessions[id].ledger.first();
            let kept: Vec<u64> = life.log.range(first..).map(|(seq, _)| *seq).collect();
            let page = self.disk.page(*id, Default::default(), u32::MAX).unwrap();
            assert!(page.events.iter().map(|event| event.id.seq).eq(kept));
        }
        let master = self.masters[0];
        for at in (0..self.watchers.len()).rev() {
            self.watchers[at].turn = None;
            self.watchers[at].form = Form::Sse;
            if !self.connect(at, master, dice) {
                continue;
            }
            let watcher = &mut self.watchers[at];
            let life = &self.model.sessions[&watcher.session];
            while watcher.viewer.is_some() {
                watcher.pull(&self.disk, Some(life), &self.key, Instant::from_millis(self.now));
            }
            let last = life.log.last_key_value().map(|(_, (id, _))| *id);
            assert!(watcher.last.is_none() || watcher.last == last, "it has not seen the end");
        }
        self.check_promises();
    }

    // What clients do.

    fn start(&mut self, dice: &mut Dice) {
        let request = match dice.index(self.requests.len()) {
            Some(at) if dice.one_in(3) => self.requests[at].clone(),
            _ => {
                self.serial += 1;
                let key = dice.one_in(2).then(|| format!("start-key-{:08}", self.serial));
                Request {
                    session: None,
                    input: format!("{{\"i\":{}}}", self.serial),
                    token: None,
                    key,
                }
            }
        };
        self.post(request, dice);
    }

    fn message(&mut self, dice: &mut Dice) {
        let Some(id) = self.any_session(dice) else { return };
        self.serial += 1;
        let token = match dice.weighted(&[(0, 12), (1, 2), (2, 1)]) {
            0 => self.model.sessions.get(&id).map(|life| life.token().to_owned()),
            1 => Some(self.any_token(dice)),
            _ => None,
        };
        let key = match dice.weighted(&[(0, 3), (1, 3), (2, 1)]) {
            0 => None,
            1 => Some(format!("message-key-{:08}", self.serial)),
            _ => dice.index(self.requests.len()).and_then(|at| self.requests[at].key.clone()),
        };
        let input = format!("{{\"i\":{}}}", self.serial);
        self.post(Request { session: Some(id), input, token, key }, dice);
    }

    fn post(&mut self, request: Request, dice: &mut Dice) {
        let Some(owner) = self.any_master(dice) else { return };
        let text = match request.session {
            Some(id) => format!("{id} {}", request.input),
            None => format!("start {}", request.input),
        };
        let key = request.key.as_deref();
        let asked = key.map(|key| Asked {
            key: Key::new(key.as_bytes()).unwrap().digest(SCOPE),
            fingerprint: fingerprint("POST", &text, &request.input, b""),
        });
        let form = dice.weighted(&[(Form::Json, 2), (Form::Sse, 2), (Form::Socket, 1)]);
        let is_async = form == Form::Json && dice.one_in(6);
        let is_told = is_async || form != Form::Json;
        let now = UnixMillis(self.now);
        let (says, step, fault) = match request.session {
            Some(id) => {
                let says = self.model.message(id, request.token.as_deref(), key, &text, self.now);
                let order = MessageOrder {
                    owner: Epoch(owner),
                    session: id.to_string(),
                    scope: SCOPE.into(),
                    right: Right::Token(request.token.clone().map(Token::presented)),
                    asked,
                    is_told,
                };
                let (step, fault) =
                    self.decide(order.load(), dice, |found, _| claim::message(&order, found, now));
                (says, step, fault)
            }
            None => {
                let says = self.model.start(key, &text, self.now);
                let order = StartOrder {
                    owner: Epoch(owner),
                    session: SessionId::new(self.random()),
                    scope: SCOPE.into(),
                    token: Nonce(self.random()),
                    resume: Nonce(self.random()),
                    asked,
                    is_told,
                };
                let (step, fault) = self
                    .decide(order.load(), dice, |found, key| claim::start(&order, found, key, now));
                (says, step, fault)
            }
        };
        let presented = request.session.and(request.token.clone());
        match (&step.reply, says) {
            (Claim::Refused(refusal), Says::Refuses(code)) => {
                assert_eq!(refusal.code(), code);
                self.done.count(code);
            }
            (Claim::Replay { session, ending, token, .. }, Says::Replays(tag)) => {
                let body = encode::ending_body(ending, *session, Some(*token), &self.key);
                assert_eq!(tag_in(&body), Some(tag), "another outcome was replayed");
                assert_eq!(token_in(&body), self.model.sessions[session].token());
                if fault == Fault::None {
                    let at =
                        self.model.sessions[session].commits.iter().position(|one| *one == tag);
                    self.acked.insert((*session, at.unwrap() as u64, tag));
                    self.done.count("replay");
                }
            }
            (Claim::Run(run), says @ (Says::Runs | Says::Begins)) => {
                let run = run.clone();
                let is_new = says == Says::Begins;
                assert_eq!(is_new, !self.model.sessions.contains_key(&run.attempt.session));
                let client = Client { form, is_async, cancels_by_leaving: dice.one_in(4) };
                self.claimed(run, client, request, text, presented, is_told, &step, fault, dice);
                return;
            }
            (reply, says) => panic!("{reply:?}, but the model says {says:?}"),
        }
        self.suffer(fault, owner);
        self.requests.push(request);
    }

    #[allow(clippy::too_many_arguments, reason = "one place calls it")]
    fn claimed(
        &mut self,
        run: Run,
        client: Client,
        request: Request,
        text: String,
        presented: Option<String>,
        is_told: bool,
        step: &Step<Claim>,
        fault: Fault,
        dice: &mut Dice,
    ) {
        self.serial += 1;
        let (tag, now) = (self.serial, self.now);
        let Attempt { session: id, owner, turn, .. } = run.attempt;
        if fault.writes() {
            let token = self.key.token(id, &run.token).expose().to_owned();
            let resume = self.key.token(id, &run.resume).expose().to_owned();
            let life = self.model.sessions.entry(id).or_insert_with(|| Life {
                tokens: vec![token.as_str().into()],
                resume: resume.into(),
                previous_until: None,
                commits: Vec::new(),
                is_parked: false,
                running: None,
                log: BTreeMap::new(),
                is_heard: false,
            });
            assert_eq!(life.token(), token);
            assert_eq!(turn, life.commits.len() as u64 + 1);
            assert!(life.running.is_none(), "two turns run with one token");
            life.running = Some(Tried { tag, owner: owner.0, is_cancelling: false });
            life.is_heard |= is_told;
            if matches!(run.cause, Cause::Start | Cause::Message) {
                life.previous_until = None;
            }
            if let Some(key) = &request.key {
                let until = now + 24 * 3_600_000;
                let stood = Stood { session: id, request: text, presented, tag, until };
                self.model.keys.insert(key.clone(), stood);
            }
            self.write(step);
            self.tokens.push(token);
        }
        self.requests.push(request);
        self.done.count("run");
        if fault == Fault::None {
            let mut live = Live {
                attempt: run.attempt,
                turn: Turn::new(run, client, Nonce(self.random())),
                tag,
                script: Script::new(dice, tag, now),
                order: None,
                is_app_active: true,
            };
            self.drain(&mut live);
            self.lives.push(live);
        }
        self.suffer(fault, owner.0);
    }

    fn look(&mut self, dice: &mut Dice) {
        let Some(id) = self.any_session(dice) else { return };
        let life = self.model.sessions.get(&id);
        let token = match (life, dice.between(0, 3)) {
            (Some(life), 0) => Some(life.token().to_owned()),
            (Some(life), 1) => {
                let before = life.tokens.len().saturating_sub(2);
                Some(life.tokens[before].to_string())
            }
            (_, 2) => Some(self.any_token(dice)),
            _ => None,
        };
        let resume = match (life, dice.between(0, 3)) {
            (Some(life), 0) => Some(life.resume.to_string()),
            (_, 1) => Some(self.any_token(dice)),
            _ => None,
        };
        let expected = self.model.reads(id, token.as_deref(), resume.as_deref(), self.now);
        let access = Access {
            continuation: token.map(Token::presented),
            resume: resume.map(Token::presented),
        };
        let order = LookOrder { session: id.to_string(), scope: SCOPE.into(), access, turn: None };
        let now = UnixMillis(self.now);
        let (step, fault) = self.decide(order.load(), dice, |found, _| look(&order, found, now));
        match (&step.reply, expected) {
            (Ok(view), Ok(is_current)) => {
                assert_eq!(view.may_write, is_current);
                if is_current && fault.writes() {
                    self.life(id).previous_until = None;
                }
                let life = self.life(id);
                let status = match (&life.running, life.is_parked) {
                    (Some(_), _) => "running",
                    (None, true) => "parked",
                    (None, false) => "idle",
                };
                assert_eq!(view.status, status);
            }
            (Err(refusal), Err(code)) => assert_eq!(refusal.code(), code),
            (reply, expected) => panic!("{reply:?}, but the model says {expected:?}"),
        }
        if fault.writes() {
            self.write(&step);
        }
    }

    fn cancel(&mut self, dice: &mut Dice) {
        let running: Vec<SessionId> = self.lives.iter().map(|live| live.attempt.session).collect();
        let id = match dice.index(running.len()) {
            Some(at) if !dice.one_in(5) => running[at],
            _ => match self.any_session(dice) {
                Some(id) => id,
                None => return,
            },
        };
        let Some(owner) = self.any_master(dice) else { return };
        let (token, refused) = self.current_or_not(id, dice);
        let right = Right::Token(token.map(Token::presented));
        let order = CancelOrder { session: id.to_string(), scope: SCOPE.into(), right };
        let now = UnixMillis(self.now);
        let (step, fault) = self.decide(order.load(), dice, |found, _| cancel(&order, found, now));
        match (&step.reply, refused) {
            (Cancel::Refused(refusal), Some(code)) => assert_eq!(refusal.code(), code),
            (Cancel::Cancelling { turn, .. }, None) => {
                let life = self.model.sessions.get_mut(&id).unwrap();
                assert_eq!(*turn, life.commits.len() as u64 + 1);
                let running = life.running.as_mut().expect("nothing runs");
                let was_cancelling = running.is_cancelling;
                let tag = running.tag;
                if fault.writes() {
                    running.is_cancelling = true;
                    life.previous_until = if was_cancelling { life.previous_until } else { None };
                    self.write(&step);
                }
                if fault == Fault::None {
                    self.doomed.insert(tag);
                    let now = Instant::from_millis(self.now);
                    if let Some(at) = self.lives.iter().position(|live| live.tag == tag)
                        && dice.one_in(2)
                    {
                        self.with_live(at, |live| live.turn.cancel(now));
                    }
                }
            }
            (Cancel::Ended { ending, token, .. }, None) => {
                let life = &self.model.sessions[&id];
                assert!(life.running.is_none(), "a turn runs");
                let ending = ending.as_ref().expect("it is forgotten");
                let body = encode::ending_body(ending, id, Some(*token), &self.key);
                assert_eq!(token_in(&body), life.token());
                if ending.is_committed {
                    assert_eq!(tag_in(&body), life.commits.last().copied());
                }
            }
            (reply, refused) => panic!("{reply:?}, but the model says {refused:?}"),
        }
        self.suffer(fault, owner);
    }

    fn delete(&mut self, dice: &mut Dice) {
        let Some(id) = self.any_session(dice) else { return };
        let Some(owner) = self.any_master(dice) else { return };
        let (token, refused) = self.current_or_not(id, dice);
        let right = Right::Token(token.map(Token::presented));
        let order = DeleteOrder { session: id.to_string(), scope: SCOPE.into(), right };
        let now = UnixMillis(self.now);
        let (step, fault) = self.decide(order.load(), dice, |found, _| delete(&order, found, now));
        match (&step.reply, refused) {
            (Delete::Refused(refusal), Some(code)) => assert_eq!(refusal.code(), code),
            (Delete::Gone { .. }, None) => {
                if fault.writes() {
                    self.model.forget(id);
                    self.heard.remove(&id);
                    self.acked.retain(|(session, ..)| *session != id);
                    self.write(&step);
                    self.done.count("deleted");
                }
            }
            (reply, refused) => panic!("{reply:?}, but the model says {refused:?}"),
        }
        self.suffer(fault, owner);
    }

    fn wake(&mut self, dice: &mut Dice) {
        let Some(id) = self.any_session(dice) else { return };
        let wake = Some("{\"by\":\"request\"}".to_owned());
        let expected = match self.model.sessions.get(&id) {
            None => Some("unknown-session"),
            Some(life) if life.running.is_some() => Some("in-flight"),
            Some(life) if life.is_parked => None,
            Some(_) => Some("not-parked"),
        };
        self.waken(id, wake, expected, dice);
    }

    fn timers(&mut self, dice: &mut Dice) {
        let now = UnixMillis(self.now);
        let due = self.disk.now.sessions.values().find(|session| session.is_due(now));
        if let Some(id) = due.map(|session| session.id) {
            assert!(self.model.sessions[&id].is_parked);
            self.done.count("timer");
            self.waken(id, None, None, dice);
        }
    }

    fn waken(
        &mut self,
        id: SessionId,
        wake: Option<String>,
        expected: Option<&str>,
        dice: &mut Dice,
    ) {
        let Some(owner) = self.any_master(dice) else { return };
        let now = UnixMillis(self.now);
        let scope = wake.as_ref().map(|_| SCOPE.to_owned());
        let session = id.to_string();
        let order = WakeOrder { owner: Epoch(owner), session, scope, wake, is_told: false };
        let (step, fault) =
            self.decide(order.load(), dice, |found, _| claim::wake(&order, found, now));
        match (&step.reply, expected) {
            (Claim::Refused(refusal), Some(code)) => {
                assert_eq!(refusal.code(), code);
                self.done.count(refusal.code());
                self.suffer(fault, owner);
            }
            (Claim::Run(run), None) => {
                assert!(run.wake.is_some());
                let client = Client { is_async: true, ..Client::default() };
                let request =
                    Request { session: Some(id), input: "{}".into(), token: None, key: None };
                let run = run.clone();
                let text = String::new();
                self.claimed(run, client, request, text, None, false, &step, fault, dice);
            }
            (reply, expected) => panic!("{reply:?}, but the model says {expected:?}"),
        }
    }

    fn watch(&mut self, dice: &mut Dice) {
        let Some(master) = self.any_master(dice) else { return };
        let at = match dice.index(self.watchers.len()) {
            Some(at) if self.watchers.len() >= 8 || dice.one_in(2) => at,
            _ => {
                let Some(id) = self.any_session(dice) else { return };
                let Some(life) = self.model.sessions.get(&id) else { return };
                let turn = dice.one_in(3).then(|| dice.between(1, life.commits.len() as u64 + 2));
                self.watchers.push(Watcher {
                    session: id,
                    viewer: None,
                    master,
                    resume: life.resume.to_string(),
                    form: dice.weighted(&[(Form::Sse, 3), (Form::Json, 1), (Form::Socket, 1)]),
                    last: None,
                    has_seen_last: false,
                    turn,
                    seen: 0,
                });
                self.watchers.len() - 1
            }
        };
        if self.watchers[at].viewer.is_none() || dice.one_in(4) {
            self.connect(at, master, dice);
        }
    }

    /// Lets a watcher go on where it stopped; false when its session is gone, and it with it.
    fn connect(&mut self, at: usize, master: u16, dice: &mut Dice) -> bool {
        let watcher = &self.watchers[at];
        let id = watcher.session;
        let cursor = match watcher.last {
            Some(last) => Cursor::After(last),
            None => dice.weighted(&[(Cursor::Turn, 2), (Cursor::Earliest, 2), (Cursor::Now, 1)]),
        };
        let access =
            Access { continuation: None, resume: Some(Token::presented(watcher.resume.clone())) };
        let turn = watcher.turn;
        let order = LookOrder { session: id.to_string(), scope: SCOPE.into(), access, turn };
        let step = look(&order, self.disk.load(order.load()), UnixMillis(self.now));
        assert!(step.writes.is_empty(), "a resume token changed something");
        let Some(life) = self.model.sessions.get(&id) else {
            assert_eq!(step.reply.unwrap_err().code(), "unknown-session");
            self.watchers.swap_remove(at);
            return false;
        };
        let view = step.reply.unwrap();
        let now = Instant::from_millis(self.now);
        let watcher = &mut self.watchers[at];
        watcher.viewer = None;
        if watcher.open(&view, cursor, life, master, now) {
            self.done.count("reset");
        }
        true
    }

    fn pull(&mut self, dice: &mut Dice) {
        let Some(at) = dice.index(self.watchers.len()) else { return };
        let watcher = &mut self.watchers[at];
        let life = self.model.sessions.get(&watcher.session);
        watcher.pull(&self.disk, life, &self.key, Instant::from_millis(self.now));
    }

    fn leave(&mut self, dice: &mut Dice) {
        let now = Instant::from_millis(self.now);
        if let Some(at) = dice.index(self.lives.len()) {
            self.with_live(at, |live| live.turn.client_left(now));
        }
    }

    // What apps do.

    fn feed(&mut self, dice: &mut Dice) {
        let active: Vec<usize> =
            (0..self.lives.len()).filter(|at| self.lives[*at].is_app_active).collect();
        let Some(at) = dice.index(active.len()).map(|index| active[index]) else { return };
        let (now, has_faults) = (UnixMillis(self.now), self.has_faults);
        self.with_live(at, |live| {
            let script = &mut live.script;
            if script.hangs {
                if !has_faults || dice.one_in(20) {
                    live.turn.fail(Failure::Timeout);
                }
            } else if !script.head_sent {
                script.head_sent = true;
                live.turn.answer_head(script.status, Some(script.content_type.as_bytes()));
                live.is_app_active &= live.turn.wants_bytes();
            } else {
                let piece = script.piece(dice);
                if piece.is_empty() {
                    live.turn.answer_end(script.is_whole, now);
                } else {
                    live.turn.answer_bytes(&piece, now);
                }
                live.is_app_active &= live.turn.wants_bytes();
            }
        });
    }

    // What masters do.

    /// Carries out orders of one master's turns in one transaction: all are written, or none.
    fn store(&mut self, dice: &mut Dice) {
        let waiting: Vec<(u64, u16)> = self
            .lives
            .iter()
            .filter(|live| live.order.is_some())
            .map(|live| (live.tag, live.attempt.owner.0))
            .collect();
        let Some(at) = dice.index(waiting.len()) else { return };
        let owner = waiting[at].1;
        let own = waiting[at..].iter().filter(|(_, other)| *other == owner);
        let fault = self.fault(dice);
        self.batch = Some(Batch { fault, writes: Vec::new(), level: Level::Unchanged });
        let mut replies = Vec::new();
        for (tag, _) in own.take(dice.between(1, 3) as usize) {
            let at = self.lives.iter().position(|live| live.tag == *tag).unwrap();
            let reply = match self.lives[at].order.take().unwrap() {
                Order::Append(order) => Reply::Append(self.store_events(at, order, dice)),
                Order::End(order) => Reply::End(self.store_end(at, order, dice)),
            };
            replies.push((*tag, reply));
        }
        let batch = self.batch.take().unwrap();
        if !batch.writes.is_empty() {
            self.commit(batch.writes, batch.level);
        }
        let now = Instant::from_millis(self.now);
        for (tag, reply) in replies.into_iter().filter(|_| !fault.dies()) {
            let at = self.lives.iter().position(|live| live.tag == tag).unwrap();
            let is_told = fault == Fault::None;
            self.with_live(at, |live| match reply {
                Reply::Append(reply) => {
                    live.turn.appended(if is_told { Ok(reply) } else { Err("disk full") }, now);
                }
                Reply::End(reply) => {
                    live.turn.ended(if is_told { Ok(reply) } else { Err("disk full") }, now);
                }
            });
        }
        self.suffer(fault, owner);
    }

    fn store_events(&mut self, at: usize, order: AppendOrder, dice: &mut Dice) -> Appended {
        let (id, tag) = (self.lives[at].attempt.session, self.lives[at].tag);
        let (step, fault) =
            self.decide(order.load(), dice, |found, _| append(order.clone(), found));
        let life = self.model.sessions.get(&id);
        let running = life.and_then(|life| life.running).filter(|tried| tried.tag == tag);
        match (&step.reply, running) {
            (Appended::Stored { is_cancelling }, Some(tried)) => {
                assert_eq!(*is_cancelling, tried.is_cancelling);
                if fault.writes() {
                    self.log(id, &order.events);
                    self.write(&step);
                }
            }
            (Appended::Lost(_), None) => self.done.count("lost"),
            (reply, running) => panic!("{reply:?}, but the model says {running:?}"),
        }
        step.reply
    }

    fn store_end(&mut self, at: usize, order: EndOrder, dice: &mut Dice) -> Ended {
        let (id, tag) = (self.lives[at].attempt.session, self.lives[at].tag);
        let now = UnixMillis(self.now);
        let (step, fault) =
            self.decide(order.load(), dice, |found, key| end(order.clone(), found, key, now));
        let life = self.model.sessions.get(&id);
        let running = life.and_then(|life| life.running).filter(|tried| tried.tag == tag);
        match (&step.reply, running) {
            (Ended::Stored { ending, event, is_refused }, Some(tried)) if fault.writes() => {
                let body = encode::ending_body(ending, id, None, &self.key);
                match event {
                    None => {
                        assert!(!self.heard.contains(&id), "a session was forgotten that is known");
                        self.model.forget(id);
                    }
                    Some(event) => {
                        self.log(id, &order.events);
                        self.log(id, std::slice::from_ref(event));
                        let until = self.now + 600_000;
                        let life = self.model.sessions.get_mut(&id).unwrap();
                        life.running = None;
                        let token = token_in(&body);
                        if ending.is_committed {
                            assert!(!tried.is_cancelling && !self.doomed.contains(&tag));
                            assert_eq!(tag_in(&body), Some(tag), "another outcome was committed");
                            assert!(!life.commits.contains(&tag), "it was committed twice");
                            assert_ne!(life.token(), token, "the token did not rotate");
                            life.commits.push(tag);
                            life.tokens.push(token.as_str().into());
                            life.previous_until = Some(until);
                            life.is_parked = body.contains("\"parked\"");
                            self.tokens.push(token);
                            self.done.count("commit");
                        } else {
                            assert_eq!(life.token(), token, "the token changed without a commit");
                        }
                        assert_eq!(
                            tried.is_cancelling,
                            tried.is_cancelling && body.contains("\"cancelled\"")
                        );
                    }
                }
                for (word, what) in [("\"cancelled\"", "cancelled"), ("\"contended\"", "contended")]
                {
                    if body.contains(word) {
                        self.done.count(what);
                    }
                }
                if *is_refused {
                    self.done.count("refused by the app");
                }
                self.write(&step);
            }
            (Ended::Stored { .. }, Some(_)) => {}
            (Ended::Lost(_), None) => self.done.count("lost"),
            (reply, running) => panic!("{reply:?}, but the model says {running:?}"),
        }
        if fault == Fault::Unsure
            && matches!(&step.reply, Ended::Stored { ending, .. } if ending.is_committed)
        {
            self.done.count("ambiguous commit");
        }
        step.reply
    }

    /// Whatever the machine wants done is done, but for the store's part, which takes its time.
    fn drain(&mut self, live: &mut Live) {
        let id = live.attempt.session;
        while let Some(output) = live.turn.poll_output() {
            match output {
                Output::Append(order) => {
                    assert!(live.order.replace(Order::Append(order)).is_none());
                }
                Output::End(order) => assert!(live.order.replace(Order::End(order)).is_none()),
                Output::Accept | Output::Begin => {
                    if self.model.sessions.contains_key(&id) {
                        let is_safe = self.safe_model.sessions.contains_key(&id);
                        assert!(is_safe, "the client hears of what may be lost");
                        self.heard.insert(id);
                    }
                }
                Output::Events(events) => {
                    let known = self.model.sessions.get(&id);
                    let Some(life) = known.cloned() else { continue };
                    for event in &events {
                        let stored = life.log.get(&event.id.seq);
                        let text = event.text(id, &self.key);
                        assert_eq!(
                            stored.map(|(_, text)| &**text),
                            Some(&*text),
                            "told, not stored"
                        );
                        if event.closes == Closes::Turn {
                            let tag = tag_in(&text).unwrap();
                            self.acknowledge(id, event.turn, tag);
                        }
                    }
                }
                Output::Answer(ending) => {
                    let body = encode::ending_body(&ending, id, None, &self.key);
                    assert!(body.contains(&format!("\"sessionId\":\"{id}\"")));
                    assert!(token_in(&body).starts_with("ct_"));
                    if ending.is_committed {
                        self.acknowledge(id, ending.turn, live.tag);
                    }
                    if self.model.sessions.contains_key(&id) {
                        self.heard.insert(id);
                    }
                }
                Output::PassThrough => assert_eq!(live.script.status, 401),
                Output::Trouble(_) | Output::Finish | Output::Recycle => {}
                Output::LetGo => live.is_app_active = false,
            }
        }
    }

    fn acknowledge(&mut self, id: SessionId, turn: u64, tag: u64) {
        if self.model.sessions.contains_key(&id) {
            self.acked.insert((id, turn - 1, tag));
            self.heard.insert(id);
            self.done.count("acknowledged commit");
        }
    }

    /// Ends the turns that nobody runs.
    fn recover(&mut self, dice: &mut Dice) {
        let Some(by) = self.any_master(dice) else { return };
        for id in self.disk.now.sessions.keys().copied().collect::<Vec<_>>() {
            let attempts: Vec<Attempt> = self.lives.iter().map(|live| live.attempt).collect();
            let now = UnixMillis(self.now);
            let is_orphan = |attempt: &Attempt| !attempts.contains(attempt);
            let session = self.disk.now.sessions[&id].clone();
            let step = interrupt(session, is_orphan, Epoch(by), &self.key, now);
            let running = self.model.sessions[&id].running;
            let is_expected =
                running.is_some_and(|tried| !self.lives.iter().any(|live| live.tag == tried.tag));
            assert_eq!(step.is_some(), is_expected);
            let Some(step) = step else { continue };
            let fault = self.fault(dice);
            if fault.writes() {
                self.log(id, std::slice::from_ref(&step.reply));
                self.life(id).running = None;
                self.write(&step);
                self.done.count("interrupted");
            }
            if fault.dies() {
                return self.kill(by);
            }
        }
    }

    fn prune(&mut self, dice: &mut Dice) {
        let now = UnixMillis(self.now);
        let Some(id) = self.any_session(dice) else { return };
        let Some(session) = self.disk.now.sessions.get(&id).cloned() else { return };
        assert!(prune::session(&session, now).is_none());
        let events = self.disk.now.events.range((id, 0)..=(id, u64::MAX));
        let oldest: Vec<prune::Old> = events
            .take(dice.between(1, 5) as usize)
            .map(|((_, seq), event)| prune::Old {
                seq: *seq,
                bytes: event.byte_count() as u64,
                at: event.at,
            })
            .collect();
        let mut writes = prune::events(session.clone(), &oldest, now);
        let endings = self.disk.now.endings.range((id, 0)..=(id, u64::MAX));
        writes.extend(endings.filter_map(|(_, ending)| prune::ending(&session, ending, now)));
        let owner = |key: &rip::session::KeyRecord| self.disk.now.sessions.get(&key.session);
        writes
            .extend(self.disk.now.keys.values().filter_map(|key| prune::key(key, owner(key), now)));
        if !writes.is_empty() {
            let level = Level::Process;
            self.write(&Step { level, writes, reply: () });
            self.done.count("pruned");
        }
    }

    fn kill_or_boot(&mut self, dice: &mut Dice) {
        match dice.index(self.masters.len()) {
            Some(at) if dice.one_in(4) => self.kill(self.masters[at]),
            _ if self.masters.len() < 2 => self.boot(dice),
            _ => {}
        }
    }

    fn boot(&mut self, dice: &mut Dice) {
        self.disk.epoch += 1;
        self.masters.push(self.disk.epoch);
        self.recover(dice);
    }

    fn kill(&mut self, owner: u16) {
        self.masters.retain(|master| *master != owner);
        self.lives.retain(|live| live.attempt.owner.0 != owner);
        for watcher in &mut self.watchers {
            if watcher.master == owner {
                watcher.viewer = None;
            }
        }
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        for master in self.masters.clone() {
            self.kill(master);
        }
        let kept = dice.between(0, self.disk.pending() as u64) as usize;
        let before = self.model.sessions.len();
        self.disk.lose_power(kept);
        self.model = match kept {
            0 => self.safe_model.clone(),
            kept => self.models[kept - 1].clone(),
        };
        self.safe_model = self.model.clone();
        self.models.clear();
        self.done.count("power lost");
        if self.model.sessions.len() < before {
            self.done.count("unheard session lost");
        }
        self.check_promises();
        self.check();
        // Everyone comes back.
        self.boot(dice);
        for at in (0..self.watchers.len()).rev() {
            if let Some(master) = self.any_master(dice) {
                self.connect(at, master, dice);
            }
        }
    }

    fn tick(&mut self, dice: &mut Dice) {
        let millis = match dice.weighted(&[(0, 60), (1, 4), (2, 1)]) {
            0 => dice.between(1, 4000),
            1 => dice.between(500_000, 700_000),
            _ => 25 * 3_600_000,
        };
        self.tick_by(millis);
    }

    fn tick_by(&mut self, millis: u64) {
        self.now += millis;
        let now = Instant::from_millis(self.now);
        for at in (0..self.lives.len()).rev() {
            self.with_live(at, |live| live.turn.handle_timeout(now));
        }
    }

    // What holds.

    fn check(&self) {
        assert_eq!(self.disk.now.sessions.len(), self.model.sessions.len());
        assert_eq!(self.models.len(), self.disk.pending());
        for (id, life) in &self.model.sessions {
            let session = &self.disk.now.sessions[id];
            assert_eq!(session.committed, life.commits.len() as u64);
            let current = Token::presented(life.token()).digest();
            assert!(session.token.digest == current, "the token is neither old nor new");
            assert!(self.key.token(*id, &session.token.seed).digest() == current);
            let state = life.commits.last().map(|tag| format!("{{\"tag\":{tag}}}"));
            assert_eq!(self.disk.now.states.get(id), state.as_ref(), "state of another turn");
            assert_eq!(session.is_parked, life.is_parked);
            let running = life.running.map(|tried| (tried.owner, tried.is_cancelling));
            let stored = session.running.map(|running| (running.owner.0, running.is_cancelling));
            assert_eq!(stored, running);
            let last = life.log.last_key_value().map(|(_, (id, _))| *id).unwrap_or_default();
            assert_eq!(session.ledger.last(), last);
        }
        let mut active = BTreeSet::new();
        for live in self.lives.iter().filter(|live| live.is_app_active) {
            let Attempt { session, turn, .. } = live.attempt;
            assert!(active.insert((session, turn)), "two apps run one turn");
            if let Some(life) = self.model.sessions.get(&session) {
                assert!(life.running.is_some_and(|tried| tried.tag == live.tag));
            }
        }
    }

    /// What clients were told is so.
    fn check_promises(&self) {
        for id in &self.heard {
            assert!(self.model.sessions.contains_key(id), "a session is lost");
        }
        for (id, at, tag) in &self.acked {
            assert_eq!(
                self.model.sessions[id].commits.get(*at as usize),
                Some(tag),
                "a commit is lost"
            );
        }
    }

    // Helpers.

    /// Decides on what is stored now; what goes wrong with the transaction.
    fn decide<T>(
        &mut self,
        load: Load,
        dice: &mut Dice,
        decide: impl FnOnce(Found, &TokenKey) -> Step<T>,
    ) -> (Step<T>, Fault) {
        let step = decide(self.disk.load(load), &self.key);
        (step, self.fault(dice))
    }

    fn fault(&self, dice: &mut Dice) -> Fault {
        if let Some(batch) = &self.batch {
            return batch.fault;
        }
        if !self.has_faults {
            return Fault::None;
        }
        dice.weighted(&[
            (Fault::None, 92),
            (Fault::Refused, 2),
            (Fault::Unsure, 2),
            (Fault::DiesBefore, 2),
            (Fault::DiesAfter, 2),
        ])
    }

    /// Writes after the model has changed.
    fn write<T>(&mut self, step: &Step<T>) {
        self.disk.write(step);
        match &mut self.batch {
            Some(batch) => {
                batch.writes.extend(step.writes.iter().cloned());
                batch.level = batch.level.max(step.level);
            }
            None if step.writes.is_empty() => {}
            None => self.commit(step.writes.clone(), step.level),
        }
    }

    fn commit(&mut self, writes: Vec<Write>, level: Level) {
        if self.disk.commit(writes, level) {
            self.safe_model = self.model.clone();
            self.models.clear();
        } else {
            self.models.push(self.model.clone());
        }
    }

    fn log(&mut self, id: SessionId, events: &[Event]) {
        let life = self.model.sessions.get_mut(&id).unwrap();
        for event in events {
            let text: Rc<str> = event.text(id, &self.key).as_ref().into();
            let last = life.log.last_key_value().map(|(_, (id, _))| *id).unwrap_or_default();
            assert_eq!(event.id.seq, last.seq + 1, "a number is missing");
            assert!(event.id > last && event.id.to_string() > last.to_string());
            life.log.insert(event.id.seq, (event.id, text));
        }
    }

    fn life(&mut self, id: SessionId) -> &mut Life {
        self.model.sessions.get_mut(&id).unwrap()
    }

    fn with_live(&mut self, at: usize, act: impl FnOnce(&mut Live)) {
        let mut live = self.lives.swap_remove(at);
        act(&mut live);
        self.drain(&mut live);
        if !live.is_app_active {
            live.turn.worker_done();
        }
        if !live.turn.is_over() {
            self.lives.push(live);
        }
    }

    fn suffer(&mut self, fault: Fault, owner: u16) {
        if fault.dies() {
            self.kill(owner);
        }
    }

    fn any_master(&self, dice: &mut Dice) -> Option<u16> {
        dice.index(self.masters.len()).map(|at| self.masters[at])
    }

    /// A session, or now and then the name of none.
    fn any_session(&mut self, dice: &mut Dice) -> Option<SessionId> {
        if dice.one_in(40) {
            return Some(SessionId::new(self.random()));
        }
        let at = dice.index(self.model.sessions.len().min(6))?;
        self.model.sessions.keys().nth(at).copied()
    }

    fn any_token(&self, dice: &mut Dice) -> String {
        let at = dice.index(self.tokens.len()).unwrap_or(0);
        self.tokens[at].clone()
    }

    /// The current token or not, and what refuses it.
    fn current_or_not(
        &self,
        id: SessionId,
        dice: &mut Dice,
    ) -> (Option<String>, Option<&'static str>) {
        let token = match dice.weighted(&[(0, 6), (1, 2), (2, 1)]) {
            0 => self.model.sessions.get(&id).map(|life| life.token().to_owned()),
            1 => Some(self.any_token(dice)),
            _ => None,
        };
        let refused = match (self.model.sessions.get(&id), &token) {
            (None, _) => Some("unknown-session"),
            (_, None) => Some("missing-token"),
            (Some(life), Some(token)) => (life.token() != token).then_some("stale-token"),
        };
        (token, refused)
    }

    fn random(&mut self) -> [u8; 16] {
        self.serial += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes[8..].copy_from_slice(&self.serial.to_be_bytes());
        bytes
    }
}

fn tag_in(body: &str) -> Option<u64> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["output"]["tag"].as_u64().or(body["wait"]["tag"].as_u64())
}

fn token_in(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["continuationToken"].as_str().unwrap().to_owned()
}

const SCOPE: &str = "example.com /v1 api";
