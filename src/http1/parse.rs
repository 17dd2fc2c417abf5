//! Reading a head: httparse finds the parts, and everything it is lenient about is checked on top.
//! Heads of the usual shape are taken apart by [`super::plain`] in place of it.
//!
//! A head that is in the buffer as a whole is read in one pass. When it is not, later calls only
//! look for its end; the attempt is repeated when the end is there, when the start line is, and each
//! time the bytes have doubled, so that nonsense is found early. Both are O(n) in all, even byte by
//! byte. What is refused, and why, depends on the bytes alone and never on how they were cut.

use super::framing::{Framing, Unframed, is_token};
use super::head::{Field, Fields, RequestHead, ResponseHead, Span, Version};
use super::known::Known;
use super::method::Method;
use super::plain::{self, RequestLine};
use super::target::{Target, is_authority};
use crate::contract::reason::Reason;
use crate::limits;
use httparse::{Header, ParserConfig, Request, Response, Status};
use std::mem::MaybeUninit;

/// What a head and a body may have at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Request line and fields: 431 beyond.
    pub head_bytes: usize,
    /// Fields, at most [`limits::FORWARDED_FIELD_COUNT`]: 431 beyond.
    pub field_count: usize,
    /// The request target: 414 beyond.
    pub target_bytes: usize,
    /// The request body: 413 beyond.
    pub body_bytes: u64,
    /// HTTP/1.1 may come with an empty `Host`, which is what an HTTP/1.0 request without one is
    /// forwarded with.
    pub empty_host: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: limits::HEAD_BYTES,
            field_count: limits::HEAD_FIELD_COUNT,
            target_bytes: limits::TARGET_BYTES,
            body_bytes: limits::BODY_BYTES,
            empty_host: false,
        }
    }
}

/// Bytes that are not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed {
    /// The reason: its status is the answer.
    pub reason: Reason,
    /// What was wrong, for the log; a lower-case clause.
    pub detail: &'static str,
    /// It is not HTTP at all (a TLS greeting, binary bytes): close without an answer.
    pub silent: bool,
}

impl Malformed {
    /// A refusal that is answered.
    pub const fn new(reason: Reason, detail: &'static str) -> Self {
        Self { reason, detail, silent: false }
    }

    const fn bad(detail: &'static str) -> Self {
        Self::new(Reason::Malformed, detail)
    }

    /// The same fault, found in what a worker sent.
    pub(crate) const fn of_worker(self) -> Self {
        Self { reason: Reason::WorkerMalformed, ..self }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.detail)
    }
}

impl std::error::Error for Malformed {}

impl From<Unframed> for Malformed {
    fn from(unframed: Unframed) -> Self {
        match unframed {
            Unframed::Invalid(detail) => Self::bad(detail),
            Unframed::TooLarge => Self::new(Reason::BodyTooLarge, "Content-Length is too large"),
            Unframed::UnknownCoding => {
                Self::new(Reason::UnknownCoding, "a transfer coding is not known")
            }
        }
    }
}

/// How far a head that is not complete was looked at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Scan {
    /// Bytes in which there is no end of a head.
    seen: u32,
    /// Bytes there were at the last attempt.
    tried: u32,
    /// The start line was there as a whole at the last attempt.
    has_line: bool,
}

impl Scan {
    /// True when some byte of the head was seen.
    pub(crate) const fn has_begun(self) -> bool {
        self.seen > 0
    }

    /// Whether an attempt is worthwhile, now that there is this much of the head.
    fn is_due(&mut self, window: &[u8], limit: usize) -> bool {
        let (seen, tried) = (self.seen as usize, self.tried as usize);
        self.seen = window.len() as u32;
        let new = window.get(seen..).unwrap_or_default();
        tried == 0
            || window.len() >= tried.saturating_mul(2)
            || window.len() >= limit
            || (!self.has_line && new.contains(&b'\n'))
            || ends(window, seen.saturating_sub(2))
    }

