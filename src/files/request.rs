//! What a request for a file says, read from its head once.

use super::conditional::Conditions;
use super::lines::Lines;
use super::negotiate::{self, Accepted};
use crate::http1::head::Version;
use crate::http1::{Known, Method, RequestHead};

/// The facts of a request that a static answer depends on.
#[derive(Clone, Debug, Default)]
pub struct Request<'b> {
    /// Its method.
    pub method: Method,
    /// The path as it was sent, still encoded.
    pub path: &'b [u8],
    /// The query without its `?`; `None` without one.
    pub query: Option<&'b [u8]>,
    /// `Accept` names HTML.
    pub accepts_html: bool,
    /// `Accept-Encoding`
    pub accepted: Accepted,
    /// What it is answered with may be compressed on its way: the client knows chunks (HTTP/1.1), says
    /// what it takes, forbids nothing, and asks for no bytes or tag that only the plain file has.
    pub may_compress: bool,
    /// The preconditions.
    pub conditions: Conditions<'b>,
    /// `Range`
    pub range: Lines<'b>,
}

impl<'b> Request<'b> {
    /// Reads a head that is complete. `buf` is what it was read from.
    pub fn read(head: &RequestHead, buf: &'b [u8]) -> Self {
        let target = head.path();
        let mut request = Self {
            method: head.method_kind(),
            path: target.path(buf),
            query: target.has_query.then(|| target.query.of(buf)),
            ..Self::default()
        };
        let (mut accept, mut accept_encoding) = (Lines::default(), Lines::default());
        let mut cache_control = Lines::default();
        for field in head.fields() {
            let lines = match field.known {
                Known::Accept => &mut accept,
                Known::AcceptEncoding => &mut accept_encoding,
                Known::Other if field.name.of(buf).eq_ignore_ascii_case(b"cache-control") => {
                    &mut cache_control
                }
                Known::Other => match request.lines(field.name.of(buf)) {
                    Some(lines) => lines,
                    None => continue,
                },
                _ => continue,
            };
            lines.push(field.value.of(buf));
        }
        request.accepts_html = negotiate::accepts_html(&accept);
        request.accepted = Accepted::read(&accept_encoding);
        let conditions = &request.conditions;
        request.may_compress = accept_encoding.is_present()
            && head.version() != Version::Http10
            && !negotiate::forbids_transform(&cache_control)
            && !request.range.is_present()
            && !conditions.if_range.is_present()
            && !conditions.if_match.is_present();
        request
    }

    fn lines(&mut self, name: &[u8]) -> Option<&mut Lines<'b>> {
        let conditions = &mut self.conditions;
        let (known, lines) = match (name.len(), name.get(3).map(u8::to_ascii_lowercase)) {
            (5, _) => ("range", &mut self.range),
            (8, Some(b'm')) => ("if-match", &mut conditions.if_match),
            (8, _) => ("if-range", &mut conditions.if_range),
            (13, _) => ("if-none-match", &mut conditions.if_none_match),
            (17, _) => ("if-modified-since", &mut conditions.if_modified_since),
            (19, _) => ("if-unmodified-since", &mut conditions.if_unmodified_since),
            _ => return None,
        };
        name.eq_ignore_ascii_case(known.as_bytes()).then_some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Encoding;
    use crate::http1::{Limits, Server};

    fn read(text: &str) -> (RequestHead, Vec<u8>) {
        let buf = text.replace('\n', "\r\n").into_bytes();
        let mut head = RequestHead::new();
        let mut server = Server::new();
        let read = server.read(&buf, &mut head, &Limits::default());
        assert!(head.is_complete(), "{read:?}");
        (head, buf)
    }

    #[test]
    fn every_field_is_found_in_any_case_and_on_several_lines() {
        let (head, buf) = read(
            "HEAD /a%20b/../c?d=e HTTP/1.1\nHost: h\nACCEPT: text/html\nAccept-Encoding: deflate\n\
             accept-encoding: br\nIf-Match: \"a\"\nif-match: \"b\"\nIf-None-Match: *\n\
             If-Modified-Since: x\nif-UNmodified-since: y\nIf-Range: z\nRange: bytes=0-1\n\
             If-Watch: no\nRanges: no\n\n",
        );
        let request = Request::read(&head, &buf);
        assert_eq!(request.method, Method::Head);
        assert_eq!(request.path, b"/a%20b/../c");
        assert_eq!(request.query, Some(&b"d=e"[..]));
        assert!(request.accepts_html);
        assert_eq!(request.accepted.choose(&Encoding::SIBLINGS), Some(Encoding::Br));
        let conditions = &request.conditions;
        assert_eq!(conditions.if_match.iter().collect::<Vec<_>>(), [b"\"a\"", b"\"b\""]);
        assert_eq!(conditions.if_none_match.single(), Some(&b"*"[..]));
        assert_eq!(conditions.if_modified_since.single(), Some(&b"x"[..]));
        assert_eq!(conditions.if_unmodified_since.single(), Some(&b"y"[..]));
        assert_eq!(conditions.if_range.single(), Some(&b"z"[..]));
        assert_eq!(request.range.single(), Some(&b"bytes=0-1"[..]));
    }

    #[test]
    fn a_plain_request_says_nothing_more() {
        let (head, buf) = read("GET / HTTP/1.1\nHost: h\n\n");
        let request = Request::read(&head, &buf);
        assert_eq!((request.path, request.query), (&b"/"[..], None));
        assert!(!request.accepts_html && !request.range.is_present());
        assert!(!request.conditions.if_none_match.is_present());
    }
}
