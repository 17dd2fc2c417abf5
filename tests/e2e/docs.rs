//! What is written down is so: commands parse, Edgefiles are right, verbs and flags are those there are.

use crate::harness::port::Port;
use crate::harness::{Client, tools, within};
use rip_master::cli::args::{Cli, Unread};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A fenced block of a page.
struct Block {
    language: String,
    text: String,
    /// The page and the line it begins in.
    place: String,
}

/// Every page for operators: the README and what is below docs, decisions excepted.
fn pages() -> Vec<PathBuf> {
    let root = tools::repository();
    let mut pages = vec![root.join("README.md")];
    for place in ["docs", "docs/migrate"] {
        let entries = fs::read_dir(root.join(place)).expect("the documents");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    }
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let mut open: Option<Block> = None;
        for (at, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let language = language.trim().to_owned();
                    let place = format!("{}:{}", page.display(), at + 1);
                    open = Some(Block { language, text: String::new(), place });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{} has a block without an end", page.display());
    }
    blocks
}

/// The command lines of a block that run this program, as a shell would split them.
fn commands(block: &Block) -> Vec<Vec<String>> {
    let joined = block.text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.trim().trim_start_matches("$ ").trim_start_matches("sudo ");
        // What stands far to the right is said of the line.
        let line = line.split("   ").next().unwrap_or_default();
        let words = words(line);
        let is_assignment = |word: &&String| {
            word.split_once('=')
                .is_some_and(|(name, _)| !name.is_empty() && !name.contains(['-', '/']))
        };
        let skipped = words.iter().take_while(is_assignment).count();
        let Some((program, arguments)) = words[skipped..].split_first() else { continue };
        if program == "rip-master" {
            let ends =
                |word: &String| matches!(&**word, "|" | "&&" | ";" | "&" | ">" | "||" | "2>");
            let upto = arguments.iter().position(ends).unwrap_or(arguments.len());
            found.push(arguments[..upto].to_vec());
        }
    }
    found
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (character, quote) {
            (_, Some(end)) if character == end => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(character),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ' | '\t', None) => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_that_is_shown_is_understood() {
    let mut count = 0;
    for block in blocks() {
        if !["", "sh", "console"].contains(&&*block.language) {
            continue;
        }
        for command in commands(&block) {
            count += 1;
            is_understood(&command, &block.place);
        }
    }
    assert!(count > 25, "{count}");
    // And those inside sentences.
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for (at, line) in text.lines().enumerate() {
            for code in line.split('`').skip(1).step_by(2) {
                let Some(arguments) = code.strip_prefix("rip-master ") else { continue };
                count += 1;
                is_understood(&words(arguments), &format!("{}:{}", page.display(), at + 1));
            }
        }
    }
    assert!(count > 60, "{count}");
}

fn is_understood(command: &[String], place: &str) {
    // A grammar is no command: `[PATH]`, `A|B`, `VERB`; nor are programs started by others.
    let is_grammar =
        |word: &String| word.starts_with(['[', '<']) || word.contains(['|', '…']) || word == "VERB";
    let is_hidden = |word: &String| word == "worker-shim" || word == "edgefile-compile";
    if command.iter().any(is_grammar) || command.first().is_some_and(is_hidden) {
        return;
    }
    match Cli::read(command) {
        Err(Unread::Token(failure)) => panic!("{place}: {command:?}: {failure}"),
        Err(Unread::Grammar(error)) => {
            assert!(!error.use_stderr(), "{place}: {command:?}: {error}")
        }
        Ok(_) => {}
    }
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = fs::read_to_string(tools::repository().join("README.md")).expect("the page");
    for page in pages() {
        let name = page.file_name().and_then(|name| name.to_str()).expect("a name");
        let is_below = page.parent().is_some_and(|place| place.ends_with("migrate"));
        let is_linked = readme.contains(&format!("](docs/{name})"));
        assert!(is_linked || is_below || name == "README.md", "{name} is not in the README");
    }
}

