//! `check-worker`: whether a server keeps the contract of a worker (`docs/WORKERS.md`). It is started by
//! the shim that would start it under a master, which we are for the time.
//!
//! ```text
//! master  starts it, hears it join, tells it to go
//! list    what is asked, as data; case says how what came is judged
//! run     does it, over connections (wire) that read as the edge reads
//! found   tells what came of it
//! ```

mod case;
mod found;
mod list;
mod master;
mod run;
mod wire;

use super::args::CheckWorker;
use super::ctl::say;
use super::entry::{self, Entry, Named};
use super::exit::{Exit, Failure};
use super::start::{self, World};
use super::table::Paint;
use case::{Answer, Case, Mismatch, Plan, Status, Wanted, Weight};
use found::Found;
use list::Known;
use master::{Joined, Worker};
use rip::limits;
use run::Runner;
use std::time::{Duration, Instant};
use wire::Wire;

/// The rules of the contract, as `docs/WORKERS.md` heads them.
mod rule {
    pub const LISTEN: &str = "1. Listen where you are told, and stay";
    pub const READY: &str = "2. Say when you are ready";
    pub const ANSWER: &str = "3. Answer every request";
    pub const END: &str = "4. Show where an answer ends";
    pub const BODY: &str = "5. Read the body";
    pub const CONNECTIONS: &str = "6. Keep connections open";
    pub const ANY: &str = "7. Take any request";
    pub const LEAVING: &str = "8. Clients leave";
    pub const STOP: &str = "9. Stop when you are told";
    pub const OUTPUT: &str = "10. Write lines";
    #[cfg(test)]
    pub const ALL: [&str; 10] =
        [LISTEN, READY, ANSWER, END, BODY, CONNECTIONS, ANY, LEAVING, STOP, OUTPUT];
}

