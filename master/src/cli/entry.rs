//! What the operator named: from the words of the command line to how a worker is started.
//!
//! The words are taken literally: nothing is guessed from a path that does not exist. What runs a
//! file follows from its name; what runs a directory, from the files in it:
//!
//! ```text
//! a Procfile with a web process           that command, on a port
//! app.py …, config.ru, index.php,         its runtime; two of them are told apart by the operator
//!   index.cgi, server.js …
//! package.json                            what `npm start` would run, else `main`
//! marks of apps that have to be built,    refused, with the command that starts them
//!   or source that nothing says how to
//!   start
//! nothing of all that                     its files are served
//! ```

mod cgi;
mod command;
mod marks;
mod node;
mod package;
mod php;
mod procfile;
pub mod python;
mod ruby;
mod shell;
mod source;

use super::exit::Failure;
use super::suggest::nearest;
use rip::contract::app::{Launch, Listen, Ready, Runtime};
use rip::wire::runtime_dir::sanitise_name;
use rip_worker::BUILTINS;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An entry that can be started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// As the operator wrote it, or the command as one line.
    pub shown: String,
    /// A name for the app, made from the entry's.
    pub name: String,
    /// How its processes are started.
    pub launch: Launch,
}

/// What the words of the command line name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// Something whose processes are started.
    App(Entry),
    /// A directory with nothing to start in it: its files are served.
    Files(Files),
}

/// A directory whose files are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// As the operator wrote it.
    pub shown: String,
    /// A name made from the directory's.
    pub name: String,
    /// The directory, absolute.
    pub dir: String,
}

/// What the operator says of an app.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// The entry, or the directory a command runs in; the current directory when it is left out.
    pub word: Option<&'a str>,
    /// A command.
    pub argv: Option<&'a [String]>,
    /// What runs it, where that is not to follow from the entry.
    pub runtime: Option<Runtime>,
}

/// Where things are looked for.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The directory relative paths start from, absolute.
    pub cwd: PathBuf,
    /// `$PATH`.
    pub programs: Vec<PathBuf>,
    /// Where Python finds installed packages.
    pub packages: Vec<PathBuf>,
    /// Where the entry was written.
    pub written: Written,
}

impl Places {
    /// Whether the program `name` is on `$PATH`.
    fn has_program(&self, name: &str) -> bool {
        self.programs.iter().any(|directory| is_executable(&directory.join(name)))
    }
}

/// Where an entry was written, and so where what mends it is to be written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Written {
    /// As a word of `start`.
    #[default]
    CommandLine,
    /// In an Edgefile.
    Edgefile,
}

impl Written {
    /// What a command as an app is called.
    fn command(self) -> &'static str {
        match self {
            Self::CommandLine => "-- ARGV…",
            Self::Edgefile => "command \"PROGRAM\" …",
        }
    }

    /// How it is said what runs an entry.
    fn runtime(self, runtime: Runtime) -> String {
        match self {
            Self::CommandLine => format!("--runtime {}", runtime.name()),
            Self::Edgefile => format!("runtime \"{}\"", runtime.name()),
        }
    }

    /// How the entry `path` is named.
    fn entry(self, path: &str) -> String {
        match self {
            Self::CommandLine => format!("rip-master start {path}"),
            Self::Edgefile => format!("entry \"{path}\""),
        }
    }

    /// How the app `target`, a module and an attribute, in the directory is named.
    fn module(self, place: &Directory<'_>, target: &str) -> String {
        match self {
            Self::CommandLine if place.shown.trim_end_matches('/') == "." => {
                format!("rip-master start '{target}'")
            }
            Self::CommandLine => format!("cd {} && rip-master start '{target}'", place.shown),
            Self::Edgefile => format!("entry \"{target}\"; cwd \"{}\"", place.path.display()),
        }
    }

    /// How the app `target` of modules in another directory than this is named.
    fn elsewhere(self, directory: &Path, target: &str) -> String {
        match self {
            Self::CommandLine => {
                format!(
                    "name it where it is: cd {} && rip-master start '{target}'",
                    directory.display()
                )
            }
            Self::Edgefile => format!("say where it is: cwd \"{}\"", directory.display()),
        }
    }

    /// How the server `argv`, which gets its listener by `listen`, is started in `directory`.
    fn starts(self, directory: &Path, listen: Option<&str>, argv: &str) -> String {
        match self {
            Self::CommandLine => {
                let listen = listen.map(|listen| format!("--listen {listen} ")).unwrap_or_default();
                format!("rip-master start {} {listen}-- {argv}", directory.display())
            }
            Self::Edgefile => {
                let quoted: Vec<_> = argv.split(' ').map(|word| format!("{word:?}")).collect();
                let listen = listen.map(|listen| format!("; listen {listen:?}"));
                let listen = listen.unwrap_or_default();
                format!("command {}{listen}; cwd \"{}\"", quoted.join(" "), directory.display())
            }
        }
    }
}

