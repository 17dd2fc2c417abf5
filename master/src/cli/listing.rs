//! Answers of a master as tables and lines for people.

use super::answer::{App, Apps, Status, Worker, Workers};
use super::table::{Align, Paint, Table, Tone, age, size};
use rip::contract::worker::WorkerState;
use rip::time::UnixMillis;
use serde_json::Value;
use std::fmt::Write;

/// Apps above, workers below.
pub fn list(apps: &Apps, workers: &Workers, now: UnixMillis, paint: Paint) -> String {
    format!("{}\n{}", self::apps(apps, paint), self::workers(workers, now, paint))
}

fn apps(apps: &Apps, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("STATE", Align::Left),
        ("READY", Align::Right),
        ("GEN", Align::Left),
        ("IN-FLIGHT", Align::Right),
        ("QUEUED", Align::Right),
        ("RESTARTS", Align::Right),
        ("ENTRY", Align::Left),
    ]);
    for app in &apps.apps {
        let usual = |text: String| (text, Tone::Usual);
        table.row([
            usual(app.id.to_string()),
            (state_of_app(app), tone_of_app(app)),
            usual(format!("{}/{}", app.ready, app.workers)),
            usual(generations(app)),
            usual(app.inflight.to_string()),
            usual(app.queue_depth.to_string()),
            usual(app.restarts.to_string()),
            usual(app.entry.clone()),
        ]);
    }
    table.render(paint)
}

/// One line a worker.
pub fn workers(workers: &Workers, now: UnixMillis, paint: Paint) -> String {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("WORKER", Align::Left),
        ("PID", Align::Right),
        ("APP PID", Align::Right),
        ("GEN", Align::Left),
        ("STATE", Align::Left),
        ("IN-FLIGHT", Align::Right),
        ("REQUESTS", Align::Right),
        ("AGE", Align::Right),
        ("RSS", Align::Right),
        ("LAST EXIT", Align::Left),
    ]);
    for worker in &workers.workers {
        let usual = |text: String| (text, Tone::Usual);
        table.row([
            usual(worker.app_id.to_string()),
            usual(worker.worker_id.to_string()),
            usual(shown(worker.pid)),
            usual(shown(worker.app_pid)),
            usual(shown(worker.generation)),
            state(worker.state),
            usual(worker.inflight.to_string()),
            usual(worker.request_count.to_string()),
            usual(age_of(worker, now)),
            usual(worker.rss_bytes.map(size).unwrap_or_default()),
            usual(worker.last_exit.clone().unwrap_or_default()),
        ]);
    }
    table.render(paint)
}

/// A few lines about a master.
pub fn status(status: &Status, apps: &Apps, name: &str, pid: u32, paint: Paint) -> String {
    let tone = if status.status == "healthy" { Tone::Good } else { Tone::Bad };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{name} is {} (pid {pid}, version {}, up {})",
        paint.tint(&status.status, tone),
        status.version,
        age((status.uptime.max(1.0) * 1000.0) as u64)
    );
    let _ = match &status.app {
        Some(app) => writeln!(out, "app {app}, workers ready: {}", words(&status.workers)),
        None => writeln!(out, "no app"),
    };
    for app in &apps.apps {
        if let Some(remark) = remark(app) {
            let _ = writeln!(out, "{} is {}", app.id, paint.tint(&remark, tone_of_app(app)));
        }
    }
    let ports = words(&status.ports);
    if !ports.is_empty() {
        let _ = writeln!(out, "listening on {ports}");
    }
    out
}

/// A value in words: numbers as they are, members as `name value`, lists with commas.
fn words(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} {}", words(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn age_of(worker: &Worker, now: UnixMillis) -> String {
    match worker.started_at {
        0 => String::new(),
        started => age(now.0.saturating_sub(started)),
    }
}

fn state(state: WorkerState) -> (String, Tone) {
    let (text, tone) = match state {
        WorkerState::Draining => ("draining", Tone::Waiting),
        WorkerState::Ready => ("ready", Tone::Good),
        WorkerState::Starting => ("starting", Tone::Waiting),
        WorkerState::Stopped => ("stopped", Tone::Bad),
    };
    (text.to_owned(), tone)
}

/// `ready`, `ready, paused`, `degraded, rolling 3/8`.
fn state_of_app(app: &App) -> String {
    let mut text = app.state.clone();
    if app.paused {
        text.push_str(", paused");
    }
    if let Some(rolling) = &app.rolling {
        let _ = write!(text, ", rolling {}/{}", rolling.fresh, rolling.wanted);
    }
    text
}

/// `g1`, and `g1→g2` while the one takes the place of the other.
fn generations(app: &App) -> String {
    match (&app.rolling, app.generation) {
        (Some(rolling), Some(old)) if old != rolling.generation => {
            format!("{old}→{}", rolling.generation)
        }
        (Some(rolling), _) => rolling.generation.to_string(),
        (None, generation) => shown(generation),
    }
}

