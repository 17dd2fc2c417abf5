//! Source of an app in a directory that nothing says how to start: as files it would be shown to the
//! world, so it is refused, with the entry to be named where one can be told.
//!
//! Looked at are the directory and two levels below. Where there is an `index.html`, it is a site,
//! and a script below that nobody would take for a server's is a download.

use super::{Directory, Written, is_executable, python};
use crate::cli::exit::Failure;
use rip::contract::app::Runtime;
use std::path::Path;

/// How deep below the directory is looked.
const DEPTH: usize = 2;
/// More than this many names are not looked at.
const MOST: usize = 20_000;
/// Directories of packages that are installed for the app.
const INSTALLED: &[&str] = &["node_modules", "venv", "env", "__pycache__"];
/// Where web servers have programs that they run.
const CGI_BIN: &str = "cgi-bin";
/// What programs for CGI are called.
const SCRIPTS: &[&str] = &["awk", "bash", "cgi", "lua", "php", "pl", "py", "rb", "sh", "tcl"];
/// What describes an app, in whose directory it is started.
const PACKAGES: &[&str] = &["Cargo.toml", "Gemfile", "composer.json", "go.mod", "package.json"];

/// What source is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Python,
    Ruby,
    Php,
    Cgi,
    Go,
    /// An app in a directory of its own.
    Package,
}

/// The refusal of the directory as one of files, if there is source in it.
pub(super) fn in_directory(place: &Directory<'_>) -> Option<Failure> {
    let files = files(place.path);
    let is_site = place.first(&["index.html", "index.htm"]).is_some();
    let (seen, kind) =
        files.iter().find_map(|file| Some((file, kind(place.path, file, is_site)?)))?;
    let written = place.places.written;
    let what = match kind {
        Kind::Python => "is part of a Python app, whose source is not for everybody",
        Kind::Ruby => "is part of a Ruby app, whose source is not for everybody",
        Kind::Go => "is part of a Go app, whose source is not for everybody",
        Kind::Package => "is that of an app, whose source is not for everybody",
        Kind::Php | Kind::Cgi => "is a script, whose text is not for everybody",
    };
    let failure = Failure::configuration(format!("'{seen}' in {} {what}", place.path.display()));
    let failure = failure.tip(match kind {
        Kind::Python => python_entry(place, &files),
        Kind::Ruby => ruby_entry(place, &files),
        Kind::Php => format!("to run it: {}", written.runtime(Runtime::Php)),
        Kind::Cgi => cgi_entry(place, seen),
        Kind::Go => format!("start its server: {}", written.starts(place.path, None, "./PROGRAM")),
        Kind::Package => {
            let directory = seen.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("name its directory: {}", written.entry(&place.shown_file(directory)))
        }
    });
    Some(match written {
        Written::CommandLine => {
            failure.tip("to publish the files all the same: `static` in an Edgefile")
        }
        Written::Edgefile => failure,
    })
}

/// The files in `directory` and below, those above first, as paths in it.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut level = vec![String::new()];
    for _ in 0..=DEPTH {
        let mut below = Vec::new();
        for prefix in level {
            let entries = directory.join(&prefix).read_dir().into_iter().flatten().flatten();
            let first = found.len();
            for entry in entries {
                looked_at += 1;
                if looked_at > MOST {
                    return found;
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                // Nobody is shown what begins with a dot.
                if name.starts_with('.') {
                    continue;
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !INSTALLED.contains(&name.as_str()) => {
                        below.push(format!("{prefix}{name}/"));
                    }
                    Ok(kind) if kind.is_file() || kind.is_symlink() && entry.path().is_file() => {
                        found.push(format!("{prefix}{name}"));
                    }
                    _ => {}
                }
            }
            if let Some(own) = found.get_mut(first..) {
                own.sort();
            }
        }
        below.sort();
        level = below;
    }
    found
}

