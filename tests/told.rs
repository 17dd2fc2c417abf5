//! What is told and what the manual says of it are the same: `docs/LOGS.md` against the code, both ways.

#![allow(clippy::disallowed_methods, reason = "it reads the sources")]

use rip::contract::attempt::{AttemptCode, AttemptResult, AttemptSource};
use rip::contract::cert::CertSource;
use rip::contract::event::{Attempted, Door, Event, Ordered, UpgradeResult};
use rip::contract::reason::Reason;
use rip::ids::{AppId, Generation, WorkerId};
use rip::observe::access::Access;
use rip::time::UnixMillis;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MANUAL: &str = include_str!("../docs/LOGS.md");

/// Every event once, nothing of it left out, as trouble where it can be; and a match that knows each, so
/// that one that is not here does not compile.
macro_rules! events {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        fn events() -> Vec<Event> {
            vec![
                $(Event::$name { $($field: $value),* },)*
                Event::ConfigActivated(attempted()),
                Event::ConfigRejected(attempted()),
                Event::ConfigRollback(attempted()),
            ]
        }
        fn is_here(event: &Event) -> bool {
            match event {
                $(Event::$name { .. } => true,)*
                Event::ConfigActivated(_) | Event::ConfigRejected(_) | Event::ConfigRollback(_) => true,
            }
        }
    };
}

events! {
    AppReload { app: app(), path: Some(text()), workers: 1 }
    CertAuthority { path: text(), made: true, trust: vec![text()] }
    CertExpiring { domains: vec![text()], path: text(), not_after: 1, days: 1 }
    CertFailed {
        domains: vec![text()], path: Some(text()), reason: text(), kept: true, retry_ms: Some(1)
    }
    CertLoaded {
        domains: vec![text()], source: CertSource::Auto, not_after: 1, fingerprint: text(),
        path: Some(text())
    }
    CertRenewed { domain: text(), authority: text(), challenge: "none", not_after: 1, took_ms: 1 }
    Control {
        verb: "stop", target: text(), by: Door::Control, uid: Some(1), pid: Some(1), ip: Some(text()),
        result: Ordered::Done
    }
    LogDropped { from: text(), lines: 1, reason: "closed" }
    ServerStart { app: app(), workers: 1, pid: 1, version: "1" }
    ServerReady { urls: vec![text()], took_ms: 1 }
    ServerStop { reason: text(), cut: 1 }
    SessionInterrupted { session_id: text(), turn: 1, untold: 1 }
    SessionsBroken { path: text(), moved_to: text(), reason: text() }
    SessionsFailed { path: text(), reason: text() }
    SessionsRecovered { path: text() }
    UpgradeStart { pid: 1, binary: text() }
    UpgradeDone {
        result: UpgradeResult::Failed, old_pid: 1, new_pid: Some(1), reason: Some(text()), took_ms: 1
    }
    UpstreamDown { upstream: text(), target: text(), reason: "checks", for_ms: Some(1) }
    UpstreamUp { upstream: text(), target: text() }
    WsClose { app: app(), client_id: text(), code: 1000, reason: text() }
    WsError { app: app(), client_id: text(), request_id: text(), reason: text(), untold: 1 }
    WsOpen { app: app(), client_id: text(), ip: Some(text()) }
    WorkerStart { app: app(), worker_id: WorkerId(1), generation: Generation(1), pid: 1 }
    WorkerReady {
        app: app(), worker_id: WorkerId(1), generation: Generation(1), app_pid: 1, took_ms: 1
    }
    WorkerExit {
        app: app(), worker_id: WorkerId(1), pid: 1, status: text(), expected: false,
        stderr: vec![text()]
    }
    WorkerRestart { app: app(), worker_id: WorkerId(1), attempt: 1, backoff_ms: 1, reason: text() }
    WorkerAbandon {
        app: app(), worker_id: WorkerId(1), restarts: 1, reason: text(), stderr: vec![text()]
    }
    WorkerRecycle { app: app(), worker_id: WorkerId(1), reason: "rss" }
    WorkerStuck {
        app: app(), worker_id: WorkerId(1), request_id: Some(text()), method: Some(text()),
        path: Some(text()), age_ms: Some(1)
    }
    RollStart { app: app(), generation: Generation(1), reason: text(), path: Some(text()) }
    RollDone { app: app(), generation: Generation(1), took_ms: 1 }
    RollAborted { app: app(), generation: Generation(1), reason: text(), stderr: vec![text()] }
    WorkerRefused { worker_id: WorkerId(1), reason: text() }
}

fn app() -> AppId {
    AppId::new("api")
}

fn text() -> String {
    "text".to_owned()
}

fn attempted() -> Attempted {
    Attempted {
        attempt: 1,
        source: AttemptSource::Api,
        old_version: 1,
        new_version: 2,
        result: AttemptResult::Applied,
        code: AttemptCode::Ok,
        details: vec![text()],
        duration_ms: 1,
    }
}

