//! What the kernel tells of changes below directories (inotify).
//!
//! The kernel watches single directories: a tree is one watch for each. A directory that appears
//! gets its watch only after the kernel told of it, so what it holds by then is told as changed.
//! Scanning is cut into pieces, so that a large tree that appears holds nobody up.

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use nix::errno::Errno;
use rip::supervise::changes::is_ignored_directory;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::ReadDir;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories with everything below them, but for those that hold what tools make or fetch.
/// Symbolic links are not followed. Readable, for a poll, when something may have changed.
pub struct Tree {
    inotify: Inotify,
    /// Only the roots themselves are watched, and whatever happens to what they hold counts.
    is_flat: bool,
    roots: Vec<PathBuf>,
    /// Roots that are not there now.
    lost: Vec<PathBuf>,
    directories: HashMap<WatchDescriptor, PathBuf>,
    /// Directories still to be entered, and whether what is found there counts as changed.
    pending: Vec<(PathBuf, bool)>,
    /// The directory that is being read.
    open: Option<(ReadDir, bool)>,
    buffer: Vec<u8>,
}

/// Something the kernel told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Seen {
    /// A file was written, moved or removed, or has appeared.
    Changed(PathBuf),
    /// The kernel had more to tell than it could keep.
    Missed,
}

impl Tree {
    /// Watches `roots`, absolute and without symbolic links in them. Nothing that is there counts as
    /// changed. Returns when every directory has its watch.
    ///
    /// # Errors
    /// Also when the system's limit is reached: see [`is_limit`].
    pub fn plant(roots: Vec<PathBuf>) -> io::Result<Self> {
        Self::plant_as(roots, false)
    }

    /// Watches `roots` alone, without what is below directories in them. Everything that appears,
    /// changes or goes there counts as changed, directories and links too.
    ///
    /// # Errors
    /// Those of [`Self::plant`].
    pub fn plant_flat(roots: Vec<PathBuf>) -> io::Result<Self> {
        Self::plant_as(roots, true)
    }

    fn plant_as(roots: Vec<PathBuf>, is_flat: bool) -> io::Result<Self> {
        let mut tree = Self {
            inotify: Inotify::init()?,
            is_flat,
            pending: roots.iter().map(|root| (root.clone(), false)).collect(),
            roots,
            lost: Vec::new(),
            directories: HashMap::new(),
            open: None,
            buffer: vec![0; BUFFER_BYTES],
        };
        while !tree.is_scanned() {
            tree.scan(&mut Vec::new())?;
        }
        Ok(tree)
    }

    /// Takes a bounded piece of what there is to be told; appends to `seen`. True when there is
    /// more, now: call again soon.
    ///
    /// # Errors
    /// When the tree cannot be watched any more.
    pub fn turn(&mut self, seen: &mut Vec<Seen>) -> io::Result<bool> {
        let more = self.read(seen)?;
        self.scan(seen)?;
        Ok(more || !self.is_scanned())
    }

    /// Whether some root is gone. It must be asked for with [`Self::look_again`].
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Looks whether lost roots are back; then [`Self::turn`] has something to do.
    pub fn look_again(&mut self) {
        let (back, lost) =
            std::mem::take(&mut self.lost).into_iter().partition::<Vec<_>, _>(|root| root.is_dir());
        self.lost = lost;
        self.pending.extend(back.into_iter().map(|root| (root, true)));
    }

    fn is_scanned(&self) -> bool {
        self.pending.is_empty() && self.open.is_none()
    }

    fn read(&mut self, seen: &mut Vec<Seen>) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let told = match self.inotify.read_events(&mut buffer) {
            Ok(events) => events
                .map(|event| (event.wd, event.mask, event.name.map(OsString::from)))
                .collect::<Vec<_>>(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Vec::new(),
            Err(error) => return Err(error),
        };
        self.buffer = buffer;
        let more = !told.is_empty();
        for (watch, mask, name) in told {
            self.take(&watch, mask, name, seen);
        }
        Ok(more)
    }

