//! Workers and masters die in the middle of turns: what was told is there, and the rest is as before
//! the turn or as behind it, never a mixture.

use crate::harness::session::{Ask, Event, Session, Stream, text_of};
use crate::harness::{Response, Server, Setup, eventually, processes, until};
use nix::sys::signal::Signal;
use rip::time::Civil;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The app's process that is asked a turn.
#[track_caller]
fn app_of(server: &Server, count: usize) -> u32 {
    let asked = server.wait_for_turns(count);
    u32::try_from(asked.0["pid"].as_u64().expect("a pid")).expect("a pid")
}

fn is_error(event: &Event, code: &str) -> bool {
    event.kind() == "error" && event.data["code"] == code && event.data["retryable"] == true
}

#[test]
fn a_worker_killed_in_the_middle_of_a_stream_ends_the_attempt_and_not_the_session() {
    let server = Setup::turns_command().workers(2).flag("--restart-backoff-ms", 50).start();
    server.wait_for_workers(2);
    let (mut session, _) = Session::start(&server, &json!({}));
    let plan = json!({"attempts": [
        {"steps": ["a ", "b ", {"gate": "never"}]},
        {"steps": ["c ", {"type": "record", "record": [1]}, "d"]},
    ]});
    let ask = Ask::message(&session, &plan).sse();
    let mut stream = ask.stream(&server);
    assert_eq!(stream.field("Rip-Turn"), "2");
    let told = [stream.event(), stream.event()];
    let mut viewer = Ask::events(&session, "").sse().stream(&server);
    processes::signal(app_of(&server, 2), Signal::SIGKILL);
    let error = stream.event();
    assert!(is_error(&error, "incomplete"), "{error:?}");
    assert_eq!(stream.next(), None, "the stream ends properly");
    let before = session.status(&server);
    assert_eq!((&before["status"], &before["turn"]), (&json!("idle"), &json!(2)), "{before}");

    // The same request once more, as it was.
    let mut stream = ask.stream(&server);
    let mut rest = stream.rest();
    let outcome = rest.last().expect("an outcome").clone();
    assert_eq!(outcome.data["output"]["attempt"], 2, "{outcome:?}");
    assert_eq!(text_of(rest.iter().map(|event| &event.data)), "c d");
    session = Session::of_stream(&stream.head, &outcome);
    session.message(&server, &json!({}));

    // Whoever looked on saw the attempt to its end, and who comes later reads on from there.
    let mut all = told.to_vec();
    all.push(error);
    all.append(&mut rest);
    let seqs: Vec<_> = all.iter().map(Event::seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    assert_eq!(viewer.rest(), all[..3]);
    let query = format!("?last_event_id={}&turn=2", told[1].name());
    let later = Ask::events(&session, &query).sse().stream(&server).rest();
    assert_eq!(later, all[2..]);
}

#[test]
fn a_worker_killed_before_it_answers_fails_the_turn_and_keeps_the_token() {
    let server = Setup::turns_command().workers(2).flag("--restart-backoff-ms", 50).start();
    server.wait_for_workers(2);
    let plan = json!({"attempts": [{"die": true}, {}]});
    let started = Ask::start(&plan).answer(&server);
    assert_eq!(started.status, 502, "{started:?}");
    let mut session = Session::of(&started);
    let told = session.message(&server, &plan);
    assert_eq!(told["output"]["attempt"], 2);
    assert_eq!(server.turns_of(&session.id).len(), 2, "nobody else has tried it");
    let failed = Ask::message(&session, &json!({"die": true})).answer(&server);
    assert_eq!(failed.status, 502, "{failed:?}");
    server.wait_for_workers(2);
    let told = session.message(&server, &json!({}));
    assert_eq!(
        (&told["output"]["turn"], &told["output"]["state"]["count"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn turns_of_a_master_that_died_are_interrupted_by_the_next_one() {
    let mut server = Setup::turns_command().workers(2).start();
    let (one, _) = Session::start(&server, &json!({}));
    let (two, _) = Session::start(&server, &json!({}));
    let plan = json!({"attempts": [{"steps": ["a", {"gate": "never"}]}, {"steps": ["b"]}]});
    let mut stream = Ask::message(&one, &plan).sse().stream(&server);
    let told = stream.event();
    let waiting = Ask::message(&two, &plan).key("a key of sixteen bytes").send(&server);
    let accepted = Ask::start(&plan).prefer("respond-async").answer(&server);
    assert_eq!(accepted.status, 202, "{accepted:?}");
    server.wait_for_turns(5);
    let promised = |server: &Server| {
        let resume = accepted.field("Rip-Resume-Token");
        let ask = Ask::to("GET", accepted.field("location")).field("Rip-Resume-Token", resume);
        let body = ask.field("Accept", "application/json").answer(server).json();
        body["events"].as_array().expect("events").clone()
    };
    eventually("the first word of the promised turn", || text_of(&promised(&server)) == "a");
    server.kill();
    assert!(stream.try_next().is_err(), "a stream that is cut is not one that ends");
    drop(waiting);
    let stored = server.stored();
    assert_eq!(stored.names().len(), 3);
    assert_eq!((stored.committed(&one.id), stored.committed(&two.id)), (1, 1));

    server.start_again();
    // A stream goes on where it was cut: what was told is not told again.
    let query = format!("?last_event_id={}&turn=2", told.name());
    let events = Ask::events(&one, &query).sse().stream(&server).rest();
    let [error] = events.as_slice() else { panic!("{events:?}") };
    assert!(is_error(error, "interrupted"), "{error:?}");
    assert_eq!(error.seq(), told.seq() + 1);
    for session in [&one, &two] {
        let status = session.status(&server);
        assert_eq!((&status["status"], &status["turn"]), (&json!("idle"), &json!(2)), "{status}");
    }
    let again = Ask::message(&one, &plan).answer(&server);
    assert_eq!(again.status, 200, "{again:?}");
    // With its key, as after any lost answer.
    let again = Ask::message(&two, &plan).key("a key of sixteen bytes").answer(&server);
    assert_eq!((again.status, &again.json()["output"]["attempt"]), (200, &json!(2)), "{again:?}");
    assert!(again.values("Idempotency-Replayed").is_empty(), "nothing was committed before");
    // Their operator is told which they were, and nothing that opens them.
    let told = until("the events", || {
        let told = server.told("session_interrupted");
        (told.len() == 3).then_some(told)
    });
    for session in [&one, &two] {
        let name = format!("sessionId={} turn=2", session.id);
        assert!(told.iter().any(|line| line.contains(&name)), "{name}: {told:?}");
    }
    // Who was promised a turn finds out what became of it.
    let events = until("the promised turn's end", || {
        let events = promised(&server);
        events.last().is_some_and(|event| event["code"] == "interrupted").then_some(events)
    });
    assert_eq!(text_of(&events), "a");
    assert_eq!(server.stop(), 0);
    server.stored();
}

/// What a client of the row of kills has heard.
#[derive(Debug, Default)]
struct Heard {
    /// Of the message: the outcome of its stream.
    message: Option<Event>,
    /// Of the start: its answer.
    start: Option<Response>,
}

const MESSAGE_KEY: &str = "the key of the message";
const START_KEY: &str = "the key of the start..";

/// Plays a message and a start, as far as it gets.
fn play(server: &Server, session: &Session) -> Heard {
    let mut heard = Heard::default();
    let Ok(mut client) = message(session).sse().try_send(server.port()) else { return heard };
    let Ok(head) = client.try_head() else { return heard };
    let mut stream = Stream::after(client, head).unwrap_or_else(|answer| panic!("{answer:?}"));
    while let Ok(Some(event)) = stream.try_next() {
        if event.kind() == "outcome" {
            assert_eq!(event.data["status"], "finished", "{event:?}");
            heard.message = Some(event);
        }
    }
    if let Ok(response) = start().try_answer(server.port()) {
        assert_eq!(response.status, 200, "{response:?}");
        heard.start = Some(response);
    }
    heard
}

fn message(session: &Session) -> Ask {
    Ask::message(session, &json!({"text": "one two three", "record": {"r": 1}})).key(MESSAGE_KEY)
}

fn start() -> Ask {
    Ask::start(&json!({"text": "first words", "form": "sse"})).key(START_KEY)
}

/// Has the master die at a step of its store, and looks at what it left. False when it lived.
fn dies_at(step: u64) -> bool {
    let what = format!("killed at step {step}");
    let mut server = Setup::builtin("turn").workers(1).word("--sessions").start();
    let (session, _) = Session::start(&server, &json!({"text": "before"}));
    assert_eq!(server.stop(), 0);
    let mut heard = Heard::default();
    if server.starts_again_with("RIP_STORE_FAULT", &format!("kill:{step}")) {
        heard = play(&server, &session);
    }
    // The chores go on and pass steps as well: it dies of them, or has done everything.
    let has_died = heard.start.is_none();
    if has_died {
        server.was_killed();
    } else {
        server.signal(Signal::SIGKILL);
        server.was_killed();
    }
    let stored = server.stored();
    let committed = stored.committed(&session.id);
    assert!(committed == 2 || committed == 1 && heard.message.is_none(), "{what}: {heard:?}");
    let state = &stored.session(&session.id)["state"]["turns"];
    assert_eq!(*state, json!(committed), "{what}: state and outcome are of one turn");
    let started = stored.names().into_iter().filter(|name| *name != session.id).count();
    assert!(started == 1 || started == 0 && heard.start.is_none(), "{what}: {started}");

    server.start_again();
    assert!(server.moved_aside().is_empty(), "{what}");
    assert_eq!(session.status(&server)["status"], "idle", "{what}");
    // The old token is good, or it is not; with the key it is answered either way.
    let plain = Ask::message(&session, &json!({"keep": true, "refuse": 422})).answer(&server);
    assert_eq!(plain.status, if committed == 1 { 422 } else { 409 }, "{what}: {plain:?}");
    let again = message(&session).answer(&server);
    assert_eq!(again.status, 200, "{what}: {again:?}");
    let is_replay = again.values("Idempotency-Replayed") == ["true"];
    assert_eq!(is_replay, committed == 2, "{what}: {again:?}");
    let mut next = Session::of(&again);
    if let Some(outcome) = &heard.message {
        assert_eq!(outcome.data["continuationToken"], json!(next.token), "{what}");
        assert_eq!(outcome.data["output"], again.json()["output"], "{what}");
    }
    let told = next.message(&server, &json!({}));
    assert_eq!(told["output"]["turns"], 3, "{what}: each has its effect once");
    let again = start().answer(&server);
    assert_eq!(again.status, 200, "{what}: {again:?}");
    let mut other = Session::of(&again);
    if let Some(first) = &heard.start {
        assert_eq!(first.json()["sessionId"], json!(other.id), "{what}");
        assert_eq!(first.json()["continuationToken"], json!(other.token), "{what}");
        assert_eq!(again.values("Idempotency-Replayed"), ["true"], "{what}");
    }
    assert_eq!(other.message(&server, &json!({}))["output"]["turns"], 2, "{what}");
    // Of all its attempts one has an outcome, and no event is told twice.
    let history = next.history(&server);
    let outcomes = history.iter().filter(|event| event["type"] == "outcome").count();
    assert_eq!(outcomes, 3, "{what}: {history:?}");
    assert_eq!(server.stop(), 0);
    assert_eq!(server.stored().names().len(), 2, "{what}: a start with a key makes one session");
    has_died
}

#[test]
fn the_master_killed_at_every_step_of_a_turn_leaves_the_old_or_the_new() {
    let (next, lived) = (AtomicU64::new(1), AtomicU64::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while lived.load(Ordering::SeqCst) == 0 && failed.lock().unwrap().is_empty() {
                    let step = next.fetch_add(1, Ordering::SeqCst);
                    match std::panic::catch_unwind(|| dies_at(step)) {
                        Ok(true) => {}
                        Ok(false) => lived.store(step, Ordering::SeqCst),
                        Err(_) => failed.lock().unwrap().push(step),
                    }
                }
            });
        }
    });
    assert!(failed.lock().unwrap().is_empty(), "it went wrong at {failed:?}");
    let steps = lived.into_inner();
    assert!(steps > 30, "there were only {steps} steps");
}

/// Starts a second master on the store of `server`.
fn beside(server: &Server) -> Server {
    Setup::turns_command().workers(1).flag("--sessions-db", server.store().display()).start()
}

#[test]
fn a_turn_of_a_living_master_is_in_flight_for_everyone_until_it_dies() {
    let mut old = Setup::turns_command().workers(1).start();
    let (session, _) = Session::start(&old, &json!({}));
    let (done, _) = Session::start(&old, &json!({}));
    let plan = json!({"attempts": [{"steps": ["a", {"gate": "gate"}, "b"]}, {"steps": ["c"]}]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&old);
    let first = stream.event();
    let mut other = Ask::message(&done, &plan).sse().stream(&old);
    other.event();

    let new = beside(&old);
    let refused = Ask::message(&session, &plan).answer(&new);
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.json()["code"], "in-flight", "{refused:?}");
    assert_eq!(session.status(&new)["status"], "running");
    // Who looks on at the new one sees what the old one does.
    let mut viewer = Ask::events(&session, "?turn=2").sse().stream(&new);
    assert_eq!(viewer.event(), first);
    // A cancellation finds its way to the old one.
    let cancelled = Ask::cancel(&done).answer(&new);
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    assert_eq!(other.outcome().data["status"], "cancelled");

    old.open_gate("gate");
    let outcome = stream.outcome();
    let rest = viewer.rest();
    assert_eq!(rest.last(), Some(&outcome));
    assert_eq!(text_of(rest.iter().map(|event| &event.data)), "b");
    // The next turn may be anybody's, and each sees it.
    let mut session = Session::of_stream(&stream.head, &outcome);
    session.message(&new, &json!({}));
    session.message(&old, &json!({}));
    old.close_gate("gate");
    let mut stream = Ask::message(&session, &plan).sse().stream(&old);
    let first = stream.event();
    old.kill();
    let query = format!("?turn=5&last_event_id={}", first.name());
    eventually("the interruption", || session.status(&new)["status"] == "idle");
    let events = Ask::events(&session, &query).sse().stream(&new).rest();
    let [error] = events.as_slice() else { panic!("{events:?}") };
    assert!(is_error(error, "interrupted") && error.name() > first.name(), "{error:?}");
    let told = session.message(&new, &plan);
    assert_eq!(told["status"], "finished");
    // What the dead one held is free for who comes next.
    old.start_again();
    let told = session.message(&old, &json!({}));
    assert_eq!(told["output"]["state"]["count"], 5);
    drop(new);
    assert_eq!(old.stop(), 0);
    old.stored();
}

/// A moment so many milliseconds from now, as timers say it.
fn in_millis(millis: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let then = u64::try_from(now.as_millis()).unwrap() + millis;
    let Civil { year, month, day, hour, minute, second, .. } = Civil::from_unix(then / 1000);
    let millis = then % 1000;
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A session that waits until then.
#[track_caller]
fn parked(server: &Server, until: &str, name: &str) -> Session {
    let wait = json!({"reason": name, "until": until});
    let plan = json!({"answer": {"status": "parked", "wait": wait, "state": {"count": 1}}});
    let (session, told) = Session::start(server, &plan);
    assert_eq!((&told["status"], &told["wait"]["until"]), (&json!("parked"), &json!(until)));
    session
}

/// How often the app was asked a session's second turn: what its timer asks.
fn fired(server: &Server, session: &Session) -> usize {
    server.turns_of(&session.id).iter().filter(|asked| asked.0.get("wake").is_some()).count()
}

/// Waits for the end of a session's second turn.
#[track_caller]
fn second_outcome(server: &Server, session: &Session) -> Value {
    until("the end of the timer's turn", || {
        let last = session.history(server).pop().expect("an event");
        (last["type"] == "outcome" && last["status"] == "finished").then_some(last)
    })
}

#[track_caller]
fn wait_for_firing(server: &Server, session: &Session) {
    let last = second_outcome(server, session);
    assert_eq!(fired(server, session), 1);
    assert_eq!(last["output"]["state"]["count"], 1, "{last}");
}

#[test]
fn timers_fire_once_over_restarts_also_when_their_time_passed_meanwhile() {
    let mut server = Setup::turns_command().workers(2).start();
    let soon = parked(&server, &in_millis(300), "soon");
    wait_for_firing(&server, &soon);
    // Their time comes while nobody is there, while somebody else is, and later.
    let stopped = parked(&server, &in_millis(400), "while it is stopped");
    let later = parked(&server, &in_millis(6000), "after two restarts");
    let answered = parked(&server, &in_millis(5000), "answered before");
    assert_eq!(server.stop(), 0);
    let due = stopped_until(&server, &stopped);
    assert!(due, "its time has come");
    server.start_again();
    wait_for_firing(&server, &stopped);
    let killed = parked(&server, &in_millis(400), "while it is dead");
    let mut answered = answered;
    let told = answered.message(&server, &json!({}));
    assert_eq!(told["output"]["turn"], 2, "a message comes before the timer");
    server.kill();
    assert!(stopped_until(&server, &killed));
    server.start_again();
    wait_for_firing(&server, &killed);
    wait_for_firing(&server, &later);
    // Nothing of it happens twice, and the clients learn their tokens.
    assert_eq!(server.stop(), 0);
    server.start_again();
    for session in [&soon, &stopped, &killed, &later] {
        assert_eq!((fired(&server, session), &session.status(&server)["turn"]), (1, &json!(2)));
        let stale = Ask::message(session, &json!({})).answer(&server);
        assert_eq!(stale.status, 409, "{stale:?}");
        let last = second_outcome(&server, session);
        let mut next = session.clone();
        next.token = last["continuationToken"].as_str().expect("a token").to_owned();
        assert_eq!(next.message(&server, &json!({}))["output"]["turn"], 3);
    }
    assert_eq!(fired(&server, &answered), 0);
    assert_eq!(server.stop(), 0);
    server.stored();
}

/// Waits until a timer in the store of a server that does not run is due.
#[track_caller]
fn stopped_until(server: &Server, session: &Session) -> bool {
    let timer = server.stored().session(&session.id)["timer"].as_u64().expect("a timer");
    eventually("its time", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_millis() > u128::from(timer)
    });
    true
}

#[test]
fn a_timer_whose_turn_died_with_its_master_fires_again() {
    let mut server = Setup::builtin("turn").workers(1).word("--sessions").start();
    let then = json!({"sleep_ms": 500, "about": true});
    let plan = json!({"park": {"reason": "x", "until": in_millis(200)}, "then": then});
    let (session, _) = Session::start(&server, &plan);
    eventually("the timer's turn", || session.status(&server)["status"] == "running");
    server.kill();
    assert_eq!(server.stored().committed(&session.id), 1);
    server.start_again();
    second_outcome(&server, &session);
    let history = session.history(&server);
    let kinds: Vec<_> = history.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["outcome", "error", "outcome"], "{history:?}");
    assert_eq!(history[1]["code"], "interrupted");
    assert_eq!(history[2]["output"]["about"]["attempt"], 2, "{history:?}");
    assert_eq!(server.stop(), 0);
    assert_eq!(server.stored().committed(&session.id), 2);
}

#[test]
fn of_two_masters_on_one_store_one_fires_each_timer() {
    let one = Setup::turns_command().workers(1).start();
    let two = beside(&one);
    let at = in_millis(1500);
    let sessions: Vec<_> = (0..20).map(|_| parked(&one, &at, "both see it")).collect();
    for session in &sessions {
        second_outcome(&two, session);
    }
    let all = |session: &Session| fired(&one, session) + fired(&two, session);
    assert!(sessions.iter().all(|session| all(session) == 1));
    drop(two);
    let mut one = one;
    assert_eq!(one.stop(), 0);
    let stored = one.stored();
    assert!(sessions.iter().all(|session| stored.committed(&session.id) == 2));
}
