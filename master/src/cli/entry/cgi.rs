//! Finding a CGI program: an executable file, or a directory of them.

use super::{Directory, Entry, is_executable, launch, name_of_file, text};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use std::path::Path;

/// What makes a directory one of CGI programs.
const FILE: &str = "index.cgi";

/// What marks the directory as one of CGI programs.
pub(super) fn mark(place: &Directory<'_>) -> Option<(String, Runtime)> {
    place.first(&[FILE]).map(|name| (name.to_owned(), Runtime::Cgi))
}

/// The program at `path`; runs in its directory.
pub(super) fn file(shown: &str, path: &Path) -> Result<Entry, Failure> {
    if !is_executable(path) {
        return Err(Failure::configuration(format!(
            "'{shown}' is not executable, which a CGI program has to be"
        ))
        .tip(format!("chmod +x {}", path.display())));
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(Entry {
        shown: shown.to_owned(),
        name: name_of_file(path, path.ends_with(FILE)),
        launch: launch(Runtime::Cgi, vec![text(path)?], parent)?,
    })
}
