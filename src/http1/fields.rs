//! Which fields pass: from a client to a worker, and back.
//!
//! What is about one connection stays on it (RFC 9110 §7.6.1). What the edge asserts — who asked,
//! by which scheme, under which id — is taken from nobody but the edge. Names with `_` are left
//! out, because CGI and WSGI cannot tell them from names with `-`.

use super::changes::Changes;
use super::encode::{self, FieldWriter};
use super::handshake;
use super::head::{BodyLength, Field, RequestHead, ResponseHead, Span, Version};
use super::known::Known;
use crate::time::UnixMillis;

/// What the edge adds to a request on its way to a worker.
#[derive(Clone, Copy, Debug)]
pub struct ForwardRequest<'a> {
    /// `X-Request-Id`.
    pub request_id: &'a [u8],
    /// `X-Forwarded-For`: the address of who is at the other end of the connection.
    pub client_ip: &'a [u8],
    /// `X-Forwarded-Proto`: `http` or `https`.
    pub proto: &'static str,
    /// At the other end is a proxy that is trusted.
    pub proxied: Option<Proxied<'a>>,
    /// `X-Request-Start`: when the request's head was complete.
    pub received: UnixMillis,
    /// How the body is sent.
    pub body: BodyLength,
    /// A whole target to send in place of the client's. Without one the client's own is sent, in
    /// origin form and with its dot segments resolved.
    pub target: Option<&'a [u8]>,
    /// The connection is wanted again; otherwise `Connection: close` is sent.
    pub keep_alive: bool,
    /// Names with `_` pass.
    pub underscores: bool,
    /// What the operator changes.
    pub changes: Option<&'a dyn Changes>,
    /// It goes to a server that is not ours.
    pub upstream: Option<ToUpstream<'a>>,
}

/// What is said to a server that is not ours, and not to workers.
#[derive(Clone, Copy, Debug)]
pub struct ToUpstream<'a> {
    /// `Host`; `None` keeps the client's.
    pub host: Option<&'a [u8]>,
    /// What this server calls itself in `Via`.
    pub pseudonym: &'a [u8],
}

/// What a trusted proxy said of the client it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Proxied<'a> {
    /// `X-Forwarded-Host`: the host that the client asked; empty when it named none. In
    /// `X-Forwarded-For` what the proxy sent is kept, and its own address appended.
    pub host: &'a [u8],
    /// `Rip-Client`: the address of the client, found in that chain. A worker could not tell which of
    /// its elements the client made up itself.
    pub client_ip: &'a [u8],
}

/// Appends a whole request head for a worker, its final empty line included.
pub fn forward_request(
    head: &RequestHead,
    buf: &[u8],
    with: &ForwardRequest<'_>,
    out: &mut Vec<u8>,
) {
    forward_request_fields(head, buf, with, out);
    finish_request(with.body, with.keep_alive, out);
}

