//! Making a configuration and what it needs, beside the one that serves.

use super::Purpose;
use super::requests::Change;
use crate::agents::compile::Task;
use crate::control::compiler::Made;
use crate::control::master::Master;
use crate::control::server::Asker;
use crate::shared::draft::{Draft, DraftId};
use crate::sys::privilege::{self, Capability, FOR_OTHERS};
use rip::contract::app::AppDescriptor;
use rip::contract::attempt::AttemptCode;
use rip::contract::config::Config;
use rip::contract::listen::{FreePorts, ListenAddress};
use rip::contract::settings::Source;
use rip::edgefile::job::{AddedApp, Job};
use rip::ids::{AppId, Generation, PoolNumber};
use rip::reload::overlay::Target;
use rip::reload::{Failure, Overlay};
use rip::time::Instant;
use rip::wire::runtime_dir::sanitise_name;
use std::path::Path;
use std::sync::Arc;

impl Master {
    /// Makes the configuration of `version` for `attempt`.
    pub(super) fn compile(&mut self, attempt: u64, version: u64, reread: bool, now: Instant) {
        let id = self.reload.compiler.next_id();
        self.reload.makings.insert(id, Purpose::Attempt { attempt, version });
        if reread {
            self.note_edgefile();
        }
        let file = self.edgefile().filter(|_| reread).map(str::to_owned);
        if let Err(failure) = self.begin_draft(id, version, file, now) {
            self.made(id, Err(failure));
        }
    }

    /// The master's Edgefile.
    pub(in crate::control) fn edgefile(&self) -> Option<&str> {
        match &self.settings.source {
            Source::CommandLine => None,
            Source::Edgefile { path, .. } => Some(path),
        }
    }

    /// Makes what `file` says by now, or the master's own, only to be looked at.
    ///
    /// # Errors
    /// What keeps it from being made.
    pub(in crate::control) fn begin_question(
        &mut self,
        from: Asker,
        file: Option<String>,
    ) -> Result<(), Failure> {
        let is_question = |purpose: &&Purpose| matches!(purpose, Purpose::Question(_));
        if self.reload.makings.values().filter(is_question).count() >= QUESTION_COUNT {
            let detail = format!("{QUESTION_COUNT} plans are being made already");
            return Err(Failure::new(AttemptCode::Timeout, detail));
        }
        let id = self.reload.compiler.next_id();
        let file = file.or_else(|| self.edgefile().map(str::to_owned));
        self.begin_draft(id, self.reload.pipeline.version(), file, self.clock.now())?;
        self.reload.makings.insert(id, Purpose::Question(from));
        Ok(())
    }

    fn begin_draft(
        &mut self,
        id: DraftId,
        version: u64,
        file: Option<String>,
        now: Instant,
    ) -> Result<(), Failure> {
        let active = self.shared.current.load();
        let (base, mut overlay) = self.source_of(active.version)?;
        for pending in &self.reload.pending {
            let changed = match &pending.change {
                Change::Add { host, target } => overlay.add(host, target.clone(), &active.config),
                Change::Remove { host } => overlay.remove(host).map(drop),
            };
            changed.map_err(|refusal| Failure::new(AttemptCode::Invalid, refusal.to_string()))?;
        }
        let overrides = match &self.settings.source {
            Source::CommandLine => None,
            Source::Edgefile { overrides, .. } => Some(overrides.clone()),
        };
        let name = file.as_deref().map(Path::new).and_then(Path::file_name);
        let file_name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Ports that others have opened, that were opened with rights that are gone by now, or that
        // we may open: the rights of the reader, who has none of ours, say nothing of them.
        let is_ours_to_know = self.listeners.are_given()
            || self.settings.config.edge.user.is_some()
            || privilege::has(&[Capability::NetBindService]);
        let free = match is_ours_to_know {
            true => FreePorts::ALL,
            false => overrides.as_ref().map(|own| own.free_ports()).unwrap_or_default(),
        };
        let job = Job {
            added: apps_to_resolve(&overlay, &active.config, file.is_some()),
            free,
            other_users: privilege::has(&FOR_OTHERS),
            path: file,
        };
        let is_attempt = matches!(self.reload.makings.get(&id), Some(Purpose::Attempt { .. }));
        let task = Task {
            id,
            version,
            report: None,
            file_name,
            added: job.added.clone(),
            base,
            overlay,
            overrides,
            active,
            first_pool: self.crews.next_number(),
            certs: is_attempt.then(|| self.certs.clone()),
            state_dir: is_attempt.then(|| self.unopened_state()).flatten(),
            control: self.shared.control.clone(),
        };
        let job = (job.path.is_some() || !job.added.is_empty()).then_some(&job);
        self.begin_task(task, job, now)
    }

