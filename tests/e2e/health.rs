//! A worker that does not answer any more is found without waiting for a client to notice.

use crate::harness::{Kind, Ledger, Server, Setup, eventually, processes};
use nix::sys::signal::Signal;

/// Asks often and loses patience soon.
fn watchful(setup: Setup) -> Server {
    let server = setup
        .workers(2)
        .flag("--health-interval-ms", 100)
        .flag("--health-timeout-ms", 200)
        .flag("--unhealthy-threshold", 3)
        .flag("--drain-timeout-ms", 1000)
        .flag("--kill-timeout-ms", 300)
        .start();
    server.wait_for_workers(2);
    server
}

#[test]
fn a_hung_worker_is_found_and_replaced() {
    let server = watchful(Setup::ledger());
    let hung = server.worker_ids()[0];
    let pid = server.app_pid(hung);
    processes::signal(pid, Signal::SIGSTOP);
    eventually("a fresh worker in its place", || {
        let ready = server.ready_workers();
        assert!(!ready.is_empty());
        ready.len() == 2 && ready.iter().all(|worker| worker["workerId"] != hung)
    });
    eventually("its end", || !processes::is_alive(pid) && !server.worker_ids().contains(&hung));
    server.wait_for_log(&format!("worker_stuck app=app workerId={hung}"));
    assert_eq!(server.app()["abandoned"], false);
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh]);
    ledger.wait_for_round(&server);
    ledger.balance(&server);
}

#[test]
fn workers_that_are_well_are_left_alone_under_load_and_without() {
    let server = watchful(Setup::ledger());
    let before = server.worker_ids();
    let kinds = [Kind::KeepAlive, Kind::KeepAlive, Kind::KeepAlive, Kind::Slow, Kind::Stream];
    let ledger = Ledger::open(&server, &kinds);
    ledger.wait_for_round(&server);
    let totals = ledger.balance(&server);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    let asked =
        || server.workers().iter().map(|row| row["requestCount"].as_u64()).collect::<Vec<_>>();
    let counted = asked();
    assert_eq!(server.worker_ids(), before, "nobody was replaced");
    eventually("idle workers", || server.inflight() == 0);
    assert_eq!(server.worker_ids(), before);
    assert_eq!(asked(), counted, "a question is no request");
}

#[test]
fn a_worker_that_says_that_it_is_unwell_is_replaced() {
    let source = "import os\nsick = os.path.join(os.environ['SICK'], os.environ['RIP_WORKER_ID'])\n\
                  def application(environ, start_response):\n    \
                  well = not os.path.exists(sick)\n    \
                  start_response('200 OK' if well else '503 Unwell', [])\n    return [b'']\n";
    let setup = Setup::python(source);
    let directory = setup.path("app");
    let server = watchful(setup.env("SICK", directory).flag("--health-path", "/"));
    let sick = server.worker_ids()[1];
    std::fs::write(server.path("app").join(sick.to_string()), "").unwrap();
    eventually("a fresh worker in its place", || {
        let ready = server.ready_workers();
        ready.len() == 2 && ready.iter().all(|worker| worker["workerId"] != sick)
    });
    eventually("its end", || !server.worker_ids().contains(&sick));
}
