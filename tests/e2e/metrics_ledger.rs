//! Numbers agree: what clients counted, what the report says, what monitoring reads and what the access
//! log has are the same, request by request.

use crate::harness::edgefile::{ledger, recorder};
use crate::harness::ledger::{ALL_KINDS, NOBODY};
use crate::harness::{Client, Ledger, Server, Setup, eventually};
use crate::metrics::{metrics, sum};
use serde_json::Value;
use std::collections::BTreeMap;

/// The access lines so far.
fn access_lines(server: &Server) -> Vec<Value> {
    let stdout = server.stdout();
    let lines = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["status"].is_u64() && line["id"].is_string()).collect()
}

/// What every surface says of exchanges by the class of their status, once all say the same.
#[track_caller]
fn agreed(server: &Server) -> BTreeMap<String, u64> {
    let mut told = String::new();
    let mut found = BTreeMap::new();
    eventually("every surface to say the same", || {
        let report = server.control_get("/diagnostics").json();
        let samples = metrics(server);
        let mut of_log: BTreeMap<String, u64> = BTreeMap::new();
        for line in access_lines(server) {
            let class = line["status"].as_u64().expect("a status") / 100;
            *of_log.entry(format!("{class}xx")).or_default() += 1;
        }
        let metrics = &report["metrics"];
        let of_report = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| {
            (class.to_owned(), metrics["responses"][class].as_u64().expect("a count"))
        });
        let of_page = ["1", "2", "3", "4", "5"].map(|class| {
            let label = format!("code=\"{class}");
            (format!("{class}xx"), sum(&samples, "rip_http_requests_total", &label))
        });
        let of_report = BTreeMap::from(of_report);
        let of_page = BTreeMap::from(of_page);
        let requests = metrics["requests"].as_u64().expect("a count");
        told = format!("report {of_report:?} page {of_page:?} log {of_log:?} all {requests}");
        found = of_report;
        let of_log_all = |class: &String| of_log.get(class).copied().unwrap_or_default();
        found == of_page
            && found.iter().all(|(class, count)| of_log_all(class) == *count)
            && found.values().sum::<u64>() == requests
            && rejects_of(&report) == rejects_of_page(&samples)
    });
    println!("{told}");
    found
}

fn rejects_of(report: &Value) -> BTreeMap<String, u64> {
    let rejects = report["metrics"]["rejects"].as_object().expect("rejects");
    rejects
        .iter()
        .map(|(reason, count)| (reason.clone(), count.as_u64().expect("a count")))
        .collect()
}

fn rejects_of_page(samples: &BTreeMap<String, f64>) -> BTreeMap<String, u64> {
    let reasons = samples.iter().filter_map(|(series, count)| {
        let reason = series.strip_prefix("rip_rejects_total{reason=\"")?.strip_suffix("\"}")?;
        (*count > 0.0).then(|| (reason.to_owned(), *count as u64))
    });
    reasons.collect()
}

#[test]
fn the_ledger_the_report_the_metrics_and_the_log_agree() {
    let text = "version 1\nedge { http \"127.0.0.1:PORT\" }\n".to_owned()
        + &ledger("one", "workers 2")
        + &ledger("two", "workers 1")
        + "site \"a.test\" { route \"/*\" { to-app \"one\" } }\n\
           site \"b.test\" { route \"/*\" { to-app \"two\" } }\n";
    let setup = Setup::edgefile(&text).word("--no-watch").word("--json-logging").flag("--loops", 2);
    let server = setup.start();
    server.wait_for_workers(3);
    let before = metrics(&server);
    let places = [("a.test", "", "one@"), ("b.test", "", "two@")];
    let clients = Ledger::aimed(&server, &ALL_KINDS, &places);
    clients.changing("nobody.test", "", NOBODY);
    clients.changed();
    clients.wait_for(&server, 60);
    // Asked under load, a report agrees with itself and no counter ever shrinks.
    let mut last = before;
    for _ in 0..10 {
        let samples = metrics(&server);
        let counts = last.iter().filter(|(series, _)| series.contains("_total"));
        for (series, count) in counts {
            assert!(samples.get(series) >= Some(count), "{series} was {count}");
        }
        last = samples;
        clients.wait_for(&server, 12);
    }
    clients.wait_for_round(&server);
    let totals = clients.balance(&server);
    let classes = agreed(&server);
    let samples = metrics(&server);
    // How long an event stream lasts says nothing of the server.
    let lines = access_lines(&server);
    let streams = |app: &str| {
        let is_one = |line: &&Value| line["app"] == app && line["type"] == "text/event-stream";
        lines.iter().filter(is_one).count() as u64
    };
    assert!(streams("one") + streams("two") > 0);
    for (app, count) in &totals.apps {
        let app = if app == NOBODY { "" } else { app };
        let label = format!("app=\"{app}\"");
        assert_eq!(sum(&samples, "rip_http_requests_total", &label), *count, "{app:?}");
        let timed = sum(&samples, "rip_http_request_duration_seconds_count", &label);
        assert_eq!(timed, *count - streams(app), "{app:?}");
    }
    assert_eq!(classes["2xx"] + classes["4xx"], totals.requests);
    assert_eq!(classes["4xx"], totals.apps[NOBODY]);
    assert_eq!((classes["1xx"], classes["3xx"], classes["5xx"]), (0, 0, 0));
    assert_eq!(sum(&samples, "rip_rejects_total", "reason=\"host-not-found\""), classes["4xx"]);
    // Nothing is left behind.
    for name in ["rip_worker_inflight", "rip_queue_depth", "rip_spool_bytes"] {
        assert_eq!(sum(&samples, name, ""), 0, "{name}");
    }
    let report = server.control_get("/diagnostics").json();
    assert_eq!(
        (&report["gauges"]["inflight"], &report["gauges"]["queueDepth"]),
        (&0.into(), &0.into())
    );
    eventually("no client", || metrics(&server)["rip_connections"] == 0.0);
    let decisions = sum(&samples, "rip_scheduler_decisions_total", "");
    let waited = sum(&samples, "rip_queue_wait_seconds_count", "");
    let queued = sum(&samples, "rip_scheduler_decisions_total", "fallback=\"queued\"");
    assert!(decisions >= classes["2xx"] && queued >= 2 * waited, "{decisions} {queued} {waited}");
    assert_eq!(report["metrics"]["queue"]["queued"], waited);
    let recent = &report["recent"];
    assert!(recent["requestsPerSecond"].as_f64() > Some(0.0), "{recent}");
    assert!(recent["latency"]["p99"].as_f64() >= recent["latency"]["p50"].as_f64(), "{recent}");
}

