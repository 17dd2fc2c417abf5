//! A check that is broken off by a signal: what it has started ends, nothing of it is left, and the exit
//! code says which signal it was.

use crate::sys::child::Child;
use crate::sys::signals::Signals;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::Signal;
use rip::limits;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The signals that end a check. From its making on they wait until there is something to end.
pub struct Interrupt {
    signals: Signals,
    poll: Poll,
    came: Interrupted,
}

/// Whether a signal has come: what the check finds from then on is our own doing.
#[derive(Clone, Default)]
pub struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// Returns at once when none has come, and otherwise never: the process is about to end.
    pub fn hold(&self) {
        while self.0.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

impl Interrupt {
    /// Takes the signals over.
    ///
    /// # Errors
    /// The system refuses a descriptor.
    pub fn new() -> io::Result<Self> {
        let (mut signals, poll) = (Signals::new()?, Poll::new()?);
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(Self { signals, poll, came: Interrupted::default() })
    }

    /// Whether one has come.
    pub fn came(&self) -> Interrupted {
        self.came.clone()
    }

    /// From now on a signal ends the shim `shim`, removes `place`, and ends this process with 128 and the
    /// signal's number, as a shell tells it.
    ///
    /// # Errors
    /// The system refuses a descriptor or a thread.
    pub fn guard(mut self, shim: u32, place: PathBuf) -> io::Result<()> {
        let shim = Child::open(shim)?;
        thread::Builder::new().spawn(move || {
            let signal = loop {
                if let Some(signal) = self.wait(None) {
                    break signal;
                }
            };
            self.came.0.store(true, Ordering::SeqCst);
            self.end(&shim);
            // Nobody is told of a directory that stays in /tmp.
            let _ = fs::remove_dir_all(&place);
            std::process::exit(128 + signal as i32);
        })?;
        Ok(())
    }

    /// The shim first ends what it has started; a second signal does not wait for that.
    fn end(&mut self, shim: &Child) {
        // Whoever else waits for it may have reaped it.
        let has_ended = || !matches!(shim.exit_peek(), Ok(None));
        // The second says: at once.
        let _ = shim.signal(Signal::SIGTERM);
        let _ = shim.signal(Signal::SIGTERM);
        let until = Instant::now() + limits::KILL_TIMEOUT + limits::SHUTDOWN_SLACK;
        while !has_ended() {
            if Instant::now() >= until || self.wait(Some(TICK)).is_some() {
                let _ = shim.kill_group(Signal::SIGKILL);
                return;
            }
        }
    }

    /// The next signal that ends us.
    fn wait(&mut self, most: Option<Duration>) -> Option<Signal> {
        let mut events = Events::with_capacity(1);
        if self.poll.poll(&mut events, most).is_err() {
            // Interrupted, by what is then pending.
            thread::sleep(TICK);
        }
        self.signals.pending().find(|signal| ENDS.contains(signal))
    }
}

const SIGNALS: Token = Token(0);
/// Between two looks at a process.
const TICK: Duration = Duration::from_millis(5);
/// Those of which each would have ended the process.
const ENDS: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];
