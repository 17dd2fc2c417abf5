//! `builtin:stream`: an answer that comes bit by bit.
//!
//! Server-sent events, each `data: N T` where N counts from 1 and T is when the worker wrote it, in
//! milliseconds since the epoch. In the query: `ms=N` between two of them (100), `count=N` (10; 0 is
//! without end), `type=ndjson` for lines `{"n":N,"t":T}`, `type=plain` for lines `N T`, `bytes=N`
//! for padding in each.

use super::own_name;
use crate::request::Request;
use crate::response::{Response, Writer};
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) fn answer(request: &mut Request<'_>) -> Response {
    let pause = Duration::from_millis(request.number("ms").unwrap_or(100));
    let count = match request.number("count").unwrap_or(10) {
        0 => u64::MAX,
        count => count,
    };
    let padding = usize::try_from(request.number("bytes").unwrap_or(0)).unwrap_or(0);
    let padding = "x".repeat(padding.min(1 << 20));
    let (content_type, form) = match request.parameter("type") {
        Some("ndjson") => ("application/x-ndjson", Form::Ndjson),
        Some("plain") => ("text/plain", Form::Plain),
        _ => ("text/event-stream", Form::Events),
    };
    Response::stream(content_type, move |out| {
        for number in 1..=count {
            if number > 1 {
                std::thread::sleep(pause);
            }
            form.write(out, number, &padding)?;
            out.flush()?;
        }
        Ok(())
    })
    .field("Worker", own_name())
}

enum Form {
    Events,
    Ndjson,
    Plain,
}

impl Form {
    fn write(&self, out: &mut Writer<'_>, number: u64, padding: &str) -> io::Result<()> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        match self {
            Self::Events => write!(out, "data: {number} {time}{padding}\n\n"),
            Self::Ndjson => writeln!(out, r#"{{"n":{number},"t":{time},"padding":"{padding}"}}"#),
            Self::Plain => writeln!(out, "{number} {time}{padding}"),
        }
    }
}
