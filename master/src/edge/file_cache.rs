//! Files that were looked at a moment ago.
//!
//! An entry is good for [`GOOD_FOR`]; after that its path is looked at again, and what is still the
//! same file is kept. So a file that was replaced is served anew within that time. One that was
//! changed in place is noticed at once where its bytes are not those in memory: no tag stands before
//! other bytes than its own.
//!
//! Two generations: what is used is in the young one, and when that is full it becomes the old one,
//! which is thrown away. So what is used again and again stays, and nothing else for long.

use crate::shared::stored::{Looked, StoredFile};
use rip::time::Instant;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// The files one loop knows.
#[derive(Default)]
pub(super) struct FileCache {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    entries: HashMap<Box<[u8]>, Entry>,
    open_files: usize,
    bytes: usize,
}

struct Entry {
    looked: Looked,
    at: Instant,
}

/// What the cache knows of a path.
pub(super) enum Known {
    /// What is there.
    Good(Looked),
    /// What was there; it may have changed.
    Stale(Option<Arc<StoredFile>>),
}

impl FileCache {
    /// What is known at `key`.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Known {
        if !self.old.entries.is_empty()
            && let Some((key, entry)) = self.old.entries.remove_entry(key)
        {
            self.insert(key, entry);
        }
        let Some(entry) = self.young.entries.get(key) else { return Known::Stale(None) };
        if now.since(entry.at) < GOOD_FOR {
            return Known::Good(entry.looked.clone());
        }
        match &entry.looked {
            Looked::File(file) => Known::Stale(Some(Arc::clone(file))),
            Looked::Directory | Looked::Missing => Known::Stale(None),
        }
    }

    /// This is at `key` now. What is missing is not remembered: there is no end to its names.
    pub(super) fn put(&mut self, key: &[u8], looked: &Looked, now: Instant) {
        self.old.entries.remove(key);
        if let Some(entry) = self.young.entries.remove(key) {
            self.young.count(&entry.looked, |sum, count| *sum = sum.saturating_sub(count));
        }
        if !matches!(looked, Looked::Missing) {
            self.insert(key.into(), Entry { looked: looked.clone(), at: now });
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn insert(&mut self, key: Box<[u8]>, entry: Entry) {
        if self.young.is_full() {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.count(&entry.looked, |sum, count| *sum += count);
        self.young.entries.insert(key, entry);
    }
}

impl Generation {
    fn is_full(&self) -> bool {
        self.entries.len() >= ENTRY_COUNT
            || self.open_files >= OPEN_FILE_COUNT
            || self.bytes >= MEMORY_BYTES
    }

    fn count(&mut self, looked: &Looked, change: fn(&mut usize, usize)) {
        if let Looked::File(file) = looked {
            let (open_files, bytes) = file.cost();
            change(&mut self.open_files, open_files);
            change(&mut self.bytes, bytes);
        }
    }
}

/// The directories that files are found beneath.
#[derive(Default)]
pub(super) struct Roots {
    open: HashMap<Arc<str>, Root>,
    next: u64,
}

/// An open directory.
#[derive(Clone)]
pub(super) struct Root {
    /// Never that of another directory.
    pub(super) number: u64,
    /// The directory itself.
    pub(super) dir: Arc<OwnedFd>,
    inode: (u64, u64),
    at: Instant,
}

impl Roots {
    /// The directory at `path`. It is looked now and then whether another one has its name.
    pub(super) fn of(&mut self, path: &Arc<str>, now: Instant) -> std::io::Result<Root> {
        use crate::sys::beneath;
        if let Some(root) = self.open.get(path)
            && now.since(root.at) < GOOD_FOR_ROOT
        {
            return Ok(root.clone());
        }
        let dir = match beneath::root(path.as_ref().as_ref()) {
            Ok(dir) => dir,
            Err(error) => {
                self.open.remove(path);
                return Err(error);
            }
        };
        let inode = beneath::facts(&dir)?.inode;
        if let Some(root) = self.open.get_mut(path)
            && root.inode == inode
        {
            root.at = now;
            return Ok(root.clone());
        }
        self.next += 1;
        let root = Root { number: self.next, dir: Arc::new(dir), inode, at: now };
        self.open.insert(Arc::clone(path), root.clone());
        Ok(root)
    }

    /// Closes those that are not `used` any more.
    pub(super) fn retain(&mut self, used: impl Fn(&str) -> bool) {
        self.open.retain(|path, _| used(path));
    }
}

/// How long it is not looked again whether a file has changed.
const GOOD_FOR: Duration = Duration::from_millis(100);
/// Likewise for the directory itself.
const GOOD_FOR_ROOT: Duration = Duration::from_secs(1);
/// Bounds of one generation.
const ENTRY_COUNT: usize = 1024;
const OPEN_FILE_COUNT: usize = 32;
const MEMORY_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::stored::look;
    use crate::sys::beneath::{self, Wait};
    use crate::sys::test_dir::TestDir;
    use std::fs;
    use std::os::fd::AsFd;

    fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    fn is_good(cache: &mut FileCache, key: &[u8], millis: u64) -> bool {
        matches!(cache.get(key, at(millis)), Known::Good(_))
    }

    #[test]
    fn an_entry_is_good_for_a_moment_and_then_looked_at_again() {
        let mut cache = FileCache::default();
        assert!(!is_good(&mut cache, b"a", 0));
        cache.put(b"a", &Looked::Directory, at(0));
        assert!(is_good(&mut cache, b"a", 99));
        assert!(!is_good(&mut cache, b"a", 100));
        cache.put(b"a", &Looked::Missing, at(100));
        assert!(!is_good(&mut cache, b"a", 100));
    }

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let mut cache = FileCache::default();
        cache.put(b"used", &Looked::Directory, at(0));
        for number in 0..10 * ENTRY_COUNT {
            cache.put(number.to_string().as_bytes(), &Looked::Directory, at(0));
            assert!(is_good(&mut cache, b"used", 0), "{number}");
            assert!(cache.young.entries.len() + cache.old.entries.len() <= 2 * ENTRY_COUNT);
        }
        assert!(!is_good(&mut cache, b"1", 0));
    }

    #[test]
    fn open_files_are_bounded() {
        let dir = TestDir::make();
        fs::write(dir.path().join("big"), vec![0; 100_000]).unwrap();
        let root = beneath::root(dir.path()).unwrap();
        let mut cache = FileCache::default();
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for number in 0..1000 {
            let looked = look(root.as_fd(), b"big", None, Wait::Disk).unwrap();
            cache.put(number.to_string().as_bytes(), &looked, at(0));
            assert!(cache.young.open_files <= OPEN_FILE_COUNT);
        }
        // Tests beside this one open files as well.
        assert!(open() < before + 500);
        cache.put(b"999", &Looked::Missing, at(0));
        assert!(cache.young.open_files < OPEN_FILE_COUNT);
    }

    #[test]
    fn another_directory_of_the_same_name_is_another_root() {
        let dir = TestDir::make();
        let path: Arc<str> = dir.path().join("site").to_str().unwrap().into();
        let mut roots = Roots::default();
        assert!(roots.of(&path, at(0)).is_err());
        fs::create_dir(&*path).unwrap();
        let first = roots.of(&path, at(0)).unwrap().number;
        assert_eq!(roots.of(&path, at(5000)).unwrap().number, first);
        fs::rename(&*path, dir.path().join("old")).unwrap();
        fs::create_dir(&*path).unwrap();
        assert_eq!(roots.of(&path, at(5500)).unwrap().number, first);
        assert_ne!(roots.of(&path, at(6000)).unwrap().number, first);
        roots.retain(|_| false);
        assert!(roots.open.is_empty());
    }
}
