//! Each order, and what is there afterwards.

use super::rig::{NOW, Rig, append, asked, end, finish, message, name, start, start_asked, timer};
use crate::agents::store::write;
use crate::shared::store::{StoreAnswer, StoreOrder};
use crate::sys::test_disk::sync_count;
use rip::session::claim::{Claim, WakeOrder};
use rip::session::end::{Appended, End, Ended, Lost};
use rip::session::look::{Cancel, Delete};
use rip::session::{Epoch, Failure, Outcome, Refusal, State};
use rip::time::UnixMillis;
use rusqlite::StatementStatus;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_session_goes_on_where_it_was_after_the_store_was_opened_anew() {
    let mut rig = Rig::new();
    let id = rig.session(7, 2);
    let events = rig.page(id, 0).unwrap();
    let mut rig = rig.reopen();
    rig.check();
    assert_eq!(rig.database.epoch().0, 2);
    let again = rig.page(id, 0).unwrap();
    let text = |page: &rip::session::viewer::Page| -> Vec<String> {
        page.events.iter().map(|event| format!("{event:?}")).collect()
    };
    assert_eq!((text(&again), again.last, again.first), (text(&events), events.last, 1));
    assert_eq!(again.events.len(), 6);
    // The state of the last turn is handed to the next, in a later life's epoch.
    let (claim, state) = rig.claim(rig.message(id, 3));
    let Claim::Run(run) = claim else { panic!("{claim:?}") };
    assert_eq!((state.as_deref(), run.attempt.owner.0), (Some("{\"turns\":2}"), 2));
    rig.append(&run, 6, 1);
    let page = rig.page(id, 5).unwrap();
    let names: Vec<String> = page.events.iter().map(|event| event.id.to_string()).collect();
    assert_eq!(names, ["0001-000000000006", "0002-000000000007"]);
    assert_eq!(page.running, Some(3));
    rig.check();
}

#[test]
fn the_refusals_are_those_of_the_decisions() {
    let mut rig = Rig::new();
    let id = rig.session(1, 1);
    let other = rig.session(2, 1);
    let unknown = Refusal::UnknownSession(name(9).to_string());
    assert_eq!(rig.refused(message(name(9), None, None)), unknown);
    assert_eq!(rig.refused(message(id, None, None)), Refusal::MissingToken(id));
    let foreign = rig.token(other, 2);
    assert_eq!(rig.refused(message(id, Some(foreign), None)), Refusal::StaleToken(id));
    let used = rig.token(id, 1);
    assert_eq!(rig.refused(message(id, Some(used), None)), Refusal::StaleToken(id));
    let run = rig.ran(rig.message(id, 2));
    let in_flight = Refusal::InFlight { session: id, own_turn: None };
    assert_eq!(rig.refused(rig.message(id, 2)), in_flight);
    // A failed turn leaves the token, and a later attempt is not the earlier one's.
    rig.end(end(run.attempt, End::Failed(Failure::Timeout)));
    let again = rig.ran(rig.message(id, 2));
    assert_eq!(again.attempt.number, 2);
    let lost = rig.end(finish(&run, 9));
    assert!(matches!(lost, Ended::Lost(Lost::Ended(_) | Lost::Taken)), "{lost:?}");
    assert!(matches!(rig.append(&run, 4, 1), Appended::Lost(_)));
    rig.end(finish(&again, 2));
    assert_eq!(rig.look(id, 3).unwrap().turn, 2);
    rig.check();
}

#[test]
fn a_lost_answer_is_found_by_its_key() {
    let mut rig = Rig::new();
    let order = || start_asked(3, Some(asked(1)), false);
    let run = rig.ran(order());
    let own = Refusal::InFlight { session: name(3), own_turn: Some(1) };
    assert_eq!(rig.refused(start_asked(4, Some(asked(1)), false)), own);
    rig.end(finish(&run, 1));
    let mut rig = rig.reopen();
    let (claim, _) = rig.claim(start_asked(4, Some(asked(1)), false));
    let Claim::Replay { session, ending, token, .. } = claim else { panic!("{claim:?}") };
    assert_eq!((session, ending.turn, token.turn), (name(3), 1, 2));
    assert!(ending.answer.contains("\"output\":1"), "{}", ending.answer);
    assert_eq!(ending.first, 1);
    let other = rip::session::Asked {
        fingerprint: rip::session::key::fingerprint("POST", "/", "{}", b""),
        ..asked(1)
    };
    assert_eq!(rig.refused(start_asked(4, Some(other), false)), Refusal::KeyReused);
    rig.check();
}

