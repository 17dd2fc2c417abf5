//! Sessions: who runs a turn, what becomes of its token, and how an answer that was lost comes again.

use crate::harness::session::{
    Ask, Event, MOUNT, SESSIONS, Session, Stream, field, kind, text_of, turns,
};
use crate::harness::{Response, Server, Setup, until};
use serde_json::{Value, json};
use std::sync::{Arc, Barrier};

/// What every answer to a turn says about it.
#[track_caller]
fn assert_turn_fields(fields: &[(String, String)], session: &Session, turn: u64) {
    let own = |name: &str| -> Vec<&str> {
        let own = fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(own("Rip-Session-Id"), [&session.id], "{fields:?}");
    assert_eq!(own("Rip-Turn"), [turn.to_string()], "{fields:?}");
    assert_eq!(own("Rip-Resume-Token"), [&session.resume], "{fields:?}");
    assert_eq!(own("Cache-Control"), ["no-store"], "{fields:?}");
    assert_eq!(own("X-Accel-Buffering"), ["no"], "{fields:?}");
}

/// Turn and attempt of everything that the app was asked of a session.
fn attempts(server: &Server, session: &Session) -> Vec<(u64, u64)> {
    server.turns_of(&session.id).iter().map(|turn| turn.attempt()).collect()
}

/// The names of events sort as text in the order of their numbers, which leave nothing out.
#[track_caller]
fn assert_in_order(events: &[Event]) {
    for pair in events.windows(2) {
        assert_eq!(pair[1].seq(), pair[0].seq() + 1, "{events:?}");
        assert!(pair[1].name() > pair[0].name(), "{events:?}");
    }
}

/// What this many clients get who ask the same thing at the same moment.
fn at_once(server: &Server, count: usize, ask: impl Fn(usize) -> Ask) -> Vec<Response> {
    let start = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (ask, mut client, start) = (ask(number), server.connect(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                ask.send_on(&mut client);
                client.response()
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
}

#[test]
fn of_a_hundred_parallel_posts_with_one_token_one_runs() {
    let server = Setup::turns().flag("--loops", 3).start();
    server.wait_for_workers(2);
    let (mut session, _) = Session::start(&server, &json!({}));
    for round in 2..=6_u64 {
        // While it runs, and as it happens; with the token in the body and in a field.
        let gate = format!("round{round}");
        let plan = if round % 2 == 0 { json!({"gate": gate}) } else { json!({}) };
        let opener = (round % 2 == 0).then(|| {
            let (record, waiting) = (server.path("record"), server.path("record/turns"));
            std::thread::spawn(move || {
                // Not before the app has it, so that the others meet it running.
                until("the turn at the app", || {
                    let text = std::fs::read_to_string(&waiting).unwrap_or_default();
                    text.contains(&format!("{{\"gate\": \"{gate}\"}}")).then_some(())
                });
                std::fs::write(record.join(&gate), "").expect("the gate opens");
            })
        });
        let answers = at_once(&server, 100, |number| match number % 2 {
            0 => Ask::message(&session, &plan),
            _ => Ask::to("POST", session.path("/message")).json(&plan).token(&session.token),
        });
        opener.into_iter().for_each(|opener| opener.join().expect("the opener"));
        let (good, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|response| response.status == 200);
        assert_eq!((good.len(), refused.len()), (1, 99), "{good:?}");
        for response in refused {
            assert_eq!(response.status, 409, "{response:?}");
            let code = response.json()["code"].clone();
            assert!(code == "in-flight" || code == "stale-token", "{response:?}");
        }
        session.learn(good[0]);
        // Counted by the app itself.
        let expected: Vec<_> = (1..=round).map(|turn| (turn, 1)).collect();
        assert_eq!(attempts(&server, &session), expected);
    }
    // Streams are no exception.
    let answers = at_once(&server, 100, |_| Ask::message(&session, &json!({"steps": ["a"]})).sse());
    let streams: Vec<_> = answers.iter().filter(|response| response.status == 200).collect();
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0].field("Content-Type"), "text/event-stream");
    assert_eq!(answers.iter().filter(|response| response.status == 409).count(), 99);
    assert_eq!(attempts(&server, &session).len(), 7);
}

/// Plans whose turn fails, the status that a client of JSON gets, and the code.
fn failing() -> Vec<(Value, u16, &'static str)> {
    let error =
        json!({"type": "error", "message": "no credit", "code": "credit", "retryable": false});
    vec![
        (json!({"status": 500}), 502, "app-status"),
        (json!({"status": 302, "fields": [["Location", "/x"]]}), 502, "app-status"),
        (json!({"status": 503}), 502, "app-status"),
        (json!({"drop": true}), 502, "incomplete"),
        (json!({"die": true}), 502, "incomplete"),
        (json!({"body": "{\"status\":", "media": "application/json"}), 502, "bad-answer"),
        (json!({"body": "", "media": "application/json"}), 502, "bad-answer"),
        (json!({"body": "<p>hello</p>", "media": "text/html"}), 502, "bad-answer"),
        (json!({"answer": {"status": "done"}}), 502, "bad-answer"),
        (json!({"answer": {"status": "cancelled"}}), 502, "bad-answer"),
        (json!({"answer": {"status": "parked"}}), 502, "bad-answer"),
        (json!({"answer": {"status": "contended", "current": "1"}}), 502, "bad-answer"),
        (json!({"steps": ["a", {"end": true}]}), 502, "incomplete"),
        (json!({"steps": ["a", {"drop": true}]}), 502, "incomplete"),
        (json!({"steps": ["a", {"die": true}]}), 502, "incomplete"),
        (json!({"steps": [{"raw": "data: nonsense\n\n"}]}), 502, "bad-answer"),
        (json!({"steps": [{"type": "surprise"}, {"end": true}]}), 502, "bad-answer"),
        (json!({"steps": ["a", {"raw": "{\"a\":\n"}], "form": "ndjson"}), 502, "bad-answer"),
        (json!({"steps": ["a", error]}), 502, "credit"),
    ]
}

#[test]
fn a_turn_that_failed_succeeds_with_the_same_token() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    for (turn, (plan, status, code)) in failing().into_iter().enumerate() {
        let turn = turn as u64 + 2;
        let plan = json!({"attempts": [plan, {}]});
        let ask = Ask::message(&session, &plan);
        let response = ask.answer(&server);
        assert_eq!(response.status, status, "{plan}: {response:?}");
        assert_eq!(response.field("Content-Type"), "application/json");
        assert_turn_fields(&response.fields, &session, turn);
        let body = response.json();
        assert_eq!(body["code"], code, "{plan}: {body}");
        assert!(body["error"].is_string() && body["retryable"].is_boolean(), "{body}");
        assert_eq!(body["sessionId"], session.id, "{body}");
        assert_eq!(body["continuationToken"], session.token, "the same one: {body}");
        let state = session.status(&server);
        assert_eq!((&state["status"], &state["turn"]), (&"idle".into(), &turn.into()), "{state}");
        // The very same request.
        let before = session.token.clone();
        let response = ask.answer(&server);
        assert_eq!(response.status, 200, "{plan}: {response:?}");
        assert_turn_fields(&response.fields, &session, turn);
        let body = session.learn(&response);
        assert_ne!(session.token, before, "a commit rotates");
        assert_eq!(body["output"]["attempt"], 2, "{body}");
        // Nothing of the failed attempt was kept.
        assert_eq!(body["output"]["state"]["count"], turn - 1, "{body}");
    }
}

