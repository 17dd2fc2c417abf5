//! Bun: an app with a preload of ours that leads its server to the worker's socket.

use crate::host::{Program, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;

/// Finds what runs `entry`.
pub(crate) fn prepare(
    _program: &mut Program,
    _spec: &WorkerSpec,
    _entry: &str,
) -> Result<(), Failure> {
    Err(missing("bun is not there yet".to_owned()))
}
