//! The built-in adapter and the letter of PEP 3333.

use crate::harness::{Directory, Shim, ask, read_reply, spec, until};
use nix::sys::signal::Signal;
use rip::contract::app::Runtime;
use std::io::{Read, Write};

const APP: &str = r#"
import io, os, sys, threading, time

class Body:
    """Tells what became of it."""
    def __init__(self, name, *pieces):
        self.name, self.pieces, self.asked = name, iter(pieces), 0
    def __iter__(self):
        return self
    def __next__(self):
        self.asked += 1
        piece = next(self.pieces)
        if isinstance(piece, BaseException):
            raise piece
        return piece
    def close(self):
        print("closed %s after %d" % (self.name, self.asked), file=sys.stderr, flush=True)

def wait_for(name):
    open(name + ".asked", "w").close()
    while not os.path.exists(name):
        time.sleep(0.002)

def refused(e, s):
    "What start_response cannot take it tells at once, and another start is possible."
    said = []
    for status, fields in [
        ("OK", []), ("100 Continue", []), ("2000 OK", []), ("200 O\nK", []), (200, []), ("200 \u20ac", []),
        ("200 OK", [("A", "b\nc")]), ("200 OK", [("A", "b\x07")]), ("200 OK", [("A b", "c")]),
        ("200 OK", [("", "c")]), ("200 OK", [("A", 1)]), ("200 OK", [("A", b"c")]), ("200 OK", ["A"]),
        ("200 OK", [("A", "\u20ac")]), ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "1"), ("content-length", "2")]),
    ]:
        try:
            s(status, fields)
            said.append("%r %r passed" % (status, fields))
        except (ValueError, TypeError):
            pass
    s("200 OK", [])
    try:
        s("200 OK", [])
        said.append("a second start passed")
    except AssertionError:
        pass
    return ["\n".join(said).encode()]

def late_exc_info(e, s):
    write = s("200 OK", [])
    write(b"begun")
    try:
        raise KeyError("the first")
    except KeyError:
        s("500 No", [], sys.exc_info())
    return [b"not reached"]

def write_past(e, s):
    write = s("200 OK", [("Content-Length", "4")])
    write(b"four")
    try:
        write(b"five")
    except ValueError:
        print("write was told", file=sys.stderr, flush=True)
    return []

def write_head(e, s):
    write = s("200 OK", [("X-Early", "yes")])
    write(b"")
    wait_for("head")
    return [b"the rest"]

def streamed(e, s):
    s("200 OK", [("Content-Type", "text/plain")])
    def pieces():
        yield b""
        yield b"one"
        wait_for("piece")
        yield b"two"
    return pieces()

def lazy(e, s):
    s("200 OK", [])
    yield b"lazy"

def exits(e, s):
    sys.exit(3)

def environ(e, s):
    names = e.get("QUERY_STRING").split("&")
    s("200 OK", [])
    return ["\n".join("%s=%r" % (name, e.get(name)) for name in names).encode()]

def spoils(e, s):
    "An environ is the app's own."
    e["HTTP_HOST"] = e["REMOTE_ADDR"] = e["X"] = "spoilt"
    e.pop("wsgi.input"), e.pop("HTTP_X_REQUEST_ID")
    s("200 OK", [])
    return []

def text_input(e, s):
    for _ in range(3):
        read = io.TextIOWrapper(e["wsgi.input"]).read()
    s("200 OK", [])
    return [repr((read, e["wsgi.input"].readlines(), list(e["wsgi.input"]))).encode()]

def connection(e, s):
    s("200 OK", [("Connection", "keep-alive"), ("Transfer-Encoding", "chunked"), ("Keep-Alive", "5")])
    return [b"ok"]

def file_from(e, s):
    file = open("numbers", "rb", buffering=0 if "raw" in e["QUERY_STRING"] else -1)
    file.read(10)
    size = e["QUERY_STRING"].partition("=")[2]
    s("200 OK", [("Content-Length", size)] if size else [])
    wrapped = e["wsgi.file_wrapper"](file)
    close = wrapped.close
    wrapped.close = lambda: (close(), print("closed the file", file=sys.stderr, flush=True))
    return wrapped

def file_in_memory(e, s):
    s("200 OK", [])
    return e["wsgi.file_wrapper"](io.BytesIO(b"x" * 200000), 1000)

