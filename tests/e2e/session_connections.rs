//! Sessions: clients and connections as they are in the world: impatient, old, silent, encrypted; and
//! workers and servers that are on their way out.

use crate::harness::http::chunked;
use crate::harness::session::{Ask, Event, MOUNT, SESSIONS, Session, Stream, kind, turns};
use crate::harness::tls::identity;
use crate::harness::{Client, Server, Setup, eventually, port::Port, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// No worker holds a request and none waits for one.
#[track_caller]
fn assert_all_let_go(server: &Server) {
    eventually("no request at a worker", || server.inflight() == 0 && server.queue_depth() == 0);
}

#[test]
fn clients_that_leave_at_any_moment_leave_nothing_behind() {
    let server = Setup::turns().flag("--loops", 2).start();
    server.wait_for_workers(2);
    let mut sessions: Vec<_> = (0..8).map(|_| Session::start(&server, &json!({})).0).collect();
    for round in 0..200_u64 {
        let session = &mut sessions[round as usize % 8];
        // The token as the events tell it; whoever runs a turn of it by now was left alone.
        let Some(last) = session.history(&server).pop() else { panic!("no events") };
        if let Some(token) = last["continuationToken"].as_str() {
            session.token = token.to_owned();
        }
        let plan = json!({"steps": ["a", {"many": 20, "size": 50}, "b"]});
        let mut ask = Ask::message(session, &plan);
        if round % 2 == 0 {
            ask = ask.sse();
        }
        if round % 3 == 0 {
            ask = ask.prefer("disconnect=cancel");
        }
        let mut client = ask.send(&server);
        match round % 5 {
            // At once, before anybody has read a byte of it.
            0 => {}
            1 => {
                client.patience(Duration::from_millis(round % 17 + 1));
                client.try_head().ok();
            }
            2 => drop(client.try_head()),
            3 => {
                if client.try_head().is_ok_and(|head| head.status == 200) {
                    client.exactly(10).ok();
                }
            }
            _ => {
                client.try_response("POST").ok();
            }
        }
        if round % 4 == 0 {
            drop(client);
        } else {
            client.reset();
        }
    }
    assert_all_let_go(&server);
    for session in &mut sessions {
        until("an idle session", || (session.status(&server)["status"] == "idle").then_some(()));
        let events = session.history(&server);
        let outcomes = events.iter().filter(|event| event["status"] == "finished").count();
        let last = events.last().expect("an event");
        session.token = last["continuationToken"].as_str().expect("a token").to_owned();
        let body = session.message(&server, &json!({}));
        // Every commit was one, and nothing else was.
        assert_eq!(body["output"]["state"]["count"], outcomes, "{body}");
        assert_eq!(body["output"]["turn"], outcomes + 1, "{body}");
    }
}

#[test]
fn a_worker_that_is_busy_or_on_its_way_out_is_no_failure() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    for field in ["Rip-Worker-Busy", "Rip-Worker-Draining"] {
        server.open_gate("full");
        let plan = json!({"unless": "full", "fields": [[field, "1"]]});
        let count = server.turns("turn").len();
        let mut waiting = Ask::message(&session, &plan).send(&server);
        eventually("a turn at the app", || server.turns("turn").len() > count);
        server.close_gate("full");
        let response = waiting.response();
        assert_eq!(response.status, 200, "{field}: {response:?}");
        assert_eq!(session.learn(&response)["output"]["attempt"], 1, "still the first attempt");
        server.wait_for_workers(2);
    }
    assert_all_let_go(&server);
}

#[test]
fn sessions_may_be_mounted_anywhere() {
    for mount in ["/", "/api/agents", "/v1"] {
        let server = Setup::edgefile(&turns(&format!("sessions \"{mount}\" app=\"turns\""), ""))
            .word("--no-watch")
            .start();
        server.wait_for_workers(2);
        let below = mount.trim_end_matches('/');
        let start = Ask::to("POST", format!("{below}/session")).json(&json!({}));
        let response = start.prefer("respond-async").answer(&server);
        assert_eq!(response.status, 202, "{mount}: {response:?}");
        let session = Session::of(&response);
        let location = format!("{below}/session/{}/events?turn=1", session.id);
        assert_eq!(response.field("Location"), location);
        let mut stream = Ask::to("GET", location).token(&session.token).stream(&server);
        assert_eq!(stream.outcome().data["status"], "finished");
        let response = server.request("POST", &format!("{below}/session/"), "", b"");
        assert_eq!(response.json()["error"], format!("no route for {below}/session/"));
        assert_eq!(server.get(&format!("{below}/page")).text(), format!("page of {below}/page"));
        if mount != "/v1" {
            let response = server.request("POST", "/v1/session", "", b"");
            assert_eq!(response.text(), "page of /v1/session", "{mount}");
        }
    }
}

