//! Files beneath a directory, and nothing else.
//!
//! What a client asks for is opened by the kernel with the directory as its world
//! (`openat2(2)`, `RESOLVE_BENEATH`): no `..`, no link and no race between a check and its use can
//! lead out of it, and absolute links are refused. Where the kernel, or a sandbox around us, does
//! not know that call, the path is walked one name at a time and no link is followed at all.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Who opens, and so what opening may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// An event loop: what is not in memory is [`io::ErrorKind::WouldBlock`].
    Never,
    /// A thread that may wait for a disk.
    Disk,
}

/// What the kernel says of an open file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// In bytes.
    pub size: u64,
    /// When its content changed: seconds since the epoch and nanoseconds.
    pub modified: (i64, u32),
    /// When anything about it changed, likewise.
    pub changed: (i64, u32),
    /// Device and inode.
    pub inode: (u64, u64),
}

/// What an open file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, where links are not followed.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

impl Facts {
    /// Size and time are the same: what a name was given or taken since does not matter.
    pub fn is_same_content(&self, other: &Self) -> bool {
        (self.size, self.modified, self.inode) == (other.size, other.modified, other.inode)
    }
}

impl From<FileStat> for Facts {
    fn from(stat: FileStat) -> Self {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFREG => Kind::File,
            libc::S_IFLNK => Kind::Link,
            _ => Kind::Other,
        };
        let moment = |secs, nanos| (secs, u32::try_from(nanos).unwrap_or_default());
        Self {
            kind,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: moment(stat.st_mtime, stat.st_mtime_nsec),
            changed: moment(stat.st_ctime, stat.st_ctime_nsec),
            inode: (stat.st_dev, stat.st_ino),
        }
    }
}

/// What the kernel says of an open file now.
pub fn facts(file: impl AsFd) -> io::Result<Facts> {
    Ok(fstat(file)?.into())
}

/// What it says of `name` in the open directory `dir`; links are not followed.
pub fn facts_of(dir: impl AsFd, name: &CStr) -> io::Result<Facts> {
    Ok(fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.into())
}

/// Opens the directory that files are to be found beneath. The path is the operator's: links in it
/// are followed.
pub fn root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// Opens what `path` names beneath `root`, for reading: a file or a directory, or, without waiting
/// for its other end, a pipe. An empty path is the root itself.
///
/// # Errors
/// Those of the system. [`io::ErrorKind::WouldBlock`] with [`Wait::Never`] where a disk must be
/// asked, and with [`Wait::Disk`] where directories were renamed faster than the path could be
/// followed.
pub fn open_beneath(root: BorrowedFd<'_>, path: &[u8], wait: Wait) -> io::Result<OwnedFd> {
    let name = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if IS_LACKING.load(Ordering::Relaxed) {
        return match wait {
            Wait::Never => Err(io::ErrorKind::WouldBlock.into()),
            Wait::Disk => walk(root, path),
        };
    }
    let mut tries = 0;
    loop {
        let resolve = match wait {
            Wait::Never => resolve | ResolveFlag::from_bits_retain(RESOLVE_CACHED),
            Wait::Disk => resolve,
        };
        let how = OpenHow::new().flags(READING).resolve(resolve);
        match openat2(root, OsStr::from_bytes(name), how) {
            Ok(file) => return Ok(file),
            Err(Errno::EINTR) => {}
            // Somebody renames directories while we go up: it is tried again where one may wait.
            Err(Errno::EAGAIN) if wait == Wait::Disk && tries < TRY_COUNT => tries += 1,
            // A kernel that does not know how to look into its memory alone.
            Err(Errno::EINVAL) if wait == Wait::Never => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(Errno::ENOSYS) => {
                IS_LACKING.store(true, Ordering::Relaxed);
                return open_beneath(root, path, wait);
            }
            // A sandbox refuses what it does not know, and a file may be refused as well: the walk
            // finds out which.
            Err(Errno::EPERM) if wait == Wait::Never => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(Errno::EPERM) => return walk(root, path),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The same without `openat2`: every name by itself, and none of them a link.
fn walk(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return Ok(openat(root, ".", READING, Mode::empty())?);
    }
    let mut names = path.split(|byte| *byte == b'/').peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::EXDEV.into());
        }
        let flags = match names.peek() {
            Some(_) => OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            None => READING,
        };
        let dir = at.as_ref().map_or(root, AsFd::as_fd);
        at = Some(openat(dir, OsStr::from_bytes(name), flags | OFlag::O_NOFOLLOW, Mode::empty())?);
    }
    at.ok_or_else(|| Errno::ENOENT.into())
}

