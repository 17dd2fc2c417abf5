//! The control socket: every verb there is, every refusal, and no belief without the right token.

use crate::harness::{Setup, eventually, tools};
use std::process::Command;

#[test]
fn every_question_is_answered_with_json() {
    let server = Setup::builtin("hello").workers(2).concurrency(3).start();
    server.wait_for_workers(2);
    for target in ["/workers", "/apps", "/registry", "/status"] {
        let response = server.control_get(target);
        assert_eq!(response.status, 200, "{target}");
        assert!(response.field("content-type").starts_with("application/json"), "{target}");
        response.json();
    }
    let worker = &server.workers()[0];
    for name in [
        "appId",
        "workerId",
        "socketPath",
        "inflight",
        "version",
        "state",
        "startedAt",
        "requestCount",
        "pid",
        "appPid",
        "generation",
        "rssBytes",
    ] {
        assert!(worker.get(name).is_some_and(|value| !value.is_null()), "{name} in {worker}");
    }
    assert_eq!(worker["generation"], worker["version"]);
    assert!(worker.get("lastExit").is_some(), "{worker}");
    let app = server.app();
    for name in [
        "id",
        "entry",
        "workers",
        "concurrency",
        "maxQueue",
        "maxInflight",
        "state",
        "ready",
        "generation",
        "inflight",
        "queueDepth",
        "restarts",
        "abandoned",
    ] {
        assert!(app.get(name).is_some(), "{name} in {app}");
    }
    assert_eq!(
        (&app["ready"], &app["concurrency"], &app["maxInflight"]),
        (&2.into(), &3.into(), &6.into())
    );
    let registry = server.control_get("/registry").json();
    assert!(registry["hosts"].is_array() && registry["apps"].is_object(), "{registry}");
    let status = server.control_get("/status").json();
    assert_eq!(status["status"], "healthy", "{status}");
    assert_eq!(status["workers"], 2, "{status}");
}

#[test]
fn curl_can_ask_over_the_unix_socket() {
    let server = Setup::builtin("hello").workers(1).start();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--unix-socket"]);
    curl.arg(server.runtime().join("ctl.sock")).arg("http://rip/workers");
    let output = tools::finish(&mut curl);
    assert!(output.status.success(), "{}", tools::both(&output));
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["ok"], true);
}

