//! One of the two standard streams: lines that wait to be written, and those that could not.

use super::Loss;
use crate::reactor::outbox::{Flush, Outbox};
use crate::shared::log::{line_count, whole_lines};
use crate::sys::outlet::Outlet;
use mio::{Interest, Registry, Token};
use rip::limits::LOG_BYTES;
use rip::observe::output::Stream;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Both streams.
pub(super) struct Lanes {
    pub(super) out: Lane,
    pub(super) err: Lane,
}

impl Lanes {
    /// The stream where what comes from a worker's `stream` goes.
    pub(super) fn of(&mut self, stream: Stream) -> &mut Lane {
        match stream {
            Stream::Stderr => &mut self.err,
            Stream::Stdout => &mut self.out,
        }
    }

    /// Writes as much as the readers take.
    pub(super) fn flush(&mut self) {
        self.out.flush();
        self.err.flush();
    }

    /// Whether nothing is left to be written.
    pub(super) fn is_written(&self) -> bool {
        self.out.is_written() && self.err.is_written()
    }
}

/// A stream, the lines on their way to it, and how many it lost.
pub(super) struct Lane {
    name: &'static str,
    outlet: Outlet,
    waiting: Outbox,
    state: State,
    /// The poll tells when it takes more; otherwise it is tried with the next lines.
    is_watched: bool,
    /// Lost since the last report.
    lost: u64,
    /// Some of them because a write failed.
    has_failed: bool,
    /// Lost here and not yet in the total.
    uncounted: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It takes no more for now; the poll will tell.
    Blocked,
    /// Nobody reads it any more, which was told or not.
    Closed {
        told: bool,
    },
    Open,
}

impl Lane {
    pub(super) fn open(
        name: &'static str,
        outlet: Outlet,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut is_watched = outlet.is_pollable();
        if is_watched {
            let fd = outlet.as_fd().as_raw_fd();
            match registry.register(&mut mio::unix::SourceFd(&fd), token, Interest::WRITABLE) {
                // The null device, for one, takes everything and cannot be watched.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    is_watched = false;
                }
                other => other?,
            }
        }
        let (waiting, state) = (Outbox::new(), State::Open);
        Ok(Self {
            name,
            outlet,
            waiting,
            state,
            is_watched,
            lost: 0,
            has_failed: false,
            uncounted: 0,
        })
    }

    /// Opens a file anew where it was, and lets everybody who shares the stream write there.
    pub(super) fn reopen(&mut self) {
        self.flush();
        let share = match self.name {
            "stdout" => Outlet::become_stdout,
            _ => Outlet::become_stderr,
        };
        match self.outlet.reopen().map(|is_new| is_new && share(&self.outlet).is_ok()) {
            Ok(true) => self.state = State::Open,
            Ok(false) => {}
            Err(error) => log::warn!("{} goes on in the old file: {error}", self.name),
        }
    }

    /// Adds lines as far as there is room.
    pub(super) fn push_all(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let fits = whole_lines(lines, self.room());
        self.waiting.bytes_mut().extend_from_slice(&lines[..fits]);
        self.lose(line_count(&lines[fits..]));
    }

    /// Adds one line that `write` appends, if there is room.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.room() < MOST_OF_A_LINE {
            return self.lose(1);
        }
        write(self.waiting.bytes_mut());
    }

    /// Adds a line about lost lines: there is a little room for it in any case.
    pub(super) fn push_report(&mut self, line: &[u8]) {
        if !matches!(self.state, State::Closed { .. }) {
            self.waiting.bytes_mut().extend_from_slice(line);
        }
    }

    /// Lines that never came here, and are in the total.
    pub(super) fn count_refused(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Writes as much as the reader takes.
    pub(super) fn flush(&mut self) {
        if self.state != State::Open || self.waiting.is_empty() {
            return;
        }
        match self.waiting.flush(&mut self.outlet) {
            Ok(Flush::Done) => {}
            Ok(Flush::Blocked) if self.is_watched => self.state = State::Blocked,
            Ok(Flush::Blocked) => {}
            Err(error) => self.failed(&error),
        }
    }

    pub(super) fn unblock(&mut self) {
        if self.state == State::Blocked {
            self.state = State::Open;
        }
    }

    /// Whether nothing more can be written, because it is done or because nobody reads.
    pub(super) fn is_written(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there is something to report and it can be told.
    pub(super) fn has_lost(&self) -> bool {
        match self.state {
            State::Blocked => false,
            State::Closed { told } => !told,
            State::Open => self.lost > 0,
        }
    }

    /// What is to be reported, once.
    pub(super) fn take_loss(&mut self) -> Option<Loss> {
        if !self.has_lost() {
            return None;
        }
        let reason = match &mut self.state {
            State::Closed { told } => {
                *told = true;
                "closed"
            }
            _ if self.has_failed => "failed",
            _ => "too slow",
        };
        self.has_failed = false;
        let lines = std::mem::take(&mut self.lost);
        Some(Loss { from: self.name.to_owned(), lines, reason, counted: true })
    }

    /// Lines lost here since the last call.
    pub(super) fn take_uncounted(&mut self) -> u64 {
        std::mem::take(&mut self.uncounted)
    }

    /// Gives up what was not written; returns how many lines.
    pub(super) fn abandon(&mut self) -> u64 {
        let lines = line_count(self.waiting.unsent());
        self.waiting.discard();
        lines
    }

    fn room(&self) -> usize {
        match self.state {
            State::Closed { .. } => 0,
            _ => LOG_BYTES.saturating_sub(self.waiting.len()),
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        self.uncounted += lines;
    }

    /// A disk that is full may have room again; a reader that is gone does not come back.
    fn failed(&mut self, error: &io::Error) {
        let lines = self.abandon();
        self.lose(lines);
        self.has_failed = true;
        let gone = matches!(
            error.raw_os_error(),
            Some(libc::EPIPE | libc::EIO | libc::EBADF | libc::ECONNRESET | libc::ENOTCONN)
        );
        if gone {
            self.state = State::Closed { told: false };
        }
    }
}

/// Room that a line is sure to fit into: its text, escaped, and what stands before it.
const MOST_OF_A_LINE: usize = 64 * 1024;
