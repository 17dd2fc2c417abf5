//! Sessions: what the app is asked, and what becomes of each kind of answer.

use crate::harness::session::{Ask, Event, MOUNT, SESSIONS, Session, Stream, kind, text_of, turns};
use crate::harness::{Response, Server, Setup, eventually, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The app's statuses that are refusals: they are the app's own answer to the client.
const REFUSALS: [u16; 7] = [400, 401, 403, 404, 409, 422, 429];

fn refusal(status: u16) -> Value {
    let fields = json!([
        ["WWW-Authenticate", "Bearer realm=\"agents\""],
        ["Set-Cookie", "a=1; Path=/"],
        ["Set-Cookie", "b=2; HttpOnly"],
        ["X-Own", "as it is"],
        ["Retry-After", "7"],
        ["Rip-Mark", "internal"],
        ["Connection", "X-Hop"],
        ["X-Hop", "1"]
    ]);
    let text = format!("{{ \"why\" : \"not {status}\" }}\n");
    json!({"status": status, "media": "application/problem+json; charset=utf-8", "body": text, "fields": fields})
}

#[track_caller]
fn assert_passed(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.text(), format!("{{ \"why\" : \"not {status}\" }}\n"), "to the byte");
    assert_eq!(response.field("Content-Type"), "application/problem+json; charset=utf-8");
    assert_eq!(response.field("WWW-Authenticate"), "Bearer realm=\"agents\"");
    assert_eq!(response.values("Set-Cookie"), ["a=1; Path=/", "b=2; HttpOnly"]);
    assert_eq!((response.field("X-Own"), response.field("Retry-After")), ("as it is", "7"));
    for name in ["Rip-Mark", "X-Hop", "Idempotency-Replayed"] {
        assert!(response.values(name).is_empty(), "{name} in {response:?}");
    }
}

#[test]
fn an_app_that_refuses_answers_the_client_itself() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let begin = session.token.clone();
    for (number, status) in REFUSALS.into_iter().enumerate() {
        // Of a message: no commit, the token as it was.
        for ask in [
            Ask::message(&session, &refusal(status)),
            Ask::message(&session, &refusal(status)).sse(),
        ] {
            assert_passed(&ask.answer(&server), status);
        }
        assert_eq!(session.status(&server)["status"], "idle");
        assert_eq!(session.token, begin);
        // Of a start: no session comes to exist.
        for ask in [Ask::start(&refusal(status)), Ask::start(&refusal(status)).sse()] {
            let response = ask.answer(&server);
            assert_passed(&response, status);
            for name in ["Rip-Session-Id", "Rip-Resume-Token", "Rip-Turn"] {
                assert!(response.values(name).is_empty(), "{name} in {response:?}");
            }
            let turns = server.turns("turn");
            let id = turns.last().expect("a turn").session();
            let text = format!("unknown session '{id}'");
            for (method, rest) in [("POST", "/message"), ("GET", ""), ("GET", "/events")] {
                let ask = Ask::to(method, format!("{MOUNT}/session/{id}{rest}")).token("ct_x");
                let response = ask.answer(&server);
                assert_eq!(
                    (response.status, &response.json()["error"]),
                    (404, &text.clone().into())
                );
            }
        }
        assert_eq!(server.turns_of(&session.id).len(), 1 + 2 * (number + 1));
    }
    let body = session.message(&server, &json!({}));
    assert_eq!((&body["output"]["turn"], &body["output"]["attempt"]), (&2.into(), &15.into()));
    // Who reads its events is told that there was something.
    let events = session.history(&server);
    let errors: Vec<_> = events.iter().filter(|event| kind(event) == "error").collect();
    assert_eq!(errors.len(), 14, "{events:?}");
    assert!(errors.iter().all(|event| event["code"] == "refused" && event["turn"] == 2));
}

#[test]
fn a_refusal_may_be_long_or_empty_or_in_chunks() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let long = "sixteen letters.".repeat(65_536);
    let plan =
        json!({"status": 422, "steps": [{"raw": "one "}, {"raw": "two"}], "media": "text/plain"});
    for (plan, status, text) in [
        (json!({"status": 422, "body": "sixteen letters.", "times": 65_536}), 422, long.as_str()),
        (json!({"status": 401, "body": ""}), 401, ""),
        (plan, 422, "one two"),
    ] {
        let response = Ask::message(&session, &plan).sse().answer(&server);
        let is_same = response.text() == text;
        assert_eq!((response.status, is_same), (status, true), "{:?}", response.fields);
    }
    session.message(&server, &json!({}));
}

