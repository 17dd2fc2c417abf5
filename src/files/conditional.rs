//! Whether anything is sent: validators and preconditions (RFC 9110 §8.8, §13).
//!
//! ```text
//!  If-Match ──false──────────────────────────────▶ 412
//!     │ true, absent
//!  If-Unmodified-Since (without If-Match) ──false─▶ 412
//!     │ true, absent, no date
//!  If-None-Match ──false─────────────────────────▶ GET, HEAD: 304; else 412
//!     │ true, absent
//!  If-Modified-Since (without If-None-Match; GET, HEAD) ──false──▶ 304
//!     │ true, absent, no date
//!  If-Range ──false──▶ all of it   ──true, absent──▶ the ranges that are asked for
//! ```

use super::lines::Lines;
use super::negotiate::Encoding;
use crate::http1::{Method, date};
use crate::limits;
use crate::time::UnixMillis;
use std::fmt;
use std::io::Write;

/// When a file's content changed, as the file system says (`st_mtim`).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Modified {
    /// Whole seconds since the epoch, rounded down; negative before it.
    pub secs: i64,
    /// The rest, 0 to 999 999 999.
    pub nanos: u32,
}

impl Modified {
    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> i128 {
        self.secs as i128 * 1_000_000_000 + self.nanos as i128
    }

    /// Long enough ago that a change since then would show: a clock tick is far shorter, and so is
    /// the coarsest time stamp in use. A file from the future is never settled.
    pub const fn is_settled(self, now: UnixMillis) -> bool {
        now.0 as i128 * 1_000_000 - self.as_nanos() >= limits::FRESH_FILE_AGE.as_nanos() as i128
    }

    /// What `Last-Modified` says: never later than `now` (RFC 9110 §8.8.2.1), nor before the epoch.
    pub fn last_modified(self, now: UnixMillis) -> UnixMillis {
        let secs = u64::try_from(self.secs).unwrap_or(0);
        UnixMillis(secs.saturating_mul(1000)).min(now)
    }
}

/// An entity tag: `"mtime_ns-size"`, with `-` and the encoding of a representation that has one;
/// `W/` before it while the file is too young to be sure of.
#[derive(Clone, Copy)]
pub struct EntityTag {
    text: [u8; TAG_BYTES],
    length: u8,
    is_weak: bool,
}