    fn attempted(&mut self, window: &[u8]) {
        self.tried = window.len() as u32;
        self.has_line = window.contains(&b'\n');
    }
}

/// True when an empty line, in any spelling, ends a head somewhere behind `from`.
fn ends(window: &[u8], from: usize) -> bool {
    let tail = window.get(from..).unwrap_or_default();
    let mut lines = tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    lines.any(|(at, _)| matches!(&tail[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// Reads a request head from the start of `input` into `head`. Returns how many bytes it takes, or
/// nothing when it is not complete; then `scan` goes into the next call, with more input.
pub(crate) fn request(
    input: &[u8],
    scan: &mut Scan,
    head: &mut RequestHead,
    limits: &Limits,
) -> Result<Option<usize>, Malformed> {
    head.clear();
    let skipped = empty_lines(input)?;
    let limit = limits.head_bytes.min(u32::MAX as usize);
    let window = &input[skipped..input.len().min(skipped.saturating_add(limit))];
    if window.is_empty() || is_line_end_so_far(window) || !scan.is_due(window, limit) {
        return Ok(None);
    }
    let text = input.get(..skipped + window.len()).unwrap_or_default();
    match plain::request(text, skipped, limits.target_bytes, &mut head.fields) {
        Some((line, end)) => {
            begin_request(head, input, line);
            finish_request(head, input, limits)?;
            Ok(Some(end))
        }
        None => {
            head.fields.clear();
            any_request(input, skipped, window, scan, head, limits)
        }
    }
}

/// Reads a head of any shape; `window` is what of `input` may be one.
fn any_request(
    input: &[u8],
    skipped: usize,
    window: &[u8],
    scan: &mut Scan,
    head: &mut RequestHead,
    limits: &Limits,
) -> Result<Option<usize>, Malformed> {
    let mut room = [const { MaybeUninit::uninit() }; limits::FORWARDED_FIELD_COUNT];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(window, &mut room) {
        Ok(Status::Complete(length)) => {
            let places = Places { input, end: skipped + length };
            let line = RequestLine {
                method: places.span(request.method.unwrap_or_default().as_bytes()),
                target: places.span(request.path.unwrap_or_default().as_bytes()),
                version: version_of(request.version),
            };
            if line.target.len() > limits.target_bytes {
                return Err(TARGET_TOO_LONG);
            }
            begin_request(head, input, line);
            places.take_fields(request.headers, &mut head.fields)?;
            finish_request(head, input, limits)?;
            Ok(Some(skipped + length))
        }
        Ok(Status::Partial) => {
            scan.attempted(window);
            request_incomplete(window, limits)
        }
        Err(error) => match request_line(window, limits) {
            Line::Fault(fault) => Err(fault),
            Line::Incomplete => {
                scan.attempted(window);
                request_incomplete(window, limits)
            }
            Line::Sound => Err(in_fields(error)),
        },
    }
}

/// Reads a response head from the start of `input` into `head`, as [`request`] does; `to_head`: the
/// request was `HEAD`. Every fault is a worker's.
pub(crate) fn response(
    input: &[u8],
    scan: &mut Scan,
    head: &mut ResponseHead,
    to_head: bool,
) -> Result<Option<usize>, Malformed> {
    let window = &input[..input.len().min(limits::HEAD_BYTES)];
    if window.is_empty() || !scan.is_due(window, limits::HEAD_BYTES) {
        return Ok(None);
    }
    if matches!(window.first(), Some(b'\r' | b'\n')) {
        return Err(Malformed::bad("an empty line before the status line").of_worker());
    }
    head.clear();
    if let Some((line, end)) = plain::response(window, &mut head.fields) {
        (head.version, head.status) = (line.version, line.status);
        let places = Places { input, end };
        finish_response(head, &places, to_head).map_err(Malformed::of_worker)?;
        return Ok(Some(end));
    }
    head.fields.clear();
    any_response(input, window, scan, head, to_head)
}

/// Reads a head of any shape; `window` is what of `input` may be one.
fn any_response(
    input: &[u8],
    window: &[u8],
    scan: &mut Scan,
    head: &mut ResponseHead,
    to_head: bool,
) -> Result<Option<usize>, Malformed> {
    let mut room = [const { MaybeUninit::uninit() }; limits::FORWARDED_FIELD_COUNT];
    let mut response = Response::new(&mut []);
    let config = ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, window, &mut room) {
        Ok(Status::Complete(length)) => {
            let places = Places { input, end: length };
            head.version = version_of(response.version);
            head.status = response.code.unwrap_or_default();
            places
                .take_fields(response.headers, &mut head.fields)
                .and_then(|()| finish_response(head, &places, to_head))
                .map_err(Malformed::of_worker)?;
            Ok(Some(length))
        }
        Ok(Status::Partial) => {
            scan.attempted(window);
            if window.len() < limits::HEAD_BYTES {
                return Ok(None);
            }
            Err(Malformed::bad("the response head is too large").of_worker())
        }
        Err(_) => Err(Malformed::bad("the response head is not valid").of_worker()),
    }
}

/// The input and where the head in it ends.
struct Places<'b> {
    input: &'b [u8],
    end: usize,
}

impl Places<'_> {
    /// Where `part`, a piece of the input, stands.
    fn span(&self, part: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(self.input.as_ptr() as usize);
        Span::new(start, start.wrapping_add(part.len()))
    }

    /// Fails when the line that ends before `next` ends with a bare LF (RFC 9112 §2.2 lets a
    /// recipient take it for a line end; two that differ in this can be played off).
    fn check_line_end(&self, next: usize) -> Result<(), Malformed> {
        match next.checked_sub(2).and_then(|at| self.input.get(at)) {
            Some(b'\r') => Ok(()),
            _ => Err(Malformed::bad("a line ends with a bare LF")),
        }
    }

    /// Takes the fields over, each with what its name means.
    fn take_fields(&self, headers: &[Header<'_>], fields: &mut Fields) -> Result<(), Malformed> {
        for header in headers {
            self.check_line_end(self.span(header.name.as_bytes()).start as usize)?;
        }
        self.check_line_end(self.end.saturating_sub(2))?;
        self.check_line_end(self.end)?;
        for header in headers {
            let name = header.name.as_bytes();
            let known = Known::of(name);
            let underscore = known == Known::Other && name.contains(&b'_');
            let (name, value) = (self.span(name), self.span(header.value));
            let between = Span { start: name.end, end: value.start }.of(self.input);
            let behind = Span { start: value.end, end: value.end + 2 }.of(self.input);
            let neat = between == b": " && behind == b"\r\n";
            fields.push(Field { name, value, known, underscore, nominated: false, neat });
        }
        Ok(())
    }
}

/// What the request line says, be the rest what it may.
fn begin_request(head: &mut RequestHead, buf: &[u8], line: RequestLine) {
    head.method = line.method;
    head.method_kind = Method::of(line.method.of(buf));
    head.version = line.version;
    head.target.whole = line.target;
}

/// Judges a head whose line and fields are taken over.
fn finish_request(head: &mut RequestHead, buf: &[u8], limits: &Limits) -> Result<(), Malformed> {
    // Also of what is refused now: a refusal is worded for the client's `Accept`.
    head.complete = true;
    let mut framing = Framing::default();
    let mut expects = Ok(false);
    let mut has_host = false;
    for field in head.fields.list() {
        let value = || field.value.of(buf);
        match field.known {
            Known::ContentLength => framing.content_length(value())?,
            Known::TransferEncoding => framing.transfer_encoding(value())?,
            Known::Host if has_host => return Err(Malformed::bad("more than one Host")),
            Known::Host if !value().is_empty() && !is_authority(value()) => {
                return Err(Malformed::bad("Host is not a valid authority"));
            }
            Known::Host => has_host = true,
            Known::Expect if value().eq_ignore_ascii_case(b"100-continue") => {
                expects = expects.map(|_| true);
            }
            Known::Expect => {
                let detail = "an expectation is not known";
                expects = Err(Malformed::new(Reason::ExpectationFailed, detail));
            }
            _ => {}
        }
    }
    if head.fields.list().len() > limits.field_count {
        return Err(TOO_MANY_FIELDS);
    }
    head.body = framing.request(head.version)?;
    let nameless = match head.find(Known::Host) {
        Some(host) => host.is_empty() && !limits.empty_host,
        None => true,
    };
    if head.version == Version::Http11 && nameless {
        return Err(Malformed::bad("no Host in HTTP/1.1"));
    }
    head.target = Target::read(buf, head.target.whole, head.method_kind).map_err(Malformed::bad)?;
    head.keep_alive = connection(&mut head.fields, buf, head.version)?;
    if matches!(head.method_kind, Method::Connect | Method::Trace) {
        let detail = "the method is not allowed";
        return Err(Malformed::new(Reason::MethodNotAllowed, detail));
    }
    // RFC 9110 §10.1.1: an HTTP/1.0 client cannot know of it.
    head.expect_continue = expects? && head.version == Version::Http11;
    if framing.length().is_some_and(|length| length > limits.body_bytes) {
        return Err(Malformed::new(Reason::BodyTooLarge, "Content-Length exceeds the limit"));
    }
    Ok(())
}

/// Judges a head whose line and fields are taken over.
fn finish_response(
    head: &mut ResponseHead,
    places: &Places<'_>,
    to_head: bool,
) -> Result<(), Malformed> {
    let buf = places.input;
    let mut framing = Framing::default();
    for field in head.fields.list() {
        match field.known {
            Known::ContentLength => framing.content_length(field.value.of(buf))?,
            Known::TransferEncoding => framing.transfer_encoding(field.value.of(buf))?,
            _ => {}
        }
    }
    if head.status < 100 {
        return Err(Malformed::bad("the status is below 100"));
    }
    head.reason = reason_span(places, head.fields.list());
    head.content_length = framing.length();
    head.body = framing.response(head.version, head.status, to_head)?;
    head.keep_alive = connection(&mut head.fields, buf, head.version)?;
    Ok(())
}

/// The phrase after `HTTP/1.1 200 `, up to the CRLF before the first field.
fn reason_span(places: &Places<'_>, fields: &[Field]) -> Span {
    let start = "HTTP/1.1 200 ".len();
    let next =
        fields.first().map_or(places.end.saturating_sub(2), |field| field.name.start as usize);
    Span::new(start, next.saturating_sub(2).max(start))
}

/// Reads every `Connection`: marks the fields it names, and says whether the connection lives on
/// (RFC 9112 §9.3).
fn connection(fields: &mut Fields, buf: &[u8], version: Version) -> Result<bool, Malformed> {
    if fields.find(Known::Connection).is_none() {
        return Ok(version == Version::Http11);
    }
    let (mut close, mut keep_alive, mut count) = (false, false, 0);
    for position in 0..fields.list().len() {
        let Some(field) = fields.list().get(position) else { break };
        if field.known != Known::Connection {
            continue;
        }
        for option in field.value.of(buf).split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                keep_alive = true;
            } else if !option.is_empty() {
                // Each costs a look at every field.
                count += 1;
                if count > limits::HEAD_FIELD_COUNT {
                    return Err(Malformed::bad("too many options in Connection"));
                }
                fields.nominate(buf, option);
            }
        }
    }
    Ok(!close && (keep_alive || version == Version::Http11))
}

