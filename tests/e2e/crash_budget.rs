//! A crash loop is shown wherever one looks, costs no request while others serve, and ends when
//! its cause does.

use crate::harness::{Kind, Ledger, Server, Setup, eventually, processes};
use nix::sys::signal::Signal;

/// Code that fails while a file is there.
const FAILS: &str = "\nif os.path.exists(os.path.join(RECORD, 'fail')):\n    \
                     raise RuntimeError('cannot find the database')\n";

fn fragile() -> Setup {
    let setup = Setup::ledger().flag("--restart-backoff-ms", 20).flag("--max-restarts", 2);
    let source = crate::harness::release::source("1") + FAILS;
    setup.with_file("app.py", &source)
}

#[track_caller]
fn kill_idle(server: &Server, worker: u64) {
    let pid = server.app_pid(worker);
    processes::signal(pid, Signal::SIGKILL);
    eventually("its end", || !processes::is_alive(pid));
}

#[test]
fn a_slot_that_crashes_again_and_again_is_given_up_while_the_other_serves() {
    let server = fragile().workers(2).start();
    server.wait_for_workers(2);
    server.open_gate("fail");
    server.order(&["ctl", "pause"]);
    let victim = server.worker_ids()[0];
    kill_idle(&server, victim);
    server.wait_for_told("worker_abandon", 1);
    server.order(&["ctl", "resume"]);
    let told = server.told("worker_abandon").remove(0);
    assert!(told.contains("cannot find the database"), "{told}");

    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Upload]);
    ledger.wait_for_round(&server);
    assert_eq!(server.ready_workers().len(), 1);
    let status = server.get("/status");
    assert_eq!(status.status, 200, "one worker is ready");
    assert_eq!(status.json()["status"], "degraded", "{}", status.text());
    let list = server.order(&["ctl", "list"]);
    assert!(list.contains("degraded") && list.contains("1/2"), "{list}");

    server.close_gate("fail");
    server.order(&["ctl", "restart"]);
    server.assert_settled(2);
    assert_eq!(server.get("/status").json()["status"], "healthy");
    let list = server.order(&["ctl", "list"]);
    assert!(!list.contains("degraded") && list.contains("2/2"), "{list}");
    ledger.wait_for_round(&server);
    ledger.balance(&server);
}

#[test]
fn an_app_of_which_every_worker_crashes_recovers_when_it_is_mended() {
    let server = fragile().workers(2).start();
    server.wait_for_workers(2);
    server.open_gate("fail");
    for worker in server.worker_ids() {
        kill_idle(&server, worker);
    }
    server.wait_for_told("worker_abandon", 2);
    assert_eq!(server.get("/refused/0").status, 503);
    let status = server.get("/status");
    assert_eq!((status.status, &status.json()["status"]), (503, &"degraded".into()));
    let list = server.order(&["ctl", "list"]);
    assert!(list.contains("abandoned"), "{list}");

    let (code, output) = server.cli(&["ctl", "restart"]);
    assert_eq!(code, 1, "it is not mended yet: {output}");
    assert!(output.contains("cannot find the database"), "{output}");
    server.close_gate("fail");
    server.order(&["ctl", "restart"]);
    server.assert_settled(2);
    assert_eq!(server.get("/status").status, 200);
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh]);
    ledger.wait_for_round(&server);
    ledger.balance(&server);
}

#[test]
fn a_worker_that_crashes_now_and_then_is_not_given_up() {
    let server = fragile().flag("--restart-window-ms", 300).workers(1).start();
    for _ in 0..5 {
        let before = server.worker_ids()[0];
        kill_idle(&server, before);
        eventually("another worker", || {
            server.ready_workers().iter().any(|worker| worker["workerId"] != before)
        });
        let begun = std::time::Instant::now();
        eventually("a life longer than the window", || begun.elapsed().as_millis() > 400);
    }
    assert!(server.told("worker_abandon").is_empty());
}
