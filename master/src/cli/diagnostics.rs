//! Everything a running master says of itself, as a page for people and as it is.

use super::answer::Attempt;
use super::args::Ask;
use super::ctl::{Question, say, understood};
use super::exit::{Exit, Failure};
use super::table::{Align, Paint, Table, Tone, age, size};
use rip::observe::report::{AppReport, Percentiles, Report, UpstreamReport};
use rip::observe::status::Health;
use std::fmt::Write;

/// Shows how everything is.
///
/// # Errors
/// No master, or one that does not answer.
pub fn diagnostics(flags: &Ask) -> Result<Exit, Failure> {
    let reply = Question::new(flags)?.get("/diagnostics")?;
    if flags.json {
        return say(&reply.body);
    }
    say(&page(&understood(&reply)?, Paint::for_stdout()))
}

/// Prints what is counted and measured, as monitoring systems read it.
///
/// # Errors
/// As [`diagnostics`].
pub fn metrics(flags: &Ask) -> Result<Exit, Failure> {
    say(&Question::new(flags)?.get("/metrics")?.body)
}

/// Summary above, tables below; a table without rows is left out.
fn page(report: &Report, paint: Paint) -> String {
    let mut out = summary(report, paint);
    let tables = [
        apps(&report.apps),
        workers(&report.apps),
        certs(report),
        upstreams(&report.upstreams),
        attempts(report),
    ];
    for table in tables.into_iter().flatten() {
        out.push('\n');
        out.push_str(&table.render(paint));
    }
    out
}

fn summary(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{label:<12}{text}");
    };
    let (word, tone) = match report.status {
        Health::Healthy => ("healthy", Tone::Good),
        Health::Degraded => ("degraded", Tone::Bad),
    };
    let commit = report.version.git.as_ref().and_then(|git| git.get(..12));
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    let up = age(report.uptime.max(1) * 1000);
    let version = &report.version.server;
    line("status", format!("{}, version {version}{commit}, up {up}", paint.tint(word, tone)));
    line("serves", report.urls.join(" "));
    let (metrics, recent, gauges) = (&report.metrics, &report.recent, &report.gauges);
    let classes: Vec<_> =
        metrics.responses.iter().map(|(class, count)| format!("{class} {count}")).collect();
    let rate = format!("{:.1}/s in the last minute", recent.requests_per_second);
    line("requests", format!("{} ({rate}): {}", metrics.requests, classes.join(", ")));
    let last = shown_latency(&recent.latency);
    line("latency", format!("{} (last minute: {last})", shown_latency(&metrics.latency)));
    let now = format!("{} in flight, {} wait", gauges.inflight, gauges.queue_depth);
    line("now", format!("{now}, {} client connections", gauges.connections));
    let queue = &metrics.queue;
    let waited = format!("{} had to wait (p99 {})", queue.queued, shown_seconds(queue.wait_p99));
    line("queue", format!("{waited}, {} too long, {} refused", queue.timeouts, queue.shed));
    let lives = &metrics.workers;
    let ends = format!("{} restarted, {} recycled", lives.restarts, lives.recycled);
    line(
        "workers",
        format!("{} ready, {ends}, {} given up", gauges.workers_active, lives.abandoned),
    );
    line("bodies", format!("{} in, {} out", size(metrics.bytes_in), size(metrics.bytes_out)));
    if !metrics.rejects.is_empty() {
        let rejects = metrics.rejects.iter().map(|(code, count)| format!("{code} {count}"));
        line("refused", rejects.collect::<Vec<_>>().join(", "));
    }
    let sockets = &report.realtime;
    if sockets.connections > 0 {
        let now = format!("{} clients in {} groups", sockets.clients, sockets.groups);
        let said = format!("{} messages, {} deliveries", sockets.messages, sockets.deliveries);
        line("websockets", format!("{now}; {} came, {said}", sockets.connections));
    }
    let sessions = &metrics.sessions;
    if sessions.turns + sessions.refused > 0 {
        let ended = format!("{} committed, {} refused", sessions.committed, sessions.refused);
        line("turns", format!("{} run; {} begun, {ended}", sessions.active, sessions.turns));
    }
    let acme = &metrics.acme;
    if acme.renewals + acme.failures > 0 {
        line("acme", format!("{} certificates came, {} failures", acme.renewals, acme.failures));
    }
    let config = &report.config;
    let path = config.path.as_ref().map(|path| format!(" of {path}")).unwrap_or_default();
    line("config", format!("version {}{path}", config.version));
    out
}

