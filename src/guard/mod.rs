//! Who gets in and for how long.
//!
//! * [`caps`] — how many connections, over all and for one address.
//! * [`cidr`] — networks, and sets of them.
//! * [`client_ip`] — who asks when proxies stand between, and whether from this machine.
//! * [`login`] — who may order something from a web page.
//! * [`phase`] — how long a client may take for each part of an exchange, and how slowly a body may
//!   arrive.
//! * [`policy`] — what may run in a page of the server's own.
//! * [`proxy_header`] — for whom a proxy connected, when it says so before the first byte.
//! * [`rate`] — how often a client may ask.
//! * [`request_id`] — the name a request has in every log line and message.

pub mod caps;
pub mod client_ip;
pub mod login;
pub mod phase;
pub mod policy;
pub mod proxy_header;
pub mod rate;
mod recent;
pub mod request_id;

pub use crate::contract::cidr;
