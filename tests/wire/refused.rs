//! What is refused, each with its reason, however the bytes are cut.

use crate::reading::{Seen, read, read_every_way, refusal, request_count};
use rip::contract::reason::Reason;
use rip::http1::{Known, Limits, RequestHead, Server};
use rip::limits;

/// Heads that are refused, complete with their last line.
const HEADS: &[(&str, Reason)] = &[
    // Framing.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        Reason::Malformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        Reason::Malformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        Reason::Malformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n",
        Reason::Malformed,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 4\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Reason::Malformed),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        Reason::BodyTooLarge,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        Reason::Malformed,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        Reason::Malformed,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", Reason::Malformed),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", Reason::Malformed),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        Reason::UnknownCoding,
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", Reason::UnknownCoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", Reason::UnknownCoding),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::Malformed),
    // Host.
    ("GET / HTTP/1.1\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nAccept: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Reason::Malformed),
    ("GET http://a/ HTTP/1.1\r\nAccept: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a:port\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", Reason::Malformed),
    // Lines.
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\nHost: a\n\n", Reason::Malformed),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nHost: a\r\nX:\nY: b\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\r\nX: b\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.0\n\n", Reason::Malformed),
    // The target.
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /?a=%00 HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /.. HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    // The request line.
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / /b HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET /\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/11.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.12\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1,1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Reason::VersionUnsupported),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Reason::VersionUnsupported),
    ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", Reason::VersionUnsupported),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason::VersionUnsupported),
    // Before the request line.
    ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::Malformed),
    ("}\r\n\r\n", Reason::Malformed),
    // What is understood and still not done.
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Reason::MethodNotAllowed),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::MethodNotAllowed),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n\r\n", Reason::ExpectationFailed),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, b\r\n\r\n", Reason::ExpectationFailed),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: b\r\nExpect: 100-continue\r\n\r\n",
        Reason::ExpectationFailed,
    ),
];

/// Chunked bodies that are refused.
const CHUNKS: &[&str] = &[
    "\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "g\r\n",
    "-1\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5_0\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a\0\r\nhello\r\n0\r\n\r\n",
    ";a\r\nhello\r\n0\r\n\r\n",
    "5 a\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff0\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello!\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "0\r\n\n",
    "0\r\n\rx",
    "0\r\nbad\r\n\r\n",
    "0\r\nbad : a\r\n\r\n",
    "0\r\n bad: a\r\n\r\n",
    "0\r\na: b\r\n c\r\n\r\n",
    "0\r\na: b\n\r\n",
    "0\r\na: b\0\r\n\r\n",
    "0\r\n: b\r\n\r\n",
];

#[test]
fn every_refused_head_has_its_reason_and_nothing_of_it_is_served() {
    for (head, reason) in HEADS {
        let seen = read_every_way(head.as_bytes(), &Limits::default());
        assert_eq!(refusal(&seen), Some(*reason), "{}: {seen:?}", head.escape_debug());
        assert_eq!(seen.len(), 1, "{}", head.escape_debug());
    }
}

#[test]
fn every_refused_body_ends_its_request() {
    for chunks in CHUNKS {
        let text =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let seen = read_every_way(text.as_bytes(), &Limits::default());
        assert_eq!(refusal(&seen), Some(Reason::Malformed), "{}", chunks.escape_debug());
        assert!(!seen.contains(&Seen::End), "{}", chunks.escape_debug());
    }
}

#[test]
fn what_is_not_http_at_all_gets_no_answer() {
    let greeting: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x2e\x01\x00\x02",
        b"\0\0\0\0",
        b"\r\n\r\n\x00\r\nQUIT\n",
        b"\xff\xfe",
    ];
    for bytes in greeting {
        let seen = read_every_way(bytes, &Limits::default());
        let [Seen::Refused(fault)] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(fault.silent, "{}", bytes.escape_ascii());
    }
}

