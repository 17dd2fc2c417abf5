//! Where sessions are served and kept is configured: flags, an Edgefile, reloads, and what is told of it.

use crate::harness::session::{Ask, Session};
use crate::harness::{Server, Setup, until};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn sessions() -> Setup {
    Setup::builtin("turn").workers(1).word("--sessions")
}

/// An Edgefile with two apps that run turns, and this of the site.
fn file(edge: &str, site: &str) -> String {
    format!(
        "version 1
edge {{ http \"127.0.0.1:PORT\"; verify within=\"5s\"; {edge} }}
app \"t\" {{ entry \"builtin:turn\"; workers 1; timeouts turn=\"700ms\" }}
app \"other\" {{ entry \"builtin:turn\"; workers 1 }}
site \"a.test\" {{
    route \"/other/*\" {{ to-app \"other\" }}
    route \"/v1/turn\" methods=\"PUT\" {{ to-app \"other\" }}
    route \"/*\" {{ to-app \"t\" }}
    {site}
}}
"
    )
}

/// What `ctl sessions --json` says.
#[track_caller]
fn told(server: &Server) -> Value {
    let (code, output) = server.cli(&["ctl", "sessions", "--json"]);
    assert_eq!(code, 0, "{output}");
    for kind in ["ct_", "rt_"] {
        assert!(!output.contains(kind), "a token is told: {output}");
    }
    serde_json::from_str(&output).unwrap_or_else(|_| panic!("no JSON: {output}"))
}

#[test]
fn sessions_outlive_the_server_in_the_state_directory() {
    let setup = sessions();
    let state = setup.path("state");
    let mut server = setup.env("STATE_DIRECTORY", &state).start();
    let (mut session, first) = Session::start(&server, &json!({"text": "one"}));
    assert_eq!(first["output"], json!({"text": "one", "turns": 1}));
    for name in ["sessions.db", "session.key"] {
        let mode = fs::metadata(state.join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(server.stop(), 0);
    let left: Vec<_> = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("-wal") || name.contains(".e"))
        .collect();
    assert_eq!(left, [""; 0], "it was closed in order");
    server.start_again();
    let second = session.message(&server, &json!({"text": "two"}));
    assert_eq!(second["output"], json!({"text": "two", "turns": 2}));
}

#[test]
fn without_sessions_there_is_no_store_and_in_memory_there_is_no_file() {
    let setup = Setup::builtin("turn").workers(1);
    let state = setup.path("state");
    let server = setup.env("STATE_DIRECTORY", &state).start();
    assert_eq!(told(&server)["store"], Value::Null);
    let (code, output) = server.cli(&["ctl", "sessions"]);
    assert_eq!((code, output.as_str()), (0, "no sessions are served\n"));
    assert!(!state.join("sessions.db").exists());

    let setup = sessions().flag("--sessions-db", ":memory:");
    let state = setup.path("state");
    let server = setup.env("STATE_DIRECTORY", &state).start();
    Session::start(&server, &json!({}));
    let told = told(&server);
    assert_eq!((&told["store"]["path"], &told["sessions"]), (&":memory:".into(), &1.into()));
    assert!(!state.join("sessions.db").exists());
}

#[test]
fn a_store_that_can_never_be_ends_the_start() {
    for (path, said) in [("/dev/null/x/s.db", "cannot be made"), ("/tmp", "is a directory")] {
        let (code, output) = sessions().flag("--sessions-db", path).fails();
        assert_eq!(code, 78, "{output}");
        assert!(output.contains(said) && output.contains("--sessions-db PATH"), "{output}");
    }
    let (code, output) = Setup::builtin("turn").workers(1).flag("--sessions-db", "s.db").fails();
    assert!(code == 2 && output.contains("add --sessions"), "{code}: {output}");
    let setup = Setup::edgefile(&file("", "sessions \"/v1\" app=\"t\"")).word("--sessions");
    let (code, output) = setup.fails();
    assert!(code == 2 && output.contains("sessions \"/v1\" app=\"NAME\""), "{code}: {output}");
}

#[test]
fn a_store_that_cannot_be_opened_now_is_told_of_and_opened_when_it_can_be() {
    let setup = sessions();
    let path = setup.path("s.db");
    let lock = File::create(setup.path("s.db.lock")).unwrap();
    lock.lock().unwrap();
    let server = setup.flag("--sessions-db", path.display()).start();
    assert_eq!(server.get("/").status, 200, "everything else is served");
    let response = Ask::start(&json!({})).answer(&server);
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.field("Retry-After"), "1", "{response:?}");
    server.wait_for_log("sessions_failed");
    let told_of = until("what is in the way", || {
        Some(told(&server)).filter(|told| told["store"]["reason"] == "busy")
    });
    assert_eq!(told_of["store"]["state"], "shut", "{told_of}");
    assert_eq!(told_of["sessions"], Value::Null, "{told_of}");
    drop(lock);
    until("an open store", || (Ask::start(&json!({})).answer(&server).status == 200).then_some(()));
    let told = told(&server);
    assert_eq!((&told["store"]["state"], &told["sessions"]), (&"open".into(), &1.into()));
    assert!(told["refused"].as_u64() >= Some(1), "{told}");
}

