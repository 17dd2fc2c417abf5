//! Rolls: every worker is replaced by a fresh one, and no client can tell.

use crate::harness::ledger::ALL_KINDS;
use crate::harness::{Kind, Ledger, Setup, eventually, processes};
use nix::sys::signal::Signal;

#[test]
fn twenty_rolls_amid_clients_of_every_kind_lose_nothing() {
    let mut server = Setup::ledger().workers(3).start();
    server.wait_for_workers(3);
    let ledger = Ledger::open(&server, &ALL_KINDS);
    let mut generation = server.assert_settled(3);
    for roll in 2..=21 {
        let release = roll.to_string();
        server.publish(&release);
        server.order(&["ctl", "restart"]);
        let next = server.assert_settled(3);
        assert!(next > generation, "generation {next} follows {generation}");
        generation = next;
        assert_eq!(server.release(), release, "what is served when the command returns");
        ledger.assert_no_failure(&server);
    }
    server.wait_for_told("roll_done", 20);
    assert_eq!(server.app()["restarts"], 0, "a roll is no crash");
    ledger.wait_for_round(&server);
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    assert!(totals.releases.len() >= 20, "{totals:?}");
}

#[test]
fn workers_that_take_several_requests_at_once_are_rolled_by_a_surge() {
    let setup = Setup::ledger_command().workers(3).concurrency(4);
    let mut server = setup.flag("--surge", "100%").start();
    server.wait_for_workers(3);
    let kinds = [&ALL_KINDS[..], &[Kind::KeepAlive, Kind::Fresh, Kind::Stream]].concat();
    let ledger = Ledger::open(&server, &kinds);
    for _ in 0..4 {
        server.order(&["restart"]);
        server.assert_settled(3);
        ledger.assert_no_failure(&server);
    }
    ledger.wait_for_round(&server);
    ledger.balance_over_the_end(&mut server, Signal::SIGINT);
}

#[test]
fn a_hangup_rolls_the_app() {
    let server = Setup::ledger().workers(2).start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh]);
    let before = server.assert_settled(2);
    server.publish("2");
    server.signal(Signal::SIGHUP);
    eventually("the end of the roll", || server.told("roll_done").len() == 1);
    assert_eq!(server.assert_settled(2), before + 1);
    assert_eq!(server.release(), "2");
    ledger.wait_for_round(&server);
    ledger.balance(&server);
}

#[test]
fn orders_given_during_a_roll_are_answered_when_theirs_is_done() {
    let server = Setup::ledger().workers(2).start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh]);
    let before = server.assert_settled(2);
    server.publish("2");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                server.order(&["ctl", "restart"]);
                assert_eq!(server.release(), "2");
            });
        }
    });
    let after = server.assert_settled(2);
    assert!((before + 1..=before + 4).contains(&after), "{before} became {after}");
    ledger.balance(&server);
}

#[test]
fn an_order_that_does_not_wait_returns_while_the_roll_goes_on() {
    let server = Setup::ledger().workers(1).start();
    let waits = format!(
        "\nwhile not os.path.exists({:?}):\n    time.sleep(0.005)\n",
        server.path("record/go")
    );
    server.publish_with("2", &waits);
    server.order(&["ctl", "restart", "--no-wait"]);
    eventually("the beginning of the roll", || server.told("roll_start").len() == 1);
    assert_eq!(server.release(), "1", "the old one serves meanwhile");
    let (code, output) = server.cli(&["ctl", "restart", "--timeout", "1"]);
    assert_eq!(code, 1, "what did not become true in time is no success: {output}");
    server.open_gate("go");
    eventually("the new release", || server.release() == "2");
    server.wait_for_workers(1);
}

#[test]
fn an_old_worker_that_dies_during_a_roll_is_replaced_too() {
    let server = Setup::ledger().workers(2).flag("--restart-backoff-ms", 20).start();
    server.wait_for_workers(2);
    let waits = format!(
        "\nwhile not os.path.exists({:?}):\n    time.sleep(0.005)\n",
        server.path("record/go")
    );
    server.publish_with("2", &waits);
    let victim = server.worker_ids()[0];
    std::thread::scope(|scope| {
        let order = scope.spawn(|| server.order(&["ctl", "restart"]));
        eventually("the beginning of the roll", || server.told("roll_start").len() == 1);
        processes::signal(server.app_pid(victim), Signal::SIGKILL);
        eventually("its end", || !server.worker_ids().contains(&victim));
        assert_eq!(server.release(), "1", "the other old one serves");
        server.open_gate("go");
        order.join().expect("the order is carried out");
    });
    server.assert_settled(2);
    assert_eq!(server.release(), "2");
}
