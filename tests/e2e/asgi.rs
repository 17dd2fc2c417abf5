//! ASGI apps under uvicorn: several requests at once, clients that leave, versions that follow each
//! other, and what ends a start.

use crate::harness::websocket::Socket;
use crate::harness::{Server, Setup, eventually};
use std::fs;

/// Each request to `/wait/NAME` is noted in the file `waiting`, and answered when there is a file `NAME`.
const APP: &str = r#"
import asyncio, contextlib, os
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse

VERSION = "one"
HERE = os.path.dirname(os.path.abspath(__file__))

def note(name, text):
    with open(os.path.join(HERE, name), "a") as file:
        file.write(text + "\n")

@contextlib.asynccontextmanager
async def lifespan(app):
    if VERSION == "broken":
        raise RuntimeError("no database today")
    note("life", "start of " + VERSION)
    yield
    note("life", "end of " + VERSION)

app = FastAPI(lifespan=lifespan)

@app.get("/", response_class=PlainTextResponse)
def version():
    return "%s %d" % (VERSION, os.getpid())

@app.get("/wait/{name}", response_class=PlainTextResponse)
async def wait(name: str):
    note("waiting", name)
    while not os.path.exists(os.path.join(HERE, name)):
        await asyncio.sleep(0.01)
    return "%s of %s" % (name, VERSION)

@app.websocket("/ws")
async def echo(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text("%s by %s" % (text, VERSION))
"#;

fn app(version: &str) -> String {
    APP.replace("\"one\"", &format!("{version:?}"))
}

fn noted(server: &Server, name: &str) -> String {
    fs::read_to_string(server.path("app").join(name)).unwrap_or_default()
}

fn note(server: &Server, name: &str, text: &str) {
    eventually(&format!("{text} in {name}"), || noted(server, name).contains(text));
}

fn put(server: &Server, name: &str, text: &str) {
    fs::write(server.path("app").join(name), text).expect("a file of the app");
}

#[test]
fn a_worker_serves_as_many_requests_at_once_as_it_is_given() {
    let server = Setup::python(APP).workers(1).concurrency(2).flag("--reload", "none").start();
    let mut clients = [server.connect(), server.connect(), server.connect()];
    for (client, name) in clients.iter_mut().zip(["first", "second", "third"]) {
        client.request("GET", &format!("/wait/{name}"), "", b"");
        if name != "third" {
            note(&server, "waiting", name);
        }
    }
    eventually("the third in the queue", || server.app()["queueDepth"] == 1);
    assert!(!noted(&server, "waiting").contains("third"));
    put(&server, "second", "");
    assert_eq!(clients[1].response().text(), "second of one");
    note(&server, "waiting", "third");
    for (client, name) in clients.iter_mut().zip(["first", "second", "third"]) {
        put(&server, name, "");
        if name != "second" {
            assert_eq!(client.response().text(), format!("{name} of one"));
        }
    }
}

#[test]
fn a_worker_whose_client_has_left_is_given_nothing_before_it_is_done() {
    let server = Setup::python(APP).workers(1).flag("--reload", "none").start();
    let mut gone = server.connect();
    gone.request("GET", "/wait/first", "", b"");
    note(&server, "waiting", "first");
    gone.reset();
    let mut next = server.connect();
    next.request("GET", "/wait/second", "", b"");
    eventually("the next in the queue", || server.app()["queueDepth"] == 1);
    put(&server, "second", "");
    // Longer than it takes until the end of an exchange that was given up is looked for.
    assert!(next.is_silent_for(std::time::Duration::from_millis(1_500)));
    assert!(!noted(&server, "waiting").contains("second"), "{}", noted(&server, "waiting"));
    put(&server, "first", "");
    assert_eq!(next.response().text(), "second of one");
    assert_eq!(server.app()["restarts"], 0);
}

#[test]
fn modules_are_reloaded_inside_the_worker_while_connections_last() {
    let server = Setup::python(APP).workers(1).concurrency(4).word("--reload=module").start();
    let first = server.get("/").text();
    let mut socket = Socket::open(&server, "/ws");
    socket.say("hello");
    assert_eq!(socket.hear_text(), "hello by one");
    put(&server, "app.py", &app("two"));
    eventually("the second version", || server.get("/").text() == first.replace("one", "two"));
    socket.say("still here");
    assert_eq!(socket.hear_text(), "still here by one");
    assert_eq!(noted(&server, "life"), "start of one\nstart of two\n");
    socket.close(1000, "");
    note(&server, "life", "end of one");
    put(&server, "app.py", &app("broken"));
    server.wait_for_log("failed: RuntimeError: no database today; the last good version goes on");
    assert_eq!(server.get("/").text(), first.replace("one", "two"), "the same process");
    assert!(!server.log().contains("roll_start"));
}

#[test]
fn a_roll_to_an_app_whose_startup_fails_leaves_the_old_one_serving() {
    let server = Setup::python(APP).workers(2).flag("--reload", "none").start();
    server.wait_for_workers(2);
    put(&server, "app.py", &app("broken"));
    let (code, output) = server.cli(&["ctl", "restart"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("failed: RuntimeError: no database today"), "{output}");
    assert!(server.get("/").text().starts_with("one "));
    assert!(!noted(&server, "life").contains("end of"), "{}", noted(&server, "life"));
}

#[test]
fn a_websocket_is_closed_in_order_when_its_worker_is_retired() {
    let setup = Setup::python(APP).workers(1).flag("--reload", "none");
    let server = setup.flag("--drain-timeout-ms", 200).start();
    let mut socket = Socket::open(&server, "/ws");
    socket.say("hello");
    assert_eq!(socket.hear_text(), "hello by one");
    // It lasts as long as there is patience for what is under way.
    server.order(&["ctl", "restart"]);
    assert_eq!(socket.hear_close().0, 1012);
    note(&server, "life", "end of one");
    assert_eq!(server.app()["restarts"], 0);
}

/// Its streams come as a whole, because its generators are not asynchronous: Django says so itself.
#[test]
fn django_is_served_by_its_other_file() {
    let server = Setup::framework_entry("django", "mysite/asgi.py").workers(1).start();
    assert!(server.get("/").text().contains("<h1>Hello</h1>"));
    let about = server.request("GET", "/about?a=b", "User-Agent: Suite/1\r\n", b"").json();
    assert_eq!((&about["client"], &about["scheme"]), (&"127.0.0.1".into(), &"http".into()));
    assert_eq!(server.get("/stream").text(), "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(server.get("/error").status, 500);
    server.wait_for_log("a mistake made on purpose");
    assert_eq!(server.app()["restarts"], 0);
}

#[test]
fn what_is_not_installed_ends_the_start() {
    let plain = "async def app(scope, receive, send): pass\n";
    let none = "raise ModuleNotFoundError('none', name='uvicorn')\n";
    let (code, output) = Setup::python(plain).with_file("uvicorn.py", none).fails();
    assert_eq!(code, 1, "{output}");
    let line =
        "is an ASGI app, which needs the package uvicorn; install it with `pip install uvicorn`";
    assert!(output.contains(line), "{output}");
    let (code, output) = Setup::python("import nowhere_to_be_found\n").fails();
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("install it with `pip install nowhere_to_be_found`"), "{output}");
}
