//! curl: a client that is not ours, and verifies whom it talks to.

use super::tools;
use std::path::Path;
use std::process::Command;

/// What came of one call.
#[derive(Debug)]
pub struct Answer {
    /// curl's exit code: 0, or what kept it from an answer.
    pub code: i32,
    /// Of the last answer; 0 without one.
    pub status: u16,
    /// Its head.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// Asks with these words, and believes the certificate in the file `trusted` alone. Every name is
/// this machine.
///
/// # Panics
/// When curl is missing.
#[track_caller]
pub fn curl(trusted: &Path, words: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["-sSi", "--max-time", "20", "--noproxy", "*", "--cacert"]).arg(trusted);
    command.args(["--connect-to", "::127.0.0.1:"]).args(words);
    let output = tools::finish(&mut command);
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut head = String::new();
    // With redirects followed there are several heads.
    while text.starts_with("HTTP/") {
        let Some((first, rest)) = text.split_once("\r\n\r\n") else { break };
        head = first.to_owned();
        text = rest.to_owned();
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let code = output.status.code().expect("an exit code");
    if code != 0 {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    Answer { code, status, head, body: text }
}

impl Answer {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let own = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.trim()).collect()
    }

    /// The only value of a field.
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        let values = self.values(name);
        let [value] = values.as_slice() else { panic!("{name}: {values:?} in {self:?}") };
        value
    }
}
