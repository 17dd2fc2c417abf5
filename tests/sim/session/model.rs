//! The rules of sessions in their simplest form: whole histories, searched.

use rip::session::{EventId, SessionId};
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Clone, Default)]
pub struct Model {
    pub sessions: BTreeMap<SessionId, Life>,
    pub keys: BTreeMap<String, Stood>,
}

#[derive(Clone)]
pub struct Life {
    /// The token of each turn; the last is the current one.
    pub tokens: Vec<Rc<str>>,
    pub resume: Rc<str>,
    /// The one before reads until then.
    pub previous_until: Option<u64>,
    /// The attempts that were committed, in their order.
    pub commits: Vec<u64>,
    pub is_parked: bool,
    pub running: Option<Tried>,
    /// Every event that was ever written and not lost.
    pub log: BTreeMap<u64, (EventId, Rc<str>)>,
    /// A client may have heard of it.
    pub is_heard: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Tried {
    pub tag: u64,
    pub owner: u16,
    pub is_cancelling: bool,
}

/// What an idempotency key stands for.
#[derive(Clone)]
pub struct Stood {
    pub session: SessionId,
    pub request: String,
    pub presented: Option<String>,
    pub tag: u64,
    pub until: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Says {
    Begins,
    Runs,
    /// This attempt was committed before.
    Replays(u64),
    Refuses(&'static str),
}

impl Life {
    pub fn token(&self) -> &str {
        self.tokens.last().unwrap()
    }
}

impl Model {
    pub fn message(
        &self,
        id: SessionId,
        token: Option<&str>,
        key: Option<&str>,
        request: &str,
        now: u64,
    ) -> Says {
        let Some(life) = self.sessions.get(&id) else { return Says::Refuses("unknown-session") };
        let Some(token) = token else { return Says::Refuses("missing-token") };
        if let Some(stood) = key.and_then(|key| self.stood(key, Some(id), now)) {
            if token != life.token() && stood.presented.as_deref() != Some(token) {
                return Says::Refuses("stale-token");
            }
            if stood.request != request {
                return Says::Refuses("idempotency-key-reused");
            }
            if let Some(says) = self.fate(stood) {
                return says;
            }
        }
        if token != life.token() {
            return Says::Refuses("stale-token");
        }
        if life.running.is_some() {
            return Says::Refuses("in-flight");
        }
        Says::Runs
    }

    pub fn start(&self, key: Option<&str>, request: &str, now: u64) -> Says {
        let Some(stood) = key.and_then(|key| self.stood(key, None, now)) else {
            return Says::Begins;
        };
        if stood.request != request {
            return Says::Refuses("idempotency-key-reused");
        }
        if let Some(says) = self.fate(stood) {
            return says;
        }
        let life = &self.sessions[&stood.session];
        if !life.commits.is_empty() {
            return Says::Refuses("stale-token");
        }
        if life.running.is_some() {
            return Says::Refuses("in-flight");
        }
        Says::Runs
    }

    /// By which right a token reads: the current one, or another.
    pub fn reads(
        &self,
        id: SessionId,
        token: Option<&str>,
        resume: Option<&str>,
        now: u64,
    ) -> Result<bool, &'static str> {
        let life = self.sessions.get(&id).ok_or("unknown-session")?;
        if token.is_none() && resume.is_none() {
            return Err("missing-token");
        }
        if token == Some(life.token()) {
            return Ok(true);
        }
        let before = life.tokens.len().checked_sub(2).map(|at| &*life.tokens[at]);
        let is_previous = token.is_some()
            && token == before
            && life.previous_until.is_some_and(|until| now < until);
        if is_previous || resume == Some(&*life.resume) { Ok(false) } else { Err("stale-token") }
    }

    /// A key lives for a day, and as long as its own request runs, where that is asked for again.
    fn stood(&self, key: &str, asked: Option<SessionId>, now: u64) -> Option<&Stood> {
        let stood = self.keys.get(key)?;
        let running = self.sessions.get(&stood.session)?.running;
        let is_own = asked.is_none_or(|id| id == stood.session);
        let runs = is_own && running.is_some_and(|tried| tried.tag == stood.tag);
        (stood.until > now || runs).then_some(stood)
    }

    /// What became of the request; `None`: nothing.
    fn fate(&self, stood: &Stood) -> Option<Says> {
        let life = &self.sessions[&stood.session];
        if life.running.is_some_and(|tried| tried.tag == stood.tag) {
            return Some(Says::Refuses("in-flight"));
        }
        life.commits.contains(&stood.tag).then_some(Says::Replays(stood.tag))
    }

    pub fn forget(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        self.keys.retain(|_, stood| stood.session != id);
    }
}