/// What the file at `path` in `directory` is source of, if it is.
fn kind(directory: &Path, path: &str, is_site: bool) -> Option<Kind> {
    let (above, base) = path.rsplit_once('/').unwrap_or(("", path));
    let extension = base.rsplit_once('.').map_or("", |(_, extension)| extension);
    // Of what lies below a site, only what is surely no download.
    let is_own = above.is_empty() || !is_site;
    if above.split('/').any(|name| name == CGI_BIN) || directory.ends_with(CGI_BIN) {
        let is_program = SCRIPTS.contains(&extension) || is_executable(&directory.join(path));
        return is_program.then_some(Kind::Cgi);
    }
    match (base, extension) {
        (_, "php" | "phtml") => Some(Kind::Php),
        (_, "cgi") => Some(Kind::Cgi),
        ("config.ru", _) => Some(Kind::Ruby),
        ("__init__.py" | "manage.py" | "settings.py" | "config.py", _) => Some(Kind::Python),
        _ if python::FILES.contains(&base) => Some(Kind::Python),
        _ if !is_own => None,
        (_, "py") => Some(Kind::Python),
        _ if python::PROJECT.contains(&base) => Some(Kind::Python),
        (_, "rb") => Some(Kind::Ruby),
        (_, "pl") => Some(Kind::Cgi),
        (_, "go") if above.is_empty() => Some(Kind::Go),
        _ if PACKAGES.contains(&base) => Some(Kind::Package),
        _ => None,
    }
}

/// How the app in the Python source among `files` is named.
fn python_entry(place: &Directory<'_>, files: &[String]) -> String {
    let written = place.places.written;
    let mut apps = Vec::new();
    let mut factories = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".py")) {
        if file.split('/').any(|name| NO_APPS.contains(&name) || name.starts_with("test_")) {
            continue;
        }
        match (python::says(&place.path.join(file), !file.contains('/')), module(file)) {
            (Some(python::Says::App(_)), None) => {
                apps.push(written.entry(&place.shown_file(file)));
            }
            (Some(python::Says::App(name)), Some(module)) => {
                apps.push(written.module(place, &format!("{module}:{name}")));
            }
            (Some(python::Says::Factory(name)), module) => {
                let module = module.unwrap_or_else(|| file.trim_end_matches(".py").to_owned());
                let module = module.replace('/', ".");
                factories.push(written.module(place, &format!("{module}:{name}()")));
            }
            (None, _) => {}
        }
    }
    match apps.into_iter().chain(factories).next() {
        Some(entry) => format!("name it: {entry}"),
        None => format!(
            "name its file, {}, or its module: {}",
            written.entry(&place.shown_file("FILE.py")),
            written.module(place, "pkg.module:attr")
        ),
    }
}

/// Python files and directories that have no app to be served.
const NO_APPS: &[&str] =
    &["setup.py", "conftest.py", "manage.py", "tests", "test", "docs", "migrations"];

/// The package whose `__init__.py` the file is.
fn module(file: &str) -> Option<String> {
    file.strip_suffix("/__init__.py").map(|package| package.replace('/', "."))
}

/// How the app in the Ruby source among `files` is named.
fn ruby_entry(place: &Directory<'_>, files: &[String]) -> String {
    let written = place.places.written;
    if let Some(file) = files.iter().find(|file| file.ends_with("/config.ru")) {
        return format!("name it: {}", written.entry(&place.shown_file(file)));
    }
    let mut own = files.iter().filter(|file| file.ends_with(".rb") && !file.contains('/'));
    let first = own.next();
    let app = files.iter().find(|file| *file == "app.rb").or(first).map_or("app.rb", |it| it);
    let server = written.starts(place.path, Some("port"), &format!("ruby {app} -p {{port}}"));
    format!("start its server: {server}, or name its config.ru")
}

