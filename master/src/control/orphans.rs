//! Processes that outlive their worker: a shim ends all below it, but one that was killed leaves them
//! to us, the next reaper. They end too.

use crate::sys::child::reap_strangers;
use crate::sys::proc::children;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::time::{Duration, Instant};

/// Who is an orphan of a worker.
pub struct Orphans {
    /// Stands in the environment of every process of a worker of this master.
    mark: Vec<u8>,
    /// All children of ours come from workers: we had none before, and are nobody's init.
    ours_alone: bool,
}

impl Orphans {
    /// To be asked before the first worker is forked. `runtime` is the directory below which sockets
    /// of workers are: ours, and those of a master that was to succeed us and has died.
    pub fn new(runtime: &Path) -> Self {
        Self { mark: mark(runtime), ours_alone: std::process::id() != 1 && children().is_empty() }
    }

    /// Another master serves, and those that may come after it are our descendants as well: from now on
    /// only what a worker of our own has left is an orphan. `sockets` is where their sockets are.
    pub fn resign(&mut self, sockets: &Path) {
        self.mark = mark(sockets);
        self.ours_alone = false;
    }

    /// Reaps who has ended and kills who has not, except those for whom `known` says yes. True when
    /// some were alive: their children come to us next.
    pub fn end(&self, known: impl Fn(u32) -> bool) -> bool {
        if let Err(error) = reap_strangers(&known) {
            log::debug!("strangers cannot be reaped: {error}");
        }
        let mut found = false;
        for pid in children().into_iter().filter(|pid| !known(*pid) && self.is_of_a_worker(*pid)) {
            // Only we reap it, so the number is still its own.
            found |= kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).is_ok();
        }
        found
    }

    /// The same until nobody is left, for a moment at most: no worker is left either.
    pub fn end_all(&self, known: impl Fn(u32) -> bool) {
        let until = Instant::now() + LAST_WAIT;
        while self.end(&known) && Instant::now() < until {
            std::thread::sleep(PAUSE);
        }
    }

    fn is_of_a_worker(&self, pid: u32) -> bool {
        self.ours_alone
            || std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(&self.mark))
            })
    }
}

/// What stands in the environment of processes whose sockets are below `directory`.
fn mark(directory: &Path) -> Vec<u8> {
    format!("RIP_WORKER_SOCKET={}/", directory.display()).into_bytes()
}

/// Killed processes end within this.
const LAST_WAIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(1);
