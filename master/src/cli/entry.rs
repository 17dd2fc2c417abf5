//! What the operator named: from the words of the command line to how a worker is started.
//!
//! The words are taken literally: nothing is guessed from a path that does not exist, and what
//! this version cannot start by itself is refused with the command that would start it.

use super::exit::Failure;
use super::python;
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

/// The entry called `word`, or the command `argv` in the directory `word`.
///
/// # Errors
/// What is missing and what was looked for, or how to start what this version cannot.
pub fn resolve(
    word: Option<&str>,
    argv: Option<&[String]>,
    places: &Places,
) -> Result<Entry, Failure> {
    match find(word, argv, places)? {
        Found::App(entry) => Ok(entry),
        Found::Files(files) => Err(Failure::configuration(format!(
            "nothing to start in {}: looked for {}, a manage.py with */wsgi.py, and marks of other \
             runtimes ({})",
            files.dir,
            python::FILES.join(", "),
            FOREIGN.join(", ")
        ))
        .tip(format!("name the entry, or give a command: {}", places.written.command()))),
    }
}

/// The same, or the directory whose files are served because there is nothing to start in it.
///
/// # Errors
/// Likewise, but for such a directory.
pub fn find(
    word: Option<&str>,
    argv: Option<&[String]>,
    places: &Places,
) -> Result<Found, Failure> {
    match (word, argv) {
        (word, Some(argv)) => command(word, argv, places).map(Found::App),
        (None, None) => directory(".", &places.cwd, places.written),
        (Some(word), None) => named(word, places),
    }
}

/// Whether `word` can only be an entry, not a name.
pub fn is_entry(word: &str, places: &Places) -> bool {
    word.contains(['/', ':']) || word.starts_with('.') || places.cwd.join(word).exists()
}

fn named(word: &str, places: &Places) -> Result<Found, Failure> {
    let path = places.cwd.join(word);
    if path.is_dir() && !word.starts_with("builtin:") {
        return directory(word, &absolute(&path)?, places.written);
    }
    single(word, &path, places).map(Found::App)
}

/// An entry that is no directory.
fn single(word: &str, path: &Path, places: &Places) -> Result<Entry, Failure> {
    if let Some(name) = word.strip_prefix("builtin:") {
        return builtin(word, name, places);
    }
    if path.is_file() {
        return file(word, &absolute(path)?, places.written);
    }
    match word.rsplit_once(':') {
        Some((file, attribute)) if file.ends_with(".py") => {
            let path = places.cwd.join(file);
            if !path.is_file() {
                return Err(missing(file, &path, places.written));
            }
            python::file(word, &absolute(&path)?, Some(attribute))
        }
        Some((module, _)) if !module.contains('/') => python::module(word, module, places),
        _ => Err(missing(word, path, places.written)),
    }
}

