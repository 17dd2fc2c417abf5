//! `man`: the manual, a page a verb, drawn from the grammar.

use super::args::{Cli, Manual};
use super::ctl::say;
use super::exit::{Exit, Failure};
use super::suggest::nearest;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{Child, Stdio};

/// Prints a page, or writes all of them. On a terminal man(1) shows it, where there is one; elsewhere it is
/// printed as it is, for man(1) to read.
///
/// # Errors
/// There is no such verb; the directory cannot be written to.
pub fn manual(flags: &Manual) -> Result<Exit, Failure> {
    if let Some(dir) = &flags.dir {
        return write_all(Path::new(dir));
    }
    let pages = pages();
    let wanted = std::iter::once(ROOT).chain(flags.verb.iter().map(String::as_str));
    let wanted = wanted.collect::<Vec<_>>().join("-");
    let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
        return Err(unknown(&flags.verb, &pages));
    };
    if io::stdout().is_terminal() && shown_by_man(page) {
        return Ok(Exit::Done);
    }
    say(page)
}

const ROOT: &str = "rip-master";
/// When what is said here and not in the grammar was last changed.
const DATE: &str = "2026-11-22";

fn unknown(verb: &[String], pages: &[(String, String)]) -> Failure {
    let said = verb.join(" ");
    let known: Vec<String> = pages
        .iter()
        .filter_map(|(name, _)| Some(name.strip_prefix(ROOT)?.strip_prefix('-')?.replace('-', " ")))
        .collect();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let failure = Failure::usage(format!("there is no page of '{said}'"));
    match nearest(&said, &names) {
        Some(meant) => failure.tip(format!("did you mean '{meant}'?")),
        None => failure.tip("rip-master help lists the verbs"),
    }
}

fn write_all(dir: &Path) -> Result<Exit, Failure> {
    let failed = |path: &Path, error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for (name, page) in pages() {
        let path = dir.join(format!("{name}.1"));
        fs::write(&path, page).map_err(|error| failed(&path, error))?;
    }
    Ok(Exit::Done)
}

/// Whether man(1) has shown `page`.
fn shown_by_man(page: &str) -> bool {
    let man = std::process::Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn();
    let read = |mut man: Child| {
        let input = man.stdin.take();
        // A reader who leaves early has seen enough.
        let _ = input.map(|mut input| input.write_all(page.as_bytes()));
        man.wait()
    };
    man.and_then(read).is_ok_and(|status| status.success())
}

/// Every page: its name, `rip-master-ctl-scale`, and its text in roff.
pub fn pages() -> Vec<(String, String)> {
    let mut grammar = Cli::grammar().disable_help_subcommand(true);
    grammar.build();
    let mut pages = Vec::new();
    add(&grammar, ROOT.to_owned(), &mut pages);
    pages
}

fn add(verb: &Command, name: String, pages: &mut Vec<(String, String)>) {
    let shown = || verb.get_subcommands().filter(|below| !below.is_hide_set());
    for below in shown() {
        add(below, format!("{name}-{}", below.get_name()), pages);
    }
    let mut others = match name.strip_suffix(&format!("-{}", verb.get_name())) {
        Some(above) if name != ROOT => vec![above.to_owned()],
        _ => Vec::new(),
    };
    others.extend(shown().map(|below| format!("{name}-{}", below.get_name())));
    others.sort();
    let page = page(verb, &name, &others);
    pages.push((name, page));
}

