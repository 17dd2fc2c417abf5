//! Real clients and real servers: what people have is what must work.

use crate::harness::{Setup, eventually, tools};
use std::fs;
use std::process::Command;

#[test]
fn curl_gets_puts_and_uploads() {
    let server = Setup::recorder().workers(1).start();
    let url = |target: &str| format!("http://127.0.0.1:{}{target}", server.port());
    let body = server.path("body");
    fs::write(&body, vec![b'c'; 3_000_000]).unwrap();
    let came = server.path("came");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20"]);
    curl.arg("--upload-file").arg(&body).arg("--output").arg(&came).arg(url("/up?echo"));
    let output = tools::finish(&mut curl);
    assert!(output.status.success(), "{}", tools::both(&output));
    assert!(fs::read(&came).unwrap() == fs::read(&body).unwrap());

    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--header",
        "Transfer-Encoding: chunked",
    ]);
    curl.args(["--data-binary", "@-", "--write-out", " %{http_code} %{num_connects}"]);
    curl.arg(url("/chunked?echo")).arg("--next").args(["--silent", "--head"]).arg(url("/head"));
    let output = tools::finish(&mut curl);
    assert!(output.status.success(), "{}", tools::both(&output));
    assert!(tools::both(&output).contains("HTTP/1.1 200"), "{}", tools::both(&output));
}

#[test]
fn wrk_sees_no_error() {
    let server = Setup::builtin("hello").workers(2).concurrency(8).start();
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", "-d2s", "--timeout", "10s"]);
    wrk.arg(format!("http://127.0.0.1:{}/", server.port()));
    let output = tools::finish(&mut wrk);
    let text = tools::both(&output);
    assert!(output.status.success() && text.contains("requests in"), "{text}");
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
}

#[test]
fn h2load_over_http_1_1_sees_every_request_succeed() {
    let server = Setup::builtin("hello").workers(2).concurrency(8).start();
    let mut h2load = Command::new("h2load");
    h2load.args(["--h1", "-n2000", "-c20", "-m1", "-t1"]);
    h2load.arg(format!("http://127.0.0.1:{}/", server.port()));
    let output = tools::finish(&mut h2load);
    let text = tools::both(&output);
    assert!(text.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert!(text.contains("2000 2xx"), "{text}");
}

const UNDICI: &str = r#"
import { Pool } from "undici";
const pool = new Pool(process.argv[2], { connections: 2, pipelining: 10 });
const answers = await Promise.all(Array.from({ length: 300 }, async (_, number) => {
  const method = number % 3 === 0 ? "PUT" : "GET";
  const body = method === "PUT" ? `n=${number}`.repeat(1 + number) : undefined;
  const path = method === "PUT" ? "/u?echo" : `/u?text=${number}`;
  const answer = await pool.request({ path, method, body });
  const text = await answer.body.text();
  return answer.statusCode === 200 && text === (body ?? String(number));
}));
const head = await pool.request({ path: "/u?size=100", method: "HEAD" });
await head.body.dump();
const stream = await pool.request({ path: "/u?count=3&gap=0.01", method: "GET" });
const events = (await stream.body.text()).split("data: ").length - 1;
await pool.close();
console.log(JSON.stringify({ right: answers.filter(Boolean).length, head: head.statusCode, events }));
"#;

#[test]
fn undici_with_pipelining_gets_every_answer_to_its_own_question() {
    let server = Setup::recorder().workers(2).concurrency(4).start();
    let node = tools::cache().join("node");
    assert!(node.join("node_modules/undici").exists(), "undici is missing: run scripts/setup");
    let script = server.path("undici.mjs");
    fs::write(&script, UNDICI).unwrap();
    std::os::unix::fs::symlink(node.join("node_modules"), server.path("node_modules")).unwrap();
    let mut command = Command::new("node");
    command.arg(&script).arg(format!("http://127.0.0.1:{}", server.port()));
    let output = tools::finish(&mut command);
    let text = tools::both(&output);
    assert_eq!(text.trim(), r#"{"right":300,"head":200,"events":3}"#);
}

const HTTP_CLIENT: &str = r#"
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
for number in range(50):
    connection.request("POST", "/p?echo", body=b"%d" % number)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b"%d" % number
connection.request("POST", "/p?echo", body=iter([b"one", b"two"]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
assert connection.getresponse().read() == b"onetwo"
connection.request("HEAD", "/p?size=10")
assert connection.getresponse().read() == b""
connection.request("GET", "/p?count=3")
assert connection.getresponse().read().count(b"data: ") == 3
print("fine")
"#;

#[test]
fn pythons_http_client_keeps_its_connection() {
    let server = Setup::recorder().workers(1).start();
    let mut python = Command::new(tools::python());
    python.args(["-c", HTTP_CLIENT, &server.port().to_string()]);
    let output = tools::finish(&mut python);
    assert_eq!(tools::both(&output).trim(), "fine");
}

const WSGI: &str = "def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'wsgi ', environ['REQUEST_METHOD'].encode(), b' ', body]
";

#[test]
fn gunicorn_is_served_on_the_inherited_listener() {
    let gunicorn = tools::venv("gunicorn");
    let server = Setup::command(&[&gunicorn, "--workers", "1", "app:application"])
        .with_file("app.py", WSGI)
        .word("--listen")
        .word("fd")
        .workers(2)
        .start();
    server.wait_for_workers(2);
    let mut client = server.connect();
    for number in 0..100 {
        client.request("POST", "/g", "", number.to_string().as_bytes());
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, format!("wsgi POST {number}")));
    }
    client.send(
        "POST /g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().text(), "wsgi POST ok");
    ends_without_leftovers(server);
}

const ASGI: &str = "import asyncio
async def application(scope, receive, send):
    if scope['type'] != 'http':
        return
    message = await receive()
    await send({'type': 'http.response.start', 'status': 200,
                'headers': [(b'content-type', b'text/event-stream')]})
    for number in range(3):
        await send({'type': 'http.response.body', 'body': b'%d ' % number, 'more_body': True})
        await asyncio.sleep(0.01)
    await send({'type': 'http.response.body', 'body': message.get('body', b'')})
";

#[test]
fn uvicorn_is_served_on_the_inherited_listener() {
    let uvicorn = tools::venv("uvicorn");
    let server = Setup::command(&[
        &uvicorn,
        "--fd",
        "3",
        "--no-access-log",
        "--lifespan",
        "off",
        "app:application",
    ])
    .with_file("app.py", ASGI)
    .word("--listen")
    .word("fd")
    .workers(2)
    .concurrency(4)
    .start();
    server.wait_for_workers(2);
    let mut client = server.connect();
    for number in 0..30 {
        client.request("POST", "/u", "", number.to_string().as_bytes());
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, format!("0 1 2 {number}")));
    }
    ends_without_leftovers(server);
}

const BINDS_A_PATH: &str = "import os, socketserver, http.server
class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '4')
        self.end_headers()
        self.wfile.write(b'path')
    def address_string(self):
        return '-'
    def log_message(self, *words):
        pass
