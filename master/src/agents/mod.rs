//! Blocking work in threads of its own: one inbox each, answers by mailbox.

pub mod acme;
mod beneath;
pub mod certs;
pub mod compile;
pub mod files;
pub mod log;
pub mod mdns;
pub mod scan;
pub mod store;
