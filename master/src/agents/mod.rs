//! Blocking work in threads of its own: one inbox each, answers by mailbox.

pub mod acme;
mod beneath;
pub mod compile;
pub mod files;
pub mod log;
pub mod scan;