#[test]
fn a_start_whose_turn_failed_is_tried_again_with_what_its_answer_says() {
    let server = Server::of_turns();
    for (plan, status, code) in failing() {
        let plan = json!({"attempts": [plan, {}]});
        let response = Ask::start(&plan).answer(&server);
        assert_eq!(response.status, status, "{plan}: {response:?}");
        let mut session = Session::of(&response);
        assert_turn_fields(&response.fields, &session, 1);
        assert_eq!(response.json()["code"], code, "{plan}");
        let body = session.message(&server, &plan);
        assert_eq!(body["output"]["turn"], 1, "{plan}");
        assert_eq!(attempts(&server, &session), [(1, 1), (1, 2)], "{plan}");
    }
}

#[test]
fn a_failure_within_a_stream_is_an_error_in_it() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    for (plan, status, code) in failing() {
        let is_stream = plan.get("steps").is_some();
        let plan = json!({"attempts": [plan, {"steps": ["a", "b"]}]});
        let ask = Ask::message(&session, &plan).sse();
        if is_stream {
            let mut stream = ask.stream(&server);
            let events = stream.rest();
            let last = events.last().expect("an event");
            assert_eq!((last.kind(), &last.data["code"]), ("error", &code.into()), "{plan}");
            assert!(last.data["message"].is_string() && last.data["retryable"].is_boolean());
            assert!(events[..events.len() - 1].iter().all(|event| event.kind() == "delta"));
            assert_in_order(&events);
        } else {
            // Nothing had begun: it is an answer like any other.
            let response = ask.answer(&server);
            assert_eq!((response.status, &response.json()["code"]), (status, &code.into()));
            assert_eq!(response.field("Content-Type"), "application/json");
        }
        let mut stream = ask.stream(&server);
        let events = stream.rest();
        let kinds: Vec<_> = events.iter().map(Event::kind).collect();
        assert_eq!(kinds, ["delta", "delta", "outcome"], "{plan}");
        session = Session::of_stream(&stream.head, &events[2]);
    }
    // On a start the error says what the client needs to try again.
    let mut stream = Ask::start(&json!({"steps": ["a", {"end": true}]})).sse().stream(&server);
    let events = stream.rest();
    let mut session = Session::of_stream(&stream.head, events.last().expect("an error"));
    assert_eq!(session.message(&server, &json!({}))["output"]["attempt"], 2);
}

