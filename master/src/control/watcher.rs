//! Directories that are watched for changes: the app's own, and those that pages are made of.
//!
//! The kernel tells of changes where it can; where it cannot, or was told not to, the scan agent
//! looks. Either way [`Changes`] decides what matters and when it has come to rest.

use super::source::Source;
use crate::agents::scan::ScanAgent;
use crate::reactor::mailbox::Sender;
use crate::shared::mail::{ControlMessage, WatchId};
use crate::sys::watch::{Seen, Tree, is_limit};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rip::contract::app::{AppDescriptor, Reload};
use rip::ids::AppId;
use rip::supervise::changes::{Batch, Changes};
use rip::time::Instant;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everything that is watched.
pub struct Watcher {
    registry: Registry,
    control: Sender<ControlMessage>,
    /// The kernel is not asked.
    polls: bool,
    scanner: Option<ScanAgent>,
    watches: BTreeMap<WatchId, Watch>,
    last_id: u64,
}

/// Whose files they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// An app's code.
    App(AppId),
    /// The file that the configuration comes from.
    Edgefile,
    /// The pages below a prefix.
    Pages(Arc<str>),
}

struct Watch {
    purpose: Purpose,
    roots: Vec<PathBuf>,
    /// Only these files in the roots matter, where there are any; nothing below is looked at.
    files: Vec<PathBuf>,
    changes: Changes,
    /// `None` where the scan agent looks.
    tree: Option<Tree>,
    /// The tree has more to tell.
    ready: bool,
    /// When lost directories are looked for.
    look_again: Option<Instant>,
}

impl Watcher {
    /// Watches nothing yet. With `polls` the kernel is never asked.
    pub fn new(registry: Registry, control: Sender<ControlMessage>, polls: bool) -> Self {
        Self { registry, control, polls, scanner: None, watches: BTreeMap::new(), last_id: 0 }
    }

    /// Watches `directories` for changes of files that match `globs`, in place of what was watched
    /// for the same purpose.
    ///
    /// # Errors
    /// A directory that is none, by name; or a system that lets nobody look.
    pub fn watch(
        &mut self,
        purpose: Purpose,
        directories: &[PathBuf],
        globs: Vec<String>,
    ) -> io::Result<()> {
        let roots = outermost(directories)?;
        self.add(purpose, roots, Vec::new(), globs)
    }

    /// Watches one file, which need not be there now, in place of what was watched for the same
    /// purpose. `places` are the directories in which a change can make it another one.
    ///
    /// # Errors
    /// When the system lets nobody look.
    pub fn watch_file(
        &mut self,
        purpose: Purpose,
        file: &Path,
        places: &[PathBuf],
    ) -> io::Result<()> {
        let files = vec![file.to_owned()];
        self.add(purpose, places.to_vec(), files, vec!["**".to_owned()])
    }

    fn add(
        &mut self,
        purpose: Purpose,
        roots: Vec<PathBuf>,
        files: Vec<PathBuf>,
        globs: Vec<String>,
    ) -> io::Result<()> {
        self.forget(&purpose);
        self.last_id += 1;
        let id = WatchId(self.last_id);
        let mut watch = Watch {
            purpose,
            roots,
            files,
            changes: Changes::new(globs),
            tree: None,
            ready: true,
            look_again: None,
        };
        if !self.polls {
            watch.tree = self
                .plant(id, &watch)
                .inspect_err(|error| warn_of_polling(&watch.roots, error))
                .ok();
        }
        if watch.tree.is_none() {
            self.scan(id, watch.to_scan())?;
        }
        self.watches.insert(id, watch);
        Ok(())
    }

    /// Watches the app's own files, where their changes shall do something.
    ///
    /// # Errors
    /// Those of [`Self::watch`].
    pub fn watch_app(&mut self, app: &AppDescriptor) -> io::Result<()> {
        let purpose = Purpose::App(app.id.clone());
        if app.reload == Reload::None || app.watch.is_empty() {
            self.forget(&purpose);
            return Ok(());
        }
        self.watch(purpose, &[PathBuf::from(&app.launch.cwd)], app.watch.clone())
    }

