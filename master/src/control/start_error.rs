//! Why a master did not start, as an exit code and a sentence.

use std::fmt;
use std::io;

/// A master that could not be started, or must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StartError {
    /// What the process exits with (the numbers of `sysexits.h` from 64 on).
    pub exit_code: u8,
    /// What is wrong, in a clause that fits after a colon.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What a worker wrote last.
    pub lines: Vec<String>,
}

impl StartError {
    /// It was tried and did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// A port is busy or an address is not there.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(69, message)
    }

    /// A right is missing.
    pub fn permission(message: impl Into<String>) -> Self {
        Self::new(77, message)
    }

    /// What was configured cannot be started.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(78, message)
    }

    /// A failed system call; `what` fits before a colon.
    pub fn system(what: impl fmt::Display, error: &io::Error) -> Self {
        let message = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::permission(message),
            _ => Self::failed(message),
        }
    }

    /// The same error with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same error with what a worker wrote last.
    #[must_use]
    pub fn lines(mut self, lines: Vec<String>) -> Self {
        self.lines = lines;
        self
    }

    fn new(exit_code: u8, message: impl Into<String>) -> Self {
        Self { exit_code, message: message.into(), hint: String::new(), lines: Vec::new() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}
