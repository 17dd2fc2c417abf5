//! Servers that are not ours, as an Edgefile names them: real ones behind, real clients in front.

use crate::harness::port::Port;
use crate::harness::{Client, Server, Setup, eventually, tools};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server of somebody else's, killed at the end of its test.
struct Other(Child);

impl Other {
    fn new(command: &mut Command, port: u16) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let other = Self(child.expect("the server starts"));
        eventually("the server listens", || Client::try_connect(port).is_ok());
        other
    }

    /// Python's own server of files.
    fn files(port: u16, directory: &std::path::Path) -> Self {
        let mut python = Command::new(tools::python());
        python.args(["-m", "http.server", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"]);
        Self::new(python.arg("--directory").arg(directory).arg(port.to_string()), port)
    }

    fn echo(program: &str, app: &str, port: u16) -> Self {
        let mut command = Command::new(program);
        command.env("NODE_PATH", tools::cache().join("node/node_modules"));
        Self::new(command.arg(tools::app(app)).arg(port.to_string()), port)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(upstream: &str) -> Server {
    Setup::edgefile(&format!(
        "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
         app \"own\" {{ entry \"builtin:hello\"; workers 1; hosts \"own.test\" }}\n\
         upstream \"other\" {{ {upstream} }}\n\
         site \"127.0.0.1\" {{ route \"/*\" {{ proxy \"other\" }} }}\n"
    ))
    .word("--no-watch")
    .start()
}

#[test]
fn files_come_from_a_server_that_dies_and_comes_back() {
    let port = Port::free();
    let setup = server(&format!("target \"http://127.0.0.1:{}\"", port.number));
    let directory = setup.path("app");
    std::fs::write(directory.join("a.txt"), "from elsewhere").unwrap();
    assert_eq!(setup.get_at("127.0.0.1", "/a.txt").status, 502);
    for _ in 0..2 {
        let other = Other::files(port.number, &directory);
        let response = setup.get_at("127.0.0.1", "/a.txt");
        assert_eq!((response.status, response.text()), (200, "from elsewhere".to_owned()));
        assert_eq!(setup.get_at("127.0.0.1", "/missing").status, 404);
        drop(other);
        eventually("it is missed", || setup.get_at("127.0.0.1", "/a.txt").status == 502);
    }
}

#[test]
fn a_configuration_whose_upstream_is_not_well_does_not_stay() {
    let port = Port::free();
    let text = |within: &str, upstream: &str, to: &str| {
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\"; verify within=\"{within}\" }}\n\
             app \"own\" {{ entry \"builtin:hello\"; workers 1; hosts \"own.test\" }}\n\
             {upstream}\nsite \"127.0.0.1\" {{ route \"/*\" {{ {to} }} }}\n"
        )
    };
    let upstream = format!(
        "upstream \"other\" {{ target \"http://127.0.0.1:{}\"; \
         health-check path=\"/a.txt\" interval=\"100ms\" timeout=\"2s\" }}",
        port.number
    );
    let server = Setup::edgefile(&text("2s", "", "to-app \"own\"")).word("--no-watch").start();
    std::fs::write(server.path("app").join("a.txt"), "from elsewhere").unwrap();
    let refused = text("1s", &upstream, "proxy \"other\"");
    let attempt = server.refuses_up(&refused, "upstream_unhealthy");
    assert_eq!(attempt["result"], "rolled_back", "{attempt}");
    assert_eq!(server.get_at("127.0.0.1", "/a.txt").text(), "Hello from rip-master\n");
    let _other = Other::files(port.number, &server.path("app"));
    server.take_up(&text("20s", &upstream, "proxy \"other\""));
    assert_eq!(server.get_at("127.0.0.1", "/a.txt").text(), "from elsewhere");
}

#[test]
fn websockets_go_through_to_libraries_that_people_use() {
    for (program, app) in [(tools::python(), "ws_echo.py"), ("node".to_owned(), "ws_echo.cjs")] {
        let port = Port::free();
        let _other = Other::echo(&program, app, port.number);
        let server = server(&format!("target \"http://127.0.0.1:{}\"", port.number));
        for what in [&["big", "10000000"][..], &["codes"], &["many", "1000"]] {
            let mut client = Command::new(tools::python());
            client.arg(tools::app("ws_client.py"));
            client.arg(format!("ws://127.0.0.1:{}/socket", server.port())).args(what);
            let output = tools::finish_within(&mut client, Duration::from_secs(120));
            let text = tools::both(&output);
            assert!(text.ends_with("fine\n"), "{app} {what:?}: {text}");
        }
    }
}
