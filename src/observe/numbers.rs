//! Everything that is counted or measured, at one moment: what every surface shows is made of this,
//! so that no two disagree.

use super::counter::{Counter, Counters};
use super::lives::Lives;
use super::report::{
    AcmeMetrics, Gauges, Metrics, QueueMetrics, RealtimeReport, Recent, SessionMetrics, Version,
    WebsocketMetrics, WorkerMetrics,
};
use super::tally::Tally;
use crate::contract::reason::Reason;
use crate::ids::{AppId, WorkerId};
use std::time::Duration;

/// All numbers.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Which server this is.
    pub version: Version,
    /// When it was started, in seconds since 1970.
    pub started: f64,
    /// Since when it runs.
    pub uptime: Duration,
    /// Exchanges that have ended.
    pub tally: Tally,
    /// What else the loops count.
    pub counters: Counters,
    /// What has become of workers, configurations and certificates.
    pub lives: Lives,
    /// The apps of the active configuration, by declaration.
    pub apps: Vec<AppNumbers>,
    /// What schedulers decided, by app, algorithm and fallback.
    pub decisions: Vec<Decided>,
    /// The active configuration.
    pub config_version: u64,
    /// Until when the certificate of each domain is good, in seconds since 1970.
    pub certs: Vec<(String, u64)>,
    /// Client connections.
    pub connections: u64,
    /// The hubs together.
    pub realtime: RealtimeNumbers,
    /// Turns that run.
    pub turns_running: u64,
    /// Who reads the events of sessions.
    pub session_readers: u64,
    /// Servers that are not ours.
    pub targets: Vec<TargetNumbers>,
    /// Who follows events on the control socket, and who was too slow for them.
    pub followers: u64,
    /// Followers that were too slow.
    pub followers_dropped: u64,
    /// Lines of the log that were dropped.
    pub lines_dropped: u64,
    /// Request bodies that wait, in bytes: in memory, then in files.
    pub spooled: [u64; 2],
    /// The server's own resident memory, where it is known.
    pub rss_bytes: Option<u64>,
}

/// One app.
#[derive(Clone, Debug)]
pub struct AppNumbers {
    /// Its id.
    pub id: AppId,
    /// Workers that are wanted.
    pub wanted: u64,
    /// Workers that are ready.
    pub ready: u64,
    /// Requests that its workers have.
    pub inflight: u64,
    /// Requests that wait for one.
    pub queue_depth: u64,
    /// Requests wait although workers may be free.
    pub is_paused: bool,
    /// Its workers, by id.
    pub workers: Vec<WorkerNumbers>,
}

/// One worker.
#[derive(Clone, Copy, Debug)]
pub struct WorkerNumbers {
    /// Its id.
    pub id: WorkerId,
    /// Requests that it has.
    pub inflight: u64,
    /// Resident memory, where it is known.
    pub rss_bytes: Option<u64>,
}

/// How often a scheduler decided so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decided {
    /// Whose.
    pub app: AppId,
    /// `lifo` or `least-inflight`.
    pub algorithm: &'static str,
    /// Why the first choice was not taken; `None` where it was.
    pub fallback: Option<&'static str>,
    /// How often.
    pub count: u64,
}

/// All hubs together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RealtimeNumbers {
    /// Clients now.
    pub clients: u64,
    /// Groups that somebody is in.
    pub groups: u64,
    /// Messages that are kept now, once for each group.
    pub kept: u64,
    /// What they take.
    pub kept_bytes: u64,
    /// Instructions with a payload so far.
    pub instructions: u64,
    /// Letters to loops so far.
    pub letters: u64,
    /// Letters whose payload was dropped, because their loop was too far behind.
    pub letters_dropped: u64,
}

/// One server of an upstream.
#[derive(Clone, Debug)]
pub struct TargetNumbers {
    /// Its upstream.
    pub upstream: String,
    /// Its URL.
    pub url: String,
    /// A request may go there.
    pub is_up: bool,
    /// Exchanges it has.
    pub inflight: u64,
    /// Exchanges that ended.
    pub requests: u64,
    /// Of those, the ones that failed.
    pub failures: u64,
}

