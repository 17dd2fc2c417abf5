//! The program of this master, as the next one is started from: by its path, where a package may
//! have put another one by then.

use std::env::{args_os, current_dir, split_paths, var_os};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{metadata, read_link, symlink_metadata};
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

/// Whether nobody but root can put another file in the place of the one at `path`, nor change it: who is
/// handed rights of root must be nobody else's to choose.
///
/// # Errors
/// It is not there.
pub(super) fn is_roots_alone(path: &Path) -> io::Result<bool> {
    // The links on the way, and what they lead to.
    for way in [path, &path.canonicalize()?] {
        for step in way.ancestors().filter(|step| !step.as_os_str().is_empty()) {
            let found = symlink_metadata(step)?;
            let is_link = found.file_type().is_symlink();
            let is_kept = found.mode() & WRITABLE_BY_OTHERS == 0 || found.mode() & STICKY != 0;
            if found.uid() != 0 || !(is_link || is_kept) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

const WRITABLE_BY_OTHERS: u32 = 0o022;
/// In such a directory everybody may make files, and nobody may replace those of others.
const STICKY: u32 = 0o1000;
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
    fn a_program_that_others_can_change_is_not_roots_alone() {
        use std::os::unix::fs::{PermissionsExt, chown};
        assert!(is_roots_alone(Path::new("/bin/sh")).expect("a shell"));
        assert!(is_roots_alone(Path::new("/nonexistent")).is_err());
        let path = std::env::temp_dir().join(format!("rip-alone-{}", std::process::id()));
        std::fs::write(&path, "").expect("a file");
        let is_root = metadata(&path).expect("it is there").uid() == 0;
        assert_eq!(is_roots_alone(&path).expect("it is there"), is_root);
        let mode = std::fs::Permissions::from_mode(0o775);
        std::fs::set_permissions(&path, mode).expect("our own");
        assert!(!is_roots_alone(&path).expect("it is there"), "its group can write it");
        if is_root {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
            chown(&path, Some(1), None).expect("root may");
            assert!(!is_roots_alone(&path).expect("it is there"), "it is somebody else's");
        }
        std::fs::remove_file(&path).expect("it goes");
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
