//! What master, shim and CLI say to each other, and gateways to what answers through them.

pub mod activation;
pub mod admit;
pub mod boot;
pub mod cgi;
pub mod dotenv;
pub mod fastcgi;
pub mod header;
pub mod runtime_dir;
pub mod spec;
pub mod upgrade;
pub mod verb;
