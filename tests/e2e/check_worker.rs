//! `check-worker` finds the server of the manual right, and what is broken in it by its name.

use crate::harness::tools;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The server that the manual shows.
fn server() -> String {
    let page = fs::read_to_string(tools::repository().join("docs/WORKERS.md")).expect("the page");
    let (_, rest) = page.split_once("```python\n").expect("a server");
    let (server, _) = rest.split_once("```").expect("its end");
    assert!((40..60).contains(&server.lines().filter(|line| !line.is_empty()).count()));
    server.to_owned()
}

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rip-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn check(place: &Place, arguments: &[&str]) -> Output {
    let mut check = tools::rip_master();
    check.arg("check-worker").args(arguments).current_dir(&place.0).env("TMPDIR", &place.0);
    let output = tools::finish(&mut check);
    let left: Vec<_> = fs::read_dir(&place.0)
        .expect("the directory")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("rip-check-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    output
}

/// What was found: exit code, and the cases with this result.
fn found(output: &Output, result: &str) -> Vec<String> {
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", tools::both(output)));
    let cases = told["cases"].as_array().expect("cases");
    let those = cases.iter().filter(|case| case["result"] == result);
    those.filter_map(|case| case["id"].as_str()).map(str::to_owned).collect()
}

fn told(output: &Output) -> String {
    tools::both(output)
}

#[test]
fn the_server_of_the_manual_keeps_every_rule() {
    let place = Place::new("manual");
    place.write("server.py", &server());
    let output = check(&place, &["--echo", "/echo", "python3", "server.py"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("\n38 ok, 1 not tried\n"), "{text}");
    assert!(text.starts_with("ok    it starts\nok    it is ready\n"), "{text}");
}

/// One line of the server is another, and one rule is broken by it.
#[test]
fn what_is_broken_is_named() {
    const SERVE: &str =
        "threading.Thread(target=serve_until_it_leaves, args=[connection], daemon=True).start()";
    const LISTENER: &str = "listener = socket.socket(fileno=3)";
    let broken: &[(&str, &str, &str, i32, &str)] = &[
        ("head", r#"b"" if method == "HEAD" else text"#, "text", 1, "fail"),
        ("get", "{len(text)}", "{len(text) - (target == '/')}", 1, "fail"),
        ("get", "HTTP/1.1 {status}", "HTTP/{1.1 if target != '/' else 2} {status}", 1, "fail"),
        ("body-1", r#"int(fields.get("content-length", 0))"#, "0", 1, "fail"),
        (
            "body-of-get",
            r#"int(fields.get("content-length", 0))"#,
            r#"0 if text_of == "GET" else int(fields.get("content-length", 0))"#,
            1,
            "fail",
        ),
        (
            "body-names",
            "fields[name.lower()]",
            "fields[name.lower() if name[0] in 'CT' else 'no-' + name]",
            1,
            "fail",
        ),
        ("body-echo", "return \"200 OK\", body", "return \"200 OK\", body[::-1]", 1, "fail"),
        (
            "idle",
            "with connection, c",
            "connection.settimeout(1)\n    with connection, c",
            1,
            "fail",
        ),
        (
            "close",
            "                return\n\ndef serve_u",
            "                pass\n\ndef serve_u",
            1,
            "fail",
        ),
        (
            "method",
            "with working:",
            "with working:\n                assert b'BREW' not in line or os._exit(3)",
            1,
            "fail",
        ),
        (
            "leaves-at-once",
            LISTENER,
            "listener = socket.socket(fileno=3)\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)",
            1,
            "fail",
        ),
        (
            "stop",
            "signal.SIGTERM, lambda *_: sys.exit()",
            "signal.SIGTERM, signal.SIG_IGN",
            1,
            "fail",
        ),
        (
            "left",
            LISTENER,
            "listener = socket.socket(fileno=3)\nimport subprocess\n\
             subprocess.Popen(['sh', '-c', 'trap \"\" TERM; while :; do sleep 1; done'])",
            1,
            "fail",
        ),
        (
            "ready",
            "if target == \"/echo\":",
            "if target == \"/ready\":\n        return \"503 No\", b\"\"\n    if target == \"/echo\":",
            1,
            "fail",
        ),
        ("ready", LISTENER, "sys.exit('no licence')", 1, "fail"),
        ("finish", "    working.acquire()", "    os._exit(0)", 0, "note"),
        ("keep-alive", SERVE, "serve_until_it_leaves(connection)", 0, "note"),
        (
            "body-chunked",
            r#"if fields.get("transfer-encoding") != "chunked":"#,
            "if True:",
            0,
            "note",
        ),
        ("output", LISTENER, "listener = socket.socket(fileno=3)\nprint('x' * 10000)", 0, "note"),
    ];
    let right = server().replace("import signal", "import os, signal");
    let try_one = |number: usize| {
        let (id, from, to, code, result) = &broken[number];
        assert!(right.contains(from), "{from}");
        let place = Place::new(&format!("broken-{number}"));
        let text = right
            .replace(from, to)
            .replace("def read_rest(stream):", "def read_rest(stream, text_of=None):")
            .replace("read_rest(stream)\n", "read_rest(stream, method)\n");
        place.write("server.py", &text);
        let output = check(&place, &["--json", "--echo", "/echo", "python3", "server.py"]);
        let found = found(&output, result);
        assert!(found.iter().any(|name| name == id), "{id}: {}", told(&output));
        assert_eq!(output.status.code(), Some(*code), "{id}: {}", told(&output));
    };
    // They wait more than they compute, but a machine has not room for all of them at once.
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut number = next.fetch_add(1, Ordering::Relaxed);
                while number < broken.len() {
                    try_one(number);
                    number = next.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
}

#[test]
fn a_failure_says_what_was_expected_what_came_and_what_the_server_wrote() {
    let place = Place::new("said");
    place.write("server.py", "import sys\nsys.exit('no licence')\n");
    let output = check(&place, &["python3", "server.py"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("ok    it starts\nFAIL  it is ready\n"), "{text}");
    for line in [
        "        expected:  an answer to GET /ready, or READY=1, within 10s\n",
        "        came:      the app exited with status 1 before it was ready\n",
        "        see:       WORKERS.md, 2. Say when you are ready\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("    │ no licence\n"), "{errors}");
}

#[test]
fn entries_and_every_way_to_listen_are_tried() {
    let place = Place::new("entries");
    let listen = |listener: &str| server().replace("socket.socket(fileno=3)", listener);
    place.write(
        "path.py",
        &listen("socket.socket(socket.AF_UNIX)\nlistener.bind(sys.argv[1])\nlistener.listen()"),
    );
    place.write("port.py", &listen("socket.create_server((\"127.0.0.1\", int(sys.argv[1])))"));
    place.write("run", &format!("#!/usr/bin/env python3\n{}", server()));
    make_executable(&place.0.join("run"));
    let hello = tools::repository().join("examples/hello").display().to_string();
    let (ours, axum) = (tools::rust_example("rust-worker"), tools::rust_example("axum"));
    let lines: &[&[&str]] = &[
        &["--listen", "path", "python3", "path.py", "{socket}"],
        &["--listen", "port", "--", "python3", "-u", "port.py", "{port}"],
        &["./run"],
        &["--path", "/echo", "--echo", "/echo", "builtin:echo"],
        &[&hello],
        &[&ours],
        &["--echo", "/echo", &axum],
    ];
    thread::scope(|scope| {
        for line in lines {
            let place = &place;
            scope.spawn(move || {
                let output = {
                    let mut check = tools::rip_master();
                    check.arg("check-worker").arg("--json").args(*line).current_dir(&place.0);
                    tools::finish(&mut check)
                };
                let failed = found(&output, "fail");
                assert!(failed.is_empty(), "{line:?}: {}", told(&output));
                assert_eq!(output.status.code(), Some(0), "{line:?}");
            });
        }
    });
}

#[test]
fn what_cannot_be_started_is_told_as_start_tells_it() {
    let place = Place::new("usage");
    let code = |arguments: &[&str]| check(&place, arguments).status.code();
    assert_eq!(code(&["nothing-here"]), Some(78));
    assert_eq!(code(&["--listen", "port", "builtin:hello"]), Some(2));
    assert_eq!(code(&["a", "b", "--", "c"]), Some(2));
    assert_eq!(code(&["--lisen", "fd", "python3"]), Some(2));
    let output = check(&place, &["builtin:helo"]);
    assert!(told(&output).contains("did you mean 'builtin:hello'?"), "{}", told(&output));
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}
