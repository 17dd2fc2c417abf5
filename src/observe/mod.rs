//! Counting and telling.
//!
//! * [`access`] — one line for each exchange. [`mod@line`] — one line for each lifecycle event.
//!   [`output`] — one line for each that a worker wrote. [`diagnostic`] — one line for each thing the
//!   code says of itself.
//! * [`counter`] — what is counted, and where each number stands.
//! * [`report`] — everything a server says of itself, in one value.
//! * [`status`] — the short answer to "is it well?".
//!
//! Lines are appended to the caller's bytes. Whatever stands in a request or in a worker's output, a
//! line stays one line and its fields stay apart.

pub mod access;
pub mod counter;
pub mod diagnostic;
pub mod line;
pub mod output;
pub mod report;
pub mod status;
mod text;
