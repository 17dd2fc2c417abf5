//! Tells the program which commit it is built from, where that can be known.
//!
//! Read from the repository's files and not by asking git: there may be none, and a tarball has no
//! repository. The script runs again when one of the files that were read changes, and only then.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let commit = manifest.parent().and_then(|root| commit_of(&root.join(".git")));
    if let Some(commit) = commit {
        println!("cargo:rustc-env=RIP_GIT={commit}");
    }
}

/// The commit that is checked out, in full; `None` where there is no repository.
fn commit_of(git: &Path) -> Option<String> {
    let git = directory(git)?;
    let head = read(&git.join("HEAD"))?;
    let Some(reference) = head.strip_prefix("ref: ") else { return hash(&head) };
    // A worktree has a HEAD of its own, and its branches where the repository is.
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(common) => git.join(common.trim()),
        Err(_) => git,
    };
    if let Some(found) = read(&common.join(reference)) {
        return hash(&found);
    }
    let packed = read(&common.join("packed-refs"))?;
    let of_reference = |line: &str| line.strip_suffix(reference)?.strip_suffix(' ').and_then(hash);
    packed.lines().find_map(of_reference)
}

/// `.git` itself, or where it leads to.
fn directory(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let text = read(git)?;
    let place = Path::new(text.strip_prefix("gitdir: ")?);
    Some(git.parent()?.join(place))
}

/// The text of a file, which is watched from now on. One that is not there is not: a script that names
/// what does not exist runs with every build.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo:rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}

fn hash(text: &str) -> Option<String> {
    let is_hash = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}
