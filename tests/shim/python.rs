//! A WSGI app under the built-in adapter.

use crate::harness::{Directory, Shim, ask, read_reply, spec};
use nix::sys::signal::Signal;
use rip::contract::app::Runtime;
use rip::wire::boot::BootStage;
use std::io::{Read, Write};

/// Checked on both sides by the standard library's validator.
const VALIDATED: &str = r#"
import os, sys, time
from wsgiref.validate import validator

def simple_app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [("Content-Type", environ.get("CONTENT_TYPE", "text/plain"))])
        return [body]
    if path == "/lines":
        lines = list(environ["wsgi.input"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % len(lines)]
    if path == "/generator":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"%d\n" % number for number in range(3))
    if path == "/write":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one ")
        write(b"two ")
        return [b"three"]
    if path == "/nothing":
        start_response("204 No Content", [])
        return []
    if path == "/fields":
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-A", "1"), ("X-A", "2")])
        return [b"ok"]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    shown = sorted((key, value) for key, value in environ.items() if isinstance(value, str))
    return ["\n".join("%s=%s" % pair for pair in shown).encode()]

application = validator(simple_app)
"#;

/// What a validator would not let through, or does not look at.
const PLAIN: &str = r#"
import sys, os
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/boom":
        raise RuntimeError("it broke")
    if path == "/late":
        def late():
            yield b"half"
            raise RuntimeError("it broke late")
        start_response("200 OK", [])
        return late()
    if path == "/again":
        start_response("200 OK", [])
        try:
            raise RuntimeError("replaced")
        except RuntimeError:
            start_response("503 Service Unavailable", [("X-Why", "replaced")], sys.exc_info())
        return [b"sorry"]
    if path == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    if path == "/short":
        start_response("200 OK", [("Content-Length", "10")])
        return [b"four"]
    if path == "/inject":
        start_response("200 OK", [("X-A", "b\r\nX-C: d")])
        return [b""]
    if path == "/text":
        start_response("200 OK", [])
        return ["text"]
    if path == "/unread":
        start_response("200 OK", [])
        return [b"ok"]
    if path == "/chunks":
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]
    if path == "/slow":
        import time
        open("slow", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
        start_response("200 OK", [])
        return [b"slow"]
    print("printed")
    start_response("200 OK", [])
    return [b"plain"]
"#;

fn start(text: &str, entry: &str) -> Shim {
    let directory = Directory::new();
    directory.write("app.py", text);
    let spec = spec(&directory, Runtime::Python, &[entry]);
    Shim::start(directory, spec)
}

fn joined(text: &str) -> Shim {
    let mut shim = start(text, "app.py");
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    shim
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.example:81\r\n\r\n").into_bytes()
}

#[test]
fn an_app_under_the_validator_is_served() {
    let shim = joined(VALIDATED);
    let mut stream = shim.connect();
    let request = "GET /a%20b/%C3%A9?x=%20y HTTP/1.1\r\nHost: app.example:81\r\nCookie: a=1\r\n\
                   Cookie: b=2\r\nAccept: x\r\nAccept: y\r\nProxy: evil\r\nX-Request-Id: r1\r\n\
                   X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
                   X-Request-Start: t=5\r\n\r\n";
    // The second time its fields are known already; only id and time differ.
    for (id, time) in [("r1", "t=5"), ("r2", "t=66")] {
        let request = request.replace("r1", id).replace("t=5", time);
        let reply = ask(&mut stream, request.as_bytes());
        assert!(reply.reusable);
        let text = reply.text();
        for line in [
            "REQUEST_METHOD=GET",
            "SCRIPT_NAME=",
            "PATH_INFO=/a b/Ã©",
            "QUERY_STRING=x=%20y",
            "RAW_URI=/a%20b/%C3%A9?x=%20y",
            "SERVER_NAME=app.example",
            "SERVER_PORT=81",
            "SERVER_PROTOCOL=HTTP/1.1",
            "REMOTE_ADDR=192.0.2.7",
            "wsgi.url_scheme=https",
            "HTTP_COOKIE=a=1; b=2",
            "HTTP_ACCEPT=x,y",
            &format!("HTTP_X_REQUEST_ID={id}"),
            &format!("HTTP_X_REQUEST_START={time}"),
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("HTTP_PROXY"), "{text}");
    }

    let body = "line\n".repeat(100_000);
    for target in ["/echo", "/lines"] {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut writer = stream.try_clone().unwrap();
        let (sent, reply) = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                writer
                    .write_all(request.as_bytes())
                    .and_then(|()| writer.write_all(body.as_bytes()))
            });
            let reply = read_reply(&mut stream, false);
            (sending.join().unwrap(), reply)
        });
        sent.unwrap();
        let expected = if target == "/echo" { &body } else { "100000" };
        assert!(reply.text() == expected, "{target}");
    }
    assert_eq!(ask(&mut stream, &get("/generator")).text(), "0\n1\n2\n");
    assert_eq!(ask(&mut stream, &get("/write")).text(), "one two three");
    let reply = ask(&mut stream, &get("/nothing"));
    assert_eq!((reply.status, reply.field("Content-Length")), (204, None));
    let reply = ask(&mut stream, &get("/fields"));
    assert_eq!(reply.fields.iter().filter(|(name, _)| name == "X-A").count(), 2);
    let reply = ask(&mut stream, b"HEAD /fields HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.status, reply.body.len(), reply.reusable), (200, 0, true));
    let stderr = shim.stop();
    assert_eq!(stderr, "", "the validator found nothing");
}

