//! Files that are files: opening a pipe would wait for ever for somebody who writes into it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the regular file at `path` for reading; with what the system says of it.
///
/// # Errors
/// Those of the system, and that it is something else.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found)),
        false if found.is_dir() => Err(io::Error::other("it is a directory")),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = TestDir::make();
        let (file, pipe) = (dir.path().join("file"), dir.path().join("pipe"));
        std::fs::write(&file, "x").unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open(&file).unwrap().1.len(), 1);
        for (path, why) in [(dir.path(), "directory"), (&*pipe, "not a regular file")] {
            assert!(open(path).unwrap_err().to_string().contains(why), "{path:?}");
        }
        assert_eq!(open(Path::new("/nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
