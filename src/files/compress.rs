//! Whether an answer is compressed on its way, and what that does to its head (RFC 9110 §8.4,
//! §12.5.3).
//!
//! A compressed answer is another representation: its length is not known before it is made, a
//! strong entity tag no longer tells the truth, ranges and digests of the plain bytes are void.
//! `Vary` is said to those who got it plain as well, or a cache would hand it on to those who
//! cannot read it.

use super::conditional::weaken;
use super::lines::Lines;
use super::negotiate::{Accepted, Encoding, forbids_transform, is_compressible};
use crate::contract::route::Compress;
use crate::http1::FieldWriter;
use crate::http1::changes::Changes;
use crate::http1::fields;
use crate::http1::head::{RequestHead, ResponseHead, Version};
use crate::http1::known::Known;
use crate::limits;

/// What a request and its route say about compressing the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// What the client wants; [`Encoding::Identity`] when it cannot have anything else.
    pub coding: Encoding,
    /// Event streams are compressed as well.
    pub streams: bool,
}

impl Wish {
    /// Reads the request. `None` where the route compresses nothing. A client of HTTP/1.0 gets
    /// nothing compressed: it does not know chunks, and would lose its connection. Nor does one that
    /// says `no-transform` (RFC 9111 §5.2.1.6).
    pub fn of(compress: Compress, head: &RequestHead, buf: &[u8]) -> Option<Self> {
        if !compress.enabled {
            return None;
        }
        let streams = compress.streams;
        let has_choice =
            head.find(Known::AcceptEncoding).is_some() && head.version() != Version::Http10;
        if !has_choice {
            return Some(Self { coding: Encoding::Identity, streams });
        }
        let (mut accept, mut cache_control) = (Lines::default(), Lines::default());
        for field in head.fields() {
            if field.known == Known::AcceptEncoding {
                accept.push(field.value.of(buf));
            } else if is_cache_control(field.known, field.name.of(buf)) {
                cache_control.push(field.value.of(buf));
            }
        }
        let coding = match forbids_transform(&cache_control) {
            true => Encoding::Identity,
            false => Accepted::read(&accept).choose(&Encoding::DYNAMIC).unwrap_or_default(),
        };
        Some(Self { coding, streams })
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Plan {
    /// It passes as it is: nobody gets it compressed.
    #[default]
    Untouched,
    /// It passes as it is, but another client would get it compressed.
    Plain,
    /// It is compressed.
    Coded(Encoding),
    /// It is compressed if it turns out to be longer than [`limits::COMPRESS_BYTES`].
    Undecided(Encoding),
    /// 304 for what was compressed when it was sent.
    NotModified,
}

/// Decides about an answer. `unbuffered` is [`fields::Signals::unbuffered`]; `if_none_match` the
/// request's field, looked at for a 304 only.
pub fn plan<'r>(
    wish: &Wish,
    head: &ResponseHead,
    buf: &[u8],
    unbuffered: bool,
    to_head: bool,
    changes: Option<&dyn Changes>,
    if_none_match: impl FnOnce() -> &'r [u8],
) -> Plan {
    let status = head.status();
    if status == 304 {
        return not_modified(head, buf, if_none_match());
    }
    let length = head.content_length();
    let is_short = length.is_some_and(|length| length <= limits::COMPRESS_BYTES);
    if is_short || status < 200 || matches!(status, 204..=206) || (unbuffered && !wish.streams) {
        return Plan::Untouched;
    }
    let media = head.find(Known::ContentType).unwrap_or_default().of(buf);
    let is_eligible = is_compressible(media) || (wish.streams && is_stream(media));
    let is_encoded = head.find(Known::ContentEncoding).is_some()
        || changes.is_some_and(|changes| changes.touch(b"Content-Encoding"));
    if !is_eligible || is_encoded || must_not_change(head, buf, changes) {
        return Plan::Untouched;
    }
    match wish.coding {
        Encoding::Identity => Plan::Plain,
        coding if length.is_none() && !unbuffered && !to_head => Plan::Undecided(coding),
        coding => Plan::Coded(coding),
    }
}

/// A 304 says what the 200 would have said (RFC 9110 §15.4.5). That the client has a weak form of a
/// strong tag shows that it was weakened here.
fn not_modified(head: &ResponseHead, buf: &[u8], if_none_match: &[u8]) -> Plan {
    let mut weak = Vec::new();
    let was_weakened = passing(head, buf).any(|(name, tag)| {
        if !name.eq_ignore_ascii_case(b"etag") || tag.len() < 2 || tag.starts_with(b"W/") {
            return false;
        }
        weak.clear();
        weaken(tag, &mut weak);
        if_none_match.windows(weak.len()).any(|part| part == weak)
    });
    if was_weakened { Plan::NotModified } else { Plan::Untouched }
}

/// Whether the answer is part of something, or somebody forbids to change it.
fn must_not_change(head: &ResponseHead, buf: &[u8], changes: Option<&dyn Changes>) -> bool {
    let mut cache_control = Lines::default();
    for (name, value) in passing(head, buf) {
        if name.eq_ignore_ascii_case(b"cache-control") {
            cache_control.push(value);
        } else if name.eq_ignore_ascii_case(b"content-range") {
            return true;
        }
    }
    // The operator's word replaces the app's.
    match changes.filter(|changes| changes.touch(b"Cache-Control")) {
        None => forbids_transform(&cache_control),
        Some(changes) => sets_no_transform(changes),
    }
}

/// Whether the operator's changes forbid to compress what has no coding and no `Cache-Control` of its
/// own.
pub fn is_forbidden_by(changes: &dyn Changes) -> bool {
    changes.touch(b"Content-Encoding")
        || (changes.touch(b"Cache-Control") && sets_no_transform(changes))
}

fn sets_no_transform(changes: &dyn Changes) -> bool {
    let mut lines = Vec::new();
    changes.write(&mut lines);
    lines.split(|byte| *byte == b'\n').any(|line| {
        line.split_at_checked(b"Cache-Control:".len()).is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case(b"Cache-Control:") && forbids_transform(&Lines::one(value))
        })
    })
}

