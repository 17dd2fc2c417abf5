//! Who asks, how often, and through whom.

use super::{House, PATIENCE, head, response, wait_until};
use crate::reactor::clock::Clock;
use crate::shared::snapshot::Snapshot;
use rip::contract::config::{Config, RateLimit};
use rip::contract::reason::Reason;
use rip::observe::counter::Counter;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A worker that answers with the head it was asked with.
fn mirror(_: usize, mut stream: UnixStream) {
    while let Some(asked) = head(&mut stream) {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{asked}", asked.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A house whose only listener is one for proxies, of which 127.0.0.1 is trusted.
fn behind_a_proxy(config: &mut Config) {
    config.edge.proxy_protocol = config.edge.http.clone();
    config.edge.trusted_proxies = vec!["127.0.0.1".to_owned()];
    config.edge.phases.head = Duration::from_millis(300);
}

fn limited(limit: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        config.edge.rate_limit = Some(RateLimit { limit, window: Duration::from_secs(600) });
        config.edge.trusted_proxies = vec!["127.0.0.1".to_owned()];
    }
}

/// A connection to `house` from an address of loopback's own network.
fn from(house: &House, address: &str) -> TcpStream {
    let from: SocketAddr = format!("{address}:0").parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&house.address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(client: &mut TcpStream, target: &str, fields: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    client.write_all(request.as_bytes()).unwrap();
    response(client)
}

/// The value of a field of an answer.
fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let mut values = answer.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.next().unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// The value of a field that the mirror was asked with.
fn mirrored<'a>(answer: &'a str, name: &str) -> &'a str {
    let (_, asked) = answer.split_once("\r\n\r\n").unwrap();
    let mut values = asked.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value = values.next().unwrap_or_else(|| panic!("no {name} in {answer}"));
    assert_eq!(values.next(), None, "{name} twice in {answer}");
    value
}

/// Everything until the end, however it came.
fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Ok(_) => rest,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest,
        Err(error) => panic!("it does not end: {error}"),
    }
}

const BINARY_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
const BINARY_CLIENT: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc6\x33\x64\x01\x0f\xa0\x00\x50";

