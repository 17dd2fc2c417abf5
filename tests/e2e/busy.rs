//! A worker that says it is busy or draining is believed, and the request goes elsewhere.

use crate::harness::{Setup, eventually};
use std::fs;

#[test]
fn a_request_bounced_by_a_busy_worker_is_given_again() {
    let setup = Setup::recorder().workers(1);
    fs::write(setup.path("record").join("busy"), "").unwrap();
    let server = setup.start();
    let mut client = server.connect();
    client.request("GET", "/again?busy=busy", "", b"");
    server.wait_for_seen("/again?busy=busy");
    server.close_gate("busy");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.values("rip-worker-busy").is_empty());
    assert!(server.seen().len() >= 2);
}

#[test]
fn after_five_bounces_the_client_gets_503() {
    let setup = Setup::recorder().workers(1);
    fs::write(setup.path("record").join("busy"), "").unwrap();
    let server = setup.start();
    let response = server.request("POST", "/never?busy=busy", "", b"body");
    assert_eq!(response.status, 503);
    assert!(response.values("rip-worker-busy").is_empty());
    assert!(!response.values("retry-after").is_empty());
    assert_eq!(server.seen().len(), 5, "five bounces are enough");
    server.close_gate("busy");
    assert_eq!(server.get("/after").status, 200, "the worker is not lost by it");
}

#[test]
fn a_bounced_body_arrives_whole_at_the_next_try() {
    let setup = Setup::recorder().workers(1);
    fs::write(setup.path("record").join("busy"), "").unwrap();
    let server = setup.start();
    let body = vec![b'z'; 300_000];
    let mut client = server.connect();
    client.request("POST", "/again?echo&busy=busy", "", &body);
    server.wait_for_seen("/again?echo&busy=busy");
    server.close_gate("busy");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.body == body);
}

#[test]
fn a_draining_worker_is_replaced_and_its_request_is_served_by_another() {
    let setup = Setup::recorder().workers(2);
    fs::write(setup.path("record").join("old"), "").unwrap();
    let server = setup.start();
    server.wait_for_workers(2);
    let mut client = server.connect();
    client.request("GET", "/move?draining=old", "", b"");
    eventually("a worker to be retired", || !server.seen().is_empty());
    server.close_gate("old");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.values("rip-worker-draining").is_empty());
    let retired = server.seen()[0].worker();
    eventually("a replacement", || {
        let ready = server.ready_workers();
        ready.len() == 2 && ready.iter().all(|worker| worker["workerId"] != retired)
    });
    assert!(!server.log().contains("worker_restart"), "retiring is no crash");
}
