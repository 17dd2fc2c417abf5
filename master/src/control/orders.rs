//! Orders to a running master: what each sets in motion, who waits for it, and how it is answered.
//!
//! An order is answered when what it asks for is true, or cannot become true. Who asks not to wait
//! is answered when it has begun. An order goes on when whoever gave it is gone.

use super::crew::News;
use super::master::Master;
use super::server::{Answer, Asker, Request};
use super::verbs::WORKER_COUNT;
use rip::contract::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
use rip::ids::{AppId, Generation, PoolNumber, WorkerId};
use rip::supervise::supervisor::Refusal;
use rip::supervise::{Cause, RollProgress};
use rip::time::Instant;
use serde::Serialize;

/// Something that is to be made true.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// The worker is replaced and its process is gone.
    Drain(WorkerId),
    /// The app's requests wait.
    Pause(Option<String>),
    /// What has changed is taken up.
    Reload,
    /// Every worker is fresh.
    Restart(Option<String>),
    /// The app's requests go on.
    Resume(Option<String>),
    /// The app has so many workers.
    Scale {
        /// Which; `None` is the only one.
        app: Option<String>,
        /// How many, at least 1.
        workers: u32,
    },
}

impl Order {
    fn app(&self) -> Option<&str> {
        match self {
            Self::Drain(_) | Self::Reload => None,
            Self::Pause(app) | Self::Restart(app) | Self::Resume(app) => app.as_deref(),
            Self::Scale { app, .. } => app.as_deref(),
        }
    }
}

impl Master {
    /// Carries out `order`. `None` when the answer comes later.
    pub(super) fn order(&mut self, request: &Request, order: &Order, wait: bool) -> Option<Answer> {
        if !matches!(order, Order::Drain(_) | Order::Restart(_))
            && let Some(refused) = self.refused_by_upgrade()
        {
            return Some(refused);
        }
        let now = self.clock.now();
        let pools = match self.pools_for(order) {
            Ok(pools) => pools,
            Err(answer) => return Some(answer),
        };
        let mut parts = Vec::new();
        for pool in pools {
            match self.begin(order, pool, "api") {
                Ok(part) => parts.push(part),
                Err(refusal) => return Some(refused(order, refusal)),
            }
        }
        let trial = matches!(order, Order::Reload).then(|| self.new_trial(AttemptSource::Api));
        let mut waiting = Waiting { from: Some(request.from), since: now, parts, trial };
        if waiting.is_decided() {
            return Some(waiting.answer(None));
        }
        if wait {
            self.orders.waiting.push(waiting);
            return None;
        }
        let answer = waiting.answer(None);
        if waiting.trial.is_some() {
            // How it ends is recorded all the same.
            waiting.from = None;
            self.orders.waiting.push(waiting);
        }
        Some(answer)
    }

    /// What is not done while another server is made of what is configured now.
    pub(super) fn refused_by_upgrade(&self) -> Option<Answer> {
        self.upgrade.is_under_way().then(|| {
            let hint = "ask again when it is over: it takes moments";
            Answer::refused(409, "an upgrade is under way", hint)
        })
    }

    fn new_trial(&mut self, source: AttemptSource) -> Trial {
        Trial { id: self.reload.pipeline.number_another(), source }
    }

    /// The pools an order is for.
    fn pools_for(&mut self, order: &Order) -> Result<Vec<PoolNumber>, Answer> {
        if let Order::Drain(worker) = order {
            let crew = self.crews.of_worker(*worker).ok_or_else(|| unknown_worker(*worker))?;
            return Ok(vec![crew.pool.number]);
        }
        let active = self.shared.current.load();
        let names: Vec<&str> = active.pools.iter().map(|pool| pool.id.as_str()).collect();
        match order.app() {
            Some(name) => {
                let found = active.pools.iter().find(|pool| pool.id.as_str() == name);
                found.map(|pool| vec![pool.number]).ok_or_else(|| {
                    let error = format!("there is no app called '{name}'");
                    Answer::refused(404, error, format!("there is {}", names.join(", ")))
                })
            }
            None if matches!(order, Order::Scale { .. }) && names.len() > 1 => {
                let hint = format!("say which of {}", names.join(", "));
                Err(Answer::refused(400, "there are several apps", hint))
            }
            None => Ok(active.pools.iter().map(|pool| pool.number).collect()),
        }
    }

