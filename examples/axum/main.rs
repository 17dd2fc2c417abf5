//! A server that knows nothing of rip-master: axum on the socket it inherits.

fn main() {}
