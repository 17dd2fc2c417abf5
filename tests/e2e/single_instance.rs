//! Two masters of one name never share a runtime directory.

use crate::harness::Setup;

#[test]
fn a_second_master_of_the_same_name_exits_1_and_says_who_is_there() {
    let server = Setup::builtin("hello").workers(1).start();
    let (code, output) =
        Setup::builtin("hello").workers(1).env("XDG_RUNTIME_DIR", server.path("run")).fails();
    assert_eq!(code, 1, "{output}");
    assert!(output.contains(&server.pid().to_string()), "{output}");
    assert_eq!(server.get("/").status, 200, "the first one is untouched");
    assert_eq!(server.workers().len(), 1);
}

#[test]
fn two_masters_of_different_names_live_side_by_side() {
    let first = Setup::builtin("hello").workers(1).start();
    let second = Setup::builtin("hello")
        .workers(1)
        .flag("--name", "other")
        .env("XDG_RUNTIME_DIR", first.path("run"))
        .start();
    assert_eq!(first.get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
    let (code, output) = first.cli(&["status", "--name", "other"]);
    assert_eq!(code, 0, "{output}");
    let (code, output) = first.cli_without_name(&["status"]);
    assert_ne!(code, 0, "two run: which one is meant must be said: {output}");
    assert!(output.contains("--name"), "{output}");
}

#[test]
fn the_only_master_needs_no_name() {
    let server = Setup::builtin("hello").workers(1).start();
    let (code, output) = server.cli_without_name(&["status"]);
    let has_company = output.contains("several masters run");
    assert!(code == 0 || has_company, "{output}");
}

#[test]
fn the_runtime_directory_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let server = Setup::builtin("hello").workers(1).start();
    let mode = |name: &str| {
        std::fs::metadata(server.runtime().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("ctl.sock"), 0o600);
    let pid = std::fs::read_to_string(server.runtime().join("master.pid")).unwrap();
    assert_eq!(pid.trim(), server.pid().to_string());
}

#[test]
fn a_busy_port_does_not_disturb_who_has_it() {
    let server = Setup::builtin("hello").workers(1).start();
    let (code, output) = Setup::builtin("hello")
        .workers(1)
        .word(&format!("http:{}", server.port()))
        .flag("--name", "late")
        .env("XDG_RUNTIME_DIR", server.path("run"))
        .fails();
    assert_eq!(code, 69, "{output}");
    assert!(output.contains(&server.pid().to_string()), "{output}");
    assert_eq!(server.get("/").status, 200);
    assert!(!server.path("run/rip/late/ctl.sock").exists());
}
