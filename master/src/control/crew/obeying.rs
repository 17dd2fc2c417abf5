//! Carrying out what the supervision core decides.

use super::Crew;
use super::news::News;
use crate::control::workshop::Workshop;
use crate::reactor::clock::Clock;
use crate::shared::pools::Address;
use crate::sys::child::Child;
use crate::sys::proc::parent;
use nix::sys::signal::Signal;
use rip::contract::app::AppDescriptor;
use rip::contract::event::Event;
use rip::ids::WorkerId;
use rip::limits;
use rip::supervise::{Cause, Exit, Output};
use std::io;
use std::time::Duration;

impl Crew {
    pub(super) fn obey(
        &mut self,
        output: Output,
        shop: &Workshop,
        clock: &Clock,
        news: &mut Vec<News>,
    ) {
        let now = clock.now();
        match output {
            Output::Spawn { worker, generation, slot } => {
                self.spawn((worker, generation, slot), shop, clock, news);
            }
            Output::Admit { worker } => {
                self.admit(worker, clock, news);
                news.push(News::Admitted);
            }
            Output::Abort { worker } => self.abort(worker),
            Output::Retire { worker } => {
                self.health.forget(worker, now);
                self.pool.retire(worker, now);
                // A worker that asked for it was retired before, and may have been idle since.
                let view = self.pool.view(|pool| pool.worker(worker));
                if view.is_none_or(|view| view.is_idle()) {
                    self.core.idle(worker, now);
                }
            }
            Output::AnswerQuit { worker, drained } => {
                news.push(News::QuitAnswered { worker, drained });
            }
            Output::Terminate { worker } => {
                self.health.forget(worker, now);
                self.with_child(worker, |child| child.signal(Signal::SIGTERM));
            }
            Output::Kill { worker } => {
                self.with_child(worker, |child| child.kill_group(Signal::SIGKILL));
            }
            Output::AppAbandoned(abandoned) => self.pool.set_abandoned(abandoned, now),
            Output::Hopeless { reason, .. } => news.push(News::Hopeless(reason)),
            Output::Gone { worker, exit, expected } => {
                self.gone(worker, exit, expected, news);
                news.push(News::Gone(worker));
            }
            Output::Restart { worker, attempt, backoff, reason } => {
                let stderr = self.lines_of(worker);
                news.push(News::Failed { reason: reason.clone(), stderr });
                let backoff_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX);
                let app = self.app_id();
                let event =
                    Event::WorkerRestart { app, worker_id: worker, attempt, backoff_ms, reason };
                news.push(News::Event(event));
            }
            Output::Abandon { worker, failures, reason } => {
                let stderr = self.lines_of(worker);
                news.push(News::Failed { reason: reason.clone(), stderr: stderr.clone() });
                let app = self.app_id();
                let event = Event::WorkerAbandon {
                    app,
                    worker_id: worker,
                    restarts: failures,
                    reason,
                    stderr,
                };
                news.push(News::Event(event));
            }
            Output::Recycle { worker, reason } => {
                let app = self.app_id();
                let event = Event::WorkerRecycle { app, worker_id: worker, reason };
                news.push(News::Event(event));
            }
            Output::RollStarted { generation, cause: Cause { reason, path } } => {
                self.roll_began = Some(now);
                let app = self.app_id();
                let reason = reason.to_owned();
                news.push(News::Event(Event::RollStart { app, generation, reason, path }));
            }
            Output::RollStepped(progress) => news.push(News::RollStepped(progress)),
            Output::RollDone { generation } => {
                let took = now.since(self.roll_began.take().unwrap_or(now));
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let app = self.app_id();
                news.push(News::Event(Event::RollDone { app, generation, took_ms }));
                news.push(News::RollDone { generation });
            }
            Output::RollAborted { generation, failed, reason } => {
                let stderr = failed.map(|failed| self.lines_of(failed)).unwrap_or_default();
                news.push(News::Event(Event::RollAborted {
                    app: self.app_id(),
                    generation,
                    reason: reason.clone(),
                    stderr: stderr.clone(),
                }));
                news.push(News::RollAborted { generation, reason, stderr });
            }
            Output::Scaled { workers } => news.push(News::Scaled { workers }),
            Output::ScaleFailed { workers, failed, reason } => {
                let stderr = failed.map(|failed| self.lines_of(failed)).unwrap_or_default();
                news.push(News::ScaleFailed { workers, reason, stderr });
            }
            Output::DrainFailed { worker, failed, reason } => {
                let stderr = failed.map(|failed| self.lines_of(failed)).unwrap_or_default();
                news.push(News::DrainFailed { worker, reason, stderr });
            }
        }
    }

    /// Lets the app dump where it is. Its process is not our child, so it must prove to be the
    /// shim's before it gets a signal.
    fn abort(&self, worker: WorkerId) {
        let Some(hosted) = self.workers.get(&worker) else { return };
        let Some((app_pid, shim)) = hosted.app_pid.zip(hosted.pid()) else { return };
        let aborted = Child::open(app_pid).and_then(|app| match parent(app_pid) {
            Some(parent) if parent == shim => app.signal(Signal::SIGABRT),
            _ => Ok(()),
        });
        if let Err(error) = aborted {
            log::debug!("the app of {worker} cannot be aborted: {error}");
        }
    }

    fn admit(&mut self, worker: WorkerId, clock: &Clock, news: &mut Vec<News>) {
        let Some(hosted) = self.workers.get(&worker) else { return };
        let Some((_, generation)) = self.core.worker(worker) else { return };
        let idle = idle_of(&self.app);
        let address = Address {
            worker,
            socket_path: hosted.socket.clone(),
            keep_alive: hosted.keep_alive,
            idle,
        };
        let took = clock.now().since(hosted.started);
        let event = Event::WorkerReady {
            app: self.app_id(),
            worker_id: worker,
            generation,
            app_pid: hosted.app_pid.unwrap_or_default(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        self.pool.join(generation, address, clock.now());
        self.health.look_after(worker, &mut self.random, clock.now());
        news.push(News::Event(event));
    }

    fn gone(&mut self, worker: WorkerId, exit: Option<Exit>, expected: bool, news: &mut Vec<News>) {
        let Some(hosted) = self.workers.get(&worker) else { return };
        let status = exit.map_or_else(|| "was never started".to_owned(), |exit| exit.to_string());
        let event = Event::WorkerExit {
            app: self.app_id(),
            worker_id: worker,
            pid: hosted.pid().unwrap_or_default(),
            status: status.clone(),
            expected,
            stderr: if expected { Vec::new() } else { hosted.last_lines.clone() },
        };
        let slot = hosted.slot;
        news.push(News::Event(event));
        self.last_exits.insert(slot, status);
    }

    fn with_child(&mut self, worker: WorkerId, act: impl Fn(&mut Child) -> io::Result<()>) {
        let child = self.workers.get_mut(&worker).and_then(|hosted| hosted.child.as_mut());
        if let Some(child) = child
            && let Err(error) = act(child)
        {
            log::debug!("{worker} cannot be signalled: {error}");
        }
    }

    fn lines_of(&self, worker: WorkerId) -> Vec<String> {
        self.workers.get(&worker).map(|hosted| hosted.last_lines.clone()).unwrap_or_default()
    }
}

/// How long an idle link to the app's workers is kept.
pub(super) fn idle_of(app: &AppDescriptor) -> Option<Duration> {
    let chosen = app.timeouts.keepalive;
    if app.launch.runtime.keeps_links() {
        return chosen;
    }
    // A server that is not ours may close an idle link at the moment we use it.
    Some(chosen.unwrap_or(limits::LINK_KEEPALIVE))
}
