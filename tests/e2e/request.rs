//! Every request reaches the app as it was sent and every answer reaches the client as it was given.

use crate::harness::http::chunked;
use crate::harness::{Client, Setup};
use std::thread;

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "x-own!"];

#[test]
fn every_method_reaches_the_app_by_its_own_name() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    for method in METHODS {
        let response = client.ask(method, "/m?text=answer");
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(response.text(), if method == "HEAD" { "" } else { "answer" }, "{method}");
    }
    let seen: Vec<_> = server.seen().iter().map(|line| line.method().to_owned()).collect();
    assert_eq!(seen, METHODS);
}

#[test]
fn bodies_of_every_size_pass_both_ways_byte_for_byte() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20, 50_000_000] {
        let body = noise(size);
        client.request("POST", "/b?echo", "", &body);
        let response = client.response();
        assert_eq!(response.status, 200, "{size}");
        assert!(response.body == body, "{size} bytes came back as {}", response.body.len());
    }
}

#[test]
fn chunked_bodies_pass_both_ways_byte_for_byte() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    for (size, chunk) in [(0, 1), (1, 1), (5_000, 7), (65_537, 4_096), (1 << 20, 65_535)] {
        let body = noise(size);
        client.send("POST /c?echo&framing=chunked HTTP/1.1\r\nHost: a.test\r\n");
        client.send("Transfer-Encoding: chunked\r\n\r\n");
        client.send(chunked(&body, chunk));
        let response = client.response();
        assert_eq!(response.status, 200, "{size}");
        assert_eq!(response.field("transfer-encoding"), "chunked");
        assert!(response.body == body, "{size} bytes came back as {}", response.body.len());
    }
}

#[test]
fn a_body_delimited_by_the_end_of_the_connection_arrives_whole() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    for _ in 0..2 {
        let response = client.ask("GET", "/e?size=300000&framing=close");
        assert_eq!((response.status, response.body.len()), (200, 300_000));
    }
}

