//! What is forgotten, when, and that it ends.

use super::rig::{NOW, Rig, asked, finish, name, start_asked};
use crate::agents::store::chores::Chores;
use crate::agents::store::fault::{Fault, Faults};
use crate::agents::store::trouble::Kind;
use crate::reactor::clock::Clock;
use crate::shared::store::StoreOrder;
use rip::limits::{
    IDEMPOTENCY_KEEP, PRUNE_COUNT, SESSION_EVENT_BYTES, SESSION_EVENT_KEEP, SESSION_KEEP,
};
use rip::session::end::AppendOrder;
use rip::session::{Event, EventId, Refusal};
use rip::time::UnixMillis;
use std::time::Duration;

fn after(pause: Duration) -> UnixMillis {
    UnixMillis(NOW.0 + pause.as_millis() as u64)
}

/// Prunes to the end; in how many steps is returned.
#[track_caller]
fn prune(rig: &mut Rig) -> usize {
    for step in 0..1000 {
        if !rig.database.prune(rig.now).unwrap() {
            rig.check();
            return step;
        }
    }
    panic!("it does not end");
}

fn number(rig: &Rig, question: &str) -> u64 {
    let number: i64 = rig.database.conn.query_row(question, [], |row| row.get(0)).unwrap();
    number.try_into().unwrap()
}

