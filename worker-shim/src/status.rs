//! What an app says on its status pipe, line by line.

use rip::limits;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Something the app said.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// `READY=1`: it can serve.
    Ready,
    /// `STATUS=…`: a sentence for the operator, shown if it ends before it is ready.
    Status(String),
    /// `MISSING=…`: the same, where starting again would not help.
    Missing(String),
    /// `STOPPING=1`: please retire me.
    Stopping,
}

/// The reading end; non-blocking.
pub(crate) struct StatusPipe {
    pipe: Option<File>,
    line: Vec<u8>,
}

impl StatusPipe {
    pub(crate) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Some(pipe.into()), line: Vec::new() }
    }

    /// The pipe to wait for, as long as somebody holds the other end.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// What has been said since the last turn. Unknown lines are skipped.
    pub(crate) fn turn(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut block = [0; 1024];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut block) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.take(&block[..count], &mut said),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.pipe = None,
            }
        }
        said
    }

    fn take(&mut self, bytes: &[u8], said: &mut Vec<Said>) {
        for byte in bytes {
            if *byte == b'\n' {
                said.extend(understand(&self.line));
                self.line.clear();
            } else if self.line.len() < limits::OUTPUT_LINE_BYTES {
                self.line.push(*byte);
            }
        }
    }
}

fn understand(line: &[u8]) -> Option<Said> {
    let line = line.trim_ascii();
    let after = |name: &[u8]| {
        line.strip_prefix(name).map(|text| String::from_utf8_lossy(text).into_owned())
    };
    match line {
        b"READY=1" => Some(Said::Ready),
        b"STOPPING=1" => Some(Said::Stopping),
        _ => after(b"STATUS=").map(Said::Status).or_else(|| after(b"MISSING=").map(Said::Missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_however_they_arrive() {
        let mut pipe = StatusPipe { pipe: None, line: Vec::new() };
        let mut said = Vec::new();
        pipe.take(b"REA", &mut said);
        pipe.take(b"DY=1\nNOISE\nSTATUS=no such module\nSTOP", &mut said);
        pipe.take(b"PING=1\r\nMISSING=uvicorn\n", &mut said);
        let status = Said::Status("no such module".to_owned());
        let missing = Said::Missing("uvicorn".to_owned());
        assert_eq!(said, [Said::Ready, status, Said::Stopping, missing]);
    }
}
