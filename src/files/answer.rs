//! What a request for a file comes to.
//!
//! ```text
//!  begin ── not GET or HEAD ─▶ 204, 405      ── no path of a file ─▶ 400, 404
//!    │ /name                                   │ /name/
//!  Named ── file ─────▶ content              Index ── file ─────▶ content
//!    │  └── directory ▶ 308 to /name/          │ else
//!    │                                       Folder (browse) ── directory ─▶ listing
//!    │ missing                                 │ else
//!    └──────────────────┬──────────────────────┘
//!                Fallback (spa, and HTML is accepted) ── file ─▶ content
//!                       │ else
//!                      404
//!
//!  content: preconditions ─▶ 304, 412     Range ─▶ 206, 416     else 200
//! ```
//!
//! In every state there is one path to look at. The caller opens it beneath the root — which is what
//! keeps links from leading out of it — and says what it found; it does so until there is an answer:
//!
//! ```text
//!  next = search.begin(request, options)
//!  while next is Look { next = search.found(look at search.path(), request, options, …) }
//! ```
//!
//! Whoever has to wait for a disk keeps the [`Search`] and what the request was read from.

use super::conditional::{self, EntityTag, Modified, Verdict};
use super::media;
use super::negotiate::{self, Encoding};
use super::range::{self, ByteRange, Multipart, Selection};
use super::request::Request;
use super::resolve::{self, Mount, Refusal};
use crate::entropy::Entropy;
use crate::http1::{Method, target};
use crate::time::UnixMillis;

/// What a route says about its files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// What of the path does not belong to the file.
    pub mount: Mount,
    /// What is sent for a directory: a name in it; empty for nothing.
    pub index: String,
    /// What is sent to who accepts HTML when there is no file: a path beneath the root.
    pub spa: Option<String>,
    /// Directories without an index are listed.
    pub browse: bool,
    /// Names that begin with a dot are served.
    pub dotfiles: bool,
    /// `Cache-Control` of what is found.
    pub cache_control: Option<String>,
    /// Files without encoded siblings are compressed on their way.
    pub compress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mount: Mount::default(),
            index: "index.html".to_owned(),
            spa: None,
            browse: false,
            dotfiles: false,
            cache_control: None,
            compress: false,
        }
    }
}

/// Size and time of a regular file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Meta {
    /// In bytes.
    pub size: u64,
    /// When it changed.
    pub modified: Modified,
}

/// A regular file and its encoded siblings: files beside it whose names are longer by
/// [`Encoding::extension`]. All that exist, whatever the client takes: one that it does not take is
/// why others get another answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct File {
    /// The file itself.
    pub own: Meta,
    /// `.br`
    pub br: Option<Meta>,
    /// `.gz`
    pub gzip: Option<Meta>,
    /// `.zst`
    pub zstd: Option<Meta>,
}

impl File {
    /// The sibling in this encoding; none that is older than the file itself, and was forgotten when
    /// the file changed. Two seconds are allowed for whoever copies the two in the other order.
    fn sibling(&self, encoding: Encoding) -> Option<Meta> {
        let sibling = match encoding {
            Encoding::Br => self.br,
            Encoding::Gzip => self.gzip,
            Encoding::Zstd => self.zstd,
            Encoding::Identity => None,
        };
        let lag = |meta: &Meta| self.own.modified.as_nanos() - meta.modified.as_nanos();
        sibling.filter(|meta| lag(meta) <= SIBLING_LAG_NANOS)
    }
}

const SIBLING_LAG_NANOS: i128 = 2_000_000_000;

/// What is at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// A directory.
    Directory,
    /// A regular file that can be read.
    File(File),
    /// Nothing that is served: no such name, a name that is too long, a part of the path that is no
    /// directory, a link out of the root, no permission, a device, a pipe, a socket.
    Missing,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Look at [`Search::path`], and say what is there.
    Look,
    /// That is it.
    Answer(Answer),
}

/// How a request is answered. `HEAD` gets the same answers as `GET`, without bodies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// 400; says why.
    BadRequest(&'static str),
    /// 200 with all of it, compressed on its way; who cannot do that now sends [`Answer::Whole`].
    Compressed {
        /// What is compressed.
        plain: Representation,
        /// With what.
        coding: Encoding,
    },
    /// 200 with the page of the directory at [`Search::path`], which was just found.
    Listing,
    /// 405
    MethodNotAllowed,
    /// 206 with several parts.
    Multi(Representation, Multipart),
    /// 404
    NotFound,
    /// 304
    NotModified(Representation),
    /// 204 to `OPTIONS`
    Options,
    /// 206 with one part.
    Partial(Representation, ByteRange),
    /// 412
    PreconditionFailed,
    /// 416
    RangeNotSatisfiable {
        /// The size that the client did not expect.
        size: u64,
    },
    /// 308 to the same path with a slash.
    RedirectToSlash {
        /// `Location`: an absolute path, and the query.
        location: Vec<u8>,
    },
    /// 200 with all of it.
    Whole(Representation),
}

