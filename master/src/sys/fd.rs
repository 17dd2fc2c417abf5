//! Descriptors, each closed at exec from its birth.

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

/// A pipe: (read end, write end), both blocking.
pub fn pipe_cloexec() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// A file in memory that holds `bytes`, can no longer be changed and is read from its beginning.
/// `name` only shows in /proc.
pub fn memfd(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(name, flags)?);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Reads and writes on `fd` no longer wait, nor on any other descriptor of the same open file.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// The program this process runs. Opened at start and executed through the descriptor, it stays
/// the same program when the file on disk is replaced.
pub fn own_executable() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/self/exe")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::FdFlag;
    use std::io::Read;

    fn closes_at_exec(fd: impl AsFd) -> bool {
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC)
    }

    #[test]
    fn everything_is_closed_at_exec() {
        let (read, write) = pipe_cloexec().unwrap();
        let memory = memfd(c"spec", b"{}").unwrap();
        let program = own_executable().unwrap();
        assert!([&read, &write, &memory, &program].into_iter().all(closes_at_exec));
    }

    #[test]
    fn a_memory_file_is_read_from_its_beginning_and_cannot_be_changed() {
        let mut file = File::from(memfd(c"spec", b"{\"app\":1}").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"app\":1}");
        assert!(file.write(b"x").is_err());
    }

    #[test]
    fn a_nonblocking_pipe_says_so() {
        let (read, _write) = pipe_cloexec().unwrap();
        set_nonblocking(&read).unwrap();
        let error = File::from(read).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
