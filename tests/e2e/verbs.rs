//! Orders to a running master return when the thing is true, and their exit codes are.

use crate::harness::{Client, Server, Setup, eventually, tools, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const APP: &str =
    "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n";
const BROKEN: &str = "raise RuntimeError('not today')\n";

fn pids(server: &Server) -> BTreeSet<u64> {
    server.workers().iter().filter_map(|worker| worker["pid"].as_u64()).collect()
}

fn generations(server: &Server) -> Vec<u64> {
    server.workers().iter().filter_map(|worker| worker["generation"].as_u64()).collect()
}

#[track_caller]
fn done(server: &Server, arguments: &[&str]) -> String {
    let (code, output) = server.cli(arguments);
    assert_eq!(code, 0, "{arguments:?}: {output}");
    output
}

#[track_caller]
fn fails(server: &Server, arguments: &[&str], code: i32, says: &[&str]) {
    let (found, output) = server.cli(arguments);
    assert_eq!(found, code, "{arguments:?}: {output}");
    for text in says {
        assert!(output.contains(text), "{arguments:?}: {text:?} in {output}");
    }
}

/// A server whose workers wait at the gate `start` from its second one on.
fn gated(workers: usize) -> Server {
    let setup = Setup::recorder().env("START_GATE", "start").workers(workers);
    fs::write(setup.path("record/start"), "").unwrap();
    let server = setup.start();
    server.wait_for_workers(workers);
    server.close_gate("start");
    server
}

#[test]
fn restart_returns_when_every_worker_is_fresh() {
    let server = Setup::builtin("hello").workers(3).start();
    server.wait_for_workers(3);
    for (generation, arguments) in [
        (2, &["restart"][..]),
        (3, &["ctl", "restart", "hello"]),
        (4, &["reload", "--wait"]),
        (5, &["ctl", "reload"]),
    ] {
        let before = pids(&server);
        let output = done(&server, arguments);
        assert_eq!(generations(&server), [generation; 3], "{output}");
        assert!(pids(&server).is_disjoint(&before), "nothing old is left");
        assert_eq!(server.ready_workers().len(), 3);
        assert!(output.contains(&format!("g{generation}")), "{output}");
        assert_eq!(output.lines().count(), 1, "no progress but on a terminal: {output:?}");
    }
    let body: Value = serde_json::from_str(&done(&server, &["restart", "--json"])).unwrap();
    assert_eq!((&body["ok"], &body["generation"]), (&json!(true), &json!(6)), "{body}");
}

#[test]
fn a_release_that_does_not_start_replaces_nothing_and_says_why() {
    let server = Setup::python(APP).workers(2).start();
    server.wait_for_workers(2);
    let before = pids(&server);
    fs::write(server.path("app/app.py"), BROKEN).unwrap();
    fails(&server, &["restart"], 1, &["error: ", "g2", "RuntimeError: not today"]);
    fails(&server, &["reload"], 1, &["RuntimeError: not today"]);
    let (code, output) = server.cli(&["ctl", "restart", "--json"]);
    assert_eq!(code, 1);
    let body: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
    assert_eq!(body["ok"], false, "{body}");
    assert!(body["stderr"].to_string().contains("not today"), "{body}");
    assert_eq!(pids(&server), before);
    assert_eq!(generations(&server), [1, 1]);
    assert_eq!(server.get("/").text(), "good");
    fs::write(server.path("app/app.py"), APP.replace("good", "better")).unwrap();
    done(&server, &["restart"]);
    assert_eq!(server.get("/").text(), "better");
}

#[test]
fn a_reload_answers_as_an_attempt() {
    let server = Setup::python(APP).workers(1).start();
    let applied = server.control_post("/control/reload", "", "{}");
    assert_eq!(applied.status, 200);
    let applied = applied.json();
    assert_eq!(applied["result"], "applied", "{applied}");
    assert_eq!((&applied["oldVersion"], &applied["newVersion"]), (&json!(1), &json!(2)));
    for name in ["id", "source", "code", "details", "durationMs"] {
        assert!(applied.get(name).is_some(), "{name} in {applied}");
    }
    fs::write(server.path("app/app.py"), BROKEN).unwrap();
    let rejected = server.control_post("/control/reload", "", "");
    assert_eq!(rejected.status, 409);
    let rejected = rejected.json();
    assert_eq!((&rejected["ok"], &rejected["result"]), (&json!(false), &json!("rejected")));
    assert_eq!(rejected["id"].as_u64(), applied["id"].as_u64().map(|id| id + 1), "{rejected}");
}

#[test]
fn a_paused_app_holds_its_requests_and_answers_them_all_when_it_goes_on() {
    let server = Setup::builtin("hello").workers(2).start();
    server.wait_for_workers(2);
    done(&server, &["ctl", "pause"]);
    assert_eq!(server.app()["paused"], true);
    assert!(done(&server, &["status"]).contains("paused"));
    assert!(done(&server, &["list"]).contains("ready, paused"));
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.request("GET", "/", "", b"");
    }
    eventually("six that wait", || server.queue_depth() == 6);
    assert_eq!(server.inflight(), 0);
    done(&server, &["restart"]);
    assert_eq!(server.queue_depth(), 6, "fresh workers do not end a pause");
    done(&server, &["ctl", "resume", "hello"]);
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(server.app()["paused"], false);
}

