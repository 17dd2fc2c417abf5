//! The examples in `bad` and `good`, each with what is expected beside it.

use crate::machine::{Machine, OpenMachine};
use rip::edgefile::diagnostic::{github, json, render};
use rip::edgefile::{Outcome, Severity, compile};
use rip::limits;
use std::path::{Path, PathBuf};

/// The Edgefiles in `tests/edgefile/{folder}`, with their paths.
pub fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edgefile").join(folder);
    let mut found: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kdl"))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Compares `found` with the file at `path`, or writes it there.
pub fn expect(path: &Path, found: &str) -> Option<String> {
    if std::env::var_os("RIP_BLESS").is_some() {
        std::fs::write(path, found).unwrap();
        return None;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    (expected != found)
        .then(|| format!("{}\n-- expected\n{expected}\n-- found\n{found}\n", path.display()))
}

#[test]
fn what_is_wrong_is_told() {
    let files = files("bad");
    assert!(files.len() >= 80);
    let mut differences = Vec::new();
    for (path, text) in files {
        let outcome = compile(&text, &Machine);
        assert!(outcome.is_rejected(), "{} is taken", path.display());
        assert!(outcome.config.is_none() && outcome.secrets.is_empty());
        assert!(outcome.diagnostics.len() <= limits::DIAGNOSTIC_COUNT);
        for found in &outcome.diagnostics {
            let lines = String::from_utf8_lossy(&text).lines().count().max(1);
            assert!((1..=lines).contains(&(found.line as usize)), "{found:?}");
            assert!(found.column >= 1 && found.length >= 1, "{found:?}");
            assert!(!found.message.ends_with('.') && !found.message.contains('\n'), "{found:?}");
            let end = (found.column + found.length - 1) as usize;
            assert!(end <= found.excerpt.chars().count().max(1) + 1, "{found:?}");
        }
        // They are in the order of the file.
        assert!(outcome.diagnostics.is_sorted_by_key(|found| (found.line, found.column)));
        let shown = render(&outcome.diagnostics, "Edgefile", false);
        differences.extend(expect(&path.with_extension("txt"), &shown));
        assert_eq!(
            github(&outcome.diagnostics, "Edgefile").lines().count(),
            outcome.diagnostics.len()
        );
        assert!(json(&outcome.diagnostics, "Edgefile").contains("\"ok\":false"));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn what_is_right_becomes_a_configuration() {
    let mut differences = Vec::new();
    for (path, text) in files("good") {
        let mut outcome = compile(&text, &Machine);
        let shown = render(&outcome.diagnostics, "Edgefile", false);
        assert!(!outcome.is_rejected(), "{}\n{shown}", path.display());
        let written = serde_json::to_string(&outcome).unwrap();
        let back: Outcome = serde_json::from_str(&written).unwrap();
        assert_eq!(back, outcome, "{} does not survive its way", path.display());
        let pretty = serde_json::to_string_pretty(&outcome).unwrap();
        differences.extend(expect(&path.with_extension("json"), &(pretty + "\n")));

        let secrets = outcome.secrets.clone();
        let config = outcome.take_config().unwrap();
        for app in &config.apps {
            assert_eq!(app.env, secrets.get(&app.id).cloned().unwrap_or_default());
        }
        let mut ids: Vec<&str> = config.routes.iter().map(|rule| rule.id.as_str()).collect();
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn no_value_of_an_environment_is_in_what_is_told() {
    let text = b"version 1\napp \"api\" {\n    entry \"app.py\"\n    hosts \"*\"\n    \
                 env A=\"hunter2\" B=hunter2 C#=\"x\"\n    env \"hunter2\"\n    env D=\"hunter2\" D=\"hunter2\"\n    \
                 env { A \"hunter2\"; F hunter2 hunter2; G { x hunter2 y=hunter2 } }\n    evn X=hunter2 { Y \"hunter2\" }\n    env G=\"hunter2\n}\n";
    let text = String::from_utf8(text.to_vec()).unwrap();
    for text in [text.clone(), text.replace(" C#=\"x\"", "").replace("G=\"hunter2\n", "\n")] {
        let outcome = compile(text.as_bytes(), &Machine);
        assert!(outcome.is_rejected());
        let shown = render(&outcome.diagnostics, "Edgefile", false);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!json(&outcome.diagnostics, "Edgefile").contains("hunter2"));
        assert!(!github(&outcome.diagnostics, "Edgefile").contains("hunter2"));
    }
}

#[test]
fn a_file_with_variables_that_others_may_read_is_warned_of() {
    let app = |name: &str, env: &str| {
        format!("app \"{name}\" {{ entry \"a.py\"; hosts \"{name}\"; {env} }}\n")
    };
    let text = format!("version 1\n{}{}", app("a", ""), app("b", "env A=\"hunter2\""));
    assert!(compile(text.as_bytes(), &Machine).diagnostics.is_empty());
    let outcome = compile(format!("{text}{}", app("c", "env A=\"b\"")).as_bytes(), &OpenMachine);
    let [found] = outcome.diagnostics.as_slice() else { panic!("{:?}", outcome.diagnostics) };
    assert_eq!((found.severity, found.line), (Severity::Warning, 3));
    assert_eq!(found.path, "app \"b\" › env");
    assert!(found.message.contains("others may read this file"), "{}", found.message);
    assert!(!found.excerpt.contains("hunter2"), "{}", found.excerpt);
    let text = format!("version 1\n{}", app("a", ""));
    assert!(compile(text.as_bytes(), &OpenMachine).diagnostics.is_empty());
}

#[test]
fn warnings_do_not_push_errors_out() {
    let mut text = String::from("version 1\n");
    for number in 0..150 {
        text.push_str(&format!(
            "app \"a{number}\" {{ entry \"a.py\"; watch \"*.py\"; prefixes \"/{number}\" }}\n"
        ));
    }
    text.push_str("app \"last\" { entry \"missing.py\"; hosts \"*\" }\n");
    let outcome = compile(text.as_bytes(), &Machine);
    assert_eq!(outcome.diagnostics.len(), limits::DIAGNOSTIC_COUNT);
    assert!(outcome.diagnostics.iter().any(|found| found.severity == Severity::Error));
}
