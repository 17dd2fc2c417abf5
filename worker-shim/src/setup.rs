//! The app's setup: a program that runs once, before the first worker of a generation.

use crate::bounds::Bound;
use crate::drain::{Family, Fate};
use crate::environment::Surroundings;
use crate::host::Program;
use crate::report::Failure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::os::fd::{AsFd, OwnedFd};

/// Runs `argv` to its end in the app's directory and environment. What it leaves running is ended.
///
/// # Errors
/// When it cannot be run, does not exit with 0, or the worker is told to end meanwhile.
pub(crate) fn run(
    spec: &WorkerSpec,
    argv: &[String],
    around: Surroundings<'_>,
    bounds: &[Bound],
    lifeline: &OwnedFd,
    signals: &SignalFd,
) -> Result<(), Failure> {
    let app = Program::find_setup(spec, argv, around)?.start(None, None, bounds)?;
    let mut family = Family::new(app);
    let fate = until_its_end(&mut family, lifeline, signals);
    family.end();
    match fate {
        Some(Fate::Exited(0)) => Ok(()),
        Some(fate) => Err(failed(argv, &fate.to_string())),
        None => Err(failed(argv, "was stopped")),
    }
}

/// `None` when we were told to end before it did.
fn until_its_end(family: &mut Family, lifeline: &OwnedFd, signals: &SignalFd) -> Option<Fate> {
    loop {
        while let Ok(Some(signal)) = signals.read_signal() {
            // A change of files is none to us: nothing of the app was read yet.
            let harmless = [Signal::SIGCHLD as u32, Signal::SIGUSR1 as u32];
            if !harmless.contains(&signal.ssi_signo) {
                return None;
            }
        }
        family.reap();
        if family.fate().is_some() {
            return family.fate();
        }
        let mut fds = [
            PollFd::new(lifeline.as_fd(), PollFlags::empty()),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let ended = PollFlags::POLLHUP | PollFlags::POLLERR;
        if fds[0].revents().is_some_and(|seen| seen.intersects(ended)) {
            return None;
        }
    }
}

fn failed(argv: &[String], how: &str) -> Failure {
    // The line of `sh -c` says more than its shell.
    let shown = match argv {
        [shell, option, line] if option == "-c" && shell.ends_with("/sh") => line.clone(),
        _ => argv.join(" "),
    };
    Failure::plain(BootStage::Setup, format!("the setup `{shown}` {how}"))
}
