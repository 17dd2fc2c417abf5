//! Directories of certificates: each `<stem>.crt` or `<stem>.pem` with its `<stem>.key`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// A pair in a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// The chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The pairs in `dir`, by name. A certificate without a key beside it is somebody's issuer, and no
/// pair; hidden files are none either.
///
/// # Errors
/// Those of the system.
pub fn pairs(dir: &Path) -> io::Result<Vec<Pair>> {
    let mut names = BTreeSet::new();
    for entry in dir.read_dir()?.take(ENTRY_COUNT) {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.insert(name);
        }
    }
    let mut pairs: Vec<Pair> = Vec::new();
    for name in &names {
        let name = Path::new(name);
        let is_chain = |extension: &OsStr| extension == "crt" || extension == "pem";
        let key = name.with_extension("key");
        if !name.extension().is_some_and(is_chain) || !names.contains(key.as_os_str()) {
            continue;
        }
        let key = dir.join(key);
        // By name, `.crt` comes before `.pem`.
        if pairs.last().is_none_or(|last| last.key != key) {
            pairs.push(Pair { cert: dir.join(name), key });
        }
    }
    Ok(pairs)
}

/// A directory of more is none of certificates.
const ENTRY_COUNT: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_chain_and_a_key_of_one_stem_are_a_pair() {
        let dir = TestDir::make();
        let names = [
            "a.x.crt", "a.x.key", "b.crt", "b.key", "b.pem", "c.pem", "c.key", "ca.pem", "d.key",
            ".e.crt", ".e.key", "f.txt", "README",
        ];
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("..1")).unwrap();
        symlink("..1", dir.path().join("..data")).unwrap();
        symlink("..data/tls.crt", dir.path().join("tls.crt")).unwrap();
        symlink("..data/tls.key", dir.path().join("tls.key")).unwrap();
        let found: Vec<_> = pairs(dir.path())
            .unwrap()
            .into_iter()
            .map(|pair| pair.cert.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["a.x.crt", "b.crt", "c.pem", "tls.crt"]);
        assert!(pairs(&dir.path().join("none")).is_err());
    }
}
