//! In which encoding a body is sent (RFC 9110 §12.5.3), for encoded siblings of files and for
//! compressing on the way alike.
//!
//! Whoever has a choice at all says `Vary: Accept-Encoding`, also with the answers in which the
//! choice fell on identity.

use super::lines::Lines;
use crate::http1::weight::{FULL, weight};
use crate::limits;

/// A content coding.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Encoding {
    /// Brotli (RFC 7932)
    Br,
    /// gzip (RFC 1952)
    Gzip,
    /// None.
    #[default]
    Identity,
    /// Zstandard (RFC 8878)
    Zstd,
}

impl Encoding {
    /// The encodings of a file's siblings, best first between equals: they were made once and with
    /// care, and the smallest is usually found in this order.
    pub const SIBLINGS: [Self; 3] = [Self::Br, Self::Zstd, Self::Gzip];
    /// What to compress with on the way, best first between equals: what costs least for its size.
    pub const DYNAMIC: [Self; 3] = [Self::Zstd, Self::Br, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
            Self::Zstd => "zstd",
        }
    }

    /// What is appended to a file's name; nothing for identity.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Br => ".br",
            Self::Gzip => ".gz",
            Self::Identity => "",
            Self::Zstd => ".zst",
        }
    }
}

/// What a client takes: weights in thousandths.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Accepted {
    br: Option<u32>,
    gzip: Option<u32>,
    identity: Option<u32>,
    zstd: Option<u32>,
    others: Option<u32>,
}

impl Accepted {
    /// Reads `Accept-Encoding`. Without the field nothing but identity is taken: everything is
    /// allowed then, and such clients are the ones that cannot decode anything. The first mention
    /// of an encoding counts.
    pub fn read(lines: &Lines<'_>) -> Self {
        let mut accepted = Self::default();
        for member in lines.members() {
            let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let slot = match () {
                () if is("br") => &mut accepted.br,
                () if is("gzip") || is("x-gzip") => &mut accepted.gzip,
                () if is("identity") => &mut accepted.identity,
                () if is("zstd") => &mut accepted.zstd,
                () if is("*") => &mut accepted.others,
                () => continue,
            };
            slot.get_or_insert(parts.find_map(weight).unwrap_or(FULL));
        }
        accepted
    }

    /// Which of the `available` encodings to send; they are listed best first, which decides between
    /// equal weights, and identity need not be among them. Identity loses against every encoding
    /// that is wanted as much. `None` when nothing is acceptable, identity included: RFC 9110
    /// §12.5.3 allows 406 then, or to send what there is.
    pub fn choose(&self, available: &[Encoding]) -> Option<Encoding> {
        let mut best = (0, None);
        for &encoding in available.iter().filter(|encoding| **encoding != Encoding::Identity) {
            let weight = self.mentioned(encoding).unwrap_or(0);
            if weight > best.0 {
                best = (weight, Some(encoding));
            }
        }
        // Identity that is not mentioned is acceptable, and wanted least.
        match self.mentioned(Encoding::Identity) {
            Some(0) => best.1,
            Some(identity) if identity > best.0 => Some(Encoding::Identity),
            _ => best.1.or(Some(Encoding::Identity)),
        }
    }

    fn mentioned(&self, encoding: Encoding) -> Option<u32> {
        let own = match encoding {
            Encoding::Br => self.br,
            Encoding::Gzip => self.gzip,
            Encoding::Identity => self.identity,
            Encoding::Zstd => self.zstd,
        };
        own.or(self.others)
    }
}

/// Whether bodies of this `Content-Type` become smaller by compressing: text, JSON, scripts, styles,
/// SVG, XML, WebAssembly. Not streams of events or of JSON lines: they would wait in the compressor.
pub fn is_compressible(content_type: &[u8]) -> bool {
    let media = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
    let ends = |suffix: &str| {
        let at = media.len().checked_sub(suffix.len());
        at.and_then(|at| media.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
    };
    let is_text = media.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"text/"));
    is_text && !is("text/event-stream")
        || ends("+json")
        || ends("+xml")
        || COMPRESSIBLE.iter().any(|name| is(name))
}

/// Whether a body of this type and length is worth compressing; `None` is a length that is not known,
/// and taken for a long one.
pub fn is_worth_compressing(content_type: &[u8], length: Option<u64>) -> bool {
    length.is_none_or(|length| length > limits::COMPRESS_BYTES) && is_compressible(content_type)
}

/// Beside `text/*` and the suffixes.
const COMPRESSIBLE: [&str; 9] = [
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "application/xml-dtd",
    "application/xml-external-parsed-entity",
];

/// Whether a `Cache-Control` forbids to change the body (RFC 9111 §5.2.2.6).
pub fn forbids_transform(cache_control: &Lines<'_>) -> bool {
    cache_control.members().any(|member| member.eq_ignore_ascii_case(b"no-transform"))
}

