//! Every request is told, once, whoever answered or refused it: a walk over all the ways one can end.

use crate::harness::edgefile::recorder;
use crate::harness::port::Port;
use crate::harness::session::{Ask, Session};
use crate::harness::tls::{Secure, identity};
use crate::harness::websocket::{Socket, UPGRADE};
use crate::harness::{Client, Server, Setup, eventually, tools, until};
use serde_json::{Value, json};
use std::fs;

/// A server with everything in it that answers or refuses.
fn everything(https: u16, dead: u16) -> String {
    let (python, turns) = (tools::python(), tools::app("turns.py"));
    let app = recorder("rec", "workers 1; max-queue 1; timeouts read=\"300ms\" queue=\"300ms\"");
    let elsewhere = recorder("elsewhere", "workers 1");
    format!(
        "version 1\n\
         edge {{ http \"127.0.0.1:PORT\"; https \"127.0.0.1:{https}\"\n\
         timeouts head=\"500ms\" body=\"500ms\"; limits body=\"10KiB\"; log format=\"json\"\n\
         trusted-proxies \"127.0.0.1\"; certs \"$DIR/pairs\" }}\n\
         {app}{elsewhere}\
         app \"rooms\" {{ entry \"rooms.py\"; workers 1 }}\n\
         app \"turns\" {{ command {python:?} \"-S\" \"-I\" {turns:?}\n workers 1; concurrency 4 }}\n\
         upstream \"legacy\" {{ target \"http://127.0.0.1:PORT\"; host \"elsewhere.test\"\n\
         timeouts read=\"300ms\" }}\n\
         upstream \"dead\" {{ target \"http://127.0.0.1:{dead}\" }}\n\
         site \"rec.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"rec\" }} }}\n\
         site \"elsewhere.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"elsewhere\" }} }}\n\
         site \"few.test\" {{ tls \"off\"; rate-limit 1 window=\"600s\"\n\
         route \"/*\" {{ to-app \"rec\" }} }}\n\
         site \"proxy.test\" {{ tls \"off\"; route \"/dead/*\" {{ proxy \"dead\" }}\n\
         route \"/*\" {{ proxy \"legacy\" }} }}\n\
         site \"files.test\" {{ tls \"off\"; route \"/*\" {{ static \"$DIR/app/files\" }} }}\n\
         site \"moved.test\" {{ tls \"off\"; route \"/*\" {{ redirect \"https://a.test/\" }} }}\n\
         site \"rooms.test\" \"localhost\" {{ tls \"off\"; route \"/*\" {{ to-app \"rooms\" }}\n\
         realtime \"/realtime\" app=\"rooms\" }}\n\
         site \"turns.test\" {{ tls \"off\"; route \"/*\" {{ to-app \"turns\" }}\n\
         sessions \"/v1\" app=\"turns\" }}\n\
         site \"safe.test\" {{ route \"/*\" {{ to-app \"elsewhere\" }} }}\n"
    )
}

struct Walk {
    server: Server,
    expected: Vec<Told>,
}

/// What is to be in an access line: id (where there is one), status, app, whether a worker had it, and
/// why the server itself answered or ended it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Told {
    id: String,
    status: u64,
    app: String,
    by_worker: bool,
    reason: String,
}

impl Walk {
    fn expect(&mut self, id: &str, status: u64, app: &str, by_worker: bool, reason: &str) {
        let (id, app, reason) = (id.to_owned(), app.to_owned(), reason.to_owned());
        self.expected.push(Told { id, status, app, by_worker, reason });
    }

    /// One request with an id for this host; its answer must have this status.
    #[track_caller]
    fn ask(&mut self, (id, host): (&str, &str), line: &str, fields: &str, status: u16) -> Client {
        let mut client = self.server.connect();
        client
            .send(format!("{line} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {id}\r\n{fields}\r\n"));
        let method = line.split(' ').next().expect("a method");
        assert_eq!(client.response_to(method).status, status, "{id}");
        client
    }

    /// Bytes that are no whole request: the line that tells of them has an id of the server's own.
    #[track_caller]
    fn send(&mut self, bytes: &[u8], status: u16, reason: &str) {
        let mut client = self.server.connect();
        client.send(bytes);
        match status {
            0 => assert!(client.closes(), "{reason}"),
            _ => assert_eq!(client.response().status, status, "{reason}"),
        }
        self.expect("", if status == 0 { 400 } else { u64::from(status) }, "", false, reason);
    }
}

