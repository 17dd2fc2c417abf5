//! What the server writes: one line a request, one a lifecycle event, and its workers' own words.

use crate::harness::{Server, Setup, until};
use serde_json::Value;

#[test]
fn every_request_is_one_line_for_people() {
    let server = Setup::recorder().workers(1).start();
    let response =
        server.request("GET", "/users/42?secret=1&size=1234", "X-Request-Id: mine\r\n", b"");
    assert_eq!(response.status, 200);
    let line = line_with(&server, "mine");
    for part in ["│", " 200 ", "GET /users/42", "w1", "mine", "1.2K"] {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    assert!(!line.contains("secret"), "the query is private: {line}");
}

#[test]
fn every_request_is_one_object_for_programs() {
    let server = Setup::recorder().workers(1).word("--json-logging").start();
    let target = "/x?size=10&field=Rip-Mark:%20blue";
    let response = server.request("POST", target, "X-Request-Id: mine\r\n", b"four");
    assert_eq!(response.status, 200);
    let line: Value = serde_json::from_str(&line_with(&server, "\"mine\"")).unwrap();
    for (name, value) in [
        ("id", "mine".into()),
        ("ip", "127.0.0.1".into()),
        ("host", "a.test".into()),
        ("worker", 1.into()),
        ("method", "POST".into()),
        ("path", "/x".into()),
        ("status", 200.into()),
        ("bytesIn", 4.into()),
        ("bytesOut", 10.into()),
        ("mark", Value::from("blue")),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    for name in ["t", "app", "totalSeconds", "queueSeconds", "workerSeconds", "type"] {
        assert!(!line[name].is_null(), "{name} in {line}");
    }
    assert!(line["totalSeconds"].as_f64().unwrap() >= line["workerSeconds"].as_f64().unwrap());
}

#[test]
fn the_time_in_the_queue_is_told_apart_from_the_time_at_the_worker() {
    let server = Setup::recorder().workers(1).word("--json-logging").start();
    let mut first = server.connect();
    first.request("GET", "/first?sleep=0.3", "", b"");
    server.wait_for_seen("/first?sleep=0.3");
    let response = server.request("GET", "/second", "X-Request-Id: waited\r\n", b"");
    assert_eq!(response.status, 200);
    let line: Value = serde_json::from_str(&line_with(&server, "\"waited\"")).unwrap();
    assert!(line["queueSeconds"].as_f64().unwrap() > 0.1, "{line}");
    assert!(line["workerSeconds"].as_f64().unwrap() < 0.3, "{line}");
    assert_eq!(first.response().status, 200);
}

#[test]
fn what_the_edge_answers_and_refuses_is_in_the_log_too() {
    let server = Setup::recorder().workers(1).flag("--read-timeout-ms", 200).start();
    server.request("GET", "/server", "X-Request-Id: builtin\r\n", b"");
    server.request("TRACE", "/t", "X-Request-Id: refused\r\n", b"");
    server.request("GET", "/slow?gate=go", "X-Request-Id: late\r\n", b"");
    server.open_gate("go");
    for (id, status) in [("builtin", " 200 "), ("refused", " 405 "), ("late", " 504 ")] {
        let line = line_with(&server, id);
        assert!(line.contains(status), "{line}");
    }
    let mut gone = server.connect();
    gone.request("GET", "/gone?gate=later", "X-Request-Id: gone\r\n", b"");
    server.wait_for_seen("/gone?gate=later");
    gone.reset();
    assert!(line_with(&server, "gone").contains(" 499 "));
    server.open_gate("later");
}

#[test]
fn an_app_can_keep_a_request_out_of_the_log() {
    let server = Setup::recorder().workers(1).start();
    let quiet = "/quiet?field=Rip-No-Log:%201";
    let response = server.request("GET", quiet, "X-Request-Id: hushed\r\n", b"");
    assert!(response.values("rip-no-log").is_empty());
    server.request("GET", "/loud", "X-Request-Id: loud\r\n", b"");
    line_with(&server, "loud");
    assert!(!server.log().contains("hushed"));
}

#[test]
fn the_access_log_can_be_turned_off() {
    let server = Setup::recorder().workers(1).word("--no-access-log").start();
    server.request("GET", "/x", "X-Request-Id: hushed\r\n", b"");
    assert_eq!(server.cli(&["ctl", "workers"]).0, 0);
    let mut server = server;
    assert_eq!(server.stop(), 0);
    assert!(!server.log().contains("hushed"));
    assert!(server.log().contains("server_stop"), "events are still told");
}

#[test]
fn workers_speak_with_their_name_in_front() {
    let server = Setup::recorder().workers(2).start();
    server.wait_for_workers(2);
    for worker in ["w1", "w2"] {
        let line = until("the worker's line", || {
            let log = server.log();
            log.lines()
                .find(|line| line.contains("recorder starts") && line.contains(worker))
                .map(str::to_owned)
        });
        assert!(line.starts_with("app[") && line.contains("] "), "{line}");
    }
}

#[test]
fn a_worker_that_talks_without_end_stops_nobody() {
    let script = "import os, socket, threading, sys, time
def talk():
    while True:
        os.write(1, b'x' * 65536)
        os.write(2, b'many words\\n' * 1000)
threading.Thread(target=talk, daemon=True).start()
listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    connection, _ = listener.accept()
    def serve(connection=connection):
        stream = connection.makefile('rb')
        while stream.readline():
            while stream.readline().strip():
                pass
            connection.sendall(b'HTTP/1.1 200 Fine\\r\\nContent-Length: 2\\r\\n\\r\\nok')
    threading.Thread(target=serve, daemon=True).start()
";
    let server = Setup::command(&[&crate::harness::tools::python(), "app.py"])
        .with_file("app.py", script)
        .workers(1)
        .start();
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.ask("GET", "/").text(), "ok");
    }
}

