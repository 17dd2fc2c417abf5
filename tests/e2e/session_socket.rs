//! Sessions over WebSocket: what messages do, what a connection is bound to, and what it is told.

use crate::harness::session::{Ask, SESSIONS, Session, kind, text_of, turns};
use crate::harness::websocket::{BINARY, PING, PONG, Socket, TEXT};
use crate::harness::{Server, Setup, eventually, tools};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// A client of one session, or of none yet.
struct Talk {
    socket: Socket,
    /// The last event that it was told.
    last: Option<String>,
}

impl Talk {
    #[track_caller]
    fn open(server: &Server) -> Self {
        Self { socket: Socket::open(server, "/v1/ws"), last: None }
    }

    /// Bound to this session by these members of a resumption.
    #[track_caller]
    fn resume(server: &Server, session: &str, how: &Value) -> Self {
        let mut talk = Self::open(server);
        talk.say(&resumption(session, how));
        talk
    }

    fn say(&mut self, message: &Value) {
        self.socket.say(&message.to_string());
    }

    /// The next message. Its id is that of the event it is, else of the one before it.
    #[track_caller]
    fn hear(&mut self) -> Value {
        let text = self.socket.hear_text();
        let told: Value = serde_json::from_str(&text).expect("JSON");
        let id = told["id"].as_str().map(str::to_owned);
        match (told["seq"].as_u64(), &id) {
            (Some(seq), Some(id)) => {
                assert!(id.ends_with(&format!("-{seq:012x}")), "{told}");
                assert!(text.starts_with("{\"id\":"), "its id comes first: {text}");
            }
            (Some(_), None) => panic!("an event without id: {told}"),
            (None, id) if kind(&told) != "reset" => assert!(id.is_some() || self.last.is_none()),
            (None, _) => {}
        }
        self.last = id.or(self.last.take());
        told
    }

    /// Everything up to the end of a turn.
    #[track_caller]
    fn turn(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            told.push(self.hear());
            let last = &told[told.len() - 1];
            if matches!(kind(last), "outcome" | "error") {
                return told;
            }
        }
    }

    /// Runs a turn; its outcome.
    #[track_caller]
    fn run(&mut self, message: &Value) -> Value {
        self.say(message);
        let last = self.turn().pop().expect("an event");
        assert_eq!(kind(&last), "outcome", "{last}");
        last
    }

    /// The next message, which must be a refusal of this name.
    #[track_caller]
    fn refused(&mut self, code: &str) -> String {
        let told = self.hear();
        assert_eq!((kind(&told), &told["code"]), ("error", &code.into()), "{told}");
        assert!(told.get("seq").is_none() && told.get("turn").is_none(), "{told}");
        told["message"].as_str().expect("words").to_owned()
    }

    /// Nothing was told before the answer to a ping.
    #[track_caller]
    fn assert_nothing_told(&mut self) {
        self.say(&json!({"type": "ping"}));
        assert_eq!(kind(&self.hear()), "pong");
    }
}