#[test]
fn what_runs_is_told_and_counted() {
    let server = sessions().concurrency(4).flag("--sessions-db", ":memory:").start();
    let (session, _) = Session::start(&server, &json!({}));
    let refused = Ask::to("POST", session.path("/message")).json(&json!({})).answer(&server);
    assert_eq!(refused.status, 400, "{refused:?}");
    Ask::start(&json!({"fail": 500})).answer(&server);
    let long = Ask::message(&session, &json!({"text": "x", "sleep_ms": 3000}));
    let accepted = long.prefer("respond-async").answer(&server);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let now = until("the turn", || Some(told(&server)).filter(|told| told["running"] == 1));
    let [turn] = now["newest"].as_array().unwrap().as_slice() else { panic!("{now}") };
    assert_eq!(turn["id"], session.id.as_str(), "{now}");
    assert_eq!((&turn["turn"], &turn["attempt"]), (&2.into(), &1.into()), "{now}");
    assert!(turn["app"] == "turn" && turn["ageMs"].as_u64() < Some(3000), "{now}");
    let numbers = |told: &Value| {
        ["turns", "committed", "failed", "refused", "sessions"].map(|name| told[name].as_u64())
    };
    assert_eq!(numbers(&now), [3, 1, 1, 1, 2].map(Some), "{now}");
    let (code, text) = server.cli(&["ctl", "sessions"]);
    assert!(code == 0 && text.contains(&session.id), "{text}");
    assert!(text.contains("turns 3: 1 running, 1 committed, 1 failed; 1 refused"), "{text}");
    let end = until("its end", || Some(told(&server)).filter(|told| told["running"] == 0));
    assert_eq!(numbers(&end), [3, 2, 1, 1, 2].map(Some), "{end}");
    assert_eq!(end["newest"], json!([]));
}

#[test]
fn a_reload_that_adds_sessions_opens_their_store() {
    let mut server = Setup::edgefile(&file("", "")).word("--no-watch").start();
    let ask = |server: &Server, method: &str, target: &str| {
        server.ask_at("a.test", method, target).status
    };
    assert_eq!(ask(&server, "POST", "/v1/turn"), 200, "nobody else is asked there");
    let there = server.path("data/s.db").display().to_string();
    let with = |store: &str| {
        let edge = format!("store \"{store}\"");
        file(&edge, "sessions \"/v1\" app=\"t\"")
    };
    let attempt = server.refuses_up(&with("/dev/null/x/s.db"), "invalid");
    assert!(attempt.to_string().contains("cannot be made"), "{attempt}");
    let attempt = server.take_up(&with(&there));
    let details = attempt["details"].to_string();
    assert!(details.contains("sessions added: a.test /v1 → t"), "{details}");
    assert_eq!(told(&server)["store"]["path"], there.as_str());

    // There only the server asks the app, however it is written; other apps are not concerned.
    for target in ["/v1/turn", "/v1/turn/", "//v1/turn", "/v1%2Fturn", "/v1;x/turn"] {
        assert_eq!(ask(&server, "POST", target), 404, "{target}");
    }
    assert_eq!(ask(&server, "PUT", "/v1/turn"), 200);
    assert_eq!(ask(&server, "POST", "/v1/turns"), 200);
    let (mut session, _) = Session::start(&server, &json!({}));
    assert_eq!(Ask::start(&json!({})).at("b.test").answer(&server).status, 404);

    let attempt = server.take_up(&file(&format!("store \"{there}\""), ""));
    let details = attempt["details"].to_string();
    assert!(details.contains("(its sessions are kept, and served no longer)"), "{details}");
    let gone = Ask::message(&session, &json!({})).answer(&server);
    assert_eq!((gone.status, gone.text().as_str()), (200, "Hello from rip-master\n"), "the app's");
    server.take_up(&with(&there));
    let answer = session.message(&server, &json!({}));
    assert_eq!(answer["output"]["turns"], 2, "{answer}");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_whole_turn_has_the_deadline_of_its_app() {
    let edge = "store \":memory:\"";
    let server = Setup::edgefile(&file(edge, "sessions \"/v1\" app=\"t\"")).start();
    let begun = Instant::now();
    let late = Ask::start(&json!({"sleep_ms": 20_000})).answer(&server);
    assert_eq!(late.status, 504, "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
