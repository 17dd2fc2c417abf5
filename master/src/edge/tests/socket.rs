//! WebSocket clients: what the app is asked on their behalf, and what they hear.

use super::*;
use crate::shared::mail::Farewell;
use crate::shared::mail::{ControlMessage, EdgeMessage};
use rip::contract::event::Event;

const UPGRADE: &str = "GET /realtime?room=7 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Frame: text\r\nRip-Client-Id: forged\r\n\
    Cookie: a=b\r\nX-Own: c\r\nAccept-Encoding: gzip\r\n";

/// One POST as the worker got it.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    /// In lower case.
    head: String,
    pub(super) body: Vec<u8>,
}

impl Posted {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn word(&self) -> &str {
        self.field("sec-websocket-frame").unwrap_or_default()
    }
}

fn posted(stream: &mut UnixStream) -> Option<Posted> {
    let head = head(stream)?.to_lowercase();
    let mut posted = Posted { head, body: Vec::new() };
    let length = posted.field("content-length").map_or(0, |length| length.parse().unwrap());
    posted.body.resize(length, 0);
    stream.read_exact(&mut posted.body).ok()?;
    Some(posted)
}

fn whole(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(super) fn ok(body: &str) -> Vec<u8> {
    whole("200 OK", "Content-Type: application/json\r\n", body.as_bytes())
}

/// What every POST is answered with.
pub(super) type Answer = dyn FnMut(&Posted) -> Vec<u8> + Send;

/// A house whose worker answers what `answer` says, and tells what it was asked.
pub(super) fn house(
    adjust: impl FnOnce(&mut Config),
    mut answer: Box<Answer>,
) -> (House, mpsc::Receiver<Posted>) {
    let (tell, told) = mpsc::channel();
    let house = House::new(adjust, move |_, mut stream| {
        while let Some(posted) = posted(&mut stream) {
            let _ = tell.send(posted.clone());
            let bytes = answer(&posted);
            // An empty answer is none at all.
            if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    (house, told)
}

fn upgrade(house: &House) -> TcpStream {
    let mut client = house.client();
    client.write_all(UPGRADE.as_bytes()).unwrap();
    client.write_all(b"\r\n").unwrap();
    client
}

fn open(house: &House) -> TcpStream {
    open_at(house, "?room=7")
}

pub(super) fn open_at(house: &House, query: &str) -> TcpStream {
    let mut client = house.client();
    client.write_all(UPGRADE.replace("?room=7", query).as_bytes()).unwrap();
    client.write_all(b"\r\n").unwrap();
    let head = head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

pub(super) fn next(told: &mpsc::Receiver<Posted>) -> Posted {
    told.recv_timeout(PATIENCE).expect("a POST")
}

/// A masked frame with at most 125 bytes.
pub(super) fn say(client: &mut TcpStream, first: u8, payload: &[u8]) {
    let mask = [9, 8, 7, 6];
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    client.write_all(&frame).unwrap();
}

/// The next frame: its first byte and its payload.
pub(super) fn hear(client: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    client.read_exact(&mut head).expect("a frame");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            client.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            client.read_exact(&mut length).unwrap();
            u64::from_be_bytes(length) as usize
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    client.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

fn close(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

pub(super) fn is_closed(client: &mut TcpStream) -> bool {
    matches!(client.read(&mut [0]), Ok(0) | Err(_))
}

/// Waits for an access line that says so.
pub(super) fn wait_until_told(house: &House, what: &str) {
    let mut lines = String::new();
    wait_until(what, || {
        lines.push_str(&house.lines());
        lines.contains(what)
    });
}

#[test]
fn the_app_is_asked_before_the_connection_switches_and_chooses_the_protocol() {
    let answer = |posted: &Posted| match posted.word() {
        "open" => {
            whole("204 No Content", "Sec-WebSocket-Protocol: other\r\nSet-Cookie: x=y\r\n", b"")
        }
        _ => ok("{}"),
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = upgrade(&house);
    let head = head(&mut client).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let head = head.to_lowercase();
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        "sec-websocket-protocol: other",
        "set-cookie: x=y",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    let posted = next(&told);
    assert!(posted.head.starts_with("post /v1/realtime http/1.1\r\nhost: a\r\n"), "{posted:?}");
    assert_eq!(posted.word(), "open");
    let id = posted.field("rip-client-id").unwrap().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    for (name, value) in [
        ("rip-realtime-query", "room=7"),
        ("rip-edge", "realtime"),
        ("cookie", "a=b"),
        ("x-own", "c"),
        ("sec-websocket-protocol", "chat, other"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("content-length", "0"),
    ] {
        assert_eq!(posted.field(name), Some(value), "{posted:?}");
    }
    for name in ["upgrade", "sec-websocket-key", "sec-websocket-version", "accept-encoding"] {
        assert_eq!(posted.field(name), None, "{posted:?}");
    }
    assert_eq!(posted.head.matches("sec-websocket-frame").count(), 1);
    assert_eq!(posted.head.matches("rip-client-id").count(), 1);
    wait_until_told(&house, "\"mark\":\"open\"");
    drop(client);
    let posted = next(&told);
    assert_eq!((posted.word(), posted.field("rip-client-id")), ("close", Some(&*id)));
    assert_eq!(posted.body, br#"{"code":1006,"reason":""}"#);
    wait_until("the lease never ends", || house.inflight() == 0);
}

#[test]
fn what_is_said_while_the_app_thinks_is_heard_afterwards() {
    let (go, gone) = mpsc::channel::<()>();
    let answer = move |posted: &Posted| {
        if posted.word() == "open" {
            gone.recv().unwrap();
        }
        ok(r#"{"$text":"hi"}"#)
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = upgrade(&house);
    say(&mut client, 0x81, b"early");
    next(&told);
    house.turn();
    go.send(()).unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(hear(&mut client), (0x81, b"hi".to_vec()), "what open said");
    assert_eq!(next(&told).body, b"early");
    assert_eq!(hear(&mut client), (0x81, b"hi".to_vec()), "what the message said");
}

#[test]
fn an_app_that_refuses_is_passed_on_as_it_is() {
    let answer = |_: &Posted| {
        whole("401 Unauthorized", "WWW-Authenticate: Basic\r\nContent-Type: text/x\r\n", b"who?")
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = upgrade(&house);
    for _ in 0..2 {
        let text = response(&mut client);
        assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{text}");
        assert!(text.contains("\r\nWWW-Authenticate: Basic\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Type: text/x\r\n"), "{text}");
        assert!(text.ends_with("who?"), "{text}");
        // The connection is one like any other.
        client.write_all(UPGRADE.as_bytes()).unwrap();
        client.write_all(b"\r\n").unwrap();
    }
    drop(client);
    assert!(told.iter().take(2).all(|posted| posted.word() == "open"));
    house.turn();
    assert!(!told.try_iter().any(|posted| posted.word() == "close"), "nobody was there");
}

#[test]
fn what_goes_wrong_with_the_app_has_its_status() {
    let large = rip::limits::REALTIME_REPLY_BYTES + 1;
    for (bytes, status, reason) in [
        (whole("500 Oops", "", b""), 500, None),
        (Vec::new(), 502, Some(Reason::WorkerGone)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(),
            502,
            Some(Reason::WorkerGone),
        ),
        (b"HTTP/1.1 200 OK\r\nno field\r\n\r\n".to_vec(), 502, Some(Reason::WorkerMalformed)),
        (whole("200 OK", "", &vec![b' '; large]), 502, Some(Reason::AnswerTooLarge)),
    ] {
        let is_cut = bytes.ends_with(b"half");
        let house = House::new(
            |_| {},
            move |_, mut stream| {
                while posted(&mut stream).is_some() {
                    let _ = stream.write_all(&bytes);
                    if bytes.is_empty() || is_cut {
                        return;
                    }
                }
            },
        );
        let mut client = upgrade(&house);
        let text = response(&mut client);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        if let Some(reason) = reason {
            // Once for the request that was asked, once for the one that asked.
            let told = || house.count(Counter::Refusal(reason)) == 2;
            wait_until("both are told of", told);
        }
        drop(client);
        wait_until("the lease never ends", || house.inflight() == 0);
    }
}

#[test]
fn a_worker_that_is_busy_is_asked_again() {
    let mut asked = 0;
    let answer = move |_: &Posted| {
        asked += 1;
        match asked {
            1 => whole("503 Busy", "Rip-Worker-Busy: 1\r\n", b""),
            _ => ok("{}"),
        }
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let _client = open(&house);
    assert_eq!((next(&told).word(), next(&told).word()), ("open", "open"));
}

/// A house whose only worker is busy until it is told; what else it is asked it answers.
fn occupied(
    adjust: impl FnOnce(&mut Config),
) -> (House, mpsc::Receiver<Posted>, mpsc::Sender<()>, TcpStream) {
    let (go, gone) = mpsc::channel::<()>();
    let answer = move |posted: &Posted| {
        if posted.head.starts_with("get /slow") {
            gone.recv_timeout(PATIENCE).unwrap();
        }
        ok("{}")
    };
    let (house, told) = house(adjust, Box::new(answer));
    let mut slow = house.client();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(next(&told).head.starts_with("get /slow"));
    (house, told, go, slow)
}

#[test]
fn without_a_free_worker_a_client_waits_or_is_shed_or_gives_up() {
    let (house, told, go, _slow) = occupied(|config| config.apps[0].max_queue = 1);
    let mut first = upgrade(&house);
    house.turn();
    let mut second = upgrade(&house);
    let text = response(&mut second);
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nRetry-After: "), "{text}");
    go.send(()).unwrap();
    assert!(head(&mut first).unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(next(&told).word(), "open");

    let (house, told, go, _slow) = occupied(|config| {
        config.apps[0].timeouts.queue = Duration::from_millis(50);
    });
    let text = response(&mut upgrade(&house));
    assert!(text.starts_with("HTTP/1.1 504 "), "{text}");
    go.send(()).unwrap();
    wait_until("the lease never ends", || house.inflight() == 0);
    assert!(told.try_recv().is_err(), "nobody was asked");
}

#[test]
fn a_client_that_leaves_before_a_worker_has_heard_of_it_was_never_there() {
    let (house, told, go, _slow) = occupied(|_| {});
    let client = upgrade(&house);
    house.turn();
    drop(client);
    wait_until("it is never noticed", || house.shared.connections.open() == 1);
    go.send(()).unwrap();
    wait_until("the lease never ends", || house.inflight() == 0);
    house.turn();
    assert!(told.try_recv().is_err(), "nobody was asked");
}

#[test]
fn a_client_that_leaves_while_the_app_thinks_is_closed_when_it_was_let_in() {
    for status in ["200 OK", "403 Forbidden"] {
        let (go, gone) = mpsc::channel::<()>();
        let answer = move |posted: &Posted| {
            if posted.word() == "open" {
                gone.recv_timeout(PATIENCE).unwrap();
            }
            whole(status, "", b"")
        };
        let (house, told) = house(|_| {}, Box::new(answer));
        let client = upgrade(&house);
        assert_eq!(next(&told).word(), "open");
        drop(client);
        wait_until("it is never noticed", || house.shared.connections.open() == 0);
        go.send(()).unwrap();
        if status == "200 OK" {
            assert_eq!(next(&told).word(), "close");
        }
        wait_until("the lease never ends", || house.inflight() == 0);
        house.turn();
        assert!(told.try_recv().is_err());
    }
}

#[test]
fn a_drain_waits_for_what_an_app_is_asked() {
    let (go, gone) = mpsc::channel::<()>();
    let answer = move |posted: &Posted| {
        if posted.word() == "close" {
            gone.recv_timeout(PATIENCE).unwrap();
        }
        ok("{}")
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    assert_eq!(next(&told).word(), "open");
    let edges = house.edges.lock().unwrap().take().unwrap();
    edges.drain(Farewell::until(Clock::read()));
    assert_eq!(hear(&mut client), close(1001, "the server is stopping"));
    say(&mut client, 0x88, &1001_u16.to_be_bytes());
    assert!(is_closed(&mut client));
    assert_eq!(next(&told).body, br#"{"code":1001,"reason":"the server is stopping"}"#);
    let is_drained = || {
        let mut all = Vec::new();
        house.mail.lock().unwrap().drain(&mut all);
        all.iter().any(|message| matches!(message, ControlMessage::LoopDrained(_)))
    };
    assert!(!is_drained(), "its close is on its way");
    go.send(()).unwrap();
    wait_until("it never drains", is_drained);
    edges.stop();
}

#[test]
fn a_client_of_an_app_that_is_gone_is_closed_and_asked_nothing_more() {
    let (house, told) = house(|_| {}, Box::new(|_| ok("{}")));
    let mut client = open(&house);
    next(&told);
    let old = house.shared.current.load();
    let mut config = old.config.clone();
    config.apps.clear();
    config.routes.clear();
    house.shared.activate(Arc::new(Snapshot::new(2, config, Vec::new())), 50, Clock::read());
    let edges = house.edges.lock().unwrap();
    edges.as_ref().unwrap().tell(|| EdgeMessage::Activated);
    assert_eq!(hear(&mut client), close(1001, "no longer served"));
    assert_eq!(next(&told).word(), "close", "its app is there until it had its time");
    edges.as_ref().unwrap().tell(|| EdgeMessage::EndRemoved);
}

#[test]
fn what_waits_for_a_pool_that_is_gone_is_waited_for_no_longer() {
    let (go, gone) = mpsc::channel::<()>();
    let answer = move |posted: &Posted| {
        if posted.word() == "text" {
            let _ = gone.recv_timeout(PATIENCE);
        }
        ok("{}")
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    say(&mut client, 0x81, b"x");
    assert_eq!((next(&told).word(), next(&told).word()), ("open", "text"));
    let config = Config { apps: Vec::new(), ..house.shared.current.load().config.clone() };
    let snapshot = Arc::new(Snapshot::new(2, config, Vec::new()));
    house.shared.activate(snapshot, 50, Clock::read());
    let edges = house.edges.lock().unwrap().take().unwrap();
    edges.tell(|| EdgeMessage::Activated);
    assert_eq!(hear(&mut client), close(1001, "no longer served"));
    drop(client);
    edges.tell(|| EdgeMessage::Forget(PoolNumber(0)));
    edges.drain(Farewell::until(Clock::read()));
    let is_drained = || {
        let mut all = Vec::new();
        house.mail.lock().unwrap().drain(&mut all);
        all.iter().any(|message| matches!(message, ControlMessage::LoopDrained(_)))
    };
    wait_until("it never drains", is_drained);
    drop(go);
    edges.stop();
    assert!(told.try_recv().is_err(), "nobody was there to be told of the end");
}

#[test]
fn what_is_no_handshake_is_refused() {
    let (house, told) = house(|_| {}, Box::new(|_| ok("{}")));
    let whole_upgrade = format!("{UPGRADE}\r\n");
    for (from, to, status) in [
        ("Version: 13", "Version: 8", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
        ("Cookie: a=b", "Origin: http://evil.test", 403),
        ("Cookie: a=b", "Origin: null", 403),
    ] {
        let mut client = house.client();
        client.write_all(whole_upgrade.replace(from, to).as_bytes()).unwrap();
        let text = response(&mut client);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        if status == 426 {
            assert!(text.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
            assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
        }
    }
    assert!(told.try_recv().is_err(), "nobody was asked");
    let mut client = house.client();
    client.write_all(whole_upgrade.replace("Cookie: a=b", "Origin: http://a").as_bytes()).unwrap();
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 101 "));
    // Nobody else speaks to the app there.
    let mut client = house.client();
    client
        .write_all(b"POST /v1/realtime HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 404 "));
    // The app's own page of that name.
    let mut client = house.client();
    client.write_all(b"GET /realtime HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(response(&mut client).ends_with("{}"));
}

#[test]
fn messages_are_posted_one_after_the_other_and_answered_in_order() {
    let answer = |posted: &Posted| match posted.word() {
        "text" => {
            let text = String::from_utf8(posted.body.clone()).unwrap();
            ok(&format!(r#"{{"$text":"{text}"}}"#))
        }
        "binary" => ok(r#"{"$binary":"AAEC"}"#),
        _ => ok("{}"),
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    for number in 0..150 {
        say(&mut client, 0x81, number.to_string().as_bytes());
    }
    for number in 0..150 {
        assert_eq!(hear(&mut client), (0x81, number.to_string().into_bytes()));
    }
    say(&mut client, 0x82, b"\0\x01\xff");
    assert_eq!(hear(&mut client), (0x82, vec![0, 1, 2]));
    let all: Vec<_> = told.iter().take(152).collect();
    assert_eq!(all[1].field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(all[151].field("content-type"), Some("application/octet-stream"));
    assert_eq!(all[151].body, b"\0\x01\xff");
    let ids: std::collections::HashSet<_> =
        all.iter().map(|posted| posted.field("x-request-id").unwrap()).collect();
    assert_eq!(ids.len(), 152, "each has a name of its own");
    say(&mut client, 0x89, b"here?");
    assert_eq!(hear(&mut client), (0x8a, b"here?".to_vec()));
    say(&mut client, 0x88, b"\x0f\xa1bye");
    assert_eq!(hear(&mut client), close(4001, "bye"));
    assert!(is_closed(&mut client));
    assert_eq!(next(&told).body, br#"{"code":4001,"reason":"bye"}"#);
    wait_until("the lease never ends", || house.inflight() == 0);
    assert_eq!(house.count(Counter::SocketMessagesIn), 151);
}

#[test]
fn nonsense_of_a_worker_reaches_nobody_and_its_end_loses_one_message() {
    let mut asked = 0;
    let answer = move |posted: &Posted| {
        asked += 1;
        match (posted.word(), asked) {
            ("text", 2) => whole("500 Oops", "", br#"{"$text":"no"}"#),
            ("text", 3) => ok("nonsense"),
            ("text", 4) => ok(r#"{"+":["lobby"],"$text":"no"}"#),
            ("text", 5) => Vec::new(),
            ("text", _) => ok(r#"{"*":"done"}"#),
            _ => ok("{}"),
        }
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    for _ in 0..5 {
        say(&mut client, 0x81, b"x");
    }
    assert_eq!(hear(&mut client), close(1000, "done"));
    say(&mut client, 0x88, b"\x03\xe8");
    assert!(is_closed(&mut client));
    let words: Vec<_> = told.iter().take(7).map(|posted| posted.word().to_owned()).collect();
    assert_eq!(words, ["open", "text", "text", "text", "text", "text", "close"]);
    assert_eq!(house.count(Counter::SocketReplyFailed), 2);
    assert_eq!(house.count(Counter::SocketReplyInvalid), 2);
    let told = mistakes(&house);
    let reasons: Vec<_> = told.iter().map(|(reason, _)| reason.as_str()).collect();
    assert!(
        matches!(
            reasons[..],
            ["it was answered 500", nonsense, lobby, "it got no answer: worker-gone"]
                if nonsense.starts_with("no instruction: ") && lobby.contains("\"lobby\"")
        ),
        "{reasons:?}"
    );
}

/// The mistakes of the app that were told so far, and how many were not before each.
fn mistakes(house: &House) -> Vec<(String, u64)> {
    let mut mail = Vec::new();
    house.mail.lock().unwrap().drain(&mut mail);
    let mistake = |message| match message {
        ControlMessage::Tell(event) => match *event {
            Event::WsError { reason, untold, .. } => Some((reason, untold)),
            _ => None,
        },
        _ => None,
    };
    mail.into_iter().filter_map(mistake).collect()
}

#[test]
fn an_app_that_always_fails_does_not_flood() {
    let answer = |posted: &Posted| match posted.word() {
        "text" if posted.body == b"end" => ok(r#"{"*":"done"}"#),
        "text" => ok("nonsense"),
        _ => ok("{}"),
    };
    let (house, _told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    for _ in 0..180 {
        say(&mut client, 0x81, b"x");
    }
    say(&mut client, 0x81, b"end");
    assert_eq!(hear(&mut client), close(1000, "done"));
    assert_eq!(house.count(Counter::SocketReplyInvalid), 180);
    let told = mistakes(&house).len();
    assert!((100..180).contains(&told), "{told}");
}

#[test]
fn who_breaks_the_protocol_is_closed() {
    let large = |client: &mut TcpStream| {
        client.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 0]).unwrap();
    };
    let unmasked = |client: &mut TcpStream| client.write_all(b"\x81\x01x").unwrap();
    let broken = |client: &mut TcpStream| say(client, 0x81, b"\xff");
    type Do = dyn Fn(&mut TcpStream);
    for (act, code) in [(&large as &Do, 1009_u16), (&unmasked, 1002), (&broken, 1007)] {
        let (house, _told) = house(|_| {}, Box::new(|_| ok("{}")));
        let mut client = open(&house);
        act(&mut client);
        let (first, payload) = hear(&mut client);
        assert_eq!((first, &payload[..2]), (0x88, &code.to_be_bytes()[..]));
        say(&mut client, 0x88, &code.to_be_bytes());
        assert!(is_closed(&mut client));
        assert_eq!(house.count(Counter::SocketClosed(code)), 1);
        wait_until("it is never forgotten", || house.shared.connections.open() == 0);
    }
}

#[test]
fn who_says_too_much_in_too_short_a_time_is_closed() {
    let (house, told) = house(|_| {}, Box::new(|_| ok("{}")));
    let mut client = open(&house);
    next(&told);
    let mut said = 0;
    loop {
        say(&mut client, 0x81, b"x");
        said += 1;
        if next(&told).word() == "close" {
            break;
        }
        assert!(said < 2000, "nobody minds");
    }
    assert!(said > 200, "it was closed after {said}");
    assert_eq!(hear(&mut client), close(1008, "too many messages"));
}

#[test]
fn a_full_queue_loses_nothing_that_clients_said() {
    let (go, gone) = mpsc::channel::<()>();
    let answer = move |posted: &Posted| {
        if posted.head.starts_with("get /slow") {
            let _ = gone.recv_timeout(PATIENCE);
        }
        let text = String::from_utf8_lossy(&posted.body).into_owned();
        if posted.word() == "text" { ok(&format!(r#"{{"$text":"{text}"}}"#)) } else { ok("{}") }
    };
    let (house, told) = house(|config| config.apps[0].max_queue = 2, Box::new(answer));
    let mut clients: Vec<_> = (0..30).map(|_| open(&house)).collect();
    // One is asked, and two wait: no room is left.
    let mut slow: Vec<_> = (0..3).map(|_| house.client()).collect();
    for client in &mut slow {
        client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        house.turn();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        say(client, 0x81, format!("{number}").as_bytes());
        say(client, 0x81, format!("{number} again").as_bytes());
    }
    house.turn();
    drop(go);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(hear(client), (0x81, format!("{number}").into_bytes()));
        assert_eq!(hear(client), (0x81, format!("{number} again").into_bytes()));
    }
    assert!(house.count(Counter::Refusal(Reason::QueueFull)) > 0, "the queue was full");
    drop(clients);
    let closes = told.iter().filter(|posted| posted.word() == "close").take(30).count();
    assert_eq!(closes, 30);
    assert_eq!(house.count(Counter::SocketReplyFailed), 0);
    wait_until("the lease never ends", || house.inflight() == 0);
}

#[test]
fn what_waits_for_the_app_is_bounded() {
    let (go, gone) = mpsc::channel::<()>();
    let answer = move |posted: &Posted| {
        if posted.word() == "text" {
            let _ = gone.recv_timeout(PATIENCE);
        }
        ok("{}")
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    for _ in 0..100 {
        say(&mut client, 0x81, b"x");
    }
    assert_eq!(hear(&mut client), close(1013, "too much waits for the app"));
    drop(go);
    let words: Vec<_> = told.iter().take(67).map(|posted| posted.word().to_owned()).collect();
    assert_eq!(words[66], "close", "what was taken is still posted");
}

#[test]
fn who_does_not_read_is_closed_and_its_memory_is_bounded() {
    let text = "x".repeat(100_000);
    let answer = move |posted: &Posted| match posted.word() {
        "text" => ok(&format!(r#"{{"$text":"{text}"}}"#)),
        _ => ok("{}"),
    };
    let (house, told) = house(|_| {}, Box::new(answer));
    let mut client = open(&house);
    let mut sent = 0;
    while house.count(Counter::SocketClosed(1013)) == 0 {
        assert!(sent < 5000, "it is never closed");
        say(&mut client, 0x81, b"x");
        sent += 1;
        if next(&told).word() == "close" {
            break;
        }
    }
    wait_until("it is never closed", || house.count(Counter::SocketClosed(1013)) == 1);
    let mut last = Vec::new();
    client.read_to_end(&mut last).unwrap();
    assert!(last.ends_with(b"\x88\x06\x03\xf5slow"), "its last word");
}