#[test]
fn a_hundred_clients_at_once_get_their_own_answers() {
    let server = Setup::recorder().workers(2).concurrency(4).start();
    let port = server.port();
    let clients: Vec<_> = (0..100)
        .map(|number| {
            thread::spawn(move || {
                let mut client = Client::connect(port);
                for turn in 0..5 {
                    let response = client.ask("GET", &format!("/h?text={number}.{turn}"));
                    assert_eq!(response.status, 200);
                    assert_eq!(response.text(), format!("{number}.{turn}"));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(server.seen().len(), 500);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = Setup::recorder().workers(2).start();
    let mut client = server.connect();
    let mut bytes = String::new();
    for number in 0..20 {
        let pause = if number % 5 == 0 { "&sleep=0.05" } else { "" };
        bytes += &format!("GET /p?text={number}{pause} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    client.send(bytes);
    for number in 0..20 {
        assert_eq!(client.response().text(), number.to_string());
    }
}

#[test]
fn pipelined_requests_with_bodies_do_not_run_into_each_other() {
    let server = Setup::recorder().workers(2).start();
    let mut client = server.connect();
    let head = "POST /p?echo HTTP/1.1\r\nHost: a.test\r\n";
    client.send(format!(
        "{head}Content-Length: 3\r\n\r\none{head}Transfer-Encoding: chunked\r\n\r\n"
    ));
    client.send("3\r\ntwo\r\n0\r\n\r\nGET /p?text=three HTTP/1.1\r\nHost: a.test\r\n\r\n");
    for text in ["one", "two", "three"] {
        assert_eq!(client.response().text(), text);
    }
}

#[test]
fn a_request_in_single_bytes_is_the_same_request() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    let request = "POST /s?echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nbytes\r\n0\r\n\r\n";
    for byte in request.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().text(), "bytes");
}

#[test]
fn head_and_the_bodiless_statuses_have_no_body() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    let response = client.ask("HEAD", "/n?size=1234");
    assert_eq!((response.status, response.field("content-length")), (200, "1234"));
    for status in [204, 304] {
        let response = client.ask(
            "GET",
            &format!(
                "/n?raw={}",
                escaped(&format!("HTTP/1.1 {status} Nothing\r\nETag: \"x\"\r\n\r\n"))
            ),
        );
        assert_eq!((response.status, response.field("etag")), (status, "\"x\""));
        assert!(response.values("transfer-encoding").is_empty());
    }
    assert_eq!(client.ask("GET", "/n?text=next").text(), "next", "the connection is in step");
}

#[test]
fn a_client_that_asks_for_it_gets_100_continue_when_its_body_is_wanted() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send("POST /x?echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n");
    client.send("Expect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("hello");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert!(server.seen()[0].values("expect").is_empty());
}

#[test]
fn http_1_0_is_spoken_with_and_without_keep_alive() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send("GET /0?text=kept HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!((response.version.as_str(), response.text().as_str()), ("HTTP/1.1", "kept"));
    assert!(response.field("connection").eq_ignore_ascii_case("keep-alive"));
    client.send("GET /0?count=3 HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert!(response.values("transfer-encoding").is_empty(), "1.0 knows no chunks");
    assert_eq!(response.text().matches("data: ").count(), 3);
    assert!(client.closes());
}

#[test]
fn early_hints_are_passed_on_but_never_to_http_1_0() {
    let server = Setup::recorder().workers(1).start();
    let response = server.get("/h?early&text=late");
    assert_eq!(response.text(), "late");
    assert_eq!(response.informational.len(), 1);
    assert_eq!(response.informational[0].status, 103);
    assert!(
        response.informational[0].fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("link"))
    );

    let mut client = server.connect();
    client.send("GET /h?early&text=late HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert!(response.informational.is_empty());
    assert_eq!(response.text(), "late");
}

#[test]
fn trailers_are_read_and_dropped() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send("POST /t?echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n");
    assert_eq!(client.response().text(), "body");
    let answer =
        "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(client.ask("GET", &format!("/t?raw={}", escaped(answer))).text(), "ok");
    assert_eq!(client.ask("GET", "/t?text=next").text(), "next");
}

#[test]
fn the_target_is_passed_as_sent_unless_it_has_dot_segments() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    for (sent, seen) in [
        ("/a%2Fb/%7euser?x=1&y=%20", "/a%2Fb/%7euser?x=1&y=%20"),
        ("//double//slash", "//double//slash"),
        ("/a..b/...", "/a..b/..."),
        ("/a/./b/../c?q=/../", "/a/c?q=/../"),
        ("/a/%2e%2E/b", "/b"),
        ("http://other.test/abs?x", "/abs?x"),
        ("*", "*"),
    ] {
        let method = if sent == "*" { "OPTIONS" } else { "GET" };
        assert_eq!(client.ask(method, sent).status, 200, "{sent}");
        assert_eq!(server.seen().last().unwrap().target(), seen);
    }
    assert_eq!(server.seen()[5].values("host"), ["other.test"], "the target's authority wins");
}

#[test]
fn fields_of_one_hop_are_removed_in_both_directions() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request(
        "GET",
        "/f?field=Connection:%20X-Mine&field=X-Mine:%201&field=Keep-Alive:%20timeout%3D9\
         &field=Rip-Mark:%20m&field=X-Kept:%201&field=Proxy-Connection:%20x",
        "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nProxy-Connection: x\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: x\r\nX-End: 1\r\n",
        b"",
    );
    let response = client.response();
    assert_eq!(response.field("x-kept"), "1");
    for name in ["x-mine", "keep-alive", "rip-mark", "proxy-connection"] {
        assert!(response.values(name).is_empty(), "{name} came through: {response:?}");
    }
    let seen = &server.seen()[0];
    assert_eq!(seen.values("x-end"), ["1"]);
    for name in ["x-hop", "keep-alive", "te", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(seen.values(name).is_empty(), "{name} came through");
    }
}

#[test]
fn an_app_may_answer_before_it_has_read_the_body() {
    let server = Setup::recorder().workers(1).start();
    for _ in 0..5 {
        let response =
            server.request("POST", "/no?unread&status=403&text=no", "", &noise(3_000_000));
        assert_eq!((response.status, response.text().as_str()), (403, "no"));
    }
    assert_eq!(server.get("/after").text(), "worker 1\n");
}

#[test]
fn a_client_that_asks_for_the_end_of_its_connection_gets_it() {
    let server = Setup::recorder().workers(1).start();
    for target in ["/last?text=last", "/server"] {
        let mut client = server.connect();
        client.request("GET", target, "Connection: close\r\n", b"");
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.says_close());
        assert!(client.closes());
    }
}

#[test]
fn bytes_over_127_in_fields_pass_both_ways() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send(&b"GET /f?field=X-Back:%20gr%C3%BC%C3%9Fe HTTP/1.1\r\nHost: a.test\r\n"[..]);
    client.send(&b"X-Name: \xc3\xa4\xff\r\n\r\n"[..]);
    assert_eq!(client.response().field("x-back"), "gr\u{fc}\u{df}e");
    let seen: Vec<u32> = server.seen()[0].values("x-name")[0].chars().map(u32::from).collect();
    assert_eq!(seen, [0xc3, 0xa4, 0xff], "the recorder tells bytes as characters");
}

