//! Python apps by the built-in adapter, which needs nothing but the standard library.

use crate::harness::{Setup, eventually};

const VALIDATED: &str = r#"
import sys
from wsgiref.validate import validator

def plain(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    lines = [
        environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"],
        environ.get("CONTENT_TYPE", "-"), environ.get("HTTP_X_MINE", "-"),
        environ["SERVER_PROTOCOL"], environ["wsgi.url_scheme"], environ["REMOTE_ADDR"],
        str(len(body)),
    ]
    text = "\n".join(lines).encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]

application = validator(plain)
"#;

const VARIED: &str = r#"
import os

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        length = int(environ.get("CONTENT_LENGTH") or 0)
        return [environ["wsgi.input"].read(length)] if length else read_all(environ["wsgi.input"])
    if path == "/pieces":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"piece %d\n" % number for number in range(3))
    if path == "/write":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written ")
        return [b"and returned"]
    if path == "/fails":
        raise ValueError("a mistake in the app")
    if path == "/fails-late":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return late()
    if path == "/closes":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return Closing()
    if path == "/headers":
        start_response("200 OK", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"),
                                  ("Content-Length", "0")])
        return []
    if path == "/none":
        start_response("204 No Content", [])
        return []
    if path == "/big":
        start_response("200 OK", [("Content-Length", "3000000")])
        return [b"x" * 3000000]
    if path == "/env":
        text = "%s %s" % (os.environ.get("FROM_DOTENV"), os.environ.get("RIP_WORKER_ID"))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"nothing at " + path.encode("latin-1")]

def read_all(stream):
    while True:
        block = stream.read(65536)
        if not block:
            return
        yield block

def late():
    yield b"first"
    raise ValueError("too late")

class Closing:
    def __iter__(self):
        return iter([b"ok"])
    def close(self):
        print("the answer was closed", flush=True)
"#;

#[test]
fn an_app_under_the_validator_is_served_correctly() {
    let server = Setup::python(VALIDATED).workers(1).start();
    let mut client = server.connect();
    client.request("GET", "/a%20b/%C3%A4?x=1&y=%20", "X-Mine: me\r\n", b"");
    let expected = "GET\n/a b/\u{c3}\u{a4}\nx=1&y=%20\n-\nme\nHTTP/1.1\nhttp\n127.0.0.1\n0";
    let response = client.response();
    assert_eq!(response.status, 200);
    let text: String = response.body.iter().map(|byte| char::from(*byte)).collect();
    assert_eq!(text, expected);
    client.request("POST", "/p", "Content-Type: text/x\r\n", b"body");
    assert_eq!(client.response().text(), "POST\n/p\n\ntext/x\n-\nHTTP/1.1\nhttp\n127.0.0.1\n4");
    assert_eq!(client.ask("HEAD", "/h").status, 200);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        assert!(client.ask(method, "/m").text().starts_with(method));
    }
    assert!(!server.log().contains("AssertionError"), "{}", server.log());
}

#[test]
fn every_way_to_answer_works() {
    let server = Setup::python(VARIED).workers(1).start();
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/pieces").text(), "piece 0\npiece 1\npiece 2\n");
    assert_eq!(client.ask("GET", "/write").text(), "written and returned");
    assert_eq!(client.ask("GET", "/headers").values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(client.ask("GET", "/none").status, 204);
    assert_eq!(client.ask("GET", "/big").body.len(), 3_000_000);
    assert_eq!(client.ask("GET", "/closes").text(), "ok");
    server.wait_for_log("the answer was closed");
    let response = client.ask("GET", "/nowhere");
    assert_eq!((response.status, response.text().as_str()), (404, "nothing at /nowhere"));
}

#[test]
fn bodies_reach_the_app_whole() {
    let server = Setup::python(VARIED).workers(1).start();
    let mut client = server.connect();
    for size in [1, 65_536, 65_537, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|index: u32| index.to_le_bytes()[1]).collect();
        client.request("POST", "/echo", "", &body);
        assert!(client.response().body == body, "{size}");
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(crate::harness::http::chunked(&body, 50_000));
        assert!(client.response().body == body, "{size} in chunks");
    }
}

#[test]
fn a_mistake_in_the_app_is_a_500_with_its_traceback_in_the_log() {
    let server = Setup::python(VARIED).workers(1).start();
    let response = server.get("/fails");
    assert_eq!(response.status, 500);
    assert!(!response.text().contains("ValueError"), "nothing internal reaches the client");
    server.wait_for_log("ValueError: a mistake in the app");
    let mut client = server.connect();
    client.request("GET", "/fails-late", "", b"");
    assert!(client.try_response("GET").map_or(true, |response| response.status == 500));
    assert_eq!(server.get("/pieces").status, 200, "the worker lives");
    assert_eq!(server.ready_workers()[0]["workerId"], 1);
}

#[test]
fn the_environment_beside_the_app_is_read() {
    let server =
        Setup::python(VARIED).with_file(".env", "FROM_DOTENV=\"yes indeed\"\n").workers(1).start();
    assert_eq!(server.get("/env").text(), "yes indeed 1");
}

#[test]
fn an_app_that_cannot_be_imported_never_becomes_ready_and_says_why() {
    let server = Setup::python("raise RuntimeError('there is no database')\n")
        .workers(1)
        .flag("--restart-backoff-ms", 50)
        .flag("--max-restarts", 1)
        .unawaited()
        .start();
    server.wait_for_log("RuntimeError: there is no database");
    server.wait_for_log("worker_abandon");
    assert_eq!(server.get("/").status, 503);
}

#[test]
fn two_workers_serve_at_once() {
    let server = Setup::python(
        "import os, time\ndef application(e, s):\n    time.sleep(0.05)\n    \
         s('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [os.environ['RIP_WORKER_ID'].encode()]\n",
    )
    .workers(2)
    .start();
    server.wait_for_workers(2);
    let mut both = [server.connect(), server.connect()];
    for client in &mut both {
        client.request("GET", "/", "", b"");
    }
    eventually("two in flight", || server.inflight() == 2);
    let mut ids: Vec<_> = both.iter_mut().map(|client| client.response().text()).collect();
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
}