fn apps(apps: &[AppReport]) -> Option<Table> {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("STATE", Align::Left),
        ("READY", Align::Right),
        ("GEN", Align::Left),
        ("IN-FLIGHT", Align::Right),
        ("QUEUED", Align::Right),
        ("RESTARTS", Align::Right),
        ("LAST EXIT", Align::Left),
    ]);
    for app in apps {
        let mut state = app.state.clone();
        state.push_str(if app.paused { ", paused" } else { "" });
        state.push_str(if app.rolling { ", rolling" } else { "" });
        let tone = match app.state.as_str() {
            "ready" if !app.paused && !app.rolling => Tone::Good,
            "down" | "abandoned" => Tone::Bad,
            _ => Tone::Waiting,
        };
        table.row([
            usual(&app.id),
            (state, tone),
            usual(format_args!("{}/{}", app.ready, app.workers)),
            usual(app.generation),
            usual(app.inflight),
            usual(app.queue_depth),
            usual(app.restarts),
            usual(app.last_exit.as_deref().unwrap_or_default()),
        ]);
    }
    (!apps.is_empty()).then_some(table)
}

fn workers(apps: &[AppReport]) -> Option<Table> {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("WORKER", Align::Left),
        ("PID", Align::Right),
        ("GEN", Align::Left),
        ("STATE", Align::Left),
        ("IN-FLIGHT", Align::Right),
        ("REQUESTS", Align::Right),
        ("AGE", Align::Right),
        ("RSS", Align::Right),
    ]);
    let all = || apps.iter().flat_map(|app| app.processes.iter().map(move |it| (app, it)));
    for (app, worker) in all() {
        let tone = match worker.state.as_str() {
            "ready" => Tone::Good,
            "stopped" => Tone::Bad,
            _ => Tone::Waiting,
        };
        table.row([
            usual(&app.id),
            usual(worker.id),
            usual(worker.pid.map(|pid| pid.to_string()).unwrap_or_default()),
            usual(worker.generation),
            (worker.state.clone(), tone),
            usual(worker.inflight),
            usual(worker.requests),
            usual(age(worker.age.saturating_mul(1000))),
            usual(worker.rss_bytes.map(size).unwrap_or_default()),
        ]);
    }
    all().next().is_some().then_some(table)
}

fn certs(report: &Report) -> Option<Table> {
    let mut table = Table::new(&[
        ("CERTIFICATE", Align::Left),
        ("SOURCE", Align::Left),
        ("DAYS LEFT", Align::Right),
    ]);
    for cert in &report.certs {
        let tone = match cert.days_left {
            ..1 => Tone::Bad,
            1..14 => Tone::Waiting,
            _ => Tone::Usual,
        };
        let days = (cert.days_left.to_string(), tone);
        table.row([usual(cert.domains.join(", ")), usual(&cert.source), days]);
    }
    (!report.certs.is_empty()).then_some(table)
}

fn upstreams(upstreams: &[UpstreamReport]) -> Option<Table> {
    let mut table = Table::new(&[
        ("UPSTREAM", Align::Left),
        ("TARGET", Align::Left),
        ("STATE", Align::Left),
        ("IN-FLIGHT", Align::Right),
        ("REQUESTS", Align::Right),
        ("FAILURES", Align::Right),
    ]);
    for upstream in upstreams {
        for target in &upstream.targets {
            let state = match (target["serving"].as_bool(), target["health"].as_str()) {
                (Some(true), health) => (health.unwrap_or("serving").to_owned(), Tone::Good),
                (_, Some("unhealthy")) => ("unhealthy".to_owned(), Tone::Bad),
                _ => ("ejected".to_owned(), Tone::Bad),
            };
            let number = |name: &str| usual(target[name].as_u64().unwrap_or_default());
            table.row([
                usual(&upstream.id),
                usual(target["url"].as_str().unwrap_or_default()),
                state,
                number("inflight"),
                number("requests"),
                number("failures"),
            ]);
        }
    }
    (!upstreams.is_empty()).then_some(table)
}

/// The last attempts to change the configuration, newest first.
fn attempts(report: &Report) -> Option<Table> {
    let mut table = Table::new(&[
        ("ATTEMPT", Align::Right),
        ("SOURCE", Align::Left),
        ("VERSION", Align::Left),
        ("RESULT", Align::Left),
        ("TOOK", Align::Right),
        ("WHY", Align::Left),
    ]);
    let newest = report.config.history.iter().rev().take(SHOWN_ATTEMPTS);
    for value in newest {
        let Ok(attempt) = serde_json::from_value::<Attempt>(value.clone()) else { continue };
        let is_applied = attempt.result == "applied";
        let why = match is_applied {
            true => String::new(),
            false => {
                let first = attempt.details.first().map(|detail| format!(": {detail}"));
                format!("{}{}", attempt.code, first.unwrap_or_default())
            }
        };
        table.row([
            usual(attempt.id),
            usual(&attempt.source),
            usual(format_args!("{} → {}", attempt.old_version, attempt.new_version)),
            (attempt.result, if is_applied { Tone::Good } else { Tone::Bad }),
            usual(age(attempt.duration_ms)),
            usual(why),
        ]);
    }
    (!report.config.history.is_empty()).then_some(table)
}

