//! The access line: what one exchange was and how it went.

use super::text;
use crate::contract::reason::Reason;
use crate::ids::WorkerId;
use crate::time::UnixMillis;
use std::io::Write;
use std::time::Duration;

/// One exchange. Byte strings are as they were received; writing makes them harmless.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// When it ended.
    pub at: UnixMillis,
    /// Its id.
    pub request_id: &'a [u8],
    /// The client's address as text; may be empty.
    pub client_ip: &'a [u8],
    /// The authority it asked for; may be empty. A user in it is not written.
    pub host: &'a [u8],
    /// The app it was routed to; empty when none.
    pub app: &'a str,
    /// The worker that answered it.
    pub worker: Option<WorkerId>,
    /// The method; empty when there was no request line.
    pub method: &'a [u8],
    /// The target; only its path is written.
    pub path: &'a [u8],
    /// The status of the answer.
    pub status: u16,
    /// From the first byte of the request to the last of the answer.
    pub total: Duration,
    /// Of that, waiting for a worker; `None` when none was asked for.
    pub queued: Option<Duration>,
    /// Of that, held by a worker.
    pub served: Option<Duration>,
    /// The answer's `Content-Type`; may be empty.
    pub content_type: &'a [u8],
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// The app's `Rip-Mark`.
    pub mark: Option<&'a [u8]>,
    /// Why the edge itself answered or ended it.
    pub reason: Option<Reason>,
}

