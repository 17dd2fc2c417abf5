//! Rolls of apps that frameworks serve: no client of any kind can tell. Each app writes down what it
//! executes, as `apps/ledger.py` does, and is released anew by the file `release` beside it.

use crate::harness::ledger::ALL_KINDS;
use crate::harness::{Ledger, Setup};
use nix::sys::signal::Signal;

const ROLLS: usize = 4;

#[test]
fn flask_is_rolled_unnoticed() {
    roll(Setup::framework("flask-ledger"));
}

/// In threads, which end when the last of them has answered.
#[test]
fn flask_in_threads_is_rolled_unnoticed() {
    roll(Setup::framework("flask-ledger").concurrency(4));
}

/// Two requests at once in each worker, as asynchronous apps are made for.
#[test]
fn fastapi_is_rolled_unnoticed() {
    roll(Setup::framework("fastapi-ledger").concurrency(2));
}

#[test]
fn express_is_rolled_unnoticed() {
    roll(Setup::framework("express-ledger").concurrency(2));
}

#[test]
fn rack_is_rolled_unnoticed() {
    roll(Setup::framework("rack-ledger"));
}

/// What a script is asked meanwhile is finished before its worker ends.
#[test]
fn a_script_is_rolled_unnoticed() {
    roll(Setup::framework_entry("perl-cgi-ledger", "app.cgi"));
}

#[test]
fn php_is_rolled_unnoticed() {
    roll(Setup::framework("php-ledger"));
}

fn roll(setup: Setup) {
    let setup = setup.with_record().workers(2);
    let mut server = setup.flag("--reload", "none").flag("--surge", "100%").start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &ALL_KINDS);
    let mut generation = server.assert_settled(2);
    for roll in 0..ROLLS {
        let release = (roll + 2).to_string();
        server.replace("release", &release);
        server.order(&["ctl", "restart"]);
        let next = server.assert_settled(2);
        assert!(next > generation, "generation {next} follows {generation}");
        generation = next;
        assert_eq!(server.release(), release, "what is served when the command returns");
        ledger.assert_no_failure(&server);
    }
    server.wait_for_told("roll_done", ROLLS);
    assert_eq!(server.app()["restarts"], 0, "a roll is no crash");
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
    assert!(totals.releases.len() >= ROLLS, "{totals:?}");
}
