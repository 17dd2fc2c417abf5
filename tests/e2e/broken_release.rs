//! A release that cannot live never replaces one that does, and whoever ordered it learns why.

use crate::harness::{Kind, Ledger, Server, Setup, eventually};
use std::time::Duration;

const CLIENTS: [Kind; 4] = [Kind::KeepAlive, Kind::Fresh, Kind::Upload, Kind::Stream];

/// A server with clients at work, which takes up a release that is broken by this code.
fn refuses(setup: Setup, code: &str, expected: &[&str]) {
    let server = setup.workers(2).flag("--restart-backoff-ms", 20).start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &CLIENTS);
    ledger.wait_for_round(&server);
    let before = server.worker_ids();
    server.publish_with("broken", code);
    let (status, output) = server.cli(&["ctl", "restart"]);
    assert_eq!(status, 1, "{output}");
    for text in expected {
        assert!(output.contains(text), "{text:?} in {output}");
    }
    assert_eq!(server.worker_ids(), before, "the old workers, and nobody else");
    assert_eq!(server.release(), "1");
    server.wait_for_told("roll_aborted", 1);
    assert_eq!(server.told("worker_abandon").len(), 0);
    ledger.wait_for_round(&server);

    server.publish("2");
    server.order(&["ctl", "restart"]);
    server.assert_settled(2);
    assert_eq!(server.release(), "2", "a good one takes its place");
    let totals = ledger.balance(&server);
    assert!(!totals.releases.contains_key("broken"), "{totals:?}");
    assert_settled_processes(&server);
}

/// A master, and a shim and an app for each of two workers.
#[track_caller]
fn assert_settled_processes(server: &Server) {
    eventually("no process of the broken release", || server.processes().len() == 5);
}

#[test]
fn a_release_that_does_not_start() {
    let code = "\nraise RuntimeError('cannot find the database')\n";
    refuses(Setup::ledger(), code, &["RuntimeError: cannot find the database"]);
}

#[test]
fn a_release_that_is_no_python() {
    refuses(Setup::ledger(), "\ndef broken(:\n", &["SyntaxError"]);
}

#[test]
fn a_release_that_never_becomes_ready() {
    let code = "\nimport sys\nprint('waits for the moon', file=sys.stderr, flush=True)\n\
                while True:\n    time.sleep(1)\n";
    let setup = Setup::ledger().flag("--start-timeout-ms", 1200).flag("--kill-timeout-ms", 300);
    refuses(setup, code, &["waits for the moon"]);
}

#[test]
fn a_release_that_says_that_it_is_not_ready() {
    let code = "\nhealthy = application\ndef application(environ, start_response):\n    \
                if environ['PATH_INFO'] == '/ready':\n        \
                start_response('503 Not Yet', [])\n        return [b'']\n    \
                return healthy(environ, start_response)\n";
    let setup = Setup::ledger().flag("--start-timeout-ms", 1200);
    refuses(setup, code, &["503"]);
}

#[test]
fn a_release_that_exits_after_it_joined() {
    let code = "\nimport sys, threading\nhealthy = application\ndef die():\n    \
                print('lost the license', file=sys.stderr, flush=True)\n    os._exit(7)\n\
                def application(environ, start_response):\n    \
                if environ['PATH_INFO'] == '/ready':\n        \
                threading.Timer(0.03, die).start()\n    \
                return healthy(environ, start_response)\n";
    refuses(Setup::ledger(), code, &["lost the license", "7"]);
}

#[test]
fn a_release_of_which_only_the_first_worker_starts() {
    let server = Setup::ledger().workers(2).flag("--restart-backoff-ms", 20).start();
    server.wait_for_workers(2);
    let ledger = Ledger::open(&server, &CLIENTS);
    ledger.wait_for_round(&server);
    server.publish_with("greedy", "\nos.mkdir(os.path.join(RECORD, 'only-one'))\n");
    let (status, output) = server.cli(&["ctl", "restart"]);
    assert_eq!(status, 1, "{output}");
    assert!(output.contains("FileExistsError"), "{output}");
    assert!(!server.ready_workers().is_empty());
    ledger.wait_for_round(&server);
    server.publish("2");
    server.order(&["ctl", "restart"]);
    server.assert_settled(2);
    assert_eq!(server.release(), "2", "a good one takes its place");
    ledger.balance(&server);
}

#[test]
fn the_first_start_of_a_broken_app_is_no_roll() {
    let server = Setup::python("raise RuntimeError('no')\n")
        .flag("--reload", "none")
        .workers(1)
        .flag("--restart-backoff-ms", 20)
        .flag("--max-restarts", 1)
        .unawaited()
        .start();
    server.wait_for_log("worker_abandon");
    let (status, output) = server.cli(&["ctl", "restart"]);
    assert_eq!(status, 1, "{output}");
    server.replace("app.py", "def application(e, s):\n    s('200 OK', [])\n    return [b'fine']\n");
    server.order(&["ctl", "restart"]);
    server.assert_settled(1);
    assert_eq!(server.get("/").text(), "fine");
}

#[test]
fn an_order_that_is_stopped_half_way_is_no_success() {
    let mut server = Setup::ledger().workers(1).flag("--kill-timeout-ms", 300).start();
    server.publish_with("never", "\nwhile True:\n    time.sleep(1)\n");
    std::thread::scope(|scope| {
        let order = scope.spawn(|| server.cli(&["ctl", "restart"]));
        eventually("the beginning of the roll", || server.told("roll_start").len() == 1);
        let (code, output) = server.cli(&["stop"]);
        assert_eq!(code, 0, "{output}");
        let (code, output) = order.join().expect("the order");
        assert_eq!(code, 1, "{output}");
    });
    assert_eq!(server.exit_code(), 0);
    assert!(
        crate::harness::within(Duration::from_secs(1), || {
            server.processes().is_empty().then_some(())
        })
        .is_some()
    );
}
