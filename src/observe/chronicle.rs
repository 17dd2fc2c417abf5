//! What is remembered of the server's life, so that the end of a request can be explained by it: how
//! workers ended and what they said last, rolls, pauses, apps that were given up, servers of upstreams
//! that were down, and the rules of the last configurations.
//!
//! It is told every event, and keeps a bounded number of each kind. It decides nothing.

use crate::contract::config::Config;
use crate::contract::event::Event;
use crate::contract::route::RouteAction;
use crate::ids::{AppId, Generation, WorkerId};
use crate::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};

/// The server's life as far as it is remembered.
#[derive(Debug, Default)]
pub struct Chronicle {
    workers: BTreeMap<WorkerId, WorkerTale>,
    apps: BTreeMap<AppId, AppTale>,
    configs: VecDeque<ConfigTale>,
    outages: VecDeque<Outage>,
    stopping: Option<UnixMillis>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerTale {
    /// Its app.
    pub app: AppId,
    /// The code it runs.
    pub generation: Generation,
    /// The shim's pid.
    pub pid: u32,
    /// The app's own pid, once it has joined.
    pub app_pid: Option<u32>,
    /// When it was started.
    pub started: UnixMillis,
    /// When it joined.
    pub ready: Option<UnixMillis>,
    /// It did not end this request, or its health check, and is replaced.
    pub stuck: Option<String>,
    /// How it ended.
    pub end: Option<WorkerEnd>,
}

/// How a worker ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerEnd {
    /// When that was known.
    pub at: UnixMillis,
    /// `exited 1`, `killed by SIGKILL`.
    pub status: String,
    /// It was asked to.
    pub expected: bool,
    /// What it wrote last to stderr.
    pub stderr: Vec<String>,
}

/// One app.
#[derive(Clone, Debug, Default)]
pub struct AppTale {
    /// Fresh workers took the place of the others.
    pub rolls: VecDeque<Span>,
    /// Its requests waited although workers may have been free.
    pub pauses: VecDeque<Span>,
    /// A worker slot was given up after it had failed too often.
    pub abandoned: VecDeque<Failure>,
    /// Workers that failed, the newest last.
    pub failures: VecDeque<Failure>,
}

/// A time with a beginning and perhaps an end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// When it began.
    pub from: UnixMillis,
    /// When it ended; `None` while it goes on.
    pub to: Option<UnixMillis>,
    /// What is to be said of it.
    pub what: String,
}

impl Span {
    /// Whether `at` is in it.
    pub fn holds(&self, at: UnixMillis) -> bool {
        self.from <= at && self.to.is_none_or(|to| at <= to)
    }
}

/// A worker that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// When.
    pub at: UnixMillis,
    /// Which.
    pub worker: WorkerId,
    /// Why.
    pub reason: String,
    /// What it wrote last to stderr.
    pub stderr: Vec<String>,
    /// It had joined before.
    pub served: bool,
}

/// One configuration.
#[derive(Clone, Debug)]
pub struct ConfigTale {
    /// Its version.
    pub version: u64,
    /// Since when it is, or was, the active one.
    pub at: UnixMillis,
    /// Its rules, by their position.
    pub rules: Vec<RuleTale>,
}

/// A rule of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleTale {
    /// Its name.
    pub id: String,
    /// Whose requests it takes.
    pub host: String,
    /// Which of them.
    pub pattern: String,
    /// Where the Edgefile has it.
    pub line: Option<u32>,
    /// What it does, in words.
    pub action: String,
    /// The directory of its files.
    pub dir: Option<String>,
}

/// A server of an upstream that got no requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outage {
    /// The upstream.
    pub upstream: String,
    /// The server's URL.
    pub target: String,
    /// When, and why.
    pub span: Span,
}