    /// Begins what `order` means for one pool.
    fn begin(
        &mut self,
        order: &Order,
        pool: PoolNumber,
        reason: &'static str,
    ) -> Result<Part, Refusal> {
        let now = self.clock.now();
        let crew = self.crews.get_mut(pool).ok_or(Refusal::Unknown)?;
        let old = crew.summary().generation;
        let goal = match order {
            Order::Pause(_) | Order::Resume(_) => {
                let held = matches!(order, Order::Pause(_));
                crew.pool.hold(held, now);
                let app = crew.descriptor().id.clone();
                self.explains.chronicle.held(&app, held, self.clock.wall());
                Goal::Held(held)
            }
            Order::Drain(worker) => match crew.drain(*worker, now) {
                // It is on its way already.
                Ok(()) | Err(Refusal::Leaving) => Goal::Gone(*worker),
                Err(refusal) => return Err(refusal),
            },
            Order::Reload => {
                let new = crew.roll(Cause::new(reason), now)?;
                Goal::Reloaded { old, new, served: false }
            }
            Order::Restart(_) => Goal::Rolled(crew.roll(Cause::new(reason), now)?),
            Order::Scale { workers, .. } => {
                crew.scale(*workers as usize, now)?;
                Goal::Scaled(*workers)
            }
        };
        let verdict = matches!(goal, Goal::Held(_)).then_some(Verdict::Done);
        let workers = u32::try_from(crew.wanted()).unwrap_or(u32::MAX);
        let app = crew.descriptor().id.clone();
        Ok(Part { pool, app, workers, goal, verdict })
    }

    /// The pool of an app in the active configuration.
    pub(super) fn active_pool(&self, app: &AppId) -> Option<PoolNumber> {
        let active = self.shared.current.load();
        active.pools.iter().find(|pool| pool.id == *app).map(|pool| pool.number)
    }

    /// SIGHUP: what has changed is taken up, for nobody who waits.
    pub(super) fn hang_up(&mut self) {
        if self.farewell.is_some() {
            log::warn!("HUP: another server serves: the signal is for that one");
            return;
        }
        if self.upgrade.puts_off_reload() {
            log::info!("HUP: the configuration is read again when the upgrade is over");
            return;
        }
        if self.has_edgefile() {
            self.reload_for(AttemptSource::Signal);
            return;
        }
        let mut parts = Vec::new();
        for pool in self.active_pools() {
            match self.begin(&Order::Reload, pool, "HUP") {
                Ok(part) => parts.push(part),
                Err(refusal) => log::warn!("HUP: {refusal}"),
            }
        }
        let is_same = |waiting: &Waiting| {
            waiting.trial.is_some_and(|trial| trial.source == AttemptSource::Signal)
                && waiting.parts.iter().zip(&parts).all(|(own, other)| own.is_for(other))
        };
        // Those that come while a roll runs are one.
        if !parts.is_empty() && !self.orders.waiting.iter().any(is_same) {
            let trial = Some(self.new_trial(AttemptSource::Signal));
            let since = self.clock.now();
            self.orders.waiting.push(Waiting { from: None, since, parts, trial });
        }
    }

