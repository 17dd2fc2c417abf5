//! The machine, as an Edgefile's references are looked up on it.

use super::entry::{self, Entry, Named, Places, Written, python};
use super::exit::Failure;
use super::start::World;
use super::{authorities, changes, credential};
use crate::shared::cert_files::{self, Wrong};
use crate::shared::secrets;
use crate::sys::privilege::Identity;
use crate::sys::regular;
use rip::contract::app::Runtime;
use rip::contract::attempt::AttemptCode;
use rip::contract::listen::FreePorts;
use rip::edgefile::surroundings::Asked;
use rip::edgefile::{Resolved, Surroundings, Trouble};
use rip::time::UnixMillis;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// This machine, seen from the directory of an Edgefile.
#[derive(Debug)]
pub struct Machine<'w> {
    world: &'w World,
    directory: String,
    /// Listeners of the file that will not be listened at.
    free: FreePorts,
    /// Whatever the rights of this process are, those of the server allow it to become others.
    other_users: bool,
    /// Others may read the Edgefile.
    is_open: bool,
    now: UnixMillis,
}

impl<'w> Machine<'w> {
    /// The machine as `world` has it, for an Edgefile of this mode. Relative paths start at
    /// `directory`, which is absolute.
    pub fn new(
        world: &'w World,
        directory: &str,
        mode: u32,
        free: FreePorts,
        now: UnixMillis,
    ) -> Self {
        let (is_open, other_users) = (mode & BY_OTHERS != 0, world.rights.change_user);
        Self { world, directory: directory.to_owned(), free, other_users, is_open, now }
    }

    /// The same, where the server can become other users though this process may not.
    #[must_use]
    pub fn with_other_users(mut self, other_users: bool) -> Self {
        self.other_users |= other_users;
        self
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = credential::place(Path::new(&self.directory), path);
        // Without what says nothing: `./`.
        std::path::absolute(&path).unwrap_or(path)
    }

    /// Where an app's programs and packages are, from its working directory.
    fn places(&self, cwd: &Path, asked: &Asked<'_>) -> Places {
        let own = |name| asked.env.and_then(|env| env.get(name)).map(std::ffi::OsString::from);
        let either = |name| own(name).or_else(|| std::env::var_os(name));
        let programs = match own("PATH") {
            Some(path) => std::env::split_paths(&path).collect(),
            None => self.world.places.programs.clone(),
        };
        let packages = python::package_directories(
            either("PYTHONPATH").as_deref(),
            either("VIRTUAL_ENV").as_deref(),
            &programs,
            cwd,
        );
        Places { cwd: cwd.to_owned(), programs, packages, written: Written::Edgefile }
    }

    fn working_directory(&self, asked: &Asked<'_>) -> Result<PathBuf, Trouble> {
        match asked.cwd {
            Some(cwd) => self.existing_directory(cwd).map(PathBuf::from),
            None => Ok(PathBuf::from(&self.directory)),
        }
    }
}

