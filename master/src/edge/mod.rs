//! Clients on one side, workers on the other, one event loop a thread.
//!
//! A client connection is a [`front::Front`], one to a worker or an upstream a [`link::Link`], a
//! request that goes to an app an [`exchange::Exchange`]. They know each other by generational
//! keys: each may die first, and the others find nobody home. All of them live and die on the loop
//! ([`turn::Edge`]) that was dealt the client's socket.

mod acceptor;
mod answer;
mod builtin;
mod challenge;
mod compress;
mod dashboard;
mod dispatch;
mod door;
mod drain;
mod ebb;
mod edges;
mod encoder;
mod exchange;
mod file_cache;
mod file_compress;
mod file_search;
mod file_send;
#[cfg(test)]
mod file_tests;
mod frames;
mod front;
mod handshake;
mod identity;
mod link;
mod live_reload;
mod noting;
mod proxy;
mod publish;
mod rate_limit;
mod relay;
mod request;
mod routing;
mod seats;
mod secure;
mod session;
mod session_answer;
mod session_app;
mod session_http;
mod session_pages;
mod session_socket;
mod session_socket_open;
mod session_socket_read;
mod session_turn;
mod session_view;
mod snapshots;
mod socket;
mod socket_close;
mod socket_open;
mod socket_post;
mod socket_read;
mod socket_view;
mod socket_write;
mod speech;
mod speech_close;
mod speech_read;
mod speech_write;
mod spool;
mod stuck;
mod subrequest;
mod subrequest_answer;
#[cfg(test)]
pub(crate) mod tests;
mod transport;
mod tunnel;
mod turn;
mod upload;
mod upstream_health;
mod upstream_link;
mod wire;
mod worker_link;

pub use edges::Edges;
