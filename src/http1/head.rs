//! Heads as places: every part of a head is a [`Span`] into the buffer it was read from.
//!
//! A head is a scratch: one per loop, filled again and again, never stored with a connection. Its
//! spans are good as long as the bytes they were read from stay where they are, so the caller uses
//! them before it consumes.

use super::encode::ResponseLength;
use super::known::Known;
use super::method::Method;
use super::target::Target;

/// A place in the buffer a head was read from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The place from `start` to before `end`. Heads are far smaller than 4 GiB.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes at this place; empty when `buf` is not the buffer it belongs to.
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// How many bytes.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// True when there is no byte.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// The versions spoken here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// One field line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    /// Its name as it was written.
    pub name: Span,
    /// Its value without the white space around it.
    pub value: Span,
    /// What the name means here.
    pub known: Known,
    /// The name contains `_`, which some gateways to apps cannot tell from `-`.
    pub underscore: bool,
    /// `Connection` says it is about this connection only.
    pub nominated: bool,
    /// Its line is what would be written for it: one space behind the colon, none before the CRLF.
    pub(crate) neat: bool,
}

impl Field {
    /// The whole line of a neat field, with its CRLF.
    pub(crate) fn line(&self) -> Span {
        Span { start: self.name.start, end: self.value.end + 2 }
    }
}

/// How a request's body ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyLength {
    /// There is no body, and nothing was said about one.
    #[default]
    None,
    /// `Content-Length`; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// How a response's body ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ResponseBody {
    /// There is no body: to `HEAD`, or 1xx, 204, 304.
    #[default]
    None,
    /// `Content-Length`; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
    /// It ends when the connection does.
    UntilClose,
}

/// The field lines of a head, with the first of each known kind at hand.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    list: Vec<Field>,
    first: [u8; Known::COUNT],
}

const ABSENT: u8 = u8::MAX;
// A position must fit beside ABSENT.
const _: () = assert!(crate::limits::FORWARDED_FIELD_COUNT < ABSENT as usize);

impl Fields {
    fn new() -> Self {
        Self { list: Vec::new(), first: [ABSENT; Known::COUNT] }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.first = [ABSENT; Known::COUNT];
    }

    /// Adds a field; true when it is the first of its kind.
    pub(crate) fn push(&mut self, field: Field) -> bool {
        let position = self.list.len();
        self.list.push(field);
        match self.first.get_mut(field.known as usize) {
            Some(first) if *first == ABSENT => {
                *first = u8::try_from(position).unwrap_or(ABSENT);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn find(&self, known: Known) -> Option<Span> {
        let position = *self.first.get(known as usize)?;
        self.list.get(usize::from(position)).map(|field| field.value)
    }

    pub(crate) fn list(&self) -> &[Field] {
        &self.list
    }

    /// Marks the fields that the options of `Connection` name.
    pub(crate) fn nominate(&mut self, buf: &[u8], option: &[u8]) {
        for field in &mut self.list {
            if field.name.len() == option.len() && field.name.of(buf).eq_ignore_ascii_case(option) {
                field.nominated = true;
            }
        }
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) fields: Fields,
    pub(crate) method: Span,
    pub(crate) method_kind: Method,
    pub(crate) target: Target,
    pub(crate) version: Version,
    pub(crate) body: BodyLength,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    pub(crate) complete: bool,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestHead {
    /// An empty head. It allocates with the first request and keeps its room from then on.
    pub fn new() -> Self {
        Self {
            fields: Fields::new(),
            method: Span::default(),
            method_kind: Method::Get,
            target: Target::default(),
            version: Version::Http11,
            body: BodyLength::None,
            keep_alive: false,
            expect_continue: false,
            complete: false,
        }
    }

    /// Forgets everything but its room.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.method = Span::default();
        self.method_kind = Method::Get;
        self.target = Target::default();
        self.version = Version::Http11;
        self.body = BodyLength::None;
        self.keep_alive = false;
        self.expect_continue = false;
        self.complete = false;
    }

    /// True when a whole head was read into it, be it one that was then refused: method, target and
    /// fields may be used, for the access line and to choose the form of an error. False after a
    /// refusal of bytes that were not a head at all.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The method as it was sent.
    pub fn method<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.method.of(buf)
    }

    /// The kind of the method.
    pub fn method_kind(&self) -> Method {
        self.method_kind
    }

    /// The request target as it was sent.
    pub fn target<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.target.whole.of(buf)
    }

    /// The target taken apart: its form, path and query.
    pub fn path(&self) -> &Target {
        &self.target
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the body ends.
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// True when the client will take another request on this connection.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// True when the client waits for `100 Continue` before it sends the body.
    pub fn expect_continue(&self) -> bool {
        self.expect_continue
    }

    /// The fields in their order.
    pub fn fields(&self) -> &[Field] {
        self.fields.list()
    }

    /// The value of the first field of this kind; never of [`Known::Other`].
    pub fn find(&self, known: Known) -> Option<Span> {
        if known == Known::Other { None } else { self.fields.find(known) }
    }

    /// The value of `Host`: a valid authority; empty only when an HTTP/1.0 client sent none.
    pub fn host<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.find(Known::Host).unwrap_or_default().of(buf)
    }

    /// Which host is asked: the target's own authority when it names one, else `Host`
    /// (RFC 9112 §3.2.2). May carry a port.
    pub fn authority<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        if self.target.authority.is_empty() {
            self.host(buf)
        } else {
            self.target.authority.of(buf)
        }
    }
}

/// A response's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub(crate) fields: Fields,
    pub(crate) status: u16,
    pub(crate) reason: Span,
    pub(crate) version: Version,
    pub(crate) body: ResponseBody,
    pub(crate) content_length: Option<u64>,
    pub(crate) keep_alive: bool,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseHead {
    /// An empty head. It allocates with the first response and keeps its room from then on.
    pub fn new() -> Self {
        Self {
            fields: Fields::new(),
            status: 0,
            reason: Span::default(),
            version: Version::Http11,
            body: ResponseBody::None,
            content_length: None,
            keep_alive: false,
        }
    }

    /// Forgets everything but its room.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.status = 0;
        self.reason = Span::default();
        self.version = Version::Http11;
        self.body = ResponseBody::None;
        self.content_length = None;
        self.keep_alive = false;
    }

    /// The status, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase; may be empty.
    pub fn reason<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.reason.of(buf)
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How the body ends.
    pub fn body(&self) -> ResponseBody {
        self.body
    }

    /// What `Content-Length` said, also where no body follows (`HEAD`, 304).
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// What to give to [`super::Server::respond`] when this response is passed on.
    pub fn length(&self) -> ResponseLength {
        match (self.body, self.content_length) {
            (ResponseBody::Length(length), _) | (ResponseBody::None, Some(length)) => {
                ResponseLength::Known(length)
            }
            (ResponseBody::None, None) => ResponseLength::None,
            (ResponseBody::Chunked | ResponseBody::UntilClose, _) => ResponseLength::Unknown,
        }
    }

    /// True when the sender will take another request on this connection.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The fields in their order.
    pub fn fields(&self) -> &[Field] {
        self.fields.list()
    }

    /// The value of the first field of this kind; never of [`Known::Other`].
    pub fn find(&self, known: Known) -> Option<Span> {
        if known == Known::Other { None } else { self.fields.find(known) }
    }
}
