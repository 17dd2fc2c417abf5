//! CGI/1.1 (RFC 3875): a program that is run once for every request, by the gateway.

use crate::host::{Program, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;

/// Finds what runs `entry`.
pub(crate) fn prepare(
    _program: &mut Program,
    _spec: &WorkerSpec,
    _entry: &str,
) -> Result<(), Failure> {
    Err(missing("cgi is not there yet".to_owned()))
}
