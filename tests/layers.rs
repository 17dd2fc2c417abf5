//! The layering is a test: an import that runs the wrong way fails here.
//!
//! Each crate is divided into rooms, the modules below its root, and rooms stand in rows. A module
//! imports from its own room, from rooms in lower rows, and from the crates below its own. That
//! holds for every path that leaves a room, in a `use` or in the middle of an expression, in tests
//! as well.

#![allow(clippy::disallowed_methods, reason = "it reads the sources")]

use std::fmt;
use std::path::{Path, PathBuf};

#[test]
fn no_import_runs_the_wrong_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut violations = Vec::new();
    for house in [&RIP, &MASTER, &WORKER] {
        let files = sources(&root.join(house.source));
        assert!(!files.is_empty(), "{} has no sources", house.source);
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let below = file.strip_prefix(root.join(house.source)).unwrap();
            let found = house.violations(&module_path(below), &text);
            let shown = file.strip_prefix(root).unwrap().display();
            violations.extend(found.into_iter().map(|violation| format!("{shown}:{violation}")));
        }
    }
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn manifests_name_no_crate_that_could_undo_the_layering() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    for name in dependencies(&manifest("Cargo.toml")) {
        assert!(PURE.contains(&name.as_str()), "crate `rip` depends on `{name}`: can it do I/O?");
    }
    let worker = dependencies(&manifest("worker-shim/Cargo.toml"));
    assert!(!worker.contains(&"rip-master".into()), "crate `rip-worker` depends on the master");
}

/// Dependencies of crate `rip`: none of them can open, read, wait, or tell the time.
const PURE: [&str; 10] = [
    "base64",
    "hdrhistogram",
    "hmac",
    "httparse",
    "kdl",
    "serde",
    "serde_json",
    "sha1",
    "sha2",
    "thiserror",
];

/// One crate and its rows.
struct House {
    name: &'static str,
    source: &'static str,
    /// Its name in paths.
    path_name: &'static str,
    rows: &'static [&'static [&'static str]],
    /// Rooms that may not import all lower rows: only those up to this one, and these rooms.
    narrow: &'static [(&'static str, usize, &'static [&'static str])],
    /// Other crates of the workspace, and who may import each. The crate's root is the room ``.
    others: &'static [(&'static str, Allowed)],
}

#[derive(Clone, Copy)]
enum Allowed {
    Everywhere,
    In(&'static [&'static str]),
}

/// `upstream` is beside `pool` and not in it: servers that are not ours have no leases, and their
/// health is learnt by asking and by watching.
#[rustfmt::skip]
const ROW_3: &[&str] = &[
    "route", "pool", "upstream", "supervise", "guard", "realtime", "session", "tls", "files", "observe",
];

const RIP: House = House {
    name: "rip",
    source: "src",
    path_name: "rip",
    rows: &[
        &["ids", "limits", "time", "entropy"],
        &["contract"],
        &["http1", "edgefile", "wire"],
        ROW_3,
        &["reload"],
    ],
    narrow: &[("reload", 1, &["edgefile", "route"])],
    others: &[("rip_master", Allowed::In(&[])), ("rip_worker", Allowed::In(&[]))],
};

const MASTER: House = House {
    name: "rip-master",
    source: "master/src",
    path_name: "rip_master",
    rows: &[&["sys"], &["reactor"], &["shared"], &["agents", "edge"], &["control"], &["cli"]],
    narrow: &[],
    others: &[("rip", Allowed::Everywhere), ("rip_worker", Allowed::In(&["sys", "cli", ""]))],
};

const WORKER: House = House {
    name: "rip-worker",
    source: "worker-shim/src",
    path_name: "rip_worker",
    rows: &[],
    narrow: &[],
    others: &[("rip", Allowed::Everywhere), ("rip_master", Allowed::In(&[]))],
};

impl House {
    /// What is wrong in the file that holds the module at `module`.
    fn violations(&self, module: &[String], text: &str) -> Vec<Violation> {
        let room = module.first().map_or("", String::as_str);
        let mut violations = Vec::new();
        let mut blame = |line, what| violations.push(Violation { line, what });
        let is_placed = self.rows.is_empty() || room.is_empty() || self.row(room).is_some();
        if !is_placed {
            blame(1, format!("room `{room}` of `{}` stands in no row", self.name));
        }
        for import in imports(text, module) {
            let allowed = match &import.target {
                Target::Crate(name) if name == self.path_name && room.is_empty() => true,
                Target::Crate(name) => self.allows_crate(room, name),
                Target::Room(target) => self.allows_room(room, target),
            };
            if !allowed {
                let what = format!("`{room}` of `{}` may not import {}", self.name, import.target);
                blame(import.line, what);
            }
        }
        violations
    }

