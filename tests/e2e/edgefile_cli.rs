//! What the command line says of an Edgefile without a server, whatever the file is.

use crate::harness::{Setup, tools, wait};
use nix::sys::stat::Mode;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const RIGHT: &str = "\
version 1
app \"hello\" {
    entry \"builtin:hello\"
    env SECRET=\"correct horse\"
}
site \"example.com\" {
    route \"/api/*\" methods=\"GET\" { to-app \"hello\" }
    route \"/*\" { redirect \"https://www.example.com/{path}\" }
}
";

/// A directory with an Edgefile, gone with its test.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn new(text: impl AsRef<[u8]>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rip-edgefile-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory of the test");
        let place = Self { directory };
        fs::write(place.file(), text).expect("an Edgefile");
        place.allow(0o600);
        place
    }

    /// Who may read the file.
    fn allow(&self, mode: u32) {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.file(), mode).expect("rights of the file");
    }

    fn file(&self) -> PathBuf {
        self.directory.join("Edgefile")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).expect("the Edgefile")
    }

    /// Exit code, stdout, stderr of a command run in the directory. It must end long before the
    /// reader's deadline is over twice.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = tools::rip_master();
        command.args(arguments).current_dir(&self.directory);
        command.env("XDG_RUNTIME_DIR", self.directory.join("run"));
        let output = tools::finish_within(&mut command, Duration::from_secs(20));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("an exit code");
        (code, text(&output.stdout), text(&output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, out, _) = self.run(arguments);
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_file_that_is_right_is_said_to_be() {
    let place = Place::new(RIGHT);
    let (code, out, err) = place.run(&["check"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, "Edgefile is right: 1 app, 2 routes; http *:80\n");
    for arguments in [&["check", "--json"][..], &["check", ".", "--format", "json"]] {
        let (code, found) = place.json(arguments);
        assert_eq!((code, &found["ok"]), (0, &Value::Bool(true)), "{found}");
    }
    assert_eq!(place.run(&["check", "--format", "github"]), (0, String::new(), String::new()));
}

#[test]
fn secrets_that_others_may_read_are_warned_of() {
    let place = Place::new(RIGHT);
    place.allow(0o644);
    let (code, out, err) = place.run(&["check"]);
    assert_eq!(
        (code, out.as_str()),
        (0, "Edgefile is right: 1 app, 2 routes; http *:80\n"),
        "{err}"
    );
    assert!(err.starts_with("Edgefile:4:5: warning: others may read this file"), "{err}");
    assert!(!err.contains("correct horse"), "{err}");
}

#[test]
fn everything_that_is_wrong_is_told_with_its_place() {
    let text = RIGHT.replace("to-app \"hello\"", "to-app \"helo\"");
    let text = text.replace("env SECRET", "env \"odd name\"=\"correct horse\" SECRET");
    let place = Place::new(text);
    let (code, out, err) = place.run(&["check"]);
    assert_eq!((code, out.as_str()), (78, ""), "{err}");
    for said in ["Edgefile:4:", "Edgefile:7:", "did you mean \"hello\"?", "2 errors"] {
        assert!(err.contains(said), "{said} in {err}");
    }
    assert!(!err.contains("correct horse"), "a secret is told: {err}");
    let (code, found) = place.json(&["check", "--json"]);
    assert_eq!((code, &found["ok"]), (78, &Value::Bool(false)), "{found}");
    assert_eq!(found["diagnostics"].as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(found["diagnostics"][1]["line"], 7);
    let (code, out, _) = place.run(&["check", "--format", "github"]);
    assert_eq!(code, 78);
    assert!(out.starts_with("::error file=Edgefile,line=4,"), "{out}");

    let (code, output) = Setup::edgefile(&place.text()).fails();
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("Edgefile:4:") && output.contains("2 errors"), "{output}");
}

#[test]
fn no_file_can_harm_its_reader() {
    let numbers = |line: usize| (0..10).map(|row| (line * row).to_string()).collect::<Vec<_>>();
    let csv = (0..8000).map(|line| numbers(line).join(",") + "\n").collect::<String>();
    let lines = |of: &str| (0..4000).map(|line| format!("{of} {line}\n")).collect::<String>();
    for (name, text) in [
        ("nested blocks", b"a {".repeat(2000)),
        ("nested comments", b"/*".repeat(3000)),
        ("a table", csv.as_bytes()[..300_000].to_vec()),
        ("unknown nodes", format!("version 1\n{}", lines("wrokers")).into_bytes()),
        ("broken lines", format!("version 1\n{}", lines("}{ \"")).into_bytes()),
        ("two MiB", b"// nothing\n".repeat(2 * 1024 * 1024 / 11)),
        ("bytes", (0..=255).cycle().take(100_000).collect()),
        ("nothing", Vec::new()),
        ("half a word", b"version 1\napp \"\xc3".to_vec()),
    ] {
        let place = Place::new(&text);
        let (code, _, err) = place.run(&["check"]);
        assert_eq!(code, 78, "{name}: {err}");
        assert!(err.contains("error: Edgefile cannot be used: "), "{name}: {err}");
        assert!(err.len() < 200_000, "{name}: {} bytes are told", err.len());
        let (code, _, err) = place.run(&["fmt"]);
        assert!(matches!(code, 0 | 78), "{name}: {code}: {err}");
    }
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let place = Place::new("");
    let pipe = place.directory.join("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    fs::create_dir(place.directory.join("empty")).expect("a directory");
    fs::create_dir_all(place.directory.join("odd/Edgefile")).expect("a directory");
    std::os::unix::fs::symlink("circle", place.directory.join("circle")).expect("a link");
    for (file, said) in [
        ("pipe", "pipe is not a regular file"),
        ("empty", "there is no file"),
        ("odd", "odd/Edgefile is a directory"),
        ("circle", "circle cannot be read"),
        ("nowhere/Edgefile", "there is no file"),
        ("/dev/zero", "/dev/zero is not a regular file"),
    ] {
        for arguments in [
            &["check", file][..],
            &["fmt", file],
            &["why", "/", "--file", file],
            &["start", "--file", file],
        ] {
            let (code, out, err) = place.run(arguments);
            assert_eq!((code, out.as_str()), (78, ""), "{arguments:?}: {err}");
            assert!(err.contains(said), "{arguments:?}: {err}");
        }
    }
}

#[test]
fn the_process_that_reads_has_nothing_to_lose() {
    let mut command = tools::rip_master();
    command
        .arg("edgefile-compile")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let proc = Path::new("/proc").join(child.id().to_string());
    let status = wait::until("a confined process", || {
        let status = fs::read_to_string(proc.join("status")).ok()?;
        status.contains("Seccomp:\t2").then_some(status)
    });
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        let rights = u64::from_str_radix(&field(set), 16).expect("a mask");
        assert_eq!(rights & !(1 << 2), 0, "more than reading: {set} {rights:x}");
    }
    let limits = fs::read_to_string(proc.join("limits")).expect("its limits");
    for (name, most) in [
        ("Max cpu time", "5"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max processes", "0"),
        ("Max address space", "1073741824"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        let values: Vec<_> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [most, most], "{line}");
    }
    drop(child.stdin.take());
    assert!(!child.wait().expect("its end").success(), "it was told nothing");
}

#[test]
fn a_file_is_formatted_in_its_place() {
    let untidy = RIGHT.replace("    ", " ").replace("{ to-app \"hello\" }", "{to-app \"hello\"}");
    let place = Place::new(&untidy);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o640)).expect("rights");
    let (code, out, err) = place.run(&["fmt", "--check"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("Edgefile is not formatted"), "{err}");
    let (code, out, _) = place.run(&["fmt", "--stdout"]);
    assert_eq!((code, out.as_str()), (0, RIGHT));
    assert_eq!(place.text(), untidy);
    assert_eq!(place.run(&["fmt"]), (0, String::new(), String::new()));
    assert_eq!(place.text(), RIGHT);
    assert_eq!(place.file().metadata().expect("it").permissions().mode() & 0o7777, 0o640);
    assert_eq!(place.run(&["fmt", "--check"]).0, 0);
    assert_eq!(fs::read_dir(&place.directory).expect("it").count(), 1, "nothing is left beside");

    fs::write(place.file(), "app {").expect("the Edgefile");
    let (code, _, err) = place.run(&["fmt"]);
    assert_eq!(code, 78, "{err}");
    assert_eq!(place.text(), "app {");
}

#[test]
fn the_way_of_a_request_is_explained() {
    let place = Place::new(RIGHT);
    let (code, out, err) = place.run(&["why", "http://example.com/api/x?y"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("GET example.com/api/x → app hello"), "{out}");
    assert!(out.contains("the winner's path is more specific"), "{out}");
    let (code, out, _) = place.run(&["why", "example.com/api/x", "--method", "POST"]);
    assert_eq!(code, 0);
    assert!(out.contains("→ redirect") && out.contains("takes only GET"), "{out}");
    let (code, found) = place.json(&["why", "--json", "other.com/"]);
    assert_eq!((code, &found["status"]), (0, &Value::from(404)), "{found}");
    assert_eq!(place.run(&["why", "ftp://example.com/"]).0, 2);
}

#[test]
fn the_language_is_printed() {
    let place = Place::new("");
    let (code, out, _) = place.run(&["schema"]);
    assert_eq!(code, 0);
    for node in ["restart-policy", "health-check", "redirect"] {
        assert!(out.contains(node), "{node} in {out}");
    }
    let (code, found) = place.json(&["schema", "--json"]);
    assert_eq!(code, 0);
    assert!(found.as_array().is_some_and(|nodes| !nodes.is_empty()), "{found}");
}

#[test]
fn a_plan_needs_a_master() {
    let place = Place::new(RIGHT);
    // Others may run on this machine.
    let run =
        |arguments: &[&str]| place.run(&[arguments, &["--name", "nobody-runs-this"]].concat());
    for arguments in [&["plan"][..], &["ctl", "plan"]] {
        let (code, _, err) = run(arguments);
        assert_eq!(code, 69, "{err}");
        assert!(err.contains("rip-master check"), "{err}");
    }
    for arguments in [&["ctl", "history"][..], &["ctl", "config"], &["add", "a.local", "hello"]] {
        assert_eq!(run(arguments).0, 1, "{arguments:?}");
    }
}

#[test]
fn an_edgefile_is_started_with_flags_above_it() {
    let text = "\
version 1
edge { http \"127.0.0.1:PORT\" }
app \"hello\" { entry \"builtin:hello\"; workers 3 }
site \"*\" {
    route \"/*\" { to-app \"hello\" }
    route \"/old/*\" { redirect \"/new/{path}\" status=301 }
}
";
    let server = Setup::edgefile(text).workers(1).start();
    server.wait_for_workers(1);
    assert_eq!(server.app()["workers"], 1, "the flag stands above the file");
    assert_eq!(server.get("/").status, 200);
    let moved = server.get("/old/x");
    assert_eq!((moved.status, moved.field("Location")), (301, "/new/x"));
}