#[test]
fn stopping_ends_a_pause() {
    let mut server = Setup::builtin("hello").workers(1).start();
    done(&server, &["ctl", "pause", "hello", "--json"]);
    let mut client = server.connect();
    client.request("GET", "/", "", b"");
    eventually("one that waits", || server.queue_depth() == 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(client.response().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn who_does_not_wait_for_a_stop_is_told_that_it_has_begun() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/g?gate=go", "", b"");
    eventually("one at work", || server.inflight() == 1);
    assert!(done(&server, &["stop", "--no-wait"]).contains("is stopping"));
    assert!(server.is_running());
    server.open_gate("go");
    assert_eq!(client.response().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn scale_returns_when_that_many_are_ready_and_the_others_gone() {
    let server = Setup::recorder().workers(1).start();
    done(&server, &["ctl", "scale", "app", "4"]);
    assert_eq!(server.ready_workers().len(), 4);
    let app = server.app();
    assert_eq!((&app["workers"], &app["maxInflight"]), (&json!(4), &json!(4)), "{app}");
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.request("GET", "/g?gate=go", "", b"");
    }
    eventually("four at work", || server.inflight() == 4);
    std::thread::scope(|scope| {
        let scaled = scope.spawn(|| done(&server, &["ctl", "scale", "2"]));
        eventually("two that leave", || server.ready_workers().len() == 2);
        assert!(!scaled.is_finished(), "they still have requests");
        server.open_gate("go");
        scaled.join().unwrap();
    });
    assert_eq!(server.workers().len(), 2);
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    done(&server, &["ctl", "scale", "2"]);
    assert_eq!(server.app()["workers"], 2);
}

#[test]
fn a_scale_whose_workers_do_not_start_fails_and_comes_true_when_they_do() {
    let server = Setup::python(APP).workers(1).flag("--restart-backoff-ms", 100).start();
    fs::write(server.path("app/app.py"), BROKEN).unwrap();
    fails(&server, &["ctl", "scale", "2"], 1, &["2 workers", "RuntimeError: not today"]);
    assert_eq!(server.get("/").text(), "good");
    fs::write(server.path("app/app.py"), APP).unwrap();
    server.wait_for_workers(2);
}

#[test]
fn drain_returns_when_the_process_is_gone() {
    let server = Setup::recorder().workers(2).start();
    server.wait_for_workers(2);
    let mut client = server.connect();
    client.request("GET", "/g?gate=go", "", b"");
    eventually("one at work", || server.inflight() == 1);
    let busy = server.workers().into_iter().find(|worker| worker["inflight"] == 1).unwrap();
    let (name, pid) = (format!("w{}", busy["workerId"]), busy["pid"].as_u64().unwrap());
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| done(&server, &["ctl", "drain", &name]));
        eventually("it is draining", || {
            let workers = server.workers();
            workers.iter().any(|worker| worker["pid"] == pid && worker["state"] == "draining")
        });
        assert!(!drained.is_finished(), "it still has a request");
        assert_eq!(server.ready_workers().len(), 2, "its replacement came first");
        server.open_gate("go");
        let output = drained.join().unwrap();
        assert!(output.contains(&name), "{output}");
    });
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(client.response().status, 200);
    fails(&server, &["ctl", "drain", &name], 1, &["there is no worker", &name]);
    fails(&server, &["ctl", "drain", "some"], 2, &["w3"]);
}

