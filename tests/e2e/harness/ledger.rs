//! Clients that number every request and account for every answer, against what the app executed.
//!
//! Each request has a number that no other has. Its client writes down how it ended; the app of
//! the tests writes down each execution. [`Ledger::balance`] compares both: every request has
//! exactly one right answer, none was executed that was not sent, none that may not be repeated was
//! executed twice, and none came to another app than the one that answers there. What does not balance is told with its number, its worker, its time and the
//! lines of the log around it.

mod aim;
mod book;
mod client;
mod report;

use super::server::Server;
use super::wait;
use aim::Aims;
pub use aim::NOBODY;
use book::{Entry, Execution};
use client::work;
use nix::sys::signal::Signal;
use report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a client behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Many requests on one connection, POST and GET in turn.
    KeepAlive,
    /// A connection for each request.
    Fresh,
    /// Its requests arrive in drops.
    Slow,
    /// Large bodies, of known length and in chunks; they do not fit into memory.
    Upload,
    /// Answers that take their time.
    Stream,
}

/// One of each kind, and a second one that keeps its connection.
pub const ALL_KINDS: [Kind; 6] =
    [Kind::KeepAlive, Kind::KeepAlive, Kind::Fresh, Kind::Slow, Kind::Upload, Kind::Stream];

/// Clients at work, and what they have written down.
pub struct Ledger {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Entry>>>,
}

/// What a balanced ledger holds.
#[derive(Debug)]
pub struct Totals {
    /// Requests sent, each of which has its one answer.
    pub requests: u64,
    /// Those executed a second time, as only repeatable ones may be.
    pub repeated: u64,
    /// Workers that executed something.
    pub workers: BTreeSet<u64>,
    /// Answers by the release that gave them.
    pub releases: BTreeMap<String, u64>,
    /// Answers by the app that gave them; [`NOBODY`] for the edge's 404.
    pub apps: BTreeMap<String, u64>,
}

/// What the clients have in common.
struct Shared {
    port: u16,
    aims: Aims,
    /// The next request's number.
    next: AtomicU64,
    /// True once no client may connect. Held for reading while one does.
    is_last_call: RwLock<bool>,
    is_closed: AtomicBool,
    /// Answers of each client.
    answered: Vec<AtomicU64>,
    failures: Mutex<Vec<Entry>>,
}

/// Longest wait for all clients to come round.
const ROUND: Duration = Duration::from_secs(40);

impl Ledger {
    /// Lets one client of each of these kinds work.
    pub fn open(server: &Server, kinds: &[Kind]) -> Self {
        Self::aimed(server, kinds, &[])
    }

    /// The same where several apps answer: host, what the path begins with, and the app (or
    /// `app@release`) that answers there.
    pub fn aimed(server: &Server, kinds: &[Kind], places: &[(&str, &str, &str)]) -> Self {
        let shared = Arc::new(Shared {
            port: server.port(),
            aims: Aims::new(places),
            next: AtomicU64::new(1),
            is_last_call: RwLock::new(false),
            is_closed: AtomicBool::new(false),
            answered: kinds.iter().map(|_| AtomicU64::new(0)).collect(),
            failures: Mutex::default(),
        });
        let clients = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let (kind, shared) = (*kind, Arc::clone(&shared));
                std::thread::spawn(move || work(kind, index, &shared))
            })
            .collect();
        Self { shared, clients }
    }

    /// Somebody else, or [`NOBODY`], is about to answer there: until [`Self::changed`] both
    /// may. A place that is not known yet is asked from now on.
    pub fn changing(&self, host: &str, path: &str, who: &str) {
        self.shared.aims.changing(host, path, who);
    }

    /// The change is done: requests that begin from now on are answered by the new one.
    pub fn changed(&self) {
        self.shared.aims.changed();
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Waits until this many more answers have come.
    #[track_caller]
    pub fn wait_for(&self, server: &Server, more: u64) {
        let wanted = self.answered() + more;
        self.wait_until(server, "more answers", || self.answered() >= wanted);
    }

    /// Waits until each client has had a request answered that it began after this call.
    #[track_caller]
    pub fn wait_for_round(&self, server: &Server) {
        let counts = || self.shared.answered.iter().map(|count| count.load(Ordering::Relaxed));
        let before: Vec<_> = counts().collect();
        self.wait_until(server, "an answer for each client", || {
            counts().zip(&before).all(|(now, before)| now >= before + 2)
        });
    }

    /// Panics with a report when a request has failed already.
    #[track_caller]
    pub fn assert_no_failure(&self, server: &Server) {
        let failures = self.shared.failures.lock().expect("the failures");
        if !failures.is_empty() {
            let executed = book::executions(&server.path("record"));
            let mut report = Report::new(server, &executed);
            for failure in failures.iter() {
                report.wrong(failure);
            }
            drop(failures);
            panic!("{report}");
        }
    }

    #[track_caller]
    fn wait_until(&self, server: &Server, what: &str, mut ask: impl FnMut() -> bool) {
        let came = wait::within(ROUND, || {
            self.assert_no_failure(server);
            ask().then_some(())
        });
        assert!(came.is_some(), "waited {ROUND:?} in vain for {what}");
    }

    /// Lets every client finish its request; compares what they have with what was executed.
    #[track_caller]
    pub fn balance(mut self, server: &Server) -> Totals {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        let entries = self.entries();
        compare(server, &entries, &self.shared.aims)
    }

    /// Ends the server with this signal while the clients go on: none connects any more, each
    /// goes on until it is told that its connection ends. Compares then.
    #[track_caller]
    pub fn balance_over_the_end(mut self, server: &mut Server, signal: Signal) -> Totals {
        *self.shared.is_last_call.write().expect("the last call") = true;
        server.signal(signal);
        let code = server.exit_code();
        let entries = self.entries();
        let totals = compare(server, &entries, &self.shared.aims);
        assert_eq!(code, 0, "nothing was cut");
        totals
    }

    fn entries(&mut self) -> Vec<Entry> {
        let clients = self.clients.drain(..);
        let mut entries: Vec<_> =
            clients.flat_map(|client| client.join().expect("a client's thread")).collect();
        entries.append(&mut self.shared.failures.lock().expect("the failures"));
        entries
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
    }
}

/// Compares what the clients wrote down with what the app did.
#[track_caller]
fn compare(server: &Server, entries: &[Entry], aims: &Aims) -> Totals {
    let executed = book::executions(&server.path("record"));
    let mut by_number: BTreeMap<u64, Vec<&Execution>> = BTreeMap::new();
    for execution in &executed {
        by_number.entry(execution.number).or_default().push(execution);
    }
    let mut report = Report::new(server, &executed);
    let mut totals = Totals {
        requests: 0,
        repeated: 0,
        workers: executed.iter().map(|execution| execution.worker).collect(),
        releases: BTreeMap::new(),
        apps: BTreeMap::new(),
    };
    for entry in entries {
        let executions = by_number.remove(&entry.number).unwrap_or_default();
        match &entry.outcome {
            Ok(answer) => {
                totals.requests += 1;
                *totals.releases.entry(answer.release.clone()).or_default() += 1;
                *totals.apps.entry(answer.app.clone()).or_default() += 1;
                if let Some(fault) = entry.fault_of(answer, &executions, aims) {
                    report.add(entry, &fault);
                }
                totals.repeated += u64::from(executions.len() > 1);
            }
            Err(_) => report.wrong(entry),
        }
    }
    for execution in by_number.values().flatten() {
        report.stray(execution);
    }
    assert!(report.is_empty(), "{report}");
    assert!(totals.requests > 0, "nobody asked anything");
    totals
}
