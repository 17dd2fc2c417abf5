//! Making configurations: the process that reads the Edgefile, the thread that reads its report, and
//! the time both have.
//!
//! The file is read by a process of its own, because whoever writes the file could otherwise end the
//! server with it: the process may die of it, and that is all.

use super::source::Source;
use super::workshop::Workshop;
use crate::agents::compile::{self, Task};
use crate::shared::draft::{Draft, DraftId, Unmade};
use crate::sys::child::{Child, ExitStatus};
use mio::{Interest, Registry};
use nix::sys::signal::Signal;
use rip::contract::attempt::AttemptCode;
use rip::edgefile::job::Job;
use rip::limits;
use rip::reload::Failure;
use rip::time::Instant;
use std::collections::BTreeMap;
use std::io;

/// The makings under way.
pub struct Compiler {
    registry: Registry,
    makings: BTreeMap<DraftId, Making>,
    last_id: u64,
}

/// What came of a making.
pub type Made = Result<Box<Draft>, Failure>;

struct Making {
    /// The process, where there is one, until it is reaped.
    child: Option<Child>,
    ended: Option<ExitStatus>,
    /// When the process is killed; `None` once it has been.
    deadline: Option<Instant>,
    /// Nobody wants the result any more.
    is_cancelled: bool,
    result: Option<Result<Box<Draft>, Unmade>>,
}

impl Compiler {
    /// Nothing is made yet. Processes are watched with `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry, makings: BTreeMap::new(), last_id: 0 }
    }

    /// The name of the next making.
    pub fn next_id(&mut self) -> DraftId {
        self.last_id += 1;
        DraftId(self.last_id)
    }

    /// Begins `task`, which is called by [`Self::next_id`]; with `job`, by having a process read
    /// what that says. [`Self::drafted`] or [`Self::ended`] will have the result.
    ///
    /// # Errors
    /// The system refuses a process, a descriptor or a thread.
    pub fn begin(
        &mut self,
        mut task: Task,
        job: Option<&Job>,
        shop: &Workshop,
        now: Instant,
    ) -> io::Result<()> {
        let id = task.id;
        let mut making =
            Making { child: None, ended: None, deadline: None, is_cancelled: false, result: None };
        if let Some(job) = job {
            let (mut child, report) = shop.compile(job)?;
            if let Err(error) =
                self.registry.register(&mut child, Source::Compiler(id).into(), Interest::READABLE)
            {
                // A process whose end nobody sees must not be.
                let _gone_already = child.signal(Signal::SIGKILL);
                child.wait()?;
                return Err(error);
            }
            task.report = Some(report);
            making.child = Some(child);
            making.deadline = Some(now + limits::COMPILE_TIMEOUT);
        }
        if let Err(error) = compile::start(task) {
            // Its report would be read by nobody.
            making.kill();
            making.is_cancelled = true;
            making.result = Some(Err(Unmade::Garbled(error.to_string())));
            self.makings.insert(id, making);
            return Err(error);
        }
        self.makings.insert(id, making);
        Ok(())
    }

    /// The thread has told its result: what came of the making, unless its process is still to end.
    pub fn drafted(
        &mut self,
        id: DraftId,
        result: Result<Box<Draft>, Unmade>,
    ) -> Option<(DraftId, Made)> {
        self.makings.get_mut(&id)?.result = Some(result);
        self.conclude(id)
    }

    /// The process has something to tell: its end. The result, if it is known by now.
    pub fn ended(&mut self, id: DraftId) -> Option<(DraftId, Made)> {
        let making = self.makings.get_mut(&id)?;
        let child = making.child.as_mut()?;
        match child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => making.ended = Some(status),
            Err(error) => {
                log::error!("the process that reads the Edgefile cannot be waited for: {error}");
                making.ended = Some(ExitStatus::Exited(-1));
            }
        }
        let _nothing_more_comes = self.registry.deregister(child);
        making.child = None;
        self.conclude(id)
    }

    /// The result of a making is not wanted any more.
    pub fn cancel(&mut self, id: DraftId) {
        if let Some(making) = self.makings.get_mut(&id) {
            making.is_cancelled = true;
            making.kill();
        }
    }

    /// Kills what is late.
    pub fn expire(&mut self, now: Instant) {
        for making in self.makings.values_mut() {
            if making.deadline.is_some_and(|deadline| now >= deadline) {
                making.kill();
            }
        }
    }

    /// Kills every process, and waits for them: nothing is wanted any more.
    pub fn end(&mut self) {
        for mut child in self.makings.values_mut().filter_map(|making| making.child.take()) {
            let _gone_already = child.signal(Signal::SIGKILL);
            if let Err(error) = child.wait() {
                log::debug!("{} was reaped by somebody else: {error}", child.pid());
            }
        }
        self.makings.clear();
    }

    /// When [`Self::expire`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.makings.values().filter_map(|making| making.deadline).min()
    }

    /// Whether `pid` is one of the processes.
    pub fn owns(&self, pid: u32) -> bool {
        let mut children = self.makings.values().filter_map(|making| making.child.as_ref());
        children.any(|child| child.pid() == pid)
    }

    fn conclude(&mut self, id: DraftId) -> Option<(DraftId, Made)> {
        let making = self.makings.get(&id)?;
        if making.child.is_some() || making.result.is_none() {
            return None;
        }
        let making = self.makings.remove(&id)?;
        if making.is_cancelled {
            return None;
        }
        let was_late = making.ended.is_some() && making.deadline.is_none();
        let made = making.result?.map_err(|unmade| match unmade {
            Unmade::Rejected(failure) => failure,
            Unmade::Garbled(how) => crashed(making.ended, was_late, &how),
        });
        Some((id, made))
    }
}

impl Making {
    fn kill(&mut self) {
        self.deadline = None;
        if let Some(child) = &self.child
            && let Err(error) = child.signal(Signal::SIGKILL)
        {
            log::error!("the process that reads the Edgefile cannot be killed: {error}");
        }
    }
}

fn crashed(ended: Option<ExitStatus>, was_late: bool, how: &str) -> Failure {
    let process = "the process that reads the Edgefile";
    let detail = match ended {
        _ if was_late => {
            format!("{process} took longer than {} s", limits::COMPILE_TIMEOUT.as_secs())
        }
        Some(ExitStatus::Exited(0)) | None => format!("{process} cannot be understood: {how}"),
        Some(status) => format!("{process} was ended by the file: it {}", verb(status)),
    };
    Failure::new(AttemptCode::ParserCrashed, detail)
}

fn verb(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(_) => status.to_string(),
        ExitStatus::Signaled(..) => format!("was {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_dies_is_told_of_by_its_end() {
        let detail = |ended, late| crashed(ended, late, "EOF").details.concat();
        let died = detail(Some(ExitStatus::Signaled(11, false)), false);
        assert!(died.ends_with("it was killed by SIGSEGV"), "{died}");
        let left = detail(Some(ExitStatus::Exited(101)), false);
        assert!(left.ends_with("it exited 101"), "{left}");
        let late = detail(Some(ExitStatus::Signaled(9, false)), true);
        assert!(late.ends_with("took longer than 10 s"), "{late}");
        let odd = detail(Some(ExitStatus::Exited(0)), false);
        assert!(odd.ends_with("cannot be understood: EOF"), "{odd}");
        assert_eq!(crashed(None, false, "").code, AttemptCode::ParserCrashed);
    }
}