    /// So many workers more or fewer of each app, never below one.
    pub(super) fn scale_by(&mut self, difference: isize) {
        if self.upgrade.is_under_way() || !self.is_serving() {
            log::warn!("an upgrade is under way: the number of workers stays as it is");
            return;
        }
        let now = self.clock.now();
        for pool in self.active_pools() {
            let Some(crew) = self.crews.get_mut(pool) else { continue };
            let wanted = crew.wanted().saturating_add_signed(difference);
            if !(1..=WORKER_COUNT as usize).contains(&wanted) {
                log::warn!("an app has from 1 to {WORKER_COUNT} workers");
            } else if let Err(refusal) = crew.scale(wanted, now) {
                log::warn!("{wanted} workers: {refusal}");
            }
        }
    }

    /// Answers the orders that what was just heard decides.
    pub(super) fn answer_orders(&mut self, pool: PoolNumber, news: &News) {
        let now = self.clock.now();
        for decided in self.orders.hear(pool, news) {
            let answer = decided.answer(Some(now));
            if let Some(attempt) = decided.attempt(now, self.shutdown.is_asked()) {
                self.record(attempt);
            }
            if let Some(from) = decided.from {
                self.answer(from, &answer);
            }
        }
    }
}

fn unknown_worker(worker: WorkerId) -> Answer {
    let error = format!("there is no worker {worker}");
    Answer::refused(404, error, "`rip-master list` shows those there are")
}

fn refused(order: &Order, refusal: Refusal) -> Answer {
    match (order, refusal) {
        (Order::Drain(worker), Refusal::Unknown) => unknown_worker(*worker),
        _ => Answer::refused(503, refusal.to_string(), "it takes no orders any more"),
    }
}

/// The orders that are under way.
#[derive(Debug, Default)]
pub struct Orders {
    waiting: Vec<Waiting>,
}

/// Somebody waits for this.
#[derive(Debug)]
struct Waiting {
    /// `None` where nobody does, and only the end matters.
    from: Option<Asker>,
    since: Instant,
    /// It is an attempt to take up what has changed.
    trial: Option<Trial>,
    /// One for each app; at least one.
    parts: Vec<Part>,
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
struct Trial {
    id: u64,
    source: AttemptSource,
}

/// What is waited for of one app.
#[derive(Debug)]
struct Part {
    pool: PoolNumber,
    app: AppId,
    /// How many workers the app should have.
    workers: u32,
    goal: Goal,
    /// It has become true, or cannot.
    verdict: Option<Verdict>,
}

/// What must become true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Goal {
    Gone(WorkerId),
    Held(bool),
    Reloaded {
        old: Generation,
        new: Generation,
        /// Some worker of the new generation has served.
        served: bool,
    },
    Rolled(Generation),
    Scaled(u32),
}

impl Orders {
    /// Something became true, or cannot: what was waited for and is decided by it.
    fn hear(&mut self, pool: PoolNumber, news: &News) -> Vec<Waiting> {
        for waiting in &mut self.waiting {
            let waited = waiting.parts.iter_mut().filter(|part| part.pool == pool);
            for part in waited.filter(|part| part.verdict.is_none()) {
                part.verdict = part.judge(news);
            }
        }
        self.waiting.extract_if(.., |waiting| waiting.is_decided()).collect()
    }

    /// An attempt to take up what has changed is under way.
    pub fn is_reloading(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.trial.is_some())
    }
}

/// What news mean for who waits.
#[derive(Clone, Debug)]
enum Verdict {
    Done,
    Failed { reason: String, stderr: Vec<String> },
}

impl Waiting {
    fn is_decided(&self) -> bool {
        self.parts.iter().all(|part| part.verdict.is_some())
    }