/// A directory that may be an app's.
#[derive(Clone, Copy, Debug)]
struct Directory<'a> {
    /// As the operator wrote it.
    shown: &'a str,
    /// Absolute.
    path: &'a Path,
    places: &'a Places,
}

impl Directory<'_> {
    /// The first of `names` that is a file in it.
    fn first<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has(name))
    }

    fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// The file `name` in it, as the operator would write it.
    fn shown_file(&self, name: &str) -> String {
        match self.shown.trim_end_matches('/') {
            "." => name.to_owned(),
            shown => format!("{shown}/{name}"),
        }
    }

    /// The app of `runtime` that `target`, a path, is; named after the directory, and run in `cwd`.
    fn app(&self, runtime: Runtime, target: &Path, cwd: &Path) -> Result<Entry, Failure> {
        Ok(Entry {
            shown: self.shown.to_owned(),
            name: name_of_directory(self.path).unwrap_or_else(|| "app".to_owned()),
            launch: launch(runtime, vec![text(target)?], cwd)?,
        })
    }

    /// The command `argv`, which listens on a port.
    fn server(&self, argv: Vec<String>) -> Result<Entry, Failure> {
        let launch = launch(Runtime::Command, argv, self.path)?;
        Ok(Entry {
            shown: self.shown.to_owned(),
            name: name_of_directory(self.path).unwrap_or_else(|| "app".to_owned()),
            launch: Launch { listen: Listen::Port, ..launch },
        })
    }
}

/// The entry or the command.
///
/// # Errors
/// What is missing and what was looked for, or how to start what we cannot.
pub fn resolve(named: Named<'_>, places: &Places) -> Result<Entry, Failure> {
    match find(named, places)? {
        Found::App(entry) => Ok(entry),
        Found::Files(files) => Err(Failure::configuration(format!(
            "nothing to start in {}: looked for {}",
            files.dir,
            looked_for()
        ))
        .tip(format!("name the entry, or give a command: {}", places.written.command()))),
    }
}

/// The same, or the directory whose files are served because there is nothing to start in it.
///
/// # Errors
/// Likewise, but for such a directory.
pub fn find(named: Named<'_>, places: &Places) -> Result<Found, Failure> {
    let Named { word, argv, runtime } = named;
    match (word, argv) {
        (word, Some(argv)) => match runtime {
            None | Some(Runtime::Command) => command::run(word, argv, places).map(Found::App),
            Some(other) => {
                let message =
                    format!("--runtime {} is for an entry, not for a command", other.name());
                Err(Failure::usage(message).tip("leave --runtime out"))
            }
        },
        (None, None) => directory(".", &places.cwd, runtime, places),
        (Some(word), None) => named_by(word, runtime, places),
    }
}

/// Whether `word` can only be an entry, not a name.
pub fn is_entry(word: &str, places: &Places) -> bool {
    word.contains(['/', ':']) || word.starts_with('.') || places.cwd.join(word).exists()
}

/// What makes a directory an app's, for those who named one that is none.
pub(super) fn looked_for() -> String {
    format!(
        "a Procfile, {}, a manage.py with */wsgi.py, app/main.py, config.ru, index.php, index.cgi, \
         server.js and its like, package.json",
        python::FILES.join(", ")
    )
}

fn named_by(word: &str, runtime: Option<Runtime>, places: &Places) -> Result<Found, Failure> {
    let path = places.cwd.join(word);
    if path.is_dir() && !word.starts_with("builtin:") {
        return directory(word, &absolute(&path)?, runtime, places);
    }
    single(word, &path, runtime, places).map(Found::App)
}

/// An entry that is no directory.
fn single(
    word: &str,
    path: &Path,
    runtime: Option<Runtime>,
    places: &Places,
) -> Result<Entry, Failure> {
    if let Some(name) = word.strip_prefix("builtin:") {
        is_run_by(word, Runtime::Builtin, runtime, places)?;
        return builtin(word, name, places);
    }
    if path.is_file() {
        return file(word, &absolute(path)?, runtime, places);
    }
    match word.rsplit_once(':') {
        Some((file, attribute)) if file.ends_with(".py") => {
            is_run_by(word, Runtime::Python, runtime, places)?;
            let path = places.cwd.join(file);
            if !path.is_file() {
                return Err(missing(file, &path, places.written));
            }
            python::file(word, &absolute(&path)?, Some(attribute))
        }
        Some((module, _)) if !module.contains('/') => {
            is_run_by(word, Runtime::Python, runtime, places)?;
            python::module(word, module, places)
        }
        _ => Err(missing(word, path, places.written)),
    }
}