    /// The kernel has something to tell of a watch.
    pub fn ready(&mut self, id: WatchId) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.ready = true;
        }
    }

    /// The scan agent found changes.
    pub fn scanned(&mut self, id: WatchId, paths: &[PathBuf], now: Instant) {
        if let Some(watch) = self.watches.get_mut(&id) {
            paths.iter().for_each(|path| watch.changed(path, now));
        }
    }

    /// What has changed until now is no change: whoever reads the files reads them after this.
    pub fn rebase(&mut self, purpose: &Purpose, now: Instant) {
        let found = self.watches.iter_mut().find(|(_, watch)| watch.purpose == *purpose);
        let Some((id, watch)) = found else { return };
        match &mut watch.tree {
            Some(tree) => while let Ok(true) = tree.turn(&mut Vec::new()) {},
            None => self.scanner.iter().for_each(|scanner| scanner.rebase(*id)),
        }
        watch.changes.forget();
        watch.ready = true;
        watch.look_again = watch.look_again.map(|_| now);
    }

    /// Takes a bounded piece of what there is to be told, and returns the changes that have come to
    /// rest, those of the app first.
    pub fn settle(&mut self, now: Instant) -> Vec<(Purpose, Batch)> {
        let mut fallen = Vec::new();
        let mut rested = Vec::new();
        for (id, watch) in &mut self.watches {
            if let Err(error) = watch.turn(now) {
                warn_of_polling(&watch.roots, &error);
                fallen.push(*id);
            }
            rested.extend(watch.changes.poll(now).map(|batch| (watch.purpose.clone(), batch)));
        }
        for id in fallen {
            self.fall_back(id, now);
        }
        rested.sort_by_key(|(purpose, _)| !matches!(purpose, Purpose::App(_)));
        rested
    }

    /// When [`Self::settle`] is due.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.watches
            .values()
            .flat_map(|watch| {
                let more = (watch.ready && watch.tree.is_some()).then_some(now);
                [more, watch.changes.next_deadline(), watch.look_again]
            })
            .flatten()
            .min()
    }

    fn plant(&self, id: WatchId, watch: &Watch) -> io::Result<Tree> {
        let roots = watch.roots.clone();
        let tree =
            if watch.files.is_empty() { Tree::plant(roots) } else { Tree::plant_flat(roots) }?;
        let source = Source::Files(id).into();
        self.registry.register(&mut SourceFd(&tree.as_raw_fd()), source, Interest::READABLE)?;
        Ok(tree)
    }

    fn scan(&mut self, id: WatchId, roots: Vec<PathBuf>) -> io::Result<()> {
        let scanner = match self.scanner.take() {
            Some(scanner) => scanner,
            None => ScanAgent::start(self.control.clone())?,
        };
        self.scanner.insert(scanner).watch(id, roots);
        Ok(())
    }

    /// The kernel cannot tell of this tree any more. What it did not tell may have changed.
    fn fall_back(&mut self, id: WatchId, now: Instant) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.tree = None;
        watch.look_again = None;
        watch.changes.everything(now);
        let roots = watch.to_scan();
        let what = shown(&roots);
        if let Err(error) = self.scan(id, roots) {
            log::error!("changes below {what} are not seen: {error}");
        }
    }

    /// The app's files do not matter any more.
    pub fn forget_app(&mut self, app: &AppId) {
        self.forget(&Purpose::App(app.clone()));
    }

    /// Watches no longer for this.
    pub fn forget(&mut self, purpose: &Purpose) {
        let gone: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.purpose == *purpose)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            // Closing its descriptor takes a tree out of the event loop.
            self.watches.remove(&id);
            self.scanner.iter().for_each(|scanner| scanner.forget(id));
        }
    }
}

impl Watch {
    /// Where the scan agent looks.
    fn to_scan(&self) -> Vec<PathBuf> {
        if self.files.is_empty() { self.roots.clone() } else { self.files.clone() }
    }