#[test]
fn a_refusal_that_breaks_off_is_still_one() {
    let file = turns(SESSIONS, "timeouts turn=\"1s\"");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    let (mut session, _) = Session::start(&server, &json!({}));
    let broken = |last: Value| json!({"status": 401, "media": "application/json", "steps": [{"raw": "{\"why\":"}, last]});
    for plan in [
        broken(json!({"drop": true})),
        broken(json!({"die": true})),
        broken(json!({"gate": "never"})),
        // Longer than anybody reads.
        json!({"status": 401, "body": "sixteen letters.", "times": 1_000_000}),
    ] {
        let response = Ask::message(&session, &plan).answer(&server);
        assert_eq!(response.status, 401, "{plan}: {response:?}");
        let body = response.json();
        assert_eq!(body["code"], "refused", "{plan}: {body}");
        assert!(Ask::start(&plan).answer(&server).status == 401, "{plan}");
    }
    session.message(&server, &json!({}));
}

#[test]
fn a_refusal_with_a_session_that_a_client_knows_leaves_it() {
    let server = Server::of_turns();
    // Its first turn failed and told of it: now a refusal does not make it unknown.
    let plan = json!({"attempts": [{"status": 500}, {"status": 401}, {}]});
    let response = Ask::start(&plan).answer(&server);
    let mut session = Session::of(&response);
    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(Ask::message(&session, &plan).answer(&server).status, 401);
    assert_eq!(session.message(&server, &plan)["output"]["attempt"], 3);
}

#[test]
fn the_app_is_asked_with_the_clients_own_fields_and_the_edges() {
    let server = Server::of_turns();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ask = Ask::start(&json!({"n": 1, "x": [1.50, "é"]}))
        .field("Cookie", "a=1; b=2")
        .field("Authorization", "Bearer mine")
        .field("X-Custom", "one")
        .field("Accept-Language", "de")
        .field("traceparent", trace)
        .field("Prefer", "disconnect=cancel")
        .field("Last-Event-ID", "0001-000000000001")
        .field("x-continuation-token", "ct_x")
        .field("Connection", "X-Hop")
        .field("X-Hop", "1")
        .field("Rip-Edge", "forged")
        .field("Rip-Turn", "99")
        .field("Rip-Turn-Attempt", "99")
        .field("Rip-Session-Id", "s_forged")
        .field("X-Forwarded-For", "203.0.113.7")
        .key("a-key-0123456789");
    let mut session = Session::of(&ask.answer(&server));
    let asked = server.wait_for_turns(1);
    assert_eq!((&asked.0["method"], &asked.0["target"]), (&"POST".into(), &"/v1/turn".into()));
    assert_eq!(asked.0["input"], json!({"n": 1, "x": [1.50, "é"]}));
    assert_eq!((&asked.0["state"], asked.0.get("wake")), (&Value::Null, None));
    for (name, value) in [
        ("Host", "a.test"),
        ("Cookie", "a=1; b=2"),
        ("Authorization", "Bearer mine"),
        ("X-Custom", "one"),
        ("Accept-Language", "de"),
        ("traceparent", trace),
        ("Content-Type", "application/json"),
        ("Rip-Edge", "turn"),
        ("Rip-Session-Id", &session.id),
        ("Rip-Turn", "1"),
        ("Rip-Turn-Attempt", "1"),
        ("Idempotency-Key", &format!("{}:1", session.id)),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "a.test"),
    ] {
        assert_eq!(asked.values(name), [value], "{name} in {asked:?}");
    }
    assert_eq!(asked.values("X-Request-Id").len(), 1);
    for name in ["x-continuation-token", "Prefer", "Last-Event-ID", "X-Hop", "Transfer-Encoding"] {
        assert!(asked.values(name).is_empty(), "{name} in {asked:?}");
    }
    // The second attempt of the second turn; a trace of the edge's own.
    let plan = json!({"attempts": [{"status": 500}, {}]});
    assert_eq!(Ask::message(&session, &plan).answer(&server).status, 502);
    session.message(&server, &plan);
    let asked = server.wait_for_turns(3);
    assert_eq!(
        (asked.values("Rip-Turn"), asked.values("Rip-Turn-Attempt")),
        (vec!["2"], vec!["2"])
    );
    assert_eq!(asked.values("Idempotency-Key"), [format!("{}:2", session.id)]);
    let trace = asked.values("traceparent");
    assert!(trace.len() == 1 && trace[0].len() == 55 && trace[0].starts_with("00-"), "{trace:?}");
}

