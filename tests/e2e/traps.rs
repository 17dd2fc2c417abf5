//! Mistakes other servers have made, each by its name.

use crate::harness::load::Load;
use crate::harness::{Client, Setup, eventually, processes, tools};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::time::Duration;

#[test]
fn a_join_that_does_not_wake_the_queue() {
    let server = Setup::recorder()
        .env("START_GATE", "go")
        .flag("--queue-timeout-ms", 60_000)
        .workers(1)
        .unawaited()
        .start();
    let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.request("GET", "/waiting", "", b"");
    }
    eventually("a queue", || server.queue_depth() == 5);
    server.open_gate("go");
    for client in &mut clients {
        assert_eq!(client.response().status, 200, "nothing else would wake it");
    }
}

#[test]
fn eviction_of_a_healthy_worker_by_a_clients_mistake() {
    let server = Setup::recorder().workers(1).start();
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nfew");
        client.reset();
        let mut client = server.connect();
        client.request("GET", "/big?size=1000000", "", b"");
        server.wait_for_seen("/big?size=1000000");
        client.reset();
    }
    assert_eq!(server.get("/after").text(), "worker 1\n");
    assert_eq!(server.workers().len(), 1);
}

#[test]
fn a_timed_out_worker_handed_the_next_request_while_still_busy() {
    let server = Setup::recorder()
        .workers(1)
        .flag("--read-timeout-ms", 200)
        .flag("--queue-timeout-ms", 600)
        .start();
    assert_eq!(server.get("/busy?gate=go").status, 504);
    assert_eq!(server.get("/next").status, 504, "it waits in the queue instead");
    assert!(!server.has_seen("/next"));
    server.open_gate("go");
    assert_eq!(server.get("/later").status, 200);
}

#[test]
fn streaming_responses_that_are_not_counted() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/s?count=3&gate_between=go&type=text/event-stream", "", b"");
    assert_eq!(client.head().status, 200);
    assert!(client.chunk().is_some());
    assert_eq!(server.inflight(), 1);
    server.signal(Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    server.open_gate("go1");
    assert!(client.chunk().is_some(), "the stop does not cut it");
    server.open_gate("go2");
    assert!(client.chunk().is_some());
    assert!(client.chunk().is_none());
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn shutdown_that_waits_for_nothing() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("POST", "/slow?sleep=1&text=whole", "", b"x");
    server.wait_for_seen("/slow?sleep=1&text=whole");
    server.signal(Signal::SIGTERM);
    assert_eq!(client.response().text(), "whole");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn orphans_when_the_tracked_pid_is_a_wrapper() {
    let app = tools::app("recorder.py");
    let script = format!("{} -S -I {app} & wait", tools::python());
    let setup = Setup::command(&["sh", "-c", &script]).flag("--kill-timeout-ms", 500);
    let record = setup.path("record");
    std::fs::create_dir(&record).unwrap();
    let mut server = setup.env("RECORD", record).workers(2).start();
    server.wait_for_workers(2);
    assert!(server.processes().len() >= 7, "a master, shims, shells, apps");
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_second_instance_that_takes_over_the_socket_in_silence() {
    let server = Setup::builtin("hello").workers(1).start();
    let socket = server.runtime().join("ctl.sock");
    let before = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&socket).unwrap());
    let (code, _) =
        Setup::builtin("hello").workers(1).env("XDG_RUNTIME_DIR", server.path("run")).fails();
    assert_eq!(code, 1);
    let after = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&socket).unwrap());
    assert_eq!(before, after, "the socket is the first one's own");
    assert_eq!(server.workers().len(), 1);
}

