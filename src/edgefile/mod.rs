//! The Edgefile: a KDL document becomes a configuration, or a list of everything that is wrong.
//!
//! Data only: no evaluation, and nothing is looked up but what [`Surroundings`] is asked.

pub mod diagnostic;
mod document;
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
/// normalizes it. All errors are told of at once, the first [`crate::limits::DIAGNOSTIC_COUNT`] by
/// place are kept. The same text and answers of `surroundings` give the same outcome.
pub fn compile(text: &[u8], surroundings: &dyn Surroundings) -> Outcome {
    let text = match document::text(text) {
        Ok(text) => text,
        Err(fault) => {
            return Outcome { diagnostics: refused("", vec![fault]), ..Outcome::default() };
        }
    };
    let nodes = match document::parse(text) {
        Ok(nodes) => nodes,
        Err(faults) => return Outcome { diagnostics: refused(text, faults), ..Outcome::default() },
    };
    let mut report = Report::new(text);
    let file = validate::check(&nodes, &mut report);
    let mut bench = Bench { report: &mut report, machine: surroundings };
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

fn refused(text: &str, faults: Vec<lexer::Fault>) -> Vec<Diagnostic> {
    let mut report = Report::new(text);
    for fault in faults {
        report.fault(fault);
    }
    report.finish()
}
