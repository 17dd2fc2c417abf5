//! One line on a terminal that says how far a command has come, rewritten in place.

use std::io::{IsTerminal, Write};

/// The line. It is gone when this is.
#[derive(Debug)]
pub struct Progress<W: Write> {
    out: W,
    shown: String,
}

/// A line on stderr, where that is a terminal.
pub fn on_terminal() -> Option<Progress<std::io::Stderr>> {
    let out = std::io::stderr();
    let dumb = std::env::var_os("TERM").is_some_and(|text| text == "dumb");
    (out.is_terminal() && !dumb).then(|| Progress::new(out))
}

impl<W: Write> Progress<W> {
    fn new(out: W) -> Self {
        Self { out, shown: String::new() }
    }

    /// Shows `text` in place of what was shown.
    pub fn show(&mut self, text: &str) {
        if self.shown != text {
            self.shown = text.to_owned();
            self.write(&format!("\r{text} …\x1b[K"));
        }
    }

    fn write(&mut self, bytes: &str) {
        // A terminal that is gone has nobody to tell.
        let _ = self.out.write_all(bytes.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl<W: Write> Drop for Progress<W> {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            self.write("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_rewritten_and_goes_away() {
        let mut screen = Vec::new();
        let mut progress = Progress::new(&mut screen);
        progress.show("rolling 1/2");
        progress.show("rolling 1/2");
        progress.show("rolling 2/2");
        drop(progress);
        let text = String::from_utf8(screen).unwrap();
        assert_eq!(text, "\rrolling 1/2 …\x1b[K\rrolling 2/2 …\x1b[K\r\x1b[K");
        let mut screen = Vec::new();
        drop(Progress::new(&mut screen));
        assert!(screen.is_empty(), "what shows nothing writes nothing");
    }
}
