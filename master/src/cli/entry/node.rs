//! Finding a Node or Bun app: a script, or a package.
//!
//! A directory is started as `npm start` would: by the script `start` of its `package.json`, but
//! without npm between us and the app. A package without one is its `main`, and what is no package
//! is known by the names of its files.

use super::package::{self, Package};
use super::{Directory, Entry, Places, launch, name_of_directory, name_of_file, shell, text};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use std::path::{Path, PathBuf};

/// Names of files that make a directory an app, first come, first taken. The others than the first
/// are those of pages as well.
const STEMS: &[&str] = &["server", "index", "app", "main"];
const EXTENSIONS: &[&str] = &["js", "mjs", "cjs", "ts", "mts", "cts"];

/// Whether files with this extension are run by Node or Bun.
pub(super) fn is_script(extension: &str) -> bool {
    EXTENSIONS.contains(&extension)
}

/// What marks the directory as a Node or Bun app, whatever else there is in it: a server's file, or
/// those of a package; without one, `main.js` may be a page's, beside an app of another runtime.
pub(super) fn mark(place: &Directory<'_>) -> Option<(String, Runtime)> {
    let is_page = place.has("index.html") || !place.has(package::FILE);
    let name = by_name(place, is_page)?;
    let by = runtime(&place.path.join(&name), place.path, place.places);
    Some((name, by))
}

/// What runs the script at `path` of the package in `directory`: Bun where it is there and either
/// Bun's lock file is, or types would have to be stripped; else Node.
fn runtime(path: &Path, directory: &Path, places: &Places) -> Runtime {
    let is_typed = path.extension().and_then(|it| it.to_str()).is_some_and(|it| it.ends_with("ts"));
    let is_locked = ["bun.lock", "bun.lockb"].iter().any(|lock| directory.join(lock).is_file());
    if (is_typed || is_locked) && places.has_program("bun") { Runtime::Bun } else { Runtime::Node }
}

/// The app in the file at `path`, run by `wanted` in the directory of its package.
pub(super) fn file(
    shown: &str,
    path: &Path,
    wanted: Option<Runtime>,
    places: &Places,
) -> Result<Entry, Failure> {
    let directory = package_of(path, places);
    let by = wanted.unwrap_or_else(|| runtime(path, &directory, places));
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = match STEMS.contains(&stem) {
        true => name_of_directory(&directory).unwrap_or_else(|| "app".to_owned()),
        false => name_of_file(path, false),
    };
    let launch = launch(by, vec![text(path)?], &directory)?;
    Ok(Entry { shown: shown.to_owned(), name, launch })
}

/// The directory of the package that the file at `path` belongs to, else its own. What is above the
/// place where the operator stands is none of the app's.
fn package_of(path: &Path, places: &Places) -> PathBuf {
    let own = path.parent().unwrap_or(Path::new("/"));
    let is_below = own.starts_with(&places.cwd);
    own.ancestors()
        .take_while(|directory| !is_below || directory.starts_with(&places.cwd))
        .find(|directory| directory.join(package::FILE).is_file())
        .unwrap_or(own)
        .to_owned()
}

/// The app in a directory, if there is one: for `wanted`, or for whatever it says itself.
///
/// # Errors
/// What its package says cannot be read, or is not there.
pub(super) fn in_directory(
    place: &Directory<'_>,
    wanted: Option<Runtime>,
) -> Result<Option<Entry>, Failure> {
    let package = Package::of(place)?;
    let main = package.as_ref().and_then(Package::main).and_then(|main| find(place.path, main));
    if let Some(line) = package.as_ref().and_then(|package| package.script("start")) {
        match (started(place, line)?, wanted) {
            (Started::File(path, by), None) => return place.app(by, &path, place.path).map(Some),
            (Started::File(path, _), Some(by @ (Runtime::Node | Runtime::Bun))) => {
                return place.app(by, &path, place.path).map(Some);
            }
            (Started::Line, Some(Runtime::Node | Runtime::Bun)) => {}
            // The script may be for those who work on the app, with tools that only they have.
            (Started::Line, None) if main.is_some() && !is_there(place, line) => {}
            _ => return server(place, line).map(Some),
        }
    }
    if wanted == Some(Runtime::Command) {
        return Ok(None);
    }
    let is_page = wanted.is_none() && place.has("index.html");
    let path = main.or_else(|| by_name(place, is_page).map(|name| place.path.join(name)));
    let Some(path) = path else { return Ok(None) };
    let by = wanted.unwrap_or_else(|| runtime(&path, place.path, place.places));
    place.app(by, &path, place.path).map(Some)
}

