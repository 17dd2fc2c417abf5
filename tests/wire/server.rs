//! What a client gets: framing, `Connection`, and what becomes of the connection.

use rip::contract::reason::Reason;
use rip::http1::{After, Limits, Read, RequestHead, ResponseLength, Server};

/// Reads requests off one connection and answers them.
struct Talk {
    server: Server,
    head: RequestHead,
    input: Vec<u8>,
}

impl Talk {
    fn begin(input: &str) -> Self {
        Self { server: Server::new(), head: RequestHead::new(), input: input.into() }
    }

    fn next(&mut self) -> Read {
        let read = self.server.read(&self.input, &mut self.head, &Limits::default());
        let read = read.expect("a valid request");
        if let Read::Head { consumed } | Read::Body { consumed, .. } | Read::End { consumed } = read
        {
            self.input.drain(..consumed);
        }
        read
    }

    fn next_request(&mut self) {
        while !matches!(self.next(), Read::End { .. }) {}
    }

    fn answer(&mut self, status: u16, length: ResponseLength, body: &[&str]) -> (String, After) {
        let mut out = Vec::new();
        let mut fields = self.server.respond(status, b"", length, &mut out);
        fields.field(b"A", b"b");
        fields.finish();
        for piece in body {
            self.server.body(piece.as_bytes(), &mut out);
        }
        let after = self.server.end(&mut out);
        (String::from_utf8(out).unwrap(), after)
    }
}

const NEW: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSING: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

