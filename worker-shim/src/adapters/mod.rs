//! Apps in other languages: how each is found and started, one file a runtime. What serves them is a
//! small program of ours in their language, a server that people of that language trust, or one of
//! the [gateways](crate::gateway).

pub(crate) mod bun;
pub(crate) mod cgi;
pub(crate) mod node;
pub(crate) mod php;
pub(crate) mod python;
pub(crate) mod ruby;
mod shebang;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A descriptor from which an interpreter reads `text`.
pub(crate) fn script(name: &str, text: &str) -> Result<OwnedFd, Errno> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())
        .and_then(|()| file.rewind())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    Ok(file.into())
}

/// Where `entry`, a file or a directory, lives: `.env` is looked for there. That of a package is beside
/// what describes it, wherever in the package its entry is.
pub(crate) fn directory(cwd: &Path, entry: &str) -> PathBuf {
    let path = cwd.join(entry);
    let is_package = PACKAGES.iter().any(|name| cwd.join(name).is_file());
    match path.parent() {
        _ if is_package && path.starts_with(cwd) => cwd.to_path_buf(),
        Some(parent) if !path.is_dir() => parent.to_path_buf(),
        _ => path,
    }
}

/// What describes a package.
const PACKAGES: &[&str] = &["package.json", "composer.json"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_settings_beside_what_describes_it() {
        let root = std::env::temp_dir().join(format!("rip-package-{}", std::process::id()));
        let entry = root.join("src/server.js");
        std::fs::create_dir_all(root.join("src")).unwrap();
        std::fs::write(&entry, "").unwrap();
        let of = |cwd: &Path, entry: &Path| directory(cwd, entry.to_str().unwrap());
        assert_eq!(of(&root, &entry), root.join("src"));
        assert_eq!(of(&root, &root.join("src")), root.join("src"));
        std::fs::write(root.join("package.json"), "{}").unwrap();
        assert_eq!(of(&root, &entry), root);
        assert_eq!(of(&root.join("src"), &entry), root.join("src"));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