#[test]
fn a_cancelled_turn_does_not_commit_and_a_deleted_session_is_gone() {
    let mut rig = Rig::new();
    let id = rig.session(5, 1);
    assert!(matches!(rig.cancel(id, 2), Cancel::Ended { ending: Some(_), .. }));
    let run = rig.ran(rig.message(id, 2));
    assert!(matches!(rig.cancel(id, 2), Cancel::Cancelling { turn: 2, .. }));
    assert_eq!(rig.database.cancelled().unwrap(), [run.attempt]);
    let stored = rig.append(&run, 3, 1);
    assert!(matches!(stored, Appended::Stored { is_cancelling: true }));
    let Ended::Stored { ending, .. } = rig.end(finish(&run, 2)) else { panic!("it is lost") };
    assert!(ending.answer.contains("cancelled") && !ending.is_committed);
    assert!(rig.database.cancelled().unwrap().is_empty() && rig.database.live().is_empty());
    assert_eq!(rig.claim(rig.message(id, 2)).1.as_deref(), Some("{\"turns\":1}"));
    assert!(matches!(rig.delete(id, 2), Delete::Gone { owner: Some(_), .. }));
    assert!(rig.page(id, 0).is_none());
    assert_eq!(rig.look(id, 2).unwrap_err(), Refusal::UnknownSession(id.to_string()));
    for table in ["sessions", "states", "events", "endings", "keys"] {
        let count: i64 = rig
            .database
            .conn
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 0, "{table}");
    }
    rig.check();
}

#[test]
fn a_turn_whose_session_is_deleted_hears_of_it() {
    let mut rig = Rig::new();
    let (other, id) = (rig.ran(start(1)), rig.session(2, 1));
    let run = rig.ran(rig.message(id, 2));
    assert_eq!(rig.database.cancelled().unwrap(), []);
    rig.delete(id, 2);
    // It says nothing itself, and whoever deleted it did not know where it runs.
    assert_eq!(rig.database.cancelled().unwrap(), [run.attempt]);
    rig.end(finish(&run, 2));
    assert_eq!(rig.database.cancelled().unwrap(), []);
    rig.end(finish(&other, 1));
}

#[test]
fn a_timer_outlives_the_master() {
    let mut rig = Rig::new();
    let run = rig.ran(start(1));
    let wait = "{\"id\":\"w\",\"until\":\"2026-03-14T12:01:00Z\"}".to_owned();
    let until = Some(UnixMillis(NOW.0 + 60_000));
    rig.end(end(run.attempt, End::Outcome(Outcome::Parked { wait, until }, State::Same)));
    let mut rig = rig.reopen();
    assert!(rig.due().is_empty());
    assert!(matches!(rig.refused(timer(name(1))), Refusal::NotParked(_)));
    rig.now = UnixMillis(NOW.0 + 60_000);
    assert_eq!(rig.due(), [(name(1), super::rig::SCOPE.to_owned())]);
    let run = rig.ran(timer(name(1)));
    assert!(run.wake.as_deref().is_some_and(|wake| wake.contains("\"w\"")));
    assert!(rig.due().is_empty());
    rig.end(finish(&run, 2));
    rig.check();
}