    /// The answer once everything is decided at `now`, or to one who does not wait.
    fn answer(&self, now: Option<Instant>) -> Answer {
        let took =
            now.map(|now| u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX));
        let failed = self.parts.iter().find_map(|part| match &part.verdict {
            Some(Verdict::Failed { reason, stderr }) => Some((part, reason, stderr)),
            _ => None,
        });
        if let Some((part, reason, stderr)) = failed {
            let took = took.unwrap_or_default();
            let attempt = now.and_then(|now| self.attempt(now, false));
            return Answer::json(409, &part.failed(reason.clone(), stderr.clone(), took, attempt));
        }
        let status = if self.is_decided() { 200 } else { 202 };
        let attempt = now.and_then(|now| self.attempt(now, false));
        let id = self.trial.filter(|_| attempt.is_none()).map(|trial| trial.id);
        match self.parts.as_slice() {
            [part] => Answer::json(status, &part.done(took, id, attempt)),
            parts => {
                let apps = parts.iter().map(|part| part.done(took, None, None)).collect();
                Answer::json(status, &DoneAll { ok: true, id, attempt, apps })
            }
        }
    }

    /// The attempt that has ended at `now`, if it is one. What an app runs counts as its version:
    /// there is no other that could change.
    fn attempt(&self, now: Instant, is_stopping: bool) -> Option<Attempt> {
        let Trial { id, source } = self.trial?;
        let goals = self.parts.iter().filter_map(|part| match part.goal {
            Goal::Reloaded { old, new, served } => Some((part, old, new, served)),
            _ => None,
        });
        let (mut old_version, mut new_version) = (0, 0);
        let (mut result, mut code) = (AttemptResult::Applied, AttemptCode::Ok);
        let mut details = Vec::new();
        let mut has_served = false;
        for (part, old, new, served) in goals {
            (old_version, new_version) = (old_version.max(old.0), new_version.max(new.0));
            match &part.verdict {
                Some(Verdict::Failed { reason, .. }) => {
                    result = AttemptResult::Rejected;
                    has_served |= served;
                    code = match is_stopping {
                        true => AttemptCode::Stopping,
                        false => AttemptCode::AppNotReady,
                    };
                    details.push(format!("app {}: {reason}", part.app));
                }
                _ => details.push(format!("app {} rolled to {new}", part.app)),
            }
        }
        if has_served {
            result = AttemptResult::RolledBack;
        }
        let duration_ms = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        Some(Attempt { id, source, old_version, new_version, result, code, details, duration_ms })
    }
}

impl Part {
    /// Whether the same is waited for.
    fn is_for(&self, other: &Self) -> bool {
        let goal = |part: &Self| match part.goal {
            Goal::Reloaded { new, .. } => Some((part.pool, new)),
            _ => None,
        };
        goal(self).is_some() && goal(self) == goal(other)
    }

    fn judge(&mut self, news: &News) -> Option<Verdict> {
        match (&mut self.goal, news) {
            (Goal::Gone(worker), News::Gone(gone)) if worker == gone => Some(Verdict::Done),
            (Goal::Gone(worker), News::DrainFailed { worker: failed, reason, stderr })
                if worker == failed =>
            {
                Some(Verdict::failed(reason, stderr))
            }
            (
                Goal::Reloaded { new, served, .. },
                News::RollStepped(RollProgress { generation, fresh, .. }),
            ) if new == generation => {
                *served |= *fresh > 0;
                None
            }
            (
                Goal::Reloaded { new: wanted, .. } | Goal::Rolled(wanted),
                News::RollDone { generation },
            ) if wanted == generation => Some(Verdict::Done),
            (
                Goal::Reloaded { new: wanted, .. } | Goal::Rolled(wanted),
                News::RollAborted { generation, reason, stderr },
            ) if wanted == generation => Some(Verdict::failed(reason, stderr)),
            (Goal::Scaled(wanted), News::Scaled { workers }) if *wanted as usize == *workers => {
                Some(Verdict::Done)
            }
            (Goal::Scaled(wanted), News::ScaleFailed { workers, reason, stderr })
                if *wanted as usize == *workers =>
            {
                Some(Verdict::failed(reason, stderr))
            }
            _ => None,
        }
    }

