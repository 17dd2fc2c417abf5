//! Having an Edgefile read by a process of its own, see [`super::compiler`].

use super::compiler::{Task, whole_file};
use super::exit::{Exit, Failure};
use rip::contract::attempt::AttemptCode;
use rip::edgefile::job::{Formatted, Job, Report};
use rip::edgefile::{Diagnostic, Outcome};
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// What becomes of the file that `job` names. A reader that dies rejects it.
///
/// # Errors
/// The reader cannot be started.
pub fn compile(job: &Job) -> Result<Outcome, Failure> {
    let rejected = |why| Outcome { diagnostics: vec![why], ..Outcome::default() };
    Ok(match ask::<Report>(Task::Compile, job)? {
        Ok(report) => report.outcome.unwrap_or_else(|| rejected(crashed("did not answer"))),
        Err(why) => rejected(why),
    })
}

/// The file that `job` names as it should look.
///
/// # Errors
/// The reader cannot be started.
pub fn format(job: &Job) -> Result<Formatted, Failure> {
    let answer = ask(Task::Format, job)?;
    Ok(answer.unwrap_or_else(|why| Formatted { text: None, diagnostics: vec![why] }))
}

fn ask<T: DeserializeOwned>(task: Task, job: &Job) -> Result<Result<T, Diagnostic>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("the Edgefile's reader cannot be started: {error}"))
    };
    let job = serde_json::to_vec(job).map_err(|error| failed(&error))?;
    let mut child = Command::new("/proc/self/exe")
        .arg(task.argument())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let answer = talk(input, output, job, DEADLINE);
    Ok(finish(child, answer).and_then(|text| {
        serde_json::from_slice(&text)
            .map_err(|_| crashed("did not give an answer that makes sense"))
    }))
}

/// What came of waiting for an answer.
enum Heard {
    /// All there is.
    Answer(Vec<u8>),
    /// More than any answer is.
    TooMuch,
    /// Nothing in time.
    Nothing,
}

fn talk(
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    job: Vec<u8>,
    deadline: Duration,
) -> Heard {
    let (told, heard) = channel();
    std::thread::spawn(move || {
        // One that does not listen has died, which its end will tell.
        if let Some(mut input) = input {
            let _ = input.write_all(&job);
        }
        let mut text = Vec::new();
        if let Some(output) = output {
            let _ = output.take(ANSWER_BYTES + 1).read_to_end(&mut text);
        }
        // Nobody waits any more when it is late.
        let _ = told.send(text);
    });
    match heard.recv_timeout(deadline) {
        Ok(text) if text.len() as u64 > ANSWER_BYTES => Heard::TooMuch,
        Ok(text) => Heard::Answer(text),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Heard::Nothing,
    }
}

/// Ends the reader, whatever it does, and judges it by how it ended.
fn finish(mut child: Child, heard: Heard) -> Result<Vec<u8>, Diagnostic> {
    let text = match heard {
        Heard::Answer(text) => Ok(text),
        Heard::TooMuch => Err(crashed("did not stop answering")),
        Heard::Nothing => Err(crashed(&format!("took longer than {} s", DEADLINE.as_secs()))),
    };
    if text.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait();
    let text = text?;
    match status {
        Ok(status) if status.success() => Ok(text),
        Ok(status) => Err(crashed(&end_of(status))),
        Err(error) => Err(crashed(&format!("cannot be waited for: {error}"))),
    }
}

fn end_of(status: ExitStatus) -> String {
    match status.signal() {
        Some(libc::SIGXCPU) => "needed more processor time than it may".to_owned(),
        Some(libc::SIGKILL) => "was killed: it needed too much time or memory".to_owned(),
        Some(libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS) => {
            "ran out of stack or memory".to_owned()
        }
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("failed with exit code {}", status.code().unwrap_or_default()),
    }
}

fn crashed(how: &str) -> Diagnostic {
    whole_file(
        AttemptCode::ParserCrashed,
        format!("the process that reads the file {how}"),
        Some("is it nested very deeply, or not an Edgefile at all?".to_owned()),
    )
}

/// More than the largest file can become.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, deadline: Duration) -> Result<Vec<u8>, String> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let heard = talk(input, output, b"{}".to_vec(), deadline);
        finish(child, heard).map_err(|why| {
            assert_eq!(why.code, AttemptCode::ParserCrashed);
            why.message
        })
    }

    #[test]
    fn a_reader_is_judged_by_its_end() {
        let long = Duration::from_secs(60);
        assert_eq!(run("cat", long), Ok(b"{}".to_vec()));
        for (script, said) in [
            ("kill -SEGV $$", "ran out of stack or memory"),
            ("cat; kill -ABRT $$", "ran out of stack or memory"),
            ("kill -XCPU $$", "needed more processor time than it may"),
            ("kill -TERM $$", "was ended by signal 15"),
            ("echo '{}'; exit 3", "failed with exit code 3"),
            ("cat /dev/zero", "did not stop answering"),
        ] {
            let message = run(script, long).unwrap_err();
            assert_eq!(message, format!("the process that reads the file {said}"), "{script}");
        }
    }

    #[test]
    fn a_reader_that_does_not_end_is_ended() {
        let message = run("exec sleep 600", Duration::from_millis(50)).unwrap_err();
        assert_eq!(message, "the process that reads the file took longer than 10 s");
    }
}
