//! A worker's life after its app was started: one loop over signals, the lifeline, the app's
//! status pipe, the probe and the control connection.
//!
//! ```text
//! Readying ──ready──▶ Joining ──accepted──▶ Serving ──SIGTERM, STOPPING=1──▶ Quitting
//!    │                   │                     │                                │ answered, or too long
//!    │ exit, timeout     │ refused, lost       │ app gone: a crash              ▼
//!    ▼                   ▼                     ▼                            Stopping ──▶ end
//!  failed              failed                 end    lifeline ended, from anywhere ─▲
//! ```
//!
//! The app has a deadline, the master has none: it answers a join as long as it lives, however late
//! it wakes, and its death ends the lifeline.
//!
//! However it ends, no descendant is left.

use crate::adapters::node;
use crate::boot::release_text;
use crate::drain::{Family, Fate};
use crate::join::{Control, Reply};
use crate::ready::Prober;
use crate::report::{Failure, Reporter};
use crate::status::{Said, StatusPipe};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rip::contract::app::Reload;
use rip::limits;
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::mem::discriminant;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// All a life needs from the boot.
pub(crate) struct Life<'a> {
    pub spec: &'a WorkerSpec,
    pub reporter: &'a mut Reporter,
    pub signals: SignalFd,
    pub lifeline: OwnedFd,
    pub status: StatusPipe,
    pub control: Control,
    pub family: Family,
    pub stop_signal: Signal,
    /// The app must be ready by then.
    pub ready_by: Instant,
    /// The app's files have changed since it was started, and it does not know.
    pub reload: bool,
}

/// How a life ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// As the app did.
    Fate(Fate),
    /// The app stopped when it was asked to.
    Stopped,
    /// It never served; that was reported.
    Failed,
}

enum Phase {
    Readying(Box<Prober>),
    Joining { leave: bool },
    Serving,
    Quitting { until: Instant },
    Stopping { kill_at: Instant, rest_asked: bool },
}

/// Longest wait for the answer to a quit: the master answers at its own drain deadline.
const QUIT_TIMEOUT: Duration = limits::DRAIN_TIMEOUT.saturating_add(limits::SHUTDOWN_SLACK);

