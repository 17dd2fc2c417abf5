//! Finding a Ruby app: a rackup file, or a directory with `config.ru`.

use super::{Directory, Entry, launch, name_of_file, text};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use std::path::Path;

/// What makes a directory a Ruby app.
const FILE: &str = "config.ru";

/// What marks the directory as a Ruby app.
pub(super) fn mark(place: &Directory<'_>) -> Option<(String, Runtime)> {
    place.first(&[FILE]).map(|name| (name.to_owned(), Runtime::Ruby))
}

/// The app that the rackup file at `path` is; runs in its directory.
pub(super) fn file(shown: &str, path: &Path) -> Result<Entry, Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(Entry {
        shown: shown.to_owned(),
        name: name_of_file(path, path.ends_with(FILE)),
        launch: launch(Runtime::Ruby, vec![text(path)?], parent)?,
    })
}

/// The app in a directory, if there is one.
pub(super) fn in_directory(place: &Directory<'_>) -> Result<Option<Entry>, Failure> {
    match place.first(&[FILE]) {
        Some(name) => place.app(Runtime::Ruby, &place.path.join(name), place.path).map(Some),
        None => Ok(None),
    }
}
