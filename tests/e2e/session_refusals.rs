//! Sessions: what is refused, in which order, in which words, and that nothing runs.

use crate::harness::http::chunked;
use crate::harness::session::{Ask, MOUNT, SESSIONS, Session, turns};
use crate::harness::{Response, Server, Setup};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const UNKNOWN: &str = "s_00000000000000000000000000000000";
const MISSING: (u16, &str, &str) = (400, "missing-token", "missing continuationToken");
const STALE: (u16, &str, &str) = (409, "stale-token", "stale or invalid continuationToken");
const IN_FLIGHT: (u16, &str, &str) =
    (409, "in-flight", "a turn is already in flight for this session");

/// A whole JSON answer with this status, name and words, never the beginning of a stream.
#[track_caller]
fn refused(response: &Response, (status, code, text): (u16, &str, &str)) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.field("Content-Type"), "application/json");
    assert_eq!(response.field("Content-Length"), response.body.len().to_string());
    assert!(response.values("Transfer-Encoding").is_empty(), "{response:?}");
    assert_eq!(response.field("Cache-Control"), "no-store");
    let body = response.json();
    assert_eq!((&body["error"], &body["code"]), (&text.into(), &code.into()), "{body}");
    assert!(body.get("continuationToken").is_none(), "{body}");
}

/// The same of a session that exists.
#[track_caller]
fn refused_of(session: &Session, response: &Response, what: (u16, &str, &str)) {
    refused(response, what);
    assert_eq!(response.json()["sessionId"], session.id, "{response:?}");
}

/// A message to this id with this body and these fields.
fn message(server: &Server, id: &str, fields: &str, body: impl ToString) -> Response {
    let target = format!("{MOUNT}/session/{id}/message");
    server.request("POST", &target, fields, body.to_string().as_bytes())
}

fn field(token: &str) -> String {
    format!("x-continuation-token: {token}\r\n")
}

/// A session whose second turn waits at a gate; and that turn's connection.
fn busy(server: &Server, gate: &str) -> (Session, crate::harness::Client) {
    let (session, _) = Session::start(server, &json!({}));
    let count = server.turns("turn").len();
    let waiting = Ask::message(&session, &json!({"gate": gate})).send(server);
    server.wait_for_turns(count + 1);
    (session, waiting)
}

#[test]
fn all_refusals_have_their_order_their_status_and_their_text() {
    let server = Server::of_turns();
    let (mut session, mut waiting) = busy(&server, "go");
    let (id, token) = (session.id.clone(), session.token.clone());
    let stale = Session::start(&server, &json!({})).0.token;
    let turns = server.turns("turn").len();

    // Unknown before anything is said of tokens: their names are told as they were written.
    let upper = UNKNOWN.to_uppercase();
    for (written, read) in [
        (UNKNOWN, UNKNOWN),
        ("nonsense", "nonsense"),
        ("a%20b", "a b"),
        ("%e2%98%83", "☃"),
        ("a%2fb", "a/b"),
        ("%22%27%5c", "\"'\\"),
        (upper.as_str(), upper.as_str()),
        (&id[2..], &id[2..]),
    ] {
        let text = format!("unknown session '{read}'");
        for fields in [String::new(), field("ct_x"), field(&token)] {
            refused(&message(&server, written, &fields, "{}"), (404, "unknown-session", &text));
        }
        for (method, rest) in [("GET", "/events"), ("GET", ""), ("DELETE", ""), ("POST", "/cancel")]
        {
            let target = format!("{MOUNT}/session/{written}{rest}");
            let response = server.request(method, &target, &field(&token), b"");
            refused(&response, (404, "unknown-session", &text));
        }
    }
    // Missing before in flight.
    for body in ["", "{}", "{\"continuationToken\":7}", "{\"continuationToken\":null}"] {
        refused_of(&session, &message(&server, &id, "", body), MISSING);
    }
    // Stale before in flight.
    for wrong in ["ct_x", "x", stale.as_str(), &token[..token.len() - 1], &session.resume] {
        refused_of(&session, &message(&server, &id, &field(wrong), "{}"), STALE);
    }
    // In flight for who may.
    let response = message(&server, &id, &field(&token), "{}");
    refused_of(&session, &response, IN_FLIGHT);
    assert!(response.values("Location").is_empty(), "only of one's own key: {response:?}");
    // The same order for what is not a turn.
    for (method, rest) in [("DELETE", ""), ("POST", "/cancel"), ("GET", ""), ("GET", "/events")] {
        let target = session.path(rest);
        refused_of(&session, &server.request(method, &target, "", b""), MISSING);
        refused_of(&session, &server.request(method, &target, &field("ct_x"), b""), STALE);
    }
    assert_eq!(server.turns("turn").len(), turns, "nothing ran");
    // None of it disturbed the turn that runs.
    server.open_gate("go");
    session.learn(&waiting.response());
    // What was current is stale from here on.
    refused_of(&session, &message(&server, &id, &field(&token), "{}"), STALE);
    session.message(&server, &json!({}));
    assert_eq!(server.turns("turn").len(), turns + 1);
}

