//! The fields of a static answer.

use super::answer::{Answer, Representation};
use super::listing;
use super::negotiate::Encoding;
use super::range;
use crate::http1::FieldWriter;
use crate::http1::date::imf_fixdate;

/// The value of `Allow`: what files answer to.
pub const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Adds the fields of `answer`, all but those that frame the body and those that are on every answer.
/// `cache_control` is the route's. An answer whose body the caller makes has no `Content-Type` yet,
/// unless it is the page of a directory.
pub fn write(answer: &Answer, cache_control: Option<&str>, out: &mut FieldWriter<'_>) {
    let mut value = Vec::new();
    match answer {
        Answer::Whole(representation) => {
            out.field(b"Content-Type", representation.media_type.as_bytes());
            write_content(representation, out);
        }
        Answer::Compressed { plain, coding } => {
            out.field(b"Content-Type", plain.media_type.as_bytes());
            out.field(b"Content-Encoding", coding.token().as_bytes());
            write_validators(&plain.compressed(*coding), out);
        }
        Answer::Partial(representation, part) => {
            out.field(b"Content-Type", representation.media_type.as_bytes());
            range::content_range(*part, representation.size, &mut value);
            out.field(b"Content-Range", &value);
            write_content(representation, out);
        }
        Answer::Multi(representation, parts) => {
            parts.content_type(&mut value);
            out.field(b"Content-Type", &value);
            write_content(representation, out);
        }
        // RFC 9110 §15.4.5: what a 200 would have said, less what describes a body.
        Answer::NotModified(representation) => write_validators(representation, out),
        Answer::RangeNotSatisfiable { size } => {
            range::content_range_of_none(*size, &mut value);
            out.field(b"Content-Range", &value);
            out.field(b"Accept-Ranges", b"bytes");
        }
        Answer::RedirectToSlash { location } => out.field(b"Location", location),
        Answer::MethodNotAllowed | Answer::Options => out.field(b"Allow", ALLOW.as_bytes()),
        Answer::Listing => {
            out.field(b"Content-Type", listing::MEDIA_TYPE.as_bytes());
            out.field(b"Content-Security-Policy", listing::POLICY.as_bytes());
        }
        Answer::BadRequest(_) | Answer::NotFound | Answer::PreconditionFailed => {}
    }
    let is_found = matches!(answer.status(), 200 | 206 | 304);
    if let Some(directives) = cache_control.filter(|_| is_found) {
        out.field(b"Cache-Control", directives.as_bytes());
    }
}

fn write_content(representation: &Representation, out: &mut FieldWriter<'_>) {
    if representation.encoding != Encoding::Identity {
        out.field(b"Content-Encoding", representation.encoding.token().as_bytes());
    }
    out.field(b"Accept-Ranges", b"bytes");
    write_validators(representation, out);
}

fn write_validators(representation: &Representation, out: &mut FieldWriter<'_>) {
    out.field(b"ETag", representation.tag.as_bytes());
    out.field(b"Last-Modified", &imf_fixdate(representation.last_modified));
    if representation.varies_by_encoding && out.is_touched(b"Vary") {
        // Also where the operator sets the field: caches between would mix up the codings.
        out.asserted(b"Vary", b"Accept-Encoding");
    }
    match (representation.varies_by_encoding, representation.varies_by_accept) {
        (false, false) => {}
        (true, false) => out.field(b"Vary", b"Accept-Encoding"),
        (false, true) => out.field(b"Vary", b"Accept"),
        (true, true) => out.field(b"Vary", b"Accept, Accept-Encoding"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::conditional::{EntityTag, Modified};
    use crate::files::range::{ByteRange, Multipart};
    use crate::time::UnixMillis;

    fn written(answer: &Answer) -> String {
        let mut out = Vec::new();
        let mut fields = FieldWriter::new(&mut out);
        write(answer, Some("max-age=60"), &mut fields);
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    }

    fn representation(encoding: Encoding) -> Representation {
        let modified = Modified { secs: 784_111_777, nanos: 1 };
        let now = UnixMillis(1_790_000_000_000);
        Representation {
            encoding,
            size: 10,
            tag: EntityTag::new(modified, 10, encoding, now),
            last_modified: modified.last_modified(now),
            media_type: "text/css; charset=utf-8",
            varies_by_encoding: encoding != Encoding::Identity,
            varies_by_accept: false,
        }
    }

    #[test]
    fn content_says_what_it_is() {
        assert_eq!(
            written(&Answer::Whole(representation(Encoding::Br))),
            "Content-Type: text/css; charset=utf-8\nContent-Encoding: br\nAccept-Ranges: bytes\n\
             ETag: \"784111777000000001-10-br\"\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\n\
             Vary: Accept-Encoding\nCache-Control: max-age=60\n"
        );
        let (plain, coding) = (representation(Encoding::Identity), Encoding::Gzip);
        assert_eq!(
            written(&Answer::Compressed { plain, coding }),
            "Content-Type: text/css; charset=utf-8\nContent-Encoding: gzip\n\
             ETag: W/\"784111777000000001-10-gzip\"\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nCache-Control: max-age=60\n"
        );
        let part = ByteRange { first: 2, last: 5 };
        assert_eq!(
            written(&Answer::Partial(representation(Encoding::Identity), part)),
            "Content-Type: text/css; charset=utf-8\nContent-Range: bytes 2-5/10\n\
             Accept-Ranges: bytes\nETag: \"784111777000000001-10\"\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nCache-Control: max-age=60\n"
        );
    }

    #[test]
    fn several_parts_have_no_content_range_of_their_own() {
        let parts = Multipart::new(vec![ByteRange { first: 2, last: 5 }], 10, "text/css", [0, 0]);
        let text = written(&Answer::Multi(representation(Encoding::Identity), parts));
        assert!(
            text.starts_with("Content-Type: multipart/byteranges; boundary=rip-0000"),
            "{text}"
        );
        assert!(!text.contains("Content-Range"), "{text}");
    }

    #[test]
    fn not_modified_says_nothing_about_a_body() {
        let mut content = representation(Encoding::Gzip);
        content.varies_by_accept = true;
        assert_eq!(
            written(&Answer::NotModified(content)),
            "ETag: \"784111777000000001-10-gzip\"\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\nVary: Accept, Accept-Encoding\n\
             Cache-Control: max-age=60\n"
        );
    }

    #[test]
    fn refusals_say_what_would_help_and_are_not_cached() {
        for (answer, expected) in [
            (Answer::MethodNotAllowed, "Allow: GET, HEAD, OPTIONS\n"),
            (Answer::Options, "Allow: GET, HEAD, OPTIONS\n"),
            (
                Answer::RangeNotSatisfiable { size: 7 },
                "Content-Range: bytes */7\nAccept-Ranges: bytes\n",
            ),
            (Answer::RedirectToSlash { location: b"/a/?b".to_vec() }, "Location: /a/?b\n"),
            (Answer::NotFound, ""),
            (Answer::BadRequest("why"), ""),
            (Answer::PreconditionFailed, ""),
        ] {
            assert_eq!(written(&answer), expected);
        }
    }
}
