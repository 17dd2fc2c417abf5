//! What is accepted, and how it is understood, however the bytes are cut.

use crate::reading::{Seen, body, read_every_way, refusal, request_count};
use rip::http1::Limits;

struct Row {
    text: &'static str,
    /// The first line of what was understood must contain each.
    line: &'static [&'static str],
    body: &'static str,
    requests: usize,
    closes: bool,
}

const fn row(text: &'static str, line: &'static [&'static str]) -> Row {
    Row { text, line, body: "", requests: 1, closes: false }
}

const ROWS: &[Row] = &[
    row("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET / Http11 None Get path=/ query= authority=a"]),
    row("GET / HTTP/1.1\r\nHost:a\r\n\r\n", &["authority=a"]),
    row("GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n", &["authority=a"]),
    row("GET / HTTP/1.1\r\nHOST: [::1]:8080\r\n\r\n", &["authority=[::1]:8080"]),
    row("GET /a/b?c=d&e HTTP/1.1\r\nHost: a\r\n\r\n", &["path=/a/b", "query=c=d&e"]),
    row("GET /a..b/.../c HTTP/1.1\r\nHost: a\r\n\r\n", &["path=/a..b/.../c"]),
    row("GET /%2f%5c%20 HTTP/1.1\r\nHost: a\r\n\r\n", &["path=/%2f%5c%20"]),
    row("GET //x HTTP/1.1\r\nHost: a\r\n\r\n", &["path=//x"]),
    row("GET /\u{e0}\"<>^`{|}\\ HTTP/1.1\r\nHost: a\r\n\r\n", &["Get path=/"]),
    row("GET /?q=100% HTTP/1.1\r\nHost: a\r\n\r\n", &["query=q=100%"]),
    row("GET http://b:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n", &["path=/p", "authority=b:81"]),
    row("GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n", &["path=/ ", "authority=b"]),
    row("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &["Options path=*"]),
    row("BREW-IT! /pot HTTP/1.1\r\nHost: a\r\n\r\n", &["BREW-IT! /pot", "Other"]),
    row("get / HTTP/1.1\r\nHost: a\r\n\r\n", &["get /", "Other"]),
    row("GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\t\u{7f00}\r\n\r\n", &[]),
    row("GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \r\n\r\n", &[]),
    row("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /"]),
    row("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /"]),
    row("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", &["Length(0)"]),
    Row {
        text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello",
        line: &["Length(5)"],
        body: "hello",
        requests: 1,
        closes: false,
    },
    Row {
        text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
               5\r\nhello\r\n000B;x=\"y\" ; z\r\n, my world!\r\n0\r\nA: b\r\nC:\r\n\r\n",
        line: &["Chunked"],
        body: "hello, my world!",
        requests: 1,
        closes: false,
    },
    Row {
        text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
               0000000000000001 \t;x\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n",
        line: &[],
        body: "\r\n",
        requests: 1,
        closes: false,
    },
    Row {
        text: "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
        line: &["expects=true"],
        body: "x",
        requests: 1,
        closes: false,
    },
    Row {
        text: "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        line: &["Http10", "expects=false", "authority= "],
        body: "x",
        requests: 1,
        closes: true,
    },
    // Several on one connection.
    Row {
        text: "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n\
               Content-Length: 2\r\n\r\nhi\r\nPOST /3 HTTP/1.1\r\nHost: a\r\n\
               Transfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
        line: &["GET /1"],
        body: "hi!",
        requests: 4,
        closes: false,
    },
    Row {
        text: "GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\nGET /3",
        line: &["GET /1"],
        body: "",
        requests: 2,
        closes: true,
    },
    Row {
        text: "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\nGET /2 HTTP/1.1\r\n",
        line: &["GET /1"],
        body: "",
        requests: 1,
        closes: true,
    },
    Row {
        text: "GET /1 HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\nGET /2",
        line: &["GET /1"],
        body: "",
        requests: 1,
        closes: true,
    },
];

#[test]
fn every_valid_request_is_understood_in_every_cut() {
    for row in ROWS {
        let seen = read_every_way(row.text.as_bytes(), &Limits::default());
        let name = row.text.escape_debug();
        assert_eq!(refusal(&seen), None, "{name}: {seen:?}");
        let Some(Seen::Head(head)) = seen.first() else { panic!("{name}: {seen:?}") };
        for part in row.line {
            assert!(head.contains(part), "{name}: {part} is not in {head}");
        }
        assert_eq!(body(&seen), row.body.as_bytes(), "{name}");
        assert_eq!(request_count(&seen), row.requests, "{name}: {seen:?}");
        assert_eq!(seen.contains(&Seen::Closed), row.closes, "{name}");
    }
}

#[test]
fn fields_are_named_marked_and_trimmed() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nconnection: X-Own, TE\r\nX-OWN:  b  \r\nx_own: c\r\n\
                Te: d\r\nRip-Edge: e\r\n\r\n";
    let seen = read_every_way(text.as_bytes(), &Limits::default());
    let Some(Seen::Head(head)) = seen.first() else { panic!("{seen:?}") };
    let lines: Vec<&str> = head.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "Host=a Host",
            "connection=X-Own, TE Connection",
            "X-OWN=b Other nominated",
            "x_own=c Other underscore",
            "Te=d Te nominated",
            "Rip-Edge=e Rip",
        ]
    );
}

#[test]
fn an_incomplete_request_only_waits() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\na: b\r\n\r";
    for end in 0..=text.len() {
        let seen = read_every_way(&text[..end], &Limits::default());
        assert_eq!(refusal(&seen), None);
        assert_eq!(request_count(&seen), 0);
    }
}