#[test]
fn failures_are_answered_and_told_with_the_requests_id() {
    let shim = joined(PLAIN);
    let mut stream = shim.connect();
    let reply = ask(&mut stream, b"GET /boom HTTP/1.1\r\nHost: a\r\nX-Request-Id: r77\r\n\r\n");
    assert_eq!((reply.status, reply.reusable), (500, true));
    for target in ["/inject", "/text"] {
        let reply = ask(&mut stream, &get(target));
        assert_eq!((reply.status, reply.field("X-C")), (500, None), "{target}");
    }
    let reply = ask(&mut stream, &get("/again"));
    assert_eq!(
        (reply.status, reply.field("X-Why"), reply.text()),
        (503, Some("replaced"), "sorry")
    );

    // What cannot be completed does not look complete.
    for target in ["/late", "/short"] {
        let mut stream = shim.connect();
        stream.write_all(&get(target)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("half") || text.ends_with("four"), "{text}");
        assert!(!text.ends_with("0\r\n\r\n"), "{text}");
    }
    let stderr = shim.stop();
    assert!(stderr.contains("request r77 failed: GET /boom\nTraceback"), "{stderr}");
    assert!(stderr.contains("it broke late"), "{stderr}");
}

#[test]
fn bodies_come_and_go_in_every_form() {
    let shim = joined(PLAIN);
    let mut stream = shim.connect();
    let file = std::fs::read_to_string(shim.directory.path().join("app.py")).unwrap();
    assert_eq!(ask(&mut stream, &get("/file")).text(), file);
    let chunked = b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2;x\r\nhi\r\n4\r\n you\r\n0\r\nA: b\r\n\r\n";
    assert_eq!(ask(&mut stream, chunked).text(), "hi you");
    let reply = ask(&mut stream, b"HEAD /unread HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((reply.field("Content-Length"), reply.body.len()), (Some("2"), 0));
    // An unread body does not disturb the next request, also a pipelined one.
    let body = "x".repeat(200_000);
    let mut two =
        format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    two.push_str("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    stream.write_all(two.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\r\n\r\nokHTTP/1.1 200 OK\r\n") && text.ends_with("plain"), "{text}");
    // Byte by byte, while another connection is served in between.
    let (mut slow, mut other) = (shim.connect(), shim.connect());
    for byte in get("/") {
        slow.write_all(&[byte]).unwrap();
    }
    assert_eq!(ask(&mut other, &get("/")).text(), "plain");
    assert_eq!(read_reply(&mut slow, false).text(), "plain");
    shim.stop();
}

#[test]
fn a_request_in_progress_is_finished() {
    let mut shim = joined(PLAIN);
    let mut stream = shim.connect();
    stream.write_all(&get("/slow")).unwrap();
    let begun = shim.directory.path().join("slow");
    crate::harness::until("it works", || begun.exists());
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    shim.directory.write("go", "");
    assert_eq!(read_reply(&mut stream, false).text(), "slow");
    assert_eq!(shim.exit().code(), Some(0));
    shim.assert_nothing_left();
}

