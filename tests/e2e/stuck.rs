//! A request that never ends is given up, then its worker, and the event names the request.

use crate::harness::{Kind, Ledger, Setup, eventually, processes};
use std::fs;
use std::path::Path;

#[test]
fn a_hung_request_is_answered_504_and_its_worker_is_replaced_by_name() {
    let server = Setup::ledger()
        .workers(2)
        .flag("--read-timeout-ms", 300)
        .flag("--stuck-timeout-ms", 500)
        .flag("--health-interval-ms", 60_000)
        .start();
    server.wait_for_workers(2);
    let response = server.request("POST", "/hung/0?hang=1&secret=x", "", b"body");
    assert_eq!(response.status, 504);
    let id = response.field("x-request-id").to_owned();
    let hung = executed_by(&server.path("record"));
    let pid = server.app_pid(hung);

    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Upload]);
    server.wait_for_told("worker_stuck", 1);
    let told = &server.told("worker_stuck")[0];
    let named = format!("workerId={hung} requestId={id} method=POST path=/hung/0");
    assert!(told.contains(&named), "{named:?} in {told}");
    assert!(!told.contains("secret"), "no query: {told}");
    eventually("its end", || !processes::is_alive(pid) && !server.worker_ids().contains(&hung));
    server.wait_for_workers(2);
    // What it was doing.
    server.wait_for_log("Fatal Python error");
    server.wait_for_log("in execute");
    ledger.wait_for_round(&server);
    assert_eq!(server.app()["abandoned"], false);
    let book = server.path("record").join(format!("executed-w{hung}"));
    assert_eq!(fs::read_to_string(book).unwrap().lines().count(), 1, "it got nothing else");
    ledger.balance(&server);
}

#[test]
fn a_worker_that_ends_its_request_in_time_is_not_replaced() {
    let server = Setup::recorder()
        .workers(1)
        .flag("--read-timeout-ms", 200)
        .flag("--stuck-timeout-ms", 60_000)
        .start();
    assert_eq!(server.get("/slow?gate=go").status, 504);
    server.open_gate("go");
    eventually("the worker's capacity", || server.inflight() == 0);
    assert_eq!(server.get("/after").text(), "worker 1\n");
    assert!(server.told("worker_stuck").is_empty());
}

#[test]
fn a_client_that_leaves_a_hung_request_does_not_keep_its_worker_from_being_replaced() {
    let server = Setup::recorder().workers(1).flag("--stuck-timeout-ms", 300).start();
    let mut client = server.connect();
    client.request("GET", "/left?gate=never", "", b"");
    server.wait_for_seen("/left?gate=never");
    client.reset();
    eventually("a fresh worker", || server.ready_workers().iter().any(|w| w["workerId"] == 2));
    let told = server.told("worker_stuck");
    assert!(told.len() == 1 && told[0].contains("path=/left"), "{told:?}");
    assert_eq!(server.get("/after").text(), "worker 2\n");
}

/// The only worker that has executed anything.
fn executed_by(record: &Path) -> u64 {
    let mut files = fs::read_dir(record).unwrap().flatten();
    let file = files.find(|file| file.metadata().unwrap().len() > 0).expect("an execution");
    let name = file.file_name().into_string().unwrap();
    name.trim_start_matches("executed-w").parse().unwrap()
}