impl Surroundings for Machine<'_> {
    fn directory(&self) -> &str {
        &self.directory
    }

    fn cores(&self) -> u32 {
        self.world.cores
    }

    fn entry(&self, entry: &str, asked: &Asked<'_>) -> Result<Resolved, Trouble> {
        let cwd = self.working_directory(asked)?;
        let is_path = self.path(entry.split(".py:").next().unwrap_or(entry)).exists();
        // Files are looked for beside the Edgefile, modules where the app runs.
        let from = if is_path || entry.contains('/') { Path::new(&self.directory) } else { &cwd };
        let places = self.places(from, asked);
        let mut found = find(entry, asked.runtime, &places)?;
        if asked.cwd.is_some() {
            found.launch.cwd = entry::text(&cwd).map_err(trouble)?;
        }
        resolved(found, asked)
    }

    fn command(&self, argv: &[String], asked: &Asked<'_>) -> Result<Resolved, Trouble> {
        let cwd = self.working_directory(asked)?;
        if argv.first().is_none_or(String::is_empty) {
            return Err(Trouble {
                code: AttemptCode::Invalid,
                message: "the command is empty".to_owned(),
                hint: Some("for example: command \"gunicorn\" \"app:app\"".to_owned()),
            });
        }
        let places = self.places(&cwd, asked);
        let named = Named { argv: Some(argv), ..Named::default() };
        resolved(entry::resolve(named, &places).map_err(trouble)?, asked)
    }

    fn existing_directory(&self, path: &str) -> Result<String, Trouble> {
        let place = self.path(path);
        let found = place.canonicalize().map_err(|error| missing(path, &place, &error))?;
        if !found.is_dir() {
            return Err(Trouble {
                code: AttemptCode::EntryMissing,
                message: format!("'{path}' is not a directory"),
                hint: None,
            });
        }
        entry::text(&found).map_err(trouble)
    }

    fn readable_file(&self, path: &str) -> Result<(String, bool), Trouble> {
        let place = self.path(path);
        let (_, found) = regular::open(&place).map_err(|error| missing(path, &place, &error))?;
        let mode = found.permissions().mode();
        Ok((entry::text(&place).map_err(trouble)?, mode & BY_OTHERS != 0))
    }

    fn secret_file(&self, path: &str) -> Result<(String, bool), Trouble> {
        let found = self.readable_file(path)?;
        let content = secrets::read(Path::new(&found.0));
        match content.map_err(|error| missing(path, Path::new(&found.0), &error))? {
            Ok(_) => Ok(found),
            Err(flaw) => Err(Trouble {
                code: AttemptCode::Invalid,
                message: format!("there is no secret in {}: {flaw}", found.0),
                hint: Some(format!("openssl rand -hex 32 > {path} makes one")),
            }),
        }
    }

    fn certificate(&self, cert: &str, key: &str) -> Result<Option<Trouble>, Trouble> {
        let (chain, private) = (read_pem(cert, Path::new(cert))?, read_pem(key, Path::new(key))?);
        let leaf = cert_files::parse(&chain, &private).map_err(|wrong| match wrong.is_keys {
            true => of_certificate(Wrong { message: format!("{key}: {}", wrong.message), ..wrong }),
            false => of_certificate(wrong),
        })?;
        Ok(leaf.doubt(self.now.as_secs()).map(of_certificate))
    }

    fn authorities(&self, path: &str) -> Result<String, Trouble> {
        let place = self.path(path);
        let content = read_pem(path, &place)?;
        authorities::check(&content).map_err(of_certificate)?;
        entry::text(&place).map_err(trouble)
    }

    fn is_readable_by_others(&self) -> bool {
        self.is_open
    }

    fn may_listen(&self, port: u16, is_secure: bool) -> Result<(), Trouble> {
        let rights = self.world.rights;
        let is_free = if is_secure { self.free.https } else { self.free.http };
        if is_free || rights.allow(port) {
            return Ok(());
        }
        Err(Trouble {
            code: AttemptCode::ListenFailed,
            message: format!(
                "port {port} needs CAP_NET_BIND_SERVICE, which this process does not have"
            ),
            hint: Some(format!(
                "ports from {} on are free for all; or give the program the right: \
                 sudo setcap cap_net_bind_service=+ep {}",
                rights.unprivileged_from, self.world.executable
            )),
        })
    }

    fn user(&self, name: &str) -> Result<(), Trouble> {
        let invalid = |message, hint: &str| Trouble {
            code: AttemptCode::Invalid,
            message,
            hint: Some(hint.to_owned()),
        };
        let found = Identity::find(name)
            .map_err(|error| invalid(format!("user '{name}' cannot be looked up: {error}"), ""))?;
        match found {
            None => Err(invalid(
                format!("there is no user '{name}'"),
                "make one: sudo useradd --system NAME",
            )),
            Some(user) if self.other_users || user.is_own() => Ok(()),
            Some(_) => Err(invalid(
                format!("to run processes as '{name}' needs root, which this process is not"),
                "start rip-master as root, or leave `user` out",
            )),
        }
    }
}

/// The entry, run by what the operator says or by what it says itself.
fn find(entry: &str, runtime: Option<&str>, places: &Places) -> Result<Entry, Trouble> {
    let runtime = match runtime.map(|name| (name, Runtime::named(name))) {
        None => None,
        Some((_, Some(runtime))) => Some(runtime),
        Some((name, None)) => {
            return Err(Trouble {
                code: AttemptCode::Invalid,
                message: format!("there is no runtime '{name}'"),
                hint: Some("leave `runtime` out: it follows from the entry".to_owned()),
            });
        }
    };
    entry::resolve(Named { word: Some(entry), argv: None, runtime }, places).map_err(trouble)
}

fn resolved(found: Entry, asked: &Asked<'_>) -> Result<Resolved, Trouble> {
    let mut launch = found.launch;
    if !asked.has_setup {
        launch.setup = changes::setup_file(&launch)
            .map_err(|failure| trouble(failure.tip("say which: setup \"PROGRAM\" …")))?;
    }
    let watch = changes::by_default(launch.runtime);
    Ok(Resolved { shown: found.shown, launch, watch })
}

/// What is in a file of certificates or keys, which is at `place` and called `path` in the Edgefile.
fn read_pem(path: &str, place: &Path) -> Result<Vec<u8>, Trouble> {
    let unreadable = |error: std::io::Error| Trouble {
        code: AttemptCode::CertUnreadable,
        ..missing(path, place, &error)
    };
    cert_files::read_pem(place).map_err(unreadable)
}

fn of_certificate(wrong: Wrong) -> Trouble {
    Trouble { code: AttemptCode::CertUnreadable, message: wrong.message, hint: Some(wrong.hint) }
}

fn missing(path: &str, place: &Path, error: &std::io::Error) -> Trouble {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("'{path}' not found: looked for {}", place.display())
        }
        _ => format!("'{path}' cannot be read: {error}"),
    };
    Trouble { code: AttemptCode::EntryMissing, message, hint: credential::hint(path) }
}

/// What the command line says of an entry, as an Edgefile says it.
fn trouble(failure: Failure) -> Trouble {
    let hint = (!failure.tips.is_empty()).then(|| failure.tips.join("; "));
    Trouble { code: AttemptCode::EntryMissing, message: failure.message, hint }
}

/// Of a file's mode: everybody may read it.
const BY_OTHERS: u32 = 0o004;

#[cfg(test)]
mod tests;
