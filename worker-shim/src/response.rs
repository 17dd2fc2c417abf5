//! What an app answers.

use crate::exchange::Connection;
use std::borrow::Cow;
use std::io::{self, Write};

/// An answer: a status, fields, and a body that is known or written bit by bit.
///
/// ```
/// use rip_worker::Response;
/// use std::io::Write;
///
/// let made = Response::text("made\n").with_status(201).field("Location", "/things/1");
/// let counted = Response::stream("text/plain", |out| {
///     for number in 1..=3 {
///         writeln!(out, "{number}")?;
///         out.flush()?; // on its way now, not when all is written
///     }
///     Ok(())
/// });
/// # drop((made, counted));
/// ```
pub struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Whole(Cow<'static, [u8]>),
    Stream(Box<Produce>),
    /// The connection is closed without an answer.
    Hangup,
}

/// Writes a streaming body.
type Produce = dyn FnOnce(&mut Writer<'_>) -> io::Result<()>;

impl Response {
    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Body::Whole(Cow::Borrowed(b"")) }
    }

    /// 200 with a body of this type.
    pub fn bytes(
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self { status: 200, fields: vec![], body: Body::Whole(body.into()) }
            .field("Content-Type", content_type)
    }

    /// 200 with plain text.
    pub fn text(body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::bytes("text/plain; charset=utf-8", body)
    }

    /// 200 with a body of unknown length. `write` runs once the head is on its way; each
    /// [`Write::flush`] sends what was written at once, and an error cuts the answer short.
    pub fn stream(
        content_type: impl Into<Cow<'static, str>>,
        write: impl FnOnce(&mut Writer<'_>) -> io::Result<()> + 'static,
    ) -> Self {
        Self { status: 200, fields: vec![], body: Body::Stream(Box::new(write)) }
            .field("Content-Type", content_type)
    }

    /// No answer at all: the connection is closed.
    pub(crate) fn hangup() -> Self {
        Self { status: 500, fields: Vec::new(), body: Body::Hangup }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with one more field. A name or value that cannot stand in a head is left out.
    #[must_use]
    pub fn field(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        let named = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if named && !value.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            self.fields.push((name, value));
        }
        self
    }
}

/// The body of a streaming answer.
pub struct Writer<'c> {
    connection: &'c mut Connection,
}

impl<'c> Writer<'c> {
    pub(crate) fn new(connection: &'c mut Connection) -> Self {
        Self { connection }
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.write_body(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush()
    }
}