/// Tries a server: [`Exit::Failed`] when it cannot be a worker.
///
/// # Errors
/// What is named cannot be started at all (78), the command line is wrong (2).
pub fn check_worker(flags: &CheckWorker) -> Result<Exit, Failure> {
    let entry = entry(flags)?;
    let keeps_links = entry.launch.runtime.keeps_links();
    let worker = Worker::start(entry.launch.clone(), flags.timeout)?;
    let mut check = Check { flags, worker, found: Vec::new() };
    let joined = check.start();
    if let Some(joined) = joined {
        check.serve(joined, keeps_links);
    }
    let Check { found, worker, .. } = check;
    let failed = found.iter().any(Found::is_failure);
    if flags.json {
        say(&found::json(&entry.shown, joined.map(|joined| joined.keep_alive), &found))?;
    } else {
        say(&found::summary(&found))?;
        if failed {
            tell_output(&worker.output());
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What is to be started: as `start` understands it, or words that are a program and its arguments.
fn entry(flags: &CheckWorker) -> Result<Entry, Failure> {
    let places = World::look()?.places;
    let words = &flags.words;
    let runtime = flags.runtime;
    let resolve = |word: Option<&str>, argv: Option<&[String]>| {
        entry::resolve(Named { word, argv, runtime }, &places)
    };
    let mut entry = match (flags.command.as_deref(), words.as_slice()) {
        (Some(argv), [] | [_]) => resolve(words.first().map(String::as_str), Some(argv))?,
        (Some(_), _) => {
            return Err(Failure::usage("before '--' stands one directory at most"));
        }
        (None, []) => resolve(None, None)?,
        // A program where it is no entry; what is neither is told of as an entry that is not there.
        (None, [word]) => match resolve(Some(word), None) {
            Ok(entry) => entry,
            Err(failure) if runtime.is_some() => return Err(failure),
            Err(failure) => resolve(None, Some(words)).map_err(|_| failure)?,
        },
        (None, _) => resolve(None, Some(words))?,
    };
    start::listen_as_said(&mut entry.launch, flags.listen)?;
    Ok(entry)
}

/// A server that is being checked.
struct Check<'a> {
    flags: &'a CheckWorker,
    worker: Worker,
    found: Vec<Found>,
}

impl Check<'_> {
    fn tell(&mut self, found: Found) {
        if !self.flags.json {
            // A closed stdout has nobody to tell; the exit code says it as well.
            let _ = say(&found.lines(Paint::for_stdout()));
        }
        self.found.push(found);
    }

    fn judge(&mut self, case: &Case, done: Result<(), Mismatch>, took: Duration) {
        self.tell(Found::of(case, done, took));
    }

    /// From the process to the first request.
    fn start(&mut self) -> Option<Joined> {
        let began = Instant::now();
        let start = outside("start", "it starts", rule::LISTEN);
        let ready = outside("ready", "it is ready", rule::READY);
        match self.worker.joined(self.flags.timeout) {
            Ok(joined) => {
                self.judge(&start, Ok(()), Duration::ZERO);
                self.judge(&ready, Ok(()), began.elapsed());
                let several = Case {
                    weight: Weight::Costs("a connection of its own for every request"),
                    ..outside("keep-alive", "it serves several connections", rule::CONNECTIONS)
                };
                let kept = match joined.keep_alive {
                    true => Ok(()),
                    false => Err(Mismatch::new(
                        "an answer on a second connection while one is open and idle",
                        "none within a second",
                    )),
                };
                self.judge(&several, kept, Duration::ZERO);
                Some(joined)
            }
            Err(not) if not.started => {
                self.judge(&start, Ok(()), Duration::ZERO);
                let expected =
                    format!("an answer to GET /ready, or READY=1, within {:?}", self.flags.timeout);
                let mismatch = Mismatch::new(expected, not.message);
                self.judge(&ready, Err(mismatch), began.elapsed());
                None
            }
            Err(not) => {
                let mismatch = Mismatch::new("a process that stays", not.message);
                self.judge(&start, Err(mismatch), began.elapsed());
                None
            }
        }
    }

    /// All that is asked of it, and its end.
    fn serve(&mut self, joined: Joined, keeps_links: bool) {
        let mut known = Known {
            keep_alive: joined.keep_alive,
            keeps_links,
            path: self.flags.path.clone(),
            echo: self.flags.echo.clone(),
            validator: None,
        };
        if let Some(answer) = self.ask(&list::first(&known), joined) {
            known.validator = validator(&answer);
        }
        for case in list::cases(&known) {
            self.ask(&case, joined);
        }
        self.stop(joined);
        self.output();
    }

    /// One case. `None` unless it went well.
    fn ask(&mut self, case: &Case, joined: Joined) -> Option<Answer> {
        if let Some(status) = self.worker.ended() {
            self.tell(Found::skipped(case, format!("it has ended: {status}")));
            return None;
        }
        let steps = match &case.plan {
            Plan::Skip(why) => {
                self.tell(Found::skipped(case, *why));
                return None;
            }
            Plan::Steps(steps) => steps,
        };
        let began = Instant::now();
        let socket = self.worker.socket().to_owned();
        let (keep_alive, patience) = (joined.keep_alive, self.flags.timeout);
        let mut done = Runner { socket: &socket, keep_alive, patience }.run(steps);
        if let Some(status) = self.worker.ended() {
            let came = match &done {
                Err(mismatch) => format!("it ended: {status}; {}", mismatch.came),
                Ok(_) => format!("it ended: {status}"),
            };
            done = Err(Mismatch::new("a process that stays", came));
        }
        let (answer, verdict) = match done {
            Ok(answer) => (Some(answer), Ok(())),
            Err(mismatch) => (None, Err(mismatch)),
        };
        self.judge(case, verdict, began.elapsed());
        answer
    }

    /// Told to go while a request is on its way, which has come but for its last byte.
    fn stop(&mut self, joined: Joined) {
        let finish = Case {
            weight: Weight::Costs(
                "requests are cut where they outlast the drain time, or the master dies",
            ),
            ..outside("finish", "what has begun is finished", rule::STOP)
        };
        let stop = outside("stop", "it stops when it is told", rule::STOP);
        let left = outside("left", "nothing is left of it", rule::STOP);
        if let Some(status) = self.worker.ended() {
            for case in [&finish, &stop, &left] {
                self.tell(Found::skipped(case, format!("it has ended: {status}")));
            }
            return;
        }
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\nx",
            self.flags.echo.as_ref().unwrap_or(&self.flags.path)
        );
        let mut wire = Wire::open(self.worker.socket()).ok();
        if let Some(wire) = &mut wire {
            wire.send(request.as_bytes());
        }
        std::thread::sleep(MOMENT);
        let has_begun = wire.as_mut().is_none_or(Wire::has_begun);
        let began = self.worker.ask_to_leave();
        match wire.filter(|_| !has_begun) {
            None => self.tell(Found::skipped(&finish, "it answers without reading the body")),
            Some(mut wire) => {
                std::thread::sleep(MOMENT);
                wire.send(b"x");
                let wanted = Wanted::status(Status::NoFailureOrUnknown);
                // A server that does not read on waits for its end, which comes now: its time to stop
                // is not over.
                let done = wire.answer(&wanted, limits::KILL_TIMEOUT / 2);
                self.judge(&finish, done.map(drop), began.elapsed());
            }
        }
        let end = self.worker.end(joined.app_pid, began);
        let in_time = format!("its end within {:?} of SIGTERM", limits::KILL_TIMEOUT);
        let stopped = match end.status {
            Some(_) if end.took < limits::KILL_TIMEOUT => Ok(()),
            _ if !end.left.is_empty() => Ok(()),
            Some(_) => Err(Mismatch::new(in_time, "it had to be killed")),
            None => Err(Mismatch::new(in_time, "it could not be ended")),
        };
        self.judge(&stop, stopped, end.took);
        let nothing = match end.left.is_empty() {
            true => Ok(()),
            false => Err(Mismatch::new("no process of it", end.left.join(", "))),
        };
        self.judge(&left, nothing, Duration::ZERO);
    }

    /// What it wrote.
    fn output(&mut self) {
        let case = Case {
            weight: Weight::Costs("what is no text is shown as it is, what is too long is cut"),
            ..outside("output", "what it writes are lines of text", rule::OUTPUT)
        };
        let judged = lines(&self.worker.output());
        self.judge(&case, judged, Duration::ZERO);
    }
}

