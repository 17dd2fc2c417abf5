//! What every app of every framework does behind the server: the same requests, the same answers.
//!
//! The apps are in `apps/frameworks`. Each is written as a newcomer to its framework would, with
//! nothing of this project in it, and serves:
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | HTML with `<h1>Hello</h1>` |
//! | `GET /greet?name=…` | text `Hello …` |
//! | `GET /path/…/x` | the segment, as text |
//! | `POST /form` `name` `colour` | 303 to `/form?name=…&colour=…`, whose answer is text `… likes …` |
//! | `POST /upload` `file` `note` | JSON `name` `size` `sha256` `note` |
//! | `POST /echo` | the body, with its content type |
//! | `PUT` `DELETE` `PATCH` `/method` | the method, as text |
//! | `GET /download` | attachment `numbers.bin`: 1 MiB of `index * 7 % 256` |
//! | `GET /stream` | text `line 1` to `line 5`, 100 ms apart, of no known length |
//! | `GET /events` | three events |
//! | `GET /cookie` | cookies `a=1` and `b=2` |
//! | `GET /session` | the number of this session's visits, as text |
//! | `GET /about` | JSON `scheme` `host` `client` `path` `query` `userAgent` |
//! | `GET /error` | the app raises: 500, and the trace in the log |
//! | `GET /missing` | the framework's own 404 |
//! | `GET /who` | the process's id, as text |
//! | WebSocket `/ws` | what was said; the close code 4001 for `bye` |

mod bodies;
mod flow;

use super::http::{Client, Response};
use super::server::Server;
use super::websocket::{BINARY, Socket};

/// What is asked of a framework's app beyond what all of them can.
#[derive(Clone, Copy, Debug)]
pub struct Can {
    /// It has `/form` and `/upload`.
    pub forms: bool,
    /// It has `/events`.
    pub events: bool,
    /// It has `/session`.
    pub session: bool,
    /// It has `/ws`.
    pub websocket: bool,
    /// It sees scheme and address of the client, and not of the edge.
    pub origin: bool,
    /// What the log holds once `/error` was asked, and not before.
    pub trace: &'static str,
}

impl Can {
    /// Everything but WebSockets.
    pub const fn web(trace: &'static str) -> Self {
        Self { forms: true, events: true, session: true, websocket: false, origin: true, trace }
    }
}

/// Asks an app everything, then ends it. It has two workers that each take one request at a time.
///
/// # Panics
/// At the first answer that is not as it must be.
#[track_caller]
pub fn conform(mut server: Server, can: &Can) {
    server.wait_for_workers(2);
    let family = workers(&server);
    pages(&server);
    methods(&server);
    about(&server, can);
    cookies(&server, can);
    bodies::check(&server, can);
    flow::check(&server, can);
    if can.websocket {
        socket(&server);
    }
    assert!(!server.log().contains(can.trace), "not a trace before the mistake: {}", server.log());
    mistakes(&server, can);
    assert_eq!(server.app()["restarts"], 0, "nothing has crashed");
    assert_eq!(workers(&server), family, "the same processes serve to the end");
    assert_eq!(server.stop(), 0, "everything ends when it is asked to");
}

/// Each worker with its app's process.
fn workers(server: &Server) -> Vec<(u64, u64)> {
    let number = |row: &serde_json::Value, name: &str| row[name].as_u64().expect("a number");
    let mut workers: Vec<_> = server
        .workers()
        .iter()
        .map(|row| (number(row, "workerId"), number(row, "appPid")))
        .collect();
    workers.sort_unstable();
    workers
}

/// All on one connection: where an answer ends is as clear as where it begins.
fn pages(server: &Server) {
    let mut client = server.connect();
    let page = client.ask("GET", "/");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.field("content-type").to_lowercase().starts_with("text/html"), "{page:?}");
    assert!(page.text().contains("<h1>Hello</h1>"), "{page:?}");
    assert_eq!(client.ask("HEAD", "/").status, 200);
    for (target, expected) in [
        ("/greet?name=Zo%C3%AB", "Hello Zoë"),
        ("/greet?name=a%2Bb+c%26d%3De", "Hello a+b c&d=e"),
        ("/path/caf%C3%A9/x", "café"),
        ("/path/a%20b/x", "a b"),
    ] {
        assert_text(&client.ask("GET", target), expected);
    }
    assert!(!client.has_unread(), "nothing came that nobody asked for");
}

