//! Bytes that nobody can guess.

use std::fs::File;
use std::io::{self, Read};

/// Fills `bytes` from the kernel's generator.
///
/// # Errors
/// There is no `/dev/urandom` here.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}
