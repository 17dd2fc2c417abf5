//! The part of a master: a shim is started for the server, told to go, and watched to its end.

use crate::cli::exit::{Exit, Failure};
use crate::sys::child::{Child, ExitStatus};
use crate::sys::fd::{memfd, own_executable, pipe_cloexec};
use crate::sys::proc::{is_alive, parent};
use crate::sys::random::random;
use crate::sys::spawn::Spawn;
use nix::sys::signal::Signal;
use rip::contract::app::{HealthCheck, Launch};
use rip::ids::{AppId, Generation, WorkerId};
use rip::limits;
use rip::wire::boot::{BootReport, BootStage};
use rip::wire::spec::{BOOT_FD, LIFELINE_FD, SPEC_FD, WorkerSpec};
use rip::wire::verb::{Accepted, WorkerVerb};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A worker of which we are the master.
pub struct Worker {
    shim: Child,
    told: Receiver<Told>,
    output: Output,
    socket: PathBuf,
    /// Its writing end is what the shim lives by.
    _lifeline: (OwnedFd, OwnedFd),
    _place: Place,
}

/// What a shim tells its master.
#[derive(Debug)]
enum Told {
    Boot(BootReport),
    Verb(WorkerVerb),
    /// The boot is over, well or not.
    BootOver,
}

/// A worker that may get requests.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// The server's process.
    pub app_pid: u32,
    /// It serves several connections.
    pub keep_alive: bool,
}

/// Why a worker did not join.
#[derive(Clone, Debug)]
pub struct NotReady {
    /// Its process was started before.
    pub started: bool,
    /// In the shim's words.
    pub message: String,
}

/// How a worker has ended.
#[derive(Debug)]
pub struct End {
    /// The shim's end, which is like the server's; nothing if it had to be killed itself.
    pub status: Option<ExitStatus>,
    /// From the order to the end.
    pub took: Duration,
    /// Processes that were there when the server's own had ended: name and pid.
    pub left: Vec<String>,
}

impl Worker {
    /// Starts a shim for what `launch` names. Call it from the main thread.
    ///
    /// # Errors
    /// The system refuses a directory, a descriptor or a process.
    pub fn start(launch: Launch, start_timeout: Duration) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::Failed, format!("the worker cannot be started: {error}"))
        };
        let place = Place::make().map_err(failed)?;
        let (socket, control) = (place.0.join("w1.sock"), place.0.join("ctl.sock"));
        let longest = socket.as_os_str().len().max(control.as_os_str().len());
        if longest > limits::SOCKET_PATH_BYTES {
            return Err(Failure::configuration(format!(
                "the path {} is too long for a socket",
                socket.display()
            ))
            .tip("set TMPDIR to a shorter one"));
        }
        let (tell, told) = channel();
        serve_control(UnixListener::bind(&control).map_err(failed)?, tell.clone());
        let spec = spec(launch, &socket, &control, start_timeout).map_err(failed)?;
        let (shim, boot, output, lifeline) = hatch(&spec).map_err(failed)?;
        follow_boot(boot, tell);
        Ok(Self { shim, told, output, socket, _lifeline: lifeline, _place: place })
    }

    /// Waits until it may get requests.
    ///
    /// # Errors
    /// It did not start, or was not ready in time.
    pub fn joined(&mut self, patience: Duration) -> Result<Joined, NotReady> {
        let until = Instant::now() + patience + limits::START_SLACK;
        let mut started = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = match self.told.recv_timeout(left) {
                Ok(Told::Boot(BootReport::Started { .. })) => {
                    started = true;
                    continue;
                }
                Ok(Told::Boot(BootReport::Failed { stage, message, .. })) => {
                    started &= stage >= BootStage::Start;
                    message
                }
                Ok(Told::Boot(BootReport::SettingUp | BootReport::SetUp)) => continue,
                Ok(Told::Verb(WorkerVerb::Join(join))) => {
                    let (app_pid, keep_alive) = (join.app_pid, join.keep_alive);
                    return Ok(Joined { app_pid, keep_alive });
                }
                Ok(Told::Verb(WorkerVerb::Quit(_))) => "it left before it served".to_owned(),
                Ok(Told::BootOver) | Err(RecvTimeoutError::Disconnected) => {
                    "its shim ended without a word".to_owned()
                }
                Err(RecvTimeoutError::Timeout) => "its shim said nothing".to_owned(),
            };
            return Err(NotReady { started, message });
        }
    }

    /// Where it answers.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.shim.try_wait().ok().flatten()
    }

    /// What shim and server have written so far.
    pub fn output(&self) -> Vec<u8> {
        self.output.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells it to go, and returns when the server was told: what it has begun it may finish.
    pub fn ask_to_leave(&mut self) -> Instant {
        // One that has gone by itself is found to have.
        let _ = self.shim.signal(Signal::SIGTERM);
        let began = Instant::now();
        while let Ok(told) = self.told.recv_timeout(limits::KILL_TIMEOUT) {
            if matches!(told, Told::Verb(WorkerVerb::Quit(_))) {
                break;
            }
        }
        began
    }

    /// Waits for the end of a worker that was told to go at `began`.
    pub fn end(&mut self, app_pid: u32, began: Instant) -> End {
        let until = began + limits::KILL_TIMEOUT * 2;
        let mut gone_at = None;
        let mut left = Vec::new();
        loop {
            if let Some(status) = self.ended() {
                return End { status: Some(status), took: began.elapsed(), left };
            }
            if Instant::now() >= until {
                // Its lifeline ends with us: nothing survives.
                let _ = self.shim.kill_group(Signal::SIGKILL);
                return End { status: None, took: began.elapsed(), left };
            }
            if !is_alive(app_pid) {
                let gone_at: Instant = *gone_at.get_or_insert_with(Instant::now);
                if left.is_empty() && gone_at.elapsed() > LEFT_BEHIND {
                    left = family(self.shim.pid()).into_iter().map(name_of).collect();
                }
            }
            thread::sleep(TICK);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // The shim first ends what it has started.
            let _ = self.shim.signal(Signal::SIGTERM);
            let _ = self.shim.signal(Signal::SIGTERM);
            let until = Instant::now() + limits::KILL_TIMEOUT + limits::SHUTDOWN_SLACK;
            while self.ended().is_none() && Instant::now() < until {
                thread::sleep(TICK);
            }
            let _ = self.shim.kill_group(Signal::SIGKILL);
        }
    }
}

