//! What rip-master execs to host an app, and the worker library for Rust apps.
//!
//! * The shim ([`shim_main`]): one per worker, parent of the app's process. It boots in named
//!   stages, gives the app its listener, waits until the app is ready, joins the pool, and leaves
//!   nothing behind when it ends.
//! * The library ([`serve`]): a Rust app answers HTTP/1.1 on the socket it was given.
//!
//! ```no_run
//! use rip_worker::Response;
//!
//! fn main() -> std::io::Result<()> {
//!     rip_worker::serve(|request| Response::text(format!("you asked for {}\n", request.path())))
//! }
//! ```
//!
//! It is started as a command: `rip-master start . 8080 -- target/release/my-app`. One thread serves one
//! connection, so that `c:N` gives N requests at once to the handler, which is shared by all threads. A
//! server of another kind needs nothing of this crate: `examples/axum` is one. [`listener`] is for those that
//! would rather not take descriptor 3 themselves.
#![warn(missing_docs)]

mod adapters;
mod answer;
mod boot;
mod bounds;
mod builtin;
mod connection;
mod drain;
mod env_file;
mod environment;
mod exchange;
mod gateway;
mod host;
mod identity;
mod join;
mod life;
mod port;
mod ready;
mod relay;
mod report;
mod request;
mod response;
mod serve;
mod setup;
mod shim;
mod spec;
mod status;

pub use boot::release_text;
pub use builtin::NAMES as BUILTINS;
pub use request::Request;
pub use response::{Response, Writer};
pub use serve::{listener, serve};
pub use shim::shim_main;
