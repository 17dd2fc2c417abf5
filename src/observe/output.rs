//! Lines that a worker wrote, each with the worker's name.

use super::text;
use crate::ids::{AppId, WorkerId};
use crate::time::UnixMillis;

/// Whose line it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Voice {
    app: AppId,
    worker: WorkerId,
    stream: Stream,
    /// `api[w3] `
    prefix: String,
}

/// Where a worker wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    /// To its standard error.
    Stderr,
    /// To its standard output.
    Stdout,
}

impl Voice {
    /// What `worker` of `app` writes to `stream`.
    pub fn new(app: AppId, worker: WorkerId, stream: Stream) -> Self {
        let prefix = format!("{app}[{worker}] ");
        Self { app, worker, stream, prefix }
    }

    /// Where it is written to.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Appends `line` for people: `api[w3] …` and the end of the line. The app's own bytes pass as
    /// they are, so that its colours do.
    pub fn write_human(&self, line: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }

    /// Appends `line` for programs: `{"t","app","worker","stream","line"}` and the end of the
    /// line.
    pub fn write_json(&self, line: &[u8], at: UnixMillis, out: &mut Vec<u8>) {
        let stream = match self.stream {
            Stream::Stderr => "stderr",
            Stream::Stdout => "stdout",
        };
        out.extend_from_slice(b"{\"t\":");
        text::push_json_time(out, at);
        out.extend_from_slice(b",\"app\":");
        text::push_json(out, self.app.as_str().as_bytes());
        let worker = self.worker.0;
        text::push(out, format_args!(",\"worker\":{worker},\"stream\":\"{stream}\",\"line\":"));
        text::push_json(out, line);
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_its_workers_name() {
        let voice = Voice::new(AppId::new("api"), WorkerId(3), Stream::Stderr);
        let mut out = Vec::new();
        voice.write_human(b"\x1b[31mred\xff", &mut out);
        assert_eq!(out, b"api[w3] \x1b[31mred\xff\n");
        out.clear();
        voice.write_json(b"say \"hi\"\x07", UnixMillis(1_773_489_600_123), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"t\":\"2026-03-14T12:00:00.123Z\",\"app\":\"api\",\"worker\":3,\
             \"stream\":\"stderr\",\"line\":\"say \\\"hi\\\"\\u0007\"}\n"
        );
    }
}
