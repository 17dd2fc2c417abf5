//! The verbs that change what a running master does. Each returns when the thing is true (or has
//! begun, with `--no-wait`), and its exit code says whether it is.

use super::answer::{App, Apps, Carried, Workers};
use super::args::{Drain, OnApp, Order, Scale};
use super::client::{self, Reply, Unanswered};
use super::ctl::{accepted, say, understood};
use super::exit::{Exit, Failure};
use super::masters::{self, Master};
use super::progress;
use super::value;
use rip::ids::WorkerId;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Replaces every worker of an app by a fresh one.
///
/// # Errors
/// No master or app, a fresh worker that does not become ready, no answer in time or at all.
pub fn restart(flags: &OnApp) -> Result<Exit, Failure> {
    let what =
        What { goal: Goal::Rolled, ..What::new("restart", "/control/restart", &flags.order) };
    what.carry_out(body(flags.app.as_deref(), &[]), rolled)
}

/// What is told of a roll.
pub(super) fn rolled(done: &Carried) -> String {
    let generation = done.generation.map(|generation| generation.to_string());
    let generation = generation.unwrap_or_default();
    match done.duration_ms {
        Some(took) => format!(
            "{} runs {generation} in {} fresh workers ({})",
            done.app,
            done.workers,
            seconds(took)
        ),
        None => format!("{} is being rolled to {generation}", done.app),
    }
}

/// Gives an app so many workers.
///
/// # Errors
/// As [`restart`].
pub fn scale(flags: &Scale) -> Result<Exit, Failure> {
    let (app, count) = match flags.words.as_slice() {
        [app, count] => (Some(app.as_str()), count),
        [count] => (None, count),
        _ => return Err(Failure::usage("scale takes an app and a number of workers")),
    };
    let count = value::worker_count(count).map_err(|why| {
        Failure::usage(format!("invalid number of workers '{count}': {why}"))
            .tip("for example: rip-master ctl scale 4")
    })?;
    let what = What { goal: Goal::Scaled, ..What::new("scale", "/control/scale", &flags.order) };
    what.carry_out(body(app, &[("workers", count.into())]), |done| match done.duration_ms {
        Some(took) => {
            format!("{} has {} ready workers ({})", done.app, done.workers, seconds(took))
        }
        None => format!("{} is being scaled to {} workers", done.app, done.workers),
    })
}

/// Lets an app's requests wait.
///
/// # Errors
/// As [`restart`].
pub fn pause(flags: &OnApp) -> Result<Exit, Failure> {
    let what = What::new("pause", "/control/pause", &flags.order);
    what.carry_out(body(flags.app.as_deref(), &[]), |done| {
        format!("{} is paused: its requests wait", done.app)
    })
}

/// Lets an app's requests go on.
///
/// # Errors
/// As [`restart`].
pub fn resume(flags: &OnApp) -> Result<Exit, Failure> {
    let what = What::new("resume", "/control/resume", &flags.order);
    what.carry_out(body(flags.app.as_deref(), &[]), |done| format!("{} goes on", done.app))
}

/// Replaces one worker and lets it end.
///
/// # Errors
/// As [`restart`].
pub fn drain(flags: &Drain) -> Result<Exit, Failure> {
    let worker = flags.worker;
    let goal = Goal::Gone(worker);
    let what = What { goal, ..What::new("drain", "/control/drain", &flags.order) };
    what.carry_out(body(None, &[("workerId", worker.0.into())]), |done| match done.duration_ms {
        Some(took) => format!("{worker} has ended ({})", seconds(took)),
        None => format!("{worker} is being drained"),
    })
}

/// What is ordered, and how.
pub(super) struct What<'a> {
    /// What it is called.
    pub verb: &'static str,
    /// Where it goes.
    pub path: &'static str,
    /// `POST`, or what takes a thing away.
    pub method: &'static str,
    /// What is waited for.
    pub goal: Goal,
    /// How it is given.
    pub flags: &'a Order,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// Nothing that takes time.
    AtOnce,
    /// The end of this worker.
    Gone(WorkerId),
    /// Fresh workers.
    Rolled,
    /// The number of workers.
    Scaled,
    /// Another master.
    Succeeded,
}

impl<'a> What<'a> {
    /// An order that is carried out at once.
    pub fn new(verb: &'static str, path: &'static str, flags: &'a Order) -> Self {
        Self { verb, path, method: "POST", goal: Goal::AtOnce, flags }
    }

    /// Gives the order and waits for whatever the master answers.
    ///
    /// # Errors
    /// No master, no answer in time or at all.
    pub fn give(&self, mut body: Map<String, Value>) -> Result<Reply, Failure> {
        let master = masters::select(self.flags.name.as_deref())?;
        if self.flags.no_wait {
            body.insert("wait".to_owned(), false.into());
        }
        let app = body.get("app").and_then(Value::as_str).map(str::to_owned);
        self.order(&master, &Value::Object(body).to_string(), app.as_deref())
            .map_err(|unanswered| self.explain(unanswered))
    }

