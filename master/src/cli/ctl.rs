//! The verbs that ask or order a running master.

use super::answer::{Apps, Refused, Status, Workers};
use super::args::{Ask, Stop, Version};
use super::client::{Reply, ask};
use super::exit::{Exit, Failure};
use super::listing;
use super::masters::{self, Master};
use super::plain;
use super::table::Paint;
use crate::sys::child::Child;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rip::time::UnixMillis;
use serde::de::DeserializeOwned;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

/// Apps and workers.
///
/// # Errors
/// No master, or one that does not answer.
pub fn list(flags: &Ask) -> Result<Exit, Failure> {
    let question = Question::new(flags)?;
    let workers = question.get("/workers")?;
    if flags.json {
        return say(&workers.body);
    }
    let apps: Apps = understood(&question.get("/apps")?)?;
    say(&listing::list(&apps, &understood(&workers)?, now(), Paint::for_stdout()))
}

/// Workers.
///
/// # Errors
/// As [`list`].
pub fn workers(flags: &Ask) -> Result<Exit, Failure> {
    let workers = Question::new(flags)?.get("/workers")?;
    if flags.json {
        return say(&workers.body);
    }
    let workers: Workers = understood(&workers)?;
    say(&listing::workers(&workers, now(), Paint::for_stdout()))
}

/// Whether the master is healthy: [`Exit::Failed`] when it is not.
///
/// # Errors
/// As [`list`].
pub fn status(flags: &Ask) -> Result<Exit, Failure> {
    let question = Question::new(flags)?;
    let reply = question.ask("GET", "/status", None)?;
    if flags.json {
        say(&reply.body)?;
    } else {
        let status: Status = understood(&reply)?;
        let apps: Apps = understood(&question.get("/apps")?)?;
        let Master { name, pid, .. } = &question.master;
        say(&listing::status(&status, &apps, name, *pid, Paint::for_stdout()))?;
    }
    Ok(if reply.status == 200 { Exit::Done } else { Exit::Failed })
}

/// Stops the master and returns when its process is gone, or only tells it to.
///
/// # Errors
/// No master, one that refuses, or one that is still there after `--timeout`.
pub fn stop(flags: &Stop) -> Result<Exit, Failure> {
    let master = masters::select(flags.name.as_deref())?;
    let deadline = Instant::now() + flags.timeout;
    let question = Question { master, deadline };
    let master = &question.master;
    // Held from before the order: this descriptor can never mean another process.
    let process = match Child::open(master.pid) {
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => None,
        other => Some(other.map_err(|error| {
            Failure::new(Exit::Failed, format!("pid {} cannot be watched: {error}", master.pid))
        })?),
    };
    if let Some(process) = process.filter(|_| master.is_alive()) {
        let body = if flags.now { r#"{"now":true}"# } else { "{}" };
        let reply = question.ask("POST", "/control/stop", Some(body))?;
        let reply = accepted(reply)?;
        if flags.no_wait {
            let begun = format!("{} is stopping (pid {})", master.name, master.pid);
            return say(if flags.json { &reply.body } else { &begun });
        }
        if !flags.json && std::io::stderr().is_terminal() {
            eprintln!("stopping {} (pid {}) …", master.name, master.pid);
        }
        wait_for_end(&process, deadline, master)?;
        if flags.json {
            return say(&reply.body);
        }
    }
    say(&format!("{} has stopped (pid {})\n", master.name, master.pid))
}

fn wait_for_end(process: &Child, deadline: Instant, master: &Master) -> Result<(), Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last turn does not spin.
        let left =
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left) {
            Ok(0) if Instant::now() >= deadline => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("{} (pid {}) is still stopping", master.name, master.pid),
                )
                .tip("wait longer with --timeout, or cut what is in flight with --now"));
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("pid {} cannot be watched: {errno}", master.pid),
                ));
            }
        }
    }
}

/// Name and version.
///
/// # Errors
/// None but a stdout that cannot be written.
pub fn version(flags: &Version) -> Result<Exit, Failure> {
    if flags.json {
        return say(concat!(r#"{"ok":true,"version":""#, env!("CARGO_PKG_VERSION"), r#""}"#));
    }
    say(concat!("rip-master ", env!("CARGO_PKG_VERSION")))
}

/// A master and how long it may take to answer.
pub(super) struct Question {
    master: Master,
    deadline: Instant,
}

impl Question {
    pub(super) fn new(flags: &Ask) -> Result<Self, Failure> {
        let master = masters::select(flags.name.as_deref())?;
        Ok(Self { master, deadline: Instant::now() + flags.timeout })
    }

    pub(super) fn ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&str>,
    ) -> Result<Reply, Failure> {
        ask(&self.master.control_socket(), method, target, body, self.deadline)
    }

    pub(super) fn get(&self, target: &str) -> Result<Reply, Failure> {
        accepted(self.ask("GET", target, None)?)
    }
}

/// Turns a refusal into a failure with the master's own words.
pub(super) fn accepted(reply: Reply) -> Result<Reply, Failure> {
    if (200..300).contains(&reply.status) {
        return Ok(reply);
    }
    let Ok(refused) = plain::read::<Refused>(&reply.body) else {
        return Err(Failure::new(
            Exit::Failed,
            format!("the master answered with status {}", reply.status),
        ));
    };
    let exit = if reply.status == 403 { Exit::Permission } else { Exit::Failed };
    let details = refused.details.into_iter().filter(|detail| *detail != refused.error);
    let lines = details.chain(refused.stderr).collect();
    let failure = Failure { lines, ..Failure::new(exit, refused.error) };
    Err(if refused.hint.is_empty() { failure } else { failure.tip(refused.hint) })
}

pub(super) fn understood<T: DeserializeOwned>(reply: &Reply) -> Result<T, Failure> {
    plain::read(&reply.body).map_err(|error| misunderstood(&error))
}

/// What a verb says to an answer that it cannot read.
pub(super) fn misunderstood(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the master's answer is not understood: {error}"))
        .tip("is it of another version? --json prints the answer as it is")
}

/// Prints to stdout; a reader that went away (`| head`) is no failure.
pub(super) fn say(text: &str) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match out.write_all(format!("{text}{newline}").as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(Exit::Done),
    }
}

pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_speak_in_the_masters_words() {
        let reply = |status, body: &str| Reply { status, body: body.to_owned() };
        assert!(accepted(reply(200, "{}")).is_ok());
        let failure = accepted(reply(403, r#"{"ok":false,"error":"not yours","hint":"be root"}"#))
            .unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Permission, "not yours"));
        assert_eq!(failure.tips, ["be root"]);
        let body = r#"{"error":"no","details":["no","never"],"stderr":["ImportError"]}"#;
        let failure = accepted(reply(409, body)).unwrap_err();
        assert_eq!(failure.to_string(), "error: no\n    │ never\n    │ ImportError\n");
        let failure = accepted(reply(500, "oops")).unwrap_err();
        assert_eq!(failure.message, "the master answered with status 500");
        let failure = understood::<Apps>(&reply(200, "[]{")).unwrap_err();
        assert!(failure.message.starts_with("the master's answer is not understood"));
    }
}
