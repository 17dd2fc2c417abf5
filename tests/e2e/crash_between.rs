//! Workers that are killed between two requests take none with them.

use crate::harness::ledger::ALL_KINDS;
use crate::harness::{Ledger, Server, Setup, eventually, processes};
use nix::sys::signal::Signal;

#[test]
fn killing_idle_workers_loses_nothing() {
    for setup in [Setup::ledger(), Setup::ledger_command().concurrency(2)] {
        let setup = setup.flag("--restart-backoff-ms", 20).flag("--max-restarts", 100);
        let mut server = setup.workers(3).start();
        server.wait_for_workers(3);
        let ledger = Ledger::open(&server, &ALL_KINDS);
        for round in 0..3 {
            ledger.wait_for(&server, 100);
            server.order(&["ctl", "pause"]);
            eventually("idle workers", || server.inflight() == 0);
            // One, two, or all of them: those that are left serve, or the fresh ones.
            let victims = server.worker_ids().into_iter().take(round % 3 + 1);
            for worker in victims.collect::<Vec<_>>() {
                kill(&server, worker);
            }
            server.order(&["ctl", "resume"]);
            ledger.wait_for(&server, 20);
            server.wait_for_workers(3);
        }
        ledger.wait_for_round(&server);
        let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
        assert_eq!(totals.repeated, 0, "{totals:?}");
    }
}

#[test]
fn a_stop_amid_clients_of_every_kind_loses_nothing() {
    for setup in [Setup::ledger(), Setup::ledger_command().concurrency(4)] {
        let mut server = setup.workers(3).start();
        server.wait_for_workers(3);
        let ledger = Ledger::open(&server, &ALL_KINDS);
        ledger.wait_for_round(&server);
        ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    }
}

/// Kills a worker's app; returns when the kernel has closed what it held.
fn kill(server: &Server, worker: u64) {
    let pid = server.app_pid(worker);
    processes::signal(pid, Signal::SIGKILL);
    eventually("its end", || processes::has_ended(pid));
}
