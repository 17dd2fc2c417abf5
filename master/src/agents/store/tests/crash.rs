//! The master is killed at every step of a turn: what is there afterwards is the old or the new, never
//! a mixture, and whatever was answered is there.

use super::rig::{NOW, Rig, append, asked, finish, message, name, start_asked};
use crate::agents::store::database::Database;
use crate::agents::store::fault::{Fault, Faults};
use crate::agents::store::place::Place;
use crate::agents::store::rows;
use crate::sys::test_dir::TestDir;
use crate::sys::test_disk::{self, Disk};
use rip::session::claim::Claim;
use rip::session::event::Closes;
use rip::session::{Epoch, Refusal};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

/// Set in the process that is to die: how, and where its store is.
const JOB: &str = "RIP_TEST_STORE_CHILD";

#[test]
fn killed_at_every_step_of_the_store() {
    let mut at = 0;
    loop {
        at += 1;
        if !dies("step", at) {
            break;
        }
    }
    assert!(at > 20, "there are only {at} steps");
}

#[test]
fn killed_in_the_middle_of_writes_and_at_syncs() {
    let (mut at, mut count) = (1, 0);
    while dies("disk", at) {
        // All of the first ones, which make the files, then fewer.
        at += 1 + at / 16;
        count += 1;
    }
    assert!(count > 20, "there are only {count} writes");
}

/// Has a process play the script below and die; what it left is looked at. False when it lived.
fn dies(how: &str, at: u64) -> bool {
    let dir = TestDir::make();
    let path = dir.path().join("sessions.db");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "agents::store::tests::crash::child", "--nocapture", "--test-threads=1"])
        .env(JOB, format!("{how} {at} {}", path.display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let acks = text.matches("ack.").count();
    match output.status.signal() {
        None => {
            assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(acks, 11, "{text}");
        }
        Some(signal) => assert_eq!(signal, 9, "{how} {at}: {text}"),
    }
    look_at(&path, acks, &format!("{how} {at}, {acks} answers"));
    output.status.signal().is_some()
}

/// What may be there after so many answers.
#[track_caller]
fn look_at(path: &Path, acks: usize, what: &str) {
    // Nothing is broken: nothing is moved aside.
    let mut rig = Rig::at(path);
    rig.check();
    let id = name(1);
    let interrupted = rig.database.sweep(NOW).unwrap();
    rig.check();
    let committed = rows::session(&rig.database.conn, id).unwrap().map(|session| {
        assert!(session.running.is_none(), "{what}: it runs for ever");
        session.committed
    });
    let allowed: &[Option<u64>] = match acks {
        0 => &[None],
        1 => &[None, Some(0)],
        2 => &[Some(0)],
        3 => &[Some(0), Some(1)],
        4 | 5 => &[Some(1)],
        6 => &[Some(1), Some(2)],
        7..=9 => &[Some(2)],
        10 => &[Some(2), None],
        _ => &[None],
    };
    assert!(allowed.contains(&committed), "{what}: {committed:?}");
    let Some(committed) = committed else {
        assert!(rig.page(id, 0).is_none());
        rig.session(1, 1);
        return;
    };
    for (id, event) in &interrupted {
        assert_eq!((*id, event.closes), (name(1), Closes::Attempt), "{what}");
        assert_eq!(event.id.epoch, rig.database.epoch(), "{what}");
    }
    // The outcome, the state and the token are of one turn.
    let page = rig.page(id, 0).unwrap();
    let outcomes = page.events.iter().filter(|event| event.closes == Closes::Turn).count();
    assert_eq!(outcomes as u64, committed, "{what}");
    let state = rows::state(&rig.database.conn, id).unwrap();
    let expected = (committed > 0).then(|| format!("{{\"turns\":{committed}}}"));
    assert_eq!(state, expected, "{what}");
    if committed > 0 {
        let ending = rows::ending(&rig.database.conn, id, committed).unwrap().unwrap();
        assert!(ending.is_committed && ending.answer.contains(&format!("\"output\":{committed}")));
        assert_eq!(rig.refused(rig.message(id, committed)), Refusal::StaleToken(id), "{what}");
    }
    assert!(rig.look(id, committed + 1).unwrap().may_write, "{what}");
    if committed == 2 {
        let repeated = message(id, Some(rig.token(id, 2)), Some(asked(2)));
        assert!(matches!(rig.claim(repeated).0, Claim::Replay { .. }), "{what}");
    }
    // The token that is good runs the next turn.
    let run = rig.ran(rig.message(id, committed + 1));
    rig.append(&run, run.last.seq, 2);
    rig.end(finish(&run, committed + 1));
    rig.check();
}

/// The script, in a process of its own: it does nothing in any other.
#[test]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let mut words = job.splitn(3, ' ');
    let mut word = || words.next().unwrap();
    let (how, at, path) = (word(), word().parse().unwrap(), word());
    let faults = match how {
        "step" => Faults::at(Fault::Kill, at),
        _ => {
            test_disk::plan(Some((Disk::Torn, at)));
            Faults::default()
        }
    };
    let opened = Database::open(&Place::of(Path::new(path)), None, faults, NOW);
    let database = opened.unwrap().0;
    assert_eq!(database.epoch(), Epoch(1));
    let mut rig = Rig { database, now: NOW, dir: None, path: path.into() };
    let id = name(1);
    ack();
    let run = rig.ran(start_asked(1, None, true));
    ack();
    rig.one(append(&run, 0, 2));
    ack();
    rig.one(finish(&run, 1));
    ack();
    let run = rig.ran(message(id, Some(rig.token(id, 2)), Some(asked(2))));
    ack();
    rig.one(append(&run, 3, 2));
    ack();
    rig.one(finish(&run, 2));
    ack();
    let run = rig.ran(rig.message(id, 3));
    ack();
    rig.cancel(id, 3);
    ack();
    rig.one(finish(&run, 3));
    ack();
    rig.one(rig.deletion(id, 3));
    ack();
}

fn ack() {
    let mut out = std::io::stdout().lock();
    out.write_all(b"ack.\n").unwrap();
    out.flush().unwrap();
}