impl Answer {
    /// The status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Compressed { .. } | Self::Listing | Self::Whole(_) => 200,
            Self::Options => 204,
            Self::Multi(..) | Self::Partial(..) => 206,
            Self::NotModified(_) => 304,
            Self::RedirectToSlash { .. } => 308,
            Self::BadRequest(_) => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::PreconditionFailed => 412,
            Self::RangeNotSatisfiable { .. } => 416,
        }
    }

    /// The length of the body that comes from the file, framing of parts included; to `HEAD` what
    /// would have come. `None` where none does, and whoever answers makes what body there is, and
    /// where it is not known before it is compressed.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(representation) => Some(representation.size),
            Self::Partial(_, range) => Some(range.length()),
            Self::Multi(_, parts) => Some(parts.length()),
            _ => None,
        }
    }
}

/// What is sent of a file: itself, or one of its siblings, at [`Search::path`] with
/// [`Encoding::extension`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Representation {
    /// How it is encoded.
    pub encoding: Encoding,
    /// In bytes, as it is encoded.
    pub size: u64,
    /// `ETag`
    pub tag: EntityTag,
    /// `Last-Modified`
    pub last_modified: UnixMillis,
    /// `Content-Type`, of the file that was asked for.
    pub media_type: &'static str,
    /// `Vary`: there are siblings, and other clients may get one.
    pub varies_by_encoding: bool,
    /// `Vary`: it stands in for what does not exist, for who accepts HTML.
    pub varies_by_accept: bool,
}

impl Representation {
    /// The same, compressed on its way. Its size is still that of the file.
    pub fn compressed(&self, coding: Encoding) -> Self {
        Self { encoding: coding, tag: self.tag.compressed(coding), ..*self }
    }
}

/// The way from a request to its answer.
#[derive(Clone, Debug)]
pub struct Search {
    path: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// At what was asked for, without a slash at its end.
    Named,
    /// At the index of a directory, the path of which has this length.
    Index { directory: usize },
    /// At the directory itself.
    Folder,
    /// At the page that stands in for what does not exist.
    Fallback,
}

impl Search {
    /// A search that has not begun. `buffer` is used for the path; [`Search::into_buffer`] gives it
    /// back.
    pub fn new(buffer: Vec<u8>) -> Self {
        Self { path: buffer, state: State::Named }
    }

