//! Diagnostic lines: what the code says of itself, for people and for programs.

use super::text;
use crate::time::UnixMillis;
use std::fmt::{self, Write};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Diagnostic<'a> {
    /// When it was said.
    pub at: UnixMillis,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
    /// Who said it: a module, or `panic`.
    pub target: &'a str,
    /// What. Whatever is in it, the line stays one line.
    pub message: fmt::Arguments<'a>,
}

impl Diagnostic<'_> {
    /// Appends the line for people, end of line included: `[warn rip_master::edge] …`.
    pub fn write_human(&self, out: &mut Vec<u8>) {
        text::push(out, format_args!("[{} {}] ", self.level, self.target));
        text::push_prose(out, &self.bounded());
        out.push(b'\n');
    }

    /// Appends the line for programs, end of line included: `{"t","level","target","message"}`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"t\":");
        text::push_json_time(out, self.at);
        text::push(out, format_args!(",\"level\":\"{}\",\"target\":", self.level));
        text::push_json(out, self.target.as_bytes());
        out.extend_from_slice(b",\"message\":");
        text::push_json(out, self.bounded().as_bytes());
        out.extend_from_slice(b"}\n");
    }

    fn bounded(&self) -> String {
        let mut bounded = Bounded(String::new());
        // It fails when there is enough.
        let _ = bounded.write_fmt(self.message);
        bounded.0
    }
}

/// Text that takes no more than there is room for.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = MESSAGE_BYTES - self.0.len();
        if more.len() <= room {
            self.0.push_str(more);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| more.is_char_boundary(*end)).unwrap_or_default();
        self.0.push_str(&more[..end]);
        Err(fmt::Error)
    }
}

/// Of a longer message the rest is left out.
const MESSAGE_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn both(message: fmt::Arguments<'_>) -> (String, String) {
        let at = UnixMillis(1_773_489_600_123);
        let line = Diagnostic { at, level: "warn", target: "rip_master::edge", message };
        let (mut human, mut json) = (Vec::new(), Vec::new());
        line.write_human(&mut human);
        line.write_json(&mut json);
        (String::from_utf8(human).unwrap(), String::from_utf8(json).unwrap())
    }

    #[test]
    fn a_diagnostic_is_one_line_whatever_it_says() {
        let (human, json) = both(format_args!("no {}", "\"way\"\n[error rip] forged\u{1b}[2J"));
        assert_eq!(human, "[warn rip_master::edge] no \"way\"\\u{a}[error rip] forged\\u{1b}[2J\n");
        assert_eq!(
            json,
            "{\"t\":\"2026-03-14T12:00:00.123Z\",\"level\":\"warn\",\
             \"target\":\"rip_master::edge\",\
             \"message\":\"no \\\"way\\\"\\u000a[error rip] forged\\u001b[2J\"}\n"
        );
    }

    #[test]
    fn a_long_one_is_cut_between_letters() {
        let long = "é".repeat(MESSAGE_BYTES);
        let (human, json) = both(format_args!("x{long}"));
        assert!(human.len() < MESSAGE_BYTES + 100, "{}", human.len());
        assert!(human.ends_with("é\n"));
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    }
}
