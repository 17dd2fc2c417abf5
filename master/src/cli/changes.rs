//! What a change of the app's files does, which files those are, and what runs before its workers.

use super::args::Start;
use super::entry;
use super::exit::Failure;
use rip::contract::app::{Launch, Reload, Runtime};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How changes are followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Following {
    /// What a change does.
    pub reload: Reload,
    /// The names of files that matter.
    pub globs: Vec<String>,
    /// Reloads inside one worker before it is replaced.
    pub max_reloads: Option<u32>,
}

/// How the flags want changes to be followed.
///
/// # Errors
/// Flags that contradict each other or the runtime.
pub(super) fn following(start: &Start, runtime: Runtime) -> Result<Following, Failure> {
    let flags = &start.changes;
    let asked = flags.reload.filter(|reload| *reload != Reload::None);
    if flags.is_static && asked.is_some() {
        return Err(Failure::usage("--static says that the app's files do not change")
            .tip("leave --static or --reload out"));
    }
    if asked == Some(Reload::Module) && !runtime.reloads_modules() {
        return Err(Failure::usage("--reload=module is for Python and Node apps")
            .tip("--reload=process replaces the workers of any app"));
    }
    let globs = if flags.watch.is_empty() { by_default(runtime) } else { flags.watch.clone() };
    if asked.is_some() && globs.is_empty() {
        return Err(Failure::usage("which files of this app matter is not known")
            .tip("name them: --watch '*.js'"));
    }
    let is_off = flags.is_static || flags.reload == Some(Reload::None) || globs.is_empty();
    if is_off {
        return Ok(Following { reload: Reload::None, globs: Vec::new(), max_reloads: None });
    }
    let reload = asked.unwrap_or(Reload::Process);
    let max_reloads =
        (reload == Reload::Module).then_some(flags.max_reloads.unwrap_or(MAX_RELOADS));
    Ok(Following { reload, globs, max_reloads })
}

/// The names of files that matter to an app, unless it is told.
pub(super) fn by_default(runtime: Runtime) -> Vec<String> {
    runtime.sources().iter().map(|glob| (*glob).to_owned()).collect()
}

/// What runs before the first worker: what `--setup` says, else a file `setup.*` beside the entry
/// that can be run.
///
/// # Errors
/// When there are several such files.
pub(super) fn setup(start: &Start, launch: &Launch) -> Result<Option<Vec<String>>, Failure> {
    if let Some(line) = &start.changes.setup {
        return Ok(Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()));
    }
    setup_file(launch).map_err(|failure| failure.tip("say which: --setup COMMAND"))
}

/// A file `setup.*` beside the entry that can be run.
///
/// # Errors
/// When there are several such files.
pub(super) fn setup_file(launch: &Launch) -> Result<Option<Vec<String>>, Failure> {
    // In a directory of CGI programs a `setup.cgi` is one of them.
    if matches!(launch.runtime, Runtime::Builtin | Runtime::Cgi) {
        return Ok(None);
    }
    let directory = Path::new(&launch.cwd);
    let mut found = Vec::new();
    for file in directory.read_dir().into_iter().flatten().flatten() {
        let name = file.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("setup.")) && file.path().is_file() {
            found.extend(runs(&file.path())?);
        }
    }
    found.sort();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, other, ..] => Err(Failure::configuration(format!(
            "both '{}' and '{}' could be the setup of {}",
            one.join(" "),
            other.join(" "),
            directory.display()
        ))),
    }
}

/// How the setup file at `path` is run, unless it is none.
fn runs(path: &Path) -> Result<Option<Vec<String>>, Failure> {
    let Some(directory) = path.parent() else { return Ok(None) };
    let name = entry::text(Path::new(path.file_name().unwrap_or_default()))?;
    let is_python = name.ends_with(".py");
    if is_python && is_packaging(path) {
        return Ok(None);
    }
    let executable = path.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    Ok(if executable {
        Some(vec![format!("./{name}")])
    } else if is_python {
        let own = ".venv/bin/python3";
        let python = if directory.join(own).exists() { own } else { "python3" };
        Some(vec![python.to_owned(), name])
    } else if name.ends_with(".sh") {
        Some(vec!["/bin/sh".to_owned(), name])
    } else {
        None
    })
}