#[test]
fn each_refusal_is_counted_once_as_a_request_and_once_as_a_refusal() {
    let text = "version 1\n\
        edge { http \"127.0.0.1:PORT\"; timeouts queue=\"400ms\"; limits body=1000 }\n"
        .to_owned()
        + &recorder("api", "workers 1\nmax-queue 1\nhosts \"a.test\"")
        + "app \"few\" { entry \"builtin:hello\"; workers 1 }\n\
           site \"few.test\" { rate-limit 1 window=\"600s\"; route \"/*\" { to-app \"few\" } }\n";
    let setup = Setup::edgefile(&text).word("--no-watch").word("--json-logging");
    let server = setup.start();
    server.wait_for_workers(2);
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut refused = |reason: &str| *expected.entry(reason.to_owned()).or_default() += 1;
    let ask = |host: &str| server.connect().ask_at(host, "GET", "/").status;

    assert_eq!((ask("few.test"), ask("few.test")), (200, 429));
    refused("rate-limited");
    assert_eq!(ask("nobody.test"), 404);
    refused("host-not-found");
    let mut large = server.connect();
    large.request_at("a.test", "POST", "/", "Content-Length: 5000\r\n", b"");
    assert_eq!(large.response().status, 413);
    refused("body-too-large");
    let mut malformed = server.connect();
    malformed.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(malformed.response().status, 400);
    refused("malformed");

    // One worker, which is held; one that waits; one for whom there is no room.
    let waiting = |target: &str| -> Client {
        let mut client = server.connect();
        client.request_at("a.test", "GET", target, "", b"");
        client
    };
    let mut holder = waiting("/hold?gate=go");
    server.wait_for_seen("/hold?gate=go");
    let mut late = waiting("/late");
    eventually("one that waits", || sum(&metrics(&server), "rip_queue_depth", "api") == 1);
    assert_eq!(waiting("/shed").response().status, 503);
    refused("queue-full");
    assert_eq!(late.response().status, 504);
    refused("queue-timeout");
    let left = waiting("/left");
    eventually("one that waits", || sum(&metrics(&server), "rip_queue_depth", "api") == 1);
    drop(left);
    refused("client-gone");
    eventually("that it has left", || sum(&metrics(&server), "rip_queue_depth", "api") == 0);
    server.open_gate("go");
    assert_eq!(holder.response().status, 200);

    let classes = agreed(&server);
    let report = server.control_get("/diagnostics").json();
    assert_eq!(rejects_of(&report), expected);
    assert_eq!((classes["2xx"], classes["4xx"], classes["5xx"]), (2, 5, 2), "{classes:?}");
    let samples = metrics(&server);
    for (code, count) in
        [("429", 1), ("404", 1), ("413", 1), ("400", 1), ("499", 1), ("503", 1), ("504", 1)]
    {
        let label = format!("code=\"{code}\"");
        assert_eq!(sum(&samples, "rip_http_requests_total", &label), count, "{code}");
    }
    assert_eq!(samples["rip_queue_shed_total{reason=\"queue-full\"}"], 1.0);
    assert_eq!(samples["rip_queue_timeouts_total"], 1.0);
    let queue = &report["metrics"]["queue"];
    assert_eq!(
        (&queue["shed"], &queue["timeouts"], &queue["queued"]),
        (&1.into(), &1.into(), &2.into())
    );
    assert!(queue["waitP99"].as_f64() >= Some(0.39), "{queue}");
    let shed = "rip_scheduler_decisions_total{app=\"api\",algorithm=\"lifo\",fallback=\"shed\"}";
    assert_eq!(samples[shed], 1.0);
}