/// Appends the request head without what frames its body and without its final empty line: for a
/// body whose length is not known yet. [`finish_request`] completes it; of `with`, `body` and
/// `keep_alive` are not looked at.
pub fn forward_request_fields(
    head: &RequestHead,
    buf: &[u8],
    with: &ForwardRequest<'_>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(head.method(buf));
    out.push(b' ');
    match with.target {
        Some(target) => out.extend_from_slice(target),
        None => head.path().forward(buf, head.method_kind(), out),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    client_fields(head, buf, with, |_, _| true, out);
    forwarded_fields(head, buf, with, out);
    // What differs from request to request comes last: a worker knows the rest again.
    encode::line(b"X-Request-Id", with.request_id, out);
    out.extend_from_slice(b"X-Request-Start: t=");
    encode::decimal(with.received.0, out);
    out.extend_from_slice(b"\r\n");
    if let Some(upstream) = with.upstream {
        let version: &[u8] = if head.version() == Version::Http10 { b"1.0 " } else { b"1.1 " };
        out.extend_from_slice(b"Via: ");
        out.extend_from_slice(version);
        out.extend_from_slice(upstream.pseudonym);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(changes) = with.changes {
        changes.write(out);
    }
}

/// Appends the fields of a request that are true of its client as long as it is there, for the head
/// of each request that is made on its behalf (RFC 6455 §4.1): whole lines, without what is about
/// the handshake, the request's own body and its answer. Of `with`, neither what frames the request
/// nor its id and time are looked at.
pub fn lasting_fields(
    head: &RequestHead,
    buf: &[u8],
    with: &ForwardRequest<'_>,
    out: &mut Vec<u8>,
) {
    let is_lasting = |known, name: &[u8]| {
        !matches!(known, Known::AcceptEncoding | Known::ContentEncoding | Known::ContentType)
            && !handshake::is_of_handshake(name)
    };
    client_fields(head, buf, with, is_lasting, out);
    forwarded_fields(head, buf, with, out);
    if let Some(changes) = with.changes {
        changes.write(out);
    }
}

/// `Host`, and what the client itself sent and may pass.
fn client_fields(
    head: &RequestHead,
    buf: &[u8],
    with: &ForwardRequest<'_>,
    is_wanted: impl Fn(Known, &[u8]) -> bool,
    out: &mut Vec<u8>,
) {
    let host = with.upstream.and_then(|upstream| upstream.host);
    encode::line(b"Host", host.unwrap_or(head.authority(buf)), out);
    let mut lines = Lines { buf, run: Span::default() };
    for field in head.fields() {
        let name = field.name.of(buf);
        let passes = !field.nominated
            && passes_to_worker(field.known)
            && (!field.underscore || (with.underscores && passes_folded(name)));
        if passes
            && is_wanted(field.known, name)
            && !with.changes.is_some_and(|changes| changes.touch(name))
        {
            lines.pass(field, out);
        }
    }
    lines.finish(out);
}

/// Fields on their way from one head to another: those that stand behind one another as they are to be
/// written are copied together.
struct Lines<'b> {
    buf: &'b [u8],
    /// Whole lines that are to be copied.
    run: Span,
}

impl Lines<'_> {
    fn pass(&mut self, field: &Field, out: &mut Vec<u8>) {
        if field.neat {
            let line = field.line();
            if line.start == self.run.end {
                self.run.end = line.end;
            } else {
                out.extend_from_slice(self.run.of(self.buf));
                self.run = line;
            }
        } else {
            out.extend_from_slice(std::mem::take(&mut self.run).of(self.buf));
            encode::line(field.name.of(self.buf), field.value.of(self.buf), out);
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.run.of(self.buf));
    }
}

/// `X-Forwarded-For` and its companions.
fn forwarded_fields(head: &RequestHead, buf: &[u8], with: &ForwardRequest<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if with.proxied.is_some() {
        let chain = head.fields().iter().filter(|field| field.known == Known::XForwardedFor);
        for value in chain.map(|field| field.value.of(buf)).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(with.client_ip);
    out.extend_from_slice(b"\r\n");
    encode::line(b"X-Forwarded-Proto", with.proto.as_bytes(), out);
    let asked = with.proxied.map_or(head.authority(buf), |proxied| proxied.host);
    if !asked.is_empty() {
        encode::line(b"X-Forwarded-Host", asked, out);
    }
    if let (Some(proxied), None) = (with.proxied, with.upstream) {
        encode::line(b"Rip-Client", proxied.client_ip, out);
    }
}

/// Whether the request went through the server called `pseudonym` before (RFC 9110 §7.6.3).
pub fn has_passed(head: &RequestHead, buf: &[u8], pseudonym: &[u8]) -> bool {
    let received_by = |hop: &[u8]| {
        let mut words =
            hop.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym))
    };
    let mut vias = head.fields().iter().filter(|field| field.known == Known::Via);
    vias.any(|via| via.value.of(buf).split(|byte| *byte == b',').any(received_by))
}