    /// Begins: either there is something to look at, or an answer already.
    pub fn begin(&mut self, request: &Request<'_>, options: &Options) -> Next {
        self.state = State::Named;
        let resolved =
            resolve::resolve(request.path, &options.mount, options.dotfiles, &mut self.path);
        if let Err(Refusal::BadRequest(why)) = resolved {
            return Next::Answer(Answer::BadRequest(why));
        }
        // Whether there is such a file is nothing that these need to know.
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => return Next::Answer(Answer::Options),
            _ => return Next::Answer(Answer::MethodNotAllowed),
        }
        match resolved {
            Ok(resolved) if resolved.wants_directory => self.enter(request, options),
            Ok(_) => Next::Look,
            Err(_) => Next::Answer(Answer::NotFound),
        }
    }

    /// The path to look at, beneath the root: never with a slash at its beginning, never with `..`.
    /// Empty for the root itself.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The buffer it began with.
    pub fn into_buffer(self) -> Vec<u8> {
        self.path
    }

    /// Says what is at [`Search::path`]. After an answer the search is over; when something is sent, it is
    /// what the path still names. `request` and `options` are those it began with.
    pub fn found(
        &mut self,
        found: Found,
        request: &Request<'_>,
        options: &Options,
        now: UnixMillis,
        chance: &mut dyn Entropy,
    ) -> Next {
        match (self.state, found) {
            (_, Found::File(file)) if self.state != State::Folder => {
                Next::Answer(self.content(&file, request, options, now, chance))
            }
            (State::Named, Found::Directory) => {
                Next::Answer(Answer::RedirectToSlash { location: with_slash(request) })
            }
            (State::Index { directory }, _) => {
                self.path.truncate(directory);
                self.enter_without_index(request, options)
            }
            (State::Folder, Found::Directory) => Next::Answer(Answer::Listing),
            (State::Fallback, _) => Next::Answer(Answer::NotFound),
            (State::Named | State::Folder, _) => self.fall_back(request, options),
        }
    }

    /// The directory at the path is wanted.
    fn enter(&mut self, request: &Request<'_>, options: &Options) -> Next {
        if options.index.is_empty() {
            return self.enter_without_index(request, options);
        }
        self.state = State::Index { directory: self.path.len() };
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(options.index.as_bytes());
        Next::Look
    }

    fn enter_without_index(&mut self, request: &Request<'_>, options: &Options) -> Next {
        if options.browse {
            self.state = State::Folder;
            Next::Look
        } else {
            self.fall_back(request, options)
        }
    }

    fn fall_back(&mut self, request: &Request<'_>, options: &Options) -> Next {
        match &options.spa {
            Some(page) if request.accepts_html => {
                self.state = State::Fallback;
                self.path.clear();
                self.path.extend_from_slice(page.trim_start_matches('/').as_bytes());
                Next::Look
            }
            _ => Next::Answer(Answer::NotFound),
        }
    }

    /// The file at the path is what is answered with.
    fn content(
        &self,
        file: &File,
        request: &Request<'_>,
        options: &Options,
        now: UnixMillis,
        chance: &mut dyn Entropy,
    ) -> Answer {
        let mut available = [Encoding::Identity; Encoding::SIBLINGS.len()];
        let siblings = Encoding::SIBLINGS.into_iter().filter(|kind| file.sibling(*kind).is_some());
        available.iter_mut().zip(siblings).for_each(|(slot, sibling)| *slot = sibling);
        // Who takes nothing of what there is gets the plain file rather than no answer.
        let encoding = request.accepted.choose(&available).unwrap_or_default();
        let meta = file.sibling(encoding).unwrap_or(file.own);
        let media_type = media::of(&self.path);
        let is_compressed_for_some = options.compress
            && negotiate::is_worth_compressing(media_type.as_bytes(), Some(file.own.size));
        let representation = Representation {
            encoding,
            size: meta.size,
            tag: EntityTag::new(meta.modified, meta.size, encoding, now),
            last_modified: meta.modified.last_modified(now),
            media_type,
            varies_by_encoding: is_compressed_for_some
                || available != [Encoding::Identity; Encoding::SIBLINGS.len()],
            varies_by_accept: self.state == State::Fallback,
        };
        let evaluate = |tag: &EntityTag| {
            conditional::evaluate(&request.conditions, request.method, tag, meta.modified, now)
        };
        let is_plain = encoding == Encoding::Identity;
        let coding = match is_compressed_for_some && request.may_compress && is_plain {
            true => request.accepted.choose(&Encoding::DYNAMIC).unwrap_or_default(),
            false => Encoding::Identity,
        };
        let is_coded = coding != Encoding::Identity;
        if is_coded {
            let coded = representation.compressed(coding);
            if evaluate(&coded.tag) == Verdict::NotModified {
                return Answer::NotModified(coded);
            }
        }
        // The plain one is good as well for who has it already.
        let verdict = evaluate(&representation.tag);
        let ranges = match verdict {
            Verdict::PreconditionFailed => return Answer::PreconditionFailed,
            Verdict::NotModified => return Answer::NotModified(representation),
            // RFC 9110 §14.2: ranges are defined for GET alone.
            Verdict::Proceed { ranges } => ranges && request.method == Method::Get,
        };
        let selection = match request.range.single() {
            Some(value) if ranges => range::select(value, meta.size),
            _ => Selection::Whole,
        };
        match selection {
            Selection::Whole if is_coded => Answer::Compressed { plain: representation, coding },
            Selection::Whole => Answer::Whole(representation),
            Selection::One(range) => Answer::Partial(representation, range),
            Selection::Many(ranges) => {
                let chance = [chance.next_u64(), chance.next_u64()];
                let media_type = representation.media_type;
                let parts = Multipart::new(ranges, meta.size, media_type, chance);
                Answer::Multi(representation, parts)
            }
            Selection::Unsatisfiable => Answer::RangeNotSatisfiable { size: meta.size },
        }
    }
}

/// The request's path with a slash at its end, and its query. It begins with exactly one slash: two
/// would make a host of what follows.
fn with_slash(request: &Request<'_>) -> Vec<u8> {
    let mut normal = Vec::with_capacity(request.path.len());
    // A path that climbs was refused before.
    let path = match target::normalize(request.path, &mut normal) {
        Ok(()) => &normal,
        Err(_) => request.path,
    };
    let slashes = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
    let mut location = b"/".to_vec();
    uri(path.get(slashes..).unwrap_or_default(), &mut location);
    location.push(b'/');
    if let Some(query) = request.query {
        location.push(b'?');
        uri(query, &mut location);
    }
    location
}

/// Appends what is a part of a URL already, as it is; bytes that no URL has are percent-encoded.
fn uri(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte) {
            out.push(byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 15)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
