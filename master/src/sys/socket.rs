//! Bytes from and to sockets, on the shortest way.
//!
//! The C library makes of each `recv` and `send` of a process with threads a point at which the thread may
//! be cancelled, which costs it some 80 instructions on either side. No thread here is ever cancelled.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Reads once from a socket into `into`. 0 is the end of the stream, or no room.
///
/// # Errors
/// As `recv(2)`; of a non-blocking socket that has nothing, [`io::ErrorKind::WouldBlock`].
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let (fd, room, count) = (socket.as_raw_fd(), into.as_mut_ptr(), into.len());
    // SAFETY: the kernel writes at most `count` bytes to `room`, which is ours for that long; where it
    // came from is not asked for.
    let result = unsafe { raw_receive(fd, room, count) };
    counted(result)
}

/// Writes once to a socket. A peer that has left is an error, and never a signal.
///
/// # Errors
/// As `send(2)`; of a non-blocking socket that takes nothing, [`io::ErrorKind::WouldBlock`].
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let (fd, from, count) = (socket.as_raw_fd(), bytes.as_ptr(), bytes.len());
    // SAFETY: the kernel reads at most `count` bytes at `from`, which are ours for that long; the socket
    // is connected, so no address goes with them.
    let result = unsafe { raw_send(fd, from, count) };
    counted(result)
}

/// A connected socket, read and written on the shortest way.
pub struct Direct<'s, S>(pub &'s S);

impl<S: AsFd> Read for Direct<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        receive(self.0.as_fd(), into)
    }
}

impl<S: AsFd> Write for Direct<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send(self.0.as_fd(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn raw_receive(fd: libc::c_int, room: *mut u8, count: usize) -> isize {
    let (flags, nobody) = (0 as libc::c_int, std::ptr::null_mut::<libc::c_void>());
    // SAFETY: as the caller says; these are the arguments of recvfrom(2).
    unsafe { libc::syscall(libc::SYS_recvfrom, fd, room, count, flags, nobody, nobody) as isize }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn raw_send(fd: libc::c_int, from: *const u8, count: usize) -> isize {
    let (flags, nobody) = (libc::MSG_NOSIGNAL, std::ptr::null::<libc::c_void>());
    // SAFETY: as the caller says; these are the arguments of sendto(2).
    unsafe { libc::syscall(libc::SYS_sendto, fd, from, count, flags, nobody, 0_usize) as isize }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn raw_receive(fd: libc::c_int, room: *mut u8, count: usize) -> isize {
    // SAFETY: as the caller says.
    unsafe { libc::recv(fd, room.cast(), count, 0) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn raw_send(fd: libc::c_int, from: *const u8, count: usize) -> isize {
    // SAFETY: as the caller says.
    unsafe { libc::send(fd, from.cast(), count, libc::MSG_NOSIGNAL) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_pass_and_the_end_comes_last() {
        let (near, far) = UnixStream::pair().unwrap();
        assert_eq!(Direct(&near).write(b"hello").unwrap(), 5);
        let mut room = [0; 3];
        assert_eq!(Direct(&far).read(&mut room).unwrap(), 3);
        assert_eq!(&room, b"hel");
        drop(near);
        assert_eq!((Direct(&far).read(&mut room).unwrap(), &room[..2]), (2, &b"lo"[..]));
        assert_eq!(Direct(&far).read(&mut room).unwrap(), 0);
    }

    #[test]
    fn what_would_block_does_not_and_who_left_is_an_error() {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let error = receive(near.as_fd(), &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let full = std::iter::repeat_with(|| send(near.as_fd(), &[0; 65_536]));
        let error = full.take(10_000).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(far);
        assert_eq!(send(near.as_fd(), b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
