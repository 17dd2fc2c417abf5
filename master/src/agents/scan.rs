//! The thread that looks for changed files itself, where the kernel cannot tell: network file
//! systems, bind mounts from another machine, a user without watches left.
//!
//! A scan compares each file's time, size and inode with the last one's. It takes as long as the
//! disk takes, and the pause behind it is longer the longer it took.

use crate::reactor::mailbox::Sender;
use crate::shared::mail::{ControlMessage, WatchId};
use rip::supervise::changes::is_ignored_directory;
use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The scan agent. Dropped, its thread ends after the scan it is in.
pub struct ScanAgent {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Default)]
struct Orders {
    watched: BTreeMap<WatchId, Vec<PathBuf>>,
    /// What is there now is no change.
    rebased: Vec<WatchId>,
    stopped: bool,
}

impl ScanAgent {
    /// Starts it; what has changed is told as [`ControlMessage::FilesChanged`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(control: Sender<ControlMessage>) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let served = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("scan".to_owned())
            .spawn(move || serve(&served, &control))?;
        Ok(Self { desk, thread: Some(thread) })
    }

    /// Looks below `roots` from now on. What the first scan finds is no change.
    pub fn watch(&self, watch: WatchId, roots: Vec<PathBuf>) {
        self.order(|orders| {
            orders.watched.insert(watch, roots);
            orders.rebased.push(watch);
        });
    }

    /// What has changed until now is no change.
    pub fn rebase(&self, watch: WatchId) {
        self.order(|orders| orders.rebased.push(watch));
    }

    /// Looks there no longer.
    pub fn forget(&self, watch: WatchId) {
        self.order(|orders| {
            orders.watched.remove(&watch);
        });
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.desk.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.desk.changed.notify_one();
    }
}

impl Drop for ScanAgent {
    fn drop(&mut self) {
        self.order(|orders| orders.stopped = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the scan agent ended by a panic");
        }
    }
}

fn serve(desk: &Desk, control: &Sender<ControlMessage>) {
    let mut known: BTreeMap<WatchId, Files> = BTreeMap::new();
    let mut pause = Duration::ZERO;
    loop {
        let orders = desk.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = if orders.watched.is_empty() { Duration::MAX } else { pause };
        let (mut orders, _) = desk
            .changed
            .wait_timeout_while(orders, wait, |orders| !orders.stopped && orders.rebased.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        if orders.stopped {
            return;
        }
        for watch in orders.rebased.drain(..) {
            known.remove(&watch);
        }
        let watched = orders.watched.clone();
        drop(orders);
        known.retain(|watch, _| watched.contains_key(watch));
        let began = Instant::now();
        for (watch, roots) in watched {
            let files = scan(&roots);
            if let Some(before) = known.get(&watch) {
                let paths = differences(before, &files);
                if !paths.is_empty() {
                    control.send(ControlMessage::FilesChanged { watch, paths });
                }
            }
            known.insert(watch, files);
        }
        pause = PAUSE.max(began.elapsed() * PAUSE_FACTOR);
    }
}

/// What tells a file from another version of it.
type Files = HashMap<PathBuf, State>;
type State = (i64, i64, u64, u64);

fn state_of(found: &Metadata) -> State {
    (found.mtime(), found.mtime_nsec(), found.size(), found.ino())
}

fn scan(roots: &[PathBuf]) -> Files {
    let mut files = Files::new();
    let (mut pending, alone): (Vec<_>, Vec<_>) =
        roots.iter().cloned().partition(|root| root.is_dir());
    // A root that is a file, or may be one again, is looked at by itself.
    for file in alone {
        if let Ok(found) = file.metadata() {
            let state = state_of(&found);
            files.insert(file, state);
        }
    }
    while let Some(directory) = pending.pop() {
        for entry in directory.read_dir().into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if !kind.is_dir() {
                // Where a link leads may be another file now.
                let found = entry.path().metadata().or_else(|_| entry.metadata());
                if let Ok(found) = found {
                    files.insert(entry.path(), state_of(&found));
                }
            } else if !entry.file_name().to_str().is_some_and(is_ignored_directory) {
                pending.push(entry.path());
            }
        }
    }
    files
}

/// Files that are new, other or gone, in the order of their names.
fn differences(before: &Files, after: &Files) -> Vec<PathBuf> {
    let other = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let mut paths: Vec<PathBuf> =
        after.keys().filter(other).chain(before.keys().filter(other)).cloned().collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Between two scans.
const PAUSE: Duration = Duration::from_millis(500);
/// So many times as long as a scan took, if that is longer.
const PAUSE_FACTOR: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mailbox::mailbox;
    use crate::sys::test_dir::TestDir;
    use mio::{Events, Poll, Token, Waker};
    use std::fs;
    use std::path::Path;

    fn names(paths: &[PathBuf], root: &Path) -> Vec<String> {
        paths
            .iter()
            .map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn files_that_are_new_other_or_gone_are_found() {
        let dir = TestDir::make();
        let root = dir.path().to_owned();
        for name in ["same.py", "other.py", "gone.py"] {
            fs::write(root.join(name), "1").unwrap();
        }
        let before = scan(std::slice::from_ref(&root));
        fs::write(root.join("other.py"), "22").unwrap();
        fs::remove_file(root.join("gone.py")).unwrap();
        fs::create_dir_all(root.join("x/__pycache__")).unwrap();
        fs::write(root.join("x/new.py"), "1").unwrap();
        fs::write(root.join("x/__pycache__/no.py"), "1").unwrap();
        let after = scan(std::slice::from_ref(&root));
        assert_eq!(
            names(&differences(&before, &after), &root),
            ["gone.py", "other.py", "x/new.py"]
        );
        assert!(differences(&after, &after).is_empty());
    }

    #[test]
    fn the_agent_tells_what_changed() {
        let dir = TestDir::make();
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (sender, mut mail) = mailbox(waker);
        let agent = ScanAgent::start(sender).unwrap();
        let watch = WatchId(1);
        agent.watch(watch, vec![dir.path().to_owned()]);
        let mut version = 0;
        // The first scan may come after a write, so it is written until one is told.
        let paths = loop {
            version += 1;
            fs::write(dir.path().join("a.py"), "x".repeat(version)).unwrap();
            poll.poll(&mut Events::with_capacity(4), Some(Duration::from_secs(2))).unwrap();
            let mut messages = Vec::new();
            mail.drain(&mut messages);
            if let Some(ControlMessage::FilesChanged { watch: told, paths }) = messages.pop() {
                assert_eq!(told, watch);
                break paths;
            }
            assert!(version < 20, "nothing is told");
        };
        assert_eq!(names(&paths, dir.path()), ["a.py"]);
    }
}
