//! Certificates and their keys on the disk.
//!
//! A certificate and its key are one thing: the directory that holds both takes the place of the one
//! before it in a single step. Where the file system cannot exchange two directories, the old one
//! makes room first; who looks in that moment finds none, and what was interrupted there is
//! finished at the next start.

use crate::shared::cert_files::{self, CHAIN_FILE, KEY_FILE, Leaf};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use rip::tls::validity::Validity;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The directory of certificates, one directory for each name.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The certificates in `dir`, which need not be there yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What there is for `name`: a certificate that belongs to its key and is good for the name.
    pub fn read(&self, name: &str) -> Option<Leaf> {
        let _turn = self.turn();
        let dir = self.dir.join(name);
        let leaf = cert_files::read(&dir.join(CHAIN_FILE), &dir.join(KEY_FILE)).ok()?;
        covers(&leaf, name).then_some(leaf)
    }

    /// Puts a chain and its key, both PEM, in the place of what there is for `name`. The answer is
    /// what a later [`Self::read`] finds.
    ///
    /// # Errors
    /// When they do not belong together, are not for the name, or cannot be written: then what was
    /// there is there.
    pub fn write(&self, name: &str, chain: &str, key: &str) -> Result<Leaf, String> {
        let leaf = cert_files::parse(chain.as_bytes(), key.as_bytes())
            .map_err(|wrong| format!("the authority's certificate is of no use: {wrong}"))?;
        if !covers(&leaf, name) {
            return Err(format!("the authority's certificate is for {}", leaf.names.join(", ")));
        }
        let cannot = |error: io::Error| {
            format!("{} cannot be written: {error}", self.dir.join(name).display())
        };
        self.swap_in(name, chain.as_bytes(), key.as_bytes()).map_err(cannot)?;
        Ok(leaf)
    }

    /// Finishes what was interrupted when `name` was written last. To be called before the first read.
    pub fn mend(&self, name: &str) {
        let _turn = self.turn();
        let (own, new, old) = self.places(name);
        if !own.exists() {
            let whole = |dir: &PathBuf| {
                cert_files::read(&dir.join(CHAIN_FILE), &dir.join(KEY_FILE)).is_ok()
            };
            if let Some(found) = [&new, &old].into_iter().find(|dir| whole(dir))
                && let Err(error) = fs::rename(found, &own)
            {
                log::warn!("{} cannot be renamed: {error}", found.display());
            }
        }
        for left in [new, old] {
            remove(&left);
        }
    }

    fn swap_in(&self, name: &str, chain: &[u8], key: &[u8]) -> io::Result<()> {
        make_dir(&self.dir)?;
        let _turn = self.turn();
        let (own, new, old) = self.places(name);
        remove(&new);
        make_dir(&new)?;
        write_file(&new.join(KEY_FILE), key, 0o600)?;
        write_file(&new.join(CHAIN_FILE), chain, 0o644)?;
        File::open(&new)?.sync_all()?;
        match renameat2(AT_FDCWD, &new, AT_FDCWD, &own, RenameFlags::RENAME_EXCHANGE) {
            // What was there before is called `new` now.
            Ok(()) => remove(&new),
            Err(Errno::ENOENT) => fs::rename(&new, &own)?,
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                remove(&old);
                make_room(&own, &old)?;
                fs::rename(&new, &own)?;
                remove(&old);
            }
            Err(error) => return Err(error.into()),
        }
        File::open(&self.dir)?.sync_all()
    }

    /// Other servers of this user prepare theirs at the same places: one of them at a time. It lasts
    /// until the answer is dropped; one that stands still there, or a file system without locks, is
    /// not waited for.
    fn turn(&self) -> Option<File> {
        let dir = File::open(&self.dir).ok()?;
        let until = Instant::now() + TURN_WAIT;
        loop {
            match dir.try_lock() {
                Ok(()) => return Some(dir),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(TURN_PAUSE);
                }
                Err(error) => {
                    log::warn!("{} cannot be locked: {error}", self.dir.display());
                    return None;
                }
            }
        }
    }

    /// Where the certificate of `name` is, where the next one is prepared, and where the one before
    /// goes for a moment. No host name begins with a dot.
    fn places(&self, name: &str) -> (PathBuf, PathBuf, PathBuf) {
        let place = |name: String| self.dir.join(name);
        (place(name.to_owned()), place(format!(".{name}.new")), place(format!(".{name}.old")))
    }
}

