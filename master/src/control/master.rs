//! The main loop: the one place where the master changes its mind.
//!
//! Signals, ended children, boot reports, control requests and mail from other threads all become
//! [`Happening`]s and meet in [`Master::take`]. Each of them states a fact; after a batch of facts
//! [`Master::settle`] lets the cores compare what is with what should be, and carries out what they
//! want.

use super::audit::Audit;
use super::capacity::Capacity;
use super::certs::CertAsks;
use super::crew::{Crew, News, Watched};
use super::crews::Crews;
use super::door::Watchers;
use super::explain::Explains;
use super::feed::Feed;
use super::follow::Pages;
use super::listeners::Listeners;
use super::listing::{AppNotes, Apps, Registry, Upstreams, Workers};
use super::notify::Notifier;
use super::numbers::Past;
use super::orders::{self, Orders};
use super::orphans::Orphans;
use super::outcome::Outcome;
use super::reload::{Added, Reloads, configuration, history};
use super::report::Reports;
use super::server::{Answer, Asker, ControlServer, Request};
use super::sessions::SessionStore;
use super::source::{Source, Successor};
use super::source_file::SourceFile;
use super::start_error::StartError;
use super::successor::Succession;
use super::upgrade::Handover;
use super::verbs::{self, Verb};
use super::watcher::Watcher;
use super::workshop::Workshop;
use crate::agents::acme::AcmeAgent;
use crate::agents::certs::CertKeeper;
use crate::agents::files::FileAgent;
use crate::agents::log::LogAgent;
use crate::agents::mdns::MdnsAgent;
use crate::edge::Edges;
use crate::reactor::clock::{Clock, LONG_TURN};
use crate::reactor::mailbox::Receiver;
use crate::shared::Shared;
use crate::shared::draft::DraftId;
use crate::shared::mail::ControlMessage;
use crate::sys::memory;
use crate::sys::proc::thread_time;
use crate::sys::signals::Signals;
use mio::{Events, Poll};
use nix::sys::signal::Signal;
use rip::contract::event::Event;
use rip::contract::listen::ListenAddress;
use rip::contract::settings::Settings;
use rip::ids::{AppId, PoolNumber, WorkerId};
use rip::limits;
use rip::reload::{Overlay, Wish};
use rip::route::local_names;
use rip::supervise::{Order, Shutdown, supervisor};
use rip::time::Instant;
use rip::wire::admit::{self, Claim, admit};
use rip::wire::verb::{Accepted, WorkerVerb};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A master that has booted.
pub struct Master {
    pub(super) poll: Poll,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    pub(super) signals: Signals,
    pub(super) mail: Receiver<ControlMessage>,
    pub(super) notifier: Notifier,
    pub(super) server: ControlServer,
    pub(super) shutdown: Shutdown,
    pub(super) crews: Crews,
    pub(super) orphans: Orphans,
    /// Until they are cut or the master ends.
    pub(super) edges: Option<Edges>,
    pub(super) listeners: Listeners,
    pub(super) shop: Workshop,
    pub(super) watcher: Watcher,
    /// The Edgefile, where its changes are followed.
    pub(super) source_file: Option<SourceFile>,
    pub(super) settings: Settings,
    pub(super) shared: Arc<Shared>,
    pub(super) certs: CertKeeper,
    pub(super) cert_asks: CertAsks,
    pub(super) agents: (LogAgent, FileAgent),
    pub(super) store: SessionStore,
    pub(super) acme: AcmeAgent,
    pub(super) mdns: MdnsAgent,
    pub(super) feed: Feed,
    pub(super) explains: Explains,
    pub(super) orders: Orders,
    pub(super) reload: Reloads,
    pub(super) capacity: Capacity,
    pub(super) past: Past,
    /// What this master is to succeed, until that has ended.
    pub(super) succession: Option<Succession>,
    /// What is to succeed this master.
    pub(super) upgrade: Handover,
    /// The listeners at which that one accepts.
    pub(super) farewell: Option<Arc<[ListenAddress]>>,
    pub(super) state: State,
}

