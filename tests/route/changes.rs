//! Header changes on their way: in what a worker gets, and in what a client gets.

use crate::rules::{headers, rule};
use rip::contract::route::{HeaderChanges, HeaderRules, RouteAction, RouteRule};
use rip::http1::{
    BodyLength, Changes, Client, ClientRead, ForwardRequest, Limits, Read, RequestHead,
    ResponseHead, Server, forward_request, forward_response,
};
use rip::route::{Found, Headers, Scratch, Table};
use rip::time::UnixMillis;

fn changes(set: &[(&str, &str)], remove: &[&str]) -> HeaderChanges {
    HeaderChanges {
        set: set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        remove: remove.iter().map(|name| (*name).into()).collect(),
    }
}

fn to_worker(request: &str, changes: Option<&dyn Changes>) -> String {
    let (mut server, mut head) = (Server::new(), RequestHead::new());
    server.read(request.as_bytes(), &mut head, &Limits::default()).unwrap();
    let with = ForwardRequest {
        request_id: b"req-1",
        client_ip: b"192.0.2.1",
        proto: "http",
        proxied: None,
        received: UnixMillis(7),
        body: BodyLength::Length(2),
        target: None,
        keep_alive: true,
        underscores: true,
        changes,
        upstream: None,
    };
    let mut out = Vec::new();
    forward_request(&head, request.as_bytes(), &with, &mut out);
    String::from_utf8(out).unwrap()
}

fn to_client(response: &str, changes: Option<&dyn Changes>) -> String {
    let (mut server, mut client) = (Server::new(), Client::new());
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let read = server.read(request, &mut RequestHead::new(), &Limits::default());
    assert_eq!(read, Ok(Read::Head { consumed: request.len() }));
    client.request(false);
    let mut head = ResponseHead::new();
    let read = client.read(response.as_bytes(), false, &mut head);
    assert_eq!(read, Ok(ClientRead::Head { consumed: response.len() }));
    let mut out = Vec::new();
    let answer = server.respond(head.status(), b"", head.length(), &mut out);
    let mut answer = answer.changed_by(changes);
    answer.server();
    answer.raw(b"Date: today\r\n");
    answer.field(b"X-Request-Id", b"req-1");
    forward_response(&head, response.as_bytes(), &mut answer);
    answer.finish();
    String::from_utf8(out).unwrap()
}

const REQUEST: &str = "POST / HTTP/1.1\r\nHost: a\r\nX-User: root\r\nx_user: root\r\nCookie: c\r\n\
    Accept: d\r\nContent-Length: 2\r\n\r\n";

#[test]
fn a_worker_gets_what_the_operator_sets_and_not_what_a_client_says_of_that_name() {
    let own = HeaderRules {
        request: changes(&[("X-User", "nobody"), ("Content-Length", "9")], &["cookie", "Host"]),
        ..HeaderRules::default()
    };
    let table = Headers::new(&[RouteRule { headers: Some(own), ..rule("*/*") }]);
    let all = table.request(&[0]).unwrap();
    assert_eq!(
        to_worker(REQUEST, Some(&all)),
        "POST / HTTP/1.1\r\nHost: a\r\nAccept: d\r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\
         X-Request-Id: req-1\r\nX-Request-Start: t=7\r\nX-User: nobody\r\nContent-Length: 2\r\n\r\n"
    );
    let plain = to_worker(REQUEST, None);
    assert!(plain.contains("X-User: root\r\nx_user: root\r\nCookie: c\r\n"), "{plain}");
}

#[test]
fn a_client_gets_what_the_operator_sets_and_framing_stays() {
    let response = "HTTP/1.1 200 OK\r\nX-Powered-By: x\r\nX-Frame-Options: ALLOW\r\nServer: y\r\n\
        Set-Cookie: c\r\nContent-Length: 3\r\n\r\n";
    let own = HeaderRules {
        response: changes(
            &[("X-Frame-Options", "DENY"), ("Date", "never"), ("X-Request-Id", "z")],
            &["x-powered-by", "server", "content-length", "Connection"],
        ),
        ..HeaderRules::default()
    };
    let table = Headers::new(&[RouteRule { headers: Some(own), ..rule("*/*") }]);
    let all = table.response(&[0]).unwrap();
    assert_eq!(
        to_client(response, Some(&all)),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: today\r\nX-Request-Id: req-1\r\n\
         Set-Cookie: c\r\nX-Frame-Options: DENY\r\n\r\n"
    );
    let plain = to_client(response, None);
    assert!(plain.contains("Server: rip-master\r\n") && plain.contains("ALLOW"), "{plain}");
    assert!(!plain.contains("Server: y"), "{plain}");
}

#[test]
fn the_most_specific_rule_has_the_last_word_and_the_winner_the_very_last() {
    let only = |id: &str, set: &[(&str, &str)]| {
        let own = HeaderRules { response: changes(set, &[]), ..HeaderRules::default() };
        RouteRule { action: RouteAction::Headers(own), ..headers(id) }
    };
    let own = HeaderRules { response: changes(&[("C", "win")], &[]), ..HeaderRules::default() };
    let set = [
        only("a/x/*", &[("A", "specific"), ("B", "specific"), ("C", "specific")]),
        only("*/*", &[("A", "any"), ("D", "any")]),
        only("*/x/y", &[("B", "exact"), ("A", "exact")]),
        RouteRule { headers: Some(own), ..rule("*/*") },
    ];
    let table = Table::new(&set);
    let (mut scratch, mut list) = (Scratch::new(), Vec::new());
    let found = table.find(b"a", b"/x/y", b"GET", &mut scratch);
    let Found::Rule(winner) = found else { panic!("{found:?}") };
    table.headers().collect(scratch.headers(), Some(winner), &mut list);
    assert_eq!(list, [1, 2, 0, 3]);
    let mut out = Vec::new();
    table.headers().response(&list).unwrap().write(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "D: any\r\nA: specific\r\nB: specific\r\nC: win\r\n");
}

#[test]
fn changes_allocate_nothing() {
    let own = changes(&[("X-User", "nobody")], &["Cookie"]);
    let own = HeaderRules { request: own.clone(), response: own };
    let table = Headers::new(&[RouteRule { headers: Some(own), ..rule("*/*") }]);
    let (mut list, mut out) = (Vec::with_capacity(4), Vec::with_capacity(4096));
    let counted = allocation_counter::measure(|| {
        table.collect(&[], Some(0), &mut list);
        for all in [table.request(&list), table.response(&list)] {
            let all = all.unwrap();
            assert!(all.touch(b"COOKIE"));
            all.write(&mut out);
        }
    });
    assert_eq!(counted.count_total, 0);
}
