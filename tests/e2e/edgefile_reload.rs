//! Another configuration takes the place of the active one, or nothing happens at all.

use crate::harness::http::{Client, Response};
use crate::harness::load::Load;
use crate::harness::port::Port;
use crate::harness::{Server, Setup, eventually, tools, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// A server whose Edgefile begins with its listener and goes on with `rest`.
fn started(rest: &str) -> Server {
    Setup::edgefile(&file(rest)).word("--no-watch").start()
}

fn file(rest: &str) -> String {
    format!("version 1\nedge {{ http \"127.0.0.1:PORT\"; verify within=\"5s\" }}\n{rest}\n")
}

const HELLO: &str = "app \"api\" { entry \"builtin:hello\"; workers 2; hosts \"a.test\" }";

/// Answers a reload with what came of it.
fn reload(server: &Server) -> (u16, Value) {
    let response = server.control_post("/control/reload", "", "{}");
    (response.status, response.json())
}

#[track_caller]
fn applied(server: &Server, rest: &str) -> Value {
    server.write_edgefile(&file(rest));
    let (status, attempt) = reload(server);
    assert_eq!((status, &attempt["result"]), (200, &json!("applied")), "{attempt}");
    attempt
}

/// The version that is active.
fn version(server: &Server) -> u64 {
    server.control_get("/config").json()["version"].as_u64().expect("a version")
}

fn ask(server: &Server, host: &str, target: &str) -> Response {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.response()
}

#[test]
fn what_fails_at_any_stage_leaves_the_old_one_serving_and_says_where() {
    let server = started(HELLO);
    server.wait_for_workers(2);
    let pids = server.pids_of("api");
    let other = Port::free();
    let taken = std::net::TcpListener::bind(("127.0.0.1", other.number)).unwrap();
    let never = "app \"x\" { command \"sleep\" \"1000\"; workers 1; hosts \"x.test\"
        timeouts start=\"500ms\" }";
    let exits = "app \"x\" { command \"sh\" \"-c\" \"echo so sad >&2; exit 3\"; workers 1
        hosts \"x.test\" }";
    let cert =
        "site \"x.test\" { tls cert=\"no.crt\" key=\"no.key\"; route \"/*\" { to-app \"api\" } }";
    let port = format!("edge {{ http \"127.0.0.1:PORT\" \"127.0.0.1:{}\" }}", other.number);
    let cases = [
        (file("app \"x\" {"), "rejected", "parse_error", ""),
        (
            file("app \"x\" { entry \"builtin:hello\"; wrokers 2 }"),
            "rejected",
            "invalid",
            "workers",
        ),
        (file("app \"x\" { entry \"./missing.py\" }"), "rejected", "entry_missing", "missing.py"),
        (file(&format!("{HELLO}\n{cert}")), "rejected", "cert_unreadable", "no.crt"),
        (format!("version 1\n{port}\n{HELLO}"), "rejected", "listen_failed", "is held by"),
        (file(&format!("{HELLO}\n{never}")), "rejected", "app_not_ready", "app x"),
        (file(&format!("{HELLO}\n{exits}")), "rejected", "app_not_ready", "so sad"),
    ];
    for (number, (text, result, code, says)) in cases.iter().enumerate() {
        server.write_edgefile(text);
        let (status, attempt) = reload(&server);
        assert_eq!(status, 409, "{text}\n{attempt}");
        assert_eq!(
            (&attempt["ok"], &attempt["result"]),
            (&json!(false), &json!(result)),
            "{attempt}"
        );
        assert_eq!(attempt["code"], json!(code), "{attempt}");
        assert!(attempt["details"].to_string().contains(says), "{says} in {attempt}");
        assert_eq!(attempt["id"], json!(number + 2));
        assert_eq!(version(&server), 1, "{code}");
        assert_eq!(ask(&server, "a.test", "/").text(), "Hello from rip-master\n");
        assert_eq!(server.pids_of("api"), pids, "{code}");
        assert_eq!(server.attempts()[0]["code"], json!(code));
    }
    eventually("nothing of what failed is left", || server.pids_of("x").is_empty());
    drop(taken);
    assert_eq!(ask(&server, "x.test", "/").status, 404);
    server.wait_for_log("attempt=8 ");
    let log = server.log();
    assert_eq!(log.matches("config-rejected ").count(), 7, "{log}");
}

/// An app that is ready and ends with the first request for something else.
const DIES: &str = "import os\n\n\ndef app(environ, start_response):\n    \
    if environ['PATH_INFO'] != '/ready':\n        os._exit(3)\n    \
    start_response('200 OK', [])\n    return [b'not for long']\n";

#[test]
fn an_app_that_dies_right_after_it_took_over_is_taken_back() {
    let server = started(HELLO);
    server.wait_for_workers(2);
    let pids = server.pids_of("api");
    fs::write(server.path("app/dies.py"), DIES).unwrap();
    let dies = "app \"x\" { entry \"./dies.py\"; workers 1; hosts \"x.test\" }";
    let scaled = HELLO.replace("workers 2", "workers 3");
    server.write_edgefile(&file(&format!("{scaled}\n{dies}")));
    let mut client = server.control();
    client.request("POST", "/control/reload", "", b"{}");
    // The first request that gets there is its end.
    until("the new configuration", || (ask(&server, "x.test", "/").status != 404).then_some(()));
    let answer = client.response();
    let attempt = answer.json();
    assert_eq!((answer.status, &attempt["result"]), (409, &json!("rolled_back")), "{attempt}");
    assert_eq!(attempt["code"], "app_died", "{attempt}");
    assert_eq!(version(&server), 1);
    assert_eq!(ask(&server, "x.test", "/").status, 404);
    eventually("it is as it was", || {
        server.pids_of("x").is_empty() && server.pids_of("api") == pids
    });
    assert_eq!(server.app_called("api")["workers"], 2);
    server.wait_for_log("config-rollback ");
}

#[test]
fn hostile_files_on_a_hangup_leave_the_server_untouched() {
    let server = started(HELLO);
    let hostile: [Vec<u8>; 7] = [
        Vec::new(),
        vec![0; 4096],
        b"a {".repeat(100_000),
        b"((((".repeat(50_000),
        b"version 1\n".repeat(300_000),
        vec![0xff; 1000],
        format!("version 1\napp \"{}\" {{}}", "x".repeat(900_000)).into_bytes(),
    ];
    for (number, bytes) in (2u64..).zip(&hostile) {
        fs::write(server.path("app/Edgefile"), bytes).unwrap();
        server.signal(Signal::SIGHUP);
        let attempt = until("the attempt", || {
            server.attempts().into_iter().find(|attempt| attempt["id"] == number)
        });
        assert_eq!(
            (&attempt["source"], &attempt["result"]),
            (&json!("signal"), &json!("rejected"))
        );
        assert_eq!(ask(&server, "a.test", "/").status, 200);
    }
    assert_eq!(version(&server), 1);
    applied(&server, HELLO);
}

#[test]
fn unchanged_apps_keep_their_processes_and_others_change_without_a_failed_request() {
    let second = |more: &str| format!("{HELLO}\napp \"b\" {{ entry \"builtin:echo\"; {more} }}");
    let server = started(&second("workers 1; hosts \"b.test\""));
    eventually("all workers", || server.ready_workers().len() == 3);
    let (api, b) = (server.pids_of("api"), server.pids_of("b"));
    let load = Load::start(
        server.port(),
        4,
        "POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: 2\r\n\r\nhi",
    );
    let scaled = applied(&server, &second("workers 3; hosts \"b.test\""));
    assert!(scaled["details"].to_string().contains("scaled"), "{scaled}");
    eventually("three workers", || server.app_called("b")["ready"] == 3);
    assert_eq!(server.pids_of("b")[..1], b, "nobody was restarted");
    assert_eq!(server.app_called("b")["maxInflight"], 3);
    let tuned = applied(&server, &second("workers 3; max-queue 7; hosts \"b.test\" \"c.test\""));
    assert!(tuned["details"].to_string().contains("retuned"), "{tuned}");
    assert_eq!(server.app_called("b")["maxQueue"], 7);
    assert_eq!(server.pids_of("b")[..1], b);
    let replaced = applied(&server, &second("workers 2; hosts \"b.test\"; env A=\"1\""));
    assert!(replaced["details"].to_string().contains("replaced: env.A"), "{replaced}");
    assert_eq!(server.app_called("b")["generation"], 2);
    eventually("the old workers are gone", || server.pids_of("b").len() == 2);
    assert!(!server.pids_of("b").contains(&b[0]));
    assert_eq!(server.pids_of("api"), api);
    let tally = load.stop();
    assert!(tally.lost.is_empty() && tally.others(200) == 0, "{tally:?}");
    assert!(tally.count(200) > 10, "{tally:?}");
}

#[test]
fn requests_of_an_app_that_goes_are_finished() {
    let recorder = format!(
        "app \"r\" {{ command {:?} \"-S\" \"-I\" {:?}; workers 1; hosts \"r.test\" }}",
        tools::python(),
        tools::app("recorder.py")
    );
    let setup = Setup::edgefile(&file(&format!("{HELLO}\n{recorder}"))).word("--no-watch");
    let record = setup.path("record");
    fs::create_dir_all(&record).unwrap();
    let server = setup.env("RECORD", &record).start();
    eventually("the recorder", || server.app_called("r")["ready"] == 1);
    let mut client = server.connect();
    client.send("GET /?gate=open HTTP/1.1\r\nHost: r.test\r\n\r\n");
    server.wait_for_seen("/?gate=open");
    applied(&server, HELLO);
    assert_eq!(ask(&server, "r.test", "/").status, 404);
    assert_eq!(server.pids_of("r").len(), 1, "it still has something to do");
    server.open_gate("open");
    assert_eq!(client.response().status, 200);
    eventually("the app is gone", || server.pids_of("r").is_empty());
}

#[test]
fn listeners_come_and_go_and_their_connections_stay() {
    let (first, second) = (Port::free(), Port::free());
    let text = |ports: &[&Port]| {
        let more: Vec<_> = ports.iter().map(|at| format!("\"127.0.0.1:{}\"", at.number)).collect();
        format!("version 1\nedge {{ http \"127.0.0.1:PORT\" {} }}\n{HELLO}", more.join(" "))
    };
    let server = Setup::edgefile(&text(&[&first])).word("--no-watch").start();
    let mut stays = Client::connect(first.number);
    assert_eq!(stays.ask("GET", "/").status, 200);
    server.write_edgefile(&text(&[&second]));
    assert_eq!(reload(&server).0, 200);
    assert_eq!(Client::connect(second.number).ask("GET", "/").status, 200);
    eventually("the old port is closed", || Client::try_connect(first.number).is_err());
    assert_eq!(stays.ask("GET", "/").status, 200, "its connection lives on");
    server.write_edgefile(&text(&[&first, &second]));
    assert_eq!(reload(&server).0, 200);
    assert_eq!(Client::connect(first.number).ask("GET", "/").status, 200);
    assert_eq!(Client::connect(server.port()).ask("GET", "/").status, 200);
}

#[test]
fn several_loops_take_listeners_and_configurations_too() {
    let other = Port::free();
    let server = Setup::edgefile(&file(HELLO)).word("--no-watch").flag("--loops", 3).start();
    let text = format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" \"127.0.0.1:{}\" }}\n{HELLO}
         app \"b\" {{ entry \"builtin:echo\"; workers 1; hosts \"b.test\" }}",
        other.number
    );
    server.write_edgefile(&text);
    assert_eq!(reload(&server).0, 200);
    for _ in 0..6 {
        assert_eq!(Client::connect(other.number).ask("GET", "/").status, 200);
        assert_eq!(ask(&server, "b.test", "/").status, 200);
    }
    applied(&server, HELLO);
    eventually("the app is gone", || server.pids_of("b").is_empty());
    eventually("its port is closed", || Client::try_connect(other.number).is_err());
    assert_eq!(ask(&server, "b.test", "/").status, 404);
}

