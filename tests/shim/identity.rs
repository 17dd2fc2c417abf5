//! An app runs as the user and within the limits that it was given. Who may not become another user
//! is refused: then these tests look at the refusal.

use crate::harness::{Directory, Shim, session, spec, until};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, User, chown, geteuid};
use rip::contract::app::{Listen, ProcessLimits, Ready, Runtime};
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;

/// A WSGI app that tells who it is.
const WHO: &str = r#"
import json, os, resource
def seen(action):
    try: return action()
    except OSError as error: return error.strerror
def said():
    with open("/dev/stderr", "w") as out: out.write("said anew\n")
def app(environ, start):
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
    shim = "/proc/%d/" % os.getppid()
    names = "HOME", "USER", "LOGNAME", "SECRET", "XDG_RUNTIME_DIR"
    limit = lambda name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))
    body = json.dumps({
        "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
        "env": {name: os.environ.get(name) for name in names},
        "rights": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
        "limits": {name: limit(name) for name in ("AS", "NOFILE", "NPROC", "CORE")},
        "shim": [seen(lambda: os.listdir(shim + "fd")), seen(lambda: open(shim + "mem").close())],
        "said": seen(said),
    }).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;

fn nobody() -> User {
    User::from_name("nobody").unwrap().expect("every system has nobody")
}

/// A spec of an app that runs as nobody, its socket where only the master looks.
fn of_nobody(directory: &Directory, runtime: Runtime, argv: &[&str]) -> WorkerSpec {
    let mut spec = spec(directory, runtime, argv);
    spec.user = Some("nobody".to_owned());
    std::fs::create_dir(directory.path().join("run")).unwrap();
    mode(&directory.join("run"), 0o700);
    spec.socket = directory.join("run/w3.sock");
    spec
}

fn mode(path: &str, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Boots it; `None` where it was refused, as it must be for everybody but root.
fn start(directory: Directory, spec: WorkerSpec) -> Option<Shim> {
    let shim = Shim::start(directory, spec);
    if geteuid().is_root() {
        return Some(shim);
    }
    assert_refused(shim.failed());
    None
}

fn assert_refused((stage, message): (BootStage, String)) {
    assert_eq!(stage, BootStage::User);
    let expected = "running the app as nobody needs root, or the capabilities ";
    assert!(message.starts_with(expected), "{message}");
}

fn who(shim: &Shim) -> serde_json::Value {
    serde_json::from_slice(&shim.get("/").body).unwrap()
}

#[test]
fn an_app_is_its_user_and_nothing_more() {
    let directory = Directory::new();
    let entry = directory.write("app.py", WHO);
    let mut spec = of_nobody(&directory, Runtime::Python, &[&entry]);
    spec.env.insert("LOGNAME".into(), "of the app".into());
    let Some(mut shim) = start(directory, spec) else { return };
    let (_, join, _) = shim.joined();
    assert_eq!(join["keepAlive"], true);
    let (user, seen) = (nobody(), who(&shim));
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    assert_eq!(seen["uid"], serde_json::json!([uid, uid, uid]));
    assert_eq!(seen["gid"], serde_json::json!([gid, gid, gid]));
    assert_eq!(seen["groups"], serde_json::json!([gid]));
    let env = serde_json::json!({
        "HOME": user.dir, "USER": "nobody", "LOGNAME": "of the app", "SECRET": null,
        "XDG_RUNTIME_DIR": null,
    });
    assert_eq!(seen["env"], env);
    assert_eq!(seen["rights"], serde_json::json!(vec!["0000000000000000"; 4]));
    assert_eq!(seen["shim"], serde_json::json!(["Permission denied", "Permission denied"]));
    assert_eq!(seen["said"], serde_json::Value::Null);
    let socket = std::fs::metadata(&shim.spec.socket).unwrap();
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), (uid, 0, 0o660));
    let own = std::fs::read_to_string(format!("/proc/{}/status", shim.pid())).unwrap();
    assert!(own.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")), "{own}");
    let stderr = shim.stop();
    assert!(stderr.contains("said anew"), "{stderr}");
}