#[test]
fn contended_keeps_the_token() {
    let server = Server::of_turns();
    let contended = json!({"answer": {"status": "contended", "current": 41, "state": "lost"}});
    let response = Ask::start(&contended).answer(&server);
    assert_eq!(response.status, 200, "{response:?}");
    let mut session = Session::of(&response);
    let token = session.token.clone();
    let expected = |token: &str| json!({"sessionId": session.id, "status": "contended", "current": 41, "continuationToken": token});
    assert_eq!(response.json(), expected(&token));
    assert_turn_fields(&response.fields, &session, 1);
    for _ in 0..3 {
        let response = Ask::message(&session, &contended).answer(&server);
        assert_eq!((response.status, response.json()), (200, expected(&token)));
    }
    // The same in a stream, of an app that streams.
    let plan = json!({"steps": ["a", {"outcome": {"status": "contended", "current": 1.5}}]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    let last = stream.outcome();
    assert_eq!((&last.data["status"], &last.data["current"]), (&"contended".into(), &json!(1.5)));
    assert_eq!(last.data["continuationToken"], token, "{last:?}");
    assert_eq!(session.status(&server)["status"], "idle");
    assert_eq!(attempts(&server, &session), [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]);
    let body = session.message(&server, &json!({}));
    assert_eq!(body["output"]["state"], Value::Null, "nothing was committed: {body}");
    assert_ne!(session.token, token);
}

#[test]
fn a_stream_is_framed_as_promised() {
    let server = Server::of_turns();
    let record = json!({"type": "record", "record": {"tool": "x", "n": [1, null, 1.50]}});
    let plan = json!({"steps": ["Hel", {"gate": "one"}, "lo\n", record, {"outcome": {"status": "finished", "output": {"a": 1}}}]});
    let mut stream = Ask::start(&plan).sse().stream(&server);
    let first = stream.event();
    assert_eq!(first.data["text"], "Hel", "it comes while the app still thinks");
    server.open_gate("one");
    let mut events = vec![first];
    events.extend(stream.rest());
    assert_in_order(&events);
    let session = Session::of_stream(&stream.head, &events[3]);
    assert_turn_fields(&stream.head.fields, &session, 1);
    let (one, two) = (events[0].seq(), events[1].seq());
    assert_eq!(one, 1, "the first of a session");
    assert_eq!(events[0].data, json!({"type": "delta", "turn": 1, "seq": one, "text": "Hel"}));
    assert_eq!(events[1].data, json!({"type": "delta", "turn": 1, "seq": two, "text": "lo\n"}));
    assert_eq!(events[2].data["record"], json!({"tool": "x", "n": [1, null, 1.50]}));
    let outcome = &events[3].data;
    assert_eq!(outcome["output"], json!({"a": 1}), "{outcome}");
    assert_eq!((&outcome["status"], &outcome["turn"]), (&"finished".into(), &1.into()));
    assert!(outcome.get("state").is_none());
    // The next request on the same connection is answered.
    let mut client = stream.into_client();
    assert_eq!(client.ask("GET", "/next").text(), "page of /next");
    // What is stored is what was sent, in the order in which it was sent.
    let told: Vec<_> = events.into_iter().map(|event| event.data).collect();
    assert_eq!(session.history(&server), told);
    // An app that does not stream is streamed, too: its outcome.
    let mut stream = Ask::message(&session, &json!({})).sse().stream(&server);
    let events = stream.rest();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].kind(), events[0].turn(), events[0].seq()), ("outcome", 2, 5));
    // And one that streams is answered in one piece for who does not ask for a stream.
    let session = Session::of_stream(&stream.head, &events[0]);
    let response = Ask::message(&session, &json!({"steps": ["a", "b"]})).answer(&server);
    assert_eq!(response.json()["status"], "finished", "{response:?}");
    assert_eq!(response.field("Content-Type"), "application/json");
    assert_eq!(text_of(&session.history(&server)), "Hello\nab");
}

