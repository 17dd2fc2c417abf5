//! A process we started, held by a descriptor that cannot come to mean another one.

use super::checked;
use nix::sys::signal::Signal;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A child. Its descriptor becomes readable when it ends; then [`Child::try_wait`]. Dropping it
/// neither kills nor reaps.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
    ended: Option<ExitStatus>,
}

impl Child {
    /// The child `pid`, which must be ours and not reaped yet.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: takes numbers and returns a descriptor, closed at exec, or -1.
        let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })?;
        // SAFETY: the kernel just made this descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        Ok(Self { pid, pidfd, ended: None })
    }

    /// Its process id; that of another process once it is reaped.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal. Nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: a descriptor we own, a signal number, no further information, no flags.
        let sent = checked(unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        });
        forgive_missing(sent.map(drop))
    }

    /// Sends a signal to its whole process group, or to it alone when it leads none (yet). Does
    /// nothing once it is reaped: its group's number may be another's by then.
    pub fn kill_group(&self, signal: Signal) -> io::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        let group = nix::unistd::Pid::from_raw(self.pid as libc::pid_t);
        match nix::sys::signal::killpg(group, signal) {
            Err(nix::errno::Errno::ESRCH) => self.signal(signal),
            other => Ok(other?),
        }
    }

    /// How it ended, if it has. The first answer reaps it; the same answer is given ever after.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_with(libc::WNOHANG)
    }

    /// How it ended, if it has, without reaping it: its process group can still be signalled.
    pub fn exit_peek(&self) -> io::Result<Option<ExitStatus>> {
        match self.ended {
            Some(status) => Ok(Some(status)),
            None => {
                let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
                Ok(waitid(libc::P_PIDFD, self.pidfd.as_raw_fd() as libc::id_t, flags)?
                    .map(|(_, status)| status))
            }
        }
    }

    /// Waits until it has ended and reaps it. For children that are known to be ending.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_with(0)? {
                return Ok(status);
            }
        }
    }

    fn wait_with(&mut self, flag: libc::c_int) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let fd = self.pidfd.as_raw_fd() as libc::id_t;
            self.ended = waitid(libc::P_PIDFD, fd, libc::WEXITED | flag)?.map(|(_, status)| status);
        }
        Ok(self.ended)
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl mio::event::Source for Child {
    fn register(
        &mut self,
        at: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        mio::unix::SourceFd(&self.pidfd.as_raw_fd()).register(at, token, interests)
    }

    fn reregister(
        &mut self,
        at: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        mio::unix::SourceFd(&self.pidfd.as_raw_fd()).reregister(at, token, interests)
    }

    fn deregister(&mut self, at: &mio::Registry) -> io::Result<()> {
        mio::unix::SourceFd(&self.pidfd.as_raw_fd()).deregister(at)
    }
}

/// How a process ended. Prints `exited 0` or `killed by SIGKILL`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal; whether it left a core dump.
    Signaled(i32, bool),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(out, "exited {code}"),
            Self::Signaled(signal, core) => {
                match Signal::try_from(*signal) {
                    Ok(signal) => write!(out, "killed by {signal}")?,
                    Err(_) => write!(out, "killed by signal {signal}")?,
                }
                out.write_str(if *core { " (core dumped)" } else { "" })
            }
        }
    }
}

/// Reaps every ended child for which `known` says no: processes whose parents left them to us.
/// Known children are left to their [`Child`]. Returns who was reaped.
pub fn reap_strangers(known: impl Fn(u32) -> bool) -> io::Result<Vec<(u32, ExitStatus)>> {
    let mut reaped = Vec::new();
    let flags = libc::WEXITED | libc::WNOHANG;
    loop {
        match ended_child(flags | libc::WNOWAIT)? {
            None => return Ok(reaped),
            // The kernel shows the same one until it is reaped, and strangers may stand behind.
            Some(pid) if known(pid) => break,
            Some(pid) => reaped.extend(waitid(libc::P_PID, pid, flags)?),
        }
    }
    for pid in super::proc::children().into_iter().filter(|pid| !known(*pid)) {
        match waitid(libc::P_PID, pid, flags) {
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
            other => reaped.extend(other?),
        }
    }
    Ok(reaped)
}

/// Kills and reaps a child for which no descriptor could be opened.
pub(super) fn destroy(pid: u32) {
    let target = nix::unistd::Pid::from_raw(pid as libc::pid_t);
    // It is ours and not reaped, so the number is its own; it cannot refuse to die.
    let _ = nix::sys::signal::kill(target, Signal::SIGKILL);
    let _ = waitid(libc::P_PID, pid, libc::WEXITED);
}

fn ended_child(flags: libc::c_int) -> io::Result<Option<u32>> {
    match waitid(libc::P_ALL, 0, flags) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => Ok(other?.map(|(pid, _)| pid)),
    }
}