#[test]
fn every_way_a_request_can_end_is_told_once() {
    let (https, dead) = (Port::free(), Port::free());
    let setup = Setup::edgefile(&everything(https.number, dead.number)).with_rooms();
    let setup = setup.with_file("files/a.txt", "a file").with_record().word("--no-watch");
    fs::create_dir_all(setup.path("pairs")).expect("a directory");
    identity(&["safe.test"], 30).write(&setup.path("pairs/safe"));
    let server = setup.flag("--loops", 2).start();
    eventually("a worker of each app", || server.control_get("/status").status == 200);
    let mut walk = Walk { server, expected: Vec::new() };

    by_an_app(&mut walk);
    refused_before_anybody_saw_it(&mut walk);
    by_the_server_itself(&mut walk);
    elsewhere(&mut walk);
    websockets(&mut walk);
    sessions(&mut walk);
    over_tls(&mut walk, https.number);

    let mut expected = walk.expected;
    let told = until("as many lines as requests", || {
        let told = told(&walk.server);
        (told.len() >= expected.len()).then_some(told)
    });
    let ids: Vec<_> = expected.iter().map(|told| told.id.clone()).collect();
    let found: Vec<_> = told.iter().map(|line| row(line, &ids)).collect();
    for told in &found {
        let at = expected.iter().position(|expected| expected == told);
        expected
            .remove(at.unwrap_or_else(|| panic!("told and not so: {told:?}, left {expected:?}")));
    }
    assert!(expected.is_empty(), "not told: {expected:?}");
    for line in &told {
        complete(line);
    }
}

fn by_an_app(walk: &mut Walk) {
    let host = "rec.test";
    walk.ask(("app", host), "GET /x?secret=1", "", 200);
    walk.expect("app", 200, "rec", true, "");
    walk.ask(("busy-worker", host), "GET /x?raw=nonsense", "", 502);
    walk.expect("busy-worker", 502, "rec", true, "worker-malformed");
    walk.ask(("dropped", host), "GET /x?drop=before", "", 502);
    walk.expect("dropped", 502, "rec", true, "worker-gone");
    let mut gone = walk.server.connect();
    gone.request_at(host, "GET", "/gone?gate=gone", "X-Request-Id: gone\r\n", b"");
    walk.server.wait_for_seen("/gone?gate=gone");
    gone.reset();
    walk.expect("gone", 499, "rec", true, "client-gone");
    walk.server.open_gate("gone");
    // Its only worker is busy, one request waits for it, and there is no room for another one.
    let mut first = walk.server.connect();
    first.request_at(host, "GET", "/first?gate=first", "X-Request-Id: late\r\n", b"");
    walk.server.wait_for_seen("/first?gate=first");
    let mut second = walk.server.connect();
    second.request_at(host, "GET", "/x", "X-Request-Id: waits\r\n", b"");
    eventually("a request that waits", || {
        walk.server.app_called("rec")["queueDepth"].as_u64() == Some(1)
    });
    walk.ask(("shed", host), "GET /x", "", 503);
    walk.expect("shed", 503, "rec", false, "queue-full");
    assert_eq!(first.response().status, 504);
    walk.expect("late", 504, "rec", true, "worker-timeout");
    assert_eq!(second.response().status, 504);
    walk.expect("waits", 504, "rec", false, "queue-timeout");
    walk.server.open_gate("first");
    walk.ask(("again", host), "GET /x", "", 200);
    walk.expect("again", 200, "rec", true, "");
}

fn refused_before_anybody_saw_it(walk: &mut Walk) {
    walk.ask(("trace", "rec.test"), "TRACE /x", "", 405);
    walk.expect("trace", 405, "", false, "method-not-allowed");
    walk.ask(("large", "rec.test"), "POST /x", "Content-Length: 20000\r\n", 413);
    walk.expect("large", 413, "rec", false, "body-too-large");
    let chunks = format!("Transfer-Encoding: chunked\r\n\r\n4e20\r\n{}", "x".repeat(20_000));
    walk.ask(("chunks", "rec.test"), "POST /x", &chunks, 413);
    walk.expect("chunks", 413, "rec", false, "body-too-large");
    walk.ask(("expects", "rec.test"), "GET /x", "Expect: gifts\r\n", 417);
    walk.expect("expects", 417, "", false, "expectation-failed");
    walk.ask(("nowhere", "nowhere.test"), "GET /x", "", 301);
    walk.expect("nowhere", 301, "", false, "");
    walk.ask(("slow-body", "rec.test"), "POST /x", "Content-Length: 9\r\n", 408);
    walk.expect("slow-body", 408, "rec", false, "body-timeout");
    walk.ask(("few", "few.test"), "GET /x", "", 200);
    walk.expect("few", 200, "rec", true, "");
    walk.ask(("more", "few.test"), "GET /x", "", 429);
    walk.expect("more", 429, "", false, "rate-limited");
    let long = "x".repeat(9000);
    walk.send(format!("GET /{long} HTTP/1.1\r\n").as_bytes(), 414, "target-too-long");
    let fields = format!("X: {long}\r\n").repeat(8);
    walk.send(
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes(),
        431,
        "head-too-large",
    );
    walk.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400, "malformed");
    walk.send(b"GET http://me:hunter2@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed");
    walk.send(b"GET / HTTP/1.1\r\nHost: me:hunter2@a\r\n\r\n", 400, "malformed");
    walk.send(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 501, "unknown-coding");
    walk.send(b"GET / HTTP/9.1\r\nHost: a\r\n\r\n", 505, "version-unsupported");
    walk.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-unsupported");
    walk.send(b"\x16\x03\x01\x02\x00\x01", 0, "malformed");
    walk.send(b"GET / HTTP/1.1\r\nHo", 408, "head-timeout");
}