#[test]
fn bodies_that_are_no_input_are_refused() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let start = format!("{MOUNT}/session");
    let not_json = (400, "bad-json", "body is not JSON");
    let no_object = (400, "not-an-object", "body must be a JSON object");
    let too_large = (413, "too-large", "body is too large");
    for (body, what) in [
        ("{", not_json),
        ("x", not_json),
        ("{}{}", not_json),
        ("{\"a\":1,}", not_json),
        ("[]", no_object),
        ("\"{}\"", no_object),
        ("1", no_object),
        ("null", no_object),
    ] {
        refused(&server.request("POST", &start, "", body.as_bytes()), what);
        refused(&message(&server, &session.id, &field(&session.token), body), what);
    }
    refused(&server.request("POST", &start, "", b"{\"a\":\"\xff\"}"), not_json);
    // A MiB and not a byte more, whether its length is said or not.
    let sized = |length: usize| format!("{{\"answer\":1,\"a\":\"{}\"}}", "x".repeat(length - 19));
    let mebi = 1024 * 1024;
    refused(&server.request("POST", &start, "", sized(mebi + 1).as_bytes()), too_large);
    let mut client = server.connect();
    let head =
        format!("POST {start} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(&head);
    // It may answer before it has read all.
    client.try_send(chunked(sized(mebi + 1).as_bytes(), 100_000)).ok();
    refused(&client.response(), too_large);
    // One that would be too large is not waited for.
    let mut client = server.connect();
    client.send(format!(
        "POST {start} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        mebi + 1
    ));
    let response = client.response();
    refused(&response, too_large);
    assert!(response.informational.is_empty(), "{response:?}");
    assert_eq!(server.turns("turn").len(), 1, "nothing ran");

    let mut client = server.connect();
    client.send(&head);
    client.send(chunked(sized(mebi).as_bytes(), 100_000));
    let fits = client.response();
    assert_eq!(fits.status, 200, "{:?}", fits.fields);
    // The token does not count among what the turn was refused for: it is still good.
    session.message(&server, &json!({"a": 1}));
}

#[test]
fn an_empty_body_is_an_empty_input() {
    let server = Server::of_turns();
    let start = format!("{MOUNT}/session");
    let response = server.request("POST", &start, "", b"");
    assert_eq!(response.status, 200, "{response:?}");
    let session = Session::of(&response);
    assert_eq!(response.json()["output"]["input"], json!({}));
    let response = message(&server, &session.id, &field(&session.token), " \r\n");
    assert_eq!(response.json()["output"]["input"], json!({}), "{response:?}");
}

