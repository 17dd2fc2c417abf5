use super::*;
use std::fs;

/// A directory of its own with the given files; names that end in `/` are directories, names that
/// end in `*` are executable.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(crate) fn new(name: &str, files: &[&str]) -> Self {
        let root = std::env::temp_dir().join(format!("rip-entry-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let root = root.canonicalize().unwrap();
        for file in files {
            let path = root.join(file.trim_end_matches('*'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
                continue;
            }
            fs::write(&path, "").unwrap();
            if file.ends_with('*') {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        Self { root }
    }

    pub(crate) fn places(&self) -> Places {
        Places {
            cwd: self.root.clone(),
            programs: vec![self.root.join("bin")],
            packages: vec![self.root.join("site-packages")],
            written: Written::CommandLine,
        }
    }

    fn path(&self, inside: &str) -> String {
        self.root.join(inside).to_str().unwrap().to_owned()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn python_apps_are_found_by_file_directory_and_module() {
    let tree = Tree::new(
        "python",
        &[
            "blog/app.py",
            "Shop Two/wsgi.py",
            "tool/main.py",
            "tool/config.ru",
            "site/manage.py",
            "site/mysite/wsgi.py",
            "site/mysite/__init__.py",
            "solo.py",
            "pkg/web.py",
            "site-packages/installed/__init__.py",
        ],
    );
    for (word, name, target, cwd) in [
        ("blog", "blog", tree.path("blog/app.py"), "blog"),
        ("blog/", "blog", tree.path("blog/app.py"), "blog"),
        ("blog/app.py", "blog", tree.path("blog/app.py"), "blog"),
        ("Shop Two", "shop-two", tree.path("Shop Two/wsgi.py"), "Shop Two"),
        ("tool", "tool", tree.path("tool/main.py"), "tool"),
        ("site", "site", "mysite.wsgi:application".to_owned(), "site"),
        ("site/manage.py", "site", "mysite.wsgi:application".to_owned(), "site"),
        ("solo.py", "solo", tree.path("solo.py"), ""),
        ("solo.py:wsgi", "solo", tree.path("solo.py:wsgi"), ""),
        ("./blog/app.py:make()", "blog", tree.path("blog/app.py:make()"), "blog"),
        ("pkg.web:app", "pkg", "pkg.web:app".to_owned(), ""),
        ("installed.wsgi:app", "installed", "installed.wsgi:app".to_owned(), ""),
    ] {
        let entry = resolve(Some(word), None, &tree.places()).unwrap();
        assert_eq!(entry.shown, word);
        assert_eq!(entry.name, name, "{word}");
        assert_eq!(entry.launch.runtime, Runtime::Python, "{word}");
        assert_eq!(entry.launch.argv, [target], "{word}");
        assert_eq!(entry.launch.cwd, tree.path(cwd).trim_end_matches('/'), "{word}");
    }
}

#[test]
fn no_entry_is_the_current_directory() {
    let tree = Tree::new("current", &["app.py"]);
    let entry = resolve(None, None, &tree.places()).unwrap();
    assert_eq!((entry.shown.as_str(), entry.launch.argv), (".", vec![tree.path("app.py")]));
}

#[test]
fn builtins_are_known_by_name() {
    let tree = Tree::new("builtin", &[]);
    for name in BUILTINS {
        let entry = resolve(Some(&format!("builtin:{name}")), None, &tree.places()).unwrap();
        assert_eq!(entry.launch.runtime, Runtime::Builtin);
        assert_eq!((&entry.name, &entry.launch.argv[0]), (&name.to_string(), &name.to_string()));
    }
    let near = resolve(Some("builtin:helo"), None, &tree.places()).unwrap_err();
    assert_eq!((near.exit.code(), near.tips), (2, vec!["did you mean 'builtin:hello'?".into()]));
    let far = resolve(Some("builtin:quux"), None, &tree.places()).unwrap_err();
    assert!(far.tips[0].contains("builtin:hello") && far.tips[0].contains("builtin:echo"));
}

#[test]
fn commands_run_in_their_directory() {
    let tree = Tree::new("command", &["bin/serve*", "bin/plain", "web/run*", "web/data"]);
    let argv = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let entry = resolve(Some("web"), Some(&argv("serve -b fd://3")), &tree.places()).unwrap();
    assert_eq!(entry.shown, "serve -b fd://3");
    assert_eq!(entry.name, "web");
    assert_eq!(entry.launch.argv, argv("serve -b fd://3"));
    assert_eq!(entry.launch.cwd, tree.path("web"));
    assert_eq!(entry.launch.runtime, Runtime::Command);
    assert!(resolve(Some("web"), Some(&argv("./run")), &tree.places()).is_ok());
    for (word, line, message) in [
        (Some("web"), "nosuch", "program 'nosuch' not found in PATH"),
        (None, "plain", "program 'plain' not found in PATH"),
        (Some("web"), "./data", "is not an executable file"),
        (Some("web"), "./gone", "not found"),
        (Some("wbe"), "serve", "'wbe' is not a directory"),
    ] {
        let failure = resolve(word, Some(&argv(line)), &tree.places()).unwrap_err();
        assert!(failure.message.contains(message), "{line}: {}", failure.message);
        assert_eq!(failure.exit.code(), 78);
    }
    let failure = resolve(None, Some(&[]), &tree.places()).unwrap_err();
    assert_eq!((failure.message.as_str(), failure.exit.code()), ("nothing follows '--'", 2));
}

#[test]
fn what_is_missing_is_named_with_what_was_looked_for() {
    let tree = Tree::new("missing", &["examples/hello/app.py", "pkg/web.py", "empty/", "solo.py"]);
    let failure = |word: &str| resolve(Some(word), None, &tree.places()).unwrap_err();

    let entry = failure("examples/helo");
    assert!(entry.message.contains(&tree.path("examples/helo")), "{}", entry.message);
    assert_eq!(entry.tips, ["did you mean 'examples/hello'?"]);
    assert_eq!(failure("solo").tips, ["did you mean 'solo.py'?"]);
    assert!(failure("nothing-like-it").tips[0].starts_with("an entry is a directory"));

    assert!(failure("sol.py:app").message.starts_with("'sol.py' not found"));
    let module = failure("pkg.wbe:app");
    assert!(module.message.starts_with("module 'pkg.wbe' not found: looked for pkg/wbe.py"));
    assert!(failure("nosuch:app").message.contains("nosuch.py and nosuch/ in"));

    let empty = failure("empty");
    assert!(empty.message.contains("nothing to start in") && empty.message.contains("app.py"));
    for word in ["examples/helo", "pkg.wbe:app", "nosuch:app", "empty"] {
        assert_eq!(failure(word).exit.code(), 78, "{word}");
    }
}

#[test]
fn a_directory_with_nothing_to_start_is_one_of_files() {
    let tree =
        Tree::new("files", &["My Site/index.html", "app/app.py", "notes.txt", "node/server.js"]);
    let found = |word| find(word, None, &tree.places());
    let files = |shown: &str, name: &str, dir: &str| {
        let (shown, name) = (shown.to_owned(), name.to_owned());
        Found::Files(Files { shown, name, dir: tree.path(dir).trim_end_matches('/').to_owned() })
    };
    assert_eq!(found(Some("./My Site")).unwrap(), files("./My Site", "my-site", "My Site"));
    let Ok(Found::Files(current)) = found(None) else { panic!("files") };
    assert_eq!(
        (current.shown.as_str(), current.dir),
        (".", tree.path("").trim_end_matches('/').to_owned())
    );
    assert!(matches!(found(Some("app")), Ok(Found::App(_))));
    assert!(found(Some("node")).is_err() && found(Some("notes.txt")).is_err());
}

#[test]
fn other_runtimes_are_refused_with_the_command_that_starts_them() {
    let tree = Tree::new(
        "foreign",
        &[
            "node/server.js",
            "ruby/config.ru",
            "php/index.php",
            "asgi/asgi.py",
            "go/go.mod",
            "crate/Cargo.toml",
            "npm/package.json",
            "one.mjs",
            "old.cgi*",
            "run*",
            "notes.txt",
        ],
    );
    for (word, message, tip) in [
        ("node", "'server.js' is a Node app", "--listen port -- node server.js"),
        ("node/server.js", "'server.js' is a Node app", "--listen port -- node server.js"),
        ("one.mjs", "'one.mjs' is a Node app", "--listen port -- node one.mjs"),
        ("npm", "'package.json' is a Node app", "--listen port -- npm start"),
        ("ruby", "'config.ru' is a Ruby app", "--listen path -- bundle exec puma"),
        ("php", "'index.php' is a PHP app", "--listen port -- php -S 127.0.0.1:{port}"),
        ("asgi", "'asgi.py' is an ASGI app", "-- uvicorn asgi:application --fd {fd}"),
        ("go", "'go.mod' is a Go app", "-- ./PROGRAM"),
        ("crate", "'Cargo.toml' is a Rust app", "-- target/release/PROGRAM"),
        ("old.cgi", "'old.cgi' looks like a CGI script", "CGI is not available"),
        ("run", "'run' is no app this version can start", "-- ./run (CGI"),
        ("notes.txt", "'notes.txt' is no app this version can start", "an app is a .py file"),
    ] {
        let failure = resolve(Some(word), None, &tree.places()).unwrap_err();
        assert!(failure.message.starts_with(message), "{word}: {}", failure.message);
        assert!(failure.tips[0].contains(tip), "{word}: {}", failure.tips[0]);
        assert_eq!(failure.exit.code(), 78, "{word}");
    }
}
