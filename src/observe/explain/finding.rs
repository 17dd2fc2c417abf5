//! From what was noted of a request, and what else happened then, to the cause and what to do about it.

use super::cause::Cause;
use super::words::{amount, bytes, time};
use crate::contract::reason::Reason;
use crate::ids::WorkerId;
use crate::observe::chronicle::{AppTale, Chronicle, Failure, RuleTale, WorkerEnd};
use crate::observe::note::{Handler, Note, Stage, TryEnd};
use crate::time::UnixMillis;
use std::time::Duration;

/// Why a request ended as it did, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// In one word.
    pub cause: Cause,
    /// In a sentence, with names and numbers.
    pub because: String,
    /// The next step; empty where nothing is to be done.
    pub remedy: String,
    /// What the worker wrote last to stderr that is to blame.
    pub last_words: Vec<String>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The request.
    pub note: &'a Note,
    /// What else happened.
    pub chronicle: &'a Chronicle,
    /// The path of its file leads out of the directory by a symbolic link.
    pub escapes: bool,
}

impl Finding {
    fn new(cause: Cause, because: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (because, remedy) = (because.into(), remedy.into());
        Self { cause, because, remedy, last_words: Vec::new() }
    }

    fn said(self, last_words: &[String]) -> Self {
        Self { last_words: last_words.to_vec(), ..self }
    }

    /// Finds it.
    pub fn of(evidence: &Evidence<'_>) -> Self {
        match evidence.note.reason {
            None if evidence.note.running => evidence.running(),
            None => evidence.ended(),
            Some(reason) => evidence.failed(reason),
        }
    }
}