#[test]
fn the_token_stands_in_the_body_or_in_a_field_and_never_reaches_the_app() {
    let server = Server::of_turns();
    let (mut session, first) = Session::start(&server, &json!({"continuationToken": "ct_ignored"}));
    assert_eq!(first["output"]["input"], json!({}), "taken out of a start's input, too");
    let id = session.id.clone();
    // The body wins.
    let body = |token: &Value| json!({"continuationToken": token, "n": 1});
    let response = message(&server, &id, &field(&session.token), body(&"ct_x".into()));
    refused_of(&session, &response, STALE);
    let good = Value::from(session.token.clone());
    let told = session.learn(&message(&server, &id, &field("ct_x"), body(&good)));
    assert_eq!(told["output"]["input"], json!({"n": 1}));
    // One that is no string counts as absent.
    for absent in [json!(7), json!(null), json!(true), json!([good]), json!({"token": good})] {
        refused_of(&session, &message(&server, &id, "", body(&absent)), MISSING);
        let field = field(&session.token);
        let told = session.learn(&message(&server, &id, &field, body(&absent)));
        assert_eq!(told["output"]["input"], json!({"n": 1}), "{absent}");
    }
    // One deeper down is the app's own business.
    let deep = json!({"in": {"continuationToken": "mine"}});
    let field = field(&session.token);
    let told = session.learn(&message(&server, &id, &field, &deep));
    assert_eq!(told["output"]["input"], deep);
    for turn in server.turns("turn") {
        assert!(turn.values("x-continuation-token").is_empty(), "{turn:?}");
        assert!(!turn.0.to_string().contains("ct_"), "{turn:?}");
    }
}

#[test]
fn ids_are_percent_decoded() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let encoded: String = session.id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let field = field(&session.token);
    session.learn(&message(&server, &encoded, &field, "{}"));
    let target = format!("{MOUNT}/session/{encoded}");
    let fields = format!("Rip-Resume-Token: {}\r\n", session.resume);
    let response = server.request("GET", &target, &fields, b"");
    assert_eq!((response.status, &response.json()["turn"]), (200, &2.into()), "{response:?}");
    let fields = format!("x-continuation-token: {}\r\n", session.token);
    assert_eq!(server.request("DELETE", &target, &fields, b"").status, 204);
}

#[test]
fn unknown_paths_are_404_other_methods_405_and_what_stands_beside_is_the_apps() {
    let server = Server::of_turns();
    let (session, _) = Session::start(&server, &json!({}));
    for rest in ["/", "/x", "/message/", "/message/x", "/events/x", "//message"] {
        let path = session.path(rest);
        let text = format!("no route for {path}");
        for method in ["GET", "POST"] {
            let response = server.request(method, &path, &field(&session.token), b"");
            refused(&response, (404, "no-route", &text));
        }
    }
    for path in ["/v1/session/", "/v1/session//message", "/v1/ws/", "/v1/ws/x"] {
        let text = format!("no route for {path}");
        refused(&server.request("POST", path, "", b"{}"), (404, "no-route", &text));
    }
    // The query is no part of the path.
    let response = server.request("POST", "/v1/session/?q=1", "", b"{}");
    refused(&response, (404, "no-route", "no route for /v1/session/"));
    for (method, path, allow) in [
        ("GET", "/v1/session".to_owned(), "POST"),
        ("PUT", "/v1/session".to_owned(), "POST"),
        ("GET", session.path("/message"), "POST"),
        ("GET", session.path("/cancel"), "POST"),
        ("GET", session.path("/wake"), "POST"),
        ("POST", session.path("/events"), "GET, HEAD"),
        ("PATCH", session.path(""), "GET, HEAD, DELETE"),
        ("POST", "/v1/ws".to_owned(), "GET, HEAD"),
    ] {
        let response = server.request(method, &path, &field(&session.token), b"");
        refused(&response, (405, "method-not-allowed", "method not allowed"));
        assert_eq!(response.field("Allow"), allow, "{method} {path}");
    }
    for path in ["/", "/v1", "/v1/", "/v1/sessions", "/v1/wsx", "/v1/session.json", "/v2/session"] {
        for method in ["GET", "POST"] {
            let response = server.request(method, path, "", b"");
            let page = (response.status, response.text());
            assert_eq!(page, (200, format!("page of {path}")), "{method} {path}");
        }
    }
    // Turns are the edge's own to ask for.
    for fields in
        ["", "Rip-Edge: turn\r\nRip-Session-Id: s_1\r\nRip-Turn: 1\r\nRip-Turn-Attempt: 1\r\n"]
    {
        let response = server.request("POST", "/v1/turn", fields, b"{\"input\":{},\"state\":null}");
        assert_eq!(response.status, 404, "{response:?}");
    }
    assert_eq!(server.turns("turn").len(), 1);
}