#[test]
fn turns_have_a_path_of_their_own() {
    let file = turns(SESSIONS, "turn-path \"/agent/do\"; env TURN_AT=\"/agent/do\"");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    let (mut session, _) = Session::start(&server, &json!({}));
    session.message(&server, &json!({}));
    assert_eq!(server.turns("turn")[1].0["target"], "/agent/do");
    let fields = "Rip-Edge: turn\r\nRip-Session-Id: s_1\r\nRip-Turn: 1\r\nRip-Turn-Attempt: 1\r\n";
    for (path, status) in
        [("/agent/do", 404), ("/agent/./do", 404), ("/agent/%64o", 404), ("/v1/turn", 200)]
    {
        let response = server.request("POST", path, fields, b"{\"input\":{},\"state\":null}");
        assert_eq!(response.status, status, "{path}: {response:?}");
    }
    assert_eq!(server.turns("turn").len(), 2);
}

#[test]
fn json_without_a_status_is_an_output() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    for answer in [
        json!({"text": "hello", "n": 1.50}),
        json!([1, 2]),
        json!("text"),
        json!(null),
        json!(7),
        json!({}),
    ] {
        let body = session.message(&server, &json!({"answer": answer}));
        assert_eq!((&body["status"], &body["output"]), (&"finished".into(), &answer), "{body}");
        let members: BTreeSet<_> = body.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(
            members,
            ["continuationToken", "output", "sessionId", "status"].map(str::to_owned).into()
        );
    }
    let parked = json!({"status": "parked", "wait": {"id": "w1", "reason": "approval", "x": [1]}});
    let body = session.message(&server, &json!({"answer": parked}));
    assert_eq!((&body["status"], &body["wait"]), (&"parked".into(), &parked["wait"]), "{body}");
    assert_eq!(session.status(&server)["status"], "parked");
    let body = session.message(&server, &json!({"answer": {"status": "finished"}}));
    assert_eq!((&body["status"], &body["output"]), (&"finished".into(), &Value::Null), "{body}");
    assert_eq!(session.status(&server)["status"], "idle");
}

#[test]
fn streams_of_apps_are_read_however_they_are_cut() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let outcome = "{\"type\":\"outcome\",\"status\":\"finished\",\"output\":7}";
    let streams = [
        // As servers write them: comments, names, ids, CRLF, several lines of data, an unknown field.
        json!({"steps": [
            {"raw": ": hello\r\n\r\nevent: delta\r\nid: 1\r\nda"},
            {"raw": "ta: {\"type\":\"delta\",\r\ndata: \"text\":\"a\"}\r\n\r"},
            {"raw": "\nretry: 5\nfoo: bar\ndata:{\"type\":\"delta\",\"text\":\"b\"}\n\n"},
            {"raw": format!("data: {outcome}\n\n: behind it\n\ndata: {{\"type\":\"delta\",\"text\":\"c\"}}\n\n")}
        ]}),
        json!({"form": "ndjson", "steps": [
            {"raw": "{\"type\":\"delta\",\"te"}, {"raw": "xt\":\"a\"}\n\n{\"type\":\"delta\",\"text\":\"b\"}\r\n"},
            // The last line needs no end.
            {"raw": outcome}
        ]}),
        json!({"steps": ["a", "b", {"outcome": {"status": "finished", "output": 7}}], "form": "ndjson"}),
    ];
    for plan in streams {
        let mut stream = Ask::message(&session, &plan).sse().stream(&server);
        let events = stream.rest();
        let kinds: Vec<_> = events.iter().map(Event::kind).collect();
        assert_eq!(kinds, ["delta", "delta", "outcome"], "{events:?}");
        assert_eq!(text_of(events.iter().map(|event| &event.data)), "ab");
        assert_eq!(events[2].data["output"], 7);
        session = Session::of_stream(&stream.head, &events[2]);
    }
}