#[test]
fn date_and_server_are_there_once_whatever_the_app_says() {
    let server = Setup::recorder().workers(1).start();
    let date = "Date:%20Mon,%2001%20Jan%202024%2000:00:00%20GMT";
    let response = server.get(&format!("/f?field={date}&field=Server:%20app/1"));
    assert!(response.field("date").ends_with(" GMT"));
    assert!(!response.field("server").is_empty());
}

#[test]
fn a_head_of_an_answer_beyond_all_measure_is_502() {
    let server = Setup::recorder().workers(1).start();
    let mut raw = "HTTP/1.1 200 Fine\r\n".to_owned();
    for number in 0..40 {
        raw += &format!("X-{number}: {}\r\n", "v".repeat(3000));
    }
    raw += "Content-Length: 2\r\n\r\nok";
    let mut client = server.connect();
    client.send("POST /h?rawbody HTTP/1.1\r\nHost: a.test\r\n");
    client.send(format!("Content-Length: {}\r\n\r\n{raw}", raw.len()));
    assert_eq!(client.response().status, 502);
    assert_eq!(server.get("/after").status, 200);
}

#[test]
fn every_answer_has_a_date_and_names_the_server() {
    let server = Setup::builtin("hello").workers(1).start();
    for target in ["/", "/server", "/status"] {
        let response = server.get(target);
        assert!(response.field("date").ends_with(" GMT"), "{response:?}");
        assert_eq!(response.field("server"), "rip-master");
        assert!(!response.says_close(), "{response:?}");
    }
    assert_eq!(server.get("/server").text().trim_end(), "ok");
    let status = server.get("/status").json();
    assert_eq!(status["status"], "healthy", "{status}");
}

#[test]
fn errors_come_in_the_form_the_client_asks_for() {
    let server = Setup::builtin("hello").workers(1).flag("--max-body", 10).start();
    for (accept, kind) in [
        ("*/*", "text/plain"),
        ("text/html,application/xhtml+xml", "text/html"),
        ("application/json", "application/problem+json"),
    ] {
        let mut client = server.connect();
        client.request("POST", "/", &format!("Accept: {accept}\r\n"), &[b'x'; 11]);
        let response = client.response();
        assert_eq!(response.status, 413);
        assert!(response.field("content-type").starts_with(kind), "{response:?}");
        let id = response.field("x-request-id").to_owned();
        assert!(id.starts_with("req-"), "{id}");
        if kind.ends_with("json") {
            assert_eq!(response.json()["status"], 413);
        }
    }
}

/// Bytes without a pattern a mistake could hide in.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn escaped(bytes: &str) -> String {
    bytes.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
