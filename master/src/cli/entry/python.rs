//! Finding a Python app: a file, a directory with one, `pkg.module:attr`.
//!
//! Python itself is not asked here: a missing interpreter or an import that fails is reported by
//! the worker that needs it.

use super::{Directory, Entry, Places, launch, name_of_directory, text};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use rip::wire::runtime_dir::sanitise_name;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files that make a directory a Python app, first come, first taken.
pub const FILES: &[&str] =
    &["app.py", "wsgi.py", "asgi.py", "main.py", "application.py", "server.py"];

/// Files that describe a Python project.
pub(super) const PROJECT: &[&str] =
    &["requirements.txt", "pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "uv.lock"];
/// Where larger apps have theirs, in the package `app`.
const PACKAGED: &str = "app/main.py";

/// What marks the directory as a Python app.
pub(super) fn mark(place: &Directory<'_>) -> Option<(String, Runtime)> {
    let is_django = place.has("manage.py") && django(place.path).is_some();
    let name = place
        .first(FILES)
        .or(is_django.then_some("manage.py"))
        .or_else(|| packaged(place).map(|_| PACKAGED))?;
    Some((name.to_owned(), Runtime::Python))
}

/// The app in `path`, a `.py` file, called `attribute` in it; runs in its directory.
pub(super) fn file(shown: &str, path: &Path, attribute: Option<&str>) -> Result<Entry, Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let base = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if base == "manage.py" {
        return match django(parent) {
            Some(module) => entry(shown, name_of_directory(parent), module, parent),
            None => Err(Failure::configuration(format!("'{shown}' is a tool, not an app"))
                .tip("name the module: rip-master start PROJECT.wsgi:application")),
        };
    }
    let stem = base.trim_end_matches(".py");
    // `app.py` says nothing about which app it is; its directory does.
    let name = if FILES.contains(&base) { name_of_directory(parent) } else { sanitise_name(stem) };
    let target = match attribute {
        Some(attribute) => format!("{}:{attribute}", text(path)?),
        None => text(path)?,
    };
    entry(shown, name, target, parent)
}

/// The app in a directory, if there is one.
pub(super) fn in_directory(place: &Directory<'_>) -> Result<Option<Entry>, Failure> {
    let Directory { shown, path, .. } = *place;
    let name = name_of_directory(path);
    if let Some(base) = place.first(FILES) {
        return entry(shown, name, text(&path.join(base))?, path).map(Some);
    }
    match django(path).filter(|_| place.has("manage.py")) {
        Some(module) => entry(shown, name, module, path).map(Some),
        None => match packaged(place) {
            Some(target) => entry(shown, name, target, path).map(Some),
            None => Ok(None),
        },
    }
}

/// `app.main:app` where the directory is a project's and its `app/main.py` has an app.
fn packaged(place: &Directory<'_>) -> Option<String> {
    place.first(PROJECT)?;
    match says(&place.path.join(PACKAGED), false)? {
        Says::App(name) => Some(format!("app.main:{name}")),
        Says::Factory(_) => None,
    }
}

/// What the text of a Python file says of an app.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Says {
    /// It has one of this name.
    App(String),
    /// A function of this name makes one.
    Factory(String),
}

/// What the file at `path` says of an app, as far as its lines tell; with `is_imported` also of one
/// that it has from elsewhere.
pub(super) fn says(path: &Path, is_imported: bool) -> Option<Says> {
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_end(&mut text).ok()?;
    said(&String::from_utf8_lossy(&text), is_imported)
}

/// More of a file is not read to tell whether there is an app in it.
const MOST: u64 = 256 << 10;