#[test]
fn a_lost_reply_comes_again_by_its_key_and_nothing_runs() {
    let server = Server::of_turns();
    let start = Ask::start(&json!({"gate": "start"})).key("start-key-0123456789");
    let waiting = start.send(&server);
    server.wait_for_turns(1);
    // The first client is gone; the second one learns where its turn is.
    waiting.reset();
    let response = start.answer(&server);
    assert_eq!((response.status, &response.json()["code"]), (409, &"in-flight".into()));
    let id = response.json()["sessionId"].as_str().expect("an id").to_owned();
    assert_eq!(response.field("Location"), format!("{MOUNT}/session/{id}/events?turn=1"));
    server.open_gate("start");
    let answered = until("the replay", || {
        let response = start.answer(&server);
        (response.status != 409).then_some(response)
    });
    assert_replayed(&answered);
    let mut session = Session::of(&answered);
    assert_eq!(session.id, id);
    assert_turn_fields(&answered.fields, &session, 1);
    assert_eq!(answered.json()["output"]["turn"], 1);
    assert_eq!(server.turns("turn").len(), 1, "nothing ran again");

    // A message: the token that it consumed is honoured for it alone.
    let first = Ask::message(&session, &json!({"n": 2})).key("message-key-0123456789");
    let without = Ask::message(&session, &json!({"n": 2}));
    let told = first.answer(&server);
    assert_eq!(told.status, 200, "{told:?}");
    assert!(told.values("Idempotency-Replayed").is_empty(), "{told:?}");
    for _ in 0..3 {
        let again = first.answer(&server);
        assert_replayed(&again);
        assert_eq!(again.json(), told.json());
        assert_turn_fields(&again.fields, &session, 2);
    }
    let response = without.answer(&server);
    assert_eq!((response.status, &response.json()["code"]), (409, &"stale-token".into()));
    let another = without.clone().key("another-key-0123456789").answer(&server);
    assert_eq!((another.status, &another.json()["code"]), (409, &"stale-token".into()));
    session.learn(&told);
    // As a stream it is the outcome, under its own name.
    let mut stream = first.clone().sse().stream(&server);
    assert_eq!(stream.field("Idempotency-Replayed"), "true");
    let events = stream.rest();
    assert_eq!((events.len(), events[0].kind()), (1, "outcome"), "{events:?}");
    assert_eq!(events[0].data, *session.history(&server).last().expect("an event"));
    // Turns later it is the stored outcome, with the token that is good now.
    session.message(&server, &json!({"n": 3}));
    let again = first.answer(&server);
    assert_replayed(&again);
    let (body, told) = (again.json(), told.json());
    assert_eq!((&body["output"], &body["status"]), (&told["output"], &told["status"]));
    assert_eq!(body["continuationToken"], session.token);
    assert_turn_fields(&again.fields, &session, 2);
    assert_eq!(attempts(&server, &session), [(1, 1), (2, 1), (3, 1)], "nothing ran again");
    session.message(&server, &json!({}));
}