/// How the script `seen` is run.
fn cgi_entry(place: &Directory<'_>, seen: &str) -> String {
    let runtime = place.places.written.runtime(Runtime::Cgi);
    let above = seen.rsplit_once('/').map_or("", |(above, _)| above);
    if above.is_empty() {
        return format!("to run it: {runtime}");
    }
    let entry = place.places.written.entry(&place.shown_file(above));
    match place.places.written {
        Written::CommandLine => format!("to run it: {entry} {runtime}"),
        Written::Edgefile => format!("to run it: {entry}; {runtime}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::entry::tests::Tree;
    use crate::cli::entry::{Found, Named, find};

    fn tips(tree: &Tree, word: &str) -> (String, Vec<String>) {
        let named = Named { word: Some(word), ..Named::default() };
        match find(named, &tree.places()) {
            Err(failure) => {
                assert_eq!(failure.exit.code(), 78, "{word}");
                (failure.message, failure.tips)
            }
            Ok(found) => panic!("{word}: {found:?}"),
        }
    }

    #[test]
    fn source_is_not_published_but_its_entry_proposed() {
        let tree = Tree::new(
            "source",
            &[
                "tutorial/pyproject.toml",
                "tutorial/flaskr/__init__.py",
                "mega/requirements.txt",
                "mega/app/__init__.py",
                "mega/microblog.py",
                "run/run.py",
                "run/config.py",
                "whole/shop/__init__.py",
                "bare/requirements.txt",
                "lone/tool.py",
                "pipenv/Pipfile",
                "set/setup.py",
                "admin/manage.py",
                "mono/backend/api.py",
                "mono/frontend/page.html",
                "nested/server/package.json",
                "sinatra/app.rb",
                "rack/web/config.ru",
                "php/readme.txt",
                "php/src/a.php",
                "scripts/index.html",
                "scripts/cgi-bin/hello.sh",
                "run.d/cgi-bin/hello*",
                "go/main.go",
                "site-with-server/index.html",
                "site-with-server/api/app.py",
            ],
        );
        tree.write("tutorial/flaskr/__init__.py", "import os\n\ndef create_app(test=None):\n");
        tree.write("mega/app/__init__.py", "from flask import Flask\napp = Flask(__name__)\n");
        tree.write("mega/microblog.py", "from app import app\n");
        tree.write("run/run.py", "from app import create_app\napp = create_app()\n");
        tree.write("whole/shop/__init__.py", "app: Flask = Flask(__name__)\n");
        tree.write("lone/tool.py", "app = Celery('tool')\n");
        tree.write("mono/backend/api.py", "app = FastAPI()\n");
        for (word, seen, tip) in [
            (
                "tutorial",
                "pyproject.toml",
                "name it: cd tutorial && rip-master start 'flaskr:create_app()'",
            ),
            ("mega", "microblog.py", "name it: rip-master start mega/microblog.py"),
            ("run", "config.py", "name it: rip-master start run/run.py"),
            ("whole", "shop/__init__.py", "name it: cd whole && rip-master start 'shop:app'"),
            ("bare", "requirements.txt", "name its file, rip-master start bare/FILE.py, or its"),
            ("lone", "tool.py", "name its file, rip-master start lone/FILE.py, or its module: cd "),
            ("pipenv", "Pipfile", "name its file"),
            ("set", "setup.py", "name its file"),
            ("admin", "manage.py", "name its file"),
            ("mono", "backend/api.py", "name it: rip-master start mono/backend/api.py"),
            ("nested", "server/package.json", "name its directory: rip-master start nested/server"),
            ("sinatra", "app.rb", "start its server: rip-master start "),
            ("rack", "web/config.ru", "name it: rip-master start rack/web/config.ru"),
            ("php", "src/a.php", "to run it: --runtime php"),
            (
                "scripts",
                "cgi-bin/hello.sh",
                "to run it: rip-master start scripts/cgi-bin --runtime cgi",
            ),
            ("scripts/cgi-bin", "hello.sh", "to run it: --runtime cgi"),
            ("run.d", "cgi-bin/hello", "to run it: rip-master start run.d/cgi-bin --runtime cgi"),
            ("go", "main.go", "start its server: rip-master start "),
            ("site-with-server", "api/app.py", "name its file"),
        ] {
            let (message, tips) = tips(&tree, word);
            assert!(message.starts_with(&format!("'{seen}' in ")), "{word}: {message}");
            assert!(message.ends_with("not for everybody"), "{word}: {message}");
            assert!(tips[0].starts_with(tip), "{word}: {}", tips[0]);
            assert!(tips[1].contains("`static`"), "{word}: {tips:?}");
        }
    }

    #[test]
    fn sites_are_published() {
        let tree = Tree::new(
            "sites",
            &[
                "plain/index.html",
                "plain/js/app.js",
                "plain/css/site.css",
                "plain/downloads/example.py",
                "plain/lib/jquery/package.json",
                "listed/notes.txt",
                "listed/pictures/a.png",
                "listed/install.sh",
                "listed/.venv/x.py",
                "listed/node_modules/gyp/gyp.py",
                "listed/a/b/c/deep.py",
                "readme/cgi-bin/readme.txt",
            ],
        );
        for word in ["plain", "listed", "readme"] {
            let named = Named { word: Some(word), ..Named::default() };
            let found = find(named, &tree.places());
            assert!(matches!(found, Ok(Found::Files(_))), "{word}: {found:?}");
        }
    }
}