/// Reads from `offset` on until `into` is full or the file ends, as much as `wait` allows without a
/// disk. Returns how many bytes were read.
///
/// # Errors
/// Those of the system; [`io::ErrorKind::WouldBlock`] with [`Wait::Never`] when something of it is
/// not in memory.
pub fn read_at(file: &File, into: &mut [u8], offset: u64, wait: Wait) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..)
        && !rest.is_empty()
    {
        let from = offset.saturating_add(filled as u64);
        let read = match wait {
            Wait::Never => read_cached(file, rest, from),
            Wait::Disk => file.read_at(rest, from),
        };
        match read {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A file system that cannot tell what is in memory is one that is all in memory, or
            // one for which there is nothing better.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                filled += file.read_at(rest, from)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// `preadv2(2)` with `RWF_NOWAIT`.
fn read_cached(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let piece = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: one vector of writable memory that outlives the call, and an open descriptor.
    let count =
        unsafe { libc::preadv2(file.as_raw_fd(), &raw const piece, 1, offset, libc::RWF_NOWAIT) };
    usize::try_from(super::checked(count)?).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Sends up to `count` bytes of `file` from `offset` on, which is moved behind them; returns how
/// many. 0 when the file ends there.
pub fn send_file(to: impl AsFd, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    let mut at = i64::try_from(*offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: open descriptors, and a number that outlives the call.
    let sent =
        unsafe { libc::sendfile(to.as_fd().as_raw_fd(), file.as_raw_fd(), &raw mut at, count) };
    let sent = usize::try_from(super::checked(sent)?).map_err(|_| io::ErrorKind::InvalidData)?;
    *offset = offset.saturating_add(sent as u64);
    Ok(sent)
}

/// The names in an open directory, in the order of the file system, without `.` and `..`.
pub struct Names {
    stream: *mut libc::DIR,
}

impl Names {
    /// Those of `dir`, from its first.
    pub fn of(dir: OwnedFd) -> io::Result<Self> {
        use std::os::fd::{AsRawFd, IntoRawFd};
        // SAFETY: an open descriptor; it belongs to the stream when there is one, else to us.
        let stream = unsafe { libc::fdopendir(dir.as_raw_fd()) };
        if stream.is_null() {
            return Err(io::Error::last_os_error());
        }
        let _ = dir.into_raw_fd();
        Ok(Self { stream })
    }

    /// The directory itself.
    pub fn dir(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream is open as long as `self` is, and so is its descriptor.
        unsafe { BorrowedFd::borrow_raw(libc::dirfd(self.stream)) }
    }
}

impl Iterator for Names {
    type Item = io::Result<CString>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            Errno::clear();
            // SAFETY: an open stream that nobody else reads.
            let entry = unsafe { libc::readdir64(self.stream) };
            if entry.is_null() {
                return match Errno::last_raw() {
                    0 => None,
                    errno => Some(Err(io::Error::from_raw_os_error(errno))),
                };
            }
            // SAFETY: an entry's name ends with a NUL, and the entry is valid until the next call.
            let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) };
            if !matches!(name.to_bytes(), b"." | b"..") {
                return Some(Ok(name.to_owned()));
            }
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: it was opened, and is closed once.
        unsafe { libc::closedir(self.stream) };
    }
}

/// A pipe does not wait for its writer, nor a terminal become ours.
const READING: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);
/// `linux/openat2.h`, since Linux 5.12.
const RESOLVE_CACHED: u64 = 0x20;
/// How often a path is followed through directories that are being renamed.
const TRY_COUNT: usize = 64;
/// There is no `openat2`.
static IS_LACKING: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
#[path = "beneath_tests.rs"]
mod tests;
