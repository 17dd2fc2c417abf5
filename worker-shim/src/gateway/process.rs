//! The processes behind the FastCGI gateway: one for each request at a time, each with a socket of
//! its own, so that it can be told which of them is free.
//!
//! ```text
//!  free ──take──▶ busy ──answered, connection kept──────────▶ free
//!                   └──given up: connection closed──▶ asked ──▶ free
//!                      (it hears the question when its script has ended)
//! ```
//!
//! The sockets lie in a directory that only the user can enter, and are unlinked as soon as they are
//! open: they are reached by their descriptors, and nothing of them is left, whatever ends us.

use crate::adapters;
use crate::boot::{Spawn, SpawnStep};
use crate::drain::Fate;
use crate::shim::end_like;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, mkdtemp};
use rip::wire::fastcgi;
use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How PHP is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `php-cgi`, which answers by itself.
    Cgi,
    /// `php-fpm`, which has a child that answers.
    Fpm,
}

/// A process that can be asked.
#[derive(Debug)]
pub(super) struct Process {
    /// Its socket (`O_PATH`).
    way: OwnedFd,
    kept: Option<UnixStream>,
}

impl Process {
    /// A connection on which nothing is open, and which never waits: the one that was kept, or a new one.
    pub(super) fn connect(&mut self) -> io::Result<UnixStream> {
        match self.kept.take() {
            Some(stream) => Ok(stream),
            None => {
                let stream = self.open()?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            }
        }
    }

    /// The connection can be asked again.
    pub(super) fn keep(&mut self, stream: UnixStream) {
        self.kept = Some(stream);
    }

    /// A request was given up and its connection closed: waits until the process is done with it,
    /// however long that takes. It takes the next connection then, and not before.
    pub(super) fn settle(&mut self) {
        let mut question = Vec::new();
        fastcgi::ask_values(&mut question);
        let asked = self.open().and_then(|mut stream| {
            stream.write_all(&question)?;
            // The answer, or its end: a process that has died is done as well.
            stream.read(&mut [0; 64])
        });
        drop(asked);
    }

    fn open(&self) -> io::Result<UnixStream> {
        UnixStream::connect(format!("/proc/self/fd/{}", self.way.as_raw_fd()))
    }
}

/// All processes of a worker.
#[derive(Debug)]
pub(super) struct Processes {
    free: Mutex<Vec<Process>>,
    freed: Condvar,
    pids: Vec<Pid>,
    stopping: Arc<AtomicBool>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl Processes {
    /// Starts `count` processes of `program`. One that ends before [`Processes::stop`] ends this process
    /// in the same way. To be called from the only thread, with the signals held that ask for an end.
    pub(super) fn start(kind: Kind, program: &Path, count: usize) -> io::Result<Self> {
        let directory = Private::new()?;
        let (mut free, mut pids) = (Vec::new(), Vec::new());
        for _ in 0..count.max(1) {
            let (listener, way) = directory.socket()?;
            pids.push(spawn(kind, program, &listener)?);
            free.push(Process { way, kept: None });
        }
        drop(directory);
        let stopping = Arc::new(AtomicBool::new(false));
        let (name, is_stopping) = (program.display().to_string(), Arc::clone(&stopping));
        let watcher = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            watch(&name, &is_stopping);
        })?;
        let watcher = Mutex::new(Some(watcher));
        Ok(Self { free: Mutex::new(free), freed: Condvar::new(), pids, stopping, watcher })
    }

    /// Does something with a free process, when there is one.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&mut Process) -> T) -> T {
        let mut free = self.free();
        let mut process = loop {
            match free.pop() {
                Some(process) => break process,
                None => free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(free);
        let told = ask(&mut process);
        self.free().push(process);
        self.freed.notify_one();
        told
    }

    /// Ends them all, and returns when they have ended.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        // One that waits for a request on a connection does not hear the signal.
        self.free().clear();
        for pid in &self.pids {
            let _ = kill(*pid, Signal::SIGTERM);
        }
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = watcher.map(JoinHandle::join);
    }

    fn free(&self) -> MutexGuard<'_, Vec<Process>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const STACK_BYTES: usize = 128 * 1024;