#[test]
fn a_number_of_workers_that_was_chosen_by_hand_stays_until_the_file_says_another() {
    let with = |count: u32, more: &str| {
        format!(
            "app \"api\" {{ entry \"builtin:hello\"; workers {count}; hosts \"a.test\" {more} }}"
        )
    };
    let server = started(&with(2, ""));
    assert_eq!(server.cli(&["ctl", "scale", "api", "4"]).0, 0);
    applied(&server, &with(2, "; max-queue 9"));
    assert_eq!(
        (server.app_called("api")["workers"].clone(), server.ready_workers().len()),
        (json!(4), 4)
    );
    applied(&server, &with(3, "; max-queue 9"));
    eventually("three workers", || server.ready_workers().len() == 3);
}

#[test]
fn a_rollback_makes_the_version_before_active_again() {
    let server = started(HELLO);
    let none = server.control_post("/control/rollback", "", "{}");
    assert_eq!((none.status, &none.json()["code"]), (409, &json!("invalid")));
    let both =
        format!("{HELLO}\napp \"b\" {{ entry \"builtin:echo\"; workers 1; hosts \"b.test\" }}");
    let to = applied(&server, &both)["newVersion"].as_u64().unwrap();
    assert_eq!(version(&server), to);
    let back = server.control_post("/control/rollback", "", "{}");
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!((&back.json()["oldVersion"], &back.json()["newVersion"]), (&json!(to), &json!(1)));
    assert_eq!((version(&server), ask(&server, "b.test", "/").status), (1, 404));
    eventually("the app is gone", || server.pids_of("b").is_empty());
    let again = server.cli(&["ctl", "rollback"]);
    assert_eq!(again.0, 0, "{}", again.1);
    assert_eq!((version(&server), ask(&server, "b.test", "/").status), (to, 200));
    let id = server.app_called("b")["generation"].as_u64();
    assert!(id.is_some_and(|id| id >= 1));
}

