//! What is in a store of sessions, as an SQLite that is not the master's finds it.

use super::server::Server;
use super::tools;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sessions of a store that nobody has open.
pub struct Stored(pub Value);

impl Stored {
    /// What is in the database at `path`, in which nothing may be wrong.
    #[track_caller]
    pub fn at(path: &Path) -> Self {
        let mut python = Command::new(tools::python());
        let output = tools::finish(python.arg(tools::app("store.py")).arg(path));
        assert!(output.status.success(), "{}", tools::both(&output));
        let found: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        assert_eq!(found["wrong"], serde_json::json!([]), "{}: {found:#}", path.display());
        Self(found)
    }

    /// The names of the sessions.
    pub fn names(&self) -> Vec<&str> {
        let sessions = self.0["sessions"].as_object().expect("sessions");
        sessions.keys().map(String::as_str).collect()
    }

    /// What is known of a session.
    #[track_caller]
    pub fn session(&self, id: &str) -> &Value {
        let found = &self.0["sessions"][id];
        assert!(found.is_object(), "{id} in {:?}", self.names());
        found
    }

    /// How many turns of a session are committed.
    #[track_caller]
    pub fn committed(&self, id: &str) -> u64 {
        self.session(id)["committed"].as_u64().expect("a number")
    }
}

impl Server {
    /// Where its sessions are kept.
    pub fn store(&self) -> PathBuf {
        self.path("state/sessions.db")
    }

    /// What is in its store, while it does not run.
    #[track_caller]
    pub fn stored(&self) -> Stored {
        Stored::at(&self.store())
    }

    /// Databases that were moved out of the way.
    pub fn moved_aside(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path("state")).into_iter().flatten().flatten();
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("sessions.db.broken-")
                && name.bytes().last().is_some_and(|byte| byte.is_ascii_digit())
        };
        files.map(|file| file.path()).filter(is_one).collect()
    }
}