#[test]
fn requests_in_one_go_are_answered_one_after_the_other() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let mut client = server.connect();
    // The second one comes too late for its token, also behind a stream.
    Ask::message(&session, &json!({"steps": ["a", "b"]})).sse().send_on(&mut client);
    Ask::message(&session, &json!({})).send_on(&mut client);
    client.request("GET", "/next", "", b"");
    let mut stream = Stream::of(client).expect("a stream");
    let last = stream.outcome();
    session = Session::of_stream(&stream.head, &last);
    let mut client = stream.into_client();
    assert_eq!(client.response().json()["code"], "stale-token");
    assert_eq!(client.response().text(), "page of /next");
    assert_eq!(session.message(&server, &json!({}))["output"]["turn"], 3);
}

#[test]
fn a_body_may_take_its_time() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let body = json!({"n": 1, "continuationToken": session.token}).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n",
        session.path("/message")
    );
    // Asked whether it may come.
    let mut client = server.connect();
    client.send(format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len()));
    assert_eq!(client.head().status, 100);
    // Byte by byte.
    for byte in body.bytes() {
        client.send([byte]);
    }
    session.learn(&client.response());
    // In chunks; not claimed before it is whole.
    let body = json!({"n": 2, "continuationToken": session.token}).to_string();
    let pieces = chunked(body.as_bytes(), 7);
    let mut client = server.connect();
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n"));
    client.send(&pieces[..pieces.len() - 5]);
    assert!(client.is_silent_for(Duration::from_millis(100)));
    assert_eq!(session.status(&server)["status"], "idle");
    client.send(&pieces[pieces.len() - 5..]);
    session.learn(&client.response());
    // A body that never comes claims nothing.
    let mut client = server.connect();
    client.send(format!("{head}Content-Length: 100\r\n\r\n{{\"a\":"));
    client.reset();
    session.message(&server, &json!({}));
    assert_eq!(server.turns("turn").len(), 4);
    assert_all_let_go(&server);
}

#[test]
fn a_client_that_has_said_all_it_has_to_say_still_gets_its_answer() {
    let server = Server::of_turns();
    let ask = |gate: &str| Ask::start(&json!({"steps": ["a", {"gate": gate}, "b"]}));
    let mut client = ask("one").send(&server);
    client.finish_sending();
    server.wait_for_turns(1);
    server.open_gate("one");
    assert_eq!(client.response().json()["status"], "finished");
    let mut client = ask("two").sse().send(&server);
    client.finish_sending();
    let mut stream = Stream::of(client).expect("a stream");
    assert_eq!(stream.event().data["text"], "a");
    server.open_gate("two");
    assert_eq!(stream.outcome().data["status"], "finished");
}