fn said(text: &str, is_imported: bool) -> Option<Says> {
    let lines = || text.trim_start_matches('\u{feff}').lines();
    let app = APPS.iter().find(|name| {
        lines().any(|line| is_set(line, name) || is_imported && is_import(line, name))
    });
    if let Some(app) = app {
        return Some(Says::App((*app).to_owned()));
    }
    let is_def = |line: &str, name: &str| {
        let rest = line.strip_prefix("def ").and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    let factory = FACTORIES.iter().find(|name| lines().any(|line| is_def(line, name)));
    factory.map(|name| Says::Factory((*name).to_owned()))
}

/// What apps are called, in the order in which they are looked for.
const APPS: &[&str] = &["application", "app"];
/// What functions that make an app are called.
const FACTORIES: &[&str] = &["create_app", "make_app"];
/// What is called an app and answers no requests.
const OTHERS: &[&str] = &["Celery(", "Typer(", "QApplication(", "Tk("];

/// Whether `line` is `name = …` or `name: Type = …`.
fn is_set(line: &str, name: &str) -> bool {
    let Some(rest) = line.strip_prefix(name).map(str::trim_start) else { return false };
    if !rest.starts_with([':', '=']) {
        return false;
    }
    rest.split_once('=').is_some_and(|(_, value)| {
        let value = value.trim_start();
        !value.starts_with('=') && !OTHERS.iter().any(|other| value.contains(other))
    })
}

/// Whether `line` is `from … import name`.
fn is_import(line: &str, name: &str) -> bool {
    let names = line.strip_prefix("from ").and_then(|line| line.split_once(" import "));
    names.is_some_and(|(_, names)| {
        names.split(['#', ';']).next().unwrap_or_default().split([',', '(', ')']).any(|word| {
            let word = word.trim();
            word.rsplit_once(" as ").map_or(word, |(_, word)| word.trim()) == name
        })
    })
}

/// The app `word`, which is `module` and an attribute, imported from the current directory or from
/// installed packages.
pub(super) fn module(word: &str, module: &str, places: &Places) -> Result<Entry, Failure> {
    let top = module.split('.').next().unwrap_or(module);
    // A package that is here must have the whole module here; one that is installed may hold it
    // in ways only Python can tell.
    let found = if is_importable(&places.cwd, top) {
        is_importable(&places.cwd, module)
    } else {
        places.packages.iter().any(|directory| is_importable(directory, top))
    };
    if !found {
        let path = module.replace('.', "/");
        return Err(Failure::configuration(format!(
            "module '{module}' not found: looked for {path}.py and {path}/ in {}{}",
            places.cwd.display(),
            if places.packages.is_empty() { "" } else { " and among installed packages" },
        ))
        .tip(match directory_of(&places.cwd, module) {
            Some(directory) => places.written.elsewhere(&directory, word),
            None => "start in the directory of the package, or name the .py file".to_owned(),
        }));
    }
    entry(word, sanitise_name(top), word.to_owned(), &places.cwd)
}

/// Where Python would find installed packages, as far as the file system tells: `$PYTHONPATH`, and
/// the libraries of the virtual environment, of the interpreter on `$PATH`, and of the system.
pub fn package_directories(
    python_path: Option<&OsStr>,
    virtual_env: Option<&OsStr>,
    programs: &[PathBuf],
    cwd: &Path,
) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        python_path.map(|paths| std::env::split_paths(paths).collect()).unwrap_or_default();
    let mut prefixes: Vec<PathBuf> = virtual_env.map(PathBuf::from).into_iter().collect();
    prefixes.push(cwd.join(".venv"));
    prefixes.extend(programs.iter().filter_map(|directory| {
        let interpreter = directory.join("python3").canonicalize().ok()?;
        Some(interpreter.parent()?.parent()?.to_owned())
    }));
    prefixes.extend(["/usr/local".into(), "/usr".into()]);
    for library in prefixes.iter().map(|prefix| prefix.join("lib")) {
        let versions = library.read_dir().into_iter().flatten().flatten();
        for version in versions.filter(|entry| is_python(&entry.file_name())) {
            found.extend(
                ["site-packages", "dist-packages"]
                    .map(|packages| version.path().join(packages))
                    .into_iter()
                    .filter(|directory| directory.is_dir()),
            );
        }
    }
    found
}

fn is_python(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("python3"))
}

/// The only directory in `directory` that has the module.
fn directory_of(directory: &Path, module: &str) -> Option<PathBuf> {
    let entries = directory.read_dir().ok()?.flatten().map(|entry| entry.path());
    let mut found = entries.filter(|path| path.is_dir() && is_importable(path, module));
    found.next().filter(|_| found.next().is_none())
}

/// Whether the module is in `directory`, as far as the file system tells.
pub(super) fn is_importable(directory: &Path, module: &str) -> bool {
    let path = directory.join(module.replace('.', "/"));
    path.is_dir() || path.with_extension("py").is_file() || is_extension(&path)
}

/// A compiled module: `name.cpython-312-x86_64-linux-gnu.so`.
fn is_extension(path: &Path) -> bool {
    let (Some(parent), Some(stem)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
    else {
        return false;
    };
    parent.read_dir().into_iter().flatten().flatten().any(|entry| {
        entry.file_name().to_str().is_some_and(|name| {
            name.strip_prefix(stem)
                .is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".so"))
        })
    })
}

/// `PROJECT.wsgi:application` where exactly one package beside `manage.py` has a `wsgi.py`.
fn django(directory: &Path) -> Option<String> {
    let mut packages = directory
        .read_dir()
        .ok()?
        .flatten()
        .filter(|entry| entry.path().join("wsgi.py").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok());
    let package = packages.next()?;
    packages.next().is_none().then(|| format!("{package}.wsgi:application"))
}

fn entry(shown: &str, name: Option<String>, target: String, cwd: &Path) -> Result<Entry, Failure> {
    Ok(Entry {
        shown: shown.to_owned(),
        name: name.unwrap_or_else(|| "app".to_owned()),
        launch: launch(Runtime::Python, vec![target], cwd)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_file_tells_what_its_app_is_called() {
        let app = |name: &str| Some(Says::App(name.to_owned()));
        let factory = |name: &str| Some(Says::Factory(name.to_owned()));
        for (text, expected) in [
            ("import x\napp = FastAPI(lifespan=l)\n", app("app")),
            ("app: FastAPI = make()\r\n", app("app")),
            ("app = 1\napplication = app\n", app("application")),
            ("def create_app(test=None):\n    app = Flask(__name__)\n", factory("create_app")),
            ("def create_apple():\n", None),
            ("app = Celery('x')\n", None),
            ("app == 3\napps = []\n", None),
            ("from x import app\n", None),
        ] {
            assert_eq!(said(text, false), expected, "{text}");
        }
        for line in
            ["from app import app, db", "from x import (y as app)", "from . import app # it"]
        {
            assert_eq!(said(line, true), app("app"), "{line}");
        }
        assert_eq!(said("from app import create_app", true), None);
    }
}