Server(os.environ['RIP_WORKER_SOCKET'], Page).serve_forever()
";

#[test]
fn an_app_may_bind_the_path_itself() {
    let server = Setup::command(&[&tools::python(), "app.py"])
        .with_file("app.py", BINDS_A_PATH)
        .word("--listen")
        .word("path")
        .workers(1)
        .start();
    for _ in 0..5 {
        assert_eq!(server.get("/").text(), "path");
    }
}

const BINDS_A_PORT: &str = "import os, http.server
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '4')
        self.end_headers()
        self.wfile.write(b'port')
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
";

#[test]
fn an_app_may_listen_on_a_port() {
    let server = Setup::command(&[&tools::python(), "app.py"])
        .with_file("app.py", BINDS_A_PORT)
        .word("--listen")
        .word("port")
        .workers(2)
        .start();
    server.wait_for_workers(2);
    for _ in 0..10 {
        assert_eq!(server.get("/").text(), "port");
    }
}

const SINGLE: &str = r"import socket

def serve(connection):
    stream = connection.makefile('rb')
    while stream.readline():
        close = False
        while True:
            field = stream.readline().strip().lower()
            close = close or field == b'connection: close'
            if not field:
                break
        connection.sendall(b'HTTP/1.1 200 Fine\r\nContent-Length: 6\r\n\r\nsingle')
        if close:
            return

listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    connection, _ = listener.accept()
    try:
        serve(connection)
    except ConnectionError:
        pass
    connection.close()
";

#[test]
fn a_server_that_serves_one_connection_at_a_time_is_never_kept_waiting() {
    let server = Setup::command(&[&tools::python(), "app.py"])
        .with_file("app.py", SINGLE)
        .workers(1)
        .start();
    for _ in 0..20 {
        assert_eq!(server.get("/").text(), "single");
    }
}

fn ends_without_leftovers(mut server: crate::harness::Server) {
    eventually("nothing in flight", || server.inflight() == 0);
    assert_eq!(server.stop(), 0);
}
