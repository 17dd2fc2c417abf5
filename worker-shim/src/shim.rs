//! The boot, stage by stage. Whatever a stage needs is prepared here, in the process that needs it,
//! and the stage that fails is reported by name.

use crate::boot;
use crate::bounds::{self, Bound};
use crate::drain::{Family, Fate};
use crate::env_file::EnvFile;
use crate::environment::Surroundings;
use crate::host::{self, Program};
use crate::identity::Identity;
use crate::join::Control;
use crate::life::{Ending, Life};
use crate::port::Port;
use crate::ready::Prober;
use crate::relay;
use crate::report::{Failure, Reporter};
use crate::setup;
use crate::spec;
use crate::status::StatusPipe;
use crate::{builtin, connection::Target, gateway};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, Pid, access, getpid, getppid, getsid, pipe2, setsid};
use rip::contract::app::Listen;
use rip::wire::boot::BootStage;
use rip::wire::spec::{BOOT_FD, LIFELINE_FD, SPEC_FD, WorkerSpec};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs a shim, or with `builtin NAME` one of its own apps, and returns the exit code. `args` are
/// those after `worker-shim`. The process must have one thread, and this is its last call.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let mut args = args.into_iter();
    match args.next() {
        None => {}
        Some(word) if word == "builtin" => return builtin::main(args.next()),
        Some(word) => {
            let name = word.to_str().unwrap_or_default();
            return gateway::main(name, args).unwrap_or_else(not_by_hand);
        }
    }
    let (Ok(lifeline), Ok(boot)) =
        (boot::take_inherited(LIFELINE_FD), boot::take_inherited(BOOT_FD))
    else {
        return not_by_hand();
    };
    let mut reporter = Reporter::new(boot);
    match host_app(&mut reporter, lifeline) {
        Ok(Ending::Stopped) => 0,
        Ok(Ending::Fate(fate)) => end_like(fate),
        Ok(Ending::Failed) => FAILED,
        Err(failure) => {
            reporter.failed(&failure);
            FAILED
        }
    }
}

/// The exit code of a boot that failed.
const FAILED: i32 = 1;
/// The exit code of a wrong invocation.
const USAGE: i32 = 64;

fn not_by_hand() -> i32 {
    eprintln!("rip-worker is started by rip-master, not by hand");
    USAGE
}

fn host_app(reporter: &mut Reporter, lifeline: OwnedFd) -> Result<Ending, Failure> {
    let mut began = Instant::now();
    let spec = read_spec()?;
    let stop_signal = spec::stop_signal(&spec)?;
    own_session()?;
    let signals = receive_signals()?;
    let control = Control::open(&spec).map_err(|error| {
        let what = format!("the control socket {} cannot be reached", spec.control_socket);
        Failure::io(BootStage::Control, &what, &error)
    })?;
    let identity = Identity::find(&spec)?;
    let socket = Socket::bind(&spec, identity.as_ref())?;
    let ending = settle(&spec, identity.as_ref()).and_then(|(bounds, env_file)| {
        socket.check(&spec)?;
        let around = Surroundings { identity: identity.as_ref(), env_file: &env_file };
        if let Some(argv) = &spec.launch.setup {
            reporter.setting_up();
            setup::run(&spec, argv, around, &bounds, &lifeline, &signals)?;
            reporter.set_up();
            began = Instant::now();
        }
        let program = Program::find(&spec, around, socket.port())?;
        let (said, says) = status_pipe()?;
        let mut family = Family::new(program.start(socket.inherited(), Some(&says), &bounds)?);
        drop(says);
        reporter.started(family.app_pid());
        let target = socket.open(&spec).inspect_err(|_| family.end())?;
        let ready_by = began + Duration::from_millis(spec.start_timeout_ms);
        let ready = spec.launch.ready;
        let prober = Prober::new(target, &spec.health_check, ready, &spec.probe_host, began);
        let status = StatusPipe::new(said);
        let spec = &spec;
        let life = Life {
            spec,
            reporter,
            signals,
            lifeline,
            status,
            control,
            family,
            stop_signal,
            ready_by,
            reload: false,
        };
        Ok(life.run(prober))
    });
    // Its id is never used again, so nobody else can have bound it. Where that is not ours to do any
    // more, the master does it.
    let _ = std::fs::remove_file(&spec.socket);
    ending
}

fn read_spec() -> Result<WorkerSpec, Failure> {
    let fd = boot::take_inherited(SPEC_FD).map_err(|error| {
        Failure::io(BootStage::Spec, "the worker's spec was not handed over", &error)
    })?;
    spec::read(fd)
}

/// A session and process group of its own, and everything below it ours to reap.
fn own_session() -> Result<(), Failure> {
    let fail = |errno| Failure::system(BootStage::Session, "no session of its own", errno);
    if getsid(None) != Ok(getpid()) {
        setsid().map_err(fail)?;
    }
    prctl::set_child_subreaper(true).map_err(fail)
}

const RECEIVED: [Signal; 6] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    // The app's files have changed.
    Signal::SIGUSR1,
];

/// Signals at their defaults; those the shim lives by are read from a descriptor.
fn receive_signals() -> Result<SignalFd, Failure> {
    boot::reset_signals();
    let mut set = SigSet::empty();
    for signal in RECEIVED {
        set.add(signal);
    }
    set.thread_set_mask()
        .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC))
        .map_err(|errno| Failure::system(BootStage::Signals, "signals cannot be received", errno))
}