fn version_of(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

/// How many bytes of empty lines stand before the request line (RFC 9112 §2.2).
fn empty_lines(input: &[u8]) -> Result<usize, Malformed> {
    let mut rest = input;
    while let [b'\r', b'\n', after @ ..] = rest {
        rest = after;
        if (input.len() - rest.len()) / 2 > limits::LEADING_EMPTY_LINE_COUNT {
            return Err(Malformed::bad("too many empty lines before the request"));
        }
    }
    match rest {
        [b'\n', ..] | [b'\r', _, ..] => Err(Malformed::bad("a bare CR or LF before the request")),
        _ => Ok(input.len() - rest.len()),
    }
}

/// A lone CR: the LF that would make it an empty line may still come.
fn is_line_end_so_far(window: &[u8]) -> bool {
    window == b"\r"
}

/// What the request line is, as far as it is there.
enum Line {
    Fault(Malformed),
    Incomplete,
    Sound,
}

/// Finds the first fault of the request line. Only called when there is one somewhere, or when the
/// head is not complete: the common path never looks twice.
fn request_line(window: &[u8], limits: &Limits) -> Line {
    let Some(space) = window.iter().position(|byte| !is_token(*byte)) else {
        return Line::Incomplete;
    };
    if space == 0 {
        let first = window.first().copied().unwrap_or_default();
        let silent = !(b' '..0x7f).contains(&first);
        let detail = if silent { "this is not HTTP" } else { "the method is not a token" };
        return Line::Fault(Malformed { silent, ..Malformed::bad(detail) });
    }
    if window[space] != b' ' {
        return Line::Fault(Malformed::bad("the method is not a token"));
    }
    let after = &window[space + 1..];
    let end = after.iter().position(|byte| *byte <= b' ' || *byte == 0x7f);
    if end.unwrap_or(after.len()) > limits.target_bytes {
        return Line::Fault(TARGET_TOO_LONG);
    }
    let Some(end) = end else { return Line::Incomplete };
    let fault = match (end, after[end]) {
        (0, _) => Some("there is no target"),
        (_, b' ') => std::str::from_utf8(&after[..end]).err().map(|_| "the target is not text"),
        (_, b'\r' | b'\n') => Some("there is no version"),
        _ => Some("a control character in the target"),
    };
    match fault {
        Some(detail) => Line::Fault(Malformed::bad(detail)),
        None => version_fault(&after[end + 1..]),
    }
}

fn version_fault(after: &[u8]) -> Line {
    const LENGTH: usize = "HTTP/1.1".len();
    let end = after.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    match (after, end) {
        (_, None) if after.len() <= LENGTH => Line::Incomplete,
        ([b'H', b'T', b'T', b'P', b'/', major, b'.', minor, ..], Some(LENGTH)) => {
            match (major, minor) {
                (b'1', b'0' | b'1') => Line::Sound,
                (b'1'..=b'9', b'0'..=b'9') => {
                    let detail = "the version is not spoken here";
                    Line::Fault(Malformed::new(Reason::VersionUnsupported, detail))
                }
                _ => Line::Fault(Malformed::bad("the version is not valid")),
            }
        }
        _ => Line::Fault(Malformed::bad("the version is not valid")),
    }
}

fn request_incomplete(window: &[u8], limits: &Limits) -> Result<Option<usize>, Malformed> {
    if window.len() > limits.target_bytes
        && let Line::Fault(fault) = request_line(window, limits)
    {
        return Err(fault);
    }
    if window.len() >= limits.head_bytes {
        return Err(Malformed::new(Reason::HeadTooLarge, "the head is too large"));
    }
    Ok(None)
}

/// The fault behind a sound request line.
fn in_fields(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        httparse::Error::HeaderName => Malformed::bad("a field name is not valid"),
        httparse::Error::HeaderValue => Malformed::bad("a field value is not valid"),
        _ => Malformed::bad("a line does not end with CRLF"),
    }
}

const TARGET_TOO_LONG: Malformed = Malformed::new(Reason::TargetTooLong, "the target is too long");
const TOO_MANY_FIELDS: Malformed =
    Malformed::new(Reason::HeadTooLarge, "the head has too many fields");

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
