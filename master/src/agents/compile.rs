//! The thread that makes a configuration ready for traffic: it reads what the process that reads the
//! Edgefile writes, and builds everything of it that takes time, so that no loop has to.

use super::certs::CertKeeper;
use super::store::place::Place;
use crate::reactor::mailbox::Sender;
use crate::shared::certs::StagedCerts;
use crate::shared::draft::{Draft, DraftId, Unmade};
use crate::shared::mail::ControlMessage;
use crate::shared::pools::AppPool;
use crate::shared::secrets::Secrets;
use crate::shared::snapshot::Snapshot;
use crate::shared::upstreams::{Upstream, prepare};
use rip::contract::app::AppDescriptor;
use rip::contract::attempt::AttemptCode;
use rip::contract::config::Config;
use rip::contract::overrides::Overrides;
use rip::edgefile::job::{AddedApp, Report};
use rip::edgefile::plan::{Plan, plan};
use rip::edgefile::{Diagnostic, Severity};
use rip::ids::{AppId, PoolNumber};
use rip::reload::overlay::Target;
use rip::reload::{Failure, FreshPool, Overlay, Work};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

/// What is to be made.
pub struct Task {
    /// Its name in the answer.
    pub id: DraftId,
    /// The version it will be.
    pub version: u64,
    /// Where the process that reads the file writes its report; `None` where there is none.
    pub report: Option<File>,
    /// The Edgefile's name, for what is said of it.
    pub file_name: String,
    /// Apps the report is to tell of besides the file, in its order.
    pub added: Vec<AddedApp>,
    /// What the source said last, for a report that does not tell of it.
    pub base: Arc<Config>,
    /// The hosts that are added.
    pub overlay: Overlay,
    /// What stands above the source.
    pub overrides: Option<Box<Overrides>>,
    /// What it is compared with, and whose pools it goes on using.
    pub active: Arc<Snapshot>,
    /// Pools it has besides get numbers from this one on.
    pub first_pool: PoolNumber,
    /// Who reads its certificates; `None` where it is only looked at.
    pub certs: Option<CertKeeper>,
    /// Where its sessions are kept unless it says; `None` where their store is open already, or it is only
    /// looked at.
    pub state_dir: Option<PathBuf>,
    /// Where the pools, and this thread, send their news.
    pub control: Sender<ControlMessage>,
}

/// Makes it in a thread of its own; [`ControlMessage::Drafted`] follows.
///
/// # Errors
/// When the system gives no thread.
pub fn start(task: Task) -> io::Result<()> {
    std::thread::Builder::new().name("compile".to_owned()).spawn(move || {
        let (id, control) = (task.id, task.control.clone());
        let result = task.make().map(Box::new);
        control.send(ControlMessage::Drafted { id, result });
    })?;
    Ok(())
}

impl Task {
    fn make(mut self) -> Result<Draft, Unmade> {
        let mut warnings = Vec::new();
        if let Some(pipe) = self.report.take() {
            let report = read(pipe)?;
            self.take_up(report, &mut warnings)?;
        }
        let mut config = Config::clone(&self.base);
        if let Err(idle) = self.overlay.apply(&mut config) {
            warnings.extend(idle);
        }
        let upstreams = prepare(&config, &self.active.upstreams, &self.control)
            .map_err(|why| Unmade::Rejected(Failure::new(AttemptCode::Invalid, why)))?;
        let certs = self.certs.take().map(|keeper| keeper.stage(&config)).transpose();
        let certs = certs.map_err(Unmade::Rejected)?;
        if let Some(state_dir) = self.state_dir.take().filter(|_| !config.sessions.is_empty()) {
            Place::chosen(&config, &state_dir).check().map_err(|why| {
                Unmade::Rejected(Failure::new(AttemptCode::Invalid, why.to_string()))
            })?;
        }
        let secrets = Secrets::read(&config)
            .map_err(|details| Unmade::Rejected(Failure { code: AttemptCode::Invalid, details }))?;
        Ok(self.draft(config, upstreams, secrets, certs, warnings))
    }