impl Numbers {
    /// Counters since the start.
    pub fn metrics(&self) -> Metrics {
        let classes = self.tally.classes();
        let label = |(class, count): (usize, u64)| (format!("{}xx", class + 1), count);
        let rejects = self.counters.refusals().filter(|(_, count)| *count > 0);
        Metrics {
            requests: classes.iter().sum(),
            responses: classes.into_iter().enumerate().map(label).collect(),
            latency: self.tally.latency.percentiles(),
            queue: QueueMetrics {
                queued: self.tally.waits.count(),
                timeouts: self.queue_timeouts(),
                shed: self.shed().map(|(_, count)| count).sum(),
                wait_p99: self.tally.waits.percentiles().p99,
            },
            workers: WorkerMetrics {
                restarts: self.lives.restarts(),
                recycled: self.lives.recycled(),
                abandoned: self.lives.abandoned(),
            },
            acme: AcmeMetrics {
                renewals: self.lives.renewals,
                failures: self.lives.renewals_failed,
            },
            websocket: WebsocketMetrics {
                connections: self.counters.value(Counter::SocketOpened),
                messages: self.counters.value(Counter::SocketMessagesIn),
                deliveries: self.counters.value(Counter::SocketDeliveries),
            },
            sessions: SessionMetrics {
                active: self.turns_running,
                turns: self.counters.value(Counter::SessionTurns),
                committed: self.counters.value(Counter::SessionCommitted),
                refused: self.counters.value(Counter::SessionRefused),
            },
            bytes_in: self.counters.value(Counter::BytesIn),
            bytes_out: self.counters.value(Counter::BytesOut),
            rejects: rejects.map(|(reason, count)| (reason.code().to_owned(), count)).collect(),
        }
    }

    /// The last minute.
    pub fn recent(&self) -> Recent {
        let recent = &self.tally.recent;
        let seconds = recent.seconds.min(self.uptime.as_secs_f64());
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Recent {
            seconds,
            requests_per_second: rate(recent.requests),
            errors_per_second: rate(recent.errors),
            latency: recent.latency.percentiles(),
        }
    }

    /// What is so at this moment.
    pub fn gauges(&self) -> Gauges {
        let sum = |of: fn(&AppNumbers) -> u64| {
            u32::try_from(self.apps.iter().map(of).sum::<u64>()).unwrap_or(u32::MAX)
        };
        Gauges {
            workers_active: sum(|app| app.ready),
            inflight: sum(|app| app.inflight),
            queue_depth: sum(|app| app.queue_depth),
            connections: self.connections,
        }
    }

    /// WebSocket clients.
    pub fn realtime(&self) -> RealtimeReport {
        RealtimeReport {
            clients: self.realtime.clients,
            groups: self.realtime.groups,
            deliveries: self.counters.value(Counter::SocketDeliveries),
            messages: self.counters.value(Counter::SocketMessagesIn),
            connections: self.counters.value(Counter::SocketOpened),
        }
    }

    /// Requests that waited too long for a worker.
    pub fn queue_timeouts(&self) -> u64 {
        self.counters.value(Counter::Refusal(Reason::QueueTimeout))
    }

    /// Requests that a queue did not take, or gave back, and why.
    pub fn shed(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        [Reason::AppAbandoned, Reason::QueueFull, Reason::WorkerBusy]
            .into_iter()
            .map(|reason| (reason, self.counters.value(Counter::Refusal(reason))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::method::Method;
    use crate::observe::tally::Done;

    #[test]
    fn metrics_are_the_sums_of_what_was_counted() {
        let mut numbers = Numbers { uptime: Duration::from_secs(10), ..Numbers::default() };
        let took = Some(Duration::from_millis(8));
        for status in [200, 204, 404, 503] {
            let done = Done { app: "a", method: Method::Get, status, took, waited: None };
            numbers.tally.add(&done);
        }
        numbers.counters.add(Counter::Refusal(Reason::QueueFull), 1);
        numbers.tally.recent.requests = 4;
        numbers.tally.recent.seconds = 55.0;
        let metrics = numbers.metrics();
        assert_eq!(metrics.requests, 4);
        assert_eq!(metrics.responses["2xx"], 2);
        assert_eq!(metrics.responses.len(), 5);
        assert_eq!(metrics.responses.values().sum::<u64>(), 4);
        assert_eq!(metrics.queue.shed, 1);
        assert_eq!(metrics.rejects.into_iter().collect::<Vec<_>>(), [("queue-full".to_owned(), 1)]);
        assert!((metrics.latency.p99 - 0.008).abs() < 0.0001);
        let recent = numbers.recent();
        assert_eq!((recent.seconds, recent.requests_per_second), (10.0, 0.4));
    }
}
