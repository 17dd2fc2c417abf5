//! Whose turn it is to order: servers that share their certificates order those of one name one after
//! the other, or an authority is asked twice for what is needed once.
//!
//! A lock of the kernel on a file for each name, `renewals/<name>.lock` beside the certificates: it ends
//! with the server that has it, however that ends.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The turn of one name, until it is dropped. It holds nothing where the file system has no locks.
#[derive(Debug)]
pub struct Turn {
    _lock: Option<File>,
}

impl Turn {
    /// The turn of `name`; `None` while another server has it. Waits for nobody.
    pub fn take(certs: &Path, name: &str) -> Option<Self> {
        let file = match open(&certs.join("renewals"), name) {
            Ok(file) => file,
            Err(error) => {
                // Then nothing can be remembered either, and who orders says so.
                log::debug!("no lock for {name}: {error}");
                return Some(Self { _lock: None });
            }
        };
        match file.try_lock() {
            Ok(()) => Some(Self { _lock: Some(file) }),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => {
                log::warn!("orders for {name} cannot be kept apart from those of others: {error}");
                Some(Self { _lock: None })
            }
        }
    }
}

fn open(dir: &Path, name: &str) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let path = dir.join(format!("{name}.lock"));
    File::options().create(true).truncate(false).write(true).mode(0o644).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;

    #[test]
    fn one_has_the_turn_of_a_name_until_it_is_dropped() {
        let dir = TestDir::make();
        let first = Turn::take(dir.path(), "a.x").unwrap();
        assert!(Turn::take(dir.path(), "a.x").is_none());
        assert!(Turn::take(dir.path(), "b.x").is_some(), "another name");
        drop(first);
        assert!(Turn::take(dir.path(), "a.x").is_some());
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(Turn::take(&dir.path().join("file"), "a.x").is_some(), "nothing can be locked");
    }
}
