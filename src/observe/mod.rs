//! Counting and telling.
//!
//! * [`access`] — one line for each exchange. [`mod@line`] — one line for each lifecycle event.
//!   [`output`] — one line for each that a worker wrote. [`diagnostic`] — one line for each thing the
//!   code says of itself.
//! * [`counter`] — what is counted, and where each number stands.
//! * [`note`], [`page`] and [`notes`] — what is remembered of the last requests; [`explain`] — why one of them
//!   ended as it did; [`chronicle`] — what else is remembered for that.
//! * [`tally`] — exchanges by what they were; [`spread`] and [`timings`] — how long they took.
//!   [`lives`] — events, counted.
//! * [`numbers`] — all of that at one moment; [`exposition`] — the same for monitoring systems, in the
//!   formats of [`prometheus`].
//! * [`report`] — everything a server says of itself, in one value.
//! * [`status`] — the short answer to "is it well?".
//!
//! Lines are appended to the caller's bytes. Whatever stands in a request or in a worker's output, a
//! line stays one line and its fields stay apart.

pub mod access;
pub mod chronicle;
pub mod counter;
pub mod diagnostic;
pub mod explain;
pub mod exposition;
pub mod line;
pub mod lives;
pub mod note;
pub mod notes;
pub mod numbers;
pub mod output;
pub mod page;
pub mod prometheus;
pub mod report;
pub mod spread;
pub mod status;
pub mod tally;
mod text;
pub mod timings;
