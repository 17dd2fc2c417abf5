//! `check`, `fmt`, `schema`: what can be said of an Edgefile without a server.

use super::args::{Check, Fmt, ReportForm, Schema};
use super::compile;
use super::ctl::say;
use super::exit::{Exit, Failure};
use super::start::edgefile::{NAME, absolute, file_in};
use super::table::Paint;
use nix::unistd::{Gid, Uid};
use rip::contract::config::Config;
use rip::contract::listen::FreePorts;
use rip::edgefile::job::Job;
use rip::edgefile::{Diagnostic, diagnostic, schema as language};
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Says what is wrong with a file: [`Exit::Configuration`] when anything keeps it from being used.
///
/// # Errors
/// Its reader cannot be started.
pub fn check(flags: &Check) -> Result<Exit, Failure> {
    let path = path_of(flags.file.as_deref());
    let shown = path.display().to_string();
    let mut outcome = compile::compile(&job(&path)?)?;
    let found = &outcome.diagnostics;
    let form = if flags.json { ReportForm::Json } else { flags.format };
    match form {
        ReportForm::Json => say(&diagnostic::json(found, &shown))?,
        ReportForm::Github if found.is_empty() => Exit::Done,
        ReportForm::Github => say(&diagnostic::github(found, &shown))?,
        ReportForm::Human => {
            tell(found, &shown);
            match outcome.take_config() {
                Some(config) => say(&praise(&shown, &config))?,
                None => return Err(rejected(&shown, &outcome.diagnostics)),
            }
        }
    };
    Ok(if outcome.is_rejected() { Exit::Configuration } else { Exit::Done })
}

/// The configuration that the file at `path` describes; what is odd about it is told on stderr.
/// Of its listeners those that are `free` may name ports that cannot be listened at.
///
/// # Errors
/// It is wrong, and how has been told (exit 78).
pub fn accepted(path: &Path, free: FreePorts) -> Result<Config, Failure> {
    let shown = path.display().to_string();
    let mut outcome = compile::compile(&Job { free, other_users: true, ..job(path)? })?;
    tell(&outcome.diagnostics, &shown);
    let is_rejected = outcome.is_rejected();
    match outcome.take_config() {
        Some(config) if !is_rejected => Ok(config),
        _ => Err(rejected(&shown, &outcome.diagnostics)),
    }
}

/// Formats a file in its place, or says whether it is formatted.
///
/// # Errors
/// It is no document, or cannot be written.
pub fn fmt(flags: &Fmt) -> Result<Exit, Failure> {
    let path = path_of(flags.file.as_deref());
    let shown = path.display().to_string();
    let formatted = compile::format(&job(&path)?)?;
    tell(&formatted.diagnostics, &shown);
    let Some(text) = formatted.text else {
        if flags.json {
            say(&diagnostic::json(&formatted.diagnostics, &shown))?;
        }
        return Err(rejected(&shown, &formatted.diagnostics));
    };
    if flags.stdout {
        return say(&text);
    }
    let unreadable =
        |error: io::Error| Failure::configuration(format!("{shown} cannot be read: {error}"));
    let as_json = |formatted: bool, changed: bool| match flags.json {
        true => {
            let done =
                json!({"ok": formatted, "file": shown, "formatted": formatted, "changed": changed});
            say(&done.to_string())
        }
        false => Ok(Exit::Done),
    };
    if fs::read(&path).map_err(unreadable)? == text.as_bytes() {
        return as_json(true, false);
    }
    if flags.check {
        as_json(false, false)?;
        return Err(Failure::new(Exit::Failed, format!("{shown} is not formatted"))
            .tip(format!("rip-master fmt {shown}")));
    }
    replace(&path, &text).map_err(|error| {
        Failure::new(Exit::Failed, format!("{shown} cannot be written: {error}"))
    })?;
    as_json(true, true)
}

/// Prints the language.
///
/// # Errors
/// None but a stdout that cannot be written.
pub fn schema(flags: &Schema) -> Result<Exit, Failure> {
    if flags.json { say(&language::json().to_string()) } else { say(&language::print()) }
}

/// The file that is meant: the one that is named, or that is in the directory that is named.
pub(super) fn path_of(file: Option<&str>) -> PathBuf {
    file_in(Path::new(file.unwrap_or(NAME)))
}

fn job(path: &Path) -> Result<Job, Failure> {
    Ok(Job { path: Some(absolute(path)?), ..Job::default() })
}

fn tell(found: &[Diagnostic], shown: &str) {
    let coloured = Paint::for_stderr() == Paint::Coloured;
    let mut told = diagnostic::render(found, shown, coloured);
    if !told.is_empty() {
        told.push('\n');
    }
    // Nobody may be listening.
    let _ = io::stderr().write_all(told.as_bytes());
}

fn rejected(shown: &str, found: &[Diagnostic]) -> Failure {
    Failure::configuration(format!("{shown} cannot be used: {}", diagnostic::summary(found)))
}

/// Where clients connect: `https *:443, http *:80`.
pub(super) fn listeners(config: &Config) -> String {
    let secure = config.edge.https.iter().map(|at| format!("https {at}"));
    let plain = config.edge.http.iter().map(|at| format!("http {at}"));
    let admin = config.edge.admin.iter().map(|at| format!("admin {at}"));
    secure.chain(plain).chain(admin).collect::<Vec<_>>().join(", ")
}

fn praise(shown: &str, config: &Config) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let sessions = match config.sessions.len() {
        0 => String::new(),
        1 => ", sessions at 1 place".to_owned(),
        number => format!(", sessions at {number} places"),
    };
    format!(
        "{shown} is right: {}, {}{sessions}; {}",
        count(config.apps.len(), "app"),
        count(config.routes.len(), "route"),
        listeners(config)
    )
}

/// Puts `text` in the place of what is in the file at `path`, at once or not at all. Who may do
/// what with the file stays as it is, and so does a link to it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let found = path.metadata()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let written = write(&fresh, text, &found).and_then(|()| fs::rename(&fresh, &path));
    if written.is_err() {
        // What is left of it may not have been made.
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn write(fresh: &Path, text: &str, like: &fs::Metadata) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(fresh)?;
    file.write_all(text.as_bytes())?;
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
        let (user, group) = (Uid::from_raw(like.uid()), Gid::from_raw(like.gid()));
        nix::unistd::fchown(&file, Some(user), Some(group))?;
    }
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::entry::tests::Tree;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_keeps_its_rights() {
        let tree = Tree::new("check-replace", &["real/Edgefile"]);
        let root = tree.places().cwd;
        let path = root.join("real/Edgefile");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real/Edgefile", root.join("link")).unwrap();
        replace(&root.join("link"), "version 1\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "version 1\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
        assert!(root.join("link").is_symlink());
        assert_eq!(root.join("real").read_dir().unwrap().count(), 1);
        assert!(replace(&root.join("nothing"), "").is_err());
    }

    #[test]
    fn a_directory_means_the_edgefile_in_it() {
        let tree = Tree::new("check-path", &["Edgefile"]);
        let root = tree.places().cwd;
        assert_eq!(path_of(root.to_str()), root.join("Edgefile"));
        assert_eq!(path_of(Some("other.kdl")), Path::new("other.kdl"));
    }
}