#[test]
fn a_refusal_is_never_a_half_open_stream() {
    let server = Server::of_turns();
    let (session, mut waiting) = busy(&server, "go");
    let idle = Session::start(&server, &json!({})).0;
    let used = Ask::start(&json!({"n": 1})).key("a-key-of-16-bytes");
    assert_eq!(used.answer(&server).status, 200);
    let other = Ask::start(&json!({"n": 2})).key("a-key-of-16-bytes");
    let unknown = Session { id: UNKNOWN.to_owned(), ..session.clone() };
    let forged = |session: &Session| Session { token: "ct_x".to_owned(), ..session.clone() };
    let start = || Ask::to("POST", format!("{MOUNT}/session"));
    let bare = |rest: &str| Ask::to("POST", session.path(rest));
    let large = vec![b' '; 1024 * 1024 + 1];
    let unknown_text = format!("unknown session '{UNKNOWN}'");
    let key_text = "Idempotency-Key was used with another request";
    let token_text = "a continuationToken must not be in a query";
    let events = |query: &str| Ask::events(&idle, query);
    let rows: Vec<(Ask, (u16, &str, &str))> = vec![
        (Ask::message(&unknown, &json!({})), (404, "unknown-session", &unknown_text)),
        (bare("/message"), MISSING),
        (Ask::message(&forged(&session), &json!({})), STALE),
        (Ask::message(&session, &json!({})), IN_FLIGHT),
        (start().body("{"), (400, "bad-json", "body is not JSON")),
        (start().body("[]"), (400, "not-an-object", "body must be a JSON object")),
        (start().body(large), (413, "too-large", "body is too large")),
        (other, (422, "idempotency-key-reused", key_text)),
        (
            start().key("short"),
            (400, "bad-idempotency-key", "Idempotency-Key must be 16 to 255 bytes"),
        ),
        (
            Ask::to("POST", format!("{MOUNT}/session?t={}", idle.token)),
            (400, "token-in-query", token_text),
        ),
        (
            Ask::to("PUT", format!("{MOUNT}/session")),
            (405, "method-not-allowed", "method not allowed"),
        ),
        (Ask::to("POST", "/v1/session/"), (404, "no-route", "no route for /v1/session/")),
        (Ask::cancel(&forged(&session)), STALE),
        (Ask::delete(&forged(&session)), STALE),
        (bare("/cancel"), MISSING),
        (Ask::to("GET", session.path("/events")), MISSING),
        (Ask::events(&unknown, ""), (404, "unknown-session", &unknown_text)),
        (Ask::events(&Session { resume: "rt_x".into(), ..idle.clone() }, ""), STALE),
        (events("?last_event_id=7"), (400, "bad-cursor", "malformed event id")),
        (events("?turn=x"), (400, "bad-parameter", "bad value of 'turn'")),
        (events(&format!("?resume={}", idle.token)), (400, "token-in-query", token_text)),
    ];
    for (ask, what) in &rows {
        for ask in [ask.clone(), ask.clone().sse()] {
            // The connection goes on behind it, unless it says otherwise.
            let mut client = ask.send(&server);
            let response = client.response();
            refused(&response, *what);
            for name in ["Rip-Turn", "Rip-Resume-Token", "Rip-Last-Event-ID"] {
                assert!(response.values(name).is_empty(), "{ask:?}: {response:?}");
            }
            if response.says_close() {
                assert!(client.closes(), "{ask:?}");
            } else {
                assert_eq!(client.ask("GET", "/next").text(), "page of /next", "{ask:?}");
            }
        }
    }
    server.open_gate("go");
    assert_eq!(waiting.response().status, 200);
}

