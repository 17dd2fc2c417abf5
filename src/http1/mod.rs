//! HTTP/1.1 (RFC 9110, RFC 9112) without sockets: strict reading, exact writing.
//!
//! * [`server`] and [`client`] are the two machines: one per connection, small, no heap. They read
//!   bytes that the caller owns and append bytes to a vector that the caller owns.
//! * [`head`] is what was read, as places in the caller's buffer; [`known`] names the fields that
//!   the edge looks at. [`parse`] reads a head (`plain` most of them), [`framing`] decides where its body ends, [`body`]
//!   takes the body apart, [`target`] understands what was asked for.
//! * [`encode`] writes heads and chunks, [`fields`] decides which fields pass to the other side,
//!   [`changes`] is what an operator wants changed in them, [`refusal`] words an error for its
//!   reader, as [`weight`] says that it is wanted. [`upgrade`] is how a connection leaves HTTP, with
//!   the [`handshake`] where it is the edge that speaks WebSocket. [`status`] and [`date`] are
//!   small tables.
//!
//! What is ambiguous is refused and never repaired: two readers that repair differently are how
//! requests are smuggled.

pub mod body;
pub mod changes;
pub mod client;
pub mod date;
pub mod encode;
pub mod fields;
pub mod framing;
pub mod handshake;
pub mod head;
pub mod known;
pub mod method;
pub mod opening;
pub mod parse;
mod plain;
pub mod refusal;
pub mod server;
pub mod status;
pub mod target;
pub mod upgrade;
pub mod weight;

pub use changes::Changes;
pub use client::{Client, ClientRead};
pub use date::DateCache;
pub use encode::{CONTINUE, FieldWriter, ResponseLength};
pub use fields::{
    ForwardRequest, Proxied, Signals, ToUpstream, forward_request, forward_response, signals,
};
pub use head::{BodyLength, Field, RequestHead, ResponseBody, ResponseHead, Span, Version};
pub use known::Known;
pub use method::Method;
pub use parse::{Limits, Malformed};
pub use server::{After, Read, Server};
pub use target::{Form, Target};