#[test]
fn a_user_can_be_given_by_number() {
    let directory = Directory::new();
    let mut spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
    spec.user = Some(nobody().uid.to_string());
    let Some(mut shim) = start(directory, spec) else { return };
    shim.joined();
    assert_eq!(shim.get("/").status, 200);
    shim.stop();
}

#[test]
fn a_master_that_is_not_root_can_have_kept_the_rights() {
    let directory = Directory::new();
    let entry = directory.write("app.py", WHO);
    let mut spec = of_nobody(&directory, Runtime::Python, &[&entry]);
    if !geteuid().is_root() {
        return assert_refused(Shim::start(directory, spec).failed());
    }
    let (master, user) =
        (nobody(), User::from_name("daemon").unwrap().expect("every system has one"));
    spec.user = Some("daemon".into());
    chown(directory.join("run").as_str(), Some(master.uid), Some(master.gid)).unwrap();
    let mut shim = Shim::start_with_rights(directory, spec);
    shim.joined();
    let seen = who(&shim);
    assert_eq!(seen["uid"], serde_json::json!(vec![user.uid.as_raw(); 3]));
    assert_eq!(seen["gid"], serde_json::json!(vec![user.gid.as_raw(); 3]));
    assert_eq!(seen["rights"], serde_json::json!(vec!["0000000000000000"; 4]));
    assert_eq!(seen["shim"], serde_json::json!(["Permission denied", "Permission denied"]));
    let socket = std::fs::metadata(&shim.spec.socket).unwrap();
    let expected = (user.uid.as_raw(), master.gid.as_raw(), 0o660);
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), expected);
    shim.stop();
}

#[test]
fn ones_own_user_needs_no_rights() {
    let directory = Directory::new();
    let entry = directory.write("app.py", WHO);
    let own = User::from_uid(geteuid()).unwrap().expect("we are somebody");
    let mut spec = spec(&directory, Runtime::Python, &[&entry]);
    spec.user = Some(own.name.clone());
    let mut shim = Shim::start_without(directory, spec, "-setuid,-setgid,-chown");
    shim.joined();
    let seen = who(&shim);
    assert_eq!(seen["uid"][1], own.uid.as_raw());
    assert_eq!(seen["env"]["XDG_RUNTIME_DIR"], "/of/the/masters/user");
    assert_eq!(
        (&seen["env"]["USER"], &seen["env"]["HOME"]),
        (&own.name.into(), &serde_json::json!(own.dir))
    );
    shim.stop();
}

#[test]
fn without_the_rights_it_is_refused() {
    for less in ["-setuid", "-setgid", "-chown", "-kill"] {
        let directory = Directory::new();
        let spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
        assert_refused(Shim::start_without(directory, spec, less).failed());
    }
}

#[test]
fn a_user_that_is_not_there() {
    let directory = Directory::new();
    let mut spec = spec(&directory, Runtime::Builtin, &["hello"]);
    spec.user = Some("no-such-user".into());
    let (stage, message) = Shim::start(directory, spec).failed();
    assert_eq!(stage, BootStage::User);
    let expected = "there is no user no-such-user on this system; create it with \
                    `useradd --system no-such-user`, or name another";
    assert_eq!(message, expected);
}

#[test]
fn limits_hold_for_the_app_and_not_for_its_shim() {
    let directory = Directory::new();
    let entry = directory.write("app.py", WHO);
    let mut spec = spec(&directory, Runtime::Python, &[&entry]);
    spec.limits = ProcessLimits {
        memory_bytes: Some(1 << 30),
        files: Some(64),
        processes: Some(1000),
        core_bytes: Some(0),
    };
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    let expected = serde_json::json!({
        "AS": [1 << 30, 1 << 30], "NOFILE": [64, 64], "NPROC": [1000, 1000], "CORE": [0, 0],
    });
    assert_eq!(who(&shim)["limits"], expected);
    let of = |pid: &dyn std::fmt::Display| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        text.lines().find(|line| line.starts_with("Max open files")).map(str::to_owned)
    };
    assert_eq!(of(&shim.pid()), of(&"self"));
    shim.stop();
}