#[test]
fn who_does_not_wait_is_told_that_it_has_begun_and_who_waits_too_long_that_it_goes_on() {
    let server = gated(2);
    let output = done(&server, &["restart", "--no-wait"]);
    assert!(output.contains("g2"), "{output}");
    eventually("a roll", || server.app()["rolling"]["generation"] == 2);
    let app = server.app();
    assert_eq!(
        (&app["rolling"]["wanted"], &app["rolling"]["old"]),
        (&json!(2), &json!(2)),
        "{app}"
    );
    assert!(done(&server, &["list"]).contains("rolling 0/2"));
    fails(&server, &["restart", "--timeout", "0.2"], 1, &["not done after 200ms", "goes on"]);
    server.open_gate("start");
    eventually("both rolls", || {
        server.app()["rolling"].is_null() && server.app()["generation"] == 3
    });
    assert_eq!(generations(&server), [3, 3]);
}

#[test]
fn a_restart_during_a_roll_follows_it_at_once() {
    let server = gated(1);
    done(&server, &["restart", "--no-wait"]);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| server.cli(&["restart", "--json", "--timeout", "30"]));
        eventually("a roll", || server.app()["rolling"]["generation"] == 2);
        server.open_gate("start");
        let (code, output) = second.join().unwrap();
        assert_eq!(code, 0, "{output}");
    });
    let recent = server.control_get("/events?follow=false").json();
    let at = |name: &str, generation: u64| {
        let mut events = recent["events"].as_array().unwrap().iter();
        let found = events.find(|e| e["event"] == name && e["generation"] == generation);
        found.map(|event| event["t"].as_str().unwrap().to_owned()).unwrap()
    };
    // Nothing else happened that could have begun it: not a probe, not a question.
    let gap = millis(&at("roll_start", 3)) - millis(&at("roll_done", 2));
    assert!(gap < 1000, "{gap} ms");
}

/// Milliseconds of the day.
fn millis(time: &str) -> i64 {
    let (_, clock) = time.split_once('T').unwrap();
    let mut parts = clock.trim_end_matches('Z').split([':', '.']).map(|part| part.parse::<i64>());
    let mut next = || parts.next().unwrap().unwrap();
    ((next() * 60 + next()) * 60 + next()) * 1000 + next()
}

#[test]
fn a_terminal_is_told_how_far_it_is() {
    let server = gated(2);
    let screen = server.path("screen");
    let program = tools::rip_master().get_program().to_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let mut command = Command::new("script");
            command.args(["--quiet", "--flush", "--return", "--command"]);
            command.arg(format!("{program} restart")).arg(&screen);
            command.env("XDG_RUNTIME_DIR", server.path("run")).env("TERM", "xterm");
            command.env("RIP_NAME", server.name());
            tools::finish(&mut command)
        });
        let shown = || fs::read_to_string(&screen).unwrap_or_default();
        eventually("progress", || shown().contains("\rrolling 0/2 …\x1b[K"));
        server.open_gate("start");
        assert_eq!(waits.join().unwrap().status.code(), Some(0));
        let shown = shown();
        let (_, last) = shown.rsplit_once("\r\x1b[K").expect("the line is gone at the end");
        assert!(last.starts_with("app runs g2 in 2 fresh workers"), "{shown:?}");
    });
}