#[test]
fn a_batch_of_any_size_syncs_once_and_only_if_it_must() {
    let mut rig = Rig::new();
    let starts: Vec<StoreOrder> = (1..=64).map(start).collect();
    let before = sync_count();
    let (answers, trouble) = rig.run(&starts);
    assert!(trouble.is_none());
    assert_eq!(sync_count() - before, 0, "a JSON start is durable at its end");
    let run = |answer: &StoreAnswer| match answer {
        StoreAnswer::Claim { claim, .. } => match &**claim {
            Claim::Run(run) => run.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let runs: Vec<_> = answers.iter().map(run).collect();
    let appends: Vec<_> = runs.iter().map(|run| append(run, 0, 2)).collect();
    let before = sync_count();
    rig.run(&appends);
    assert_eq!(sync_count() - before, 0, "events survive the process, and no more");
    let mut ends: Vec<_> = runs.iter().map(|run| finish(run, 1)).collect();
    ends.push(start_asked(65, None, true));
    let before = sync_count();
    let (answers, _) = rig.run(&ends);
    assert_eq!(sync_count() - before, 1, "64 commits share one sync");
    let stored =
        |answer: &&StoreAnswer| matches!(answer, StoreAnswer::Ended(Ok(Ended::Stored { .. })));
    assert_eq!(answers.iter().filter(stored).count(), 64);
    let before = sync_count();
    rig.one(start_asked(66, None, true));
    rig.one(rig.deletion(name(1), 2));
    assert_eq!(sync_count() - before, 2);
    rig.check();
}

#[test]
fn a_wake_lasts_before_its_client_hears_that_it_was_accepted() {
    let mut rig = Rig::new();
    for (number, is_told) in [(1, false), (2, true)] {
        let session = rig.parked(number, UnixMillis(NOW.0 + 1000)).to_string();
        let (owner, scope) = (Epoch(0), Some(super::rig::SCOPE.to_owned()));
        let wake = Some("{}".to_owned());
        let before = sync_count();
        rig.ran(StoreOrder::Wake(WakeOrder { owner, session, scope, wake, is_told }));
        assert_eq!(sync_count() - before, u64::from(is_told));
    }
}

#[test]
fn orders_of_one_batch_see_each_other() {
    let mut rig = Rig::new();
    let id = rig.session(1, 1);
    let orders: Vec<_> = (0..100).map(|_| rig.message(id, 2)).collect();
    let (answers, _) = rig.run(&orders);
    let runs = answers.iter().filter(|answer| match answer {
        StoreAnswer::Claim { claim, .. } => matches!(**claim, Claim::Run(_)),
        _ => false,
    });
    assert_eq!(runs.count(), 1);
    rig.check();
}

#[test]
fn an_order_that_breaks_a_rule_does_not_take_the_others_with_it() {
    let mut rig = Rig::new();
    let id = rig.session(1, 1);
    let run = rig.ran(rig.message(id, 2));
    // Events that are there already.
    let orders = [start(2), append(&run, 0, 1), start(3)];
    let (answers, trouble) = rig.run(&orders);
    assert_eq!(trouble, None);
    assert!(matches!(answers[1], StoreAnswer::Appended(Err("broken"))), "{:?}", answers[1]);
    rig.check();
    assert!(rig.page(name(2), 0).is_some() && rig.page(name(3), 0).is_some());
    // A row that makes no sense is nobody else's trouble either.
    rig.database
        .conn
        .execute("UPDATE sessions SET ledger = 'x' WHERE id = ?1", [id.as_bytes()])
        .unwrap();
    assert_eq!(rig.refused(rig.message(id, 2)), Refusal::Store("broken"));
    rig.ran(start(4));
}

#[test]
fn the_files_are_for_nobody_else() {
    let rig = Rig::new();
    let dir = rig.path.parent().unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir), 0o700);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(std::fs::read(dir.join("session.key")).unwrap().len(), 32);
}

#[test]
fn a_store_in_memory_leaves_nothing() {
    let place = std::path::Path::new(":memory:");
    let mut rig = Rig::at(place);
    let id = rig.session(1, 2);
    assert_eq!(rig.look(id, 3).unwrap().turn, 2);
    assert!(!place.exists());
    rig.check();
}

#[test]
fn no_statement_is_compiled_again_for_other_values() {
    let mut rig = Rig::new();
    for number in 1..=8 {
        rig.session(number, 4);
    }
    for sql in [write::AGE, write::PASS] {
        let statement = rig.database.conn.prepare_cached(sql).unwrap();
        assert!(statement.get_status(StatementStatus::Run) >= 31, "{sql}");
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
    }
}
