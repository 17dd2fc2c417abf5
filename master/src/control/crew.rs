//! One app's worker processes: carries out what the supervision core decides, and tells it what
//! became of them.

use super::boot_pipe::BootPipe;
use super::health::Probes;
use super::workshop::Workshop;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::Sender;
use crate::shared::log::LogSink;
use crate::shared::mail::{ControlMessage, StuckExchange};
use crate::shared::pools::{Address, AppPool};
use crate::sys::child::{Child, ExitStatus};
use crate::sys::proc::{parent, rss_bytes};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use rip::contract::app::{AppDescriptor, Launch, Runtime};
use rip::contract::event::Event;
use rip::entropy::Xoshiro;
use rip::ids::{AppId, Generation, WorkerId};
use rip::limits;
use rip::supervise::supervisor::Refusal;
use rip::supervise::{
    Cause, Exit, Output, Policy, RollProgress, Stage, Supervisor, Wish, WorkerIds,
};
use rip::time::Instant;
use rip::wire::admit::Expected;
use rip::wire::boot::BootReport;
use rip::wire::spec::WorkerSpec;
use rip::wire::verb::Join;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One app's processes.
pub struct Crew {
    /// The pool its workers serve in.
    pub pool: Arc<AppPool>,
    app: AppDescriptor,
    core: Supervisor,
    /// A setup has ended well.
    set_up: bool,
    workers: BTreeMap<WorkerId, Hosted>,
    health: Probes,
    random: Xoshiro,
    /// How each slot's last worker ended.
    last_exits: BTreeMap<usize, String>,
    /// When the roll under way began.
    roll_began: Option<Instant>,
    /// When workers are looked at next, requests and memory; `None` when that matters to nobody.
    look_at: Option<Instant>,
    weigh_at: Instant,
    urls: Vec<String>,
    gear: Gear,
}

/// What every crew works with.
pub struct Gear {
    /// Of the main loop.
    pub registry: Registry,
    /// Where workers' output goes.
    pub log: LogSink,
    /// Where the log agent answers, and the pools.
    pub mail: Sender<ControlMessage>,
}

impl Gear {
    /// The same for one more.
    ///
    /// # Errors
    /// When the system refuses another handle of the event loop.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (log, mail) = (self.log.clone(), self.mail.clone());
        Ok(Self { registry: self.registry.try_clone()?, log, mail })
    }

    /// The main loop's mailbox.
    pub fn control(&self) -> Sender<ControlMessage> {
        self.mail.clone()
    }
}

/// What the rest of the master must hear.
pub enum News {
    /// A worker joined.
    Admitted,
    /// A worker that an operator wanted replaced goes on serving: its replacement failed.
    DrainFailed {
        /// The worker that stays.
        worker: WorkerId,
        /// Why.
        reason: String,
        /// The last lines the failed one wrote to stderr.
        stderr: Vec<String>,
    },
    /// Something worth telling the operator.
    Event(Event),
    /// A worker's process is gone.
    Gone(WorkerId),
    /// A worker's quit can be answered.
    QuitAnswered {
        /// The worker.
        worker: WorkerId,
        /// Its last lease had ended.
        drained: bool,
    },
    /// The app cannot start, and a restart would not help.
    Hopeless(String),
    /// A fresh worker did not become ready: the old generation goes on serving.
    RollAborted {
        /// The generation that failed.
        generation: Generation,
        /// Why.
        reason: String,
        /// The last lines the failed worker wrote to stderr.
        stderr: Vec<String>,
    },
    /// Every slot has a worker of this generation, and no older one lives.
    RollDone {
        /// The generation.
        generation: Generation,
    },
    /// One more fresh worker serves.
    RollStepped(RollProgress),
    /// The wanted number of workers serves, and those dismissed have ended.
    Scaled {
        /// How many.
        workers: usize,
    },
    /// The wanted number of workers does not serve (yet).
    ScaleFailed {
        /// How many were wanted.
        workers: usize,
        /// Why.
        reason: String,
        /// The last lines the failed worker wrote to stderr.
        stderr: Vec<String>,
    },
}

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
    child: Option<Child>,
    boot: Option<BootPipe>,
    token: String,
    slot: usize,
    /// Where it listens.
    pub socket: PathBuf,
    /// When it was forked, in milliseconds since the epoch.
    pub started_wall: u64,
    started: Instant,
    /// The app's own process, once it is known.
    pub app_pid: Option<u32>,
    keep_alive: bool,
    /// How often it was told to load the app anew.
    reloads: u32,
    /// It has ended; its last lines are awaited until then.
    ended: Option<(Exit, Instant)>,
    last_lines: Vec<String>,
}