#[test]
fn a_ready_answer_of_200_with_the_truth_in_its_body_is_not_asked_for() {
    let setup = Setup::recorder().workers(1).flag("--start-timeout-ms", 700).unawaited();
    let setup = setup.flag("--restart-backoff-ms", 50).flag("--max-restarts", 1);
    std::fs::write(setup.path("record").join("not-ready"), "").unwrap();
    let server = setup.start();
    server.wait_for_log("worker_abandon");
    assert!(server.seen().is_empty());
    assert_eq!(server.get("/").status, 503, "a worker that answers 500 never joined");
}

#[test]
fn broken_code_counted_as_ready() {
    let server = Setup::python("def application(environ, start_response)\n    pass\n")
        .workers(1)
        .flag("--restart-backoff-ms", 50)
        .flag("--max-restarts", 1)
        .unawaited()
        .start();
    server.wait_for_log("SyntaxError");
    server.wait_for_log("worker_abandon");
    assert!(!server.log().contains("worker_ready"));
}

#[test]
fn a_hangup_without_a_handler_that_kills_the_master() {
    let mut server = Setup::builtin("hello").workers(1).start();
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGPIPE] {
        server.signal(signal);
        assert_eq!(server.get("/").status, 200);
    }
    assert!(server.is_running());
    assert_eq!(server.ready_workers()[0]["workerId"], 1);
}

#[test]
fn redirects_followed_by_the_edge() {
    let server = Setup::recorder().workers(1).start();
    let response = server.get("/old?status=302&field=Location:%20/new");
    assert_eq!((response.status, response.field("location")), (302, "/new"));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_request_id_lost_on_queued_requests() {
    let server = Setup::recorder().workers(1).start();
    let mut first = server.connect();
    first.request("GET", "/first?gate=go", "", b"");
    server.wait_for_seen("/first?gate=go");
    let mut queued = server.connect();
    queued.request("GET", "/queued", "X-Request-Id: kept\r\n", b"");
    eventually("a queued request", || server.queue_depth() == 1);
    server.open_gate("go");
    assert_eq!(queued.response().field("x-request-id"), "kept");
    assert_eq!(server.seen()[1].values("x-request-id"), ["kept"]);
    assert_eq!(first.response().status, 200);
}

#[test]
fn a_post_run_twice_by_a_retry() {
    let server = Setup::recorder().workers(2).flag("--restart-backoff-ms", 50).start();
    server.wait_for_workers(2);
    for target in ["/pay?drop=before", "/pay?die=before"] {
        let response = server.request("POST", target, "", b"100");
        assert_eq!(response.status, 502);
        assert_eq!(server.seen().iter().filter(|line| line.target() == target).count(), 1);
    }
}

#[test]
fn failures_of_the_edge_missing_from_the_log() {
    let server = Setup::recorder().workers(1).flag("--max-queue", 0).start();
    let mut first = server.connect();
    first.request("GET", "/first?gate=go", "", b"");
    server.wait_for_seen("/first?gate=go");
    let response = server.request("GET", "/shed", "X-Request-Id: shed-1\r\n", b"");
    assert_eq!(response.status, 503);
    server.wait_for_log("shed-1");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("shed-1")).unwrap();
    assert!(line.contains(" 503 "), "{line}");
    server.open_gate("go");
    assert_eq!(first.response().status, 200);
}

#[test]
fn command_line_tokens_taken_for_the_apps_name() {
    let server = Setup::builtin("hello").word("w:2").start();
    server.wait_for_workers(2);
    assert_eq!(server.app()["id"], "hello");
}

#[test]
fn unknown_flags_ignored_in_silence() {
    let (code, output) = Setup::builtin("hello").flag("--no-such-flag", 1).fails();
    assert_eq!(code, 2);
    assert!(output.contains("--no-such-flag"), "{output}");
}

#[test]
fn ports_moved_in_silence_to_the_next_free_one() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, output) = Setup::builtin("hello").word(&format!("http:{port}")).fails();
    assert_eq!(code, 69, "{output}");
}

