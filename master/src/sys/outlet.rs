//! A place to write to that never makes us wait, whoever else uses it.
//!
//! Standard output may be a pipe, a terminal, a file or a socket, and it is shared with the
//! processes that gave it to us: making it non-blocking would make it so for them too. So each
//! kind is written to in its own way.

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{dup2_stderr, dup2_stdout};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

/// Somebody's pipe, terminal, file or socket, written to without waiting.
#[derive(Debug)]
pub struct Outlet {
    file: File,
    way: Way,
    /// Where a regular file was when we were given it.
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// A regular file: a write waits for the disk at most, and nobody can be polled.
    File,
    /// Opened anew for ourselves, non-blocking.
    Own,
    /// A socket: each write says that it does not wait.
    Socket,
    /// A pipe or terminal that cannot be opened anew. When it is writable, a small piece fits.
    Shared,
}

impl Outlet {
    /// The place `fd` leads to. Its open file is not changed in any way.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let kind = file.metadata()?.file_type();
        if kind.is_socket() {
            return Ok(Self { file, way: Way::Socket, path: None });
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            return Ok(Self { file, way: Way::File, path: path.ok() });
        }
        let anew = OpenOptions::new()
            .write(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(match anew {
            Ok(own) => Self { file: own, way: Way::Own, path: None },
            Err(_) => Self { file, way: Way::Shared, path: None },
        })
    }

    /// This process's standard output.
    pub fn stdout() -> io::Result<Self> {
        Self::new(io::stdout().as_fd().try_clone_to_owned()?)
    }

    /// This process's standard error.
    pub fn stderr() -> io::Result<Self> {
        Self::new(io::stderr().as_fd().try_clone_to_owned()?)
    }

    /// Whether a poll can tell when it is writable. What cannot be polled never blocks either.
    pub fn is_pollable(&self) -> bool {
        self.way != Way::File
    }

    /// Opens a regular file anew at the path it had when we were given it, where another one may be
    /// by now, or none: it is made then, readable by the same. What follows is written at its end.
    /// Nothing happens to what is no regular file. True when there was something to do.
    ///
    /// # Errors
    /// It cannot be opened; the old one is written to as before.
    pub fn reopen(&mut self) -> io::Result<bool> {
        let Some(path) = &self.path else { return Ok(false) };
        let mode = self.file.metadata()?.permissions().mode() & 0o666;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
        let anew = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(mode)
            .custom_flags(flags.bits())
            .open(path)
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
        self.file = anew;
        Ok(true)
    }

    /// Makes this our standard output: what others write there goes the same way.
    pub fn become_stdout(&self) -> io::Result<()> {
        Ok(dup2_stdout(&self.file)?)
    }

    /// Makes this our standard error.
    pub fn become_stderr(&self) -> io::Result<()> {
        Ok(dup2_stderr(&self.file)?)
    }

    fn is_writable(&self) -> io::Result<bool> {
        let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        Ok(poll(&mut asked, PollTimeout::ZERO)? > 0)
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.way {
            Way::File | Way::Own => self.file.write(bytes),
            Way::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(self.file.as_raw_fd(), bytes, flags)?)
            }
            Way::Shared if self.is_writable()? => {
                self.file.write(&bytes[..bytes.len().min(PIECE_BYTES)])
            }
            Way::Shared => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A pipe that is writable has room for this much (POSIX's PIPE_BUF on this system).
const PIECE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd::pipe_cloexec;
    use crate::sys::test_dir::TestDir;
    use nix::fcntl::{FcntlArg, fcntl};
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// Writes until it would block; returns how much was taken.
    fn fill(outlet: &mut Outlet) -> usize {
        let mut taken = 0;
        loop {
            match outlet.write(&[b'x'; 10_000]) {
                Ok(count) => taken += count,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return taken;
                }
            }
        }
    }

    #[test]
    fn a_full_pipe_does_not_block_and_stays_blocking_for_others() {
        let (mut read, write) = pipe_cloexec().map(|(r, w)| (File::from(r), w)).unwrap();
        let mut outlet = Outlet::new(write.try_clone().unwrap()).unwrap();
        assert_eq!(outlet.way, Way::Own);
        let taken = fill(&mut outlet);
        let flags = OFlag::from_bits_retain(fcntl(&write, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK));
        read.read_exact(&mut vec![0; taken]).unwrap();
        assert!(outlet.write(b"more").is_ok());
    }

    #[test]
    fn a_pipe_that_cannot_be_opened_anew_does_not_block_either() {
        let (mut read, write) = pipe_cloexec().map(|(r, w)| (File::from(r), w)).unwrap();
        let mut outlet = Outlet { file: write.into(), way: Way::Shared, path: None };
        let taken = fill(&mut outlet);
        assert!(taken >= PIECE_BYTES);
        read.read_exact(&mut vec![0; taken]).unwrap();
        drop(read);
        assert_eq!(outlet.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_full_socket_does_not_block() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut outlet = Outlet::new(near.into()).unwrap();
        assert!(fill(&mut outlet) > 0);
        drop(far);
        let error = outlet.write(b"x").unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset));
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew_where_it_was() {
        let dir = TestDir::make();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut outlet = Outlet::new(File::create(&path).unwrap().into()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        outlet.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        outlet.write_all(b"two\n").unwrap();
        assert!(outlet.reopen().unwrap());
        outlet.write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        // One that somebody has made already is gone on with.
        assert!(outlet.reopen().unwrap());
        outlet.write_all(b"four\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three\nfour\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(outlet.reopen().unwrap_err().to_string().contains("log: "));
        outlet.write_all(b"five\n").unwrap();
        let (_near, far) = UnixStream::pair().unwrap();
        assert!(!Outlet::new(far.into()).unwrap().reopen().unwrap());
    }

    #[test]
    fn a_file_goes_on_where_it_was() {
        let dir = TestDir::make();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"first\n").unwrap();
        let mut outlet = Outlet::new(file.into()).unwrap();
        assert!(!outlet.is_pollable());
        outlet.write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first\nsecond\n");
    }
}
