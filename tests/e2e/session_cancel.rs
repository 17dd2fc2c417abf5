//! Sessions: cancelling a turn, leaving it, and deleting a session.

use crate::harness::session::{Ask, Event, SESSIONS, Session, kind, turns};
use crate::harness::{Response, Server, Setup, eventually, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A turn that says something and then waits at a gate that nobody opens.
fn endless() -> Value {
    json!({"attempts": [{"steps": ["a", {"gate": "never"}, "b"]}, {}]})
}

#[track_caller]
fn assert_cancelling(response: &Response) {
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.json(), json!({"status": "cancelling"}));
    assert_eq!(response.field("Cache-Control"), "no-store");
}

/// Waits until the app has noticed that nobody wants its answer.
#[track_caller]
fn wait_for_cut(server: &Server, count: usize) {
    eventually("a worker that is let go", || server.turns("cut").len() == count);
}

#[track_caller]
fn wait_until_idle(server: &Server, session: &Session) -> Vec<Value> {
    until("the turn's end", || (session.status(server)["status"] == "idle").then_some(()));
    session.history(server)
}

#[test]
fn a_cancelled_turn_ends_as_cancelled_with_its_token_unchanged() {
    let server = Server::of_turns();
    let (mut session, first) = Session::start(&server, &json!({}));
    // Before: nothing runs, the last outcome is the answer.
    for _ in 0..2 {
        let response = Ask::cancel(&session).answer(&server);
        assert_eq!((response.status, response.json()), (200, first.clone()), "{response:?}");
    }
    // During, who watches a stream.
    let ask = Ask::message(&session, &endless()).sse();
    let mut stream = ask.stream(&server);
    assert_eq!(stream.event().data["text"], "a");
    assert_cancelling(&Ask::cancel(&session).answer(&server));
    let rest = stream.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    let expected = |seq: u64| {
        json!({"type": "outcome", "turn": 2, "seq": seq, "sessionId": session.id,
            "status": "cancelled", "continuationToken": session.token})
    };
    assert_eq!(rest[0].data, expected(3));
    wait_for_cut(&server, 1);
    // Afterwards, as often as one likes.
    for _ in 0..2 {
        let response = Ask::cancel(&session).answer(&server);
        assert_eq!(response.status, 200, "{response:?}");
        let body = response.json();
        assert_eq!(body["status"], "cancelled", "{body}");
        assert_eq!(body["continuationToken"], session.token, "{body}");
    }
    assert_eq!(session.status(&server)["status"], "idle");
    // The connection of the stream goes on, and so does the session.
    assert_eq!(stream.into_client().ask("GET", "/next").text(), "page of /next");
    let before = session.token.clone();
    let body = session.message(&server, &endless());
    assert_eq!((&body["output"]["turn"], &body["output"]["attempt"]), (&2.into(), &2.into()));
    assert_eq!(body["output"]["state"]["count"], 1, "nothing of the cancelled one was kept");
    assert_ne!(session.token, before);
    let response = Ask::cancel(&session).answer(&server);
    assert_eq!(
        (response.status, &response.json()),
        (200, &body),
        "the outcome that it is too late for"
    );
    assert!(server.turns("ended").len() <= 2, "the cancelled one never came to its end");
}

#[test]
fn who_waits_for_json_is_told_of_the_cancellation() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    // The app has not said a word; it has begun to; it streams.
    let head = json!({"gate": "never"});
    let stream = json!({"steps": [{"gate": "never"}]});
    let words = json!({"steps": ["a", "b", {"gate": "never"}]});
    for (turn, plan) in [head, stream, words].into_iter().enumerate() {
        let count = server.turns("turn").len();
        let mut waiting = Ask::message(&session, &plan).send(&server);
        server.wait_for_turns(count + 1);
        assert_cancelling(&Ask::cancel(&session).answer(&server));
        let response = waiting.response();
        assert_eq!(response.status, 200, "{response:?}");
        let expected = json!({"sessionId": session.id, "status": "cancelled",
            "continuationToken": session.token});
        assert_eq!(response.json(), expected);
        assert_eq!(response.field("Rip-Turn"), "2");
        wait_for_cut(&server, turn + 1);
    }
    assert_eq!(session.message(&server, &json!({}))["output"]["attempt"], 4);
}

