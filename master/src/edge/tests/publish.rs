//! Publishing to groups, reading them as events, and coming back to them.

use super::socket::{Posted, hear, house, is_closed, next, ok, open_at, say, wait_until_told};
use super::*;
use crate::shared::mail::Farewell;
use rip::contract::realtime::{HistoryRule, RealtimeConfig};

/// An app whose clients join the groups that their query names, and which `/realtime` belongs to.
fn groups(adjust: impl FnOnce(&mut Config)) -> (House, mpsc::Receiver<Posted>) {
    let configure = |config: &mut Config| {
        let mut place =
            RealtimeConfig::unasked(config.apps[0].id.clone(), rip::contract::app::REALTIME_PATH);
        place.hosts.push("*".to_owned());
        place.explicit = true;
        place.history.push(HistoryRule {
            pattern: "/kept/*".to_owned(),
            messages: 3,
            ttl: Duration::from_secs(60),
        });
        config.realtime.push(place);
        adjust(config);
    };
    let answer = |posted: &Posted| match posted.word() {
        "open" | "subscribe" => {
            let query = posted.field("rip-realtime-query").unwrap_or_default();
            let join = query.split('&').find_map(|pair| pair.strip_prefix("join="));
            ok(&join.map_or("{}".to_owned(), |join| format!(r#"{{"+":["{join}"]}}"#)))
        }
        "text" => ok(&String::from_utf8(posted.body.clone()).unwrap()),
        _ => ok("{}"),
    };
    house(configure, Box::new(answer))
}

fn post(house: &House, fields: &str, body: &str) -> String {
    let mut client = house.client();
    let length = body.len();
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    // Of a body that it refused unread the edge takes only some more, as long as it lingers: the
    // rest may find nobody. The answer is there to be read.
    let _ = client.write_all(body.as_bytes());
    response(&mut client)
}

fn published(house: &House, body: &str) -> String {
    let text = post(house, "", body);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn text(client: &mut TcpStream) -> String {
    let (first, payload) = hear(client);
    assert_eq!(first, 0x81);
    String::from_utf8(payload).unwrap()
}

#[test]
fn what_is_published_reaches_the_members_and_is_counted() {
    let (house, _told) = groups(|_| {});
    let mut first = open_at(&house, "?join=/a");
    let mut second = open_at(&house, "?join=/a");
    let mut other = open_at(&house, "?join=/b");
    let count = published(&house, r#"{"@":["/a","/none"],"n":1}"#);
    assert_eq!(count, r#"{"delivered":2,"groups":{"/a":2,"/none":0}}"#);
    for client in [&mut first, &mut second] {
        assert_eq!(text(client), r#"{"n":1}"#);
    }
    let both = r#"[{"@":["/a","/b"],"$text":"x"},{"@":["/b"],"$binary":"AAE="}]"#;
    assert_eq!(published(&house, both), r#"{"delivered":4,"groups":{"/a":2,"/b":2}}"#);
    for client in [&mut first, &mut second, &mut other] {
        assert_eq!(text(client), "x");
    }
    assert_eq!(hear(&mut other), (0x82, vec![0, 1]));
    assert_eq!(published(&house, r#"{"n":2}"#), r#"{"delivered":0,"groups":{}}"#);
    wait_until_told(&house, r#""path":"/publish","status":200"#);
}

#[test]
fn what_is_no_instruction_is_refused_with_the_reason() {
    let (house, _told) = groups(|_| {});
    for (body, why) in [
        ("", "empty"),
        ("{", "JSON"),
        ("7", "object"),
        (r#"{"+":["lobby"]}"#, r#""/" before it is missing"#),
    ] {
        let text = post(&house, "", body);
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains(why), "{text}");
    }
    let text = post(&house, "", &"x".repeat(1024 * 1024 + 1));
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    let mut client = house.client();
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 1024 * 1024 + 1, "x".repeat(1024 * 1024 + 1));
    let head = "POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let _ = client.write_all(chunk.as_bytes());
    assert!(response(&mut client).starts_with("HTTP/1.1 413 "));
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1024 * 1024 - 8));
    assert_eq!(published(&house, &large), r#"{"delivered":0,"groups":{}}"#);
    // What is no POST is the app's.
    let mut client = house.client();
    client.write_all(b"GET /publish HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(response(&mut client).starts_with("HTTP/1.1 200 "));
}

#[test]
fn who_is_not_from_here_needs_the_secret() {
    let (house, _told) = groups(|_| {});
    let refused = |fields: &str| {
        let text = post(&house, fields, "{}");
        let expected = "HTTP/1.1 401 ";
        assert!(text.contains("RIP_PUBLISH_SECRET") && text.contains("localhost"), "{text}");
        assert!(text.starts_with(expected) && text.contains("WWW-Authenticate: Bearer"), "{text}");
    };
    refused("X-Forwarded-For: 127.0.0.1\r\n");
    refused("Origin: http://evil.test\r\n");
    let (open, _told) = groups(|config| config.edge.publish.open = true);
    assert!(post(&open, "Via: 1.1 x\r\n", "{}").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_secret_is_asked_of_everybody() {
    let dir = crate::sys::test_dir::TestDir::make();
    let path = dir.path().join("secret");
    std::fs::write(&path, "sesame\n").unwrap();
    let (house, _told) = groups(|config| {
        config.realtime[0].publish_secret_file = Some(path.to_str().unwrap().to_owned());
    });
    for (fields, status) in [
        ("", 401),
        ("Authorization: Bearer sesam\r\n", 401),
        ("Authorization: Basic sesame\r\n", 401),
        ("Authorization: Bearer sesame\r\n", 200),
        ("Authorization: bearer sesame\r\nVia: 1.1 x\r\n", 200),
    ] {
        let text = post(&house, fields, "{}");
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{fields} {text}");
    }
}

#[test]
fn who_comes_back_gets_what_it_missed() {
    let (house, _told) = groups(|_| {});
    let mut client = open_at(&house, "?join=/kept");
    published(&house, r#"{"@":["/kept"],"n":1}"#);
    let first = text(&mut client);
    let position = first.split_once(r#"[" "#).map_or(first.as_str(), |(_, rest)| rest);
    let (_, position) = position.split_once("\"/kept\":[").unwrap();
    let (epoch, rest) = position.split_once(',').unwrap();
    assert!(rest.starts_with("1]"), "{first}");
    assert!(first.ends_with(r#""n":1}"#), "{first}");
    drop(client);
    for number in 2..4 {
        published(&house, &format!(r#"{{"@":["/kept"],"n":{number}}}"#));
    }
    let back = format!("?join=/kept&recover=%2Fkept:{epoch}:1");
    let mut client = open_at(&house, &back);
    published(&house, r#"{"@":["/kept"],"n":4}"#);
    for number in 2..5 {
        let heard = text(&mut client);
        assert!(heard.ends_with(&format!(r#"{epoch},{number}]}},"n":{number}}}"#)), "{heard}");
    }
    // The first is not kept any more.
    let mut client = open_at(&house, &format!("?join=/kept&recover=%2Fkept:{epoch}:0"));
    let heard = text(&mut client);
    assert_eq!(heard, format!(r#"{{"reset":{{"/kept":{{"epoch":{epoch},"offset":4}}}}}}"#));
}

#[test]
fn a_group_is_read_as_events_and_read_on() {
    let (house, told) = groups(|_| {});
    let view = |query: &str, fields: &str| {
        let mut client = house.client();
        let ask = format!("GET /realtime/events{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        client.write_all(ask.as_bytes()).unwrap();
        client
    };
    for query in ["?group=lobby", "?group=", ""] {
        let text = response(&mut view(query, ""));
        assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("?group=/lobby"), "{text}");
    }
    let text = response(&mut view("?group=/kept&join=/other", ""));
    assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
    assert_eq!(next(&told).word(), "subscribe");
    let mut reader = view("?group=/kept&join=/kept", "");
    let answer = head(&mut reader).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\r\nContent-Type: text/event-stream\r\n"), "{answer}");
    assert_eq!(chunk(&mut reader), "retry: 1000\n\n");
    assert_eq!(next(&told).word(), "subscribe");
    published(&house, r#"{"@":["/kept"],"n":1}"#);
    let event = chunk(&mut reader);
    let id =
        event.strip_prefix("id: ").and_then(|rest| rest.split('\n').next()).unwrap().to_owned();
    assert!(id.ends_with(":1") && event.ends_with("\"n\":1}\n\n"), "{event}");
    drop(reader);
    published(&house, r#"{"@":["/kept"],"n":2}"#);
    let mut reader = view("?group=%2Fkept&join=/kept", &format!("Last-Event-ID: {id}\r\n"));
    head(&mut reader).unwrap();
    published(&house, r#"{"@":["/kept"],"n":3}"#);
    let mut seen = String::new();
    while !seen.contains("\"n\":3") {
        seen.push_str(&chunk(&mut reader));
    }
    let epoch = id.split(':').next().unwrap();
    for number in 2..4 {
        assert_eq!(seen.matches(&format!("id: {epoch}:{number}\n")).count(), 1, "{seen}");
    }
    assert!(!seen.contains("\"n\":1"), "{seen}");
    assert!(!told.try_iter().any(|posted| posted.word() == "close"), "it was no client");
    let edges = house.edges.lock().unwrap().take().unwrap();
    edges.drain(Farewell::until(Clock::read()));
    assert_eq!(chunk(&mut reader), "");
    edges.stop();
}

#[test]
fn pages_read_events_where_they_may_open_sockets() {
    let (house, told) = groups(|config| {
        config.realtime[0].origins = vec!["https://friend.test".to_owned()];
    });
    let (open, _told) = groups(|config| config.realtime[0].origins = vec!["*".to_owned()]);
    let answer = |house: &House, fields: &str| {
        let mut client = house.client();
        let ask = "GET /realtime/events?group=/a&join=/a HTTP/1.1\r\nHost: a\r\n";
        client.write_all(format!("{ask}{fields}\r\n").as_bytes()).unwrap();
        head(&mut client).unwrap().to_lowercase()
    };
    let refused = answer(&house, "Origin: https://evil.test\r\n");
    assert!(refused.starts_with("http/1.1 403 "), "{refused}");
    assert!(!refused.contains("access-control"), "{refused}");
    assert!(told.try_recv().is_err(), "the app is not asked");

    let shared = "\r\naccess-control-allow-origin: https://friend.test\r\n";
    let credentials = "\r\naccess-control-allow-credentials: true\r\n";
    let friend = "Origin: https://friend.test\r\n";
    let named = answer(&house, friend);
    assert!(
        named.starts_with("http/1.1 200 ") && named.contains("\r\nvary: origin\r\n"),
        "{named}"
    );
    assert!(named.contains(shared) && named.contains(credentials), "{named}");
    let anyone = answer(&open, friend);
    assert!(anyone.contains(shared) && !anyone.contains(credentials), "{anyone}");
    let nobody = answer(&house, "");
    assert!(nobody.starts_with("http/1.1 200 ") && !nobody.contains("access-control"), "{nobody}");
}

#[test]
fn who_cannot_say_what_it_has_is_told_so() {
    let (house, told) = groups(|_| {});
    let mut client = house.client();
    let ask = "GET /realtime?recover=/kept:x:1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(ask.as_bytes()).unwrap();
    let text = response(&mut client);
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert!(text.contains("?recover=GROUP:EPOCH:OFFSET"), "{text}");
    assert!(told.try_recv().is_err(), "the app is not asked");
}

/// The next chunk of a body.
fn chunk(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    let size = std::str::from_utf8(&line).unwrap().trim_end();
    let mut chunk = vec![0; usize::from_str_radix(size, 16).unwrap() + 2];
    stream.read_exact(&mut chunk).unwrap();
    chunk.truncate(chunk.len() - 2);
    String::from_utf8(chunk).unwrap()
}

#[test]
fn instructions_reach_others_and_leaving_the_last_group_leaves_a_client_reachable() {
    let (house, told) = groups(|_| {});
    let mut first = open_at(&house, "?join=/a");
    let id = next(&told).field("rip-client-id").unwrap().to_owned();
    let mut second = open_at(&house, "?join=/a");
    say(&mut second, 0x81, br#"{"@":["/a"],"n":1}"#);
    assert_eq!((text(&mut first), text(&mut second)), (r#"{"n":1}"#.into(), r#"{"n":1}"#.into()));
    say(&mut first, 0x81, br#"{"-":["/a"]}"#);
    say(&mut first, 0x81, br#"{"n":2}"#);
    assert_eq!(text(&mut first), r#"{"n":2}"#);
    assert_eq!(published(&house, r#"{"@":["/a"],"n":3}"#), r#"{"delivered":1,"groups":{"/a":1}}"#);
    let direct = format!(r#"{{"@":["{id}"],"n":4,"*":{{"code":4001,"reason":"out"}}}}"#);
    assert_eq!(published(&house, &direct), r#"{"delivered":1,"groups":{}}"#);
    assert_eq!(text(&mut first), r#"{"n":4}"#);
    assert_eq!(hear(&mut first), (0x88, b"\x0f\xa1out".to_vec()));
    say(&mut first, 0x88, b"\x0f\xa1");
    assert!(is_closed(&mut first));
    assert_eq!(published(&house, &direct), r#"{"delivered":0,"groups":{}}"#);
}

#[test]
fn what_is_no_upgrade_is_told_so_where_realtime_was_asked_for() {
    let (house, _told) = groups(|_| {});
    let mut client = house.client();
    client.write_all(b"GET /realtime HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let text = response(&mut client);
    assert!(text.starts_with("HTTP/1.1 426 "), "{text}");
    assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
}
