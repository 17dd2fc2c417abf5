//! From a request's path to a path beneath a root.
//!
//! A file has one name here: what could be read in a second way is refused, and nothing is repaired.
//! The steps are those of routing, so that what was routed is what is served: dot segments are
//! resolved first, `%2e` counting as a dot, then every segment is percent-decoded, once. Names are
//! bytes. What is odd elsewhere, but an ordinary name on this system, is an ordinary name: trailing
//! dots and spaces, `;`, `:`, `~1`, bytes that are not UTF-8.

use crate::http1::target;
use crate::limits;

/// What stands in a request's path before the part that names a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mount {
    /// Decoded segments; `None` is any one that is not empty.
    segments: Vec<Option<Vec<u8>>>,
}

impl Mount {
    /// The mount of a route's path pattern: what stands before its final `/*`. Every other pattern
    /// names its one path, of which nothing is taken away.
    pub fn of_pattern(pattern: &str) -> Self {
        let before = pattern.strip_suffix("/*").unwrap_or_default();
        let before = before.strip_prefix('/').unwrap_or(before);
        if before.is_empty() {
            return Self::default();
        }
        let segment = |text: &str| {
            let mut decoded = Vec::with_capacity(text.len());
            match target::decode(text.as_bytes(), &mut decoded) {
                Ok(()) => decoded,
                // A sign that escapes nothing is taken for itself, as in routing.
                Err(_) => text.as_bytes().to_vec(),
            }
        };
        let segments = before.split('/').map(|text| (text != "*").then(|| segment(text)));
        Self { segments: segments.collect() }
    }
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It is not one that a file could have, and somebody made it so. Says why.
    BadRequest(&'static str),
    /// It could name a file, but none that is served.
    NotFound,
}

/// What a path asks for, beside its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// It ends in a slash: a directory is wanted, and a file of that name is not what was asked.
    pub wants_directory: bool,
}

/// Replaces `out` by the path beneath the root that `path` names: segments that are neither empty
/// nor `.` nor `..`, with single slashes between them; empty for the root itself. No segment is
/// longer than 255 bytes, and all of it no longer than 4095.
///
/// `path` is the target's as it was sent, without its query. Segments that begin with a dot are not
/// found unless `dotfiles`, but for `/.well-known` at the origin's own root (RFC 8615). After an
/// error `out` holds an unknown part.
pub fn resolve(
    path: &[u8],
    mount: &Mount,
    dotfiles: bool,
    out: &mut Vec<u8>,
) -> Result<Resolved, Refusal> {
    out.clear();
    check(path).map_err(Refusal::BadRequest)?;
    let mut normal = Vec::new();
    let path = if has_dot_after_slash(path) {
        target::normalize(path, &mut normal).map_err(Refusal::BadRequest)?;
        &normal
    } else {
        path
    };
    let mut segments = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/');
    for expected in &mount.segments {
        let segment = segments.next().ok_or(Refusal::NotFound)?;
        let is_same = match expected {
            Some(literal) => is_decoded(segment, literal),
            None => !segment.is_empty(),
        };
        if !is_same {
            return Err(Refusal::NotFound);
        }
    }
    let mut is_first_of_all = mount.segments.is_empty();
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            if segments.peek().is_none() {
                return Ok(Resolved { wants_directory: true });
            }
            // `/a//b` is not `/a/b`: routing does not take it for the same either.
            return Err(Refusal::NotFound);
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        let start = out.len();
        target::decode(segment, out).map_err(Refusal::BadRequest)?;
        let name = out.get(start..).unwrap_or_default();
        let is_hidden = name.first() == Some(&b'.');
        if name == b"." || name == b".." {
            return Err(Refusal::BadRequest("the path has a dot segment that was not resolved"));
        }
        if is_hidden && !dotfiles && !(is_first_of_all && name == b".well-known") {
            return Err(Refusal::NotFound);
        }
        if name.len() > limits::FILE_NAME_BYTES || out.len() > limits::FILE_PATH_BYTES {
            return Err(Refusal::NotFound);
        }
        is_first_of_all = false;
    }
    Ok(Resolved { wants_directory: false })
}

/// What no path of a file may contain, however it is encoded.
fn check(path: &[u8]) -> Result<(), &'static str> {
    if path.first() != Some(&b'/') {
        return Err("the path does not begin with a slash");
    }
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'\\' => return Err(BACKSLASH),
            0..b' ' | 0x7f => return Err("the path has a control character"),
            b'%' => match path.get(at + 1..at + 3) {
                Some(b"00") => return Err("the path contains %00"),
                Some(b"2f" | b"2F") => return Err("the path has an encoded slash"),
                Some(b"5c" | b"5C") => return Err(BACKSLASH),
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
                _ => return Err("the path has a broken percent escape"),
            },
            _ => {}
        }
    }
    Ok(())
}

const BACKSLASH: &str = "the path has a backslash";

/// Some segment may be a dot segment.
fn has_dot_after_slash(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"/.")
        || path.windows(4).any(|four| four.eq_ignore_ascii_case(b"/%2e"))
}

/// Whether `segment`, decoded, is `literal`.
fn is_decoded(segment: &[u8], literal: &[u8]) -> bool {
    if !segment.contains(&b'%') {
        return segment == literal;
    }
    let mut decoded = Vec::with_capacity(segment.len());
    target::decode(segment, &mut decoded).is_ok() && decoded == literal
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