    fn done(
        &self,
        duration_ms: Option<u64>,
        id: Option<u64>,
        attempt: Option<Attempt>,
    ) -> Done<'_> {
        // An attempt tells itself how long it took.
        let duration_ms = duration_ms.filter(|_| attempt.is_none());
        let workers = Some(self.workers);
        let done = Done { duration_ms, workers, id, attempt, ..Done::new(&self.app) };
        match self.goal {
            Goal::Gone(worker) => Done { worker_id: Some(worker), workers: None, ..done },
            Goal::Reloaded { new, .. } => Done { generation: Some(new), ..done },
            Goal::Rolled(generation) => Done { generation: Some(generation), ..done },
            Goal::Held(held) => Done { paused: Some(held), workers: None, ..done },
            Goal::Scaled(_) => done,
        }
    }

    fn failed(
        &self,
        reason: String,
        stderr: Vec<String>,
        took: u64,
        attempt: Option<Attempt>,
    ) -> Failed<'_> {
        let (error, hint) = match self.goal {
            Goal::Gone(worker) => {
                (format!("{worker} was not drained: {reason}"), "it goes on serving")
            }
            Goal::Held(_) => (reason.clone(), ""),
            Goal::Reloaded { new, .. } | Goal::Rolled(new) => (
                format!("the roll to {new} was aborted: {reason}"),
                "the old workers go on serving",
            ),
            Goal::Scaled(workers) => (
                format!("{} could not be scaled to {workers} workers: {reason}", self.app),
                "the workers it has go on serving; starting the others is tried again",
            ),
        };
        let hint = match reason == Refusal::Replaced.to_string() {
            true => "`rip-master ctl history` shows what has changed",
            false => hint,
        };
        let generation = match self.goal {
            Goal::Reloaded { new, .. } | Goal::Rolled(new) => Some(new),
            _ => None,
        };
        let app = &self.app;
        let duration_ms = attempt.is_none().then_some(took);
        Failed { ok: false, error, hint, app, generation, stderr, duration_ms, attempt }
    }
}

impl Verdict {
    fn failed(reason: &str, stderr: &[String]) -> Self {
        Self::Failed { reason: reason.to_owned(), stderr: stderr.to_vec() }
    }
}

/// The answer to an order that was carried out, or has begun.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done<'a> {
    ok: bool,
    app: &'a AppId,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Generation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<WorkerId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
    /// Absent when it was not waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    /// The attempt that has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(flatten)]
    attempt: Option<Attempt>,
}

/// The answer to an order for several apps.
#[derive(Serialize)]
struct DoneAll<'a> {
    ok: bool,
    /// The attempt that has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(flatten)]
    attempt: Option<Attempt>,
    apps: Vec<Done<'a>>,
}

impl<'a> Done<'a> {
    fn new(app: &'a AppId) -> Self {
        Self {
            ok: true,
            app,
            generation: None,
            workers: None,
            worker_id: None,
            paused: None,
            duration_ms: None,
            id: None,
            attempt: None,
        }
    }
}