#[test]
fn a_limit_above_the_hard_one() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let directory = Directory::new();
    let mut spec = spec(&directory, Runtime::Builtin, &["hello"]);
    spec.limits.files = Some(hard + 1);
    let (stage, message) = Shim::start(directory, spec).failed();
    assert_eq!(stage, BootStage::Limits);
    let above = hard + 1;
    let expected = format!(
        "files {above} is above the hard limit {hard} that the master was started with; \
         ask for less, or raise that (LimitNOFILE= in a systemd unit)"
    );
    assert_eq!(message, expected);
}

#[test]
fn a_file_of_settings_can_be_the_masters_alone() {
    let directory = Directory::new();
    let entry = directory.write("app.py", WHO);
    mode(&directory.write(".env", "SECRET=of the master\nUSER=of the file\n"), 0o600);
    let spec = of_nobody(&directory, Runtime::Python, &[&entry]);
    let Some(mut shim) = start(directory, spec) else { return };
    shim.joined();
    let seen = who(&shim);
    assert_eq!(seen["env"]["SECRET"], "of the master");
    assert_eq!(seen["env"]["USER"], "nobody", "it overrides nothing");
    shim.stop();
}

#[test]
fn no_link_makes_the_master_read_its_own_files() {
    let directory = Directory::new();
    let entry = directory.write("app.py", WHO);
    let masters = directory.write("masters", "SECRET=of the master\n");
    mode(&masters, 0o600);
    std::os::unix::fs::symlink(masters, directory.join(".env")).unwrap();
    let spec = of_nobody(&directory, Runtime::Python, &[&entry]);
    let Some(mut shim) = start(directory, spec) else { return };
    shim.joined();
    assert_eq!(who(&shim)["env"]["SECRET"], serde_json::Value::Null);
    let stderr = shim.stop();
    assert!(stderr.contains(".env cannot be read: Permission denied"), "{stderr}");
}

#[test]
fn a_setup_runs_as_the_user() {
    let directory = Directory::new();
    let mut spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
    let line = format!("exit $(( $(id -u) == {} ? 3 : 4 ))", nobody().uid);
    spec.launch.setup = Some(["/bin/sh", "-c", &line].map(str::to_owned).to_vec());
    let Some(shim) = start(directory, spec) else { return };
    let (stage, message) = shim.failed();
    assert_eq!(stage, BootStage::Setup);
    assert!(message.ends_with("exited with status 3"), "{message}");
}

#[test]
fn what_is_closed_to_the_user_is_said_to_be() {
    let directory = Directory::new();
    let entry = directory.write("inner/app.py", WHO);
    mode(&directory.join("inner"), 0o700);
    let spec = of_nobody(&directory, Runtime::Python, &[&entry]);
    let closed =
        |what: &str| format!("{what} is closed to nobody, as whom the app runs; give it access");
    let Some(shim) = start(directory, spec) else { return };
    assert_eq!(shim.failed(), (BootStage::Find, closed(&entry)));

    let directory = Directory::new();
    let mut spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
    spec.launch.cwd = directory.join("run");
    let cwd = format!("the working directory {}", spec.launch.cwd);
    assert_eq!(Shim::start(directory, spec).failed(), (BootStage::Find, closed(&cwd)));
}

/// A server that answers every connection with who it is, made from `listener`.
const SERVER: &str = r#"
import os, socket
def serve(listener):
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        body = str(os.getuid())
        head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.sendall((head + body).encode())
        connection.close()
"#;

fn server(directory: &Directory, listen: Listen, main: &str) -> WorkerSpec {
    let program = directory.write("server.py", &format!("{SERVER}\n{main}\n"));
    let mut spec = of_nobody(directory, Runtime::Command, &["python3", &program]);
    spec.launch.listen = listen;
    spec
}

