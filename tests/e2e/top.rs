//! `ctl top`: live on a terminal that is left as it was found, once where there is none.

use crate::harness::{Server, Setup, tools};
use serde_json::Value;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rip-master");

/// Runs `ctl top` on a terminal of 100 columns; what the terminal tells of it.
#[track_caller]
fn on_terminal(server: &Server, steps: &[&str]) -> Value {
    let mut command = Command::new(tools::python());
    command.args([&tools::app("terminal.py"), "100x30"]).args(steps).arg("--");
    command.arg(PROGRAM).args(["ctl", "top", "--name", server.name()]);
    let base = server.runtime().ancestors().nth(2).expect("its base").to_owned();
    command.env("XDG_RUNTIME_DIR", base).env("TERM", "xterm").env_remove("RUNTIME_DIRECTORY");
    let output = tools::finish(&mut command);
    let text = tools::both(&output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn it_is_drawn_anew_and_ends_with_q_and_ctrl_c_and_a_signal() {
    let server = Setup::builtin("hello").workers(2).start();
    server.wait_for_workers(2);
    for (end, code) in [("key:q", 0), ("key:\\x03", 0), ("signal:15", 0)] {
        // Each second another screen; a key sorts at once.
        let steps = ["see:REQ/S", "see:REQ/S", "key:m", "see:sorted by memory", end];
        let told = on_terminal(&server, &steps);
        assert_eq!((&told["code"], &told["before"]), (&code.into(), &true.into()), "{told}");
        let shown = told["shown"].as_str().unwrap();
        assert!(shown.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "the other screen: {shown:?}");
        assert!(shown.ends_with("\u{1b}[?25h\u{1b}[?1049l"), "and back: {shown:?}");
        assert!(shown.contains("healthy") && shown.contains("w2"), "{shown:?}");
    }
}

#[test]
fn without_a_terminal_it_is_printed_once() {
    let server = Setup::builtin("hello").workers(1).start();
    assert_eq!(server.get("/").status, 200);
    for words in [&["ctl", "top"][..], &["ctl", "top", "--once"]] {
        let (code, text) = server.cli(words);
        assert_eq!(code, 0, "{text}");
        assert!(
            text.contains("healthy") && text.contains("WORKER") && text.contains("w1"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    let (code, text) = server.cli(&["ctl", "top", "--json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &report["apps"][0]["ready"]), (0, &1.into()), "{text}");
    assert!(report["metrics"]["requests"].as_u64().is_some_and(|count| count >= 1), "{text}");
}