/// The answer to an order that could not be carried out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    ok: bool,
    error: String,
    hint: &'static str,
    app: &'a AppId,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Generation>,
    /// What the worker that failed wrote last.
    stderr: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(flatten)]
    attempt: Option<Attempt>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::server::ConnectionId;
    use serde_json::{Value, json};

    fn waiting(goal: Goal) -> Orders {
        let part = Part { pool: POOL, app: AppId::new("api"), workers: 8, goal, verdict: None };
        let since = Instant::from_millis(1000);
        let trial = matches!(goal, Goal::Reloaded { .. })
            .then_some(Trial { id: 3, source: AttemptSource::Api });
        let waiting = Waiting {
            from: Some(Asker::Connection(ConnectionId(1))),
            since,
            parts: vec![part],
            trial,
        };
        Orders { waiting: vec![waiting] }
    }

    fn hear(orders: &mut Orders, news: &News) -> Option<(u16, Value)> {
        let mut decided = orders.hear(POOL, news);
        assert!(decided.len() <= 1);
        let answer = decided.pop()?.answer(Some(Instant::from_millis(1500)));
        Some((answer.status, serde_json::from_slice(&answer.body).expect("JSON")))
    }

    const POOL: PoolNumber = PoolNumber(3);
    const OLD: Generation = Generation(1);
    const NEW: Generation = Generation(2);

    fn aborted(generation: Generation) -> News {
        News::RollAborted {
            generation,
            reason: "exited 1 before it was ready".to_owned(),
            stderr: vec!["ImportError".to_owned()],
        }
    }

    #[test]
    fn a_restart_is_answered_by_its_own_roll() {
        let mut orders = waiting(Goal::Rolled(NEW));
        assert_eq!(hear(&mut orders, &News::RollDone { generation: OLD }), None);
        assert_eq!(hear(&mut orders, &aborted(OLD)), None);
        let (status, body) = hear(&mut orders, &News::RollDone { generation: NEW }).unwrap();
        let done = json!({"ok":true,"app":"api","generation":2,"workers":8,"durationMs":500});
        assert_eq!((status, body), (200, done));
        assert_eq!(hear(&mut orders, &News::RollDone { generation: NEW }), None, "answered once");
    }

    #[test]
    fn an_aborted_roll_is_told_with_what_the_worker_said() {
        let (status, body) = hear(&mut waiting(Goal::Rolled(NEW)), &aborted(NEW)).unwrap();
        assert_eq!(status, 409);
        assert_eq!(body["ok"], false);
        assert_eq!(body["error"], "the roll to g2 was aborted: exited 1 before it was ready");
        assert_eq!(body["stderr"], json!(["ImportError"]));
        assert!(body.get("result").is_none(), "{body}");
    }

    #[test]
    fn a_reload_has_the_shape_of_an_attempt() {
        let goal = Goal::Reloaded { old: OLD, new: NEW, served: false };
        let (_, body) = hear(&mut waiting(goal), &News::RollDone { generation: NEW }).unwrap();
        for (name, value) in [
            ("id", json!(3)),
            ("source", json!("api")),
            ("oldVersion", json!(1)),
            ("newVersion", json!(2)),
            ("result", json!("applied")),
            ("code", json!("ok")),
            ("details", json!(["app api rolled to g2"])),
            ("durationMs", json!(500)),
        ] {
            assert_eq!(body[name], value, "{name}");
        }
        let (status, body) = hear(&mut waiting(goal), &aborted(NEW)).unwrap();
        assert_eq!((status, &body["result"]), (409, &json!("rejected")));
        assert_eq!((&body["code"], &body["durationMs"]), (&json!("app_not_ready"), &json!(500)));
        assert_eq!(body["details"], json!(["app api: exited 1 before it was ready"]));
        let mut orders = waiting(goal);
        let step = News::RollStepped(RollProgress { generation: NEW, fresh: 1, wanted: 8 });
        assert_eq!(hear(&mut orders, &step), None);
        let (_, body) = hear(&mut orders, &aborted(NEW)).unwrap();
        assert_eq!(body["result"], "rolled_back", "some of it had served");
    }

    #[test]
    fn a_scale_and_a_drain_are_answered_by_what_they_asked_for() {
        let mut orders = waiting(Goal::Scaled(8));
        assert_eq!(hear(&mut orders, &News::Scaled { workers: 4 }), None);
        assert_eq!(hear(&mut orders, &News::Scaled { workers: 8 }).unwrap().0, 200);
        let failed =
            News::ScaleFailed { workers: 8, reason: "no memory".to_owned(), stderr: Vec::new() };
        let (status, body) = hear(&mut waiting(Goal::Scaled(8)), &failed).unwrap();
        assert_eq!(status, 409);
        assert_eq!(body["error"], "api could not be scaled to 8 workers: no memory");
        let mut orders = waiting(Goal::Gone(WorkerId(3)));
        assert_eq!(hear(&mut orders, &News::Gone(WorkerId(2))), None);
        let (status, body) = hear(&mut orders, &News::Gone(WorkerId(3))).unwrap();
        assert_eq!((status, &body["workerId"]), (200, &json!(3)));
    }
}
