//! The store of sessions: there is one as soon as a configuration serves sessions, until the master
//! ends. What is served no longer may be served again, and turns of it may still run.

#[cfg(test)]
mod tests;

use super::master::Master;
use super::server::{Answer, Asker, Request};
use super::start_error::StartError;
use crate::agents::store::StoreAgent;
use crate::agents::store::fault::Faults;
use crate::agents::store::place::Place;
use crate::shared::Shared;
use crate::shared::store_state::CountAsk;
use rip::contract::config::Config;
use rip::contract::event::Event;
use rip::contract::settings::Settings;
use rip::ids::AppId;
use rip::observe::counter::Counter;
use rip::session::table::RunningTurn;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The store, once there is one.
#[derive(Default)]
pub(super) struct SessionStore {
    open: Option<(Place, StoreAgent)>,
    /// Who waits for the sessions to be counted.
    waiting: BTreeMap<u64, Asker>,
    asked: u64,
}

/// `GET /sessions`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionsAnswer {
    ok: bool,
    store: Option<StoreNotes>,
    /// How many are in the store; null when it cannot tell.
    sessions: Option<u64>,
    running: usize,
    readers: usize,
    turns: u64,
    committed: u64,
    failed: u64,
    refused: u64,
    newest: Vec<TurnNotes>,
}

#[derive(Serialize)]
struct StoreNotes {
    path: String,
    state: &'static str,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TurnNotes {
    id: String,
    turn: u64,
    attempt: u32,
    app: AppId,
    age_ms: u64,
}

impl SessionStore {
    /// The store of the first configuration, if that serves sessions.
    ///
    /// # Errors
    /// There can be no store where it is to be, or no thread for it. One that only cannot be used now is
    /// no reason not to start: it is told of, and tried again.
    pub(super) fn start(settings: &Settings, shared: &Shared) -> Result<Self, StartError> {
        let mut store = Self::default();
        if !settings.config.sessions.is_empty() {
            let place = Place::chosen(&settings.config, Path::new(&settings.state_dir));
            place.check().map_err(|error| unusable(&error))?;
            let begun = store.begin(place, shared);
            begun.map_err(|error| StartError::system("the store of sessions", &error))?;
        }
        Ok(store)
    }

    /// Does what was ordered of it, and ends.
    pub(super) fn stop(&mut self) {
        if let Some((_, agent)) = self.open.take() {
            agent.stop();
        }
    }

    fn begin(&mut self, place: Place, shared: &Shared) -> io::Result<()> {
        let (queue, control) = (shared.sessions.queue.clone(), shared.control.clone());
        let agent = StoreAgent::start(place.clone(), faults()?, queue, control)?;
        self.open = Some((place, agent));
        Ok(())
    }
}

impl Master {
    /// Opens the store when `config` is the first that serves sessions.
    pub(super) fn keep_sessions(&mut self, config: &Config) {
        if self.store.open.is_some() || config.sessions.is_empty() {
            return;
        }
        let place = Place::chosen(config, Path::new(&self.settings.state_dir));
        let path = place.shown();
        if let Err(error) = self.store.begin(place, &self.shared) {
            self.tell(&Event::SessionsFailed { path, reason: error.to_string() });
        }
    }

    /// Answers how sessions are. `None` when they are to be counted first.
    pub(super) fn sessions(&mut self, request: &Request) -> Option<Answer> {
        if self.store.open.is_none() {
            return Some(self.sessions_answer(Some(0)));
        }
        self.store.asked += 1;
        let ticket = self.store.asked;
        self.store.waiting.insert(ticket, request.from);
        let control = self.shared.control.clone();
        self.shared.sessions.queue.count(CountAsk { control, ticket });
        None
    }

    /// The sessions were counted.
    pub(super) fn sessions_counted(&mut self, ticket: u64, sessions: Option<u64>) {
        let Some(asker) = self.store.waiting.remove(&ticket) else { return };
        let answer = self.sessions_answer(sessions);
        self.answer(asker, &answer);
    }

    fn sessions_answer(&self, sessions: Option<u64>) -> Answer {
        let shared = &self.shared.sessions;
        let now = self.clock.now();
        let table = shared.table();
        let (running, readers) = (table.running_count(), table.viewer_count());
        let newest = table.newest_turns(NEWEST_COUNT);
        drop(table);
        let counters = self.shared.stats.read();
        let state = shared.queue.state();
        Answer::ok(&SessionsAnswer {
            ok: true,
            store: self.store.open.as_ref().map(|(place, _)| StoreNotes {
                path: place.shown(),
                state: state.word(),
                reason: state.reason(),
            }),
            sessions,
            running,
            readers,
            turns: counters.value(Counter::SessionTurns),
            committed: counters.value(Counter::SessionCommitted),
            failed: counters.value(Counter::SessionFailed),
            refused: counters.value(Counter::SessionRefused),
            newest: newest
                .into_iter()
                .map(|RunningTurn { attempt, app, since }| TurnNotes {
                    id: attempt.session.to_string(),
                    turn: attempt.turn,
                    attempt: attempt.number,
                    app,
                    age_ms: u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX),
                })
                .collect(),
        })
    }

    /// Where a store would be looked for that is not open yet.
    pub(super) fn unopened_state(&self) -> Option<PathBuf> {
        self.store.open.is_none().then(|| PathBuf::from(&self.settings.state_dir))
    }
}

fn unusable(error: &io::Error) -> StartError {
    let wrong = match error.kind() {
        io::ErrorKind::PermissionDenied => StartError::permission(error.to_string()),
        _ => StartError::configuration(error.to_string()),
    };
    wrong
        .hint("--sessions-db PATH keeps them elsewhere, or store \"PATH\" in `edge` of an Edgefile")
}

/// Faults that tests want, in `RIP_STORE_FAULT`; there are none in a release build.
fn faults() -> io::Result<Faults> {
    #[cfg(debug_assertions)]
    if let Ok(text) = std::env::var("RIP_STORE_FAULT") {
        let wrong = || io::Error::other(format!("RIP_STORE_FAULT is '{text}', which is no fault"));
        return Faults::parse(&text).ok_or_else(wrong);
    }
    Ok(Faults::default())
}

/// Running turns that are told of one by one.
const NEWEST_COUNT: usize = 100;
