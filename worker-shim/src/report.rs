//! How the boot tells the master what went on.

use nix::errno::Errno;
use rip::wire::boot::{BootReport, BootStage};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

/// A boot that ended: the stage, the system's error, and one line for the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub stage: BootStage,
    pub errno: Option<Errno>,
    pub message: String,
}

impl Failure {
    /// A failure without an error number.
    pub(crate) fn plain(stage: BootStage, message: impl Into<String>) -> Self {
        Self { stage, errno: None, message: message.into() }
    }

    /// A failed system call; `what` fits before a colon.
    pub(crate) fn system(stage: BootStage, what: &str, errno: Errno) -> Self {
        Self { stage, errno: Some(errno), message: format!("{what}: {}", errno.desc()) }
    }

    /// The same from the standard library's error.
    pub(crate) fn io(stage: BootStage, what: &str, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw);
        let cause = errno.map_or_else(|| error.to_string(), |errno| errno.desc().to_owned());
        Self { stage, errno, message: format!("{what}: {cause}") }
    }
}

/// The pipe to the master. A master that does not listen any more is not our trouble: the lifeline
/// tells that it is gone.
pub(crate) struct Reporter {
    pipe: Option<File>,
}

impl Reporter {
    pub(crate) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Some(pipe.into()) }
    }

    /// The app's setup begins.
    pub(crate) fn setting_up(&mut self) {
        self.send(&BootReport::SettingUp);
    }

    /// The app's setup has ended well.
    pub(crate) fn set_up(&mut self) {
        self.send(&BootReport::SetUp);
    }

    /// The app's process runs.
    pub(crate) fn started(&mut self, app_pid: u32) {
        self.send(&BootReport::Started { app_pid });
    }

    /// The boot ended; nothing is reported after it.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        self.send(&BootReport::Failed {
            stage: failure.stage,
            errno: failure.errno.map(|errno| errno as i32),
            message: failure.message.replace('\n', " "),
        });
        self.close();
    }

    /// The boot is over.
    pub(crate) fn close(&mut self) {
        self.pipe = None;
    }

    fn send(&mut self, report: &BootReport) {
        if let (Some(pipe), Ok(mut line)) = (&mut self.pipe, serde_json::to_vec(report)) {
            line.push(b'\n');
            let _ = pipe.write_all(&line);
        }
    }
}
