//! Changes that the operator wants made to a head on its way through.
//!
//! Whoever writes a head asks of each field whether it is changed, leaves out those that are, and
//! adds the changes' own lines at the end. What the edge is answerable for is out of reach: what
//! frames a message or is about one connection, and what the edge asserts about a request.

use super::known::Known;
use std::fmt;

/// The changes that are in force for one head.
pub trait Changes: fmt::Debug {
    /// Whether fields of this name, in any case, are replaced or removed.
    fn touch(&self, name: &[u8]) -> bool;

    /// Appends the lines that are set, each with its CRLF and free of other control characters.
    fn write(&self, out: &mut Vec<u8>);
}

/// Whether requests on their way to a worker may be changed in fields of this name. Names with `_`
/// count as those with `-`, because an app may not tell them apart.
pub fn may_change_request(name: &[u8]) -> bool {
    super::fields::passes_folded(name)
}

/// Whether answers on their way to a client may be changed in fields of this name.
pub fn may_change_response(name: &[u8]) -> bool {
    let known = Known::of(name);
    !known.is_hop_by_hop()
        && !known.is_internal()
        && !matches!(known, Known::ContentLength | Known::Date | Known::XRequestId)
}
