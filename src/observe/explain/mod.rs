//! Why a request ended as it did.
//!
//! ```text
//!  note (observe::note) ──┐
//!                         ├─▶ Evidence ─▶ Finding: the cause, why, what to do ─▶ Story, for people and programs
//!  chronicle ─────────────┘
//! ```

mod cause;
mod finding;
mod story;
mod words;

pub use cause::Cause;
pub use finding::{Evidence, Finding};
pub use story::{Step, Stories, Story};