/// A `setup.py` that describes a package to its installer does nothing when it is run.
fn is_packaging(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|text| {
        let text = String::from_utf8_lossy(&text);
        text.contains("setuptools") || text.contains("distutils")
    })
}

/// Reloads leave something behind each time.
const MAX_RELOADS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::ChangeFlags;
    use crate::cli::entry::tests::Tree;

    fn with(change: impl FnOnce(&mut ChangeFlags)) -> Start {
        let mut start = Start::default();
        change(&mut start.changes);
        start
    }

    fn follow(runtime: Runtime, change: impl FnOnce(&mut ChangeFlags)) -> (Reload, usize) {
        let following = following(&with(change), runtime).unwrap();
        (following.reload, following.globs.len())
    }

    #[test]
    fn python_apps_are_followed_unless_told_otherwise() {
        assert_eq!(follow(Runtime::Python, |_| {}), (Reload::Process, 2));
        assert_eq!(follow(Runtime::Builtin, |_| {}), (Reload::None, 0));
        assert_eq!(follow(Runtime::Command, |_| {}), (Reload::None, 0));
        let watch = |flags: &mut ChangeFlags| flags.watch = vec!["*.js".to_owned()];
        assert_eq!(follow(Runtime::Command, watch), (Reload::Process, 1));
        assert_eq!(follow(Runtime::Python, |flags| flags.is_static = true), (Reload::None, 0));
        let none = |flags: &mut ChangeFlags| flags.reload = Some(Reload::None);
        assert_eq!(follow(Runtime::Python, none), (Reload::None, 0));
    }

    #[test]
    fn a_worker_is_replaced_after_some_reloads_inside_it() {
        let most = |change: fn(&mut ChangeFlags)| {
            following(&with(change), Runtime::Python).unwrap().max_reloads
        };
        assert_eq!(most(|_| {}), None);
        assert_eq!(most(|flags| flags.reload = Some(Reload::Module)), Some(10));
        let three = |flags: &mut ChangeFlags| {
            flags.reload = Some(Reload::Module);
            flags.max_reloads = Some(3);
        };
        assert_eq!(most(three), Some(3));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (runtime, reload, is_static) in [
            (Runtime::Python, Reload::Process, true),
            (Runtime::Command, Reload::Module, false),
            (Runtime::Command, Reload::Process, false),
        ] {
            let start = with(|flags| {
                flags.reload = Some(reload);
                flags.is_static = is_static;
            });
            assert_eq!(following(&start, runtime).unwrap_err().exit.code(), 2);
        }
    }

    fn found(tree: &Tree, directory: &str) -> Result<Option<Vec<String>>, Failure> {
        let cwd = tree.places().cwd.join(directory);
        let launch = entry::launch(Runtime::Python, Vec::new(), &cwd).unwrap();
        setup(&Start::default(), &launch)
    }

    #[test]
    fn a_setup_file_is_run_by_what_it_is() {
        let tree = Tree::new(
            "setup",
            &[
                "sh/setup.sh",
                "py/setup.py",
                "bin/setup.rb*",
                "none/setup.cfg",
                "two/setup.sh",
                "two/setup.py",
            ],
        );
        let run = |directory| found(&tree, directory).unwrap();
        assert_eq!(run("sh").unwrap(), ["/bin/sh", "setup.sh"]);
        assert_eq!(run("py").unwrap(), ["python3", "setup.py"]);
        assert_eq!(run("bin").unwrap(), ["./setup.rb"]);
        assert_eq!(run("none"), None);
        assert_eq!(found(&tree, "two").unwrap_err().exit.code(), 78);
        let packaging = tree.places().cwd.join("py/setup.py");
        std::fs::write(packaging, "from setuptools import setup\nsetup()\n").unwrap();
        assert_eq!(run("py"), None);
    }

    #[test]
    fn a_setup_that_is_named_is_a_line_for_the_shell() {
        let launch = entry::launch(Runtime::Builtin, Vec::new(), Path::new("/")).unwrap();
        let start = with(|flags| flags.setup = Some("make css".to_owned()));
        assert_eq!(setup(&start, &launch).unwrap().unwrap(), ["/bin/sh", "-c", "make css"]);
        assert_eq!(setup(&Start::default(), &launch).unwrap(), None);
    }
}
