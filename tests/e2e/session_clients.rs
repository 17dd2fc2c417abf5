//! Clients of sessions that people use: httpx, fetch, a browser's EventSource, our own in JavaScript;
//! and the agent that newcomers are shown.

use crate::harness::session::{Ask, Session};
use crate::harness::{Server, Setup, eventually, tools};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs a client, which must be content.
#[track_caller]
fn is_fine(client: &mut Command, server: &Server) {
    let output = tools::finish_within(client, Duration::from_secs(180));
    assert_eq!(tools::both(&output), "fine\n", "{}", server.log());
}

fn base(server: &Server) -> String {
    format!("http://127.0.0.1:{}/", server.port())
}

/// A script for node.
fn node(script: impl AsRef<Path>) -> Command {
    let modules = tools::cache().join("node/node_modules");
    assert!(modules.join("typescript").exists(), "typescript is missing: run scripts/setup");
    let mut node = Command::new("node");
    node.arg(script.as_ref()).env("NODE_PATH", modules);
    node
}

/// A script of tests/browser.
fn browser(script: &str, server: &Server) -> Command {
    let mut node = node(tools::repository().join("tests/browser").join(script));
    node.arg(base(server)).env("HOME", server.path("app"));
    node
}

#[test]
fn httpx_is_content() {
    let server = Server::of_turns();
    let mut client = Command::new(tools::python());
    is_fine(client.arg(tools::app("session_httpx.py")).arg(base(&server)), &server);
}

#[test]
fn fetch_is_content() {
    let server = Server::of_turns();
    is_fine(node(tools::app("session_fetch.mjs")).arg(base(&server)), &server);
}

#[test]
fn the_client_in_javascript_survives_connections_that_break() {
    let server = Server::of_turns();
    let mut client = node(tools::app("session_library.mjs"));
    is_fine(client.arg(base(&server)).arg(server.path("record")), &server);
}

#[test]
fn the_client_in_javascript_is_of_one_type() {
    let compiler = tools::cache().join("node/node_modules/typescript/bin/tsc");
    let mut node = node(compiler);
    node.args(["--noEmit", "--allowJs", "--checkJs", "--strict", "--noUncheckedIndexedAccess"]);
    node.args(["--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler"]);
    node.args(["--lib", "es2022,dom,dom.iterable,dom.asynciterable"]);
    node.arg(tools::repository().join("examples/agent/client.js"));
    let output = tools::finish_within(&mut node, Duration::from_secs(120));
    assert_eq!((tools::both(&output).as_str(), output.status.success()), ("", true));
}

#[test]
fn an_event_source_goes_on_across_a_restart_of_the_server_without_gap_or_repetition() {
    let mut server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    // The first attempt ends with the server, in the middle; the second one comes to an end.
    let plan = json!({"attempts": [
        {"steps": ["a", "b", {"many": 300, "size": 100}, {"gate": "never"}]},
        {"steps": ["c", {"many": 300, "size": 100}, {"gate": "end"}, "d"]},
    ]});
    let first = Ask::message(&session, &plan).sse().send(&server);
    server.wait_for_turns(2);
    let begun = server.path("begun");
    let url = session.path(&format!("/events?resume={}&last_event_id=earliest", session.resume));
    let mut command = browser("event_source.cjs", &server);
    command.arg(url).arg(&begun);
    let source =
        std::thread::spawn(move || tools::finish_within(&mut command, Duration::from_secs(120)));
    eventually("the first event in the browser", || begun.exists());
    drop(first);
    server.kill();
    server.start_again();
    server.wait_for_workers(2);
    let second = Ask::message(&session, &plan).send(&server);
    server.wait_for_turns(3);
    server.open_gate("end");
    let mut second = second;
    session.learn(&second.response());

    let output = source.join().expect("the browser");
    let text = tools::both(&output);
    assert!(output.status.success(), "{text}");
    let heard: Vec<Value> = text
        .lines()
        .filter(|line| *line != "fine")
        .map(|line| serde_json::from_str(line).expect("a line of the browser"))
        .collect();
    let data: Vec<Value> = heard
        .iter()
        .map(|message| message["data"].as_str().expect("data"))
        .map(|data| serde_json::from_str(data).expect("an event"))
        .collect();
    assert_eq!(data, session.history(&server), "what the browser heard, and what there is");
    let seqs: Vec<_> = data.iter().map(|event| event["seq"].as_u64()).collect();
    let expected: Vec<_> = (1..=data.len() as u64).map(Some).collect();
    assert_eq!(seqs, expected);
    let ids: Vec<_> = heard.iter().map(|message| message["id"].as_str().expect("an id")).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    let (before, after) = (&ids[0][..4], &ids[ids.len() - 1][..4]);
    assert!(before < after, "another life of the store: {before} {after}");
    let interrupted = data.iter().filter(|event| event["code"] == "interrupted").count();
    assert_eq!(interrupted, 1);
}

#[test]
fn the_agent_answers_waits_and_remembers_in_a_browser() {
    let agent = tools::repository().join("examples/agent");
    let text = |name: &str| fs::read_to_string(agent.join(name)).expect("a file of the example");
    let edgefile = text("Edgefile").replace("http \":8080\"", "http \"127.0.0.1:PORT\"");
    assert!(edgefile.contains("PORT"), "it says where to listen: {edgefile}");
    let mut setup = Setup::edgefile(&edgefile);
    for name in ["app.py", "page.html", "client.js"] {
        setup = setup.with_file(name, &text(name));
    }
    let mut server = setup.start();
    server.wait_for_workers(4);
    let pictures = tools::repository().join("target/artefacts");
    fs::create_dir_all(&pictures).expect("a directory for what CI keeps");
    let mut command = browser("agent.cjs", &server);
    command.arg(pictures.join("agent.png")).arg(server.path("record"));
    let page =
        std::thread::spawn(move || tools::finish_within(&mut command, Duration::from_secs(180)));
    let wish = server.path("record/restart");
    eventually("a wish for a restart", || wish.exists() || page.is_finished());
    if !page.is_finished() {
        assert_eq!(server.stop(), 0);
        server.start_again();
        server.wait_for_workers(4);
        fs::remove_file(wish).expect("the wish is granted");
    }
    let output = page.join().expect("the page");
    assert_eq!(tools::both(&output), "fine\n", "{}", server.log());
    // It was sent once.
    let sent = server.log().matches("to ben@example.com: ").count();
    assert_eq!(sent, 1, "{}", server.log());
}
