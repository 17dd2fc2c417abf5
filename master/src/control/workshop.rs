//! What the making of a worker's process needs: our own program, the lifeline, places, pipes.

use super::runtime_dir::RuntimeDir;
use super::start_error::StartError;
use crate::sys::child::Child;
use crate::sys::fd::{memfd, own_executable, pipe_cloexec, set_nonblocking};
use crate::sys::privilege::{self, FOR_OTHERS, Identity};
use crate::sys::spawn::Spawn;
use rip::edgefile::job::Job;
use rip::wire::spec::{BOOT_FD, LIFELINE_FD, SPEC_FD, WorkerSpec};
use rip::wire::upgrade;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// Everything shims are made from. Only the main thread may use it: a shim dies with the thread
/// that forked it.
pub struct Workshop {
    /// Opened at start: a shim is of its master's version, also while the file is being replaced.
    executable: OwnedFd,
    /// The reading end is given to every shim, the writing end to nobody.
    lifeline: (OwnedFd, OwnedFd),
    /// For reading and writing.
    null: File,
    env: Vec<CString>,
    /// Where the sockets are.
    pub runtime: RuntimeDir,
}

/// A shim that was just forked, and our ends of its pipes.
pub struct Hatched {
    /// The process.
    pub child: Child,
    /// Its boot reports; non-blocking.
    pub boot: File,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

impl Workshop {
    /// Opens what every spawn needs.
    ///
    /// # Errors
    /// When the system refuses one of the descriptors.
    pub fn new(runtime: RuntimeDir) -> Result<Self, StartError> {
        let part = |what: &'static str| move |error: io::Error| StartError::system(what, &error);
        Ok(Self {
            executable: own_executable().map_err(part("our own executable"))?,
            lifeline: pipe_cloexec().map_err(part("the lifeline pipe"))?,
            null: File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map_err(part("/dev/null"))?,
            env: inherited_environment(),
            runtime,
        })
    }

    /// Forks a shim for `spec`.
    ///
    /// # Errors
    /// When the system refuses a descriptor, the fork or the exec.
    pub fn hatch(&self, spec: &WorkerSpec) -> io::Result<Hatched> {
        // A shim that becomes somebody else needs for it what a master that is not root has kept.
        let other = spec.user.as_deref().map(Identity::find).transpose()?.flatten();
        if !privilege::is_root() && other.as_ref().is_some_and(|other| other.uid.is_root()) {
            // Whoever may write what we read would be root by it.
            return Err(io::Error::other(
                "a server that has given up being root starts nothing as root",
            ));
        }
        let capabilities: &[_] = match other.is_some_and(|other| !other.is_own()) {
            true if !privilege::is_root() => &FOR_OTHERS,
            _ => &[],
        };
        let spec = memfd(c"worker-spec", &serde_json::to_vec(spec)?)?;
        let (boot, boot_end) = pipe_cloexec()?;
        let (stdout, stdout_end) = pipe_cloexec()?;
        let (stderr, stderr_end) = pipe_cloexec()?;
        set_nonblocking(&boot)?;
        let child = Spawn {
            exe: self.executable.as_fd().into(),
            argv: &[c"rip-master".to_owned(), c"worker-shim".to_owned()],
            env: &self.env,
            fds: &[
                (0, self.null.as_fd()),
                (1, stdout_end.as_fd()),
                (2, stderr_end.as_fd()),
                (SPEC_FD, spec.as_fd()),
                (BOOT_FD, boot_end.as_fd()),
                (LIFELINE_FD, self.lifeline.0.as_fd()),
            ],
            capabilities,
            own_group: false,
        }
        .spawn()?;
        Ok(Hatched { child, boot: boot.into(), stdout, stderr })
    }
}

impl Workshop {
    /// Forks the process that reads an Edgefile; its report comes out of the pipe.
    ///
    /// # Errors
    /// When the system refuses a descriptor, the fork or the exec.
    pub fn compile(&self, job: &Job) -> io::Result<(Child, File)> {
        let job = memfd(c"edgefile-job", &serde_json::to_vec(job)?)?;
        let (report, report_end) = pipe_cloexec()?;
        let child = Spawn {
            exe: self.executable.as_fd().into(),
            argv: &[c"rip-master".to_owned(), c"edgefile-compile".to_owned()],
            env: &self.env,
            fds: &[(0, job.as_fd()), (1, report_end.as_fd()), (2, self.null.as_fd())],
            capabilities: &[],
            own_group: false,
        }
        .spawn()?;
        Ok((child, report.into()))
    }
}

/// The master's environment less what is meant for the master alone.
fn inherited_environment() -> Vec<CString> {
    std::env::vars_os()
        .filter(|(name, _)| !WITHHELD.iter().any(|withheld| name == withheld))
        .filter_map(|(name, value)| {
            let mut assignment = name.into_vec();
            assignment.push(b'=');
            assignment.extend(value.into_vec());
            CString::new(assignment).ok()
        })
        .collect()
}

const WITHHELD: [&str; 10] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "MAINPID",
    "NOTIFY_SOCKET",
    "RIP_PUBLISH_SECRET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    upgrade::VARIABLE,
];
