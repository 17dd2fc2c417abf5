//! Paths: what of a target is compared, and with what.

use crate::http1::target::{self, Target};
use std::cmp::Ordering;

/// Room for a path that is not compared as it was sent. One per loop.
#[derive(Debug, Default)]
pub struct PathRoom {
    resolved: Vec<u8>,
    decoded: Vec<u8>,
}

impl PathRoom {
    /// Room that allocates with its first use.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The path that rules are compared with: dot segments resolved, then percent-decoded once, with
/// `%2f` and `%5c` (in lower case) left as they are, because they are data of a segment. It is the
/// path as it was sent where nothing needs changing. `target` is one that was read from `buf`.
pub fn routing_path<'a>(target: &Target, buf: &'a [u8], room: &'a mut PathRoom) -> &'a [u8] {
    let path = target.path(buf);
    if target.has_dot_segments || path.contains(&b'%') {
        // A path that climbs or is badly escaped was refused when its head was read.
        resolve(path, room).unwrap_or(path)
    } else {
        path
    }
}

/// The path as it was sent, with its dot segments resolved: what goes on to others.
pub fn sent_path<'a>(target: &Target, buf: &'a [u8], room: &'a mut PathRoom) -> &'a [u8] {
    let path = target.path(buf);
    room.resolved.clear();
    if target.has_dot_segments && target::normalize(path, &mut room.resolved).is_ok() {
        &room.resolved
    } else {
        path
    }
}

/// As [`routing_path`] for a path that nobody has looked at yet, without its query. Fails on a broken escape, on
/// `%00`, and where it climbs over the root.
pub fn resolve<'a>(path: &[u8], room: &'a mut PathRoom) -> Result<&'a [u8], &'static str> {
    room.resolved.clear();
    room.decoded.clear();
    target::normalize(path, &mut room.resolved)?;
    decode(&room.resolved, &mut room.decoded)?;
    Ok(&room.decoded)
}

/// Decodes, and spells the escapes that remain in one way.
fn decode(path: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let start = out.len();
    target::decode(path, out)?;
    let mut rest = out.get_mut(start..).unwrap_or_default();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = rest.get_mut(at..).unwrap_or_default();
        if let [_, b'2', last @ b'F', ..] | [_, b'5', last @ b'C', ..] = rest {
            last.make_ascii_lowercase();
        }
        rest = rest.get_mut(1..).unwrap_or_default();
    }
    Ok(())
}

/// One segment of a pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Segment {
    /// These bytes, decoded; may be empty.
    Literal(Vec<u8>),
    /// `*`: any one segment that is not empty.
    Star,
}

/// A compiled path pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// Its segments, without the final `*` of a prefix. `/` is one empty segment.
    pub segments: Vec<Segment>,
    /// It ends in `/*`: it takes what is below, be it an empty segment, but not the same path
    /// without a final slash.
    pub is_prefix: bool,
}

impl Pattern {
    /// The pattern that is written `text`, as a path in a URL: `/caf%C3%A9` and `/café` are the same.
    pub fn new(text: &str) -> Self {
        let (text, is_prefix) = match text.strip_suffix("/*") {
            Some(before) => (before, true),
            None if text == "*" => ("", true),
            None => (text, false),
        };
        let rooted = text.strip_prefix('/').unwrap_or(text);
        let segments = match rooted {
            "" if is_prefix && text.is_empty() => Vec::new(),
            _ => rooted.split('/').map(segment).collect(),
        };
        Self { segments, is_prefix }
    }

    /// Whether it takes this [`routing_path`]. One segment after the other: the table is faster.
    pub fn takes(&self, path: &[u8]) -> bool {
        let mut rest = segments(path);
        for segment in &self.segments {
            let taken = match (segment, rest.next()) {
                (_, None) => false,
                (Segment::Literal(literal), Some(segment)) => literal == segment,
                (Segment::Star, Some(segment)) => !segment.is_empty(),
            };
            if !taken {
                return false;
            }
        }
        rest.next().is_some() == self.is_prefix
    }

    /// Of two patterns that take the same path, the more specific one is less.
    pub fn compare(&self, other: &Self) -> Ordering {
        let stars = |pattern: &Self| {
            pattern.segments.iter().map(|segment| *segment == Segment::Star).collect::<Vec<_>>()
        };
        self.is_prefix
            .cmp(&other.is_prefix)
            .then_with(|| other.segments.len().cmp(&self.segments.len()))
            .then_with(|| stars(self).cmp(&stars(other)))
    }
}

/// The segments of a path: what stands between its slashes. `/` has one, which is empty.
pub(super) fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/')
}

