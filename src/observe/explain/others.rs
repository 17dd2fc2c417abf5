//! Clients that left, servers of upstreams, and what the operator did.

use super::cause::Cause;
use super::finding::{Evidence, Finding};
use super::words::{bytes, time};
use crate::contract::reason::Reason;
use crate::observe::note::Stage;
use std::time::Duration;

impl Evidence<'_> {
    pub(super) fn client_gone(&self) -> Finding {
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

    pub(super) fn route_removed(&self) -> Finding {
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

    pub(super) fn stopping(&self) -> Finding {
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

    pub(super) fn upstream(&self, reason: Reason) -> Finding {
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
                "is that server running, and is its address right? `GET /upstreams` of the control \
                 socket shows how each is",
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
                    "`GET /upstreams` of the control socket shows how each is; after failures one \
                     request tries again after half a minute",
                )
            }
            _ => Finding::new(
                Cause::ProxyLoop,
                "its Via field names this server: it came back through the servers it was handed to",
                "an upstream leads back to this server: look at its URL",
            ),
        }
    }
}
