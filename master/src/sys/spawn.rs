//! Starting a process: fork and exec, nothing between them but what is safe there.
//!
//! Other threads run while we fork, so the child inherits their locks in whatever state they are:
//! until exec it may only make system calls. Everything it needs is made before the fork, and the
//! only thing it does is to reset signals, move descriptors and exec. All further preparation is
//! the new program's own work. If it cannot exec, the stage and the error come back through a
//! pipe that exec closes.

use super::child::{Child, destroy};
use super::fd::pipe_cloexec;
use super::privilege::{Capability, Sets, hand_over, mask};
use super::proc::first_nofile;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// What is to be started.
pub struct Spawn<'a> {
    /// The program.
    pub exe: Program<'a>,
    /// Its arguments, the first one its name.
    pub argv: &'a [CString],
    /// Its whole environment, `NAME=value` each.
    pub env: &'a [CString],
    /// The descriptors it has: the number there, and ours. It shares our standard input, output
    /// and error where these give it none; everything else is closed at exec.
    pub fds: &'a [(RawFd, BorrowedFd<'a>)],
    /// Capabilities that it has from us; a process that is not given them has none of them, unless it
    /// is the superuser's.
    pub capabilities: &'a [Capability],
    /// It leads a process group of its own, and can be killed with all it starts.
    pub own_group: bool,
}

/// What is executed.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// An open file: the same program whatever is done to its path.
    Open(BorrowedFd<'a>),
    /// Whatever is at this path. What it is called is what processes are listed by.
    At(&'a CStr),
}

impl<'a> From<BorrowedFd<'a>> for Program<'a> {
    fn from(file: BorrowedFd<'a>) -> Self {
        Self::Open(file)
    }
}

impl Spawn<'_> {
    /// Starts it. When this returns, exec has happened; when it fails, nothing is left behind.
    ///
    /// Call it from the main thread only: a child that asks to be killed with its parent is killed
    /// with the thread that forked it.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let (report_read, report_write) = pipe_cloexec().map_err(at(Stage::Prepare))?;
        let mut plan = Plan::new(self, &report_write).map_err(at(Stage::Prepare))?;
        let blocked = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map_err(|errno| at(Stage::Prepare)(errno.into()))?;
        // SAFETY: until it execs or exits, the child calls nothing but `Plan::carry_out`, which
        // makes system calls on memory that was prepared before.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            plan.carry_out();
        }
        let failed_fork = (forked < 0).then(io::Error::last_os_error);
        // The mask that was read a moment ago is valid.
        let _ = blocked.thread_set_mask();
        if let Some(error) = failed_fork {
            return Err(at(Stage::Fork)(error));
        }
        drop(report_write);
        let mut child = Child::open(forked as u32).map_err(|error| {
            destroy(forked as u32);
            at(Stage::Watch)(error)
        })?;
        match read_report(report_read) {
            None => Ok(child),
            Some(error) => {
                // It has told its last words and exits at once.
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

/// Why nothing was started.
#[derive(Debug)]
pub struct SpawnError {
    /// What was being done.
    pub stage: Stage,
    /// How it failed; carries the error number.
    pub source: io::Error,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.stage, self.source)
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// The steps of a start, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Making the pipe for the report.
    Prepare,
    /// Making the process.
    Fork,
    /// Opening a descriptor for the process.
    Watch,
    /// Moving descriptors to their places in the child.
    Descriptors,
    /// Executing the program.
    Exec,
    /// Handing capabilities over.
    Capabilities,
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Prepare => "prepare to fork",
            Self::Fork => "fork",
            Self::Watch => "open a pidfd",
            Self::Descriptors => "pass descriptors",
            Self::Exec => "exec",
            Self::Capabilities => "pass capabilities",
        })
    }
}

fn at(stage: Stage) -> impl FnOnce(io::Error) -> SpawnError {
    move |source| SpawnError { stage, source }
}

/// Everything the child needs, laid out before the fork.
struct Plan {
    /// The open program, where it is one.
    exe: Option<RawFd>,
    path: *const c_char,
    own_group: bool,
    report: RawFd,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// (number in the new program, ours).
    moves: Vec<(RawFd, RawFd)>,
    /// Lowest number that is nobody's target.
    ceiling: RawFd,
    /// How many descriptors it may have, if that is not what we may.
    nofile: Option<libc::rlimit>,
    /// What it is handed over, and what we have.
    capabilities: Option<(u32, Sets)>,
}

