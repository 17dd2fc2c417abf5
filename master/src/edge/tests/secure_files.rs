//! Files, streams of changes and the server's end, for clients behind TLS.

use super::secure::{Client, connect, ends, secure};
use super::*;
use crate::shared::mail::Farewell;
use crate::sys::test_dir::TestDir;
use rip::contract::route::{RouteAction, RouteRule, StaticFiles};

/// A house that serves `content` as `big`, and half a kilobyte of text as `small`.
fn site(content: &[u8], adjust: impl FnOnce(&mut Config)) -> (House, TestDir) {
    let dir = TestDir::make();
    std::fs::write(dir.path().join("big"), content).unwrap();
    std::fs::write(dir.path().join("big.txt"), content).unwrap();
    std::fs::write(dir.path().join("small"), [b's'; 512]).unwrap();
    let files = StaticFiles {
        dir: dir.path().to_str().unwrap().to_owned(),
        index: "index.html".to_owned(),
        spa_fallback: None,
        browse: false,
        dotfiles: false,
        cache_control: None,
    };
    let house = secure(
        |config| {
            config.routes = vec![RouteRule::new("*", "/*", RouteAction::Static(files))];
            adjust(config);
        },
        |_, _| {},
    );
    (house, dir)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 251) as u8).collect()
}

fn ask(client: &mut Client, path: &str, fields: &str) {
    let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    client.write_all(ask.as_bytes()).unwrap();
}

fn body(client: &mut Client) -> Vec<u8> {
    let head = head(client).expect("an answer");
    let length = head.split("Content-Length: ").nth(1).expect("a length");
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    client.read_exact(&mut body).unwrap();
    body
}

#[test]
fn files_of_every_size_and_parts_of_them_are_sent() {
    let content = pattern(3_000_000);
    let (house, _dir) = site(&content, |_| {});
    let mut client = connect(&house);
    for _ in 0..3 {
        ask(&mut client, "/small", "");
        assert_eq!(body(&mut client), [b's'; 512]);
        ask(&mut client, "/big", "");
        assert!(body(&mut client) == content);
        for (first, last) in [(0, 0), (5, 70_000), (16_000, 2_999_999), (2_999_999, 2_999_999)] {
            ask(&mut client, "/big", &format!("Range: bytes={first}-{last}\r\n"));
            assert!(body(&mut client) == content[first..=last], "{first}-{last}");
        }
        ask(&mut client, "/big", "Range: bytes=1-2,1000000-1200000\r\n");
        let parts = body(&mut client);
        let has = |part: &[u8]| parts.windows(part.len()).any(|window| window == part);
        assert!(has(b"Content-Range: bytes 1-2/3000000\r\n"));
        assert!(has(&content[1_000_000..=1_200_000]));
    }
    // One behind the other, without waiting.
    for _ in 0..5 {
        ask(&mut client, "/big", "Range: bytes=0-99999\r\n");
        ask(&mut client, "/small", "");
    }
    for _ in 0..5 {
        assert!(body(&mut client) == content[..100_000]);
        assert_eq!(body(&mut client).len(), 512);
    }
}

#[test]
fn a_file_is_compressed_on_its_way() {
    let content = pattern(500_000);
    let (house, _dir) = site(&content, |_| {});
    let mut client = connect(&house);
    ask(&mut client, "/big.txt", "Accept-Encoding: gzip\r\nConnection: close\r\n");
    let head = head(&mut client).unwrap();
    assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
    let mut chunked = Vec::new();
    client.read_to_end(&mut chunked).unwrap();
    assert!(chunked.ends_with(b"0\r\n\r\n") && chunked.len() < content.len() / 10);
}

#[test]
fn a_file_that_shrinks_is_not_padded_and_does_not_look_whole() {
    let content = pattern(40_000_000);
    let (house, dir) = site(&content, |_| {});
    let mut client = connect(&house);
    ask(&mut client, "/big", "");
    head(&mut client).unwrap();
    let file = std::fs::File::options().write(true).open(dir.path().join("big")).unwrap();
    file.set_len(0).unwrap();
    let mut body = Vec::new();
    client.read_to_end(&mut body).unwrap_err();
    assert!(content.starts_with(&body) && body.len() < content.len());
    wait_until("the connection stays", || house.shared.connections.open() == 0);
    assert_eq!(house.count(Counter::Refusal(Reason::FileFailed)), 1);
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let (house, _dir) = site(&pattern(30_000_000), |config| {
        config.edge.phases.write = Duration::from_millis(300);
    });
    let mut client = connect(&house);
    ask(&mut client, "/big", "");
    wait_until("it is never let go", || house.count(Counter::Refusal(Reason::WriteTimeout)) == 1);
    client.read_to_end(&mut Vec::new()).unwrap_err();
}

#[test]
fn changes_are_told_and_the_end_of_the_server_is_said() {
    let house = secure(|_| {}, |_, _| {});
    house.shared.pages.register("/p".into());
    let mut stream = connect(&house);
    ask(&mut stream, "/p/watch", "");
    assert!(head(&mut stream).unwrap().contains("text/event-stream"));
    let mut idle = connect(&house);
    ask(&mut idle, "/server", "");
    body(&mut idle);
    let mut silent = house.client();
    let edges = house.edges.lock().unwrap();
    let edges = edges.as_ref().unwrap();
    edges.tell_of_changes(&"/p".into(), false);
    let mut told = String::new();
    while !told.contains("data: page") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        told.push(char::from(byte[0]));
    }
    edges.drain(Farewell::until(Clock::read() + Duration::from_millis(200)));
    stream.read_to_string(&mut told).unwrap();
    assert!(told.contains("retry: 1000"), "{told}");
    ends(&mut idle);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "a client that never spoke is waited for");
    wait_until("a connection stays", || house.shared.connections.open() == 0);
}
