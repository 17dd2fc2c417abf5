//! What is true of every verb: help, wrong words, exit codes, what programs and terminals get.

use crate::harness::{Setup, tools};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A verb as its help shows it.
struct Verb {
    words: Vec<String>,
    help: String,
}

impl Verb {
    fn takes(&self, flag: &str) -> bool {
        self.help.lines().any(|line| line.trim_start().starts_with(flag))
    }

    /// Words for what it must be given.
    fn needs(&self) -> Vec<&'static str> {
        let usage = self.help.lines().find(|line| line.starts_with("Usage:")).expect("its usage");
        let words = [("<HOST>", "a.test"), ("<WORKER>", "w1"), ("<N>", "2"), ("<URL>", "/")];
        let shells = [("<SHELL>", "bash"), ("] N ", "2"), ("<REQUEST-ID>", "req-0")];
        let all = words.into_iter().chain(shells);
        all.filter(|(name, _)| usage.contains(name)).map(|(_, word)| word).collect()
    }

    fn run(&self, more: &[&str]) -> Output {
        let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("table");
        fs::create_dir_all(&empty).expect("a directory of the test");
        let mut command = tools::rip_master();
        command.args(&self.words).args(self.needs()).args(more).current_dir(&empty);
        // Whatever else runs on this machine is not meant.
        command.env("XDG_RUNTIME_DIR", &empty).env("RIP_NAME", "nobody-runs-this");
        tools::finish(&mut command)
    }
}

