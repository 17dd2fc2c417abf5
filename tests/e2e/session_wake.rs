//! Sessions: what a GET tells of one, and waking one that waits.

use crate::harness::session::{Ask, SESSIONS, Session, kind, turns};
use crate::harness::{Response, Server, Setup, until};
use serde_json::{Value, json};
use std::fs;

fn parked() -> Value {
    json!({"answer": {"status": "parked", "wait": {"id": "w1", "reason": "approval"}, "state": "parked"}})
}

/// `POST …/wake` from this machine, by its address.
fn wake(session: &Session, body: &Value) -> Ask {
    Ask::to("POST", session.path("/wake")).json(body).at("127.0.0.1")
}

#[track_caller]
fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, &response.json()["code"]), (status, &code.into()), "{response:?}");
}

/// Waits for the outcome of this turn; its event.
fn outcome(server: &Server, session: &Session, turn: u64) -> Value {
    until("the outcome", || {
        let events = session.history(server);
        events.into_iter().find(|event| kind(event) == "outcome" && event["turn"] == turn)
    })
}

#[test]
fn a_get_tells_how_a_session_is() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let status = |session: &Session| {
        let response = Ask::status(session).answer(&server);
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.field("Content-Type"), "application/json");
        assert_eq!(response.field("Cache-Control"), "no-store");
        assert!(!response.text().contains("ct_") && !response.text().contains("rt_"));
        response.json()
    };
    let now = status(&session);
    assert_eq!((&now["status"], &now["turn"]), (&"idle".into(), &1.into()), "{now}");
    let last = session.history(&server).len();
    let id = now["lastEventId"].as_str().expect("an id");
    assert!(id.ends_with(&format!("-{last:012x}")), "{now}");
    let expires = now["expiresAt"].as_str().expect("a time");
    assert!(expires.len() >= 20 && expires.contains('T') && expires.ends_with('Z'), "{now}");
    // By its own token, by the one before it, and by the one that reads, wherever that stands.
    let previous = session.token.clone();
    session.message(&server, &json!({}));
    let path = session.path("");
    for ask in [
        Ask::to("GET", &path).token(&previous),
        Ask::to("GET", &path).field("rip-resume-token", &session.resume),
        Ask::to("GET", format!("{path}?resume={}", session.resume)),
        Ask::to("GET", &path).token(&session.token),
    ] {
        let response = ask.answer(&server);
        assert_eq!((response.status, &response.json()["turn"]), (200, &2.into()), "{response:?}");
    }
    let waiting = Ask::message(&session, &json!({"gate": "go"})).send(&server);
    server.wait_for_turns(3);
    let now = status(&session);
    assert_eq!((&now["status"], &now["turn"]), (&"running".into(), &3.into()), "{now}");
    server.open_gate("go");
    let mut waiting = waiting;
    session.learn(&waiting.response());
    session.message(&server, &parked());
    let now = status(&session);
    assert_eq!((&now["status"], &now["turn"]), (&"parked".into(), &4.into()), "{now}");
    assert_eq!(Ask::message(&session, &json!({"status": 500})).answer(&server).status, 502);
    let now = status(&session);
    assert_eq!((&now["status"], &now["turn"]), (&"parked".into(), &5.into()), "{now}");
}