def size_of_body(e, s):
    e["wsgi.input"].readline(10)
    body = e["wsgi.input"].read()
    s("200 OK", [])
    return [b"%d %d" % (len(body), sum(body[::1000]))]

together = threading.Barrier(3)
def meet(e, s):
    together.wait(15)
    s("200 OK", [])
    return [b"%r" % e["wsgi.multithread"]]

def sleeps(e, s):
    wait_for("wake")
    s("200 OK", [])
    return [b"woken"]

BODIES = {
    "/fields": lambda: ("200 OK", [], [b"a", b"b"]),
    "/short": lambda: ("200 OK", [("Content-Length", "9")], Body("short", b"four")),
    "/long": lambda: ("200 OK", [("Content-Length", "4")], Body("long", b"fo", b"urf", b"ive", b"no")),
    "/raises": lambda: ("200 OK", [], Body("raises", b"half", RuntimeError("broken"))),
    "/iterator": lambda: ("200 OK", [("X-A", "1")], Body("iterator", b"a", b"b")),
    "/204": lambda: ("204 No Content", [("Content-Length", "0")], Body("204", b"no")),
    "/304": lambda: ("304 Not Modified", [("Content-Length", "7")], Body("304")),
    "/empty": lambda: ("200 OK", [], Body("empty", b"", b"")),
    "/endless": lambda: ("200 OK", [], Body("endless", *[b"x" * 65536] * 1000)),
}

def app(e, s):
    path = e["PATH_INFO"]
    if path in BODIES:
        status, fields, body = BODIES[path]()
        s(status, fields)
        return body
    return globals().get(path[1:], environ)(e, s)
"#;

fn joined(concurrency: u32) -> Shim {
    let directory = Directory::new();
    directory.write("app.py", APP);
    let numbers: String = (0..40_000).map(|number| format!("{number:05}")).collect();
    directory.write("numbers", &numbers);
    let mut spec = spec(&directory, Runtime::Python, &["app.py"]);
    spec.concurrency = concurrency;
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    shim
}

/// What is written until the connection ends.
fn until_end(shim: &Shim, request: &str) -> String {
    let mut stream = shim.connect();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: app.example:81\r\n\r\n")
}

#[test]
fn start_response_refuses_what_cannot_be_sent() {
    let shim = joined(1);
    assert_eq!(shim.get("/refused").text(), "");
    let text = until_end(&shim, &get("/late_exc_info"));
    assert!(text.ends_with("\r\n5\r\nbegun\r\n"), "{text}");
    let reply = shim.get("/exits");
    assert_eq!((reply.status, reply.reusable), (500, true), "it lives on");
    assert_eq!(shim.get("/lazy").text(), "lazy");
    let reply = shim.get("/connection");
    assert_eq!((reply.field("Connection"), reply.field("Content-Length")), (None, Some("2")));
    assert_eq!(shim.get("/connection").text(), "ok");
    let log = shim.stop();
    assert!(log.contains("KeyError: 'the first'") && log.contains("SystemExit: 3"), "{log}");
    assert_eq!(log.matches("the app sends Connection: keep-alive, which").count(), 1, "{log}");
    assert!(!log.contains("in exchange"), "the way there says nothing: {log}");
}