    fn allows_crate(&self, room: &str, name: &str) -> bool {
        match self.others.iter().find(|(other, _)| *other == name) {
            Some((_, Allowed::Everywhere)) => true,
            Some((_, Allowed::In(rooms))) => rooms.contains(&room),
            None => false,
        }
    }

    fn allows_room(&self, room: &str, target: &str) -> bool {
        if self.rows.is_empty() || room.is_empty() || room == target {
            return true;
        }
        let (Some(own), Some(other)) = (self.row(room), self.row(target)) else { return false };
        match self.narrow.iter().find(|(name, ..)| *name == room) {
            Some((_, row, names)) => other <= *row || names.contains(&target),
            None => other < own,
        }
    }

    fn row(&self, room: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.contains(&room))
    }
}

struct Violation {
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.line, self.what)
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Import {
    line: usize,
    target: Target,
}

#[derive(Debug, Eq, PartialEq)]
enum Target {
    /// Another crate of the workspace.
    Crate(String),
    /// A room of the same crate.
    Room(String),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate(name) => write!(out, "crate `{name}`"),
            Self::Room(name) => write!(out, "`{name}`"),
        }
    }
}

/// Every path in `text` that names a room from the crate's root, or another crate of the workspace.
fn imports(text: &str, module: &[String]) -> Vec<Import> {
    let tokens = tokens(text);
    let word = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let mut found = Vec::new();
    // Modules written in place, each with the number of braces around its body.
    let mut inner: Vec<usize> = Vec::new();
    let mut brace_count = 0;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => {
                brace_count += 1;
                if index >= 2 && word(index - 2) == "mod" {
                    inner.push(brace_count);
                }
            }
            "}" => {
                inner.pop_if(|opened| *opened == brace_count);
                brace_count -= 1;
            }
            _ => {}
        }
        let begins_path = index == 0 || word(index - 1) != "::";
        if !begins_path || word(index + 1) != "::" {
            if begins_path && WORKSPACE.contains(&token.text) && is_crate_use(&word, index) {
                let target = Target::Crate(token.text.into());
                found.push(Import { line: token.line, target });
            }
            continue;
        }
        let mut next = index + 2;
        let is_from_root = match token.text {
            "crate" => true,
            "super" => {
                let mut climbed = 1;
                while word(next) == "super" && word(next + 1) == "::" {
                    climbed += 1;
                    next += 2;
                }
                climbed >= module.len() + inner.len()
            }
            name => {
                if WORKSPACE.contains(&name) {
                    let target = Target::Crate(name.into());
                    found.push(Import { line: token.line, target });
                }
                false
            }
        };
        if is_from_root {
            let first = first_words(&tokens[next..]);
            found.extend(
                first.into_iter().map(|token| Import {
                    line: token.line,
                    target: Target::Room(token.text.into()),
                }),
            );
        }
    }
    found
}

/// A crate named without a path: `use rip;`, `use rip as r;`, `extern crate rip;`.
fn is_crate_use<'a>(word: &impl Fn(usize) -> &'a str, index: usize) -> bool {
    let before = if index == 0 { "" } else { word(index - 1) };
    matches!(before, "use" | "crate") && matches!(word(index + 1), ";" | "as")
}

