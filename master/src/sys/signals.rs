//! The signals of this process, as events of a poll.

use mio::event::Source;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::io;

/// TERM, INT, QUIT, HUP, USR1, USR2, TTIN, TTOU and CHLD no longer have their default actions but
/// make this readable.
pub struct Signals {
    inner: signal_hook_mio::v1_0::Signals,
}

impl Signals {
    /// Takes the signals over. Before it, they had their default actions.
    pub fn new() -> io::Result<Self> {
        let inner = signal_hook_mio::v1_0::Signals::new(WATCHED.map(|signal| signal as i32))?;
        Ok(Self { inner })
    }

    /// Which have come since the last call, each once however often it came.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> {
        self.inner.pending().filter_map(|number| Signal::try_from(number).ok())
    }
}

impl Source for Signals {
    fn register(&mut self, at: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.inner.register(at, token, interests)
    }

    fn reregister(&mut self, at: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.inner.reregister(at, token, interests)
    }

    fn deregister(&mut self, at: &Registry) -> io::Result<()> {
        self.inner.deregister(at)
    }
}

/// A write to a pipe or socket nobody reads is an error, not the end of the process.
pub fn ignore_sigpipe() -> io::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
    Ok(())
}

const WATCHED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_signal_becomes_an_event() {
        let mut poll = mio::Poll::new().unwrap();
        let mut signals = Signals::new().unwrap();
        poll.registry().register(&mut signals, Token(3), Interest::READABLE).unwrap();
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
        let mut events = mio::Events::with_capacity(4);
        let mut seen = Vec::new();
        while !seen.contains(&Signal::SIGUSR2) {
            match poll.poll(&mut events, Some(Duration::from_secs(10))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.unwrap(),
            }
            assert!(!events.is_empty(), "the signal did not come");
            seen.extend(signals.pending());
        }
    }
}