    /// Takes up what the process has found out.
    fn take_up(&mut self, report: Report, warnings: &mut Vec<String>) -> Result<(), Unmade> {
        let Report { outcome, added, mut secrets } = report;
        if let Some(mut outcome) = outcome {
            let tell = |found: &Diagnostic| told(&self.file_name, found);
            let is_wrong = |found: &&Diagnostic| found.severity == Severity::Error;
            let Some(mut config) = outcome.take_config() else {
                let mut wrong = outcome.diagnostics.iter().filter(is_wrong).peekable();
                let code = wrong.peek().map_or(AttemptCode::Invalid, |found| found.code);
                let details = wrong.map(tell).collect();
                return Err(Unmade::Rejected(Failure { code, details }));
            };
            warnings.extend(outcome.diagnostics.iter().map(tell));
            if let Some(overrides) = &self.overrides {
                overrides.apply(&mut config);
                if let Some(why) = config.listener_trouble() {
                    let why = format!("with the flags of the start {why}");
                    return Err(Unmade::Rejected(Failure::new(AttemptCode::Invalid, why)));
                }
            }
            self.base = Arc::new(config);
        }
        if added.len() != self.added.len() {
            return Err(Unmade::Garbled("it does not tell of every app".to_owned()));
        }
        for (asked, found) in std::mem::take(&mut self.added).into_iter().zip(added) {
            self.resolve(&asked, found, &mut secrets, warnings)?;
        }
        Ok(())
    }

    fn resolve(
        &mut self,
        asked: &AddedApp,
        found: Result<AppDescriptor, String>,
        secrets: &mut BTreeMap<AppId, BTreeMap<String, String>>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Unmade> {
        match found {
            Ok(mut app) => {
                app.env = secrets.remove(&app.id).unwrap_or_default();
                let mut alone = Config { apps: vec![app], ..Config::default() };
                if let Some(overrides) = &self.overrides {
                    overrides.apply(&mut alone);
                }
                alone.apps.iter().for_each(|app| self.overlay.resolve(&asked.entry, app));
            }
            // What was there when it was added serves on.
            Err(why) if is_resolved(&self.overlay, &asked.entry) => {
                warnings.push(format!("added host '{}': {why}", asked.host));
            }
            Err(why) => {
                let failure = Failure::new(AttemptCode::EntryMissing, why);
                return Err(Unmade::Rejected(failure));
            }
        }
        Ok(())
    }

    fn draft(
        self,
        config: Config,
        upstreams: Vec<Arc<Upstream>>,
        secrets: Secrets,
        certs: Option<StagedCerts>,
        warnings: Vec<String>,
    ) -> Draft {
        let plan = plan(&self.active.config, &config);
        let mut work = Work {
            listeners: config.edge.listeners(),
            verify: config.edge.verify,
            upstreams: asked_upstreams(&plan, &config),
            details: details(&plan, warnings),
            ..Work::default()
        };
        let old: HashMap<&AppId, &Arc<AppPool>> =
            self.active.pools.iter().map(|pool| (&pool.id, pool)).collect();
        let mut next = self.first_pool;
        let mut pools = Vec::with_capacity(config.apps.len());
        for app in &config.apps {
            let starts = plan.fate_of(&app.id).is_none_or(|fate| fate.starts_pool());
            let pool = match old.get(&app.id).filter(|_| !starts) {
                Some(pool) => {
                    work.kept.push(pool.number);
                    Arc::clone(pool)
                }
                None => {
                    let pool = Arc::new(AppPool::new(next, app, self.control.clone()));
                    work.fresh.push(FreshPool::new(next, app));
                    next = PoolNumber(next.0.saturating_add(1));
                    pool
                }
            };
            pools.push(pool);
        }
        let urls = config.apps.iter().map(|app| config.urls_of(app)).collect();
        let snapshot = Snapshot::new(self.version, config, pools)
            .with_upstreams(upstreams)
            .with_secrets(secrets);
        let snapshot = Arc::new(snapshot);
        Draft { base: self.base, overlay: self.overlay, snapshot, certs, urls, plan, work }
    }
}

/// Upstreams that are new or others than before, and are asked how they are.
fn asked_upstreams(plan: &Plan, config: &Config) -> Vec<String> {
    let changed = plan.upstreams.added.iter().chain(&plan.upstreams.changed);
    let is_asked = |id: &&String| {
        let known = config.upstreams.iter().find(|upstream| upstream.id == **id);
        known.is_some_and(|upstream| upstream.health_check.is_some())
    };
    changed.filter(is_asked).cloned().collect()
}

fn read(pipe: File) -> Result<Report, Unmade> {
    let mut text = Vec::new();
    let garbled = |error: &dyn std::fmt::Display| Unmade::Garbled(error.to_string());
    pipe.take(REPORT_BYTES).read_to_end(&mut text).map_err(|error| garbled(&error))?;
    serde_json::from_slice(&text).map_err(|error| garbled(&error))
}

fn is_resolved(overlay: &Overlay, path: &str) -> bool {
    overlay.entries().any(
        |entry| matches!(&entry.target, Target::Path { path: own, app: Some(_) } if own == path),
    )
}

/// What an applied attempt says of itself.
fn details(plan: &Plan, warnings: Vec<String>) -> Vec<String> {
    let mut lines = plan.lines();
    if lines.is_empty() {
        lines.push("nothing changes".to_owned());
    }
    let more = lines.len().saturating_sub(PLAN_LINE_COUNT);
    if more > 0 {
        lines.truncate(PLAN_LINE_COUNT);
        lines.push(format!("and {more} more"));
    }
    lines.extend(warnings.into_iter().map(|warning| format!("warning: {warning}")));
    lines
}

/// `Edgefile:12:5: app "api" › entry: there is no './api.py' (did you mean …)`.
fn told(file_name: &str, found: &Diagnostic) -> String {
    let Diagnostic { line, column, path, message, hint, .. } = found;
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{file_name}:{line}:{column}: {place}{message}{hint}")
}

/// A report is not read beyond this: what a file of the largest size can become is far smaller.
const REPORT_BYTES: u64 = 64 * 1024 * 1024;
/// Changes that an attempt names one by one.
const PLAN_LINE_COUNT: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::mailbox::{Receiver, mailbox};
    use mio::{Events, Poll, Token, Waker};
    use rip::contract::settings::single_app;
    use rip::edgefile::Outcome;
    use rip::edgefile::plan::Fate;
    use std::io::Write;
    use std::time::Duration;