/// Every `rip-master start` of the README serves, in a directory where what it names is.
#[test]
fn what_the_readme_starts_serves() {
    let readme = fs::read_to_string(tools::repository().join("README.md")).expect("the page");
    let place = std::env::temp_dir().join(format!("rip-readme-{}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    for (file, text) in [
        ("app.py", BOTH),
        ("shop/wsgi.py", BOTH),
        ("shop/__init__.py", ""),
        ("web/server.js", NODE),
        ("public/index.html", "fine"),
    ] {
        let path = place.join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    for directory in ["cache", "state", "run"] {
        fs::create_dir_all(place.join(directory)).expect("a directory");
    }
    std::os::unix::fs::symlink(tools::repository().join("examples"), place.join("examples"))
        .expect("the examples");
    let mut count = 0;
    for line in readme.lines() {
        let words = words(line.trim_start_matches("$ "));
        // An authority of certificates is not asked from here.
        let is_start = words.len() > 2 && words[0] == "rip-master" && words[1] == "start";
        if is_start && !words.iter().any(|word| word == "--acme") {
            starts_and_serves(&place, &words[2..], line);
            count += 1;
        }
    }
    assert!(count >= 9, "{count}");
    let _ = fs::remove_dir_all(&place);
}

fn starts_and_serves(place: &Path, words: &[String], line: &str) {
    let (plain, secure) = (Port::free(), Port::free());
    let command = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let is_bare = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut arguments: Vec<String> = words[..command].to_vec();
    for word in &mut arguments {
        if word.starts_with("http:") || is_bare(word) {
            *word = format!("http:{}", plain.number);
        }
        if word.starts_with("https:") {
            *word = format!("https:{}", secure.number);
        }
    }
    if !arguments.iter().any(|word| word.starts_with("http:")) {
        arguments.push(format!("http:{}", plain.number));
    }
    let mut start = tools::rip_master();
    start.arg("start").args(arguments).args([
        "--name",
        "readme",
        "--host",
        "127.0.0.1",
        "--no-mdns",
    ]);
    start.args(&words[command..]).current_dir(place).env("PATH", tools::search_path());
    start.env("XDG_RUNTIME_DIR", place.join("run")).env("HOME", place.join("state"));
    start.env("CACHE_DIRECTORY", place.join("cache")).env("CAROOT", place.join("state"));
    let log = fs::File::create(place.join("log")).expect("a log");
    start.stdout(Stdio::null()).stderr(log).stdin(Stdio::null());
    let mut master = start.spawn().expect("the program starts");
    let told = || fs::read_to_string(place.join("log")).unwrap_or_default();
    let serves = within(Duration::from_secs(30), || {
        let mut client = Client::try_connect(plain.number).ok()?;
        client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").ok()?;
        let status = client.try_response("GET").ok()?.status;
        [200, 301, 308].contains(&status).then_some(())
    });
    if serves.is_none() {
        let _ = master.kill();
        panic!("{line}: {}", told());
    }
    let mut stop = tools::rip_master();
    stop.args(["stop", "--name", "readme"]).env("XDG_RUNTIME_DIR", place.join("run"));
    let output = tools::finish(&mut stop);
    assert!(output.status.success(), "{line}: {}{}", tools::both(&output), told());
    assert!(master.wait().expect("its end").success(), "{line}: {}", told());
}

/// An app for servers of both kinds.
const BOTH: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    return [b'fine']

async def app(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'4')]})
    await send({'type': 'http.response.body', 'body': b'fine'})
";

const NODE: &str = "\
require('http').createServer((_, answer) => answer.end('fine')).listen(process.env.PORT, '127.0.0.1')
";

/// What the Edgefiles of documents name beside themselves.
const FILES: &[&str] = &[
    "app.py",
    "wsgi.py",
    "server.js",
    "api/app.py",
    "live/live.py",
    "public/index.html",
    "shop/app.py",
    "shop/static/site.css",
    "shop/wsgi.py",
    "web/server.js",
];

