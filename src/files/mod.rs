//! Static answers without a file system: names, metadata and bytes come in, decisions go out.
//!
//! * [`answer`] puts the rest together: what is asked, what was found, and what is sent. Its caller
//!   opens what it is told to open, beneath the root, and sends what it is told to send.
//! * [`resolve`] makes a relative path of a request's. [`request`] is what the head says beside it,
//!   [`lines`] a field that may be sent several times.
//! * [`conditional`] decides whether anything is sent, [`range`] which bytes, [`negotiate`] in which
//!   encoding. [`media`] names the type, [`fields`] writes the head.
//! * [`listing`] is the page of a directory.
//! * [`compress`] is for answers of others: whether they are compressed on their way.

pub mod answer;
pub mod compress;
pub mod conditional;
pub mod fields;
pub mod lines;
pub mod listing;
pub mod media;
pub mod negotiate;
pub mod range;
pub mod request;
pub mod resolve;

pub use answer::{Answer, Found, Next, Options, Search};
pub use conditional::Modified;
pub use negotiate::Encoding;
pub use request::Request;