    struct Stand {
        poll: Poll,
        mail: Receiver<ControlMessage>,
        control: Sender<ControlMessage>,
        active: Arc<Snapshot>,
    }

    fn app(id: &str, argv: &str) -> AppDescriptor {
        let json = serde_json::json!({
            "id": id, "entry": argv, "hosts": [], "prefixes": [], "workers": 2, "concurrency": 1,
            "maxQueue": 10, "maxInflight": 2, "select": "lifo", "env": {},
            "restartPolicy": {"maxRestarts": 1, "backoffMs": 1, "windowMs": 1},
            "healthCheck": {"path": "/", "intervalMs": 1, "timeoutMs": 1, "unhealthyThreshold": 1},
            "recycle": {}, "surge": {"count": 1}, "reload": "none", "watch": [],
            "timeouts": {"connectMs": 1, "readMs": 1, "queueMs": 1, "startMs": 1, "drainMs": 1,
                         "killMs": 1, "stuckMs": 1, "keepaliveMs": null},
            "runtime": "builtin", "argv": [argv], "cwd": "/", "listen": "fd", "readyBy": "http",
            "stopSignal": "TERM",
        });
        serde_json::from_value(json).unwrap()
    }

    impl Stand {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
            let (control, mail) = mailbox(waker);
            let config = single_app(app("api", "hello"), Default::default());
            let pool = AppPool::new(PoolNumber(0), &config.apps[0], control.clone());
            let active = Arc::new(Snapshot::new(1, config, vec![Arc::new(pool)]));
            Self { poll, mail, control, active }
        }

        fn task(&self, report: Option<&str>) -> Task {
            let report = report.map(|text| {
                let (read, write) = crate::sys::fd::pipe_cloexec().unwrap();
                File::from(write).write_all(text.as_bytes()).unwrap();
                File::from(read)
            });
            Task {
                id: DraftId(7),
                version: 2,
                report,
                file_name: "Edgefile".to_owned(),
                added: Vec::new(),
                base: Arc::new(self.active.config.clone()),
                overlay: Overlay::default(),
                overrides: None,
                active: Arc::clone(&self.active),
                first_pool: PoolNumber(5),
                certs: None,
                state_dir: None,
                control: self.control.clone(),
            }
        }

