//! The Edgefile: a KDL document becomes a configuration, or a list of everything that is wrong.
//!
//! Data only: no evaluation, and nothing is looked up but what [`Surroundings`] is asked.

pub mod diagnostic;
pub mod job;
pub mod plan;
pub mod surroundings;

pub use diagnostic::{Diagnostic, Severity};
pub use surroundings::{Resolved, Surroundings, Trouble};

use crate::contract::config::Config;
use crate::ids::AppId;
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
