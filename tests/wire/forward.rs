//! Which fields pass to a worker and back, as text.

use rip::http1::{
    BodyLength, Client, ClientRead, FieldWriter, ForwardRequest, Limits, Proxied, Read,
    RequestHead, ResponseHead, Server, Signals, ToUpstream, fields::has_passed, forward_request,
    forward_response, signals,
};
use rip::time::UnixMillis;

const WITH: ForwardRequest<'static> = ForwardRequest {
    request_id: b"req-1",
    client_ip: b"192.0.2.1",
    proto: "http",
    proxied: None,
    received: UnixMillis(1_700_000_000_123),
    body: BodyLength::None,
    target: None,
    keep_alive: true,
    underscores: false,
    changes: None,
    upstream: None,
};

const ADDED: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n";

fn forwarded(request: &str, with: &ForwardRequest<'_>) -> String {
    let (mut server, mut head) = (Server::new(), RequestHead::new());
    let read = server.read(request.as_bytes(), &mut head, &Limits::default());
    let Ok(Read::Head { consumed }) = read else { panic!("{request}: {read:?}") };
    let mut out = Vec::new();
    forward_request(&head, &request.as_bytes()[..consumed], with, &mut out);
    String::from_utf8(out).unwrap()
}

fn passed_on(request: &str, with: &ForwardRequest<'_>) -> String {
    let text = forwarded(request, with);
    let end = text.find("X-Forwarded-For: 192.0.2.1").expect("what the edge asserts");
    text[..end].to_owned()
}

#[test]
fn a_request_gets_what_the_edge_asserts() {
    let plain = "GET /a?b HTTP/1.1\r\nHost: h:80\r\nAccept: x\r\n\r\n";
    let expected = format!(
        "GET /a?b HTTP/1.1\r\nHost: h:80\r\nAccept: x\r\n{ADDED}X-Forwarded-Host: h:80\r\n\
         X-Request-Id: req-1\r\nX-Request-Start: t=1700000000123\r\n\r\n"
    );
    assert_eq!(forwarded(plain, &WITH), expected);
    let closing = ForwardRequest { keep_alive: false, body: BodyLength::Length(7), ..WITH };
    let expected =
        expected.replace("123\r\n\r\n", "123\r\nContent-Length: 7\r\nConnection: close\r\n\r\n");
    assert_eq!(forwarded(plain, &closing), expected);
    let chunked = ForwardRequest { body: BodyLength::Chunked, ..WITH };
    let text = forwarded(plain, &chunked);
    assert!(text.ends_with("123\r\nTransfer-Encoding: chunked\r\n\r\n"), "{text}");
    // An HTTP/1.0 request without a host goes on as HTTP/1.1, which must have one.
    let old = forwarded("GET / HTTP/1.0\r\n\r\n", &WITH);
    assert!(old.starts_with("GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For"), "{old}");
    assert!(!old.contains("X-Forwarded-Host"), "{old}");
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_its_own_address_appended() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.9, junk\r\nA: b\r\n\
        X-Forwarded-For:\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: gopher\r\n\r\n";
    let with = ForwardRequest {
        proto: "https",
        proxied: Some(Proxied { host: b"public.example:8443", client_ip: b"203.0.113.9" }),
        ..WITH
    };
    let text = forwarded(request, &with);
    assert!(text.contains(
        "\r\nX-Forwarded-For: 203.0.113.9, junk, 10.0.0.1, 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: public.example:8443\r\nRip-Client: 203.0.113.9\r\n"
    ), "{text}");
    let elsewhere =
        ForwardRequest { upstream: Some(ToUpstream { host: None, pseudonym: b"edge" }), ..with };
    assert!(!forwarded(request, &elsewhere).contains("Rip-Client"));
    assert_eq!(text.matches("X-Forwarded-For").count(), 1);
    assert!(text.contains("\r\nHost: h\r\n"), "{text}");
    let silent = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(forwarded(silent, &with).contains("\r\nX-Forwarded-For: 192.0.2.1\r\n"));
}