#[test]
fn every_edgefile_that_is_shown_is_right() {
    let place = std::env::temp_dir().join(format!("rip-docs-{}", std::process::id()));
    let mut count = 0;
    for block in blocks() {
        // Those of EDGEFILE.md are parts, and have a test of their own.
        if block.language != "kdl" || block.place.contains("EDGEFILE.md") {
            continue;
        }
        if !block.text.starts_with("version 1") && !block.text.contains("\nversion 1") {
            continue;
        }
        count += 1;
        let _ = fs::remove_dir_all(&place);
        for file in FILES {
            let path = place.join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, "").expect("a file");
        }
        // Directories of the examples that no machine needs to have.
        let text = block.text.replace("/srv/", &format!("{}/", place.display()));
        fs::write(place.join("Edgefile"), text).expect("the file");
        let mut check = tools::rip_master();
        check.args(["check", "--format", "json"]).current_dir(&place);
        check.env("PATH", programs(&place));
        let output = tools::finish(&mut check);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let diagnostics = told["diagnostics"].as_array().expect("diagnostics");
        let is_about_here = |found: &&serde_json::Value| {
            // Ports and users are this machine's affair.
            let message = found["message"].as_str().unwrap_or_default();
            !message.contains("port") && !message.contains("user") && found["severity"] == "error"
        };
        let wrong: Vec<_> = diagnostics.iter().filter(is_about_here).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", block.place);
        let is_laid_out =
            tools::finish(tools::rip_master().args(["fmt", "--check"]).current_dir(&place));
        assert!(is_laid_out.status.success(), "{} is not laid out", block.place);
    }
    let _ = fs::remove_dir_all(&place);
    assert!(count >= 5, "{count}");
}

/// A search path on which every program of the examples is.
fn programs(place: &Path) -> std::ffi::OsString {
    use std::os::unix::fs::symlink;
    let bin = place.join("bin");
    fs::create_dir_all(&bin).expect("a directory");
    for name in ["gunicorn", "uvicorn", "node", "npm", "bundle", "php", "java", "next"] {
        symlink("/bin/true", bin.join(name)).expect("a program");
    }
    let mut path = bin.into_os_string();
    path.push(":/usr/bin:/bin");
    path
}

/// The verbs of the grammar with their flags.
fn verbs() -> BTreeMap<String, BTreeSet<String>> {
    fn below(path: &str, verb: &clap::Command, verbs: &mut BTreeMap<String, BTreeSet<String>>) {
        let shown = |flag: &&clap::Arg| !flag.is_hide_set();
        let flags = verb.get_arguments().filter(shown).filter_map(|flag| flag.get_long());
        verbs.insert(path.to_owned(), flags.map(str::to_owned).collect());
        for verb in verb.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            below(format!("{path} {}", verb.get_name()).trim(), verb, verbs);
        }
    }
    let mut verbs = BTreeMap::new();
    below("", &Cli::grammar(), &mut verbs);
    verbs
}

#[test]
fn the_reference_of_the_command_line_has_every_verb_and_flag_and_no_other() {
    let text = fs::read_to_string(tools::repository().join("docs/CLI.md")).expect("the page");
    let verbs = verbs();
    let known: BTreeSet<&String> = verbs.values().flatten().collect();
    // Flags of the page: `--word`, wherever it stands.
    let mut written = BTreeSet::new();
    for part in text.split("--").skip(1) {
        let name: String = part
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
            .collect();
        if !name.is_empty() && !name.starts_with('-') {
            written.insert(name.trim_end_matches('-').to_owned());
        }
    }
    let missing: Vec<_> = known.iter().filter(|flag| !written.contains(**flag)).collect();
    assert!(missing.is_empty(), "docs/CLI.md does not tell of --{missing:?}");
    let other: Vec<_> = written
        .iter()
        .filter(|flag| !known.contains(flag) && !["help", "version"].contains(&flag.as_str()))
        .collect();
    assert!(other.is_empty(), "docs/CLI.md tells of flags that are not there: {other:?}");
    // Verbs: the table at its beginning has a line for each.
    let table = text.split("## The verbs").nth(1).and_then(|rest| rest.split("\n## ").next());
    let table = table.expect("a section of the verbs");
    let told: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .map(|line| {
            let names = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            line.split(' ').take_while(names).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let there: BTreeSet<String> =
        verbs.keys().filter(|verb| !verb.is_empty() && *verb != "ctl").cloned().collect();
    assert_eq!(told, there);
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') || link.contains(' ') {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = page.parent().expect("its directory").join(path);
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() && path.ends_with(".md") {
                let text = fs::read_to_string(&target).expect("a page");
                let slug = |line: &str| {
                    let title = line.trim_start_matches('#').trim().to_lowercase();
                    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
                    title.chars().filter(kept).collect::<String>().replace(' ', "-")
                };
                let is_there =
                    text.lines().any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(is_there, "{}: {link}", page.display());
            }
        }
    }
}
