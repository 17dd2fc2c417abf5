//! An ASGI app under uvicorn, as the built-in adapter starts it.

use crate::harness::{Directory, Shim, ask, read_reply, spec, until};
use nix::sys::signal::Signal;
use rip::contract::app::{Reload, Runtime};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};

/// Tells of its life in the file `life`, and what it sees of requests in `seen`.
const APP: &str = r#"
import asyncio, os

VERSION = "one"

def note(name, text):
    with open(name, "a") as file:
        file.write(text + "\n")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            what = (await receive())["type"].rpartition(".")[2]
            note("life", "%s of %s" % (what, VERSION))
            scope["state"]["left"] = "by the startup of " + VERSION
            await send({"type": "lifespan.%s.complete" % what})
            if what == "shutdown":
                return
    path = scope["path"]
    if path == "/boom":
        raise RuntimeError("it broke")
    fields = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    if path == "/late":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("it broke late")
    if path == "/endless":
        try:
            while True:
                await send({"type": "http.response.body", "body": b"piece", "more_body": True})
        finally:
            note("seen", "the end of it")
    if path == "/slow":
        note("seen", "begun")
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    if path == "/deaf":
        event = await receive()
        while event["type"] != "http.disconnect":
            event = await receive()
        note("seen", "the client has left")
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    said = [VERSION, scope["state"]["left"], scope["scheme"], scope["client"], scope["raw_path"]]
    await send({"type": "http.response.body", "body": "\n".join(map(str, said)).encode()})
"#;

/// The virtual environment that `scripts/setup` makes.
fn venv() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/venv");
    assert!(path.exists(), "{} is missing: run scripts/setup", path.display());
    path
}

fn start(text: &str, reload: Reload) -> Shim {
    let directory = Directory::new();
    directory.write("app.py", text);
    std::os::unix::fs::symlink(venv(), directory.path().join(".venv")).unwrap();
    let mut spec = spec(&directory, Runtime::Python, &["app.py"]);
    spec.reload = reload;
    Shim::start(directory, spec)
}

fn joined(text: &str) -> Shim {
    let mut shim = start(text, Reload::None);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    shim
}

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.example:81\r\n\r\n").into_bytes()
}

fn noted(shim: &Shim, name: &str) -> String {
    std::fs::read_to_string(shim.directory.path().join(name)).unwrap_or_default()
}

fn note(shim: &Shim, name: &str, text: &str) {
    until(&format!("{text} in {name}"), || noted(shim, name).contains(text));
}

#[test]
fn an_app_has_its_lifespan_and_sees_the_client() {
    let shim = joined(APP);
    assert_eq!(noted(&shim, "life"), "startup of one\n");
    let mut stream = shim.connect();
    for _ in 0..2 {
        let reply = ask(
            &mut stream,
            b"GET /a%20b?x HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 192.0.2.7\r\n\
              X-Forwarded-Proto: https\r\n\r\n",
        );
        assert!(reply.reusable);
        let expected = "one\nby the startup of one\nhttps\n('192.0.2.7', 0)\nb'/a%20b'";
        assert_eq!(reply.text(), expected);
        assert!(reply.field("server").is_none() && reply.field("date").is_none(), "{reply:?}");
    }
    // The chain of a proxy may begin with what the client made up.
    let chain = "X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nRip-Client: 192.0.2.7\r\n";
    let reply = shim.ask(&format!("GET /x HTTP/1.1\r\nHost: a\r\n{chain}\r\n"));
    assert!(reply.text().contains("\nhttp\n('192.0.2.7', 0)\n"), "{}", reply.text());
    let directory = shim.directory.path().join("life");
    let life = std::fs::File::open(directory).unwrap();
    shim.stop();
    assert_eq!(std::io::read_to_string(life).unwrap(), "startup of one\nshutdown of one\n");
}