fn missing(word: &str, path: &Path, written: Written) -> Failure {
    // Without what says nothing: `./`.
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let failure =
        Failure::configuration(format!("'{word}' not found: looked for {}", path.display()));
    if path.with_extension("py").is_file() {
        return failure.tip(format!("did you mean '{word}.py'?"));
    }
    let beside: Vec<String> = path
        .parent()
        .and_then(|parent| parent.read_dir().ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let names: Vec<&str> = beside.iter().map(String::as_str).collect();
    let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match nearest(last, &names) {
        Some(meant) => {
            let prefix = word.strip_suffix(last).unwrap_or_default();
            failure.tip(format!("did you mean '{prefix}{meant}'?"))
        }
        None => failure.tip(format!(
            "an entry is a directory, a .py file, pkg.module:attr, builtin:NAME or {}",
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

fn command(word: Option<&str>, argv: &[String], places: &Places) -> Result<Entry, Failure> {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err(Failure::usage("nothing follows '--'")
            .tip("for example rip-master start . http:8080 -- gunicorn app:app"));
    };
    let cwd = places.cwd.join(word.unwrap_or("."));
    if !cwd.is_dir() {
        let shown = word.unwrap_or(".");
        return Err(Failure::configuration(format!(
            "'{shown}' is not a directory; before '-- {program}' stands the directory it runs in"
        ))
        .tip(format!("to name the app: rip-master start . {shown} -- {program} …")));
    }
    let cwd = absolute(&cwd)?;
    find_program(program, &cwd, &places.programs)?;
    Ok(Entry {
        shown: argv.join(" "),
        name: name_of_directory(&cwd)
            .or_else(|| sanitise_name(program.rsplit('/').next().unwrap_or_default()))
            .unwrap_or_else(|| "app".to_owned()),
        launch: launch(Runtime::Command, argv.to_vec(), &cwd)?,
    })
}

fn find_program(program: &str, cwd: &Path, programs: &[PathBuf]) -> Result<(), Failure> {
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let path = cwd.join(program);
        return match (executable(&path), path.exists()) {
            (true, _) => Ok(()),
            (false, true) => Err(Failure::configuration(format!(
                "'{}' is not an executable file",
                path.display()
            ))
            .tip(format!("chmod +x {}", path.display()))),
            (false, false) => {
                Err(Failure::configuration(format!("'{}' not found", path.display())))
            }
        };
    }
    if programs.iter().any(|directory| executable(&directory.join(program))) {
        return Ok(());
    }
    let searched: Vec<String> =
        programs.iter().map(|directory| directory.display().to_string()).collect();
    let failure = Failure::configuration(format!(
        "program '{program}' not found in PATH ({})",
        searched.join(":")
    ));
    Err(if cwd.join(program).exists() {
        failure.tip(format!("for the file in {}: ./{program}", cwd.display()))
    } else {
        failure.tip(format!("install {program}, or give its path"))
    })
}

fn file(word: &str, path: &Path, written: Written) -> Result<Entry, Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let base = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if base.ends_with(".py") {
        return python::file(word, path, None);
    }
    if let Some(refusal) = not_yet(base, parent, written) {
        return Err(refusal);
    }
    let executable = path.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    let failure = Failure::configuration(format!("'{word}' is no app this version can start"));
    Err(if executable {
        failure.tip(format!(
            "if it is an HTTP server: {} (CGI scripts are not run yet)",
            written.starts(parent, None, &format!("./{base}"))
        ))
    } else {
        failure.tip(format!("an app is a .py file, a directory with one, or {}", written.command()))
    })
}

fn directory(word: &str, path: &Path, written: Written) -> Result<Found, Failure> {
    if let Some(entry) = python::in_directory(word, path)? {
        return Ok(Found::App(entry));
    }
    for base in FOREIGN {
        if path.join(base).exists() {
            return Err(not_yet(base, path, written)
                .unwrap_or_else(|| Failure::configuration(format!("'{base}' cannot be started"))));
        }
    }
    Ok(Found::Files(Files {
        shown: word.to_owned(),
        name: name_of_directory(path).unwrap_or_else(|| "files".to_owned()),
        dir: text(path)?,
    }))
}

/// The refusal of an entry that another runtime would run, with the command that runs it today.
fn not_yet(base: &str, directory: &Path, written: Written) -> Option<Failure> {
    let extension = base.rsplit_once('.').map_or("", |(_, extension)| extension);
    let (kind, listen, argv) = match (base, extension) {
        ("config.ru", _) | (_, "ru" | "rb") => {
            ("a Ruby app", Some("path"), "bundle exec puma -b unix://{socket}".to_owned())
        }
        ("package.json", _) => ("a Node app", Some("port"), "npm start".to_owned()),
        (_, "js" | "mjs" | "cjs" | "ts") => ("a Node app", Some("port"), format!("node {base}")),
        (_, "php") => ("a PHP app", Some("port"), "php -S 127.0.0.1:{port}".to_owned()),
        ("asgi.py", _) => ("an ASGI app", None, "uvicorn asgi:application --fd {fd}".to_owned()),
        ("Cargo.toml", _) => ("a Rust app", None, "target/release/PROGRAM".to_owned()),
        ("go.mod", _) => ("a Go app", None, "./PROGRAM".to_owned()),
        (_, "cgi" | "pl") => {
            return Some(
                Failure::configuration(format!("'{base}' looks like a CGI script"))
                    .tip("CGI is not available in this version yet"),
            );
        }
        _ => return None,
    };
    Some(
        Failure::configuration(format!(
            "'{base}' is {kind}, which this version does not start by itself yet"
        ))
        .tip(format!("start its server: {}", written.starts(directory, listen, &argv))),
    )
}

/// A launch with the defaults of every runtime.
pub(super) fn launch(runtime: Runtime, argv: Vec<String>, cwd: &Path) -> Result<Launch, Failure> {
    Ok(Launch {
        runtime,
        argv,
        cwd: text(cwd)?,
        listen: Listen::default(),
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

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        Failure::configuration(format!("'{}' cannot be entered: {error}", path.display()))
    })
}

/// Marks of apps that need a runtime this version does not start by itself.
pub(super) const FOREIGN: &[&str] = &[
    "asgi.py",
    "server.js",
    "server.mjs",
    "server.ts",
    "index.js",
    "index.mjs",
    "index.ts",
    "package.json",
    "config.ru",
    "index.php",
    "Cargo.toml",
    "go.mod",
];

#[cfg(test)]
pub(super) mod tests;
