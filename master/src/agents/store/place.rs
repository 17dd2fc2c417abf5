//! Where a store lies, and what lies beside it.
//!
//! ```text
//!  sessions.db  -wal  -shm      the database
//!  session.key                  what tokens are made with
//!  sessions.db.lock             held by who opens the database, or moves it out of the way
//!  sessions.db.e7               held by the master of epoch 7 for as long as it lives
//!  sessions.db.broken-1773…     a database that made no sense
//! ```

use super::trouble::{Kind, Trouble};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use rip::contract::config::Config;
use rip::session::Epoch;
use rip::time::UnixMillis;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where a store lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In memory: it ends with the master.
    Memory,
    /// In this file.
    File(PathBuf),
}

impl Place {
    /// The place that `text` names: `:memory:` or a path.
    pub fn of(text: &Path) -> Self {
        if text.as_os_str() == ":memory:" { Self::Memory } else { Self::File(text.to_owned()) }
    }

    /// The place of the store of `config`, where what outlives the master is in `state_dir`.
    pub fn chosen(config: &Config, state_dir: &Path) -> Self {
        match &config.edge.store {
            Some(text) => Self::of(Path::new(text)),
            None => Self::File(state_dir.join("sessions.db")),
        }
    }

    /// Whether there can ever be a store: its directory is there, or can be made, and is ours to write. What
    /// may pass (a full disk, one that may only be read) is no reason against it.
    ///
    /// # Errors
    /// Why there cannot, in one clause.
    pub fn check(&self) -> io::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let wrong = |kind, what: String| {
            Err(io::Error::new(kind, format!("the store of sessions: {what}")))
        };
        if path.is_dir() {
            return wrong(
                io::ErrorKind::IsADirectory,
                format!("{} is a directory", path.display()),
            );
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        let shown = dir.display();
        match make_dir(path) {
            Err(error) if may_pass(error.kind()) => return Ok(()),
            Err(error) => return wrong(error.kind(), format!("{shown} cannot be made: {error}")),
            Ok(()) if !dir.is_dir() => {
                return wrong(io::ErrorKind::NotADirectory, format!("{shown} is no directory"));
            }
            Ok(()) => {}
        }
        match access(dir, AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from) {
            Err(error) if !may_pass(error.kind()) => {
                wrong(error.kind(), format!("{shown} cannot be written: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// There is room for a large turn on its disk, or nobody can tell.
    pub fn has_room(&self) -> bool {
        let Self::File(path) = self else { return true };
        statvfs(path).map_or(true, |disk| {
            disk.blocks_available().saturating_mul(disk.fragment_size()) >= ROOM
        })
    }

    /// As it is told.
    pub fn shown(&self) -> String {
        match self {
            Self::Memory => ":memory:".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// It may be over when it is tried again, without anybody changing what was configured.
fn may_pass(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(kind, QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// `path` with `suffix` behind its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes `path` an empty file where there is none; it is for nobody but us.
///
/// A file that is there is not opened: closing it again would give up the locks of every connection of
/// this process that has it open (`fcntl(2)`).
pub fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return sync_dir(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // Whether it can be read at least is for the database to say.
        Err(_) if path.exists() => {}
        Err(error) => return Err(error),
    }
    if fs::metadata(path)?.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Makes the directory of `path` where there is none, for nobody but us.
pub fn make_dir(path: &Path) -> io::Result<()> {
    match path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
        Some(dir) => DirBuilder::new().recursive(true).mode(0o700).create(dir),
        None => Ok(()),
    }
}

/// Which file `path` leads to.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The right to open the database at `path`, or to move it away; waited for.
pub fn opening(path: &Path) -> Result<File, Trouble> {
    let file = lock_file(&beside(path, ".lock"))?;
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                let detail = "another master has been opening it for too long".to_owned();
                return Err(Trouble { kind: Kind::Busy, detail });
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// The mark of a master that lives: its epoch is not free. The file goes with it.
#[derive(Debug)]
pub struct Living {
    path: PathBuf,
    _lock: File,
}

impl Living {
    /// Marks `epoch` of the database at `path` as ours; `None` when somebody else lives in it.
    pub fn mark(path: &Path, epoch: Epoch) -> io::Result<Option<Self>> {
        let path = epoch_path(path, epoch);
        let file = lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { path, _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        // No epoch is taken twice: nobody else can want this file.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether nobody lives in `epoch`. An error is no: then nothing is taken from anybody.
pub fn is_free(path: &Path, epoch: Epoch) -> bool {
    match File::open(epoch_path(path, epoch)) {
        Ok(file) => file.try_lock_shared().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The epochs somebody lives in; marks of the dead are removed. Only with the right to open.
pub fn living(path: &Path) -> io::Result<Vec<Epoch>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let prefix = format!("{}.e", name.to_string_lossy());
    let mut living = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse().ok());
        let Some(epoch) = number.map(Epoch) else { continue };
        if is_free(path, epoch) {
            fs::remove_file(entry.path())?;
        } else {
            living.push(epoch);
        }
    }
    Ok(living)
}

/// Moves the database at `path` out of the way, with all that belongs to it; where to is returned.
/// Only with the right to open.
pub fn move_aside(path: &Path, now: UnixMillis) -> io::Result<PathBuf> {
    let (mut number, mut to) = (now.0, PathBuf::new());
    while to.as_os_str().is_empty() || to.exists() {
        to = beside(path, &format!(".broken-{number}"));
        number = number.saturating_add(1);
    }
    // The log first: without it the database is as good as before, with another's it is not.
    for suffix in ["-wal", "-shm", "-journal", ""] {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_dir(path)?;
    Ok(to)
}

/// What tokens are made with: read from `session.key` beside `path`, or made. A file that is none is
/// moved away, and said so; that a database is without its key is, too. Only with the right to open.
pub fn secret(path: &Path, now: UnixMillis) -> Result<([u8; 32], Option<PathBuf>), Trouble> {
    let is_used = fs::metadata(path).is_ok_and(|database| database.len() > 0);
    let path = path.with_file_name("session.key");
    let mut moved = None;
    match fs::read(&path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(secret) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                return Ok((secret, None));
            }
            Err(_) => {
                let to = beside(&path, &format!(".broken-{}", now.0));
                fs::rename(&path, &to)?;
                moved = Some(to);
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if is_used {
                let shown = path.display();
                log::warn!(
                    "{shown} is gone: tokens that are told of turns before will not be good"
                );
            }
        }
        Err(error) => return Err(error.into()),
    }
    let secret = random()?;
    let new = beside(&path, ".new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    // Nobody is given a token before its key has lasted.
    fs::rename(&new, &path)?;
    sync_dir(&path)?;
    Ok((secret, moved))
}

/// Bytes that nobody can guess.
pub fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    crate::sys::random::random(&mut bytes)?;
    Ok(bytes)
}

fn epoch_path(path: &Path, epoch: Epoch) -> PathBuf {
    beside(path, &format!(".e{epoch}"))
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Input, state and outcome at their largest, and what their pages take besides.
const ROOM: u64 = 8 << 20;