#[track_caller]
fn assert_replayed(response: &Response) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.field("Idempotency-Replayed"), "true", "{response:?}");
}

#[test]
fn a_key_opens_nothing_to_who_never_had_the_token() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let ask = Ask::message(&session, &json!({})).key("a-key-0123456789");
    session.learn(&ask.answer(&server));
    let bare = Ask::to("POST", session.path("/message")).json(&json!({})).key("a-key-0123456789");
    let response = bare.clone().answer(&server);
    assert_eq!((response.status, &response.json()["code"]), (400, &"missing-token".into()));
    let forged = format!("ct_{}", "A".repeat(43));
    for token in ["ct_guess", &forged, &session.resume] {
        let response = bare.clone().token(token).answer(&server);
        assert_eq!((response.status, &response.json()["code"]), (409, &"stale-token".into()));
    }
    assert_replayed(&bare.token(&session.token).answer(&server));
    assert_eq!(attempts(&server, &session).len(), 2);
}

#[test]
fn without_a_key_a_lost_reply_is_lost() {
    let server = Server::of_turns();
    let (session, _) = Session::start(&server, &json!({}));
    let ask = Ask::message(&session, &json!({"gate": "go"}));
    let waiting = ask.send(&server);
    server.wait_for_turns(2);
    waiting.reset();
    let response = ask.answer(&server);
    assert_eq!((response.status, &response.json()["code"]), (409, &"in-flight".into()));
    server.open_gate("go");
    until("the turn's end", || (session.status(&server)["status"] == "idle").then_some(()));
    let response = ask.answer(&server);
    assert_eq!((response.status, &response.json()["code"]), (409, &"stale-token".into()));
    assert_eq!(attempts(&server, &session), [(1, 1), (2, 1)]);
    // The events still tell it to who may read, with the token that goes on.
    let last = session.history(&server).pop().expect("an event");
    assert_eq!((kind(&last), &last["turn"]), ("outcome", &2.into()));
    let token = last["continuationToken"].as_str().expect("a token").to_owned();
    Session { token, ..session }.message(&server, &json!({}));
}

#[test]
fn a_key_whose_turn_came_to_nothing_runs_again() {
    let server = Server::of_turns();
    let cut = json!({"steps": ["a", {"end": true}]});
    let plan = json!({"attempts": [{"status": 500}, cut, {"answer": {"status": "contended", "current": 1}}, {}]});
    let start = Ask::start(&plan).key("start-key-0123456789");
    let mut seen = Vec::new();
    for status in [502, 502, 200, 200] {
        let response = start.answer(&server);
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.values("Idempotency-Replayed").is_empty(), "{response:?}");
        seen.push(Session::of(&response));
    }
    assert!(seen.iter().all(|session| session.id == seen[0].id), "one session: {seen:?}");
    assert!(seen[..3].iter().all(|session| session.token == seen[0].token), "{seen:?}");
    let mut session = seen.pop().expect("a session");
    assert_ne!(session.token, seen[0].token);
    assert_eq!(attempts(&server, &session), [(1, 1), (1, 2), (1, 3), (1, 4)]);
    assert_replayed(&start.answer(&server));
    // A message likewise.
    let plan = json!({"attempts": [{"status": 500}, {"drop": true}, {}]});
    let message = Ask::message(&session, &plan).key("message-key-0123456789");
    for status in [502, 502] {
        assert_eq!(message.answer(&server).status, status);
    }
    session.learn(&message.answer(&server));
    assert_replayed(&message.answer(&server));
    assert_eq!(attempts(&server, &session)[4..], [(2, 1), (2, 2), (2, 3)]);
    // What the app refused came to nothing, too: there is no session to come back to.
    let refused = Ask::start(&json!({"status": 401})).key("refused-key-0123456789");
    let before = server.turns("turn").len();
    assert_eq!(refused.answer(&server).status, 401);
    assert_eq!(refused.answer(&server).status, 401);
    let turns = server.turns("turn");
    assert_eq!(turns.len(), before + 2);
    assert_ne!(turns[before].session(), turns[before + 1].session());
}