#[test]
fn what_is_about_the_connection_or_asserted_by_a_client_does_not_pass() {
    let request = "POST / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Own, close\r\nKeep-Alive: 5\r\n\
        Proxy-Connection: a\r\nTE: trailers\r\nTrailer: T\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\
        Content-Length: 3\r\nExpect: 100-continue\r\nx-own: a\r\nProxy: http://evil\r\nRip-Edge: turn\r\n\
        rip-anything: a\r\nSec-WebSocket-Frame: a\r\nX-Forwarded-For: a\r\nX-FORWARDED-HOST: a\r\n\
        X-Forwarded-Proto: a\r\nX-Request-Id: a\r\nX-Request-Start: a\r\nX_Forwarded_For: a\r\n\
        Cookie: a\r\nCookie: b\r\ntraceparent: 00-1\r\nAuthorization: c\r\nForwarded: for=x\r\n\r\n";
    let expected = "POST / HTTP/1.1\r\nHost: h\r\nCookie: a\r\nCookie: b\r\ntraceparent: 00-1\r\n\
        Authorization: c\r\nForwarded: for=x\r\n";
    assert_eq!(passed_on(request, &WITH), expected);
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n";
    assert_eq!(passed_on(chunked, &WITH), "POST / HTTP/1.1\r\nHost: h\r\nA: b\r\n");
}

#[test]
fn underscores_pass_where_they_are_wanted_but_never_as_a_disguise() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nmy_name: a\r\nX_Forwarded_For: b\r\nRip_Edge: turn\r\n\
        Content_Length: 9\r\nrip_a_very_long_name_indeed_it_is: c\r\na_very_long_name_indeed_it_is: d\r\n\r\n";
    let with = ForwardRequest { underscores: true, ..WITH };
    assert_eq!(
        passed_on(request, &with),
        "GET / HTTP/1.1\r\nHost: h\r\nmy_name: a\r\na_very_long_name_indeed_it_is: d\r\n"
    );
    assert_eq!(passed_on(request, &WITH), "GET / HTTP/1.1\r\nHost: h\r\n");
}

