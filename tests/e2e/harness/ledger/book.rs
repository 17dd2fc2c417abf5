//! Both sides' books: what a client knows of its request, and what the app did.

use super::Kind;
use super::aim::{Aims, NOBODY, Place};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// A request as its client knows it.
#[derive(Debug)]
pub struct Entry {
    /// Which one.
    pub number: u64,
    pub kind: Kind,
    pub method: &'static str,
    /// Where it was sent to.
    pub place: Place,
    /// When it was begun and when it ended.
    pub begun: SystemTime,
    pub ended: SystemTime,
    /// The right answer, or what came instead.
    pub outcome: Result<Answer, String>,
}

/// A right answer.
#[derive(Debug)]
pub struct Answer {
    /// The worker that gave it, as it says.
    pub worker: u64,
    /// Its app, as it says; [`NOBODY`] for the edge's own 404.
    pub app: String,
    /// Its code, as it says.
    pub release: String,
}

/// One execution as the app wrote it down.
#[derive(Debug)]
pub struct Execution {
    pub number: u64,
    pub method: String,
    pub worker: u64,
    pub pid: u32,
    pub micros: u64,
    pub app: String,
}

impl Answer {
    /// The edge's own: nobody is there.
    pub fn of_nobody() -> Self {
        Self { worker: 0, app: NOBODY.to_owned(), release: String::new() }
    }

    /// As an aim names it.
    pub fn who(&self) -> String {
        format!("{}@{}", self.app, self.release)
    }
}

impl Entry {
    /// What is wrong with the executions of a request that was answered.
    pub fn fault_of(
        &self,
        answer: &Answer,
        executions: &[&Execution],
        aims: &Aims,
    ) -> Option<String> {
        let wrong = |execution: &&&Execution| {
            aims.fault(&self.place, (self.begun, self.ended), &execution.app)
        };
        if let Some(fault) = executions.iter().find_map(|execution| wrong(&execution)) {
            return Some(fault);
        }
        if answer.app == NOBODY {
            return (!executions.is_empty()).then(|| "answered 404 and executed".to_owned());
        }
        let most = if self.method == "GET" { 2 } else { 1 };
        if executions.is_empty() {
            return Some("answered and never executed".to_owned());
        }
        if executions.len() > most {
            return Some(format!("executed {} times", executions.len()));
        }
        if executions.iter().all(|execution| execution.worker != answer.worker) {
            return Some(format!("answered by w{}, which did not execute it", answer.worker));
        }
        let other = executions.iter().find(|execution| execution.method != self.method)?;
        Some(format!("executed as {}", other.method))
    }
}

/// Everything the app's workers wrote down. Requests numbered 0 are not the ledger's.
pub fn executions(record: &Path) -> Vec<Execution> {
    let mut found = Vec::new();
    for file in fs::read_dir(record).into_iter().flatten().flatten() {
        if !file.file_name().to_string_lossy().starts_with("executed-") {
            continue;
        }
        let text = fs::read_to_string(file.path()).expect("a worker's book");
        let all = text.lines().map(|line| execution(line).expect("a line of the book"));
        found.extend(all.filter(|execution| execution.number != 0));
    }
    found
}

fn execution(line: &str) -> Option<Execution> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let method = words.next()?.to_owned();
    let mut words = words.skip(2);
    let worker = words.next()?.parse().ok()?;
    let pid = words.next()?.parse().ok()?;
    let micros = words.next()?.parse().ok()?;
    let app = words.next()?.to_owned();
    Some(Execution { number, method, worker, pid, micros, app })
}