#[test]
fn a_start_is_cancelled_by_who_knows_its_token() {
    let server = Server::of_turns();
    let response = Ask::start(&endless()).prefer("respond-async").answer(&server);
    let mut session = Session::of(&response);
    server.wait_for_turns(1);
    let viewer = Ask::events(&session, "?turn=1").stream(&server);
    assert_cancelling(&Ask::cancel(&session).answer(&server));
    let events = { viewer }.rest();
    let last = events.last().expect("an event");
    assert_eq!((last.kind(), &last.data["status"]), ("outcome", &"cancelled".into()), "{events:?}");
    wait_for_cut(&server, 1);
    assert_eq!(session.message(&server, &endless())["output"]["attempt"], 2);
}

#[test]
fn a_turn_that_waits_for_a_worker_is_cancelled_without_one() {
    let file = turns(SESSIONS, "")
        .replace("workers 2", "workers 1")
        .replace("concurrency 8", "concurrency 1");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    let (mut session, _) = Session::start(&server, &json!({}));
    let (other, _) = Session::start(&server, &json!({}));
    let mut busy = Ask::message(&other, &json!({"gate": "go"})).send(&server);
    server.wait_for_turns(3);
    let mut queued = Ask::message(&session, &json!({})).send(&server);
    eventually("a turn in the queue", || server.queue_depth() == 1);
    assert_cancelling(&Ask::cancel(&session).answer(&server));
    assert_eq!(queued.response().json()["status"], "cancelled");
    eventually("an empty queue", || server.queue_depth() == 0);
    server.open_gate("go");
    assert_eq!(busy.response().status, 200);
    assert_eq!(server.turns_of(&session.id).len(), 1, "no worker ever heard of it");
    session.message(&server, &json!({}));
}

#[test]
fn a_worker_that_does_not_let_go_is_recycled_after_five_seconds() {
    let file = turns(SESSIONS, "timeouts drain=\"1s\" kill=\"1s\"");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    let (mut session, _) = Session::start(&server, &json!({}));
    let mut waiting = Ask::message(&session, &json!({"gate": "never", "deaf": true})).send(&server);
    let asked = server.wait_for_turns(2);
    let worker = asked.0["worker"].as_u64().expect("a worker");
    let begin = Instant::now();
    assert_cancelling(&Ask::cancel(&session).answer(&server));
    // The client does not wait for the worker.
    assert_eq!(waiting.response().json()["status"], "cancelled");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    session.message(&server, &json!({}));
    let serves = |server: &Server| {
        let workers = server.ready_workers();
        workers.iter().any(|row| row["workerId"] == worker)
    };
    assert!(serves(&server), "it has five seconds");
    eventually("another worker in its place", || {
        !serves(&server) && server.ready_workers().len() == 2
    });
    assert!(begin.elapsed() >= Duration::from_secs(4), "too early: {:?}", begin.elapsed());
    session.message(&server, &json!({}));
}

