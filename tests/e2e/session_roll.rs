//! Turns live on while the app they run in is replaced, the configuration changes and the server is
//! asked to stop.

use crate::harness::session::{Ask, SESSIONS, Session, Stream, turns};
use crate::harness::{Client, Server, Setup, eventually, within};
use nix::sys::signal::Signal;
use rip::time::Civil;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Room for all the streams at either worker; the release of the app, and what nobody asks for.
fn file(release: u32, noise: u32) -> String {
    let app = format!("env RELEASE=\"{release}\"");
    let text = turns(SESSIONS, &app).replace("concurrency 8", "concurrency 256");
    format!("{text}site \"noise.test\" {{ route \"/\" {{ redirect \"/{noise}\" }} }}\n")
}

/// A turn that tells a word, waits, and so on.
fn gated(gates: &[&str]) -> Value {
    let mut steps = vec![json!("begin")];
    for gate in gates {
        steps.push(json!({"gate": gate}));
        steps.push(json!(gate));
    }
    json!({"steps": steps})
}

/// Streams of new sessions whose first word has come.
#[track_caller]
fn begun(server: &Server, count: usize, gates: &[&str]) -> Vec<Stream> {
    let mut streams: Vec<_> = (0..count)
        .map(|_| Stream::of(Ask::start(&gated(gates)).sse().send(server)).expect("a stream"))
        .collect();
    for stream in &mut streams {
        assert_eq!(stream.event().data["text"], "begin");
    }
    streams
}

/// The next word of each.
#[track_caller]
fn say(streams: &mut [Stream], word: &str) {
    for (number, stream) in streams.iter_mut().enumerate() {
        let event = stream.event();
        assert_eq!(event.data["text"], word, "stream {number}: {event:?}");
    }
}

/// The end of each, which must be good, and the generations that told it.
#[track_caller]
fn finished(streams: Vec<Stream>) -> (Vec<Session>, BTreeSet<u64>) {
    let mut generations = BTreeSet::new();
    let end = |mut stream: Stream| {
        let outcome = stream.outcome();
        assert_eq!(outcome.data["status"], "finished", "{outcome:?}");
        assert_eq!(outcome.data["output"]["attempt"], 1, "{outcome:?}");
        generations.insert(outcome.data["output"]["generation"].as_u64().expect("a number"));
        Session::of_stream(&stream.head, &outcome)
    };
    let sessions = streams.into_iter().map(end).collect();
    (sessions, generations)
}