/// Reaps until nobody is left. Whoever ends unasked takes us along.
fn watch(name: &str, is_stopping: &AtomicBool) {
    loop {
        let fate = match waitpid(None, None) {
            Ok(WaitStatus::Exited(_, code)) => Fate::Exited(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Fate::Killed(signal),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        if !is_stopping.load(Ordering::SeqCst) {
            eprintln!("{name} {fate}");
            std::process::exit(end_like(fate));
        }
    }
}

/// A directory that is gone when it is no longer needed.
struct Private(PathBuf);

impl Private {
    fn new() -> io::Result<Self> {
        let mut last = Errno::ENOENT;
        for place in [std::env::temp_dir(), "/tmp".into(), "/dev/shm".into(), "/var/tmp".into()] {
            // A socket's path must fit into its address.
            if place.as_os_str().len() > 80 {
                continue;
            }
            match mkdtemp(&place.join("rip-php-XXXXXX")) {
                Ok(path) => return Ok(Self(path)),
                Err(errno) => last = errno,
            }
        }
        Err(last.into())
    }

    /// A listening socket that nobody can find any more, and the way to it.
    fn socket(&self) -> io::Result<(UnixListener, OwnedFd)> {
        let path = self.0.join("s");
        let listener = UnixListener::bind(&path)?;
        let way = open(&path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
        std::fs::remove_file(&path)?;
        Ok((listener, way?))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0.join("s"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Where php-cgi looks for its socket (FastCGI §2.2).
const CGI_SOCKET_FD: RawFd = 0;
/// Where php-fpm is told to.
const FPM_SOCKET_FD: RawFd = 3;
/// Where it reads its configuration.
const FPM_CONFIG_FD: RawFd = 4;

/// One pool of one child. The socket's name is one that no file can have: it is inherited.
const FPM_CONFIG: &str = "\
[global]
daemonize = no
error_log = /proc/self/fd/2
log_level = warning
[app]
listen = /dev/null/app
pm = static
pm.max_children = 1
pm.max_requests = 0
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
security.limit_extensions = .php
";

fn spawn(kind: Kind, program: &Path, listener: &UnixListener) -> io::Result<Pid> {
    let mut argv: Vec<OsString> = vec![program.into()];
    let mut env: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| !OURS.iter().any(|ours| name == ours)).collect();
    let config;
    let mut fds: Vec<(RawFd, BorrowedFd<'_>)> = Vec::new();
    match kind {
        Kind::Cgi => {
            // As many requests as come: who is worn out is for the master to say.
            env.push(("PHP_FCGI_MAX_REQUESTS".into(), "0".into()));
            fds.push((CGI_SOCKET_FD, listener.as_fd()));
        }
        Kind::Fpm => {
            let socket = format!("/dev/null/app={FPM_SOCKET_FD}");
            env.push(("FPM_SOCKETS".into(), socket.into()));
            config = adapters::script("rip-fpm", FPM_CONFIG)?;
            let file = format!("/proc/self/fd/{FPM_CONFIG_FD}");
            // It logs errors by itself, and would answer with them a second time.
            argv.extend(["-F", "-y", &file, "-d", "fastcgi.logging=0"].map(OsString::from));
            if geteuid().is_root() {
                argv.push("-R".into());
            }
            fds.push((FPM_SOCKET_FD, listener.as_fd()));
            fds.push((FPM_CONFIG_FD, config.as_fd()));
        }
    }
    // What a script's path leaves over is told apart before PHP hears of it, and PHP gets none but the
    // paths of scripts that are there; so told, it makes PHP_SELF of both parts.
    argv.extend(["-d", "cgi.fix_pathinfo=1"].map(OsString::from));
    let assignments = env.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let spawn = Spawn {
        path: c_string(program.into())?,
        env: assignments.map(c_string).collect::<io::Result<_>>()?,
        argv: argv.into_iter().map(c_string).collect::<io::Result<_>>()?,
        cwd: c_string(std::env::current_dir()?.into())?,
        fds,
        bounds: &[],
        listen_pid: false,
    };
    spawn.start().map_err(|(step, errno)| match step {
        SpawnStep::Exec => io::Error::from(errno),
        step => io::Error::other(format!("{step:?}: {}", errno.desc())),
    })
}

/// Meant for the gateway, or not for one process of many.
const OURS: [&str; 8] = [
    "FCGI_WEB_SERVER_ADDRS",
    "FPM_SOCKETS",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "PHP_FCGI_CHILDREN",
    "PHP_FCGI_MAX_REQUESTS",
    "RIP_STATUS_FD",
];

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}
