//! Disks that are full, may not be written, or hold what makes no sense: turns are refused with a
//! reason or a new store takes the place of the old one, and everything else goes on.

use crate::harness::mounts::{Disk, alone};
use crate::harness::session::{Ask, Event, Session, Stream};
use crate::harness::{Response, Server, Setup, eventually, until};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What else the server serves.
#[track_caller]
fn assert_serves(server: &Server) {
    let response = server.get("/page");
    assert_eq!((response.status, response.text().as_str()), (200, "page of /page"));
}

/// Refused because of the store, for this reason.
#[track_caller]
fn assert_refused(response: &Response, reason: &str) {
    assert_eq!(response.status, 503, "{response:?}");
    let body = response.json();
    let told = (&body["code"], &body["error"]);
    assert_eq!(told, (&json!("store"), &json!(format!("session store: {reason}"))));
    assert_eq!(response.field("Retry-After"), "1");
}

/// A turn that wants a lot of room.
fn large() -> Value {
    json!({"steps": [{"many": 60, "size": 4000}]})
}

/// Runs large turns until one is not committed; its answer, and how many were.
#[track_caller]
fn runs_until_refused(server: &Server, session: &mut Session) -> (Response, u64) {
    for committed in 0..100 {
        let response = Ask::message(session, &large()).answer(server);
        if response.status != 200 {
            return (response, committed);
        }
        session.learn(&response);
    }
    panic!("there is always room");
}

#[test]
fn a_full_disk_refuses_turns_and_nothing_else_until_there_is_room() {
    alone(|| {
        let setup = Setup::turns_command().workers(2);
        let disk = Disk::at(setup.path("state"), 6 * 1024);
        let mut server = setup.start();
        let (mut session, _) = Session::start(&server, &json!({}));
        let (other, _) = Session::start(&server, &json!({}));
        session.message(&server, &large());
        // A turn that runs while the room goes.
        let plan = json!({"attempts": [
            {"steps": ["a", {"gate": "full"}, {"many": 400, "size": 9000}]},
            {"steps": ["b"]},
        ]});
        let mut stream = Ask::message(&other, &plan).sse().stream(&server);
        assert_eq!(stream.event().data["text"], "a");
        disk.fill();
        let (refused, committed) = runs_until_refused(&server, &mut session);
        assert_refused(&refused, "full");
        server.open_gate("full");
        let last = last_of(&mut stream);
        assert_eq!((last.kind(), &last.data["code"]), ("error", &json!("store")), "{last:?}");
        assert_eq!(last.id, None, "what is not stored has no name");
        server.wait_for_told("sessions_failed", 1);
        assert!(server.told("sessions_failed")[0].contains("full"), "{}", server.log());
        for _ in 0..20 {
            assert_serves(&server);
            let started = Ask::start(&large()).answer(&server);
            assert_eq!(started.status, 503, "{started:?}");
        }
        // What is there can be read.
        let before = session.history(&server);
        assert!(before.len() as u64 > 60 * committed);

        // Nor does it get better by starting anew.
        server.kill();
        let stored = server.stored();
        assert_eq!(stored.committed(&session.id), 2 + committed);
        assert_eq!(stored.committed(&other.id), 1);
        server.start_again();
        assert_serves(&server);
        let refused = Ask::message(&session, &json!({})).answer(&server);
        assert_eq!(refused.status, 503, "{refused:?}");
        disk.clear();
        eventually("a turn", || {
            let response = Ask::message(&session, &large()).answer(&server);
            assert!(matches!(response.status, 200 | 503), "{response:?}");
            if response.status == 200 {
                session.learn(&response);
            }
            response.status == 200
        });
        let again = Ask::message(&other, &plan).answer(&server);
        assert_eq!((again.status, &again.json()["output"]["attempt"]), (200, &json!(2)));
        let told = session.message(&server, &json!({}));
        assert_eq!(told["output"]["state"]["count"], 3 + committed, "each has its effect once");
        assert!(server.moved_aside().is_empty());
        assert_eq!(server.stop(), 0);
        server.stored();
        disk.remove();
    });
}

