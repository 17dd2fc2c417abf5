//! The store of sessions: there is one as soon as a configuration serves sessions, until the master
//! ends. What is served no longer may be served again, and turns of it may still run.

use super::master::Master;
use super::start_error::StartError;
use crate::agents::store::StoreAgent;
use crate::agents::store::fault::Faults;
use crate::agents::store::place::Place;
use crate::shared::Shared;
use rip::contract::config::Config;
use rip::contract::event::Event;
use rip::contract::settings::Settings;
use std::io;
use std::path::{Path, PathBuf};

/// The store, once there is one.
#[derive(Default)]
pub(super) struct SessionStore {
    open: Option<(Place, StoreAgent)>,
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