/// That `word`, which only `by` can run, was not said to be run by another.
fn is_run_by(
    word: &str,
    by: Runtime,
    runtime: Option<Runtime>,
    places: &Places,
) -> Result<(), Failure> {
    match runtime.filter(|runtime| *runtime != by) {
        None => Ok(()),
        Some(other) => Err(foreign(word, other, places)),
    }
}

fn foreign(word: &str, runtime: Runtime, places: &Places) -> Failure {
    let failure = Failure::configuration(format!("'{word}' is not run by {}", runtime.name()));
    failure.tip(match places.written {
        Written::CommandLine => "leave --runtime out: it follows from the entry",
        Written::Edgefile => "leave `runtime` out: it follows from the entry",
    })
}

fn missing(word: &str, path: &Path, written: Written) -> Failure {
    // Without what says nothing: `./`.
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let failure =
        Failure::configuration(format!("'{word}' not found: looked for {}", path.display()));
    let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let with = |extension: &&&str| path.with_file_name(format!("{last}.{extension}")).is_file();
    if let Some(extension) = EXTENSIONS.iter().find(with) {
        return failure.tip(format!("did you mean '{word}.{extension}'?"));
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    if word.contains('.') && !word.contains('/') && python::is_importable(parent, word) {
        return failure.tip(format!("did you mean '{word}:application'?"));
    }
    let beside: Vec<String> = path
        .parent()
        .and_then(|parent| parent.read_dir().ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let names: Vec<&str> = beside.iter().map(String::as_str).collect();
    match nearest(last, &names) {
        Some(meant) => {
            let prefix = word.strip_suffix(last).unwrap_or_default();
            failure.tip(format!("did you mean '{prefix}{meant}'?"))
        }
        None => failure.tip(format!(
            "an entry is a directory, a file such as app.py, server.js, config.ru or index.php, \
             pkg.module:attr, builtin:NAME or {}",
            written.command()
        )),
    }
}

fn builtin(word: &str, name: &str, places: &Places) -> Result<Entry, Failure> {
    if !BUILTINS.contains(&name) {
        let failure = Failure::usage(format!("there is no '{word}'"));
        return Err(match nearest(name, &BUILTINS) {
            Some(meant) => failure.tip(format!("did you mean 'builtin:{meant}'?")),
            None => failure.tip(format!("there are builtin:{}", BUILTINS.join(", builtin:"))),
        });
    }
    Ok(Entry {
        shown: word.to_owned(),
        name: name.to_owned(),
        launch: launch(Runtime::Builtin, vec![name.to_owned()], &places.cwd)?,
    })
}

/// The app in the file at `path`.
fn file(
    word: &str,
    path: &Path,
    runtime: Option<Runtime>,
    places: &Places,
) -> Result<Entry, Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let base = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = base.rsplit_once('.').map_or("", |(_, extension)| extension);
    let place = Directory { shown: word, path: parent, places };
    let by_name = match (base, extension) {
        (_, "py") => Some(Runtime::Python),
        (_, "ru") => Some(Runtime::Ruby),
        (_, "php") => Some(Runtime::Php),
        (_, "cgi") => Some(Runtime::Cgi),
        // Or by Bun, see there.
        _ if node::is_script(extension) => Some(Runtime::Node),
        ("Procfile" | "package.json", _) => Some(Runtime::Command),
        _ => None,
    };
    match (runtime.or(by_name), by_name) {
        (Some(Runtime::Python), Some(Runtime::Python)) => python::file(word, path, None),
        (Some(Runtime::Ruby), Some(Runtime::Ruby)) => ruby::file(word, path),
        (Some(Runtime::Php), Some(Runtime::Php)) => php::file(word, path),
        // What has any name can be made for these.
        (Some(Runtime::Cgi), _) => cgi::file(word, path),
        (Some(Runtime::Node | Runtime::Bun), Some(Runtime::Command)) if base == "package.json" => {
            node::in_directory(&place, runtime)?.ok_or_else(|| package::says_nothing(&place))
        }
        (Some(Runtime::Node | Runtime::Bun), _) => node::file(word, path, runtime, places),
        (Some(Runtime::Command), Some(Runtime::Command)) if base == "Procfile" => {
            procfile::in_directory(&place)?.ok_or_else(|| procfile::says_nothing(&place))
        }
        (Some(Runtime::Command), Some(Runtime::Command)) => {
            node::in_directory(&place, runtime)?.ok_or_else(|| package::says_nothing(&place))
        }
        (Some(Runtime::Command), _) => command::file(word, path, places),
        (Some(other), _) => Err(foreign(word, other, places)),
        (None, _) => Err(marks::file(word, base, path, places.written)),
    }
}

/// The app in the directory at `path`, or its files.
fn directory(
    word: &str,
    path: &Path,
    runtime: Option<Runtime>,
    places: &Places,
) -> Result<Found, Failure> {
    let place = Directory { shown: word, path, places };
    if let Some(runtime) = runtime {
        return in_directory(&place, runtime)?
            .map(Found::App)
            .ok_or_else(|| nothing_for(&place, runtime));
    }
    if let Some(entry) = procfile::in_directory(&place)? {
        return Ok(Found::App(entry));
    }
    let marks: Vec<(String, Runtime)> = [
        python::mark(&place),
        ruby::mark(&place),
        php::mark(&place),
        cgi::mark(&place),
        node::mark(&place),
    ]
    .into_iter()
    .flatten()
    .collect();
    let found = match marks.as_slice() {
        // For Node the package may say more than the names of files.
        [] | [(_, Runtime::Node | Runtime::Bun)] => node::in_directory(&place, None)?,
        [(_, runtime)] => in_directory(&place, *runtime)?,
        [one, other, ..] => return Err(several(&place, one, other)),
    };
    if let Some(entry) = found {
        return Ok(Found::App(entry));
    }
    if let Some(refusal) = marks::in_directory(&place) {
        return Err(refusal);
    }
    Ok(Found::Files(Files {
        shown: word.to_owned(),
        name: name_of_directory(path).unwrap_or_else(|| "files".to_owned()),
        dir: text(path)?,
    }))
}

/// The app of `runtime` in a directory.
fn in_directory(place: &Directory<'_>, runtime: Runtime) -> Result<Option<Entry>, Failure> {
    match runtime {
        Runtime::Builtin => Err(foreign(place.shown, runtime, place.places)),
        Runtime::Python => python::in_directory(place),
        Runtime::Ruby => ruby::in_directory(place),
        Runtime::Php => php::in_directory(place).map(Some),
        Runtime::Cgi => place.app(runtime, place.path, place.path).map(Some),
        Runtime::Node | Runtime::Bun => node::in_directory(place, Some(runtime)),
        Runtime::Command => match procfile::in_directory(place)? {
            Some(entry) => Ok(Some(entry)),
            None => node::in_directory(place, Some(runtime)),
        },
    }
}

/// The refusal of a directory in which what was said to run it finds nothing.
fn nothing_for(place: &Directory<'_>, runtime: Runtime) -> Failure {
    let looked_for = match runtime {
        Runtime::Python => {
            format!("{}, a manage.py with */wsgi.py, app/main.py", python::FILES.join(", "))
        }
        Runtime::Ruby => "config.ru".to_owned(),
        Runtime::Command => "a Procfile, and a package.json with a script `start`".to_owned(),
        _ => "a package.json, and server.js, index.js, app.js, main.js and their like".to_owned(),
    };
    Failure::configuration(format!(
        "nothing for {} in {}: looked for {looked_for}",
        runtime.name(),
        place.path.display()
    ))
    .tip(format!("name the file: {}", place.places.written.entry(&place.shown_file("FILE"))))
}

/// The refusal of a directory in which two runtimes find an app.
fn several(place: &Directory<'_>, one: &(String, Runtime), other: &(String, Runtime)) -> Failure {
    let written = place.places.written;
    Failure::configuration(format!(
        "'{}' and '{}' in {} are apps of two runtimes, {} and {}",
        one.0,
        other.0,
        place.path.display(),
        one.1.name(),
        other.1.name()
    ))
    .tip(format!("name one: {}", written.entry(&place.shown_file(&one.0))))
    .tip(format!("or say what runs it: {}", written.runtime(one.1)))
}

/// A launch with the defaults of every runtime.
pub(super) fn launch(runtime: Runtime, argv: Vec<String>, cwd: &Path) -> Result<Launch, Failure> {
    Ok(Launch {
        runtime,
        argv,
        cwd: text(cwd)?,
        listen: runtime.listens().unwrap_or_default(),
        ready: Ready::default(),
        stop_signal: "TERM".to_owned(),
        setup: None,
    })
}

/// `path` as text; settings are text throughout.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::configuration(format!("the path {} is not valid UTF-8", path.display()))
    })
}

/// The name of a directory as an app's name; nothing for `/`.
pub(super) fn name_of_directory(path: &Path) -> Option<String> {
    sanitise_name(path.file_name()?.to_str()?)
}

/// A name for the app in the file at `path`: the file's, unless that says nothing of the app.
fn name_of_file(path: &Path, says_nothing: bool) -> String {
    let name = if says_nothing {
        path.parent().and_then(name_of_directory)
    } else {
        path.file_stem().and_then(|stem| stem.to_str()).and_then(sanitise_name)
    };
    name.unwrap_or_else(|| "app".to_owned())
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        Failure::configuration(format!("'{}' cannot be entered: {error}", path.display()))
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What is forgotten behind the name of an entry.
const EXTENSIONS: &[&str] = &["py", "js", "mjs", "cjs", "ts", "php", "ru", "cgi"];

#[cfg(test)]
pub(crate) mod tests;
