//! What a worker's answer is understood as, and whether its connection can be used again.

use rip::contract::reason::Reason;
use rip::http1::{Client, ClientRead, ResponseHead};

#[derive(Debug, Default, Eq, PartialEq)]
struct Answer {
    heads: Vec<String>,
    body: Vec<u8>,
    reusable: Option<bool>,
    fault: Option<Reason>,
}

/// Reads one answer that comes in `pieces`, after which the connection ends if `eof`.
fn read(pieces: &[&[u8]], eof: bool, to_head: bool) -> Answer {
    let (mut client, mut head) = (Client::new(), ResponseHead::new());
    let mut answer = Answer::default();
    let mut buffer = Vec::new();
    client.request(to_head);
    for (position, piece) in pieces.iter().enumerate() {
        buffer.extend_from_slice(piece);
        let ended = eof && position + 1 == pieces.len();
        loop {
            let consumed = match client.read(&buffer, ended, &mut head) {
                Ok(ClientRead::More) => break,
                Ok(
                    ClientRead::Informational { consumed }
                    | ClientRead::Switched { consumed }
                    | ClientRead::Head { consumed },
                ) => {
                    answer.heads.push(describe(&head, &buffer[..consumed]));
                    consumed
                }
                Ok(ClientRead::Body { consumed, data }) => {
                    answer.body.extend_from_slice(&buffer[data]);
                    consumed
                }
                Ok(ClientRead::End { reusable, .. }) => {
                    answer.reusable = Some(reusable);
                    return answer;
                }
                Err(fault) => {
                    answer.fault = Some(fault.reason);
                    return answer;
                }
            };
            buffer.drain(..consumed);
        }
    }
    answer
}

fn describe(head: &ResponseHead, buf: &[u8]) -> String {
    let reason = head.reason(buf).escape_ascii();
    format!("{} {reason} {:?} {:?}", head.status(), head.body(), head.content_length())
}

/// Whole, in two at every place, and byte by byte; all must agree but for surplus bytes, which a
/// cut may hide.
fn read_every_way(text: &[u8], eof: bool, to_head: bool) -> Answer {
    let whole = read(&[text], eof, to_head);
    let single: Vec<&[u8]> = text.chunks(1).collect();
    let mut others = vec![read(&single, eof, to_head)];
    for cut in 1..text.len() {
        let (left, right) = text.split_at(cut);
        others.push(read(&[left, right], eof, to_head));
    }
    for other in others {
        assert_eq!(other.heads, whole.heads, "{}", text.escape_ascii());
        assert_eq!(other.body, whole.body, "{}", text.escape_ascii());
        assert_eq!(other.fault, whole.fault, "{}", text.escape_ascii());
        assert_eq!(other.reusable.is_some(), whole.reusable.is_some());
    }
    whole
}

struct Row {
    text: &'static str,
    eof: bool,
    to_head: bool,
    heads: &'static [&'static str],
    body: &'static str,
    reusable: Option<bool>,
    fault: Option<Reason>,
}

const OK: Row = Row {
    text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    eof: false,
    to_head: false,
    heads: &["200 OK Length(2) Some(2)"],
    body: "hi",
    reusable: Some(true),
    fault: None,
};

const BAD: Row =
    Row { heads: &[], body: "", reusable: None, fault: Some(Reason::WorkerMalformed), ..OK };

