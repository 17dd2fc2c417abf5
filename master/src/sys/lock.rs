//! One master per name: a pid file that is locked while its master lives.
//!
//! The lock is the truth and ends with the process however it ends; the number in the file only
//! says whose it is.

use super::checked;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pid file that is ours. Dropping it removes the file, if it still is.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    path: PathBuf,
}

impl PidFile {
    /// Makes `path` ours and writes our pid into it. A file that a dead master left is taken over.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut attempts = 0;
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(path)?;
            if !try_lock(&file)? {
                attempts += 1;
                // Somebody who only asks for the holder has the lock for a moment.
                if attempts < ATTEMPT_COUNT {
                    std::thread::sleep(ATTEMPT_PAUSE);
                    continue;
                }
                return Err(LockError::Held { pid: read_pid(&mut file) });
            }
            // Its last owner may have removed it between our opening and our locking.
            if !is_at(&file, path) {
                continue;
            }
            file.set_len(0)?;
            file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
            return Ok(Self { file, path: path.to_owned() });
        }
    }

    /// The file at `path`, which another process has made its own and handed to us with its lock. It
    /// goes on naming that one until [`Self::claim`].
    ///
    /// # Errors
    /// The path leads elsewhere by now.
    pub fn handed_on(file: File, path: &Path) -> io::Result<Self> {
        if !is_at(&file, path) {
            let moved = format!("{} is another file by now", path.display());
            return Err(io::Error::other(moved));
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes our pid into the file. Whoever reads it meanwhile finds the one before or ours.
    ///
    /// # Errors
    /// It cannot be written, and is not ours.
    pub fn claim(&self) -> io::Result<()> {
        let mut text = format!("{}\n", std::process::id()).into_bytes();
        let length = text.len();
        let before = usize::try_from(self.file.metadata()?.len()).unwrap_or_default();
        text.resize(length.max(before.min(LONGEST)), b'\n');
        self.file.write_all_at(&text, 0)?;
        // It is ours from here on; what may stay behind is empty lines, which nobody minds.
        let _shorter = self.file.set_len(length as u64);
        Ok(())
    }

    /// The locked file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether the path still leads to our file, and the file still names us.
    pub fn is_ours(&self) -> bool {
        let mut text = [0; LONGEST];
        let count = self.file.read_at(&mut text, 0).unwrap_or(0);
        let pid =
            std::str::from_utf8(&text[..count]).ok().and_then(|text| text.trim().parse().ok());
        pid == Some(std::process::id()) && is_at(&self.file, &self.path)
    }

    /// The pid in the file at `path`, if a living process holds it.
    pub fn holder(path: &Path) -> io::Result<Option<u32>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let free = try_lock(&file)?;
        Ok(if free { None } else { read_pid(&mut file) })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Why a pid file is not ours.
#[derive(Debug)]
pub enum LockError {
    /// A living master holds it.
    Held {
        /// Which, unless it has not written it yet.
        pid: Option<u32>,
    },
    /// It cannot be opened, locked or written.
    Io(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { pid: Some(pid) } => write!(out, "held by pid {pid}"),
            Self::Held { pid: None } => out.write_str("held by another process"),
            Self::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for LockError {}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// False when another process holds the lock. The lock ends when the file is closed.
fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        // SAFETY: a descriptor we own and two flags.
        let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        return match checked(locked) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// Whether `path` still leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// No pid and its newline is longer.
const LONGEST: usize = 32;
const ATTEMPT_COUNT: u32 = 10;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let dir = TestDir::make();
        let path = dir.path().join("master.pid");
        let first = PidFile::acquire(&path).unwrap();
        let own = Some(std::process::id());
        let error = PidFile::acquire(&path).unwrap_err();
        assert!(matches!(error, LockError::Held { pid } if pid == own));
        assert_eq!(PidFile::holder(&path).unwrap(), own);
        drop(first);
        assert!(!path.exists());
        assert_eq!(PidFile::holder(&path).unwrap(), None);
    }

    #[test]
    fn what_a_dead_master_left_is_taken_over() {
        let dir = TestDir::make();
        let path = dir.path().join("master.pid");
        fs::write(&path, "4000000000000\nand more").unwrap();
        assert_eq!(PidFile::holder(&path).unwrap(), None);
        let _lock = PidFile::acquire(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_that_is_no_longer_ours_is_left_alone() {
        let dir = TestDir::make();
        let path = dir.path().join("master.pid");
        let replaced = PidFile::acquire(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = PidFile::acquire(&path).unwrap();
        drop(replaced);
        assert!(path.exists());
        fs::write(&path, "1\n").unwrap();
        drop(successor);
        assert!(path.exists());
    }

    #[test]
    fn a_lock_is_handed_on_with_its_file_and_ends_with_the_last_who_has_it() {
        let dir = TestDir::make();
        let path = dir.path().join("master.pid");
        let first = PidFile::acquire(&path).unwrap();
        first.file.write_all_at(b"1234567890\n", 0).unwrap();
        let second = PidFile::handed_on(first.file().try_clone().unwrap(), &path).unwrap();
        assert!(!second.is_ours(), "it names the other one");
        second.claim().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        first.file.write_all_at(b"1234567890\n", 0).unwrap();
        drop(first);
        assert!(path.exists() && PidFile::holder(&path).unwrap().is_some());
        second.claim().unwrap();
        drop(second);
        assert!(!path.exists());
        let other = File::open("/dev/null").unwrap();
        assert!(PidFile::handed_on(other, &path).is_err());
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = TestDir::make();
        let path = dir.path().join("master.pid");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(PidFile::acquire(&path), Err(LockError::Io(_))));
        assert!(!dir.path().join("elsewhere").exists());
    }
}