    fn turn(&mut self, now: Instant) -> io::Result<()> {
        let Some(tree) = &mut self.tree else { return Ok(()) };
        if self.look_again.is_some_and(|due| now >= due) {
            tree.look_again();
            self.look_again = None;
            self.ready = true;
        }
        if !self.ready {
            return Ok(());
        }
        let mut seen = Vec::new();
        self.ready = tree.turn(&mut seen)?;
        if tree.has_lost() && self.look_again.is_none() {
            self.look_again = Some(now + LOST_PAUSE);
        }
        for seen in seen {
            match seen {
                Seen::Changed(path) => self.changed(&path, now),
                Seen::Missed => self.changes.everything(now),
            }
        }
        Ok(())
    }

    fn changed(&mut self, path: &Path, now: Instant) {
        let below = self.roots.iter().find_map(|root| path.strip_prefix(root).ok());
        self.changes.changed(&below.unwrap_or(path).to_string_lossy(), now);
    }
}

/// The directories by their real names, without those below others of them.
fn outermost(directories: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut roots = Vec::new();
    for directory in directories {
        let root = directory.canonicalize().and_then(|root| match root.is_dir() {
            true => Ok(root),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        roots.push(root.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
        })?);
    }
    let all = roots.clone();
    roots.sort();
    roots.dedup();
    roots.retain(|root| !all.iter().any(|other| root != other && root.starts_with(other)));
    Ok(roots)
}

fn warn_of_polling(roots: &[PathBuf], error: &io::Error) {
    let what = shown(roots);
    if is_limit(error) {
        log::warn!(
            "the system's limit of watches is reached: {what} is looked through now and then \
             instead; raise it with `sysctl fs.inotify.max_user_watches=524288 \
             fs.inotify.max_user_instances=512`"
        );
    } else {
        log::warn!("{what} cannot be watched, and is looked through now and then instead: {error}");
    }
}

fn shown(roots: &[PathBuf]) -> String {
    let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
    roots.join(", ")
}

