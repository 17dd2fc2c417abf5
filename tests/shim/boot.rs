//! A worker boots in stages, joins when its app answers, and names the stage that failed.

use crate::harness::{Directory, Shim, spec, until};
use rip::contract::app::Runtime;
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn start(runtime: Runtime, argv: &[&str], change: impl FnOnce(&mut WorkerSpec)) -> Shim {
    let directory = Directory::new();
    let mut spec = spec(&directory, runtime, argv);
    change(&mut spec);
    Shim::start(directory, spec)
}

fn failed(
    runtime: Runtime,
    argv: &[&str],
    change: impl FnOnce(&mut WorkerSpec),
) -> (BootStage, String) {
    start(runtime, argv, change).failed()
}

#[test]
fn a_builtin_joins_and_answers() {
    let mut shim = start(Runtime::Builtin, &["hello"], |_| ());
    let (app_pid, join, verb) = shim.joined();
    assert_eq!(verb.authorization, "Bearer token-of-this-spawn");
    let expected = serde_json::json!({
        "op": "join", "workerId": 3, "generation": 7, "version": 7, "pid": shim.pid(),
        "appPid": app_pid, "socket": shim.spec.socket, "appId": "app", "keepAlive": true,
    });
    assert_eq!(join, expected);
    let mode = std::fs::metadata(&shim.spec.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let reply = shim.get("/");
    assert_eq!((reply.status, reply.text()), (200, "Hello from rip-master\n"));
    assert!(reply.reusable);
    shim.stop();
}

#[test]
fn a_master_may_answer_the_join_late() {
    let mut shim = start(Runtime::Builtin, &["hello"], |spec| spec.start_timeout_ms = 300);
    shim.started();
    let mut join = shim.verb();
    let asked = Instant::now();
    until("the start timeout has passed", || asked.elapsed() > Duration::from_millis(500));
    join.accept();
    assert_eq!(shim.report(), None, "the boot is over");
    assert_eq!(shim.get("/").status, 200);
    shim.stop();
}

#[test]
fn the_first_answer_comes_within_a_tenth_of_a_second() {
    let best = (0..5)
        .map(|_| {
            let began = Instant::now();
            let mut shim = start(Runtime::Builtin, &["hello"], |_| ());
            shim.started();
            let _join = shim.verb();
            began.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_millis(100)), "{best:?}");
}

#[test]
fn a_spec_that_is_not_understood() {
    let directory = Directory::new();
    let spec = spec(&directory, Runtime::Builtin, &["hello"]);
    let (stage, message) = Shim::start_raw(directory, spec, "{\"appId\":1}").failed();
    assert_eq!(stage, BootStage::Spec);
    assert!(message.starts_with("the worker's spec is not understood: "), "{message}");
}

#[test]
fn a_control_socket_that_is_not_there() {
    let (stage, message) =
        failed(Runtime::Builtin, &["hello"], |spec| spec.control_socket = "/nowhere/ctl".into());
    assert_eq!(stage, BootStage::Control);
    assert!(
        message.starts_with("the control socket /nowhere/ctl cannot be reached: "),
        "{message}"
    );
}

#[test]
fn a_socket_that_cannot_be_bound() {
    let (stage, message) =
        failed(Runtime::Builtin, &["hello"], |spec| spec.socket = "/nowhere/w1.sock".into());
    assert_eq!(stage, BootStage::Bind);
    assert_eq!(message, "/nowhere/w1.sock cannot be bound: No such file or directory");
}

#[test]
fn a_parent_that_is_not_the_master() {
    let (stage, message) = failed(Runtime::Builtin, &["hello"], |spec| spec.master_pid = 1);
    assert_eq!(stage, BootStage::Parent);
    assert_eq!(message, "the master (pid 1) is not the parent any more");
}

#[test]
fn a_program_that_is_not_installed() {
    let (stage, message) = failed(Runtime::Command, &["no-such-server", "--fd", "{fd}"], |_| ());
    assert_eq!(stage, BootStage::Find);
    assert_eq!(message, "no-such-server was not found on PATH; install it, or give its full path");
}

#[test]
fn an_interpreter_that_is_not_installed() {
    let (stage, message) = failed(Runtime::Python, &["app.py"], |spec| {
        spec.env.insert("PATH".into(), "/nowhere".into());
        std::fs::write(format!("{}/app.py", spec.launch.cwd), "").unwrap();
    });
    assert_eq!(stage, BootStage::Find);
    assert_eq!(
        message,
        "python3 was not found on PATH; install it with `apt install python3`, or the like"
    );
}

#[test]
fn a_file_that_is_no_program() {
    let directory = Directory::new();
    let path = directory.write("server", "#!/no/such/interpreter\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let spec = spec(&directory, Runtime::Command, &["./server"]);
    let (stage, message) = Shim::start(directory, spec).failed();
    assert_eq!(stage, BootStage::Start);
    assert!(message.contains("the interpreter that the first line of "), "{message}");
}

#[test]
fn an_app_that_ends_before_it_is_ready() {
    let (stage, message) = failed(Runtime::Command, &["sh", "-c", "exit 9"], |_| ());
    assert_eq!(
        (stage, &*message),
        (BootStage::Ready, "the app exited with status 9 before it was ready")
    );
    let (_, message) = failed(Runtime::Command, &["sh", "-c", "kill -9 $$"], |_| ());
    assert_eq!(message, "the app was killed by SIGKILL before it was ready");
    let (_, message) = failed(Runtime::Command, &["sh", "-c", "sleep 600 & exit 0"], |_| ());
    assert!(message.ends_with("it must stay in the foreground"), "{message}");
}

#[test]
fn an_app_that_is_never_ready() {
    let (stage, message) = failed(Runtime::Command, &["sleep", "600"], |spec| {
        spec.start_timeout_ms = 300;
    });
    assert_eq!(stage, BootStage::Ready);
    assert!(message.starts_with("the app was not ready within 300 ms: "), "{message}");
}

#[test]
fn a_join_that_is_refused() {
    let mut shim = start(Runtime::Builtin, &["hello"], |_| ());
    shim.started();
    shim.verb().answer(403, r#"{"ok":false,"error":"no such worker","hint":""}"#);
    let (stage, message) = shim.failed();
    assert_eq!(stage, BootStage::Join);
    assert_eq!(message, "the master refused the worker: no such worker");
}