/// The word after `crate::`, or the first word of each member of the group that follows.
fn first_words<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![*first];
    }
    let mut words = Vec::new();
    let mut depth = 0;
    let mut is_first = false;
    for token in tokens {
        match token.text {
            "{" => {
                depth += 1;
                is_first = depth == 1;
            }
            "}" => depth -= 1,
            "," => is_first = depth == 1,
            "self" => {}
            _ if is_first => {
                words.push(*token);
                is_first = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    words
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Words, `::` and single signs; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut found, mut line, mut index) = (Vec::new(), 1, 0);
    while index < bytes.len() {
        let began = index;
        match at(index) {
            b'/' if at(index + 1) == b'/' => {
                while index < bytes.len() && at(index) != b'\n' {
                    index += 1;
                }
            }
            b'/' if at(index + 1) == b'*' => index = after_comment(bytes, index),
            b'"' => index = after_string(bytes, index),
            b'\'' if at(index + 1) == b'\\' => {
                index += 3;
                while index < bytes.len() && at(index) != b'\'' {
                    index += 1;
                }
                index += 1;
            }
            b'\'' => {
                let length = text[index + 1..].chars().next().map_or(1, char::len_utf8);
                index += if at(index + 1 + length) == b'\'' { length + 2 } else { 1 };
            }
            b':' if at(index + 1) == b':' => {
                found.push(Token { text: "::", line });
                index += 2;
            }
            byte if is_word(byte) => {
                while is_word(at(index)) {
                    index += 1;
                }
                let word = &text[began..index];
                let hashes = bytes[index..].iter().take_while(|byte| **byte == b'#').count();
                let is_raw = matches!(word, "r" | "br" | "cr") && at(index + hashes) == b'"';
                match word {
                    _ if is_raw => index = after_raw_string(bytes, index, hashes),
                    "b" | "c" if at(index) == b'"' => index = after_string(bytes, index),
                    // A raw word: the word itself follows.
                    "r" if at(index) == b'#' => index += 1,
                    _ => found.push(Token { text: word, line }),
                }
            }
            byte if byte.is_ascii_whitespace() => index += 1,
            _ => {
                found.push(Token { text: &text[index..=index], line });
                index += 1;
            }
        }
        index = index.min(bytes.len());
        line += bytes[began..index].iter().filter(|byte| **byte == b'\n').count();
    }
    found
}

/// Block comments nest.
fn after_comment(bytes: &[u8], mut index: usize) -> usize {
    let mut depth = 0;
    while index < bytes.len() {
        match &bytes[index..] {
            [b'/', b'*', ..] => {
                depth += 1;
                index += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => index += 1,
        }
    }
    index
}

fn after_string(bytes: &[u8], quote: usize) -> usize {
    let mut index = quote + 1;
    while index < bytes.len() && bytes[index] != b'"' {
        index += if bytes[index] == b'\\' { 2 } else { 1 };
    }
    index + 1
}

fn after_raw_string(bytes: &[u8], hashes_at: usize, hashes: usize) -> usize {
    let mut index = hashes_at + hashes + 1;
    while index < bytes.len() {
        let ends = bytes[index] == b'"'
            && bytes[index + 1..].iter().take_while(|byte| **byte == b'#').count() >= hashes;
        index += 1;
        if ends {
            return index + hashes;
        }
    }
    index
}

/// `pool/queue.rs` is the module `pool::queue`; the root of a crate has no name.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is_folder = path.last().is_some_and(|last| last == "mod");
    let is_root = path.len() == 1 && (path[0] == "lib" || path[0] == "main");
    if is_folder || is_root {
        path.pop();
    }
    path
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The crates a manifest's own code can use: all dependency tables but those of the workspace, of
/// tests and of build scripts.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_table = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let table = header.rsplit_once("dependencies").filter(|(before, _)| {
                before.is_empty() || (before.starts_with("target.") && before.ends_with('.'))
            });
            in_table = table.is_some_and(|(_, after)| after.is_empty());
            if let Some(name) = table.and_then(|(_, after)| after.strip_prefix('.')) {
                found.push(name.trim_matches('"').into());
            }
        } else if in_table
            && let Some((name, _)) = line.split_once(['.', '=', ' '])
            && !name.starts_with('#')
        {
            found.push(name.trim_matches('"').into());
        }
    }
    found
}

/// The crates of the workspace as paths name them.
const WORKSPACE: [&str; 3] = ["rip", "rip_master", "rip_worker"];

mod checker {
    use super::*;

    fn blamed(house: &House, file: &str, text: &str) -> Vec<usize> {
        let violations = house.violations(&module_path(Path::new(file)), text);
        violations.into_iter().map(|violation| violation.line).collect()
    }

    #[track_caller]
    fn catches(house: &House, file: &str, text: &str) {
        assert_eq!(blamed(house, file, text).len(), 1, "{file}: {text}");
    }

    #[track_caller]
    fn passes(house: &House, file: &str, text: &str) {
        assert_eq!(blamed(house, file, text), [0; 0], "{file}: {text}");
    }

    #[test]
    fn lower_rows_and_the_own_room_are_open() {
        passes(&RIP, "pool/pool.rs", "use crate::contract::app::Select; use crate::ids::AppId;");
        passes(&RIP, "pool/pool.rs", "use super::queue::Queue; use crate::pool::lease::Lease;");
        passes(&RIP, "http1/head.rs", "use crate::{limits, contract::reason::Reason};");
        passes(&RIP, "lib.rs", "pub use crate::pool::Pool;");
        passes(&MASTER, "edge/front.rs", "use crate::reactor::Slab; use rip::pool::Pool;");
        passes(&MASTER, "control/master.rs", "use crate::{agents, edge::Edges};");
        passes(&MASTER, "cli/start.rs", "fn shim() { rip_worker::run() }");
        passes(&MASTER, "main.rs", "fn main() { rip_master::cli::main() }");
        passes(&WORKER, "ready.rs", "use crate::host; use rip::wire::verb::Verb;");
        passes(&WORKER, "main.rs", "fn main() { rip_worker::main() }");
    }