fn by_the_server_itself(walk: &mut Walk) {
    for (id, path) in [("server", "/server"), ("status", "/status")] {
        walk.ask((id, "rec.test"), &format!("GET {path}"), "", 200);
        walk.expect(id, 200, "", false, "");
    }
    walk.ask(("post-server", "rec.test"), "POST /server", "", 405);
    walk.expect("post-server", 405, "", false, "method-not-allowed");
    for (id, line, fields, status, reason) in [
        ("file", "GET /a.txt", "", 200, ""),
        ("head", "HEAD /a.txt", "", 200, ""),
        ("missing", "GET /b.txt", "", 404, "not-found"),
        ("posted", "POST /a.txt", "", 405, "method-not-allowed"),
        ("ranged", "GET /a.txt", "Range: bytes=99-\r\n", 416, "range-not-satisfiable"),
        ("old", "GET /a.txt", "If-Match: \"no\"\r\n", 412, "precondition-failed"),
        ("slash", "GET /a%2fb.txt", "", 400, "bad-path"),
        ("up", "GET /../x", "", 400, "malformed"),
    ] {
        walk.ask((id, "files.test"), line, fields, status);
        walk.expect(id, u64::from(status), "", false, reason);
    }
    walk.ask(("moved", "moved.test"), "GET /x", "", 302);
    walk.expect("moved", 302, "", false, "");
    walk.ask(("to-https", "safe.test"), "GET /x", "", 301);
    walk.expect("to-https", 301, "", false, "");
    let watch = r#"{"prefix":"/site","dirs":["files"]}"#;
    assert_eq!(walk.server.control_post("/watch", "", watch).status, 200);
    let mut stream = walk.server.connect();
    let fields = "X-Request-Id: live\r\n";
    stream.request_at("rec.test", "GET", "/site/watch", fields, b"");
    assert_eq!(stream.head().status, 200);
    stream.reset();
    walk.expect("live", 200, "", false, "");
}

fn elsewhere(walk: &mut Walk) {
    let host = "proxy.test";
    // Each comes back as a request of its own, with the same id.
    walk.ask(("proxied", host), "GET /x", "", 200);
    walk.expect("proxied", 200, "legacy", false, "");
    walk.expect("proxied", 200, "elsewhere", true, "");
    walk.ask(("dead", host), "GET /dead/x", "", 502);
    walk.expect("dead", 502, "dead", false, "upstream-connect");
    walk.ask(("slow", host), "GET /x?sleep=1", "", 504);
    walk.expect("slow", 504, "legacy", false, "upstream-timeout");
    walk.expect("slow", 200, "elsewhere", true, "");
}

fn websockets(walk: &mut Walk) {
    let host = "rooms.test";
    let open = |id: &str, target: &str, more: &str| {
        let fields = format!("X-Request-Id: {id}\r\n{more}");
        Socket::try_open(walk.server.connect(), host, target, &fields)
    };
    let mut socket = open("opens", "/realtime?open={}", "").expect("it comes in");
    socket.say("!echo one");
    assert_eq!(socket.hear_text().split(": ").nth(1), Some("one"));
    socket.close(1000, "");
    socket.hear_close();
    let no = open("no", "/realtime?status=403", "").err().expect("it is refused");
    let origin = "Origin: https://elsewhere.example\r\n";
    let evil = open("evil", "/realtime", origin).err().expect("it is refused");
    assert_eq!((no.status, evil.status), (403, 403));
    walk.server.wait_for_posts("close", 1);
    // The app is asked about each client and each frame: those have lines of their own, with a mark.
    walk.expect("opens", 101, "rooms", false, "");
    for id in ["opens", "", ""] {
        walk.expect(id, 200, "rooms", true, "");
    }
    walk.expect("no", 403, "rooms", false, "");
    walk.expect("no", 403, "rooms", true, "");
    walk.expect("evil", 403, "", false, "origin-refused");
    walk.ask(("plain", host), "GET /realtime", "", 426);
    walk.expect("plain", 426, "", false, "upgrade-required");
    for (id, fields, status, app, reason) in [
        ("publish", "Content-Length: 2\r\n\r\n{}", 200, "rooms", ""),
        ("bad-publish", "Content-Length: 1\r\n\r\n{", 400, "rooms", ""),
        ("far", "X-Forwarded-For: 192.0.2.1\r\nContent-Length: 0\r\n", 401, "", "no-secret"),
    ] {
        let fields = format!("Content-Type: application/json\r\n{fields}");
        walk.ask((id, "localhost"), "POST /publish", &fields, status);
        walk.expect(id, u64::from(status), app, false, reason);
    }
}

