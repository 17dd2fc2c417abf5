//! The directory a master lives in: claimed with a lock, cleaned of the dead, left empty.
//!
//! One master of a name may live at a time: whoever holds the lock on the pid file is it. While we
//! hold it every other subdirectory belongs to a master that died, whatever its pid is used for
//! now; or to the one that we succeed, until it has ended as well.

use super::start_error::StartError;
use crate::sys::lock::{LockError, PidFile};
use crate::sys::privilege::Identity;
use crate::sys::proc::is_alive;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, Gid, Uid, access, chown, fchownat, geteuid};
use rip::ids::{PoolNumber, WorkerId};
use rip::limits;
use rip::wire::runtime_dir::{CONTROL_SOCKET, PID_FILE, Places, worker_socket};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A claimed runtime directory. Dropping it removes what is ours and gives the claim up.
pub struct RuntimeDir {
    path: PathBuf,
    sockets: PathBuf,
    /// Removes the pid file when dropped.
    claim: PidFile,
}

impl RuntimeDir {
    /// Claims the directory of the master called `name`, where the environment says it belongs.
    ///
    /// # Errors
    /// When another master of this name lives, when the place is not ours alone, and when sockets
    /// in it would have paths too long for the kernel.
    pub fn claim(name: &str) -> Result<Self, StartError> {
        let variable = |name| std::env::var(name).ok();
        let (given, user) = (variable("RUNTIME_DIRECTORY"), variable("XDG_RUNTIME_DIR"));
        let places = Places {
            runtime_directory: given.as_deref(),
            xdg_runtime_dir: user.as_deref(),
            uid: geteuid().as_raw(),
        };
        // The parents of a directory that the init system made are its own.
        let shares_parent = places.runtime_directory.is_none_or(str::is_empty);
        Self::claim_in(Path::new(&places.directory(name)), name, shares_parent)
    }

    #[cfg(test)]
    fn claim_at(path: &Path, name: &str) -> Result<Self, StartError> {
        Self::claim_in(path, name, true)
    }

    fn claim_in(path: &Path, name: &str, shares_parent: bool) -> Result<Self, StartError> {
        let pid = std::process::id();
        let sockets = path.join(pid.to_string());
        check_length(&sockets.join(worker_socket(WorkerId(WIDEST_WORKER_ID))))?;
        check_length(&path.join(CONTROL_SOCKET))?;
        // A predictable place under /tmp may have been taken by somebody else before.
        if let Some(parent) = path.parent()
            && shares_parent
            && is_ours_by_name(parent)
        {
            own_directory(parent)?;
        }
        own_directory(path)?;
        let claim = PidFile::acquire(&path.join(PID_FILE)).map_err(|error| match error {
            LockError::Held { pid } => {
                let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                StartError::failed(format!(
                    "a master called {name} is already running with pid {pid}"
                ))
                .hint("stop it with `rip-master stop`, or start this one with another --name")
            }
            LockError::Io(error) => StartError::system(path.join(PID_FILE).display(), &error),
        })?;
        // One that a master left which had become somebody else.
        let trouble = |error: nix::Error| StartError::system(path.display(), &error.into());
        chown(path, Some(geteuid()), None).map_err(trouble)?;
        remove_leftovers(path)?;
        make_sockets(&sockets)?;
        Ok(Self { path: path.to_owned(), sockets, claim })
    }

    /// The directory `path` of a master that hands it on, with the file that locks it. What is in it
    /// stays that one's until [`Self::take_over`].
    ///
    /// # Errors
    /// It is another one's by now, or there can be nothing in it.
    pub fn handed_on(path: PathBuf, pid_file: File) -> Result<Self, StartError> {
        let claim = PidFile::handed_on(pid_file, &path.join(PID_FILE))
            .map_err(|error| StartError::system(path.display(), &error))?;
        let sockets = path.join(std::process::id().to_string());
        check_length(&sockets.join(worker_socket(WorkerId(WIDEST_WORKER_ID))))?;
        // Somebody who died may have had our number.
        let _nothing_usually = fs::remove_dir_all(&sockets);
        make_sockets(&sockets)?;
        Ok(Self { path, sockets, claim })
    }

    /// It is this master's from now on, whosever it was.
    ///
    /// # Errors
    /// The pid file cannot be written.
    pub fn take_over(&self) -> io::Result<()> {
        self.claim.claim()
    }

