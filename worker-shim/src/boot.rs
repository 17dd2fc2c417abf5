//! The system calls of a worker's boot that Rust cannot vouch for: descriptors inherited by
//! number, signal dispositions, capabilities, and fork followed by exec. Every `unsafe` of the crate is here.

use crate::bounds::Bound;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::setrlimit;
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Takes ownership of a descriptor that was open when the process started. Each number is given
/// out once; from then on it is closed on exec.
///
/// # Errors
/// `EBADF` when it is not open, was taken before, or lies outside 3..64.
pub(crate) fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let bad = || io::Error::from_raw_os_error(libc::EBADF);
    if !(3..64).contains(&fd) {
        return Err(bad());
    }
    // SAFETY: only asks whether the number is open; the borrow ends with the call.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    let bit = 1 << fd;
    if !open || TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(bad());
    }
    // SAFETY: the descriptor is open, was inherited by number, and the mask above lets it be
    // adopted once only: nothing else in the process owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

/// Puts every signal back to its default, except that a broken pipe stays an error of the write.
/// A parent's ignored signals survive exec; an ignored SIGCHLD would hide the app's exit.
pub(crate) fn reset_signals() {
    default_dispositions(Some(libc::SIGPIPE));
}

/// A right of the superuser's (capabilities(7)), by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Capability {
    Chown = 0,
    Kill = 5,
    SetGid = 6,
    SetUid = 7,
}

/// `_LINUX_CAPABILITY_VERSION_3`, for the calling thread: version and pid.
const CAPABILITIES: [u32; 2] = [0x2008_0522, 0];

/// Whether this process may make use of all these.
pub(crate) fn has_capabilities(needed: &[Capability]) -> bool {
    // Effective, permitted, inheritable: numbers up to 31, then the same for those above.
    let mut sets = [0_u32; 6];
    let mut header = CAPABILITIES;
    // SAFETY: version 3 reads and writes the header's two words and writes six words of sets, which
    // both live in this frame.
    let asked = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    asked == 0 && needed.iter().all(|needed| sets[0] & (1 << *needed as u32) != 0)
}

/// Gives up every capability, also those that a program started later would have been left.
///
/// # Errors
/// None that is known: giving up is always allowed.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    let none = [0_u32; 6];
    let mut header = CAPABILITIES;
    // SAFETY: version 3 reads the header's two words, may correct the first, and reads six words of
    // sets; both live in this frame.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), none.as_ptr()) };
    Errno::result(set).map(drop)
}

/// Gives back the pages of program text and constants that were needed so far: whatever only a start needs
/// is not counted as this process's memory any more. What is needed again comes back from the page
/// cache by a fault each, so call it when a start is over. Breakpoints and probes that were put into the text
/// before go with it.
pub fn release_text() {
    unsafe extern "C" fn release(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        _data: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader hands out a description that is whole for as long as this function runs.
        let (info, name) = unsafe { (&*info, (*info).dlpi_name) };
        // SAFETY: a name is null or a string of the loader's.
        let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) });
        // The program itself has no name. Text of others may have been patched while they were loaded.
        if name.is_some_and(|name| !name.is_empty()) {
            return 0;
        }
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        // SAFETY: so many of them stand there.
        let segments =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let is_constant =
            |flags: u32| flags & libc::PF_W == 0 && flags & (libc::PF_R | libc::PF_X) != 0;
        for segment in segments {
            if segment.p_type == libc::PT_LOAD && is_constant(segment.p_flags) {
                let begin = info.dlpi_addr as usize + segment.p_vaddr as usize;
                let page = begin & !(PAGE_BYTES - 1);
                let length = begin - page + segment.p_memsz as usize;
                // SAFETY: the mapping is one of a file and was never writable, so each of its pages is
                // what the file says, before and after. The loader neither adds nor removes mappings
                // while it calls us.
                unsafe { libc::madvise(page as *mut libc::c_void, length, libc::MADV_DONTNEED) };
            }
        }
        0
    }
    // SAFETY: the function has the type that is asked for, and needs no data.
    unsafe { libc::dl_iterate_phdr(Some(release), std::ptr::null_mut()) };
}

