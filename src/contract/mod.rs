//! The data everyone speaks. Field names here are the JSON names everywhere.

pub mod app;
pub mod attempt;
pub mod cert;
pub mod cidr;
pub mod config;
pub mod decision;
pub mod event;
pub mod https_flags;
pub mod listen;
pub mod millis;
pub mod overrides;
pub mod public_name;
pub mod realtime;
pub mod reason;
pub mod route;
pub mod runtime;
pub mod secret;
pub mod sessions;
pub mod settings;
pub mod worker;
