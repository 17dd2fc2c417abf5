//! The command line: tokens in any order, errors that say what was meant, exit codes that are true.

use crate::harness::{Setup, tools};
use std::path::Path;

fn run(arguments: &[&str]) -> (i32, String) {
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-masters");
    std::fs::create_dir_all(&empty).unwrap();
    let mut command = tools::rip_master();
    // Whatever else runs on this machine is not meant.
    command.args(arguments).env("XDG_RUNTIME_DIR", empty).env("RIP_NAME", "nobody-runs-this");
    let output = tools::finish(&mut command);
    (output.status.code().unwrap(), tools::both(&output))
}

#[test]
fn unknown_flags_and_tokens_are_usage_errors_with_a_suggestion() {
    for (arguments, named, meant) in [
        (&["start", "builtin:hello", "--wokers", "2"][..], "--wokers", "--workers"),
        (&["start", "builtin:hello", "htp:8080"], "htp:8080", "http:8080"),
        (&["start", "builtin:hello", "W:2"], "W:2", "w:2"),
        (&["start", "builtin:hello", "w:two"], "w:two", "w:"),
        (&["start", "builtin:hello", "http:99999"], "http:99999", "http:"),
        (&["strat"], "strat", "start"),
        (&["ctl", "wokers"], "wokers", "workers"),
    ] {
        let (code, output) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {output}");
        assert!(output.contains(named) && output.contains(meant), "{arguments:?}: {output}");
    }
}

#[test]
fn an_entry_that_is_not_there_is_named() {
    let (code, output) = run(&["start", "/nowhere/app.py", "http:1"]);
    assert!(matches!(code, 1 | 2 | 78), "{code}: {output}");
    assert!(output.contains("/nowhere/app.py"), "{output}");
    let (code, output) = run(&["start", "builtin:nothing"]);
    assert_ne!(code, 0);
    assert!(output.contains("nothing") && output.contains("hello"), "{output}");
}

#[test]
fn verbs_without_a_master_fail_and_say_so() {
    for arguments in [
        &["status"][..],
        &["list"],
        &["stop"],
        &["ctl", "list"],
        &["ctl", "workers"],
        &["ctl", "status"],
        &["ctl", "stop"],
        &["restart"],
        &["reload"],
        &["ctl", "scale", "2"],
        &["ctl", "pause"],
        &["ctl", "resume"],
        &["ctl", "drain", "w1"],
        &["ctl", "events", "--follow"],
    ] {
        let (code, output) = run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {output}");
        assert!(output.to_lowercase().contains("no "), "{arguments:?}: {output}");
    }
}

#[test]
fn version_and_help_succeed() {
    for arguments in
        [&["--version"][..], &["version"], &["--help"], &["start", "--help"], &["ctl", "--help"]]
    {
        let (code, output) = run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {output}");
        assert!(!output.is_empty());
    }
    let (code, output) = run(&[]);
    assert_eq!(code, 2, "{output}");
}

#[test]
fn tokens_are_understood_in_any_order_and_never_taken_for_a_name() {
    let server = Setup::builtin("hello").word("w:2").word("c:4").word("--no-access-log").start();
    server.wait_for_workers(2);
    let app = server.app();
    assert_eq!((&app["workers"], &app["concurrency"]), (&2.into(), &4.into()));
    assert_eq!(app["id"], "hello", "{app}");
}

#[test]
fn a_name_beside_the_path_is_the_apps_name() {
    let server = Setup::builtin("hello").word("w:1").word("greeter").start();
    assert_eq!(server.app()["id"], "greeter");
}

#[test]
fn the_environment_sets_what_no_flag_says() {
    let server = Setup::builtin("hello")
        .env("RIP_WORKERS", "3")
        .env("RIP_MAX_QUEUE", "7")
        .flag("--max-queue", 9)
        .start();
    server.wait_for_workers(3);
    assert_eq!(server.app()["maxQueue"], 9, "a flag is stronger");
}

#[test]
fn the_lists_show_apps_and_workers_to_people_and_programs() {
    let server = Setup::builtin("hello").workers(2).start();
    server.wait_for_workers(2);
    for arguments in
        [&["list"][..], &["ctl", "list"], &["ctl", "workers"], &["status"], &["ctl", "status"]]
    {
        let (code, output) = server.cli(arguments);
        assert_eq!(code, 0, "{arguments:?}: {output}");
        assert!(output.contains("hello"), "{arguments:?}: {output}");
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let (code, output) = server.cli(&arguments);
        assert_eq!(code, 0, "{arguments:?}: {output}");
        serde_json::from_str::<serde_json::Value>(&output)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output}"));
    }
    let (_, output) = server.cli(&["ctl", "list"]);
    for word in ["w1", "w2", "ready"] {
        assert!(output.contains(word), "{word} in {output}");
    }
    for worker in server.workers() {
        assert!(output.contains(&worker["appPid"].to_string()), "{output}");
    }
}

#[test]
fn json_is_the_control_sockets_body_unchanged() {
    let server = Setup::builtin("hello").workers(1).start();
    let (_, output) = server.cli(&["ctl", "workers", "--json"]);
    let printed: serde_json::Value = serde_json::from_str(&output).unwrap();
    let body = server.control_get("/workers").json();
    assert_eq!(printed["workers"][0]["socketPath"], body["workers"][0]["socketPath"]);
    assert_eq!(printed["ok"], true);
}

#[test]
fn status_says_by_its_exit_code_whether_all_is_well() {
    let server = Setup::recorder()
        .env("DIE_AT_START", "no")
        .flag("--restart-backoff-ms", 10)
        .flag("--max-restarts", 1)
        .workers(1)
        .unawaited()
        .start();
    server.wait_for_log("worker_abandon");
    let (code, output) = server.cli(&["status"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("degraded"), "{output}");
}

#[test]
fn stop_tells_when_the_server_does_not_end_in_time() {
    let mut server = Setup::recorder().workers(1).flag("--drain-timeout-ms", 3000).start();
    let mut client = server.connect();
    client.request("GET", "/stuck?gate=go", "", b"");
    server.wait_for_seen("/stuck?gate=go");
    let (code, output) = server.cli(&["stop", "--timeout", "1"]);
    assert_eq!(code, 1, "{output}");
    assert!(server.is_running());
    server.open_gate("go");
    assert_eq!(client.response().status, 200);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn stop_now_waits_for_nobody() {
    let mut server = Setup::recorder().workers(1).start();
    let mut client = server.connect();
    client.request("POST", "/stuck?gate=never", "", b"");
    server.wait_for_seen("/stuck?gate=never");
    let begin = std::time::Instant::now();
    server.cli(&["stop", "--now"]);
    server.exit_code();
    assert!(begin.elapsed() < std::time::Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn a_port_of_the_system_without_permission_is_77_or_69() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let (code, output) = Setup::builtin("hello").word("http:80").fails();
    assert!(matches!(code, 69 | 77), "{code}: {output}");
}