/// What the master remembers between turns.
#[derive(Default)]
pub(super) struct State {
    happenings: VecDeque<Happening>,
    /// Who waits for a worker's quit to be answered.
    quits: BTreeMap<WorkerId, Vec<Asker>>,
    announced: bool,
    /// How long the control loop had been computing when its turn began.
    computed: Duration,
    drained_loops: usize,
    cut: u64,
    /// What asked the server to end, first.
    stop_reason: Option<&'static str>,
    /// How the last worker of each app ended that was not asked to.
    pub(super) last_exits: BTreeMap<AppId, String>,
    /// Why the app cannot start, before any worker ever served.
    hopeless: Option<String>,
    /// What a worker wrote last that made it so.
    last_lines: Vec<String>,
    /// What was last told of everything.
    pub(super) reports: Reports,
    /// Who is told of it once a second.
    pub(super) watchers: Watchers,
    /// Pages to be told of changes.
    pub(super) pages: Vec<Pages>,
    /// Directories that registered prefixes are made of.
    pub(super) watched: BTreeMap<String, Vec<PathBuf>>,
    /// When what predecessors have left is looked at.
    pub(super) tidy_at: Option<Instant>,
    /// The end has come; true when it was forced.
    finished: Option<bool>,
}

/// Something that came from outside.
enum Happening {
    /// A process that reads an Edgefile has ended.
    Compiler(DraftId),
    Mail(ControlMessage),
    Predecessor,
    Request(Request),
    Signal(Signal),
    Successor(Successor),
    Worker(Watched),
}

impl Master {
    /// Runs until the end.
    ///
    /// # Errors
    /// When the app turned out to be impossible to start, or the event loop itself failed.
    pub fn run(mut self) -> Result<Outcome, StartError> {
        // Booting has taken its time.
        self.clock.refresh();
        self.note_configuration();
        let apps = &self.settings.config.apps;
        let app = apps.first().map_or_else(|| AppId::new(""), |app| app.id.clone());
        let workers = apps.iter().map(|app| app.workers).sum();
        self.tell(&Event::ServerStart {
            app,
            workers,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
        });
        self.tell_init_of_the_start();
        if self.settings.config.apps.is_empty() {
            // Nobody has to join first.
            self.announce();
        }
        let mut events = Events::with_capacity(EVENT_COUNT);
        loop {
            self.settle();
            if let Some(forced) = self.state.finished {
                return self.end(forced);
            }
            if self.state.happenings.is_empty() {
                self.wait(&mut events)?;
            }
            while let Some(happening) = self.state.happenings.pop_front() {
                self.take(happening);
            }
        }
    }