#[test]
fn state_goes_from_turn_to_turn_across_workers_and_generations() {
    let server = Server::of_turns();
    let (mut session, first) = Session::start(&server, &json!({"n": 0}));
    assert_eq!(first["output"]["state"], Value::Null);
    assert!(first.get("state").is_none(), "it is the app's own: {first}");
    let mut count = 1;
    let mut turn = |session: &mut Session| -> (Value, Value) {
        // Every other time another turn holds the worker that would get it.
        let gate = format!("gate{count}");
        let busy = (count % 2 == 0).then(|| {
            let asked = server.turns("turn").len();
            let busy = Ask::start(&json!({"gate": gate})).send(&server);
            server.wait_for_turns(asked + 1);
            busy
        });
        let body = session.message(&server, &json!({"n": count}));
        server.open_gate(&gate);
        busy.into_iter().for_each(|mut busy| assert_eq!(busy.response().status, 200));
        let output = &body["output"];
        let expected = json!({"count": count, "last": {"n": count - 1}});
        assert_eq!(output["state"], expected, "{body}");
        count += 1;
        (output["pid"].clone(), output["generation"].clone())
    };
    let mut seen: Vec<_> = (0..6).map(|_| turn(&mut session)).collect();
    let (code, output) = server.cli(&["restart"]);
    assert_eq!(code, 0, "{output}");
    seen.extend((0..3).map(|_| turn(&mut session)));
    server.hup();
    seen.extend((0..3).map(|_| turn(&mut session)));
    let pids: BTreeSet<_> = seen.iter().map(|(pid, _)| pid.as_u64()).collect();
    let generations: BTreeSet<_> = seen.iter().map(|(_, own)| own.as_u64()).collect();
    assert!(pids.len() >= 3, "{pids:?}");
    assert!(generations.len() >= 2, "{generations:?}");
    // A worker that dies takes nothing with it.
    assert_eq!(Ask::message(&session, &json!({"die": true})).answer(&server).status, 502);
    turn(&mut session);
}