    /// Takes a configuration as it was, and finds out what it needs by now.
    pub(super) fn recall(&mut self, attempt: u64, version: u64, now: Instant) {
        let id = self.reload.compiler.next_id();
        self.reload.makings.insert(id, Purpose::Attempt { attempt, version });
        let begun = self.source_of(version).and_then(|(base, overlay)| {
            let task = Task {
                id,
                version,
                report: None,
                file_name: String::new(),
                added: Vec::new(),
                base,
                overlay,
                overrides: None,
                active: self.shared.current.load(),
                first_pool: self.crews.next_number(),
                certs: Some(self.certs.clone()),
                state_dir: self.unopened_state(),
                control: self.shared.control.clone(),
            };
            self.begin_task(task, None, now)
        });
        if let Err(failure) = begun {
            self.made(id, Err(failure));
        }
    }

    fn begin_task(&mut self, task: Task, job: Option<&Job>, now: Instant) -> Result<(), Failure> {
        self.reload.compiler.begin(task, job, &self.shop, now).map_err(|error| {
            let detail = format!("the process that reads the Edgefile cannot be started: {error}");
            Failure::new(AttemptCode::ParserCrashed, detail)
        })
    }

    fn source_of(&self, version: u64) -> Result<(Arc<Config>, Overlay), Failure> {
        let draft = self.reload.drafts.get(&version).ok_or_else(|| {
            Failure::new(AttemptCode::Invalid, format!("version {version} is not kept"))
        })?;
        Ok((Arc::clone(&draft.base), draft.overlay.clone()))
    }

    /// What came of a making.
    pub(in crate::control) fn made(&mut self, id: DraftId, made: Made) {
        let (attempt, version) = match self.reload.makings.remove(&id) {
            None => return,
            Some(Purpose::Question(from)) => return self.answer_question(from, made),
            Some(Purpose::Attempt { attempt, version }) => (attempt, version),
        };
        let now = self.clock.now();
        let (draft, work) = match made {
            Ok(draft) => {
                let work = draft.work.clone();
                (Some(draft), Ok(work))
            }
            Err(failure) => (None, Err(failure)),
        };
        // A draft whose attempt has ended meanwhile is nobody's.
        if self.reload.pipeline.compiled(attempt, work, now)
            && let Some(draft) = draft
        {
            self.crews.reserve(draft.work.fresh.len());
            self.reload.drafts.insert(version, *draft);
        }
    }

    pub(super) fn cancel_making(&mut self, attempt: u64) {
        let is_its = |purpose: &Purpose| matches!(purpose, Purpose::Attempt { attempt: own, .. } if *own == attempt);
        let ids = self.reload.makings.iter().filter(|(_, purpose)| is_its(purpose));
        for id in ids.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.reload.makings.remove(&id);
            self.reload.compiler.cancel(id);
        }
    }

    /// Opens a listener; nobody is accepted there yet.
    pub(super) fn stage_listener(&mut self, address: ListenAddress, now: Instant) {
        match self.listeners.open(address) {
            Ok(listener) => {
                self.reload.bound.insert(address, listener);
                self.reload.pipeline.listening(address, now);
            }
            Err(error) => {
                let own = self.own_listener_on(address.port).filter(|_| error.is_busy());
                let reason = match own {
                    Some(own) => format!(
                        "the server itself listens at {own}; another address with the same port \
                         needs a restart of the server"
                    ),
                    None => error.to_string(),
                };
                self.reload.pipeline.listen_failed(address, &reason, now);
            }
        }
    }

    fn own_listener_on(&self, port: u16) -> Option<ListenAddress> {
        let active = self.shared.current.load();
        active.config.edge.listeners().into_iter().find(|own| own.port == port)
    }

    /// Starts the workers of a pool that no request is given to yet.
    pub(super) fn start_pool(&mut self, pool: PoolNumber, now: Instant) {
        self.reload.fresh.insert(pool, false);
        if let Err(reason) = self.found_crew(pool, now) {
            self.reload.pipeline.pool_failed(pool, &reason, now);
        }
    }

    fn found_crew(&mut self, number: PoolNumber, now: Instant) -> Result<(), String> {
        let has = |draft: &&Draft| draft.snapshot.pool(number).is_some();
        let draft = self.reload.drafts.values().rev().find(has).ok_or("it is not known")?;
        let snapshot = &draft.snapshot;
        let index = snapshot.pools.iter().position(|pool| pool.number == number);
        let index = index.ok_or("it is not known")?;
        let (pool, app) = snapshot
            .pools
            .get(index)
            .zip(snapshot.config.apps.get(index))
            .ok_or("it has no app")?;
        let (pool, app) = (Arc::clone(pool), app.clone());
        let urls = draft.urls.get(index).cloned().unwrap_or_default();
        let generation = self.next_generation(&app.id);
        if let Some(edges) = &self.edges {
            edges.connect(&pool);
        }
        let chosen = self.chosen_workers(&app);
        let founded = self.crews.found(pool, app, generation, urls, now);
        founded.map_err(|error| error.to_string())?;
        self.keep_chosen(number, chosen, now);
        Ok(())
    }

    /// How many workers the pool that serves an app has, where `app` leaves it at that: a number that
    /// was chosen by hand holds for fresh processes as well.
    pub(super) fn chosen_workers(&self, app: &AppDescriptor) -> Option<usize> {
        let serving = self.crews.get(self.active_pool(&app.id)?)?;
        (serving.descriptor().workers == app.workers).then(|| serving.wanted())
    }

    /// Gives a fresh pool that many workers.
    pub(super) fn keep_chosen(&mut self, pool: PoolNumber, workers: Option<usize>, now: Instant) {
        if let Some(workers) = workers
            && let Some(crew) = self.crews.get_mut(pool)
            && crew.wanted() != workers
            && let Err(refusal) = crew.scale(workers, now)
        {
            log::debug!("a fresh pool keeps its number of workers: {refusal}");
        }
    }

    /// What the next code of an app is called: one more than any it has had since it is served.
    fn next_generation(&mut self, app: &AppId) -> Generation {
        let crews = self.crews.iter_mut().filter(|crew| crew.descriptor().id == *app);
        let newest = crews.map(|crew| crew.core().newest_generation()).max();
        Generation(newest.map_or(1, |newest| newest.0.saturating_add(1)))
    }

    /// Pools whose workers are all ready now have told so.
    pub(super) fn report_ready_pools(&mut self, now: Instant) {
        for (pool, is_told) in self.reload.fresh.iter_mut().filter(|(_, is_told)| !**is_told) {
            let summary = self.crews.get(*pool).map(|crew| crew.summary());
            if summary.is_some_and(|summary| summary.ready >= summary.wanted) {
                *is_told = true;
                self.reload.pipeline.pool_ready(*pool, now);
            }
        }
    }
}

