//! What is executed for an app, found before anything is forked.

use crate::adapters::{self, bun, cgi, node, php, python, ruby};
use crate::boot::{Spawn, SpawnStep};
use crate::bounds::Bound;
use crate::builtin;
use crate::environment::{Environment, Surroundings, environment};
use crate::report::Failure;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, Pid, User, access, geteuid};
use rip::contract::app::{Listen, Runtime};
use rip::wire::boot::BootStage;
use rip::wire::spec::WorkerSpec;
use std::ffi::{CString, OsStr, OsString};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The app's listener.
pub(crate) const LISTENER_FD: RawFd = 3;
/// The app's status pipe.
pub(crate) const STATUS_FD: RawFd = 4;
/// An adapter's source text.
pub(crate) const SCRIPT_FD: RawFd = 5;

/// A program ready to be started.
pub(crate) struct Program {
    path: PathBuf,
    argv: Vec<OsString>,
    env: Environment,
    cwd: PathBuf,
    script: Option<OwnedFd>,
    listener_inherited: bool,
}

/// How the app really gets its listener: where the runtime says it, what else is said is not heard.
pub(crate) fn listen_of(spec: &WorkerSpec) -> Listen {
    spec.launch.runtime.listens().unwrap_or(spec.launch.listen)
}

/// Where the app's entry lives, and its `.env`.
pub(crate) fn entry_dir(spec: &WorkerSpec) -> PathBuf {
    let cwd = PathBuf::from(&spec.launch.cwd);
    let Some(entry) = spec.launch.argv.first() else { return cwd };
    match spec.launch.runtime {
        Runtime::Builtin | Runtime::Command => cwd,
        Runtime::Python => python::directory(&cwd, entry),
        Runtime::Bun | Runtime::Cgi | Runtime::Node | Runtime::Php | Runtime::Ruby => {
            adapters::directory(&cwd, entry)
        }
    }
}

impl Program {
    /// Finds what the launch names, with the eyes of the user the app runs as; `port` is given where
    /// the app listens on one.
    pub(crate) fn find(
        spec: &WorkerSpec,
        around: Surroundings<'_>,
        port: Option<u16>,
    ) -> Result<Self, Failure> {
        let cwd = PathBuf::from(&spec.launch.cwd);
        check_directory(&cwd)?;
        let entry = spec.launch.argv.first().map_or("", String::as_str);
        let listener_inherited = listen_of(spec) == Listen::Fd;
        let env = environment(spec, std::env::vars_os(), around, port, listener_inherited);
        let mut program = Self {
            path: PathBuf::new(),
            argv: Vec::new(),
            env,
            cwd,
            script: None,
            listener_inherited,
        };
        match spec.launch.runtime {
            Runtime::Builtin => program.find_builtin(entry)?,
            Runtime::Command => program.find_command(spec, port)?,
            Runtime::Bun => bun::prepare(&mut program, spec, entry)?,
            Runtime::Cgi => cgi::prepare(&mut program, spec, entry)?,
            Runtime::Node => node::prepare(&mut program, spec, entry)?,
            Runtime::Php => php::prepare(&mut program, spec, entry)?,
            Runtime::Python => python::prepare(&mut program, spec, entry)?,
            Runtime::Ruby => ruby::prepare(&mut program, spec, entry)?,
        }
        Ok(program)
    }

    /// Finds what `argv` names, to be run in the app's place and environment before the app.
    pub(crate) fn find_setup(
        spec: &WorkerSpec,
        argv: &[String],
        around: Surroundings<'_>,
    ) -> Result<Self, Failure> {
        let cwd = PathBuf::from(&spec.launch.cwd);
        let mut env = environment(spec, std::env::vars_os(), around, None, false);
        env.remove(OsStr::new("RIP_STATUS_FD"));
        let mut program = Self {
            path: PathBuf::new(),
            argv: argv.iter().map(OsString::from).collect(),
            env,
            cwd,
            script: None,
            listener_inherited: false,
        };
        let name = program.argv.first().cloned().unwrap_or_default();
        program.path = program
            .search(&name)
            .ok_or_else(|| Failure { stage: BootStage::Setup, ..absent(&name, &program.cwd) })?;
        Ok(program)
    }

