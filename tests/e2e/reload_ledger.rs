//! Source files change while clients are at work.

use crate::harness::ledger::ALL_KINDS;
use crate::harness::release::source;
use crate::harness::{Kind, Ledger, Server, Setup, eventually};
use nix::sys::signal::Signal;
use std::fs;

fn watching(mode: &str) -> Server {
    let server = Setup::watched_ledger(mode).workers(2).start();
    server.wait_for_workers(2);
    server
}

/// Waits for the end of as many rolls.
#[track_caller]
fn wait_for_rolls(server: &Server, ledger: &Ledger, count: usize) {
    eventually("the end of the roll", || {
        ledger.assert_no_failure(server);
        server.told("roll_done").len() + server.told("roll_aborted").len() >= count
    });
}

#[test]
fn files_saved_in_every_manner_roll_the_app_once_each_and_lose_nothing() {
    let mut server = watching("process");
    let app = server.path("app");
    let ledger = Ledger::open(&server, &ALL_KINDS);

    server.publish("renamed over");
    wait_for_rolls(&server, &ledger, 1);
    assert_eq!(server.release(), "renamed over");

    fs::write(app.join("app.py"), source("written in place")).unwrap();
    wait_for_rolls(&server, &ledger, 2);
    assert_eq!(server.release(), "written in place");

    // As an editor that keeps a backup: the old one away, the new one under the name.
    fs::rename(app.join("app.py"), app.join("app.py~")).unwrap();
    fs::write(app.join("app.py"), source("with a backup")).unwrap();
    wait_for_rolls(&server, &ledger, 3);
    assert_eq!(server.release(), "with a backup");

    // A new directory counts from its first file on, a batch of changes once.
    fs::create_dir_all(app.join("new/deep")).unwrap();
    for number in 0..20 {
        fs::write(app.join(format!("new/deep/module{number}.py")), "x = 1\n").unwrap();
    }
    wait_for_rolls(&server, &ledger, 4);
    fs::write(app.join("new/deep/module7.py"), "x = 2\n").unwrap();
    wait_for_rolls(&server, &ledger, 5);

    // What does not matter.
    fs::create_dir_all(app.join("__pycache__")).unwrap();
    fs::create_dir_all(app.join(".git")).unwrap();
    for name in ["__pycache__/app.py", ".git/hook.py", "notes.txt", ".app.py.swp", "#app.py#"] {
        fs::write(app.join(name), "x").unwrap();
    }
    ledger.wait_for_round(&server);
    server.publish("the last");
    wait_for_rolls(&server, &ledger, 6);
    assert_eq!(server.release(), "the last");
    assert_eq!(server.told("roll_start").len(), 6, "{:?}", server.told("roll_start"));
    let told = &server.told("roll_start")[0];
    assert!(told.contains("watch") && told.contains("app.py"), "{told}");

    ledger.wait_for_round(&server);
    let totals = ledger.balance_over_the_end(&mut server, Signal::SIGTERM);
    assert_eq!(totals.repeated, 0, "{totals:?}");
}

#[test]
fn a_mistake_that_is_saved_leaves_the_old_code_serving_until_it_is_mended() {
    let server = watching("process");
    let before = server.worker_ids();
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Upload, Kind::Stream]);
    ledger.wait_for_round(&server);
    server.publish_with("broken", "\ndef broken(:\n");
    server.wait_for_told("roll_aborted", 1);
    assert_eq!(server.worker_ids(), before);
    assert_eq!(server.release(), "1");
    server.wait_for_log("SyntaxError");
    ledger.wait_for_round(&server);
    server.publish("mended");
    wait_for_rolls(&server, &ledger, 2);
    assert_eq!(server.release(), "mended");
    ledger.wait_for_round(&server);
    let totals = ledger.balance(&server);
    assert!(!totals.releases.contains_key("broken"), "{totals:?}");
}

#[test]
fn saving_again_and_again_ends_with_the_last_one() {
    let server = watching("process");
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Stream]);
    for save in 0..12 {
        server.publish(&format!("save {save}"));
        ledger.wait_for(&server, 15);
    }
    eventually("the last one", || {
        ledger.assert_no_failure(&server);
        server.release() == "save 11"
    });
    eventually("a settled pool", || {
        server.workers().len() == 2 && server.ready_workers().len() == 2
    });
    ledger.balance(&server);
}

#[test]
fn an_app_is_reloaded_inside_its_workers() {
    let server = watching("module");
    let before = server.worker_ids();
    let pids: Vec<_> = before.iter().map(|worker| server.app_pid(*worker)).collect();
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Upload]);
    for release in ["2", "3"] {
        server.publish(release);
        eventually("the new code", || {
            ledger.assert_no_failure(&server);
            (0..4).all(|_| server.release() == release)
        });
    }
    server.publish_with("broken", "\ndef broken(:\n");
    server.wait_for_log("SyntaxError");
    ledger.wait_for_round(&server);
    assert_eq!(server.release(), "3", "the last good one serves");
    assert_eq!(server.worker_ids(), before, "the same workers");
    let now: Vec<_> = before.iter().map(|worker| server.app_pid(*worker)).collect();
    assert_eq!(now, pids, "the same processes");
    server.publish("4");
    eventually("the mended code", || (0..4).all(|_| server.release() == "4"));
    let totals = ledger.balance(&server);
    assert!(!totals.releases.contains_key("broken"), "{totals:?}");
}

#[test]
fn without_a_reload_mode_files_are_not_watched() {
    let server = Setup::ledger().workers(1).start();
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Stream]);
    server.publish("2");
    ledger.wait_for_round(&server);
    assert!(server.told("roll_start").is_empty());
    assert_eq!(server.release(), "1");
    ledger.balance(&server);
}