/// What is to be said of an app beyond that it serves.
fn remark(app: &App) -> Option<String> {
    let mut remarks = Vec::new();
    if !matches!(app.state.as_str(), "" | "ready") {
        let exit = app.last_exit.as_ref();
        let exit = exit.map(|exit| format!(" (last exit: {exit})")).unwrap_or_default();
        remarks.push(format!("{}{exit}", app.state));
    }
    if app.paused {
        remarks.push(format!("paused, {} requests wait", app.queue_depth));
    }
    if let Some(rolling) = &app.rolling {
        remarks.push(format!(
            "rolling to {}: {} of {} workers are fresh, {} old",
            rolling.generation, rolling.fresh, rolling.wanted, rolling.old
        ));
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn tone_of_app(app: &App) -> Tone {
    match (app.ready, app.workers) {
        (0, _) => Tone::Bad,
        (ready, workers) if ready < workers => Tone::Waiting,
        _ if app.paused || app.rolling.is_some() => Tone::Waiting,
        _ => Tone::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPS: &str = r#"{"ok":true,"apps":[{"id":"hello","entry":"examples/hello","workers":2,
        "ready":1,"state":"ready","generation":1,"inflight":1,"queueDepth":3,"restarts":1,
        "abandoned":false,"new":{}}]}"#;
    const WORKERS: &str = r#"{"ok":true,"workers":[
        {"appId":"hello","workerId":1,"socketPath":"/x/w1.sock","inflight":1,"version":1,
         "state":"ready","startedAt":1000,"requestCount":12345,"pid":100,"appPid":101,
         "generation":1,"rssBytes":12700000,"lastExit":null},
        {"appId":"hello","workerId":12,"socketPath":"","inflight":0,"version":1,
         "state":"starting","startedAt":89000,"requestCount":0,"pid":7,"generation":1,
         "lastExit":"killed by SIGKILL"}]}"#;

    #[test]
    fn the_list_shows_apps_and_workers() {
        let apps: Apps = serde_json::from_str(APPS).unwrap();
        let workers: Workers = serde_json::from_str(WORKERS).unwrap();
        let golden = "\
APP    STATE  READY  GEN  IN-FLIGHT  QUEUED  RESTARTS  ENTRY
hello  ready    1/2  g1           1       3         1  examples/hello

APP    WORKER  PID  APP PID  GEN  STATE     IN-FLIGHT  REQUESTS  AGE    RSS  LAST EXIT
hello  w1      100      101  g1   ready             1     12345   1m  12.1M  -
hello  w12       7        -  g1   starting          0         0   1s      -  killed by SIGKILL
";
        assert_eq!(list(&apps, &workers, UnixMillis(90_000), Paint::Plain), golden);
        let coloured = list(&apps, &workers, UnixMillis(90_000), Paint::Coloured);
        assert!(coloured.contains("\x1b[32mready\x1b[0m"));
        assert!(coloured.contains("\x1b[33mstarting\x1b[0m"));
    }

    #[test]
    fn the_status_is_a_few_lines() {
        let answer = r#"{"status":"healthy","version":"0.1.0","app":"hello","workers":2,
            "ports":{"http":8080},"uptime":75.5,"hosts":[]}"#;
        let answer: Status = serde_json::from_str(answer).unwrap();
        assert_eq!(
            status(&answer, &Apps::default(), "hello", 42, Paint::Plain),
            "hello is healthy (pid 42, version 0.1.0, up 1m)\napp hello, workers ready: 2\nlistening on \
             http 8080\n"
        );
    }

    #[test]
    fn what_goes_on_with_an_app_is_shown() {
        let apps: Apps = serde_json::from_str(
            r#"{"apps":[
            {"id":"a","workers":8,"ready":8,"state":"ready","generation":1,"paused":true,
             "queueDepth":5,"rolling":{"generation":2,"fresh":3,"wanted":8,"old":5}},
            {"id":"b","workers":2,"ready":0,"state":"abandoned","generation":1,
             "lastExit":"w9 exited 1"},
            {"id":"c","workers":2,"ready":2,"state":"ready","generation":1,
             "lastExit":"w7 exited 1"}]}"#,
        )
        .unwrap();
        let golden = "\
APP  STATE                       READY  GEN    IN-FLIGHT  QUEUED  RESTARTS  ENTRY
a    ready, paused, rolling 3/8    8/8  g1→g2          0       5         0  -
b    abandoned                     0/2  g1             0       0         0  -
c    ready                         2/2  g1             0       0         0  -
";
        assert_eq!(self::apps(&apps, Paint::Plain), golden);
        let answer: Status = serde_json::from_str(r#"{"status":"degraded"}"#).unwrap();
        let text = status(&answer, &apps, "x", 1, Paint::Plain);
        for line in [
            "a is paused, 5 requests wait; rolling to g2: 3 of 8 workers are fresh, 5 old\n",
            "b is abandoned (last exit: w9 exited 1)\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("c is"), "nothing is to be said of it: {text}");
    }

    #[test]
    fn little_is_enough() {
        let workers: Workers =
            serde_json::from_str(r#"{"workers":[{"appId":"a","workerId":1,"state":"ready"}]}"#)
                .unwrap();
        assert!(self::workers(&workers, UnixMillis(0), Paint::Plain).contains("a    w1"));
        let answer: Status = serde_json::from_str(r#"{"status":"degraded"}"#).unwrap();
        assert!(
            status(&answer, &Apps::default(), "x", 1, Paint::Plain).starts_with("x is degraded")
        );
        assert!(
            list(&Apps::default(), &Workers::default(), UnixMillis(0), Paint::Plain).len() > 10
        );
    }
}