#[test]
fn a_session_that_waits_is_resumed_by_a_message_or_woken() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &parked());
    // By a message, as ever.
    let body = session.message(&server, &json!({"approved": true}));
    assert_eq!((&body["status"], &body["output"]["state"]), (&"finished".into(), &"parked".into()));
    refused(&wake(&session, &json!({})).answer(&server), 409, "not-parked");
    // Woken: the app is told so, the token rotates, and the client learns it from the events.
    session.message(&server, &parked());
    let before = session.token.clone();
    let count = server.turns("turn").len();
    let response = wake(&session, &json!({"job": 7, "done": true})).answer(&server);
    assert!(matches!(response.status, 200 | 202), "{response:?}");
    let asked = server.wait_for_turns(count + 1);
    assert_eq!(asked.0["wake"], json!({"job": 7, "done": true}));
    assert_eq!((&asked.0["input"], &asked.0["state"]), (&json!({}), &"parked".into()));
    assert_eq!(asked.attempt(), (4, 1));
    assert!(asked.values("Authorization").is_empty(), "{asked:?}");
    let told = outcome(&server, &session, 4);
    let token = told["continuationToken"].as_str().expect("a token").to_owned();
    assert_ne!(token, before, "{told}");
    refused(&Ask::message(&session, &json!({})).answer(&server), 409, "stale-token");
    session.token = token;
    session.message(&server, &json!({}));
    refused(&wake(&session, &json!({})).answer(&server), 409, "not-parked");
    // One that runs is in flight for a wake, too; one that is unknown is unknown; input is input.
    session.message(&server, &parked());
    let mut waiting = Ask::message(&session, &json!({"gate": "go"})).send(&server);
    server.wait_for_turns(server.turns("turn").len().max(count + 4));
    refused(&wake(&session, &json!({})).answer(&server), 409, "in-flight");
    server.open_gate("go");
    session.learn(&waiting.response());
    let unknown = Session { id: format!("s_{}", "0".repeat(32)), ..session.clone() };
    refused(&wake(&unknown, &json!({})).answer(&server), 404, "unknown-session");
    refused(&wake(&session, &json!([])).answer(&server), 400, "not-an-object");
    session.message(&server, &json!({}));
}

#[test]
fn a_wake_that_comes_to_nothing_leaves_the_session_waiting() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &parked());
    let plans = [json!({"status": 500}), json!({"status": 401}), json!({"drop": true})];
    for (number, plan) in plans.into_iter().enumerate() {
        wake(&session, &json!({"plan": plan})).answer(&server);
        server.wait_for_turns(number + 2);
        until("its end", || (session.status(&server)["status"] == "parked").then_some(()));
        let events = session.history(&server);
        let last = events.last().expect("an event");
        assert_eq!((kind(last), &last["turn"]), ("error", &2.into()), "{events:?}");
    }
    session.message(&server, &json!({}));
}

#[test]
fn only_who_may_publish_wakes() {
    // Without a secret only this machine does.
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &parked());
    let good = wake(&session, &json!({}));
    for ask in [
        good.clone().at("elsewhere.test"),
        good.clone().field("X-Forwarded-For", "203.0.113.7"),
        good.clone().field("Origin", "http://evil.test"),
        // A session's own token is no secret of publishers.
        good.clone().at("elsewhere.test").token(&session.token),
    ] {
        let response = ask.answer(&server);
        assert_eq!(response.status, 401, "{ask:?}: {response:?}");
    }
    assert_eq!(server.turns("turn").len(), 1, "nothing ran");
    session.message(&server, &json!({}));

    // With one, who knows it does, from everywhere.
    let file = turns(SESSIONS, "").replace("edge {", "edge { publish secret-file=\"$DIR/secret\";");
    let setup = Setup::edgefile(&file).word("--no-watch");
    fs::write(setup.path("secret"), "open-sesame").expect("the secret");
    let server = setup.start();
    server.wait_for_workers(2);
    let (session, _) = Session::start(&server, &parked());
    for host in ["127.0.0.1", "elsewhere.test"] {
        for secret in ["", "Bearer wrong", "Bearer open-sesam", "Basic open-sesame"] {
            let ask = wake(&session, &json!({})).at(host).field("Authorization", secret);
            let response = ask.answer(&server);
            assert_eq!(response.status, 401, "{ask:?}: {response:?}");
            assert!(response.field("WWW-Authenticate").starts_with("Bearer"), "{response:?}");
        }
    }
    // It is checked before anything is said of the session.
    let unknown = Session { id: format!("s_{}", "0".repeat(32)), ..session.clone() };
    assert_eq!(wake(&unknown, &json!({})).answer(&server).status, 401);
    assert_eq!(server.turns("turn").len(), 1, "nothing ran");
    let ask = wake(&session, &json!({})).at("elsewhere.test");
    let response = ask.field("Authorization", "Bearer open-sesame").answer(&server);
    assert!(matches!(response.status, 200 | 202), "{response:?}");
    let asked = server.wait_for_turns(2);
    assert!(asked.values("Authorization").is_empty(), "the secret is not the app's: {asked:?}");
    outcome(&server, &session, 2);
    assert!(!server.log().contains("open-sesame"));
}
