//! The Autobahn cases, by a program that is not ours: against the hub, and through a tunnel.

use crate::harness::{Server, Setup, tools};
use std::process::Command;
use std::time::Duration;

/// Cases the suite has without compression.
const CASES: usize = 301;

/// Runs the cases at this path; those named may differ from what the RFC recommends, and with a `!`
/// from what it demands.
#[track_caller]
fn hold(server: &Server, path: &str, non_strict: &[&str]) {
    let mut suite = Command::new(tools::python());
    suite.arg(tools::app("autobahn.py"));
    suite.arg(format!("ws://127.0.0.1:{}{path}", server.port())).args(non_strict);
    let output = tools::finish_within(&mut suite, Duration::from_secs(400));
    let said = tools::both(&output);
    assert!(said.ends_with(&format!("fine {CASES} cases\n")), "{said}");
}

#[test]
fn the_hub_holds_every_case() {
    let file = "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
         app \"echo\" { entry \"builtin:realtime\"; workers 2 }\n\
         site \"*\" { realtime \"/realtime\" app=\"echo\" max-message=\"64MiB\" rate=1000000 burst=1000000 }\n";
    let server = Setup::edgefile(file).start();
    // 3.*, 4.*, 5.15: what was said before the protocol was broken has an echo, unless the end of
    // the connection overtakes it: the app is asked, and an end that is due does not wait for it.
    // 6.4.3, 6.4.4: a broken character is found when its frame is there, not in the middle of it.
    hold(&server, "/realtime", &["3.*", "4.*", "5.15", "6.4.3", "6.4.4"]);
}

#[test]
fn a_tunnel_to_node_holds_every_case() {
    let server = Setup::command(&["node", &tools::app("ws_echo.cjs")])
        .env("NODE_PATH", tools::cache().join("node/node_modules"))
        .workers(1)
        .start();
    // As `ws` has it without a tunnel: it checks characters when the message is complete.
    hold(&server, "/socket", &["3.*", "4.*", "5.15", "6.4.*"]);
}

#[test]
fn a_tunnel_to_python_holds_every_case() {
    let server = Setup::command(&[&tools::python(), &tools::app("ws_echo.py")]).workers(1).start();
    // As `websockets` has it without a tunnel: its echo comes when its task is run, and to a close
    // amid a message it says 1002 itself (7.1.5).
    hold(&server, "/socket", &["3.*", "4.*", "5.15", "6.4.*", "7.1.5!"]);
}
