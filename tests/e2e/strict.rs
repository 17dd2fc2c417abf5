//! What is not a valid request is refused, closes its connection, and no worker sees any of it.

use crate::harness::{Server, Setup, until};

/// A name, the raw bytes, and the status they get.
type Row<'a> = (&'a str, &'a [u8], u16);

#[test]
fn ambiguous_lengths_are_refused() {
    refused(&[
        ("length and coding", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("coding and length", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        ("differing lengths", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("the same length twice", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("a list of lengths", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        ("a signed length", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("a negative length", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 400),
        ("a hexadecimal length", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400),
        ("an empty length", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc", 400),
        ("a length with a space inside", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\nabc", 400),
        ("a length beyond all numbers", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413),
    ]);
}

#[test]
fn codings_other_than_one_final_chunked_are_refused() {
    refused(&[
        ("an unknown coding", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: frob\r\n\r\n", 501),
        ("chunked and then something", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        ("chunked twice", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        ("chunked in two fields", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("a vertical tab", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        ("an empty coding", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
        ("a coding in quotes", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400),
        ("a coding in HTTP/1.0", b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ]);
}

#[test]
fn a_host_that_is_missing_double_or_invalid_is_refused() {
    refused(&[
        ("no host", b"GET /x HTTP/1.1\r\n\r\n", 400),
        ("two hosts", b"GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("a list of hosts", b"GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("a host with a path", b"GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("a host with userinfo", b"GET /x HTTP/1.1\r\nHost: me@a\r\n\r\n", 400),
        ("a host with a space", b"GET /x HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("a port that is none", b"GET /x HTTP/1.1\r\nHost: a:http\r\n\r\n", 400),
        ("userinfo in the target", b"GET http://me@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn bytes_that_do_not_belong_into_a_head_are_refused() {
    refused(&[
        ("a space before the colon", b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("a tab before the colon", b"GET /x HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n", 400),
        ("a folded line", b"GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
        ("a folded first line", b"GET /x HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", 400),
        ("NUL in a value", b"GET /x HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        ("a control in a value", b"GET /x HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400),
        ("DEL in a value", b"GET /x HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400),
        ("a bare CR in a value", b"GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n", 400),
        ("a bare LF as line end", b"GET /x HTTP/1.1\nHost: a\n\n", 400),
        ("a bare LF after one field", b"GET /x HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n", 400),
        ("NUL in a name", b"GET /x HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n", 400),
        ("an empty name", b"GET /x HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", 400),
        ("a line without a colon", b"GET /x HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", 400),
    ]);
}

#[test]
fn targets_and_request_lines_that_are_none_are_refused() {
    refused(&[
        ("NUL in the target", b"GET /x\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a control in the target", b"GET /x\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("an encoded NUL", b"GET /x%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a path over the root", b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("an encoded path over the root", b"GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a target without a slash", b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("two targets", b"GET /x /y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a method that is no token", b"G(T /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("three empty lines first", b"\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("garbage first", b"garbage\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("a space first", b" GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("TRACE", b"TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (
            "another expectation",
            b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: gifts\r\n\r\nx",
            417,
        ),
    ]);
}

#[test]
fn versions_that_are_not_spoken_are_refused() {
    refused(&[
        ("HTTP/2.0", b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("HTTP/1.2", b"GET /x HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("HTTP/3.0", b"GET /x HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("HTTP/0.9", b"GET /x\r\n\r\n", 400),
        ("a small http", b"GET /x http/1.1\r\nHost: a\r\n\r\n", 400),
        ("HTTP/01.1", b"GET /x HTTP/01.1\r\nHost: a\r\n\r\n", 400),
    ]);
}

#[test]
fn chunks_that_are_none_are_refused() {
    let chunk = |body: &str| {
        format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
            .into_bytes()
    };
    let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(300));
    for (name, body) in [
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("a size in letters", "xyz\r\nabc\r\n0\r\n\r\n"),
        ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a size of 17 digits", "00000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("a size before a space", "3 \r\nabc\r\n0\r\n\r\n"),
        ("a chunk that is longer", "3\r\nabcd\r\n0\r\n\r\n"),
        ("a chunk that ends with LF", "3\r\nabc\n0\r\n\r\n"),
        ("a size that ends with LF", "3\nabc\r\n0\r\n\r\n"),
        ("a long extension", extension.as_str()),
        ("a control in an extension", "3;\x01\r\nabc\r\n0\r\n\r\n"),
        ("a bad trailer", "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n"),
        ("a folded trailer", "3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n"),
    ] {
        refused(&[(name, &chunk(body), 400)]);
    }
}

#[test]
fn a_preface_of_http_2_gets_505_or_an_end() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    if let Ok(response) = client.try_response("GET") {
        assert_eq!(response.status, 505);
    }
    assert!(client.closes());
    assert!(server.seen().is_empty());
}

#[test]
fn bytes_that_are_not_http_at_all_end_the_connection() {
    let server = Setup::recorder().workers(1).start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
    ] {
        let mut client = server.connect();
        client.send(bytes);
        client.finish_sending();
        let rest = client.rest().unwrap_or_default();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{rest:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn what_is_odd_but_valid_is_served() {
    let server = Setup::recorder().workers(1).start();
    for (name, bytes) in [
        ("two empty lines first", &b"\r\n\r\nGET /v HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        ("coding in capitals", b"POST /v HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        ("an extension", b"POST /v HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n"),
        ("an absolute target", b"GET http://a/v HTTP/1.1\r\nHost: other\r\n\r\n"),
        ("a literal address", b"GET /v HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
        ("bytes over 127 in a value", b"GET /v HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\r\n\r\n"),
        ("an empty value", b"GET /v HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n"),
        ("options for all", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/1.0 without a host", b"GET /v HTTP/1.0\r\n\r\n"),
        ("a length with zeros", b"POST /v HTTP/1.1\r\nHost: a\r\nContent-Length: 001\r\n\r\nx"),
    ] {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.response().status, 200, "{name}");
    }
}

#[test]
fn nothing_behind_a_refused_request_is_served() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.send(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 400);
    assert!(client.closes());
    assert!(server.seen().is_empty());
}

#[test]
fn a_refusal_is_logged_and_counted() {
    let server = Setup::recorder().workers(1).start();
    send(&server, "no host", b"GET /nohost HTTP/1.1\r\n\r\n", 400);
    server.wait_for_log(" 400 ");
    server.wait_for_log("malformed");
}

/// Each row in one piece and in two, on connections of their own.
fn refused(rows: &[Row<'_>]) {
    let server = Setup::recorder().workers(1).start();
    for (name, bytes, status) in rows {
        send(&server, name, bytes, *status);
        let mut client = server.connect();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        client.send(first);
        let _ = client.try_send(second);
        assert_eq!(client.response().status, *status, "{name} in two pieces");
    }
    assert!(server.seen().is_empty(), "a worker saw {:?}", server.seen()[0].0);
    // Each is told, with the reason, and none of them twice.
    let told = until("a line for each", || {
        let log = server.stdout();
        let lines: Vec<_> = log.lines().filter(|line| line.contains(" │ ")).collect();
        let statuses = lines.iter().map(|line| {
            assert!(line.contains(" reason="), "{line}");
            let status = line.split(" │ ").nth(1).and_then(|part| part.split(' ').next());
            status.and_then(|status| status.parse::<u16>().ok()).expect("a status")
        });
        let mut statuses: Vec<_> = statuses.collect();
        statuses.sort_unstable();
        (statuses.len() >= 2 * rows.len()).then_some(statuses)
    });
    let mut expected: Vec<_> = rows.iter().flat_map(|(_, _, status)| [*status; 2]).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

fn send(server: &Server, name: &str, bytes: &[u8], status: u16) {
    let mut client = server.connect();
    client.send(bytes);
    let response = client.try_response("GET").unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(response.status, status, "{name}");
    assert!(response.says_close(), "{name}: {response:?}");
    if status == 405 {
        assert!(!response.values("allow").is_empty(), "{name}");
    }
    assert!(client.closes(), "{name}");
}
