//! The server listens at once; the first request waits for the first worker.

use crate::harness::{Setup, eventually};
use std::net::TcpListener;

#[test]
fn the_first_request_waits_for_the_first_worker_and_is_answered_when_it_joins() {
    let server = Setup::recorder().env("START_GATE", "go").workers(1).unawaited().start();
    let mut client = server.connect();
    client.request("GET", "/first", "", b"");
    eventually("a queued request", || server.queue_depth() == 1);
    assert_eq!(server.get("/status").status, 503, "no worker is ready yet");
    assert_eq!(server.get("/server").status, 200, "the edge itself is well");

    server.open_gate("go");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "worker 1\n"));
    assert_eq!(server.get("/status").status, 200);
}

#[test]
fn readiness_is_what_the_status_code_says() {
    let setup = Setup::recorder().workers(1).flag("--health-path", "/ready").unawaited();
    std::fs::write(setup.path("record").join("not-ready"), "").unwrap();
    let server = setup.start();
    eventually("a starting worker", || server.workers().iter().any(|w| w["state"] == "starting"));
    server.wait_for_log("recorder starts");
    let mut client = server.connect();
    client.request("GET", "/early", "", b"");
    eventually("a queued request", || server.queue_depth() == 1);
    assert!(server.seen().is_empty(), "a worker that is not ready got a request");

    server.close_gate("not-ready");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_builtin_app_is_served_by_as_many_workers_as_asked_for() {
    let server = Setup::builtin("hello").workers(3).start();
    server.wait_for_workers(3);
    assert_eq!(server.get("/").status, 200);
    let mut ids: Vec<_> =
        server.workers().iter().map(|worker| worker["workerId"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn a_taken_port_is_refused_with_its_number_and_no_other_is_taken_instead() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, output) = Setup::builtin("hello").word(&format!("http:{port}")).fails();
    assert_eq!(code, 69, "{output}");
    assert!(output.contains(&port.to_string()), "{output}");
    assert!(output.contains(&std::process::id().to_string()), "names who has it: {output}");
}

#[test]
fn a_missing_program_is_named() {
    let (code, output) = Setup::command(&["/nowhere/a-program-that-is-not-there"]).fails();
    assert_ne!(code, 0);
    assert!(output.contains("/nowhere/a-program-that-is-not-there"), "{output}");
}

#[test]
fn a_program_that_cannot_be_started_is_named_with_the_step_that_failed() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::command(&["./app"]).with_file("app", "#!/nowhere/an-interpreter\n");
    let program = setup.path("app/app");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = setup.workers(1).flag("--restart-backoff-ms", 50).unawaited().start();
    server.wait_for_log("worker_restart");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("worker_restart")).unwrap();
    assert!(line.contains("start: ") && line.contains("/./app"), "{line}");
}

#[test]
fn an_interpreter_that_is_not_there_ends_the_start_with_its_name() {
    let setup = Setup::entry("app.py").with_file("app.py", "application = None\n");
    let empty = setup.path("run");
    let (code, output) = setup.env("PATH", empty).workers(2).fails();
    assert_ne!(code, 0, "{output}");
    let errors: Vec<_> = output.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{output}");
    assert!(errors[0].contains("python3"), "{output}");
}

#[test]
fn an_app_that_ends_at_once_shows_its_last_words() {
    let server = Setup::recorder()
        .env("DIE_AT_START", "the database password is not set")
        .flag("--restart-backoff-ms", 100)
        .workers(1)
        .unawaited()
        .start();
    server.wait_for_log("the database password is not set");
}

#[test]
fn a_runtime_directory_too_deep_for_a_socket_is_refused_at_the_start() {
    let deep = std::env::temp_dir().join("d".repeat(120));
    let setup = Setup::builtin("hello").env("XDG_RUNTIME_DIR", deep.clone());
    let (code, output) = setup.fails();
    let _ = std::fs::remove_dir_all(deep);
    assert_ne!(code, 0);
    assert!(output.contains("107") || output.contains("too long"), "{output}");
}
