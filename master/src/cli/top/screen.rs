//! A terminal that shows screens and hears keys, and is left as it was found.

use crate::sys::signals::Signals;
use crate::sys::terminal::Keyboard;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::Signal;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The other screen of a terminal, with its keyboard.
pub struct Screen {
    poll: Poll,
    signals: Signals,
    _keyboard: Keyboard,
}

/// What happened while a screen was shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Input {
    /// A key was pressed.
    Key(u8),
    /// It is to end: by a signal, or because nobody is at the keyboard any more.
    End,
    /// Nothing, for as long as was waited.
    Nothing,
}

impl Screen {
    /// Takes the terminal over, until it is dropped.
    ///
    /// # Errors
    /// Stdin is no terminal, or the system refuses.
    pub fn open() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = Signals::new()?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let stdin = io::stdin().as_raw_fd();
        poll.registry().register(&mut SourceFd(&stdin), KEYS, Interest::READABLE)?;
        let keyboard = Keyboard::take()?;
        // The other screen, without a cursor: what was there comes back when it is left.
        say(b"\x1b[?1049h\x1b[?25l")?;
        Ok(Self { poll, signals, _keyboard: keyboard })
    }

    /// Shows `lines` in the place of what was shown before.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&mut self, lines: &[String]) -> io::Result<()> {
        let mut out = b"\x1b[H".to_vec();
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\x1b[K");
        }
        out.extend_from_slice(b"\x1b[J");
        say(&out)
    }

    /// Waits for a key, `most` long.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn wait(&mut self, most: Duration) -> io::Result<Input> {
        let mut events = Events::with_capacity(4);
        match self.poll.poll(&mut events, Some(most)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];
        if self.signals.pending().any(|signal| ends.contains(&signal)) {
            return Ok(Input::End);
        }
        let Some(event) = events.iter().find(|event| event.token() == KEYS) else {
            return Ok(Input::Nothing);
        };
        let is_over = event.is_read_closed() || event.is_error();
        let mut keys = [0; 64];
        // The kernel tells of keys once: all of them are taken, and the last one counts.
        let count = match io::stdin().lock().read(&mut keys) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        Ok(match keys.get(..count).and_then(<[u8]>::last) {
            Some(key) => Input::Key(*key),
            None if is_over => Input::End,
            None => Input::Nothing,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _it_is_gone_then = say(b"\x1b[?25h\x1b[?1049l");
    }
}

fn say(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

const SIGNALS: Token = Token(0);
const KEYS: Token = Token(1);