    #[test]
    fn upward_and_sideways_imports_are_caught() {
        catches(&RIP, "ids.rs", "use crate::contract::app::Select;");
        catches(&RIP, "limits.rs", "use crate::ids::AppId;");
        catches(&RIP, "contract/app.rs", "use crate::pool::Pool;");
        catches(&RIP, "pool/pool.rs", "use crate::guard::phase::Phase;");
        catches(&RIP, "http1/head.rs", "use crate::wire::header;");
        catches(&MASTER, "sys/fd.rs", "use crate::reactor::Slab;");
        catches(&MASTER, "shared/log.rs", "use crate::agents::log;");
        catches(&MASTER, "edge/front.rs", "use crate::agents::files;");
        catches(&MASTER, "agents/files.rs", "use crate::edge::Edges;");
        catches(&MASTER, "edge/front.rs", "use crate::control::master;");
        catches(&MASTER, "control/master.rs", "use crate::cli::args;");
    }

    #[test]
    fn a_reload_sees_the_file_the_routes_and_the_contracts_only() {
        let allowed = "use crate::{edgefile::Plan, route::Table, contract::app, time::Instant};";
        passes(&RIP, "reload/pipeline.rs", allowed);
        catches(&RIP, "reload/pipeline.rs", "use crate::pool::Pool;");
        catches(&RIP, "reload/pipeline.rs", "use crate::http1::Server;");
    }

    #[test]
    fn other_crates_are_closed() {
        catches(&RIP, "pool/pool.rs", "use rip_master::sys::fd;");
        catches(&RIP, "lib.rs", "extern crate rip_worker;");
        catches(&WORKER, "boot.rs", "use rip_master as master;");
        catches(&WORKER, "boot.rs", "fn f() { rip_master::sys::spawn() }");
        catches(&MASTER, "edge/front.rs", "use rip_worker::host;");
    }

    #[test]
    fn no_spelling_hides_an_import() {
        let file = "edge/front.rs";
        catches(&MASTER, file, "fn f() -> crate::control::Master { master() }");
        catches(
            &MASTER,
            file,
            "use crate::{\n    reactor::{self, Slab},\n    control::Master,\n};",
        );
        catches(&MASTER, file, "use {std::fmt, crate::cli};");
        catches(&MASTER, file, "use ::{std::fmt}; pub(crate) use crate :: cli as c;");
        catches(&MASTER, file, "use super::super::control;");
        catches(&MASTER, file, "use crate::*;");
        catches(&MASTER, file, "mod tests { use super::super::super::cli; }");
        catches(&MASTER, file, "mod a { mod b { } fn f() { } use super::super::super::cli; }");
        catches(&MASTER, "edge/mod.rs", "use super::agents;");
        catches(&MASTER, file, "/* a /* b */ */ use crate::r#cli;");
        catches(&MASTER, file, "const Q: char = '\"'; use crate::cli; const R: char = '\"';");
        catches(&MASTER, file, "fn f<'a>(a: &'a str) {} use crate::cli; fn g<'b>(b: &'b str) {}");
        catches(&MASTER, file, "macro_rules! m { () => { $crate::cli::run() } }");
    }

    #[test]
    fn what_only_looks_like_an_import_passes() {
        let file = "edge/front.rs";
        passes(&MASTER, file, "// use crate::control;\n/* crate::cli */ /// [`crate::cli`]\n");
        passes(&MASTER, file, "const A: &str = \"crate::cli \\\" crate::cli\";");
        passes(
            &MASTER,
            file,
            "const A: &str = r#\"a\" crate::cli\"#; const B: &[u8] = b\"crate::cli\";",
        );
        passes(&MASTER, file, "mod tests { use super::super::socket; use super::*; }");
        passes(&MASTER, file, "fn f() { foreign::rip_worker::run(); let rip_worker = 1; }");
        passes(&MASTER, file, "use crate::reactor::{control, cli};");
    }

    #[test]
    fn a_room_without_a_row_is_caught() {
        catches(&RIP, "helpers/mod.rs", "");
        catches(&RIP, "pool/pool.rs", "use crate::helpers::help;");
    }

    #[test]
    fn the_line_is_named() {
        assert_eq!(blamed(&RIP, "ids.rs", "//! a\n\nuse std::fmt;\nuse crate::pool::Pool;\n"), [4]);
        let text = "const A: &str = \"\n\n\";\nuse crate::{\n    limits,\n    guard::caps,\n};";
        assert_eq!(blamed(&RIP, "pool/pool.rs", text), [6]);
    }

    #[test]
    fn manifests_are_read_as_cargo_reads_them() {
        let manifest = "[package]\nname = \"rip\"\n[workspace.dependencies]\nmio = \"1\"\n\
                        [dependencies]\nserde.workspace = true\n# libc = \"1\"\nnix = \"1\"\n\
                        [dev-dependencies]\nlog = \"1\"\n[dependencies.socket2]\nversion = \"1\"\n\
                        [target.'cfg(unix)'.dependencies]\nlibc = { version = \"1\" }\n[lints]\n";
        assert_eq!(dependencies(manifest), ["serde", "nix", "socket2", "libc"]);
    }
}