fn resumption(session: &str, how: &Value) -> Value {
    let mut message = json!({"type": "resume", "sessionId": session});
    for (name, value) in how.as_object().expect("members") {
        message[name] = value.clone();
    }
    message
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// Events without what differs from session to session.
fn alike(events: &[Value]) -> Vec<Value> {
    let mut events = events.to_vec();
    for event in &mut events {
        let members = event.as_object_mut().expect("an object");
        members.remove("id");
        for name in ["sessionId", "continuationToken"] {
            if let Some(value) = members.get_mut(name) {
                *value = json!(value.as_str().expect("text")[..2]);
            }
        }
    }
    events
}

/// A turn that says something and then waits at a gate.
fn waiting(gate: &str) -> Value {
    json!({"steps": ["a", {"gate": gate}, "b"]})
}

#[test]
fn json_streams_and_sockets_tell_the_same_events() {
    let server = Server::of_turns();
    let outcome = |members: Value| json!({ "outcome": members });
    let record = json!({"type": "record", "record": {"n": [1, 2.5, "ü\u{1f600}\n"]}});
    let wait = json!({"id": "w", "reason": "approval"});
    let plans = [
        json!({"steps": ["Hel", record, "lo", outcome(json!({"status": "finished", "output": {"a": 1}}))]}),
        json!({"form": "ndjson", "steps": ["x", outcome(json!({"status": "parked", "wait": wait}))]}),
        json!({"steps": ["x", outcome(json!({"status": "contended", "current": 7}))]}),
        json!({"steps": ["x", {"type": "error", "message": "no", "code": "tired", "retryable": true}]}),
        json!({"steps": ["x", {"drop": true}]}),
        json!({"steps": ["x", {"raw": "data: {\n\n"}]}),
        json!({"steps": [{"many": 900, "size": 50}, outcome(json!({"status": "finished", "output": null}))]}),
    ];
    let first = json!({"steps": [outcome(json!({"status": "finished", "output": 0}))]});
    for plan in plans {
        let (json, _) = Session::start(&server, &first);
        Ask::message(&json, &plan).answer(&server);
        let by_json = json.history(&server);

        let mut stream = Ask::start(&first).sse().stream(&server);
        let mut by_stream = stream.rest();
        let session = Session::of_stream(&stream.head, &by_stream[0]);
        by_stream.extend(Ask::message(&session, &plan).sse().stream(&server).rest());
        let by_stream: Vec<_> = by_stream.into_iter().map(|event| event.data).collect();

        let mut talk = Talk::open(&server);
        talk.say(&first);
        let mut by_socket = talk.turn();
        let session = text(&by_socket[0], "sessionId");

        talk.say(&plan);
        by_socket.extend(talk.turn());
        talk.assert_nothing_told();

        // Who comes later is told the same, by name.
        let token = by_socket.last().and_then(|last| last["continuationToken"].as_str());
        let token = token.map_or_else(|| text(&by_socket[0], "continuationToken"), str::to_owned);
        let how = json!({"continuationToken": token, "lastEventId": "earliest"});
        let mut later = Talk::resume(&server, &session, &how);
        let by_resumption: Vec<_> = by_socket.iter().map(|_| later.hear()).collect();
        later.assert_nothing_told();

        assert_eq!(alike(&by_stream), alike(&by_json), "{plan}");
        assert_eq!(alike(&by_socket), alike(&by_json), "{plan}");
        assert_eq!(by_resumption, by_socket, "{plan}");
    }
}

#[test]
fn a_fresh_connection_starts_a_session_and_is_bound_to_it() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    assert_eq!(talk.socket.head.status, 101);
    let stale = "ct_0000000000000000000000000000000000000000000";
    talk.say(&json!({"a": 1, "continuationToken": stale}));
    let words = talk.refused("token-on-start");
    assert_eq!(words, "present no continuationToken to start a session");
    talk.say(&json!({"type": "cancel"}));
    talk.refused("unknown-session");
    assert!(server.turns("turn").is_empty());

    let outcome = talk.run(&json!({"a": 1}));
    let (session, first) = (text(&outcome, "sessionId"), text(&outcome, "continuationToken"));
    assert_eq!((&outcome["status"], &outcome["turn"]), (&"finished".into(), &1.into()));
    // A token is not needed, and checked if there is one.
    let outcome = talk.run(&json!({"b": 2}));
    let second = text(&outcome, "continuationToken");
    assert_eq!((&outcome["turn"], &outcome["sessionId"]), (&2.into(), &json!(session)));
    assert_ne!(first, second);
    talk.say(&json!({"continuationToken": first}));
    assert_eq!(talk.refused("stale-token"), "stale or invalid continuationToken");
    let outcome = talk.run(&json!({"c": 3, "continuationToken": second}));
    assert_eq!(outcome["turn"], 3);
    // The token is no input, and the client's own fields go along.
    let asked = &server.turns_of(&session)[2];
    assert_eq!(asked.0["input"], json!({"c": 3}));
    assert_eq!(asked.values("Host"), ["a.test"]);
    assert_eq!(asked.values("Rip-Edge"), ["turn"]);
    assert_eq!(asked.values("Content-Type"), ["application/json"]);
    for handshake in ["Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"] {
        assert!(asked.values(handshake).is_empty(), "{asked:?}");
    }
    // Somebody who has the token may go on elsewhere, and the connection stays bound.
    let mut elsewhere =
        Session { id: session, token: text(&outcome, "continuationToken"), resume: String::new() };
    let response = Ask::message(&elsewhere, &json!({})).answer(&server);
    elsewhere.token = text(&response.json(), "continuationToken");
    let told = talk.turn();
    assert_eq!(told[0]["continuationToken"], json!(elsewhere.token), "it is told: {told:?}");
    assert_eq!(talk.run(&json!({}))["turn"], 5);
    let response = Ask::message(&elsewhere, &json!({})).answer(&server);
    assert_eq!(response.status, 409, "{response:?}");
}

