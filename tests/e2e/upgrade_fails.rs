//! A new server that is none: nothing has happened, and nothing is left of it.

use crate::harness::upgrade::State;
use crate::harness::{Client, Kind, Ledger, Server, Setup, eventually, processes, until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn house() -> Server {
    let server = Setup::ledger().own_program().workers(2).start();
    server.wait_for_workers(2);
    server
}

/// Upgrades to `program`, which must fail for this reason, with this being said last, and must not
/// have changed anything.
#[track_caller]
fn fails(server: &Server, program: &Path, words: &[&str], reason: &str, said: &str) -> Value {
    let before: State = server.state();
    let program = program.display().to_string();
    let words = [&["--binary", program.as_str()], words].concat();
    let (code, answer) = server.try_upgrade(&words);
    assert_eq!(code, 1, "{answer:#}");
    assert_eq!((&answer["ok"], &answer["result"]), (&false.into(), &"failed".into()), "{answer:#}");
    let error = answer["error"].as_str().expect("an error");
    assert!(error.starts_with("the upgrade failed: ") && error.contains(reason), "{answer:#}");
    let stderr = answer["stderr"].as_array().cloned().unwrap_or_default();
    let all: Vec<_> = stderr.iter().filter_map(Value::as_str).collect();
    assert!(all.join("\n").contains(said), "{answer:#}");
    assert_eq!(server.state(), before);
    answer
}

#[test]
fn whatever_is_wrong_with_the_new_program_nothing_happens() {
    let mut server = house();
    let ledger = Ledger::open(&server, &[Kind::KeepAlive, Kind::Fresh, Kind::Upload]);
    let nowhere = server.path("nowhere");
    let answer = fails(&server, &nowhere, &[], "No such file or directory", "");
    assert_eq!((&answer["code"], &answer["newPid"]), (&"not_started".into(), &Value::Null));
    let data = server.path("data");
    fs::write(&data, "no program").unwrap();
    fails(&server, &data, &[], "Permission denied", "");

    let cases = [
        ("echo I am broken >&2; exit 3", "it exited 3 before it was ready", "I am broken", "ended"),
        ("kill -SEGV $$", "it was killed by SIGSEGV before it was ready", "", "ended"),
        // Children of its own, in its group and out of it.
        ("sleep 1000 & setsid sleep 1000 & exit 0", "it exited 0 before it was ready", "", "ended"),
        ("exec 3>&-; sleep 1000 & wait", "it has closed the connection", "", "garbled"),
    ];
    for (text, reason, said, code) in cases {
        let program = server.script("bad", text);
        assert_eq!(fails(&server, &program, &[], reason, said)["code"], code, "{text}");
    }
    let hangs = server.script("hangs", "echo thinking >&2; sleep 1000 & setsid sleep 1000 & wait");
    let answer = fails(&server, &hangs, &["--within", "1"], "not ready within 1 s", "thinking");
    assert_eq!(answer["code"], "not_ready");

    let speakers = [
        ("pair.send(b'hello')\ntime.sleep(1000)", "it is not understood: \"hello\"", "garbled"),
        ("say(say='taken')\ntime.sleep(1000)", "it takes over before it may", "garbled"),
        ("ready(protocol=99)\ntime.sleep(1000)", "it speaks version 99, and we 1", "garbled"),
        ("ready()\nhear()\nsys.exit(5)", "", "ended"),
        ("ready()\nready()\ntime.sleep(1000)", "it is ready twice", "garbled"),
    ];
    for (text, reason, code) in speakers {
        let program = server.speaker("speaks", text);
        assert_eq!(fails(&server, &program, &[], reason, "")["code"], code, "{text}");
    }
    // It may take over, takes the pid file, and dies of it.
    let takes = format!(
        "ready()\nwhile hear()['say'] != 'takeOver': pass\n\
         open({:?}, 'r+').write('1\\n')\nos.kill(os.getpid(), 9)",
        server.runtime().join("master.pid")
    );
    let program = server.speaker("takes", &takes);
    let reason = "it was killed by SIGKILL before it had taken over";
    fails(&server, &program, &[], reason, "");

    ledger.wait_for_round(&server);
    ledger.balance(&server);
    assert_eq!(server.told("upgrade_done").len(), server.told("upgrade_start").len());
    // And then it works.
    server.upgrade();
    assert_eq!(server.first_exit_code(), 0);
}

#[test]
fn one_that_may_take_over_and_does_not_is_killed_after_ten_seconds() {
    let server = house();
    let text = "ready()\nwhile hear()['say'] != 'takeOver': pass\ntime.sleep(1000)";
    let program = server.speaker("sleeps", text);
    let answer = fails(&server, &program, &[], "it had not taken over within 10 s", "");
    assert_eq!(answer["code"], "not_taken");
    assert_eq!(server.release(), "1");
}

#[test]
fn an_app_that_does_not_start_any_more_is_told_in_its_own_words() {
    let mut server = house();
    let before = server.state();
    server.publish_with("2", "\nraise RuntimeError('no more')\n");
    let (code, output) = server.cli(&["upgrade"]);
    assert_eq!(code, 1);
    assert!(
        output.contains("error: the upgrade failed: it exited 1 before it was ready"),
        "{output}"
    );
    assert!(output.contains("RuntimeError: no more"), "{output}");
    assert_eq!(server.state(), before);
    assert_eq!(server.release(), "1", "the old one serves what it has");
    server.publish("3");
    server.upgrade();
    assert_eq!(server.release(), "3");
}

#[test]
fn a_bad_edgefile_is_told_by_its_line() {
    const GOOD: &str = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
        site \"*\" { route \"/*\" { redirect \"/x\" } }\n";
    let mut server = Setup::edgefile(GOOD).own_program().word("--no-watch").start();
    let before = server.state();
    server.write_edgefile(&GOOD.replace("redirect", "redirrect"));
    let (code, answer) = server.try_upgrade(&[]);
    assert_eq!((code, &answer["code"]), (1, &"ended".into()), "{answer:#}");
    let said = answer["stderr"].to_string();
    assert!(said.contains("Edgefile:3") && said.contains("redirrect"), "{answer:#}");
    assert_eq!(server.state(), before);
    server.write_edgefile(GOOD);
    server.upgrade();
}

#[test]
fn a_program_that_was_deleted_or_replaced_on_disk_is_noticed() {
    let mut server = house();
    fs::remove_file(server.path("bin/rip-master")).unwrap();
    let before = server.state();
    let (code, answer) = server.try_upgrade(&[]);
    assert_eq!((code, &answer["code"]), (1, &"not_started".into()), "{answer:#}");
    assert_eq!(server.state(), before);
    assert_eq!(server.cli(&["restart"]).0, 0, "workers are made from the program that runs");
    server.replace_program();
    server.upgrade();
    // The old file is not the program of anybody any more.
    server.replace_program();
    server.upgrade();
    server.wait_for_predecessors();
    let running = fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap();
    assert_eq!(running, server.path("bin/rip-master"), "and it is not deleted");
}

#[test]
fn there_is_one_at_a_time_and_no_other_change_meanwhile() {
    let mut server = house();
    let gate = server.path("enough");
    let waits = format!("while [ ! -e '{}' ]; do sleep 0.05; done; exit 1", gate.display());
    let waits = server.script("waits", &waits).display().to_string();
    let words = ["upgrade", "--binary", &waits, "--no-wait", "--within", "120"];
    let (code, output) = server.cli(&words);
    assert_eq!((code, output.trim()), (0, "the upgrade has begun"));
    eventually("its process", || server.told("upgrade_start").len() == 1);
    for words in [
        &["upgrade"][..],
        &["reload"],
        &["ctl", "scale", "3"],
        &["ctl", "pause"],
        &["add", "new.test"],
    ] {
        let (code, output) = server.cli(words);
        assert!(code == 1 && output.contains("an upgrade is under way"), "{words:?}: {output}");
    }
    // What concerns the workers there are goes on.
    assert_eq!(server.cli(&["restart"]).0, 0);
    // A signal is remembered.
    server.publish("2");
    server.signal(Signal::SIGHUP);
    server.signal(Signal::SIGUSR2);
    fs::write(&gate, "").unwrap();
    eventually("the end of the attempt", || server.told("upgrade_done").len() == 1);
    eventually("the reload that was put off", || server.release() == "2");
    server.upgrade();
}

#[test]
fn a_server_that_is_stopped_ends_its_successor_first() {
    let mut server = house();
    let sleeps = server.script("sleeps", "setsid sleep 1000 & sleep 1000");
    let sleeps = sleeps.display().to_string();
    let words = ["upgrade", "--binary", &sleeps, "--no-wait"];
    assert_eq!(server.cli(&words).0, 0);
    eventually("its process", || server.told("upgrade_start").len() == 1);
    assert_eq!(server.stop(), 0, "and nothing is left");
    let [done] = &server.told("upgrade_done")[..] else { panic!("once") };
    assert!(done.contains("reason=\"the server is stopping\""), "{done}");
}

#[test]
fn a_successor_ends_with_a_server_that_is_killed_before_it_may_take_over() {
    let setup = Setup::recorder().env("START_GATE", "go").own_program().workers(1).unawaited();
    let mut server = setup.start();
    server.open_gate("go");
    server.wait_for_workers(1);
    server.close_gate("go");
    let first = server.processes();
    assert_eq!(server.cli(&["upgrade", "--no-wait"]).0, 0);
    // It has started everything, and its app waits.
    until("the successor and its worker", || {
        (server.processes().len() >= first.len() * 2).then_some(())
    });
    server.kill();
    assert!(Client::try_connect(server.port()).is_err());
}

#[test]
fn a_successor_that_nobody_hands_over_to_seizes_nothing() {
    // Process 1 stands for a parent that was another one a moment ago.
    let (code, said) = Setup::recorder().own_program().env("RIP_SUCCEEDS", "1 3").fails();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("the running server cannot be taken over: process 1 has ended"),
        "{said}"
    );
}

#[test]
fn a_successor_that_serves_lives_on_when_the_old_one_is_killed() {
    let mut server = Setup::recorder().own_program().workers(1).start();
    let mut slow = server.connect();
    slow.request("GET", "/slow?gate=go", "", b"");
    server.wait_for_seen("/slow?gate=go");
    let first = server.pid();
    server.upgrade();
    // It has nothing to read again, and says so.
    processes::signal(first, Signal::SIGHUP);
    eventually("who is meant", || server.log().contains("HUP: another server serves"));
    processes::signal(first, Signal::SIGKILL);
    assert!(slow.closes());
    // Its workers go with it, and what it has left is tidied up.
    server.wait_for_predecessors();
    eventually("one master, one shim, one app", || server.processes().len() == 3);
    assert_eq!(server.get("/").status, 200);
    server.upgrade();
}
