//! What has become of workers, configurations and certificates so far: events, counted.
//!
//! The numbers are those of the process: apps that come and go with configurations keep theirs.

use crate::contract::attempt::{AttemptResult, AttemptSource};
use crate::contract::event::Event;
use crate::ids::AppId;
use std::collections::BTreeMap;

/// Events, counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lives {
    /// By app; every app that ever had a worker.
    pub apps: BTreeMap<AppId, AppLives>,
    /// Configurations that became active in the place of another.
    pub applied: u64,
    /// Those that never did.
    pub rejected: u64,
    /// Those that were taken back.
    pub rolled_back: u64,
    /// Certificates that an authority gave.
    pub renewals: u64,
    /// Orders that failed.
    pub renewals_failed: u64,
    /// Joins and quits that were not believed.
    pub refused: u64,
    /// Times that a server of an upstream was taken out, by upstream.
    pub upstreams_down: BTreeMap<String, u64>,
    /// Answers for WebSocket clients that reached nobody and were told of, or are counted with one
    /// that was.
    pub ws_errors: u64,
}

/// Workers of one app.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AppLives {
    /// Started.
    pub starts: u64,
    /// Ended as they were asked to.
    pub exits: u64,
    /// Ended unasked, or before they were ready.
    pub crashes: u64,
    /// Started again after that, by [`RestartReason`].
    pub restarts: [u64; RestartReason::ALL.len()],
    /// Given up.
    pub abandoned: u64,
    /// Replaced although nothing was wrong, by what for.
    pub recycled: BTreeMap<&'static str, u64>,
    /// Found stuck.
    pub stuck: u64,
    /// Rolls that were carried out.
    pub rolled: u64,
    /// Rolls that were broken off.
    pub rolls_aborted: u64,
}

/// Why a worker had to be started again, in few words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RestartReason {
    /// It returned.
    Exit,
    /// A signal ended it.
    Signal,
    /// It did not become ready, or ended as soon as it was.
    Start,
}

impl RestartReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exit, Self::Signal, Self::Start];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Start => "start",
        }
    }

    /// What an event's own words mean: `exited 1`, `killed by SIGKILL`; all others, and what is said
    /// behind these, tell of a start.
    fn of(words: &str) -> Self {
        let is_last = |what: &str| !what.contains(' ');
        match words.strip_prefix("exited ") {
            Some(code) if is_last(code) => return Self::Exit,
            _ => {}
        }
        match words.strip_prefix("killed by ") {
            Some(by) if is_last(by.strip_prefix("signal ").unwrap_or(by)) => Self::Signal,
            _ => Self::Start,
        }
    }
}

impl Lives {
    /// Counts what `event` tells of.
    pub fn tell(&mut self, event: &Event) {
        match event {
            Event::WorkerStart { app, .. } => self.of(app).starts += 1,
            Event::WorkerExit { app, expected, .. } => {
                let app = self.of(app);
                *if *expected { &mut app.exits } else { &mut app.crashes } += 1;
            }
            Event::WorkerRestart { app, reason, .. } => {
                self.of(app).restarts[RestartReason::of(reason) as usize] += 1;
            }
            Event::WorkerAbandon { app, .. } => self.of(app).abandoned += 1,
            Event::WorkerRecycle { app, reason, .. } => {
                *self.of(app).recycled.entry(reason).or_default() += 1;
            }
            Event::WorkerStuck { app, .. } => self.of(app).stuck += 1,
            Event::RollDone { app, .. } => self.of(app).rolled += 1,
            Event::RollAborted { app, .. } => self.of(app).rolls_aborted += 1,
            Event::WorkerRefused { .. } => self.refused += 1,
            // The first configuration takes the place of none.
            Event::ConfigActivated(attempt) if attempt.source == AttemptSource::Start => {}
            Event::ConfigActivated(attempt)
            | Event::ConfigRejected(attempt)
            | Event::ConfigRollback(attempt) => {
                *match attempt.result {
                    AttemptResult::Applied => &mut self.applied,
                    AttemptResult::Rejected => &mut self.rejected,
                    AttemptResult::RolledBack => &mut self.rolled_back,
                } += 1;
            }
            Event::CertRenewed { .. } => self.renewals += 1,
            // Only orders are tried again by themselves; files are when they change.
            Event::CertFailed { retry_ms: Some(_), .. } => self.renewals_failed += 1,
            Event::UpstreamDown { upstream, .. } => {
                *self.upstreams_down.entry(upstream.clone()).or_default() += 1;
            }
            Event::WsError { untold, .. } => self.ws_errors += 1 + untold,
            _ => {}
        }
    }

    /// Workers of all apps that were started again.
    pub fn restarts(&self) -> u64 {
        self.apps.values().map(AppLives::restarted).sum()
    }

    /// Workers of all apps that were replaced although nothing was wrong.
    pub fn recycled(&self) -> u64 {
        self.apps.values().flat_map(|app| app.recycled.values()).sum()
    }

    /// Workers of all apps that were given up.
    pub fn abandoned(&self) -> u64 {
        self.apps.values().map(|app| app.abandoned).sum()
    }

    fn of(&mut self, app: &AppId) -> &mut AppLives {
        self.apps.entry(app.clone()).or_default()
    }
}

impl AppLives {
    /// Workers that were started again.
    pub fn restarted(&self) -> u64 {
        self.restarts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;

    fn restart(reason: &str) -> Event {
        let (app, reason) = (AppId::new("api"), reason.to_owned());
        Event::WorkerRestart { app, worker_id: WorkerId(1), attempt: 1, backoff_ms: 0, reason }
    }

    #[test]
    fn restarts_are_told_apart_in_few_words() {
        for (words, expected) in [
            ("exited 1", RestartReason::Exit),
            ("killed by SIGKILL", RestartReason::Signal),
            ("killed by signal 34", RestartReason::Signal),
            ("exited 1 before it was ready", RestartReason::Start),
            ("killed by SIGSEGV as soon as it was ready", RestartReason::Start),
            ("killed by signal 34 before it was ready", RestartReason::Start),
            ("ready: the app did not answer", RestartReason::Start),
            ("", RestartReason::Start),
        ] {
            assert_eq!(RestartReason::of(words), expected, "{words}");
        }
        for (index, reason) in RestartReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn events_are_counted() {
        let mut lives = Lives::default();
        let app = || AppId::new("api");
        lives.tell(&restart("exited 1"));
        lives.tell(&restart("exited 2 before it was ready"));
        let recycle = |reason| Event::WorkerRecycle { app: app(), worker_id: WorkerId(1), reason };
        lives.tell(&recycle("rss"));
        lives.tell(&recycle("rss"));
        let failed = |retry_ms| Event::CertFailed {
            domains: Vec::new(),
            path: None,
            reason: String::new(),
            kept: false,
            retry_ms,
        };
        lives.tell(&failed(None));
        lives.tell(&failed(Some(1)));
        assert_eq!((lives.restarts(), lives.recycled(), lives.abandoned()), (2, 2, 0));
        assert_eq!(lives.apps[&app()].restarts, [1, 0, 1]);
        assert_eq!((lives.renewals, lives.renewals_failed), (0, 1));
    }
}
