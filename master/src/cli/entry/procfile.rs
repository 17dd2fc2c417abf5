//! A Procfile: the operator's word on what is started, so it goes before any guess.

use super::{Directory, Entry, node, package, shell};
use crate::cli::exit::Failure;

const FILE: &str = "Procfile";
/// Nobody's Procfile is longer, and nothing longer is read.
const MOST: u64 = 64 << 10;

/// The web process of the directory's Procfile, if it has one.
///
/// # Errors
/// What the process starts is not there, or the Procfile cannot be read.
pub(super) fn in_directory(place: &Directory<'_>) -> Result<Option<Entry>, Failure> {
    let Some(text) = package::read(place, FILE, MOST)? else { return Ok(None) };
    let Some(line) = web(&text) else { return Ok(None) };
    // A tool that starts a script as its child is in the way of signals.
    let script = shell::words(line).as_deref().and_then(package::script_of).map(str::to_owned);
    if let (Some(script), true) = (script, place.has(package::FILE)) {
        return node::script(place, &script).map(Some);
    }
    place.server(shell::argv(place, line, FILE)?).map(Some)
}

/// The refusal of a Procfile that was named and starts nothing for the web.
pub(super) fn says_nothing(place: &Directory<'_>) -> Failure {
    Failure::configuration(format!("'{}' has no process called web", place.shown))
        .tip("for example: web: gunicorn app:app --bind 127.0.0.1:$PORT")
}

/// The command of the process called `web`.
fn web(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (name, command) = line.trim_start_matches('\u{feff}').split_once(':')?;
        let command = command.trim();
        (name.trim() == "web" && !command.is_empty()).then_some(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_called_web_is_taken() {
        let text = "# web: no\nrelease: make\nweb: gunicorn app:app -b :$PORT\r\nworker: x\n";
        assert_eq!(web(text), Some("gunicorn app:app -b :$PORT"));
        assert_eq!(web("worker: a\nweb:\n"), None);
    }
}
