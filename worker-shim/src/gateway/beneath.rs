//! Files beneath a directory, and nothing else: the kernel opens them with the directory as its world
//! (`openat2(2)`, `RESOLVE_BENEATH`). Where it does not know that call, or a sandbox forbids it, every
//! name is opened by itself, and no link is followed.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{FileStat, Mode, fstat};
use rip::wire::cgi::There;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A directory whose files are looked at.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
}

impl Beneath {
    /// What is beneath `root`. The path is the operator's: links in it are followed.
    pub(super) fn new(root: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { root: open(root, flags, Mode::empty())? })
    }

    /// What is at a path; the empty one is the root.
    pub(super) fn look(&self, path: &[u8]) -> There {
        let found = self.open(path, OFlag::O_PATH).and_then(fstat);
        match found.map(|stat| kind(&stat)) {
            Ok(libc::S_IFDIR) => There::Directory,
            Ok(libc::S_IFREG) => There::File,
            _ => There::Absent,
        }
    }

    /// A regular file, for reading, and what the kernel says of it.
    pub(super) fn file(&self, path: &[u8]) -> Option<(File, FileStat)> {
        // A pipe does not wait for its writer, nor a terminal become ours.
        let reading = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = self.open(path, reading).ok()?;
        let stat = fstat(&file).ok()?;
        (kind(&stat) == libc::S_IFREG).then(|| (file.into(), stat))
    }

    /// The path below the root that `path` leads to, links followed; it itself where there is none on
    /// the way. `None` when that cannot be told.
    pub(super) fn resolved(&self, path: &[u8]) -> Option<Vec<u8>> {
        let no_link = ResolveFlag::RESOLVE_NO_SYMLINKS;
        match self.open_with(path, OFlag::O_PATH, no_link) {
            Ok(_) => return Some(path.to_vec()),
            Err(Errno::ELOOP) => {}
            Err(_) => return None,
        }
        let file = path_of(&self.open(path, OFlag::O_PATH).ok()?)?;
        // Where it lies now: it may have been renamed.
        let below = file.strip_prefix(path_of(&self.root)?).ok()?;
        Some(below.as_os_str().as_bytes().to_vec())
    }

    fn open(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        self.open_with(path, flags, ResolveFlag::empty())
    }

    fn open_with(&self, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, Errno> {
        let name = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        let flags = flags | OFlag::O_CLOEXEC;
        let resolve = resolve | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        for _ in 0..TRY_COUNT {
            match openat2(&self.root, name, OpenHow::new().flags(flags).resolve(resolve)) {
                // Somebody renames directories on the way.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(Errno::ENOSYS | Errno::EPERM) => return self.walk(path, flags),
                opened => return opened,
            }
        }
        Err(Errno::EAGAIN)
    }

    fn walk(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return openat(&self.root, ".", flags, Mode::empty());
        }
        let mut names = path.split(|byte| *byte == b'/').peekable();
        let mut at: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            if matches!(name, b"" | b"." | b"..") {
                return Err(Errno::EXDEV);
            }
            let flags = match names.peek() {
                Some(_) => OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
                None => flags,
            };
            let dir = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            let name = OsStr::from_bytes(name);
            at = Some(openat(dir, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?);
        }
        at.ok_or(Errno::ENOENT)
    }
}

/// Where the kernel says that a descriptor leads.
fn path_of(fd: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}

fn kind(stat: &FileStat) -> libc::mode_t {
    stat.st_mode & libc::S_IFMT
}

/// How often a path is followed through directories that are being renamed.
const TRY_COUNT: usize = 64;
