//! What the grammar promises as a whole.

use super::*;
use std::path::Path;

/// Every verb of the grammar with its path: `["rip-master", "ctl", "scale"]`.
pub fn each_verb(grammar: &Command, see: &mut dyn FnMut(&[String], &Command)) {
    fn below(path: &mut Vec<String>, verb: &Command, see: &mut dyn FnMut(&[String], &Command)) {
        path.push(verb.get_name().to_owned());
        see(path, verb);
        verb.get_subcommands().for_each(|verb| below(path, verb, see));
        path.pop();
    }
    below(&mut Vec::new(), grammar, see);
}

/// Help is part of the product: a change of it shows up as a change of these files.
/// `RIP_BLESS=1 cargo test` writes them anew.
#[test]
fn help_reads_as_agreed() {
    for (line, golden) in [
        ("--help", "help.txt"),
        ("start --help", "start.txt"),
        ("stop --help", "stop.txt"),
        ("ctl --help", "ctl.txt"),
        ("list --help", "list.txt"),
        ("restart --help", "restart.txt"),
        ("ctl scale --help", "scale.txt"),
        ("ctl drain --help", "drain.txt"),
        ("ctl certs --help", "certs.txt"),
        ("ctl events --help", "events.txt"),
        ("add --help", "add.txt"),
        ("check --help", "check.txt"),
        ("check-worker --help", "check_worker.txt"),
        ("fmt --help", "fmt.txt"),
        ("plan --help", "plan.txt"),
        ("why --help", "why.txt"),
    ] {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let text = match Cli::read(&arguments) {
            Err(Unread::Grammar(help)) => help.to_string(),
            other => panic!("{line}: {other:?}"),
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/golden").join(golden);
        if std::env::var_os("RIP_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{line}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{line} is too wide");
    }
}

#[test]
fn every_flag_of_start_has_its_variable() {
    let grammar = Cli::grammar();
    let start = grammar.find_subcommand("start").unwrap();
    for flag in start.get_arguments().filter(|flag| flag.get_long() != Some("help")) {
        let Some(long) = flag.get_long() else { continue };
        let variable = format!("RIP_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(flag.get_env().unwrap(), variable.as_str());
    }
    grammar.debug_assert();
}

#[test]
fn every_verb_hears_of_the_name_in_the_environment() {
    fn check(verb: &Command) {
        for flag in verb.get_arguments().filter(|flag| flag.get_long() == Some("name")) {
            assert_eq!(flag.get_env().unwrap(), "RIP_NAME", "{}", verb.get_name());
        }
        verb.get_subcommands().for_each(check);
    }
    check(&Cli::grammar());
}