#[test]
fn waiting_for_a_master_that_ends_is_a_failure_with_a_sentence() {
    let mut server = gated(1);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.cli(&["restart"]));
        eventually("a roll", || !server.app()["rolling"].is_null());
        server.signal(Signal::SIGTERM);
        let (code, output) = waits.join().unwrap();
        assert_eq!(code, 1, "{output}");
        assert!(output.contains("aborted") && output.contains("ending"), "{output}");
    });
    server.exit_code();

    let mut server = gated(1);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| server.cli(&["restart"]));
        eventually("a roll", || !server.app()["rolling"].is_null());
        server.signal(Signal::SIGKILL);
        let (code, output) = waits.join().unwrap();
        assert_eq!(code, 1, "{output}");
        assert!(output.contains("whether restart was done is not known"), "{output}");
    });
    server.kill();
}

#[test]
fn wrong_orders_are_refused_with_what_there_is() {
    let server = Setup::builtin("hello").workers(1).start();
    for verb in
        [&["restart", "other"][..], &["ctl", "pause", "other"], &["ctl", "scale", "other", "2"]]
    {
        fails(&server, verb, 1, &["no app called 'other'", "hello"]);
    }
    fails(&server, &["ctl", "scale", "many"], 2, &["many", "for example"]);
    fails(&server, &["ctl", "scale", "0"], 2, &["between 1 and"]);
    fails(&server, &["ctl", "scale"], 2, &["<N>"]);
    fails(&server, &["ctl", "resum"], 2, &["resume"]);
    assert_eq!(server.control_post("/control/scale", "", r#"{"workers":0}"#).status, 400);
    assert_eq!(server.control_post("/control/restart", "", r#"{"app":"x"}"#).status, 404);
    assert_eq!(server.control_get("/control/restart").status, 405);
}

/// The next event of a stream, its number first.
fn next_event(client: &mut Client) -> (u64, Value) {
    until("an event", || {
        let chunk = String::from_utf8(client.chunk()?).unwrap();
        let part = |name| chunk.lines().find_map(|line: &str| line.strip_prefix(name));
        let id = part("id: ")?.parse().unwrap();
        let event: Value = serde_json::from_str(part("data: ")?).unwrap();
        assert_eq!(part("event: "), event["event"].as_str());
        Some((id, event))
    })
}

#[test]
fn events_are_followed_with_numbers_to_come_back_by() {
    let server = Setup::builtin("hello").workers(1).start();
    let mut stream = server.control();
    stream.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = stream.head();
    assert_eq!(head.status, 200);
    let kind = head.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    assert_eq!(kind.map(|(_, value)| value.as_str()), Some("text/event-stream"));
    let (mut others, _) = (server.control(), done(&server, &["restart"]));
    let mut seen = vec![next_event(&mut stream)];
    while seen.last().unwrap().1["event"] != "roll_done" {
        seen.push(next_event(&mut stream));
    }
    let names: Vec<_> = seen.iter().map(|(_, event)| event["event"].as_str().unwrap()).collect();
    assert_eq!(names[..2], ["control", "roll_start"], "who ordered it comes first: {names:?}");
    assert!(names.contains(&"worker_ready") && names.contains(&"worker_exit"), "{names:?}");
    assert!(seen.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "without a gap: {seen:?}");
    others.send(format!("GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {}\r\n\r\n", seen[0].0));
    others.head();
    let again = until("what was missed", || {
        let chunk = String::from_utf8(others.chunk()?).unwrap();
        chunk.contains("id: ").then_some(chunk)
    });
    assert!(again.contains("event: worker_ready") && again.contains("event: roll_done"), "{again}");
    let recent = server.control_get("/events?follow=false").json();
    assert_eq!(recent["followers"], 2, "{recent}");
    assert_eq!(recent["events"][0]["event"], "server_start", "{recent}");
}

#[test]
fn there_is_a_limit_to_followers_and_it_is_said() {
    let server = Setup::builtin("hello").workers(1).start();
    let mut followers: Vec<_> = (0..256).map(|_| server.control()).collect();
    for follower in &mut followers {
        follower.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(follower.head().status, 200);
    }
    assert_eq!(server.control_get("/events").status, 503);
    fails(&server, &["ctl", "events", "--follow"], 1, &["256 follow already"]);
    done(&server, &["restart"]);
    drop(followers);
    eventually("room", || server.control_get("/events?follow=false").json()["followers"] == 0);
}

#[test]
fn the_command_line_follows_a_roll_until_the_master_stops() {
    let mut server = Setup::builtin("hello").workers(2).start();
    server.wait_for_workers(2);
    std::thread::scope(|scope| {
        let people = scope.spawn(|| done(&server, &["ctl", "events", "--follow"]));
        let programs = scope.spawn(|| done(&server, &["ctl", "events", "--follow", "--json"]));
        eventually("two followers", || {
            server.control_get("/events?follow=false").json()["followers"] == 2
        });
        done(&server, &["restart"]);
        let recent = done(&server, &["ctl", "events"]);
        assert!(recent.contains(" roll_done app=hello generation=2"), "{recent}");
        server.signal(Signal::SIGTERM);
        let text = people.join().unwrap();
        for event in ["roll_start app=hello generation=2", "roll_done", "server_stop reason=TERM"] {
            assert!(text.contains(event), "{event} in {text}");
        }
        let lines = programs.join().unwrap();
        let names: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names[..2], ["control", "roll_start"], "who ordered it comes first: {names:?}");
        assert_eq!(names.last().map(String::as_str), Some("server_stop"), "{names:?}");
    });
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn signals_add_and_remove_a_worker_and_roll() {
    let server = Setup::builtin("hello").workers(1).start();
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(2);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(3);
    server.signal(Signal::SIGTTOU);
    eventually("two workers", || server.workers().len() == 2 && server.app()["workers"] == 2);
    server.signal(Signal::SIGTTOU);
    eventually("one worker", || server.workers().len() == 1 && server.app()["workers"] == 1);
    server.signal(Signal::SIGTTOU);
    // Signals are taken in turn: this roll comes after what the one before it did.
    server.signal(Signal::SIGHUP);
    server.wait_for_log("roll_done app=hello generation=2");
    assert_eq!(generations(&server), [2], "never below one");
    server.wait_for_log("roll_start app=hello generation=2 reason=HUP");
}

#[test]
fn an_app_in_a_crash_loop_is_shown_as_such_and_as_well_when_it_recovers() {
    let server = Setup::python(APP)
        .workers(1)
        .flag("--max-restarts", 1)
        .flag("--restart-backoff-ms", 50)
        .start();
    fs::write(server.path("app/app.py"), BROKEN).unwrap();
    let pid = server.workers()[0]["pid"].as_u64().unwrap();
    crate::harness::processes::signal(u32::try_from(pid).unwrap(), Signal::SIGKILL);
    eventually("it is given up", || server.app()["state"] == "abandoned");
    assert!(done(&server, &["list"]).contains("abandoned"));
    fails(&server, &["status"], 1, &["degraded", "app is abandoned", "last exit"]);
    fs::write(server.path("app/app.py"), APP).unwrap();
    done(&server, &["restart"]);
    assert_eq!(server.app()["state"], "ready");
    assert!(done(&server, &["status"]).contains("healthy"));
}
