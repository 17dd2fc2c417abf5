//! Everything the server says of itself, made at one moment: what `/diagnostics` shows, what watchers
//! are sent once a second.

use super::listing::{self, AppNotes};
use super::master::Master;
use super::server::Answer;
use crate::shared::door::JSON;
use crate::shared::upstreams::UpstreamView;
use rip::contract::cert::TlsCertRecord;
use rip::observe::lives::AppLives;
use rip::observe::note::Note;
use rip::observe::numbers::Numbers;
use rip::observe::prometheus::Format;
use rip::observe::report::{
    AppReport, CertReport, ConfigReport, ErrorReport, Report, UpstreamReport,
};
use rip::reload::History;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// What was made for who asked, as long as nothing can have changed since: many may ask at once.
#[derive(Default)]
pub(super) struct Reports {
    made: Vec<(Form, Arc<[u8]>)>,
}

/// How everything is written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Report,
    Metrics(Format),
}

impl Reports {
    /// Something may have changed.
    pub(super) fn forget(&mut self) {
        self.made.clear();
    }
}

impl Master {
    /// `GET /diagnostics`.
    pub(super) fn diagnostics(&mut self) -> Answer {
        Answer::of(200, JSON, self.report_json().to_vec())
    }

    /// `GET /metrics`.
    pub(super) fn metrics(&mut self, format: Format) -> Answer {
        let text = self.written(Form::Metrics(format), |master| {
            let mut text = Vec::new();
            master.numbers().exposition(format, &mut text);
            text
        });
        Answer::of(200, format.content_type(), text.to_vec())
    }

    /// The report as JSON.
    pub(super) fn report_json(&mut self) -> Arc<[u8]> {
        self.written(Form::Report, |master| {
            serde_json::to_vec(&master.current_report()).unwrap_or_else(|error| {
                log::error!("the report cannot be written: {error}");
                b"{}".to_vec()
            })
        })
    }

    fn written(&mut self, form: Form, write: impl FnOnce(&Self) -> Vec<u8>) -> Arc<[u8]> {
        let made = &self.state.reports.made;
        if let Some((_, text)) = made.iter().find(|(found, _)| *found == form) {
            return Arc::clone(text);
        }
        let text: Arc<[u8]> = write(self).into();
        self.state.reports.made.push((form, Arc::clone(&text)));
        text
    }

    /// How everything is at this moment.
    pub(super) fn current_report(&self) -> Report {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let status = self.shared.status(now);
        let active = self.shared.current.load();
        let notes =
            AppNotes { stopping: self.shutdown.is_asked(), last_exits: &self.state.last_exits };
        let crews = self.active_pools().into_iter().filter_map(|pool| self.crews.get(pool));
        let apps: Vec<AppReport> = crews
            .map(|crew| {
                // Those of its former code as well, until they are gone.
                let id = &crew.descriptor().id;
                let all = self.crews.iter().filter(|crew| crew.descriptor().id == *id);
                listing::app_report(crew, all, &notes, wall)
            })
            .collect();
        let numbers = self.numbers();
        Report {
            status: status.health,
            version: numbers.version.clone(),
            uptime: status.uptime,
            at: wall.0,
            metrics: numbers.metrics(),
            recent: numbers.recent(),
            errors: self.shared.notes.newest(ERRORS_SHOWN, 500).iter().map(error).collect(),
            gauges: numbers.gauges(),
            realtime: numbers.realtime(),
            apps: app_reports(apps, &numbers),
            config: config(&self.reload.history, active.version, self.edgefile()),
            certs: certs(self.certs.report().records, wall.0 / 1000),
            upstreams: self.shared.upstreams(now).into_iter().map(UpstreamReport::from).collect(),
            hosts: status.hosts,
            urls: active.config.urls(),
        }
    }
}

fn error(note: &Note) -> ErrorReport {
    ErrorReport {
        at: note.end().0,
        id: String::from_utf8_lossy(note.id()).into_owned(),
        status: note.status,
        method: note.method(),
        path: note.path(),
        app: Some(note.app()).filter(|app| !app.is_empty()),
        reason: note.reason.map(|reason| reason.code().to_owned()),
    }
}

/// Requests that failed last.
const ERRORS_SHOWN: usize = 20;

