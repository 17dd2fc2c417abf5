//! What is no app we start by itself: how its server is started instead.

use super::{Directory, Written, is_executable, package, source};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use std::path::Path;

/// A mark of an app whose server has to be named.
struct Mark {
    file: &'static str,
    /// What has such a file.
    kind: &'static str,
    /// Why that alone does not start it.
    lack: &'static str,
    /// How its server gets its listener, where it is not by descriptor.
    listen: Option<&'static str>,
    /// A server that is started.
    argv: &'static str,
}

/// In the order in which they are looked for.
const MARKS: &[Mark] = &[
    Mark {
        file: "Cargo.toml",
        kind: "a Rust app",
        lack: "which is built before it is started",
        listen: None,
        argv: "target/release/PROGRAM",
    },
    Mark {
        file: "go.mod",
        kind: "a Go app",
        lack: "which is built before it is started",
        listen: None,
        argv: "./PROGRAM",
    },
    Mark {
        file: "Gemfile",
        kind: "a Ruby app",
        lack: "which is started by its config.ru, and there is none",
        listen: Some("port"),
        argv: "bundle exec ruby app.rb -p {port}",
    },
    Mark {
        file: "deno.json",
        kind: "a Deno app",
        lack: "which is started as a command",
        listen: Some("port"),
        argv: "deno run --allow-net --allow-env main.ts",
    },
    Mark {
        file: "mix.exs",
        kind: "an Elixir app",
        lack: "which is started as a command",
        listen: Some("port"),
        argv: "mix phx.server",
    },
    Mark {
        file: "pom.xml",
        kind: "a Java app",
        lack: "which is built before it is started",
        listen: Some("port"),
        argv: "java -jar target/APP.jar --server.port={port}",
    },
];

/// The refusal of the directory as an app, if it has a mark of one.
pub(super) fn in_directory(place: &Directory<'_>) -> Option<Failure> {
    let written = place.places.written;
    if place.has("package.json") {
        return Some(package::says_nothing(place));
    }
    if let Some(mark) = MARKS.iter().find(|mark| place.has(mark.file)) {
        return Some(refusal(mark, place.path, written));
    }
    source::in_directory(place)
}

/// The refusal of the file at `path`, called `base` in its directory and `word` by the operator.
pub(super) fn file(word: &str, base: &str, path: &Path, written: Written) -> Failure {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if let Some(mark) = MARKS.iter().find(|mark| mark.file == base) {
        return refusal(mark, parent, written);
    }
    let failure =
        Failure::configuration(format!("what runs '{word}' does not follow from its name"));
    if base.ends_with(".rb") {
        let server = written.starts(parent, Some("port"), &format!("ruby {base} -p {{port}}"));
        return failure.tip(format!("start its server: {server}")).tip("or name its config.ru");
    }
    if is_executable(path) {
        return failure
            .tip(format!(
                "if it is an HTTP server: {}",
                written.starts(parent, None, &format!("./{base}"))
            ))
            .tip(format!("if it is a CGI program: {}", written.runtime(Runtime::Cgi)));
    }
    failure.tip(format!(
        "an app is a file such as app.py, server.js, config.ru or index.php, a directory with one, \
         or {}",
        written.command()
    ))
}

fn refusal(mark: &Mark, directory: &Path, written: Written) -> Failure {
    Failure::configuration(format!("'{}' is that of {}, {}", mark.file, mark.kind, mark.lack))
        .tip(format!("start its server: {}", written.starts(directory, mark.listen, mark.argv)))
}
