//! `ctl events`: what happened last, and with `--follow` what happens.

use super::args::Events;
use super::client::{self, Incoming, Reply};
use super::ctl::{accepted, misunderstood, say};
use super::exit::{Exit, Failure};
use super::masters;
use rip::observe::line;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io;
use std::time::{Duration, Instant};

/// Shows the events the master keeps, or those to come until it stops.
///
/// # Errors
/// No master, or one that does not answer; following: the connection was lost.
pub fn events(flags: &Events) -> Result<Exit, Failure> {
    let master = masters::select(flags.name.as_deref())?;
    let socket = master.control_socket();
    let until = flags.timeout.map(|timeout| Instant::now() + timeout);
    if flags.follow {
        let first = Instant::now() + flags.timeout.unwrap_or(ANSWER_TIMEOUT);
        let stream = client::follow(&socket, "/events", first)?;
        return follow(stream, until, flags.json);
    }
    let deadline = until.unwrap_or_else(|| Instant::now() + ANSWER_TIMEOUT);
    let reply = client::ask(&socket, "GET", "/events?follow=false", None, deadline)?;
    let reply = accepted(reply)?;
    // As they were written: [`line::retell`] keeps the order of their fields, and makes them harmless.
    let recent: Recent =
        serde_json::from_str(&reply.body).map_err(|error| misunderstood(&error))?;
    for event in recent.events {
        show(event.get(), flags.json)?;
    }
    Ok(Exit::Done)
}

fn follow(mut stream: Incoming, until: Option<Instant>, json: bool) -> Result<Exit, Failure> {
    let mut text = Frames::default();
    loop {
        match stream.next(until) {
            Ok(Some(piece)) if stream.status() == 200 => {
                for event in text.take(&piece) {
                    show(&event, json)?;
                }
            }
            Ok(Some(piece)) => {
                let body = String::from_utf8_lossy(&piece).into_owned();
                return accepted(Reply { status: stream.status(), body }).map(|_| Exit::Failed);
            }
            // The master has stopped, and said so.
            Ok(None) => return Ok(Exit::Done),
            Err(error) if is_late(&error) => return Ok(Exit::Done),
            Err(error) => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("the connection to the master was lost: {error}"),
                ));
            }
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn show(event: &str, json: bool) -> Result<Exit, Failure> {
    let mut out = Vec::new();
    if json || !line::retell(event.as_bytes(), &mut out) {
        out = event.as_bytes().to_vec();
    }
    say(&String::from_utf8_lossy(&out))
}

/// The bytes of an event stream on their way to becoming events.
#[derive(Debug, Default)]
struct Frames {
    text: Vec<u8>,
}

impl Frames {
    /// Takes more of the stream; what is complete by it.
    fn take(&mut self, piece: &[u8]) -> Vec<String> {
        self.text.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
            let frame: Vec<u8> = self.text.drain(..end + 2).collect();
            let frame = String::from_utf8_lossy(&frame);
            events.extend(
                frame.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned),
            );
        }
        events
    }
}

/// The answer when nothing is followed.
#[derive(Debug, Deserialize)]
struct Recent {
    #[serde(default)]
    events: Vec<Box<RawValue>>,
}

/// For the answer, or its beginning.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_byte_by_byte() {
        let stream =
            b": connected\n\nid: 1\nevent: a\ndata: {\"event\":\"a\"}\n\nid: 2\ndata: {}\n\n";
        let mut frames = Frames::default();
        let events: Vec<_> = stream.iter().flat_map(|byte| frames.take(&[*byte])).collect();
        assert_eq!(events, [r#"{"event":"a"}"#, "{}"]);
        assert_eq!(Frames::default().take(stream), events);
    }
}