/// A page has this many bytes or a multiple of it: segments begin at such a one.
const PAGE_BYTES: usize = 4096;

/// What to exec, and what the new process shall inherit.
pub(crate) struct Spawn<'a> {
    /// The program's file.
    pub path: CString,
    /// Its arguments, the name first.
    pub argv: Vec<CString>,
    /// Its environment, `NAME=value`, without `LISTEN_PID`.
    pub env: Vec<CString>,
    /// Its working directory.
    pub cwd: CString,
    /// Descriptors beyond 0, 1 and 2, and the numbers they get.
    pub fds: Vec<(RawFd, BorrowedFd<'a>)>,
    /// What it may use at most.
    pub bounds: &'a [Bound],
    /// Whether `LISTEN_PID` is set to the new process's own pid.
    pub listen_pid: bool,
}

/// The step between fork and exec that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SpawnStep {
    Fork,
    Descriptors,
    Directory,
    Bounds,
    Exec,
}

/// A process that could not be started.
pub(crate) type SpawnError = (SpawnStep, Errno);

impl Spawn<'_> {
    /// Starts the process: own signal defaults and an empty mask, killed when the calling thread
    /// ends. Returns when the exec has happened, or says what failed. Call it from the main thread
    /// while there is no other.
    pub(crate) fn start(&self) -> Result<Pid, SpawnError> {
        let fork = |errno| (SpawnStep::Fork, errno);
        let (trouble, report_low) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(fork)?;
        // Sources are lifted above every target, so that no dup2 overwrites one that is still needed.
        let lift = |fd: BorrowedFd<'_>| {
            let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(LIFTED)).map_err(fork)?;
            // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor that nobody else owns.
            Ok(unsafe { OwnedFd::from_raw_fd(raw) })
        };
        let lifted: Vec<(RawFd, OwnedFd)> = self
            .fds
            .iter()
            .map(|(target, source)| Ok((*target, lift(*source)?)))
            .collect::<Result<_, SpawnError>>()?;
        let report = lift(report_low.as_fd())?;
        drop(report_low);
        let mut listen_pid = LISTEN_PID.to_vec();
        let argv = pointers(&self.argv, None);
        let env = pointers(&self.env, self.listen_pid.then_some(listen_pid.as_mut_ptr()));
        let parent = std::process::id();

        // SAFETY: the process has one thread; the child calls only async-signal-safe functions on
        // memory prepared above and ends in exec or _exit.
        let child = unsafe { libc::fork() };
        match child {
            -1 => return Err(fork(Errno::last())),
            0 => {
                let (step, errno) =
                    self.become_app(&lifted, &argv, &env, listen_pid.as_mut_ptr(), parent);
                let mut bytes = [step as u8; 5];
                bytes[1..].copy_from_slice(&errno.to_ne_bytes());
                // SAFETY: write and _exit are async-signal-safe; the buffer is on this stack.
                unsafe {
                    libc::write(report.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
                    libc::_exit(127)
                }
            }
            _ => drop(report),
        }
        let child = Pid::from_raw(child);
        let mut bytes = [0; 5];
        match io::Read::read_exact(&mut std::fs::File::from(trouble), &mut bytes) {
            Err(_) => Ok(child),
            Ok(()) => {
                let _ = nix::sys::wait::waitpid(child, None);
                let step = match bytes[0] {
                    1 => SpawnStep::Descriptors,
                    2 => SpawnStep::Directory,
                    3 => SpawnStep::Bounds,
                    4 => SpawnStep::Exec,
                    _ => SpawnStep::Fork,
                };
                let errno = i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
                Err((step, Errno::from_raw(errno)))
            }
        }
    }

    /// The child's side of [`Self::start`]: returns only the step that failed and its errno.
    fn become_app(
        &self,
        lifted: &[(RawFd, OwnedFd)],
        argv: &[*const libc::c_char],
        env: &[*const libc::c_char],
        listen_pid: *mut u8,
        parent: u32,
    ) -> (SpawnStep, i32) {
        default_dispositions(None);
        // SAFETY: plain system calls on descriptors that stay open in `lifted` and on
        // nul-terminated memory owned by the parent's frames, all copied by fork; `listen_pid` has
        // room for every pid and its NUL, and no other thread exists that could look at it.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if u32::try_from(libc::getppid()) != Ok(parent) {
                libc::_exit(127);
            }
            for (target, source) in lifted {
                if libc::dup2(source.as_raw_fd(), *target) < 0 {
                    return (SpawnStep::Descriptors, Errno::last_raw());
                }
            }
            if libc::chdir(self.cwd.as_ptr()) < 0 {
                return (SpawnStep::Directory, Errno::last_raw());
            }
            // What was not given away stays here, also what the shim itself was left by mistake.
            libc::close_range(UNGIVEN, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int);
            // A system call each, and nothing else.
            for (resource, value) in self.bounds {
                if let Err(errno) = setrlimit(*resource, *value, *value) {
                    return (SpawnStep::Bounds, errno as i32);
                }
            }
            write_pid(listen_pid.add(LISTEN_PID_DIGITS), libc::getpid());
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            libc::execve(self.path.as_ptr(), argv.as_ptr(), env.as_ptr());
        }
        (SpawnStep::Exec, Errno::last_raw())
    }
}