/// Every verb that help tells of, those below others too.
fn verbs() -> Vec<Verb> {
    let mut verbs = Vec::new();
    let mut left = vec![Vec::<String>::new()];
    while let Some(words) = left.pop() {
        let output = tools::finish(tools::rip_master().args(&words).arg("--help"));
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(output.stderr.is_empty(), "{words:?}: {}", tools::both(&output));
        let help = String::from_utf8(output.stdout).expect("text");
        let below = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        for line in below.unwrap_or_default().lines().filter(|line| line.starts_with("  ")) {
            let name = line.split_whitespace().next().filter(|name| *name != "help");
            left.extend(name.map(|name| words.iter().cloned().chain([name.to_owned()]).collect()));
        }
        if !words.is_empty() && words != ["ctl"] {
            verbs.push(Verb { words, help });
        }
    }
    assert!(verbs.len() > 35, "{}", verbs.len());
    verbs
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_no_verb_knows_is_a_usage_error_that_names_it() {
    for verb in verbs() {
        let output = verb.run(&["--no-such-flag"]);
        assert_eq!(output.status.code(), Some(2), "{:?}: {}", verb.words, err(&output));
        assert!(err(&output).contains("--no-such-flag"), "{:?}: {}", verb.words, err(&output));
        assert!(output.stdout.is_empty(), "{:?}", verb.words);
        if verb.takes("--timeout <SECONDS>") {
            let output = verb.run(&["--timeout", "never"]);
            assert_eq!(output.status.code(), Some(2), "{:?}: {}", verb.words, err(&output));
        }
        // One letter less is a slip.
        let Some(last) = verb.words.last().filter(|last| last.len() > 4) else { continue };
        let mut slip = verb.words.clone();
        slip.pop();
        slip.push(last[..last.len() - 1].to_owned());
        let output = tools::finish(tools::rip_master().args(&slip));
        assert_eq!(output.status.code(), Some(2), "{slip:?}: {}", err(&output));
        assert!(err(&output).contains(&format!("'{last}'")), "{slip:?}: {}", err(&output));
    }
}

#[test]
fn every_verb_takes_what_every_verb_takes() {
    // What starts, and what prints for other programs, has no form for programs beside it.
    let prints = ["start", "completions", "man"];
    for verb in verbs() {
        let first = verb.words.first().map(String::as_str).unwrap_or_default();
        if !prints.contains(&first) {
            assert!(verb.takes("--json"), "{:?}", verb.words);
        }
        // Those that ask a master say which, and for how long.
        let is_local =
            ["check", "check-worker", "fmt", "why", "schema", "version"].contains(&first);
        if !prints.contains(&first) && !is_local {
            assert!(verb.takes("--name <NAME>"), "{:?}", verb.words);
            assert!(verb.takes("--timeout <SECONDS>"), "{:?}", verb.words);
        }
        assert_eq!(verb.takes("--wait"), verb.takes("--no-wait"), "{:?}", verb.words);
    }
    let orders = "stop restart reload add remove rollback scale pause resume drain renew";
    for verb in verbs() {
        let last = verb.words.last().map(String::as_str).unwrap_or_default();
        if orders.split(' ').any(|order| order == last) {
            assert!(verb.takes("--no-wait"), "{:?}", verb.words);
        }
    }
}

#[test]
fn without_a_master_every_verb_that_asks_one_fails_and_says_nothing_on_stdout() {
    let asks = |verb: &&Verb| verb.takes("--timeout") && verb.takes("--name");
    for verb in verbs().iter().filter(asks) {
        // CI scripts tell "nothing to plan for" from a plan that was refused.
        let code = if verb.words.last().is_some_and(|word| word == "plan") { 69 } else { 1 };
        for more in [&["--no-such"][..0], &["--json"]] {
            let output = verb.run(more);
            assert_eq!(output.status.code(), Some(code), "{:?}: {}", verb.words, err(&output));
            assert!(err(&output).starts_with("error: no "), "{:?}: {}", verb.words, err(&output));
            assert!(output.stdout.is_empty(), "{:?}: {}", verb.words, tools::both(&output));
        }
    }
}

/// Runs a verb on a terminal of its own; what is written there.
fn on_terminal(setup: &mut Command, line: &str, screen: &Path) -> (Option<i32>, String) {
    let program = tools::rip_master().get_program().to_str().expect("a path").to_owned();
    setup.args(["--quiet", "--flush", "--return", "--command"]);
    setup.arg(format!("{program} {line}")).arg(screen);
    let output = tools::finish(setup);
    (output.status.code(), fs::read_to_string(screen).unwrap_or_default())
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let server = Setup::builtin("hello").workers(1).start();
    server.wait_for_workers(1);
    let screen = server.path("screen");
    let script = |colour: Option<&str>, term: &str| {
        let mut command = Command::new("script");
        command.env("XDG_RUNTIME_DIR", server.path("run")).env("RIP_NAME", server.name());
        command
            .env("TERM", term)
            .env_remove("NO_COLOR")
            .envs(colour.map(|text| ("NO_COLOR", text)));
        command
    };
    let verbs = verbs();
    let asks = |verb: &&Verb| {
        let reads =
            "list workers status config history hosts certs sessions events diagnostics metrics";
        verb.takes("--timeout")
            && reads.split(' ').any(|name| verb.words.ends_with(&[name.to_owned()]))
    };
    for verb in verbs.iter().filter(asks) {
        let line = verb.words.join(" ");
        for (colour, term, is_plain) in [
            (Some("1"), "xterm", true),
            (None, "dumb", true),
            (Some(""), "xterm", false),
            (None, "xterm", false),
        ] {
            let (code, shown) = on_terminal(&mut script(colour, term), &line, &screen);
            assert_eq!(code, Some(0), "{line}: {shown}");
            let is_coloured = shown.contains('\x1b');
            assert!(!(is_plain && is_coloured), "{line} with {colour:?} {term}: {shown:?}");
            if !is_plain && line.ends_with("list") {
                assert!(is_coloured, "{line}: {shown:?}");
            }
        }
    }
    // Nobody asked for colours here.
    let mut plain = tools::rip_master();
    plain.env_remove("NO_COLOR").env("TERM", "xterm").env("XDG_RUNTIME_DIR", server.path("run"));
    let output = tools::finish(plain.args(["list", "--name", server.name()]));
    assert!(!tools::both(&output).contains('\x1b'), "{}", tools::both(&output));
}

#[test]
fn the_exit_codes_are_those_of_the_table() {
    let server = Setup::edgefile(
        "version 1\nedge { http \"127.0.0.1:PORT\" }\n\
         app \"a\" { entry \"builtin:hello\"; workers 1; hosts \"*\" }\n",
    )
    .start();
    let place = server.path("place");
    fs::create_dir_all(&place).expect("a directory");
    fs::write(
        place.join("right"),
        "version 1\nsite \"a.test\" { route \"/\" { redirect \"/b\" } }\n",
    )
    .expect("a file");
    fs::write(place.join("wrong"), "version 2\n").expect("a file");
    fs::write(place.join("torn"), "edge {\n").expect("a file");
    let busy = server.port().to_string();
    let busy = format!("http:{busy}");
    for (code, line) in [
        (0, "status"),
        (0, "list --json"),
        (0, "reload"),
        (0, "restart a"),
        (0, "plan"),
        (0, "ctl scale 2"),
        (0, "ctl pause"),
        (0, "ctl resume a"),
        (0, "add b.test"),
        (0, "remove b.test"),
        (0, "ctl events"),
        (0, "ctl history --json"),
        (0, "check right"),
        (0, "fmt right"),
        (0, "fmt right --check --json"),
        (0, "why a.test/ --file right"),
        (0, "schema --json"),
        (0, "version --json"),
        (0, "completions zsh"),
        (0, "man ctl drain"),
        (0, "--version"),
        (1, "restart b"),
        (1, "ctl scale b 2"),
        (1, "ctl drain w99"),
        (1, "remove b.test"),
        (1, "fmt --check messy"),
        (1, "ctl certs renew a.test"),
        (2, ""),
        (2, "nonsense"),
        (2, "ctl"),
        (2, "ctl scale a none"),
        (2, "ctl drain worker"),
        (2, "start builtin:hello w:none"),
        (2, "start builtin:hello --rate-limit-window 5s"),
        (2, "man nonsense"),
        (2, "check --format xml"),
        (69, &*format!("start builtin:hello {busy} --host 127.0.0.1 --name other")),
        (78, "check wrong"),
        (78, "check nowhere"),
        (78, "check wrong --json"),
        (78, "fmt torn"),
        (78, "start --file wrong --name other"),
        (78, "start nowhere.py http:1"),
    ] {
        fs::write(place.join("messy"), "version   1\n").expect("a file");
        let mut command = tools::rip_master();
        command.args(line.split_whitespace()).current_dir(&place);
        command.env("XDG_RUNTIME_DIR", server.path("run"));
        if !line.contains("--name") {
            command.env("RIP_NAME", server.name());
        }
        let output = tools::finish(&mut command);
        let shown = tools::both(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {shown}");
        // What failed says so in one way; a usage error says how to learn more.
        let is_told = err(&output).contains("error: ")
            || code == 0
            || line.contains("--json")
            || line.is_empty()
            || line == "ctl";
        assert!(is_told, "{line}: {shown}");
        if line.contains("--json") {
            serde_json::from_slice::<serde_json::Value>(&output.stdout)
                .unwrap_or_else(|error| panic!("{line}: {error}: {shown}"));
        }
    }
    // As somebody who may write nowhere.
    let program = tools::rip_master().get_program().to_owned();
    let mut nobody = Command::new("setpriv");
    if nix::unistd::geteuid().is_root() {
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let output = tools::finish(nobody.arg(program).args(["man", "--dir", "/not-here"]));
    assert_eq!(output.status.code(), Some(77), "{}", tools::both(&output));
}
