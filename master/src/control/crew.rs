//! One app's worker processes: carries out what the supervision core decides, and tells it what
//! became of them.

mod hosted;
mod news;
mod obeying;
mod spawning;
mod watching;

pub use hosted::{Hosted, Watched};
pub use news::News;

use super::health::Probes;
use super::runtime_dir::take_socket;
use super::workshop::Workshop;
use crate::reactor::clock::Clock;
use crate::reactor::mailbox::Sender;
use crate::shared::log::LogSink;
use crate::shared::mail::{ControlMessage, StuckExchange};
use crate::shared::pools::AppPool;
use crate::sys::random::random;
use mio::Registry;
use nix::sys::signal::Signal;
use rip::contract::app::{AppDescriptor, Listen};
use rip::contract::event::Event;
use rip::entropy::Xoshiro;
use rip::ids::{AppId, Generation, WorkerId};
use rip::supervise::supervisor::Refusal;
use rip::supervise::{Cause, Policy, RollProgress, Stage, Supervisor, Wish, WorkerIds};
use rip::time::Instant;
use rip::wire::admit::Expected;
use rip::wire::verb::Join;
use spawning::probe_host;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

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
        let looks = looks(&policy);
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
        self.pool.configure(&self.app, self.wanted_u32(), now);
        Ok(())
    }

    fn wanted_u32(&self) -> u32 {
        u32::try_from(self.core.wanted()).unwrap_or(u32::MAX)
    }

    /// Keeps the app as `app` says from now on, without a restart. The number of workers changes
    /// only if `workers` says so: it may have been chosen by hand. What processes are born with
    /// counts for those that are born later.
    ///
    /// # Errors
    /// When the app is ending.
    pub fn configure(
        &mut self,
        app: AppDescriptor,
        urls: Vec<String>,
        workers: Option<usize>,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.urls = urls;
        if app != self.app {
            let policy = Policy::from(&app);
            self.look_at = looks(&policy).then_some(now);
            self.core.configure(policy, &mut self.random, now);
            self.health.configure(&app.health_check, &probe_host(&app), now);
            self.pool.keep_links(obeying::idle_of(&app));
            self.app = app;
        }
        match workers.filter(|workers| *workers != self.wanted()) {
            Some(workers) => self.scale(workers, now),
            None => {
                self.pool.configure(&self.app, self.wanted_u32(), now);
                Ok(())
            }
        }
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

    /// The public URLs that workers are told of.
    pub fn urls(&self) -> &[String] {
        &self.urls
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

    /// Workers that are offered work, given up or not, the code new workers run.
    pub fn summary(&self) -> Summary {
        Summary {
            ready: self.core.ready_count(),
            wanted: self.core.wanted(),
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
        if self.app.user.is_some() && self.app.launch.listen == Listen::Path {
            // Whoever cannot connect then tells why.
            let taken = take_socket(&hosted.socket);
            taken.unwrap_or_else(|error| log::warn!("{}: {error}", hosted.socket.display()));
        }
        self.core.join(join.worker_id, now)
    }

    fn app_id(&self) -> AppId {
        self.app.id.clone()
    }
}

/// How an app's processes are doing.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Workers that are offered work.
    pub ready: usize,
    /// Workers that should be.
    pub wanted: usize,
    /// Every slot is given up.
    pub abandoned: bool,
    /// The code new workers run.
    pub generation: Generation,
    /// Some worker has joined at some time.
    pub ever_ready: bool,
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    random(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Whether how much workers have done or use matters to anybody.
fn looks(policy: &Policy) -> bool {
    policy.recycle.requests.is_some() || policy.recycle.max_rss_bytes.is_some()
}
