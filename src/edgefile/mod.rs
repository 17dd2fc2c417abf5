//! The Edgefile: a KDL document becomes a configuration, or a list of everything that is wrong.
//!
//! Data only: no evaluation, and nothing is looked up but what [`Surroundings`] is asked.
//!
//! ```text
//! bytes ─▶ lexer ─▶ structure ─▶ document ─▶ validate ─▶ normalize ─▶ Config
//!          tokens   whole? deep? KDL's own   schema      defaults, names, the machine
//!                                parser
//! ```
//!
//! Up to the document what is wrong is that it is no document, a [`AttemptCode::ParseError`]; from
//! there on all that is wrong is collected. Nothing here recurses deeper than
//! [`limits::EDGEFILE_DEPTH`], or takes longer than in proportion to the file.
//!
//! [`AttemptCode::ParseError`]: crate::contract::attempt::AttemptCode::ParseError

pub mod diagnostic;
mod document;
pub mod fmt;
pub mod job;
mod kind;
mod lexer;
mod normalize;
pub mod plan;
mod report;
pub mod schema;
mod span;
mod structure;
mod suggest;
pub mod surroundings;
mod validate;

pub use diagnostic::{Diagnostic, Severity};
pub use surroundings::{Resolved, Surroundings, Trouble};

use crate::contract::config::Config;
use crate::ids::AppId;
use crate::limits;
use normalize::Bench;
use report::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of an Edgefile. As JSON it travels from the process that reads the file to the one
/// that uses it, and nowhere else: it holds the apps' secrets.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The configuration; `None` when anything is wrong. The apps' environments are empty in JSON.
    pub config: Option<Config>,
    /// Values of the apps' environments, which no other JSON shows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<AppId, BTreeMap<String, String>>,
    /// Errors and warnings, by their place in the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    /// The configuration with the environments of its apps filled in.
    pub fn take_config(&mut self) -> Option<Config> {
        let mut config = self.config.take()?;
        for app in &mut config.apps {
            app.env = self.secrets.remove(&app.id).unwrap_or_default();
        }
        Some(config)
    }

    /// Something is wrong.
    pub fn is_rejected(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }
}

/// Reads an Edgefile: parses it, checks it against the language and against the machine, and
/// normalizes it. All errors are told of at once, the first [`limits::DIAGNOSTIC_COUNT`] by
/// place are kept. The same text and answers of `surroundings` give the same outcome.
pub fn compile(text: &[u8], surroundings: &dyn Surroundings) -> Outcome {
    let text = match document::text(text) {
        Ok(text) => text,
        Err(fault) => {
            return Outcome { diagnostics: unreadable(text, fault), ..Outcome::default() };
        }
    };
    let nodes = match document::parse(text) {
        Ok(nodes) => nodes,
        Err(faults) => return Outcome { diagnostics: refused(text, faults), ..Outcome::default() },
    };
    let mut report = Report::new(text);
    let file = validate::check(&nodes, &mut report);
    let mut bench = Bench::new(&mut report, surroundings);
    let mut config = normalize::config(&file, &mut bench);
    if report.has_errors() {
        return Outcome { diagnostics: report.finish(), ..Outcome::default() };
    }
    let secrets = config
        .apps
        .iter_mut()
        .map(|app| (app.id.clone(), std::mem::take(&mut app.env)))
        .filter(|(_, env)| !env.is_empty())
        .collect();
    Outcome { config: Some(config), secrets, diagnostics: report.finish() }
}

/// Of bytes that are not the text of an Edgefile.
fn unreadable(bytes: &[u8], fault: lexer::Fault) -> Vec<Diagnostic> {
    let bytes = if bytes.len() > limits::EDGEFILE_BYTES { &[] } else { bytes };
    refused(&String::from_utf8_lossy(bytes), vec![fault])
}

fn refused(text: &str, faults: Vec<lexer::Fault>) -> Vec<Diagnostic> {
    let mut report = Report::new(text);
    let secrets = structure::secrets(text, &lexer::tokens(text).list);
    for mut fault in faults {
        if secrets
            .iter()
            .any(|secret| secret.start <= fault.span.start && fault.span.start < secret.end)
        {
            let word = lexer::shown(fault.span.of(text));
            if word.contains(char::is_alphanumeric) {
                fault.message = fault.message.replace(&word, MASK);
                fault.hint = fault.hint.map(|hint| hint.replace(&word, MASK));
            }
        }
        report.fault(fault);
    }
    secrets.into_iter().for_each(|span| report.hide(span));
    report.finish()
}

/// In the place of a value of `env`.
const MASK: &str = "***";