fn methods(server: &Server) {
    let mut client = server.connect();
    for method in ["PUT", "DELETE", "PATCH"] {
        let response = client.ask(method, "/method");
        assert_eq!((response.status, response.text().trim()), (200, method), "{response:?}");
    }
    let refused = client.ask("DELETE", "/");
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert_eq!(client.ask("GET", "/who").status, 200, "and goes on");
}

/// What the app believes about the client is what the edge has seen, whatever the client says.
fn about(server: &Server, can: &Can) {
    let mut client = Client::connect_from("127.0.0.2", server.port());
    let lies = "User-Agent: Suite/1 (test)\r\nX-Forwarded-For: 203.0.113.9\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n";
    client.request("GET", "/about?a=1&b=%C3%AB", lies, b"");
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    let about = response.json();
    assert_eq!(about["host"], "a.test", "{about}");
    assert_eq!(about["path"], "/about", "{about}");
    assert_eq!(about["query"], "a=1&b=%C3%AB", "{about}");
    assert_eq!(about["userAgent"], "Suite/1 (test)", "{about}");
    assert_eq!(about["scheme"], "http", "{about}");
    if can.origin {
        assert_eq!(about["client"], "127.0.0.2", "{about}");
    }
}

fn cookies(server: &Server, can: &Can) {
    let response = server.get("/cookie");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(jar(&response), "a=1; b=2", "{response:?}");
    if can.session {
        let mut cookies = String::new();
        for visit in 1..=3 {
            let fields = format!("Cookie: other=1; {cookies}\r\n");
            let response = server.request("GET", "/session", &fields, b"");
            assert_text(&response, &visit.to_string());
            // A session may be named once and for all.
            if !response.values("set-cookie").is_empty() {
                cookies = jar(&response);
            }
            assert!(!cookies.is_empty(), "{response:?}");
        }
    }
}

/// The cookies of an answer as a client sends them back.
fn jar(response: &Response) -> String {
    let cookies = response.values("set-cookie");
    let pair = |cookie: &&str| cookie.split(';').next().unwrap_or_default().to_owned();
    cookies.iter().map(pair).collect::<Vec<_>>().join("; ")
}

fn socket(server: &Server) {
    let mut socket = Socket::open(server, "/ws");
    let long = "ë".repeat(50_000);
    for text in ["hello", "Zoë", &long] {
        socket.say(text);
        assert_eq!(socket.hear_text(), text);
    }
    socket.send(BINARY, &[0, 255, 1]);
    let frame = socket.hear();
    assert_eq!((frame.first, frame.payload), (BINARY, vec![0, 255, 1]));
    assert_eq!(server.get("/who").status, 200, "others are served meanwhile");
    socket.say("bye");
    assert_eq!(socket.hear_close().0, 4001);
    Socket::open(server, "/ws").reset();
}

fn mistakes(server: &Server, can: &Can) {
    let missing = server.get("/missing");
    assert_eq!(missing.status, 404, "{missing:?}");
    assert!(!missing.text().starts_with("404 Not Found\n"), "it is the edge's: {missing:?}");
    let mut client = server.connect();
    assert_eq!(client.ask("GET", "/error").status, 500);
    server.wait_for_log(can.trace);
    assert_eq!(client.ask("GET", "/").status, 200, "the app goes on");
}

/// Asserts that this is an answer of plain text in UTF-8.
#[track_caller]
fn assert_text(response: &Response, expected: &str) {
    assert_eq!((response.status, response.text().trim_end()), (200, expected), "{response:?}");
    let kind = response.field("content-type").to_lowercase().replace(' ', "");
    assert_eq!(kind, "text/plain;charset=utf-8", "{response:?}");
}