#[test]
fn forged_tokens_and_tokens_of_others_open_nothing() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let (other, _) = Session::start(&server, &json!({}));
    let turns = server.turns("turn").len();
    let token = session.token.clone();
    let mut forged: Vec<String> = vec![
        other.token.clone(),
        other.resume.clone(),
        session.resume.clone(),
        session.resume.replacen("rt_", "ct_", 1),
        token.replacen("ct_", "rt_", 1),
        token.to_uppercase(),
        format!("{token}A"),
        format!("{token}="),
        format!("Bearer {token}"),
        token[3..].to_owned(),
        token[..token.len() - 1].to_owned(),
        "ct_".to_owned(),
        format!("ct_{}", "A".repeat(token.len() - 3)),
        session.id.clone(),
        "x".repeat(4000),
    ];
    // One letter at a time: every bit of it counts.
    for at in 3..token.len() {
        let mut letters = token.clone().into_bytes();
        letters[at] = if letters[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(letters).expect("letters"));
    }
    for wrong in &forged {
        let said = json!({"continuationToken": wrong});
        let asks = [
            Ask::to("POST", session.path("/message")).json(&said),
            Ask::to("POST", session.path("/message")).token(wrong),
            Ask::to("POST", session.path("/cancel")).json(&said),
            Ask::to("POST", session.path("/cancel")).token(wrong),
            Ask::to("DELETE", session.path("")).token(wrong),
            Ask::to("GET", session.path("")).token(wrong),
            Ask::to("GET", session.path("/events")).token(wrong),
        ];
        for ask in asks {
            refused_of(&session, &ask.answer(&server), STALE);
        }
    }
    // What reads, and only as what it is.
    let resume = session.resume.clone();
    for wrong in
        [&other.resume, &token, &other.token, &resume.to_uppercase(), &format!("{resume}A")]
    {
        for rest in ["", "/events"] {
            let ask = Ask::to("GET", session.path(rest)).field("Rip-Resume-Token", wrong);
            refused_of(&session, &ask.answer(&server), STALE);
        }
    }
    let ask = Ask::to("GET", session.path(&format!("/events?resume={}", other.resume)));
    refused_of(&session, &ask.answer(&server), STALE);
    assert_eq!(server.turns("turn").len(), turns, "nothing ran");
    // Each of the two is as it was.
    assert_eq!(session.status(&server)["turn"], 1);
    session.message(&server, &json!({}));
    assert_eq!(Ask::message(&other, &json!({})).answer(&server).status, 200);
}

#[test]
fn a_continuation_token_in_a_query_is_refused_even_where_it_is_good() {
    let server = Server::of_turns();
    let (mut session, _) = Session::start(&server, &json!({}));
    let token = session.token.clone();
    let what = (400, "token-in-query", "a continuationToken must not be in a query");
    let encoded = format!("%63%74_{}", &token[3..]);
    let endpoints = [
        ("POST", format!("{MOUNT}/session")),
        ("POST", session.path("/message")),
        ("POST", session.path("/cancel")),
        ("DELETE", session.path("")),
        ("GET", session.path("")),
        ("GET", session.path("/events")),
    ];
    for (method, path) in endpoints {
        for query in [
            format!("continuationToken={token}"),
            format!("resume={token}"),
            format!("a=b&x-continuation-token={encoded}&c"),
        ] {
            let ask = Ask::to(method, format!("{path}?{query}"));
            refused(&ask.answer(&server), what);
            // Not even beside a good one where it belongs.
            refused(&ask.token(&token).answer(&server), what);
        }
    }
    // A resume token may be there, and reads.
    let ask = Ask::to("GET", session.path(&format!("?resume={}", session.resume)));
    assert_eq!(ask.answer(&server).status, 200);
    // It does not write there either.
    for (method, rest) in [("POST", "/message"), ("POST", "/cancel"), ("DELETE", "")] {
        let target = session.path(&format!("{rest}?resume={}", session.resume));
        refused_of(&session, &Ask::to(method, target).answer(&server), MISSING);
    }
    assert_eq!(server.turns("turn").len(), 1, "nothing ran");
    session.message(&server, &json!({}));
}