#[test]
fn requests_for_a_reload_are_answered_by_attempts_that_began_after_them() {
    let server = started(HELLO);
    let promised = server.control_post("/control/reload", "", r#"{"wait":false}"#);
    assert_eq!((promised.status, &promised.json()["id"]), (202, &json!(2)));
    let port = server.port();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| server.control_post("/control/reload", "", "{}").json()))
            .collect();
        for _ in 0..5 {
            server.signal(Signal::SIGHUP);
        }
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    let last = ids.iter().max().copied().unwrap();
    assert!(ids.iter().all(|id| *id > 2), "{ids:?}");
    eventually("rest", || server.attempts()[0]["id"].as_u64().is_some_and(|id| id >= last));
    let attempts = server.attempts();
    assert!(attempts.len() < 2 + 13, "they become fewer: {}", attempts.len());
    for answer in &answers {
        let told = attempts.iter().find(|attempt| attempt["id"] == answer["id"]).unwrap();
        assert_eq!(told["newVersion"], answer["newVersion"]);
    }
    // What is asked after a change sees it.
    let other =
        format!("{HELLO}\napp \"b\" {{ entry \"builtin:echo\"; workers 1; hosts \"b.test\" }}");
    server.control_post("/control/reload", "", r#"{"wait":false}"#);
    applied(&server, &other);
    let mut client = Client::connect(port);
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_plan_tells_what_a_reload_would_do_and_does_nothing() {
    let server = started(HELLO);
    let next = "app \"api\" { entry \"builtin:hello\"; workers 5; hosts \"a.test\" }";
    server.write_edgefile(&file(next));
    let plan = server.control_post("/control/plan", "", "{}");
    assert_eq!(plan.status, 200);
    let plan = plan.json();
    assert_eq!(plan["apps"][0]["fate"], "scaled", "{plan}");
    assert_eq!(plan["lines"][0], "app api scaled: 2 to 5 workers", "{plan}");
    assert_eq!((version(&server), server.attempts().len()), (1, 1));
    let (code, output) = server.cli(&["plan"]);
    assert!(code == 0 && output.contains("2 to 5 workers"), "{output}");
    server.write_edgefile(&file("app \"api\" { entry \"./missing.py\" }"));
    let plan = server.control_post("/control/plan", "", "{}");
    assert_eq!((plan.status, &plan.json()["code"]), (409, &json!("entry_missing")));
    assert_eq!(server.cli(&["plan"]).0, 1);
    assert_eq!(server.attempts().len(), 1);
}

#[test]
fn the_active_configuration_is_shown_without_secrets() {
    let server = started(
        "app \"api\" { entry \"builtin:hello\"; workers 1; hosts \"a.test\"; env KEY=\"sesame\" }",
    );
    let shown = server.control_get("/config");
    assert!(!shown.text().contains("sesame"));
    let shown = shown.json();
    assert_eq!(shown["apps"][0]["env"]["KEY"], "***", "{shown}");
    assert_eq!(shown["path"], json!(server.path("app/Edgefile")));
    assert_eq!(shown["routes"][0]["host"], "a.test");
    for line in server.log().lines() {
        assert!(!line.contains("sesame"), "{line}");
    }
}

#[test]
fn the_init_system_is_told_of_reloads_good_and_bad() {
    let setup = Setup::edgefile(&file(HELLO)).word("--no-watch");
    let path = setup.path("notify");
    let ear = UnixDatagram::bind(&path).unwrap();
    ear.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let server = setup.env("NOTIFY_SOCKET", path).start();
    let mut letter = [0; 4096];
    let mut hear = |wanted: &str| {
        until(wanted, || {
            let length = ear.recv(&mut letter).ok()?;
            let text = String::from_utf8_lossy(&letter[..length]).into_owned();
            text.lines().any(|line| line == wanted).then_some(text)
        })
    };
    hear("READY=1");
    for text in [file(HELLO), "nonsense {".to_owned()] {
        server.write_edgefile(&text);
        server.signal(Signal::SIGHUP);
        let told = hear("RELOADING=1");
        let micros = told.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(micros.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{told}");
        hear("READY=1");
    }
}

#[test]
fn a_stop_during_an_attempt_ends_both() {
    let mut server = started(HELLO);
    let never = "app \"x\" { command \"sleep\" \"1000\"; workers 1; hosts \"x.test\" }";
    server.write_edgefile(&file(&format!("{HELLO}\n{never}")));
    let mut client = server.control();
    client.request("POST", "/control/reload", "", b"{}");
    eventually("it is tried", || !server.pids_of("x").is_empty());
    let asked = Instant::now();
    server.signal(Signal::SIGTERM);
    let answer = client.response();
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("stopping")));
    assert_eq!(server.exit_code(), 0);
    assert!(asked.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_master_without_an_edgefile_keeps_a_history_of_its_rolls() {
    let server = Setup::builtin("hello").workers(1).start();
    assert_eq!(reload(&server).0, 200);
    server.signal(Signal::SIGHUP);
    let attempts = until("three attempts", || {
        let attempts = server.attempts();
        (attempts.len() == 3).then_some(attempts)
    });
    let told: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            (attempt["id"].clone(), attempt["source"].clone(), attempt["result"].clone())
        })
        .collect();
    let row = |id: u64, source: &str| (json!(id), json!(source), json!("applied"));
    assert_eq!(told, [row(3, "signal"), row(2, "api"), row(1, "start")]);
}