    /// The file that locks it.
    pub fn lock(&self) -> &File {
        self.claim.file()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what masters have left of themselves that are no more, whichever they were.
    pub fn forget_the_dead(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path() != self.sockets) {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if !is_alive(pid)
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                log::warn!("{} stays behind: {error}", entry.path().display());
            }
        }
    }

    /// Removes what a master has left here that was killed.
    pub fn forget(&self, pid: u32) {
        let left = self.path.join(pid.to_string());
        if left != self.sockets
            && let Err(error) = fs::remove_dir_all(&left)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} stays behind: {error}", left.display());
        }
    }

    /// Where the control socket of the workers is.
    pub fn worker_control(&self) -> PathBuf {
        self.sockets.join(CONTROL_SOCKET)
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> PathBuf {
        self.path.join(CONTROL_SOCKET)
    }

    /// Where the workers' sockets are.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Where the worker's socket is.
    pub fn worker_socket(&self, worker: WorkerId) -> PathBuf {
        self.sockets.join(worker_socket(worker))
    }

    /// Where the socket of a worker is that the app binds itself, as `user`: in a directory of that
    /// user's own, one for each pool, to which the way is open. Others learn no names on it.
    ///
    /// # Errors
    /// There is no such user, the system refuses a directory, or the path would be too long.
    pub fn socket_of_user(
        &self,
        pool: PoolNumber,
        user: &str,
        worker: WorkerId,
    ) -> io::Result<PathBuf> {
        let user = find_user(user)?;
        if user.uid == geteuid() {
            return Ok(self.worker_socket(worker));
        }
        let directory = self.sockets.join(pool.to_string());
        match DirBuilder::new().mode(PRIVATE).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let socket = directory.join(worker_socket(worker));
        check_length(&socket).map_err(io::Error::other)?;
        // What is somebody else's only root may change.
        if fs::metadata(&directory)?.uid() != user.uid.as_raw() {
            fs::set_permissions(&directory, Permissions::from_mode(OF_USER))?;
            chown(&directory, Some(user.uid), None)?;
        }
        let parent = self.path.parent().filter(|parent| is_ours_by_name(parent));
        parent.into_iter().chain([self.path.as_path(), &self.sockets]).try_for_each(open_way)?;
        Ok(socket)
    }

    /// Makes it and all that is in it the property of who this process becomes, and opens the way to
    /// it.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn hand_over(&self, uid: Uid, gid: Gid) -> io::Result<()> {
        let parent = self.path.parent().filter(|parent| is_ours_by_name(parent));
        parent.into_iter().try_for_each(open_way)?;
        let inside = [self.path.join(PID_FILE), self.control_socket(), self.worker_control()];
        let inside = inside.iter().filter(|path| path.symlink_metadata().is_ok());
        for path in inside.chain([&self.sockets, &self.path]) {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// Whether this process can still work in it.
    ///
    /// # Errors
    /// It cannot: the way is closed to who it has become.
    pub fn reach(&self) -> io::Result<()> {
        let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
        let reached = access(&self.sockets, all);
        reached.map_err(|errno| io::Error::other(format!("{}: {errno}", self.sockets.display())))
    }

    /// The pool has no worker any more.
    pub fn forget_pool(&self, pool: PoolNumber) {
        let directory = self.sockets.join(pool.to_string());
        if let Err(error) = take_back(&directory).and_then(|()| fs::remove_dir_all(&directory))
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} stays behind: {error}", directory.display());
        }
    }
}

/// Makes a socket ours that an app has bound as another user, with whatever mode: else who has given
/// up being root could not connect to it. The app still accepts there.
///
/// # Errors
/// It is not there, is no socket, or cannot be taken.
pub fn take_socket(path: &Path) -> io::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    // The directory is the app's: what the name leads to may change between any two looks.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let socket = open(path, flags, Mode::empty())?;
    let found = fstat(&socket)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
        return Err(io::Error::other("the app has put something else where its socket belongs"));
    }
    Ok(fchownat(&socket, "", Some(geteuid()), None, AtFlags::AT_EMPTY_PATH)?)
}

fn find_user(name: &str) -> io::Result<Identity> {
    Identity::find(name)?.ok_or_else(|| io::Error::other(format!("there is no user {name}")))
}

/// Lets everybody go through a directory who knows a name in it.
fn open_way(step: &Path) -> io::Result<()> {
    let mode = fs::metadata(step)?.mode() & 0o7777;
    if mode & PASSABLE != PASSABLE {
        fs::set_permissions(step, Permissions::from_mode(mode | PASSABLE))?;
    }
    Ok(())
}

