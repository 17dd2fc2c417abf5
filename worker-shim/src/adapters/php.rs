//! PHP: `php-cgi`, or else `php-fpm`, behind the FastCGI gateway.

use crate::host::{Program, check_file, missing};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Versions whose programs are looked for under names of their own, as Debian gives them.
const VERSIONS: [&str; 9] = ["8.5", "8.4", "8.3", "8.2", "8.1", "8.0", "7.4", "7.3", "7.2"];

/// Finds what runs `entry`: a script that answers everything, or a directory that is served.
pub(crate) fn prepare(
    program: &mut Program,
    spec: &WorkerSpec,
    entry: &str,
) -> Result<(), Failure> {
    let path = program.cwd().join(entry);
    if !path.is_dir() {
        check_file(&path)?;
    }
    let (kind, php) = find(program).ok_or_else(|| {
        missing(
            "PHP needs php-cgi or php-fpm, and neither was found on PATH; \
             install it with `apt install php-cgi`, or the like"
                .to_owned(),
        )
    })?;
    program.run_own([
        OsString::from("fastcgi"),
        kind.into(),
        php.into(),
        spec.concurrency.to_string().into(),
        path.into(),
    ]);
    Ok(())
}

/// What runs PHP, and which kind of program it is.
fn find(program: &Program) -> Option<(&'static str, PathBuf)> {
    ["php-cgi", "php-fpm"].into_iter().find_map(|kind| {
        let versioned = VERSIONS.iter().map(|version| format!("{kind}{version}"));
        let mut names = std::iter::once(kind.to_owned()).chain(versioned);
        let found = names.find_map(|name| program.search(OsStr::new(&name)));
        found.map(|path| (kind, path))
    })
}