    /// Sleeps until something happens or a deadline comes, and collects what happened.
    fn wait(&mut self, events: &mut Events) -> Result<(), StartError> {
        let woke = self.clock.now();
        self.clock.refresh();
        let turn = self.clock.now().since(woke);
        if turn > LONG_TURN {
            let busy = thread_time().saturating_sub(self.state.computed);
            log::debug!("a turn of the control loop took {turn:?}, {busy:?} of it computing");
        }
        let deadlines = [
            self.crews.next_deadline(),
            self.shutdown.next_deadline(),
            self.server.next_deadline(),
            self.watcher.next_deadline(self.clock.now()),
            self.reload.next_deadline(),
            self.explains.next_deadline(),
            self.upgrade.next_deadline(self.clock.now()),
            self.state.tidy_at,
            (self.succession.as_ref().filter(|_| !self.shutdown.is_asked()))
                .and_then(Succession::next_deadline),
            self.notifier.next_deadline(),
            self.state.watchers.next_deadline(),
        ];
        let next = deadlines.into_iter().flatten().min();
        match self.poll.poll(events, next.map(|next| self.clock.until(next))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(StartError::system("the control loop", &error));
            }
            Ok(()) | Err(_) => self.clock.refresh(),
        }
        if log::log_enabled!(log::Level::Debug) {
            self.state.computed = thread_time();
        }
        let now = self.clock.now();
        let mut requests = Vec::new();
        for event in &*events {
            match Source::of(event.token()) {
                Some(Source::Signals) => {
                    let signals = self.signals.pending().map(Happening::Signal);
                    self.state.happenings.extend(signals);
                }
                Some(Source::Compiler(id)) => {
                    self.state.happenings.push_back(Happening::Compiler(id));
                }
                Some(Source::Control) => self.server.accept(now),
                Some(Source::Files(watch)) => self.watcher.ready(watch),
                Some(Source::Connection(id)) => self.server.ready(id, event, now, &mut requests),
                Some(Source::Predecessor) => {
                    self.state.happenings.push_back(Happening::Predecessor);
                }
                Some(Source::Successor(what)) => {
                    self.state.happenings.push_back(Happening::Successor(what));
                }
                Some(Source::Worker(watched)) => {
                    self.state.happenings.push_back(Happening::Worker(watched));
                }
                Some(Source::Mail) | None => {}
            }
        }
        self.state.happenings.extend(requests.into_iter().map(Happening::Request));
        let mut mail = Vec::new();
        self.mail.drain(&mut mail);
        self.state.happenings.extend(mail.into_iter().map(Happening::Mail));
        Ok(())
    }

    fn take(&mut self, happening: Happening) {
        let now = self.clock.now();
        match happening {
            Happening::Worker(watched) => self.crews.ready(watched, &self.clock),
            Happening::Signal(Signal::SIGCHLD) => self.end_orphans(),
            Happening::Signal(Signal::SIGTERM) => self.stop("TERM", false),
            Happening::Signal(Signal::SIGINT) => self.stop("INT", false),
            Happening::Signal(Signal::SIGQUIT) => self.stop("QUIT", false),
            Happening::Signal(Signal::SIGHUP) => self.hang_up(),
            Happening::Signal(Signal::SIGUSR1) => self.shared.log.reopen(),
            Happening::Signal(Signal::SIGUSR2) => self.upgrade_on_signal(),
            Happening::Signal(Signal::SIGTTIN) => self.scale_by(1),
            Happening::Signal(Signal::SIGTTOU) => self.scale_by(-1),
            Happening::Signal(signal) => log::info!("{signal} is not used"),
            Happening::Mail(ControlMessage::Alive(round)) => self.loop_lives(round),
            Happening::Mail(ControlMessage::Asked { from, ask }) => self.asked(from, ask),
            Happening::Mail(ControlMessage::Watching { index, on }) => self.watching(index, on),
            Happening::Mail(ControlMessage::CertsDone { ticket, result }) => {
                self.certs_done(ticket, result);
            }
            Happening::Mail(ControlMessage::FilesChanged { watch, paths }) => {
                self.watcher.scanned(watch, &paths, now);
            }
            Happening::Mail(ControlMessage::WorkerIdle(worker)) => {
                if let Some(crew) = self.crews.of_worker(worker) {
                    crew.core().idle(worker, now);
                }
            }
            Happening::Mail(ControlMessage::WorkerDraining(worker)) => {
                if let Some(crew) = self.crews.of_worker(worker) {
                    crew.core().drain(worker, now);
                }
            }
            Happening::Mail(ControlMessage::WorkerStuck(stuck)) => {
                let crew = self.crews.of_worker(stuck.worker);
                if let Some(event) = crew.and_then(|crew| crew.stuck(stuck, now)) {
                    self.tell(&event);
                }
            }
            Happening::Mail(ControlMessage::LastLines { worker, lines }) => {
                if let Some(crew) = self.crews.of_worker(worker) {
                    crew.last_lines(worker, lines, &self.clock);
                }
            }
            Happening::Mail(ControlMessage::SessionsCounted { ticket, sessions }) => {
                self.sessions_counted(ticket, sessions);
            }
            Happening::Mail(ControlMessage::Recalled { ticket, index, notes }) => {
                self.explains.recalled(ticket, index, notes);
            }
            Happening::Mail(ControlMessage::Tell(event)) => self.tell(&event),
            Happening::Mail(ControlMessage::ListenerClosed(address)) => {
                self.reload.closing.remove(&address);
            }
            Happening::Mail(ControlMessage::PoolLeft { index, pool }) => {
                self.pool_left(index, pool);
            }
            Happening::Mail(ControlMessage::Drafted { id, result }) => {
                if let Some((id, made)) = self.reload.compiler.drafted(id, result) {
                    self.made(id, made);
                }
            }
            Happening::Compiler(id) => {
                if let Some((id, made)) = self.reload.compiler.ended(id) {
                    self.made(id, made);
                }
            }
            Happening::Mail(ControlMessage::LoopDrained(_)) => {
                self.state.drained_loops += 1;
                let loops = self.edges.as_ref().map_or(0, Edges::count);
                if self.state.drained_loops >= loops {
                    self.shutdown.edges_drained(now);
                }
            }
            Happening::Mail(ControlMessage::LoopStopped { cut, .. }) => self.state.cut += cut,
            Happening::Request(request) => self.serve(request),
            Happening::Predecessor => self.hear_predecessor(),
            Happening::Successor(what) => self.hear_successor(what),
        }
    }

    /// Lets the cores act on the facts, and carries out what they want.
    fn settle(&mut self) {
        self.state.reports.forget();
        let now = self.clock.now();
        self.shutdown.settle(self.crews.is_gone(), now);
        while let Some(order) = self.shutdown.poll_order() {
            self.obey(order);
        }
        self.follow_changes();
        loop {
            let mut news = Vec::new();
            self.crews.settle(&self.shop, &self.clock, &mut news);
            news.into_iter().for_each(|(pool, news)| self.hear(pool, news));
            // What an attempt has started or retired is the crews' to follow, and they may have
            // news of it.
            if !(self.drive_reload() | self.drive_succession()) {
                break;
            }
        }
        self.drive_upgrade();
        self.tidy_up();
        self.tell_pages();
        self.settle_explains();
        self.keep_init_told();
        self.report_to_watchers();
        self.server.expire(now);
        // What was just carried out may have been the last thing to wait for.
        self.shutdown.settle(self.crews.is_gone(), now);
        while let Some(order) = self.shutdown.poll_order() {
            self.obey(order);
        }
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            Order::DrainEdges { deadline } => {
                let idle_until = deadline.min(now + limits::SHUTDOWN_IDLE);
                self.listeners.let_go();
                if let Some(edges) = &self.edges {
                    edges.drain(self.farewell(idle_until));
                }
            }
            Order::CutEdges => self.cut_edges(),
            Order::RetireWorkers => {
                self.crews.iter_mut().for_each(|crew| crew.core().retire_all(now))
            }
            Order::TerminateWorkers { kill } => {
                self.crews.iter_mut().for_each(|crew| crew.core().terminate_all(kill, now));
            }
            Order::KillWorkers => self.crews.iter_mut().for_each(|crew| crew.core().kill_all(now)),
            Order::Finish { forced } => self.state.finished = Some(forced),
        }
    }

    fn hear(&mut self, pool: PoolNumber, news: News) {
        self.answer_orders(pool, &news);
        if self.reload_hears(pool, &news) {
            return;
        }
        self.succession_hears(pool, &news);
        match news {
            News::Event(event) => self.tell(&event),
            News::Admitted => self.announce(),
            News::QuitAnswered { worker, drained } => {
                self.answer_quits(
                    worker,
                    &Answer::ok(&Accepted { ok: true, drained: Some(drained) }),
                );
            }
            // It asked and did not wait: its connection may still be there.
            News::Gone(worker) => {
                self.answer_quits(worker, &verbs::too_late(supervisor::Refusal::Unknown));
            }
            // Whoever waits for one of these has been answered.
            News::DrainFailed { .. }
            | News::Failed { .. }
            | News::RollAborted { .. }
            | News::RollDone { .. }
            | News::RollStepped(_)
            | News::Scaled { .. }
            | News::ScaleFailed { .. } => {}
            News::Hopeless(reason) => {
                self.give_up(reason, Vec::new());
                self.stop("the app cannot start", true);
            }
        }
    }

    /// Clients are served from now on: that is told once.
    pub(super) fn announce(&mut self) {
        if !self.is_serving() || std::mem::replace(&mut self.state.announced, true) {
            return;
        }
        if !self.is_unknown_to_init() {
            let status = self.status_line();
            self.notifier.tell_ready(status);
        }
        let took = self.clock.now().since(self.started);
        let active = self.shared.current.load();
        self.mdns.tell(local_names(&active.config, &active.table));
        self.tell(&Event::ServerReady {
            urls: active.config.urls(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        // Reading the command line, preparing, starting: none of it comes again.
        memory::release_text();
        memory::trim();
    }

    /// The init system has heard that the server is ready.
    pub(super) fn is_announced(&self) -> bool {
        self.state.announced
    }

    fn answer_quits(&mut self, worker: WorkerId, answer: &Answer) {
        for asker in self.state.quits.remove(&worker).unwrap_or_default() {
            self.answer(asker, answer);
        }
    }

    /// There will be nothing of this master, for this reason.
    pub(super) fn give_up(&mut self, reason: String, lines: Vec<String>) {
        if self.state.hopeless.is_none() {
            self.state.hopeless = Some(reason);
            self.state.last_lines = lines;
        }
    }

    pub(super) fn stop(&mut self, reason: &'static str, fast: bool) {
        self.hear_what_was_said();
        if !fast && self.upgrade.absorbs_end() {
            return;
        }
        self.stop_upgrade();
        let now = self.clock.now();
        self.begin_end(reason, now);
        if fast {
            self.shutdown.ask_fast(now);
        } else {
            self.shutdown.ask(now);
        }
    }

    /// Nothing is begun any more.
    pub(super) fn begin_end(&mut self, reason: &'static str, now: Instant) {
        if self.state.stop_reason.is_none() {
            self.state.stop_reason = Some(reason);
            let at = self.clock.wall();
            self.explains.chronicle.stops(at);
            self.reload.pipeline.stop();
            self.reload.closing.clear();
            self.acme.stop();
            self.mdns.withdraw();
            self.tell_init_of_the_end();
        }
        for crew in self.crews.iter_mut() {
            crew.wind_down(now);
            // What waits for the end of a pause must not wait for the end of the server.
            crew.pool.hold(false, now);
        }
    }

    pub(super) fn serve(&mut self, mut request: Request) {
        let from = request.from;
        let verb = Verb::of(&mut request);
        let audit = verb.as_ref().ok().and_then(Audit::of);
        if audit.is_some() {
            self.state.reports.forget();
        }
        let answer = match verb {
            Err(refused) => Some(refused),
            Ok(verb) if request.by.process().is_none() && !verb.is_for_clients() => {
                Some(Answer::refused(403, "that is for the control socket alone", ""))
            }
            Ok(verb) if self.upgrade.is_over() && !self.still_answers(&request, &verb) => {
                Some(moved(&request))
            }
            Ok(Verb::Worker { verb, authorization }) => {
                self.worker_verb(&request, &verb, authorization.as_deref())
            }
            Ok(Verb::Apps) => {
                let notes = self.app_notes();
                let active = self.active_pools();
                let crews = active.into_iter().filter_map(|pool| self.crews.get(pool));
                Some(Answer::ok(&Apps::of(crews, &notes)))
            }
            Ok(Verb::Certs) => Some(self.certs_answer()),
            Ok(Verb::CertOrder { order, wait }) => self.order_certs(&request, order, wait),
            Ok(Verb::Order { order: orders::Order::Reload, wait }) if self.has_edgefile() => {
                self.reload_on_request(&request, Wish::Reload, wait)
            }
            Ok(Verb::Order { order, wait }) => self.order(&request, &order, wait),
            Ok(Verb::Rollback { wait }) => self.reload_on_request(&request, Wish::Rollback, wait),
            Ok(Verb::Host { change, wait }) => self.change_hosts(&request, change, wait),
            Ok(Verb::Plan { file }) => self.plan_on_request(&request, file),
            Ok(Verb::DashboardLogin) => Some(self.dashboard_login()),
            Ok(Verb::Diagnostics) => Some(self.diagnostics()),
            Ok(Verb::Metrics { format }) => Some(self.metrics(format)),
            Ok(Verb::Config) => {
                let active = self.shared.current.load();
                Some(configuration(active.version, self.edgefile(), &active.config))
            }
            Ok(Verb::Explain { id }) => {
                self.explain(from, &id);
                None
            }
            Ok(Verb::History) => {
                Some(history(&self.reload.history, self.reload.pipeline.version()))
            }
            Ok(Verb::Events { .. }) if self.server.followers().0 >= limits::FOLLOWER_COUNT => {
                let error = format!("{} follow already", limits::FOLLOWER_COUNT);
                Some(Answer::refused(503, error, "GET /events?follow=false tells what happened"))
            }
            Ok(Verb::Events { seen }) => {
                let greeting = self.feed.greeting(seen);
                if let Asker::Connection(follower) = from {
                    self.server.follow(follower, &greeting, self.clock.now());
                }
                None
            }
            Ok(Verb::RecentEvents) => {
                let (followers, dropped) = self.server.followers();
                Some(self.feed.recent(followers, dropped))
            }
            Ok(Verb::Registry) => {
                let active = self.shared.current.load();
                let added = self.reload.overlay().into_iter().flat_map(Overlay::entries);
                let added = added.map(Added::from).collect();
                Some(Answer::ok(&Registry::of(&active.config, added)))
            }
            Ok(Verb::Upstreams) => {
                Some(Answer::ok(&Upstreams::of(self.shared.upstreams(self.clock.now()))))
            }
            Ok(Verb::Sessions) => self.sessions(&request),
            Ok(Verb::Status) => {
                let status = self.shared.status(self.clock.now());
                Some(Answer::json(status.status_code(), &status))
            }
            Ok(Verb::Stop { now }) => {
                self.stop("api", now);
                Some(Answer::ok(&Accepted { ok: true, drained: None }))
            }
            Ok(Verb::Upgrade { order, wait }) => self.upgrade_on_request(&request, order, wait),
            Ok(Verb::Watch(watch)) => Some(self.watch_pages(&watch)),
            Ok(Verb::Workers) => Some(Answer::ok(&Workers::of(&self.crews))),
        };
        if let Some(audit) = audit {
            self.audit(audit, &request, answer.as_ref());
        }
        if let Some(answer) = answer {
            self.answer(from, &answer);
        }
    }

    /// Another server has taken over, but this is for this one: what a worker of its own says, and what a
    /// client asks that it still has. Nobody of the public side notices that there are two.
    fn still_answers(&self, request: &Request, verb: &Verb) -> bool {
        match verb {
            Verb::Worker { .. } => true,
            Verb::Diagnostics | Verb::Metrics { .. } | Verb::RecentEvents => {
                request.by.process().is_none()
            }
            _ => false,
        }
    }

    /// What is told of apps besides what their crews know.
    pub(super) fn app_notes(&self) -> AppNotes<'_> {
        AppNotes {
            stopping: self.shutdown.is_asked(),
            last_exits: &self.state.last_exits,
            lives: self.past.lives(),
        }
    }

    /// What a shim says of its worker. `None` when the answer comes later.
    fn worker_verb(
        &mut self,
        request: &Request,
        verb: &WorkerVerb,
        authorization: Option<&[u8]>,
    ) -> Option<Answer> {
        let (worker_id, app_id, generation) = match verb {
            WorkerVerb::Join(join) => (join.worker_id, &join.app_id, join.generation),
            WorkerVerb::Quit(quit) => (quit.worker_id, &quit.app_id, quit.generation),
        };
        let claim = Claim { worker_id, app_id, generation, authorization };
        let crew = self.crews.of_worker(worker_id);
        let expected = crew.as_ref().and_then(|crew| crew.expected(worker_id));
        let admitted = admit(expected, claim).and_then(|()| {
            let own = crew.as_ref().zip(request.by.process());
            let own = own.is_some_and(|(crew, peer)| crew.is_shim_of(peer.pid, worker_id));
            own.then_some(()).ok_or(admit::Refusal::WrongIdentity)
        });
        if let Err(refusal) = admitted {
            self.tell(&Event::WorkerRefused { worker_id, reason: refusal.to_string() });
            return Some(verbs::refusal(refusal));
        }
        let now = self.clock.now();
        let Some(crew) = self.crews.of_worker(worker_id) else {
            return Some(verbs::too_late(supervisor::Refusal::Unknown));
        };
        let taken = match verb {
            WorkerVerb::Join(join) => crew.join(join, now),
            WorkerVerb::Quit(_) => crew.core().quit(worker_id, now),
        };
        if let Err(refusal) = taken {
            return Some(verbs::too_late(refusal));
        }
        match verb {
            WorkerVerb::Quit(_) => {
                self.state.quits.entry(worker_id).or_default().push(request.from);
                None
            }
            WorkerVerb::Join(_) => {
                // The answer must be true when it is read: waiting requests have been dispatched.
                let mut news = Vec::new();
                self.crews.carry_out(worker_id, &self.shop, &self.clock, &mut news);
                news.into_iter().for_each(|(pool, news)| self.hear(pool, news));
                Some(Answer::ok(&Accepted { ok: true, drained: None }))
            }
        }
    }

    pub(super) fn answer(&mut self, to: Asker, answer: &Answer) {
        let to = match to {
            Asker::Connection(connection) => connection,
            Asker::Door(caller) => return self.answer_at_door(caller, answer),
        };
        let mut requests = Vec::new();
        self.server.answer(to, answer, self.clock.now(), &mut requests);
        self.state.happenings.extend(requests.into_iter().map(Happening::Request));
    }

    fn cut_edges(&mut self) {
        if let Some(edges) = self.edges.take() {
            edges.stop();
        }
    }

    /// Nothing is left to wait for: removes what is ours and says how it went.
    fn end(mut self, forced: bool) -> Result<Outcome, StartError> {
        if forced {
            self.crews.iter_mut().for_each(Crew::kill_and_wait);
        }
        self.reload.compiler.end();
        self.end_upgrade();
        let upgrade = &self.upgrade;
        self.orphans.end_all(|pid| upgrade.owns(pid));
        self.cut_edges();
        // What the loops have ordered is done first; then nobody is left to order anything.
        self.store.stop();
        let mut mail = Vec::new();
        self.mail.drain(&mut mail);
        for message in mail {
            match message {
                ControlMessage::LoopStopped { cut, .. } => self.state.cut += cut,
                ControlMessage::Tell(event) => self.tell(&event),
                _ => {}
            }
        }
        let cut = self.state.cut;
        let reason = self.state.stop_reason.unwrap_or("api").to_owned();
        self.tell(&Event::ServerStop { reason, cut });
        self.server.end_streams();
        drop(self.acme);
        self.certs.stop();
        self.mdns.stop();
        let (log, files) = self.agents;
        files.stop();
        log.stop();
        match self.state.hopeless {
            Some(reason) => Err(StartError::failed(reason).lines(self.state.last_lines)),
            None => Ok(Outcome { cut, forced }),
        }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        let at = self.clock.wall();
        self.past.tell(event);
        self.shared.log.event(event, at);
        if let Event::WorkerExit { app, worker_id, status, expected: false, .. } = event {
            self.state.last_exits.insert(app.clone(), format!("{worker_id} {status}"));
        }
        self.explains.chronicle.hear(event, at);
        let frame = self.feed.tell(event, at);
        self.server.publish(&frame);
        if let Some((id, json)) = self.feed.newest() {
            self.tell_watchers(id, json);
        }
    }
}

/// What one is answered who asks for what only the server can do that has taken over.
fn moved(request: &Request) -> Answer {
    let error = "another server has taken over";
    if request.by.process().is_some() {
        return Answer::refused(MOVED, error, "the control socket leads to it: ask again");
    }
    let answer = Answer::refused(503, error, "ask again on another connection");
    Answer { retry_after_secs: Some(1), ..answer }
}

/// Asked of one that is not who serves any more (RFC 9110 §15.5.20).
const MOVED: u16 = 421;
/// Kernel events taken in one turn.
const EVENT_COUNT: usize = 256;