fn sessions(walk: &mut Walk) {
    let at = |ask: Ask, id: &str| ask.at("turns.test").field("X-Request-Id", id);
    let response = at(Ask::start(&json!({})), "start").answer(&walk.server);
    assert_eq!(response.status, 200);
    let session = Session::of(&response);
    walk.expect("start", 200, "turns", false, "");
    walk.expect("start", 200, "turns", true, "");
    let response = at(Ask::message(&session, &json!({})).sse(), "message").answer(&walk.server);
    assert_eq!(response.status, 200);
    walk.expect("message", 200, "turns", false, "");
    walk.expect("message", 200, "turns", true, "");
    for (id, ask, status) in [
        ("stale", Ask::message(&session, &json!({})), 409),
        ("view", Ask::status(&session), 200),
        ("deleted", Ask::delete(&session), 409),
        ("unknown", Ask::to("GET", "/v1/session/s_none"), 404),
        ("mount", Ask::to("GET", "/v1/session/a/b/c"), 404),
    ] {
        let response = at(ask, id).answer(&walk.server);
        assert_eq!(response.status, status, "{id}: {response:?}");
        walk.expect(id, u64::from(status), "turns", false, "");
    }
    let fields = format!("{UPGRADE}X-Request-Id: talk\r\n");
    let mut client = walk.server.connect();
    client.request_at("turns.test", "GET", "/v1/ws", &fields, b"");
    assert_eq!(client.head().status, 101);
    client.reset();
    walk.expect("talk", 101, "turns", false, "");
}

fn over_tls(walk: &mut Walk, port: u16) {
    let mut secure = Secure::connect(port, Some("safe.test")).expect("a connection");
    assert_eq!(secure.get("safe.test").expect("an answer"), 200);
    walk.expect("", 200, "elsewhere", true, "");
    assert_eq!(secure.get("nowhere.test").expect("an answer"), 421);
    walk.expect("", 421, "", false, "misdirected");
    let mut plain = Client::connect(port);
    plain.send("GET / HTTP/1.1\r\nHost: safe.test\r\n\r\n");
    assert_eq!(plain.response().status, 400);
    walk.expect("", 400, "", false, "tls-plain");
}

/// The access lines, in the order they were written.
fn told(server: &Server) -> Vec<Value> {
    let text = server.stdout();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("totalSeconds").is_some()).collect()
}

fn row(line: &Value, ids: &[String]) -> Told {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let id = text("id");
    Told {
        id: if ids.contains(&id) { id } else { String::new() },
        status: line["status"].as_u64().expect("a status"),
        app: text("app"),
        by_worker: !line["worker"].is_null(),
        reason: text("reason"),
    }
}

/// An access line has every field, in the one order, and null only where there is nothing to say.
fn complete(line: &Value) {
    for name in ["t", "id", "ip", "type"] {
        assert!(line[name].is_string() || name == "type", "{name} in {line}");
    }
    for name in ["host", "app", "worker", "method", "path", "queueSeconds", "workerSeconds"] {
        assert!(line.get(name).is_some(), "{name} in {line}");
    }
    let (total, queue, worker) =
        (&line["totalSeconds"], &line["queueSeconds"], &line["workerSeconds"]);
    let total = total.as_f64().expect("seconds");
    let parts = [queue, worker].map(|part| part.as_f64().unwrap_or_default());
    assert!(parts.iter().sum::<f64>() <= total + 1e-6, "{line}");
    // A server elsewhere takes its time as a worker does.
    assert!(line["worker"].is_null() || worker.is_number(), "{line}");
    assert!(line["worker"].is_null() || queue.is_number(), "{line}");
    assert!(line["bytesIn"].is_u64() && line["bytesOut"].is_u64(), "{line}");
    let text = line.to_string();
    assert!(!text.contains('?') && !text.contains("hunter2"), "{line}");
}