    fn find_builtin(&mut self, name: &str) -> Result<(), Failure> {
        if !builtin::NAMES.contains(&name) {
            let names = builtin::NAMES.join(", ");
            return Err(missing(format!("there is no builtin:{name}; there are {names}")));
        }
        self.run_own(["builtin", name]);
        Ok(())
    }

    fn find_command(&mut self, spec: &WorkerSpec, port: Option<u16>) -> Result<(), Failure> {
        let argv = &spec.launch.argv;
        warn_of_wrapper(argv, self.listener_inherited);
        self.argv = argv.iter().map(|word| placed(word, &spec.socket, port).into()).collect();
        let name = self.argv[0].clone();
        self.path = self.search(&name).ok_or_else(|| absent(&name, &self.cwd))?;
        Ok(())
    }

    /// The directory it starts in.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// It is the program at `path`, and these are its arguments after its name.
    pub(crate) fn run<A: Into<OsString>>(
        &mut self,
        path: PathBuf,
        args: impl IntoIterator<Item = A>,
    ) {
        self.argv = vec![path.clone().into()];
        self.argv.extend(args.into_iter().map(Into::into));
        self.path = path;
    }

    /// It is this program, under another name: one of the gateways in [`crate::gateway`].
    pub(crate) fn run_own<A: Into<OsString>>(&mut self, args: impl IntoIterator<Item = A>) {
        self.path = PathBuf::from("/proc/self/exe");
        self.argv = vec!["rip-master".into(), "worker-shim".into()];
        self.argv.extend(args.into_iter().map(Into::into));
    }

    /// It inherits `text` as the readable descriptor [`SCRIPT_FD`]; `name` is for those who look.
    pub(crate) fn hand_over(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let script = adapters::script(name, text).map_err(|errno| {
            Failure::system(BootStage::Find, "the adapter cannot be handed over", errno)
        })?;
        self.script = Some(script);
        Ok(())
    }

    /// The program `name` as [`Program::search`] finds it.
    pub(crate) fn need(&self, name: &str) -> Result<PathBuf, Failure> {
        self.search(OsStr::new(name)).ok_or_else(|| absent(OsStr::new(name), &self.cwd))
    }

    /// The file a name stands for: as it is when it has a slash, else the first on the app's PATH.
    pub(crate) fn search(&self, name: &OsStr) -> Option<PathBuf> {
        if name.as_bytes().contains(&b'/') {
            return Some(self.cwd.join(name)).filter(|path| is_program(path));
        }
        let path =
            self.env.get(OsStr::new("PATH")).map_or(DEFAULT_PATH.as_ref(), OsString::as_os_str);
        std::env::split_paths(path)
            .map(|directory| self.cwd.join(directory).join(name))
            .find(|path| is_program(path))
    }

    /// Starts the process, bounded by `bounds`.
    pub(crate) fn start(
        self,
        listener: Option<&OwnedFd>,
        status: Option<&OwnedFd>,
        bounds: &[Bound],
    ) -> Result<Pid, Failure> {
        let c_string = |text: OsString| {
            CString::new(text.into_vec()).map_err(|_| {
                Failure::plain(BootStage::Start, "an argument contains a NUL byte".to_owned())
            })
        };
        let mut fds = Vec::new();
        fds.extend(status.map(|status| (STATUS_FD, status.as_fd())));
        fds.extend(listener.map(|listener| (LISTENER_FD, listener.as_fd())));
        fds.extend(self.script.as_ref().map(|script| (SCRIPT_FD, script.as_fd())));
        let assignments = self.env.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        let shown = self.path.display().to_string();
        let cwd = self.cwd.display().to_string();
        let spawn = Spawn {
            path: c_string(self.path.into())?,
            argv: self.argv.into_iter().map(c_string).collect::<Result<_, _>>()?,
            env: assignments.map(c_string).collect::<Result<_, _>>()?,
            cwd: c_string(self.cwd.into())?,
            fds,
            bounds,
            listen_pid: self.listener_inherited,
        };
        spawn.start().map_err(|(step, errno)| {
            let what = match step {
                SpawnStep::Exec => return not_executable(&shown, errno),
                SpawnStep::Bounds => {
                    let what = "the app's limits cannot be set";
                    return Failure::system(BootStage::Limits, what, errno);
                }
                SpawnStep::Fork => "a process for the app cannot be made".to_owned(),
                SpawnStep::Descriptors => "the app's descriptors cannot be arranged".to_owned(),
                SpawnStep::Directory => format!("the working directory {cwd} cannot be entered"),
            };
            Failure::system(BootStage::Start, &what, errno)
        })
    }
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) fn missing(message: String) -> Failure {
    Failure { stage: BootStage::Find, errno: Some(Errno::ENOENT), message }
}

