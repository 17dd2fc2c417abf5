//! What is remembered of each name's orders: a file for each, `renewals/<name>.json` beside the
//! certificates.

use crate::shared::cert_files::write_whole;
use rip::tls::challenge::Challenge;
use rip::tls::past::Past;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What is remembered of one name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// The directory of the authority that gave the last certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The directory of the authority that the orders were for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// How it was shown that the name is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
    /// What came of the last order: `ok`, or what was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The orders.
    pub past: Past,
}

impl Memory {
    /// What is remembered of `name` beside the certificates in `certs`: nothing where there is no
    /// file, or none that makes sense.
    pub fn read(certs: &Path, name: &str) -> Self {
        let path = path(certs, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                log::warn!("{} cannot be read: {error}", path.display());
                return Self::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            log::warn!("{} makes no sense: {error}", path.display());
            Self::default()
        })
    }

    /// Remembers it.
    ///
    /// # Errors
    /// Those of the system, with the file's name.
    pub fn write(&self, certs: &Path, name: &str) -> Result<(), String> {
        let path = path(certs, name);
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        let dir = path.parent().unwrap_or(certs);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .and_then(|()| write_whole(&path, &text, 0o644))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}

fn path(certs: &Path, name: &str) -> PathBuf {
    // No public name is called `renewals`: that has no dot.
    certs.join("renewals").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::test_dir::TestDir;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_nothing() {
        let dir = TestDir::make();
        assert_eq!(Memory::read(dir.path(), "a.x"), Memory::default());
        let mut past = Past::default();
        (past.attempted, past.under_way) = (Some(7), true);
        let memory = Memory {
            authority: Some("https://ca.test/dir".to_owned()),
            asked: Some("https://other.test/dir".to_owned()),
            challenge: Some(Challenge::Http),
            result: Some("ok".to_owned()),
            past,
        };
        memory.write(dir.path(), "a.x").unwrap();
        assert_eq!(Memory::read(dir.path(), "a.x"), memory);
        fs::write(path(dir.path(), "a.x"), "{").unwrap();
        assert_eq!(Memory::read(dir.path(), "a.x"), Memory::default());
        fs::write(dir.path().join("file"), "").unwrap();
        let wrong = memory.write(&dir.path().join("file"), "a.x").unwrap_err();
        assert!(wrong.contains("a.x.json cannot be written"), "{wrong}");
    }
}
