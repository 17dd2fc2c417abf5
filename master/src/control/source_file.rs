//! The Edgefile as something that changes: which version of it was read last, and where to look for
//! another one.

use crate::sys::places::places;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An Edgefile that is watched.
pub struct SourceFile {
    path: PathBuf,
    /// What tells the version that was read last from others; `None` where there was none.
    stamp: Option<Stamp>,
    /// What was looked at for it.
    places: Vec<PathBuf>,
}

/// Device, inode, size, and the time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl SourceFile {
    /// The file at `path`, absolute, as it is now.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: stamp(path), places: places(path) }
    }

    /// Where it is, as the operator has it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories in which a change can make it another file: its own, and that of each
    /// symbolic link on the way to it.
    pub fn places(&self) -> &[PathBuf] {
        &self.places
    }

    /// Whether the way to it leads through other directories than before.
    pub fn has_moved(&mut self) -> bool {
        let places = places(&self.path);
        let moved = places != self.places;
        self.places = places;
        moved
    }

    /// It is about to be read: what it is now is no change any more.
    pub fn note(&mut self) {
        self.stamp = stamp(&self.path);
    }

    /// Whether it is there and another one than was noted last. That is noted.
    pub fn has_changed(&mut self) -> bool {
        let Some(stamp) = stamp(&self.path) else { return false };
        self.stamp.replace(stamp) != Some(stamp)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::fs;

    #[test]
    fn only_another_file_is_a_change() {
        let dir = TestDir::make();
        let path = dir.path().join("Edgefile");
        fs::write(&path, "version 1").unwrap();
        let mut file = SourceFile::new(&path);
        assert!(!file.has_changed());
        fs::write(&path, "version 1 // longer").unwrap();
        assert!(file.has_changed() && !file.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed(), "there is nothing to be read");
        fs::write(&path, "again").unwrap();
        file.note();
        assert!(!file.has_changed(), "it was read");
        fs::write(dir.path().join("other"), "again").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert!(file.has_changed());
        assert!(!file.has_moved());
    }
}
