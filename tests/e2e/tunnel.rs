//! WebSocket through the server, between libraries that people use.

use crate::harness::{Client, Server, Setup, eventually, tools};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What answers WebSockets: a Python program, or a node program.
fn backends() -> [Setup; 2] {
    let python = Setup::command(&[&tools::python(), &tools::app("ws_echo.py")]);
    let node = Setup::command(&["node", &tools::app("ws_echo.cjs")])
        .env("NODE_PATH", tools::cache().join("node/node_modules"));
    [python, node]
}

fn url(server: &Server) -> String {
    format!("ws://127.0.0.1:{}/socket?a=b", server.port())
}

/// Runs one of the clients, which must be content.
#[track_caller]
fn is_fine(server: &Server, what: &[&str]) {
    let mut client = Command::new(tools::python());
    client.arg(tools::app("ws_client.py")).arg(url(server)).args(what);
    let output = tools::finish_within(&mut client, Duration::from_secs(120));
    assert!(tools::both(&output).ends_with("fine\n"), "{what:?}: {}", tools::both(&output));
}

/// A client that keeps one connection.
struct Holder {
    child: Child,
    said: ChildStdin,
    heard: BufReader<ChildStdout>,
}

impl Holder {
    fn new(server: &Server) -> Self {
        let mut client = Command::new(tools::python());
        client.arg(tools::app("ws_client.py")).args([&url(server), "hold"]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = client.spawn().expect("a client");
        let said = child.stdin.take().expect("its input");
        let heard = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, said, heard }
    }

    /// Says something, and returns what comes back.
    fn say(&mut self, text: &str) -> String {
        writeln!(self.said, "{text}").expect("the client is there");
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.heard.read_line(&mut line).expect("the client says something");
        line.trim().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ten_megabytes_pass_and_codes_of_closings_are_kept() {
    for setup in backends() {
        let server = setup.workers(1).start();
        is_fine(&server, &["big", "10000000"]);
        is_fine(&server, &["codes"]);
        let mut client = Command::new("node");
        client.env("NODE_PATH", tools::cache().join("node/node_modules"));
        client.arg(tools::app("ws_client.cjs")).arg(url(&server));
        let output = tools::finish_within(&mut client, Duration::from_secs(60));
        assert_eq!(tools::both(&output), "fine\n");
        eventually("the line of a tunnel", || {
            server.log().lines().any(|line| line.contains(" 101 ") && line.contains("/socket"))
        });
    }
}

#[test]
fn a_thousand_connections_are_open_at_once_on_one_worker() {
    for setup in backends() {
        let server = setup.workers(1).start();
        is_fine(&server, &["many", "1000"]);
        eventually("the worker has nothing in flight", || server.app()["inflight"] == 0);
    }
}

#[test]
fn a_tunnel_outlives_a_roll_as_long_as_its_worker_may_drain() {
    let [python, _] = backends();
    let server = python.workers(1).flag("--drain-timeout-ms", 15000).start();
    let mut holder = Holder::new(&server);
    let old = holder.say("pid");
    let roll = std::thread::scope(|scope| {
        let roll = scope.spawn(|| server.cli(&["ctl", "restart"]));
        eventually("a fresh worker", || Holder::new(&server).say("pid") != old);
        assert_eq!(holder.say("still"), "still");
        assert_eq!(holder.say("pid"), old, "the old worker is there for it");
        roll.join().expect("the roll")
    });
    assert_eq!(roll.0, 0, "{}", roll.1);
    // Past its deadline the old worker is told to stop, and tells its clients.
    assert!(holder.hear().starts_with("closed "), "the tunnel has ended");
}

#[test]
fn a_stop_waits_for_tunnels_until_the_drain_deadline() {
    let [python, _] = backends();
    let mut server = python.workers(1).flag("--drain-timeout-ms", 8000).start();
    let mut holder = Holder::new(&server);
    assert_eq!(holder.say("a"), "a");
    server.signal(Signal::SIGTERM);
    let port = server.port();
    eventually("nobody is taken in", || Client::try_connect(port).is_err());
    assert_eq!(holder.say("b"), "b", "it is not cut at once");
    assert!(holder.hear().starts_with("closed "), "the tunnel has ended");
    server.exit_code();
}

#[test]
fn a_tunnel_lives_through_reloads_that_change_and_remove_its_route() {
    let program = format!("command {:?} {:?}", tools::python(), tools::app("ws_echo.py"));
    let file = |route: &str| {
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
             app \"ws\" {{ {program}; workers 1; hosts \"ws.test\" }}\n\
             site \"127.0.0.1\" {{ {route} }}\n"
        )
    };
    let routed = file("route \"/*\" { to-app \"ws\" }");
    let server = Setup::edgefile(&routed).word("--no-watch").start();
    let mut holder = Holder::new(&server);
    let pid = holder.say("pid");
    for text in [
        file("route \"/*\" { to-app \"ws\"; timeouts read=\"7s\" }"),
        file("route \"/other/*\" { to-app \"ws\" }"),
        routed,
    ] {
        let attempt = server.take_up(&text);
        assert_eq!(attempt["result"], "applied", "{attempt}");
        assert_eq!(holder.say("pid"), pid);
    }
}

#[test]
fn a_tunnel_on_a_route_that_does_not_change_lives_through_fifty_reloads() {
    let program = format!("command {:?} {:?}", tools::python(), tools::app("ws_echo.py"));
    // Every reload changes another route, and every tenth one the processes of another app.
    let file = |number: u32| {
        format!(
            "version 1\nedge {{ http \"127.0.0.1:PORT\" }}\n\
             app \"ws\" {{ {program}; workers 1 }}\n\
             app \"other\" {{ entry \"builtin:hello\"; workers 1; env TENTH=\"{}\" }}\n\
             site \"127.0.0.1\" {{ route \"/*\" {{ to-app \"ws\" }} }}\n\
             site \"other.test\" {{ route \"/v{number}/*\" {{ to-app \"other\" }} }}\n",
            number / 10
        )
    };
    let server = Setup::edgefile(&file(0)).word("--no-watch").start();
    let mut holder = Holder::new(&server);
    let pid = holder.say("pid");
    for number in 1..=50 {
        let attempt = server.take_up(&file(number));
        assert_eq!(attempt["result"], "applied", "{attempt}");
        assert_eq!(holder.say("pid"), pid, "after reload {number}");
        assert_eq!(server.get_at("other.test", &format!("/v{number}/")).status, 200);
        assert_eq!(server.get_at("other.test", &format!("/v{}/", number - 1)).status, 404);
    }
}
