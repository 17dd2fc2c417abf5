//! Rights: the server gives up what it does not need, and apps with users of their own have no more
//! than those.
//!
//! They need root. Whoever runs them otherwise sees that what they are about is refused.

use crate::harness::{Server, Setup, eventually, processes, tools};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// True for root; others are shown that they are refused, with what is said of it.
fn is_root() -> bool {
    if geteuid().is_root() {
        return true;
    }
    eprintln!("not root: only the refusal is tested");
    let (code, text) = Setup::builtin("hello").flag("--user", "root").fails();
    assert_eq!(code, 77, "{text}");
    assert!(text.contains("to become root takes root"), "{text}");
    false
}

fn uid(name: &str) -> u32 {
    user(name).uid.as_raw()
}

fn user(name: &str) -> User {
    User::from_name(name).unwrap().unwrap_or_else(|| panic!("there is no user {name}"))
}

/// The fields of `/proc/<pid>/status`, or of one thread's.
fn status(path: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once(":\t"));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// Every thread of the process is `name` in every respect, and has these capabilities and no others.
#[track_caller]
fn assert_is(pid: u32, name: &str, capabilities: u64) {
    let User { uid, gid, .. } = user(name);
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks.flatten() {
        let status = status(&task.path().join("status").display().to_string());
        let Some(uids) = status.get("Uid") else { continue };
        assert_eq!(*uids, vec![uid.to_string(); 4].join("\t"), "{name}: {status:?}");
        assert_eq!(status["Gid"], vec![gid.to_string(); 4].join("\t"), "{name}");
        let groups: Vec<_> = status["Groups"].split_whitespace().collect();
        assert!(!groups.contains(&"0"), "{name}: {groups:?}");
        for set in ["CapEff", "CapPrm"] {
            assert_eq!(status[set], format!("{capabilities:016x}"), "{name} {pid} {set}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(status[set], format!("{:016x}", 0), "{name} {pid} {set}");
        }
    }
}

fn environment(pid: u32, name: &str) -> Option<String> {
    let all = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let all = String::from_utf8_lossy(&all).into_owned();
    all.split('\0').find_map(|entry| entry.strip_prefix(&format!("{name}=")).map(str::to_owned))
}

/// The shim and the processes of an app.
fn of_app(server: &Server, id: &str) -> Vec<u32> {
    let below = processes::below(server.pid());
    let apps = below.iter().filter(|pid| environment(**pid, "RIP_APP_ID").as_deref() == Some(id));
    apps.flat_map(|pid| [processes::parent(*pid), Some(*pid)]).flatten().collect()
}

const NET_BIND_SERVICE: u64 = 1 << 10;
const FOR_OTHERS: u64 = 1 | 1 << 5 | 1 << 6 | 1 << 7;

#[test]
fn a_server_that_becomes_somebody_else_is_that_in_every_thread_and_for_good() {
    if !is_root() {
        return;
    }
    let setup = Setup::builtin("hello").workers(2).flag("--user", "www-data").flag("--loops", 2);
    let mut server = setup.start();
    assert_eq!(server.get("/").status, 200);
    assert_is(server.pid(), "www-data", 0);
    assert_eq!(status(&format!("/proc/{}/status", server.pid()))["NoNewPrivs"], "1");
    for pid in processes::below(server.pid()) {
        assert_is(pid, "www-data", 0);
    }
    // Root may still ask and order.
    let (code, said) = server.cli(&["status"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = server.cli(&["restart", "--wait"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(server.stop(), 0);
    // The directory of the last one is no obstacle.
    server.start_again();
    assert_is(server.pid(), "www-data", 0);
    let (code, said) = server.cli(&["stop"]);
    assert_eq!((code, server.exit_code()), (0, 0), "{said}");
}

#[test]
fn low_ports_are_bound_before_the_rights_are_given_up_and_by_a_reload_after() {
    if !is_root() {
        return;
    }
    let text = |more: &str| {
        format!(
            "version 1\nedge {{\n user \"www-data\"\n mdns #false\n \
             http \"127.0.0.1:PORT\" \"127.0.0.77:80\"{more}\n}}\n\
             app \"a\" {{\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n}}\n"
        )
    };
    let server = Setup::edgefile(&text("")).start();
    assert_is(server.pid(), "www-data", NET_BIND_SERVICE);
    assert!(says_ok("127.0.0.77:80"));
    for pid in of_app(&server, "a") {
        assert_is(pid, "www-data", 0);
    }
    let more = server.filled_in(&text(" \"127.0.0.77:81\""));
    std::fs::write(server.path("app/Edgefile"), more).unwrap();
    let (code, said) = server.cli(&["reload", "--wait"]);
    assert_eq!(code, 0, "{said}");
    assert!(says_ok("127.0.0.77:81"));
}

fn says_ok(address: &str) -> bool {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /server HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

/// An app that tries what it must not be able to do, and says what came of it.
const BURGLAR: &str = r#"
import ctypes, glob, json, os, socket

def outcome(attempt):
    try:
        attempt()
        return "done"
    except OSError as error:
        return error.strerror

def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])

def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)

def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def application(environ, start_response):
    shim = os.getppid()
    master = parent(shim)
    own = os.environ["RIP_WORKER_SOCKET"]
    runtime = os.path.dirname(os.path.dirname(own))
    others = environ["QUERY_STRING"].split(",")
    told = {
        "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
        "home": os.environ.get("HOME"),
        "control": outcome(lambda: connect(runtime + "/ctl.sock")),
        "list": outcome(lambda: os.listdir(os.path.dirname(own))),
        "kill": outcome(lambda: os.kill(master, 0)),
        "trace": outcome(lambda: trace(master)),
        "memory": outcome(lambda: open(f"/proc/{master}/mem", "rb")),
        "environ": outcome(lambda: open(f"/proc/{master}/environ", "rb")),
        "trace_shim": outcome(lambda: trace(shim)),
        "others": [outcome(lambda: connect(path)) for path in others if path],
        "root": outcome(lambda: os.setuid(0)),
    }
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
"#;

fn burglars(edge_user: &str) -> Server {
    let user = match edge_user {
        "" => String::new(),
        user => format!(" user \"{user}\"\n"),
    };
    let text = format!(
        "version 1\nedge {{\n http \"127.0.0.1:PORT\"\n mdns #false\n{user}}}\n\
         app \"a\" {{\n entry \"./a.py\"\n workers 1\n hosts \"a.test\"\n user \"nobody\"\n}}\n\
         app \"b\" {{\n entry \"./a.py\"\n workers 1\n hosts \"b.test\"\n user \"daemon\"\n}}\n\
         app \"c\" {{\n entry \"builtin:hello\"\n workers 1\n hosts \"c.test\"\n}}\n"
    );
    Setup::edgefile(&text).with_file("a.py", BURGLAR).start()
}

fn told(server: &Server, host: &str, others: &str) -> Value {
    let response = server.connect().ask_at(host, "GET", &format!("/?{others}"));
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn socket_of(server: &Server, id: &str) -> String {
    let pid = *of_app(server, id).last().unwrap_or_else(|| panic!("no process of {id}"));
    environment(pid, "RIP_WORKER_SOCKET").expect("its socket")
}

/// Apps of other users than the server's can do nothing to it nor to each other.
#[track_caller]
fn assert_held(server: &Server) {
    let sockets = [socket_of(server, "b"), socket_of(server, "c")].join(",");
    for (host, name) in [("a.test", "nobody"), ("b.test", "daemon")] {
        let own = socket_of(server, &host[..1]);
        let others: Vec<_> = sockets.split(',').filter(|socket| *socket != own).collect();
        let told = told(server, host, &others.join(","));
        let User { uid, gid, dir, .. } = user(name);
        let three = |number: u32| Value::from([number; 3].to_vec());
        assert_eq!((&told["uid"], &told["gid"]), (&three(uid.as_raw()), &three(gid.as_raw())));
        let groups: Vec<u64> =
            told["groups"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        assert!(!groups.contains(&0), "{groups:?}");
        assert_eq!(told["home"].as_str(), dir.to_str());
        for what in ["control", "list", "memory", "environ"] {
            assert_eq!(told[what], "Permission denied", "{what}: {told}");
        }
        for what in ["kill", "trace", "trace_shim", "root"] {
            assert_eq!(told[what], "Operation not permitted", "{what}: {told}");
        }
        for other in told["others"].as_array().unwrap() {
            assert_eq!(other, "Permission denied", "{told}");
        }
    }
}

#[test]
fn apps_with_users_of_their_own_are_held_by_a_server_that_stays_root() {
    if !is_root() {
        return;
    }
    let server = burglars("");
    eventually("every app", || server.get("/status").status == 200);
    assert_held(&server);
    for pid in of_app(&server, "a") {
        assert_is(pid, "nobody", 0);
    }
}

#[test]
fn apps_with_users_of_their_own_are_held_by_a_server_that_gave_up_being_root() {
    if !is_root() {
        return;
    }
    let mut server = burglars("www-data");
    eventually("every app", || server.get("/status").status == 200);
    assert_is(server.pid(), "www-data", FOR_OTHERS | NET_BIND_SERVICE);
    assert_held(&server);
    for (app, name) in [("a", "nobody"), ("b", "daemon"), ("c", "www-data")] {
        let its = of_app(&server, app);
        assert!(its.len() >= 2, "{app}: {its:?}");
        for pid in its {
            assert_is(pid, name, 0);
        }
    }
    // It can still start and end processes of theirs.
    let (code, said) = server.cli(&["restart", "--wait"]);
    assert_eq!(code, 0, "{said}");
    // And another configuration may name other users.
    let path = server.path("app/Edgefile");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"daemon\"", "\"bin\"");
    std::fs::write(&path, text).unwrap();
    let (code, said) = server.cli(&["reload", "--wait"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(told(&server, "b.test", "")["uid"][0], uid("bin"));
    let path = server.runtime();
    assert_eq!(server.stop(), 0);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn a_server_that_gave_up_being_root_can_be_succeeded() {
    if !is_root() {
        return;
    }
    let mut server = burglars("www-data");
    eventually("every app", || server.get("/status").status == 200);
    for _ in 0..2 {
        server.upgrade();
        assert_is(server.pid(), "www-data", FOR_OTHERS | NET_BIND_SERVICE);
        assert_held(&server);
    }
    let path = server.runtime();
    assert_eq!(server.stop(), 0);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn the_program_that_gets_rights_of_root_is_not_for_others_to_choose() {
    if !is_root() {
        return;
    }
    let server = burglars("www-data");
    eventually("every app", || server.get("/status").status == 200);
    let (socket, pid) = (server.runtime().join("ctl.sock"), server.pid());
    let asked_by = |name: &str, binary: &str| {
        let (user, body) = (user(name), format!(r#"{{"binary":"{binary}"}}"#));
        let mut ask = Command::new("setpriv");
        ask.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string()]);
        ask.args(["--clear-groups", "curl", "--silent", "--show-error", "--data", &body]);
        ask.arg("--unix-socket").arg(&socket).arg("http://x/control/upgrade");
        let output = tools::finish(&mut ask);
        assert!(output.status.success(), "{}", tools::both(&output));
        String::from_utf8(output.stdout).expect("JSON")
    };
    let refused = asked_by("www-data", "/bin/true");
    assert!(refused.contains("only root may name the program"), "{refused}");
    let path = server.runtime().join("program");
    std::fs::copy("/bin/true", &path).expect("a program");
    std::os::unix::fs::chown(&path, Some(uid("www-data")), None).expect("root may");
    let refused = asked_by("root", path.to_str().expect("UTF-8"));
    assert!(refused.contains("others than root can change"), "{refused}");
    std::fs::remove_file(&path).expect("it goes");
    assert_eq!((server.pid(), server.get("/status").status), (pid, 200));
}

#[test]
fn an_app_of_another_user_may_bind_its_socket_itself() {
    if !is_root() {
        return;
    }
    const BINDS: &str = "import os, socketserver, http.server\n\
        class Handler(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_GET(self):\n\
        \x20       self.send_response(200)\n\
        \x20       self.send_header('Content-Length', '2')\n\
        \x20       self.end_headers()\n\
        \x20       self.wfile.write(b'me')\n\
        \x20   def address_string(self):\n\
        \x20       return ''\n\
        \x20   def log_message(self, *args):\n\
        \x20       pass\n\
        socketserver.UnixStreamServer(os.environ['RIP_WORKER_SOCKET'], Handler).serve_forever()\n";
    let text = "version 1\nedge {\n http \"127.0.0.1:PORT\"\n mdns #false\n user \"www-data\"\n}\n\
        app \"a\" {\n command \"/usr/bin/python3\" \"$DIR/app/bind.py\"\n listen \"path\"\n workers 1\n \
        hosts \"a.test\"\n user \"nobody\"\n}\n";
    let mut server = Setup::edgefile(text).with_file("bind.py", BINDS).start();
    assert_eq!(server.connect().ask_at("a.test", "GET", "/").text(), "me");
    let (code, said) = server.cli(&["restart", "--wait"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(server.connect().ask_at("a.test", "GET", "/").text(), "me");
    let path = server.runtime();
    assert_eq!(server.stop(), 0);
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

/// The command as the user `nobody` would give it.
fn as_nobody(command: &Command, _: u16) -> Command {
    let nobody = user("nobody");
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid", &nobody.uid.to_string(), "--regid", &nobody.gid.to_string()]);
    as_nobody.arg("--clear-groups").arg(command.get_program()).args(command.get_args());
    as_nobody
}

#[test]
fn what_takes_root_is_refused_to_others_in_so_many_words() {
    if !is_root() {
        return;
    }
    let setup = Setup::builtin("hello").flag("--user", "www-data").wrapped(as_nobody);
    let (code, text) = setup.fails();
    assert_eq!(code, 77, "{text}");
    assert!(text.contains("to become www-data takes root, and this process is user"), "{text}");
    let text = "version 1\nedge {\n http \"127.0.0.1:PORT\"\n}\n\
        app \"a\" {\n entry \"builtin:hello\"\n hosts \"a.test\"\n user \"www-data\"\n}\n";
    let (code, text) = Setup::edgefile(text).wrapped(as_nobody).fails();
    assert_eq!(code, 77, "{text}");
    let sentence = "a user of its own needs a master that stays root, or `edge { user }` that keeps \
                    CAP_SETUID, CAP_SETGID, CAP_KILL and CAP_CHOWN";
    assert!(text.contains(sentence), "{text}");
    let (code, text) = Setup::builtin("hello").flag("--user", "nobody-is-called-so").fails();
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("there is no user nobody-is-called-so"), "{text}");
}

#[test]
fn what_a_reload_will_need_and_cannot_read_is_told_at_start() {
    if !is_root() {
        return;
    }
    let text = "version 1\nedge {\n http \"127.0.0.1:PORT\"\n mdns #false\n user \"www-data\"\n \
        publish secret-file=\"$DIR/app/secret\"\n}\n\
        app \"a\" {\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n}\n";
    let setup = Setup::edgefile(text).with_file("secret", "0123456789abcdef0123456789abcdef\n");
    let secret = setup.path("app/secret");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let server = setup.start();
    server.wait_for_log(&format!("{} cannot be read by www-data", secret.display()));
    let (code, said) = server.cli(&["reload", "--wait"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cannot be read"), "{said}");
    std::os::unix::fs::chown(&secret, Some(uid("www-data")), None).unwrap();
    let (code, said) = server.cli(&["reload", "--wait"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_server_that_was_never_root_may_have_apps_of_others_with_the_rights_for_it() {
    if !is_root() {
        return;
    }
    let text = "version 1\nedge {\n http \"127.0.0.1:PORT\"\n mdns #false\n}\n\
        app \"a\" {\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n user \"nobody\"\n}\n\
        app \"b\" {\n entry \"builtin:hello\"\n workers 1\n hosts \"b.test\"\n}\n";
    // As an init system starts it: User= and AmbientCapabilities=.
    let setup = Setup::edgefile(text).wrapped(|command, _| {
        let daemon = user("www-data");
        let mut ambient = Command::new("setpriv");
        ambient.args(["--reuid", &daemon.uid.to_string(), "--regid", &daemon.gid.to_string()]);
        ambient.args(["--clear-groups", "--inh-caps=+chown,+kill,+setgid,+setuid"]);
        ambient.arg("--ambient-caps=+chown,+kill,+setgid,+setuid");
        ambient.arg(command.get_program()).args(command.get_args());
        ambient
    });
    give_directories(&setup);
    let mut server = setup.start();
    assert_is(server.pid(), "www-data", FOR_OTHERS);
    for (app, name) in [("a", "nobody"), ("b", "www-data")] {
        let its = of_app(&server, app);
        assert!(its.len() >= 2, "{app}: {its:?}");
        for pid in its {
            assert_is(pid, name, 0);
        }
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_server_with_the_right_to_low_ports_alone_takes_them_up_at_a_reload() {
    if !is_root() {
        return;
    }
    let text = |more: &str| {
        format!(
            "version 1\nedge {{\n mdns #false\n http \"127.0.0.1:PORT\"{more}\n}}\n\
             app \"a\" {{\n entry \"builtin:hello\"\n workers 1\n hosts \"a.test\"\n}}\n"
        )
    };
    let setup = Setup::edgefile(&text("")).wrapped(|command, _| {
        let daemon = user("www-data");
        let mut ambient = Command::new("setpriv");
        ambient.args(["--reuid", &daemon.uid.to_string(), "--regid", &daemon.gid.to_string()]);
        ambient.args(["--clear-groups", "--inh-caps=+net_bind_service"]);
        ambient.arg("--ambient-caps=+net_bind_service");
        ambient.arg(command.get_program()).args(command.get_args());
        ambient
    });
    give_directories(&setup);
    let mut server = setup.start();
    let more = server.filled_in(&text(" \"127.0.0.78:82\""));
    std::fs::write(server.path("app/Edgefile"), more).unwrap();
    // Root does not ask a master whose directory anybody could have made.
    server.signal(Signal::SIGHUP);
    eventually("the new port", || TcpStream::connect("127.0.0.78:82").is_ok());
    assert!(says_ok("127.0.0.78:82"));
    for pid in of_app(&server, "a") {
        assert_is(pid, "www-data", 0);
    }
    assert_eq!(server.stop(), 0);
}

/// Makes the directories of a server those of who it runs as.
fn give_directories(setup: &Setup) {
    for name in ["run", "state", "cache"] {
        let path = setup.path(name);
        std::fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(uid("www-data")), None).unwrap();
    }
}

#[test]
fn a_successor_has_what_was_kept_and_no_more() {
    if !is_root() {
        return;
    }
    let mut server = burglars("www-data");
    eventually("every app", || server.get("/status").status == 200);
    server.upgrade();
    server.wait_for_predecessors();
    assert_is(server.pid(), "www-data", FOR_OTHERS | NET_BIND_SERVICE);
    eventually("every app", || server.get("/status").status == 200);
    assert_held(&server);
    for (app, name) in [("a", "nobody"), ("b", "daemon"), ("c", "www-data")] {
        for pid in of_app(&server, app) {
            assert_is(pid, name, 0);
        }
    }
    assert_eq!(server.stop(), 0);
}