#[test]
fn one_turn_at_a_time() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    talk.say(&waiting("go"));
    talk.say(&json!({"early": true}));
    let mut told = [talk.hear(), talk.hear()];
    told.sort_by_key(|told| kind(told).to_owned());
    assert_eq!(told[0]["text"], "a");
    assert_eq!(told[1]["message"], "a turn is already in flight for this session");
    assert_eq!(told[1]["code"], "in-flight");
    talk.say(&json!({"continuationToken": "ct_made-up"}));
    talk.refused("stale-token");
    talk.say(&json!({"again": true}));
    talk.refused("in-flight");
    server.open_gate("go");
    assert_eq!(text_of(&talk.turn()), "b");
    assert_eq!(talk.run(&json!({}))["turn"], 2);
    assert_eq!(server.turns("turn").len(), 2, "what was refused never ran");
}

#[test]
fn what_is_no_message_is_refused_and_the_connection_stays() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    for (bad, code) in
        [("{", "bad-json"), ("x", "bad-json"), ("[1]", "not-an-object"), ("7", "not-an-object")]
    {
        talk.socket.say(bad);
        talk.refused(code);
    }
    talk.say(&json!({"type": "resume", "sessionId": "s_1", "lastEventId": "7"}));
    assert_eq!(talk.refused("bad-cursor"), "malformed event id");
    // Signs of life, of the protocol's own kind and of this one's.
    talk.say(&json!({"type": "ping"}));
    assert_eq!(talk.hear(), json!({"type": "pong"}));
    talk.socket.send(PING, b"there?");
    let pong = talk.socket.frame();
    assert_eq!((pong.first, &pong.payload[..]), (PONG, &b"there?"[..]));
    let outcome = talk.run(&json!({"type": "application/json", "text": "hi"}));
    let id = text(&outcome, "id");
    talk.socket.say("[");
    talk.refused("bad-json");
    talk.say(&json!({"type": "ping", "more": 1}));
    assert_eq!(talk.hear(), json!({"id": id, "type": "pong"}), "it says where the client is");
    let asked = &server.turns("turn")[0];
    assert_eq!(asked.0["input"], json!({"type": "application/json", "text": "hi"}));
}

#[test]
fn what_breaks_the_protocol_or_is_too_much_closes_the_connection() {
    let server = Server::of_turns();
    let close = |first: u8, payload: &[u8]| {
        let mut talk = Talk::open(&server);
        // It may be closed before everything is sent.
        let frame = crate::harness::websocket::masked(first, payload);
        talk.socket.send_bytes(&frame).ok();
        talk.socket.hear_close()
    };
    assert_eq!(close(BINARY, b"{}"), (1003, "text only".to_owned()));
    assert_eq!(close(TEXT, b"\xff"), (1007, String::new()));
    assert_eq!(close(0x83, b""), (1002, String::new()));
    assert_eq!(close(TEXT, &[b' '; (1 << 20) + 1]), (1009, String::new()));
    let mut talk = Talk::open(&server);
    let mut longest = json!({"a": "", "answer": {"status": "finished"}});
    longest["a"] = json!("x".repeat((1 << 20) - longest.to_string().len()));
    talk.run(&longest);
    let mut talk = Talk::open(&server);
    for _ in 0..400 {
        if talk
            .socket
            .send_bytes(&crate::harness::websocket::masked(TEXT, b"{\"type\":\"ping\"}"))
            .is_err()
        {
            break;
        }
    }
    let close = loop {
        let frame = talk.socket.hear();
        if frame.first != TEXT {
            break frame.close();
        }
    };
    assert_eq!(close, (1008, "too many messages".to_owned()));
}

