//! Ruby: a Rack app under puma.

use crate::host::{Program, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;

/// Finds what runs `entry`.
pub(crate) fn prepare(
    _program: &mut Program,
    _spec: &WorkerSpec,
    _entry: &str,
) -> Result<(), Failure> {
    Err(missing("ruby is not there yet".to_owned()))
}
