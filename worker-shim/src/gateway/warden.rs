//! The end of whatever a gateway has started, should the shim be killed.
//!
//! Each program of a gateway leads a process group, so that it can be ended with all it has started.
//! That takes it out of the group which the master kills when a shim has died, and so the gateway has
//! to see that death itself: the shim holds the other end of the status pipe for as long as it lives.

use crate::boot;
use crate::host::STATUS_FD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{Pid, setpgid};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Knows the process groups of a gateway.
#[derive(Debug, Default)]
pub(super) struct Warden {
    groups: Mutex<BTreeSet<i32>>,
}

impl Warden {
    /// A warden that ends this process, after every group it knows, as soon as the shim is dead.
    ///
    /// # Errors
    /// When this process was not started by a shim, or has no thread for it.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let status = boot::take_inherited(STATUS_FD)?;
        // Neither by the kernel nor by the master before the groups have been ended.
        prctl::set_pdeathsig(None)?;
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // They are for the thread that serves.
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        let warden = Arc::new(Self::default());
        let watching = Arc::clone(&warden);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || watching.watch(&status))?;
        Ok(warden)
    }

    fn watch(&self, status: &OwnedFd) {
        loop {
            let mut fds = [PollFd::new(status.as_fd(), PollFlags::empty())];
            let _ = poll(&mut fds, PollTimeout::NONE);
            let seen = fds[0].revents().unwrap_or(PollFlags::empty());
            if seen.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
                // Held to the end, so that nothing is started any more.
                let groups = self.groups();
                for group in groups.iter() {
                    let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
                }
                std::process::exit(1);
            }
        }
    }

    /// Starts a program at the head of a group of its own.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut groups = self.groups();
        let child = command.process_group(0).spawn()?;
        groups.insert(child.id().cast_signed());
        Ok(child)
    }

    /// Kills a program, if it still lives, with everything it has started and that has not left its
    /// group; its exit status.
    pub(super) fn end(&self, child: &mut Child) -> io::Result<std::process::ExitStatus> {
        let group = child.id().cast_signed();
        // Not reaped yet, it keeps its number from being given to others.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        self.groups().remove(&group);
        child.wait()
    }

    fn groups(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const STACK_BYTES: usize = 128 * 1024;