fn usual(text: impl ToString) -> (String, Tone) {
    (text.to_string(), Tone::Usual)
}

fn shown_latency(latency: &Percentiles) -> String {
    let Percentiles { p50, p95, p99 } = *latency;
    format!("p50 {}, p95 {}, p99 {}", shown_seconds(p50), shown_seconds(p95), shown_seconds(p99))
}

/// `1.2ms`, `3.50s`.
fn shown_seconds(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.1}ms", seconds * 1000.0),
        _ => format!("{seconds:.2}s"),
    }
}

/// `ctl history` shows them all.
const SHOWN_ATTEMPTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_is_a_page() {
        let mut report = Report::default();
        let least = page(&report, Paint::Plain);
        assert!(least.starts_with("status      degraded, version , up 1s\n"), "{least}");
        assert!(!least.contains("APP"), "there is none: {least}");
        report.status = Health::Healthy;
        report.version.server = "0.1.0".to_owned();
        report.version.git = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
        report.uptime = 7200;
        report.urls = vec!["http://a.test/".to_owned()];
        report.metrics.requests = 1234;
        report.metrics.responses = [("2xx".to_owned(), 1230), ("5xx".to_owned(), 4)].into();
        report.metrics.latency = Percentiles { p50: 0.0012, p95: 0.02, p99: 1.5 };
        report.metrics.rejects = [("queue-full".to_owned(), 3)].into();
        report.recent.requests_per_second = 12.34;
        report.config.version = 3;
        report.config.path = Some("/srv/Edgefile".to_owned());
        report.config.history = vec![
            json!({"id": 1, "source": "start", "oldVersion": 0, "newVersion": 1,
                   "result": "applied", "code": "ok", "details": ["app api"], "durationMs": 97}),
            json!({"id": 2, "source": "watch", "oldVersion": 1, "newVersion": 2, "result": "rejected",
                   "code": "invalid", "details": ["no such app"], "durationMs": 1200}),
        ];
        report.apps = vec![
            serde_json::from_value(json!({
                "id": "api", "state": "ready", "workers": 2, "ready": 2, "inflight": 1,
                "queueDepth": 0, "generation": 4, "restarts": 1, "lastExit": "w1 exited 1",
                "paused": false, "rolling": true, "processes": [{
                    "id": 7, "pid": 42, "state": "ready", "generation": 4, "inflight": 1,
                    "requests": 99, "rssBytes": null, "age": 65,
                }],
            }))
            .unwrap(),
        ];
        report.upstreams = vec![UpstreamReport {
            id: "far".to_owned(),
            targets: vec![json!({"url": "http://x:1", "serving": false, "health": null,
                                 "inflight": 0, "requests": 5, "failures": 5})],
        }];
        let golden = "\
status      healthy, version 0.1.0 (0123456789ab), up 2h
serves      http://a.test/
requests    1234 (12.3/s in the last minute): 2xx 1230, 5xx 4
latency     p50 1.2ms, p95 20.0ms, p99 1.50s (last minute: p50 0.0ms, p95 0.0ms, p99 0.0ms)
now         0 in flight, 0 wait, 0 client connections
queue       0 had to wait (p99 0.0ms), 0 too long, 0 refused
workers     0 ready, 0 restarted, 0 recycled, 0 given up
bodies      0B in, 0B out
refused     queue-full 3
config      version 3 of /srv/Edgefile

APP  STATE           READY  GEN  IN-FLIGHT  QUEUED  RESTARTS  LAST EXIT
api  ready, rolling    2/2  g4           1       0         1  w1 exited 1

APP  WORKER  PID  GEN  STATE  IN-FLIGHT  REQUESTS  AGE  RSS
api  w7       42  g4   ready          1        99   1m    -

UPSTREAM  TARGET      STATE    IN-FLIGHT  REQUESTS  FAILURES
far       http://x:1  ejected          0         5         5

ATTEMPT  SOURCE  VERSION  RESULT    TOOK  WHY
      2  watch   1 → 2    rejected    1s  invalid: no such app
      1  start   0 → 1    applied   97ms  -
";
        assert_eq!(page(&report, Paint::Plain), golden);
    }
}