impl Hosted {
    /// The shim's pid.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }
}

impl Crew {
    /// No worker yet: the first [`Self::settle`] starts them.
    ///
    /// # Errors
    /// When the system refuses another handle of the event loop, or random numbers.
    pub fn new(
        pool: Arc<AppPool>,
        app: AppDescriptor,
        generation: Generation,
        urls: Vec<String>,
        gear: Gear,
        now: Instant,
    ) -> io::Result<Self> {
        let policy = Policy::from(&app);
        let looks = policy.recycle.requests.is_some() || policy.recycle.max_rss_bytes.is_some();
        let host = probe_host(&app);
        let mut core = Supervisor::new(policy, generation, now);
        if app.launch.setup.is_some() {
            core.require_setup();
        }
        Ok(Self {
            core,
            set_up: false,
            workers: BTreeMap::new(),
            health: Probes::new(
                Arc::clone(&pool),
                &app.health_check,
                &host,
                gear.registry.try_clone()?,
                now,
            ),
            random: Xoshiro::new(random_seed()?),
            last_exits: BTreeMap::new(),
            roll_began: None,
            look_at: looks.then_some(now),
            weigh_at: now,
            pool,
            app,
            urls,
            gear,
        })
    }

    /// Expires deadlines and starts workers; carries out everything decided so far.
    pub fn settle(
        &mut self,
        ids: &mut WorkerIds,
        shop: &Workshop,
        clock: &Clock,
        news: &mut Vec<News>,
    ) {
        let silent: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, hosted)| hosted.ended.is_some_and(|(_, until)| clock.now() >= until))
            .map(|(worker, _)| *worker)
            .collect();
        for worker in silent {
            self.bury(worker, Vec::new(), clock);
        }
        self.look(clock.now());
        self.ask(clock.now(), news);
        self.core.settle(ids, &mut self.random, clock.now());
        self.carry_out(shop, clock, news);
        self.pool.set_short(self.core.is_short());
    }

    /// Carries out everything decided so far.
    pub fn carry_out(&mut self, shop: &Workshop, clock: &Clock, news: &mut Vec<News>) {
        while let Some(output) = self.core.poll_output() {
            self.obey(output, shop, clock, news);
        }
        let core = &self.core;
        self.workers.retain(|worker, hosted| {
            hosted.ended.is_none() && hosted.child.is_some() || core.worker(*worker).is_some()
        });
    }

    /// When [`Self::settle`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let silences = self.workers.values().filter_map(|hosted| Some(hosted.ended?.1));
        let looks = self.look_at.filter(|_| self.core.ready_count() > 0);
        let others = [self.core.next_deadline(), self.health.next_deadline(), looks];
        others.into_iter().flatten().chain(silences).min()
    }

    /// Puts a fresh worker in every slot. The answer is the generation that [`News::RollDone`] or
    /// [`News::RollAborted`] will name; all that ask while a roll runs get the one that follows it.
    ///
    /// # Errors
    /// When the server is ending.
    pub fn roll(&mut self, cause: Cause, now: Instant) -> Result<Generation, Refusal> {
        self.core.roll(cause, now)
    }

    /// How far the roll under way has come.
    pub fn roll_progress(&self) -> Option<RollProgress> {
        self.core.roll_progress()
    }

    /// Wants `workers` of them, at least one. [`News::Scaled`] or [`News::ScaleFailed`] follows.
    ///
    /// # Errors
    /// When the server is ending.
    pub fn scale(&mut self, workers: usize, now: Instant) -> Result<(), Refusal> {
        self.core.scale(workers, now)?;
        let wanted = u32::try_from(self.core.wanted()).unwrap_or(u32::MAX);
        self.pool.configure(&self.app, wanted, now);
        Ok(())
    }

    /// How many workers should serve.
    pub fn wanted(&self) -> usize {
        self.core.wanted()
    }

    /// Replaces a worker by a fresh one, which is ready before the old one is retired.
    /// [`News::Gone`] or [`News::DrainFailed`] follows.
    ///
    /// # Errors
    /// When the server is ending, or the worker is leaving or unknown.
    pub fn drain(&mut self, worker: WorkerId, now: Instant) -> Result<(), Refusal> {
        self.core.replace(worker, Wish::Drain, now)
    }

    /// Replaces a worker that has reached the limit `reason`, when its turn comes.
    pub fn recycle(&mut self, worker: WorkerId, reason: &'static str, now: Instant) {
        let _gone_or_going = self.core.replace(worker, Wish::Recycle(reason), now);
    }

    /// Tells the workers to load the app anew; one that has done so often enough is replaced
    /// after it. The answer is how many were told.
    pub fn reload_modules(&mut self, now: Instant) -> usize {
        let most = self.app.recycle.reloads.unwrap_or(u32::MAX);
        let mut told = 0;
        let mut worn_out = Vec::new();
        for (worker, hosted) in &mut self.workers {
            let stage = self.core.worker(*worker).map(|(stage, _)| stage);
            let runs = matches!(stage, Some(Stage::Booting | Stage::Proving | Stage::Ready));
            // Before the app's process runs it has read nothing that could have changed.
            let Some(child) = hosted.child.as_mut() else { continue };
            if !runs || hosted.app_pid.is_none() {
                continue;
            }
            hosted.reloads += 1;
            if let Err(error) = child.signal(Signal::SIGUSR1) {
                log::debug!("{worker} cannot be told of changes: {error}");
            }
            told += 1;
            if hosted.reloads >= most {
                worn_out.push(*worker);
            }
        }
        for worker in worn_out {
            self.recycle(worker, "reloads", now);
        }
        told
    }

    /// Whether a setup has ended well since this was asked last.
    pub fn take_set_up(&mut self) -> bool {
        std::mem::take(&mut self.set_up)
    }

    /// A worker does not end an exchange: it is aborted and replaced.
    pub fn stuck(&mut self, exchange: StuckExchange, now: Instant) -> Option<Event> {
        let StuckExchange { worker, request_id, method, path, age } = exchange;
        self.core.stuck(worker, now).then(|| Event::WorkerStuck {
            app: self.app_id(),
            worker_id: worker,
            request_id: Some(request_id),
            method: Some(method),
            path: Some(path),
            age_ms: Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// The server is about to end: nothing new is begun, and who waits for a roll, a scale or a
    /// drain is told.
    pub fn wind_down(&mut self, now: Instant) {
        self.core.wind_down(now);
    }

    /// No process is left.
    pub fn is_gone(&self) -> bool {
        self.core.worker_count() == 0
    }

    /// The core, to be told of facts and to be looked at.
    pub fn core(&mut self) -> &mut Supervisor {
        &mut self.core
    }

    /// The app.
    pub fn descriptor(&self) -> &AppDescriptor {
        &self.app
    }

    /// Whether the worker is one of them.
    pub fn has(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker) || self.core.worker(worker).is_some()
    }

    /// Whether `pid` is one of our shims.
    pub fn owns(&self, pid: u32) -> bool {
        self.workers.values().any(|hosted| hosted.ended.is_none() && hosted.pid() == Some(pid))
    }

    /// Whether process `pid` is the worker's shim. A peer in a namespace we cannot see has none.
    pub fn is_shim_of(&self, pid: u32, worker: WorkerId) -> bool {
        pid == 0 || self.workers.get(&worker).and_then(Hosted::pid) == Some(pid)
    }

    /// The workers with a process, by id.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &Hosted)> {
        self.workers.iter().map(|(worker, hosted)| (*worker, hosted))
    }

    /// Where the worker is in its life, and the code it runs.
    pub fn stage(&self, worker: WorkerId) -> Option<(Stage, Generation)> {
        self.core.worker(worker)
    }

    /// How the worker's predecessor in its slot ended.
    pub fn last_exit_before(&self, worker: WorkerId) -> Option<&str> {
        let hosted = self.workers.get(&worker)?;
        self.last_exits.get(&hosted.slot).map(String::as_str)
    }

    /// Workers that are offered work, restarts so far, given up or not, the code new workers run.
    pub fn summary(&self) -> Summary {
        Summary {
            ready: self.core.ready_count(),
            wanted: self.core.wanted(),
            restarts: self.core.restart_count(),
            abandoned: self.core.app_abandoned(),
            generation: self.core.generation(),
            ever_ready: self.core.ever_ready(),
        }
    }

    /// What a claim to be this worker is compared with.
    pub fn expected(&self, worker: WorkerId) -> Option<Expected<'_>> {
        let hosted = self.workers.get(&worker).filter(|hosted| hosted.ended.is_none())?;
        let (_, generation) = self.core.worker(worker)?;
        Some(Expected { app_id: &self.app.id, generation, token: &hosted.token })
    }

    /// An admitted worker joins.
    ///
    /// # Errors
    /// When it has been told to go.
    pub fn join(&mut self, join: &Join, now: Instant) -> Result<(), Refusal> {
        let hosted = self.workers.get_mut(&join.worker_id).ok_or(Refusal::Unknown)?;
        hosted.app_pid = Some(join.app_pid);
        hosted.keep_alive = join.keep_alive;
        self.core.join(join.worker_id, now)
    }

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

    fn obey(&mut self, output: Output, shop: &Workshop, clock: &Clock, news: &mut Vec<News>) {
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
                if view.is_none_or(|view| view.inflight == 0) {
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
                let backoff_ms = u64::try_from(backoff.as_millis()).unwrap_or(u64::MAX);
                let app = self.app_id();
                let event =
                    Event::WorkerRestart { app, worker_id: worker, attempt, backoff_ms, reason };
                news.push(News::Event(event));
            }
            Output::Abandon { worker, failures, reason } => {
                let stderr = self.lines_of(worker);
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

    /// Looks at how many requests workers have had, and at their memory.
    fn look(&mut self, now: Instant) {
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
    fn ask(&mut self, now: Instant, news: &mut Vec<News>) {
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

    fn spawn(
        &mut self,
        (worker, generation, slot): (WorkerId, Generation, usize),
        shop: &Workshop,
        clock: &Clock,
        news: &mut Vec<News>,
    ) {
        let hosted = self.hatch(worker, generation, slot, shop, clock);
        match hosted {
            Ok(hosted) => {
                let pid = hosted.pid().unwrap_or_default();
                self.workers.insert(worker, hosted);
                let app = self.app_id();
                let event = Event::WorkerStart { app, worker_id: worker, generation, pid };
                news.push(News::Event(event));
                self.core.forked(worker, Clock::read());
            }
            Err(error) => {
                let reason = format!("exec: {error}");
                self.core.fork_failed(worker, reason, Clock::read());
            }
        }
    }

    fn hatch(
        &mut self,
        worker: WorkerId,
        generation: Generation,
        slot: usize,
        shop: &Workshop,
        clock: &Clock,
    ) -> io::Result<Hosted> {
        let socket = shop.runtime.worker_socket(worker);
        let token = random_token()?;
        let spec = self.spec(worker, generation, &token, &socket, shop);
        let mut hatched = shop.hatch(&spec)?;
        self.gear.log.adopt(worker, self.app_id(), hatched.stdout, hatched.stderr);
        if let Err(error) = self.watch(&mut hatched.child, Watched::Child(worker)) {
            // A process whose end nobody sees must not be.
            let _gone_already = hatched.child.kill_group(Signal::SIGKILL);
            hatched.child.wait()?;
            return Err(error);
        }
        let boot = BootPipe::new(hatched.boot);
        if let Err(error) = self.watch(&mut SourceFd(&boot.as_raw_fd()), Watched::Boot(worker)) {
            log::error!("the boot reports of {worker} are not heard: {error}");
        }
        Ok(Hosted {
            child: Some(hatched.child),
            boot: Some(boot),
            token,
            slot,
            socket,
            started_wall: clock.wall().0,
            started: clock.now(),
            app_pid: None,
            keep_alive: false,
            reloads: 0,
            ended: None,
            last_lines: Vec::new(),
        })
    }

    fn spec(
        &self,
        worker: WorkerId,
        generation: Generation,
        token: &str,
        socket: &std::path::Path,
        shop: &Workshop,
    ) -> WorkerSpec {
        let app = &self.app;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        WorkerSpec {
            app_id: app.id.clone(),
            worker_id: worker,
            generation,
            token: token.to_owned(),
            control_socket: shop.runtime.control_socket().display().to_string(),
            socket: socket.display().to_string(),
            launch: Launch {
                setup: app.launch.setup.clone().filter(|_| self.core.needs_setup(generation)),
                ..app.launch.clone()
            },
            reload: app.reload,
            health_check: app.health_check.clone(),
            probe_host: probe_host(app),
            env: app.env.clone(),
            urls: self.urls.clone(),
            start_timeout_ms: millis(app.timeouts.start),
            kill_timeout_ms: millis(app.timeouts.kill),
            master_pid: std::process::id(),
        }
    }

    fn admit(&mut self, worker: WorkerId, clock: &Clock, news: &mut Vec<News>) {
        let Some(hosted) = self.workers.get(&worker) else { return };
        let Some((_, generation)) = self.core.worker(worker) else { return };
        let timeouts = &self.app.timeouts;
        // A server that is not ours may close an idle link at the moment we use it.
        let idle = match self.app.launch.runtime {
            Runtime::Command => Some(timeouts.keepalive.unwrap_or(limits::LINK_KEEPALIVE)),
            Runtime::Builtin | Runtime::Python => timeouts.keepalive,
        };
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

    fn bury(&mut self, worker: WorkerId, lines: Vec<String>, clock: &Clock) {
        let Some(hosted) = self.workers.get_mut(&worker) else { return };
        let Some((exit, _)) = hosted.ended else { return };
        hosted.last_lines = lines;
        self.gear.log.forget(worker);
        self.core.exited(worker, exit, clock.now());
    }

    fn watch(&self, source: &mut impl mio::event::Source, what: Watched) -> io::Result<()> {
        self.gear.registry.register(source, what.into(), Interest::READABLE)
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

    fn app_id(&self) -> AppId {
        self.app.id.clone()
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match status {
        ExitStatus::Exited(code) => Exit::Exited(code),
        ExitStatus::Signaled(signal, _core) => Exit::Signaled(signal),
    }
}

/// Whom questions to a worker are addressed to.
fn probe_host(app: &AppDescriptor) -> String {
    app.hosts.first().cloned().unwrap_or_else(|| "localhost".to_owned())
}

/// How an app's processes are doing.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Workers that are offered work.
    pub ready: usize,
    /// Workers that should be.
    pub wanted: usize,
    /// Restarts after failures so far.
    pub restarts: u64,
    /// Every slot is given up.
    pub abandoned: bool,
    /// The code new workers run.
    pub generation: Generation,
    /// Some worker has joined at some time.
    pub ever_ready: bool,
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A secret of 256 bits in hexadecimal.
fn random_token() -> io::Result<String> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How long the last lines of an ended worker are awaited before its exit is judged without them.
const LINES_WAIT: Duration = Duration::from_secs(1);
/// How long killed processes are waited for when the master must end.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Between looks at how many requests workers have had.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Between looks at their memory.
const WEIGH_INTERVAL: Duration = Duration::from_secs(1);
