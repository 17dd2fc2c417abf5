//! What exceeds a limit is refused by its name, and nothing of it reaches a worker.

use crate::harness::http::chunked;
use crate::harness::{Setup, eventually};
use std::time::Duration;

#[test]
fn a_head_over_64_kib_is_431() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    let value = "v".repeat(7_000);
    let fields: String = (0..9).map(|n| format!("X-{n}: {value}\r\n")).collect();
    client.request("GET", "/fits", &fields, b"");
    assert_eq!(client.response().status, 200);

    let fields: String = (0..10).map(|n| format!("X-{n}: {value}\r\n")).collect();
    client.request("GET", "/over", &fields, b"");
    let response = client.response();
    assert_eq!(response.status, 431);
    assert!(response.says_close());
    assert!(client.closes());
    assert!(!server.has_seen("/over"));
}

#[test]
fn a_head_of_more_than_100_fields_is_431() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    let fields: String = (0..99).map(|n| format!("X-{n}: 1\r\n")).collect();
    client.request("GET", "/fits", &fields, b"");
    assert_eq!(client.response().status, 200);
    client.request("GET", "/over", &format!("{fields}X-more: 1\r\n"), b"");
    assert_eq!(client.response().status, 431);
    assert!(!server.has_seen("/over"));
}

#[test]
fn a_target_over_8_kib_is_414() {
    let server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    let fits = format!("/{}", "f".repeat(8 * 1024 - 1));
    client.request("GET", &fits, "", b"");
    assert_eq!(client.response().status, 200);
    client.request("GET", &format!("{fits}o"), "", b"");
    assert_eq!(client.response().status, 414);
    assert!(client.closes());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_body_known_to_be_too_large_is_413_before_it_is_read() {
    let server = Setup::recorder().workers(1).flag("--max-body", 1000).start();
    let mut client = server.connect();
    client.send("POST /fits?echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n");
    client.send([b'x'; 1000]);
    assert_eq!(client.response().body.len(), 1000);
    client.send("POST /over HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n");
    client.send("Expect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.informational.is_empty(), "the body is not asked for");
    assert!(client.closes());
    assert!(!server.has_seen("/over"));
}

#[test]
fn a_body_found_to_be_too_large_is_413_and_the_connection_closes() {
    let server = Setup::recorder().workers(1).flag("--max-body", 1000).start();
    let mut client = server.connect();
    let head = "HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("POST /fits?echo {head}"));
    client.send(chunked(&[b'x'; 1000], 100));
    assert_eq!(client.response().body.len(), 1000);
    client.send(format!("POST /over {head}"));
    client.send(chunked(&[b'x'; 1001], 100));
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.says_close());
    assert!(client.closes());
    assert!(!server.has_seen("/over"));
}

#[test]
fn at_the_cap_of_connections_the_next_client_waits_and_is_then_served() {
    let server = Setup::builtin("hello").workers(1).flag("--max-connections", 10).start();
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("GET", "/server").status, 200);
    }
    let mut next = server.connect();
    next.request("GET", "/server", "", b"");
    assert!(next.is_silent_for(Duration::from_millis(300)), "beyond the cap");
    clients.truncate(8);
    assert_eq!(next.response().status, 200, "served below nine tenths");
}

#[test]
fn the_cap_per_address_does_not_bind_this_machine() {
    let server =
        Setup::builtin("hello").workers(1).flag("--max-connections-per-address", 2).start();
    let mut clients: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("GET", "/server").status, 200);
    }
}

#[test]
fn connections_that_end_give_their_descriptors_back() {
    let server = Setup::builtin("hello").workers(1).start();
    assert_eq!(server.get("/").status, 200);
    let count = || crate::harness::processes::descriptor_count(server.pid());
    let before = count();
    for turn in 0..200 {
        let mut client = server.connect();
        client.request("GET", "/", "", b"");
        match turn % 3 {
            0 => drop(client.response()),
            1 => client.reset(),
            _ => drop(client),
        }
    }
    eventually("the descriptors of ended connections", || count() <= before + 2);
}
