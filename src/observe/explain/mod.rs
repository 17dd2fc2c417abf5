//! Why a request ended as it did.
//!
//! ```text
//!  note (observe::note) ──┐
//!                         ├─▶ Evidence ─▶ Finding: the cause, why, what to do ─▶ Story, for people and programs
//!  chronicle ─────────────┘
//! ```

mod cause;
mod finding;
mod others;
mod refused;
mod story;
mod words;
mod workers;

pub use cause::Cause;
pub use finding::{Evidence, Finding};
pub use story::{Step, Stories, Story};
