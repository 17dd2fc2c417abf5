//! A request as it is put to a FastCGI process: its body goes there while the answer comes back, and
//! what the process says on its standard error goes to the log.
//!
//! ```text
//! Head ──complete──▶ Body ──END_REQUEST──▶ answered
//!   │                  └─client has left, or the process─▶ cut
//!   └─END_REQUEST, or no head──▶ fault
//! ```

use super::pump::HALF_CLOSED;
use crate::exchange::Exchange;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rip::wire::cgi::{Answer, Head, HeadReader};
use rip::wire::fastcgi::{self, Read as Record, Reader};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// How a request has gone.
pub(super) struct Told {
    /// Nothing was answered, and this is why: the end of a sentence for the log.
    pub fault: Option<String>,
    /// Request and answer are complete: the connection can be asked again.
    pub is_whole: bool,
}

/// Puts a request to the process on `stream`, which never waits: `question` is what goes before its body. Passes the
/// answer on.
///
/// # Errors
/// When the client has left, the process has ended, or the answer broke off: both connections are to
/// be closed.
pub(super) fn talk(
    exchange: &mut Exchange<'_>,
    stream: &UnixStream,
    question: Vec<u8>,
) -> io::Result<Told> {
    let mut talk = Talk {
        exchange,
        stream,
        unsent: question,
        sent: 0,
        unread: true,
        is_deaf: false,
        reader: Reader::default(),
        input: vec![0; INPUT_BYTES],
        filled: 0,
        head: Some(HeadReader::new()),
        begins: None,
        piece: Vec::new(),
        errors: Vec::new(),
    };
    let told = talk.run();
    talk.log();
    told
}

/// Read at once: more than the largest record of php's that is not a file's.
const INPUT_BYTES: usize = 64 * 1024;
/// Of the body at once.
const BODY_BYTES: usize = 32 * 1024;
/// Standard error that is not logged before there is so much of it, or the request has ended.
const LOG_BYTES: usize = 16 * 1024;

struct Talk<'t, 'c> {
    exchange: &'t mut Exchange<'c>,
    stream: &'t UnixStream,
    /// Records, of which `sent` bytes the process has taken.
    unsent: Vec<u8>,
    sent: usize,
    /// The body may go on.
    unread: bool,
    /// The process takes nothing any more.
    is_deaf: bool,
    reader: Reader,
    input: Vec<u8>,
    filled: usize,
    /// Until the head is complete.
    head: Option<HeadReader>,
    /// A head that was not passed on yet: perhaps all of the answer is here already.
    begins: Option<Head>,
    /// Body that is to be passed on.
    piece: Vec<u8>,
    errors: Vec<u8>,
}

