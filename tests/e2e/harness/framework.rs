//! Apps written for frameworks as their newcomers write them: each a directory of `apps/frameworks`.

use super::server::Setup;
use super::tools;
use std::fs;
use std::path::Path;

impl Setup {
    /// A copy of this app in the test's `app`, started by its directory alone. Where it has a
    /// `package.json` its packages are beside it, as after `npm install`.
    pub fn framework(name: &str) -> Self {
        Self::framework_entry(name, ".")
    }

    /// The same started by one of its files, or whatever is an entry there.
    pub fn framework_entry(name: &str, entry: &str) -> Self {
        Self::entry(entry).with_framework(name)
    }

    /// The same started as a command in its directory.
    pub fn framework_command(name: &str, argv: &[&str]) -> Self {
        Self::command(argv).with_framework(name)
    }

    /// A copy of what newcomers are shown under this name, started by its directory alone.
    pub fn example(name: &str) -> Self {
        Self::entry(".").with_copy(&tools::repository().join("examples").join(name))
    }

    /// Puts a copy of this app into the test's `app`.
    pub fn with_framework(self, name: &str) -> Self {
        self.with_copy(&Path::new(&tools::app("frameworks")).join(name))
    }

    fn with_copy(self, from: &Path) -> Self {
        let into = self.path("app");
        copy(from, &into);
        if into.join("package.json").exists() {
            let packages = tools::cache().join("node/node_modules");
            assert!(packages.exists(), "{} is missing: run scripts/setup", packages.display());
            std::os::unix::fs::symlink(packages, into.join("node_modules")).expect("its packages");
        }
        self
    }
}

/// Copies what is in a directory, with permissions; what tools have left there is left out.
fn copy(from: &Path, into: &Path) {
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    fs::create_dir_all(into).expect("a directory");
    for entry in entries {
        let entry = entry.expect("an entry of the app's directory");
        if ["__pycache__", "node_modules"].iter().any(|left| entry.file_name() == *left) {
            continue;
        }
        let target = into.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy of the app's file");
        }
    }
}
