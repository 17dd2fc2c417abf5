//! Contracts and pure cores of rip-master.
//!
//! Everything here decides and nothing here acts: no sockets, files, threads, clocks or
//! environment. Time ([`time::Instant`]), randomness ([`entropy::Entropy`]) and bytes are
//! arguments; what should happen comes back as values. The map, lowest layer first:
//!
//! * [`ids`], [`limits`], [`time`], [`entropy`] — words everyone uses.
//! * [`contract`] — the data every part of the system speaks, with their JSON names.
//! * [`http1`] — HTTP/1.1: strict reading, exact writing. [`wire`] — what master, shim and CLI
//!   say to each other.
//! * [`route`] — where a request goes. [`pool`] — who may use which worker. [`upstream`] — which
//!   server that is not ours gets a request. [`supervise`] — the lives of processes. [`guard`] — who
//!   gets in and for how long. [`files`] — static answers without a file system. [`observe`] —
//!   counting and telling. [`tls`] — which certificate a client gets, without keys in hand.
//!   [`realtime`] — WebSocket clients, groups and who is told what, without sockets. [`session`] —
//!   conversations whose turns are committed once.
//! * [`edgefile`], [`reload`] — what is configured, and how another configuration takes its place.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod contract;
pub mod edgefile;
pub mod entropy;
pub mod files;
pub mod guard;
pub mod http1;
pub mod ids;
pub mod limits;
pub mod observe;
pub mod pool;
pub mod realtime;
pub mod reload;
pub mod route;
pub mod session;
pub mod supervise;
pub mod time;
pub mod tls;
pub mod upstream;
pub mod wire;

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
