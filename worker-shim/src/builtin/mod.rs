//! The shim's own apps, for tests and demos: `builtin:NAME`. Every one of them answers `GET /ready`
//! with 200 at once.

mod busy;
mod crash;
mod echo;
mod hello;
mod realtime;
mod sleep;
mod stream;
mod turn;

use crate::request::Request;
use crate::response::Response;
use crate::serve::serve;
use std::ffi::OsString;

/// The names of the shim's own apps, as in `builtin:NAME`.
pub const NAMES: [&str; 8] =
    ["busy", "crash", "echo", "hello", "realtime", "sleep", "stream", "turn"];

/// Runs the app called `name` until it is asked to stop; returns the exit code.
pub(crate) fn main(name: Option<OsString>) -> i32 {
    let app: fn(&mut Request<'_>) -> Response = match name.as_deref().and_then(|name| name.to_str())
    {
        Some("busy") => busy::answer,
        Some("crash") => crash::answer,
        Some("echo") => echo::answer,
        Some("hello") => hello::answer,
        Some("realtime") => realtime::answer,
        Some("sleep") => sleep::answer,
        Some("stream") => stream::answer,
        Some("turn") => turn::answer,
        _ => {
            eprintln!("there is no such builtin; there are {}", NAMES.join(", "));
            return 64;
        }
    };
    let served = serve(move |request| match request.path() {
        "/ready" => Response::text("ready\n"),
        _ => app(request),
    });
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// This worker as ids are printed: `w3`.
fn own_name() -> String {
    format!("w{}", std::env::var("RIP_WORKER_ID").unwrap_or_default())
}
