//! A worker written in Rust: it answers on the socket rip-master gave it.
//!
//! ```text
//! cargo build --release -p rip-worker --example rust-worker
//! rip-master start http:8080 -- target/release/examples/rust-worker
//! ```

use rip_worker::{Request, Response};
use std::io::Write;

fn main() -> std::io::Result<()> {
    rip_worker::serve(answer)
}

fn answer(request: &mut Request<'_>) -> Response {
    match (request.method(), request.path()) {
        ("GET" | "HEAD", "/") => Response::text("Hello from Rust\n"),
        ("GET" | "HEAD", "/ready") => Response::status(204),
        ("GET", "/count") => Response::stream("text/plain", |out| {
            for number in 1..=3 {
                writeln!(out, "{number}")?;
                out.flush()?;
            }
            Ok(())
        }),
        ("POST", "/shout") => match request.bytes() {
            Ok(body) => Response::bytes("application/octet-stream", body.to_ascii_uppercase()),
            Err(_) => Response::status(400),
        },
        (_, "/" | "/ready" | "/count" | "/shout") => Response::status(405),
        _ => Response::text("nothing here\n").with_status(404),
    }
}
