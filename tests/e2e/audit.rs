//! Who has ordered what is told, done or refused; and what is told can be followed without a gap.

use crate::harness::{Server, Setup, tools, until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// The orders that were told so far.
fn told(server: &Server) -> Vec<Value> {
    let response = server.control_get("/events?follow=false").json();
    let events = response["events"].as_array().expect("events").clone();
    events.into_iter().filter(|event| event["event"] == "control").collect()
}

#[test]
fn every_order_is_told_with_who_gave_it_and_what_became_of_it() {
    let server = Setup::recorder().workers(1).start();
    let id = server.app()["id"].as_str().expect("an id").to_owned();
    let post = |path: &str, body: &str| server.control_post(path, "", body).status;
    let scale = format!("{{\"app\":{id:?},\"workers\":2}}");
    for (path, body, verb, target, result) in [
        ("/control/pause", "{}", "pause", "", "done"),
        ("/control/resume", "{}", "resume", "", "done"),
        ("/control/pause", "{\"app\":\"none\"}", "pause", "none", "refused"),
        ("/control/scale", &scale, "scale", &format!("{id} 2"), "taken"),
        ("/control/restart", "{\"wait\":false}", "restart", "", "taken"),
        ("/control/drain", "{\"workerId\":4711}", "drain", "w4711", "refused"),
        ("/control/rollback", "{}", "rollback", "", "taken"),
        ("/registry", "{\"host\":\"added.test\"}", "add", "added.test", "taken"),
        ("/watch", "{\"prefix\":\"/site\",\"dirs\":[\".\"]}", "watch", "/site", "done"),
        ("/control/certs/renew", "{\"name\":\"a.test\"}", "certs/renew", "a.test", "refused"),
    ] {
        let before = told(&server).len();
        let status = post(path, body);
        let told = told(&server);
        assert_eq!(told.len(), before + 1, "{path} {body}: {status}");
        let event = told.last().expect("an event");
        assert_eq!(event["verb"], verb, "{event}");
        assert_eq!(event["target"].as_str().unwrap_or_default(), target, "{event}");
        assert_eq!(event["result"], result, "{status}: {event}");
        let own = (nix::unistd::geteuid().as_raw(), std::process::id());
        assert_eq!((&event["uid"], &event["pid"]), (&own.0.into(), &own.1.into()), "{event}");
        assert_eq!(event["by"], "control");
    }
    // Questions, and what is no order, are none.
    let before = told(&server).len();
    for path in ["/apps", "/config", "/history", "/status", "/workers"] {
        assert_eq!(server.control_get(path).status, 200);
    }
    assert_eq!(post("/control/restart", "{"), 400);
    assert_eq!(post("/control/plan", "{}"), 200);
    assert_eq!(told(&server).len(), before);
}

#[test]
fn events_can_be_followed_by_people_and_programs() {
    let mut server = Setup::recorder().workers(1).start();
    let follow = |words: &[&str]| {
        let mut command = tools::rip_master();
        command.args(["ctl", "events", "--follow", "--name", server.name()]).args(words);
        command.env("XDG_RUNTIME_DIR", server.path("run")).stdout(Stdio::piped());
        command.spawn().expect("a follower")
    };
    let mut followers = [follow(&[]), follow(&["--json"])];
    until("both follow", || {
        let count = server.control_get("/events?follow=false").json()["followers"].as_u64();
        (count == Some(2)).then_some(())
    });
    assert_eq!(server.control_post("/control/pause", "", "{}").status, 200);
    assert_eq!(server.control_post("/control/resume", "", "{}").status, 200);
    assert_eq!(server.stop(), 0);
    let mut texts = Vec::new();
    for follower in &mut followers {
        let out = follower.stdout.take().expect("its output");
        let lines: Result<Vec<_>, _> = BufReader::new(out).lines().collect();
        texts.push(lines.expect("text"));
        assert!(follower.wait().expect("its end").success(), "it ends with the server");
    }
    let [people, programs] = texts.try_into().expect("two");
    let names = |line: &String| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event["event"].as_str().expect("a name").to_owned()
    };
    let names: Vec<_> = programs.iter().map(names).collect();
    assert_eq!(names.first().map(String::as_str), Some("control"));
    assert_eq!(names.last().map(String::as_str), Some("server_stop"));
    let people: Vec<_> = people.iter().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(people.len(), names.len());
    for (line, name) in people.iter().zip(&names) {
        assert_eq!(line.split(' ').nth(1), Some(name.as_str()), "the time, and the name: {line}");
    }
}

#[test]
fn a_follower_goes_on_behind_what_it_has_seen() {
    let server = Setup::recorder().workers(1).start();
    let recent = server.control_get("/events?follow=false").json();
    let last = recent["lastId"].as_u64().expect("a number");
    assert_eq!(server.control_post("/control/pause", "", "{}").status, 200);
    assert_eq!(server.control_post("/control/resume", "", "{}").status, 200);
    let mut stream = server.control();
    stream.request("GET", "/events", &format!("Last-Event-ID: {last}\r\n"), b"");
    let head = stream.head();
    assert_eq!(head.status, 200);
    let mut text = String::new();
    while text.matches("data: ").count() < 2 {
        let chunk = stream.chunk().expect("more of it");
        text.push_str(&String::from_utf8(chunk).expect("text"));
    }
    for (id, verb) in [(last + 1, "pause"), (last + 2, "resume")] {
        let frame = format!("id: {id}\nevent: control\n");
        assert!(text.contains(&frame) && text.contains(verb), "{text}");
    }
    let mut stream = server.control();
    stream.request("GET", "/events", "Last-Event-ID: what?\r\n", b"");
    assert_eq!(stream.response().status, 400);
}
