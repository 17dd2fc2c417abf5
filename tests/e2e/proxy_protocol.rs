//! Proxies that say for whom they connect: curl's header, and haproxy's in both versions.

use crate::harness::port::Port;
use crate::harness::{Client, Server, Setup, eventually, tools};
use std::fs;
use std::process::{Child, Command, Stdio};

const FILE: &str = "version 1
edge { http \"127.0.0.1:PORT\" proxy-protocol=#true; trusted-proxies \"127.0.0.1\" }
app \"api\" { command \"python3\" \"-S\" \"-I\" \"RECORDER\"; workers 1; hosts \"a.test\" }
";

/// A server whose only listener is one for proxies.
fn server() -> Server {
    let file = FILE.replace("RECORDER", &tools::app("recorder.py"));
    let server = Setup::edgefile(&file).word("--no-watch").unawaited().start();
    server.wait_for_workers(1);
    server
}

/// The addresses that the app was told, in the order of the requests.
fn told(server: &Server) -> Vec<String> {
    server.seen().iter().map(|line| line.values("x-forwarded-for").join("; ")).collect()
}

#[test]
fn the_header_of_curl_is_understood() {
    let server = server();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20"]);
    curl.args(["--haproxy-protocol", "--header", "Host: a.test"]);
    curl.arg(format!("http://127.0.0.1:{}/curl", server.port()));
    let output = tools::finish(&mut curl);
    assert!(output.status.success(), "{}", tools::both(&output));
    assert_eq!(told(&server), ["127.0.0.1"]);
}

#[test]
fn clients_of_haproxy_are_who_they_are_in_both_versions() {
    let server = server();
    for version in ["send-proxy", "send-proxy-v2"] {
        let before = told(&server).len();
        let proxy = Haproxy::start(&server, version);
        for _ in 0..3 {
            let mut client = proxy.client("127.0.0.9");
            assert_eq!(client.ask("GET", "/behind").status, 200, "{version}");
        }
        assert_eq!(told(&server)[before..], ["127.0.0.9"; 3], "{version}");
    }
}

#[test]
fn nothing_else_is_heard_there() {
    let server = server();
    for beginning in ["GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "PROXY TCP5 a b 1 2\r\n"] {
        let mut client = server.connect();
        client.send(beginning);
        assert!(client.closes(), "without a word");
    }
    let mut client = Client::connect_from("127.0.0.2", server.port());
    let _ = client.try_send("PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n");
    assert!(client.closes(), "it is not trusted");
    assert_eq!(told(&server), [""; 0]);
    let mut client = server.connect();
    client.send("PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n");
    assert_eq!(client.ask("GET", "/fine").status, 200);
    assert_eq!(told(&server), ["203.0.113.7"]);
}

/// A proxy in front of a server.
struct Haproxy {
    child: Child,
    port: Port,
}

impl Haproxy {
    fn start(server: &Server, header: &str) -> Self {
        let port = Port::free();
        let config = server.path("haproxy.cfg");
        let text = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen front\n bind 127.0.0.1:{}\n server rip 127.0.0.1:{} {header}\n",
            port.number,
            server.port()
        );
        fs::write(&config, text).expect("the proxy's configuration");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(&config).env("PATH", "/usr/sbin:/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("haproxy, which scripts/setup installs");
        let proxy = Self { child, port };
        eventually("haproxy", || Client::try_connect(proxy.port.number).is_ok());
        proxy
    }

    fn client(&self, from: &str) -> Client {
        Client::connect_from(from, self.port.number)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
