//! Between a request and the script that answers it: the body to its standard input, what it prints
//! to the client, both at once, and an eye on whether the client is still there.
//!
//! ```text
//! Head ──complete──▶ Body ──end of output──▶ Waiting ──exit──▶ Answered
//!   │                  └─client has left─▶ Leaving ──exit, or too late──▶ cut
//!   └─end of output, or no head──▶ Failed
//! ```

use super::script::Script;
use crate::exchange::Exchange;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rip::limits;
use rip::wire::cgi::{Answer, HeadReader};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

/// How a run has gone.
pub(super) enum Ran {
    /// The client has its answer.
    Answered,
    /// The request is to be answered again, as a GET of this target.
    Again(Vec<u8>),
    /// Nothing was answered. A sentence for the log.
    Failed(String),
}

/// A script that has ended, but not its output: how long what it has started may go on printing.
const AFTERMATH: Duration = Duration::from_secs(2);
/// From the signal that asks a script to end until it is killed.
const LEAVE: Duration = Duration::from_secs(2);
/// From the end of its output until a script is asked whether it has ended: nearly always it has. Each
/// time the answer is no, twice as long.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// How often a script is asked at least whether it has ended.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// Passes everything until the script has ended.
///
/// # Errors
/// When the client has left, or the answer broke off: the connection is to be cut.
pub(super) fn pump(exchange: &mut Exchange<'_>, script: Script, has_body: bool) -> io::Result<Ran> {
    let mut pump = Pump {
        exchange,
        script,
        unsent: Vec::new(),
        unread: has_body,
        reader: Some(HeadReader::new()),
        again: None,
        ended_at: None,
    };
    let passed = pump.run();
    if passed.is_err() {
        pump.leave();
    }
    let Pump { script, reader, again, .. } = pump;
    let status = script.end()?;
    if let Some(fault) = passed? {
        return Ok(Ran::Failed(fault));
    }
    if let Some(target) = again {
        return Ok(Ran::Again(target));
    }
    if let Some(reader) = reader {
        let how = if status.success() { String::new() } else { format!(" ({status})") };
        return Ok(Ran::Failed(format!("{}{how}", reader.ended())));
    }
    // It was on its way to say more.
    if status.signal().is_some_and(|signal| signal != libc::SIGPIPE) {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    Ok(Ran::Answered)
}

/// `POLLRDHUP`: the other side will not send any more.
pub(super) const HALF_CLOSED: PollFlags = PollFlags::from_bits_retain(libc::POLLRDHUP);

struct Pump<'p, 'c> {
    exchange: &'p mut Exchange<'c>,
    script: Script,
    /// Of the body: read, and not taken by the script yet.
    unsent: Vec<u8>,
    /// The body may go on.
    unread: bool,
    /// Until the head is complete.
    reader: Option<HeadReader>,
    again: Option<Vec<u8>>,
    /// When it was seen that the script's process has ended, and its output not.
    ended_at: Option<Instant>,
}

impl Pump<'_, '_> {
    /// `Some`: what it printed is no answer.
    fn run(&mut self) -> io::Result<Option<String>> {
        let mut pause = FIRST_PAUSE;
        loop {
            self.feed()?;
            if let Some(fault) = self.pass()? {
                return Ok(Some(fault));
            }
            let over = self.script.stdout.is_none();
            if over && self.script.has_ended() {
                return Ok(None);
            }
            if !over && self.is_aftermath_over() {
                self.script.stdout = None;
                continue;
            }
            self.exchange.flush()?;
            self.wait(if over { pause } else { LONG_PAUSE })?;
            if over {
                pause = (pause * 2).min(LONG_PAUSE);
            }
        }
    }

    /// Gives the script as much of the body as it takes now.
    fn feed(&mut self) -> io::Result<()> {
        while let Some(stdin) = &mut self.script.stdin {
            if self.unsent.is_empty() {
                if !self.unread {
                    self.script.stdin = None;
                    break;
                }
                self.unsent.resize(limits::BLOCK_BYTES * 4, 0);
                let count = self.exchange.read_body(&mut self.unsent)?;
                self.unsent.truncate(count);
                self.unread = count > 0;
                continue;
            }
            match stdin.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It does not want the rest.
                Err(_) => self.script.stdin = None,
            }
        }
        Ok(())
    }

    /// Passes on what the script has printed. `Some`: that is no answer.
    fn pass(&mut self) -> io::Result<Option<String>> {
        let mut block = [0; limits::BLOCK_BYTES];
        while let Some(stdout) = &mut self.script.stdout {
            match stdout.read(&mut block) {
                Ok(0) => self.script.stdout = None,
                Ok(count) => {
                    if let Some(fault) = self.take(&block[..count])? {
                        return Ok(Some(fault));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.script.stdout = None,
            }
        }
        Ok(None)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<Option<String>> {
        let Some(reader) = &mut self.reader else {
            // Of a script that sends the client elsewhere nothing more is wanted.
            if self.again.is_none() {
                self.exchange.write(bytes)?;
            }
            return Ok(None);
        };
        match reader.read(bytes) {
            Ok(None) => {}
            Ok(Some((Answer::Document(head), count))) => {
                self.reader = None;
                let fields = head.fields.iter().map(|(name, value)| (&name[..], &value[..]));
                self.exchange.begin(head.status, head.length, fields);
                self.exchange.write(&bytes[count..])?;
            }
            Ok(Some((Answer::Local(target), _))) => {
                self.reader = None;
                self.again = Some(target);
            }
            Err(fault) => return Ok(Some(fault.to_string())),
        }
        Ok(None)
    }

    /// Waits until something can be moved. An error: the client has left.
    fn wait(&self, pause: Duration) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.exchange.as_fd(), HALF_CLOSED)];
        let stdout = self.script.stdout.as_ref();
        fds.extend(stdout.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        let stdin = self.script.stdin.as_ref().filter(|_| !self.unsent.is_empty());
        fds.extend(stdin.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(pause)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // What is seen is `None` where it has a flag that nix does not know: the half-close.
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        let has_left = fds[0].revents().is_none_or(|seen| seen.intersects(gone));
        if has_left { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// The script has ended long ago, and something it has started holds its output open.
    fn is_aftermath_over(&mut self) -> bool {
        if self.ended_at.is_none() && self.script.has_ended() {
            self.ended_at = Some(Instant::now());
        }
        self.ended_at.is_some_and(|ended| ended.elapsed() > AFTERMATH)
    }

    /// The client has left: the script may tidy up, and not for long.
    fn leave(&mut self) {
        (self.script.stdin, self.script.stdout) = (None, None);
        self.script.ask_to_end();
        let until = Instant::now() + LEAVE;
        let mut pause = FIRST_PAUSE;
        while !self.script.has_ended() && Instant::now() < until {
            std::thread::sleep(pause);
            pause = (pause * 2).min(LEAVE / 20);
        }
    }
}