#[test]
fn a_worker_left_over_from_an_earlier_master_that_joins_the_new_one() {
    let server = Setup::recorder().workers(1).start();
    let body = r#"{"op":"join","workerId":1,"generation":1,"version":1,"pid":1,"appPid":1,
                   "socket":"/tmp/old.sock","appId":"app","keepAlive":true}"#;
    let stale = "Authorization: Bearer the-token-of-an-earlier-life\r\n";
    assert_eq!(server.control_post("/worker", stale, body).status, 403);
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn exits_on_request_counted_as_crashes() {
    let setup = Setup::recorder().workers(1).flag("--max-restarts", 1);
    let record = setup.path("record");
    std::fs::write(record.join("old"), "").unwrap();
    let server = setup.start();
    for turn in 1..=4 {
        let mut client = server.connect();
        client.request("GET", &format!("/turn{turn}?draining=old"), "", b"");
        eventually("a worker that leaves", || server.seen().len() >= turn);
        server.close_gate("old");
        assert_eq!(client.response().status, 200);
        server.open_gate("old");
        server.wait_for_workers(1);
    }
    assert!(!server.log().contains("worker_abandon") && !server.log().contains("worker_restart"));
}

#[test]
fn a_stopped_master_that_kills_its_workers_on_waking() {
    let server = Setup::recorder().workers(1).flag("--start-timeout-ms", 400).start();
    server.signal(Signal::SIGSTOP);
    crate::harness::within(Duration::from_millis(1200), || None::<()>);
    server.signal(Signal::SIGCONT);
    assert_eq!(server.get("/").text(), "worker 1\n");
    assert!(processes::is_alive(server.pid()));
}

#[test]
fn a_log_that_nobody_reads_stopping_the_server() {
    let mut server = Setup::recorder().workers(2).unread().start();
    let mut client = server.connect();
    for turn in 0..3000 {
        let response = client.ask("GET", if turn % 10 == 0 { "/x" } else { "/server" });
        assert_eq!(response.status, 200);
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn running_out_of_descriptors_making_the_server_spin_or_stop() {
    let server =
        Setup::builtin("hello").workers(1).word("--loops").word("1").descriptors(100).start();
    let mut clients: Vec<_> =
        (0..300).filter_map(|_| Client::try_connect(server.port()).ok()).collect();
    assert!(clients.len() > 100, "the kernel's backlog takes them");
    let before = processes::cpu_ticks(server.pid());
    crate::harness::within(Duration::from_millis(500), || None::<()>);
    let spent = processes::cpu_ticks(server.pid()) - before;
    assert!(spent < 25, "half of the time was spent on nothing: {spent} ticks");
    clients.clear();
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn idle_connections_that_hold_a_buffer_each() {
    let server = Setup::builtin("hello").workers(1).start();
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    let ask_all = |clients: &mut Vec<Client>| {
        for client in clients {
            assert_eq!(client.ask("GET", "/").status, 200);
        }
    };
    ask_all(&mut clients);
    let before = processes::resident_bytes(server.pid());
    clients.extend((0..450).map(|_| server.connect()));
    ask_all(&mut clients);
    let each = processes::resident_bytes(server.pid()).saturating_sub(before) / 450;
    assert!(each < 4096, "an idle connection holds {each} bytes");
}

#[test]
fn a_load_that_never_ends_keeping_workers_from_their_restart() {
    let server = Setup::builtin("sleep").workers(1).flag("--restart-backoff-ms", 20).start();
    let load = Load::start(server.port(), 8, "GET /l?ms=2 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("answers", || load.answered() > 20);
    let worker = server.workers().remove(0);
    processes::signal(u32::try_from(worker["appPid"].as_u64().unwrap()).unwrap(), Signal::SIGKILL);
    let before = load.answered();
    eventually("answers of the next worker", || load.answered() > before + 50);
    let tally = load.stop();
    assert!(tally.lost.is_empty(), "{:?}", tally.lost);
    assert!(tally.others(200) <= 1, "{:?}", tally.statuses);
}