impl Access<'_> {
    /// Appends the line for people, end of line included. Allocates nothing but room in `out`.
    ///
    /// ```text
    /// 2026-03-14 12:00:00.123 +0000  4.4ms │ 200 json 1.2K │ GET /users/42 │ api w3 req-a8f3b2c1d4e5
    /// ```
    pub fn write_human(&self, out: &mut Vec<u8>) {
        text::push_human_time(out, self.at);
        out.push(b' ');
        push_duration(out, self.total);
        out.extend_from_slice(" │ ".as_bytes());
        text::push_number(out, u64::from(self.status));
        out.push(b' ');
        text::push_word(out, short_type(self.content_type));
        out.push(b' ');
        push_size(out, self.bytes_out);
        out.extend_from_slice(" │ ".as_bytes());
        text::push_word(out, cut(self.method, METHOD_BYTES));
        out.push(b' ');
        text::push_word(out, path_of(self.path));
        out.extend_from_slice(" │ ".as_bytes());
        text::push_word(out, self.app.as_bytes());
        match self.worker {
            Some(WorkerId(worker)) => {
                out.extend_from_slice(b" w");
                text::push_number(out, worker);
                out.push(b' ');
            }
            None => out.extend_from_slice(b" - "),
        }
        text::push_word(out, self.request_id);
        if let Some(reason) = self.reason {
            text::push(out, format_args!(" reason={}", reason.code()));
        }
        if let Some(mark) = self.mark {
            out.extend_from_slice(b" mark=");
            text::push_word(out, cut(mark, MARK_BYTES));
        }
        out.push(b'\n');
    }

    /// Appends the line for programs, end of line included. Allocates nothing but room in `out`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"t\":");
        text::push_json_time(out, self.at);
        push_text(out, ",\"id\":", self.request_id);
        push_text(out, ",\"ip\":", self.client_ip);
        push_text(out, ",\"host\":", cut(without_user(self.host), HOST_BYTES));
        push_text(out, ",\"app\":", self.app.as_bytes());
        out.extend_from_slice(b",\"worker\":");
        match self.worker {
            Some(WorkerId(worker)) => text::push_number(out, worker),
            None => out.extend_from_slice(b"null"),
        }
        push_text(out, ",\"method\":", cut(self.method, METHOD_BYTES));
        push_text(out, ",\"path\":", path_of(self.path));
        push_count(out, ",\"status\":", u64::from(self.status));
        push_seconds(out, ",\"totalSeconds\":", Some(self.total));
        push_seconds(out, ",\"queueSeconds\":", self.queued);
        push_seconds(out, ",\"workerSeconds\":", self.served);
        push_text(out, ",\"type\":", media_type(self.content_type));
        push_count(out, ",\"bytesIn\":", self.bytes_in);
        push_count(out, ",\"bytesOut\":", self.bytes_out);
        if let Some(reason) = self.reason {
            push_text(out, ",\"reason\":", reason.code().as_bytes());
        }
        if let Some(mark) = self.mark {
            push_text(out, ",\"mark\":", cut(mark, MARK_BYTES));
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Each `key` below is written as it is: `,"name":`.
fn push_text(out: &mut Vec<u8>, key: &str, bytes: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    match bytes {
        [] => out.extend_from_slice(b"null"),
        _ => text::push_json(out, bytes),
    }
}

fn push_count(out: &mut Vec<u8>, key: &str, count: u64) {
    out.extend_from_slice(key.as_bytes());
    text::push_number(out, count);
}

fn push_seconds(out: &mut Vec<u8>, key: &str, duration: Option<Duration>) {
    out.extend_from_slice(key.as_bytes());
    match duration {
        Some(duration) => {
            text::push_number(out, duration.as_secs());
            out.push(b'.');
            text::push_digits(out, u64::from(duration.subsec_micros()), 6);
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// Three digits and a unit, right-aligned so that columns of one log stand below each other.
fn push_duration(out: &mut Vec<u8>, duration: Duration) {
    let tenths = (duration.as_nanos() + 50_000) / 100_000;
    if tenths < 995 {
        // The usual case, in tenths of a millisecond and without a float.
        out.extend_from_slice(if tenths < 100 { b" " } else { b"" });
        text::push_number(out, tenths as u64 / 10);
        return out.extend_from_slice(&[b'.', b'0' + (tenths % 10) as u8, b'm', b's']);
    }
    let secs = duration.as_secs_f64();
    let mut text = [b' '; 24];
    let mut rest = &mut text[..];
    let _ = match secs {
        ..0.0995 => write!(rest, "{:.1}ms", secs * 1e3),
        ..0.9995 => write!(rest, "{:.0}ms", secs * 1e3),
        ..9.995 => write!(rest, "{secs:.2}s"),
        ..99.95 => write!(rest, "{secs:.1}s"),
        _ => write!(rest, "{secs:.0}s"),
    };
    let length = 24 - rest.len();
    out.extend(std::iter::repeat_n(b' ', DURATION_WIDTH.saturating_sub(length)));
    out.extend_from_slice(&text[..length]);
}

fn push_size(out: &mut Vec<u8>, bytes: u64) {
    if bytes < 1000 {
        text::push_number(out, bytes);
        return out.push(b'B');
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut units = "KMGTPE".chars();
    let mut unit = units.next();
    while scaled >= 999.5
        && let Some(larger) = units.next()
    {
        scaled /= 1024.0;
        unit = Some(larger);
    }
    let digits = usize::from(scaled < 9.95);
    text::push(out, format_args!("{scaled:.digits$}{}", unit.unwrap_or('E')));
}

/// The path of a target of any form (RFC 9112 §3.2): without the query, and where the target names a
/// host, without that and whoever it says asks.
pub fn path_of(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let target = &target[..end.unwrap_or(target.len())];
    if matches!(target, [] | [b'/' | b'*', ..]) {
        return target;
    }
    let Some(scheme) = target.windows(3).position(|three| three == b"://") else {
        // What is neither an authority may be anything.
        let authority = without_user(target);
        let port = authority.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        let is_one = port.len() < authority.len() && port.iter().all(u8::is_ascii_digit);
        return if is_one { authority } else { b"" };
    };
    let rest = &target[scheme + 3..];
    rest.iter().position(|byte| *byte == b'/').map_or(b"/", |slash| &rest[slash..])
}

/// An authority without its user and password.
pub fn without_user(authority: &[u8]) -> &[u8] {
    let at = authority.iter().rposition(|byte| *byte == b'@');
    &authority[at.map_or(0, |at| at + 1)..]
}

/// `text/html; charset=utf-8` is `text/html`.
fn media_type(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|byte| *byte == b';');
    let media_type = content_type[..end.unwrap_or(content_type.len())].trim_ascii();
    cut(media_type, MEDIA_TYPE_BYTES)
}

/// `application/problem+json` is `json`, `text/plain` is `text`.
fn short_type(content_type: &[u8]) -> &[u8] {
    let media_type = media_type(content_type);
    let subtype = media_type.rsplit(|byte| matches!(byte, b'/' | b'+')).next().unwrap_or_default();
    match subtype {
        b"plain" => b"text",
        b"javascript" => b"js",
        b"octet-stream" => b"binary",
        b"event-stream" => b"events",
        b"xml" if media_type.ends_with(b"/svg+xml") => b"svg",
        _ => cut(subtype.strip_prefix(b"x-").unwrap_or(subtype), SHORT_TYPE_BYTES),
    }
}

fn cut(bytes: &[u8], length: usize) -> &[u8] {
    &bytes[..bytes.len().min(length)]
}

/// As wide as `44.4ms`.
const DURATION_WIDTH: usize = 6;
const HOST_BYTES: usize = 255;
const MARK_BYTES: usize = 128;
const MEDIA_TYPE_BYTES: usize = 128;
const METHOD_BYTES: usize = 32;
const SHORT_TYPE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn access() -> Access<'static> {
        Access {
            at: UnixMillis(1_773_489_600_123),
            request_id: b"req-a8f3b2c1d4e5",
            client_ip: b"192.0.2.7",
            host: b"example.org",
            app: "api",
            worker: Some(WorkerId(3)),
            method: b"GET",
            path: b"/users/42?token=secret",
            status: 200,
            total: Duration::from_micros(4_400),
            queued: Some(Duration::ZERO),
            served: Some(Duration::from_micros(4_100)),
            content_type: b"application/json; charset=utf-8",
            bytes_in: 0,
            bytes_out: 1229,
            mark: None,
            reason: None,
        }
    }

    fn human(access: &Access<'_>) -> String {
        let mut out = Vec::new();
        access.write_human(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn json(access: &Access<'_>) -> (String, Value) {
        let mut out = Vec::new();
        access.write_json(&mut out);
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn the_human_line_is_as_documented() {
        assert_eq!(
            human(&access()),
            "2026-03-14 12:00:00.123 +0000  4.4ms │ 200 json 1.2K │ GET /users/42 │ api w3 \
             req-a8f3b2c1d4e5\n"
        );
    }

    #[test]
    fn the_json_line_is_as_documented() {
        let (text, _) = json(&Access { mark: Some(b"slow"), ..access() });
        assert_eq!(
            text,
            "{\"t\":\"2026-03-14T12:00:00.123Z\",\"id\":\"req-a8f3b2c1d4e5\",\
             \"ip\":\"192.0.2.7\",\"host\":\"example.org\",\"app\":\"api\",\"worker\":3,\
             \"method\":\"GET\",\"path\":\"/users/42\",\"status\":200,\"totalSeconds\":0.004400,\
             \"queueSeconds\":0.000000,\"workerSeconds\":0.004100,\"type\":\"application/json\",\
             \"bytesIn\":0,\"bytesOut\":1229,\"mark\":\"slow\"}\n"
        );
    }

    #[test]
    fn of_a_target_only_the_path_is_written() {
        for (target, path) in [
            ("/a/b?c=/d", "/a/b"),
            ("/a#f?q", "/a"),
            ("/?", "/"),
            ("*", "*"),
            ("http://a.test/p?q=1", "/p"),
            ("HTTPS://user:hunter2@a.test:1/p//q", "/p//q"),
            ("http://user:hunter2@a.test?x", "/"),
            ("user:hunter2@a.test:443", "a.test:443"),
            ("a.test:443", "a.test:443"),
            ("?hunter2", ""),
            ("hunter2", ""),
            ("a:hunter2", ""),
        ] {
            let shown = path_of(target.as_bytes());
            assert_eq!(String::from_utf8_lossy(shown), path, "{target}");
        }
        let (text, value) = json(&Access { host: b"user:hunter2@a.test:1", ..access() });
        assert_eq!(value["host"], "a.test:1");
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn what_the_edge_refused_says_why_and_leaves_the_rest_blank() {
        let refused = Access {
            host: b"",
            app: "",
            worker: None,
            method: b"",
            path: b"",
            status: 400,
            queued: None,
            served: None,
            content_type: b"",
            reason: Some(Reason::Malformed),
            ..access()
        };
        let line = human(&refused);
        assert!(line.contains("│ 400 - 1.2K │ - - │ - - req-a8f3b2c1d4e5 reason=malformed\n"));
        let (_, value) = json(&refused);
        assert_eq!(value["reason"], "malformed");
        for key in ["host", "app", "worker", "method", "path", "queueSeconds", "type"] {
            assert_eq!(value[key], Value::Null, "{key}");
        }
    }

    #[test]
    fn nothing_in_a_request_can_forge_a_line_or_a_column() {
        let nasty = "x\r\n2026 │ \"},{\u{1b}[2J\u{9b}\u{2028}".as_bytes();
        let evil = Access {
            request_id: nasty,
            client_ip: nasty,
            host: nasty,
            app: "a│\nb",
            method: nasty,
            path: nasty,
            content_type: nasty,
            mark: Some(nasty),
            ..access()
        };
        let line = human(&evil);
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(line.matches('│').count(), 3);
        assert!(!line.trim_end().chars().any(char::is_control));
        let (text, value) = json(&evil);
        assert!(!text.trim_end().chars().any(char::is_control));
        assert_eq!(
            value["method"].as_str().unwrap().as_bytes(),
            &nasty[..METHOD_BYTES.min(nasty.len())]
        );
    }

    #[test]
    fn writing_allocates_nothing() {
        let mut out = Vec::with_capacity(4096);
        let access = Access { mark: Some(b"a\xffb"), reason: Some(Reason::WorkerGone), ..access() };
        let allocated = allocation_counter::measure(|| {
            access.write_human(&mut out);
            access.write_json(&mut out);
        });
        assert_eq!(allocated.count_total, 0);
    }

    #[test]
    fn durations_have_one_width() {
        for (micros, expected) in [
            (0, " 0.0ms"),
            (940, " 0.9ms"),
            (44_400, "44.4ms"),
            (99_600, " 100ms"),
            (444_000, " 444ms"),
            (4_440_000, " 4.44s"),
            (44_400_000, " 44.4s"),
            (444_000_000, "  444s"),
        ] {
            let mut out = Vec::new();
            push_duration(&mut out, Duration::from_micros(micros));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        push_duration(&mut Vec::new(), Duration::MAX);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0K"),
            (10_240, "10K"),
            (1_048_576, "1.0M"),
            (5 << 30, "5.0G"),
            (u64::MAX, "16E"),
        ] {
            let mut out = Vec::new();
            push_size(&mut out, bytes);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn types_are_short() {
        for (content_type, expected) in [
            (&b"text/html; charset=utf-8"[..], &b"html"[..]),
            (b"application/problem+json", b"json"),
            (b"text/plain", b"text"),
            (b"image/svg+xml", b"svg"),
            (b"application/x-ndjson", b"ndjson"),
            (b"text/event-stream", b"events"),
            (b"nonsense", b"nonsense"),
            (b"", b""),
        ] {
            assert_eq!(short_type(content_type), expected);
        }
    }
}
