//! How a shim reports its boot: one JSON object a line on [`crate::wire::spec::BOOT_FD`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// The steps of a worker's boot, in order. A failure names the step it happened in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BootStage {
    /// The master forks and execs the shim.
    Exec,
    /// The spec is read and understood.
    Spec,
    /// A session and process group of its own.
    Session,
    /// Signal mask and handlers are reset.
    Signals,
    /// The control connection is opened.
    Control,
    /// The worker's socket is bound.
    Bind,
    /// Resource limits.
    Limits,
    /// Groups and user.
    User,
    /// Parent-death signal, and a check that the parent is still the master.
    Parent,
    /// The app's setup is run.
    Setup,
    /// The interpreter, program or package is found.
    Find,
    /// The app's process is started.
    Start,
    /// The app answers.
    Ready,
    /// The worker is admitted to its pool.
    Join,
}

impl fmt::Display for BootStage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Exec => "exec",
            Self::Spec => "spec",
            Self::Session => "session",
            Self::Signals => "signals",
            Self::Control => "control",
            Self::Bind => "bind",
            Self::Limits => "limits",
            Self::User => "user",
            Self::Parent => "parent",
            Self::Setup => "setup",
            Self::Find => "find",
            Self::Start => "start",
            Self::Ready => "ready",
            Self::Join => "join",
        })
    }
}

/// One line of a shim's boot.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "report")]
pub enum BootReport {
    /// The boot ended here; the shim exits.
    Failed {
        /// The step that failed.
        stage: BootStage,
        /// The system's error number, if there is one.
        errno: Option<i32>,
        /// One line for the operator: what, and what to do about it.
        message: String,
    },
    /// The app's setup has ended well: the boot goes on, and its time begins now.
    SetUp,
    /// The app's setup begins; it takes as long as it takes.
    SettingUp,
    /// The app's process runs.
    #[serde(rename_all = "camelCase")]
    Started {
        /// Its pid.
        app_pid: u32,
    },
}
