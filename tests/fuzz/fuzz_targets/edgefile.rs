//! Any bytes as an Edgefile: no panic, tokens and parser agree, laying out is idempotent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rip::edgefile::compile;
use rip::edgefile::diagnostic::render;
use rip::edgefile::fmt::format;

#[path = "../../edgefile/machine.rs"]
mod machine;

fuzz_target!(|text: &[u8]| {
    let outcome = compile(text, &machine::Machine);
    assert_eq!(outcome.is_rejected(), outcome.config.is_none());
    for found in &outcome.diagnostics {
        assert!(found.line >= 1 && found.column >= 1 && found.length >= 1);
        assert_ne!(found.message, "this document is understood in two ways");
    }
    let _ = render(&outcome.diagnostics, "Edgefile", true);
    let written = serde_json::to_string(&outcome).expect("an outcome is JSON");
    let back: rip::edgefile::Outcome = serde_json::from_str(&written).expect("it is read back");
    assert_eq!(back, outcome);
    if let Ok(once) = format(text) {
        assert_eq!(format(once.as_bytes()).as_deref(), Ok(once.as_str()));
    }
});