#[test]
fn starts_with_one_key_make_one_session() {
    let server = Setup::turns().flag("--loops", 3).start();
    server.wait_for_workers(2);
    for round in 0..5 {
        let before = server.turns("turn").len();
        let key = format!("round-{round}-0123456789");
        let answers = at_once(&server, 40, |_| Ask::start(&json!({})).key(&key));
        let mut ran = 0;
        let mut ids = Vec::new();
        for response in &answers {
            match response.status {
                200 => {
                    ran += usize::from(response.values("Idempotency-Replayed").is_empty());
                    ids.push(Session::of(response).id);
                }
                409 => ids.push(response.json()["sessionId"].as_str().expect("an id").to_owned()),
                _ => panic!("{response:?}"),
            }
        }
        assert_eq!(ran, 1, "{answers:?}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(server.turns("turn").len(), before + 1);
    }
}

#[test]
fn a_key_with_another_request_is_422() {
    let file = turns(SESSIONS, "");
    let site = file[file.find("site").expect("a site")..].replace("\"*\"", "\"other.test\"");
    let server = Setup::edgefile(&format!("{file}{site}")).word("--no-watch").start();
    server.wait_for_workers(2);
    const KEY: &str = "a-key-0123456789";
    let start = |input: Value| Ask::start(&input).key(KEY);
    let response = start(json!({"n": 1})).answer(&server);
    let mut session = Session::of(&response);
    let unprocessable = |ask: &Ask| {
        let response = ask.answer(&server);
        assert_eq!(response.status, 422, "{ask:?}: {response:?}");
        let body = response.json();
        assert_eq!(body["code"], "idempotency-key-reused", "{body}");
        assert_eq!(body["error"], "Idempotency-Key was used with another request", "{body}");
    };
    // Another body, another authorization, another path.
    unprocessable(&start(json!({"n": 2})));
    unprocessable(&start(json!({})));
    unprocessable(&start(json!({"n": 1, "m": 1})));
    unprocessable(&start(json!({"n": 1})).field("Authorization", "Bearer me"));
    unprocessable(&Ask::message(&session, &json!({"n": 1})).key(KEY));
    // What else differs makes no other request: other fields, the token of a start, the connection.
    assert_replayed(&start(json!({"n": 1})).field("X-Other", "1").answer(&server));
    assert_replayed(&start(json!({"n": 1, "continuationToken": "ct_x"})).answer(&server));
    // A message's own: also while it runs, and for another session.
    let message = Ask::message(&session, &json!({"gate": "go"})).key("message-key-0123456789");
    let mut waiting = message.send(&server);
    server.wait_for_turns(2);
    unprocessable(&Ask::message(&session, &json!({"n": 2})).key("message-key-0123456789"));
    let (other, _) = Session::start(&server, &json!({}));
    unprocessable(&Ask::message(&other, &json!({"gate": "go"})).key("message-key-0123456789"));
    server.open_gate("go");
    session.learn(&waiting.response());
    unprocessable(&Ask::message(&session, &json!({"n": 2})).key("message-key-0123456789"));
    assert_replayed(&message.answer(&server));
    assert_eq!(server.turns("turn").len(), 3, "nothing else ran");
    // Another place has keys of its own.
    let response = start(json!({"n": 2})).at("other.test").answer(&server);
    assert_eq!(response.status, 200, "{response:?}");
    assert_ne!(Session::of(&response).id, session.id);
    // How long one is, to the byte.
    for (length, status) in [(15, 400), (16, 200), (255, 200), (256, 400)] {
        let response = Ask::start(&json!({})).key(&"k".repeat(length)).answer(&server);
        assert_eq!(response.status, status, "{length}: {response:?}");
    }
    session.message(&server, &json!({}));
}

#[test]
fn respond_async_answers_at_once_and_the_events_tell_the_rest() {
    let server = Server::of_turns();
    let plan = json!({"steps": ["a", {"gate": "go"}, "b"]});
    let ask = Ask::start(&plan).prefer("respond-async");
    let mut client = ask.send(&server);
    let response = client.response();
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.field("Preference-Applied"), "respond-async");
    let mut session = Session::of(&response);
    assert_turn_fields(&response.fields, &session, 1);
    let body = response.json();
    assert_eq!((&body["status"], &body["turn"]), (&"running".into(), &1.into()), "{body}");
    let location = response.field("Location").to_owned();
    assert_eq!(location, session.path("/events?turn=1"));
    // The connection is free, and whether it stays says nothing to the turn.
    assert_eq!(client.ask("GET", "/next").text(), "page of /next");
    drop(client);
    let refused = Ask::message(&session, &json!({})).answer(&server);
    assert_eq!((refused.status, &refused.json()["code"]), (409, &"in-flight".into()));
    assert_eq!(session.status(&server)["status"], "running");
    let mut stream = Ask::to("GET", &location).token(&session.token).stream(&server);
    assert_eq!(stream.event().data["text"], "a");
    server.open_gate("go");
    let rest = stream.rest();
    assert_eq!(rest[0].data["text"], "b");
    assert_eq!((rest.len(), rest[1].kind()), (2, "outcome"), "{rest:?}");
    session.token = rest[1].data["continuationToken"].as_str().expect("a token").to_owned();
    // A message, whatever form it asks for; with a key a second one is told where the first is.
    let plan = json!({"gate": "second"});
    let ask = Ask::message(&session, &plan).prefer("respond-async").key("a-key-0123456789").sse();
    let response = ask.answer(&server);
    assert_eq!(
        (response.status, response.field("Location")),
        (202, &*session.path("/events?turn=2"))
    );
    assert_eq!(response.json()["continuationToken"], session.token, "the one that stays good");
    let again = ask.answer(&server);
    assert_eq!((again.status, again.field("Location")), (409, &*session.path("/events?turn=2")));
    server.open_gate("second");
    let replayed = until("the outcome", || {
        let response = Ask::message(&session, &plan).key("a-key-0123456789").answer(&server);
        (response.status == 200).then_some(response)
    });
    assert_replayed(&replayed);
    session.learn(&replayed);
    // One that fails or is refused: its client knows the session, so it stays.
    for plan in [json!({"status": 500}), json!({"status": 401})] {
        let response = Ask::start(&plan).prefer("respond-async").answer(&server);
        let mut session = Session::of(&response);
        assert_eq!(response.status, 202);
        let events = until("the error", || {
            let events = session.history(&server);
            (!events.is_empty()).then_some(events)
        });
        assert_eq!((events.len(), kind(&events[0])), (1, "error"), "{events:?}");
        assert_eq!(events[0]["continuationToken"], session.token, "{events:?}");
        session.message(&server, &json!({}));
    }
    session.message(&server, &json!({}));
}

#[test]
fn one_connection_carries_turn_after_turn() {
    let server = Server::of_turns();
    let mut client = server.connect();
    Ask::start(&json!({})).send_on(&mut client);
    let mut session = Session::of(&client.response());
    for turn in 2..=20_u64 {
        if turn % 3 == 0 {
            Ask::message(&session, &json!({"steps": ["a"]})).sse().send_on(&mut client);
            let mut stream = Stream::of(client).expect("a stream");
            let last = stream.outcome();
            assert_eq!(field(&stream.head, "Rip-Turn"), [turn.to_string()]);
            session = Session::of_stream(&stream.head, &last);
            client = stream.into_client();
        } else {
            Ask::message(&session, &json!({})).send_on(&mut client);
            let response = client.response();
            assert_eq!(session.learn(&response)["output"]["turn"], turn);
        }
        if turn % 5 == 0 {
            Ask::message(&Session { token: "ct_x".into(), ..session.clone() }, &json!({}))
                .send_on(&mut client);
            assert_eq!(client.response().status, 409);
        }
    }
    assert_eq!(attempts(&server, &session).len(), 20);
}
