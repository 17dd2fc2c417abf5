//! A request as the app sees it.

use crate::exchange::Connection;
use std::io::{self, Read};

/// A request; reading from it reads its body.
///
/// ```
/// use rip_worker::{Request, Response};
///
/// fn answer(request: &mut Request<'_>) -> Response {
///     match (request.method(), request.path()) {
///         ("GET" | "HEAD", "/hello") => {
///             Response::text(format!("Hello {}\n", request.parameter("name").unwrap_or("you")))
///         }
///         ("POST", "/shout") => match request.bytes() {
///             Ok(body) => Response::bytes("application/octet-stream", body.to_ascii_uppercase()),
///             Err(_) => Response::status(400), // the client has left within the body
///         },
///         (_, "/hello" | "/shout") => Response::status(405),
///         _ => Response::text("nothing here\n").with_status(404),
///     }
/// }
/// # fn serves() -> std::io::Result<()> {
/// rip_worker::serve(answer)
/// # }
/// ```
pub struct Request<'c> {
    connection: &'c mut Connection,
}

impl<'c> Request<'c> {
    pub(crate) fn new(connection: &'c mut Connection) -> Self {
        Self { connection }
    }

    /// The method, as sent.
    pub fn method(&self) -> &str {
        text(self.connection.method())
    }

    /// The target, as sent: usually path and query.
    pub fn target(&self) -> &str {
        text(self.connection.target())
    }

    /// The path: the target up to the query.
    pub fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The query: what follows the first `?`, or nothing.
    pub fn query(&self) -> &str {
        self.target().split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of `name` in the query, as sent; empty when it has none.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query().split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// The number `name` has in the query.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.parameter(name)?.parse().ok()
    }

    /// The header fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.connection.fields().map(|(name, value)| (text(name), value))
    }

    /// The first field called `name`, whatever the case of its letters.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// When the connection ends before the body does.
    pub fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.read_to_end(&mut body)?;
        Ok(body)
    }
}

impl Read for Request<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.connection.read_body(into)
    }
}

/// Methods, targets and names are ASCII by the time the master passes them on.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