impl Chronicle {
    /// Something has happened.
    pub fn hear(&mut self, event: &Event, at: UnixMillis) {
        match event {
            Event::WorkerStart { app, worker_id, generation, pid } => {
                let tale = WorkerTale {
                    app: app.clone(),
                    generation: *generation,
                    pid: *pid,
                    app_pid: None,
                    started: at,
                    ready: None,
                    stuck: None,
                    end: None,
                };
                self.workers.insert(*worker_id, tale);
                self.forget_workers();
            }
            Event::WorkerReady { worker_id, app_pid, .. } => {
                if let Some(worker) = self.workers.get_mut(worker_id) {
                    worker.app_pid = Some(*app_pid);
                    worker.ready = Some(at);
                }
            }
            Event::WorkerExit { worker_id, status, expected, stderr, .. } => {
                if let Some(worker) = self.workers.get_mut(worker_id) {
                    let (status, stderr) = (status.clone(), shortened(stderr));
                    worker.end = Some(WorkerEnd { at, status, expected: *expected, stderr });
                }
            }
            Event::WorkerStuck { worker_id, request_id, .. } => {
                if let Some(worker) = self.workers.get_mut(worker_id) {
                    worker.stuck = Some(request_id.clone().unwrap_or_default());
                }
            }
            Event::WorkerRestart { app, worker_id, reason, .. } => {
                let failure = self.failure(*worker_id, at, reason, &[]);
                keep(&mut self.app(app).failures, failure);
            }
            Event::WorkerAbandon { app, worker_id, reason, stderr, .. } => {
                let failure = self.failure(*worker_id, at, reason, stderr);
                keep(&mut self.app(app).abandoned, failure);
            }
            Event::RollStart { app, generation, reason, .. } => {
                let what = format!("to {generation}, asked for by {reason}");
                keep(&mut self.app(app).rolls, Span { from: at, to: None, what });
            }
            Event::RollDone { app, .. } | Event::RollAborted { app, .. } => {
                end_last(&mut self.app(app).rolls, at);
            }
            Event::UpstreamDown { upstream, target, reason, .. } => {
                let span = Span { from: at, to: None, what: (*reason).to_owned() };
                let (upstream, target) = (upstream.clone(), target.clone());
                keep(&mut self.outages, Outage { upstream, target, span });
            }
            Event::UpstreamUp { upstream, target } => {
                let is_it = |outage: &&mut Outage| {
                    outage.upstream == *upstream
                        && outage.target == *target
                        && outage.span.to.is_none()
                };
                self.outages.iter_mut().filter(is_it).for_each(|outage| outage.span.to = Some(at));
            }
            _ => {}
        }
    }

    /// The app's requests are held back from now on, or go on.
    pub fn held(&mut self, app: &AppId, held: bool, at: UnixMillis) {
        let pauses = &mut self.app(app).pauses;
        let is_open = pauses.back().is_some_and(|last| last.to.is_none());
        match (held, is_open) {
            (true, false) => keep(pauses, Span { from: at, to: None, what: String::new() }),
            (false, true) => end_last(pauses, at),
            _ => {}
        }
    }

    /// A configuration is active from now on.
    pub fn activated(&mut self, version: u64, config: &Config, at: UnixMillis) {
        if self.configs.back().is_some_and(|last| last.version == version) {
            return;
        }
        let rule = |rule: &crate::contract::route::RouteRule| RuleTale {
            id: rule.id.clone(),
            host: rule.host.clone(),
            pattern: rule.path_pattern.clone(),
            line: rule.line,
            action: rule.action.to_string(),
            dir: match &rule.action {
                RouteAction::Static(files) => Some(files.dir.clone()),
                _ => None,
            },
        };
        let rules = config.routes.iter().map(rule).collect();
        if self.configs.len() >= CONFIG_COUNT {
            self.configs.pop_front();
        }
        self.configs.push_back(ConfigTale { version, at, rules });
    }

    /// The server is to end.
    pub fn stops(&mut self, at: UnixMillis) {
        self.stopping.get_or_insert(at);
    }

    /// Since when the server is to end.
    pub fn stopping(&self) -> Option<UnixMillis> {
        self.stopping
    }

