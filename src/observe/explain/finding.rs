//! From what was noted of a request, and what else happened then, to the cause and what to do about it.

use super::cause::Cause;
use super::words::{bytes, time};
use crate::contract::reason::Reason;
use crate::ids::WorkerId;
use crate::observe::chronicle::{AppTale, Chronicle, RuleTale, WorkerEnd};
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
    pub(super) fn new(cause: Cause, because: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (because, remedy) = (because.into(), remedy.into());
        Self { cause, because, remedy, last_words: Vec::new() }
    }

    pub(super) fn said(self, last_words: &[String]) -> Self {
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

    pub(super) fn tale(&self) -> Option<&AppTale> {
        self.chronicle.tale_of(&self.note.app())
    }

    pub(super) fn app(&self) -> String {
        self.note.app()
    }

    pub(super) fn more_workers(&self) -> String {
        format!(
            "`rip-master ctl scale {} N` adds workers while the server runs; --workers or \
             --concurrency, or those of the app in the Edgefile, for good",
            self.app()
        )
    }

    pub(super) fn by_rule(&self) -> String {
        match self.rule() {
            Some(rule) => match rule.line {
                Some(line) => format!("by rule {} (line {line})", rule.id),
                None => format!("by rule {}", rule.id),
            },
            None => "as the server itself has it".to_owned(),
        }
    }

    /// Who it is: `worker w3 (pid 12)`.
    pub(super) fn worker(&self, id: WorkerId) -> String {
        match self.chronicle.worker(id) {
            Some(tale) => format!("worker {id} (pid {})", tale.app_pid.unwrap_or(tale.pid)),
            None => format!("worker {id}"),
        }
    }

    /// Who had it: the worker, or the upstream's server.
    pub(super) fn backend(&self) -> String {
        let server = self.note.server();
        match self.note.worker {
            Some(worker) => self.worker(worker),
            None if !server.is_empty() => format!("{server} of upstream {}", self.app()),
            None => format!("upstream {}", self.app()),
        }
    }

    /// How long it was with whom it was given to.
    pub(super) fn served(&self) -> Duration {
        self.note.total.saturating_sub(self.note.leased.unwrap_or_default())
    }

    pub(super) fn waited(&self) -> Duration {
        let until = self.note.leased.unwrap_or(self.note.total);
        until.saturating_sub(self.note.queued.unwrap_or(until))
    }

    pub(super) fn running(&self) -> Finding {
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

    pub(super) fn ended(&self) -> Finding {
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
                              `tls \"off\"` of the site, or --no-redirect-http";
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

    pub(super) fn websocket_refused(&self, status: u16) -> Finding {
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

    pub(super) fn failed(&self, reason: Reason) -> Finding {
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
                "allow more: --max-body, `limits body=` of `edge`, the site or the route",
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
                 once, or `stream-request` where the app reads bodies as they come",
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

    pub(super) fn detail(&self) -> String {
        match self.note.trail.detail {
            "" => String::new(),
            detail => format!(": {detail}"),
        }
    }
}

pub(super) fn ended_words(end: &WorkerEnd) -> String {
    match end.status.strip_prefix("exited ") {
        Some(code) => format!("exited with status {code}"),
        None => format!("was {}", end.status),
    }
}

/// Between the end of a worker's connection and the moment its end is known. Its last lines are read
/// first, for a second at most.
const TOLD_MILLIS: u64 = 2_500;
/// The clock for people and the one for deadlines are not read at the same moment.
pub(super) const CLOCK_MILLIS: u64 = 50;

#[cfg(test)]
mod tests;