/// Apps that were added by nothing but their path: all of them, or those that are not known yet.
fn apps_to_resolve(overlay: &Overlay, config: &Config, all: bool) -> Vec<AddedApp> {
    let mut apps: Vec<AddedApp> = Vec::new();
    let own = overlay.entries().filter_map(|entry| match &entry.target {
        Target::Path { app: Some(app), .. } => Some(app.id.clone()),
        _ => None,
    });
    let mut taken: Vec<AppId> = own.chain(config.apps.iter().map(|app| app.id.clone())).collect();
    for entry in overlay.entries() {
        let Target::Path { path, app } = &entry.target else { continue };
        if apps.iter().any(|other| other.entry == *path) || (app.is_some() && !all) {
            continue;
        }
        let id = match app {
            Some(app) => app.id.clone(),
            None => free_name(path, &taken),
        };
        taken.push(id.clone());
        apps.push(AddedApp { id, host: entry.host.clone(), entry: path.clone() });
    }
    apps
}

/// A name for what is at `path` that nobody has.
fn free_name(path: &str, taken: &[AppId]) -> AppId {
    let path = path.strip_prefix("builtin:").unwrap_or(path);
    let place = Path::new(path);
    let named = match (place.extension(), place.parent().and_then(Path::file_name)) {
        // The file is called app.py, its directory after what it is.
        (Some(_), Some(directory)) => Some(directory),
        _ => place.file_name(),
    };
    let name = named.and_then(|name| sanitise_name(&name.to_string_lossy()));
    let name = name.unwrap_or_else(|| "app".to_owned());
    let numbered = (2u32..).map(|number| AppId::new(&format!("{name}-{number}")));
    let mut names = std::iter::once(AppId::new(&name)).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_else(|| AppId::new(&name))
}

/// Plans that are made at the same time.
const QUESTION_COUNT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_a_path_is_named_after_it_and_after_nobody_else() {
        let taken = [AppId::new("blog"), AppId::new("blog-2")];
        for (path, name) in [
            ("/srv/blog", "blog-3"),
            ("/srv/shop/app.py", "shop"),
            ("builtin:echo", "echo"),
            ("/", "app"),
        ] {
            assert_eq!(free_name(path, &taken).as_str(), name, "{path}");
        }
    }

    #[test]
    fn each_path_is_resolved_once_and_known_ones_only_when_all_are() {
        let config = Config::default();
        let mut overlay = Overlay::default();
        let path = |path: &str| Target::Path { path: path.to_owned(), app: None };
        for (host, at) in [("a.x", "/srv/a"), ("b.x", "/srv/b"), ("c.x", "/srv/a")] {
            overlay.add(host, path(at), &config).unwrap();
        }
        let ids = |overlay: &Overlay, all| {
            let apps = apps_to_resolve(overlay, &config, all);
            apps.iter().map(|app| app.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&overlay, false), ["a", "b"]);
    }
}