#[test]
fn a_request_in_progress_is_finished_before_the_shutdown() {
    let mut shim = joined(APP);
    let (mut stream, idle) = (shim.connect(), shim.connect());
    stream.write_all(&get("/slow")).unwrap();
    note(&shim, "seen", "begun");
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    // It is stopping: what is idle is closed.
    assert_eq!((&idle).read(&mut [0]).unwrap(), 0);
    assert_eq!(noted(&shim, "life"), "startup of one\n");
    shim.directory.write("go", "");
    assert!(read_reply(&mut stream, false).text().starts_with("one\n"));
    assert_eq!(shim.exit().code(), Some(0));
    assert_eq!(noted(&shim, "life"), "startup of one\nshutdown of one\n");
    shim.assert_nothing_left();
}

#[test]
fn a_connection_lasts_until_the_app_is_done_whether_or_not_its_client_has_left() {
    let shim = joined(APP);
    let mut stream = shim.connect();
    stream.write_all(&get("/deaf")).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    note(&shim, "seen", "the client has left");
    // The head may have come; the end has not.
    stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let mut block = [0; 4096];
    let count = stream.read(&mut block).unwrap_or(1);
    assert_ne!(count, 0, "it ended while the app was at work");
    shim.directory.write("go", "");
    stream.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(shim.get("/").text().starts_with("one"));
    shim.stop();
}

#[test]
fn an_app_that_goes_on_sending_to_nobody_is_ended() {
    let shim = joined(APP);
    let mut stream = shim.connect();
    stream.write_all(&get("/endless")).unwrap();
    let mut block = [0; 4096];
    assert_ne!(stream.read(&mut block).unwrap(), 0);
    stream.shutdown(Shutdown::Write).unwrap();
    while stream.read(&mut block).unwrap() != 0 {}
    note(&shim, "seen", "the end of it");
    assert!(shim.get("/").text().starts_with("one"));
    assert!(!shim.stop().contains("Traceback"));
}

#[test]
fn failures_are_told_with_the_id_of_the_request() {
    let shim = joined(APP);
    let reply = shim.ask("GET /boom?a=b HTTP/1.1\r\nHost: a\r\nX-Request-Id: r77\r\n\r\n");
    assert_eq!((reply.status, reply.text()), (500, "Internal Server Error"));
    let mut stream = shim.connect();
    stream.write_all(&get("/late")).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("half") && !text.ends_with("0\r\n\r\n"), "{text}");
    let stderr = shim.stop();
    assert!(stderr.contains("request r77 failed: GET /boom?a=b\n"), "{stderr}");
    assert!(stderr.contains("RuntimeError: it broke\n"), "{stderr}");
    assert!(stderr.contains("RuntimeError: it broke late\n"), "{stderr}");
}

#[test]
fn what_the_app_does_to_logging_does_not_hide_its_failures() {
    let text = format!(
        "import logging.config, uvicorn\n\
         logging.config.dictConfig({{'version': 1, 'disable_existing_loggers': True}})\n{APP}"
    );
    let shim = joined(&text);
    assert_eq!(shim.get("/boom").status, 500);
    assert!(shim.stop().contains("RuntimeError: it broke\n"));
}

#[test]
fn a_startup_that_fails_ends_the_start_with_what_it_said() {
    let lifespan = |lines: &str| {
        format!(
            "async def app(scope, receive, send):\n    await receive()\n    \
             failed = {{'type': 'lifespan.startup.failed'}}\n    {lines}\n"
        )
    };
    let failed = |text: &str| start(text, Reload::None).failed().1;
    let said =
        lifespan("await send(dict(failed, message='Traceback:\\n  OSError: no database\\n'))");
    assert_eq!(failed(&said), "the startup of app in app.py failed: OSError: no database");
    let silent = lifespan("await send(failed)");
    assert_eq!(failed(&silent), "the startup of app in app.py failed: it did not say why");
    let exit = lifespan("raise SystemExit(3)");
    assert_eq!(failed(&exit), "app in app.py ended in its startup: SystemExit(3)");
    let starlette = "import contextlib\nfrom starlette.applications import Starlette\n\
                     @contextlib.asynccontextmanager\nasync def lifespan(app):\n    \
                     raise RuntimeError('no database')\n    yield\n\
                     app = Starlette(lifespan=lifespan)\n";
    assert_eq!(failed(starlette), "the startup of app in app.py failed: RuntimeError: no database");
}

