//! A connection in its stride allocates nothing, and costs the same however its bytes come.

use rip::http1::{
    After, BodyLength, Client, ClientRead, DateCache, ForwardRequest, Limits, Read, RequestHead,
    ResponseHead, ResponseLength, Server, forward_request, forward_response, signals,
};
use rip::time::UnixMillis;

const REQUEST: &[u8] = b"POST /users/./17?tab=all HTTP/1.1\r\nHost: example.test\r\n\
    User-Agent: test\r\nAccept: */*\r\nConnection: keep-alive, x-own\r\nX-Own: a\r\nCookie: a=b\r\n\
    Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nRip-Mark: a\r\n\
    Content-Length: 2\r\nSet-Cookie: c=d\r\n\r\nhi";

/// Everything one loop owns.
struct Loop {
    limits: Limits,
    request: RequestHead,
    response: ResponseHead,
    date: DateCache,
    body: Vec<u8>,
    to_worker: Vec<u8>,
    to_client: Vec<u8>,
}

impl Loop {
    fn new() -> Self {
        Self {
            limits: Limits::default(),
            request: RequestHead::new(),
            response: ResponseHead::new(),
            date: DateCache::new(),
            body: Vec::new(),
            to_worker: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// One request to a worker and its answer back.
    fn exchange(&mut self, server: &mut Server, client: &mut Client, now: UnixMillis) {
        self.body.clear();
        self.to_worker.clear();
        self.to_client.clear();
        let mut input = REQUEST;
        loop {
            match server.read(input, &mut self.request, &self.limits) {
                Ok(Read::Head { consumed }) => {
                    let with = ForwardRequest {
                        request_id: b"req-0123456789ab",
                        client_ip: b"192.0.2.1",
                        proto: "https",
                        proxied: None,
                        received: now,
                        body: BodyLength::Length(5),
                        target: None,
                        keep_alive: true,
                        underscores: false,
                        changes: None,
                        upstream: None,
                    };
                    forward_request(&self.request, input, &with, &mut self.to_worker);
                    input = &input[consumed..];
                }
                Ok(Read::Body { consumed, data }) => {
                    self.body.extend_from_slice(&input[data]);
                    input = &input[consumed..];
                }
                Ok(Read::End { .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        client.request(false);
        let mut input = RESPONSE;
        loop {
            match client.read(input, false, &mut self.response) {
                Ok(ClientRead::Head { consumed }) => {
                    assert!(signals(&self.response, input).mark.is_some());
                    let (status, length) = (self.response.status(), self.response.length());
                    let reason = self.response.reason(input);
                    let mut fields = server.respond(status, reason, length, &mut self.to_client);
                    forward_response(&self.response, input, &mut fields);
                    fields.raw(self.date.line(now));
                    fields.finish();
                    input = &input[consumed..];
                }
                Ok(ClientRead::Body { consumed, data }) => {
                    server.body(&input[data], &mut self.to_client);
                    input = &input[consumed..];
                }
                Ok(ClientRead::End { reusable, .. }) => {
                    assert!(reusable);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(server.end(&mut self.to_client), After::KeepAlive);
        assert!(self.to_client.ends_with(b"\r\n\r\nhi"));
    }
}

#[test]
fn an_exchange_allocates_nothing_once_the_loop_is_warm() {
    let mut warm = Loop::new();
    warm.exchange(&mut Server::new(), &mut Client::new(), UnixMillis(0));
    let counted = allocation_counter::measure(|| {
        // New connections as well as old ones.
        let (mut server, mut client) = (Server::new(), Client::new());
        for turn in 0..100 {
            warm.exchange(&mut server, &mut client, UnixMillis(turn * 700));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn an_answer_of_the_edge_allocates_nothing_however_its_request_is_read() {
    let (mut head, limits, mut date) = (RequestHead::new(), Limits::default(), DateCache::new());
    let mut out = Vec::new();
    let mut answer = |text: &[u8], now| {
        out.clear();
        let mut server = Server::new();
        let read = server.read(text, &mut head, &limits);
        assert_eq!(read, Ok(Read::Head { consumed: text.len() }));
        assert_eq!(server.read(b"", &mut head, &limits), Ok(Read::End { consumed: 0 }));
        let mut fields = server.respond(200, b"", ResponseLength::Known(2), &mut out);
        fields.server();
        fields.raw(date.line(now));
        fields.field(b"X-Request-Id", b"req-0123456789ab");
        fields.finish();
        server.body(b"ok", &mut out);
        assert_eq!(server.end(&mut out), After::KeepAlive);
    };
    // The second one is not of the usual shape: its target is not ASCII.
    let texts = ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"];
    for text in texts {
        answer(text.as_bytes(), UnixMillis(0));
        let counted = allocation_counter::measure(|| {
            for turn in 0..100 {
                answer(text.as_bytes(), UnixMillis(turn * 700));
            }
        });
        assert_eq!(counted.count_total, 0, "{text}");
    }
}

#[test]
fn a_refusal_allocates_nothing_either() {
    let mut head = RequestHead::new();
    let limits = Limits::default();
    let mut out = Vec::with_capacity(4096);
    let counted = allocation_counter::measure(|| {
        let mut server = Server::new();
        let fault = server.read(b"GET / HTTP/1.1\r\n\r\n", &mut head, &limits).unwrap_err();
        let mut fields = server.respond(400, b"", ResponseLength::Unknown, &mut out);
        fields.field(b"A", b"b");
        fields.finish();
        rip::http1::refusal::error_body(fault.reason, b"text/html", b"req-1", &mut out);
        assert_eq!(server.end(&mut out), After::Linger);
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_head_that_drips_in_is_looked_at_about_twice() {
    // A head of the greatest size, byte by byte: were each byte to cost a look at all of them, this
    // would be two thousand million looks, and the test would not end in reasonable time.
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for number in 0..90 {
        text.extend_from_slice(format!("X-{number}: {}\r\n", "y".repeat(700)).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    assert!(text.len() > 60_000 && text.len() < rip::limits::HEAD_BYTES);
    let (mut head, limits) = (RequestHead::new(), Limits::default());
    for _ in 0..20 {
        let mut server = Server::new();
        for end in 1..text.len() {
            assert_eq!(server.read(&text[..end], &mut head, &limits), Ok(Read::More));
        }
        let whole = server.read(&text, &mut head, &limits);
        assert_eq!(whole, Ok(Read::Head { consumed: text.len() }));
    }
}
