//! What the promises stand on: the real binary in a directory of its own, clients that can
//! misbehave, and waiting for conditions instead of for time.

pub mod conformance;
pub mod control;
pub mod crowd;
pub mod curl;
pub mod dns;
pub mod edgefile;
pub mod framework;
pub mod http;
pub mod ledger;
pub mod load;
pub mod mounts;
pub mod network;
pub mod pebble;
pub mod port;
pub mod processes;
pub mod release;
pub mod renewal_stub;
pub mod server;
pub mod session;
pub mod stored;
pub mod tls;
pub mod tools;
pub mod trusting;
pub mod upgrade;
pub mod wait;
pub mod websocket;

pub use http::{Client, Response};
pub use ledger::{Kind, Ledger};
pub use server::{Server, Setup};
pub use wait::{eventually, until, within};