#[test]
fn requests_are_counted_by_worker() {
    let server = Setup::builtin("hello").workers(1).start();
    let before = server.workers()[0]["requestCount"].as_u64().unwrap();
    for _ in 0..5 {
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(server.workers()[0]["requestCount"].as_u64().unwrap(), before + 5);
}

#[test]
fn what_is_unknown_is_404_and_what_is_not_json_is_400() {
    let server = Setup::builtin("hello").workers(1).start();
    let refused = |status: u16, response: crate::harness::Response| {
        assert_eq!(response.status, status, "{response:?}");
        let body = response.json();
        assert_eq!(body["ok"], false, "{body}");
        assert!(!body["error"].as_str().unwrap().is_empty(), "{body}");
    };
    refused(404, server.control_get("/nowhere"));
    refused(404, server.control_post("/control/nowhere", "", "{}"));
    for body in ["", "{", "[]", "\"join\"", "{\"op\":\"dance\"}", "{\"op\":\"join\"}"] {
        refused(400, server.control_post("/worker", "", body));
    }
    assert_eq!(server.control().ask("DELETE", "/workers").status, 405);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn nobody_joins_or_quits_without_the_token_of_the_spawn() {
    let server = Setup::recorder().workers(1).start();
    let worker = server.workers().remove(0);
    let app = worker["appId"].as_str().unwrap();
    let quit = |id: u64, generation: u64| {
        format!(r#"{{"op":"quit","workerId":{id},"generation":{generation},"appId":"{app}"}}"#)
    };
    let join = |id: u64, generation: u64| {
        format!(
            r#"{{"op":"join","workerId":{id},"generation":{generation},"version":{generation},
                "pid":1,"appPid":1,"socket":"/tmp/evil.sock","appId":"{app}","keepAlive":true}}"#
        )
    };
    let generation = worker["generation"].as_u64().unwrap();
    let wrong = format!("Authorization: Bearer {}\r\n", "0".repeat(64));
    for fields in ["", wrong.as_str(), "Authorization: Basic eDp5\r\n"] {
        for body in [
            quit(1, generation),
            join(1, generation),
            quit(1, generation + 1),
            join(77, generation),
            quit(0, 0),
        ] {
            let response = server.control_post("/worker", fields, &body);
            assert_eq!(response.status, 403, "{body}");
            assert_eq!(response.json()["ok"], false);
        }
    }
    server.wait_for_log("worker_refused");
    assert_eq!(server.get("/after").text(), "worker 1\n");
    assert_eq!(server.ready_workers().len(), 1);
}

#[test]
fn a_worker_that_wants_to_leave_ends_after_its_last_answer() {
    let setup = Setup::recorder().workers(1).concurrency(2);
    std::fs::write(setup.path("record").join("old"), "").unwrap();
    let server = setup.start();
    let mut last = server.connect();
    last.request("GET", "/last?gate=go", "", b"");
    server.wait_for_seen("/last?gate=go");
    let mut moved = server.connect();
    moved.request("GET", "/moved?draining=old", "", b"");
    eventually("the worker to drain", || {
        server.workers().iter().any(|w| w["workerId"] == 1 && w["state"] == "draining")
    });
    server.close_gate("old");
    assert_eq!(moved.response().text(), "worker 2\n");
    assert!(server.workers().iter().any(|w| w["workerId"] == 1), "its lease holds it");
    server.open_gate("go");
    assert_eq!(last.response().text(), "worker 1\n");
    eventually("its end", || server.workers().iter().all(|w| w["workerId"] != 1));
    eventually("the event of its end", || {
        let log = server.log();
        log.lines().any(|line| line.contains("worker_exit") && line.contains("expected=true"))
    });
}

#[test]
fn an_app_can_ask_for_its_own_replacement() {
    let app = tools::app("recorder.py");
    let script = format!(
        "(while [ ! -e \"$RECORD/retire-$RIP_WORKER_ID\" ]; do sleep 0.02; done; \
          echo STOPPING=1 >&$RIP_STATUS_FD) & exec {} -S -I {app}",
        tools::python()
    );
    let setup = Setup::command(&["sh", "-c", &script]).workers(1);
    let record = setup.path("record");
    std::fs::create_dir(&record).unwrap();
    let server = setup.env("RECORD", record).start();
    assert_eq!(server.get("/").text(), "worker 1\n");
    server.open_gate("retire-1");
    eventually("the replacement", || {
        let ready = server.ready_workers();
        ready.len() == 1 && ready[0]["workerId"] == 2
    });
    assert_eq!(server.get("/").text(), "worker 2\n");
    assert!(!server.log().contains("worker_restart"), "asking to leave is no crash");
    server.open_gate("retire-2");
    eventually("the next replacement", || {
        server.ready_workers().iter().any(|worker| worker["workerId"] == 3)
    });
}

#[test]
fn events_are_told_as_they_happen() {
    let server = Setup::recorder().workers(1).flag("--restart-backoff-ms", 20).start();
    let mut listener = server.control();
    listener.request("GET", "/events", "Accept: text/event-stream\r\n", b"");
    assert_eq!(listener.head().status, 200);
    assert_eq!(server.request("POST", "/die?die=before", "", b"").status, 502);
    let mut told = String::new();
    for name in ["worker_exit", "worker_restart", "worker_start", "worker_ready"] {
        while !told.contains(name) {
            let chunk = listener.chunk().expect("the stream goes on");
            told += &String::from_utf8(chunk).unwrap();
        }
    }
    let events = told.lines().filter_map(|line| line.strip_prefix("data: "));
    for event in events {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert!(event["event"].is_string() && !event["t"].is_null(), "{event}");
    }
    drop(listener);
    assert_eq!(server.get("/after").status, 200);
}

#[test]
fn bad_bytes_and_slow_talkers_do_not_stop_the_control_socket() {
    let server = Setup::builtin("hello").workers(1).start();
    let mut half = server.control();
    half.send("GET /workers HT");
    let mut garbage = server.control();
    garbage.send("\0\0\0 not http\r\n\r\n");
    let mut huge = server.control();
    let _ = huge.try_send(format!(
        "POST /worker HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        64 * 1024 * 1024
    ));
    assert_eq!(huge.response().status, 413);
    assert_eq!(server.workers().len(), 1);
    half.send("TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(half.response().status, 200);
}

#[test]
fn stopping_over_the_control_socket_is_graceful() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/last?gate=go", "", b"");
    server.wait_for_seen("/last?gate=go");
    let response = server.control_post("/control/stop", "", "{}");
    assert_eq!(response.status, 200);
    server.open_gate("go");
    assert_eq!(client.response().status, 200);
    assert_eq!(server.exit_code(), 0);
}
