//! The processes below the shim: noticing their ends, and leaving none behind.
//!
//! The shim is the subreaper of everything the app starts: a process whose parent died becomes the
//! shim's own child. Killing children until there are none therefore reaches every descendant, also
//! one that left the process group.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How the app ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Exited(i32),
    Killed(Signal),
}

impl std::fmt::Display for Fate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(out, "exited with status {code}"),
            Self::Killed(signal) => write!(out, "was killed by {signal}"),
        }
    }
}

/// The app's process and all that came from it.
pub(crate) struct Family {
    app: Pid,
    fate: Option<Fate>,
    extinct: bool,
}

impl Family {
    /// The family of a process just started.
    pub(crate) fn new(app: Pid) -> Self {
        Self { app, fate: None, extinct: false }
    }

    /// The app's pid as numbers are spoken of.
    pub(crate) fn app_pid(&self) -> u32 {
        self.app.as_raw().unsigned_abs()
    }

    /// How the app ended, once it has.
    pub(crate) fn fate(&self) -> Option<Fate> {
        self.fate
    }

    /// No process is left.
    pub(crate) fn is_extinct(&self) -> bool {
        self.extinct
    }

    /// Takes note of every process that has ended.
    pub(crate) fn reap(&mut self) {
        while self.reap_one(WaitPidFlag::WNOHANG) {}
    }

    /// Sends the app's process a signal; nobody else can have got its pid before it is reaped.
    pub(crate) fn signal_app(&self, signal: Signal) {
        if self.fate.is_none() {
            let _ = kill(self.app, signal);
        }
    }

    /// Sends a signal to those the app left behind.
    pub(crate) fn signal_rest(&self, signal: Signal) {
        for child in children() {
            let _ = kill(child, signal);
        }
    }

    /// Kills whatever is left, and returns when nothing is.
    pub(crate) fn end(&mut self) {
        self.reap();
        while !self.extinct {
            self.signal_rest(Signal::SIGKILL);
            self.reap_one(WaitPidFlag::empty());
            self.reap();
        }
    }

    /// Waits for one child; true when there was one to reap.
    fn reap_one(&mut self, flag: WaitPidFlag) -> bool {
        let (pid, fate) = match waitpid(None, Some(flag)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Fate::Exited(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Fate::Killed(signal)),
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => return true,
            Err(_) => {
                self.extinct = true;
                return false;
            }
        };
        if pid == self.app {
            self.fate = Some(fate);
        }
        true
    }
}

/// The pids of this process's living children.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            parent_in(&stat) == Some(own)
        })
        .map(Pid::from_raw)
        .collect()
}

/// The parent's pid in the text of `/proc/<pid>/stat`; the name before it may hold anything.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_an_odd_name() {
        assert_eq!(parent_in("12 (a) S 7) R 34 12 12 0"), Some(34));
        assert_eq!(parent_in(""), None);
    }
}
