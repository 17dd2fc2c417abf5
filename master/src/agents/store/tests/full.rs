//! A store that cannot be written: it says why, nothing is half done, and it goes on when it can.

use super::rig::{Rig, append, finish, name, start};
use crate::agents::store::fault::{Fault, Faults};
use crate::agents::store::trouble::Kind;
use crate::shared::store::{StoreAnswer, StoreOrder};
use crate::sys::test_disk::{self, Disk};
use rip::session::Refusal;
use rip::session::claim::Claim;

/// What a batch is refused with, each order of it.
#[track_caller]
fn reasons(answers: &[StoreAnswer]) -> Vec<&'static str> {
    let reason = |answer: &StoreAnswer| match answer {
        StoreAnswer::Claim { claim, .. } => match **claim {
            Claim::Refused(Refusal::Store(reason)) => reason,
            _ => panic!("{claim:?}"),
        },
        StoreAnswer::Appended(Err(reason)) | StoreAnswer::Ended(Err(reason)) => reason,
        other => panic!("{other:?}"),
    };
    answers.iter().map(reason).collect()
}

#[test]
fn every_write_may_fail() {
    for (disk, expected) in [(Disk::Full, "full"), (Disk::Failing, "unreachable")] {
        let mut rig = Rig::new();
        let id = rig.session(1, 1);
        let mut at = 0;
        loop {
            at += 1;
            let run = rig.ran(rig.message(id, 2));
            let last = run.last.seq;
            let orders = [start(2), append(&run, last, 1), finish(&run, 2)];
            test_disk::plan(Some((disk, at)));
            let (answers, trouble) = rig.run(&orders);
            test_disk::plan(None);
            let Some(trouble) = trouble else { break };
            // A sync that fails is never only for want of room.
            for reason in reasons(&answers) {
                assert!([expected, "unreachable"].contains(&reason), "{at}: {trouble}");
            }
            if trouble.kind == Kind::Unreachable {
                rig.database.reconnect().unwrap();
            }
            rig.check();
            assert!(rig.page(name(2), 0).is_none());
            // The turn goes on: its end is stored when there is room again, or it is given up.
            rig.database.abandon(&run.attempt);
            assert_eq!(rig.database.sweep(rig.now).unwrap().len(), 1);
            assert_eq!(rig.look(id, 2).unwrap().turn, 2);
        }
        assert!(at > 5, "only {at} writes");
        rig = rig.reopen();
        rig.check();
        assert_eq!(rig.look(id, 3).unwrap().status, "idle");
    }
}

#[test]
fn a_full_database_refuses_and_takes_turns_again() {
    let mut rig = Rig::new();
    let id = rig.session(1, 1);
    let run = rig.ran(rig.message(id, 2));
    let pages: i64 =
        rig.database.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    rig.database
        .conn
        .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
        .unwrap();
    let many = append(&run, 3, 2000);
    let (answers, trouble) = rig.run(&[start(9), many.clone()]);
    assert_eq!(trouble.map(|trouble| trouble.kind), Some(Kind::Full));
    assert_eq!(reasons(&answers), ["full", "full"]);
    assert!(rig.page(name(9), 0).is_none());
    rig.check();
    rig.database.conn.query_row("PRAGMA max_page_count = 100000", [], |_| Ok(())).unwrap();
    assert!(matches!(rig.one(many), StoreAnswer::Appended(Ok(_))));
    rig.end(finish(&run, 2));
    rig.check();
}

#[test]
fn a_store_that_may_not_be_written_can_be_read() {
    let mut rig = Rig::new();
    let id = rig.session(1, 1);
    rig.database.conn.pragma_update(None, "query_only", true).unwrap();
    let (answers, trouble) = rig.run(&[rig.message(id, 2)]);
    assert_eq!(trouble.map(|trouble| trouble.kind), Some(Kind::ReadOnly));
    assert_eq!(reasons(&answers), ["read-only"]);
    assert_eq!(rig.page(id, 0).unwrap().events.len(), 3);
    rig.database.conn.pragma_update(None, "query_only", false).unwrap();
    rig.ran(rig.message(id, 2));
    rig.check();
}

#[test]
fn whatever_step_fails_nothing_is_half_done() {
    let mut at = 0;
    loop {
        at += 1;
        let mut rig = Rig::new();
        let id = rig.session(1, 1);
        let run = rig.ran(rig.message(id, 2));
        let faults = Faults::at(Fault::Fail(Kind::Full), at);
        rig.database.faults = faults.clone();
        let orders: Vec<StoreOrder> = vec![append(&run, 3, 2), finish(&run, 2), start(2)];
        let (answers, trouble) = rig.run(&orders);
        rig.database.faults = Faults::default();
        rig.check();
        let is_done = trouble.is_none();
        assert_eq!(rig.page(name(2), 0).is_some(), is_done, "{at}");
        let turn = if is_done { 3 } else { 2 };
        assert_eq!(rig.look(id, turn).unwrap().token.turn, turn, "{at}");
        if faults.passed() < at {
            break;
        }
        if !is_done {
            assert_eq!(reasons(&answers), ["full"; 3]);
            // The same orders once more: now they are done.
            assert_eq!(rig.run(&orders).1, None);
            assert_eq!(rig.look(id, 3).unwrap().token.turn, 3);
        }
    }
    assert!(at > 10);
}
