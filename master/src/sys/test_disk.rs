//! What a thread writes to files and syncs, counted; and a disk that fails, or a process that dies, at a
//! write of a test's choice.
//!
//! The functions below stand in for those of the C library in the test program, also for SQLite.
//! Descriptors 0 to 2 are left alone, and so is every thread that asked for nothing.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// What happens to a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disk {
    /// Nothing is left: `ENOSPC`.
    Full,
    /// It fails: `EIO`.
    Failing,
    /// Half of it is written, then the process is killed.
    Torn,
}

thread_local! {
    static SYNCS: Cell<u64> = const { Cell::new(0) };
    static WRITES: Cell<u64> = const { Cell::new(0) };
    static PLAN: Cell<Option<(Disk, u64)>> = const { Cell::new(None) };
}

/// How often this thread has synced a file.
pub fn sync_count() -> u64 {
    SYNCS.get()
}

/// From now on `what` happens to the write or sync numbered `at`, from 1, and with a full or failing disk
/// to all that follow. `None`: to none any more. How many there were is returned.
pub fn plan(what: Option<(Disk, u64)>) -> u64 {
    PLAN.set(what);
    WRITES.replace(0)
}

/// What the next write or sync comes to.
fn next() -> Option<Disk> {
    let (what, at) = PLAN.get()?;
    let count = WRITES.get() + 1;
    WRITES.set(count);
    let is_hit = if what == Disk::Torn { count == at } else { count >= at };
    is_hit.then_some(what)
}

fn fail(what: Disk) {
    let errno = if what == Disk::Full { libc::ENOSPC } else { libc::EIO };
    nix::errno::Errno::from_raw(errno).set();
}

/// `write(2)`.
///
/// # Safety
/// As that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    let what = if fd > 2 { next() } else { None };
    let count = match what {
        Some(Disk::Torn) => count / 2,
        Some(what) => {
            fail(what);
            return -1;
        }
        None => count,
    };
    // SAFETY: the caller's own promise, for as many bytes at most.
    let written = unsafe { libc::syscall(libc::SYS_write, fd, bytes, count) };
    if what == Some(Disk::Torn) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
    }
    written as isize
}

/// `pwrite(2)`.
///
/// # Safety
/// As that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: usize,
    offset: i64,
) -> isize {
    let what = next();
    let count = match what {
        Some(Disk::Torn) => count / 2,
        Some(what) => {
            fail(what);
            return -1;
        }
        None => count,
    };
    // SAFETY: the caller's own promise, for as many bytes at most.
    let written = unsafe { libc::syscall(libc::SYS_pwrite64, fd, bytes, count, offset) };
    if what == Some(Disk::Torn) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
    }
    written as isize
}

/// `fsync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

/// `fdatasync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

fn sync(fd: c_int, call: libc::c_long) -> c_int {
    SYNCS.set(SYNCS.get() + 1);
    match next() {
        Some(Disk::Torn) => {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
            0
        }
        Some(what) => {
            fail(what);
            -1
        }
        // SAFETY: a descriptor, and a number of a call that takes nothing else.
        None => unsafe { libc::syscall(call, fd) as c_int },
    }
}
