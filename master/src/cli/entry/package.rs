//! A `package.json`: what it says of how its app is started.

use super::{Directory, shell};
use crate::cli::exit::Failure;
use serde_json::Value;
use std::io::{ErrorKind, Read};

/// What describes a package.
pub(super) const FILE: &str = "package.json";
/// More than any package says.
const MOST: u64 = 4 << 20;

/// What a `package.json` says.
pub(super) struct Package(Value);

impl Package {
    /// That of the directory, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is no JSON.
    pub(super) fn of(place: &Directory<'_>) -> Result<Option<Self>, Failure> {
        let Some(text) = read(place, FILE, MOST)? else { return Ok(None) };
        match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(found) => Ok(Some(Self(found))),
            Err(error) => Err(Failure::configuration(format!(
                "{} is not JSON: {error}",
                place.path.join(FILE).display()
            ))),
        }
    }

    /// The file that those who import the package get.
    pub(super) fn main(&self) -> Option<&str> {
        self.0.get("main")?.as_str().filter(|main| !main.is_empty())
    }

    /// The script called `name`, as a line for a shell. One that only runs another script is that one.
    pub(super) fn script(&self, name: &str) -> Option<&str> {
        let mut line = self.line(name)?;
        // Scripts that run each other in a circle end here as well.
        for _ in 0..4 {
            let words = shell::words(line).unwrap_or_default();
            match script_of(&words).and_then(|next| self.line(next)) {
                Some(next) => line = next,
                None => break,
            }
        }
        Some(line)
    }

    fn line(&self, name: &str) -> Option<&str> {
        let line = self.0.get("scripts")?.get(name)?.as_str()?.trim();
        (!line.is_empty()).then_some(line)
    }
}

/// The script that `words` run by a package manager; `None` if they do something else.
pub(super) fn script_of(words: &[String]) -> Option<&str> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["npm" | "pnpm" | "yarn" | "bun", "run", script] => Some(script),
        ["npm" | "pnpm" | "yarn", "start"] => Some("start"),
        _ => None,
    }
}

/// The refusal of a directory with a package that does not say how it is started.
pub(super) fn says_nothing(place: &Directory<'_>) -> Failure {
    let failure = Failure::configuration(format!(
        "'{}' says neither what `npm start` runs nor a `main` that is there",
        place.shown_file(FILE)
    ));
    let written = place.places.written;
    let failure = failure
        .tip(format!("name the app's file: {}", written.entry(&place.shown_file("FILE.js"))));
    let builds = Package::of(place).ok().flatten().is_some_and(|it| it.line("build").is_some());
    if builds {
        failure.tip(format!(
            "if it is a site: npm run build, then {}",
            written.entry(&place.shown_file("dist"))
        ))
    } else {
        failure
    }
}

/// The text of the file `name` in a directory; `None` if there is none. Of what is longer than `most`
/// bytes, only that much is read.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(
    place: &Directory<'_>,
    name: &str,
    most: u64,
) -> Result<Option<String>, Failure> {
    let path = place.path.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    let read =
        std::fs::File::open(&path).and_then(|file| file.take(most).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Failure::configuration(format!("{} cannot be read: {error}", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(text: &str) -> Package {
        Package(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn scripts_that_run_scripts_are_followed() {
        let found = package(
            r#"{"scripts":{"start":"npm run serve","serve":"node a.js","x":"npm run x","y":"npm run z"}}"#,
        );
        assert_eq!(found.script("start"), Some("node a.js"));
        assert_eq!(found.script("x"), Some("npm run x"));
        assert_eq!(found.script("y"), Some("npm run z"));
        assert_eq!(found.script("none"), None);
    }

    #[test]
    fn what_has_another_shape_says_nothing() {
        for text in
            ["[]", "{}", r#"{"main":3,"scripts":[]}"#, r#"{"main":"","scripts":{"start":1}}"#]
        {
            let found = package(text);
            assert_eq!((found.main(), found.script("start")), (None, None), "{text}");
        }
    }
}
