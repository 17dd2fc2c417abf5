//! How another configuration takes the place of the active one.
//!
//! [`pipeline::Pipeline`] takes one attempt at a time from a [`wish`] over the [`work`] that its
//! configuration needs to its report. It knows pools and listeners by name only, and configurations
//! by version: the shell keeps those. [`history`] remembers how attempts ended, and [`overlay`] holds
//! the hosts that were added while the server runs.

pub mod history;
mod nap;
pub mod output;
pub mod overlay;
pub mod pipeline;
mod trial;
pub mod wish;
pub mod work;

pub use history::History;
pub use output::Output;
pub use overlay::Overlay;
pub use pipeline::Pipeline;
pub use wish::{Waiter, Wish};
pub use work::{Failure, FreshPool, Work};