#[test]
fn handshakes_are_checked_as_everywhere() {
    let setup = |sessions: &str| {
        let server = Setup::edgefile(&turns(sessions, "")).word("--no-watch").start();
        server.wait_for_workers(2);
        server
    };
    let server = setup("sessions \"/v1\" app=\"turns\" origins=\"https://friend.test\"");
    let open = |fields: &str| Socket::try_open(server.connect(), "a.test", "/v1/ws", fields);
    for origin in ["http://a.test", "https://friend.test"] {
        let mut socket = open(&format!("Origin: {origin}\r\n")).expect("a connection");
        socket.say("{}");
        assert_eq!(socket.hear_json()["status"], "finished");
    }
    let refused = open("Origin: https://evil.test\r\n").err().expect("a refusal");
    assert_eq!(refused.status, 403, "{refused:?}");
    let bare = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let version = format!(
        "{bare}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n"
    );
    let response = server.request("GET", "/v1/ws", &version, b"");
    assert_eq!((response.status, response.field("Sec-WebSocket-Version")), (426, "13"));
    let response =
        server.request("GET", "/v1/ws", &format!("{bare}Sec-WebSocket-Version: 13\r\n"), b"");
    assert_eq!(response.status, 400, "{response:?}");
    let secret = Socket::try_open(server.connect(), "a.test", "/v1/ws?x=ct_secret", "");
    assert_eq!(secret.err().expect("a refusal").status, 400);
    assert_eq!(server.turns("turn").len(), 2);
}

#[test]
fn a_connection_resumes_where_it_was() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    talk.say(&json!({"steps": ["a ", "b ", {"gate": "go"}, "c"]}));
    let (first, second) = (talk.hear(), talk.hear());
    let last = text(&first, "id");
    talk.socket.reset();
    // The turn runs on; but who was bound to it has no token yet: only its outcome has it.
    server.open_gate("go");
    eventually("the turn's end", || server.turns("ended").len() == 1);
    let asked = &server.turns("turn")[0];
    assert_eq!(asked.attempt(), (1, 1));

    let (mut session, _) = Session::start(&server, &json!({"steps": ["a ", "b ", "c"]}));
    let events = session.history(&server);
    let name = |event: &Value| {
        let epoch = last.split('-').next().expect("an epoch");
        format!("{epoch}-{:012x}", event["seq"].as_u64().expect("seq"))
    };
    // After each event the rest comes, by each kind of token.
    for (at, event) in events.iter().enumerate() {
        for how in
            [json!({"continuationToken": session.token}), json!({"resumeToken": session.resume})]
        {
            let mut how = how;
            how["lastEventId"] = json!(name(event));
            let mut talk = Talk::resume(&server, &session.id, &how);
            for event in &events[at + 1..] {
                let mut told = talk.hear();
                assert_eq!(told["id"], name(event));
                told.as_object_mut().expect("an object").remove("id");
                assert_eq!(told, *event);
            }
            talk.assert_nothing_told();
        }
    }
    // By default it is the last turn.
    session.message(&server, &json!({"steps": ["second"]}));
    let how = json!({"continuationToken": session.token});
    let mut talk = Talk::resume(&server, &session.id, &how);
    assert_eq!(text_of(&talk.turn()), "second");
    talk.say(&resumption(&session.id, &how));
    talk.refused("already-bound");
    // Bound, it goes on without a token.
    let outcome = talk.run(&json!({"steps": ["third"]}));
    assert_eq!((&outcome["turn"], &outcome["sessionId"]), (&3.into(), &json!(session.id)));
    assert_eq!(second["text"], "b ");
}

#[test]
fn who_resumes_while_a_turn_runs_sees_it_live() {
    let server = Server::of_turns();
    let (session, _) = Session::start(&server, &json!({}));
    let mut waiting_for_it = Ask::message(&session, &waiting("go")).send(&server);
    server.wait_for_turns(2);
    let how = json!({"continuationToken": session.token});
    let mut talks: Vec<_> = (0..3).map(|_| Talk::resume(&server, &session.id, &how)).collect();
    for talk in &mut talks {
        assert_eq!(talk.hear()["text"], "a");
        talk.say(&json!({}));
        talk.refused("in-flight");
    }
    server.open_gate("go");
    let body = waiting_for_it.response().json();
    for talk in &mut talks {
        let told = talk.turn();
        assert_eq!(text_of(&told), "b");
        assert_eq!(told[1]["continuationToken"], body["continuationToken"]);
    }
}