/// Whether an `Accept` names HTML. `*/*` does not: scripts, styles and `fetch` say that, and a page
/// in their place only hides that something is missing.
pub fn accepts_html(accept: &Lines<'_>) -> bool {
    let (mut html, mut any_text) = (None, None);
    for member in accept.members() {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
        let slot = match () {
            () if is("text/html") || is("application/xhtml+xml") => &mut html,
            () if is("text/*") => &mut any_text,
            () => continue,
        };
        let weight = parts.find_map(weight).unwrap_or(FULL);
        *slot = (*slot).max(Some(weight));
    }
    html.or(any_text).is_some_and(|weight| weight > 0)
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Br, Gzip, Identity, Zstd};
    use super::*;

    fn chosen(accept: &str, available: &[Encoding]) -> Option<Encoding> {
        Accepted::read(&Lines::one(accept.as_bytes())).choose(available)
    }

    #[test]
    fn weights_decide_and_then_the_order_of_what_there_is() {
        let all = &Encoding::SIBLINGS[..];
        for (accept, available, expected) in [
            ("gzip, deflate, br, zstd", all, Some(Br)),
            ("gzip, deflate, br, zstd", &Encoding::DYNAMIC, Some(Zstd)),
            ("gzip, deflate, br", &[Zstd, Gzip], Some(Gzip)),
            ("gzip, deflate, br", &[Zstd], Some(Identity)),
            ("gzip, deflate, br", &[], Some(Identity)),
            ("gzip;q=1.0, br;q=0.9", all, Some(Gzip)),
            ("gzip;q=0.8, br;q=0.801", all, Some(Br)),
            ("GZIP", all, Some(Gzip)),
            ("x-gzip", all, Some(Gzip)),
            ("gzip ; q=0.5 , zstd ; Q=0.6", all, Some(Zstd)),
            ("gzip;q=0", all, Some(Identity)),
            ("gzip;q=0.000", &[Gzip], Some(Identity)),
            ("gzip;q=x", &[Gzip], Some(Identity)),
            ("deflate, compress", all, Some(Identity)),
            ("", all, Some(Identity)),
            (",, ,", all, Some(Identity)),
            ("*", all, Some(Br)),
            ("*;q=0.5", &[Gzip], Some(Gzip)),
            ("br;q=0, *", all, Some(Zstd)),
            ("gzip, *;q=0", all, Some(Gzip)),
            ("gzip, *;q=0", &[Br], None),
            ("*;q=0", all, None),
            ("identity;q=0", all, None),
            ("identity;q=0, gzip", &[Gzip], Some(Gzip)),
            ("identity;q=0, gzip", &[Br], None),
            ("identity;q=0, *;q=0.1", &[Br], Some(Br)),
            ("identity, *;q=0", all, Some(Identity)),
            ("identity", all, Some(Identity)),
            ("identity;q=1, gzip;q=0.5", &[Gzip], Some(Identity)),
            ("identity;q=0.5, gzip;q=0.5", &[Gzip], Some(Gzip)),
            ("identity;q=0.5, gzip;q=1.0", &[Gzip], Some(Gzip)),
            ("gzip;q=0.1, *;q=0.5", &[Gzip], Some(Identity)),
            ("gzip;q=0.001", &[Gzip], Some(Gzip)),
            ("gzip;q=0, gzip;q=1", &[Gzip], Some(Identity)),
            ("gzip", &[Identity, Gzip], Some(Gzip)),
            ("gzip;level=1;q=0", &[Gzip], Some(Identity)),
        ] {
            assert_eq!(chosen(accept, available), expected, "{accept} of {available:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list_and_none_is_identity() {
        let mut lines = Lines::default();
        assert_eq!(Accepted::read(&lines).choose(&Encoding::SIBLINGS), Some(Identity));
        lines.push(b"deflate");
        lines.push(b"zstd");
        assert_eq!(Accepted::read(&lines).choose(&Encoding::SIBLINGS), Some(Zstd));
    }

    #[test]
    fn text_is_compressed_and_what_is_compressed_already_is_not() {
        for media in [
            "text/html; charset=utf-8",
            "TEXT/CSS",
            "text/plain ;charset=latin1",
            "application/json",
            "application/problem+json",
            "application/manifest+json",
            "application/javascript",
            "text/javascript",
            "image/svg+xml",
            "application/xml",
            "application/atom+xml; charset=utf-8",
            "application/wasm",
        ] {
            assert!(is_compressible(media.as_bytes()), "{media}");
        }
        for media in [
            "",
            "text",
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/x-ndjson",
            "application/octet-stream",
            "image/png",
            "font/woff2",
            "video/mp4",
            "application/zip",
            "multipart/form-data; boundary=text/html",
        ] {
            assert!(!is_compressible(media.as_bytes()), "{media}");
        }
    }

    #[test]
    fn short_bodies_are_not_worth_it() {
        let is_worth = |length| is_worth_compressing(b"text/css", length);
        assert!(is_worth(None) && is_worth(Some(1025)) && !is_worth(Some(1024)));
        assert!(!is_worth_compressing(b"image/png", Some(1 << 20)));
    }

    #[test]
    fn no_transform_is_found_among_directives() {
        assert!(forbids_transform(&Lines::one(b"public, No-Transform,max-age=1")));
        assert!(!forbids_transform(&Lines::one(b"public, max-age=1")));
        assert!(!forbids_transform(&Lines::default()));
    }

    #[test]
    fn only_who_names_html_gets_a_page() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("TEXT/HTML;q=0.1", true),
            ("application/xhtml+xml", true),
            ("text/*", true),
            ("text/html;level=1;q=0.4", true),
            ("*/*", false),
            ("", false),
            ("application/json, text/plain, */*", false),
            ("text/html;q=0, */*", false),
            ("text/html;q=0, text/*", false),
            ("image/avif,image/webp,*/*;q=0.8", false),
        ] {
            assert_eq!(accepts_html(&Lines::one(accept.as_bytes())), expected, "{accept}");
        }
        assert!(!accepts_html(&Lines::default()));
    }
}
