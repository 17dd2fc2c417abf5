//! Python: an app under the adapter in `python/`, which reaches the interpreter through a memory
//! file, so that nothing has to be installed.

use crate::host::{Program, SCRIPT_FD, check_file, is_program};
use crate::report::Failure;
use rip::wire::spec::WorkerSpec;
use std::path::{Path, PathBuf};

/// The adapter's source text: parts that share one namespace, each using those above it only where
/// it is defined, and any other where it runs.
const SOURCE: &str = concat!(
    include_str!("python/common.py"),
    include_str!("python/kind.py"),
    include_str!("python/load.py"),
    include_str!("python/watch.py"),
    include_str!("python/body.py"),
    include_str!("python/request.py"),
    include_str!("python/response.py"),
    include_str!("python/wsgi.py"),
    include_str!("python/lifespan.py"),
    include_str!("python/asgi.py"),
    include_str!("python/main.py"),
);

/// What the interpreter is told to run. The name is none of a file: a traceback must not open what
/// has become of the descriptor.
fn command() -> String {
    format!("exec(compile(open({SCRIPT_FD}, 'rb').read(), '<rip-master>', 'exec'))")
}

/// Finds the interpreter, and what it is to run.
pub(crate) fn prepare(
    program: &mut Program,
    spec: &WorkerSpec,
    entry: &str,
) -> Result<(), Failure> {
    if let Some(file) = file_of(program.cwd(), entry) {
        check_file(&file)?;
    }
    let own = program.cwd().join(".venv/bin/python3");
    let interpreter = if is_program(&own) { own } else { program.need("python3")? };
    let concurrency = spec.concurrency.to_string();
    program.run(interpreter, ["-c", &command(), entry, &concurrency]);
    program.hand_over("rip-python", SOURCE)
}

/// The entry's file; `None` for `pkg.module:attr`, which the interpreter looks for.
fn file_of(cwd: &Path, entry: &str) -> Option<PathBuf> {
    let path = entry.rsplit_once(".py:").map_or(entry, |(stem, _)| &entry[..stem.len() + 3]);
    path.ends_with(".py").then(|| cwd.join(path))
}

/// Where the entry lives: `.env` is looked for there.
pub(crate) fn directory(cwd: &Path, entry: &str) -> PathBuf {
    file_of(cwd, entry)
        .and_then(|file| file.parent().map(Path::to_path_buf))
        .unwrap_or_else(|| cwd.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_modules_are_told_apart() {
        let cwd = Path::new("/srv");
        assert_eq!(file_of(cwd, "app.py"), Some(PathBuf::from("/srv/app.py")));
        assert_eq!(file_of(cwd, "a/app.py:wsgi"), Some(PathBuf::from("/srv/a/app.py")));
        assert_eq!(file_of(cwd, "/x/app.py"), Some(PathBuf::from("/x/app.py")));
        assert_eq!(file_of(cwd, "pkg.module:app"), None);
        assert_eq!(directory(cwd, "a/app.py"), PathBuf::from("/srv/a"));
        assert_eq!(directory(cwd, "pkg.module"), PathBuf::from("/srv"));
    }
}