/// Lifted descriptors begin here: above every number an app is given.
const LIFTED: RawFd = 16;
/// Descriptors from here on are never an app's.
const UNGIVEN: libc::c_uint = 6;
/// Room for a pid of any length and its NUL.
const LISTEN_PID: &[u8; 23] = b"LISTEN_PID=00000000000\0";
/// Where its digits begin.
const LISTEN_PID_DIGITS: usize = 11;

/// Every signal to its default but `spared`. Async-signal-safe.
fn default_dispositions(spared: Option<libc::c_int>) {
    for signal in (1..=64).filter(|signal| Some(*signal) != spared) {
        // SAFETY: sets SIG_DFL only, which runs no code of ours; numbers that cannot be set (KILL,
        // STOP, those of the C library) are refused by the kernel without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The pointers exec wants, ending in null; `last` is one more entry before it.
fn pointers(strings: &[CString], last: Option<*mut u8>) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| CStr::as_ptr(string))
        .chain(last.map(|entry| entry.cast_const().cast()))
        .chain([std::ptr::null()])
        .collect()
}

/// Writes a pid in decimal, then NUL.
///
/// # Safety
/// `out` must have room for eleven digits and the NUL.
unsafe fn write_pid(out: *mut u8, pid: libc::pid_t) {
    let mut digits = [0_u8; 11];
    let mut rest = pid.unsigned_abs();
    let mut length = 0;
    loop {
        digits[length] = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    for (index, digit) in digits[..length].iter().rev().enumerate() {
        // SAFETY: at most ten digits, see the contract.
        unsafe { out.add(index).write(*digit) };
    }
    // SAFETY: as above; the NUL follows the last digit.
    unsafe { out.add(length).write(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_in_decimal() {
        for pid in [1, 10, 4_194_304, i32::MAX] {
            let mut room = LISTEN_PID.to_vec();
            // SAFETY: the room is as large as the one used before exec.
            unsafe { write_pid(room.as_mut_ptr().add(LISTEN_PID_DIGITS), pid) };
            let text = CStr::from_bytes_until_nul(&room).map(CStr::to_str);
            assert_eq!(text, Ok(Ok(format!("LISTEN_PID={pid}").as_str())));
        }
    }

    #[test]
    fn an_inherited_descriptor_must_be_open_and_in_range() {
        for fd in [-1, 0, 2, 63, 64] {
            assert!(take_inherited(fd).is_err(), "{fd}");
        }
    }
}