#[test]
fn who_may_only_read_may_only_read() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({"steps": ["one"]}));
    let previous = session.token.clone();
    session.message(&server, &json!({"steps": ["two"]}));
    // Reading by the token before, before the current one is seen.
    for how in [json!({"continuationToken": previous}), json!({"resumeToken": session.resume})] {
        let mut talk = Talk::resume(&server, &session.id, &how);
        assert_eq!(text_of(&talk.turn()), "two");
        talk.say(&json!({"a": 1}));
        assert_eq!(talk.refused("missing-token"), "missing continuationToken");
        talk.say(&json!({"type": "cancel"}));
        talk.refused("missing-token");
        talk.say(&json!({"a": 1, "continuationToken": previous}));
        talk.refused("stale-token");
    }
    assert_eq!(server.turns("turn").len(), 2);
    // Who has the token all the same runs a turn with it.
    let how = json!({"resumeToken": session.resume, "lastEventId": "now"});
    let mut talk = Talk::resume(&server, &session.id, &how);
    let outcome = talk.run(&json!({"continuationToken": session.token}));
    assert_eq!(outcome["turn"], 3);
    let (other, _) = Session::start(&server, &json!({}));
    for (id, how, code) in [
        ("s_1", json!({"resumeToken": other.resume}), "unknown-session"),
        ("s_", json!({"resumeToken": other.resume}), "unknown-session"),
        (&session.id, json!({}), "missing-token"),
        (&session.id, json!({"resumeToken": other.resume}), "stale-token"),
        (&session.id, json!({"continuationToken": other.token}), "stale-token"),
        (&session.id, json!({"resumeToken": other.token}), "stale-token"),
    ] {
        let mut talk = Talk::resume(&server, id, &how);
        talk.refused(code);
        // The connection is as fresh as before.
        assert_eq!(talk.run(&json!({}))["turn"], 1, "{id} {how}");
    }
}

#[test]
fn a_turn_is_cancelled_by_its_connection_and_by_another_one() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    let first = talk.run(&json!({}));
    for by_another in [false, true] {
        talk.say(&waiting("never"));
        assert_eq!(talk.hear()["text"], "a");
        let cancel = json!({"type": "cancel"});
        if by_another {
            let how =
                json!({"continuationToken": first["continuationToken"], "lastEventId": "now"});
            Talk::resume(&server, &text(&first, "sessionId"), &how).say(&cancel);
        } else {
            talk.say(&cancel);
        }
        let outcome = talk.hear();
        assert_eq!((kind(&outcome), &outcome["status"]), ("outcome", &"cancelled".into()));
        assert_eq!(outcome["continuationToken"], first["continuationToken"], "it stays good");
        // Once more is too late: that outcome is told again.
        talk.say(&cancel);
        assert_eq!(talk.hear(), outcome);
    }
    eventually("workers that are let go", || server.turns("cut").len() == 2);
    let outcome = talk.run(&json!({}));
    assert_eq!(outcome["turn"], 2);
    assert_eq!(outcome["output"]["attempt"], 3);
    talk.say(&json!({"type": "cancel"}));
    assert_eq!(talk.hear(), outcome);
}

#[test]
fn a_start_that_failed_is_a_start_again_on_the_same_session() {
    let server = Server::of_turns();
    for failing in [
        json!({"status": 500}),
        json!({"drop": true}),
        json!({"body": "no JSON"}),
        json!({"steps": ["x", {"drop": true}]}),
    ] {
        let count = server.turns("turn").len();
        let mut talk = Talk::open(&server);
        talk.say(&json!({"attempts": [failing, {}]}));
        let error = talk.turn().pop().expect("an error");
        assert_eq!((kind(&error), &error["turn"]), ("error", &1.into()), "{error}");
        let (session, token) = (text(&error, "sessionId"), text(&error, "continuationToken"));
        let outcome = talk.run(&json!({"again": 1}));
        assert_eq!((&outcome["turn"], &outcome["sessionId"]), (&1.into(), &json!(session)));
        assert_eq!(outcome["output"]["attempt"], 2, "{outcome}");
        assert_ne!(outcome["continuationToken"], json!(token));
        assert_eq!(server.turns("turn").len(), count + 2);
    }
}

