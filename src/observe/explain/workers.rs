//! Workers that are to blame, and waiting for them.

use super::cause::Cause;
use super::finding::{CLOCK_MILLIS, Evidence, Finding, ended_words};
use super::words::{amount, time};
use crate::observe::chronicle::Failure;
use crate::time::UnixMillis;
use std::time::Duration;

impl Evidence<'_> {
    pub(super) fn middle(&self) -> &'static str {
        if self.note.trail.begun { ", in the middle of its answer" } else { "" }
    }

    pub(super) fn worker_gone(&self) -> Finding {
        let Some(worker) = self.note.worker else {
            return Finding::new(Cause::WorkerClosed, "its worker is gone", "");
        };
        let (who, served, middle) = (self.worker(worker), time(self.served()), self.middle());
        let earlier = match &*self.tries() {
            [] => String::new(),
            tries => format!(" (before that, {})", tries.join("; ")),
        };
        let Some(end) = self.death_of(worker, self.end()) else {
            let because = format!(
                "{who} closed the connection {served} after it got the request{middle}, and \
                 lives{earlier}"
            );
            let remedy = "the app ended the connection itself: look for the request's id in its log; \
                          a server with a time limit of its own does this";
            return Finding::new(Cause::WorkerClosed, because, remedy);
        };
        let (how, unasked) = (ended_words(end), !end.expected);
        let asked = if unasked { "" } else { ", while it was being retired" };
        let words = match end.stderr.last() {
            Some(last) => format!("; its last words: {last}"),
            None => String::new(),
        };
        let because =
            format!("{who} {how} {served} after it got the request{middle}{asked}{earlier}{words}");
        let is_signal = end.status.starts_with("killed");
        let (cause, remedy) = match () {
            () if !unasked => (
                if is_signal { Cause::WorkerKilled } else { Cause::WorkerExited },
                "it did not finish within its drain time: --drain-timeout-ms, `timeouts drain=` of \
                 the app"
                    .to_owned(),
            ),
            () if end.status.contains("SIGKILL") => (
                Cause::WorkerKilled,
                "SIGKILL comes from outside: was the machine or its cgroup out of memory? \
                 `dmesg | grep -i oom`; --max-rss replaces workers before that"
                    .to_owned(),
            ),
            () if is_signal => (
                Cause::WorkerKilled,
                "a crash in native code, or an abort of its own: look at its last words, and at \
                 `coredumpctl`"
                    .to_owned(),
            ),
            () => (
                Cause::WorkerExited,
                "the app ended its process inside a request: its last words say why; \
                 `rip-master ctl events` has all of them"
                    .to_owned(),
            ),
        };
        Finding::new(cause, because, remedy).said(&end.stderr)
    }

    pub(super) fn worker_timeout(&self) -> Finding {
        let limit = time(Duration::from_millis(self.note.trail.limit));
        let (who, middle) = (self.backend(), self.middle());
        let because = format!("{who} said nothing for {limit}{middle}");
        let stuck =
            self.note.worker.and_then(|worker| self.chronicle.worker(worker)).is_some_and(|tale| {
                tale.stuck.as_deref().is_some_and(|id| id.as_bytes() == self.note.id())
            });
        let because = match stuck {
            true => format!("{because}; it went on with it, and was aborted"),
            false => because,
        };
        Finding::new(
            Cause::WorkerTimeout,
            because,
            "allow more time: --read-timeout-ms, `timeouts read=` of the app or the route; or find \
             what the app waits for",
        )
    }

    pub(super) fn worker_unreachable(&self) -> Finding {
        let limit = time(Duration::from_millis(self.note.trail.limit));
        let because = format!("{} could not be connected to for {limit}", self.backend());
        let blame = self.note.worker.and_then(|worker| self.death_of(worker, self.end()));
        let because = match blame {
            Some(end) => format!("{because}: it {}", ended_words(end)),
            None => because,
        };
        Finding::new(
            Cause::WorkerUnreachable,
            because,
            "does the app still accept connections? --connect-timeout-ms, `timeouts connect=`, is \
             how long is tried",
        )
        .said(blame.map(|end| &*end.stderr).unwrap_or_default())
    }

    pub(super) fn queue_timeout(&self) -> Finding {
        let (app, end) = (self.app(), self.end());
        let (waited, place) = (time(self.waited()), amount(self.note.trail.position));
        let began = UnixMillis(
            end.0.saturating_sub(u64::try_from(self.waited().as_millis()).unwrap_or_default()),
        );
        if let Some(pause) = self.tale().and_then(|tale| {
            tale.pauses.iter().rev().find(|pause| pause.holds(end) || pause.holds(began))
        }) {
            let since = time(Duration::from_millis(end.0.saturating_sub(pause.from.0)));
            let because = format!("app {app} had been paused for {since}: its requests wait");
            let remedy = format!("`rip-master ctl resume {app}`");
            return Finding::new(Cause::AppPaused, because, remedy);
        }
        let ready = self.chronicle.ready_at(&app, end);
        if ready == 0 {
            if let Some(failure) = self.failed_start(end) {
                return self.start_failed(failure);
            }
            let because = format!("it waited {waited}, and no worker of {app} was ready");
            let remedy = "`rip-master ctl list` shows how its workers are, and `rip-master ctl \
                          events` how they ended";
            return Finding::new(Cause::NoWorkerReady, because, remedy);
        }
        let because = format!(
            "it waited {waited} as number {place} of the queue: all {ready} ready worker{} of {app} \
             {} busy",
            if ready == 1 { "" } else { "s" },
            if ready == 1 { "was" } else { "were" },
        );
        let rolling = self.tale().is_some_and(|tale| tale.rolls.iter().any(|roll| roll.holds(end)));
        let because = match rolling {
            true => format!("{because}; a roll was in progress"),
            false => because,
        };
        let remedy = format!(
            "{}; or let it wait longer: --queue-timeout-ms, `timeouts queue=`",
            self.more_workers()
        );
        Finding::new(Cause::QueueTimeout, because, remedy)
    }

    /// The worker that failed last before `end`, if none of the app's had served.
    pub(super) fn failed_start(&self, end: UnixMillis) -> Option<&Failure> {
        let tale = self.tale()?;
        let last = tale.abandoned.iter().chain(&tale.failures).filter(|failure| failure.at <= end);
        let last = last.max_by_key(|failure| (failure.at, failure.stderr.len()))?;
        (!last.served).then_some(last)
    }

    pub(super) fn start_failed(&self, failure: &Failure) -> Finding {
        let (app, Failure { worker, reason, stderr, .. }) = (self.app(), failure);
        let words = stderr.last().map(|last| format!("; its last words: {last}"));
        let because = format!(
            "no worker of {app} becomes ready: worker {worker} failed ({reason}){}",
            words.unwrap_or_default()
        );
        let remedy = format!(
            "mend what the last words say, then `rip-master ctl restart {app}`; it is tried again by \
             itself every minute"
        );
        Finding::new(Cause::StartFailed, because, remedy).said(stderr)
    }

    pub(super) fn app_abandoned(&self) -> Finding {
        let app = self.app();
        let end = UnixMillis(self.end().0 + CLOCK_MILLIS);
        let last = self.tale().and_then(|tale| {
            tale.abandoned.iter().rev().find(|failure| failure.at <= end).or(tale.abandoned.back())
        });
        let remedy = format!(
            "mend what the last words say, then `rip-master ctl restart {app}`; it is tried again by \
             itself every minute"
        );
        match last {
            Some(failure) if !failure.served => self.start_failed(failure),
            Some(Failure { worker, reason, stderr, .. }) => {
                let words = stderr.last().map(|last| format!("; its last words: {last}"));
                let because = format!(
                    "app {app} was given up after crashes, the last of them of worker {worker} \
                     ({reason}){}",
                    words.unwrap_or_default()
                );
                Finding::new(Cause::AppAbandoned, because, remedy).said(stderr)
            }
            None => {
                let because = format!("app {app} was given up after crashes");
                Finding::new(Cause::AppAbandoned, because, remedy)
            }
        }
    }
}
