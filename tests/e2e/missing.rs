//! What an app needs and the machine has not ends the start with one line that names it and says how
//! it is had, whatever runs the app; in a reload it leaves the old configuration serving.

use crate::harness::Setup;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What is told of `entry`, among these files, where no program is on PATH: the only error.
#[track_caller]
fn error(entry: &str, files: &[(&str, &str)], runtime: Option<&str>) -> String {
    let mut setup = Setup::entry(entry).workers(2);
    for (name, text) in files {
        let path = setup.path("app").join(name);
        setup = setup.with_file(name, text);
        if text.starts_with("#!") {
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
    }
    if let Some(runtime) = runtime {
        setup = setup.flag("--runtime", runtime);
    }
    let empty = setup.path("run");
    let (code, output) = setup.env("PATH", empty).fails();
    assert_eq!(code, 1, "{output}");
    assert!(!output.contains("worker_restart"), "it is not tried again: {output}");
    let errors: Vec<_> = output.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{output}");
    errors[0].to_owned()
}

#[test]
fn python_is_named() {
    let files = [("app.py", "application = None\n")];
    assert_eq!(
        error(".", &files, None),
        "error: python3 was not found on PATH; install it with `apt install python3`, or the like"
    );
}

#[test]
fn node_is_named() {
    let files = [("server.js", "require('http')\n")];
    let expected = "error: node was not found on PATH; install it with `apt install nodejs npm`, or from nodejs.org";
    assert_eq!(error(".", &files, None), expected);
    let files = [("src/server.ts", ""), ("package.json", r#"{"main":"src/server.ts"}"#)];
    assert_eq!(error(".", &files, None), expected);
}

#[test]
fn bun_is_named() {
    let files = [("server.js", "export default {}\n"), ("bun.lock", "{}")];
    assert_eq!(
        error("server.js", &files, Some("bun")),
        "error: bun was not found on PATH; install it from bun.sh"
    );
}

#[test]
fn ruby_is_named() {
    let files = [("config.ru", "run ->(env) { [200, {}, []] }\n")];
    assert_eq!(
        error(".", &files, None),
        "error: ruby was not found on PATH; install it with `apt install ruby`, or the like"
    );
}

#[test]
fn php_is_named() {
    let files = [("index.php", "<?php echo 1;\n")];
    assert_eq!(
        error(".", &files, None),
        "error: php-cgi was not found on PATH, nor was php-fpm; install it with `apt install php-cgi`, \
         or the like"
    );
}

#[test]
fn the_interpreter_of_a_cgi_program_is_named() {
    let files = [("count.cgi", "#!/usr/bin/env perl\nprint 1;\n")];
    assert_eq!(
        error("count.cgi", &files, None),
        "error: perl was not found on PATH; install it with `apt install perl`, or the like"
    );
    let files = [("count", "#!/nowhere/ruby -w\nprint 1\n")];
    let line = error("count", &files, Some("cgi"));
    assert!(line.starts_with("error: /nowhere/ruby, which the first line of /"), "{line}");
    assert!(line.ends_with(
        "/count names, does not exist; install it with `apt install ruby`, or the like"
    ));
}

#[test]
fn the_program_of_a_procfile_or_a_package_is_named() {
    for (files, named, tip) in [
        (
            vec![("Procfile", "web: gunicorn app:app\n"), ("app.py", "")],
            "error: Procfile: program 'gunicorn' not found in PATH",
            "tip: install gunicorn, or give its path",
        ),
        (
            vec![("package.json", r#"{"scripts":{"start":"next start"}}"#)],
            "error: package.json: program 'next' not found in PATH",
            "tip: if it is a package of the app's: npm install",
        ),
    ] {
        let mut setup = Setup::entry(".");
        for (name, text) in files {
            setup = setup.with_file(name, text);
        }
        let empty = setup.path("run");
        let (code, output) = setup.env("PATH", empty).fails();
        assert_eq!(code, 78, "{output}");
        assert!(output.contains(named) && output.contains(tip), "{output}");
    }
}

#[test]
fn a_reload_that_lacks_a_runtime_changes_nothing() {
    let old = "version 1\napp \"old\" { entry \"builtin:hello\"; workers 1; hosts \"*\" }\n";
    let setup = Setup::edgefile(old);
    let apps = [
        ("py/app.py", "application = None\n", "python3 was not found on PATH"),
        ("node/server.js", "require('http')\n", "node was not found on PATH"),
        ("ruby/config.ru", "run 1\n", "ruby was not found on PATH"),
        ("php/index.php", "<?php\n", "php-cgi was not found on PATH"),
        ("cgi/index.cgi", "#!/usr/bin/env perl\n", "perl was not found on PATH"),
    ];
    let base = setup.path("app");
    for (name, text, _) in apps {
        put(&base.join(name), text);
    }
    let server = setup.start();
    for (name, _, says) in apps {
        let directory = name.split('/').next().unwrap();
        // Among several files of CGI a program that is not there is that of its requests.
        let entry = if directory == "cgi" { name } else { directory };
        let attempt = server.refuses_up(
            &format!(
                "{old}app \"new\" {{ entry \"./{entry}\"; workers 1; hosts \"new.test\"\n    \
                 env PATH=\"$DIR/run\" }}\n"
            ),
            "app_not_ready",
        );
        let details = attempt["details"].to_string();
        assert!(details.contains(says), "{attempt}");
        assert_eq!(server.get_at("any.test", "/").text(), "Hello from rip-master\n");
    }
    let unknown =
        format!("{old}app \"new\" {{ entry \"./py\"; runtime \"nodejs\"; hosts \"new.test\" }}");
    server.refuses_up(&unknown, "invalid");
    let both =
        format!("{old}app \"new\" {{ entry \"./py\"; runtime \"node\"; hosts \"new.test\" }}");
    let attempt = server.refuses_up(&both, "entry_missing");
    assert!(attempt["details"].to_string().contains("nothing for node in "), "{attempt}");
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    if text.starts_with("#!") {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
}
