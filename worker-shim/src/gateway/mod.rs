//! Gateways: processes of ours that serve a worker's socket for apps that do not speak HTTP. They run
//! as the app does, in its place: `rip-master worker-shim cgi …`, `rip-master worker-shim fastcgi …`.

use std::ffi::OsString;

/// Runs the gateway called `name` until it is asked to stop; returns the exit code. `None`: there is
/// no such gateway.
pub(crate) fn main(name: &str, _args: impl Iterator<Item = OsString>) -> Option<i32> {
    match name {
        _ => None,
    }
}
