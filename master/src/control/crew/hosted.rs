//! A worker with its process, and what of it is watched.

use super::super::boot_pipe::BootPipe;
use crate::sys::child::Child;
use rip::ids::WorkerId;
use rip::supervise::Exit;
use rip::time::Instant;
use std::path::PathBuf;

/// What is watched for the event loop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Watched {
    /// A shim's process descriptor: readable when it has ended.
    Child(WorkerId),
    /// A shim's boot pipe.
    Boot(WorkerId),
    /// An app's answer to how it is.
    Probe(WorkerId),
}

impl Watched {
    /// Whose it is.
    pub fn worker(self) -> WorkerId {
        match self {
            Self::Child(worker) | Self::Boot(worker) | Self::Probe(worker) => worker,
        }
    }
}

/// A worker with its process.
pub struct Hosted {
    /// The process; `None` when the fork failed.
    pub(super) child: Option<Child>,
    pub(super) boot: Option<BootPipe>,
    pub(super) token: String,
    pub(super) slot: usize,
    /// Where it listens.
    pub socket: PathBuf,
    /// When it was forked, in milliseconds since the epoch.
    pub started_wall: u64,
    pub(super) started: Instant,
    /// The app's own process, once it is known.
    pub app_pid: Option<u32>,
    pub(super) keep_alive: bool,
    /// How often it was told to load the app anew.
    pub(super) reloads: u32,
    /// It has ended; its last lines are awaited until then.
    pub(super) ended: Option<(Exit, Instant)>,
    pub(super) last_lines: Vec<String>,
}

impl Hosted {
    /// The shim's pid.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }
}