/// The decimal digits of `number`: formatting would cost as much as the rest of an answer's head.
fn digits(mut number: u128, room: &mut [u8; NUMBER_BYTES]) -> &[u8] {
    let mut at = NUMBER_BYTES;
    // All but the times of other ages fit into a word, whose divisions are cheap.
    while number > u64::MAX.into() && at > 0 {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let mut number = number as u64;
    while at > 0 {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    &room[at..]
}

/// The digits of the largest number.
const NUMBER_BYTES: usize = 39;

/// `W/`, two quotes, 29 and 20 digits, a sign, two hyphens, and the longest encoding.
const TAG_BYTES: usize = 64;

impl EntityTag {
    /// The tag of a representation: of the file that is sent, be it an encoded sibling.
    pub fn new(modified: Modified, size: u64, encoding: Encoding, now: UnixMillis) -> Self {
        let mut text = [0; TAG_BYTES];
        let is_weak = !modified.is_settled(now);
        let (hyphen, encoding) = match encoding {
            Encoding::Identity => ("", ""),
            encoding => ("-", encoding.token()),
        };
        let (mut time, mut bytes) = ([0; NUMBER_BYTES], [0; NUMBER_BYTES]);
        let nanos = modified.as_nanos();
        let sign = if nanos < 0 { "-" } else { "" };
        let parts = [
            if is_weak { &b"W/\""[..] } else { b"\"" },
            sign.as_bytes(),
            digits(nanos.unsigned_abs(), &mut time),
            b"-",
            digits(size.into(), &mut bytes),
            hyphen.as_bytes(),
            encoding.as_bytes(),
            b"\"",
        ];
        let mut rest = &mut text[..];
        // It always fits; a tag that was cut off would match nothing.
        let _ = parts.into_iter().try_for_each(|part| rest.write_all(part));
        let length = TAG_BYTES - rest.len();
        Self { text, length: length as u8, is_weak }
    }

    /// The tag as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The tag of the same file when it is compressed on its way: weak, because nobody promises that
    /// an encoder makes the same bytes again, and with the encoding behind it.
    pub fn compressed(&self, encoding: Encoding) -> Self {
        let mut text = [0; TAG_BYTES];
        let mut rest = &mut text[..];
        let opaque = self.opaque().strip_suffix(b"\"").unwrap_or_default();
        let parts = [&b"W/"[..], opaque, b"-", encoding.token().as_bytes(), b"\""];
        // It always fits, as above.
        let _ = parts.into_iter().try_for_each(|part| rest.write_all(part));
        let length = TAG_BYTES - rest.len();
        Self { text, length: length as u8, is_weak: true }
    }

    /// It tells equivalent contents apart, not equal ones (RFC 9110 §8.8.1).
    pub const fn is_weak(&self) -> bool {
        self.is_weak
    }

    fn opaque(&self) -> &[u8] {
        self.as_bytes().strip_prefix(b"W/").unwrap_or(self.as_bytes())
    }

    /// RFC 9110 §8.8.3.2: both strong and the same.
    fn matches_strongly(&self, other: &Tag<'_>) -> bool {
        !self.is_weak && !other.is_weak && self.opaque() == other.opaque
    }

    /// RFC 9110 §8.8.3.2: the same, be they weak.
    fn matches_weakly(&self, other: &Tag<'_>) -> bool {
        self.opaque() == other.opaque
    }
}

impl PartialEq for EntityTag {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for EntityTag {}

impl fmt::Debug for EntityTag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Appends `tag` as a weak one: the body is about to be encoded, so that its bytes are no longer those
/// that a strong tag promises (RFC 9110 §8.8.1).
pub fn weaken(tag: &[u8], out: &mut Vec<u8>) {
    if !tag.starts_with(b"W/") {
        out.extend_from_slice(b"W/");
    }
    out.extend_from_slice(tag);
}

/// The preconditions of a request.
#[derive(Clone, Debug, Default)]
pub struct Conditions<'b> {
    /// `If-Match`
    pub if_match: Lines<'b>,
    /// `If-None-Match`
    pub if_none_match: Lines<'b>,
    /// `If-Modified-Since`
    pub if_modified_since: Lines<'b>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Lines<'b>,
    /// `If-Range`
    pub if_range: Lines<'b>,
}

/// What the preconditions come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The request is answered; `Range` counts only with `ranges`.
    Proceed {
        /// `If-Range` holds, or there is none.
        ranges: bool,
    },
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
}

/// Evaluates the preconditions of a request for an existing representation, in the order of RFC
/// 9110 §13.2.2. A date that is none is as if it were not there; a list of tags that is none has no
/// tag that matches.
pub fn evaluate(
    conditions: &Conditions<'_>,
    method: Method,
    tag: &EntityTag,
    modified: Modified,
    now: UnixMillis,
) -> Verdict {
    let reads = matches!(method, Method::Get | Method::Head);
    let moment = |lines: &Lines<'_>| date::parse(lines.single()?, now);
    if conditions.if_match.is_present() {
        if !any(&conditions.if_match, |other| tag.matches_strongly(other)) {
            return Verdict::PreconditionFailed;
        }
    } else if moment(&conditions.if_unmodified_since).is_some_and(|since| modified.secs > since) {
        return Verdict::PreconditionFailed;
    }
    if conditions.if_none_match.is_present() {
        if any(&conditions.if_none_match, |other| tag.matches_weakly(other)) {
            return if reads { Verdict::NotModified } else { Verdict::PreconditionFailed };
        }
    } else if reads
        && moment(&conditions.if_modified_since).is_some_and(|since| modified.secs <= since)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed { ranges: holds_range(&conditions.if_range, tag, modified, now) }
}

/// `If-Range` (RFC 9110 §13.1.5): a strong match, of the tag or of the exact date.
fn holds_range(lines: &Lines<'_>, tag: &EntityTag, modified: Modified, now: UnixMillis) -> bool {
    if !lines.is_present() {
        return true;
    }
    let Some(value) = lines.single() else { return false };
    if let Some(since) = date::parse(value, now) {
        // A date is a strong validator only for a file that no longer changes (§8.8.2.2).
        return !tag.is_weak() && since == modified.secs;
    }
    let mut tags = Tags(value);
    match (tags.next(), tags.next()) {
        (Some(other), None) => tag.matches_strongly(&other),
        _ => false,
    }
}

/// Whether a field of tags is `*`, or has one that matches.
fn any(lines: &Lines<'_>, matches: impl Fn(&Tag<'_>) -> bool) -> bool {
    lines.single().is_some_and(|value| value.trim_ascii() == b"*")
        || lines.iter().flat_map(Tags).any(|tag| matches(&tag))
}

/// A tag that a client sent.
struct Tag<'b> {
    is_weak: bool,
    /// With its quotes.
    opaque: &'b [u8],
}

/// The tags of a line: commas inside quotes are theirs. What is not a tag is skipped.
struct Tags<'b>(&'b [u8]);

impl<'b> Iterator for Tags<'b> {
    type Item = Tag<'b>;

    fn next(&mut self) -> Option<Tag<'b>> {
        loop {
            let text = skip(self.0, |byte| matches!(byte, b' ' | b'\t' | b','));
            if text.is_empty() {
                return None;
            }
            let (is_weak, quoted) = match text.strip_prefix(b"W/") {
                Some(quoted) => (true, quoted),
                None => (false, text),
            };
            let mut after = text;
            if quoted.first() == Some(&b'"') {
                let close = quoted.iter().skip(1).position(|byte| *byte == b'"')?;
                let (opaque, rest) = quoted.split_at_checked(close + 2)?;
                after = skip(rest, |byte| matches!(byte, b' ' | b'\t'));
                if matches!(after.first(), None | Some(b',')) {
                    self.0 = after;
                    return Some(Tag { is_weak, opaque });
                }
            }
            self.0 = skip(after, |byte| byte != b',');
        }
    }
}

fn skip(text: &[u8], skips: impl Fn(u8) -> bool) -> &[u8] {
    let at = text.iter().position(|byte| !skips(*byte)).unwrap_or(text.len());
    text.split_at_checked(at).map_or(&[], |(_, rest)| rest)
}

#[cfg(test)]
#[path = "conditional_tests.rs"]
mod tests;
