//! What does not balance, told so that it can be understood.

use super::book::{Entry, Execution};
use crate::harness::server::Server;
use std::fmt::{self, Display, Formatter};
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything that is wrong.
pub struct Report<'a> {
    logs: [String; 2],
    executed: &'a [Execution],
    cases: Vec<String>,
}

/// Cases that are shown with the log around them; of more only the sum is told.
const SHOWN: usize = 4;
/// Lines of the log before and behind the one that names the request.
const AROUND: usize = 8;

impl<'a> Report<'a> {
    pub fn new(server: &Server, executed: &'a [Execution]) -> Self {
        Self { logs: [server.stdout(), server.stderr()], executed, cases: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// A request that has no right answer.
    pub fn wrong(&mut self, entry: &Entry) {
        let what = entry.outcome.as_ref().err().cloned().unwrap_or_default();
        self.add(entry, &what);
    }

    /// A request with whose answer or execution something is wrong.
    pub fn add(&mut self, entry: &Entry, what: &str) {
        let Entry { number, kind, method, .. } = entry;
        let by = self
            .executed
            .iter()
            .filter(|execution| execution.number == *number)
            .map(|execution| {
                let at = time_of_day(u128::from(execution.micros));
                format!("w{} (pid {}) at {at}", execution.worker, execution.pid)
            })
            .collect::<Vec<_>>();
        let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
        let (begun, ended) = (micros(entry.begun), micros(entry.ended));
        let mut case = format!(
            "request {number} ({method}, {kind:?}, {} to {}): {what}; executed by {by}",
            time_of_day(begun),
            time_of_day(ended)
        );
        if self.cases.len() < SHOWN {
            let path = format!("/{number}");
            for log in &self.logs {
                case.push_str(&around(log, &path, &time_of_day(ended)[..8]));
            }
        }
        self.cases.push(case);
    }

    /// An execution of a request that nobody sent.
    pub fn stray(&mut self, execution: &Execution) {
        let Execution { number, method, worker, .. } = execution;
        self.cases.push(format!("request {number} ({method}) was executed by w{worker}, not sent"));
    }
}

impl Display for Report<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "the ledger does not balance in {} cases:", self.cases.len())?;
        for case in self.cases.iter().take(SHOWN * 2) {
            writeln!(out, "{case}")?;
        }
        Ok(())
    }
}

/// The lines around the one that names this path, else around the first of that second.
fn around(log: &str, path: &str, second: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let names = |line: &&str| line.split([' ', '?']).any(|word| word.ends_with(path));
    let found = lines.iter().position(names);
    let Some(middle) = found.or_else(|| lines.iter().position(|line| line.contains(second))) else {
        return String::new();
    };
    let first = middle.saturating_sub(AROUND);
    let last = (middle + AROUND).min(lines.len() - 1);
    lines[first..=last].iter().enumerate().fold(String::new(), |text, (index, line)| {
        let mark = if first + index == middle { '>' } else { ' ' };
        format!("{text}\n  {mark} {line}")
    })
}

fn micros(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

/// As in the log: hours, minutes, seconds and milliseconds of the day.
fn time_of_day(micros: u128) -> String {
    let millis = micros / 1000;
    let seconds = millis / 1000;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", millis % 1000)
}