#[test]
fn a_start_that_the_app_refuses_leaves_no_session() {
    let server = Server::of_turns();
    for status in [401, 403, 422, 429] {
        let mut talk = Talk::open(&server);
        talk.say(&json!({"status": status, "answer": {"error": "not you"}}));
        let error = talk.hear();
        assert_eq!((kind(&error), &error["code"]), ("error", &"refused".into()), "{error}");
        assert!(error["message"].as_str().is_some_and(|words| words.contains(&status.to_string())));
        assert!(error.get("sessionId").is_none() && error.get("seq").is_none(), "{error}");
        let refused = server.turns("turn").last().map(|asked| asked.session().to_owned());
        let unknown = Ask::to("GET", format!("/v1/session/{}", refused.expect("a turn")));
        assert_eq!(unknown.answer(&server).status, 404);
        // As fresh as before.
        let outcome = talk.run(&json!({}));
        assert_eq!((&outcome["turn"], &outcome["output"]["attempt"]), (&1.into(), &1.into()));
        // Later turns are refused without any harm.
        talk.say(&json!({"status": status, "answer": {}}));
        let error = talk.turn().pop().expect("an error");
        assert_eq!((kind(&error), &error["code"]), ("error", &"refused".into()), "{error}");
        assert_eq!(talk.run(&json!({}))["turn"], 2);
    }
}

#[test]
fn a_bound_connection_sees_what_wakes_its_session() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    let parked = json!({"status": "parked", "wait": {"id": "w", "reason": "approval"}});
    let outcome = talk.run(&json!({"answer": parked}));
    assert_eq!((&outcome["status"], &outcome["wait"]["id"]), (&"parked".into(), &"w".into()));
    let session = text(&outcome, "sessionId");
    let how = json!({"continuationToken": outcome["continuationToken"], "lastEventId": "now"});
    let mut other = Talk::resume(&server, &session, &how);
    other.assert_nothing_told();
    let wake = json!({"plan": {"steps": ["woken"]}});
    let wake = Ask::to("POST", format!("/v1/session/{session}/wake")).at("localhost").json(&wake);
    let response = wake.answer(&server);
    assert!(matches!(response.status, 200 | 202), "{response:?}");
    let told = talk.turn();
    assert_eq!((text_of(&told), &told[1]["turn"]), ("woken".to_owned(), &2.into()));
    assert_eq!(other.turn(), told);
    // The token that was told is the one that is good.
    let token = text(&told[1], "continuationToken");
    assert_eq!(other.run(&json!({"continuationToken": token}))["turn"], 3);
    assert_eq!(talk.turn()[0]["turn"], 3);
    assert_eq!(talk.run(&json!({}))["turn"], 4);
    assert_eq!(other.turn()[0]["turn"], 4);
}

#[test]
fn a_timer_wakes_a_session_that_a_connection_is_bound_to() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    // It was due before it was set.
    let wait = json!({"id": "w", "reason": "later", "until": "2020-01-01T00:00:00Z"});
    let outcome = talk.run(&json!({"answer": {"status": "parked", "wait": wait}}));
    assert_eq!(outcome["status"], "parked");
    let woken = talk.turn().pop().expect("an outcome");
    assert_eq!((kind(&woken), &woken["turn"]), ("outcome", &2.into()), "{woken}");
}

#[test]
fn a_connection_that_goes_leaves_its_turn_to_run_unless_told_otherwise() {
    for (more, ends) in [("", "ended"), (" on-disconnect=\"cancel\"", "cut")] {
        let file = turns(&format!("{SESSIONS}{more}"), "");
        let server = Setup::edgefile(&file).word("--no-watch").start();
        server.wait_for_workers(2);
        for (count, is_rude) in [(1, false), (2, true)] {
            let mut talk = Talk::open(&server);
            talk.say(&waiting(if ends == "cut" { "never" } else { "go" }));
            assert_eq!(talk.hear()["text"], "a");
            if is_rude {
                talk.socket.reset();
            } else {
                talk.socket.close(1000, "bye");
                assert_eq!(talk.socket.hear_close(), (1000, "bye".to_owned()));
            }
            server.open_gate("go");
            eventually("the turn's end", || server.turns(ends).len() == count);
        }
    }
}