type Row = (&'static str, u16, ResponseLength, &'static [&'static str], &'static str, After);

const ROWS: &[Row] = &[
    (
        NEW,
        200,
        ResponseLength::Known(5),
        &["he", "llo"],
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello",
        After::KeepAlive,
    ),
    (
        NEW,
        200,
        ResponseLength::Unknown,
        &["he", "", "llo, my friends!"],
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n\
         2\r\nhe\r\n10\r\nllo, my friends!\r\n0\r\n\r\n",
        After::KeepAlive,
    ),
    (
        NEW,
        404,
        ResponseLength::None,
        &["dropped"],
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        CLOSING,
        200,
        ResponseLength::Known(1),
        &["x"],
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\nA: b\r\n\r\nx",
        After::Close,
    ),
    // More than was announced is left out; less ends the connection.
    (
        NEW,
        200,
        ResponseLength::Known(2),
        &["abc", "d"],
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\nab",
        After::KeepAlive,
    ),
    (
        NEW,
        200,
        ResponseLength::Known(3),
        &["ab"],
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\nab",
        After::Close,
    ),
    // No body, whatever is given.
    (
        HEAD,
        200,
        ResponseLength::Known(5),
        &["hello"],
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        HEAD,
        200,
        ResponseLength::Unknown,
        &["hello"],
        "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        NEW,
        204,
        ResponseLength::Known(5),
        &["hello"],
        "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        NEW,
        304,
        ResponseLength::Known(5),
        &["hello"],
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        NEW,
        304,
        ResponseLength::Unknown,
        &["hello"],
        "HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        NEW,
        304,
        ResponseLength::None,
        &[],
        "HTTP/1.1 304 Not Modified\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    (
        NEW,
        101,
        ResponseLength::Known(5),
        &["hello"],
        "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
    // HTTP/1.0.
    (
        OLD,
        200,
        ResponseLength::Known(1),
        &["x"],
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\nA: b\r\n\r\nx",
        After::Close,
    ),
    (
        OLD_KEPT,
        200,
        ResponseLength::Known(1),
        &["x"],
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\nA: b\r\n\r\nx",
        After::KeepAlive,
    ),
    (
        OLD_KEPT,
        200,
        ResponseLength::Unknown,
        &["he", "llo"],
        "HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\nhello",
        After::Close,
    ),
    (
        OLD_KEPT,
        204,
        ResponseLength::None,
        &[],
        "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\nA: b\r\n\r\n",
        After::KeepAlive,
    ),
];

#[test]
fn responses_are_framed_as_request_status_and_length_say() {
    for (request, status, length, body, expected, after) in ROWS {
        let mut talk = Talk::begin(request);
        talk.next_request();
        let answer = talk.answer(*status, *length, body);
        assert_eq!(answer, ((*expected).to_owned(), *after), "{request:?} {status} {length:?}");
    }
}

#[test]
fn pipelined_requests_wait_for_the_answer_before_them() {
    let mut talk = Talk::begin(&format!("{HEAD}{NEW}{CLOSING}{NEW}"));
    let known = ResponseLength::Known(1);
    talk.next_request();
    assert_eq!(talk.next(), Read::Blocked);
    assert_eq!(talk.next(), Read::Blocked);
    let (text, after) = talk.answer(200, known, &["1"]);
    assert!(text.ends_with("\r\n\r\n") && after == After::KeepAlive, "{text}");
    // The second is no HEAD any more.
    talk.next_request();
    let (text, after) = talk.answer(200, known, &["2"]);
    assert!(text.ends_with("\r\n\r\n2") && after == After::KeepAlive, "{text}");
    talk.next_request();
    assert_eq!(talk.answer(200, known, &["3"]).1, After::Close);
}

#[test]
fn an_answer_before_the_end_of_the_request_lingers() {
    for (framing, rest) in [
        ("Content-Length: 5", "hel"),
        ("Content-Length: 5", ""),
        ("Transfer-Encoding: chunked", "3\r\nhel"),
        ("Transfer-Encoding: chunked", "3\r\nhel\r\n0\r\n\r"),
    ] {
        let mut talk =
            Talk::begin(&format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{rest}"));
        while talk.next() != Read::More {}
        let (text, after) = talk.answer(413, ResponseLength::Known(0), &[]);
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
        assert_eq!(after, After::Linger, "{framing} {rest}");
    }
}

#[test]
fn a_request_without_a_body_may_be_answered_before_its_end_is_read() {
    let mut talk = Talk::begin(&format!("{NEW}{NEW}"));
    for _ in 0..2 {
        assert!(matches!(talk.next(), Read::Head { .. }));
        assert!(talk.server.is_request_read());
        let (text, after) = talk.answer(200, ResponseLength::Known(0), &[]);
        assert!(!text.contains("Connection") && after == After::KeepAlive, "{text}");
    }
    assert_eq!(talk.next(), Read::More);
    assert!(talk.server.is_idle());
}

#[test]
fn a_body_that_was_read_needs_no_end_to_be_read() {
    let mut talk = Talk::begin("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert!(matches!(talk.next(), Read::Head { .. }));
    assert_eq!(talk.server.body_remaining(), Some(2));
    assert!(matches!(talk.next(), Read::Body { .. }));
    assert_eq!(talk.server.body_remaining(), Some(0));
    assert_eq!(talk.answer(200, ResponseLength::Known(0), &[]).1, After::KeepAlive);
    assert!(talk.server.is_idle());
}

#[test]
fn the_end_of_a_request_after_the_answer_has_begun_ends_the_connection_without_lingering() {
    let mut talk = Talk::begin("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    assert!(matches!(talk.next(), Read::Head { .. }));
    let mut out = Vec::new();
    talk.server.respond(200, b"", ResponseLength::Known(0), &mut out).finish();
    talk.input.extend_from_slice(b"hi");
    talk.next_request();
    assert_eq!(talk.server.end(&mut out), After::Close);
}

#[test]
fn continue_is_wanted_until_it_is_sent_or_the_body_comes() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut talk = Talk::begin(request);
    assert!(!talk.server.wants_continue());
    assert!(matches!(talk.next(), Read::Head { .. }));
    assert!(talk.server.wants_continue());
    talk.server.continue_sent();
    assert!(!talk.server.wants_continue());

    let mut talk = Talk::begin(&format!("{request}h"));
    assert!(matches!(talk.next(), Read::Head { .. }));
    assert!(matches!(talk.next(), Read::Body { .. }));
    assert!(!talk.server.wants_continue());

    // Refused instead: the client may send the body or not, so nothing more is read as a request.
    let mut talk = Talk::begin(request);
    assert!(matches!(talk.next(), Read::Head { .. }));
    assert_eq!(talk.answer(413, ResponseLength::None, &[]).1, After::Linger);

    let mut talk = Talk::begin(&request.replace("Length: 2", "Length: 0"));
    assert!(matches!(talk.next(), Read::Head { .. }));
    assert!(!talk.server.wants_continue());
}

#[test]
fn hints_pass_to_those_who_know_them_and_only_before_the_answer() {
    let mut out = Vec::new();
    let mut talk = Talk::begin(NEW);
    talk.next_request();
    let mut fields = talk.server.informational(103, b"", &mut out).expect("HTTP/1.1 knows hints");
    fields.field(b"Link", b"</a.css>");
    fields.finish();
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    talk.server.respond(200, b"", ResponseLength::None, &mut out).finish();
    assert!(talk.server.informational(103, b"", &mut out).is_none());

    let mut old = Talk::begin(OLD_KEPT);
    old.next_request();
    assert!(old.server.informational(103, b"", &mut out).is_none());
}

#[test]
fn draining_says_close() {
    let mut talk = Talk::begin(NEW);
    talk.next_request();
    talk.server.close_after_this();
    let (text, after) = talk.answer(200, ResponseLength::None, &[]);
    assert!(text.contains("\r\nConnection: close\r\n") && after == After::Close, "{text}");
}

#[test]
fn a_response_that_breaks_off_is_never_completed() {
    let mut talk = Talk::begin(NEW);
    talk.next_request();
    let mut out = Vec::new();
    talk.server.respond(200, b"", ResponseLength::Unknown, &mut out).finish();
    talk.server.body(b"half", &mut out);
    assert_eq!(talk.server.abort(), After::Close);
    assert!(out.ends_with(b"4\r\nhalf\r\n"));
}

#[test]
fn a_refusal_is_answered_and_lingers() {
    let limits = Limits::default();
    for (input, to_head) in
        [("GET / HTTP/1.1\r\n\r\n", false), ("HEAD /# HTTP/1.1\r\nHost: a\r\n\r\n", true)]
    {
        let (mut server, mut head) = (Server::new(), RequestHead::new());
        let fault = server.read(input.as_bytes(), &mut head, &limits).unwrap_err();
        assert_eq!((fault.reason, fault.silent), (Reason::Malformed, false));
        let mut out = Vec::new();
        let status = fault.reason.status();
        server.respond(status, b"", ResponseLength::Known(2), &mut out).finish();
        server.body(b"no", &mut out);
        assert_eq!(server.end(&mut out), After::Linger);
        let text = String::from_utf8(out).unwrap();
        let expected = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
        assert_eq!(text, format!("{expected}{}", if to_head { "" } else { "no" }));
    }
}

#[test]
fn a_connection_is_idle_until_the_first_byte_of_a_request() {
    let (mut server, mut head) = (Server::new(), RequestHead::new());
    let limits = Limits::default();
    for (input, started) in [("", false), ("\r", false), ("\r\n", false), ("\r\nG", true)] {
        assert_eq!(server.read(input.as_bytes(), &mut head, &limits), Ok(Read::More));
        assert_eq!(server.request_started(), started, "{input:?}");
        assert_eq!(server.is_idle(), !started, "{input:?}");
    }
    // A request that came too slowly is answered all the same.
    let mut out = Vec::new();
    server.respond(408, b"", ResponseLength::None, &mut out).finish();
    assert!(server.is_responding());
    assert_eq!(server.end(&mut out), After::Linger);
}
