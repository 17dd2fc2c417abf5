//! Watching over workers: what they report, what they use, and how they end.

use super::Crew;
use super::hosted::Watched;
use super::news::News;
use crate::reactor::clock::Clock;
use crate::sys::child::ExitStatus;
use crate::sys::proc::rss_bytes;
use mio::unix::SourceFd;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use rip::contract::event::Event;
use rip::ids::WorkerId;
use rip::supervise::{Exit, Wish};
use rip::time::Instant;
use rip::wire::boot::BootReport;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

impl Crew {
    /// Something that is watched has become readable.
    pub fn ready(&mut self, watched: Watched, clock: &Clock) {
        match watched {
            Watched::Boot(worker) => self.read_boot(worker, clock.now()),
            Watched::Child(worker) => self.reap(worker, clock),
            Watched::Probe(worker) => self.health.ready(worker, clock.now()),
        }
    }

    /// The log agent has read a worker's pipes to their end: its exit can be judged.
    pub fn last_lines(&mut self, worker: WorkerId, lines: Vec<String>, clock: &Clock) {
        self.bury(worker, lines, clock);
    }

    /// Kills every process group and waits for the shims a moment, when there is no time for
    /// manners.
    pub fn kill_and_wait(&mut self) {
        let living = || self.workers.values().filter(|hosted| hosted.ended.is_none());
        for child in living().filter_map(|hosted| hosted.child.as_ref()) {
            let _gone_already = child.kill_group(Signal::SIGKILL);
        }
        let until = Clock::read() + LAST_WAIT;
        let living = self.workers.values_mut().filter(|hosted| hosted.ended.is_none());
        for child in living.filter_map(|hosted| hosted.child.as_mut()) {
            let left = until.since(Clock::read());
            let ended = PollFd::new(child.as_fd(), PollFlags::POLLIN);
            let _told_by_the_reaping = poll(&mut [ended], left.as_millis() as u16);
            if !matches!(child.try_wait(), Ok(Some(_))) {
                log::error!("process {} does not end", child.pid());
            }
        }
    }

    /// Looks at how many requests workers have had, and at their memory.
    pub(super) fn look(&mut self, now: Instant) {
        if self.look_at.is_none_or(|look_at| now < look_at) {
            return;
        }
        self.look_at = Some(now + LOOK_INTERVAL);
        let weighs = now >= self.weigh_at;
        if weighs {
            self.weigh_at = now + WEIGH_INTERVAL;
        }
        let seen: Vec<_> = self
            .pool
            .view(|pool| pool.workers().map(|view| (view.worker, view.requests)).collect());
        for (worker, requests) in seen {
            let app_pid = self.workers.get(&worker).and_then(|hosted| hosted.app_pid);
            let rss = app_pid.filter(|_| weighs).and_then(rss_bytes);
            self.core.observed(worker, requests, rss, now);
        }
    }

    /// Asks workers how they are.
    pub(super) fn ask(&mut self, now: Instant, news: &mut Vec<News>) {
        let workers = &self.workers;
        let socket_of =
            |worker: WorkerId| workers.get(&worker).map(|hosted| hosted.socket.as_path());
        for worker in self.health.settle(socket_of, now) {
            if self.core.replace(worker, Wish::Unhealthy, now).is_ok() {
                news.push(News::Event(Event::WorkerStuck {
                    app: self.app_id(),
                    worker_id: worker,
                    request_id: None,
                    method: None,
                    path: None,
                    age_ms: None,
                }));
            }
        }
    }

    fn read_boot(&mut self, worker: WorkerId, now: Instant) {
        let Some(hosted) = self.workers.get_mut(&worker) else { return };
        let Some(pipe) = &mut hosted.boot else { return };
        let (reports, open) = pipe.read();
        if !open {
            let raw = pipe.as_raw_fd();
            let _closing_it_is_enough = self.gear.registry.deregister(&mut SourceFd(&raw));
            hosted.boot = None;
        }
        for report in reports {
            match report {
                BootReport::Started { app_pid } => {
                    if let Some(hosted) = self.workers.get_mut(&worker) {
                        hosted.app_pid = Some(app_pid);
                    }
                }
                BootReport::SettingUp => self.core.setting_up(worker, now),
                BootReport::SetUp => {
                    self.core.set_up(worker, now);
                    self.set_up = true;
                }
                BootReport::Failed { stage, message, .. } => {
                    self.core.boot_failed(worker, stage, &message, now);
                }
            }
        }
    }

    /// The shim has ended: what is left of its group goes before its id can be used again.
    fn reap(&mut self, worker: WorkerId, clock: &Clock) {
        self.read_boot(worker, clock.now());
        let Some(hosted) = self.workers.get_mut(&worker) else { return };
        if hosted.ended.is_some() {
            return;
        }
        let Some(child) = hosted.child.as_mut() else { return };
        match child.exit_peek() {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => log::error!("{worker} cannot be waited for: {error}"),
        }
        let _the_group_may_be_empty = child.kill_group(Signal::SIGKILL);
        let exit = match child.try_wait() {
            Ok(Some(status)) => exit_of(status),
            Ok(None) => return,
            Err(error) => {
                log::error!("{worker} was reaped by somebody else: {error}");
                Exit::Exited(-1)
            }
        };
        let _nothing_more_comes = self.gear.registry.deregister(child);
        if let Err(error) = std::fs::remove_file(&hosted.socket)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} stays behind: {error}", hosted.socket.display());
        }
        hosted.ended = Some((exit, clock.now() + LINES_WAIT));
        self.health.forget(worker, clock.now());
        self.pool.remove(worker, clock.now());
        self.gear.log.last_lines(worker, self.gear.control());
    }

    pub(super) fn bury(&mut self, worker: WorkerId, lines: Vec<String>, clock: &Clock) {
        let Some(hosted) = self.workers.get_mut(&worker) else { return };
        let Some((exit, _)) = hosted.ended else { return };
        hosted.last_lines = lines;
        self.gear.log.forget(worker);
        self.core.exited(worker, exit, clock.now());
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match status {
        ExitStatus::Exited(code) => Exit::Exited(code),
        ExitStatus::Signaled(signal, _core) => Exit::Signaled(signal),
    }
}

/// How long the last lines of an ended worker are awaited before its exit is judged without them.
const LINES_WAIT: Duration = Duration::from_secs(1);
/// How long killed processes are waited for when the master must end.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Between looks at how many requests workers have had.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Between looks at their memory.
const WEIGH_INTERVAL: Duration = Duration::from_secs(1);