        fn make(&mut self, task: Task) -> Result<Box<Draft>, Unmade> {
            start(task).unwrap();
            self.poll.poll(&mut Events::with_capacity(4), Some(Duration::from_secs(20))).unwrap();
            let mut messages = Vec::new();
            self.mail.drain(&mut messages);
            match messages.pop() {
                Some(ControlMessage::Drafted { id: DraftId(7), result }) => result,
                _ => panic!("no answer"),
            }
        }
    }

    #[test]
    fn unchanged_apps_keep_their_pools_and_others_get_new_ones() {
        let mut stand = Stand::new();
        let mut config = stand.active.config.clone();
        config.apps.push(app("new", "echo"));
        let outcome = Outcome { config: Some(config), ..Outcome::default() };
        let report = Report { outcome: Some(outcome), ..Report::default() };
        let task = stand.task(Some(&serde_json::to_string(&report).unwrap()));
        let Ok(draft) = stand.make(task) else { panic!("no draft") };
        assert_eq!(draft.snapshot.version, 2);
        let numbers: Vec<_> = draft.snapshot.pools.iter().map(|pool| pool.number).collect();
        assert_eq!(numbers, [PoolNumber(0), PoolNumber(5)]);
        assert_eq!(draft.work.kept, [PoolNumber(0)]);
        assert_eq!(draft.work.fresh[0].app, AppId::new("new"));
        assert_eq!(draft.plan.fate_of(&AppId::new("new")), Some(&Fate::Started));
        assert_eq!(draft.work.details, ["app new started"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_the_failure() {
        let mut stand = Stand::new();
        let wrong = Diagnostic {
            severity: Severity::Error,
            code: AttemptCode::EntryMissing,
            line: 12,
            column: 5,
            length: 1,
            excerpt: String::new(),
            path: "app \"api\"".to_owned(),
            message: "there is no './api.py'".to_owned(),
            hint: Some("make it".to_owned()),
        };
        let outcome = Outcome { diagnostics: vec![wrong], ..Outcome::default() };
        let report = Report { outcome: Some(outcome), ..Report::default() };
        let task = stand.task(Some(&serde_json::to_string(&report).unwrap()));
        let Err(Unmade::Rejected(failure)) = stand.make(task) else { panic!("not rejected") };
        let told = "Edgefile:12:5: app \"api\": there is no './api.py' (make it)";
        assert_eq!(failure, Failure::new(AttemptCode::EntryMissing, told));
    }

    #[test]
    fn a_report_that_is_none_is_garbled() {
        let mut stand = Stand::new();
        for text in ["", "{\"outcome\":", "thread 'main' has overflowed its stack"] {
            let task = stand.task(Some(text));
            assert!(matches!(stand.make(task), Err(Unmade::Garbled(_))), "{text}");
        }
    }

    #[test]
    fn an_app_that_was_added_serves_on_when_it_cannot_be_found_any_more() {
        let mut stand = Stand::new();
        let path = || Target::Path { path: "/srv/x".to_owned(), app: None };
        let mut overlay = Overlay::default();
        overlay.add("x.example", path(), &stand.active.config).unwrap();
        let asked = AddedApp {
            id: AppId::new("x"),
            host: "x.example".to_owned(),
            entry: "/srv/x".to_owned(),
        };
        let gone = Report { added: vec![Err("it is gone".to_owned())], ..Report::default() };
        let gone = serde_json::to_string(&gone).unwrap();
        let task = |stand: &Stand, overlay: &Overlay, text: &str| Task {
            added: vec![asked.clone()],
            overlay: overlay.clone(),
            ..stand.task(Some(text))
        };
        let first = task(&stand, &overlay, &gone);
        let Err(Unmade::Rejected(failure)) = stand.make(first) else { panic!("not rejected") };
        assert_eq!(failure, Failure::new(AttemptCode::EntryMissing, "it is gone"));
        let secrets = BTreeMap::from([(
            AppId::new("x"),
            BTreeMap::from([("KEY".to_owned(), "value".to_owned())]),
        )]);
        let found = Report { added: vec![Ok(app("x", "hello"))], secrets, ..Report::default() };
        let found = task(&stand, &overlay, &serde_json::to_string(&found).unwrap());
        let Ok(draft) = stand.make(found) else { panic!("no draft") };
        assert_eq!(draft.snapshot.config.apps[1].env["KEY"], "value");
        assert_eq!(draft.snapshot.config.routes[1].host, "x.example");
        let again = task(&stand, &draft.overlay, &gone);
        let Ok(draft) = stand.make(again) else { panic!("no draft") };
        assert_eq!(draft.snapshot.config.apps.len(), 2);
        assert!(draft.work.details.iter().any(|line| line.contains("it is gone")));
    }
}