/// Between two looks at processes.
const TICK: Duration = Duration::from_millis(5);
/// What a server leaves behind for longer than this does not end by itself.
const LEFT_BEHIND: Duration = Duration::from_millis(500);
/// So much of what is written is kept.
const OUTPUT_BYTES: usize = 1 << 20;

/// What was written by shim and server.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn follow(&self, pipe: OwnedFd) {
        let kept = self.clone();
        thread::spawn(move || {
            let mut pipe = File::from(pipe);
            let mut block = [0; 8 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut block) {
                let mut kept = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_BYTES.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(block.get(..room).unwrap_or_default());
            }
        });
    }
}

/// A directory for the sockets, which goes with us.
struct Place(PathBuf);

impl Place {
    fn make() -> io::Result<Self> {
        let mut bytes = [0; 8];
        random(&mut bytes)?;
        let name = format!("rip-check-{:016x}", u64::from_ne_bytes(bytes));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody is told of a directory that stays in /tmp.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn spec(
    launch: Launch,
    socket: &Path,
    control: &Path,
    start_timeout: Duration,
) -> io::Result<WorkerSpec> {
    let mut bytes = [0; 32];
    random(&mut bytes)?;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(WorkerSpec {
        app_id: AppId::new("check"),
        worker_id: WorkerId(1),
        generation: Generation(1),
        token: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        control_socket: control.display().to_string(),
        socket: socket.display().to_string(),
        launch,
        user: None,
        limits: Default::default(),
        concurrency: 1,
        reload: rip::contract::app::Reload::None,
        health_check: HealthCheck::default(),
        probe_host: "localhost".to_owned(),
        env: BTreeMap::new(),
        urls: vec!["http://localhost/".to_owned()],
        start_timeout_ms: millis(start_timeout),
        kill_timeout_ms: millis(limits::KILL_TIMEOUT),
        master_pid: std::process::id(),
    })
}

type Hatched = (Child, OwnedFd, Output, (OwnedFd, OwnedFd));

fn hatch(spec: &WorkerSpec) -> io::Result<Hatched> {
    let exe = own_executable()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let spec = memfd(c"worker-spec", &serde_json::to_vec(spec)?)?;
    let (boot, boot_end) = pipe_cloexec()?;
    let (stdout, stdout_end) = pipe_cloexec()?;
    let (stderr, stderr_end) = pipe_cloexec()?;
    let lifeline = pipe_cloexec()?;
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let assignment = [name.into_vec(), value.into_vec()].join(&b'=');
            CString::new(assignment).ok()
        })
        .collect();
    let shim = Spawn {
        exe: exe.as_fd().into(),
        argv: &[c"rip-master".to_owned(), c"worker-shim".to_owned()],
        env: &env,
        fds: &[
            (0, null.as_fd()),
            (1, stdout_end.as_fd()),
            (2, stderr_end.as_fd()),
            (SPEC_FD, spec.as_fd()),
            (BOOT_FD, boot_end.as_fd()),
            (LIFELINE_FD, lifeline.0.as_fd()),
        ],
        capabilities: &[],
        own_group: false,
    }
    .spawn()?;
    let output = Output::default();
    output.follow(stdout);
    output.follow(stderr);
    Ok((shim, boot, output, lifeline))
}

fn follow_boot(boot: OwnedFd, tell: Sender<Told>) {
    thread::spawn(move || {
        for line in BufReader::new(File::from(boot)).lines().map_while(Result::ok) {
            if let Ok(report) = serde_json::from_str(&line)
                && tell.send(Told::Boot(report)).is_err()
            {
                return;
            }
        }
        // A shim that has joined ends its reports as well.
        thread::sleep(LEFT_BEHIND);
        let _ = tell.send(Told::BootOver);
    });
}

/// Answers every verb at once: nothing is ever in flight that the shim would have to wait for.
fn serve_control(listener: UnixListener, tell: Sender<Told>) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            thread::spawn(move || while hear(&stream, &tell).is_some() {});
        }
    });
}

fn hear(mut stream: &UnixStream, tell: &Sender<Told>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    let mut body = vec![0; length.parse::<usize>().ok().filter(|most| *most < 1 << 20)?];
    stream.read_exact(&mut body).ok()?;
    let verb: WorkerVerb = serde_json::from_slice(&body).ok()?;
    let drained = matches!(verb, WorkerVerb::Quit(_)).then_some(true);
    tell.send(Told::Verb(verb)).ok()?;
    let answer = serde_json::to_string(&Accepted { ok: true, drained }).ok()?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
    stream.write_all(format!("{head}{answer}").as_bytes()).ok()
}

/// Everything below `shim`.
fn family(shim: u32) -> Vec<u32> {
    let mut all = vec![shim];
    let pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let parents: Vec<(u32, u32)> =
        pids.into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut at = 0;
    while let Some(above) = all.get(at).copied() {
        all.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    all.into_iter().skip(1).filter(|pid| is_alive(*pid)).collect()
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (pid {pid})", name.trim_end())
}