/// The script `name` of the directory's package.
///
/// # Errors
/// There is none, or what it says is not there.
pub(super) fn script(place: &Directory<'_>, name: &str) -> Result<Entry, Failure> {
    let package = Package::of(place)?;
    let Some(line) = package.as_ref().and_then(|package| package.script(name)) else {
        return Err(Failure::configuration(format!(
            "there is no script '{name}' in {}",
            place.path.join(package::FILE).display()
        )));
    };
    match started(place, line)? {
        Started::File(path, by) => place.app(by, &path, place.path),
        Started::Line => server(place, line),
    }
}

/// What a script starts.
enum Started {
    /// A file that we start ourselves, and what runs it.
    File(PathBuf, Runtime),
    /// A server.
    Line,
}

/// What the script `line` starts.
///
/// # Errors
/// It runs a file that is not there.
fn started(place: &Directory<'_>, line: &str) -> Result<Started, Failure> {
    let words = shell::words(line).unwrap_or_default();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (file, by) = match words.as_slice() {
        // What restarts an app by itself is what we do.
        ["node" | "nodemon", file] if !file.starts_with('-') => (*file, None),
        ["bun", file] | ["bun", "run", file] if !file.starts_with('-') => {
            (*file, Some(Runtime::Bun))
        }
        _ => return Ok(Started::Line),
    };
    let Some(path) = find(place.path, file) else {
        return Err(Failure::configuration(format!(
            "'{file}', which {} starts, is not there",
            place.path.join(package::FILE).display()
        ))
        .tip("if it is built: npm run build"));
    };
    let by = by.unwrap_or_else(|| runtime(&path, place.path, place.places));
    Ok(Started::File(path, by))
}

/// The server that `line` starts, on a port. Most are told it by `$PORT`; some have to be told more.
fn server(place: &Directory<'_>, line: &str) -> Result<Entry, Failure> {
    let mut argv = shell::argv(place, line, package::FILE).map_err(|failure| {
        if place.path.join("node_modules").is_dir() {
            failure
        } else {
            failure.tip("if it is a package of the app's: npm install")
        }
    })?;
    let says = |flag: &str| argv.iter().any(|word| word.starts_with(flag));
    let mut lacks = Vec::new();
    if !says("--port") && !argv.iter().any(|word| word.contains("{port}")) {
        lacks.extend(["--port", "{port}"]);
    }
    if !says("--host") {
        // `localhost`, which they listen on by themselves, may be IPv6 alone.
        lacks.extend(["--host", "127.0.0.1"]);
    }
    let program = argv.iter().find(|word| !shell::is_assignment(word) && *word != "env");
    let name = program.and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    if DEAF.contains(&name) {
        argv.extend(lacks.into_iter().map(str::to_owned));
    }
    place.server(argv)
}

/// Servers that do not look at `$PORT`.
const DEAF: &[&str] = &["astro", "ng", "vite"];

fn is_there(place: &Directory<'_>, line: &str) -> bool {
    shell::words(line).is_none_or(|words| shell::is_there(place, &words))
}

/// The file that Node finds as `name`: with or without its extension, or as a directory.
fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = directory.join(name.strip_prefix("./").unwrap_or(name));
    if path.is_file() {
        return Some(path);
    }
    let base = path.file_name()?.to_str()?;
    EXTENSIONS
        .iter()
        .map(|extension| path.with_file_name(format!("{base}.{extension}")))
        .chain(EXTENSIONS.iter().map(|extension| path.join(format!("index.{extension}"))))
        .find(|path| path.is_file())
}

/// The file that makes a directory an app. In one of pages only a server is no part of them.
fn by_name(place: &Directory<'_>, is_page: bool) -> Option<String> {
    let stems = if is_page { &STEMS[..1] } else { STEMS };
    stems
        .iter()
        .flat_map(|stem| EXTENSIONS.iter().map(move |extension| format!("{stem}.{extension}")))
        .find(|name| place.has(name))
}