#[test]
fn a_cancellation_that_was_promised_is_kept_whoever_is_first() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let (mut kept, mut late) = (0, 0);
    for round in 0..40 {
        let gate = format!("gate{round}");
        let count = server.turns("turn").len();
        let mut waiting =
            Ask::message(&session, &json!({"steps": ["a", {"gate": gate}]})).send(&server);
        server.wait_for_turns(count + 1);
        let cancel = Ask::cancel(&session);
        let mut other = server.connect();
        if round % 2 == 0 {
            server.open_gate(&gate);
            cancel.send_on(&mut other);
        } else {
            cancel.send_on(&mut other);
            server.open_gate(&gate);
        }
        let told = other.response();
        let response = waiting.response();
        assert_eq!(response.status, 200, "{response:?}");
        let body = response.json();
        match told.status {
            202 => {
                kept += 1;
                assert_eq!(body["status"], "cancelled", "{body}");
                assert_eq!(body["continuationToken"], session.token, "{body}");
            }
            200 => {
                late += 1;
                assert_eq!(body["status"], "finished", "{body}");
                assert_eq!(told.json(), body);
                session.learn(&response);
            }
            // The token had rotated by then.
            409 => {
                late += 1;
                assert_eq!(told.json()["code"], "stale-token", "{told:?}");
                session.learn(&response);
            }
            _ => panic!("{told:?}"),
        }
    }
    assert_eq!(kept + late, 40);
    let body = session.message(&server, &json!({}));
    assert_eq!(body["output"]["state"]["count"], 1 + late, "what was committed, and nothing else");
}

#[test]
fn a_client_that_leaves_does_not_cancel() {
    let server = Server::of_turns();
    for (round, is_stream) in [(0, true), (1, false)] {
        let (session, _) = Session::start(&server, &json!({}));
        let gate = format!("gate{round}");
        let ask = Ask::message(&session, &json!({"steps": ["a", {"gate": gate}, "b"]}));
        let count = server.turns("turn").len();
        if is_stream {
            let mut stream = ask.sse().stream(&server);
            assert_eq!(stream.event().data["text"], "a");
            stream.into_client().reset();
        } else {
            let waiting = ask.send(&server);
            server.wait_for_turns(count + 1);
            drop(waiting);
        }
        // A viewer that comes and goes changes nothing either.
        let mut viewer = Ask::events(&session, "").stream(&server);
        assert_eq!(viewer.event().data["text"], "a");
        viewer.into_client().reset();
        assert_eq!(session.status(&server)["status"], "running");
        server.open_gate(&gate);
        let events = wait_until_idle(&server, &session);
        let kinds: Vec<_> = events.iter().map(kind).collect();
        assert_eq!(kinds, ["outcome", "delta", "delta", "outcome"], "{events:?}");
        assert_eq!(events[3]["status"], "finished");
    }
    assert!(server.turns("cut").is_empty());
}

#[test]
fn a_client_may_want_its_leaving_to_cancel() {
    let server = Server::of_turns();
    for is_stream in [true, false] {
        let (mut session, _) = Session::start(&server, &json!({}));
        let cuts = server.turns("cut").len();
        let ask = Ask::message(&session, &endless()).prefer("disconnect=cancel");
        leave(&server, &session, ask, is_stream);
        wait_for_cut(&server, cuts + 1);
        assert_cancelled(&server, &mut session);
    }
}

#[test]
fn a_site_may_want_leaving_to_cancel() {
    let file = turns("sessions \"/v1\" app=\"turns\" on-disconnect=\"cancel\"", "");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    for is_stream in [true, false] {
        let (mut session, _) = Session::start(&server, &json!({}));
        let cuts = server.turns("cut").len();
        leave(&server, &session, Ask::message(&session, &endless()), is_stream);
        wait_for_cut(&server, cuts + 1);
        assert_cancelled(&server, &mut session);
    }
    // Who was answered 202 has nothing more to do with it.
    let ask = Ask::start(&json!({"steps": ["a", {"gate": "go"}, "b"]})).prefer("respond-async");
    let mut client = ask.send(&server);
    let session = Session::of(&client.response());
    client.reset();
    server.wait_for_turns(server.turns("turn").len());
    let mut viewer = Ask::events(&session, "?turn=1").stream(&server);
    assert_eq!(viewer.event().data["text"], "a");
    server.open_gate("go");
    let rest = viewer.rest();
    let kinds: Vec<_> = rest.iter().map(Event::kind).collect();
    assert_eq!(kinds, ["delta", "outcome"], "{rest:?}");
}