impl Talk<'_, '_> {
    fn run(&mut self) -> io::Result<Told> {
        loop {
            self.feed()?;
            self.wait()?;
            let room = INPUT_BYTES - self.filled;
            let count = match (&*self.stream).read(&mut self.input[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            self.filled += count;
            if let Some(told) = self.take()? {
                return Ok(told);
            }
            self.pass(false)?;
            // Where the buffer was filled more is waiting.
            if count < room {
                self.exchange.flush()?;
            }
        }
    }

    /// Gives the process as much of the request as it takes now.
    fn feed(&mut self) -> io::Result<()> {
        loop {
            if self.sent == self.unsent.len() {
                (self.sent, self.unsent) = (0, Vec::new());
                if !self.unread {
                    return Ok(());
                }
            }
            self.fill()?;
            match (&*self.stream).write(&self.unsent[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It has ended. What it has said before can still be read.
                Err(_) => {
                    (self.sent, self.unread, self.is_deaf) = (0, false, true);
                    self.unsent.clear();
                    return Ok(());
                }
            }
        }
    }

    /// Adds what has come of the body, so that a small one goes out with what stands before it.
    fn fill(&mut self) -> io::Result<()> {
        while self.unread && self.unsent.len() < BODY_BYTES {
            let mut block = [0; BODY_BYTES];
            match self.exchange.read_body(&mut block)? {
                0 => {
                    self.unread = false;
                    fastcgi::end_body(&mut self.unsent);
                }
                count => {
                    fastcgi::body(block.get(..count).unwrap_or_default(), &mut self.unsent);
                }
            }
        }
        Ok(())
    }

    /// Waits for the process. An error: the client has left.
    fn wait(&self) -> io::Result<()> {
        let wanted = match self.sent < self.unsent.len() {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        let mut fds = [
            PollFd::new(self.exchange.as_fd(), HALF_CLOSED),
            PollFd::new(self.stream.as_fd(), wanted),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // What is seen is `None` where it has a flag that nix does not know: the half-close.
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        let has_left = fds[0].revents().is_none_or(|seen| seen.intersects(gone));
        if has_left { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Understands what has come. `Some`: that was all.
    fn take(&mut self) -> io::Result<Option<Told>> {
        let mut at = 0;
        let told = loop {
            let unread = self.input.get(at..self.filled).unwrap_or_default();
            let record = self.reader.read(unread);
            match record.map_err(|fault| io::Error::new(ErrorKind::InvalidData, fault))? {
                Record::More => break None,
                Record::Nothing { consumed } | Record::Values { consumed } => at += consumed,
                Record::Output { consumed, data } => {
                    let output = at + data.start..at + data.end;
                    at += consumed;
                    if let Some(fault) = self.output(output) {
                        break Some(Told { fault: Some(fault), is_whole: false });
                    }
                }
                Record::Errors { consumed, data } => {
                    self.errors.extend_from_slice(&unread[data]);
                    at += consumed;
                }
                Record::End { consumed, refused, .. } => {
                    at += consumed;
                    break Some(self.end(refused.is_some())?);
                }
            }
        };
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        if self.errors.len() > LOG_BYTES {
            self.log();
        }
        Ok(told)
    }

    /// A piece of the answer. `Some`: it is none.
    fn output(&mut self, at: Range<usize>) -> Option<String> {
        let bytes = self.input.get(at).unwrap_or_default();
        let Some(reader) = &mut self.head else {
            self.piece.extend_from_slice(bytes);
            return None;
        };
        match reader.read(bytes) {
            Ok(None) => None,
            Ok(Some((answer, count))) => {
                self.head = None;
                self.begins = Some(match answer {
                    Answer::Document(head) => head,
                    Answer::Local(target) => Head::redirect(&target),
                });
                self.piece.extend_from_slice(bytes.get(count..).unwrap_or_default());
                None
            }
            Err(fault) => Some(fault.to_string()),
        }
    }

    /// The request has ended.
    fn end(&mut self, is_refused: bool) -> io::Result<Told> {
        let fault = match &self.head {
            _ if is_refused => Some("it did not take the request".to_owned()),
            Some(head) => Some(head.ended().to_string()),
            None => None,
        };
        if fault.is_none() {
            self.pass(true)?;
        }
        // What it did not read of a request it would take for the next one.
        let is_sent = self.sent == self.unsent.len() && !self.unread && !self.is_deaf;
        Ok(Told { fault, is_whole: is_sent })
    }

    /// Passes on what there is of the answer. `is_all`: nothing more comes.
    fn pass(&mut self, is_all: bool) -> io::Result<()> {
        if let Some(head) = self.begins.take() {
            let has_body = self.exchange.method() != b"HEAD" && !matches!(head.status, 204 | 304);
            let whole = (is_all && has_body).then_some(self.piece.len() as u64);
            let fields = head.fields.iter().map(|(name, value)| (&name[..], &value[..]));
            self.exchange.begin(head.status, head.length.or(whole), fields);
        }
        if !self.piece.is_empty() {
            self.exchange.write(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Tells the log what the process had to say, and of which request.
    fn log(&mut self) {
        let text = String::from_utf8_lossy(&self.errors);
        let text = text.trim_end();
        if !text.is_empty() {
            eprintln!("request {}: {text}", name_of(self.exchange));
        }
        self.errors.clear();
    }
}

/// A request as the log names it.
pub(super) fn name_of(exchange: &Exchange<'_>) -> String {
    let id = exchange.fields().find(|(name, _)| name.eq_ignore_ascii_case(b"X-Request-Id"));
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let (method, target) = (shown(exchange.method()), shown(exchange.target()));
    match id {
        Some((_, id)) => format!("{} ({method} {target})", shown(id)),
        None => format!("{method} {target}"),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