#[test]
fn bodies_have_the_length_they_were_said_to_have() {
    let shim = joined(1);
    let mut stream = shim.connect();
    let reply = ask(&mut stream, get("/long").as_bytes());
    assert_eq!((reply.text(), reply.reusable), ("four", true));
    assert_eq!(ask(&mut stream, get("/write_past").as_bytes()).text(), "four");
    let reply = ask(&mut stream, get("/fields").as_bytes());
    assert_eq!((reply.text(), reply.field("Content-Length")), ("ab", Some("2")));
    let reply = ask(&mut stream, get("/empty").as_bytes());
    assert_eq!((reply.text(), reply.field("Content-Length")), ("", Some("0")));
    for (target, length) in [("/204", None), ("/304", Some("7"))] {
        let reply = ask(&mut stream, get(target).as_bytes());
        assert_eq!((reply.field("Content-Length"), reply.body.len()), (length, 0), "{target}");
    }
    let reply = ask(&mut stream, b"HEAD /iterator HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.field("X-A"), reply.field("Transfer-Encoding")), (Some("1"), None));
    let text = until_end(&shim, &get("/short"));
    assert!(text.ends_with("Content-Length: 9\r\n\r\nfour"), "{text}");
    let text = until_end(&shim, &get("/raises"));
    assert!(text.ends_with("\r\n4\r\nhalf\r\n"), "{text}");
    // A client that goes: the app is told, and its body closed.
    let mut stream = shim.connect();
    stream.write_all(get("/endless").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    assert_eq!(shim.get("/lazy").text(), "lazy");
    let log = shim.stop();
    for line in [
        "closed long after 2",
        "closed 204 after 1",
        "closed 304 after 1",
        "closed iterator after 1",
        "closed empty after 3",
        "closed short after 2",
        "closed raises after 2",
        "closed endless after ",
        "write was told",
        "has 5 bytes less than its Content-Length: GET /short",
        "has more bytes than its Content-Length: GET /long",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

#[test]
fn what_is_written_leaves_at_once() {
    let shim = joined(1);
    for (target, gate, before, after) in [
        ("/write_head", "head", "\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\nthe rest\r\n"),
        ("/streamed", "piece", "\r\n3\r\none\r\n", "3\r\ntwo\r\n"),
    ] {
        let mut stream = shim.connect();
        stream.write_all(get(target).as_bytes()).unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).ends_with(before) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        shim.directory.write(gate, "");
        let mut rest = vec![0; after.len() + 5];
        stream.read_exact(&mut rest).unwrap();
        assert_eq!(String::from_utf8(rest).unwrap(), format!("{after}0\r\n\r\n"));
    }
    shim.stop();
}

#[test]
fn the_environ_says_who_asks_for_what() {
    let shim = joined(1);
    let told = |target: &str, fields: &str| {
        let request = format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
        shim.ask(&request).text().to_owned()
    };
    let told = |query: &str, fields: &str| told(&format!("/environ?{query}"), fields);
    let server = "SERVER_NAME&SERVER_PORT&wsgi.url_scheme&HTTPS";
    for (fields, name, port, scheme, https) in [
        ("Host: a:81\r\n", "a", "81", "http", "None"),
        ("Host: a\r\nX-Forwarded-Proto: https\r\n", "a", "443", "https", "'on'"),
        ("Host: [::1]:8080\r\n", "[::1]", "8080", "http", "None"),
        ("Host: [::1]\r\n", "[::1]", "80", "http", "None"),
        ("Host:\r\n", "localhost", "80", "http", "None"),
    ] {
        let expected = format!(
            "SERVER_NAME='{name}'\nSERVER_PORT='{port}'\nwsgi.url_scheme='{scheme}'\nHTTPS={https}"
        );
        assert_eq!(told(server, fields), expected, "{fields}");
    }
    for (fields, address) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.1\r\nRip-Client: 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
    ] {
        let expected = format!("REMOTE_ADDR='{address}'");
        assert_eq!(told("REMOTE_ADDR", fields), expected, "{fields}");
    }
    let fields = "Host: a\r\nCookie: a=1\r\nCookie: b=2\r\nAccept: x\r\naccept: y\r\nProxy: evil\r\n\
                  X-Latin: caf\u{e9}\r\nContent-Type:\r\n";
    assert_eq!(
        told("HTTP_COOKIE&HTTP_ACCEPT&HTTP_PROXY&HTTP_X_LATIN&CONTENT_TYPE", fields),
        "HTTP_COOKIE='a=1; b=2'\nHTTP_ACCEPT='x,y'\nHTTP_PROXY=None\n\
         HTTP_X_LATIN='caf\u{c3}\u{a9}'\nCONTENT_TYPE=''"
    );
    let raw =
        shim.get("/caf%C3%A9%2Fx%?PATH_INFO&SCRIPT_NAME&RAW_URI&wsgi.multithread&wsgi.run_once");
    assert_eq!(
        raw.text(),
        "PATH_INFO='/caf\u{c3}\u{a9}/x%'\nSCRIPT_NAME=''\n\
         RAW_URI='/caf%C3%A9%2Fx%?PATH_INFO&SCRIPT_NAME&RAW_URI&wsgi.multithread&wsgi.run_once'\n\
         wsgi.multithread=False\nwsgi.run_once=False"
    );
    for _ in 0..2 {
        assert_eq!(shim.get("/text_input").text(), "('', [], [])");
    }
    shim.stop();
}

/// What is remembered of a request is only what is the same in the next.
#[test]
fn requests_that_look_alike_are_told_apart() {
    let shim = joined(1);
    let mut stream = shim.connect();
    let names =
        "HTTP_HOST&HTTP_X_REQUEST_ID&HTTP_X_REQUEST_START&REMOTE_ADDR&HTTP_A&CONTENT_LENGTH&X";
    let mut ask = |target: &str, host: &str, (id, from, time): (&str, &str, u32), last: &str| {
        let body = if last.contains("Length") { "body" } else { "" };
        let request = format!(
            "POST {target}?{names} HTTP/1.1\r\nHost: {host}\r\nA: 1\r\nX-Forwarded-For: {from}\r\n\
             X-Request-Id: {id}\r\nX-Request-Start: t={time}\r\n{last}\r\n{body}"
        );
        ask(&mut stream, request.as_bytes()).text().to_owned()
    };
    for round in 0..3 {
        for host in ["a", "b"] {
            for from in ["192.0.2.1", "192.0.2.2"] {
                for (last, length, more) in [
                    ("", "None", ""),
                    ("Content-Length: 4\r\n", "'4'", ""),
                    ("Content-Length: 0\r\n", "'0'", ""),
                    ("A: 2\r\n", "None", ",2"),
                ] {
                    let id = format!("{host}-{from}-{round}");
                    let with = (id.as_str(), from, 7 + round);
                    ask("/spoils", host, with, last);
                    let expected = format!(
                        "HTTP_HOST='{host}'\nHTTP_X_REQUEST_ID='{id}'\nHTTP_X_REQUEST_START='t={}'\n\
                         REMOTE_ADDR='{from}'\nHTTP_A='1{more}'\nCONTENT_LENGTH={length}\nX=None",
                        with.2
                    );
                    assert_eq!(ask("/environ", host, with, last), expected);
                }
            }
        }
    }
    // In another order, and only in what is no part of the head.
    let (id, time) = ("X-Request-Id: i\r\n", "X-Request-Start: t=5\r\n");
    let said = "HTTP_HOST='a'\nHTTP_X_REQUEST_ID='i'\nHTTP_X_REQUEST_START='t=5'\n\
                REMOTE_ADDR='127.0.0.1'\nHTTP_A='1'\nCONTENT_LENGTH=None\nX=None";
    let unsaid =
        said.replace("'i'", "None").replace("'t=5'", "None").replace("=None\nX", "='41'\nX");
    for _ in 0..2 {
        let head = format!("GET /environ?{names} HTTP/1.1\r\nHost: a\r\n");
        for fields in [
            format!("A: 1\r\n{id}{time}"),
            format!("{time}{id}A: 1\r\n"),
            format!("{id}A: 1\r\n{time}"),
        ] {
            stream.write_all(format!("{head}{fields}\r\n").as_bytes()).unwrap();
            assert_eq!(read_reply(&mut stream, false).text(), said, "{fields}");
        }
        let last =
            format!("A: 1\r\nContent-Length: {}\r\n\r\n\r\n{id}{time}", id.len() + time.len() + 2);
        stream.write_all(format!("{head}{last}").as_bytes()).unwrap();
        assert_eq!(read_reply(&mut stream, false).text(), unsaid);
    }
    let mut ask = |target: &str, host: &str, number: u32| {
        let request = format!(
            "GET {target}?{names} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Request-Id: i\r\nX-Request-Start: t={number}\r\n\r\n"
        );
        crate::harness::ask(&mut stream, request.as_bytes()).text().to_owned()
    };
    // More of them than are remembered.
    for number in 0..1500 {
        let host = format!("h{number}");
        let said = ask(&format!("/environ/{number}"), &host, number);
        assert!(said.starts_with(&format!("HTTP_HOST='{host}'\n")), "{said}");
        assert!(said.contains(&format!("'t={number}'")), "{said}");
    }
    shim.stop();
}

/// While one connection is in use the worker waits for that one alone.
#[test]
fn one_connection_in_use_keeps_nobody_waiting() {
    let mut shim = joined(1);
    let mut first = shim.connect();
    for _ in 0..4 {
        for _ in 0..100 {
            assert_eq!(ask(&mut first, get("/fields").as_bytes()).text(), "ab");
        }
        // Another comes in the middle of that, and leaves again.
        let mut second = shim.connect();
        assert_eq!(ask(&mut second, get("/fields").as_bytes()).text(), "ab");
        assert_eq!(ask(&mut first, get("/fields").as_bytes()).text(), "ab");
        assert_eq!(ask(&mut second, get("/lazy").as_bytes()).text(), "lazy");
    }
    // A body may take longer than is waited for the next request.
    let head = "POST /size_of_body HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n";
    for piece in [head, "01", "2345", "6789ab"] {
        first.write_all(piece.as_bytes()).unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert_eq!(read_reply(&mut first, false).text(), "2 97");
    // A head in pieces, too.
    for piece in ["GET /fields HT", "TP/1.1\r\nHost: a\r", "\n\r\n"] {
        first.write_all(piece.as_bytes()).unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert_eq!(read_reply(&mut first, false).text(), "ab");
    for _ in 0..100 {
        assert_eq!(ask(&mut first, get("/fields").as_bytes()).text(), "ab");
    }
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn bodies_of_requests_are_read_as_they_come() {
    let shim = joined(1);
    let mut stream = shim.connect();
    let body = vec![1_u8; 3_000_010];
    let head =
        format!("POST /size_of_body HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut writer = stream.try_clone().unwrap();
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&[head.as_bytes(), &body].concat()));
        read_reply(&mut stream, false)
    });
    assert_eq!(reply.text(), "3000000 3000");

    let expects = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    stream.write_all(expects("/size_of_body").as_bytes()).unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"0123456789ab").unwrap();
    assert_eq!(read_reply(&mut stream, false).text(), "2 97");
    let text = until_end(&shim, &expects("/lazy"));
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("lazy"), "{text}");
    for size in ["+1", "0x1", "1_0", "", " "] {
        let request = format!(
            "POST /size_of_body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n"
        );
        assert_eq!(until_end(&shim, &request), "", "{size:?}");
    }
    shim.stop();
}

