//! The process that reads Edgefiles: hidden first arguments of the program, one job each.
//!
//! Whoever wrote the file decides what its reader does: how deep it recurses, how much memory it
//! takes, how long it runs. So the reader is a process of its own that has nothing to lose. It is
//! told its job as JSON on standard input, answers as JSON on standard output, and gives up every
//! right before it looks at either.

use super::args::Start;
use super::changes;
use super::entry::{self, Named, Places};
use super::exit::Failure;
use super::start::{self, World};
use super::surroundings::Machine;
use crate::sys::confine::{Bounds, confine};
use rip::contract::app::AppDescriptor;
use rip::contract::attempt::AttemptCode;
use rip::edgefile::job::{AddedApp, Formatted, Job, Report};
use rip::edgefile::{self, Diagnostic, Outcome, Severity};
use rip::limits;
use rip::time::UnixMillis;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// What one process does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Makes a configuration of the file: a [`Job`] in, a [`Report`] out.
    Compile,
    /// Formats the file: a [`Job`] in, a [`Formatted`] out.
    Format,
}

impl Task {
    /// The task of a process with this first argument.
    pub fn of(argument: &std::ffi::OsStr) -> Option<Self> {
        [Self::Compile, Self::Format].into_iter().find(|task| argument == task.argument())
    }

    /// The first argument of a process that does this.
    pub fn argument(self) -> &'static str {
        match self {
            Self::Compile => "edgefile-compile",
            Self::Format => "edgefile-format",
        }
    }
}

/// Does one job and ends. Fails without an answer when it cannot confine itself, or when what it
/// is told is no job.
pub fn run(task: Task) -> ExitCode {
    // Which rights the server has is to be seen while this process still has them.
    let world = World::seen_from(std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")));
    match confine(BOUNDS).and_then(|()| work(task, &world)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{}: {error}", task.argument());
            ExitCode::FAILURE
        }
    }
}

fn work(task: Task, world: &World) -> io::Result<()> {
    let mut told = Vec::new();
    io::stdin().lock().read_to_end(&mut told)?;
    let job: Job = serde_json::from_slice(&told)?;
    match task {
        Task::Compile => answer(&compile(&job, world)),
        Task::Format => answer(&format(&job)),
    }
}

fn answer(report: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(report)?;
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}

fn compile(job: &Job, world: &World) -> Report {
    let outcome = job.path.as_deref().map(|path| match read(path) {
        Ok((text, mode)) => {
            let directory = directory_of(path);
            let machine = Machine::new(world, directory, mode, job.free, now())
                .with_other_users(job.other_users);
            edgefile::compile(&text, &machine)
        }
        Err(unreadable) => Outcome { diagnostics: vec![unreadable], ..Outcome::default() },
    });
    let added = job.added.iter().map(|app| self::added(app, world).map_err(in_one_line)).collect();
    Report { outcome, added, ..Report::default() }
}

fn format(job: &Job) -> Formatted {
    let formatted = read(job.path.as_deref().unwrap_or_default())
        .map_err(|unreadable| vec![unreadable])
        .and_then(|(text, _)| edgefile::fmt::format(&text));
    match formatted {
        Ok(text) => Formatted { text: Some(text), diagnostics: Vec::new() },
        Err(diagnostics) => Formatted { text: None, diagnostics },
    }
}

/// An app of which only the entry is known: everything else is as `start` has it by default.
fn added(app: &AddedApp, world: &World) -> Result<AppDescriptor, Failure> {
    let root = PathBuf::from("/");
    let places = Places { cwd: root, ..world.places.clone() };
    let named = Named { word: Some(&app.entry), ..Named::default() };
    let mut entry = entry::resolve(named, &places)?;
    entry.launch.setup = changes::setup_file(&entry.launch)?;
    start::app(&Start::default(), world, app.id.clone(), vec![app.host.clone()], entry)
}

fn in_one_line(failure: Failure) -> String {
    let tips = failure.tips.iter().map(|tip| format!("; {tip}"));
    std::iter::once(failure.message).chain(tips).collect()
}

/// The content of the Edgefile at `path`, which may be anything, and its mode.
fn read(path: &str) -> Result<(Vec<u8>, u32), Diagnostic> {
    // A pipe would be waited for until somebody writes.
    let open = || File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            whole_file(AttemptCode::EntryMissing, format!("there is no file {path}"), None)
        }
        _ => whole_file(AttemptCode::ParseError, format!("{path} cannot be read: {error}"), None),
    };
    let file = open().map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        let what = if found.is_dir() { "a directory" } else { "not a regular file" };
        let message = format!("{path} is {what}");
        return Err(whole_file(AttemptCode::ParseError, message, None));
    }
    let mut text = Vec::new();
    let most = limits::EDGEFILE_BYTES as u64;
    file.take(most + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > most {
        return Err(whole_file(
            AttemptCode::ParseError,
            format!("{path} is larger than {} KiB", most / 1024),
            None,
        ));
    }
    Ok((text, found.permissions().mode()))
}

/// Something wrong with the file as a whole.
pub(super) fn whole_file(
    code: AttemptCode,
    message: impl Into<String>,
    hint: Option<String>,
) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code,
        line: 1,
        column: 1,
        length: 1,
        excerpt: String::new(),
        path: String::new(),
        message: message.into(),
        hint,
    }
}

fn directory_of(path: &str) -> &str {
    Path::new(path).parent().and_then(Path::to_str).filter(|path| !path.is_empty()).unwrap_or("/")
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

const BOUNDS: Bounds = Bounds { memory: 1 << 30, seconds: 5 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::entry::tests::Tree;

    #[test]
    fn a_task_has_its_argument() {
        for task in [Task::Compile, Task::Format] {
            assert_eq!(Task::of(task.argument().as_ref()), Some(task));
        }
        assert_eq!(Task::of("worker-shim".as_ref()), None);
    }

    #[test]
    fn only_files_of_some_size_are_read() {
        let tree = Tree::new("compiler", &["Edgefile", "large", "dir/"]);
        let path = |name: &str| tree.places().cwd.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("Edgefile"), "version 1\n").unwrap();
        let mode = PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(path("Edgefile"), mode).unwrap();
        let (text, mode) = read(&path("Edgefile")).unwrap();
        assert_eq!((text.as_slice(), mode & 0o777), (&b"version 1\n"[..], 0o640));
        let pipe = path("pipe");
        nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(path("large"), vec![b'#'; limits::EDGEFILE_BYTES + 1]).unwrap();
        for (name, code, said) in [
            ("nothing", AttemptCode::EntryMissing, "there is no file"),
            ("dir", AttemptCode::ParseError, "dir is a directory"),
            ("pipe", AttemptCode::ParseError, "pipe is not a regular file"),
            ("large", AttemptCode::ParseError, "large is larger than 1024 KiB"),
        ] {
            let found = read(&path(name)).unwrap_err();
            assert_eq!(found.code, code);
            assert!(found.message.contains(said), "{}", found.message);
        }
        assert_eq!(directory_of("/srv/app/Edgefile"), "/srv/app");
        assert_eq!(directory_of("/Edgefile"), "/");
    }
}
