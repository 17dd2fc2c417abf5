//! Files that the init system hands over as credentials (`$CREDENTIALS_DIRECTORY`): `credential:NAME`
//! in the place of a path.

use std::path::{Path, PathBuf};

/// The file that `path` means, seen from the directory `base`: the credential of that name where the
/// path says so and there are any, else what a path means.
pub fn place(base: &Path, path: &str) -> PathBuf {
    let given = std::env::var_os(DIRECTORY).map(PathBuf::from);
    place_in(given.as_deref(), base, path)
}

/// What is said of a credential that is not there, beside the path that was looked for.
pub fn hint(path: &str) -> Option<String> {
    let name = named(path)?;
    Some(format!("under systemd: LoadCredential={name}:/the/file in the unit"))
}

fn place_in(given: Option<&Path>, base: &Path, path: &str) -> PathBuf {
    match (named(path), given.filter(|given| given.is_absolute())) {
        (Some(name), Some(given)) => given.join(name),
        _ => base.join(path),
    }
}

/// The name of a credential: no path, which could lead out of their directory.
fn named(path: &str) -> Option<&str> {
    path.strip_prefix("credential:")
        .filter(|name| !name.is_empty() && !name.contains('/') && !matches!(*name, "." | ".."))
}

const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_is_a_credential() {
        let (given, base) = (Some(Path::new("/run/c")), Path::new("/srv"));
        let place = |given, path| place_in(given, base, path).display().to_string();
        assert_eq!(place(given, "credential:tls.key"), "/run/c/tls.key");
        for (path, meant) in [
            ("tls.key", "/srv/tls.key"),
            ("/etc/tls.key", "/etc/tls.key"),
            ("credential:", "/srv/credential:"),
            ("credential:..", "/srv/credential:.."),
            ("credential:../passwd", "/srv/credential:../passwd"),
        ] {
            assert_eq!(place(given, path), meant);
        }
        assert_eq!(place(None, "credential:x"), "/srv/credential:x");
        assert_eq!(place(Some(Path::new("c")), "credential:x"), "/srv/credential:x");
        assert!(hint("credential:x").is_some_and(|hint| hint.contains("LoadCredential=x:")));
        assert_eq!(hint("x"), None);
    }
}
