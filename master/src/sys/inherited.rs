//! Descriptors that were open when this process started.

use super::checked;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Takes ownership of the descriptor `fd`, which whoever started this process left open for it and
/// which nothing else here knows of. From now on it is closed at exec. Each number is given out once.
///
/// # Errors
/// `EBADF` when it is not open, was taken before, or is a standard one.
pub fn take(fd: RawFd) -> io::Result<OwnedFd> {
    let bad = || io::Error::from_raw_os_error(libc::EBADF);
    if fd <= libc::STDERR_FILENO {
        return Err(bad());
    }
    // SAFETY: a number is asked about and marked; a descriptor that is not open is refused.
    checked(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    let is_first = TAKEN.lock().is_ok_and(|mut taken| taken.insert(fd));
    if !is_first {
        return Err(bad());
    }
    // SAFETY: it is open, was inherited by its number, and is adopted once: nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes these at exec from now on, as far as they are open, and leaves them to be taken.
pub fn close_at_exec(fds: impl Iterator<Item = RawFd>) {
    for fd in fds.filter(|fd| *fd > libc::STDERR_FILENO) {
        // SAFETY: as above; what is not open is not ours to close.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::os::fd::IntoRawFd;

    #[test]
    fn a_descriptor_is_taken_once_and_closed_at_exec() {
        let raw = nix::unistd::dup(std::io::stdin()).unwrap().into_raw_fd();
        let taken = take(raw).unwrap();
        let flags = fcntl(&taken, FcntlArg::F_GETFD).unwrap();
        assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
        assert!(take(raw).is_err());
        for fd in [-1, 0, 2, 1_000_000] {
            assert!(take(fd).is_err(), "{fd}");
        }
    }
}