/// Makes a directory ours that was given to the user of an app: what is in it can be removed then.
fn take_back(directory: &Path) -> io::Result<()> {
    if fs::symlink_metadata(directory)?.uid() != geteuid().as_raw() {
        chown(directory, Some(geteuid()), None)?;
        fs::set_permissions(directory, Permissions::from_mode(PRIVATE))?;
    }
    Ok(())
}

fn make_sockets(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().mode(PRIVATE).create(path);
    made.map_err(|error| StartError::system(path.display(), &error))
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        for pool in fs::read_dir(&self.sockets).into_iter().flatten().flatten() {
            if pool.file_type().is_ok_and(|kind| kind.is_dir()) {
                // If it does not work its removal tells why.
                let _ = take_back(&pool.path());
            }
        }
        let sockets = fs::remove_dir_all(&self.sockets);
        // Somebody may have removed the directory, and another master have made it its own.
        let control =
            if self.claim.is_ours() { fs::remove_file(self.control_socket()) } else { Ok(()) };
        for (what, result) in [("worker sockets", sockets), ("control socket", control)] {
            if let Err(error) = result
                && error.kind() != io::ErrorKind::NotFound
            {
                log::warn!("the {what} in {} stay behind: {error}", self.path.display());
            }
        }
    }
}

/// Makes `path` a directory that nobody else can look into or change.
fn own_directory(path: &Path) -> Result<(), StartError> {
    let trouble = |error: &io::Error| {
        StartError::system(format!("the runtime directory {}", path.display()), error)
            .hint("set XDG_RUNTIME_DIR to a directory of your own")
    };
    DirBuilder::new()
        .mode(PRIVATE)
        .recursive(true)
        .create(path)
        .map_err(|error| trouble(&error))?;
    let found = fs::symlink_metadata(path).map_err(|error| trouble(&error))?;
    if !found.is_dir() || !is_trusted(path, found.uid()) {
        return Err(StartError::permission(format!(
            "the runtime directory {} belongs to somebody else",
            path.display()
        ))
        .hint("remove it, or set XDG_RUNTIME_DIR to a directory of your own"));
    }
    // The way to apps of other users may be open.
    if found.mode() & 0o7777 & !PASSABLE != PRIVATE {
        fs::set_permissions(path, Permissions::from_mode(PRIVATE))
            .map_err(|error| trouble(&error))?;
    }
    Ok(())
}

/// Whether a directory at `path` that is the user `owner`'s can be our master's: our own, and for root
/// also one where only root could have put it, made for a master that has become somebody else.
pub fn is_trusted(path: &Path, owner: u32) -> bool {
    let is_by_root = || {
        let parent = path.parent().and_then(|parent| fs::metadata(parent).ok());
        parent.is_some_and(|parent| parent.uid() == 0 && parent.mode() & WRITABLE_BY_OTHERS == 0)
    };
    owner == geteuid().as_raw() || (geteuid().is_root() && is_by_root())
}

/// Whether a parent directory is one that masters share, made by whichever came first.
fn is_ours_by_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "rip" || name.to_string_lossy().starts_with("rip-"))
}

/// Removes what masters that died have left: their sockets and directories.
fn remove_leftovers(path: &Path) -> Result<(), StartError> {
    let trouble =
        |error: io::Error| StartError::system(format!("leftovers in {}", path.display()), &error);
    for entry in fs::read_dir(path).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_pid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        if is_pid && entry.file_type().map_err(trouble)?.is_dir() {
            fs::remove_dir_all(entry.path()).map_err(trouble)?;
        } else if name == CONTROL_SOCKET {
            fs::remove_file(entry.path()).map_err(trouble)?;
        }
    }
    Ok(())
}

fn check_length(path: &Path) -> Result<(), StartError> {
    let length = path.as_os_str().len();
    if length <= limits::SOCKET_PATH_BYTES {
        return Ok(());
    }
    Err(StartError::configuration(format!(
        "the socket path {} has {length} bytes; the system allows {}",
        path.display(),
        limits::SOCKET_PATH_BYTES
    ))
    .hint("use a shorter --name, or set XDG_RUNTIME_DIR to a shorter directory"))
}