/// What is said of an app is what its numbers say: restarts are those of the process, whichever crew the
/// app had.
fn app_reports(mut apps: Vec<AppReport>, numbers: &Numbers) -> Vec<AppReport> {
    for app in &mut apps {
        app.restarts = numbers.lives.apps.get(&app.id).map_or(0, AppLives::restarted);
        if let Some(found) = numbers.apps.iter().find(|found| found.id == app.id) {
            app.inflight = u32::try_from(found.inflight).unwrap_or(u32::MAX);
            app.queue_depth = u32::try_from(found.queue_depth).unwrap_or(u32::MAX);
        }
    }
    apps
}

/// `active` is the version that is; `path` is the Edgefile's.
fn config(history: &History, active: u64, path: Option<&str>) -> ConfigReport {
    let Value::Array(mut attempts) = value_of(history) else { return ConfigReport::default() };
    attempts.reverse();
    ConfigReport {
        version: active,
        path: path.map(str::to_owned),
        last_attempt: attempts.last().cloned(),
        history: attempts,
    }
}

/// `now` is in seconds since 1970.
fn certs(records: Vec<TlsCertRecord>, now: u64) -> Vec<CertReport> {
    let row = |record: TlsCertRecord| CertReport {
        days_left: days_between(now, record.not_after),
        domains: record.domains,
        source: value_of(&record.source).as_str().unwrap_or_default().to_owned(),
        not_after: record.not_after,
    };
    records.into_iter().map(row).collect()
}

/// Whole days from `now` until `then`; what has just ended has -1 left.
fn days_between(now: u64, then: u64) -> i64 {
    let seconds = i128::from(then) - i128::from(now);
    i64::try_from(seconds.div_euclid(86_400)).unwrap_or(i64::MAX)
}

impl From<UpstreamView> for UpstreamReport {
    fn from(view: UpstreamView) -> Self {
        Self { id: view.id, targets: view.targets.iter().map(value_of).collect() }
    }
}

/// None of what is told here fails to be written.
fn value_of(told: &impl Serialize) -> Value {
    serde_json::to_value(told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rip::contract::attempt::{Attempt, AttemptCode, AttemptResult, AttemptSource};
    use rip::contract::cert::CertSource;

    fn attempt(id: u64) -> Attempt {
        Attempt {
            id,
            source: AttemptSource::Watch,
            old_version: id,
            new_version: id + 1,
            result: AttemptResult::Applied,
            code: AttemptCode::Ok,
            details: Vec::new(),
            duration_ms: 4,
        }
    }

    #[test]
    fn the_history_ends_with_the_newest_attempt() {
        let mut history = History::default();
        let none = config(&history, 1, None);
        assert_eq!((none.last_attempt, none.history, none.path), (None, Vec::new(), None));
        (1..=3).for_each(|id| history.record(attempt(id), rip::time::UnixMillis(7)));
        let told = config(&history, 4, Some("/srv/Edgefile"));
        let ids: Vec<_> = told.history.iter().map(|attempt| attempt["id"].clone()).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(told.last_attempt.as_ref(), told.history.last());
        assert_eq!(
            (&told.history[0]["durationMs"], &told.history[0]["at"]),
            (&4.into(), &7.into())
        );
        assert_eq!((told.version, &*told.path.unwrap()), (4, "/srv/Edgefile"));
    }

    #[test]
    fn days_are_whole_ones_and_negative_when_it_is_over() {
        let day = 86_400;
        for (then, days) in [(100 * day, 90), (11 * day - 1, 0), (10 * day, 0), (10 * day - 1, -1)]
        {
            assert_eq!(days_between(10 * day, then), days, "{then}");
        }
        let record = TlsCertRecord {
            id: "a.x".to_owned(),
            domains: vec!["a.x".to_owned()],
            not_before: 0,
            not_after: 12 * day,
            fingerprint: String::new(),
            cert_path: String::new(),
            key_path: String::new(),
            source: CertSource::Auto,
            last_renew_attempt: None,
            last_renew_result: None,
        };
        let told = certs(vec![record], 10 * day);
        assert_eq!((told[0].days_left, &*told[0].source), (2, "auto"));
    }
}