impl Plan {
    /// The pointers are valid as long as `spawn` is.
    fn new(spawn: &Spawn<'_>, report: &OwnedFd) -> io::Result<Self> {
        let moves: Vec<_> =
            spawn.fds.iter().map(|(target, source)| (*target, source.as_raw_fd())).collect();
        let capabilities = match spawn.capabilities {
            [] => None,
            wanted => Some((mask(wanted), Sets::of_this_thread()?)),
        };
        let (exe, path) = match spawn.exe {
            Program::Open(file) => (Some(file.as_raw_fd()), std::ptr::null()),
            Program::At(path) => (None, path.as_ptr()),
        };
        Ok(Self {
            exe,
            path,
            own_group: spawn.own_group,
            report: report.as_raw_fd(),
            argv: pointers(spawn.argv),
            env: pointers(spawn.env),
            ceiling: moves.iter().map(|(target, _)| target + 1).max().unwrap_or(0),
            moves,
            nofile: first_nofile()
                .map(|(soft, hard)| libc::rlimit { rlim_cur: soft, rlim_max: hard }),
            capabilities,
        })
    }

    /// Runs in the child, where only async-signal-safe calls are allowed: no allocation, no lock,
    /// nothing that panics.
    fn carry_out(&mut self) -> ! {
        let failed = match self.place_descriptors() {
            Err(errno) => (Stage::Descriptors, errno),
            Ok(()) => {
                self.close_the_rest();
                self.restore_limit();
                if self.own_group {
                    // SAFETY: numbers only. A child that was just made can always do this.
                    unsafe { libc::setpgid(0, 0) };
                }
                reset_signals();
                match self.hand_over() {
                    Err(errno) => (Stage::Capabilities, errno),
                    Ok(()) => (Stage::Exec, self.exec()),
                }
            }
        };
        let [a, b, c, d] = failed.1.to_ne_bytes();
        let report = [failed.0 as u8, a, b, c, d];
        // SAFETY: the pointer and the length are those of `report`; `_exit` runs nothing of ours.
        unsafe {
            libc::write(self.report, report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    }

    /// First everything that stands where something else must go is moved out of the way, then
    /// each descriptor takes its place. `dup2` leaves its copy open at exec.
    fn place_descriptors(&mut self) -> Result<(), c_int> {
        let ceiling = self.ceiling;
        if let Some(exe) = &mut self.exe {
            *exe = lift(*exe, ceiling)?;
        }
        self.report = lift(self.report, ceiling)?;
        for (_, source) in &mut self.moves {
            *source = lift(*source, ceiling)?;
        }
        for (target, source) in &self.moves {
            // SAFETY: plain descriptor numbers; what stood at `target` was lifted above.
            if unsafe { libc::dup2(*source, *target) } < 0 {
                return Err(errno());
            }
        }
        Ok(())
    }

    /// Ours are closed at exec from birth; this is for those our own parent left open. An old
    /// kernel that cannot do it leaves them open.
    fn close_the_rest(&self) {
        let spare = |fd: &RawFd| self.moves.iter().all(|(target, _)| target != fd);
        let (from, all) = (self.ceiling.max(FIRST_BEYOND_STANDARD), libc::c_uint::MAX);
        // SAFETY: numbers only; descriptors that are not open are refused without harm.
        unsafe {
            for fd in (FIRST_BEYOND_STANDARD..self.ceiling).filter(spare) {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
            let flag = libc::CLOSE_RANGE_CLOEXEC;
            libc::syscall(libc::SYS_close_range, from as libc::c_uint, all, flag);
        }
    }

    fn restore_limit(&self) {
        if let Some(limit) = &self.nofile {
            // SAFETY: reads a structure that lives in this plan. A limit that cannot be lowered
            // is no reason not to start.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) };
        }
    }

    fn hand_over(&self) -> Result<(), c_int> {
        self.capabilities.as_ref().map_or(Ok(()), |(wanted, own)| hand_over(*wanted, own))
    }

    /// Returns only when it fails, with the error number.
    fn exec(&self) -> c_int {
        const SELF: &CStr = c"";
        // SAFETY: both vectors end with a null pointer and point into strings that live in the
        // caller's frame, as the path does; an empty path with AT_EMPTY_PATH means the descriptor.
        unsafe {
            match self.exe {
                Some(exe) => {
                    libc::syscall(
                        libc::SYS_execveat,
                        exe,
                        SELF.as_ptr(),
                        self.argv.as_ptr(),
                        self.env.as_ptr(),
                        libc::AT_EMPTY_PATH,
                    );
                }
                None => {
                    libc::execve(self.path, self.argv.as_ptr(), self.env.as_ptr());
                }
            }
        }
        errno()
    }
}

/// The same descriptor at `ceiling` or above, closed at exec.
fn lift(fd: RawFd, ceiling: RawFd) -> Result<RawFd, c_int> {
    if fd >= ceiling {
        return Ok(fd);
    }
    // SAFETY: a plain descriptor number and a lower bound.
    let lifted = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, ceiling) };
    if lifted < 0 { Err(errno()) } else { Ok(lifted) }
}

/// Every signal has its default action and none is blocked. Our own handlers must be gone before
/// signals are let through, or the child's would be told to the parent, with which it shares the
/// pipe they are written to.
fn reset_signals() {
    // SAFETY: zeroed memory is a valid `sigaction` and a valid set; unknown numbers are refused
    // without harm.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=LAST_SIGNAL {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn errno() -> c_int {
    // SAFETY: the calling thread's own errno, always a valid place.
    unsafe { *libc::__errno_location() }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// What the child wrote before it gave up; nothing when exec closed the pipe.
fn read_report(pipe: OwnedFd) -> Option<SpawnError> {
    let mut report = [0; 5];
    File::from(pipe).read_exact(&mut report).ok()?;
    let [stage, errno @ ..] = report;
    let known = [Stage::Descriptors, Stage::Capabilities];
    let stage = known.into_iter().find(|known| *known as u8 == stage).unwrap_or(Stage::Exec);
    Some(at(stage)(io::Error::from_raw_os_error(c_int::from_ne_bytes(errno))))
}

const LAST_SIGNAL: c_int = 64;
const FIRST_BEYOND_STANDARD: RawFd = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::child::ExitStatus;
    use crate::sys::fd::memfd;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    fn strings(all: &[&str]) -> Vec<CString> {
        all.iter().map(|one| CString::new(*one).unwrap()).collect()
    }

    /// What `sh -c script` writes to its standard output, and how it ended.
    fn shell(script: &str, extra: &[(RawFd, BorrowedFd<'_>)]) -> (String, ExitStatus) {
        let exe = File::open("/bin/sh").unwrap();
        let (read, write) = pipe_cloexec().unwrap();
        let mut fds = extra.to_vec();
        fds.push((1, write.as_fd()));
        let spawn = Spawn {
            exe: exe.as_fd().into(),
            argv: &strings(&["sh", "-c", script]),
            env: &strings(&["GREETING=hello", "PATH=/usr/bin:/bin"]),
            fds: &fds,
            capabilities: &[],
            own_group: false,
        };
        let mut child = spawn.spawn().unwrap();
        drop(write);
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).unwrap();
        (said, child.wait().unwrap())
    }

    #[test]
    fn arguments_and_environment_arrive_and_nothing_else_does() {
        let (said, status) = shell("echo $0 $GREETING ${HOME-none}; exit 3", &[]);
        assert_eq!(said, "sh hello none\n");
        assert_eq!(status, ExitStatus::Exited(3));
    }

    #[test]
    fn only_the_given_descriptors_are_open() {
        let null = File::open("/dev/null").unwrap();
        let leaked = nix::unistd::dup(&null).unwrap();
        let script = format!(
            "for fd in 0 1 2 3 4 5 6 7 8 9 {}; do [ -e /proc/$$/fd/$fd ] && echo $fd; done",
            leaked.as_raw_fd() + 1000
        );
        // Far from the numbers the shell takes for itself.
        let far = nix::fcntl::FcntlArg::F_DUPFD(leaked.as_raw_fd() + 1000);
        let far = nix::fcntl::fcntl(&leaked, far).unwrap();
        let (said, _) = shell(&script, &[(5, null.as_fd())]);
        nix::unistd::close(far).unwrap();
        assert_eq!(said, "0\n1\n2\n5\n");
    }

    /// Sources that stand on each other's targets: `dup2` alone would lose one in any order.
    #[test]
    fn descriptors_may_change_places() {
        let file = |text: &str| memfd(c"test", text.as_bytes()).unwrap();
        let (one, two, three) = (file("one"), file("two"), file("three"));
        let [a, b, c] = [&one, &two, &three].map(AsRawFd::as_raw_fd);
        let script = |targets: &[RawFd]| {
            let words = targets.iter().map(|target| format!("cat /proc/self/fd/{target}; echo"));
            words.collect::<Vec<_>>().join("; ")
        };
        let circle = [(b, one.as_fd()), (c, two.as_fd()), (a, three.as_fd())];
        assert_eq!(shell(&script(&[b, c, a]), &circle).0, "one\ntwo\nthree\n");
        // One that already stands in its place, and the same one twice.
        let (four, five) = (file("four"), file("five"));
        let d = four.as_raw_fd();
        let stays = [(d, four.as_fd()), (d + 1, four.as_fd()), (d + 2, five.as_fd())];
        assert_eq!(shell(&script(&[d, d + 2]), &stays).0, "four\nfive\n");
    }

    #[test]
    fn a_program_that_cannot_run_says_why() {
        let dir = crate::sys::test_dir::TestDir::make();
        let path = dir.path().join("program");
        std::fs::write(&path, "\x00\x01").unwrap();
        let fails_with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let exe = File::open(&path).unwrap();
            let argv = strings(&["program"]);
            let spawn = Spawn {
                exe: exe.as_fd().into(),
                argv: &argv,
                env: &[],
                fds: &[],
                own_group: false,
                capabilities: &[],
            };
            let error = spawn.spawn().unwrap_err();
            assert_eq!(error.stage, Stage::Exec);
            assert!(error.to_string().starts_with("exec: "));
            error.source.raw_os_error()
        };
        assert_eq!(fails_with(0o644), Some(libc::EACCES));
        assert_eq!(fails_with(0o755), Some(libc::ENOEXEC));
    }

    #[test]
    fn a_program_is_found_by_its_path_and_leads_a_group_of_its_own() {
        let (read, write) = pipe_cloexec().unwrap();
        let argv = strings(&["sh", "-c", "ps -o pgid= -p $$; cat /proc/$$/comm"]);
        let env = strings(&["PATH=/usr/bin:/bin"]);
        let fds = [(1, write.as_fd())];
        let exe = Program::At(c"/bin/sh");
        let spawn =
            Spawn { exe, argv: &argv, env: &env, fds: &fds, own_group: true, capabilities: &[] };
        let mut child = spawn.spawn().unwrap();
        drop(write);
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
        let words: Vec<_> = said.split_whitespace().collect();
        assert_eq!(words, [child.pid().to_string().as_str(), "sh"]);
        let exe = Program::At(c"/nowhere/at/all");
        let error =
            Spawn { exe, argv: &argv, env: &env, fds: &[], own_group: true, capabilities: &[] }
                .spawn();
        assert_eq!(error.unwrap_err().source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_begins_with_default_signals() {
        // The test harness ignores SIGPIPE, as our own main program does.
        let (said, _) = shell("grep -E '^Sig(Blk|Ign)' /proc/self/status", &[]);
        let sets: Vec<_> = said
            .lines()
            .map(|line| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap())
            .collect();
        // Signals 32 and 33 belong to the C library, which lets nobody touch them.
        assert_eq!(sets.iter().map(|set| set & !(3 << 31)).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn a_child_has_the_limit_we_were_started_with() {
        let before = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        crate::sys::proc::raise_nofile();
        let (soft, _) = first_nofile().unwrap_or(before.unwrap());
        assert_eq!(shell("ulimit -Sn", &[]).0, format!("{soft}\n"));
    }
}
