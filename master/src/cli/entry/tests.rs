use super::*;
use std::fs;

fn resolve(word: Option<&str>, argv: Option<&[String]>, places: &Places) -> Result<Entry, Failure> {
    super::resolve(Named { word, argv, runtime: None }, places)
}

fn find(word: Option<&str>, places: &Places) -> Result<Found, Failure> {
    super::find(Named { word, ..Named::default() }, places)
}

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

    /// Writes `text` into the file `inside`.
    pub(crate) fn write(&self, inside: &str, text: &str) {
        fs::write(self.root.join(inside), text).unwrap();
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
            "tool/package.json",
            "live/asgi.py",
            "live/main.js",
            "site/manage.py",
            "site/mysite/wsgi.py",
            "site/mysite/__init__.py",
            "bigger/requirements.txt",
            "bigger/app/main.py",
            "bigger/app/routers/__init__.py",
            "solo.py",
            "pkg/web.py",
            "site-packages/installed/__init__.py",
        ],
    );
    tree.write("bigger/app/main.py", "from fastapi import FastAPI\napp = FastAPI()\n");
    for (word, name, target, cwd) in [
        ("bigger", "bigger", "app.main:app".to_owned(), "bigger"),
        ("blog", "blog", tree.path("blog/app.py"), "blog"),
        ("blog/", "blog", tree.path("blog/app.py"), "blog"),
        ("blog/app.py", "blog", tree.path("blog/app.py"), "blog"),
        ("Shop Two", "shop-two", tree.path("Shop Two/wsgi.py"), "Shop Two"),
        ("tool", "tool", tree.path("tool/main.py"), "tool"),
        ("live", "live", tree.path("live/asgi.py"), "live"),
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
    let below = failure("hello.app:app");
    assert!(below.tips[0].ends_with("/examples && rip-master start 'hello.app:app'"), "{below:?}");
    assert_eq!(failure("pkg.web").tips, ["did you mean 'pkg.web:application'?"]);
    assert!(failure("nosuch:app").message.contains("nosuch.py and nosuch/ in"));

    let empty = failure("empty");
    assert!(empty.message.contains("nothing to start in") && empty.message.contains("app.py"));
    for word in ["examples/helo", "pkg.wbe:app", "nosuch:app", "empty"] {
        assert_eq!(failure(word).exit.code(), 78, "{word}");
    }
}

#[test]
fn a_directory_with_nothing_to_start_is_one_of_files() {
    let tree = Tree::new(
        "files",
        &[
            "My Site/index.html",
            "My Site/main.js",
            "app/app.py",
            "notes.txt",
            "go/go.mod",
            "a/b.txt",
        ],
    );
    let found = |word| find(word, &tree.places());
    let files = |shown: &str, name: &str, dir: &str| {
        let (shown, name) = (shown.to_owned(), name.to_owned());
        Found::Files(Files { shown, name, dir: tree.path(dir).trim_end_matches('/').to_owned() })
    };
    assert_eq!(found(Some("./My Site")).unwrap(), files("./My Site", "my-site", "My Site"));
    let places = Places { cwd: PathBuf::from(tree.path("a")), ..tree.places() };
    let Ok(Found::Files(current)) = super::find(Named::default(), &places) else { panic!("files") };
    assert_eq!((current.shown.as_str(), current.dir), (".", tree.path("a")));
    assert!(matches!(found(Some("app")), Ok(Found::App(_))));
    assert!(found(Some("go")).is_err() && found(Some("notes.txt")).is_err());
}

