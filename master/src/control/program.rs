//! The program of this master, as the next one is started from: by its path, where a package may
//! have put another one by then.

use std::env::{args_os, current_dir, split_paths, var_os};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{metadata, read_link};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

/// How this process was started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// Absolute; links in it are left as they are.
    pub(super) path: PathBuf,
    /// Behind the program's name.
    arguments: Vec<OsString>,
}

impl Program {
    /// To be asked at start, before files are replaced.
    pub(super) fn of_this_process() -> Self {
        let mut words = args_os();
        let name = words.next().unwrap_or_default();
        let own = read_link(OWN).unwrap_or_else(|_| PathBuf::from(&name));
        let path = as_called(&name).unwrap_or_else(|| undeleted(&own));
        Self { path, arguments: words.collect() }
    }

    /// The arguments of another process of `program`, its name first.
    ///
    /// # Errors
    /// There is a zero byte in one of them.
    pub(super) fn arguments(&self, program: &Path) -> io::Result<Vec<CString>> {
        let words = std::iter::once(program.as_os_str().to_owned()).chain(self.arguments.clone());
        words.map(|word| text(word.into_vec())).collect()
    }
}

/// `bytes` for the kernel.
///
/// # Errors
/// There is a zero byte in it.
pub(super) fn text(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// The path by which this program was called: the one of a package may be a link to a file that has
/// its version in its name.
fn as_called(name: &OsStr) -> Option<PathBuf> {
    let own = metadata(OWN).ok().map(|own| (own.dev(), own.ino()))?;
    let is_own =
        |path: &PathBuf| metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == own);
    if name.as_bytes().contains(&b'/') {
        let path = current_dir().ok()?.join(name);
        return absolute(path).ok().filter(is_own);
    }
    let paths = var_os("PATH")?;
    let found = split_paths(&paths).map(|directory| directory.join(name)).find(is_own)?;
    absolute(found).ok()
}

/// The path at which a program was that is not there any more.
fn undeleted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(OsStr::from_bytes(bytes))
}

const OWN: &str = "/proc/self/exe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_where_it_was_called() {
        let program = Program::of_this_process();
        assert!(program.path.is_absolute());
        let own = |path: &Path| metadata(path).map(|found| found.ino()).expect("it is there");
        assert_eq!(own(&program.path), own(Path::new(OWN)));
        let words = program.arguments(Path::new("/opt/next")).expect("no zero bytes");
        assert_eq!(words.first().map(|word| word.as_bytes()), Some(&b"/opt/next"[..]));
        assert_eq!(words.len(), args_os().count());
    }

    #[test]
    fn a_link_stays_a_link_and_a_deleted_file_has_its_old_name() {
        let dir = std::env::temp_dir().join(format!("rip-program-{}", std::process::id()));
        let link = dir.join("link");
        std::fs::create_dir_all(&dir).expect("a directory");
        std::os::unix::fs::symlink(read_link(OWN).expect("our file"), &link).expect("a link");
        assert_eq!(as_called(link.as_os_str()), Some(link.clone()));
        assert_eq!(as_called(OsStr::new("/bin/sh")), None, "another program of that name");
        std::fs::remove_dir_all(&dir).expect("it goes");
        assert_eq!(undeleted(Path::new("/opt/a b (deleted)")), Path::new("/opt/a b"));
    }
}
