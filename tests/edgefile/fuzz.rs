//! Damaged files: no panic, no long wait, and what is told is of the file.

use crate::corpus::files;
use crate::machine::Machine;
use rip::edgefile::diagnostic::render;
use rip::edgefile::fmt::format;
use rip::edgefile::{Outcome, compile};
use rip::entropy::{Entropy, Xoshiro};
use std::time::{Duration, Instant};

struct Dice(Xoshiro);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.0.below(sides as u64)).unwrap()
    }
}

/// What is put in: pieces of the language, and what breaks languages.
const PIECES: &[&str] = &[
    "{",
    "}",
    "\"",
    "\"\"\"",
    "#\"",
    "\"#",
    "/*",
    "*/",
    "//",
    "/-",
    "\\",
    "\n",
    "\r\n",
    ";",
    "=",
    "(",
    ")",
    " ",
    "\t",
    "\0",
    "\u{feff}",
    "\u{2028}",
    "\u{202e}",
    "é",
    "#true",
    "#null",
    "true",
    "1",
    "-1",
    "1.5",
    "99999999999999999999",
    "*",
    "/*",
    "/../",
    "%",
    "app \"a\" {",
    "site \"a.b\" {",
    "route \"/*\" {",
    "to-app \"api\"",
    "redirect \"/{path}\"",
    "hosts \"*\"",
    "env A=\"b\"",
    "workers 4",
    "edge {",
    "http \":80\"",
    "version 1",
    "headers { response { set A=\"b\" } }",
    "\\u{110000}",
    "\"1h\"",
];

fn damage(text: &mut Vec<u8>, dice: &mut Dice, corpus: &[Vec<u8>]) {
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(text.len() + 1);
        match dice.roll(8) {
            0 if at < text.len() => text[at] = u8::try_from(dice.roll(256)).unwrap(),
            1 if at < text.len() => {
                text.remove(at);
            }
            2 => {
                let end = (at + dice.roll(40)).min(text.len());
                text.drain(at..end);
            }
            3 => {
                let end = (at + dice.roll(60)).min(text.len());
                let piece = text[at..end].to_vec();
                let to = dice.roll(text.len() + 1);
                text.splice(to..to, piece);
            }
            4 => {
                let other = &corpus[dice.roll(corpus.len())];
                let from = dice.roll(other.len() + 1);
                let end = (from + dice.roll(120)).min(other.len());
                text.splice(at..at, other[from..end].iter().copied());
            }
            _ => {
                let piece = PIECES[dice.roll(PIECES.len())];
                text.splice(at..at, piece.bytes());
            }
        }
    }
}

fn check(text: &[u8]) -> Outcome {
    let outcome = compile(text, &Machine);
    assert_eq!(outcome.is_rejected(), outcome.config.is_none());
    let lines = u32::try_from(text.split(|byte| *byte == b'\n').count()).unwrap();
    for found in &outcome.diagnostics {
        assert!(found.line >= 1 && found.line <= lines && found.column >= 1 && found.length >= 1);
        assert!(
            found.message != "this document is understood in two ways",
            "tokens and parser disagree"
        );
    }
    let _ = render(&outcome.diagnostics, "Edgefile", true);
    if let Ok(once) = format(text) {
        assert_eq!(format(once.as_bytes()).as_deref(), Ok(&*once), "not idempotent");
        let again = compile(once.as_bytes(), &Machine);
        assert_eq!(again.secrets, outcome.secrets);
        assert_eq!(again.diagnostics.len(), outcome.diagnostics.len());
    }
    outcome
}

/// `RIP_SEED` and `RIP_ROUNDS` say where to begin and how long.
#[test]
fn damaged_files_are_answered() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
    };
    let (seed, rounds) = (number("RIP_SEED", 1), number("RIP_ROUNDS", 4000));
    let corpus: Vec<Vec<u8>> =
        files("good").into_iter().chain(files("bad")).map(|(_, text)| text).collect();
    let corpus: Vec<Vec<u8>> = corpus.into_iter().filter(|text| text.len() < 8192).collect();
    let mut taken = 0;
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let seed = seed + round;
        let mut dice = Dice(Xoshiro::new(seed));
        let mut text = corpus[dice.roll(corpus.len())].clone();
        damage(&mut text, &mut dice, &corpus);
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(|| check(&text));
        let Ok(outcome) = outcome else {
            panic!("RIP_SEED={seed} RIP_ROUNDS=1:\n{}", String::from_utf8_lossy(&text));
        };
        taken += usize::from(outcome.config.is_some());
        slowest = slowest.max(start.elapsed());
        assert!(slowest < Duration::from_secs(5), "RIP_SEED={seed}: {slowest:?}");
    }
    // Damage that is always refused would test nothing behind the parser.
    assert!(taken > 0 || rounds < 1000, "{taken}");
}