#[test]
fn by_port_the_app_of_another_user_is_relayed_to() {
    let directory = Directory::new();
    let main = "serve(socket.create_server(('127.0.0.1', int(os.environ['PORT']))))";
    let spec = server(&directory, Listen::Port, main);
    let Some(mut shim) = start(directory, spec) else { return };
    shim.joined();
    assert_eq!(shim.get("/").text(), nobody().uid.to_string());
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    shim.exit();
    std::fs::remove_file(&shim.spec.socket).unwrap();
    shim.assert_nothing_left();
}

#[test]
fn by_path_the_app_of_another_user_needs_a_directory_of_its_own() {
    let main = "listener = socket.socket(socket.AF_UNIX); \
                listener.bind(os.environ['RIP_WORKER_SOCKET']); listener.listen(); serve(listener)";
    let directory = Directory::new();
    let spec = server(&directory, Listen::Path, main);
    let run = directory.join("run");
    let Some(shim) = start(directory, spec) else { return };
    let expected = format!("the app cannot bind a socket in {run}: Permission denied");
    assert_eq!(shim.failed(), (BootStage::Bind, expected));

    let directory = Directory::new();
    let mut spec = server(&directory, Listen::Path, main);
    let own = directory.join("run/app");
    std::fs::create_dir(&own).unwrap();
    chown(own.as_str(), Some(nobody().uid), Some(Gid::from_raw(0))).unwrap();
    mode(&own, 0o710);
    mode(&directory.join("run"), 0o711);
    spec.socket = format!("{own}/w3.sock");
    let mut shim = Shim::start(directory, spec);
    shim.joined();
    assert_eq!(shim.get("/").text(), nobody().uid.to_string());
    shim.stop();
}

#[test]
fn an_app_of_another_user_that_does_not_stop_is_killed() {
    let directory = Directory::new();
    let stubborn = "trap '' TERM; (trap '' TERM; while :; do sleep 600; done) & wait; sleep 600";
    let mut spec = of_nobody(&directory, Runtime::Command, &["sh", "-c", stubborn]);
    spec.launch.ready = Ready::Listen;
    spec.kill_timeout_ms = 200;
    let Some(mut shim) = start(directory, spec) else { return };
    shim.joined();
    until("it is running", || session(shim.pid()).len() >= 3);
    shim.signal(Signal::SIGTERM);
    shim.verb().accept();
    assert_eq!(shim.exit().signal(), Some(9));
    shim.assert_nothing_left();
}

#[test]
fn an_app_of_another_user_dies_with_its_shim() {
    let directory = Directory::new();
    let spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
    let Some(mut shim) = start(directory, spec) else { return };
    let (app_pid, ..) = shim.joined();
    shim.signal(Signal::SIGKILL);
    assert_eq!(shim.exit().signal(), Some(9));
    until("the app is gone", || !session(shim.pid()).contains(&(app_pid as i32)));
}

#[test]
fn a_shim_of_another_user_notices_the_death_of_its_parent() {
    if !geteuid().is_root() {
        let directory = Directory::new();
        let spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
        return assert_refused(Shim::start(directory, spec).failed());
    }
    let directory = Directory::new();
    let spec = of_nobody(&directory, Runtime::Builtin, &["hello"]);
    let mut shim = Shim::start_below(directory, spec);
    let (app_pid, join, _verb) = shim.joined();
    let pid = join["pid"].as_u64().unwrap() as u32;
    assert!(session(pid).contains(&(app_pid as i32)));
    kill(Pid::from_raw(shim.pid() as i32), Signal::SIGKILL).unwrap();
    // The lifeline has not ended: it is the signal that makes it leave.
    let mut quit = shim.verb();
    assert_eq!(quit.op(), "quit");
    quit.accept();
    until("shim and app are gone", || session(pid).is_empty());
}
