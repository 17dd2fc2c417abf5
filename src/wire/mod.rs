//! What master, shim and CLI say to each other.

pub mod activation;
pub mod admit;
pub mod boot;
pub mod dotenv;
pub mod fastcgi;
pub mod header;
pub mod runtime_dir;
pub mod spec;
pub mod upgrade;
pub mod verb;