impl Evidence<'_> {
    /// The rule that took the request, where it is remembered.
    pub fn rule(&self) -> Option<&RuleTale> {
        let config = self.chronicle.config(self.note.trail.config)?;
        config.rules.get(self.note.trail.rule? as usize)
    }

    /// When it ended.
    pub fn end(&self) -> UnixMillis {
        self.note.end()
    }

    /// How the worker ended that lost a request at `lost`, if that is why.
    pub fn death_of(&self, worker: WorkerId, lost: UnixMillis) -> Option<&WorkerEnd> {
        let end = self.chronicle.worker(worker)?.end.as_ref()?;
        let known = end.at.0;
        (known.saturating_add(CLOCK_MILLIS) >= lost.0 && known <= lost.0 + TOLD_MILLIS)
            .then_some(end)
    }

    /// How the worker that was lost ended is not known yet, and may be soon.
    pub fn is_unsettled(&self, now: UnixMillis) -> bool {
        let lost = self.note.reason == Some(Reason::WorkerGone);
        let alive = |worker| self.chronicle.worker(worker).is_some_and(|tale| tale.end.is_none());
        lost && self.note.worker.is_some_and(alive) && now.0 < self.end().0 + TOLD_MILLIS
    }

    fn tale(&self) -> Option<&AppTale> {
        self.chronicle.tale_of(&self.note.app())
    }

    fn app(&self) -> String {
        self.note.app()
    }

    fn more_workers(&self) -> String {
        format!(
            "`rip-master ctl scale {} N` adds workers while the server runs; --workers or \
             --concurrency, or those of the app in the Edgefile, for good",
            self.app()
        )
    }

    fn by_rule(&self) -> String {
        match self.rule() {
            Some(rule) => match rule.line {
                Some(line) => format!("by rule {} (line {line})", rule.id),
                None => format!("by rule {}", rule.id),
            },
            None => "as the server itself has it".to_owned(),
        }
    }

    /// Who it is: `worker w3 (pid 12)`.
    fn worker(&self, id: WorkerId) -> String {
        match self.chronicle.worker(id) {
            Some(tale) => format!("worker {id} (pid {})", tale.app_pid.unwrap_or(tale.pid)),
            None => format!("worker {id}"),
        }
    }

    /// Who had it: the worker, or the upstream's server.
    fn backend(&self) -> String {
        let server = self.note.server();
        match self.note.worker {
            Some(worker) => self.worker(worker),
            None if !server.is_empty() => format!("{server} of upstream {}", self.app()),
            None => format!("upstream {}", self.app()),
        }
    }

    /// How long it was with whom it was given to.
    fn served(&self) -> Duration {
        self.note.total.saturating_sub(self.note.leased.unwrap_or_default())
    }

    fn waited(&self) -> Duration {
        let until = self.note.leased.unwrap_or(self.note.total);
        until.saturating_sub(self.note.queued.unwrap_or(until))
    }

    fn running(&self) -> Finding {
        let (what, remedy) = match self.note.trail.stage {
            Stage::Edge | Stage::Receiving => {
                let got = bytes(self.note.bytes_in);
                (format!("its body is still arriving: {got} so far"), String::new())
            }
            Stage::Waiting => {
                let waited = time(self.waited());
                let what = format!("it has waited {waited} for a worker of {}", self.app());
                (
                    what,
                    format!(
                        "`rip-master ctl list` shows what its workers do; {}",
                        self.more_workers()
                    ),
                )
            }
            Stage::Linking => {
                (format!("it is about to be sent to {}", self.backend()), String::new())
            }
            Stage::Sending => (format!("it is being sent to {}", self.backend()), String::new()),
            Stage::Answering => {
                let (who, since) = (self.backend(), time(self.served()));
                let sent = bytes(self.note.bytes_out);
                match self.note.trail.answered {
                    0 => (
                        format!("{who} has had it for {since} and said nothing yet"),
                        String::new(),
                    ),
                    status => (
                        format!("{who} answers it with {status}: {sent} of the body so far"),
                        String::new(),
                    ),
                }
            }
            Stage::Tunnelling => {
                (format!("it is a WebSocket to {}", self.backend()), String::new())
            }
        };
        Finding::new(Cause::Running, what, remedy)
    }

    fn ended(&self) -> Finding {
        let (note, status) = (self.note, self.note.status);
        let (answered, rule) = (note.trail.answered, self.by_rule());
        match note.trail.handler {
            Handler::Redirect => {
                let because = format!("it was sent elsewhere with {status}, {rule}");
                return Finding::new(Cause::Redirected, because, "");
            }
            Handler::ToHttps => {
                let because =
                    format!("it came in the clear and was sent on to HTTPS with {status}");
                let remedy = "ask https:// at once; to serve the site in plain HTTP as well: \
                              `plain` in the Edgefile, or --no-redirect-http";
                return Finding::new(Cause::RedirectedToHttps, because, remedy);
            }
            Handler::Session if !note.trail.detail.is_empty() => {
                let detail = note.trail.detail;
                let because =
                    format!("the request was refused with {status} ({detail}): nothing ran");
                let remedy = format!(
                    "the answer's body says what `{detail}` means; so does docs/SESSIONS.md"
                );
                return Finding::new(Cause::SessionRefused, because, remedy);
            }
            Handler::Realtime if status >= 300 => return self.websocket_refused(status),
            _ => {}
        }
        if note.trail.upgrade && answered != 101 && answered != 0 {
            return self.websocket_refused(answered);
        }
        let who = self.backend();
        if answered >= 500 {
            let served = time(self.served());
            let because = format!("{who} itself answered {answered} after {served}, {rule}");
            return match note.worker {
                Some(worker) => {
                    let app = self.app();
                    let remedy = format!(
                        "look for {} in the app's own log: it got the id as X-Request-Id; its \
                         output has the prefix {app}[{worker}]",
                        String::from_utf8_lossy(note.id())
                    );
                    Finding::new(Cause::AppError, because, remedy)
                }
                None => {
                    let remedy = "look at that server's own log: it got the id as X-Request-Id";
                    Finding::new(Cause::UpstreamError, because, remedy)
                }
            };
        }
        if note.trail.try_count() > 0 {
            let tries: Vec<String> = self.tries();
            let because = format!("{}; then {who} answered {status}", tries.join("; "));
            let blame = note.trail.tries().find_map(|tried| {
                let lost =
                    self.note.at.0 + u64::try_from(tried.after.duration().as_millis()).ok()?;
                self.death_of(WorkerId(u64::from(tried.whom)), UnixMillis(lost))
            });
            let finding = Finding::new(Cause::AnsweredAfterRetry, because, "");
            return finding.said(blame.map(|end| &*end.stderr).unwrap_or_default());
        }
        let because = match note.trail.handler {
            Handler::App if note.trail.stage == Stage::Tunnelling => {
                format!("it was a WebSocket to {who} for {}, {rule}", time(note.total))
            }
            Handler::App | Handler::Upstream => format!("{who} answered {status}, {rule}"),
            Handler::File => format!("a file answered it with {status}, {rule}"),
            Handler::Realtime => format!("the server holds its WebSocket for app {}", self.app()),
            Handler::Session => {
                format!("it was answered {status} for a session of app {}", self.app())
            }
            _ => format!("the server itself answered {status}"),
        };
        Finding::new(Cause::Answered, because, "")
    }

    fn websocket_refused(&self, status: u16) -> Finding {
        let app = self.app();
        let because = format!("app {app} answered {status} where it was asked to open a WebSocket");
        let remedy = "the app's own log says why: it got the id as X-Request-Id; docs/REALTIME.md \
                      says what it is asked";
        Finding::new(Cause::WebsocketRefused, because, remedy)
    }

    /// What became of each try that was not the last.
    pub fn tries(&self) -> Vec<String> {
        let is_upstream = self.note.trail.handler == Handler::Upstream;
        let tell = |tried: &crate::observe::note::Try| {
            let id = WorkerId(u64::from(tried.whom));
            let after = u64::try_from(tried.after.duration().as_millis()).unwrap_or(u64::MAX);
            let who = match is_upstream {
                true => format!("a server of {}", self.app()),
                false => self.worker(id),
            };
            let dead = (!is_upstream)
                .then(|| self.death_of(id, UnixMillis(self.note.at.0.saturating_add(after))))
                .flatten();
            match (tried.end, dead) {
                (TryEnd::Gone | TryEnd::Stale | TryEnd::Connect, Some(end)) => {
                    format!("{who} {}", ended_words(end))
                }
                (TryEnd::Busy, _) => format!("{who} said that it is busy"),
                (TryEnd::Draining, _) => format!("{who} said that it is about to end"),
                (TryEnd::Connect, _) => format!("{who} could not be connected to"),
                (TryEnd::Gone, None) => format!("{who} closed the connection without an answer"),
                (TryEnd::Stale, None) => format!("{who} had closed the connection that idled"),
                (TryEnd::Timeout, _) => format!("{who} did not answer in time"),
                (TryEnd::Malformed, _) => format!("{who} did not answer in HTTP"),
            }
        };
        self.note.trail.tries().map(tell).collect()
    }

    fn failed(&self, reason: Reason) -> Finding {
        match reason {
            Reason::WorkerGone => self.worker_gone(),
            Reason::WorkerTimeout => self.worker_timeout(),
            Reason::WorkerMalformed => {
                let because =
                    format!("what {} answered was not HTTP{}", self.backend(), self.detail());
                let remedy = "the app has to speak HTTP/1.1 on the socket it was given: is something \
                              else listening there, or written to it?";
                Finding::new(Cause::WorkerMalformed, because, remedy)
            }
            Reason::WorkerConnect => self.worker_unreachable(),
            Reason::WorkerBusy => {
                let tries = self.note.trail.try_count();
                let because = format!(
                    "every worker of {} that was asked said that it is busy: {tries} tries, the \
                     last {}",
                    self.app(),
                    self.backend()
                );
                let remedy = "the app says Rip-Worker-Busy although a worker is offered no more than \
                              its concurrency: does it have fewer threads than `concurrency` says?";
                Finding::new(Cause::WorkerBusy, because, remedy)
            }
            Reason::AnswerTooLarge => Finding::new(
                Cause::AnswerTooLarge,
                format!("{} answered more than such an answer may have", self.backend()),
                "an answer to `open`, a message or a turn is bounded: see docs/REALTIME.md",
            ),
            Reason::QueueTimeout => self.queue_timeout(),
            Reason::QueueFull => {
                let because = format!("as many requests waited for {} as may", self.app());
                let remedy = format!(
                    "{}; or let more wait: --max-queue, `max-queue` of the app",
                    self.more_workers()
                );
                Finding::new(Cause::QueueFull, because, remedy)
            }
            Reason::AppAbandoned => self.app_abandoned(),
            Reason::ClientGone | Reason::TlsGone => self.client_gone(),
            Reason::WriteTimeout => Finding::new(
                Cause::ClientTooSlow,
                format!(
                    "the client took nothing of the answer for too long; {} of it were on their way",
                    bytes(self.note.bytes_out)
                ),
                "a client or a network that stands still; --write-timeout-ms, `timeouts write=` of \
                 `edge`, is how long is waited",
            ),
            Reason::BodyTooLarge => Finding::new(
                Cause::BodyTooLarge,
                format!("the body is larger than {}, the most here", bytes(self.note.trail.limit)),
                "allow more: --max-body, `body-limit` of the route, or `limits body=` of `edge`",
            ),
            Reason::BodyTimeout => Finding::new(
                Cause::BodyTooSlow,
                format!(
                    "of the body {} had come when the client stood still or dripped",
                    bytes(self.note.bytes_in)
                ),
                "a slow or stuck client: --body-timeout-ms, `timeouts body=` of `edge`; less than \
                 1 KiB/s over a minute is refused in any case",
            ),
            Reason::SpoolFull => Finding::new(
                Cause::SpoolFull,
                "bodies that wait for workers took all the room there is for them",
                "more room: `limits spool-memory=` and `spool-disk=` of `edge`; or fewer uploads at \
                 once, or --stream-request where the app reads bodies as they come",
            ),
            Reason::SpoolFailed => Finding::new(
                Cause::SpoolFailed,
                "the request's body could not be written to its file, or read back",
                "is there room, and the right to write, in the directory of --spool? The server's \
                 log has the system's own words",
            ),
            Reason::RouteRemoved => self.route_removed(),
            Reason::Stopping => self.stopping(),
            Reason::UpstreamConnect
            | Reason::UpstreamTimeout
            | Reason::UpstreamGone
            | Reason::UpstreamMalformed
            | Reason::UpstreamUnavailable
            | Reason::ProxyLoop => self.upstream(reason),
            Reason::NotFound if self.note.trail.handler == Handler::File => self.file_missing(),
            _ => self.refused(reason),
        }
    }

    fn detail(&self) -> String {
        match self.note.trail.detail {
            "" => String::new(),
            detail => format!(": {detail}"),
        }
    }

    fn middle(&self) -> &'static str {
        if self.note.trail.begun { ", in the middle of its answer" } else { "" }
    }

    fn worker_gone(&self) -> Finding {
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

    fn worker_timeout(&self) -> Finding {
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

    fn worker_unreachable(&self) -> Finding {
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

    fn queue_timeout(&self) -> Finding {
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
    fn failed_start(&self, end: UnixMillis) -> Option<&Failure> {
        let tale = self.tale()?;
        let last = tale.abandoned.iter().chain(&tale.failures).filter(|failure| failure.at <= end);
        let last = last.max_by_key(|failure| (failure.at, failure.stderr.len()))?;
        (!last.served).then_some(last)
    }

    fn start_failed(&self, failure: &Failure) -> Finding {
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

    fn app_abandoned(&self) -> Finding {
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

    fn client_gone(&self) -> Finding {
        let (note, who) = (self.note, self.backend());
        match note.trail.stage {
            Stage::Receiving => Finding::new(
                Cause::ClientGoneSending,
                format!("the client left after {} of its body", bytes(note.bytes_in)),
                "",
            ),
            Stage::Waiting => Finding::new(
                Cause::ClientGoneWaiting,
                format!(
                    "the client left after it had waited {} in the queue of {}; no worker saw the \
                     request",
                    time(self.waited()),
                    self.app()
                ),
                format!("its patience is shorter than the queue: {}", self.more_workers()),
            ),
            Stage::Linking | Stage::Sending | Stage::Answering if !note.trail.begun => {
                Finding::new(
                    Cause::ClientGoneWorking,
                    format!(
                        "the client left {} after {who} got the request, before it answered",
                        time(self.served())
                    ),
                    "its patience is shorter than the app's answer takes; a worker that watches its \
                 connection can stop then",
                )
            }
            Stage::Tunnelling => Finding::new(
                Cause::ClientGoneAnswering,
                format!("the client of the WebSocket left after {}", time(note.total)),
                "",
            ),
            _ => Finding::new(
                Cause::ClientGoneAnswering,
                format!("the client left after {} of the answer", bytes(note.bytes_out)),
                "",
            ),
        }
    }

    fn route_removed(&self) -> Finding {
        let active = self.chronicle.active().map_or(0, |config| config.version);
        let because = match self.rule() {
            Some(rule) => format!(
                "rule {} took it in configuration {}; configuration {active} does not have it any \
                 more, and it did not end within the drain time",
                rule.id, self.note.trail.config
            ),
            None => format!("its app is not in configuration {active} any more"),
        };
        let remedy = "`rip-master ctl history` shows the reload; `rip-master ctl rollback` takes it \
                      back; --drain-timeout-ms is how long requests may go on";
        Finding::new(Cause::RouteRemoved, because, remedy)
    }

    fn stopping(&self) -> Finding {
        let since =
            self.chronicle.stopping().map_or(0, |since| self.end().0.saturating_sub(since.0));
        let because = format!(
            "the server was told to stop {} before, and what was left then was cut",
            time(Duration::from_millis(since))
        );
        let remedy = "--drain-timeout-ms is how long requests may take after a graceful stop; a \
                      second signal, or `stop --now`, cuts at once";
        Finding::new(Cause::Stopping, because, remedy)
    }

    fn upstream(&self, reason: Reason) -> Finding {
        let (who, limit) = (self.backend(), time(Duration::from_millis(self.note.trail.limit)));
        let (detail, middle) = (self.detail(), self.middle());
        let tried = match self.note.trail.try_count() {
            0 => String::new(),
            tries => format!(" (the last of {} tries)", u64::from(tries) + 1),
        };
        match reason {
            Reason::UpstreamConnect => Finding::new(
                Cause::UpstreamUnreachable,
                format!("{who} could not be connected to{detail}{tried}"),
                "is that server running, and is its address right? `rip-master ctl upstreams` shows \
                 how each is",
            ),
            Reason::UpstreamTimeout if self.note.trail.stage == Stage::Linking => Finding::new(
                Cause::UpstreamUnreachable,
                format!("{who} could not be connected to within {limit}{tried}"),
                "is that server reachable from here? `timeouts connect=` of the upstream is how long \
                 is tried",
            ),
            Reason::UpstreamTimeout => Finding::new(
                Cause::UpstreamTimeout,
                format!("{who} said nothing for {limit}{middle}{tried}"),
                "allow more time: `timeouts read=` of the upstream or the route; or find what that \
                 server waits for",
            ),
            Reason::UpstreamGone => Finding::new(
                Cause::UpstreamClosed,
                format!(
                    "{who} closed or reset the connection {} after it got the request{middle}{tried}",
                    time(self.served())
                ),
                "look for the request's id, which it got as X-Request-Id, in that server's log",
            ),
            Reason::UpstreamMalformed => Finding::new(
                Cause::UpstreamMalformed,
                format!("what {who} answered was not HTTP{detail}{tried}"),
                "does that port speak HTTP/1.1? One that speaks TLS is an https:// URL",
            ),
            Reason::UpstreamUnavailable => {
                let (app, at) = (self.app(), self.end());
                let down: Vec<String> = (self.chronicle.outages(&app, at))
                    .map(|outage| {
                        let since = at.0.saturating_sub(outage.span.from.0);
                        let since = time(Duration::from_millis(since));
                        format!("{} for {since} because of {}", outage.target, outage.span.what)
                    })
                    .collect();
                let down = match &*down {
                    [] => String::new(),
                    down => format!(": down were {}", down.join(", ")),
                };
                Finding::new(
                    Cause::UpstreamUnavailable,
                    format!("no server of upstream {app} was well, so none was asked{down}"),
                    "`rip-master ctl upstreams` shows how each is; after failures one request tries \
                     again every half a minute",
                )
            }
            _ => Finding::new(
                Cause::ProxyLoop,
                "its Via field names this server: it came back through the servers it was handed to",
                "an upstream leads back to this server: look at its URL",
            ),
        }
    }

    fn file_missing(&self) -> Finding {
        let dir = self.rule().and_then(|rule| rule.dir.clone()).unwrap_or_default();
        let rule = self.by_rule();
        if self.escapes {
            return Finding::new(
                Cause::FileEscapes,
                format!(
                    "a symbolic link on the way to it leads out of {dir}, and is not followed, {rule}"
                ),
                "put the file itself into the directory, or serve the directory it is in with a rule \
                 of its own",
            );
        }
        Finding::new(
            Cause::FileNotFound,
            format!("there is no such file below {dir}, {rule}"),
            "is the name right, letter for letter? Names that begin with a dot are served with \
             `dotfiles #true` only; directories without an index with `browse #true`",
        )
    }

    fn refused(&self, reason: Reason) -> Finding {
        let (note, detail) = (self.note, self.detail());
        let (host, path, method) = (note.host(), note.path(), note.method());
        let why = format!(
            "`rip-master why --method {method} http://{host}{path}` shows what each rule says"
        );
        match reason {
            Reason::Malformed => Finding::new(
                Cause::HeadMalformed,
                format!("the request is not valid HTTP{detail}"),
                "the client, or a proxy before this server, has to be mended: what is ambiguous is \
                 never repaired",
            ),
            Reason::HeadTooLarge => Finding::new(
                Cause::HeadTooLarge,
                format!("the head is over 64 KiB or 100 fields{detail}"),
                "most often cookies that have grown: have the client send fewer",
            ),
            Reason::HeadTimeout => Finding::new(
                Cause::HeadTooSlow,
                "the head was not complete in time",
                "a slow or stuck client; --head-timeout-ms, `timeouts head=` of `edge`",
            ),
            Reason::TargetTooLong => Finding::new(
                Cause::TargetTooLong,
                "the target is over 8 KiB",
                "what is that long belongs into a body",
            ),
            Reason::VersionUnsupported => Finding::new(
                Cause::VersionUnsupported,
                format!("HTTP/1.0 and HTTP/1.1 are spoken here{detail}"),
                "",
            ),
            Reason::UnknownCoding => Finding::new(
                Cause::UnknownCoding,
                format!("of transfer codings only chunked is known{detail}"),
                "",
            ),
            Reason::ExpectationFailed => Finding::new(
                Cause::ExpectationFailed,
                "of expectations only 100-continue is met",
                "",
            ),
            Reason::TlsPlain => Finding::new(
                Cause::PlainOnTls,
                "the client spoke plain HTTP to a port that speaks HTTPS",
                "ask https://",
            ),
            Reason::HostNotFound => Finding::new(
                Cause::HostNotFound,
                format!("no site is for the host {host}"),
                format!(
                    "`rip-master add {host}` adds it while the server runs; else as a `site`, or an alias of the app"
                ),
            ),
            Reason::Misdirected => Finding::new(
                Cause::Misdirected,
                format!("no site is for the host {host}, and this connection is for another one"),
                format!(
                    "`rip-master add {host}`, or a `site` for it; is the client told the right name?"
                ),
            ),
            Reason::NotFound => Finding::new(
                Cause::NoRoute,
                format!("the host {host} is served, but no rule takes {path}"),
                why,
            ),
            Reason::MethodNotAllowed => Finding::new(
                Cause::MethodNotAllowed,
                format!("{path} is served, but not for {method}"),
                format!("{why}; the answer's Allow names what is taken"),
            ),
            Reason::RateLimited => Finding::new(
                Cause::RateLimited,
                format!(
                    "{} asked more often than one address may",
                    note.client
                        .map_or_else(|| "the client".to_owned(), |client| client.to_string())
                ),
                "--rate-limit, `rate-limit` of `edge` or the site; where a proxy asks for many, name \
                 it in `trusted-proxies`",
            ),
            Reason::NoSecret => {
                Finding::new(Cause::NoSecret, reason.sentence(), "RIP_PUBLISH_SECRET")
            }
            Reason::Unauthorized => Finding::new(
                Cause::Unauthorized,
                reason.sentence(),
                "publishers send `Authorization: Bearer` with what RIP_PUBLISH_SECRET is here",
            ),
            Reason::OriginRefused => Finding::new(
                Cause::OriginRefused,
                reason.sentence(),
                "pages of other origins are let in by `origins` of `realtime` or `sessions`",
            ),
            Reason::UpgradeRequired => Finding::new(
                Cause::UpgradeRequired,
                reason.sentence(),
                "connect with ws:// or wss://",
            ),
            Reason::RecoverMalformed => {
                Finding::new(Cause::RecoverMalformed, reason.sentence(), "")
            }
            Reason::GroupMalformed => Finding::new(Cause::GroupMalformed, reason.sentence(), ""),
            Reason::GroupRefused => Finding::new(
                Cause::GroupRefused,
                "the app's answer did not join the group that was to be read",
                "docs/REALTIME.md says what the app is asked: `subscribe`",
            ),
            Reason::BadPath => Finding::new(Cause::BadPath, reason.sentence(), ""),
            Reason::FileFailed => Finding::new(
                Cause::FileFailed,
                reason.sentence(),
                "the server's log has the system's own words; a file that shrinks while it is sent \
                 is replaced by renaming, not written over",
            ),
            Reason::PreconditionFailed => {
                Finding::new(Cause::PreconditionFailed, reason.sentence(), "")
            }
            Reason::RangeNotSatisfiable => {
                Finding::new(Cause::RangeNotSatisfiable, reason.sentence(), "")
            }
            Reason::EncodeFailed => Finding::new(
                Cause::EncodeFailed,
                reason.sentence(),
                "`compress off` on the route goes round it; the server's log has the details",
            ),
            _ => Finding::new(Cause::ConnectionRefused, reason.sentence(), ""),
        }
    }
}

fn ended_words(end: &WorkerEnd) -> String {
    match end.status.strip_prefix("exited ") {
        Some(code) => format!("exited with status {code}"),
        None => format!("was {}", end.status),
    }
}

/// Between the end of a worker's connection and the moment its end is known. Its last lines are read
/// first, for a second at most.
const TOLD_MILLIS: u64 = 2_500;
/// The clock for people and the one for deadlines are not read at the same moment.
const CLOCK_MILLIS: u64 = 50;
