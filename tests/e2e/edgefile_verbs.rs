//! The verbs about a running master's configuration, as people and programs use them.

use crate::harness::{Server, Setup, wait};
use serde_json::{Value, json};
use std::fs;

const RIGHT: &str = "\
version 1
edge { http \"127.0.0.1:PORT\" }
app \"api\" {
    entry \"builtin:hello\"
    workers 1
}
site \"*\" { route \"/*\" { to-app \"api\" } }
";

/// A server whose Edgefile is taken up when it is told to.
fn server() -> Server {
    Setup::edgefile(RIGHT).word("--no-watch").start()
}

fn edit(server: &Server, from: &str, to: &str) {
    let path = server.path("app/Edgefile");
    let text = fs::read_to_string(&path).expect("the Edgefile");
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replace(from, to)).expect("the Edgefile");
}

#[track_caller]
fn done(server: &Server, arguments: &[&str]) -> String {
    let (code, output) = server.cli(arguments);
    assert_eq!(code, 0, "{arguments:?}: {output}");
    output
}

#[track_caller]
fn refused(server: &Server, arguments: &[&str], said: &[&str]) {
    let (code, output) = server.cli(arguments);
    assert_eq!(code, 1, "{arguments:?}: {output}");
    for word in said {
        assert!(output.contains(word), "{arguments:?}: {word} in {output}");
    }
}

fn body(server: &Server, arguments: &[&str]) -> Value {
    let output = done(server, arguments);
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn a_plan_says_what_the_reload_then_does() {
    let server = server();
    assert_eq!(done(&server, &["plan"]), "nothing changes\n");
    edit(&server, "workers 1", "workers 2");
    let change = "app api scaled: 1 to 2 workers";
    assert_eq!(done(&server, &["plan"]), format!("{change}\n"));
    assert_eq!(server.ready_workers().len(), 1, "a plan does nothing");
    let told = done(&server, &["reload"]);
    assert!(told.starts_with("version 2 is active") && told.contains(change), "{told}");
    server.wait_for_workers(2);
    assert_eq!(body(&server, &["ctl", "config", "--json"])["apps"][0]["workers"], 2);
    let told = done(&server, &["ctl", "config"]);
    assert!(told.starts_with("version 2 of ") && told.contains("builtin:hello"), "{told}");

    let told = done(&server, &["ctl", "rollback"]);
    assert!(told.contains("app api scaled: 2 to 1 workers"), "{told}");
    wait::eventually("one worker", || server.ready_workers().len() == 1);
    let told = done(&server, &["ctl", "history"]);
    assert_eq!(
        told.lines().count(),
        6,
        "what is active, a heading, the start, two attempts: {told}"
    );
    let attempts = body(&server, &["ctl", "history", "--json"]);
    assert_eq!(attempts["attempts"].as_array().map(Vec::len), Some(3), "{attempts}");
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_told_whole() {
    let server = server();
    edit(&server, "workers 1", "wrokers 1; concurency 2");
    let wrong = ["invalid", "`wrokers`", "`concurency`"];
    refused(&server, &["plan"], &wrong);
    refused(&server, &["reload"], &[&wrong[..], &["was rejected", "version 1 stays"]].concat());
    let (code, output) = server.cli(&["reload", "--json"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.starts_with('{') && output.contains(r#""result":"rejected""#), "{output}");
    assert!(done(&server, &["ctl", "history"]).contains("rejected"));
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.ready_workers().len(), 1);
}

#[test]
fn hosts_come_and_go() {
    let server = server();
    let told = done(&server, &["add", "a.example.com"]);
    assert!(told.starts_with("a.example.com is served until the master restarts"), "{told}");
    let told = done(&server, &["add", "b.example.com", "builtin:echo"]);
    assert!(told.contains("app echo started"), "{told}");
    let hosts = done(&server, &["ctl", "hosts"]);
    assert!(hosts.contains("a.example.com") && hosts.contains("from builtin:echo"), "{hosts}");
    let found = body(&server, &["ctl", "hosts", "--json"]);
    assert_eq!(found["apps"]["echo"], json!(["b.example.com"]), "{found}");
    refused(&server, &["add", "b.example.com", "api"], &["b.example.com"]);
    refused(&server, &["add", "c.example.com", "nothing"], &["nothing", "api"]);
    refused(&server, &["add", "c.example.com", "/nowhere/app.py"], &["/nowhere/app.py"]);
    done(&server, &["reload"]);
    assert!(done(&server, &["ctl", "hosts"]).contains("b.example.com"), "it survives a reload");
    done(&server, &["remove", "b.example.com"]);
    assert!(!done(&server, &["ctl", "hosts"]).contains("b.example.com"));
    refused(&server, &["remove", "b.example.com"], &["b.example.com"]);
}

#[test]
fn an_order_that_is_not_waited_for_has_begun() {
    let server = server();
    edit(&server, "workers 1", "workers 2");
    assert_eq!(done(&server, &["reload", "--no-wait"]), "the reload has begun\n");
    server.wait_for_workers(2);
    let told = done(&server, &["add", "a.example.com", "api", "--no-wait"]);
    assert_eq!(told, "the addition has begun\n");
}