#[test]
fn what_is_wrong_with_an_entry_is_said_in_one_line() {
    let refused = |text: &str, entry: &str| {
        let (stage, message) = start(text, entry).failed();
        assert!(matches!(stage, BootStage::Ready | BootStage::Find), "{stage}: {message}");
        message
    };
    let message = refused("import flask_that_is_not_there.x", "app.py");
    assert_eq!(
        message,
        "app.py needs the module flask_that_is_not_there, which is not installed; \
         install it with `pip install flask_that_is_not_there`"
    );
    let message = refused("x = 1", "app.py");
    assert_eq!(
        message,
        "app.py has neither `application` nor `app`; name what is to be served: app.py:NAME"
    );
    assert_eq!(refused("x = 1", "app.py:nope"), "app.py has no nope");
    let factory = "def create_app():\n    return None\n";
    let message = refused(factory, "app.py");
    assert!(message.ends_with("name what is to be served: 'app.py:create_app()'"), "{message}");
    let message = refused(factory, "app.py:create_app");
    assert!(message.starts_with("create_app in app.py takes no arguments: "), "{message}");
    assert_eq!(
        refused("app = 1", "app"),
        "app in app cannot be called: it is neither a WSGI nor an ASGI app"
    );
    let message = refused("x = 1", "pkg.nope:app");
    assert!(message.starts_with("there is no module pkg in "), "{message}");
    let message = refused("syntax error", "app.py");
    assert!(message.starts_with("app.py cannot be imported: SyntaxError: "), "{message}");
    assert!(refused("", "nope.py").ends_with("/nope.py does not exist"));
}

#[test]
fn an_app_that_serves_by_itself_ends_the_start_and_a_slow_one_does_not() {
    // It serves, or it ends itself because another worker does.
    let serves = "server.serve_forever()";
    let ends = "import sys\nserver.service_actions = sys.exit\nserver.serve_forever(0.01)";
    for (last, line) in [(serves, 3), (ends, 5)] {
        let text = format!(
            "import socketserver\nserver = socketserver.TCPServer(('127.0.0.1', 0), None)\n{last}\n"
        );
        let (stage, message) = start(&text, "app.py").failed();
        assert_eq!(stage, BootStage::Find, "{message}");
        let begins = "app.py serves by itself while it is imported (/";
        let ends = format!("/app.py, line {line}); put that below `if __name__ == \"__main__\":`");
        assert!(message.starts_with(begins) && message.ends_with(&ends), "{message}");
    }
    let text = "import time\ntime.sleep(2.5)\n\
                def app(e, s):\n    s('200 OK', [])\n    return [b'slow']\n";
    let mut shim = start(text, "app.py");
    shim.joined();
    assert_eq!(shim.get("/").text(), "slow");
    shim.stop();
}

#[test]
fn entries_may_be_modules_attributes_and_factories() {
    let text = "class A:\n    \
                    def web(self, e, s):\n        s('200 OK', [])\n        return [b'found']\n\
                def make():\n    return A().web\na = A()\n";
    for entry in ["app:a.web", "app.py:make()", "app.py:a.web"] {
        let mut shim = start(text, entry);
        shim.joined();
        assert_eq!(shim.get("/").text(), "found", "{entry}");
        shim.stop();
    }
}

#[test]
fn a_file_of_a_package_is_imported_as_such() {
    let served = |package: &str, entry: &str| {
        let directory = Directory::new();
        directory.write(&format!("{package}/__init__.py"), "WHO = 'the package'\n");
        directory.write(&format!("{package}/sub/__init__.py"), "");
        directory.write(&format!("{package}/sub/beside.py"), "");
        let text = format!(
            "import os, {package}\nfrom .. import WHO\nimport beside\n\
             def app(e, s):\n    s('200 OK', [])\n    return [WHO.encode(), __name__.encode()]\n"
        );
        directory.write(&format!("{package}/sub/app.py"), &text);
        let mut spec = spec(&directory, Runtime::Python, &[entry]);
        spec.launch.cwd = directory.join(&format!("{package}/sub"));
        Shim::start(directory, spec)
    };
    let mut shim = served("shop", "app.py");
    shim.joined();
    assert_eq!(shim.get("/").text(), "the packageshop.sub.app");
    shim.stop();
    // One that is called as a module of the standard library is none, or it would be in its place.
    let (_, message) = served("site", "app.py").failed();
    assert!(
        message.contains("attempted relative import with no known parent package"),
        "{message}"
    );
}
