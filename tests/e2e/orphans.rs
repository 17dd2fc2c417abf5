//! However the master ends, no worker outlives it by more than seconds.

use crate::harness::{Setup, eventually, processes, tools};
use nix::sys::signal::Signal;

#[test]
fn killing_the_master_ends_every_worker() {
    let mut server = Setup::recorder().workers(3).start();
    server.wait_for_workers(3);
    assert!(server.processes().len() >= 7, "a master, three shims, three apps");
    server.kill();
}

#[test]
fn killing_the_master_ends_workers_that_are_busy() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/busy?gate=never", "", b"");
    server.wait_for_seen("/busy?gate=never");
    server.kill();
}

#[test]
fn killing_the_master_ends_an_app_behind_a_wrapping_shell() {
    let recorder = tools::app("recorder.py");
    let script = format!("{} -S -I {recorder}; true", tools::python());
    let setup = Setup::command(&["sh", "-c", &script]);
    let record = setup.path("record");
    std::fs::create_dir(&record).unwrap();
    let mut server = setup.env("RECORD", record).workers(1).start();
    assert_eq!(server.get("/").status, 200);
    server.kill();
}

#[test]
fn killing_the_master_ends_an_app_that_ignores_the_stop_signal() {
    let recorder = tools::app("recorder.py");
    let script = format!("trap '' TERM; exec {} -S -I {recorder}", tools::python());
    let setup = Setup::command(&["sh", "-c", &script]).flag("--kill-timeout-ms", 500);
    let record = setup.path("record");
    std::fs::create_dir(&record).unwrap();
    let mut server = setup.env("RECORD", record).workers(1).start();
    assert_eq!(server.get("/").status, 200);
    server.kill();
}

#[test]
fn each_worker_leads_a_process_group_of_its_own() {
    let server = Setup::recorder().workers(2).start();
    server.wait_for_workers(2);
    for worker in server.workers() {
        let pid = |name: &str| u32::try_from(worker[name].as_u64().unwrap()).unwrap();
        assert_eq!(processes::group(pid("pid")), Some(pid("pid")));
        assert_eq!(processes::group(pid("appPid")), Some(pid("pid")));
        assert_eq!(processes::parent(pid("appPid")), Some(pid("pid")));
        assert_eq!(processes::parent(pid("pid")), Some(server.pid()));
    }
}

#[test]
fn a_new_master_starts_over_the_leftovers_of_a_killed_one() {
    let mut server = Setup::recorder().workers(1).start();
    server.kill();
    assert!(server.runtime().join("ctl.sock").exists(), "a killed master cleans nothing");
    let setup = Setup::recorder().workers(1).env("XDG_RUNTIME_DIR", server.path("run"));
    let record = setup.path("record");
    let second = setup.start();
    eventually("an answer", || second.get("/").status == 200);
    assert!(record.join("seen").exists());
    assert!(processes::is_alive(second.pid()));
    second.signal(Signal::SIGTERM);
    eventually("its end", || !processes::is_alive(second.pid()));
    assert!(!server.runtime().join("ctl.sock").exists(), "its own and the old are gone");
    assert!(!server.runtime().join("master.pid").exists());
}