fn segment(text: &str) -> Segment {
    if text == "*" {
        return Segment::Star;
    }
    let mut literal = Vec::with_capacity(text.len());
    if decode(text.as_bytes(), &mut literal).is_err() {
        // A sign that escapes nothing is taken for itself.
        literal.clear();
        literal.extend_from_slice(text.as_bytes());
    }
    Segment::Literal(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{RequestHead, Span};
    use crate::http1::method::Method;
    use crate::http1::{Limits, Read, Server};

    fn routed(text: &str) -> String {
        let request = format!("GET {text} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut head = RequestHead::new();
        let read = Server::new().read(request.as_bytes(), &mut head, &Limits::default());
        assert!(matches!(read, Ok(Read::Head { .. })), "{text}: {read:?}");
        let mut room = PathRoom::new();
        let path = routing_path(head.path(), request.as_bytes(), &mut room);
        String::from_utf8_lossy(path).into_owned()
    }

    #[test]
    fn what_goes_on_to_others_is_only_resolved() {
        for (sent, passed) in [("/a/%2e%2e/b%2Fc?d", "/b%2Fc"), ("/%41?x", "/%41")] {
            let target = Target::read(sent.as_bytes(), Span::new(0, sent.len()), Method::Get);
            let mut room = PathRoom::new();
            let path = sent_path(&target.unwrap(), sent.as_bytes(), &mut room);
            assert_eq!(path, passed.as_bytes(), "{sent}");
        }
    }

    #[test]
    fn a_path_is_resolved_and_decoded_once() {
        for (sent, compared) in [
            ("/", "/"),
            ("/a/b?x=%41", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2e/%62", "/b"),
            ("/%61dmin", "/admin"),
            ("/a%2Fb", "/a%2fb"),
            ("/a%2fb%5C%5c", "/a%2fb%5c%5c"),
            ("/a%252Fb", "/a%2fb"),
            ("/%252e%252e/a", "/%2e%2e/a"),
            ("/caf%C3%A9", "/café"),
            ("//a//b", "//a//b"),
            ("/a..b", "/a..b"),
            ("http://other", "/"),
            ("http://other/x", "/x"),
        ] {
            assert_eq!(routed(sent), compared, "{sent}");
        }
        for bad in ["/..", "/%", "/%0", "/%00", "/a/../../b"] {
            assert!(resolve(bad.as_bytes(), &mut PathRoom::new()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_that_needs_no_change_is_not_copied() {
        let buf = b"GET /a/b.c/..d HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut head = RequestHead::new();
        Server::new().read(buf, &mut head, &Limits::default()).unwrap();
        let mut room = PathRoom::new();
        let path = routing_path(head.path(), buf, &mut room);
        assert!(std::ptr::eq(path, head.path().path(buf)));
        assert_eq!(room.resolved.capacity() + room.decoded.capacity(), 0);
    }

    #[test]
    fn patterns_take_what_they_say() {
        for (pattern, takes, leaves) in [
            ("/", &["/"][..], &["/a", "//"][..]),
            ("/*", &["/", "/a", "//", "/a/b", "*"], &[]),
            ("/a", &["/a"], &["/", "/a/", "/A", "/ab", "/a/b", "//a"]),
            ("/a/", &["/a/"], &["/a", "/a/b", "/a//"]),
            ("/a/*", &["/a/", "/a/b", "/a/b/c", "/a//"], &["/a", "/ab", "/", "/b/a/"]),
            ("/u/*/x", &["/u/1/x", "/u/*/x"], &["/u//x", "/u/x", "/u/1/2/x", "/u/1/x/"]),
            ("/*/x", &["/a/x"], &["//x", "/x", "/a/b/x"]),
            ("/*/*", &["/a/", "/a/b/c"], &["/a", "/", "//a"]),
            ("/*/", &["/a/"], &["/", "//", "/a"]),
            ("//*", &["//", "//a"], &["/", "/a"]),
            ("/caf%C3%A9%2Fx", &["/café%2fx"], &["/caf%C3%A9%2fx"]),
            ("/100%/%2a", &["/100%/*"], &["/100%/a"]),
        ] {
            let compiled = Pattern::new(pattern);
            for path in takes {
                assert!(compiled.takes(path.as_bytes()), "{pattern} {path}");
            }
            for path in leaves {
                assert!(!compiled.takes(path.as_bytes()), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn the_more_specific_pattern_is_less() {
        let order =
            ["/a/b/c", "/a/*/c", "/*/b/c", "/*/*/c", "/a/b/*", "/*/b/*", "/a/*", "/*/*", "/*"];
        for (at, left) in order.iter().enumerate() {
            for (other, right) in order.iter().enumerate() {
                let compared = Pattern::new(left).compare(&Pattern::new(right));
                assert_eq!(compared, at.cmp(&other), "{left} {right}");
            }
        }
        assert_eq!(Pattern::new("/a").compare(&Pattern::new("/b")), Ordering::Equal);
    }
}