const ROWS: &[Row] = &[
    OK,
    Row { eof: true, ..OK_CLOSED },
    OK_CLOSED,
    Row { text: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", reusable: Some(false), ..OK },
    Row { text: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", ..OK },
    Row {
        text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        reusable: Some(false),
        ..OK
    },
    Row {
        text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\nh\r\n1\r\ni\r\n0\r\nT: u\r\n\r\n",
        heads: &["200 OK Chunked None"],
        ..OK
    },
    Row {
        text: "HTTP/1.1 200 OK\r\n\r\nhi",
        eof: true,
        heads: &["200 OK UntilClose None"],
        reusable: Some(false),
        ..OK
    },
    Row {
        text: "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
        heads: &["200  Length(2) Some(2)"],
        ..OK
    },
    Row {
        text: "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi",
        heads: &["200  Length(2) Some(2)"],
        ..OK
    },
    Row {
        text: "HTTP/1.1 299 Tr\u{e8}s bien\r\nContent-Length: 2\r\n\r\nhi",
        heads: &["299 Tr\\xc3\\xa8s bien Length(2) Some(2)"],
        ..OK
    },
    Row {
        text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        heads: &["100 Continue None None", "103 Hints None None", "200 OK Length(2) Some(2)"],
        ..OK
    },
    // No body to be read.
    Row {
        text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        to_head: true,
        heads: &["200 OK None Some(2)"],
        body: "",
        ..OK
    },
    Row {
        text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        to_head: true,
        heads: &["200 OK None None"],
        body: "",
        ..OK
    },
    Row {
        text: "HTTP/1.1 204 No Content\r\n\r\n",
        heads: &["204 No Content None None"],
        body: "",
        ..OK
    },
    Row {
        text: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        heads: &["304 Not Modified None Some(9)"],
        body: "",
        ..OK
    },
    Row {
        text: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        heads: &["200 OK Length(0) Some(0)"],
        body: "",
        ..OK
    },
    // Broken off.
    Row { text: "HTTP/1.1 200 OK\r\nConte", eof: true, fault: GONE, ..BAD },
    Row {
        text: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        eof: true,
        heads: &["200 OK Length(3) Some(3)"],
        body: "hi",
        fault: GONE,
        ..BAD
    },
    Row {
        text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        eof: true,
        heads: &["200 OK Chunked None"],
        body: "hi",
        fault: GONE,
        ..BAD
    },
    Row {
        text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!",
        heads: &["200 OK Chunked None"],
        body: "hi",
        ..BAD
    },
    // Not HTTP.
    Row { text: "hello\r\n\r\n", ..BAD },
    Row { text: "\r\nHTTP/1.1 200 OK\r\n\r\n", ..BAD },
    Row { text: "HTTP/2.0 200 OK\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 20 OK\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 099 OK\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 200 OK\nContent-Length: 0\n\n", ..BAD },
    Row { text: "HTTP/1.1 200 OK\r\nX : y\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", ..BAD },
    Row {
        text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        ..BAD
    },
    Row { text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ..BAD },
    Row { text: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", ..BAD },
];

const GONE: Option<Reason> = Some(Reason::WorkerGone);
const OK_CLOSED: Row = Row { eof: true, reusable: Some(false), ..OK };

#[test]
fn answers_are_understood_in_every_cut() {
    for row in ROWS {
        let answer = read_every_way(row.text.as_bytes(), row.eof, row.to_head);
        let name = row.text.escape_debug();
        assert_eq!(answer.fault, row.fault, "{name}");
        assert_eq!(answer.heads, row.heads, "{name}");
        assert_eq!(answer.body, row.body.as_bytes(), "{name}");
        assert_eq!(answer.reusable, row.reusable, "{name}");
    }
}

#[test]
fn surplus_bytes_make_a_connection_useless() {
    let text = b"HTTP/1.1 204 No Content\r\n\r\n0\r\n\r\n";
    assert_eq!(read(&[text], false, false).reusable, Some(false));
    // Also when they come later.
    let (mut client, mut head) = (Client::new(), ResponseHead::new());
    assert_eq!(client.read(b"", false, &mut head), Ok(ClientRead::More));
    let fault = client.read(b"x", false, &mut head).unwrap_err();
    assert_eq!(fault.reason, Reason::WorkerMalformed);
    let fault = Client::new().read(b"", true, &mut head).unwrap_err();
    assert_eq!(fault.reason, Reason::WorkerGone);
}

#[test]
fn a_connection_carries_one_answer_after_the_other() {
    let (mut client, mut head) = (Client::new(), ResponseHead::new());
    for to_head in [true, false, true] {
        client.request(to_head);
        let text: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let text = if to_head { &text[..text.len() - 2] } else { text };
        let Ok(ClientRead::Head { consumed }) = client.read(text, false, &mut head) else {
            panic!("a head")
        };
        let mut rest = &text[consumed..];
        if !to_head {
            assert!(matches!(client.read(rest, false, &mut head), Ok(ClientRead::Body { .. })));
            rest = b"";
        }
        let end = client.read(rest, false, &mut head);
        assert_eq!(end, Ok(ClientRead::End { consumed: 0, reusable: true }));
        assert!(client.is_idle());
    }
}

#[test]
fn heads_of_workers_have_a_limit_too() {
    let mut text = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    text.resize(rip::limits::HEAD_BYTES, b'x');
    assert_eq!(read(&[&text], false, false).fault, Some(Reason::WorkerMalformed));
    let pieces: Vec<&[u8]> = text.chunks(4096).collect();
    assert_eq!(read(&pieces, false, false).fault, Some(Reason::WorkerMalformed));
}