/// The working directory must be one, and the user be let into it.
fn check_directory(cwd: &Path) -> Result<(), Failure> {
    let what = format!("the working directory {}", cwd.display());
    match cwd.metadata() {
        Ok(meta) if !meta.is_dir() => Err(missing(format!("{what} is not a directory"))),
        Ok(_) => match access(cwd, AccessFlags::X_OK) {
            Err(Errno::EACCES) => Err(not_allowed(&what)),
            _ => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(not_allowed(&what)),
        Err(_) => Err(missing(format!("{what} does not exist"))),
    }
}

/// An entry file must be there, and readable.
pub(crate) fn check_file(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => match access(path, AccessFlags::R_OK) {
            Err(Errno::EACCES) => Err(not_allowed(&path.display().to_string())),
            _ => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(not_allowed(&path.display().to_string()))
        }
        _ => Err(missing(format!("{} does not exist", path.display()))),
    }
}

/// Something that may be there, but not for the user the app runs as.
fn not_allowed(what: &str) -> Failure {
    let uid = geteuid();
    let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Failure {
        stage: BootStage::Find,
        errno: Some(Errno::EACCES),
        message: format!("{what} is closed to {name}, as whom the app runs; give it access"),
    }
}

pub(crate) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// One argument with `{fd}`, `{socket}` and `{port}` replaced.
fn placed(word: &str, socket: &str, port: Option<u16>) -> String {
    let port = port.map_or_else(|| "{port}".to_owned(), |port| port.to_string());
    word.replace("{fd}", &LISTENER_FD.to_string())
        .replace("{port}", &port)
        .replace("{socket}", socket)
}

/// A program that cannot be found, or that is hidden from the app's user.
pub(crate) fn absent(name: &OsStr, cwd: &Path) -> Failure {
    let path = cwd.join(name);
    match path.metadata() {
        Err(error)
            if name.as_bytes().contains(&b'/') && error.kind() == ErrorKind::PermissionDenied =>
        {
            not_allowed(&path.display().to_string())
        }
        _ => missing(not_found(name, cwd)),
    }
}

/// A program that is not there, and how to get it.
fn not_found(name: &OsStr, cwd: &Path) -> String {
    let name = name.to_string_lossy();
    if name.contains('/') {
        let path = cwd.join(&*name);
        return if path.is_file() {
            format!("{0} is not executable; run `chmod +x {0}`", path.display())
        } else {
            format!("{} does not exist", path.display())
        };
    }
    format!("{name} was not found on PATH; {}", how_to_get(&name))
}

