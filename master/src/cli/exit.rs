//! How a command ends: the exit codes and the sentence that goes with a failure.

use crate::control::{Outcome, StartError};
use std::fmt;

/// What the exit code of a command says (the numbers of `sysexits.h` from 64 on).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// What was asked for is true.
    Done = 0,
    /// It was tried and failed, or the answer is "no".
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A port is busy or an address is not there.
    Unavailable = 69,
    /// A right is missing.
    Permission = 77,
    /// The command line is right, but what it names cannot be started.
    Configuration = 78,
}

impl Exit {
    /// The number for the operating system.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command ends without success. Prints as `error: …` and, below it, what the app said and
/// what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong, in a lower-case clause.
    pub message: String,
    /// What a worker wrote last, a line each.
    pub lines: Vec<String>,
    /// What to do about it, a line each.
    pub tips: Vec<String>,
}

impl Failure {
    /// A failure that ends with `exit` and says `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), lines: Vec::new(), tips: Vec::new() }
    }

    /// A command line that is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An entry or a file that cannot be used.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(Exit::Configuration, message)
    }

    /// The same failure with one more line of advice.
    #[must_use]
    pub fn tip(mut self, tip: impl Into<String>) -> Self {
        self.tips.push(tip.into());
        self
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        if outcome.exit_code() == 0 { Self::Done } else { Self::Failed }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = [Exit::Unavailable, Exit::Permission, Exit::Configuration]
            .into_iter()
            .find(|exit| exit.code() == error.exit_code)
            .unwrap_or(Exit::Failed);
        let failure = Self { lines: error.lines, ..Self::new(exit, error.message) };
        if error.hint.is_empty() { failure } else { failure.tip(error.hint) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "error: {}", self.message)?;
        for line in &self.lines {
            writeln!(out, "    │ {line}")?;
        }
        if !self.tips.is_empty() {
            writeln!(out)?;
        }
        for tip in &self.tips {
            writeln!(out, "  tip: {tip}")?;
        }
        if self.exit == Exit::Usage {
            writeln!(out, "\nFor more information, try '--help'.")?;
        }
        Ok(())
    }
}
