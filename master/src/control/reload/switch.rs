//! Making a configuration the active one, and taking that back.

use crate::control::crew::Crew;
use crate::control::master::Master;
use crate::shared::certs::StagedCerts;
use crate::shared::mail::{EdgeMessage, Listening};
use crate::shared::snapshot::Snapshot;
use rip::contract::app::{AppDescriptor, AppTimeouts};
use rip::contract::config::Config;
use rip::contract::listen::ListenAddress;
use rip::ids::PoolNumber;
use rip::route::local_names;
use rip::time::Instant;
use std::sync::Arc;
use std::time::Duration;

/// What an activation has changed.
pub(super) struct Undo {
    /// What was active before.
    pub(super) previous: Arc<Snapshot>,
    /// What HTTPS was served with.
    certs: Option<StagedCerts>,
    crews: Vec<Before>,
}

/// A crew as it was before.
struct Before {
    pool: PoolNumber,
    app: AppDescriptor,
    urls: Vec<String>,
    wanted: usize,
}

impl Master {
    /// Requests are born with `version` from now on.
    pub(super) fn activate(&mut self, version: u64, now: Instant) {
        let Some(draft) = self.reload.drafts.get(&version) else {
            log::error!("version {version} is not kept");
            return;
        };
        let (snapshot, urls) = (Arc::clone(&draft.snapshot), draft.urls.clone());
        let certs = draft.certs.as_ref().map(|certs| self.certs.activate(certs));
        // Before the first request for one.
        self.keep_sessions(&snapshot.config);
        let previous = self.shared.current.load();
        let mut crews = Vec::new();
        for ((app, pool), urls) in snapshot.config.apps.iter().zip(&snapshot.pools).zip(urls) {
            if self.reload.fresh.contains_key(&pool.number) {
                // A pause is the app's, whoever serves it.
                let old = previous.pools.iter().find(|old| old.id == pool.id);
                pool.hold(old.is_some_and(|old| old.view(|old| old.is_held())), now);
                // It may have been chosen while the pool was started.
                let chosen = self.chosen_workers(app);
                self.keep_chosen(pool.number, chosen, now);
            } else if let Some(crew) = self.crews.get_mut(pool.number) {
                crews.push(Before::of(crew));
                // A number that was chosen by hand stays unless the configuration has another one.
                let workers = (crew.descriptor().workers != app.workers).then_some(app.workers);
                let workers = workers.map(|workers| workers as usize);
                take_up(crew, app.clone(), urls, workers, now);
            }
        }
        self.make_active(Arc::clone(&snapshot), now);
        // Not before: how connections of a listener begin is said by the active configuration.
        for address in &snapshot.config.edge.listeners() {
            if let Some(listener) = self.reload.bound.remove(address) {
                self.open_listener(Listening { address: *address, listener });
            }
        }
        self.reload.undo = Some(Undo { previous, certs, crews });
    }

    /// Requests are born with version `to` again, and everything is as it was before the
    /// activation.
    pub(super) fn roll_back(&mut self, to: u64, now: Instant) {
        let Some(Undo { previous, certs, crews }) = self.reload.undo.take() else { return };
        debug_assert_eq!(previous.version, to);
        for Before { pool, app, urls, wanted } in crews {
            if let Some(crew) = self.crews.get_mut(pool) {
                take_up(crew, app, urls, Some(wanted), now);
            }
        }
        if let Some(certs) = certs {
            self.certs.activate(&certs);
        }
        self.make_active(previous, now);
    }

    fn make_active(&mut self, snapshot: Arc<Snapshot>, now: Instant) {
        let config = &snapshot.config;
        let (drain, kill) = (longest(config, |app| app.drain), longest(config, |app| app.kill));
        self.shutdown.configure(drain, kill);
        let max_connections = self.capacity.connections(config);
        if self.is_serving() {
            self.mdns.tell(local_names(config, &snapshot.table));
        }
        self.shared.activate(snapshot, max_connections, now);
        self.note_configuration();
        if let Some(edges) = &self.edges {
            edges.tell(|| EdgeMessage::Activated);
        }
    }

    /// Gives a listener up: one that never accepted anybody at once, another one when its backlog
    /// is empty.
    pub(super) fn close_listener(&mut self, address: ListenAddress) {
        self.listeners.close(address);
        if self.reload.bound.remove(&address).is_none()
            && let Some(edges) = &self.edges
        {
            edges.close(address);
            if !self.shutdown.is_asked() {
                self.reload.closing.insert(address);
            }
        }
    }

    /// The activation is final: what depends on it and cannot be taken back follows.
    pub(super) fn settle_switch(&mut self, now: Instant) {
        let Some(Undo { previous, .. }) = self.reload.undo.take() else { return };
        let active = self.shared.current.load();
        self.keep_certs(&active.config);
        for app in &active.config.apps {
            let old = previous.config.apps.iter().find(|old| old.id == app.id);
            let sees =
                |app: &AppDescriptor| (app.reload, app.watch.clone(), app.launch.cwd.clone());
            if old.map(sees) != Some(sees(app))
                && let Err(error) = self.watcher.watch_app(app)
            {
                log::warn!("the files of {} cannot be watched: {error}", app.id);
            }
        }
        let gone =
            previous.config.apps.iter().filter(|old| active.config.app_index(&old.id).is_none());
        gone.for_each(|app| self.watcher.forget_app(&app.id));
        let is_gone = |draft: &crate::shared::draft::Draft| !draft.plan.routes.removed.is_empty();
        if self.reload.drafts.get(&active.version).is_some_and(is_gone) {
            let drain = longest(&previous.config, |app| app.drain);
            self.reload.removed_end_at = Some(now + drain);
        }
    }
}

impl Before {
    fn of(crew: &Crew) -> Self {
        Self {
            pool: crew.pool.number,
            app: crew.descriptor().clone(),
            urls: crew.urls().to_vec(),
            wanted: crew.wanted(),
        }
    }
}

fn take_up(
    crew: &mut Crew,
    app: AppDescriptor,
    urls: Vec<String>,
    workers: Option<usize>,
    now: Instant,
) {
    let id = app.id.clone();
    if let Err(refusal) = crew.configure(app, urls, workers, now) {
        log::debug!("{id} keeps its number of workers: {refusal}");
    }
}

/// The longest of a deadline over all apps.
pub(in crate::control) fn longest(config: &Config, of: fn(&AppTimeouts) -> Duration) -> Duration {
    let apps = config.apps.iter().map(|app| of(&app.timeouts)).max();
    apps.unwrap_or_else(|| of(&AppTimeouts::default()))
}
