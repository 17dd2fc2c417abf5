//! More workers, fewer workers, none offered work for a while: no client can tell.

use crate::harness::ledger::ALL_KINDS;
use crate::harness::{Kind, Ledger, Setup, eventually};
use nix::sys::signal::Signal;

#[test]
fn from_one_worker_to_eight_to_two_amid_clients_of_every_kind() {
    let mut server = Setup::ledger().workers(1).start();
    let ledger = Ledger::open(&server, &ALL_KINDS);
    ledger.wait_for(&server, 20);
    for workers in [8, 2, 4, 1, 3] {
        server.order(&["ctl", "scale", &workers.to_string()]);
        server.assert_settled(workers);
        ledger.assert_no_failure(&server);
        ledger.wait_for(&server, 60);
        assert_eq!(server.app()["workers"], workers, "{}", server.app());
    }
    ledger.wait_for_round(&server);
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
}

#[test]
fn a_signal_adds_a_worker_and_another_takes_it_away() {
    let server = Setup::ledger().workers(1).start();
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh]);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(2);
    server.signal(Signal::SIGTTIN);
    server.wait_for_workers(3);
    for left in [2, 1] {
        server.signal(Signal::SIGTTOU);
        eventually("one worker less", || server.worker_ids().len() == left);
    }
    server.signal(Signal::SIGTTOU);
    ledger.wait_for_round(&server);
    assert_eq!(server.assert_settled(1), 1, "the last worker stays");
    ledger.balance(&server);
}

#[test]
fn what_is_asked_during_a_pause_is_answered_after_it() {
    let mut server = Setup::ledger().workers(2).start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &ALL_KINDS);
    for _ in 0..5 {
        ledger.wait_for_round(&server);
        server.order(&["ctl", "pause"]);
        eventually("idle workers", || server.inflight() == 0);
        eventually("a queue", || server.queue_depth() >= 3);
        assert_eq!(server.inflight(), 0, "nothing is given to a worker");
        server.order(&["ctl", "resume"]);
    }
    ledger.wait_for_round(&server);
    server.order(&["ctl", "pause"]);
    eventually("a queue", || server.queue_depth() >= 3);
    server.order(&["ctl", "restart"]);
    server.assert_settled(2);
    assert_eq!(server.inflight(), 0, "the pause outlives a roll");
    server.order(&["ctl", "resume"]);
    ledger.wait_for_round(&server);
    ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
}

#[test]
fn a_pause_holds_a_request_no_longer_than_its_queue_may() {
    let server = Setup::ledger().workers(1).flag("--queue-timeout-ms", 300).start();
    server.order(&["ctl", "pause"]);
    assert_eq!(server.get("/held/0").status, 504);
    server.order(&["ctl", "resume"]);
    assert_eq!(server.get("/free/0").status, 200);
}

#[test]
fn a_drained_worker_finishes_and_another_comes_first() {
    let mut server = Setup::ledger().workers(2).start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &ALL_KINDS);
    for _ in 0..4 {
        ledger.wait_for(&server, 40);
        let worker = server.worker_ids()[0];
        server.order(&["ctl", "drain", &format!("w{worker}")]);
        assert!(!server.worker_ids().contains(&worker), "w{worker} is gone when it returns");
        server.assert_settled(2);
        ledger.assert_no_failure(&server);
    }
    let (code, output) = server.cli(&["ctl", "drain", "w1"]);
    assert_eq!(code, 1, "a worker that is not there: {output}");
    ledger.wait_for_round(&server);
    ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
}
