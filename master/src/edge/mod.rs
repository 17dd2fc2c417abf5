//! Clients on one side, workers on the other, one event loop a thread.
//!
//! A client connection is a [`front::Front`], a connection to a worker a [`worker_link::Link`], a
//! request that goes to an app an [`exchange::Exchange`]. They know each other by generational
//! keys: each may die first, and the others find nobody home. All of them live and die on the loop
//! ([`turn::Edge`]) that was dealt the client's socket.

mod acceptor;
mod answer;
mod builtin;
mod dispatch;
mod drain;
mod edges;
mod exchange;
mod file_cache;
mod file_search;
mod file_send;
#[cfg(test)]
mod file_tests;
mod front;
mod live_reload;
mod relay;
mod request;
mod routing;
mod seats;
mod snapshots;
mod spool;
mod stuck;
#[cfg(test)]
mod tests;
mod turn;
mod worker_link;

pub use edges::Edges;
