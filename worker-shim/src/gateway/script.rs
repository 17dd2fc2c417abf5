//! One run of a CGI script: a process group of its own, which never outlives its request.

use super::warden::Warden;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;

/// A running script. Dropping it ends it.
pub(super) struct Script {
    child: Child,
    warden: Arc<Warden>,
    ended: bool,
    /// Where it reads the request's body from; closed at the body's end.
    pub stdin: Option<ChildStdin>,
    /// What it prints; closed at its end.
    pub stdout: Option<ChildStdout>,
}

impl Script {
    /// Starts it. Both pipes are non-blocking on our side; what it says of errors is in the log.
    pub(super) fn start(
        command: &mut Command,
        has_body: bool,
        warden: &Arc<Warden>,
    ) -> io::Result<Self> {
        command
            .stdin(if has_body { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = warden.spawn(command)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let script = Self { child, warden: Arc::clone(warden), ended: false, stdin, stdout };
        script.stdin.as_ref().map_or(Ok(()), dont_block)?;
        script.stdout.as_ref().map_or(Ok(()), dont_block)?;
        Ok(script)
    }

    /// Its process has ended. Others that it has started may go on.
    pub(super) fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive))
    }

    /// Asks it to end, and all that it has started.
    pub(super) fn ask_to_end(&self) {
        let _ = killpg(self.pid(), Signal::SIGTERM);
    }

    /// Ends what is left of it; how its process ended.
    pub(super) fn end(mut self) -> io::Result<ExitStatus> {
        self.ended = true;
        self.warden.end(&mut self.child)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.warden.end(&mut self.child);
        }
    }
}

fn dont_block(pipe: &impl AsFd) -> io::Result<()> {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Why a script could not be started: a sentence for the log.
pub(super) fn not_started(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => format!("{shown} is not executable; run `chmod +x {shown}`"),
        Some(Errno::ENOENT) if path.exists() => {
            format!("the interpreter that the first line of {shown} names does not exist")
        }
        Some(Errno::ENOEXEC) => {
            format!("{shown} is not a program: it needs a first line such as #!/bin/sh")
        }
        _ => format!("{shown} cannot be executed: {error}"),
    }
}