    /// What is known of a worker.
    pub fn worker(&self, id: WorkerId) -> Option<&WorkerTale> {
        self.workers.get(&id)
    }

    /// How many workers of an app were ready at a moment.
    pub fn ready_at(&self, app: &str, at: UnixMillis) -> usize {
        let was_ready = |tale: &&WorkerTale| {
            let ended = tale.end.as_ref().is_some_and(|end| end.at < at);
            tale.app.as_str() == app && !ended && tale.ready.is_some_and(|ready| ready <= at)
        };
        self.workers.values().filter(was_ready).count()
    }

    /// What is known of an app.
    pub fn tale_of(&self, app: &str) -> Option<&AppTale> {
        self.apps.iter().find(|(id, _)| id.as_str() == app).map(|(_, tale)| tale)
    }

    /// The configuration with this version.
    pub fn config(&self, version: u64) -> Option<&ConfigTale> {
        self.configs.iter().rev().find(|config| config.version == version)
    }

    /// The one that became active last.
    pub fn active(&self) -> Option<&ConfigTale> {
        self.configs.back()
    }

    /// The outages of an upstream's servers at a moment.
    pub fn outages(&self, upstream: &str, at: UnixMillis) -> impl Iterator<Item = &Outage> {
        self.outages
            .iter()
            .filter(move |outage| outage.upstream == upstream && outage.span.holds(at))
    }

    fn app(&mut self, app: &AppId) -> &mut AppTale {
        self.apps.entry(app.clone()).or_default()
    }

    fn failure(
        &self,
        worker: WorkerId,
        at: UnixMillis,
        reason: &str,
        stderr: &[String],
    ) -> Failure {
        let tale = self.workers.get(&worker);
        let served = tale.is_some_and(|tale| tale.ready.is_some());
        let last = tale.and_then(|tale| tale.end.as_ref()).map(|end| end.stderr.clone());
        let stderr = if stderr.is_empty() { last.unwrap_or_default() } else { shortened(stderr) };
        Failure { at, worker, reason: reason.to_owned(), stderr, served }
    }

    /// Of those that ended the oldest are forgotten.
    fn forget_workers(&mut self) {
        let ended = |tale: &WorkerTale| tale.end.is_some();
        let mut surplus =
            self.workers.values().filter(|tale| ended(tale)).count().saturating_sub(ENDED_COUNT);
        self.workers.retain(|_, tale| {
            let goes = surplus > 0 && ended(tale);
            surplus -= usize::from(goes);
            !goes
        });
    }
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= KEPT_COUNT {
        list.pop_front();
    }
    list.push_back(item);
}

fn end_last(spans: &mut VecDeque<Span>, at: UnixMillis) {
    if let Some(last) = spans.back_mut() {
        last.to.get_or_insert(at);
    }
}

/// The last lines, each of a length that people read.
fn shortened(lines: &[String]) -> Vec<String> {
    let first = lines.len().saturating_sub(LINE_COUNT);
    let short = |line: &String| line.chars().take(LINE_LETTERS).collect();
    lines.iter().skip(first).map(short).collect()
}