#[test]
fn old_clients_get_streams_that_end_with_their_connection() {
    let server = Server::of_turns();
    let body = json!({"steps": ["a", {"gate": "go"}, "b"]}).to_string();
    let mut client = server.connect();
    client.send(format!(
        "POST {MOUNT}/session HTTP/1.0\r\nHost: a.test\r\nAccept: text/event-stream\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let head = client.head();
    assert_eq!(head.status, 200, "{head:?}");
    assert!(!head.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")));
    let start = client.exactly("retry: 1000\n\nid: ".len()).expect("the beginning");
    assert_eq!(start, b"retry: 1000\n\nid: ");
    server.open_gate("go");
    let rest = String::from_utf8(client.rest().expect("the rest")).expect("text");
    assert!(rest.contains("\"type\":\"outcome\"") && rest.ends_with("}\n\n"), "{rest}");
    let mut client = server.connect();
    client.send(format!("POST {MOUNT}/session HTTP/1.0\r\nHost: a.test\r\n\r\n"));
    let response = client.response();
    assert_eq!((response.status, response.json()["status"] == "finished"), (200, true));
    assert!(client.closes());
}

#[test]
fn streams_live_while_nothing_is_said() {
    let server = Server::of_turns();
    let ask = Ask::start(&json!({"steps": ["a", {"gate": "go"}, "b"]}));
    let mut stream = ask.sse().stream(&server);
    let begin = Instant::now();
    assert_eq!(stream.event().data["text"], "a");
    let opener = std::thread::spawn({
        let gate = server.path("record/go");
        move || {
            until("time passes", || (begin.elapsed() > Duration::from_secs(16)).then_some(()));
            std::fs::write(gate, "").expect("the gate opens");
        }
    });
    // Not a byte but heartbeats, which come every fifteen seconds.
    assert_eq!(stream.event().data["text"], "b");
    opener.join().expect("the opener");
    assert_eq!(stream.heartbeats, 1, "{:?}", begin.elapsed());
    assert_eq!(stream.outcome().data["status"], "finished");
}

#[test]
fn sessions_are_served_over_tls() {
    let https = Port::free();
    let file = turns(SESSIONS, "");
    let edge = format!("edge {{ https \"127.0.0.1:{}\";", https.number);
    let file = file.replace("edge {", &edge);
    let file =
        file.replace("route \"/*\"", "tls cert=\"$DIR/a.crt\" key=\"$DIR/a.key\"\nroute \"/*\"");
    let setup = Setup::edgefile(&file.replace("site \"*\"", "site \"a.test\"")).word("--no-watch");
    identity(&["a.test"], 100).write(&setup.path("a"));
    let server = setup.start();
    server.wait_for_workers(2);
    let url = format!("https://a.test:{}{MOUNT}/session", https.number);
    let plan = json!({"steps": ["a", "b"]}).to_string();
    let answer = crate::harness::curl::curl(
        &server.path("a.crt"),
        &["-H", "Accept: text/event-stream", "-d", &plan, &url],
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with("retry: 1000\n\nid: "), "{answer:?}");
    assert!(answer.body.contains("\"continuationToken\":\"ct_"), "{answer:?}");
    let asked = server.wait_for_turns(1);
    assert_eq!(asked.values("X-Forwarded-Proto"), ["https"]);
    // Tokens do not go over what is not encrypted: it is sent on before it is read.
    let response = Ask::start(&json!({})).answer(&server);
    assert!(matches!(response.status, 301 | 307 | 308), "{response:?}");
    assert_eq!(server.turns("turn").len(), 1);
}

#[test]
fn a_server_that_stops_lets_turns_end() {
    let mut server = Server::of_turns();
    let (session, _) = Session::start(&server, &json!({}));
    let plan = |gate: &str| json!({"steps": ["a", {"gate": gate}, "b"]});
    let mut stream = Ask::start(&plan("one")).sse().stream(&server);
    assert_eq!(stream.event().data["text"], "a");
    let mut waiting = Ask::message(&session, &plan("one")).send(&server);
    server.wait_for_turns(3);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    eventually("a closed port", || Client::try_connect(server.port()).is_err());
    server.open_gate("one");
    let rest = stream.rest();
    let kinds: Vec<_> = rest.iter().map(Event::kind).collect();
    assert_eq!(kinds, ["delta", "outcome"], "{rest:?}");
    let response = waiting.response();
    assert_eq!(response.json()["status"], "finished", "{response:?}");
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_reload_leaves_sessions_and_their_turns_alone() {
    let file = turns(SESSIONS, "");
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(2);
    let (mut session, _) = Session::start(&server, &json!({}));
    let plan = json!({"steps": ["a", {"gate": "go"}, "b"]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    assert_eq!(stream.event().data["text"], "a");
    // Something about them changes.
    server.take_up(&turns(
        "sessions \"/v1\" app=\"turns\" on-disconnect=\"cancel\"",
        "max-inflight 12",
    ));
    assert_eq!(session.status(&server)["status"], "running");
    server.open_gate("go");
    let last = stream.outcome();
    assert_eq!(last.data["status"], "finished", "{last:?}");
    session = Session::of_stream(&stream.head, &last);
    session.message(&server, &json!({}));
    // They are taken away, with a turn under way: it comes to its end.
    let plan = json!({"steps": ["a", {"gate": "second"}, "b"]});
    let mut stream = Ask::message(&session, &plan).sse().stream(&server);
    assert_eq!(stream.event().data["text"], "a");
    server.take_up(&turns("", ""));
    let path = session.path("");
    assert_eq!(server.get(&path).text(), format!("page of {path}"), "the app's own again");
    server.open_gate("second");
    let last = stream.outcome();
    assert_eq!(last.data["status"], "finished", "{last:?}");
    session = Session::of_stream(&stream.head, &last);
    // And they are given back: nothing was lost.
    server.take_up(&file);
    let body = session.message(&server, &json!({}));
    assert_eq!(
        (&body["output"]["turn"], &body["output"]["state"]["count"]),
        (&5.into(), &4.into())
    );
    assert_all_let_go(&server);
}

#[test]
fn a_whole_life_of_a_session_is_told_in_order() {
    let server = Server::of_turns();
    let parked = json!({"answer": {"status": "parked", "wait": {"id": "w", "reason": "r"}}});
    let plan = json!({"attempts": [{"steps": ["a", {"end": true}]}, {"answer": {"status": "contended", "current": 1}}, {"status": 401}, {"steps": ["b"]}]});
    let (mut session, _) = Session::start(&server, &json!({"steps": ["first"]}));
    for status in [502, 200, 401] {
        assert_eq!(Ask::message(&session, &plan).answer(&server).status, status);
    }
    session.message(&server, &plan);
    session.message(&server, &parked);
    let mut stream =
        Ask::message(&session, &json!({"steps": ["c", {"gate": "never"}]})).sse().stream(&server);
    assert_eq!(stream.event().data["text"], "c");
    assert_eq!(Ask::cancel(&session).answer(&server).status, 202);
    stream.outcome();
    session.message(&server, &json!({}));
    let events = session.history(&server);
    let told = |event: &Value| {
        let what = ["text", "status", "code"].iter().find_map(|name| event[name].as_str());
        format!("{} {} {}", event["turn"], kind(event), what.unwrap_or_default())
    };
    let life: Vec<_> = events.iter().map(told).collect();
    assert_eq!(
        life,
        [
            "1 delta first",
            "1 outcome finished",
            "2 delta a",
            "2 error incomplete",
            "2 outcome contended",
            "2 error refused",
            "2 delta b",
            "2 outcome finished",
            "3 outcome parked",
            "4 delta c",
            "4 outcome cancelled",
            "4 outcome finished",
        ]
    );
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], at + 1, "{event}");
    }
}
