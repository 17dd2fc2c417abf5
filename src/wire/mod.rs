//! What master, shim and CLI say to each other.

pub mod admit;
pub mod boot;
pub mod header;
pub mod spec;
pub mod verb;