#[test]
fn heads_have_a_limit_in_bytes_and_in_fields() {
    let limits = Limits::default();
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    let rest = limits::HEAD_BYTES - head.len() - 4;
    head.resize(head.len() + rest, b'x');
    head.extend_from_slice(b"\r\n\r\n");
    assert_eq!(head.len(), limits::HEAD_BYTES);
    assert_eq!(request_count(&read(&[&head], &limits)), 1);
    // Empty lines before it are not part of it.
    let later = [b"\r\n\r\n", head.as_slice()].concat();
    assert_eq!(request_count(&read(&[&later], &limits)), 1);
    head.insert(30, b'x');
    assert_eq!(refusal(&read(&[&head], &limits)), Some(Reason::HeadTooLarge));
    // Nor is more than that ever kept waiting for the end of a head.
    let endless = &head[..limits::HEAD_BYTES];
    assert_eq!(refusal(&read(&[endless], &limits)), Some(Reason::HeadTooLarge));
    let pieces: Vec<&[u8]> = endless.chunks(1000).collect();
    assert_eq!(refusal(&read(&pieces, &limits)), Some(Reason::HeadTooLarge));

    let fields = |count: usize| {
        let lines: String = (1..count).map(|number| format!("X-{number}: a\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    };
    let allowed = fields(limits::HEAD_FIELD_COUNT);
    assert_eq!(refusal(&read_every_way(allowed.as_bytes(), &limits)), None);
    let too_many = fields(limits::HEAD_FIELD_COUNT + 1);
    let seen = read_every_way(too_many.as_bytes(), &limits);
    assert_eq!(refusal(&seen), Some(Reason::HeadTooLarge));
    let nameless = b"GET / HTTP/1.1\r\nHost: \r\n\r\n";
    let inside = Limits { empty_host: true, ..limits };
    assert_eq!(refusal(&read_every_way(nameless, &inside)), None);
    assert_eq!(refusal(&read_every_way(nameless, &limits)), Some(Reason::Malformed));
    let fewer = Limits { field_count: 2, ..limits };
    assert_eq!(refusal(&read(&[fields(3).as_bytes()], &fewer)), Some(Reason::HeadTooLarge));
}

#[test]
fn nonsense_is_refused_long_before_its_end() {
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n".to_vec();
    let twice = 2 * text.len();
    text.extend(b"X: y\r\n".repeat(100));
    let (mut server, mut head) = (Server::new(), RequestHead::new());
    let limits = Limits::default();
    let refused =
        (1..text.len()).find(|end| server.read(&text[..*end], &mut head, &limits).is_err());
    assert!(refused.is_some_and(|end| end <= twice), "{refused:?}");
}

#[test]
fn targets_have_a_limit() {
    let limits = Limits::default();
    let request = |length: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - 1)).into_bytes()
    };
    assert_eq!(refusal(&read(&[&request(limits::TARGET_BYTES)], &limits)), None);
    let long = request(limits::TARGET_BYTES + 1);
    assert_eq!(refusal(&read(&[&long], &limits)), Some(Reason::TargetTooLong));
    let pieces: Vec<&[u8]> = long.chunks(1).collect();
    assert_eq!(refusal(&read(&pieces, &limits)), Some(Reason::TargetTooLong));
    // Also where the line never ends.
    let endless = &long[..limits::TARGET_BYTES + 6];
    assert_eq!(refusal(&read(&[endless], &limits)), Some(Reason::TargetTooLong));
}

#[test]
fn bodies_have_a_limit_before_they_are_read_where_their_length_is_known() {
    let limits = Limits { body_bytes: 10, ..Limits::default() };
    let known = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n";
    assert_eq!(read_every_way(known, &limits).len(), 1);
    assert_eq!(refusal(&read(&[known], &limits)), Some(Reason::BodyTooLarge));
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        8\r\n12345678\r\n3\r\nabc\r\n0\r\n\r\n";
    let seen = read_every_way(chunked, &limits);
    assert_eq!(refusal(&seen), Some(Reason::BodyTooLarge));
    assert!(seen.contains(&Seen::Body(b"12345678".to_vec())));
    let exact = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        8\r\n12345678\r\n2\r\nab\r\n0\r\n\r\n";
    assert_eq!(refusal(&read_every_way(exact, &limits)), None);
}

#[test]
fn chunk_extensions_and_trailers_have_a_limit() {
    let request = |chunks: String| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
            .into_bytes()
    };
    let extension = |length: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(length - 1));
    let limits = Limits::default();
    let read_one = |chunks: String| refusal(&read(&[&request(chunks)], &limits));
    assert_eq!(read_one(extension(limits::CHUNK_EXTENSION_BYTES)), None);
    let too_long = read_one(extension(limits::CHUNK_EXTENSION_BYTES + 1));
    assert_eq!(too_long, Some(Reason::Malformed));
    // Each chunk may have its own.
    let one = extension(limits::CHUNK_EXTENSION_BYTES).replace("0\r\n\r\n", "");
    assert_eq!(read_one(format!("{one}{one}0;e\r\nx:{}\r\n\r\n", "t".repeat(16_000))), None);
    let trailer = |length: usize| format!("0\r\nx:{}\r\n\r\n", "t".repeat(length - 2));
    assert_eq!(read_one(trailer(limits::TRAILER_BYTES)), None);
    assert_eq!(read_one(trailer(limits::TRAILER_BYTES + 1)), Some(Reason::Malformed));
}

#[test]
fn connection_cannot_name_more_fields_than_there_may_be() {
    let options = vec!["x"; limits::HEAD_FIELD_COUNT + 1].join(",");
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {options}\r\n\r\n");
    let seen = read(&[head.as_bytes()], &Limits::default());
    assert_eq!(refusal(&seen), Some(Reason::Malformed));
}

#[test]
fn a_refused_head_still_tells_what_was_asked() {
    let text = b"TRACE /x HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n";
    let (mut server, mut head) = (Server::new(), RequestHead::new());
    assert!(server.read(text, &mut head, &Limits::default()).is_err());
    assert!(head.is_complete());
    assert_eq!(head.method(text), b"TRACE");
    assert_eq!(head.find(Known::Accept).unwrap().of(text), b"text/html");
    // Of bytes that are no head nothing is left, not even what the scratch held before.
    assert!(Server::new().read(b"\n", &mut head, &Limits::default()).is_err());
    assert!(!head.is_complete() && head.fields().is_empty());
}
