//! Counting and telling.
//!
//! * [`access`] — one line for each exchange. [`mod@line`] — one line for each lifecycle event.
//!   [`output`] — one line for each that a worker wrote.
//! * [`counter`] — what is counted, and where each number stands.
//! * [`note`] and [`notes`] — what is remembered of the last requests; [`explain`] — why one of them
//!   ended as it did; [`chronicle`] — what else is remembered for that.
//! * [`report`] — everything a server says of itself, in one value.
//! * [`status`] — the short answer to "is it well?".
//!
//! Lines are appended to the caller's bytes. Whatever stands in a request or in a worker's output, a
//! line stays one line and its fields stay apart.

pub mod access;
pub mod chronicle;
pub mod counter;
pub mod explain;
pub mod line;
pub mod note;
pub mod notes;
pub mod output;
pub mod report;
pub mod status;
mod text;