/// The page of `verb`, which is called `name` and points to the pages of `others`.
fn page(verb: &Command, name: &str, others: &[String]) -> String {
    let man = Man::new(verb.clone())
        .title(name.to_uppercase())
        .date(DATE)
        .source(concat!("rip-master ", env!("CARGO_PKG_VERSION")))
        .manual("rip-master");
    let mut out = Vec::new();
    // Nothing written to memory fails.
    let _ = man.render_title(&mut out);
    let _ = man.render_name_section(&mut out);
    let _ = man.render_synopsis_section(&mut out);
    let _ = man.render_description_section(&mut out);
    if verb.get_arguments().any(|flag| !flag.is_hide_set()) {
        let _ = man.render_options_section(&mut out);
    }
    if verb.has_subcommands() {
        let _ = man.render_subcommands_section(&mut out);
    }
    let mut roff = Roff::default();
    if let Some(text) = verb.get_after_help().filter(|_| name != ROOT) {
        verbatim(&mut roff, "NOTES", &text.to_string());
    }
    list(&mut roff, "ENVIRONMENT", ENVIRONMENT);
    if name == ROOT || verb.get_name() == "start" {
        list(&mut roff, "SIGNALS", SIGNALS);
        list(&mut roff, "FILES", FILES);
    }
    list(&mut roff, "EXIT STATUS", EXITS);
    if !others.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        let mut line = Vec::new();
        for (at, other) in others.iter().enumerate() {
            if at > 0 {
                line.push(roman(", "));
            }
            line.extend([bold(other.as_str()), roman("(1)")]);
        }
        roff.text(line);
    }
    let _ = roff.to_writer(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn verbatim(roff: &mut Roff, heading: &str, text: &str) {
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in text.lines() {
        // An empty line is a request of its own to some readers.
        match line {
            "" => roff.control("sp", []),
            line => roff.text([roman(line)]),
        };
    }
    roff.control("fi", []);
}

fn list(roff: &mut Roff, heading: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
}

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "RIP_FLAG",
        "every flag of start, and --name of every verb, in capitals and with underscores: \
         RIP_MAX_QUEUE is --max-queue. A flag wins over its variable, that over the Edgefile, and \
         that over the default.",
    ),
    ("RIP_LOG", "which diagnostics go to stderr: LEVEL or TARGET=LEVEL."),
    ("NO_COLOR", "if not empty, nothing is coloured."),
];

const SIGNALS: &[(&str, &str)] = &[
    ("TERM, INT, QUIT", "a graceful stop; the second one a fast stop."),
    ("HUP", "reload the Edgefile; without one replace every worker by a fresh one."),
    ("USR1", "open log files again."),
    ("USR2", "hand over to the binary that is on disk now."),
    ("TTIN, TTOU", "one worker more, one worker less."),
];

const FILES: &[(&str, &str)] = &[
    (
        "Edgefile",
        "what is served: see rip-master schema. /etc/rip-master/Edgefile where a package runs it.",
    ),
    (
        "$RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/rip/NAME, /run/rip/NAME, /tmp/rip-UID/NAME",
        "the first of them that applies: pid file, control socket, sockets of workers.",
    ),
    ("$STATE_DIRECTORY, ~/.rip", "certificates, sessions: what outlives the process."),
    ("$CACHE_DIRECTORY, /var/tmp", "bodies that outgrow memory; nothing in it needs keeping."),
];

const EXITS: &[(&str, &str)] = &[
    ("0", "done: what was asked for is true."),
    ("1", "failed, or the answer is no."),
    ("2", "usage: the command line is wrong."),
    ("69", "a port is busy or an address is not there."),
    ("77", "a right is missing."),
    ("78", "what the command line names cannot be started or used."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::tests::each_verb;
    use crate::cli::exit::Exit;

    #[test]
    fn every_verb_has_a_page_with_its_flags() {
        let pages = pages();
        let mut count = 0;
        each_verb(&Cli::grammar(), &mut |path, verb| {
            let name = path.join("-");
            let (_, page) = pages.iter().find(|(found, _)| *found == name).expect(&name);
            count += 1;
            let title = format!(".TH {} 1", name.to_uppercase());
            assert!(page.lines().any(|line| line.starts_with(&title)), "{title}: {page}");
            for flag in verb.get_arguments().filter(|flag| !flag.is_hide_set()) {
                let Some(long) = flag.get_long() else { continue };
                let escaped = long.replace('-', "\\-");
                assert!(page.contains(&format!("\\-\\-{escaped}")), "{name}: --{long}");
            }
        });
        assert_eq!(count, pages.len());
    }

    #[test]
    fn a_page_that_is_not_there_is_a_usage_error_that_says_which_was_meant() {
        let ask = |verb: &[&str]| {
            let verb = verb.iter().map(|word| (*word).to_owned()).collect();
            manual(&Manual { verb, dir: None }).unwrap_err()
        };
        let failure = ask(&["strat"]);
        assert_eq!((failure.exit, &*failure.tips[0]), (Exit::Usage, "did you mean 'start'?"));
        assert_eq!(ask(&["ctl", "scael"]).tips, ["did you mean 'ctl scale'?"]);
        assert_eq!(ask(&["zzzzzz"]).exit, Exit::Usage);
    }
}
