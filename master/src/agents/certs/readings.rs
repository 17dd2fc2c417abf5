//! Pairs as they were read, so that only what has changed is read again.

use crate::shared::cert_files::{self, Leaf, Wrong};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What was read last of each pair.
#[derive(Debug, Default)]
pub struct Readings {
    known: HashMap<(PathBuf, PathBuf), Reading>,
    /// Counts the rounds: what is not asked for in one is forgotten after it.
    round: u64,
}

#[derive(Debug)]
struct Reading {
    stamps: (Stamp, Stamp),
    result: Result<Leaf, Wrong>,
    round: u64,
}

/// What tells a file from another version of it: device, inode, size, last change of its content and
/// of itself.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

impl Readings {
    /// The pair as it is now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, cert: &Path, key: &Path) -> Result<Leaf, Wrong> {
        let name = (cert.to_owned(), key.to_owned());
        let now = SystemTime::now();
        let (Ok(of_cert), Ok(of_key)) = (stamp(cert, now), stamp(key, now)) else {
            self.known.remove(&name);
            return cert_files::read(cert, key);
        };
        let round = self.round;
        if let (Some(one), Some(other)) = (of_cert, of_key)
            && let Some(known) = self.known.get_mut(&name)
            && known.stamps == (one, other)
        {
            known.round = round;
            return known.result.clone();
        }
        let result = cert_files::read(cert, key);
        if let (Some(one), Some(other)) = (of_cert, of_key) {
            let reading = Reading { stamps: (one, other), result: result.clone(), round };
            self.known.insert(name, reading);
        }
        result
    }

    /// Forgets what was not asked for since this was called last.
    pub fn forget_others(&mut self) {
        let round = self.round;
        self.known.retain(|_, reading| reading.round == round);
        self.round += 1;
    }
}

/// `None` for a file that was changed so lately that its next change may look the same.
fn stamp(path: &Path, now: SystemTime) -> io::Result<Option<Stamp>> {
    let found = path.metadata()?;
    let age = now.duration_since(found.modified()?).unwrap_or_default();
    let changed = u64::try_from(found.ctime()).unwrap_or(0);
    let since_change = now
        .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(changed))
        .unwrap_or_default();
    if age.min(since_change) < UNSETTLED {
        return Ok(None);
    }
    Ok(Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    )))
}

/// Clocks of file systems are this coarse.
const UNSETTLED: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::fs;

    #[test]
    fn only_what_has_changed_is_read_again() {
        let dir = TestDir::make();
        let (cert, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
        let tls = format!("{}/../tests/tls", env!("CARGO_MANIFEST_DIR"));
        fs::copy(format!("{tls}/leaf.pem"), &cert).unwrap();
        fs::copy(format!("{tls}/leaf.key"), &key).unwrap();
        let mut readings = Readings::default();
        let first = readings.read(&cert, &key).unwrap();
        assert!(readings.known.is_empty(), "it is too young to be kept");
        fs::write(&key, "").unwrap();
        let wrong = readings.read(&cert, &key).unwrap_err();
        assert!(wrong.message.contains("no private key"), "{wrong}");
        let old =
            (PathBuf::from(format!("{tls}/leaf.pem")), PathBuf::from(format!("{tls}/leaf.key")));
        let kept = readings.read(&old.0, &old.1).unwrap();
        assert_eq!(kept.fingerprint, first.fingerprint);
        if readings.known.contains_key(&old) {
            let again = readings.read(&old.0, &old.1).unwrap();
            assert!(std::sync::Arc::ptr_eq(&kept.key, &again.key), "it was not read again");
        }
        readings.forget_others();
        readings.forget_others();
        assert!(readings.known.is_empty());
    }
}
