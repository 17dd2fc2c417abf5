//! A slow client is given so much time and no more, phase by phase.

use crate::harness::{Setup, eventually};
use std::time::{Duration, Instant};

#[test]
fn a_head_that_does_not_arrive_in_time_is_408() {
    let server = Setup::builtin("hello").workers(1).flag("--head-timeout-ms", 300).start();
    let mut client = server.connect();
    client.send("GET / HT");
    let begin = Instant::now();
    let response = client.response();
    assert_eq!(response.status, 408);
    assert!(response.says_close());
    assert!(client.closes());
    assert!(begin.elapsed() >= Duration::from_millis(250));
}

#[test]
fn single_bytes_do_not_prolong_the_time_for_a_head() {
    let server = Setup::builtin("hello").workers(1).flag("--head-timeout-ms", 400).start();
    let mut client = server.connect();
    let begin = Instant::now();
    client.patience(Duration::from_millis(50));
    let mut bytes = "GET / HTTP/1.1\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'z'));
    let response = loop {
        if client.try_send([bytes.next().unwrap()]).is_err() {
            break None;
        }
        if let Ok(response) = client.try_response("GET") {
            break Some(response);
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "still open");
    };
    assert!(response.is_none_or(|response| response.status == 408));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_new_connection_that_stays_silent_is_closed_in_silence() {
    let server = Setup::builtin("hello")
        .workers(1)
        .flag("--head-timeout-ms", 300)
        .flag("--idle-timeout-ms", 300)
        .start();
    let mut client = server.connect();
    assert!(client.closes(), "no 408 before the first byte");
}

#[test]
fn an_idle_connection_is_closed_in_silence() {
    let server = Setup::builtin("hello").workers(1).flag("--idle-timeout-ms", 300).start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/").status, 200);
    let begin = Instant::now();
    assert!(client.closes(), "no 408 after an answer");
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/").status, 200);
    client.send("G");
    client.send("ET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_second_head_is_timed_from_its_own_first_byte() {
    let server = Setup::builtin("hello").workers(1).flag("--head-timeout-ms", 300).start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/").status, 200);
    assert!(client.is_silent_for(Duration::from_millis(500)), "idle is no head");
    client.send("G");
    assert_eq!(client.response().status, 408);
    assert!(client.closes());
}

#[test]
fn a_body_that_stalls_is_408_and_no_worker_sees_it() {
    let server = Setup::recorder().workers(1).flag("--body-timeout-ms", 300).start();
    let mut client = server.connect();
    client.send("POST /stall HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc");
    let response = client.response();
    assert_eq!(response.status, 408);
    assert!(client.closes());
    assert_eq!(server.get("/after").status, 200);
    assert!(!server.has_seen("/stall"));
}

#[test]
fn a_body_that_keeps_coming_is_not_timed_out() {
    let server = Setup::recorder().workers(1).flag("--body-timeout-ms", 400).start();
    let mut client = server.connect();
    client.send("POST /slow?echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\n");
    for byte in b"bytewise" {
        assert!(client.is_silent_for(Duration::from_millis(120)));
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "bytewise");
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let server = Setup::recorder().workers(1).flag("--write-timeout-ms", 300).start();
    let mut client = server.connect();
    client.request("GET", "/big?size=30000000", "", b"");
    assert_eq!(client.head().status, 200);
    eventually("the worker's capacity", || server.inflight() == 0);
    assert!(client.exactly(30_000_000).is_err(), "the rest was not sent");
    server.wait_for_log("write-timeout");
    assert_eq!(server.get("/after").status, 200);
}

#[test]
fn a_client_that_takes_its_answer_slowly_but_steadily_gets_it_all() {
    let server = Setup::recorder().workers(1).flag("--write-timeout-ms", 2000).start();
    let mut client = server.connect();
    client.request("GET", "/big?size=30000000", "", b"");
    assert_eq!(client.head().status, 200);
    for _ in 0..10 {
        client.exactly(3_000_000).expect("the next part");
        crate::harness::within(Duration::from_millis(300), || None::<()>);
    }
}

#[test]
fn an_early_answer_is_readable_although_its_body_was_not_read() {
    let server = Setup::builtin("hello").workers(1).flag("--max-body", 1000).start();
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 200000\r\n\r\n");
        let _ = client.try_send(vec![b'x'; 200_000]);
        let response = client.response();
        assert_eq!(response.status, 413);
        assert!(response.says_close());
    }
}
