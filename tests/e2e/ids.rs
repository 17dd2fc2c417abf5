//! Who a request is: its id everywhere, its client's address, and nothing a client made up.

use crate::harness::{Response, Server, Setup};

#[test]
fn a_good_request_id_is_kept_everywhere() {
    let server = Setup::recorder().workers(1).start();
    let longest = "i".repeat(128);
    for id in ["abc-1.2_Z", longest.as_str()] {
        let response = with_fields(&server, &format!("X-Request-Id: {id}\r\n"));
        assert_eq!(response.field("x-request-id"), id);
        assert_eq!(server.seen().last().unwrap().values("x-request-id"), [id]);
        server.wait_for_log(id);
    }
}

#[test]
fn a_missing_or_bad_request_id_is_replaced_by_a_fresh_one() {
    let server = Setup::recorder().workers(1).start();
    let too_long = format!("X-Request-Id: {}\r\n", "i".repeat(129));
    let mut ids = Vec::new();
    for fields in [
        "",
        "X-Request-Id: has space\r\n",
        "X-Request-Id: semi;colon\r\n",
        "X-Request-Id:\r\n",
        too_long.as_str(),
    ] {
        let response = with_fields(&server, fields);
        let id = response.field("x-request-id").to_owned();
        let digits = id.strip_prefix("req-").unwrap_or_else(|| panic!("{fields:?} gave {id}"));
        assert!(
            digits.len() == 12 && digits.bytes().all(|b| b"0123456789abcdef".contains(&b)),
            "{id}"
        );
        assert_eq!(server.seen().last().unwrap().values("x-request-id"), [id.as_str()]);
        server.wait_for_log(&id);
        assert!(!ids.contains(&id));
        ids.push(id);
    }
}

#[test]
fn of_two_request_ids_one_is_used_everywhere() {
    let server = Setup::recorder().workers(1).start();
    let response = with_fields(&server, "X-Request-Id: one\r\nX-Request-Id: two\r\n");
    let id = response.field("x-request-id");
    assert_eq!(server.seen()[0].values("x-request-id"), [id]);
    server.wait_for_log(id);
}

#[test]
fn the_app_cannot_change_the_id_of_its_answer() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/?field=X-Request-Id:%20forged", "X-Request-Id: mine\r\n", b"");
    assert_eq!(client.response().field("x-request-id"), "mine");
}

#[test]
fn answers_of_the_edge_itself_carry_the_id_too() {
    let server = Setup::builtin("hello").workers(1).start();
    for request in [
        "GET /server HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 999999999999\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(request);
        assert_eq!(client.response().field("x-request-id"), "mine", "{request}");
    }
    let mut client = server.connect();
    client.send("nonsense\r\n\r\n");
    assert!(client.response().field("x-request-id").starts_with("req-"));
}

#[test]
fn forwarded_fields_say_what_the_edge_saw_and_not_what_the_client_claims() {
    let server = Setup::recorder().workers(1).start();
    with_fields(
        &server,
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil.test\r\nX-Request-Start: t=1\r\n",
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.values("x-forwarded-host"), ["a.test"]);
    let start = seen.values("x-request-start");
    let millis: u64 = start[0].strip_prefix("t=").unwrap().parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = u64::try_from(now.as_millis()).unwrap().abs_diff(millis);
    assert!(start.len() == 1 && age < 60_000, "{start:?}");
}

#[test]
fn fields_that_could_deceive_an_app_are_dropped() {
    let server = Setup::recorder().workers(1).start();
    with_fields(
        &server,
        "X_Forwarded_For: 1\r\nX_User: root\r\nProxy: http://evil\r\nRip-Edge: turn\r\n\
         rip-anything: 1\r\nSec-WebSocket-Frame: x\r\ntraceparent: 00-1-2-01\r\nX-User: me\r\n",
    );
    let seen = &server.seen()[0];
    for (name, _) in seen.fields() {
        let name = name.to_lowercase();
        assert!(
            !name.contains('_')
                && !name.starts_with("rip-")
                && name != "proxy"
                && name != "sec-websocket-frame",
            "{name} came through"
        );
    }
    assert_eq!(seen.values("x-user"), ["me"]);
    assert_eq!(seen.values("traceparent"), ["00-1-2-01"]);
}

#[test]
fn a_queued_request_keeps_its_id() {
    let server = Setup::recorder().workers(1).start();
    let mut first = server.connect();
    first.request("GET", "/first?gate=go", "X-Request-Id: first\r\n", b"");
    server.wait_for_seen("/first?gate=go");
    let mut second = server.connect();
    second.request("GET", "/second", "X-Request-Id: second\r\n", b"");
    crate::harness::eventually("a queued request", || server.queue_depth() == 1);
    server.open_gate("go");
    assert_eq!(first.response().field("x-request-id"), "first");
    assert_eq!(second.response().field("x-request-id"), "second");
    assert_eq!(server.seen()[1].values("x-request-id"), ["second"]);
}

fn with_fields(server: &Server, fields: &str) -> Response {
    let response = server.request("GET", "/id", fields, b"");
    assert_eq!(response.status, 200);
    response
}
