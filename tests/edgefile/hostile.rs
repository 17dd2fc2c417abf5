//! Input that is made to hurt: every one is answered soon, and none ends the process.

use crate::machine::Machine;
use rip::edgefile::fmt::format;
use rip::edgefile::{Outcome, compile};
use rip::limits;
use std::time::{Duration, Instant};

/// Far above what any of these takes, far below what the caller grants.
const SOON: Duration = Duration::from_secs(20);
/// So much that what is worse than linear takes minutes.
const MUCH: usize = 64 * 1024;

#[track_caller]
fn soon(what: &str, text: &str) -> Outcome {
    let start = Instant::now();
    let outcome = compile(text.as_bytes(), &Machine);
    let _ = format(text.as_bytes());
    let took = start.elapsed();
    assert!(took < SOON, "{what}: {took:?} for {} bytes", text.len());
    assert!(outcome.diagnostics.len() <= limits::DIAGNOSTIC_COUNT, "{what}");
    let written = serde_json::to_string(&outcome).unwrap();
    assert!(written.len() < 4 * limits::EDGEFILE_BYTES, "{what}: {} bytes told", written.len());
    outcome
}

#[test]
fn nests_are_refused_by_their_depth() {
    for unit in ["a {", "a {\n", "/-a {", "a /-{", "a /-{ b } {", "/*", "(", "a (", "\"\"\"\n", "#"]
    {
        for count in [100, MUCH / unit.len()] {
            assert!(soon(unit, &unit.repeat(count)).is_rejected());
        }
    }
    let nest =
        |depth: usize| format!("version 1\n{}{}", "/-a /-{\n".repeat(depth), "}\n".repeat(depth));
    assert!(!told(&soon("nest", &nest(limits::EDGEFILE_DEPTH))).contains("nested"));
    let outcome = soon("nest", &nest(limits::EDGEFILE_DEPTH + 1));
    assert!(told(&outcome).contains("blocks are nested more than 32 deep"));
    assert_eq!(outcome.diagnostics[0].line as usize, limits::EDGEFILE_DEPTH + 2);
    // Braces in texts and comments are none.
    let text = "version 1\n// {{{{\n/* {{{{ */\napp \"{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{{\" \n";
    assert!(!told(&soon("text", text)).contains("nested"));
}

#[test]
fn as_deep_as_allowed_is_read() {
    // The parser tries what is put aside twice at each level; it never gets to see it.
    for (open, close) in [("a {\n", "}\n"), ("a /-{\n", "}\n"), ("/-a {\n", "}\n"), ("a {", "}")] {
        let depth = limits::EDGEFILE_DEPTH;
        let text = format!("{}{}", open.repeat(depth), close.repeat(depth));
        assert!(!told(&soon(open, &text)).contains("nested"));
    }
}

#[test]
fn much_of_anything_is_answered_soon() {
    for unit in [
        "a",
        "1",
        "a,b,c\n",
        "a b c\n",
        "1,2,3\n",
        "a = \n",
        "a = 1 2 }\n",
        ";",
        "}",
        "{",
        "\"",
        "\"\n",
        "\\",
        "\\\n",
        "/",
        "//",
        "/-",
        "/- ",
        "/-\n",
        "/*",
        "*/",
        "=",
        "a=1 ",
        "a 1;",
        "#",
        "#\"",
        "\u{feff}",
        "\u{85}",
        "\0",
        "a \"\"\"\n\"\"\"\n",
        "a #\"x\"#\n",
        "\r",
        "app {\n}\n",
        "http \":1\"\n",
        "edge {\n}\n",
        "(t)a (t)1\n",
        "a \"\\q\"\n",
        "-",
        "-1 ",
        "é",
        "route \"/*\" { to-app \"a\" }\n",
        "version 1\n",
        "site \"a\" { route \"/*\" { to-app \"a\" } }\n",
        "app \"a\" { hosts \"*\" }\n",
        "a \"\"\"\n x\n  \"\"\"\n",
    ] {
        soon(unit, &unit.repeat(MUCH / unit.len()));
    }
    for line in ["site ", "app \"a\" { hosts ", "app \"a\" { env { ", "app \"a\" { env "] {
        for unit in ["\"a.b\" ", "a ", "A=1 ", "A \"1\";"] {
            soon(line, &format!("version 1\n{line}{}", unit.repeat((MUCH - 100) / unit.len())));
        }
        let many: String = (0..10_000).map(|number| format!("\"h{number}.b\" ")).collect();
        soon(line, &format!("version 1\n{line}{many}"));
    }
    assert!(soon("too long", &"a".repeat(limits::EDGEFILE_BYTES + 1)).is_rejected());
}

#[test]
fn many_of_everything_is_read_soon() {
    let mut text = String::from("version 1\n");
    for number in 0..1500 {
        text.push_str(&format!(
            "app \"a{number}\" {{ entry \"a.py\"; hosts \"h{number}.example\" }}\n"
        ));
    }
    for number in 0..1500 {
        text.push_str(&format!(
            "site \"s{number}.example\" {{ route \"/*\" {{ to-app \"a{number}\" }} }}\n"
        ));
    }
    let outcome = soon("apps and sites", &text);
    assert_eq!(outcome.config.unwrap().routes.len(), 3000);

    // Hosts times routes is more than the file shows.
    let hosts: String = (0..10_000).map(|number| format!(" \"h{number}.b\"")).collect();
    let routes: String =
        (0..5000).map(|number| format!("route \"/r{number}\" {{ to-app \"a\" }}\n")).collect();
    let product =
        format!("version 1\napp \"a\" {{ entry \"a.py\" }}\nsite{hosts} {{\n{routes}}}\n");
    assert!(told(&soon("product", &product)).contains("rules"));
}

fn told(outcome: &Outcome) -> String {
    outcome.diagnostics.iter().map(|found| format!("{}\n", found.message)).collect()
}