#[test]
fn a_shutdown_that_fails_is_told() {
    let app = |lines: &str| {
        format!(
            "async def app(scope, receive, send):\n    await receive()\n    \
             if scope['type'] == 'http':\n        \
             await send({{'type': 'http.response.start', 'status': 204, 'headers': []}})\n        \
             return await send({{'type': 'http.response.body'}})\n    \
             await send({{'type': 'lifespan.startup.complete'}})\n    await receive()\n    {lines}\n"
        )
    };
    let failed = "await send({'type': 'lifespan.shutdown.failed', 'message': 'still busy'})";
    for (lines, reason) in [(failed, "still busy"), ("raise OSError('gone')", "OSError('gone')")] {
        let stderr = joined(&app(lines)).stop();
        let expected = format!("the shutdown of app in app.py failed: {reason}\n");
        assert!(stderr.contains(&expected), "{stderr}");
    }
    // Who never returns is not waited for.
    joined(&app("await send({'type': 'lifespan.shutdown.complete'})\n    await receive()")).stop();
}

#[test]
fn an_app_that_knows_of_no_lifespan_is_served_without() {
    let answers = "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    \
                   await send({'type': 'http.response.body', 'body': b'here'})\n";
    let head = "async def app(scope, receive, send):\n";
    let raises = format!("{head}    assert scope['type'] == 'http'\n{answers}");
    let late = format!("{head}    await receive()\n    path = scope['path']\n{answers}");
    let returns = format!("{head}    if scope['type'] == 'lifespan': return\n{answers}");
    for text in [raises, late, returns] {
        let shim = joined(&text);
        assert_eq!(shim.get("/").text(), "here", "{text}");
        shim.stop();
    }
}

#[test]
fn apps_are_told_apart_by_how_they_are_called() {
    let inner = "async def inner(scope, receive, send):\n    assert scope['type'] == 'http'\n    \
                 await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    \
                 await send({'type': 'http.response.body', 'body': b'asgi'})\n\
                 def web(environ, start_response):\n    start_response('200 OK', [])\n    \
                 return [b'wsgi']\nimport functools\n";
    for (text, expected) in [
        ("app = inner", "asgi"),
        ("def app(scope, receive, send): return inner(scope, receive, send)", "asgi"),
        ("app = functools.partial(inner)", "asgi"),
        ("class A:\n    async def __call__(self, *all): await inner(*all)\napp = A()", "asgi"),
        (
            "class A:\n    def __init__(self, scope, receive, send): self.all = scope, receive, send\n    \
          def __await__(self): return inner(*self.all).__await__()\napp = A",
            "asgi",
        ),
        ("class A:\n    def run(self, s, r, t): return inner(s, r, t)\napp = A().run", "asgi"),
        ("app = web", "wsgi"),
        ("def app(*all): return web(*all)", "wsgi"),
        ("app = functools.partial(lambda one, e, s: web(e, s), 1)", "wsgi"),
        (
            "class A:\n    def __init__(self, e, s): self.all = web(e, s)\n    \
          def __iter__(self): return iter(self.all)\napp = A",
            "wsgi",
        ),
        ("class A:\n    def __call__(self, e, s): return web(e, s)\napp = A()", "wsgi"),
        ("@functools.wraps(web)\ndef app(*all): return web(*all)", "wsgi"),
    ] {
        let mut shim = start(&format!("{inner}{text}\n"), Reload::None);
        shim.joined();
        assert_eq!(shim.get("/").text(), expected, "{text}");
        shim.stop();
    }
    let refused = |text: &str| start(text, Reload::None).failed().1;
    for text in [
        "def app(scope):\n    async def inner(receive, send): pass\n    return inner",
        "class app:\n    def __init__(self, scope): pass\n    async def __call__(self, r, s): pass",
    ] {
        let message = refused(text);
        assert!(message.starts_with("app in app.py is an app of ASGI 2, "), "{text}: {message}");
    }
    let message = refused("def app(): pass");
    assert!(message.starts_with("app in app.py takes no arguments: "), "{message}");
    for text in ["async def app(request): pass", "import math\napp = math.cos"] {
        let message = refused(text);
        assert!(message.contains(" is called neither as a WSGI app, "), "{text}: {message}");
    }
    let message = refused("from aiohttp import web\napp = web.Application()\n");
    assert!(message.contains("python3 -m aiohttp.web -U {socket}"), "{message}");
}

