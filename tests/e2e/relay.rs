//! Apps that listen on a port of their own: what they are given, and what passes through the relay.

use crate::harness::websocket::{BINARY, Socket};
use crate::harness::{Setup, eventually, processes, tools};
use std::collections::BTreeSet;
use std::fs;

const SOCKETS: usize = 120;

#[test]
fn websockets_by_the_hundred_cost_no_threads() {
    let argv = [&tools::python(), &tools::app("ws_echo.py"), "{port}"];
    let server =
        Setup::command(&argv).flag("--listen", "port").flag("--ready", "listen").workers(1).start();
    let shim = u32::try_from(server.workers()[0]["pid"].as_u64().expect("a pid")).expect("a pid");
    let threads = || fs::read_dir(format!("/proc/{shim}/task")).map_or(0, Iterator::count);
    let (threads_before, before) = (threads(), processes::descriptor_count(shim));
    let mut sockets: Vec<_> = (0..SOCKETS).map(|_| Socket::open(&server, "/ws")).collect();
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.say(&format!("this is {number}"));
        assert_eq!(socket.hear_text(), format!("this is {number}"));
    }
    let large = vec![7; 3_000_000];
    sockets[1].send(BINARY, &large);
    assert!(sockets[1].hear().payload == large, "a large one");
    assert_eq!(threads(), threads_before);
    // Of those before, some may have been on their way out.
    assert!(processes::descriptor_count(shim) >= 2 * SOCKETS);
    sockets[0].close(1000, "");
    assert_eq!(sockets[0].hear_close().0, 1000);
    // One each way: that is said, and that is not.
    for (number, socket) in sockets.into_iter().enumerate() {
        if number % 2 == 0 {
            socket.reset();
        }
    }
    eventually("the end of their connections", || processes::descriptor_count(shim) <= before + 2);
}

/// Each waits before it binds its port: nobody else may be given it meanwhile.
const SLOW_TO_BIND: &str = "import http.server, os, time
with open(os.path.join(os.environ['RECORD'], 'port-' + os.environ['RIP_WORKER_ID']), 'w') as file:
    file.write(os.environ['PORT'])
time.sleep(0.3)
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        answer = os.environ['PORT'].encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = False
Server(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
";

#[test]
fn no_two_workers_are_given_one_port() {
    const WORKERS: usize = 6;
    let setup = Setup::command(&[&tools::python(), "-S", "-I", "app.py"]).with_record();
    let setup = setup.with_file("app.py", SLOW_TO_BIND).flag("--listen", "port");
    let server = setup.workers(WORKERS).flag("--surge", "100%").start();
    server.wait_for_workers(WORKERS);
    server.order(&["ctl", "restart"]);
    server.assert_settled(WORKERS);
    let files = fs::read_dir(server.path("record")).expect("the records").flatten();
    let named = files.filter(|file| file.file_name().to_string_lossy().starts_with("port-"));
    let ports: Vec<_> =
        named.map(|file| fs::read_to_string(file.path()).expect("a port")).collect();
    assert_eq!(ports.len(), 2 * WORKERS);
    // With the first of the new generation there is one more than slots: those before still hold theirs.
    let different: BTreeSet<_> = ports.iter().collect();
    assert!(different.len() > WORKERS, "{ports:?}");
    assert_eq!(server.app()["restarts"], 0, "each could bind its own");
    assert!(ports.contains(&server.get("/").text()));
}