#[test]
fn two_hundred_live_turns_are_not_touched_by_rolls_and_reloads() {
    let mut server = Setup::edgefile(&file(1, 1)).word("--no-watch").start();
    server.wait_for_workers(2);
    let (is_over, short) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sessions = std::thread::scope(|scope| {
        // Clients with short turns, one behind the other, all the time.
        for _ in 0..6 {
            scope.spawn(|| {
                let (mut session, _) = Session::start(&server, &json!({}));
                while !is_over.load(Ordering::Relaxed) {
                    session.message(&server, &json!({}));
                    short.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut old = begun(&server, 200, &["one", "two"]);
            let restart = scope.spawn(|| server.order(&["restart"]));
            eventually("new workers", || {
                server.ready_workers().iter().any(|row| row["generation"] == 2)
            });
            server.open_gate("one");
            say(&mut old, "one");
            let mut new = begun(&server, 100, &["three"]);
            // What changes nothing about the app, by a signal.
            server.write_edgefile(&file(1, 2));
            let attempt = server.hup();
            assert_eq!(attempt["result"], "applied", "{attempt}");
            server.open_gate("two");
            say(&mut old, "two");
            let (olds, first) = finished(old);
            restart.join().expect("the restart");
            // Another release of it.
            let attempt = server.take_up(&file(2, 2));
            assert_eq!(attempt["result"], "applied", "{attempt}");
            let mut newest = begun(&server, 40, &["three"]);
            server.open_gate("three");
            say(&mut new, "three");
            say(&mut newest, "three");
            let [(news, second), (newests, third)] = [new, newest].map(finished);
            assert_eq!(first, BTreeSet::from([1]));
            assert!(
                first.is_disjoint(&second) && second.is_disjoint(&third),
                "{second:?} {third:?}"
            );
            [olds, news, newests].concat()
        }));
        is_over.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(short.into_inner() > 30, "the short ones go on");
    // Each goes on where it was, in what serves now.
    for mut session in sessions {
        let told = session.message(&server, &json!({}));
        assert_eq!(told["output"]["state"]["count"], 1, "{told}");
    }
    assert!(server.turns("cut").is_empty());
    assert!(
        server.turns("turn").iter().all(|asked| asked.attempt().1 == 1),
        "nothing was tried twice"
    );
    assert_eq!(server.turns("turn").len(), server.turns("ended").len());
    assert_eq!(server.stop(), 0);
    let stored = server.stored();
    let names = stored.names();
    assert_eq!(names.len(), 346);
    assert!(names.iter().all(|name| stored.session(name)["errors"] == json!([])));
}

#[test]
fn a_server_that_stops_lets_its_turns_end_and_begins_none() {
    let mut server = Setup::edgefile(&file(1, 1)).word("--no-watch").start();
    server.wait_for_workers(2);
    let (idle, _) = Session::start(&server, &json!({}));
    let mut streams = begun(&server, 40, &["gate"]);
    let mut kept = server.connect();
    Ask::status(&idle).send_on(&mut kept);
    assert_eq!(kept.response().status, 200);
    server.signal(Signal::SIGTERM);
    eventually("no new connection", || Client::try_connect(server.port()).is_err());
    server.open_gate("gate");
    say(&mut streams, "gate");
    let (sessions, _) = finished(streams);
    assert_eq!(server.exit_code(), 0);
    server.stored();
    server.start_again();
    for mut session in sessions {
        session.message(&server, &json!({}));
    }
}

#[test]
fn a_turn_that_does_not_end_in_time_is_interrupted_by_the_stop() {
    let setup = Setup::turns_command().workers(1).flag("--drain-timeout-ms", 400);
    let mut server = setup.start();
    let (session, _) = Session::start(&server, &json!({}));
    let plan = json!({"attempts": [{"steps": ["a", {"gate": "never"}]}, {}]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    stream.event();
    server.signal(Signal::SIGTERM);
    let mut last = None;
    while let Ok(Some(event)) = stream.try_next() {
        last = Some(event);
    }
    server.exit_code();
    let stored = server.stored();
    assert_eq!(stored.committed(&session.id), 1);
    server.start_again();
    eventually("the end of the attempt", || session.status(&server)["status"] == "idle");
    let history = session.history(&server);
    let error = history.last().expect("an error");
    assert_eq!(
        (&error["type"], &error["retryable"]),
        (&json!("error"), &json!(true)),
        "{history:?}"
    );
    if let Some(told) = last {
        assert_eq!(told.kind(), "error", "{told:?}");
    }
    let again = Ask::message(&session, &plan).answer(&server);
    assert_eq!((again.status, &again.json()["output"]["attempt"]), (200, &json!(2)), "{again:?}");
}

#[test]
fn a_promised_turn_ends_before_the_server_does() {
    let mut server = Setup::turns_command().workers(1).start();
    let ask = Ask::start(&gated(&["gate"])).prefer("respond-async").key("the promised turn");
    let accepted = ask.answer(&server);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    server.wait_for_turns(1);
    server.signal(Signal::SIGTERM);
    eventually("no new connection", || Client::try_connect(server.port()).is_err());
    server.open_gate("gate");
    assert_eq!(server.exit_code(), 0);
    let id = accepted.field("Rip-Session-Id");
    assert_eq!(server.stored().committed(id), 1);
    server.start_again();
    let replayed = ask.answer(&server);
    assert_eq!((replayed.status, replayed.field("Idempotency-Replayed")), (200, "true"));
}

#[test]
fn sessions_outlive_a_configuration_without_them() {
    let mut server = Setup::edgefile(&file(1, 1)).word("--no-watch").start();
    server.wait_for_workers(2);
    let (mut idle, _) = Session::start(&server, &json!({}));
    let in_a_second = {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let Civil { year, month, day, hour, minute, second, .. } =
            Civil::from_unix(now.as_secs() + 2);
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    };
    let wait = json!({"reason": "a timer", "until": in_a_second});
    let plan = json!({"answer": {"status": "parked", "wait": wait, "state": {"count": 1}}});
    let (parked, _) = Session::start(&server, &plan);
    let mut streams = begun(&server, 20, &["gate"]);
    let promised = Ask::start(&gated(&["gate"])).prefer("respond-async").answer(&server);
    assert_eq!(promised.status, 202);

    let without = file(1, 1).replace(SESSIONS, "");
    assert_eq!(server.take_up(&without)["result"], "applied");
    let app = Ask::message(&idle, &json!({})).answer(&server);
    assert_eq!((app.status, app.text().contains("page of")), (200, true), "the app's: {app:?}");
    // Its time comes, and nobody is asked.
    let asked = || (server.turns_of(&parked.id).len() > 1).then_some(());
    assert!(within(Duration::from_millis(2500), asked).is_none(), "its sessions are not served");
    server.open_gate("gate");
    say(&mut streams, "gate");
    let (sessions, _) = finished(streams);

    assert_eq!(server.take_up(&file(1, 1))["result"], "applied");
    idle.message(&server, &json!({}));
    for mut session in sessions {
        session.message(&server, &json!({}));
    }
    eventually("the timer's turn", || {
        parked.history(&server).last().is_some_and(|event| event["turn"] == 2)
    });
    assert_eq!(server.turns_of(&parked.id).len(), 2);
    assert_eq!(server.stop(), 0);
    let stored = server.stored();
    assert_eq!(stored.committed(promised.field("Rip-Session-Id")), 1);
    assert_eq!(stored.committed(&parked.id), 2);
}

#[test]
fn turns_of_an_app_that_is_taken_away_fail_and_succeed_when_it_is_back() {
    let server = Setup::edgefile(&file(1, 1)).word("--no-watch").start();
    server.wait_for_workers(2);
    let (session, _) = Session::start(&server, &json!({}));
    let plan = json!({"attempts": [{"steps": ["a", {"gate": "gate"}, "b"]}, {"steps": ["c"]}]});
    let ask = Ask::message(&session, &plan).sse();
    let mut stream = ask.stream(&server);
    stream.event();
    let nothing = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
                   site \"a.test\" { route \"/\" { redirect \"/x\" } }\n";
    assert_eq!(server.take_up(nothing)["result"], "applied");
    let gone = Ask::status(&session).answer(&server);
    assert_eq!(gone.status, 404, "{gone:?}");
    // What runs may run to its end, as any request of an app that leaves.
    server.open_gate("gate");
    let rest = stream.rest();
    let last = rest.last().expect("an end");
    assert_eq!(server.take_up(&file(1, 1))["result"], "applied");
    server.wait_for_workers(2);
    match last.kind() {
        "outcome" => {
            let mut session = Session::of_stream(&stream.head, last);
            assert_eq!(session.message(&server, &json!({}))["output"]["turn"], 3);
        }
        _ => {
            assert_eq!(last.data["retryable"], true, "{last:?}");
            assert_eq!(ask.stream(&server).outcome().data["turn"], 2);
        }
    }
}
