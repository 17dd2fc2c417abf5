//! Gateways: processes of ours that serve a worker's socket for apps that do not speak HTTP. They run
//! as the app does, in its place: `rip-master worker-shim cgi …`, `rip-master worker-shim fastcgi …`.
//!
//! * `cgi`, which runs scripts: `site` (which script a path leads to), `script` (one run of it), `pump`
//!   (body in, answer out).
//! * `fastcgi`, which asks PHP: `process` (PHP's processes), `talk` (one request put to them), `document`
//!   (which script or file a path leads to), `sent` (files sent as they are), `beneath` (none outside the
//!   root).
//! * `warden`, for both: the end of what they have started, should the shim be killed.

mod beneath;
mod cgi;
mod document;
mod fastcgi;
mod process;
mod pump;
mod script;
mod sent;
mod site;
mod talk;
mod warden;

use crate::exchange::Exchange;
use std::ffi::OsString;

/// Runs the gateway called `name` until it is asked to stop; returns the exit code. `None`: there is
/// no such gateway.
pub(crate) fn main(name: &str, args: impl Iterator<Item = OsString>) -> Option<i32> {
    match name {
        "cgi" => Some(cgi::main(args)),
        "fastcgi" => Some(fastcgi::main(args)),
        _ => None,
    }
}

/// Whether it is the master that asks, at a path that the operator did not choose: then it is the
/// gateway that is asked whether it serves, for a script may answer anything there.
fn is_probe(exchange: &Exchange<'_>) -> bool {
    let is_masters =
        |(name, value): (&[u8], &[u8])| name.eq_ignore_ascii_case(b"User-Agent") && value == PROBE;
    exchange.target() == b"/ready" && exchange.fields().any(is_masters)
}

/// How the shim and the master call themselves when they probe.
const PROBE: &[u8] = b"rip-master-probe";