/// `waitid`, retried when interrupted; `None` when the one asked for has not ended.
fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> io::Result<Option<(u32, ExitStatus)>> {
    // SAFETY: zeroed memory is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is a place the kernel may write to; the rest are numbers.
        match checked(unsafe { libc::waitid(kind, id, &raw mut info, flags) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid succeeded, so these members are set, or still zero when nobody has ended.
    let (pid, value) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Exited(value),
        code => ExitStatus::Signaled(value, code == libc::CLD_DUMPED),
    };
    Ok(Some((pid as u32, status)))
}

fn forgive_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::spawn::Spawn;
    use std::ffi::CString;
    use std::fs::File;
    use std::time::Duration;

    fn start(argv: &[&str]) -> Child {
        let exe = File::open(argv[0]).unwrap();
        let argv: Vec<_> = argv.iter().map(|word| CString::new(*word).unwrap()).collect();
        Spawn {
            exe: exe.as_fd().into(),
            argv: &argv,
            env: &[],
            fds: &[],
            own_group: false,
            capabilities: &[],
        }
        .spawn()
        .unwrap()
    }

    /// Waits by the descriptor, as the control loop does.
    fn wait(child: &mut Child) -> ExitStatus {
        let mut poll = mio::Poll::new().unwrap();
        poll.registry().register(child, mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert!(!events.is_empty(), "it did not end");
        child.try_wait().unwrap().expect("its descriptor is readable")
    }

    #[test]
    fn a_child_that_ends_is_seen_peeked_at_and_reaped_once() {
        let mut child = start(&["/bin/true"]);
        assert_eq!(wait(&mut child), ExitStatus::Exited(0));
        assert_eq!(child.try_wait().unwrap(), Some(ExitStatus::Exited(0)));
        assert_eq!(child.exit_peek().unwrap(), Some(ExitStatus::Exited(0)));
        child.signal(Signal::SIGTERM).unwrap();
        child.kill_group(Signal::SIGKILL).unwrap();
    }

    #[test]
    fn peeking_leaves_it_to_be_reaped() {
        let mut child = start(&["/bin/false"]);
        let mut peeked = None;
        let begun = std::time::Instant::now();
        while peeked.is_none() && begun.elapsed() < Duration::from_secs(10) {
            peeked = child.exit_peek().unwrap();
            std::thread::yield_now();
        }
        assert_eq!(peeked, Some(ExitStatus::Exited(1)));
        child.signal(Signal::SIGTERM).unwrap();
        assert_eq!(child.try_wait().unwrap(), Some(ExitStatus::Exited(1)));
    }

    #[test]
    fn a_sleeper_is_not_done_and_a_signal_ends_it() {
        let mut child = start(&["/bin/sleep", "1000"]);
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.exit_peek().unwrap(), None);
        child.signal(Signal::SIGTERM).unwrap();
        let status = wait(&mut child);
        assert_eq!(status, ExitStatus::Signaled(15, false));
        assert_eq!(status.to_string(), "killed by SIGTERM");
    }

    #[test]
    fn a_child_without_a_group_of_its_own_is_killed_alone() {
        let mut child = start(&["/bin/sleep", "1000"]);
        child.kill_group(Signal::SIGKILL).unwrap();
        assert_eq!(wait(&mut child).to_string(), "killed by SIGKILL");
    }

    #[test]
    fn a_group_dies_whole() {
        let pipe = crate::sys::fd::pipe_cloexec().unwrap();
        let exe = File::open("/usr/bin/setsid").unwrap();
        let argv: Vec<_> = ["setsid", "sh", "-c", "sleep 1000 & echo; wait"]
            .map(|word| CString::new(word).unwrap())
            .into();
        let fds = [(1, pipe.1.as_fd())];
        let exe = exe.as_fd().into();
        let spawn =
            Spawn { exe, argv: &argv, env: &[], fds: &fds, own_group: false, capabilities: &[] };
        let mut child = spawn.spawn().unwrap();
        drop(pipe.1);
        let mut output = File::from(pipe.0);
        std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
        child.kill_group(Signal::SIGKILL).unwrap();
        // The pipe ends only when the grandchild is gone too.
        assert_eq!(std::io::copy(&mut output, &mut std::io::sink()).unwrap(), 0);
        assert_eq!(child.wait().unwrap(), ExitStatus::Signaled(9, false));
    }

    #[test]
    fn endings_read_as_an_operator_would_say_them() {
        assert_eq!(ExitStatus::Exited(2).to_string(), "exited 2");
        assert_eq!(ExitStatus::Signaled(6, true).to_string(), "killed by SIGABRT (core dumped)");
        assert_eq!(ExitStatus::Signaled(40, false).to_string(), "killed by signal 40");
    }

    /// Runs in a process of its own: here it would reap other tests' children.
    #[test]
    fn strangers_are_reaped_and_known_children_are_left() {
        const ROLE: &str = "RIP_TEST_REAPER";
        if std::env::var_os(ROLE).is_none() {
            let status = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "sys::child::tests::strangers_are_reaped_and_known_children_are_left",
                ])
                .env(ROLE, "1")
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            return;
        }
        crate::sys::proc::set_child_subreaper().unwrap();
        let mut known = start(&["/bin/false"]);
        // A shell leaves two orphans behind, which come to us.
        let mut parent = start(&["/bin/sh", "-c", "/bin/true & /bin/true & exit 0"]);
        assert_eq!(parent.wait().unwrap(), ExitStatus::Exited(0));
        let mut reaped = Vec::new();
        let begun = std::time::Instant::now();
        while reaped.len() < 2 && begun.elapsed() < Duration::from_secs(10) {
            reaped.extend(reap_strangers(|pid| pid == known.pid()).unwrap());
            std::thread::yield_now();
        }
        assert_eq!(reaped.len(), 2);
        assert!(
            reaped
                .iter()
                .all(|(pid, status)| { *pid != known.pid() && *status == ExitStatus::Exited(0) })
        );
        assert_eq!(known.wait().unwrap(), ExitStatus::Exited(1));
        assert!(reap_strangers(|_| false).unwrap().is_empty());
    }
}
