//! What changes of files do: fresh workers, or the app loaded anew inside them; and pages are told.

use super::master::Master;
use super::server::Answer;
use super::verbs::WatchPages;
use super::watcher::Purpose;
use rip::contract::app::Reload;
use rip::contract::attempt::AttemptSource;
use rip::contract::event::Event;
use rip::ids::AppId;
use rip::supervise::Cause;
use rip::supervise::changes::Batch;
use rip::wire::verb::Accepted;
use std::path::PathBuf;
use std::sync::Arc;

/// Pages that are told of changes once the app is through with its own.
pub(super) struct Pages {
    prefix: Arc<str>,
    styles_only: bool,
}

impl Master {
    /// Acts on changes that have come to rest.
    pub(super) fn follow_changes(&mut self) {
        let now = self.clock.now();
        if self.shutdown.is_asked() {
            return;
        }
        for crew in self.crews.iter_mut() {
            if crew.take_set_up() {
                // What the setup wrote is there before the workers look.
                self.watcher.rebase(&Purpose::App(crew.descriptor().id.clone()), now);
            }
        }
        for (purpose, batch) in self.watcher.settle(now) {
            match purpose {
                Purpose::App(app) => self.app_changed(&app, batch),
                Purpose::Edgefile => self.edgefile_changed(),
                Purpose::Pages(prefix) => {
                    self.state.pages.push(Pages { prefix, styles_only: batch.styles_only });
                }
            }
        }
    }

    /// Something has happened where the Edgefile is.
    fn edgefile_changed(&mut self) {
        let Some(file) = &mut self.source_file else { return };
        let has_changed = file.has_changed();
        if file.has_moved() {
            let (path, places) = (file.path().to_owned(), file.places().to_vec());
            if let Err(error) = self.watcher.watch_file(Purpose::Edgefile, &path, &places) {
                log::error!("changes of {} are not seen any more: {error}", path.display());
            }
        }
        if has_changed && !self.upgrade.puts_off_reload() {
            self.reload_for(AttemptSource::Watch);
        }
    }

    /// The Edgefile is about to be read.
    pub(super) fn note_edgefile(&mut self) {
        if let Some(file) = &mut self.source_file {
            file.note();
        }
    }

    /// Tells pages of changes, once the app is through with its own.
    pub(super) fn tell_pages(&mut self) {
        // A page that is loaded again while workers are replaced might come from an old one.
        if self.crews.iter().all(|crew| crew.roll_progress().is_none())
            && let Some(edges) = &self.edges
        {
            for pages in self.state.pages.drain(..) {
                edges.tell_of_changes(&pages.prefix, pages.styles_only);
            }
        }
    }

    /// Registers a prefix whose pages want to hear of changes.
    pub(super) fn watch_pages(&mut self, watch: &WatchPages) -> Answer {
        let base = self.pages_base();
        let directories: Vec<_> = watch.dirs.iter().map(|dir| base.join(dir)).collect();
        let prefix: Arc<str> = watch.prefix.as_str().into();
        let purpose = Purpose::Pages(Arc::clone(&prefix));
        match self.watcher.watch(purpose, &directories, vec!["*".to_owned()]) {
            Ok(()) => {
                self.state.watched.insert(watch.prefix.clone(), directories);
                self.shared.pages.register(prefix);
                Answer::ok(&Accepted { ok: true, drained: None })
            }
            Err(error) => {
                Answer::refused(400, error.to_string(), "dirs are directories that exist")
            }
        }
    }

    /// Where relative directories of pages begin: at the first app's own.
    fn pages_base(&self) -> PathBuf {
        let active = self.shared.current.load();
        active.config.apps.first().map(|app| PathBuf::from(&app.launch.cwd)).unwrap_or_default()
    }

    fn app_changed(&mut self, app: &AppId, batch: Batch) {
        let now = self.clock.now();
        let path = Some(batch.path).filter(|path| !path.is_empty());
        let Some(crew) = self.active_pool(app).and_then(|pool| self.crews.get_mut(pool)) else {
            return;
        };
        let app = crew.descriptor();
        match app.reload {
            Reload::None => {}
            Reload::Process => {
                if let Err(refusal) = crew.roll(Cause { reason: "watch", path }, now) {
                    log::debug!("a change is not followed: {refusal}");
                }
            }
            Reload::Module => {
                let app = app.id.clone();
                let workers = crew.reload_modules(now);
                self.tell(&Event::AppReload { app, path, workers });
            }
        }
    }
}
