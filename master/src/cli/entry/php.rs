//! Finding a PHP app: a script, or the directory whose scripts and files are served.

use super::{Directory, Entry, launch, name_of_file, text};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use std::path::Path;

/// What makes a directory a PHP app.
const FILE: &str = "index.php";
/// What frameworks let the world see of the directory they are in.
const PUBLIC: &str = "public/index.php";

/// What marks the directory as a PHP app. A `public` directory is what others than PHP have as well,
/// so it takes the file of PHP's packages beside it.
pub(super) fn mark(place: &Directory<'_>) -> Option<(String, Runtime)> {
    let names: &[&str] = if place.has("composer.json") { &[FILE, PUBLIC] } else { &[FILE] };
    place.first(names).map(|name| (name.to_owned(), Runtime::Php))
}

/// The app that the script at `path` is; runs in its directory.
pub(super) fn file(shown: &str, path: &Path) -> Result<Entry, Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(Entry {
        shown: shown.to_owned(),
        name: name_of_file(path, path.ends_with(FILE)),
        launch: launch(Runtime::Php, vec![text(path)?], parent)?,
    })
}

/// The app that a directory is, which somebody or [`mark`] says is one.
pub(super) fn in_directory(place: &Directory<'_>) -> Result<Entry, Failure> {
    if place.has(PUBLIC) && !place.has(FILE) {
        return place.app(Runtime::Php, &place.path.join("public"), place.path);
    }
    place.app(Runtime::Php, place.path, place.path)
}