#[test]
fn what_has_to_be_built_or_is_of_no_known_kind_is_refused_with_what_starts_it() {
    let tree = Tree::new(
        "foreign",
        &[
            "go/go.mod",
            "crate/Cargo.toml",
            "ruby/Gemfile",
            "ruby/app.rb",
            "npm/package.json",
            "old.cgi",
            "run*",
            "notes.txt",
            "forms/send.php",
            "forms/index.html",
        ],
    );
    tree.write("npm/package.json", r#"{"scripts":{"build":"vite build"}}"#);
    for (word, message, tip) in [
        ("go", "'go.mod' is that of a Go app", "-- ./PROGRAM"),
        ("crate", "'Cargo.toml' is that of a Rust app", "-- target/release/PROGRAM"),
        ("crate/Cargo.toml", "'Cargo.toml' is that of a Rust app", "-- target/release/PROGRAM"),
        ("ruby", "'Gemfile' is that of a Ruby app", "--listen port -- bundle exec ruby app.rb"),
        ("ruby/app.rb", "what runs 'ruby/app.rb' does not", "--listen port -- ruby app.rb -p"),
        ("npm", "'npm/package.json' says neither", "rip-master start npm/FILE.js"),
        ("old.cgi", "'old.cgi' is not executable", "chmod +x "),
        ("run", "what runs 'run' does not follow", "-- ./run"),
        ("notes.txt", "what runs 'notes.txt' does not follow", "an app is a file such as app.py"),
        ("forms", "'send.php' in ", "to run it: --runtime php"),
    ] {
        let failure = resolve(Some(word), None, &tree.places()).unwrap_err();
        assert!(failure.message.starts_with(message), "{word}: {}", failure.message);
        assert!(failure.tips[0].contains(tip), "{word}: {}", failure.tips[0]);
        assert_eq!(failure.exit.code(), 78, "{word}");
    }
    let tips = resolve(Some("npm"), None, &tree.places()).unwrap_err().tips;
    assert_eq!(tips[1], "if it is a site: npm run build, then rip-master start npm/dist");
    let tips = resolve(Some("run"), None, &tree.places()).unwrap_err().tips;
    assert_eq!(tips[1], "if it is a CGI program: --runtime cgi");
}

#[test]
fn every_runtime_is_known_by_its_files() {
    let tree = Tree::new(
        "runtimes",
        &[
            "rack/config.ru",
            "rack/package.json",
            "other.ru",
            "blog/index.php",
            "blog/index.html",
            "page.php",
            "laravel/composer.json",
            "laravel/public/index.php",
            "vite/public/page.js",
            "vite/index.html",
            "web/server.js",
            "web/index.html",
            "site/index.html",
            "site/main.js",
            "esm/index.mjs",
            "old/app.cjs",
            "typed/main.ts",
            "one.mjs",
            "cgi/index.cgi*",
            "count.cgi*",
        ],
    );
    for (word, runtime, name, target, cwd) in [
        ("rack", Runtime::Ruby, "rack", "rack/config.ru", "rack"),
        ("rack/config.ru", Runtime::Ruby, "rack", "rack/config.ru", "rack"),
        ("other.ru", Runtime::Ruby, "other", "other.ru", ""),
        ("blog", Runtime::Php, "blog", "blog", "blog"),
        ("blog/index.php", Runtime::Php, "blog", "blog/index.php", "blog"),
        ("page.php", Runtime::Php, "page", "page.php", ""),
        ("laravel", Runtime::Php, "laravel", "laravel/public", "laravel"),
        ("web", Runtime::Node, "web", "web/server.js", "web"),
        ("esm", Runtime::Node, "esm", "esm/index.mjs", "esm"),
        ("old", Runtime::Node, "old", "old/app.cjs", "old"),
        ("typed", Runtime::Node, "typed", "typed/main.ts", "typed"),
        ("web/server.js", Runtime::Node, "web", "web/server.js", "web"),
        ("one.mjs", Runtime::Node, "one", "one.mjs", ""),
        ("cgi", Runtime::Cgi, "cgi", "cgi", "cgi"),
        ("count.cgi", Runtime::Cgi, "count", "count.cgi", ""),
    ] {
        let entry = resolve(Some(word), None, &tree.places()).unwrap();
        assert_eq!(entry.launch.runtime, runtime, "{word}");
        assert_eq!((entry.shown.as_str(), entry.name.as_str()), (word, name), "{word}");
        assert_eq!(entry.launch.argv, [tree.path(target)], "{word}");
        assert_eq!(entry.launch.cwd, tree.path(cwd).trim_end_matches('/'), "{word}");
    }
    for word in ["site", "vite"] {
        assert!(matches!(find(Some(word), &tree.places()), Ok(Found::Files(_))), "{word}");
    }
}

#[test]
fn bun_runs_what_is_locked_by_it_or_typed_where_it_is_there() {
    let files = ["locked/app.js", "locked/bun.lock", "typed.ts", "plain.js", "pkg/src/x.ts"];
    let tree = Tree::new("bun", &files);
    let by = |tree: &Tree, word: &str, runtime| {
        let named = Named { word: Some(word), runtime, ..Named::default() };
        super::resolve(named, &tree.places()).unwrap().launch.runtime
    };
    for word in ["locked", "locked/app.js", "typed.ts", "plain.js"] {
        assert_eq!(by(&tree, word, None), Runtime::Node, "{word}");
        assert_eq!(by(&tree, word, Some(Runtime::Bun)), Runtime::Bun, "{word}");
    }
    let tree = Tree::new("bun-there", &[&files[..], &["bin/bun*"]].concat());
    for word in ["locked", "locked/app.js", "typed.ts"] {
        assert_eq!(by(&tree, word, None), Runtime::Bun, "{word}");
        assert_eq!(by(&tree, word, Some(Runtime::Node)), Runtime::Node, "{word}");
    }
    assert_eq!(by(&tree, "plain.js", None), Runtime::Node);
    let launch = resolve(Some("typed.ts"), None, &tree.places()).unwrap().launch;
    assert_eq!(launch.listen, Listen::Path);
}

#[test]
fn packages_are_started_as_their_start_script_would() {
    let files = [
        "app/src/server.js",
        "app/index.js",
        "app/node_modules/.bin/next*",
        "app/node_modules/.bin/vite*",
        "app/other.mjs",
        "bin/node*",
        "bin/env*",
    ];
    let tree = Tree::new("package", &files);
    let start = |text: &str| {
        tree.write("app/package.json", text);
        resolve(Some("app"), None, &tree.places())
    };
    let node = |text: &str, file: &str| {
        let Launch { runtime, argv, cwd, .. } = start(text).unwrap().launch;
        assert_eq!((runtime, argv), (Runtime::Node, vec![tree.path(file)]), "{text}");
        assert_eq!(cwd, tree.path("app"), "{text}");
    };
    node(r#"{"main":"other.mjs","scripts":{"start":"node src/server"}}"#, "app/src/server.js");
    node(
        r#"{"scripts":{"start":"npm run dev","dev":"nodemon ./src/server.js"}}"#,
        "app/src/server.js",
    );
    node(r#"{"main":"./other.mjs"}"#, "app/other.mjs");
    node(r#"{"main":"gone.js"}"#, "app/index.js");
    node(r#"{"main":"src/server.js","scripts":{"start":"tool-not-there"}}"#, "app/src/server.js");
    node("{}", "app/index.js");
    let next = tree.path("app/node_modules/.bin/next");
    let vite = tree.path("app/node_modules/.bin/vite");
    for (text, argv) in [
        (r#"{"main":"other.mjs","scripts":{"start":"next start"}}"#, vec![next.as_str(), "start"]),
        (
            r#"{"scripts":{"start":"vite preview"}}"#,
            vec![vite.as_str(), "preview", "--port", "{port}", "--host", "127.0.0.1"],
        ),
        (r#"{"scripts":{"start":"next start -p $PORT"}}"#, vec![&next, "start", "-p", "{port}"]),
        (
            r#"{"scripts":{"start":"NODE_ENV=production node src/server.js"}}"#,
            vec!["env", "NODE_ENV=production", "node", "src/server.js"],
        ),
        (
            r#"{"scripts":{"start":"node --enable-source-maps src/server.js"}}"#,
            vec!["node", "--enable-source-maps", "src/server.js"],
        ),
    ] {
        let launch = start(text).unwrap().launch;
        assert_eq!((launch.runtime, launch.listen), (Runtime::Command, Listen::Port), "{text}");
        assert_eq!(launch.argv, argv, "{text}");
    }
    for (text, message, tip) in [
        ("{", "is not JSON", None),
        (r#"{"scripts":{"start":"nuxt start"}}"#, "program 'nuxt' not found", Some("install nuxt")),
        (
            r#"{"scripts":{"start":"node dist/main.js"}}"#,
            "'dist/main.js', which",
            Some("npm run build"),
        ),
    ] {
        let failure = start(text).unwrap_err();
        assert!(failure.message.contains(message), "{}", failure.message);
        assert!(tip.is_none_or(|tip| failure.tips[0].contains(tip)), "{:?}", failure.tips);
    }
    // What lies in the package is run in it.
    tree.write("app/package.json", "{}");
    let entry = resolve(Some("app/src/server.js"), None, &tree.places()).unwrap();
    assert_eq!((entry.name.as_str(), entry.launch.cwd), ("app", tree.path("app")));
    assert_eq!(entry.launch.argv, [tree.path("app/src/server.js")]);
}

#[test]
fn a_procfile_goes_before_every_guess() {
    let tree = Tree::new(
        "procfile",
        &[
            "app/app.py",
            "app/server.js",
            "app/package.json",
            "app/.venv/bin/gunicorn*",
            "none/Procfile",
            "none/app.py",
        ],
    );
    tree.write("none/Procfile", "worker: x\n");
    let start = |text: &str, word: &str| {
        tree.write("app/Procfile", text);
        resolve(Some(word), None, &tree.places())
    };
    let gunicorn = tree.path("app/.venv/bin/gunicorn");
    for word in ["app", "app/Procfile"] {
        let line = "release: x\nweb: gunicorn app:app -b 127.0.0.1:$PORT\n";
        let entry = start(line, word).unwrap();
        assert_eq!((entry.name.as_str(), entry.shown.as_str()), ("app", word));
        let Launch { runtime, argv, cwd, listen, .. } = entry.launch;
        assert_eq!((runtime, listen, cwd), (Runtime::Command, Listen::Port, tree.path("app")));
        assert_eq!(argv, [&gunicorn, "app:app", "-b", "127.0.0.1:{port}"]);
    }
    let launch = start("web: gunicorn -b \"127.0.0.1:$PORT\" app:app", "app").unwrap().launch;
    assert_eq!(launch.argv[..2], ["/bin/sh", "-c"]);
    assert!(launch.argv[2].ends_with("gunicorn -b \"127.0.0.1:$PORT\" app:app"), "{launch:?}");
    let failure = start("web: hypercorn app:app", "app").unwrap_err();
    assert!(failure.message.starts_with("Procfile: program 'hypercorn' not found in PATH"));

    tree.write("app/package.json", r#"{"scripts":{"start":"node server.js"}}"#);
    let launch = start("web: npm start", "app").unwrap().launch;
    assert_eq!((launch.runtime, launch.argv), (Runtime::Node, vec![tree.path("app/server.js")]));
    assert_eq!(
        resolve(Some("none"), None, &tree.places()).unwrap().launch.runtime,
        Runtime::Python
    );
    let failure = resolve(Some("none/Procfile"), None, &tree.places()).unwrap_err();
    assert_eq!(failure.message, "'none/Procfile' has no process called web");
}

#[test]
fn a_directory_of_two_apps_is_for_the_operator_to_decide() {
    let tree = Tree::new(
        "several",
        &[
            "both/app.py",
            "both/server.js",
            "both/cgi*",
            "mixed/config.ru",
            "mixed/index.php",
            "packed/app.py",
            "packed/app.js",
            "packed/package.json",
        ],
    );
    let failure = resolve(Some("both"), None, &tree.places()).unwrap_err();
    assert!(failure.message.starts_with("'app.py' and 'server.js' in "), "{}", failure.message);
    assert!(failure.message.ends_with("are apps of two runtimes, python and node"));
    assert_eq!(
        failure.tips,
        ["name one: rip-master start both/app.py", "or say what runs it: --runtime python"]
    );
    tree.write("packed/package.json", "{}");
    let failure = resolve(Some("packed"), None, &tree.places()).unwrap_err();
    assert!(failure.message.starts_with("'app.py' and 'app.js' in "), "{}", failure.message);
    let written = Places { written: Written::Edgefile, ..tree.places() };
    assert_eq!(
        resolve(Some("mixed"), None, &written).unwrap_err().tips,
        ["name one: entry \"mixed/config.ru\"", "or say what runs it: runtime \"ruby\""]
    );
    let by = |word, runtime| {
        let named = Named { word: Some(word), runtime: Some(runtime), argv: None };
        super::resolve(named, &tree.places())
    };
    for (word, runtime, target) in [
        ("both", Runtime::Python, "both/app.py"),
        ("both", Runtime::Node, "both/server.js"),
        ("both", Runtime::Bun, "both/server.js"),
        ("both", Runtime::Cgi, "both"),
        ("both/cgi", Runtime::Cgi, "both/cgi"),
        ("both/cgi", Runtime::Command, "both/cgi"),
        ("mixed", Runtime::Php, "mixed"),
        ("mixed", Runtime::Ruby, "mixed/config.ru"),
    ] {
        let launch = by(word, runtime).unwrap().launch;
        assert_eq!((launch.runtime, launch.argv), (runtime, vec![tree.path(target)]), "{word}");
    }
    for (word, runtime, message) in [
        ("both/app.py", Runtime::Node, ""),
        ("both/app.py", Runtime::Cgi, "'both/app.py' is not executable"),
        ("both/server.js", Runtime::Python, "'both/server.js' is not run by python"),
        ("both/app.py:app", Runtime::Node, "'both/app.py:app' is not run by node"),
        ("builtin:hello", Runtime::Php, "'builtin:hello' is not run by php"),
        ("both", Runtime::Builtin, "'both' is not run by builtin"),
        ("both", Runtime::Ruby, "nothing for ruby in "),
        ("mixed", Runtime::Python, "nothing for python in "),
        ("mixed", Runtime::Node, "nothing for node in "),
        ("mixed", Runtime::Command, "nothing for command in "),
    ] {
        match (by(word, runtime), message) {
            (Ok(entry), "") => assert_eq!(entry.launch.runtime, runtime, "{word}"),
            (Err(failure), message) if !message.is_empty() => {
                assert!(failure.message.starts_with(message), "{word}: {}", failure.message);
                assert_eq!(failure.exit.code(), 78, "{word}");
            }
            (other, _) => panic!("{word} {runtime:?}: {other:?}"),
        }
    }
    let argv = ["/bin/true".to_owned()];
    let named = Named { word: None, argv: Some(&argv), runtime: Some(Runtime::Node) };
    assert_eq!(super::resolve(named, &tree.places()).unwrap_err().exit.code(), 2);
}
