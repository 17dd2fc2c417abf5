//! The programs the promises run: the binary under test, interpreters, real peers.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::wait;

/// The program under test, with nothing of this environment that could change its mind.
pub fn rip_master() -> Command {
    clean(Command::new(PROGRAM))
}

/// The same program at another place.
pub fn program(path: &Path) -> Command {
    clean(Command::new(path))
}

/// Puts a copy of the program under test there, as a package does: written beside it, then renamed
/// over whatever is there.
pub fn copy_program(path: &Path) {
    let beside = path.with_extension("new");
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    // As a hard link it would be the very same file.
    std::fs::copy(PROGRAM, &beside).expect("a copy of the program");
    std::fs::rename(&beside, path).expect("the copy in its place");
}

/// The same with a hard limit of descriptors.
pub fn rip_master_with_descriptors(count: u32) -> Command {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={count}:{count}")).arg(PROGRAM);
    clean(command)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_rip-master");

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("RIP_")) {
            command.env_remove(name);
        }
    }
    for name in ["RUNTIME_DIRECTORY", "CACHE_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "PORT"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs a command to its end.
///
/// # Panics
/// When it does not end in time; it is killed then.
#[track_caller]
pub fn finish(command: &mut Command) -> Output {
    finish_within(command, Duration::from_secs(60))
}

/// Runs a command to its end, which must come within `limit`.
#[track_caller]
pub fn finish_within(command: &mut Command, limit: Duration) -> Output {
    let shown = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            panic!("{shown} is missing: run scripts/setup")
        }
        Err(error) => panic!("{shown}: {error}"),
    };
    let pid = child.id();
    let reader = std::thread::spawn(move || child.wait_with_output());
    let ended = wait::within(limit, || reader.is_finished().then_some(()));
    if ended.is_none() {
        super::processes::signal_if_alive(pid, nix::sys::signal::Signal::SIGKILL);
        let output = reader.join().expect("the reader of its output").expect("its output");
        panic!("{shown} did not end in {limit:?}: {}", both(&output));
    }
    reader.join().expect("the reader of its output").expect("its output")
}

/// Both outputs of a command as text.
pub fn both(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A program of the virtual environment that `scripts/setup` makes.
pub fn venv(program: &str) -> String {
    let path = cache().join("venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run scripts/setup", path.display());
    text(&path)
}

/// A Python interpreter.
pub fn python() -> String {
    let path = cache().join("venv/bin/python3");
    if path.exists() { text(&path) } else { "python3".to_owned() }
}

/// Where programs are looked for: the virtual environment first.
pub fn search_path() -> OsString {
    let system = std::env::var_os("PATH").unwrap_or_default();
    let mut path = cache().join("venv/bin").into_os_string();
    path.push(":");
    path.push(system);
    path
}

/// A worker written in Rust that newcomers are shown: `rust-worker` or `axum`. Tests of the whole
/// workspace have built it.
pub fn rust_example(name: &str) -> String {
    let target = Path::new(PROGRAM).ancestors().nth(2).expect("the build's directory");
    let built = target.join("debug/examples").join(name);
    if built.exists() {
        return text(&built);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--package", "rip-worker"]);
    cargo.args(["--example", name, "--target-dir"]).arg(target);
    let output = finish_within(cargo.current_dir(repository()), Duration::from_secs(600));
    assert!(output.status.success(), "{}", both(&output));
    text(&built)
}

/// What `scripts/setup` fetched.
pub fn cache() -> PathBuf {
    repository().join(".cache")
}

/// An app of the tests.
pub fn app(name: &str) -> String {
    text(&repository().join("tests/e2e/apps").join(name))
}

/// The sources' root.
pub fn repository() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().expect("the workspace around the member").to_path_buf()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