fn count(rig: &Rig, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    rig.database.conn.query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn old_events_go_and_the_last_one_stays() {
    let mut rig = Rig::new();
    let id = rig.session(1, 3);
    prune(&mut rig);
    assert_eq!(count(&rig, "events"), 9);
    rig.now = after(SESSION_EVENT_KEEP);
    prune(&mut rig);
    let page = rig.page(id, 8).unwrap();
    assert_eq!((page.first, page.last.seq, page.events.len()), (9, 9, 1));
    assert_eq!(prune(&mut rig), 0, "the last event is looked at again and again");
    // The session goes on, and what was the last one goes in its turn.
    let run = rig.ran(rig.message(id, 4));
    rig.append(&run, 9, 1);
    rig.end(finish(&run, 4));
    prune(&mut rig);
    assert_eq!(rig.page(id, 9).unwrap().first, 11);
    assert_eq!(rig.look(id, 5).unwrap().turn, 4);
}

#[test]
fn many_events_go_in_small_steps() {
    let mut rig = Rig::new();
    let run = rig.ran(super::rig::start(1));
    let many = 3 * PRUNE_COUNT as u64 + 10;
    rig.append(&run, 0, many);
    rig.end(finish(&run, 1));
    rig.now = after(SESSION_EVENT_KEEP);
    assert!(prune(&mut rig) >= 4);
    assert_eq!(count(&rig, "events"), 1);
    // Too many bytes go as well, whatever their age.
    rig.now = NOW;
    let id = rig.session(2, 3);
    let large = "UPDATE sessions SET event_bytes = 70000000 WHERE id = ?1";
    rig.database.conn.execute(large, [id.as_bytes()]).unwrap();
    rig.database.prune(rig.now).unwrap();
    assert_eq!(rig.page(id, 8).unwrap().first, 9);
}

#[test]
fn however_fast_an_app_writes_a_session_keeps_what_it_may() {
    let mut rig = Rig::new();
    let run = rig.ran(super::rig::start(1));
    let epoch = run.attempt.owner;
    let text = format!("\"{}\"", "x".repeat(4000));
    let delta = |seq| Event::delta(EventId::new(epoch, seq), run.attempt.turn, NOW, &text);
    let kept = "SELECT event_bytes FROM sessions";
    let mut most = 0;
    for order in 0..40 {
        let events = (order * 500 + 1..=order * 500 + 500).map(delta).collect();
        let order = AppendOrder { attempt: run.attempt, events };
        rig.one(StoreOrder::Append(order));
        let bytes = number(&rig, kept);
        most = most.max(bytes);
    }
    assert!(most > SESSION_EVENT_BYTES - 4 * 1024 * 1024, "{most}");
    assert!(most <= SESSION_EVENT_BYTES, "{most}");
    let sum = "SELECT sum(octet_length(data)) FROM events";
    let bytes = number(&rig, sum);
    assert!(bytes <= SESSION_EVENT_BYTES, "{bytes}");
    // Who reads on is told; the turn ends as any other.
    let page = rig.page(run.attempt.session, 0).unwrap();
    assert_eq!((page.first > 1, page.last.seq), (true, 20_000));
    rig.end(finish(&run, 1));
}

#[test]
fn sessions_go_in_the_end_but_not_while_they_run() {
    let mut rig = Rig::new();
    let id = rig.session(1, 2);
    let running = rig.ran(start_asked(2, Some(asked(1)), false));
    rig.append(&running, 0, 2 * PRUNE_COUNT as u64);
    rig.now = UnixMillis(after(SESSION_KEEP).0 - 1);
    prune(&mut rig);
    assert_eq!(count(&rig, "sessions"), 2);
    rig.now = after(SESSION_KEEP);
    assert_eq!(rig.refused(rig.message(id, 3)), Refusal::UnknownSession(id.to_string()));
    prune(&mut rig);
    assert!(rig.page(id, 0).is_none() && rig.page(name(2), 0).is_some());
    rig.end(finish(&running, 1));
    rig.now = UnixMillis(rig.now.0 + SESSION_KEEP.as_millis() as u64);
    prune(&mut rig);
    for table in ["sessions", "states", "events", "endings", "keys"] {
        assert_eq!(count(&rig, table), 0, "{table}");
    }
}

#[test]
fn keys_and_what_they_stand_for_go_after_a_day() {
    let mut rig = Rig::new();
    let run = rig.ran(start_asked(1, Some(asked(1)), false));
    rig.end(finish(&run, 1));
    let run = rig.ran(rig.message(name(1), 2));
    rig.end(finish(&run, 2));
    rig.now = UnixMillis(after(IDEMPOTENCY_KEEP).0 - 1);
    prune(&mut rig);
    assert_eq!((count(&rig, "keys"), count(&rig, "endings")), (1, 2));
    rig.now = after(IDEMPOTENCY_KEEP);
    prune(&mut rig);
    // The last ending tells how things stand.
    assert_eq!((count(&rig, "keys"), count(&rig, "endings")), (0, 1));
}

#[test]
fn a_row_that_makes_no_sense_keeps_nothing_else_from_being_forgotten() {
    let mut rig = Rig::new();
    for number in 1..=20 {
        rig.session(number, 2);
    }
    let spoil = "UPDATE sessions SET ledger = 'x' WHERE id < ?1";
    let spoilt = rig.database.conn.execute(spoil, [name(13).as_bytes()]).unwrap();
    assert_eq!(spoilt, 12);
    for now in [SESSION_EVENT_KEEP, SESSION_KEEP] {
        rig.now = after(now);
        let steps = (0..1000).find(|_| !rig.database.prune(rig.now).unwrap());
        assert!(steps.is_some(), "it does not end");
    }
    assert_eq!((count(&rig, "sessions"), count(&rig, "events")), (0, 0));
}

#[test]
fn chores_that_fail_are_not_tried_again_at_once() {
    let mut rig = Rig::new();
    let run = rig.ran(super::rig::start(1));
    rig.database.abandon(&run.attempt);
    let now = Clock::read();
    let mut chores = Chores::new(now);
    rig.database.faults = Faults::at(Fault::Fail(Kind::Full), 1);
    let mut rounds = 0;
    while chores.next() <= now {
        rounds += 1;
        chores.round(&mut rig.database, now, NOW);
        assert!(rounds < 4, "it turns in circles");
    }
    assert!(rig.database.sweep(NOW).unwrap().len() + rounds > 1);
    assert!(rig.database.sweep(NOW).unwrap().is_empty());
}

#[test]
fn timers_that_nobody_serves_hold_up_no_other() {
    let mut rig = Rig::new();
    for number in 1..=5 {
        rig.parked(number, UnixMillis(NOW.0 + u64::from(number)));
    }
    rig.now = after(Duration::from_secs(1));
    let mut place = Default::default();
    let mut look = || {
        let due = rig.database.due(rig.now, &mut place, 2).unwrap();
        due.into_iter().map(|(session, _)| session).collect::<Vec<_>>()
    };
    // Nobody runs any of them: they are told of in turn, and again from the start.
    for _ in 0..2 {
        assert_eq!(look(), [name(1), name(2)]);
        assert_eq!(look(), [name(3), name(4)]);
        assert_eq!(look(), [name(5)]);
    }
}

#[test]
fn a_session_is_kept_until_its_timer_has_had_its_time() {
    let mut rig = Rig::new();
    let at = after(30 * Duration::from_secs(24 * 3600));
    let waits = rig.parked(1, at);
    let idle = rig.session(2, 1);
    rig.now = after(2 * SESSION_KEEP);
    prune(&mut rig);
    assert_eq!(count(&rig, "sessions"), 1, "the idle one is gone");
    assert!(rig.look(idle, 2).is_err());
    let view = rig.look(waits, 2).unwrap();
    let expires_at = UnixMillis(at.0 + SESSION_KEEP.as_millis() as u64);
    assert_eq!((view.status, view.expires_at), ("parked", expires_at));
    rig.now = at;
    assert_eq!(rig.due().len(), 1);
    // Nobody ran it in time.
    rig.now = expires_at;
    assert!(rig.due().is_empty());
    prune(&mut rig);
    assert_eq!(count(&rig, "sessions"), 0);
}
