//! One connection to the server that is checked, read as the edge reads it.

use super::case::{Answer, KEPT_BYTES, Mismatch, Wanted, shown};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rip::contract::reason::Reason;
use rip::http1::{Client, ClientRead, ResponseHead};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A connection, and what waits on it.
pub struct Wire {
    stream: UnixStream,
    machine: Client,
    head: ResponseHead,
    out: Vec<u8>,
    input: Vec<u8>,
    ended: bool,
    /// The last answer left it open.
    pub reusable: bool,
}

impl Wire {
    /// Connects. A server whose queue is full is waited for.
    ///
    /// # Errors
    /// Nobody takes the connection.
    pub fn open(socket: &Path) -> Result<Self, Mismatch> {
        let open = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let stream = open().map_err(|error: std::io::Error| {
            Mismatch::new("a connection is taken", format!("none is: {error}"))
        })?;
        Ok(Self {
            stream,
            machine: Client::new(),
            head: ResponseHead::new(),
            out: Vec::new(),
            input: Vec::new(),
            ended: false,
            reusable: true,
        })
    }

    /// Sends what is taken at once; the rest goes out while an answer is waited for.
    pub fn send(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.write();
    }

    /// Sends until all is taken, or the time is over.
    pub fn flush(&mut self, until: Instant) {
        while !self.out.is_empty() && self.wait(PollFlags::POLLOUT, until) {
            self.write();
        }
    }

    /// Reads an answer to its end.
    ///
    /// # Errors
    /// It does not come in time, not whole, is no HTTP, or not what is wanted.
    pub fn answer(&mut self, wanted: &Wanted, patience: Duration) -> Result<Answer, Mismatch> {
        let until = Instant::now() + patience;
        if !self.machine.is_idle() || !self.reusable {
            return Err(Mismatch::new("an answer", "the connection is over"));
        }
        self.machine.request(wanted.to_head);
        let mut answer = Answer::default();
        loop {
            if self.take(&mut answer)? {
                self.reusable = answer.reusable;
                wanted.judge(&answer)?;
                return Ok(answer);
            }
            let interest = match self.out.is_empty() {
                true => PollFlags::POLLIN,
                false => PollFlags::POLLIN | PollFlags::POLLOUT,
            };
            if !self.wait(interest, until) {
                return Err(Mismatch::new(
                    format!("an answer within {patience:?}"),
                    match (answer.status, answer.length) {
                        (0, _) if self.input.is_empty() => "nothing".to_owned(),
                        (0, _) => format!("an unfinished head: {}", shown(&self.input)),
                        (status, length) => {
                            format!("{status}, and {length} bytes of an unfinished body")
                        }
                    },
                ));
            }
            self.write();
            self.read();
        }
    }

    /// Takes what has come; true when the answer is complete.
    fn take(&mut self, answer: &mut Answer) -> Result<bool, Mismatch> {
        loop {
            let read = self.machine.read(&self.input, self.ended, &mut self.head);
            let consumed =
                match read.map_err(|fault| self.fault(fault.reason, fault.detail, answer))? {
                    ClientRead::More => return Ok(false),
                    ClientRead::Informational { consumed } | ClientRead::Switched { consumed } => {
                        consumed
                    }
                    ClientRead::Head { consumed } => {
                        answer.status = self.head.status();
                        answer.etag = self.field("etag");
                        answer.last_modified = self.field("last-modified");
                        consumed
                    }
                    ClientRead::Body { consumed, data } => {
                        let data = self.input.get(data).unwrap_or_default();
                        answer.length += data.len() as u64;
                        let room = KEPT_BYTES.saturating_sub(answer.body.len()).min(data.len());
                        answer.body.extend_from_slice(data.get(..room).unwrap_or_default());
                        consumed
                    }
                    ClientRead::End { consumed, reusable } => {
                        self.input.drain(..consumed);
                        answer.surplus = std::mem::take(&mut self.input);
                        answer.reusable = reusable;
                        return Ok(true);
                    }
                };
            self.input.drain(..consumed);
        }
    }

    fn field(&self, name: &str) -> Option<String> {
        let named = |field: &&rip::http1::Field| {
            field.name.of(&self.input).eq_ignore_ascii_case(name.as_bytes())
        };
        let field = self.head.fields().iter().find(named)?;
        Some(String::from_utf8_lossy(field.value.of(&self.input)).into_owned())
    }

    fn fault(&self, reason: Reason, detail: &str, answer: &Answer) -> Mismatch {
        let begun = match answer.status {
            0 if self.input.is_empty() => String::new(),
            0 => format!(": {}", shown(&self.input)),
            status => format!(": {status}, and {} bytes of the body", answer.length),
        };
        match reason {
            Reason::WorkerGone => Mismatch::new("a whole answer", format!("{detail}{begun}")),
            _ => Mismatch::new("an answer in HTTP/1.1", format!("{detail}{begun}")),
        }
    }

    /// For so long nothing comes, and if it `stays`, the connection stays open.
    ///
    /// # Errors
    /// What came.
    pub fn quiet(&mut self, time: Duration, stays: bool) -> Result<(), Mismatch> {
        if !self.reusable {
            return Ok(());
        }
        let until = Instant::now() + time;
        while self.input.is_empty() && !self.ended && self.wait(PollFlags::POLLIN, until) {
            self.read();
        }
        match (self.input.is_empty(), self.ended) {
            (false, _) => Err(Mismatch::new(
                "nothing that was not asked for",
                format!(
                    "{} bytes behind the answer, which begin {}",
                    self.input.len(),
                    shown(&self.input)
                ),
            )),
            (true, true) if !stays => {
                self.reusable = false;
                Ok(())
            }
            (true, true) => Err(Mismatch::new(
                format!("the connection stays open for {time:?}"),
                "it was closed",
            )),
            (true, false) => Ok(()),
        }
    }

    /// The server ends the connection.
    ///
    /// # Errors
    /// It does not within `patience`.
    pub fn end(&mut self, patience: Duration) -> Result<(), Mismatch> {
        if self.discard(Instant::now() + patience) {
            return Ok(());
        }
        Err(Mismatch::new(format!("the connection is closed within {patience:?}"), "it is open"))
    }

    /// Gives the exchange up: nothing more is sent, what still comes is thrown away for `grace`, then
    /// refused.
    pub fn abandon(&mut self, grace: Duration) {
        self.out.clear();
        // It may have ended by itself.
        let _ = self.stream.shutdown(Shutdown::Write);
        if !self.discard(Instant::now() + grace) {
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Reads and throws away; true when the connection has ended.
    fn discard(&mut self, until: Instant) -> bool {
        while !self.ended && self.wait(PollFlags::POLLIN, until) {
            self.read();
            self.input.clear();
        }
        self.ended
    }

    /// Whether something of an unread answer is there.
    pub fn has_begun(&mut self) -> bool {
        self.read();
        self.ended || !self.input.is_empty()
    }

    /// Waits for the connection; false when the time is over.
    fn wait(&self, interest: PollFlags, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.stream.as_fd(), interest)];
        // Interrupted or over: whoever asked looks at the time.
        let _ = poll(&mut fds, PollTimeout::from(left));
        true
    }

    /// A server may answer without reading all: what it does not take is not sent.
    fn write(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.out.clear(),
            }
        }
    }

    fn read(&mut self) {
        let mut block = [0; 16 << 10];
        while !self.ended {
            match self.stream.read(&mut block) {
                Ok(0) => self.ended = true,
                Ok(count) => self.input.extend_from_slice(block.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }
}