impl Life<'_> {
    /// Lives until nothing of the app is left.
    pub(crate) fn run(mut self, prober: Prober) -> Ending {
        let mut phase = Phase::Readying(Box::new(prober));
        let mut excuse = None;
        loop {
            let lifeline_ended = self.wait(&phase);
            let now = Instant::now();
            if lifeline_ended && !matches!(phase, Phase::Stopping { .. }) {
                phase = self.stop(now);
            }
            for said in self.status.turn() {
                match (said, &mut phase) {
                    (Said::Ready, Phase::Readying(prober)) => prober.app_says_ready(now),
                    (Said::Stopping, Phase::Serving | Phase::Joining { .. }) => {
                        phase = self.leave(phase, now);
                    }
                    (Said::Status(text), _) => excuse = Some((BootStage::Ready, text)),
                    (Said::Missing(text), _) => excuse = Some((BootStage::Find, text)),
                    (Said::Ready | Said::Stopping, _) => {}
                }
            }
            if self.asked_to_stop() {
                phase = self.leave(phase, now);
            }
            if matches!(phase, Phase::Serving) && std::mem::take(&mut self.reload) {
                self.family.signal_app(Signal::SIGUSR1);
            }
            // An answer can be there before anybody waits for it: on until nothing changes.
            loop {
                let before = discriminant(&phase);
                match self.advance(phase, excuse.as_ref(), now) {
                    Ok(next) => phase = next,
                    Err(ending) => {
                        self.family.end();
                        return ending;
                    }
                }
                if discriminant(&phase) == before {
                    break;
                }
            }
        }
    }

    /// Sleeps until something happens or a deadline comes; true when the master is gone.
    fn wait(&self, phase: &Phase) -> bool {
        let interest = |writing| match writing {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let probe = match phase {
            Phase::Readying(prober) => prober.waits_for(),
            _ => None,
        };
        let mut fds = vec![
            PollFd::new(self.lifeline.as_fd(), PollFlags::empty()),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.status.waits_for().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let connections = [probe, self.control.waits_for()].into_iter().flatten();
        fds.extend(connections.map(|(fd, writing)| PollFd::new(fd, interest(writing))));
        let _ = poll(&mut fds, timeout(self.deadline(phase)));
        fds[0]
            .revents()
            .is_some_and(|seen| seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }

    fn deadline(&self, phase: &Phase) -> Option<Instant> {
        match phase {
            Phase::Readying(prober) => {
                Some(prober.deadline().map_or(self.ready_by, |probe| probe.min(self.ready_by)))
            }
            Phase::Joining { .. } | Phase::Serving => None,
            Phase::Quitting { until } => Some(*until),
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
        }
    }

    /// Takes all pending signals: reaps what has ended, notes a wish to reload, and says whether one
    /// asked us to stop.
    fn asked_to_stop(&mut self) -> bool {
        let mut asked = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGCHLD)) => {}
                // Anything but our adapter would die of it.
                Ok(Ok(Signal::SIGUSR1)) => self.reload = self.spec.reload == Reload::Module,
                _ => asked = true,
            }
        }
        self.family.reap();
        asked
    }

    /// The worker shall go: first out of the pool, then down. Asked again, it goes down at once.
    fn leave(&mut self, phase: Phase, now: Instant) -> Phase {
        match phase {
            Phase::Joining { leave: false } => Phase::Joining { leave: true },
            Phase::Serving => {
                self.control.quit(self.spec);
                Phase::Quitting { until: now + QUIT_TIMEOUT }
            }
            Phase::Readying(_) | Phase::Joining { leave: true } | Phase::Quitting { .. } => {
                self.stop(now)
            }
            Phase::Stopping { .. } => phase,
        }
    }

    /// Asks the app to stop.
    fn stop(&mut self, now: Instant) -> Phase {
        self.reporter.close();
        self.family.signal_app(self.stop_signal);
        let kill_at = now + Duration::from_millis(self.spec.kill_timeout_ms);
        Phase::Stopping { kill_at, rest_asked: false }
    }

    /// Moves on by what is true now.
    fn advance(
        &mut self,
        phase: Phase,
        excuse: Option<&(BootStage, String)>,
        now: Instant,
    ) -> Result<Phase, Ending> {
        if let Some(fate) = self.family.fate() {
            return self.without_app(phase, fate, excuse, now);
        }
        match phase {
            Phase::Readying(prober) => self.readying(prober, excuse, now),
            Phase::Joining { leave } => self.joining(leave, now),
            Phase::Serving => {
                self.control.turn();
                Ok(phase)
            }
            Phase::Quitting { until } => match self.control.turn() {
                None if now < until => Ok(phase),
                _ => Ok(self.stop(now)),
            },
            Phase::Stopping { kill_at, .. } if kill_at <= now => {
                self.family.end();
                Err(self.ending(self.family.fate()))
            }
            Phase::Stopping { .. } => Ok(phase),
        }
    }

    fn readying(
        &mut self,
        mut prober: Box<Prober>,
        excuse: Option<&(BootStage, String)>,
        now: Instant,
    ) -> Result<Phase, Ending> {
        if let Some(keep_alive) = prober.turn(now) {
            self.control.join(self.spec, self.family.app_pid(), keep_alive);
            return Ok(Phase::Joining { leave: false });
        }
        if self.ready_by <= now {
            let message = format!(
                "the app was not ready within {} ms: {}",
                self.spec.start_timeout_ms,
                excuse.map_or_else(|| prober.last(), |(_, text)| text)
            );
            return Err(self.failed(BootStage::Ready, message));
        }
        Ok(Phase::Readying(prober))
    }

    fn joining(&mut self, leave: bool, now: Instant) -> Result<Phase, Ending> {
        match self.control.turn() {
            Some(Reply::Accepted) => {
                self.reporter.close();
                // From here on it waits, mostly.
                release_text();
                Ok(if leave { self.leave(Phase::Serving, now) } else { Phase::Serving })
            }
            Some(Reply::Refused(why)) => {
                Err(self.failed(BootStage::Join, format!("the master refused the worker: {why}")))
            }
            Some(Reply::Lost) => {
                let message = "the master closed the control connection".to_owned();
                Err(self.failed(BootStage::Join, message))
            }
            None => Ok(Phase::Joining { leave }),
        }
    }

    /// The app's process has ended.
    fn without_app(
        &mut self,
        phase: Phase,
        fate: Fate,
        excuse: Option<&(BootStage, String)>,
        now: Instant,
    ) -> Result<Phase, Ending> {
        match phase {
            // It has served: its first request may come before the answer to the join is read.
            Phase::Joining { .. } if matches!(self.control.turn(), Some(Reply::Accepted)) => {
                Err(Ending::Fate(fate))
            }
            Phase::Readying(_) | Phase::Joining { .. } => {
                let (stage, message) = match excuse {
                    Some((stage, text)) => (*stage, text.clone()),
                    None if fate == Fate::Exited(0) => {
                        let message = "the app's process ended (exited with status 0) \
                                       before it was ready; it must stay in the foreground";
                        (BootStage::Ready, message.to_owned())
                    }
                    None => match node::refusal(self.spec.launch.runtime, fate) {
                        Some(message) => (BootStage::Find, message.to_owned()),
                        None => (BootStage::Ready, format!("the app {fate} before it was ready")),
                    },
                };
                Err(self.failed(stage, message))
            }
            Phase::Serving | Phase::Quitting { .. } => Err(Ending::Fate(fate)),
            Phase::Stopping { kill_at, .. } if self.family.is_extinct() || kill_at <= now => {
                Err(self.ending(Some(fate)))
            }
            // A wrapper is gone and its server is not: it is asked as well, until the deadline.
            Phase::Stopping { kill_at, rest_asked } => {
                if !rest_asked {
                    self.family.signal_rest(self.stop_signal);
                }
                Ok(Phase::Stopping { kill_at, rest_asked: true })
            }
        }
    }

    fn failed(&mut self, stage: BootStage, message: String) -> Ending {
        let failure = Failure::plain(stage, message);
        self.reporter.failed(&failure);
        Ending::Failed
    }

    /// Dying of the signal that asked for it is how many programs stop.
    fn ending(&self, fate: Option<Fate>) -> Ending {
        match fate {
            None => Ending::Stopped,
            Some(Fate::Killed(signal)) if signal == self.stop_signal => Ending::Stopped,
            Some(fate) => Ending::Fate(fate),
        }
    }
}

/// Rounded up, so that the deadline has passed when the wait ends.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000);
    i32::try_from(millis).ok().and_then(|millis| millis.try_into().ok()).unwrap_or(PollTimeout::MAX)
}