const PRIVATE: u32 = 0o700;
/// Its user makes files in it, the master goes through it.
const OF_USER: u32 = 0o710;
/// Whoever knows a name below may go there.
const PASSABLE: u32 = 0o011;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Workers get no wider ids than this within any life of a master.
const WIDEST_WORKER_ID: u64 = 999_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rip-rd-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory for the test");
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_claim_is_private_exclusive_and_leaves_nothing() {
        let place = Place::new("claim");
        let path = place.0.join("api");
        let claimed = RuntimeDir::claim_at(&path, "api").expect("the first claim");
        assert_eq!(fs::metadata(&path).expect("made").mode() & 0o7777, PRIVATE);
        let socket = claimed.worker_socket(WorkerId(3));
        assert!(socket.ends_with(format!("{}/w3.sock", std::process::id())));
        fs::write(&socket, "").expect("a socket");
        fs::write(claimed.control_socket(), "").expect("a socket");
        let second = RuntimeDir::claim_at(&path, "api").map(|_| ()).expect_err("one at a time");
        assert_eq!(second.exit_code, 1);
        let pid = std::process::id().to_string();
        assert!(second.message.ends_with(&format!("already running with pid {pid}")), "{second}");
        drop(claimed);
        assert_eq!(fs::read_dir(&path).expect("still there").count(), 0);
        RuntimeDir::claim_at(&path, "api").expect("free again");
    }

    #[test]
    fn an_app_of_another_user_gets_a_directory_of_its_own() {
        let place = Place::new("user");
        let path = place.0.join("rip/api");
        let claimed = RuntimeDir::claim_at(&path, "api").expect("a claim");
        let (pool, worker) = (PoolNumber(2), WorkerId(3));
        let own = find_user(&geteuid().to_string()).expect("ourselves");
        let socket = claimed.socket_of_user(pool, &own.name, worker).expect("a path");
        assert_eq!(socket, claimed.worker_socket(worker));
        assert!(claimed.socket_of_user(pool, "no such user", worker).is_err());
        if !geteuid().is_root() {
            return;
        }
        let socket = claimed.socket_of_user(pool, "nobody", worker).expect("a path");
        assert!(socket.ends_with("p2/w3.sock"), "{}", socket.display());
        let found = fs::metadata(socket.parent().expect("a directory")).expect("it is made");
        let nobody = find_user("nobody").expect("nobody is somebody");
        assert_eq!((found.uid(), found.mode() & 0o7777), (nobody.uid.as_raw(), OF_USER));
        for step in [&place.0.join("rip"), &path, &claimed.sockets] {
            assert_eq!(fs::metadata(step).expect("a step").mode() & 0o7777, PRIVATE | PASSABLE);
        }
        claimed.forget_pool(pool);
        assert!(!socket.parent().expect("a directory").exists());
        own_directory(&path).expect("it is ours");
        assert_eq!(fs::metadata(&path).expect("kept").mode() & 0o7777, PRIVATE | PASSABLE);
    }

    #[test]
    fn what_another_master_made_of_a_removed_directory_is_left_alone() {
        let place = Place::new("removed");
        let path = place.0.join("api");
        let first = RuntimeDir::claim_at(&path, "api").expect("the first claim");
        fs::remove_dir_all(&path).expect("somebody tidies up");
        let second = RuntimeDir::claim_at(&path, "api").expect("nobody holds it");
        fs::write(second.control_socket(), "").expect("a socket");
        drop(first);
        assert!(second.control_socket().exists());
    }

    #[test]
    fn the_dead_are_cleaned_away_and_strangers_files_are_left() {
        let place = Place::new("dead");
        let path = place.0.join("api");
        fs::create_dir_all(path.join("4711")).expect("a dead master's directory");
        fs::write(path.join("4711/w1.sock"), "").expect("a dead worker's socket");
        fs::write(path.join("notes"), "").expect("a file of somebody");
        fs::write(path.join(CONTROL_SOCKET), "").expect("a dead control socket");
        let claimed = RuntimeDir::claim_at(&path, "api").expect("the dead hold nothing");
        assert!(!path.join("4711").exists() && !claimed.control_socket().exists());
        assert!(path.join("notes").exists());
    }

    #[test]
    fn a_symlink_or_a_long_path_is_refused() {
        let place = Place::new("bad");
        std::os::unix::fs::symlink("/tmp", place.0.join("link")).expect("a link");
        let error = RuntimeDir::claim_at(&place.0.join("link"), "x").map(|_| ());
        assert_eq!(error.expect_err("not a directory of ours").exit_code, 77);
        let long = place.0.join("x".repeat(100));
        let error = RuntimeDir::claim_at(&long, "x").map(|_| ()).expect_err("too long");
        assert_eq!(error.exit_code, 78);
    }
}