/// Completes what [`forward_request_fields`] began.
pub fn finish_request(body: BodyLength, keep_alive: bool, out: &mut Vec<u8>) {
    match body {
        BodyLength::None => {}
        BodyLength::Length(length) => encode::number_line(b"Content-Length", length, out),
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    let close: &[u8] = if keep_alive { b"\r\n" } else { b"Connection: close\r\n\r\n" };
    out.extend_from_slice(close);
}

/// Adds the fields of a worker's answer that are for the client, changed as
/// [`FieldWriter::changed_by`] says. What frames the body and
/// `Connection` are [`super::Server::respond`]'s; `Date`, `Server` and `X-Request-Id` are the edge's
/// own and are to be added by the caller.
pub fn forward_response(head: &ResponseHead, buf: &[u8], out: &mut FieldWriter<'_>) {
    let mut lines = Lines { buf, run: Span::default() };
    for field in passing(head) {
        if !out.is_touched(field.name.of(buf)) {
            lines.pass(field, out.bytes());
        }
    }
    lines.finish(out.bytes());
}

/// The fields of a worker's answer that are for the client: names and values, in their order.
pub fn response_fields<'h>(
    head: &'h ResponseHead,
    buf: &'h [u8],
) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    passing(head).map(|field| (field.name.of(buf), field.value.of(buf)))
}

fn passing(head: &ResponseHead) -> impl Iterator<Item = &Field> {
    head.fields().iter().filter(|field| !field.nominated && passes_to_client(field.known))
}

/// What a worker tells the edge besides its answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signals {
    /// It did not take the request: give it to another (503 with `Rip-Worker-Busy: 1`).
    pub busy: bool,
    /// It wants to be retired; with `busy` or a 503 the request goes to another.
    pub draining: bool,
    /// No access line.
    pub no_log: bool,
    /// A word for the access line.
    pub mark: Option<Span>,
    /// Every piece of the body passes at once, never spooled: an event stream, newline-delimited
    /// JSON, or `X-Accel-Buffering: no`.
    pub unbuffered: bool,
}

/// Reads what the worker tells the edge out of its answer.
pub fn signals(head: &ResponseHead, buf: &[u8]) -> Signals {
    let is_one = |known| head.find(known).is_some_and(|value| value.of(buf) == b"1");
    Signals {
        busy: head.status() == 503 && is_one(Known::RipBusy),
        draining: is_one(Known::RipDraining),
        no_log: is_one(Known::RipNoLog),
        mark: head.find(Known::RipMark),
        unbuffered: is_stream(head, buf),
    }
}

fn is_stream(head: &ResponseHead, buf: &[u8]) -> bool {
    let value = |known| head.find(known).unwrap_or_default().of(buf);
    let media = value(Known::ContentType).split(|byte| *byte == b';').next().unwrap_or_default();
    let media = media.trim_ascii();
    media.eq_ignore_ascii_case(b"text/event-stream")
        || media.eq_ignore_ascii_case(b"application/x-ndjson")
        || value(Known::XAccelBuffering).eq_ignore_ascii_case(b"no")
}

/// Whether a name with `_` passes where such names do: not when an app that folds `_` and `-`
/// together would take it for a field that does not pass.
pub(super) fn passes_folded(name: &[u8]) -> bool {
    let mut folded = [0; LONGEST_KNOWN];
    // A longer name can only be an internal one, which its first bytes tell.
    let length = name.len().min(LONGEST_KNOWN);
    for (to, from) in folded.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    let known = Known::of(&folded[..length]);
    !known.is_internal() && (name.len() > LONGEST_KNOWN || passes_to_worker(known))
}

/// No name that [`Known`] tells apart is longer.
const LONGEST_KNOWN: usize = 19;

const fn passes_to_worker(known: Known) -> bool {
    !known.is_hop_by_hop()
        && !known.is_internal()
        && !matches!(
            known,
            Known::ContentLength
                | Known::Expect
                | Known::Host
                | Known::Proxy
                | Known::SecWebSocketFrame
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedProto
                | Known::XRequestId
                | Known::XRequestStart
        )
}

const fn passes_to_client(known: Known) -> bool {
    !known.is_hop_by_hop()
        && !known.is_internal()
        && !matches!(known, Known::ContentLength | Known::Date | Known::Server | Known::XRequestId)
}
