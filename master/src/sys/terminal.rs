//! The terminal a program talks to: how large it is, and keys at the moment they are pressed.

use super::checked;
use std::io;
use std::mem::MaybeUninit;

/// A terminal on stdin that shows no keys and hands each over at once; Ctrl-C is a key like another.
/// It is as it was before when this is dropped.
pub struct Keyboard {
    before: libc::termios,
}

impl Keyboard {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Stdin is no terminal.
    pub fn take() -> io::Result<Self> {
        let mut found = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the kernel fills it in where it succeeds.
        checked(unsafe { libc::tcgetattr(libc::STDIN_FILENO, found.as_mut_ptr()) })?;
        // SAFETY: it succeeded.
        let before = unsafe { found.assume_init() };
        let mut keys = before;
        keys.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN);
        keys.c_iflag &= !(libc::IXON | libc::ICRNL);
        keys.c_cc[libc::VMIN] = 0;
        keys.c_cc[libc::VTIME] = 0;
        set(&keys)?;
        Ok(Self { before })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _it_is_gone_then = set(&self.before);
    }
}

fn set(termios: &libc::termios) -> io::Result<()> {
    // SAFETY: it was made of one that the kernel gave.
    checked(unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, termios) }).map(drop)
}

/// Columns and lines of the terminal on stdout; `None` where there is none, or it does not know.
pub fn size() -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one of these there.
    checked(unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) }).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