#[test]
fn a_proxy_header_says_for_whom_the_connection_is() {
    let house = House::new(behind_a_proxy, mirror);
    for (header, client) in [
        (&b"PROXY TCP4 203.0.113.7 198.51.100.1 4000 80\r\n"[..], "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 80\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 4000 80\r\n", "203.0.113.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (BINARY_CLIENT, "203.0.113.7"),
        (BINARY_LOCAL, "127.0.0.1"),
    ] {
        for bytewise in [false, true] {
            let mut stream = house.client();
            stream.set_nodelay(true).unwrap();
            let step = if bytewise { 1 } else { header.len() };
            header.chunks(step).for_each(|bytes| stream.write_all(bytes).unwrap());
            for _ in 0..2 {
                let answer = ask(&mut stream, "/", "");
                assert_eq!(mirrored(&answer, "X-Forwarded-For"), client);
            }
        }
    }
    assert_eq!(house.count(Counter::Refusal(Reason::ProxyHeader)), 0);
}

#[test]
fn the_header_and_the_request_may_be_one_piece() {
    let house = House::new(behind_a_proxy, mirror);
    let mut stream = house.client();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    stream.write_all(&[BINARY_CLIENT, &request].concat()).unwrap();
    for _ in 0..3 {
        assert_eq!(mirrored(&response(&mut stream), "X-Forwarded-For"), "203.0.113.7");
    }
}

#[test]
fn what_begins_without_a_proxy_header_is_closed_without_a_word() {
    let house = House::new(behind_a_proxy, mirror);
    for (count, beginning) in (1..).zip([
        &b"GET /server HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 203.0.113.7\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x00",
        // These only wait, and nothing comes.
        b"PROXY TCP4",
        b"",
    ]) {
        let mut stream = house.client();
        stream.write_all(beginning).unwrap();
        assert_eq!(rest(&mut stream), b"", "{}", beginning.escape_ascii());
        wait_until("it is not counted", || {
            house.count(Counter::Refusal(Reason::ProxyHeader)) == count
        });
    }
    wait_until("connections stay", || house.shared.connections.open() == 0);
    assert_eq!(house.count(Counter::Refusal(Reason::HeadTimeout)), 0);
}

#[test]
fn a_connection_that_a_proxy_has_ready_may_idle_behind_its_header() {
    let house = House::new(behind_a_proxy, mirror);
    let mut stream = house.client();
    stream.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    // Twice the time that there is for the header: nothing else is awaited now.
    stream.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it is open and silent");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(ask(&mut stream, "/server", "").ends_with("ok"));
}

#[test]
fn who_is_no_trusted_proxy_is_not_heard_at_a_listener_for_proxies() {
    let house = House::new(behind_a_proxy, mirror);
    let mut stream = from(&house, "127.0.0.2");
    // It may be closed before this is written.
    let _ = stream.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.1 4000 80\r\n");
    assert_eq!(rest(&mut stream), b"");
    wait_until("it is not counted", || house.count(Counter::Refusal(Reason::ProxyUntrusted)) == 1);
    wait_until("it stays counted", || house.shared.connections.open() == 0);
}

#[test]
fn only_a_trusted_peer_is_believed_when_it_forwards() {
    let house = House::new(
        |config| config.edge.trusted_proxies = vec!["127.0.0.1".into(), "10.0.0.0/8".into()],
        mirror,
    );
    let fields = "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\nX-Forwarded-For: 10.1.1.1\r\n\
                  X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.test\r\n";
    let answer = ask(&mut from(&house, "127.0.0.1"), "/trusted", fields);
    let chain = "198.51.100.1, 203.0.113.9, 10.1.1.1, 127.0.0.1";
    assert_eq!(mirrored(&answer, "X-Forwarded-For"), chain);
    assert_eq!(mirrored(&answer, "X-Forwarded-Proto"), "https");
    assert_eq!(mirrored(&answer, "X-Forwarded-Host"), "public.test");
    assert_eq!(mirrored(&answer, "Rip-Client"), "203.0.113.9");
    assert_eq!(mirrored(&answer, "Host"), "a");
    let answer = ask(&mut from(&house, "127.0.0.2"), "/other", fields);
    assert_eq!(mirrored(&answer, "X-Forwarded-For"), "127.0.0.2");
    assert_eq!(mirrored(&answer, "X-Forwarded-Proto"), "http");
    assert_eq!(mirrored(&answer, "X-Forwarded-Host"), "a");
    assert!(ask(&mut from(&house, "127.0.0.1"), "/server", fields).ends_with("ok"));
    assert!(ask(&mut from(&house, "127.0.0.1"), "/bad", "X Y: 1\r\n").contains(" 400 "));
    let mut lines = String::new();
    wait_until("an access line is missing", || {
        lines += &house.lines();
        ["/trusted", "/other", "/server", "malformed"].iter().all(|path| lines.contains(path))
    });
    let client = |path: &str| {
        let line = lines.lines().find(|line| line.contains(path)).unwrap();
        ["203.0.113.9", "127.0.0.1", "127.0.0.2"].into_iter().find(|ip| line.contains(ip))
    };
    assert_eq!(client("/trusted"), Some("203.0.113.9"), "{lines}");
    assert_eq!(client("/server"), Some("203.0.113.9"), "{lines}");
    assert_eq!(client("/other"), Some("127.0.0.2"), "{lines}");
    assert_eq!(client("malformed"), Some("127.0.0.1"), "{lines}");
}

#[test]
fn a_client_that_asks_too_often_is_refused_and_told_when_to_come_again() {
    let house = House::new(limited(2), mirror);
    let mut client = house.client();
    for _ in 0..2 {
        let answer = ask(&mut client, "/", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.contains("RateLimit"), "{answer}");
    }
    for accept in ["Accept: application/json\r\n", ""] {
        let answer = ask(&mut client, "/", accept);
        assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
        // Half of what was counted still counts after a window and a half.
        let seconds: u32 = field(&answer, "Retry-After").parse().unwrap();
        assert!((800..=900).contains(&seconds), "{answer}");
        assert_eq!(field(&answer, "RateLimit"), format!("\"default\";r=0;t={seconds}"));
        assert_eq!(field(&answer, "RateLimit-Policy"), "\"default\";q=2;w=600");
        assert_eq!(answer.contains("\"code\":\"rate-limited\""), !accept.is_empty(), "{answer}");
    }
    for path in ["/server", "/status", "/livez", "/readyz", "/healthz"] {
        let answer = ask(&mut client, path, "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path} is not counted: {answer}");
    }
    assert!(ask(&mut client, "/healthz/", "").starts_with("HTTP/1.1 429 "));
    for (client_ip, status) in [("192.0.2.1", "200"), ("192.0.2.2", "200"), ("192.0.2.1", "200")] {
        let fields = format!("X-Forwarded-For: {client_ip}\r\n");
        assert_eq!(&ask(&mut client, "/", &fields)[9..12], status);
    }
    assert_eq!(&ask(&mut client, "/", "X-Forwarded-For: 192.0.2.1\r\n")[9..12], "429");
    let answer = ask(&mut from(&house, "127.0.0.2"), "/", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!(&answer[9..12], "200", "an untrusted one is itself");
    house.turn();
    assert_eq!(house.count(Counter::Refusal(Reason::RateLimited)), 4);
}

#[test]
fn a_refused_body_is_not_taken_for_the_next_request() {
    let house = House::new(limited(1), mirror);
    let mut client = house.client();
    assert!(ask(&mut client, "/", "").contains(" 200 "));
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    client.write_all(b"GET /server HTTP/1.1\r\nHost: a\r\n\r\n\0\0").unwrap();
    assert!(response(&mut client).contains("\r\nConnection: close\r\n"));
    assert_eq!(rest(&mut client), b"");
}

#[test]
fn a_host_that_is_not_served_counts_for_nobody_and_sites_count_for_themselves() {
    let house = House::new(
        |config| {
            limited(1)(config);
            let limit = RateLimit { limit: 2, window: Duration::from_secs(600) };
            config.rate_limits.insert("b.test".to_owned(), limit);
            let mut second = config.routes[0].clone();
            config.routes[0].host = "a.test".to_owned();
            second.host = "b.test".to_owned();
            config.routes.push(second);
        },
        mirror,
    );
    let mut client = house.client();
    for (host, status) in [
        ("x.test", "404"),
        ("x.test", "404"),
        ("a.test", "200"),
        ("a.test", "429"),
        ("x.test", "404"),
        ("b.test", "200"),
        ("B.Test:80", "200"),
        ("b.test", "429"),
    ] {
        client.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        let answer = response(&mut client);
        assert_eq!(&answer[9..12], status, "{host}: {answer}");
    }
}

#[test]
fn another_configuration_keeps_what_was_counted() {
    let house = House::new(limited(2), mirror);
    let mut client = house.client();
    assert!(ask(&mut client, "/", "").contains(" 200 "));
    let old = house.shared.current.load();
    let activate = |version, limit| {
        let mut config = old.config.clone();
        limited(limit)(&mut config);
        config.edge.limits.per_address = Some(1);
        let snapshot = Snapshot::new(version, config, old.pools.clone());
        house.shared.activate(Arc::new(snapshot), 50, Clock::read());
    };
    activate(2, 2);
    assert!(ask(&mut client, "/", "").contains(" 200 "));
    assert!(ask(&mut client, "/", "").contains(" 429 "));
    activate(3, 3);
    assert!(ask(&mut client, "/", "").contains(" 200 "));
    assert!(ask(&mut client, "/", "").contains(" 429 "));
    house.shared.activate(old, 50, Clock::read());
    assert!(ask(&mut client, "/", "").contains(" 429 "), "back again");
}

#[test]
fn a_connection_that_asks_nothing_is_closed_in_silence_and_counted() {
    let house = House::new(|config| config.edge.phases.idle = Duration::from_millis(200), mirror);
    let mut silent = house.client();
    let mut asked = house.client();
    assert!(ask(&mut asked, "/server", "").ends_with("ok"));
    assert_eq!((rest(&mut silent), rest(&mut asked)), (vec![], vec![]));
    wait_until("not counted", || house.count(Counter::Refusal(Reason::IdleTimeout)) == 2);
}

#[test]
fn a_method_that_an_endpoint_of_the_edge_does_not_take_is_told_which_ones_it_does() {
    let house = House::new(|_| {}, mirror);
    let mut client = house.client();
    client.write_all(b"DELETE /server HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let answer = response(&mut client);
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
}
