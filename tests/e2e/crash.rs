//! A worker that dies takes with it the request inside it and nothing else.

use crate::harness::load::Load;
use crate::harness::{Setup, eventually, processes};
use nix::sys::signal::Signal;

#[test]
fn killing_each_worker_under_load_fails_only_the_request_inside_it() {
    let server = Setup::builtin("sleep").workers(2).flag("--restart-backoff-ms", 50).start();
    server.wait_for_workers(2);
    let request = "POST /work?ms=5 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi";
    let load = Load::start(server.port(), 6, request);
    let mut killed = 0;
    for id in [1, 2] {
        let before = load.answered();
        eventually("answers", || load.answered() > before + 50);
        let worker = server.workers().into_iter().find(|worker| worker["workerId"] == id).unwrap();
        processes::signal(
            u32::try_from(worker["appPid"].as_u64().unwrap()).unwrap(),
            Signal::SIGKILL,
        );
        killed += 1;
        eventually("the capacity to return", || {
            let ready = server.ready_workers();
            ready.len() == 2 && ready.iter().all(|worker| worker["workerId"] != id)
        });
    }
    let before = load.answered();
    eventually("answers", || load.answered() > before + 50);
    let tally = load.stop();
    assert!(tally.lost.is_empty(), "every request has an answer: {:?}", tally.lost);
    assert!(tally.others(200) <= killed, "{:?}", tally.statuses);
    assert_eq!(tally.others(200), tally.count(502) + tally.count(503), "{:?}", tally.statuses);
    assert_eq!(server.inflight(), 0);
}

#[test]
fn killing_a_shim_ends_its_app_too_and_a_new_worker_comes() {
    let server = Setup::recorder().workers(1).flag("--restart-backoff-ms", 50).start();
    let worker = server.workers().remove(0);
    let pid = |name: &str| u32::try_from(worker[name].as_u64().unwrap()).unwrap();
    processes::signal(pid("pid"), Signal::SIGKILL);
    eventually("the end of the orphaned app", || !processes::is_alive(pid("appPid")));
    eventually("a new worker", || server.ready_workers().iter().any(|w| w["workerId"] == 2));
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_post_inside_a_dying_worker_is_502_and_runs_once() {
    let server = Setup::recorder().workers(2).flag("--restart-backoff-ms", 50).start();
    server.wait_for_workers(2);
    for step in ["before", "head"] {
        let target = format!("/once?die={step}");
        let mut client = server.connect();
        client.request("POST", &target, "", b"body");
        assert_eq!(client.response().status, 502, "{step}");
        let tries = server.seen().iter().filter(|line| line.target() == target).count();
        assert_eq!(tries, 1, "{target}");
        server.wait_for_workers(2);
    }
}

#[test]
fn an_idempotent_request_inside_a_dying_worker_is_given_to_another_once() {
    let setup = Setup::recorder().workers(2).flag("--restart-backoff-ms", 50);
    let server = setup.start();
    server.wait_for_workers(2);
    let response = server.get("/twice?die=before");
    assert_eq!(response.status, 502, "it kills the second one too");
    let seen = server.seen();
    assert_eq!(seen.len(), 2, "one retry, not more");
    assert_ne!(seen[0].worker(), seen[1].worker(), "by another worker");
    server.wait_for_workers(2);
}

#[test]
fn a_head_without_its_body_is_not_passed_on_as_an_answer() {
    let server = Setup::recorder().workers(2).flag("--restart-backoff-ms", 50).start();
    server.wait_for_workers(2);
    let mut client = server.connect();
    client.request("GET", "/headless?die=head", "", b"");
    assert_eq!(client.response().status, 502, "it kills the second one too");
    assert_eq!(server.seen().len(), 2, "given to another once");
    server.wait_for_workers(2);
    client.request("GET", "/whole", "", b"");
    assert_eq!(client.response().status, 200, "on the same connection");
}

#[test]
fn an_answer_cut_in_its_middle_is_never_passed_on_as_complete() {
    let server = Setup::recorder().workers(1).flag("--restart-backoff-ms", 50).start();
    let mut client = server.connect();
    client.request("GET", "/cut?count=5&die=body", "", b"");
    assert!(client.try_response("GET").map_or(true, |response| response.status == 502));
    server.wait_for_workers(1);
    let mut client = server.connect();
    client.request("GET", "/cut?size=600000&die=body", "", b"");
    assert!(client.try_response("GET").map_or(true, |response| response.status == 502));
}

#[test]
fn answers_that_are_not_http_are_502_and_the_worker_stays() {
    let server = Setup::recorder().workers(1).start();
    for raw in [
        "garbage\r\n\r\n",
        "HTTP/1.1 2000 Many\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 Fine\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nBad Name: 1\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "",
    ] {
        let escaped: String = raw.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let response = server.request("POST", &format!("/odd?raw={escaped}"), "", b"");
        assert_eq!(response.status, 502, "{raw:?}");
    }
    assert_eq!(server.get("/after").text(), "worker 1\n");
}