#[test]
fn a_slow_reader_gets_everything_and_holds_nobody_up() {
    const DELTAS: usize = 10_000;
    let server = Server::of_turns();
    let mut slow = Talk::open(&server);
    slow.say(&json!({"steps": [{"many": DELTAS, "size": 2000}]}));
    eventually("the turn's end", || server.turns("ended").len() == 1);
    // It has not read a byte of it, and others are served.
    assert_eq!(Talk::open(&server).run(&json!({}))["turn"], 1);
    for number in 0..DELTAS {
        let told = slow.hear();
        let said = told["text"].as_str().and_then(|text| text.split(' ').next());
        assert_eq!(said, Some(&*number.to_string()), "{told}");
    }
    assert_eq!(kind(&slow.hear()), "outcome");
    assert_eq!(slow.run(&json!({}))["turn"], 2);
}

#[test]
fn who_answers_nothing_and_asks_on_is_heard_when_it_has_read() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    talk.say(&json!({"steps": [{"many": 8000, "size": 2000}]}));
    eventually("the turn's end", || server.turns("ended").len() == 1);
    for _ in 0..100 {
        talk.say(&json!({"type": "ping"}));
    }
    let mut pongs = 0;
    let mut deltas = 0;
    while pongs < 100 || deltas < 8000 {
        match kind(&talk.hear()) {
            "pong" => pongs += 1,
            "delta" => deltas += 1,
            other => assert_eq!(other, "outcome"),
        }
    }
}

#[test]
fn a_stopping_server_lets_turns_end_and_closes_who_has_none() {
    let mut server = Server::of_turns();
    let mut idle: Vec<_> = (0..5).map(|_| Talk::open(&server)).collect();
    for talk in &mut idle[..3] {
        talk.run(&json!({}));
    }
    let mut busy = Talk::open(&server);
    busy.say(&waiting("go"));
    assert_eq!(busy.hear()["text"], "a");
    server.signal(Signal::SIGTERM);
    for mut talk in idle {
        assert_eq!(talk.socket.hear_close(), (1012, "the server is restarting".to_owned()));
    }
    assert!(busy.socket.is_silent_for(Duration::from_millis(300)));
    server.open_gate("go");
    let told = busy.turn();
    assert_eq!((text_of(&told), kind(&told[1])), ("b".to_owned(), "outcome"));
    assert_eq!(busy.socket.hear_close(), (1012, "the server is restarting".to_owned()));
    assert_eq!(server.exit_code(), 0, "{}", server.log());
}

#[test]
fn a_mount_that_is_gone_closes_its_connections() {
    let server = Server::of_turns();
    let mut talk = Talk::open(&server);
    talk.run(&json!({}));
    std::fs::write(server.path("app/Edgefile"), server.filled_in(&turns("", "")))
        .expect("an Edgefile");
    let (code, said) = server.cli(&["reload"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(talk.socket.hear_close(), (1001, "no longer served".to_owned()));
    assert_eq!(server.get("/v1/ws").text(), "page of /v1/ws");
}

#[test]
fn a_session_that_is_deleted_is_unknown_to_its_connections() {
    let server = Server::of_turns();
    let (session, _) = Session::start(&server, &json!({}));
    let how = json!({"continuationToken": session.token, "lastEventId": "now"});
    let mut talk = Talk::resume(&server, &session.id, &how);
    talk.assert_nothing_told();
    assert_eq!(Ask::delete(&session).answer(&server).status, 204);
    talk.say(&json!({}));
    talk.refused("unknown-session");
}

#[test]
fn node_is_content() {
    let server = Server::of_turns();
    let mut client = Command::new("node");
    client.env("NODE_PATH", tools::cache().join("node/node_modules"));
    client.arg(tools::app("session_client.cjs"));
    client.arg(format!("ws://127.0.0.1:{}/v1/ws", server.port()));
    let output = tools::finish_within(&mut client, Duration::from_secs(60));
    assert_eq!(tools::both(&output), "fine\n");
}

#[test]
fn python_is_content() {
    let server = Server::of_turns();
    let mut client = Command::new(tools::python());
    client.arg(tools::app("session_client.py"));
    client.arg(format!("ws://127.0.0.1:{}/v1/ws", server.port()));
    let output = tools::finish_within(&mut client, Duration::from_secs(60));
    assert_eq!(tools::both(&output), "fine\n");
}