/// The last event of a stream, which may be cut behind it.
fn last_of(stream: &mut Stream) -> Event {
    let mut last = None;
    while let Ok(Some(event)) = stream.try_next() {
        last = Some(event);
    }
    last.expect("an event")
}

#[test]
fn a_turn_that_ends_on_a_full_disk_is_over_once_there_is_room() {
    alone(|| {
        let setup = Setup::turns_command().workers(1);
        let disk = Disk::at(setup.path("state"), 16 * 1024);
        let mut server = setup.start();
        let (session, _) = Session::start(&server, &json!({}));
        let plan = json!({"attempts": [
            {"gate": "full", "steps": [{"many": 300, "size": 9000}]},
            {"answer": {"status": "finished", "output": 2}},
        ]});
        let ask = Ask::message(&session, &plan);
        let mut client = ask.send(&server);
        server.wait_for_turns(2);
        disk.fill();
        server.open_gate("full");
        let response = client.response();
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(response.json()["code"], "store", "{response:?}");
        disk.clear();
        // The same master, the same token.
        let again = until("another attempt", || {
            let again = ask.answer(&server);
            assert!(matches!(again.status, 200 | 409 | 503), "{again:?}");
            (again.status == 200).then_some(again)
        });
        assert_eq!(again.json()["output"], 2);
        eventually("news that it is well", || {
            Session::start(&server, &json!({}));
            !server.told("sessions_recovered").is_empty()
        });
        assert_eq!(server.stop(), 0);
        server.stored();
        disk.remove();
    });
}

#[test]
fn a_disk_that_may_not_be_written_refuses_turns_until_it_may() {
    alone(|| {
        let setup = Setup::turns_command().workers(1);
        let disk = Disk::at(setup.path("state"), 4 * 1024);
        let mut server = setup.start();
        let (mut session, _) = Session::start(&server, &json!({}));
        assert_eq!(server.stop(), 0);
        disk.is_writable(false);
        server.start_again();
        server.wait_for_told("sessions_failed", 1);
        for _ in 0..5 {
            assert_serves(&server);
            assert_refused(&Ask::message(&session, &json!({})).answer(&server), "read-only");
            assert_refused(&Ask::start(&json!({})).answer(&server), "read-only");
            assert_refused(&Ask::status(&session).answer(&server), "read-only");
        }
        assert_eq!(server.turns("turn").len(), 1, "the app is not asked in vain");
        disk.is_writable(true);
        eventually("the store", || Ask::status(&session).answer(&server).status == 200);
        assert_eq!(session.message(&server, &json!({}))["output"]["state"]["count"], 1);
        assert_eq!(server.stop(), 0);
        server.stored();
        disk.remove();
    });
}

/// Sessions, in a store that is closed then.
#[track_caller]
fn filled(server: &mut Server) -> Session {
    let sessions: Vec<_> = (0..8).map(|_| Session::start(server, &large()).0).collect();
    assert_eq!(server.stop(), 0);
    server.stored();
    sessions.into_iter().next_back().expect("a session")
}

/// A way to spoil the file of a database.
type Spoil = fn(&Path);

fn truncate(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).expect("the database");
    let length = file.metadata().expect("its length").len();
    file.set_len(length / 2).expect("half of it");
}

fn garble(path: &Path) {
    let length = fs::metadata(path).expect("the database").len();
    fs::write(path, vec![0x5a; usize::try_from(length).expect("a length")]).expect("garbage");
}

/// The middle of it; its head and its tables are as they were.
fn hole(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).expect("the database");
    let pages = file.metadata().expect("its length").len() / 4096;
    assert!(pages > 100, "{pages}");
    for page in 20..pages - 4 {
        file.write_all_at(&[0xa5; 4096], page * 4096).expect("a page");
    }
}