#[test]
fn files_are_sent_from_where_they_stand() {
    let shim = joined(1);
    let numbers = std::fs::read_to_string(shim.directory.path().join("numbers")).unwrap();
    let mut stream = shim.connect();
    for target in ["/file_from", "/file_from?raw"] {
        let reply = ask(&mut stream, get(target).as_bytes());
        assert!(reply.text() == &numbers[10..], "{target}");
        assert_eq!(reply.field("Content-Length"), Some("199990"));
    }
    let reply = ask(&mut stream, get("/file_from?size=7").as_bytes());
    assert_eq!(reply.text(), &numbers[10..17]);
    let reply = ask(&mut stream, b"HEAD /file_from HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.field("Content-Length"), reply.body.len()), (Some("199990"), 0));
    let reply = ask(&mut stream, get("/file_in_memory").as_bytes());
    assert_eq!((reply.body.len(), reply.field("Transfer-Encoding")), (200_000, Some("chunked")));
    let text = until_end(&shim, &get("/file_from?size=199999"));
    assert!(text.ends_with("39999") && text.contains("Content-Length: 199999\r\n"));
    let log = shim.stop();
    assert_eq!(log.matches("closed the file").count(), 5, "{log}");
    assert!(log.contains("has 9 bytes less than its Content-Length"), "{log}");
}

#[test]
fn as_many_requests_are_answered_at_once_as_were_promised() {
    let mut shim = joined(3);
    for _ in 0..2 {
        let mut meeting = [shim.connect(), shim.connect(), shim.connect()];
        for stream in &mut meeting {
            stream.write_all(get("/meet").as_bytes()).unwrap();
        }
        for stream in &mut meeting {
            assert_eq!(read_reply(stream, false).text(), "True");
        }
    }
    // Whoever is at work finishes it, also when two others were told to stop.
    let mut stream = shim.connect();
    stream.write_all(get("/sleeps").as_bytes()).unwrap();
    let asleep = shim.directory.path().join("wake.asked");
    until("it sleeps", || asleep.exists());
    assert_eq!(shim.get("/lazy").text(), "lazy");
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    shim.directory.write("wake", "");
    assert_eq!(read_reply(&mut stream, false).text(), "woken");
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}