    fn carry_out(
        &self,
        body: Map<String, Value>,
        tell: impl FnOnce(&Carried) -> String,
    ) -> Result<Exit, Failure> {
        let reply = self.give(body)?;
        if self.flags.json {
            say(&reply.body)?;
            return accepted(reply).map(|_| Exit::Done);
        }
        let done: Carried = understood(&accepted(reply)?)?;
        say(&tell(&done))
    }

    /// Gives the order and waits; meanwhile a terminal shows how far it is.
    fn order(&self, master: &Master, body: &str, app: Option<&str>) -> Result<Reply, Unanswered> {
        let deadline = Instant::now() + self.flags.timeout;
        let socket = master.control_socket();
        let shown = progress::on_terminal().filter(|_| !self.flags.no_wait);
        let Some(mut shown) = shown else {
            return client::order(&socket, (self.method, self.path), body, deadline);
        };
        std::thread::scope(|scope| {
            let (answered, answer) = channel();
            scope.spawn(|| {
                // Nobody else holds the receiver's end.
                let _ =
                    answered.send(client::order(&socket, (self.method, self.path), body, deadline));
                drop(answered);
            });
            loop {
                match answer.recv_timeout(LOOK_INTERVAL) {
                    Ok(reply) => return reply,
                    Err(RecvTimeoutError::Disconnected) => return Err(Unanswered::Lost),
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some(text) = self.goal.look(&socket, app) {
                            shown.show(&text);
                        }
                    }
                }
            }
        })
    }

    fn explain(&self, unanswered: Unanswered) -> Failure {
        let Self { verb, .. } = self;
        match unanswered {
            Unanswered::Unsent(failure) => failure,
            Unanswered::Late => Failure::new(
                Exit::Failed,
                format!("{verb} is not done after {:?}; it goes on", self.flags.timeout),
            )
            .tip("`rip-master list` shows how far it is; wait longer with --timeout"),
            Unanswered::Lost => Failure::new(
                Exit::Failed,
                format!(
                    "the connection to the master was lost: whether {verb} was done is not known"
                ),
            )
            .tip("`rip-master status` says whether the master still runs"),
        }
    }
}

impl Goal {
    /// How far it is, in a few words.
    fn look(self, socket: &Path, app: Option<&str>) -> Option<String> {
        let get =
            |target| client::ask(socket, "GET", target, None, Instant::now() + LOOK_TIMEOUT).ok();
        match self {
            Self::AtOnce => None,
            Self::Succeeded => Some("waiting for the next server to get ready".to_owned()),
            Self::Gone(worker) => {
                let workers: Workers = understood(&get("/workers")?).ok()?;
                let row = workers.workers.iter().find(|row| row.worker_id == worker)?;
                Some(format!("draining {worker}, {} in flight", row.inflight))
            }
            Self::Rolled | Self::Scaled => {
                let apps: Apps = understood(&get("/apps")?).ok()?;
                let wanted = |row: &&App| app.is_none_or(|app| row.id.as_str() == app);
                self.far(apps.apps.iter().find(wanted)?)
            }
        }
    }

    fn far(self, app: &App) -> Option<String> {
        match self {
            Self::Rolled => {
                let rolling = app.rolling.as_ref()?;
                Some(format!("rolling {}/{}", rolling.fresh, rolling.wanted))
            }
            _ => Some(format!("scaling {}/{}", app.ready, app.workers)),
        }
    }
}

pub(super) fn body(app: Option<&str>, rest: &[(&str, Value)]) -> Map<String, Value> {
    let app = app.map(|app| ("app", app.into()));
    app.into_iter()
        .chain(rest.iter().cloned())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

pub(super) fn seconds(millis: u64) -> String {
    format!("{:.1}s", millis as f64 / 1000.0)
}

/// How often a terminal is told how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_only_what_was_given() {
        let text = |app, rest: &[_]| Value::Object(body(app, rest)).to_string();
        assert_eq!(text(None, &[]), "{}");
        assert_eq!(text(Some("api"), &[("workers", 3.into())]), r#"{"app":"api","workers":3}"#);
        assert_eq!(seconds(1234), "1.2s");
    }

    #[test]
    fn progress_is_what_the_master_says() {
        let app: App = serde_json::from_str(
            r#"{"id":"a","workers":8,"ready":5,"rolling":{"generation":2,"fresh":3,"wanted":8}}"#,
        )
        .unwrap();
        assert_eq!(Goal::Rolled.far(&app).as_deref(), Some("rolling 3/8"));
        assert_eq!(Goal::Scaled.far(&app).as_deref(), Some("scaling 5/8"));
        let app: App = serde_json::from_str(r#"{"id":"a"}"#).unwrap();
        assert_eq!(Goal::Rolled.far(&app), None, "it has not begun, or is over");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let flags = Order { timeout: Duration::from_secs(2), ..Order::default() };
        let what = What::new("restart", "/control/restart", &flags);
        let late = what.explain(Unanswered::Late);
        assert_eq!(late.exit, Exit::Failed);
        assert_eq!(late.message, "restart is not done after 2s; it goes on");
        let lost = what.explain(Unanswered::Lost).message;
        assert_eq!(
            lost,
            "the connection to the master was lost: whether restart was done is not known"
        );
    }
}
