//! Who may use which worker.
//!
//! A request asks for a worker with a [`TicketId`]. It gets a [`Lease`] at once, or waits, first
//! come first served, or is refused. A lease ends exactly once and then serves the next ticket.
//!
//! ```text
//!               ┌───────── Shed                    ┌──── Refused
//!   request ────┼───────── Assigned(lease)   queue ┼──── Grant(lease)
//!               └───────── Queued ────────▶        └──── cancel
//!                                            ▲
//!   lease ──── release                       │ in front of all others
//!         ──── bounce: busy, draining ───────┤
//!         ──── retry: not connected ─────────┘
//!         ──── upgrade ──▶ tunnel ──── end_tunnel
//! ```
//!
//! What always holds: a worker never has more leases than the concurrency; a retired or removed
//! worker gets none; tickets are served in order; nobody waits while a worker is free, unless the
//! pool is held.
//!
//! Every call may make outputs: drain [`Pool::poll_output`] after each. Time is what the callers
//! say it is; a moment earlier than one heard before counts as that one.

mod bitset;
mod decide;
mod lease;
mod list;
mod pause;
#[allow(clippy::module_inception)]
mod pool;
mod queue;
mod rate;
mod select;
#[cfg(test)]
mod tests;
mod worker;

pub use decide::{Choice, Decision, Decisions, Fallback, Output, PoolCounters};
pub use lease::{Bounce, Lease, Outcome, TicketId, Tunnel};
pub use pool::{Pool, PoolSettings};
pub use worker::WorkerView;
