//! How a process ended, and what that means.

use super::worker::Stage;
use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Exit {
    /// It returned this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl Exit {
    /// What the end of a worker means that was at `stage`.
    ///
    /// Ready workers never end unasked, so any such end is a crash, with code 0 too. A draining one
    /// may leave by itself, but only cleanly.
    pub fn meaning(self, stage: Stage, failed_to_start: bool) -> Meaning {
        match stage {
            Stage::Spawning | Stage::Booting | Stage::Proving => Meaning::FailedStart,
            Stage::Ready => Meaning::Crash,
            Stage::Draining if self == Self::Exited(0) => Meaning::Expected,
            Stage::Draining => Meaning::Crash,
            Stage::Exiting if failed_to_start => Meaning::FailedStart,
            Stage::Exiting => Meaning::Expected,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(out, "exited {code}"),
            Self::Signaled(signal) => match signal_name(signal) {
                Some(name) => write!(out, "killed by {name}"),
                None => write!(out, "killed by signal {signal}"),
            },
        }
    }
}

/// What an exit means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// It served, and ended unasked.
    Crash,
    /// It was asked to end, by us or by itself.
    Expected,
    /// It never became ready.
    FailedStart,
}

/// Names of the signals that usually end a process, with their Linux numbers.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_nobody_asked_for_is_a_crash_even_with_code_zero() {
        assert_eq!(Exit::Exited(0).meaning(Stage::Ready, false), Meaning::Crash);
        assert_eq!(Exit::Exited(0).meaning(Stage::Booting, false), Meaning::FailedStart);
        assert_eq!(Exit::Exited(0).meaning(Stage::Draining, false), Meaning::Expected);
        assert_eq!(Exit::Signaled(9).meaning(Stage::Draining, false), Meaning::Crash);
        assert_eq!(Exit::Signaled(9).meaning(Stage::Exiting, false), Meaning::Expected);
        assert_eq!(Exit::Signaled(9).meaning(Stage::Exiting, true), Meaning::FailedStart);
    }

    #[test]
    fn exits_read_as_sentences() {
        assert_eq!(Exit::Exited(3).to_string(), "exited 3");
        assert_eq!(Exit::Signaled(9).to_string(), "killed by SIGKILL");
        assert_eq!(Exit::Signaled(60).to_string(), "killed by signal 60");
    }
}