/// Streams that [`is_compressible`] leaves out.
fn is_stream(content_type: &[u8]) -> bool {
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media.eq_ignore_ascii_case(b"text/event-stream")
        || media.eq_ignore_ascii_case(b"application/x-ndjson")
}

/// Adds the fields of an answer that are for the client, as [`fields::forward_response`] does,
/// changed as `plan` says. [`Plan::Undecided`] is written as [`Plan::Plain`].
pub fn forward_response(head: &ResponseHead, buf: &[u8], plan: Plan, out: &mut FieldWriter<'_>) {
    let (coding, weakens) = match plan {
        Plan::Untouched => return fields::forward_response(head, buf, out),
        Plan::Plain | Plan::Undecided(_) => (Encoding::Identity, false),
        Plan::Coded(coding) => (coding, true),
        Plan::NotModified => (Encoding::Identity, true),
    };
    let is_coded = coding != Encoding::Identity;
    let mut varies = passing(head, buf)
        .any(|(name, value)| name.eq_ignore_ascii_case(b"vary") && covers_encoding(value));
    let may_merge = !out.is_touched(b"Vary");
    let mut merged = Vec::new();
    for (name, value) in passing(head, buf) {
        if weakens && name.eq_ignore_ascii_case(b"etag") {
            merged.clear();
            weaken(value, &mut merged);
            out.parsed(name, &merged);
        } else if !varies && may_merge && name.eq_ignore_ascii_case(b"vary") && !value.is_empty() {
            merged.clear();
            merged.extend_from_slice(value);
            merged.extend_from_slice(b", Accept-Encoding");
            out.parsed(name, &merged);
            varies = true;
        } else if !(is_coded && is_about_plain_bytes(name)) {
            out.parsed(name, value);
        }
    }
    if is_coded {
        out.asserted(b"Content-Encoding", coding.token().as_bytes());
    }
    if !(varies && may_merge) {
        // Also where the operator sets the field: caches between would mix up the codings.
        out.asserted(b"Vary", b"Accept-Encoding");
    }
}

/// Whether a `Vary` says that the answer depends on `Accept-Encoding`.
fn covers_encoding(vary: &[u8]) -> bool {
    let mut names = vary.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// Fields that are void for a body that was encoded on its way: ranges cannot be asked for, and
/// digests are those of other bytes (RFC 9110 §14.3, RFC 9530).
fn is_about_plain_bytes(name: &[u8]) -> bool {
    ["accept-ranges", "content-digest", "content-md5", "digest", "repr-digest"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_cache_control(known: Known, name: &[u8]) -> bool {
    known == Known::Other && name.eq_ignore_ascii_case(b"cache-control")
}

fn passing<'h>(
    head: &'h ResponseHead,
    buf: &'h [u8],
) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    fields::response_fields(head, buf)
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