/// From when until when it is good.
pub fn validity(leaf: &Leaf) -> Validity {
    Validity { not_before: leaf.not_before, not_after: leaf.not_after }
}

fn covers(leaf: &Leaf, name: &str) -> bool {
    leaf.names.iter().any(|of_leaf| of_leaf.eq_ignore_ascii_case(name))
}

fn make_room(own: &Path, old: &Path) -> io::Result<()> {
    match fs::rename(own, old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(dir)
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken more than was asked for.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

fn remove(dir: &Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("{} cannot be removed: {error}", dir.display());
        }
        _ => {}
    }
}

/// A pair is written in much less, but a turn has four syncs in it, a slow disk needs a second for
/// them, and turns are not given in the order in which they were asked for. A stop waits as long.
const TURN_WAIT: Duration = Duration::from_secs(15);
const TURN_PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use rcgen::{CertificateParams, KeyPair};

    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn mode(path: PathBuf) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_pair_takes_the_place_of_another_as_a_whole() {
        let dir = TestDir::make();
        let store = Store::new(dir.path().join("certs"));
        assert!(store.read("a.x").is_none());
        let mut last = String::new();
        for _ in 0..3 {
            let (chain, key) = made("a.x");
            let leaf = store.write("a.x", &chain, &key).unwrap();
            assert_ne!(leaf.fingerprint, last);
            assert_eq!(store.read("a.x").unwrap().fingerprint, leaf.fingerprint);
            last = leaf.fingerprint;
        }
        let own = dir.path().join("certs/a.x");
        assert_eq!((mode(own.join(KEY_FILE)), mode(own.join(CHAIN_FILE))), (0o600, 0o644));
        assert_eq!(fs::read_dir(dir.path().join("certs")).unwrap().count(), 1);
        assert!(store.read("b.x").is_none());
    }

    #[test]
    fn servers_that_write_at_once_leave_a_pair() {
        let dir = TestDir::make();
        let made: Vec<_> = (0..4).map(|_| made("a.x")).collect();
        std::thread::scope(|scope| {
            for (chain, key) in &made {
                scope.spawn(|| {
                    let store = Store::new(dir.path().join("certs"));
                    for _ in 0..6 {
                        store.mend("a.x");
                        store.write("a.x", chain, key).unwrap();
                        assert!(store.read("a.x").is_some(), "half of each");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path().join("certs")).unwrap().count(), 1);
    }

    #[test]
    fn what_does_not_belong_together_is_not_written() {
        let dir = TestDir::make();
        let store = Store::new(dir.path().to_owned());
        let ((chain, _), (_, key)) = (made("a.x"), made("a.x"));
        assert!(store.write("a.x", &chain, &key).unwrap_err().contains("belong together"));
        let (chain, key) = made("b.x");
        assert!(store.write("a.x", &chain, &key).unwrap_err().contains("is for b.x"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_moment_at_which_the_server_may_die_leaves_a_pair() {
        let dir = TestDir::make();
        let store = Store::new(dir.path().to_owned());
        let (chain, key) = made("a.x");
        let before = store.write("a.x", &chain, &key).unwrap().fingerprint;
        let (own, new, old) = store.places("a.x");
        // The next one is written by half.
        fs::create_dir(&new).unwrap();
        fs::write(new.join(CHAIN_FILE), "-----BEGIN").unwrap();
        store.mend("a.x");
        assert_eq!(store.read("a.x").unwrap().fingerprint, before);
        assert!(!new.exists());
        // The old one made room, and the next one is by half or not there.
        for half in [false, true] {
            fs::rename(&own, &old).unwrap();
            if half {
                fs::create_dir(&new).unwrap();
            }
            store.mend("a.x");
            assert_eq!(store.read("a.x").unwrap().fingerprint, before);
        }
        // It is whole: it is the newer one.
        let (chain, key) = made("a.x");
        let after = store.write("a.x", &chain, &key).unwrap().fingerprint;
        fs::rename(&own, &new).unwrap();
        store.mend("a.x");
        assert_eq!(store.read("a.x").unwrap().fingerprint, after);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