/// What is on its way on its own has arrived by then.
const MOMENT: Duration = Duration::from_millis(300);

/// A case that is no matter of requests.
fn outside(id: &'static str, title: &'static str, rule: &'static str) -> Case {
    Case { id, title, rule, weight: Weight::Must, plan: Plan::Steps(Vec::new()) }
}

/// The field that says that we have `answer` already.
fn validator(answer: &Answer) -> Option<String> {
    let clean = |text: &&String| !text.contains(['\r', '\n']);
    match (&answer.etag, &answer.last_modified) {
        (Some(tag), _) => Some(tag).filter(clean).map(|tag| format!("If-None-Match: {tag}\r\n")),
        (None, Some(time)) => {
            Some(time).filter(clean).map(|time| format!("If-Modified-Since: {time}\r\n"))
        }
        (None, None) => None,
    }
}

fn lines(output: &[u8]) -> Result<(), Mismatch> {
    let wanted = "lines of UTF-8 of at most 8 KiB";
    let long = |line: &&[u8]| line.len() > limits::OUTPUT_LINE_BYTES;
    if let Some(line) = output.split(|byte| *byte == b'\n').find(long) {
        return Err(Mismatch::new(wanted, format!("a line of {} bytes", line.len())));
    }
    if output.contains(&0) || std::str::from_utf8(output).is_err() {
        return Err(Mismatch::new(wanted, "bytes that are no text"));
    }
    Ok(())
}

/// The end of what the server wrote, where that may say why.
fn tell_output(output: &[u8]) {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(limits::STDERR_LINE_COUNT);
    for line in lines.get(last..).unwrap_or_default() {
        eprintln!("    │ {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_looked_at() {
        assert_eq!(lines(b""), Ok(()));
        assert_eq!(lines("one\nzwölf".as_bytes()), Ok(()));
        assert!(lines(b"a\0b\n").is_err());
        assert!(lines(b"\xff\n").is_err());
        assert!(lines(&[b'x'; 9000]).is_err());
    }

    #[test]
    fn a_validator_is_made_of_what_the_answer_says() {
        let mut answer = Answer { last_modified: Some("then".to_owned()), ..Answer::default() };
        assert_eq!(validator(&answer).as_deref(), Some("If-Modified-Since: then\r\n"));
        answer.etag = Some("\"a\"".to_owned());
        assert_eq!(validator(&answer).as_deref(), Some("If-None-Match: \"a\"\r\n"));
        assert_eq!(validator(&Answer::default()), None);
    }
}