/// How a program that apps are started with is had. What a package of the app's own would bring is
/// said first: the way of its language.
pub(crate) fn how_to_get(name: &str) -> String {
    let system = |package: &str| format!("install it with `apt install {package}`, or the like");
    match name {
        "python3" | "python" => system("python3"),
        "gunicorn" | "uvicorn" | "hypercorn" | "granian" | "waitress-serve" | "daphne"
        | "uwsgi" => {
            let package = if name == "waitress-serve" { "waitress" } else { name };
            format!("install it with `pip install {package}`")
        }
        "node" | "npm" | "npx" => {
            "install it with `apt install nodejs npm`, or from nodejs.org".to_owned()
        }
        "bun" => "install it from bun.sh".to_owned(),
        "deno" => "install it from deno.com".to_owned(),
        "ruby" => system("ruby"),
        "puma" | "rackup" | "bundle" => {
            let package = if name == "bundle" { "bundler" } else { name };
            format!("install it with `gem install {package}`")
        }
        "php" => system("php-cli"),
        "php-cgi" | "php-fpm" | "perl" => system(name),
        _ => "install it, or give its full path".to_owned(),
    }
}

/// A program that is there and cannot run.
fn not_executable(path: &str, errno: Errno) -> Failure {
    let message = match errno {
        Errno::ENOENT => {
            format!("the interpreter that the first line of {path} names does not exist")
        }
        Errno::ENOEXEC => {
            format!("{path} is not a program: it needs a first line such as #!/bin/sh")
        }
        _ => format!("{path} cannot be executed: {}", errno.desc()),
    };
    Failure { stage: BootStage::Start, errno: Some(errno), message }
}

/// LISTEN_PID names the process we start: a wrapper that starts the server as its child breaks it.
fn warn_of_wrapper(argv: &[String], listener_inherited: bool) {
    let name = argv[0].rsplit('/').next().unwrap_or_default();
    let wraps = match name {
        "npm" | "npx" | "pnpm" | "yarn" => true,
        "sh" | "bash" | "dash" | "zsh" | "ksh" => !argv.iter().any(|word| word.contains("exec ")),
        _ => false,
    };
    let explicit = argv.iter().any(|word| word.contains("{fd}"));
    if listener_inherited && wraps && !explicit {
        eprintln!(
            "{name} may start the server as another process than the one LISTEN_PID names; \
             use `exec` in the script, or name the listener with {{fd}}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env_file::EnvFile;
    use crate::spec::tests::spec;

    fn failure(change: impl Fn(&mut WorkerSpec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        let env_file = EnvFile::beside(Path::new("/nonexistent"));
        let around = Surroundings { identity: None, env_file: &env_file };
        Program::find(&spec, around, None).err().map(|failure| failure.message).unwrap_or_default()
    }

    #[test]
    fn placeholders_are_replaced() {
        assert_eq!(placed("fd://{fd}", "/s", None), "fd://3");
        assert_eq!(placed("unix:{socket}", "/s", None), "unix:/s");
        assert_eq!(placed("{port}:{port}", "/s", Some(81)), "81:81");
        assert_eq!(placed("{port}", "/s", None), "{port}");
    }

    #[test]
    fn what_is_missing_is_named_with_a_way_to_get_it() {
        let message = failure(|spec| spec.launch.argv = vec!["uvicorn-not-there".to_owned()]);
        assert_eq!(
            message,
            "uvicorn-not-there was not found on PATH; install it, or give its full path"
        );
        let message = not_found(OsStr::new("uvicorn"), Path::new("/"));
        assert_eq!(message, "uvicorn was not found on PATH; install it with `pip install uvicorn`");
        let message = failure(|spec| spec.launch.argv = vec!["./no/server".to_owned()]);
        assert_eq!(message, "/./no/server does not exist");
        let message = failure(|spec| spec.launch.argv = vec!["/etc/passwd".to_owned()]);
        assert_eq!(message, "/etc/passwd is not executable; run `chmod +x /etc/passwd`");
        let message = failure(|spec| spec.launch.cwd = "/no/such".to_owned());
        assert_eq!(message, "the working directory /no/such does not exist");
        let message = failure(|spec| {
            spec.launch.runtime = Runtime::Builtin;
            spec.launch.argv = vec!["nope".to_owned()];
        });
        assert!(message.starts_with("there is no builtin:nope; there are "), "{message}");
        let message = failure(|spec| {
            spec.launch.runtime = Runtime::Python;
            spec.launch.argv = vec!["missing.py".to_owned()];
        });
        assert_eq!(message, "/missing.py does not exist");
    }
}
