//! RFC 6455, frame by frame: what a client may say, and what ends its connection.

use crate::harness::websocket::{BINARY, CLOSE, PING, PONG, Socket, TEXT, UPGRADE, masked};
use crate::harness::{Server, Setup};
use std::time::Duration;

/// What comes back.
#[derive(Debug)]
enum Back {
    Text(&'static str),
    Binary(&'static [u8]),
    Pong(&'static [u8]),
    /// The server's close, which ends the connection.
    Close(u16),
    /// The client's own close comes back.
    Closed,
}

use Back::{Binary, Close, Closed, Pong, Text};

/// The parts of a message in frames of their own.
fn parts(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let last = parts.len() - 1;
    let frame = |(at, part): (usize, &&[u8])| {
        let kind = if at == 0 { first & 0x7f } else { 0 };
        masked(kind | if at == last { 0x80 } else { 0 }, part)
    };
    parts.iter().enumerate().flat_map(frame).collect()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

type Row = (&'static str, Vec<u8>, Vec<Back>);

fn messages() -> Vec<Row> {
    vec![
        ("a text", masked(TEXT, "grüße".as_bytes()), vec![Text("grüße")]),
        ("an empty text", masked(TEXT, b""), vec![Text("")]),
        ("bytes", masked(BINARY, b"\x00\xff\x80"), vec![Binary(b"\x00\xff\x80")]),
        ("no bytes", masked(BINARY, b""), vec![Binary(b"")]),
        (
            "two messages in one piece",
            [masked(TEXT, b"a"), masked(BINARY, b"b")].concat(),
            vec![Text("a"), Binary(b"b")],
        ),
        ("a text in parts", parts(TEXT, &[b"a", b"b", b"c"]), vec![Text("abc")]),
        ("bytes in parts", parts(BINARY, &[b"a", b"\xff"]), vec![Binary(b"a\xff")]),
        ("empty parts", parts(TEXT, &[b"", b"", b"x", b""]), vec![Text("x")]),
        ("nothing in parts", parts(TEXT, &[b"", b""]), vec![Text("")]),
        (
            "a character across parts",
            parts(TEXT, &[b"\xf0\x9f", b"\x90", b"\xa2"]),
            vec![Text("🐢")],
        ),
        (
            "the last character there is",
            masked(TEXT, b"\xf4\x8f\xbf\xbf"),
            vec![Text("\u{10ffff}")],
        ),
        ("a zero", masked(TEXT, b"\x00"), vec![Text("\0")]),
    ]
}

fn control_frames() -> Vec<Row> {
    let long: &'static [u8] = &[7; 125];
    vec![
        ("a ping", masked(PING, b"are you there"), vec![Pong(b"are you there")]),
        ("an empty ping", masked(PING, b""), vec![Pong(b"")]),
        ("the longest ping", masked(PING, long), vec![Pong(long)]),
        ("a pong nobody asked for", masked(PONG, b"here"), vec![]),
        (
            "pings between the parts of a message",
            [
                masked(0x01, b"he"),
                masked(PING, b"1"),
                masked(0x00, b"ll"),
                masked(PONG, b"x"),
                masked(PING, b"2"),
                masked(0x80, b"o"),
            ]
            .concat(),
            vec![Pong(b"1"), Pong(b"2"), Text("hello")],
        ),
        ("a ping in parts", masked(0x09, b"a"), vec![Close(1002)]),
        ("a pong in parts", masked(0x0a, b"a"), vec![Close(1002)]),
        ("a close in parts", masked(0x08, b"\x03\xe8"), vec![Close(1002)]),
        ("a ping of 126 bytes", masked(PING, &[0; 126]), vec![Close(1002)]),
        ("a pong of 126 bytes", masked(PONG, &[0; 126]), vec![Close(1002)]),
        ("a close of 126 bytes", close(1000, &[b'x'; 124]), vec![Close(1002)]),
        (
            "the rest of a message in a ping",
            [masked(0x01, b"a"), masked(0x09, b"b")].concat(),
            vec![Close(1002)],
        ),
    ]
}

fn broken_frames() -> Vec<Row> {
    let mut rows = vec![
        ("unmasked text", vec![TEXT, 1, b'a'], vec![Close(1002)]),
        ("an unmasked ping", vec![PING, 0], vec![Close(1002)]),
        ("an unmasked close", vec![CLOSE, 2, 3, 232], vec![Close(1002)]),
        ("a part without a first one", masked(0x80, b"a"), vec![Close(1002)]),
        ("a middle part without a first one", masked(0x00, b"a"), vec![Close(1002)]),
        (
            "a message inside a message",
            [masked(0x01, b"a"), masked(TEXT, b"b")].concat(),
            vec![Close(1002)],
        ),
        (
            "bytes inside a text",
            [masked(0x01, b"a"), masked(BINARY, b"b")].concat(),
            vec![Close(1002)],
        ),
        (
            "what comes before it is heard",
            [masked(PING, b"a"), masked(0x83, b"b"), masked(PING, b"c")].concat(),
            vec![Pong(b"a"), Close(1002)],
        ),
    ];
    for bit in [0x40, 0x20, 0x10, 0x70] {
        rows.push(("a reserved bit in a text", masked(TEXT | bit, b"a"), vec![Close(1002)]));
        rows.push(("a reserved bit in a ping", masked(PING | bit, b""), vec![Close(1002)]));
        let second = [masked(0x01, b"a"), masked(0x80 | bit, b"b")].concat();
        rows.push(("a reserved bit in a second part", second, vec![Close(1002)]));
    }
    for opcode in (0x83..=0x87).chain(0x8b..=0x8f) {
        rows.push(("a reserved opcode", masked(opcode, b"a"), vec![Close(1002)]));
        rows.push(("a reserved opcode, empty", masked(opcode, b""), vec![Close(1002)]));
    }
    rows
}

fn broken_texts() -> Vec<Row> {
    let broken: [(&str, &[u8]); 9] = [
        ("a lonely continuation", b"\x80"),
        ("a byte that is nowhere", b"a\xff"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong zero", b"\xe0\x80\x80"),
        ("half a pair", b"\xed\xa0\x80"),
        ("both halves of a pair", b"\xed\xa0\x80\xed\xb0\x80"),
        ("beyond the last character", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("cut off", b"ab\xe2\x82"),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (what, bytes) in broken {
        rows.push((what, masked(TEXT, bytes), vec![Close(1007)]));
        let (head, tail) = bytes.split_at(bytes.len() - 1);
        rows.push((what, parts(TEXT, &[head, tail]), vec![Close(1007)]));
        rows.push((what, parts(TEXT, &[b"fine", head, tail, b""]), vec![Close(1007)]));
        rows.push((what, close(1000, bytes), vec![Close(1007)]));
        let binary: &'static [u8] = bytes.to_vec().leak();
        rows.push((what, masked(BINARY, bytes), vec![Binary(binary)]));
    }
    rows
}

fn closings() -> Vec<Row> {
    let mut rows = vec![
        ("a close without a code", masked(CLOSE, b""), vec![Closed]),
        ("a close with half a code", masked(CLOSE, b"\x03"), vec![Close(1002)]),
        ("a close with a reason", close(1000, "tschüß".as_bytes()), vec![Closed]),
        ("a close with the longest reason", close(4999, &[b'x'; 123]), vec![Closed]),
        (
            "nothing is heard after a close",
            [close(1000, b""), masked(PING, b"x"), masked(TEXT, b"y")].concat(),
            vec![Closed],
        ),
        (
            "a close between the parts of a message",
            [masked(0x01, b"a"), close(1001, b"")].concat(),
            vec![Closed],
        ),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        rows.push(("a close with a code", close(code, b""), vec![Closed]));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        rows.push(("a close with a code nobody may say", close(code, b"x"), vec![Close(1002)]));
    }
    rows
}

/// Asserts that a client that says this hears that, and after that has its connection or not.
fn hears(server: &Server, (what, sent, back): &Row, piece_bytes: usize) {
    let what = format!("{what}, {piece_bytes} bytes a time: {:?}", &sent[..sent.len().min(40)]);
    let mut socket = Socket::open(server, "/realtime");
    for piece in sent.chunks(piece_bytes) {
        // The end of the connection may come before the client is through.
        if socket.send_bytes(piece).is_err() {
            break;
        }
    }
    for expected in back {
        let frame = socket.try_frame().unwrap_or_else(|error| panic!("{what}: {error}"));
        let (first, payload): (u8, &[u8]) = match expected {
            Text(text) => (TEXT, text.as_bytes()),
            Binary(bytes) => (BINARY, bytes),
            Pong(bytes) => (PONG, bytes),
            Closed => {
                let own = own_close(sent);
                assert_eq!((frame.first, frame.payload), (CLOSE, own), "{what}");
                assert!(socket.is_over(), "{what}: the connection ends");
                return;
            }
            Close(code) => {
                assert_eq!(frame.first, CLOSE, "{what}: {frame:?}");
                assert_eq!(frame.close().0, *code, "{what}");
                assert!(socket.is_over(), "{what}: the connection ends");
                return;
            }
        };
        assert_eq!((frame.first, frame.payload.as_slice()), (first, payload), "{what}");
    }
    socket.say("still there");
    assert_eq!(socket.hear_text(), "still there", "{what}");
}

/// The payload of the close frame among what a client sent.
fn own_close(sent: &[u8]) -> Vec<u8> {
    let mut rest = sent;
    loop {
        let length = usize::from(rest[1] & 0x7f);
        let payload = rest[6..6 + length].iter().zip(rest[2..6].iter().cycle());
        if rest[0] == CLOSE {
            // Code alone where the server says no more, reason and all otherwise.
            return payload.map(|(byte, mask)| byte ^ mask).collect();
        }
        rest = &rest[6 + length..];
    }
}

#[track_caller]
fn hold(rows: &[Row]) {
    let server = Setup::builtin("realtime").workers(2).flag("--loops", 1).start();
    for row in rows {
        hears(&server, row, usize::MAX);
        hears(&server, row, 1);
    }
}

#[test]
fn messages_come_back_however_they_are_cut() {
    hold(&messages());
}

#[test]
fn control_frames_stand_between_the_parts_of_messages() {
    hold(&control_frames());
}

#[test]
fn frames_that_break_the_protocol_end_it_with_1002() {
    hold(&broken_frames());
}

#[test]
fn texts_that_are_no_utf_8_end_it_with_1007() {
    hold(&broken_texts());
}

#[test]
fn closings_are_answered_and_codes_nobody_may_say_are_1002() {
    hold(&closings());
}

#[test]
fn lengths_of_every_form_come_back() {
    let server = Setup::builtin("realtime").workers(1).start();
    let mut socket = Socket::open(&server, "/realtime");
    for length in [124, 125, 126, 127, 128, 1000, 16_380, 16_384, 65_535, 65_536, 300_000, 1 << 20]
    {
        let text = "é".repeat(length / 2) + if length % 2 == 1 { "x" } else { "" };
        for cut in [length, length / 3 + 1] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            socket.send_bytes(&parts(TEXT, &pieces)).unwrap();
            assert!(socket.hear_text() == text, "a text of {length} bytes, {cut} a part");
        }
        socket.send(BINARY, text.as_bytes());
        let back = socket.hear();
        assert!(back.first == BINARY && back.payload == text.as_bytes(), "{length} bytes");
    }
}

#[test]
fn what_is_too_large_ends_it_with_1009_before_it_has_come() {
    let server = Setup::builtin("realtime").workers(1).start();
    let over = (1 << 20) + 1_u64;
    let announced = |first: u8, length: u64| {
        let mut head = vec![first, 0xff];
        head.extend(length.to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let half = masked(0x01, &vec![b'a'; 600_000]);
    for (what, sent) in [
        ("one frame", announced(TEXT, over)),
        ("all there is", announced(BINARY, i64::MAX as u64)),
        ("more than there is", announced(BINARY, u64::MAX)),
        ("its second part", [half.clone(), masked(0x00, &vec![b'a'; 600_000])].concat()),
        ("a part that is too large itself", [half.clone(), announced(0x00, over)].concat()),
        ("its last part", [half, masked(0x80, &vec![b'a'; 600_000])].concat()),
    ] {
        let mut socket = Socket::open(&server, "/realtime");
        // It may be cut off in the middle.
        let _ = socket.send_bytes(&sent);
        assert_eq!(socket.frame().close().0, 1009, "{what}");
        assert!(socket.is_over(), "{what}");
    }
}

#[test]
fn an_edgefile_says_how_large_a_message_may_be() {
    let file = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
         app \"e\" { entry \"builtin:realtime\"; workers 1 }\n\
         site \"*\" { realtime \"/small\" app=\"e\" max-message=\"100B\"; realtime \"/large\" app=\"e\" max-message=\"3MiB\" }\n";
    let server = Setup::edgefile(file).start();
    let mut socket = Socket::open(&server, "/small");
    socket.say(&"x".repeat(100));
    assert_eq!(socket.hear_text().len(), 100);
    socket.say(&"x".repeat(101));
    assert_eq!(socket.hear_close().0, 1009);
    let mut socket = Socket::open(&server, "/large");
    let text = "y".repeat(3 << 20);
    socket.say(&text);
    assert!(socket.hear_text() == text, "three mebibytes");
}

#[test]
fn handshakes_that_are_none_are_refused() {
    let server = Setup::builtin("realtime").workers(1).start();
    let without = |name: &str| {
        let lines = UPGRADE.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(name)).collect::<String>()
    };
    let with = |name: &str, value: &str| without(name) + &format!("{name}: {value}\r\n");
    for (fields, status) in [
        (without("Sec-WebSocket-Key"), 400),
        (with("Sec-WebSocket-Key", "short"), 400),
        (with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"), 400),
        (UPGRADE.to_owned() + "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n", 400),
        (with("Sec-WebSocket-Version", "12"), 426),
        (without("Sec-WebSocket-Version"), 426),
    ] {
        let mut client = server.connect();
        client.request("GET", "/realtime", &fields, b"");
        let refusal = client.response();
        assert_eq!(refusal.status, status, "{fields}: {refusal:?}");
        if status == 426 {
            assert_eq!(refusal.field("Sec-WebSocket-Version"), "13");
        }
    }
    // These do not ask for a WebSocket, and are the app's own.
    for fields in [without("Upgrade"), without("Connection"), with("Upgrade", "h2c")] {
        let mut client = server.connect();
        client.request("GET", "/realtime", &fields, b"");
        assert_eq!(client.response().status, 200, "{fields}");
    }
    let mut client = server.connect();
    client.request("POST", "/realtime", UPGRADE, b"");
    assert_ne!(client.head().status, 101);
    // Names of fields and options have no case, and lists may hold more.
    let loud = "connection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
    let mut client = server.connect();
    client.request("GET", "/realtime", loud, b"");
    assert!(Socket::switched(client).is_ok());
    // No extension is offered, so none is used.
    let offers = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let socket = Socket::open_with(&server, "/realtime", offers);
    assert_eq!(socket.field("Sec-WebSocket-Extensions"), None);
}

#[test]
fn what_is_said_with_the_handshake_is_heard() {
    let server = Setup::builtin("realtime").workers(1).start();
    let mut client = server.connect();
    let request = format!("GET /realtime HTTP/1.1\r\nHost: a.test\r\n{UPGRADE}\r\n");
    client.send([request.as_bytes(), &masked(TEXT, b"at once"), &masked(PING, b"x")].concat());
    let Ok(mut socket) = Socket::switched(client) else { panic!("refused") };
    assert_eq!(socket.frame().first, PONG);
    assert_eq!(socket.hear_text(), "at once");
    assert!(socket.is_silent_for(Duration::from_millis(50)));
}

#[test]
fn garbage_ends_one_connection_and_nothing_else() {
    let server = Setup::builtin("realtime").workers(2).start();
    let mut witness = Socket::open(&server, "/realtime");
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..400 {
        let mut socket = Socket::open(&server, "/realtime");
        let length = random() % 300;
        let mut garbage: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        if round % 2 == 0 {
            // Something that begins well.
            garbage.splice(0..0, masked(if round % 4 == 0 { 0x01 } else { BINARY }, b"fine"));
        }
        let _ = socket.send_bytes(&garbage);
        let mut client = socket.into_client();
        client.finish_sending();
        // A close or an end, in the time that such a client has.
        assert!(client.rest().is_ok() || client.closes(), "round {round}: {garbage:?}");
    }
    witness.say("untouched");
    assert_eq!(witness.hear_text(), "untouched");
}
