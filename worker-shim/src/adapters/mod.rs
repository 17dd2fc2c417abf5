//! Apps in other languages: how each is found and started, one file a runtime. What serves them is a
//! small program of ours in their language, a server that people of that language trust, or one of
//! the [gateways](crate::gateway).

pub(crate) mod bun;
pub(crate) mod cgi;
pub(crate) mod node;
pub(crate) mod php;
pub(crate) mod python;
pub(crate) mod ruby;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A descriptor from which an interpreter reads `text`.
pub(crate) fn script(name: &str, text: &str) -> Result<OwnedFd, Errno> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())
        .and_then(|()| file.rewind())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    Ok(file.into())
}

/// Where `entry`, a file or a directory, lives: `.env` is looked for there.
pub(crate) fn directory(cwd: &Path, entry: &str) -> PathBuf {
    let path = cwd.join(entry);
    match path.parent() {
        Some(parent) if !path.is_dir() => parent.to_path_buf(),
        _ => path,
    }
}