    fn take(
        &mut self,
        watch: &WatchDescriptor,
        mask: EventMask,
        name: Option<OsString>,
        seen: &mut Vec<Seen>,
    ) {
        if mask.contains(EventMask::Q_OVERFLOW) {
            // Directories may have come and gone as well.
            self.pending.extend(self.roots.iter().map(|root| (root.clone(), false)));
            seen.push(Seen::Missed);
            return;
        }
        let Some(directory) = self.directories.get(watch) else { return };
        if mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            let gone = directory.clone();
            if self.roots.contains(&gone) {
                self.forget_below(&gone);
                self.lost.push(gone);
            } else if mask.contains(EventMask::IGNORED) {
                self.directories.remove(watch);
            }
            return;
        }
        let Some(name) = name else { return };
        let path = directory.join(&name);
        if self.is_flat {
            seen.push(Seen::Changed(path));
            return;
        }
        if !mask.contains(EventMask::ISDIR) {
            // A file that was created is told of again when its writer closes it; links are not.
            let is_half = mask.contains(EventMask::CREATE) && !is_link(&path);
            if !is_half {
                seen.push(Seen::Changed(path));
            }
            return;
        }
        if mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
            self.forget_below(&path);
        }
        let is_new = mask.intersects(EventMask::CREATE | EventMask::MOVED_TO);
        if is_new && !name.to_str().is_some_and(is_ignored_directory) {
            self.pending.push((path, true));
        }
    }

    /// Directories that are elsewhere now would go on telling of what is theirs no longer.
    fn forget_below(&mut self, path: &Path) {
        let gone: Vec<_> = self
            .directories
            .iter()
            .filter(|(_, directory)| directory.starts_with(path))
            .map(|(watch, _)| watch.clone())
            .collect();
        for watch in gone {
            self.directories.remove(&watch);
            // A directory that was removed has lost its watch already.
            let _ = self.inotify.watches().remove(watch);
        }
        self.pending.retain(|(pending, _)| !pending.starts_with(path));
    }

    /// Reads directories, up to a number of entries.
    fn scan(&mut self, seen: &mut Vec<Seen>) -> io::Result<()> {
        for _ in 0..ENTRIES_PER_TURN {
            let Some((entries, tells)) = &mut self.open else {
                let Some((path, tells)) = self.pending.pop() else { break };
                self.enter(&path, tells)?;
                continue;
            };
            let tells = *tells;
            let Some(Ok(entry)) = entries.next() else {
                self.open = None;
                continue;
            };
            let Ok(kind) = entry.file_type() else { continue };
            if !kind.is_dir() || self.is_flat {
                if tells {
                    seen.push(Seen::Changed(entry.path()));
                }
            } else if !entry.file_name().to_str().is_some_and(is_ignored_directory) {
                self.pending.push((entry.path(), tells));
            }
        }
        Ok(())
    }

    /// Watches a directory, and only then looks into it.
    fn enter(&mut self, path: &Path, tells: bool) -> io::Result<()> {
        if self.directories.len() >= DIRECTORY_COUNT {
            return Err(Errno::ENOSPC.into());
        }
        match self.inotify.watches().add(path, watched()) {
            Ok(watch) => {
                self.directories.insert(watch, path.to_owned());
                self.open = path.read_dir().ok().map(|entries| (entries, tells));
                Ok(())
            }
            Err(error) if is_limit(&error) || error.raw_os_error() == Some(libc::ENOMEM) => {
                Err(error)
            }
            Err(error) => {
                // It has vanished, or is none of our business.
                log::debug!("{} is not watched: {error}", path.display());
                if self.roots.iter().any(|root| root == path) {
                    self.lost.push(path.to_owned());
                }
                Ok(())
            }
        }
    }
}

impl AsRawFd for Tree {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

/// The user has no watches left, or no more places to keep them.
pub fn is_limit(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EMFILE))
}

fn watched() -> WatchMask {
    WatchMask::ATTRIB
        | WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::MOVE_SELF
        | WatchMask::DONT_FOLLOW
        | WatchMask::EXCL_UNLINK
        | WatchMask::ONLYDIR
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_symlink() || found.nlink() > 1)
}