#[test]
fn targets_go_on_as_what_was_routed() {
    for (target, line) in [
        ("/a%2Fb//c?d=../e", "/a%2Fb//c?d=../e"),
        ("/a/./b/%2E%2e/c?d", "/a/c?d"),
        ("http://other:1/a/../b?c", "/b?c"),
        ("http://other:1", "/"),
    ] {
        let text = forwarded(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"), &WITH);
        assert!(text.starts_with(&format!("GET {line} HTTP/1.1\r\n")), "{target}: {text}");
        let host = if target.starts_with("http") { "other:1" } else { "h" };
        assert!(text.contains(&format!("\r\nHost: {host}\r\n")), "{target}: {text}");
        assert!(text.contains(&format!("\r\nX-Forwarded-Host: {host}\r\n")), "{target}: {text}");
    }
    let with = ForwardRequest { target: Some(b"/other"), ..WITH };
    let text = forwarded("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", &with);
    assert!(text.starts_with("GET /other HTTP/1.1\r\n"), "{text}");
}

fn answered(response: &str) -> (String, Signals) {
    let (mut client, mut head) = (Client::new(), ResponseHead::new());
    client.request(false);
    let read = client.read(response.as_bytes(), false, &mut head);
    let Ok(ClientRead::Head { consumed }) = read else { panic!("{response}: {read:?}") };
    let buf = &response.as_bytes()[..consumed];
    let mut out = Vec::new();
    let mut fields = FieldWriter::new(&mut out);
    forward_response(&head, buf, &mut fields);
    fields.finish();
    (String::from_utf8(out).unwrap(), signals(&head, buf))
}

#[test]
fn an_answer_passes_without_what_is_internal() {
    let (text, _) = answered(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: X-Own\r\nX-Own: a\r\n\
         Keep-Alive: 5\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\nUpgrade: a\r\nRip-Mark: a\r\n\
         RIP-Anything: a\r\nServer: app\r\nDate: then\r\nX-Request-Id: app\r\nSet-Cookie: a\r\n\
         Set-Cookie: b\r\nX_Y: z\r\n\r\n",
    );
    assert_eq!(text, "Content-Type: text/html\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX_Y: z\r\n\r\n");
}

#[test]
fn workers_tell_the_edge_by_fields() {
    let told = |status: &str, fields: &str| {
        answered(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{fields}\r\n")).1
    };
    let nothing = Signals::default();
    assert_eq!(told("200", ""), nothing);
    assert_eq!(told("503", "Rip-Worker-Busy: 1\r\n"), Signals { busy: true, ..nothing });
    assert_eq!(told("200", "Rip-Worker-Busy: 1\r\n"), nothing);
    assert_eq!(told("503", "Rip-Worker-Busy: 0\r\n"), nothing);
    assert_eq!(told("200", "rip-worker-draining: 1\r\n"), Signals { draining: true, ..nothing });
    assert_eq!(told("200", "Rip-No-Log: 1\r\n"), Signals { no_log: true, ..nothing });
    assert!(told("200", "Rip-Mark: slow\r\n").mark.is_some());
    for streamed in [
        "Content-Type: text/event-stream\r\n",
        "Content-Type: Text/Event-Stream; charset=utf-8\r\n",
        "Content-Type: application/x-ndjson\r\n",
        "X-Accel-Buffering: no\r\n",
    ] {
        assert_eq!(told("200", streamed), Signals { unbuffered: true, ..nothing }, "{streamed}");
    }
    assert_eq!(told("200", "Content-Type: text/plain\r\nX-Accel-Buffering: yes\r\n"), nothing);
}

#[test]
fn a_server_that_is_not_ours_is_told_who_passes_the_request_on() {
    let upstream = ToUpstream { host: Some(b"inside"), pseudonym: b"rip-1" };
    let with = ForwardRequest { upstream: Some(upstream), ..WITH };
    let asked = "GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 other\r\n\r\n";
    let text = forwarded(asked, &with);
    assert!(text.starts_with("GET / HTTP/1.1\r\nHost: inside\r\nVia: 1.1 other\r\n"), "{text}");
    assert!(text.contains("X-Forwarded-Host: h\r\n"), "{text}");
    assert!(text.ends_with("Via: 1.1 rip-1\r\n\r\n"), "{text}");
    let kept = ToUpstream { host: None, ..upstream };
    let text = forwarded(
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        &ForwardRequest { upstream: Some(kept), ..WITH },
    );
    assert!(text.contains("Host: h\r\n") && text.contains("Via: 1.0 rip-1\r\n"), "{text}");
}

#[test]
fn a_request_that_was_here_before_is_known_by_its_via() {
    let passed = |via: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{via}\r\n");
        let (mut server, mut head) = (Server::new(), RequestHead::new());
        let read = server.read(request.as_bytes(), &mut head, &Limits::default());
        assert!(matches!(read, Ok(Read::Head { .. })), "{read:?}");
        has_passed(&head, request.as_bytes(), b"rip-1")
    };
    for via in [
        "Via: 1.1 rip-1\r\n",
        "Via: 1.0 a, 1.1 RIP-1 (mine), 1.1 b\r\n",
        "Via: 1.0 a\r\nvia: HTTP/1.1\trip-1\r\n",
        "Connection: via\r\nVia: 1.1 rip-1\r\n",
    ] {
        assert!(passed(via), "{via}");
    }
    for via in [
        "",
        "Via: 1.1 rip-2\r\n",
        "Via: rip-1\r\n",
        "Via: 1.1 a (rip-1)\r\n",
        "X-Via: 1.1 rip-1\r\n",
    ] {
        assert!(!passed(via), "{via}");
    }
}