#[test]
fn every_event_and_each_of_its_fields_is_in_the_manual() {
    let mut told = BTreeMap::new();
    for event in events() {
        assert!(is_here(&event));
        let json = serde_json::to_string(&event).expect("JSON");
        let mut names = keys(&json);
        assert_eq!(names.remove(0), "event");
        let value: Value = serde_json::from_str(&json).expect("JSON");
        let name = value["event"].as_str().expect("a name").to_owned();
        assert!(told.insert(name, (names, event.is_trouble())).is_none(), "{json}");
    }
    let mut written = BTreeMap::new();
    for row in rows("## Events") {
        let name = words(&row[0]).remove(0);
        let row = (words(&row[1]), row[0].contains('●'));
        assert!(written.insert(name.clone(), row).is_none(), "{name} is there twice");
    }
    assert_eq!(told, written);
}

/// Those that operators were promised by name.
#[test]
fn promised_events_are_there() {
    let names: BTreeSet<_> = rows("## Events").iter().map(|row| words(&row[0]).remove(0)).collect();
    for name in "server_start server_ready server_stop worker_start worker_ready worker_exit \
        worker_restart worker_abandon worker_recycle worker_stuck roll_start roll_done roll_aborted \
        config-activated config-rejected config-rollback cert_loaded cert_renewed cert_failed ws_open \
        ws_close session_interrupted upgrade_start upgrade_done"
        .split_whitespace()
    {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn every_reason_is_in_the_manual() {
    let told: BTreeMap<_, _> = Reason::ALL
        .iter()
        .map(|reason| (reason.code().to_owned(), reason.status().to_string()))
        .collect();
    let written: BTreeMap<_, _> =
        rows("## Reasons").iter().map(|row| (words(&row[0]).remove(0), row[1].clone())).collect();
    assert_eq!(told, written);
}

#[test]
fn every_field_of_an_access_line_is_in_the_manual() {
    let access = Access {
        at: UnixMillis(0),
        request_id: b"id",
        client_ip: b"127.0.0.1",
        host: b"a",
        app: "api",
        worker: Some(WorkerId(1)),
        method: b"GET",
        path: b"/",
        status: 200,
        total: Duration::ZERO,
        queued: None,
        served: None,
        content_type: b"text/plain",
        bytes_in: 0,
        bytes_out: 0,
        mark: Some(b"mark"),
        reason: Some(Reason::NotFound),
    };
    let mut line = Vec::new();
    access.write_json(&mut line);
    let told = keys(&String::from_utf8(line).expect("text"));
    let written: Vec<_> =
        rows("## Access lines").iter().map(|row| words(&row[0]).remove(0)).collect();
    assert_eq!(told, written);
}

#[test]
fn every_diagnostic_that_is_not_for_debugging_is_in_the_manual() {
    let mut told = BTreeSet::new();
    for dir in ["src", "master/src", "worker-shim/src"] {
        for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)) {
            let text = fs::read_to_string(&file).expect("a source");
            for level in ["error", "warn", "info"] {
                for rest in text.split(&format!("log::{level}!(")).skip(1) {
                    assert!(rest.trim_start().starts_with('"'), "{level} in {}", file.display());
                    told.insert((level.to_owned(), format_of(rest)));
                }
            }
        }
    }
    assert!(told.len() > 50, "{}", told.len());
    let written: BTreeSet<_> =
        rows("## Diagnostics").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let missing: Vec<_> = told.difference(&written).collect();
    let surplus: Vec<_> = written.difference(&told).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}, surplus {surplus:#?}");
}

/// The text literal that source code begins with, as the manual shows it: without what is filled in.
fn format_of(source: &str) -> String {
    let mut text = String::new();
    let mut letters = source.trim_start().chars().skip(1).peekable();
    let mut depth = 0;
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('\n') => while letters.next_if(|next| next.is_whitespace()).is_some() {},
                Some(escaped) => text.push(escaped),
                None => break,
            },
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                text.push('…');
            }
            // It would end the code that the manual shows.
            '`' => {}
            _ if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    text
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The cells of the first table below this heading of the manual.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let heading = format!("\n{heading}\n");
    let (_, section) = MANUAL.split_once(&heading).expect("a heading");
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let table = table.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        let inner = line.trim_matches('|');
        inner.split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<_> = table.map(cells).collect();
    assert!(!rows.is_empty(), "{heading}");
    rows
}

/// The words of a cell that are shown as code.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys of a JSON object, in their order.
fn keys(json: &str) -> Vec<String> {
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            struct InOrder;
            impl<'de> serde::de::Visitor<'de> for InOrder {
                type Value = Keys;
                fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    out.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Keys, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, _)) = map.next_entry::<String, Value>()? {
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            input.deserialize_map(InOrder)
        }
    }
    serde_json::from_str::<Keys>(json).expect("an object").0
}