#[test]
fn what_is_missing_is_named_with_a_way_to_get_it() {
    let refused = |stand_in: &str| {
        let directory = Directory::new();
        directory.write("app.py", "async def app(scope, receive, send): pass");
        directory.write("uvicorn.py", stand_in);
        let spec = spec(&directory, Runtime::Python, &["app.py"]);
        Shim::start(directory, spec).failed().1
    };
    assert_eq!(
        refused("raise ModuleNotFoundError('none', name='uvicorn')"),
        "app in app.py is an ASGI app, which needs the package uvicorn; \
         install it with `pip install uvicorn`"
    );
    assert_eq!(
        refused("raise ModuleNotFoundError('none', name='h11')"),
        "uvicorn needs the module h11, which is not installed; install it with `pip install h11`"
    );
    assert_eq!(
        refused("__version__ = '0.13.4'"),
        "uvicorn 0.13.4 is too old, 0.20 is needed; install it with `pip install -U uvicorn`"
    );
}

#[test]
fn a_new_version_takes_over_when_it_has_started_and_the_old_one_ends_with_its_requests() {
    let mut shim = start(APP, Reload::Module);
    shim.joined();
    let mut old = shim.connect();
    old.write_all(&get("/slow")).unwrap();
    note(&shim, "seen", "begun");
    shim.directory.write("app.py", &APP.replace("\"one\"", "\"two\""));
    shim.signal(Signal::SIGUSR1);
    until("the new version", || shim.get("/").text().starts_with("two\nby the startup of two\n"));
    assert_eq!(noted(&shim, "life"), "startup of one\nstartup of two\n");
    shim.directory.write("go", "");
    assert!(read_reply(&mut old, false).text().starts_with("one\nby the startup of one\n"));
    note(&shim, "life", "shutdown of one");
    shim.stop();
}

#[test]
fn a_version_that_cannot_be_imported_or_started_is_not_taken() {
    let mut shim = start(APP, Reload::Module);
    shim.joined();
    shim.directory.write("helper.py", "KIND = 'a helper'");
    let failing = "import helper\nasync def app(scope, receive, send):\n    await receive()\n    \
                   open(helper.KIND, 'w').close()\n    \
                   await send({'type': 'lifespan.startup.failed', 'message': 'not today'})\n";
    let web = "def app(environ, start): open('web', 'w').close()\nopen('wsgi', 'w').close()\n";
    for (text, sign) in [
        ("open('broken', 'w').close()\nno python", "broken"),
        ("open('raises', 'w').close()\nraise RuntimeError('no')", "raises"),
        (failing, "a helper"),
        (web, "wsgi"),
    ] {
        shim.directory.write("app.py", text);
        shim.signal(Signal::SIGUSR1);
        if sign != "broken" {
            until(sign, || shim.directory.path().join(sign).exists());
        }
        assert!(shim.get("/").text().starts_with("one\n"), "{text}");
    }
    shim.directory.write("app.py", &APP.replace("\"one\"", "\"two\""));
    shim.signal(Signal::SIGUSR1);
    until("a version that can", || shim.get("/").text().starts_with("two\n"));
    note(&shim, "life", "startup of one\nstartup of two\nshutdown of one\n");
    let stderr = shim.stop();
    for line in
        ["failed: not today; the last good version", "is WSGI now, which takes fresh workers"]
    {
        assert!(stderr.contains(line), "{line}: {stderr}");
    }
}
