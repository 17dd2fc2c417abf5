//! A master played by the test: descriptors, control socket, and a look at what is left.

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};
use rip::contract::app::{HealthCheck, Launch, Listen, Ready, Runtime};
use rip::http1::{Client, ClientRead, ResponseHead};
use rip::ids::{AppId, Generation, WorkerId};
use rip::wire::boot::{BootReport, BootStage};
use rip::wire::spec::WorkerSpec;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes longer, on the slowest machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a condition; fails with `what` at the deadline.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited too long: {what}");
        thread::park_timeout(Duration::from_millis(3));
    }
}

/// A directory that goes with the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rip-shim-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A verb that arrived on the control socket; dropping it closes that connection.
pub struct Verb {
    pub authorization: String,
    pub body: Value,
    stream: UnixStream,
}

impl Verb {
    pub fn op(&self) -> &str {
        self.body["op"].as_str().unwrap_or_default()
    }

    pub fn answer(&mut self, status: u16, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    /// Ends the connection it came on.
    pub fn close(self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    pub fn accept(&mut self) {
        self.answer(200, r#"{"ok":true}"#);
    }
}

/// A shim under test, and everything a master holds of it.
pub struct Shim {
    pub directory: Directory,
    pub spec: WorkerSpec,
    child: Child,
    boot: BufReader<File>,
    lifeline: Option<OwnedFd>,
    verbs: Receiver<Verb>,
    stderr: Option<thread::JoinHandle<String>>,
    /// The shim itself, where a shell is between us.
    below: Option<i32>,
}

/// A spec for an app in `directory`, to be changed before it is used.
pub fn spec(directory: &Directory, runtime: Runtime, argv: &[&str]) -> WorkerSpec {
    WorkerSpec {
        app_id: AppId::new("app"),
        worker_id: WorkerId(3),
        generation: Generation(7),
        token: "token-of-this-spawn".to_owned(),
        control_socket: directory.join("ctl.sock"),
        socket: directory.join("w3.sock"),
        launch: Launch {
            runtime,
            argv: argv.iter().map(ToString::to_string).collect(),
            cwd: directory.path().display().to_string(),
            listen: Listen::Fd,
            ready: Ready::Http,
            stop_signal: "TERM".to_owned(),
            setup: None,
        },
        user: None,
        limits: Default::default(),
        concurrency: 1,
        reload: Default::default(),
        health_check: HealthCheck::default(),
        probe_host: "app.example".to_owned(),
        env: BTreeMap::new(),
        urls: vec!["http://127.0.0.1:8080/".to_owned()],
        start_timeout_ms: 15_000,
        kill_timeout_ms: 10_000,
        master_pid: std::process::id(),
    }
}

impl Shim {
    /// Boots a shim with this spec.
    pub fn start(directory: Directory, spec: WorkerSpec) -> Self {
        let text = serde_json::to_string(&spec).unwrap();
        Self::start_raw(directory, spec, &text)
    }

    /// Boots a shim that is told `text`.
    pub fn start_raw(directory: Directory, spec: WorkerSpec, text: &str) -> Self {
        Self::start_by(
            directory,
            spec,
            text,
            r#"exec "$0" worker-shim 3<"$SPEC" 4>"$BOOT" 5<"$LIFE""#,
        )
    }

    /// Boots a shim without the capabilities `less`, as `setpriv` names them. Only root has any.
    pub fn start_without(directory: Directory, spec: WorkerSpec, less: &str) -> Self {
        if !nix::unistd::geteuid().is_root() {
            return Self::start(directory, spec);
        }
        let text = serde_json::to_string(&spec).unwrap();
        let line = format!(
            r#"exec setpriv --bounding-set {less} "$0" worker-shim 3<"$SPEC" 4>"$BOOT" 5<"$LIFE""#
        );
        Self::start_by(directory, spec, &text, &line)
    }

    /// Boots a shim for a master that is nobody but has kept the right to become others. By root.
    pub fn start_with_rights(directory: Directory, spec: WorkerSpec) -> Self {
        let text = serde_json::to_string(&spec).unwrap();
        let rights = "+chown,+kill,+setgid,+setuid";
        let line = format!(
            r#"chmod 666 "${{SPEC%/*}}/ctl.sock"
               exec setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps {rights} \
               --ambient-caps {rights} /proc/self/fd/9 worker-shim \
               3<"$SPEC" 4>"$BOOT" 5<"$LIFE" 9<"$0""#
        );
        Self::start_by(directory, spec, &text, &line)
    }

    /// Boots a shim as the child of a shell that can be killed without ending the lifeline. The
    /// shell's is the pid of this one.
    pub fn start_below(directory: Directory, mut spec: WorkerSpec) -> Self {
        const HERE: u32 = 4_123_456_789;
        spec.master_pid = HERE;
        let text = serde_json::to_string(&spec).unwrap();
        let line = format!(
            r#"sed "s/{HERE}/$$/" "$SPEC" >"$SPEC.told"
               "$0" worker-shim 3<"$SPEC.told" 4>"$BOOT" 5<"$LIFE" & wait"#
        );
        Self::start_by(directory, spec, &text, &line)
    }

    /// Boots the shim `$0` by a shell that is given `line` and our descriptors' names.
    fn start_by(directory: Directory, spec: WorkerSpec, text: &str, line: &str) -> Self {
        let verbs = serve_control(&directory.path().join("ctl.sock"));
        let told = File::create(directory.path().join("spec.json"))
            .and_then(|mut file| file.write_all(text.as_bytes()));
        told.unwrap();
        let (boot, boot_write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (lifeline_read, lifeline) = pipe2(OFlag::O_CLOEXEC).unwrap();
        // The shell opens our ends of the pipes by number and becomes the shim: our child (or starts
        // it), with descriptors 3, 4 and 5 and no others.
        let fds = format!("/proc/{}/fd", std::process::id());
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(line)
            .arg(env!("CARGO_BIN_EXE_rip-worker"))
            .env("SPEC", directory.path().join("spec.json"))
            .env("BOOT", format!("{fds}/{}", boot_write.as_raw_fd()))
            .env("LIFE", format!("{fds}/{}", lifeline_read.as_raw_fd()))
            .env("NOTIFY_SOCKET", "/nowhere")
            .env("RIP_PUBLISH_SECRET", "of the master")
            .env("FROM_MASTER", "master")
            .env("XDG_RUNTIME_DIR", "/of/the/masters/user")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut shim = Self {
            directory,
            spec,
            child,
            boot: BufReader::new(boot.into()),
            lifeline: Some(lifeline),
            verbs,
            stderr: Some(stderr),
            below: None,
        };
        // Until the shell has opened them, ours are the only ones.
        let shell = shim.child.id();
        until("the shell becomes the shim", || {
            let parent = |fields: &[&str]| fields.get(1).and_then(|field| field.parse().ok());
            let below =
                || processes(|fields| parent(fields) == Some(shell)).into_iter().find(is_shim);
            if !is_shim(&(shell as i32)) {
                shim.below = below();
            }
            is_shim(&(shell as i32))
                || shim.below.is_some()
                || matches!(shim.child.try_wait(), Ok(Some(_)))
        });
        drop((boot_write, lifeline_read));
        shim
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next report of the boot; `None` when the boot is over.
    pub fn report(&mut self) -> Option<BootReport> {
        let mut line = String::new();
        self.boot.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// The app's pid, when the boot got that far.
    pub fn started(&mut self) -> u32 {
        match self.report() {
            Some(BootReport::Started { app_pid }) => app_pid,
            other => panic!("not started: {other:?}\n{}", self.stderr()),
        }
    }

    /// The stage and sentence of a boot that fails; the shim is gone after it, without a trace.
    pub fn failed(mut self) -> (BootStage, String) {
        loop {
            match self.report() {
                Some(BootReport::Started { .. } | BootReport::SettingUp | BootReport::SetUp) => {}
                Some(BootReport::Failed { stage, message, .. }) => {
                    assert_eq!(self.exit().code(), Some(1));
                    self.assert_nothing_left();
                    return (stage, message);
                }
                None => panic!("no failure was reported\n{}", self.stderr()),
            }
        }
    }

    /// The next verb.
    pub fn verb(&mut self) -> Verb {
        match self.verbs.recv_timeout(DEADLINE) {
            Ok(verb) => verb,
            Err(_) => {
                self.kill();
                panic!("no verb came\n{}", self.stderr())
            }
        }
    }

    /// Whether no verb came so far.
    pub fn is_silent(&self) -> bool {
        self.verbs.try_recv().is_err()
    }

    /// Boots to the end: started, joined, accepted. The app's pid, the join, and the connection it
    /// came on.
    pub fn joined(&mut self) -> (u32, Value, Verb) {
        let app_pid = self.started();
        let mut join = self.verb();
        assert_eq!(join.op(), "join");
        join.accept();
        assert_eq!(self.report(), None, "the boot is over");
        (app_pid, join.body.clone(), join)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        if let Some(pid) = self.below.filter(is_shim) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Ends the lifeline, as the master's death does.
    pub fn cut_lifeline(&mut self) {
        self.lifeline = None;
    }

    /// Waits for the shim's end.
    pub fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        let end = Instant::now() + DEADLINE;
        while status.is_none() {
            if Instant::now() > end {
                self.kill();
                panic!("the shim does not end\n{}", self.stderr());
            }
            thread::park_timeout(Duration::from_millis(3));
            status = self.child.try_wait().unwrap();
        }
        status.unwrap()
    }

    /// What shim and app wrote to standard error; waits for their end.
    pub fn stderr(&mut self) -> String {
        self.kill();
        self.stderr.take().map(|reader| reader.join().unwrap()).unwrap_or_default()
    }

    /// A graceful end: SIGTERM, quit, exit code 0, and nothing left.
    pub fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let mut quit = self.verb();
        assert_eq!(quit.op(), "quit");
        quit.answer(200, r#"{"ok":true,"drained":true}"#);
        let status = self.exit();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
        self.assert_nothing_left();
        self.stderr()
    }

    /// The same for an app that is in the middle of something.
    pub fn stop_fast(mut self) {
        self.signal(Signal::SIGTERM);
        self.verb().accept();
        self.signal(Signal::SIGKILL);
        self.exit();
    }

    /// No process of the worker's session lives, and its socket is gone.
    pub fn assert_nothing_left(&self) {
        let left = session(self.pid());
        assert!(left.is_empty(), "processes are left: {left:?}");
        // One that was handed over to the app's user lies in the master's directory: the master
        // removes it.
        let handed_over = |meta: Metadata| self.spec.user.is_some() && meta.uid() != 0;
        if std::fs::symlink_metadata(&self.spec.socket).is_ok_and(handed_over) {
            std::fs::remove_file(&self.spec.socket).unwrap();
        }
        assert!(!Path::new(&self.spec.socket).exists(), "the socket is left");
    }

    /// Asks the worker on a connection of its own.
    pub fn ask(&self, request: &str) -> Reply {
        ask(&mut self.connect(), request.as_bytes())
    }

    pub fn get(&self, target: &str) -> Reply {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n\r\n"))
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.spec.socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
        for pid in session(self.pid()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn is_shim(pid: &i32) -> bool {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    exe.is_ok_and(|path| path.ends_with("rip-worker"))
}

/// The living processes of a session.
pub fn session(leader: u32) -> Vec<i32> {
    processes(|fields| fields.get(3).and_then(|field| field.parse().ok()) == Some(leader))
}

/// The living processes whose command line contains `text`.
pub fn running(text: &str) -> Vec<i32> {
    let matches = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    processes(|_| true).into_iter().filter(matches).collect()
}

fn processes(keep: impl Fn(&[&str]) -> bool) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((_, after)) = stat.rsplit_once(')') else { return false };
            let fields: Vec<_> = after.split_ascii_whitespace().collect();
            !matches!(fields.first(), Some(&"Z" | &"X")) && keep(&fields)
        })
        .collect()
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub reusable: bool,
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends a request and reads its answer; the connection can be used again if it says so.
pub fn ask(stream: &mut UnixStream, request: &[u8]) -> Reply {
    stream.write_all(request).unwrap();
    read_reply(stream, request.starts_with(b"HEAD "))
}

pub fn read_reply(stream: &mut UnixStream, to_head: bool) -> Reply {
    let mut client = Client::new();
    client.request(to_head);
    let mut head = ResponseHead::new();
    let (mut input, mut eof) = (Vec::new(), false);
    let mut reply = Reply { status: 0, fields: Vec::new(), body: Vec::new(), reusable: false };
    loop {
        match client.read(&input, eof, &mut head).expect("an answer") {
            ClientRead::More => {
                let mut block = [0; 65536];
                let count = stream.read(&mut block).unwrap();
                eof = count == 0;
                input.extend_from_slice(&block[..count]);
            }
            ClientRead::Informational { consumed } | ClientRead::Switched { consumed } => {
                drop(input.drain(..consumed))
            }
            ClientRead::Head { consumed } => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                reply.status = head.status();
                reply.fields = head
                    .fields()
                    .iter()
                    .map(|field| (text(field.name.of(&input)), text(field.value.of(&input))))
                    .collect();
                input.drain(..consumed);
            }
            ClientRead::Body { consumed, data } => {
                reply.body.extend_from_slice(&input[data]);
                input.drain(..consumed);
            }
            ClientRead::End { reusable, .. } => {
                reply.reusable = reusable;
                return reply;
            }
        }
    }
}

/// A control socket: every verb is handed to the test, which answers it.
fn serve_control(path: &Path) -> Receiver<Verb> {
    let listener = UnixListener::bind(path).unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // Ends with the test process; a connection ends with the shim.
        while let Ok((stream, _)) = listener.accept() {
            let sender = sender.clone();
            thread::spawn(move || read_verbs(stream, &sender));
        }
    });
    receiver
}

fn read_verbs(stream: UnixStream, sender: &Sender<Verb>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        let mut authorization = String::new();
        let mut line = String::new();
        if !matches!(reader.read_line(&mut line), Ok(count) if count > 0) {
            return;
        }
        assert_eq!(line, "POST /worker HTTP/1.1\r\n");
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(("Authorization", value)) => authorization = value.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        let verb = Verb { authorization, body, stream: stream.try_clone().unwrap() };
        if sender.send(verb).is_err() {
            return;
        }
    }
}