/// Whatever takes the master's rights is done here, last of all giving them up; from then on the
/// master's death is ours.
fn settle(
    spec: &WorkerSpec,
    identity: Option<&Identity>,
) -> Result<(Vec<Bound>, EnvFile), Failure> {
    let bounds = bounds::check(&spec.limits)?;
    let directory = host::entry_dir(spec);
    let env_file = match identity {
        Some(identity) if identity.changes() => EnvFile::before_the_change(&directory),
        _ => EnvFile::beside(&directory),
    };
    identity.map_or(Ok(()), Identity::assume)?;
    // A change of user clears it: not before.
    tie_to_master(spec)?;
    Ok((bounds, env_file))
}

/// The master's death is ours, also when it came before this line.
fn tie_to_master(spec: &WorkerSpec) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGTERM)
        .map_err(|errno| Failure::system(BootStage::Parent, "no parent-death signal", errno))?;
    let master = i32::try_from(spec.master_pid).map(Pid::from_raw);
    if master != Ok(getppid()) {
        let message = format!("the master (pid {}) is not the parent any more", spec.master_pid);
        return Err(Failure::plain(BootStage::Parent, message));
    }
    Ok(())
}

fn status_pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    let fail = |errno| Failure::system(BootStage::Start, "no status pipe for the app", errno);
    let (said, says) = pipe2(OFlag::O_CLOEXEC).map_err(fail)?;
    fcntl(&said, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(fail)?;
    Ok((said, says))
}

/// The worker's socket before the app serves it.
enum Socket {
    /// `way` leads to the socket when the shim, as another user, cannot go there by its path.
    Inherited {
        listener: OwnedFd,
        way: Option<OwnedFd>,
    },
    Theirs,
    Relayed {
        listener: UnixListener,
        port: Port,
    },
}

impl Socket {
    fn bind(spec: &WorkerSpec, identity: Option<&Identity>) -> Result<Self, Failure> {
        let other = identity.filter(|identity| identity.changes());
        let fail = |error: &std::io::Error| {
            Failure::io(BootStage::Bind, &format!("{} cannot be bound", spec.socket), error)
        };
        if let Err(error) = std::fs::remove_file(&spec.socket)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(fail(&error));
        }
        let bind = |barred| {
            let previous = umask(Mode::from_bits_truncate(barred));
            let listener = UnixListener::bind(&spec.socket);
            umask(previous);
            listener.map_err(|error| fail(&error))
        };
        Ok(match host::listen_of(spec) {
            Listen::Fd => {
                // One that becomes its user's stays the master's by its group.
                let barred = if other.is_some() { 0o117 } else { 0o177 };
                let listener = bind(barred)?.into();
                let way = other.map(|identity| hand_over(spec, identity)).transpose()?;
                Self::Inherited { listener, way }
            }
            Listen::Path => Self::Theirs,
            Listen::Port => {
                let port = Port::claim().map_err(|error| {
                    Failure::io(BootStage::Bind, "there is no free port", &error)
                })?;
                Self::Relayed { listener: bind(0o177)?, port }
            }
        })
    }

    fn port(&self) -> Option<u16> {
        match self {
            Self::Relayed { port, .. } => Some(port.number()),
            Self::Inherited { .. } | Self::Theirs => None,
        }
    }

    /// A socket that the app binds is out of its reach where the directory is not its user's.
    fn check(&self, spec: &WorkerSpec) -> Result<(), Failure> {
        let Self::Theirs = self else { return Ok(()) };
        let directory = Path::new(&spec.socket).parent().unwrap_or(Path::new("/"));
        access(directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
            let what = format!("the app cannot bind a socket in {}", directory.display());
            Failure::system(BootStage::Bind, &what, errno)
        })
    }

    fn inherited(&self) -> Option<&OwnedFd> {
        match self {
            Self::Inherited { listener, .. } => Some(listener),
            Self::Relayed { .. } | Self::Theirs => None,
        }
    }

    /// The app runs: our copy of its listener is closed, or the relay begins. Returns what is probed.
    fn open(self, spec: &WorkerSpec) -> Result<Target, Failure> {
        match self {
            Self::Inherited { way: Some(way), .. } => Ok(Target::Held(way)),
            Self::Inherited { way: None, .. } | Self::Theirs => {
                Ok(Target::Unix(spec.socket.clone().into()))
            }
            Self::Relayed { listener, port } => {
                let number = port.number();
                relay::start(listener, port).map_err(|error| {
                    Failure::io(BootStage::Start, "the relay cannot be started", &error)
                })?;
                Ok(Target::Port(number))
            }
        }
    }
}

/// Makes the bound socket the user's, so that the shim can still connect to it when it has become
/// that user, and opens the way there.
fn hand_over(spec: &WorkerSpec, identity: &Identity) -> Result<OwnedFd, Failure> {
    let socket = Path::new(&spec.socket);
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let way = identity.own_socket(socket).and_then(|()| open(socket, flags, Mode::empty()));
    way.map_err(|errno| {
        let _ = std::fs::remove_file(socket);
        let what = format!("{} cannot be given to {}", spec.socket, identity.name());
        Failure::system(BootStage::Bind, &what, errno)
    })
}

/// Ends as the app ended, so that the master sees the same; a shim leaves no core file of its own.
pub(crate) fn end_like(fate: Fate) -> i32 {
    match fate {
        Fate::Exited(code) => code,
        Fate::Killed(signal) => {
            let _ = prctl::set_dumpable(false);
            let mut set = SigSet::empty();
            set.add(signal);
            let _ = raise(signal);
            let _: Result<(), Errno> = set.thread_unblock();
            128 + signal as i32
        }
    }
}
