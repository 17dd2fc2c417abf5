//! The metrics that monitoring systems read: their names, and what each is made of.
//!
//! docs/METRICS.md describes every one of them; a test compares.

use super::counter::Counter;
use super::lives::RestartReason;
use super::numbers::Numbers;
use super::prometheus::{Family, Format, Kind, Page};
use super::tally::METHODS;

macro_rules! families {
    ($($ident:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(static $ident: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// Every metric, in the order in which they are written.
        pub static FAMILIES: &[&Family] = &[$(&$ident),*];
    };
}

families! {
    BUILD: Info "rip_build_info" ["version", "git"] "Which server this is.";
    START: Gauge "rip_start_time_seconds" [] "When the server was started, since 1970.";
    UPTIME: Gauge "rip_uptime_seconds" [] "How long the server has been running.";
    RSS: Gauge "rip_resident_memory_bytes" [] "Resident memory of the server itself.";

    REQUESTS: Counter "rip_http_requests_total" ["app", "code", "method"]
        "Requests that were answered or ended, refused ones too.";
    DURATION: Histogram "rip_http_request_duration_seconds" ["app"]
        "From a request to the last byte of its answer; WebSocket and event streams are not in it.";
    BODIES_IN: Counter "rip_http_request_body_bytes_total" [] "Bytes of request bodies.";
    BODIES_OUT: Counter "rip_http_response_body_bytes_total" [] "Bytes of response bodies.";
    REJECTS: Counter "rip_rejects_total" ["reason"]
        "Requests and connections that the server itself refused or ended.";
    CONNECTIONS: Gauge "rip_connections" [] "Client connections.";
    ACCEPTED: Counter "rip_connections_accepted_total" [] "Client connections that were accepted.";
    HANDSHAKES: Counter "rip_tls_handshakes_total" ["kind"]
        "TLS handshakes that were finished, by whether a session was resumed.";
    SPOOLED: Gauge "rip_spool_bytes" ["place"] "Request bodies that wait, by where they are.";

    WAIT: Histogram "rip_queue_wait_seconds" ["app"]
        "How long requests waited for a worker that had to, in vain or not.";
    DEPTH: Gauge "rip_queue_depth" ["app"] "Requests that wait for a worker.";
    SHED: Counter "rip_queue_shed_total" ["reason"] "Requests that a queue did not take.";
    TIMEOUTS: Counter "rip_queue_timeouts_total" [] "Requests that waited too long.";
    DECISIONS: Counter "rip_scheduler_decisions_total" ["app", "algorithm", "fallback"]
        "Decisions about requests, by why the first choice was not taken.";

    WANTED: Gauge "rip_workers_wanted" ["app"] "Workers that are wanted.";
    READY: Gauge "rip_workers_ready" ["app"] "Workers that are ready.";
    PAUSED: Gauge "rip_app_paused" ["app"] "Whether requests wait although workers may be free.";
    INFLIGHT: Gauge "rip_worker_inflight" ["app", "worker"] "Requests that a worker has.";
    WORKER_RSS: Gauge "rip_worker_rss_bytes" ["app", "worker"] "Resident memory of a worker.";
    STARTS: Counter "rip_worker_starts_total" ["app"] "Workers that were started.";
    EXITS: Counter "rip_worker_exits_total" ["app", "expected"]
        "Workers that ended, by whether they were asked to.";
    RESTARTS: Counter "rip_worker_restarts_total" ["app", "reason"]
        "Workers that were started again after they ended unasked.";
    RECYCLES: Counter "rip_worker_recycles_total" ["app", "reason"]
        "Workers that were replaced although nothing was wrong with them.";
    ABANDONS: Counter "rip_worker_abandons_total" ["app"] "Worker slots that were given up.";
    STUCK: Counter "rip_worker_stuck_total" ["app"] "Workers that did not end a request.";
    REFUSED: Counter "rip_worker_refusals_total" [] "Joins and quits that were not believed.";
    ROLLS: Counter "rip_rolls_total" ["app", "result"] "Rolls to fresh workers.";

    TARGET_UP: Gauge "rip_upstream_up" ["upstream", "target"] "Whether a server gets requests.";
    TARGET_INFLIGHT: Gauge "rip_upstream_inflight" ["upstream", "target"]
        "Requests that a server has.";
    TARGET_REQUESTS: Counter "rip_upstream_requests_total" ["upstream", "target"]
        "Tries with a server that have ended.";
    TARGET_FAILURES: Counter "rip_upstream_failures_total" ["upstream", "target"]
        "Tries with a server that have failed.";
    TARGET_DOWNS: Counter "rip_upstream_downs_total" ["upstream"]
        "Times that a server was taken out.";

    RELOADS: Counter "rip_config_reloads_total" ["result"] "Attempts to change the configuration.";
    CONFIG: Gauge "rip_config_version" [] "The version of the active configuration.";

    CERTS: Gauge "rip_tls_cert_not_after_seconds" ["domain"]
        "When the certificate of a domain ends, since 1970.";
    RENEWALS: Counter "rip_acme_renewals_total" ["result"]
        "Orders of certificates at an authority.";

    WS: Gauge "rip_ws_connections" [] "WebSocket clients of the hub.";
    WS_OPENED: Counter "rip_ws_connections_opened_total" [] "WebSocket clients that were let in.";
    WS_CLOSED: Counter "rip_ws_closes_total" ["code"] "WebSocket clients that left.";
    WS_MESSAGES: Counter "rip_ws_messages_total" ["direction"]
        "Messages of WebSocket clients, and those that were given to them.";
    WS_POSTED: Counter "rip_ws_messages_posted_total" [] "Messages that their app has answered.";
    WS_DROPPED: Counter "rip_ws_messages_dropped_total" []
        "Messages that clients did not get because they were behind.";
    WS_FAILED: Counter "rip_ws_replies_failed_total" [] "Messages to which an app gave no answer.";
    WS_INVALID: Counter "rip_ws_replies_invalid_total" [] "Instructions of apps that were none.";
    WS_ERRORS: Counter "rip_ws_errors_total" [] "Events of failed or invalid replies.";
    WS_GROUPS: Gauge "rip_ws_groups" [] "Groups that somebody is in.";
    WS_KEPT: Gauge "rip_ws_history_messages" [] "Messages that are kept for who comes back.";
    WS_KEPT_BYTES: Gauge "rip_ws_history_bytes" [] "What the messages that are kept take.";
    WS_INSTRUCTIONS: Counter "rip_ws_instructions_total" [] "Instructions with a payload.";
    WS_LETTERS: Counter "rip_ws_letters_total" [] "Letters of the hub to its loops.";
    WS_LETTERS_DROPPED: Counter "rip_ws_letters_dropped_total" []
        "Letters whose payload was dropped, because their loop was too far behind.";

    TURNS: Counter "rip_session_turns_total" ["outcome"]
        "Turns of sessions that ended, and those that were refused before they began.";
    TURNS_BEGUN: Counter "rip_session_turns_begun_total" [] "Turns of sessions that were begun.";
    TURNS_RUNNING: Gauge "rip_session_turns_running" [] "Turns of sessions that run.";
    READERS: Gauge "rip_session_readers" [] "Clients that read the events of sessions.";

    LINES: Counter "rip_log_lines_dropped_total" [] "Lines of the log that were dropped.";
    FOLLOWERS: Gauge "rip_event_followers" [] "Connections that follow the events.";
    FOLLOWERS_DROPPED: Counter "rip_event_followers_dropped_total" []
        "Connections that were too slow for the events.";
}

impl Numbers {
    /// Appends every metric in `format`.
    pub fn exposition(&self, format: Format, out: &mut Vec<u8>) {
        let mut page = Page::new(format, out);
        self.write_server(&mut page);
        self.write_http(&mut page);
        self.write_queue(&mut page);
        self.write_workers(&mut page);
        self.write_targets(&mut page);
        self.write_configuration(&mut page);
        self.write_realtime(&mut page);
        self.write_sessions(&mut page);
        page.family(&LINES).count(&[], self.lines_dropped);
        page.family(&FOLLOWERS).count(&[], self.followers);
        page.family(&FOLLOWERS_DROPPED).count(&[], self.followers_dropped);
        page.end();
    }

    fn write_server(&self, page: &mut Page<'_>) {
        let git = self.version.git.as_deref().unwrap_or_default();
        page.family(&BUILD).count(&[&self.version.server, git], 1);
        page.family(&START).number(&[], self.started);
        page.family(&UPTIME).number(&[], self.uptime.as_secs_f64());
        let mut rss = page.family(&RSS);
        if let Some(bytes) = self.rss_bytes {
            rss.count(&[], bytes);
        }
    }

    fn write_http(&self, page: &mut Page<'_>) {
        let count = |counter| self.counters.value(counter);
        let mut requests = page.family(&REQUESTS);
        for (app, tally) in &self.tally.apps {
            for (&(method, status), number) in &tally.answers {
                let method = METHODS.get(method).copied().unwrap_or("other");
                requests.count(&[app, &status.to_string(), method], *number);
            }
        }
        let mut duration = page.family(&DURATION);
        for (app, tally) in &self.tally.apps {
            duration.histogram(&[app], &tally.latency);
        }
        page.family(&BODIES_IN).count(&[], count(Counter::BytesIn));
        page.family(&BODIES_OUT).count(&[], count(Counter::BytesOut));
        let mut rejects = page.family(&REJECTS);
        for (reason, number) in self.counters.refusals() {
            rejects.count(&[reason.code()], number);
        }
        page.family(&CONNECTIONS).count(&[], self.connections);
        page.family(&ACCEPTED).count(&[], count(Counter::Connections));
        let resumed = count(Counter::Resumptions);
        let full = count(Counter::Handshakes).saturating_sub(resumed);
        page.family(&HANDSHAKES).count(&["full"], full).count(&["resumed"], resumed);
        let [memory, files] = self.spooled;
        page.family(&SPOOLED).count(&["memory"], memory).count(&["files"], files);
    }

    fn write_queue(&self, page: &mut Page<'_>) {
        let mut wait = page.family(&WAIT);
        for (app, tally) in self.tally.apps.iter().filter(|(_, tally)| tally.waits.count() > 0) {
            wait.histogram(&[app], &tally.waits);
        }
        let mut depth = page.family(&DEPTH);
        for app in &self.apps {
            depth.count(&[app.id.as_str()], app.queue_depth);
        }
        let mut shed = page.family(&SHED);
        for (reason, number) in self.shed() {
            shed.count(&[reason.code()], number);
        }
        page.family(&TIMEOUTS).count(&[], self.queue_timeouts());
        let mut decisions = page.family(&DECISIONS);
        for decided in &self.decisions {
            let fallback = decided.fallback.unwrap_or("none");
            let labels = [decided.app.as_str(), decided.algorithm, fallback];
            decisions.count(&labels, decided.count);
        }
    }

    fn write_workers(&self, page: &mut Page<'_>) {
        let mut wanted = page.family(&WANTED);
        for app in &self.apps {
            wanted.count(&[app.id.as_str()], app.wanted);
        }
        let mut ready = page.family(&READY);
        for app in &self.apps {
            ready.count(&[app.id.as_str()], app.ready);
        }
        let mut paused = page.family(&PAUSED);
        for app in &self.apps {
            paused.count(&[app.id.as_str()], app.is_paused.into());
        }
        let workers = || {
            let of = |app| move |worker| (app, worker);
            self.apps.iter().flat_map(move |app| app.workers.iter().map(of(app)))
        };
        let mut inflight = page.family(&INFLIGHT);
        for (app, worker) in workers() {
            inflight.count(&[app.id.as_str(), &worker.id.to_string()], worker.inflight);
        }
        let mut rss = page.family(&WORKER_RSS);
        for (app, worker) in workers() {
            if let Some(bytes) = worker.rss_bytes {
                rss.count(&[app.id.as_str(), &worker.id.to_string()], bytes);
            }
        }
        self.write_lives(page);
    }

    fn write_lives(&self, page: &mut Page<'_>) {
        let apps = &self.lives.apps;
        let mut starts = page.family(&STARTS);
        for (app, lives) in apps {
            starts.count(&[app.as_str()], lives.starts);
        }
        let mut exits = page.family(&EXITS);
        for (app, lives) in apps {
            exits.count(&[app.as_str(), "true"], lives.exits);
            exits.count(&[app.as_str(), "false"], lives.crashes);
        }
        let mut restarts = page.family(&RESTARTS);
        for (app, lives) in apps {
            for (reason, number) in RestartReason::ALL.into_iter().zip(lives.restarts) {
                restarts.count(&[app.as_str(), reason.as_str()], number);
            }
        }
        let mut recycles = page.family(&RECYCLES);
        for (app, lives) in apps {
            for (reason, number) in &lives.recycled {
                recycles.count(&[app.as_str(), reason], *number);
            }
        }
        let mut abandons = page.family(&ABANDONS);
        for (app, lives) in apps {
            abandons.count(&[app.as_str()], lives.abandoned);
        }
        let mut stuck = page.family(&STUCK);
        for (app, lives) in apps {
            stuck.count(&[app.as_str()], lives.stuck);
        }
        page.family(&REFUSED).count(&[], self.lives.refused);
        let mut rolls = page.family(&ROLLS);
        for (app, lives) in apps {
            rolls.count(&[app.as_str(), "done"], lives.rolled);
            rolls.count(&[app.as_str(), "aborted"], lives.rolls_aborted);
        }
    }

    fn write_targets(&self, page: &mut Page<'_>) {
        let mut up = page.family(&TARGET_UP);
        for target in &self.targets {
            up.count(&[&target.upstream, &target.url], target.is_up.into());
        }
        let mut inflight = page.family(&TARGET_INFLIGHT);
        for target in &self.targets {
            inflight.count(&[&target.upstream, &target.url], target.inflight);
        }
        let mut requests = page.family(&TARGET_REQUESTS);
        for target in &self.targets {
            requests.count(&[&target.upstream, &target.url], target.requests);
        }
        let mut failures = page.family(&TARGET_FAILURES);
        for target in &self.targets {
            failures.count(&[&target.upstream, &target.url], target.failures);
        }
        let mut downs = page.family(&TARGET_DOWNS);
        for (upstream, number) in &self.lives.upstreams_down {
            downs.count(&[upstream], *number);
        }
    }

    fn write_configuration(&self, page: &mut Page<'_>) {
        let lives = &self.lives;
        page.family(&RELOADS)
            .count(&["applied"], lives.applied)
            .count(&["rejected"], lives.rejected)
            .count(&["rolled_back"], lives.rolled_back);
        page.family(&CONFIG).count(&[], self.config_version);
        let mut certs = page.family(&CERTS);
        for (domain, not_after) in &self.certs {
            certs.count(&[domain], *not_after);
        }
        page.family(&RENEWALS)
            .count(&["renewed"], lives.renewals)
            .count(&["failed"], lives.renewals_failed);
    }

    fn write_realtime(&self, page: &mut Page<'_>) {
        let count = |counter| self.counters.value(counter);
        let hub = &self.realtime;
        page.family(&WS).count(&[], hub.clients);
        page.family(&WS_OPENED).count(&[], count(Counter::SocketOpened));
        let mut closed = page.family(&WS_CLOSED);
        for (code, number) in self.counters.closes() {
            match code {
                0 => closed.count(&["other"], number),
                code => closed.count(&[&code.to_string()], number),
            };
        }
        page.family(&WS_MESSAGES)
            .count(&["in"], count(Counter::SocketMessagesIn))
            .count(&["out"], count(Counter::SocketDeliveries));
        page.family(&WS_POSTED).count(&[], count(Counter::SocketMessagesPosted));
        page.family(&WS_DROPPED).count(&[], count(Counter::SocketDropped));
        page.family(&WS_FAILED).count(&[], count(Counter::SocketReplyFailed));
        page.family(&WS_INVALID).count(&[], count(Counter::SocketReplyInvalid));
        page.family(&WS_ERRORS).count(&[], self.lives.ws_errors);
        page.family(&WS_GROUPS).count(&[], hub.groups);
        page.family(&WS_KEPT).count(&[], hub.kept);
        page.family(&WS_KEPT_BYTES).count(&[], hub.kept_bytes);
        page.family(&WS_INSTRUCTIONS).count(&[], hub.instructions);
        page.family(&WS_LETTERS).count(&[], hub.letters);
        page.family(&WS_LETTERS_DROPPED).count(&[], hub.letters_dropped);
    }

    fn write_sessions(&self, page: &mut Page<'_>) {
        let count = |counter| self.counters.value(counter);
        page.family(&TURNS)
            .count(&["committed"], count(Counter::SessionCommitted))
            .count(&["failed"], count(Counter::SessionFailed))
            .count(&["refused"], count(Counter::SessionRefused));
        page.family(&TURNS_BEGUN).count(&[], count(Counter::SessionTurns));
        page.family(&TURNS_RUNNING).count(&[], self.turns_running);
        page.family(&READERS).count(&[], self.session_readers);
    }
}

#[cfg(test)]
#[path = "exposition_tests.rs"]
mod tests;
