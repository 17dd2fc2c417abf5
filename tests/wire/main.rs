//! HTTP/1.1 tables: raw bytes in, what was understood out, whatever way the bytes were cut.

mod client;
mod corpus;
mod forward;
mod random;
mod reading;
mod refused;
mod server;
mod steady;
mod valid;
