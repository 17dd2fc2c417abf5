use super::*;
use crate::cli::entry::tests::Tree;
use crate::cli::port::Rights;
use nix::unistd::{User, geteuid};
use rip::contract::app::Launch;
use std::collections::BTreeMap;

/// What the machine is like for an Edgefile in `tree`.
fn with<T>(tree: &Tree, rights: Rights, test: impl FnOnce(&Machine<'_>) -> T) -> T {
    let places = tree.places();
    let directory = places.cwd.to_str().unwrap().to_owned();
    let world = World { places, cores: 4, rights, ..World::seen_from(PathBuf::from("/")) };
    test(&Machine::new(&world, &directory, 0o640, FreePorts::default(), UnixMillis(0)))
}

const PLAIN: Rights = Rights { unprivileged_from: 1024, bind_service: false, change_user: false };
const ROOT: Rights = Rights { unprivileged_from: 1024, bind_service: true, change_user: true };

fn place(tree: &Tree, inside: &str) -> String {
    tree.places().cwd.join(inside).to_str().unwrap().to_owned()
}

#[test]
fn entries_are_looked_for_beside_the_file() {
    let tree = Tree::new(
        "machine-entry",
        &["api/app.py", "pkg/web.py", "other/", "node/index.js", "go/go.mod"],
    );
    with(&tree, PLAIN, |machine| {
        let found = machine.entry("./api/app.py", &Asked::default()).unwrap();
        assert_eq!(found.shown, "./api/app.py");
        let Launch { runtime, argv, cwd, .. } = found.launch;
        assert_eq!((runtime, argv), (Runtime::Python, vec![place(&tree, "api/app.py")]));
        assert_eq!(cwd, place(&tree, "api"));
        assert_eq!(found.watch, ["*.py", "*.html"]);
        assert_eq!(machine.entry("api", &Asked::default()).unwrap().launch.cwd, cwd);

        let elsewhere = Asked { cwd: Some("other"), ..Asked::default() };
        let found = machine.entry("api/app.py", &elsewhere).unwrap();
        assert_eq!(found.launch.cwd, place(&tree, "other"));
        assert_eq!(found.launch.argv, [place(&tree, "api/app.py")]);
        let module = Asked { cwd: Some("pkg"), ..Asked::default() };
        assert_eq!(machine.entry("web:app", &module).unwrap().launch.cwd, place(&tree, "pkg"));
        let trouble = machine.entry("web:app", &Asked::default()).unwrap_err();
        assert_eq!(trouble.code, AttemptCode::EntryMissing);

        let asked = Asked { runtime: Some("builtin"), ..Asked::default() };
        assert!(machine.entry("builtin:hello", &asked).is_ok());
        let trouble = machine.entry("api", &asked).unwrap_err();
        assert_eq!(trouble.message, "'api' is not run by builtin");
        let asked = Asked { runtime: Some("node"), ..Asked::default() };
        assert!(machine.entry("api", &asked).unwrap_err().message.contains("nothing for node"));
        assert_eq!(machine.entry("node", &asked).unwrap().watch.len(), 5);
        let asked = Asked { runtime: Some("perl"), ..Asked::default() };
        assert_eq!(machine.entry("api", &asked).unwrap_err().message, "there is no runtime 'perl'");

        let hint = machine.entry("go", &Asked::default()).unwrap_err().hint.unwrap();
        let go = place(&tree, "go");
        assert_eq!(hint, format!("start its server: command \"./PROGRAM\"; cwd \"{go}\""));
        let hint = machine.entry("nothing-like-it", &Asked::default()).unwrap_err().hint.unwrap();
        assert!(hint.ends_with("or command \"PROGRAM\" …"), "{hint}");
    });
}

#[test]
fn commands_are_looked_for_where_the_app_would() {
    let tree = Tree::new("machine-command", &["bin/serve*", "own/other*", "own/plain", "web/"]);
    with(&tree, PLAIN, |machine| {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let asked = Asked { cwd: Some("web"), ..Asked::default() };
        let found = machine.command(&argv(&["serve", "--fd", "3"]), &asked).unwrap();
        assert_eq!(found.shown, "serve --fd 3");
        assert_eq!(found.launch.cwd, place(&tree, "web"));
        assert!(found.watch.is_empty());
        let trouble = machine.command(&argv(&["other"]), &asked).unwrap_err();
        assert_eq!(trouble.code, AttemptCode::EntryMissing);
        let env: BTreeMap<_, _> = [("PATH".to_owned(), place(&tree, "own"))].into();
        let asked = Asked { env: Some(&env), ..Asked::default() };
        assert!(machine.command(&argv(&["other"]), &asked).is_ok());
        assert!(machine.command(&argv(&["./own/plain"]), &asked).is_err());
        assert_eq!(machine.command(&[], &asked).unwrap_err().code, AttemptCode::Invalid);
        let asked = Asked { cwd: Some("nowhere"), ..Asked::default() };
        assert!(
            machine.command(&argv(&["serve"]), &asked).unwrap_err().message.contains("nowhere")
        );
        let asked = Asked { runtime: Some("command"), ..Asked::default() };
        assert_eq!(
            machine.entry("bin/serve", &asked).unwrap().launch.argv,
            [place(&tree, "bin/serve")]
        );
    });
}

#[test]
fn a_setup_beside_the_entry_is_found_unless_the_file_has_one() {
    let tree = Tree::new("machine-setup", &["a/app.py", "a/setup.sh", "b/app.py", "b/setup.sh"]);
    std::fs::write(place(&tree, "b/setup.py"), "").unwrap();
    with(&tree, PLAIN, |machine| {
        let setup =
            |entry, asked: &Asked<'_>| machine.entry(entry, asked).map(|it| it.launch.setup);
        let found = setup("a", &Asked::default()).unwrap().unwrap();
        assert_eq!(found, ["/bin/sh", "setup.sh"]);
        let trouble = setup("b", &Asked::default()).unwrap_err();
        assert!(trouble.message.contains("could be the setup"), "{}", trouble.message);
        assert_eq!(trouble.hint.unwrap(), "say which: setup \"PROGRAM\" …");
        let asked = Asked { has_setup: true, ..Asked::default() };
        assert_eq!(setup("b", &asked), Ok(None));
    });
}

#[test]
fn files_and_directories_are_there_or_are_named() {
    let tree = Tree::new("machine-files", &["public/", "secret", "shared"]);
    let mode = |name, mode| {
        std::fs::set_permissions(place(&tree, name), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("secret", 0o600);
    mode("shared", 0o644);
    nix::unistd::mkfifo(place(&tree, "pipe").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    with(&tree, PLAIN, |machine| {
        assert_eq!(machine.existing_directory("./public"), Ok(place(&tree, "public")));
        assert!(machine.existing_directory("secret").unwrap_err().message.contains("not a dir"));
        assert!(machine.existing_directory("no").unwrap_err().message.contains("not found"));
        assert_eq!(machine.readable_file("secret"), Ok((place(&tree, "secret"), false)));
        assert_eq!(machine.readable_file("shared"), Ok((place(&tree, "shared"), true)));
        for wrong in ["public", "pipe", "no"] {
            assert!(machine.readable_file(wrong).is_err(), "{wrong}");
        }
        let empty = machine.secret_file("secret").unwrap_err();
        assert!(empty.message.ends_with("secret: the file is empty"), "{}", empty.message);
        std::fs::write(place(&tree, "shared"), "sesame\n").unwrap();
        assert_eq!(machine.secret_file("shared"), Ok((place(&tree, "shared"), true)));
        assert!(machine.secret_file("no").unwrap_err().message.contains("not found"));
        let secret = place(&tree, "secret");
        let trouble = machine.certificate(&secret, &secret).unwrap_err();
        assert_eq!(trouble.code, AttemptCode::CertUnreadable);
        for (wrong, said) in [("secret", "no certificate in it"), ("no", "not found"), ("pipe", "")]
        {
            let trouble = machine.authorities(wrong).unwrap_err();
            assert_eq!(trouble.code, AttemptCode::CertUnreadable);
            assert!(trouble.message.contains(said), "{}", trouble.message);
        }
    });
}

#[test]
fn who_may_read_the_file_is_a_question_of_its_mode() {
    let tree = Tree::new("machine-mode", &[]);
    with(&tree, PLAIN, |machine| {
        for (mode, expected) in [(0o100_644, true), (0o640, false), (0o606, true), (0o603, false)] {
            let machine =
                Machine::new(machine.world, "/", mode, FreePorts::default(), UnixMillis(0));
            assert_eq!(machine.is_readable_by_others(), expected, "{mode:o}");
        }
    });
}

#[test]
fn rights_that_are_missing_are_named() {
    let tree = Tree::new("machine-rights", &[]);
    with(&tree, PLAIN, |machine| {
        assert!(machine.may_listen(1024, false).is_ok());
        assert!(machine.may_listen(80, false).unwrap_err().hint.unwrap().contains("setcap"));
        assert_eq!(machine.user("nobody-has-this-name").unwrap_err().code, AttemptCode::Invalid);
        let own = User::from_uid(geteuid()).unwrap().unwrap();
        assert_eq!(machine.user(&own.name), Ok(()));
        let other = if geteuid().is_root() { "nobody" } else { "root" };
        assert!(machine.user(other).unwrap_err().message.contains("needs root"));
        let free = FreePorts { http: true, https: false };
        let machine = Machine { free, ..clone(machine) };
        assert!(machine.may_listen(80, false).is_ok() && machine.may_listen(443, true).is_err());
    });
    with(&tree, ROOT, |machine| {
        assert!(machine.may_listen(80, false).is_ok() && machine.user("nobody").is_ok());
    });
}

fn clone<'w>(machine: &Machine<'w>) -> Machine<'w> {
    Machine { directory: machine.directory.clone(), ..*machine }
}
