//! What is told of configurations and of attempts to change them.

use crate::control::server::Answer;
use rip::contract::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
use rip::contract::config::Config;
use rip::edgefile::plan::Plan;
use rip::ids::AppId;
use rip::reload::history::Counts;
use rip::reload::overlay::{Entry, Target};
use rip::reload::{Failure, History};
use serde::Serialize;

/// The answer to who waited for an attempt.
#[derive(Serialize)]
pub(super) struct Outcome<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    /// The host that was added or removed.
    #[serde(flatten)]
    host: Option<&'a Changed>,
    #[serde(flatten)]
    attempt: &'a Attempt,
}

impl<'a> Outcome<'a> {
    pub(super) fn new(attempt: &'a Attempt, host: Option<&'a Changed>) -> Self {
        let ok = attempt.result == AttemptResult::Applied;
        let error = (!ok).then(|| {
            let why = attempt.details.first().cloned().unwrap_or_default();
            let what = match attempt.result {
                AttemptResult::RolledBack => "was taken back",
                _ => "is rejected",
            };
            format!("the new configuration {what}: {why}")
        });
        let hint = (!ok).then_some("the old one goes on serving");
        Self { ok, error, hint, host: host.filter(|_| ok), attempt }
    }
}

/// A host that was added or removed, as it is told with the attempt that did it.
#[derive(Serialize)]
pub(super) struct Changed {
    /// The host.
    pub(super) host: String,
    /// The app that serves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<AppId>,
    /// What else is to be known.
    pub(super) note: &'static str,
}

/// The answer to who does not wait for an attempt.
#[derive(Serialize)]
pub(super) struct Promised {
    ok: bool,
    /// The number the attempt will have.
    id: u64,
    source: AttemptSource,
}

impl Promised {
    pub(super) fn new(id: u64) -> Self {
        Self { ok: true, id, source: AttemptSource::Api }
    }
}

/// What a reload would do.
#[derive(Serialize)]
pub(super) struct Planned<'a> {
    ok: bool,
    /// The active version, with which it is compared.
    version: u64,
    /// By subject.
    #[serde(flatten)]
    plan: Plan,
    /// For people; none when nothing changes.
    lines: Vec<String>,
    /// What is odd about it.
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl Planned<'_> {
    pub(super) fn new(version: u64, plan: &Plan, warnings: Vec<String>) -> Self {
        let (plan, lines) = (plan.clone(), plan.lines());
        Self { ok: true, version, plan, lines, warnings, note: None }
    }

    /// Without a file to be read again.
    pub(super) fn roll(version: u64) -> Self {
        let note = Some("there is no Edgefile: a reload replaces every worker by a fresh one");
        Self { note, ..Self::new(version, &Plan::default(), Vec::new()) }
    }
}

/// What a reload would fail of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unplanned<'a> {
    ok: bool,
    error: &'a str,
    hint: &'static str,
    result: AttemptResult,
    /// The active version.
    old_version: u64,
    code: AttemptCode,
    details: &'a [String],
}

impl<'a> Unplanned<'a> {
    pub(super) fn new(failure: &'a Failure, old_version: u64) -> Self {
        Self {
            result: AttemptResult::Rejected,
            old_version,
            ok: false,
            error: failure.details.first().map_or("", String::as_str),
            hint: "a reload would be rejected",
            code: failure.code,
            details: &failure.details,
        }
    }
}

/// `GET /config`.
pub(in crate::control) fn configuration(
    version: u64,
    path: Option<&str>,
    config: &Config,
) -> Answer {
    #[derive(Serialize)]
    struct Active<'a> {
        ok: bool,
        version: u64,
        /// The Edgefile.
        path: Option<&'a str>,
        #[serde(flatten)]
        config: Config,
    }
    Answer::ok(&Active { ok: true, version, path, config: config.shown() })
}

/// `GET /history`.
pub(in crate::control) fn history(history: &History, version: u64) -> Answer {
    #[derive(Serialize)]
    struct Told<'a> {
        ok: bool,
        /// The active version.
        version: u64,
        /// Since the start, those that are not kept any more included.
        counts: Counts,
        /// Newest first.
        attempts: &'a History,
    }
    Answer::ok(&Told { ok: true, version, counts: history.counts(), attempts: history })
}

/// A host that was added while the server runs.
#[derive(Serialize)]
pub(in crate::control) struct Added<'a> {
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
}

impl<'a> From<&'a Entry> for Added<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (app, path) = match &entry.target {
            Target::App(app) => (Some(app.as_str()), None),
            Target::Path { path, app } => {
                (app.as_ref().map(|app| app.id.as_str()), Some(path.as_str()))
            }
        };
        Self { host: &entry.host, app, path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rejected_attempt_is_told_with_its_reason_and_its_fields() {
        let attempt = Attempt {
            id: 4,
            source: AttemptSource::Api,
            old_version: 1,
            new_version: 3,
            result: AttemptResult::Rejected,
            code: AttemptCode::EntryMissing,
            details: vec!["there is no api.py".to_owned()],
            duration_ms: 7,
        };
        let note = "until the master restarts";
        let host = Changed { host: "x.example".to_owned(), app: None, note };
        let told = serde_json::to_value(Outcome::new(&attempt, Some(&host))).unwrap();
        let expected = json!({
            "ok": false, "error": "the new configuration is rejected: there is no api.py",
            "hint": "the old one goes on serving",
            "id": 4, "source": "api", "oldVersion": 1, "newVersion": 3, "result": "rejected",
            "code": "entry_missing", "details": ["there is no api.py"], "durationMs": 7,
        });
        assert_eq!(told, expected);
        let attempt = Attempt { result: AttemptResult::Applied, ..attempt };
        let told = serde_json::to_value(Outcome::new(&attempt, Some(&host))).unwrap();
        assert_eq!((&told["ok"], &told["host"]), (&json!(true), &json!("x.example")));
        assert_eq!(told["note"], note);
    }
}