#[test]
fn the_life_of_the_server_is_told_in_events() {
    let mut server = Setup::recorder()
        .workers(1)
        .word("--json-logging")
        .flag("--restart-backoff-ms", 20)
        .start();
    assert_eq!(server.request("POST", "/die?die=before", "", b"").status, 502);
    assert_eq!(server.get("/next").text(), "worker 2\n");
    assert_eq!(server.stop(), 0);
    let events: Vec<Value> = server
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["event"].is_string())
        .collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let mut rest = names.iter();
    for name in [
        "server_start",
        "worker_start",
        "worker_ready",
        "server_ready",
        "worker_exit",
        "worker_restart",
        "worker_start",
        "worker_ready",
        "worker_exit",
        "server_stop",
    ] {
        if name == "server_ready" {
            assert!(names.contains(&name), "{names:?}");
            continue;
        }
        assert!(rest.any(|found| *found == name), "{name} in its place in {names:?}");
    }
    let of = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
    assert!(of("server_start")["t"].is_number() || of("server_start")["t"].is_string());
    assert_eq!(of("server_start")["workers"], 1);
    assert_eq!(of("worker_exit")["expected"], false);
    assert_eq!(of("worker_restart")["backoffMs"], 20);
    let ends: Vec<_> = events.iter().filter(|event| event["event"] == "worker_exit").collect();
    assert_eq!(ends.last().unwrap()["expected"], true);
}

#[test]
fn every_line_of_json_logging_is_json() {
    let mut server = Setup::recorder().workers(1).word("--json-logging").start();
    server.get("/x");
    assert_eq!(server.stop(), 0);
    for line in server.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    assert!(server.log().contains("recorder starts"));
}

#[test]
fn secrets_do_not_appear() {
    let server = Setup::recorder().workers(1).word("--debug").start();
    let fields =
        "Authorization: Bearer hunter2\r\nCookie: session=hunter2\r\nX-Request-Id: mine\r\n";
    server.request("GET", "/x?token=hunter2", fields, b"");
    line_with(&server, "mine");
    assert!(!server.log().contains("hunter2"));
}

fn line_with(server: &Server, text: &str) -> String {
    until(&format!("a line with {text}"), || {
        server.log().lines().find(|line| line.contains(text)).map(str::to_owned)
    })
}