/// Room for some hundred events.
const BUFFER_BYTES: usize = 16 * 1024;
/// Directory entries looked at before others get their turn.
const ENTRIES_PER_TURN: usize = 512;
/// A tree of more directories is no app.
const DIRECTORY_COUNT: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::fs;

    struct Stand {
        dir: TestDir,
        tree: Tree,
    }

    impl Stand {
        fn new(prepare: impl Fn(&Path)) -> Self {
            let dir = TestDir::make();
            let root = dir.path().canonicalize().unwrap();
            prepare(&root);
            let tree = Tree::plant(vec![root]).unwrap();
            Self { dir, tree }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().canonicalize().unwrap().join(name)
        }

        /// Everything told by now, each file once.
        fn seen(&mut self) -> Vec<String> {
            let mut seen = Vec::new();
            while self.tree.turn(&mut seen).unwrap() {}
            let root = self.path("");
            let mut names: Vec<_> = seen
                .into_iter()
                .map(|seen| match seen {
                    Seen::Changed(path) => {
                        path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()
                    }
                    Seen::Missed => "missed".to_owned(),
                })
                .collect();
            names.sort();
            names.dedup();
            names
        }
    }

    #[test]
    fn every_way_to_save_a_file_is_told() {
        let mut stand = Stand::new(|root| {
            fs::write(root.join("a.py"), "1").unwrap();
            fs::create_dir(root.join("deep")).unwrap();
            fs::write(root.join("deep/b.py"), "1").unwrap();
        });
        assert_eq!(stand.seen(), Vec::<String>::new());
        fs::write(stand.path("a.py"), "2").unwrap();
        assert_eq!(stand.seen(), ["a.py"]);
        fs::write(stand.path(".a.new"), "3").unwrap();
        fs::rename(stand.path(".a.new"), stand.path("deep/b.py")).unwrap();
        assert_eq!(stand.seen(), [".a.new", "deep/b.py"]);
        fs::hard_link(stand.path("a.py"), stand.path("linked.py")).unwrap();
        std::os::unix::fs::symlink("a.py", stand.path("symbolic.py")).unwrap();
        assert_eq!(stand.seen(), ["linked.py", "symbolic.py"]);
        fs::remove_file(stand.path("linked.py")).unwrap();
        assert_eq!(stand.seen(), ["linked.py"]);
    }

    #[test]
    fn a_file_that_is_being_written_is_told_when_its_writer_is_done() {
        use std::io::Write;
        let mut stand = Stand::new(|_| {});
        let mut file = fs::File::create(stand.path("a.py")).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(stand.seen(), Vec::<String>::new());
        drop(file);
        assert_eq!(stand.seen(), ["a.py"]);
    }

    #[test]
    fn what_a_new_directory_holds_is_told_and_it_is_watched_from_then_on() {
        let mut stand = Stand::new(|_| {});
        fs::create_dir_all(stand.path("x/y")).unwrap();
        fs::write(stand.path("x/y/a.py"), "1").unwrap();
        assert_eq!(stand.seen(), ["x/y/a.py"]);
        fs::write(stand.path("x/y/b.py"), "1").unwrap();
        assert_eq!(stand.seen(), ["x/y/b.py"]);
    }

    #[test]
    fn a_directory_that_moved_is_told_under_its_new_name_only() {
        let mut stand = Stand::new(|root| {
            fs::create_dir_all(root.join("old/deep")).unwrap();
            fs::write(root.join("old/deep/a.py"), "1").unwrap();
        });
        fs::rename(stand.path("old"), stand.path("new")).unwrap();
        assert_eq!(stand.seen(), ["new/deep/a.py"]);
        fs::write(stand.path("new/deep/a.py"), "2").unwrap();
        assert_eq!(stand.seen(), ["new/deep/a.py"]);
        let elsewhere = TestDir::make();
        fs::rename(stand.path("new"), elsewhere.path().join("away")).unwrap();
        fs::write(elsewhere.path().join("away/deep/a.py"), "3").unwrap();
        assert_eq!(stand.seen(), Vec::<String>::new());
    }

    #[test]
    fn removed_directories_and_what_tools_make_are_left_alone() {
        let mut stand = Stand::new(|root| {
            fs::create_dir_all(root.join("x/y")).unwrap();
            fs::create_dir_all(root.join(".git/objects")).unwrap();
        });
        fs::write(stand.path(".git/objects/a.py"), "1").unwrap();
        fs::create_dir(stand.path("__pycache__")).unwrap();
        fs::write(stand.path("__pycache__/a.py"), "1").unwrap();
        assert_eq!(stand.seen(), Vec::<String>::new());
        fs::remove_dir_all(stand.path("x")).unwrap();
        assert_eq!(stand.seen(), Vec::<String>::new());
        assert_eq!(stand.tree.directories.len(), 1);
    }

    #[test]
    fn symbolic_links_to_directories_are_not_followed() {
        let elsewhere = TestDir::make();
        let target = elsewhere.path().to_owned();
        let mut stand = Stand::new(|root| {
            std::os::unix::fs::symlink(&target, root.join("link")).unwrap();
        });
        fs::write(target.join("a.py"), "1").unwrap();
        assert_eq!(stand.seen(), Vec::<String>::new());
    }

    #[test]
    fn a_root_that_comes_back_is_told_whole() {
        let dir = TestDir::make();
        let root = dir.path().canonicalize().unwrap().join("app");
        fs::create_dir(&root).unwrap();
        let mut tree = Tree::plant(vec![root.clone()]).unwrap();
        fs::remove_dir(&root).unwrap();
        let mut seen = Vec::new();
        while tree.turn(&mut seen).unwrap() {}
        assert!(tree.has_lost() && seen.is_empty());
        tree.look_again();
        assert!(tree.has_lost());
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.py"), "1").unwrap();
        tree.look_again();
        while tree.turn(&mut seen).unwrap() {}
        assert_eq!(seen, [Seen::Changed(root.join("a.py"))]);
        fs::write(root.join("b.py"), "1").unwrap();
        while tree.turn(&mut seen).unwrap() {}
        assert_eq!(seen[1], Seen::Changed(root.join("b.py")));
    }

    #[test]
    fn what_the_kernel_could_not_keep_is_told_as_missed_and_nothing_is_lost_after_it() {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let limit: usize = limit.trim().parse().unwrap();
        let mut stand = Stand::new(|_| {});
        // Two events that alternate are never merged by the kernel.
        let (one, two) = (stand.path("1"), stand.path("2"));
        for _ in 0..limit.min(200_000) {
            for path in [&one, &two] {
                fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            }
        }
        fs::create_dir(stand.path("late")).unwrap();
        fs::write(stand.path("late/a.py"), "1").unwrap();
        assert!(stand.seen().contains(&"missed".to_owned()));
        fs::write(stand.path("late/b.py"), "1").unwrap();
        assert_eq!(stand.seen(), ["late/b.py"]);
    }
}
