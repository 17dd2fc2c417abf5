//! The parts of an event loop: what is open ([`slab`]), what is due ([`wheel`]), what other
//! threads say ([`mailbox`]), and bytes on their way in ([`buffers`]) and out ([`outbox`]), also under TLS
//! ([`tls_stream`]).

pub mod buffers;
pub mod clock;
pub mod mailbox;
pub mod outbox;
pub mod readiness;
pub mod slab;
pub mod stream;
pub mod tls_stream;
pub mod wheel;
