//! Heads and bodies: read, written, passed on.

use crate::Core;
use rip::http1::{
    BodyLength, Client, ClientRead, DateCache, ForwardRequest, Limits, Read, RequestHead,
    ResponseHead, ResponseLength, Server, forward_request, forward_response, signals,
};
use rip::time::UnixMillis;
use std::hint::black_box;

const SMALL: &[u8] = b"GET /server HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
/// What `fast-browser` of `scripts/bench` sends.
const BROWSER: &[u8] = b"GET /server HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/126.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cache-Control: max-age=0\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
    0123456789abcdef0123456789abcdef0123456789abcdef; theme=dark; consent=all; _ga=GA1.1.1.1\r\n\
    Referer: http://127.0.0.1/some/page?with=a&query=string\r\n\
    Sec-Ch-Ua: \"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\"\r\n\
    Sec-Ch-Ua-Mobile: ?0\r\nSec-Ch-Ua-Platform: \"Linux\"\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-User: ?1\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";
const CHUNKED: &[u8] = b"POST /users/17?tab=all HTTP/1.1\r\nHost: example.test\r\n\
    User-Agent: test\r\nAccept: */*\r\nContent-Type: application/json\r\n\
    Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n, core\r\n0\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 2\r\n\r\nok";
const APP_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\
    Set-Cookie: session=0123456789abcdef; Path=/; HttpOnly; SameSite=Lax\r\nVary: Cookie\r\n\
    X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\nServer: app\r\n\r\nok";
const NOW: UnixMillis = UnixMillis(1_700_000_000_123);

pub fn cores() -> Vec<Core> {
    let mut cores = Vec::new();
    for (name, text) in [
        ("read a small request", SMALL),
        ("read a browser's request, 1 KB", BROWSER),
        ("read a chunked POST, head and body", CHUNKED),
    ] {
        let (mut head, limits) = (RequestHead::new(), Limits::default());
        cores.push(Core::new("http1", name, move || {
            read_request(&mut Server::new(), text, &mut head, &limits);
        }));
    }
    for (name, text) in [("read a short answer", ANSWER), ("read an app's answer", APP_ANSWER)] {
        let mut head = ResponseHead::new();
        cores.push(Core::new("http1", name, move || {
            read_answer(&mut Client::new(), text, &mut head);
        }));
    }
    let (mut date, mut out) = (DateCache::new(), Vec::new());
    cores.push(Core::new("http1", "write an answer of the edge", move || {
        out.clear();
        let mut server = black_box(Server::new());
        let mut fields = server.respond(200, b"", ResponseLength::Known(2), &mut out);
        fields.server();
        fields.raw(date.line(NOW));
        fields.field(b"Content-Type", b"text/plain; charset=utf-8");
        fields.field(b"X-Request-Id", b"req-0123456789ab");
        fields.finish();
        server.body(b"ok", &mut out);
        black_box((server.end(&mut out), &mut out));
    }));
    for (name, text) in [("small", SMALL), ("browser's", BROWSER)] {
        let mut head = RequestHead::new();
        let mut out = Vec::new();
        read_request(&mut Server::new(), text, &mut head, &Limits::default());
        cores.push(Core::new("http1", format!("write a {name} request for a worker"), move || {
            out.clear();
            forward_request(black_box(&head), text, &to_worker(), &mut out);
            black_box(&mut out);
        }));
    }
    let (mut head, mut out) = (ResponseHead::new(), Vec::new());
    read_answer(&mut Client::new(), APP_ANSWER, &mut head);
    let mut date = DateCache::new();
    cores.push(Core::new("http1", "write an app's answer for a client", move || {
        out.clear();
        write_answer(&mut Server::new(), black_box(&head), APP_ANSWER, &mut date, &mut out);
        black_box(&mut out);
    }));
    for (name, request, answer) in [
        ("a small request through a worker, all of it", SMALL, ANSWER),
        ("a browser's request through a worker, all of it", BROWSER, APP_ANSWER),
    ] {
        let (mut server, mut client) = (Server::new(), Client::new());
        let (mut head, mut back, limits) =
            (RequestHead::new(), ResponseHead::new(), Limits::default());
        let (mut to_worker_bytes, mut out) = (Vec::new(), Vec::new());
        let mut date = DateCache::new();
        cores.push(Core::new("http1", name, move || {
            to_worker_bytes.clear();
            out.clear();
            read_request(&mut server, request, &mut head, &limits);
            forward_request(&head, request, &to_worker(), &mut to_worker_bytes);
            read_answer(&mut client, answer, &mut back);
            write_answer(&mut server, &back, answer, &mut date, &mut out);
            server.body(b"ok", &mut out);
            black_box((server.end(&mut out), &mut to_worker_bytes, &mut out));
        }));
    }
    cores
}

fn read_request(server: &mut Server, text: &[u8], head: &mut RequestHead, limits: &Limits) {
    let mut input = black_box(text);
    loop {
        match server.read(input, head, limits) {
            Ok(Read::Head { consumed }) => input = &input[consumed..],
            Ok(Read::Body { consumed, data }) => {
                black_box(&input[data]);
                input = &input[consumed..];
            }
            Ok(Read::End { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
}

fn read_answer(client: &mut Client, text: &[u8], head: &mut ResponseHead) {
    let mut input = black_box(text);
    client.request(false);
    loop {
        match client.read(input, false, head) {
            Ok(ClientRead::Head { consumed }) => input = &input[consumed..],
            Ok(ClientRead::Body { consumed, data }) => {
                black_box(&input[data]);
                input = &input[consumed..];
            }
            Ok(ClientRead::End { .. }) => break,
            other => panic!("{other:?}"),
        }
    }
}

fn to_worker() -> ForwardRequest<'static> {
    ForwardRequest {
        request_id: b"req-0123456789ab",
        client_ip: b"192.0.2.1",
        proto: "https",
        proxied: None,
        received: NOW,
        body: BodyLength::None,
        target: None,
        keep_alive: true,
        underscores: false,
        changes: None,
        upstream: None,
    }
}

fn write_answer(
    server: &mut Server,
    head: &ResponseHead,
    buf: &[u8],
    date: &mut DateCache,
    out: &mut Vec<u8>,
) {
    black_box(signals(head, buf));
    let mut fields = server.respond(head.status(), head.reason(buf), head.length(), out);
    forward_response(head, buf, &mut fields);
    fields.server();
    fields.raw(date.line(NOW));
    fields.field(b"X-Request-Id", b"req-0123456789ab");
    fields.finish();
}
