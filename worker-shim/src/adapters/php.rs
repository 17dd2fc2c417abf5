//! PHP: `php-cgi` or `php-fpm` behind the FastCGI gateway.

use crate::host::{Program, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;

/// Finds what runs `entry`.
pub(crate) fn prepare(
    _program: &mut Program,
    _spec: &WorkerSpec,
    _entry: &str,
) -> Result<(), Failure> {
    Err(missing("php is not there yet".to_owned()))
}
