//! The `.env` beside an app's entry.
//!
//! It is read as the app's user, when it is needed. One that only the master may read (its own, mode
//! 0600) is read before the shim becomes that user, but only where no symbolic link leads to it: the
//! app's user, who may own the directory, could otherwise point at any file of the master's.

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::geteuid;
use rip::wire::dotenv;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file, and its text as far as the master had to read it.
pub(crate) struct EnvFile {
    path: PathBuf,
    masters: Option<String>,
}

impl EnvFile {
    /// The file in `directory`, for a shim that stays who it is.
    pub(crate) fn beside(directory: &Path) -> Self {
        Self { path: directory.join(".env"), masters: None }
    }

    /// The same before the shim becomes another user.
    pub(crate) fn before_the_change(directory: &Path) -> Self {
        let file = Self::beside(directory);
        Self { masters: read_own(&file.path).ok(), ..file }
    }

    /// Its assignments in order; none when it is not there. What is odd about it is told on standard
    /// error, because the app may miss a setting.
    pub(crate) fn assignments(&self) -> Vec<(String, String)> {
        let text = match (read(&self.path), &self.masters) {
            (Ok(text), _) => text,
            (Err(error), _) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            (Err(error), Some(text)) if error.kind() == ErrorKind::PermissionDenied => text.clone(),
            (Err(error), _) => {
                eprintln!("{} cannot be read: {error}", self.path.display());
                return Vec::new();
            }
        };
        let (pairs, odd) = dotenv::parse(&text);
        for line in odd {
            eprintln!("{}: line {line} is not NAME=value; it is skipped", self.path.display());
        }
        pairs
    }
}

/// Reads a file as whoever we are. What is no file, or longer than any of settings, is refused before a
/// byte of it is read: a pipe would keep us waiting, a device has no end.
fn read(path: &Path) -> io::Result<String> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if meta.len() > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    text_of(file)
}

fn text_of(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file of our own that nobody else could have put in this place.
fn read_own(path: &Path) -> io::Result<String> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = File::from(openat2(AT_FDCWD, path, how)?);
    let meta = file.metadata()?;
    // A second name may have been given to it by anybody, where the system allows that.
    let is_ours = meta.is_file() && meta.uid() == geteuid().as_raw() && meta.nlink() == 1;
    if !is_ours || meta.len() > LONGEST {
        return Err(ErrorKind::PermissionDenied.into());
    }
    text_of(file)
}

/// More than this is no file of settings.
const LONGEST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("rip-env-file-{}-{name}", std::process::id());
            // The way there must have no symbolic link of the system's own.
            let path = std::env::temp_dir().canonicalize().expect("there").join(name);
            fs::create_dir_all(path.join("app")).expect("a directory for the test");
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_masters_own_file_is_read_unless_a_link_leads_to_it() {
        let place = Place::new("links");
        let own = place.0.join("own");
        fs::write(&own, "A=1\n").expect("written");
        assert_eq!(read_own(&own).ok().as_deref(), Some("A=1\n"));
        let link = place.0.join("app/.env");
        std::os::unix::fs::symlink(&own, &link).expect("linked");
        assert!(read_own(&link).is_err(), "a symbolic link");
        let way = place.0.join("way");
        std::os::unix::fs::symlink(&place.0, &way).expect("linked");
        assert!(read_own(&way.join("own")).is_err(), "a symbolic link on the way");
        fs::hard_link(&own, place.0.join("second")).expect("linked");
        assert!(read_own(&own).is_err(), "a second name");
        assert!(read_own(&place.0.join("app")).is_err(), "a directory");
    }

    #[test]
    fn what_is_no_file_or_has_no_end_is_not_read() {
        let place = Place::new("odd");
        let path = place.0.join("app/.env");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(read(&path).is_err(), "a pipe that nobody writes to");
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("linked");
        assert!(read(&path).is_err(), "a device");
        fs::remove_file(&path).expect("removed");
        File::create(&path).and_then(|file| file.set_len(LONGEST + 1)).expect("a long file");
        assert!(read(&path).is_err(), "a long file");
        fs::write(&path, "A=1\n").expect("written");
        assert_eq!(read(&path).ok().as_deref(), Some("A=1\n"));
    }

    #[test]
    fn a_file_that_is_not_there_assigns_nothing() {
        assert!(EnvFile::beside(Path::new("/nonexistent")).assignments().is_empty());
    }
}