#[test]
fn a_database_that_makes_no_sense_is_moved_aside_and_never_deleted() {
    for (what, spoil) in
        [("truncated", truncate as Spoil), ("garbled", garble as Spoil), ("torn", hole as Spoil)]
    {
        let mut server = Setup::turns_command().workers(1).start();
        let session = filled(&mut server);
        spoil(&server.store());
        let spoilt = fs::read(server.store()).unwrap();
        server.start_again();
        server.wait_for_told("sessions_broken", 1);
        let moved = server.moved_aside();
        let [moved] = moved.as_slice() else { panic!("{what}: {moved:?}") };
        assert!(fs::read(moved).unwrap() == spoilt, "{what}: it is as it was");
        let told = &server.told("sessions_broken")[0];
        assert!(told.contains(&moved.display().to_string()), "{what}: {told}");
        assert_serves(&server);
        let unknown = Ask::message(&session, &json!({})).answer(&server);
        assert_eq!(unknown.status, 404, "{what}: {unknown:?}");
        let (mut next, _) = Session::start(&server, &json!({}));
        next.message(&server, &json!({}));
        // Once: what took its place is good, also for the next master.
        server.kill();
        assert_eq!(server.stored().committed(&next.id), 2);
        server.start_again();
        next.message(&server, &json!({}));
        assert_eq!(server.moved_aside(), std::slice::from_ref(moved), "{what}");
        assert_eq!(server.stop(), 0);
        server.stored();
    }
}

#[test]
fn a_database_that_breaks_while_it_serves_is_replaced_under_the_server() {
    let mut server = Setup::turns_command().workers(2).start();
    let session = filled(&mut server);
    server.start_again();
    let (mut running, _) = Session::start(&server, &json!({}));
    let plan = json!({"steps": ["a", {"gate": "broken"}, "b"]});
    let mut stream = Ask::message(&running, &plan).sse().stream(&server);
    stream.event();
    hole(&server.store());
    // Somebody reads what is no more.
    let events = Ask::events(&session, "?last_event_id=earliest&limit=1000");
    let events = events.field("Accept", "application/json");
    eventually("the new store", || {
        let response = events.answer(&server);
        assert!(matches!(response.status, 200 | 404 | 503), "{response:?}");
        assert_serves(&server);
        !server.told("sessions_broken").is_empty()
    });
    // The turn that ran is lost, loudly.
    server.open_gate("broken");
    let last = last_of(&mut stream);
    assert_eq!(last.kind(), "error", "{last:?}");
    let unknown = Ask::message(&running, &json!({})).answer(&server);
    assert_eq!(unknown.status, 404, "{unknown:?}");
    (running, _) = Session::start(&server, &json!({}));
    running.message(&server, &json!({}));
    assert_eq!(server.moved_aside().len(), 1);
    assert_eq!(server.stop(), 0);
    assert_eq!(server.stored().committed(&running.id), 2);
}

#[test]
fn a_store_that_fails_for_a_moment_fails_what_it_was_asked_in_that_moment() {
    // Whatever step it is, also those of its chores: the same request is answered a moment later.
    for fault in ["full:14-17", "unreachable:14-17", "broken:16", "full:20-24", "unreachable:22"] {
        let mut server = Setup::builtin("turn").workers(1).word("--sessions").start();
        let (mut session, _) = Session::start(&server, &json!({"text": "before"}));
        assert_eq!(server.stop(), 0);
        assert!(server.starts_again_with("RIP_STORE_FAULT", fault), "{fault}");
        for turn in 2..8 {
            let ask = Ask::message(&session, &json!({"text": "one two"}));
            let ask = ask.key(&format!("the key of turn {turn}"));
            let response = until("an answer", || {
                let response = ask.answer(&server);
                assert!(matches!(response.status, 200 | 409 | 422 | 503), "{fault}: {response:?}");
                (response.status == 200).then_some(response)
            });
            session.learn(&response);
            assert_eq!(response.json()["output"]["turns"], turn, "{fault}: each counts once");
        }
        assert!(server.moved_aside().is_empty(), "{fault}");
        assert_eq!(server.stop(), 0);
        assert_eq!(server.stored().committed(&session.id), 7, "{fault}");
    }
}