#[test]
fn sessions_of_one_place_are_unknown_at_every_other() {
    // Two apps on a host each, and one of them at two hosts.
    let file = turns(SESSIONS, "").replace("site \"*\"", "site \"one.test\"");
    let app = file.split("site").next().expect("edge and app").to_owned();
    let second = app[app.find("app").expect("the app")..].replacen("\"turns\"", "\"second\"", 1);
    let site = |host: &str, app: &str| {
        format!(
            "site \"{host}\" {{\n route \"/*\" {{ to-app \"{app}\" }}\n \
             sessions \"/v1\" app=\"{app}\"\n}}\n"
        )
    };
    let file =
        format!("{file}{second}{}{}", site("two.test", "second"), site("three.test", "turns"));
    let server = Setup::edgefile(&file).word("--no-watch").start();
    server.wait_for_workers(4);
    let response = Ask::start(&json!({})).at("one.test").answer(&server);
    assert_eq!(response.status, 200, "{response:?}");
    let mut session = Session::of(&response);
    let turns = server.turns("turn").len();
    let text = format!("unknown session '{}'", session.id);
    for host in ["two.test", "three.test"] {
        for ask in [
            Ask::message(&session, &json!({})),
            Ask::cancel(&session),
            Ask::delete(&session),
            Ask::status(&session),
            Ask::events(&session, ""),
        ] {
            refused(&ask.at(host).answer(&server), (404, "unknown-session", &text));
        }
    }
    assert_eq!(server.turns("turn").len(), turns, "nothing ran");
    session.learn(&Ask::message(&session, &json!({})).at("one.test").answer(&server));
}

#[test]
fn no_token_is_ever_in_a_log() {
    for is_json in [false, true] {
        let setup = Setup::turns();
        let server = if is_json { setup.word("--json-logging") } else { setup }.start();
        server.wait_for_workers(2);
        let (mut session, _) = Session::start(&server, &json!({}));
        let first = session.token.clone();
        session.message(&server, &json!({}));
        let query = format!("?resume={}&last_event_id=earliest", session.resume);
        let ask = Ask::to("GET", session.path(&format!("/events{query}")));
        assert_eq!(ask.field("Accept", "application/json").answer(&server).status, 200);
        let ask = Ask::to("GET", session.path(&format!("?t={}", session.token)));
        assert_eq!(ask.answer(&server).status, 400);
        // A turn that fails, one that is refused, and a forgery.
        let ask = Ask::message(&session, &json!({"status": 500}));
        assert_eq!(ask.answer(&server).status, 502);
        let ask = Ask::message(&session, &json!({"status": 401}));
        assert_eq!(ask.answer(&server).status, 401);
        let forged = Session { token: "ct_forged".to_owned(), ..session.clone() };
        assert_eq!(Ask::message(&forged, &json!({})).answer(&server).status, 409);
        let ask = Ask::delete(&session).field("X-Request-Id", "the-last-one");
        assert_eq!(ask.answer(&server).status, 204);
        server.wait_for_log("the-last-one");
        let log = server.log();
        assert!(log.contains("/v1/session"), "{log}");
        let secrets = [&first, &session.token, &session.resume];
        let parts = secrets.map(|secret| &secret[3..15]);
        for secret in parts.into_iter().chain(["ct_", "rt_"]) {
            assert!(!log.contains(secret), "{secret} in {log}");
        }
    }
}

#[test]
fn the_store_holds_no_token_and_is_for_nobody_else_to_read() {
    let mut server = Server::of_turns();
    let mut secrets = Vec::new();
    for _ in 0..3 {
        let ask = Ask::start(&json!({})).key("a-key-that-nobody-guesses");
        let (mut session, _) = Session::start(&server, &json!({}));
        secrets.extend([session.token.clone(), session.resume.clone()]);
        session.message(&server, &json!({"steps": ["a"]}));
        let failed = Ask::message(&session, &json!({"status": 500})).answer(&server);
        assert_eq!(failed.status, 502, "{failed:?}");
        secrets.push(session.token.clone());
        let other = Session::of(&ask.answer(&server));
        secrets.extend([other.token, other.resume]);
    }
    assert_eq!(server.stop(), 0);
    let (mut names, mut has_state) = (Vec::new(), false);
    for entry in fs::read_dir(server.path("state")).expect("the state") {
        let path = entry.expect("a file").path();
        let mode = fs::metadata(&path).expect("its mode").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        let bytes = fs::read(&path).expect("its bytes");
        let holds =
            |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        for secret in &secrets {
            assert!(!holds(&secret[3..]), "{secret} in {}", path.display());
        }
        assert!(!holds("a-key-that-nobody-guesses"), "in {}", path.display());
        has_state |= holds("\"count\":2");
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
    }
    assert!(has_state, "what is kept is looked through");
    for name in ["sessions.db", "session.key"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
}
