//! Where a request goes: host, path and method lead to one rule of the configuration.
//!
//! * [`host`] and [`path`] say what is compared: an authority without its accidents, a path decoded
//!   once, and the patterns for both.
//! * [`table`] finds the rule, at the same cost for ten routes and for ten thousand.
//! * [`headers`] is what rules change in the heads of a request and of its answer, [`redirect`] where
//!   a client is sent to, [`secure`] how it gets from plain HTTP to HTTPS.
//! * [`local`] is which hosts the local network is told of.
//! * [`why`] explains all of it for one request, rule by rule.
//!
//! The order of rules is total. The first one that takes path and method wins:
//!
//! ```text
//!   host      exact  >  *.one-label  >  *
//!   path      exact  >  prefix, the one with more segments first
//!             then segment by segment from the left: literal  >  *
//!   priority  explicit, low first  >  implicit
//!   place     earlier in the declaration first
//! ```

pub mod headers;
pub mod host;
pub mod local;
pub mod path;
mod quick;
pub mod redirect;
pub mod secure;
pub mod table;
mod trie;
pub mod why;

pub use headers::Headers;
pub use local::{LocalName, LocalService, local_names};
pub use table::{Found, Scratch, Table};