/// Between two looks for a directory that is gone.
const LOST_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mailbox::mailbox;
    use crate::sys::test_dir::TestDir;
    use mio::{Events, Poll, Waker};
    use std::fs;

    fn code() -> Purpose {
        Purpose::App(AppId::new("app"))
    }

    struct Stand {
        poll: Poll,
        watcher: Watcher,
        mail: crate::reactor::mailbox::Receiver<ControlMessage>,
        dir: TestDir,
        began: std::time::Instant,
    }

    impl Stand {
        fn new(polls: bool) -> Self {
            let poll = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(poll.registry(), Source::Mail.into()).unwrap());
            let (sender, mail) = mailbox(waker);
            let registry = poll.registry().try_clone().unwrap();
            let watcher = Watcher::new(registry, sender, polls);
            let began = std::time::Instant::now();
            Self { poll, watcher, mail, dir: TestDir::make(), began }
        }

        fn now(&self) -> Instant {
            Instant::default() + self.began.elapsed()
        }

        /// The next changes that come to rest, as the main loop would learn of them.
        fn rested(&mut self) -> (Purpose, Batch) {
            let mut events = Events::with_capacity(4);
            let until = self.now() + Duration::from_secs(20);
            while self.now() < until {
                if let Some(rested) = self.watcher.settle(self.now()).pop() {
                    return rested;
                }
                let due = self.watcher.next_deadline(self.now()).unwrap_or(until).min(until);
                self.poll.poll(&mut events, Some(due.since(self.now()))).unwrap();
                for event in &events {
                    if let Some(Source::Files(id)) = Source::of(event.token()) {
                        self.watcher.ready(id);
                    }
                }
                let mut messages = Vec::new();
                self.mail.drain(&mut messages);
                for message in messages {
                    if let ControlMessage::FilesChanged { watch, paths } = message {
                        self.watcher.scanned(watch, &paths, self.now());
                    }
                }
            }
            panic!("nothing has changed");
        }

        fn write(&self, name: &str) {
            fs::write(self.dir.path().join(name), name).unwrap();
        }

        fn watch_app(&mut self) {
            let dir = self.dir.path().to_owned();
            self.watcher.watch(code(), &[dir], vec!["*.py".to_owned()]).unwrap();
        }
    }

    #[test]
    fn many_changes_are_one_batch_that_names_the_first() {
        let mut stand = Stand::new(false);
        stand.watch_app();
        stand.write("noise.txt");
        stand.write("first.py");
        stand.write("second.py");
        let batch = Batch { path: "first.py".to_owned(), styles_only: false };
        assert_eq!(stand.rested(), (code(), batch));
        assert_eq!(stand.watcher.settle(stand.now()), []);
    }

    #[test]
    fn an_app_directory_that_is_replaced_is_watched_on() {
        let mut stand = Stand::new(false);
        let app = stand.dir.path().join("app");
        fs::create_dir(&app).unwrap();
        let roots = std::slice::from_ref(&app);
        stand.watcher.watch(code(), roots, vec!["*.py".to_owned()]).unwrap();
        fs::rename(&app, stand.dir.path().join("old")).unwrap();
        stand.watcher.settle(stand.now());
        fs::create_dir(&app).unwrap();
        stand.write("app/a.py");
        assert_eq!(stand.rested().1.path, "a.py");
    }

    #[test]
    fn polling_tells_the_same() {
        let mut stand = Stand::new(true);
        stand.write("a.py");
        stand.watch_app();
        stand.watcher.rebase(&code(), stand.now());
        stand.write("noise.txt");
        // The first scan may come after the first write.
        let mut version = 0;
        let path = loop {
            version += 1;
            fs::write(stand.dir.path().join("a.py"), "x".repeat(100 + version)).unwrap();
            let mut events = Events::with_capacity(4);
            stand.poll.poll(&mut events, Some(Duration::from_secs(2))).unwrap();
            let mut messages = Vec::new();
            stand.mail.drain(&mut messages);
            if let Some(ControlMessage::FilesChanged { watch, paths }) = messages.pop() {
                stand.watcher.scanned(watch, &paths, stand.now());
                break stand.rested().1.path;
            }
            assert!(version < 20, "nothing is told");
        };
        assert_eq!(path, "a.py");
    }

    #[test]
    fn what_was_told_before_a_rebase_is_no_change() {
        let mut stand = Stand::new(false);
        stand.watch_app();
        stand.write("before.py");
        stand.watcher.rebase(&code(), stand.now());
        stand.write("after.py");
        assert_eq!(stand.rested().1.path, "after.py");
    }

    #[test]
    fn pages_have_their_own_directories_and_only_their_last() {
        let mut stand = Stand::new(false);
        stand.watch_app();
        let prefix: Arc<str> = "/site".into();
        for name in ["one", "two"] {
            let dir = stand.dir.path().join(name);
            fs::create_dir(&dir).unwrap();
            let all = vec!["*".to_owned()];
            stand.watcher.watch(Purpose::Pages(Arc::clone(&prefix)), &[dir], all).unwrap();
        }
        stand.write("one/a.css");
        stand.write("two/b.css");
        let batch = Batch { path: "b.css".to_owned(), styles_only: true };
        assert_eq!(stand.rested(), (Purpose::Pages(prefix), batch));
    }

    #[test]
    fn directories_are_checked_and_told_apart_by_their_real_names() {
        let dir = TestDir::make();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let outer = |names: &[&str]| {
            outermost(&names.iter().map(|name| root.join(name)).collect::<Vec<_>>())
        };
        assert_eq!(outer(&["a/b", "link", "a", "a"]).unwrap(), [root.join("a")]);
        assert!(outer(&["a", "file"]).is_err());
        let missing = outer(&["missing"]).unwrap_err().to_string();
        assert!(missing.contains("missing"), "{missing}");
    }
}
