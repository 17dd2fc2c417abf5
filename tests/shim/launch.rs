//! What an app is given, however it listens.

use crate::harness::{Directory, Shim, ask, spec};
use rip::contract::app::{Listen, Runtime};
use std::io::{Read, Write};
use std::net::Shutdown;

/// A server in Python's standard library, made from a socket in `listener`; it writes its
/// environment, descriptors and arguments to `seen`, and answers with the request's body.
const SERVER: &str = r#"
import json, os, socket, socketserver, sys
from http.server import BaseHTTPRequestHandler
class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self): self.do_POST()
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self): return "-"
    def log_message(self, *args): pass
class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    daemon_threads = True
    def fileno(self): return self.socket.fileno()
    def get_request(self): return self.socket.accept()
    def shutdown_request(self, request): request.close()
def serve(listener):
    fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
    seen = {"env": dict(os.environ), "argv": sys.argv[1:], "pid": os.getpid(), "cwd": os.getcwd(),
            "fds": sorted(fd for fd in fds if os.path.exists("/proc/self/fd/%d" % fd))}
    with open("seen.new", "w") as out: json.dump(seen, out)
    os.rename("seen.new", "seen")
    server = Server(None, Answer)
    server.socket = listener
    server.serve_forever()
"#;

fn start(listen: Listen, main: &str, args: &[&str]) -> Shim {
    let directory = Directory::new();
    let server = directory.write("server.py", &format!("{SERVER}\n{main}\n"));
    let mut argv = vec!["python3", &server];
    argv.extend(args);
    let mut spec = spec(&directory, Runtime::Command, &argv);
    spec.launch.listen = listen;
    spec.env.insert("FROM_APP".into(), "app".into());
    directory.write(".env", "FROM_FILE=file\nFROM_APP=file\nFROM_MASTER=file\nodd\n");
    Shim::start(directory, spec)
}

fn seen(shim: &Shim) -> serde_json::Value {
    let text = std::fs::read_to_string(shim.directory.path().join("seen")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn by_descriptor_an_app_gets_the_listener_and_nothing_else() {
    let mut shim = start(
        Listen::Fd,
        "serve(socket.socket(fileno=3))",
        &["fd={fd}", "socket={socket}", "port={port}"],
    );
    let (app_pid, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    let seen = seen(&shim);
    let env = &seen["env"];
    assert_eq!(seen["pid"], app_pid);
    assert_eq!(env["LISTEN_PID"], app_pid.to_string());
    assert_eq!((&env["LISTEN_FDS"], &env["LISTEN_FDNAMES"]), (&"1".into(), &"http".into()));
    assert_eq!(env["RIP_APP_ID"], "app");
    assert_eq!((&env["RIP_WORKER_ID"], &env["RIP_GENERATION"]), (&"3".into(), &"7".into()));
    assert_eq!(env["RIP_WORKER_SOCKET"], shim.spec.socket);
    assert_eq!(env["RIP_URLS"], "http://127.0.0.1:8080/");
    assert_eq!(env["RIP_STATUS_FD"], "4");
    assert_eq!(env["FROM_MASTER"], "master");
    assert_eq!((&env["FROM_FILE"], &env["FROM_APP"]), (&"file".into(), &"app".into()));
    for absent in ["NOTIFY_SOCKET", "RIP_PUBLISH_SECRET", "PORT"] {
        assert!(env.get(absent).is_none(), "{absent}");
    }
    assert!(!seen.to_string().contains("token-of-this-spawn"));
    assert_eq!(seen["fds"], serde_json::json!([0, 1, 2, 3, 4]));
    let expected = ["fd=3", &format!("socket={}", shim.spec.socket), "port={port}"];
    assert_eq!(seen["argv"], serde_json::json!(expected));
    assert_eq!(seen["cwd"], shim.spec.launch.cwd);
    let stderr = shim.stop();
    assert!(stderr.contains(".env: line 4 is not NAME=value"), "{stderr}");
}

#[test]
fn by_path_an_app_binds_the_socket_itself() {
    let main = "listener = socket.socket(socket.AF_UNIX); \
                listener.bind(os.environ['RIP_WORKER_SOCKET']); listener.listen(); serve(listener)";
    let mut shim = start(Listen::Path, main, &[]);
    shim.joined();
    assert!(seen(&shim)["env"].get("LISTEN_FDS").is_none());
    assert_eq!(shim.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").text(), "hi");
    shim.stop();
}

#[test]
fn by_port_the_shim_relays() {
    let main = "listener = socket.create_server(('127.0.0.1', int(os.environ['PORT']))); \
                serve(listener)";
    let mut shim = start(Listen::Port, main, &["--port", "{port}"]);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    let seen = seen(&shim);
    assert_eq!(seen["argv"], serde_json::json!(["--port", seen["env"]["PORT"]]));

    let body = vec![b'x'; 3_000_000];
    let mut stream = shim.connect();
    let mut writer = stream.try_clone().unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    let sent = body.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(head.as_bytes()).unwrap();
        writer.write_all(&sent).unwrap();
    });
    let reply = crate::harness::read_reply(&mut stream, false);
    writing.join().unwrap();
    assert_eq!(reply.body, body);
    // The same connection again, and its half-close reaches the app.
    assert_eq!(ask(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    shim.stop();
}

#[test]
fn a_server_of_one_connection_at_a_time_gets_a_fresh_one_each_time() {
    let main = "class One(socketserver.BaseServer):\n    \
                    fileno, get_request = Server.fileno, Server.get_request\n    \
                    shutdown_request = Server.shutdown_request\n\
                Server = One\nserve(socket.socket(fileno=3))";
    let mut shim = start(Listen::Fd, main, &[]);
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], false);
    shim.stop();
}