/// Sends a turn and leaves in its midst; a viewer that looks on stays.
fn leave(server: &Server, session: &Session, ask: Ask, is_stream: bool) {
    let client = if is_stream {
        let mut stream = ask.sse().stream(server);
        assert_eq!(stream.event().data["text"], "a");
        stream.into_client()
    } else {
        let count = server.turns("turn").len();
        let client = ask.send(server);
        server.wait_for_turns(count + 1);
        client
    };
    // A viewer that leaves cancels nothing.
    let mut left = Ask::events(session, "").stream(server);
    assert_eq!(left.event().data["text"], "a");
    left.into_client().reset();
    let mut viewer = Ask::events(session, "").stream(server);
    assert_eq!(viewer.event().data["text"], "a");
    assert_eq!(session.status(server)["status"], "running");
    client.reset();
    let last = viewer.outcome();
    assert_eq!(last.data["status"], "cancelled", "{last:?}");
}

#[track_caller]
fn assert_cancelled(server: &Server, session: &mut Session) {
    let events = wait_until_idle(server, session);
    let last = events.last().expect("an event");
    assert_eq!((kind(last), &last["status"]), ("outcome", &"cancelled".into()), "{events:?}");
    assert_eq!(last["continuationToken"], session.token, "{last}");
    assert_eq!(session.message(server, &endless())["output"]["attempt"], 2);
}

#[test]
fn a_deleted_session_is_unknown() {
    let server = Server::of_turns();
    let (session, _) = Session::start(&server, &json!({}));
    let (mut other, _) = Session::start(&server, &json!({}));
    let response = Ask::delete(&session).answer(&server);
    assert_eq!(response.status, 204, "{response:?}");
    assert!(response.body.is_empty());
    assert_unknown(&server, &session);
    // The key it was asked with is forgotten with it.
    let ask = Ask::start(&json!({})).key("a-key-0123456789");
    let keyed = Session::of(&ask.answer(&server));
    assert_eq!(Ask::delete(&keyed).answer(&server).status, 204);
    let again = ask.answer(&server);
    assert!(again.values("Idempotency-Replayed").is_empty(), "{again:?}");
    assert_ne!(Session::of(&again).id, keyed.id);
    // While its turn runs: who waits for it is told, and the worker is let go.
    for is_stream in [true, false] {
        let (session, _) = Session::start(&server, &json!({}));
        let (count, cuts) = (server.turns("turn").len(), server.turns("cut").len());
        let plan = json!({"steps": ["a", {"gate": "never"}, "b"]});
        let ask = Ask::message(&session, &plan);
        let mut client = if is_stream { ask.sse() } else { ask }.send(&server);
        server.wait_for_turns(count + 1);
        let mut viewer = Ask::events(&session, "").stream(&server);
        assert_eq!(viewer.event().data["text"], "a");
        assert_eq!(Ask::delete(&session).answer(&server).status, 204);
        if is_stream {
            let mut stream = crate::harness::session::Stream::of(client).expect("a stream");
            let events = stream.rest();
            let last = events.last().expect("an event");
            assert_eq!(last.kind(), "error", "{events:?}");
        } else {
            let response = client.response();
            assert!(matches!(response.status, 502 | 503), "{response:?}");
            assert!(response.json()["error"].is_string(), "{response:?}");
        }
        // Who looked on is not left hanging.
        assert!(viewer.rest().iter().all(|event| event.kind() != "outcome"));
        wait_for_cut(&server, cuts + 1);
        assert_unknown(&server, &session);
    }
    other.message(&server, &json!({}));
}

#[track_caller]
fn assert_unknown(server: &Server, session: &Session) {
    let text = format!("unknown session '{}'", session.id);
    for ask in [
        Ask::message(session, &json!({})),
        Ask::cancel(session),
        Ask::delete(session),
        Ask::status(session),
        Ask::events(session, ""),
        Ask::events(session, "?last_event_id=earliest"),
    ] {
        let response = ask.answer(server);
        assert_eq!((response.status, &response.json()["error"]), (404, &text.clone().into()));
    }
}