#[test]
fn state_is_kept_by_commits_alone_and_cleared_by_null() {
    let server = Server::of_turns();
    let (mut session, _) =
        Session::start(&server, &json!({"answer": {"status": "finished", "state": {"a": [1.50]}}}));
    let state = |session: &mut Session| session.message(&server, &json!({"answer": {"probe": 1}}));
    let asked = |server: &Server| server.turns("turn").pop().expect("a turn").0["state"].clone();
    let kept = json!({"a": [1.50]});
    for plan in [
        json!({"answer": {"status": "contended", "current": 1, "state": "lost"}}),
        json!({"steps": [{"outcome": {"status": "contended", "current": 1, "state": "lost"}}]}),
        json!({"status": 500, "answer": {"status": "finished", "state": "lost"}}),
        json!({"status": 422, "answer": {"status": "finished", "state": "lost"}}),
        json!({"steps": ["a", {"type": "error", "message": "no", "state": "lost"}]}),
    ] {
        assert_ne!(Ask::message(&session, &plan).answer(&server).status, 404);
        assert_eq!(asked(&server), kept, "{plan}");
    }
    // An answer that says nothing of it leaves it.
    state(&mut session);
    assert_eq!(asked(&server), kept);
    session.message(&server, &json!({"steps": ["a", {"outcome": {"status": "finished"}}]}));
    assert_eq!(asked(&server), kept);
    let parked = json!({"status": "parked", "wait": {"id": "w"}, "state": "parked"});
    let plan = json!({"steps": [{"outcome": parked}]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    let last = stream.outcome();
    assert!(!last.block.contains("\"state\""), "{last:?}");
    session = Session::of_stream(&stream.head, &last);
    state(&mut session);
    assert_eq!(asked(&server), "parked");
    session.message(&server, &json!({"answer": {"status": "finished", "state": null}}));
    state(&mut session);
    assert_eq!(asked(&server), Value::Null);
    let all = session.history(&server);
    assert!(!all.iter().any(|event| event.to_string().contains("\"state\"")), "{all:?}");
}

#[test]
fn events_and_state_over_their_limits_fail_the_turn() {
    let server = Server::of_turns();
    let (mut session, _) =
        Session::start(&server, &json!({"answer": {"status": "finished", "state": "kept"}}));
    const MEBI: usize = 1024 * 1024;
    let grow = |field: &str, size: usize| json!({"grow": field, "size": size});
    for (plan, is_good) in [
        (json!({"steps": [{"many": 1, "size": MEBI - 2000}]}), true),
        (json!({"steps": [{"many": 1, "size": MEBI + 1}]}), false),
        (json!({"steps": ["a", {"many": 3, "size": 700_000}]}), true),
        (grow("output", MEBI - 2000), true),
        (grow("output", MEBI + 1), false),
        (grow("state", MEBI), true),
        (grow("state", MEBI + 1), false),
        (grow("state", 5 * MEBI), false),
    ] {
        let before = session.token.clone();
        let response = Ask::message(&session, &plan).answer(&server);
        if is_good {
            assert_eq!(response.status, 200, "{plan}: {:?}", response.fields);
            session.learn(&response);
            session.message(&server, &json!({"answer": {"status": "finished", "state": "kept"}}));
        } else {
            assert_eq!(response.status, 502, "{plan}: {:?}", response.fields);
            let body = response.json();
            assert_eq!(body["code"], "bad-answer", "{body}");
            assert_eq!(body["continuationToken"], before, "{body}");
            assert!(body["error"].as_str().is_some_and(|text| text.contains("1 MiB")), "{body}");
            session.message(&server, &json!({"answer": {"ok": 1}}));
            let asked = server.turns("turn").pop().expect("a turn");
            assert_eq!(asked.0["state"], "kept", "{plan}");
        }
    }
    // In a stream what came before is told, then the error, and the worker is let go.
    let cuts = server.turns("cut").len();
    let plan = json!({"steps": ["a", {"many": 1, "size": 2 * MEBI}, {"gate": "never"}]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    let events = stream.rest();
    let kinds: Vec<_> = events.iter().map(Event::kind).collect();
    assert_eq!(kinds, ["delta", "error"]);
    eventually("a worker that is let go", || server.turns("cut").len() > cuts);
    session.message(&server, &json!({}));
}

#[test]
fn a_turn_takes_as_long_as_its_app_may_and_no_longer() {
    let file = turns(SESSIONS, "timeouts turn=\"2s\" read=\"300ms\"");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    // One that thinks longer than other requests may take is no failure.
    let start = Ask::start(&json!({"steps": ["a", {"gate": "one"}, "b", {"gate": "two"}]}));
    let begin = Instant::now();
    let mut stream = start.sse().stream(&server);
    assert_eq!(stream.event().data["text"], "a");
    until("time passes", || (begin.elapsed() > Duration::from_millis(700)).then_some(()));
    server.open_gate("one");
    assert_eq!(stream.event().data["text"], "b");
    until("time passes", || (begin.elapsed() > Duration::from_millis(1400)).then_some(()));
    server.open_gate("two");
    let last = stream.outcome();
    let mut session = Session::of_stream(&stream.head, &last);
    // Before its head, in its midst; for JSON and for a stream.
    let silent = json!({"gate": "never"});
    let begun = json!({"steps": ["a", {"gate": "never"}]});
    for (plan, cuts) in [(silent, 1), (begun.clone(), 2)] {
        let begin = Instant::now();
        let response = Ask::message(&session, &plan).answer(&server);
        let took = begin.elapsed();
        assert_eq!((response.status, &response.json()["code"]), (504, &"timeout".into()), "{plan}");
        assert_eq!(response.json()["continuationToken"], session.token);
        assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(6), "{took:?}");
        eventually("a worker that is let go", || server.turns("cut").len() == cuts);
    }
    let mut stream = Ask::message(&session, &begun).sse().stream(&server);
    let events = stream.rest();
    let last = events.last().expect("an event");
    assert_eq!((last.kind(), &last.data["code"]), ("error", &"timeout".into()), "{events:?}");
    assert_eq!(last.data["retryable"], true);
    assert_eq!(session.message(&server, &json!({}))["output"]["attempt"], 4);
}

#[test]
fn an_app_that_goes_on_behind_its_outcome_keeps_nobody_waiting() {
    let file = turns(SESSIONS, "timeouts turn=\"2s\"");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    let outcome = json!({"outcome": {"status": "finished", "output": 1}});
    let plan = json!({"steps": ["a", outcome, {"gate": "never"}]});
    let begin = Instant::now();
    let mut session = Session::of(&Ask::start(&plan).answer(&server));
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    let last = stream.outcome();
    session = Session::of_stream(&stream.head, &last);
    session.message(&server, &json!({}));
    assert!(begin.elapsed() < Duration::from_millis(1900), "{:?}", begin.elapsed());
    // Its worker is busy with it until the turn's time is over, and no longer.
    eventually("workers that are let go", || server.turns("cut").len() == 2);
    eventually("no request at a worker", || server.inflight() == 0);
    assert!(begin.elapsed() > Duration::from_millis(1900), "{:?}", begin.elapsed());
}

#[test]
fn without_a_worker_a_turn_is_refused_as_any_request_would_be() {
    let app = "max-queue 1; timeouts queue=\"1s\"";
    let file = turns(SESSIONS, app)
        .replace("workers 2", "workers 1")
        .replace("concurrency 8", "concurrency 1");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    let (mut session, _) = Session::start(&server, &json!({}));
    let (other, _) = Session::start(&server, &json!({}));
    let mut busy = Ask::message(&other, &json!({"gate": "go"})).send(&server);
    server.wait_for_turns(3);
    let (third, fourth) = (Ask::start(&json!({})), Ask::message(&session, &json!({})));
    let mut queued = third.send(&server);
    eventually("a turn in the queue", || server.queue_depth() == 1);
    // The queue is full.
    let response = fourth.answer(&server);
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.field("Retry-After").parse::<u64>().is_ok_and(|after| after >= 1));
    let body = response.json();
    assert_eq!(
        (&body["continuationToken"], &body["retryable"]),
        (&session.token.clone().into(), &true.into())
    );
    // It waited too long; the session is there and can be tried again.
    let response = queued.response();
    assert_eq!(response.status, 504, "{response:?}");
    let mut late = Session::of(&response);
    server.open_gate("go");
    assert_eq!(busy.response().status, 200);
    late.message(&server, &json!({}));
    session.message(&server, &json!({}));
    assert_eq!(server.turns("turn").len(), 5);
}

#[test]
fn an_app_of_one_turn_at_a_time_takes_them_in_turn() {
    let file = turns(SESSIONS, "")
        .replace("workers 2", "workers 1")
        .replace("concurrency 8", "concurrency 1");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let ask = Ask::start(&json!({"steps": ["a", "b"]})).sse();
        waiting.push(ask.send(&server));
    }
    let mut ids = BTreeSet::new();
    for client in waiting {
        let mut stream = Stream::of(client).expect("a stream");
        let last = stream.outcome();
        ids.insert(Session::of_stream(&stream.head, &last).id);
    }
    assert_eq!(ids.len(), 10);
    eventually("every turn's end", || server.turns("ended").len() == 10);
    // One after the other: each has ended before the next is asked.
    let turns = std::fs::read_to_string(server.path("record/turns")).expect("the record");
    let open = turns.lines().map(|line| if line.contains("\"event\": \"turn\"") { 1 } else { -1 });
    let most = open
        .scan(0, |now, step| {
            *now += step;
            Some(*now)
        })
        .max();
    assert_eq!(most, Some(1), "{turns}");
}

#[test]
fn ten_thousand_events_of_one_turn_arrive_in_order() {
    let server = Server::of_turns();
    let plan = json!({"steps": [{"many": 10_000, "size": 200}]});
    let mut stream = Ask::start(&plan).sse().stream(&server);
    let events = stream.rest();
    assert_eq!(events.len(), 10_001);
    for (at, event) in events[..10_000].iter().enumerate() {
        assert_eq!(event.seq(), at as u64 + 1);
        let text = event.data["text"].as_str().expect("a text");
        assert!(text.starts_with(&format!("{at} ")) && text.len() == 200, "{event:?}");
    }
    let mut session = Session::of_stream(&stream.head, &events[10_000]);
    session.message(&server, &json!({}));
}
