//! Who gets in and for how long.
//!
//! * [`caps`] — how many connections, over all and for one address.
//! * [`phase`] — how long a client may take for each part of an exchange, and how slowly a body may
//!   arrive.
//! * [`request_id`] — the name a request has in every log line and message.

pub mod caps;
pub mod phase;
pub mod request_id;