/// Workers that ended and are remembered.
const ENDED_COUNT: usize = 256;
/// Of rolls, pauses, failures and outages so many are remembered.
const KEPT_COUNT: usize = 32;
/// Configurations whose rules are remembered.
const CONFIG_COUNT: usize = 16;
/// Last lines of a worker.
const LINE_COUNT: usize = 20;
const LINE_LETTERS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::route::RouteRule;

    fn start(worker: u64) -> Event {
        let (app, worker_id) = (AppId::new("api"), WorkerId(worker));
        Event::WorkerStart { app, worker_id, generation: Generation(1), pid: 100 }
    }

    fn exit(worker: u64, stderr: Vec<String>) -> Event {
        Event::WorkerExit {
            app: AppId::new("api"),
            worker_id: WorkerId(worker),
            pid: 100,
            status: "exited 1".to_owned(),
            expected: false,
            stderr,
        }
    }

    #[test]
    fn the_end_of_a_worker_is_remembered_with_its_last_words() {
        let mut chronicle = Chronicle::default();
        chronicle.hear(&start(3), UnixMillis(10));
        let words: Vec<_> =
            (0..30).map(|line| format!("line {line} {}", "x".repeat(600))).collect();
        chronicle.hear(&exit(3, words), UnixMillis(20));
        let end = chronicle.worker(WorkerId(3)).and_then(|tale| tale.end.clone()).unwrap();
        assert_eq!((end.at, end.stderr.len()), (UnixMillis(20), 20));
        assert!(end.stderr[0].starts_with("line 10 ") && end.stderr[0].chars().count() == 500);
        assert_eq!(chronicle.worker(WorkerId(4)), None);
    }

    #[test]
    fn those_that_live_are_never_forgotten_and_those_that_ended_are_bounded() {
        let mut chronicle = Chronicle::default();
        chronicle.hear(&start(1), UnixMillis(0));
        for worker in 2..1000 {
            chronicle.hear(&start(worker), UnixMillis(worker));
            chronicle.hear(&exit(worker, Vec::new()), UnixMillis(worker));
        }
        assert!(chronicle.worker(WorkerId(1)).is_some());
        assert!(chronicle.worker(WorkerId(2)).is_none());
        assert!(chronicle.worker(WorkerId(999)).is_some());
        assert!(chronicle.workers.len() <= ENDED_COUNT + 2);
    }

    #[test]
    fn rolls_pauses_and_outages_have_a_beginning_and_an_end() {
        let mut chronicle = Chronicle::default();
        let app = AppId::new("api");
        let roll = Event::RollStart {
            app: app.clone(),
            generation: Generation(2),
            reason: "api".to_owned(),
            path: None,
        };
        chronicle.hear(&roll, UnixMillis(10));
        chronicle.held(&app, true, UnixMillis(10));
        chronicle.held(&app, true, UnixMillis(12));
        chronicle.held(&app, false, UnixMillis(20));
        let done = Event::RollDone { app, generation: Generation(2), took_ms: 10 };
        chronicle.hear(&done, UnixMillis(20));
        let tale = chronicle.tale_of("api").unwrap();
        for spans in [&tale.rolls, &tale.pauses] {
            let span = spans.back().unwrap();
            assert_eq!(
                (spans.len(), span.from, span.to),
                (1, UnixMillis(10), Some(UnixMillis(20)))
            );
            assert!(span.holds(UnixMillis(15)) && !span.holds(UnixMillis(21)));
        }
        let (upstream, target) = ("back".to_owned(), "http://a".to_owned());
        let down = Event::UpstreamDown {
            upstream: upstream.clone(),
            target: target.clone(),
            reason: "checks",
            for_ms: None,
        };
        chronicle.hear(&down, UnixMillis(30));
        assert_eq!(chronicle.outages("back", UnixMillis(31)).count(), 1);
        chronicle.hear(&Event::UpstreamUp { upstream, target }, UnixMillis(40));
        assert_eq!(chronicle.outages("back", UnixMillis(41)).count(), 0);
    }

    #[test]
    fn the_rules_of_the_last_configurations_are_remembered() {
        let mut chronicle = Chronicle::default();
        let action = RouteAction::ToApp { app_id: AppId::new("api") };
        let routes = vec![RouteRule { line: Some(4), ..RouteRule::new("a.example", "/*", action) }];
        let config = Config { routes, ..Config::default() };
        for version in 1..=20 {
            chronicle.activated(version, &config, UnixMillis(version));
            chronicle.activated(version, &config, UnixMillis(version));
        }
        assert!(chronicle.config(4).is_none());
        let rule = &chronicle.config(20).unwrap().rules[0];
        assert_eq!((&*rule.pattern, rule.line, &*rule.action), ("/*", Some(4), "app api"));
        assert_eq!(chronicle.active().map(|config| config.version), Some(20));
    }
}
