//! Workers that have served long enough make room for fresh ones, start first, one at a time.

use crate::harness::{Kind, Ledger, Setup, eventually};
use nix::sys::signal::Signal;

const EIGHT: [Kind; 8] = [
    Kind::KeepAlive,
    Kind::KeepAlive,
    Kind::KeepAlive,
    Kind::KeepAlive,
    Kind::Fresh,
    Kind::Slow,
    Kind::Upload,
    Kind::Stream,
];

#[test]
fn recycling_each_twenty_requests_loses_nothing_with_eight_clients() {
    let mut server = Setup::ledger().workers(3).word("r:20").start();
    server.wait_for_workers(3);
    let ledger = Ledger::open(&server, &EIGHT);
    eventually("a dozen recycled workers", || {
        ledger.assert_no_failure(&server);
        assert!(server.ready_workers().len() >= 3, "the fresh one is ready first");
        server.told("worker_recycle").len() >= 12
    });
    ledger.wait_for_round(&server);
    assert_eq!(server.app()["restarts"], 0, "recycling is no crash");
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    assert!(totals.workers.len() >= 10, "{totals:?}");
    for line in server.told("worker_recycle") {
        assert!(line.contains("reason=requests"), "{line}");
    }
    for line in server.told("worker_exit") {
        assert!(line.contains("expected=true"), "{line}");
    }
    assert_eq!(server.told("worker_restart").len() + server.told("worker_abandon").len(), 0);
}

#[test]
fn idle_workers_are_recycled_by_their_age() {
    let server = Setup::builtin("hello").workers(2).word("r:1000000,1s").start();
    server.wait_for_workers(2);
    eventually("fresh workers", || {
        assert!(server.ready_workers().len() >= 2, "the fresh one is ready first");
        let ready = server.ready_workers();
        ready.len() == 2 && ready.iter().all(|worker| worker["workerId"].as_u64() > Some(2))
    });
    let told = server.told("worker_recycle");
    assert!(told.iter().all(|line| line.contains("reason=seconds")), "{told:?}");
    assert_eq!(server.app()["restarts"], 0);
}

#[test]
fn a_worker_that_holds_too_much_memory_is_recycled() {
    let source = "held = []\ndef application(environ, start_response):\n    \
                  if environ['PATH_INFO'] == '/hold':\n        held.append(b'x' * 120_000_000)\n    \
                  start_response('200 OK', [])\n    return [b'ok']\n";
    let server = Setup::python(source).workers(1).flag("--max-rss", "100MiB").start();
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.worker_ids(), [1]);
    assert_eq!(server.get("/hold").status, 200);
    eventually("a fresh worker", || {
        let ready = server.ready_workers();
        !ready.is_empty() && ready.iter().all(|worker| worker["workerId"] != 1)
    });
    server.wait_for_log("worker_recycle app=app workerId=1 reason=rss");
    assert_eq!(server.get("/").status, 200);
}
