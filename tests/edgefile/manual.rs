//! `docs/EDGEFILE.md` says what the schema says, and its examples are right.

use crate::machine::Machine;
use rip::edgefile::diagnostic::render;
use rip::edgefile::fmt::format;
use rip::edgefile::{compile, schema};
use std::path::Path;

#[test]
fn the_reference_is_that_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/EDGEFILE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let expected = format!("\n\n{}\n", schema::reference().trim_end());
    if std::env::var_os("RIP_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, expected, "RIP_BLESS=1 writes it anew");
    }
}

#[test]
fn every_example_is_right_and_laid_out() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/EDGEFILE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for example in text.split("```kdl\n").skip(1) {
        let example = example.split("```").next().unwrap();
        assert_eq!(format(example.as_bytes()).unwrap(), example, "not laid out");
        let whole = match example.starts_with("version") {
            true => example.to_owned(),
            false => format!("version 1\n{example}"),
        };
        let outcome = compile(whole.as_bytes(), &Machine);
        let shown = render(&outcome.diagnostics, "Edgefile", false);
        assert!(!outcome.is_rejected(), "{example}\n{shown}");
        count += 1;
    }
    assert!(count >= 4, "{count}");
}

const BEGIN: &str = "<!-- generated from the schema: begin -->";
const END: &str = "<!-- generated from the schema: end -->";
