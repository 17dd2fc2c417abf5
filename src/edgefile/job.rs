//! What the process that reads an Edgefile is asked, and what it answers: JSON on its standard
//! input, JSON on its standard output.

use super::{Diagnostic, Outcome};
use crate::contract::app::AppDescriptor;
use crate::contract::listen::FreePorts;
use crate::ids::AppId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is to be compiled.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The Edgefile, absolute; `None` where the configuration comes from a command line.
    pub path: Option<String>,
    /// Apps that were added at run time, to be resolved anew.
    pub added: Vec<AddedApp>,
    /// What of the file's listeners gives way to others.
    #[serde(default)]
    pub free: FreePorts,
    /// Processes may be started as other users, or it is found out later whether they may.
    #[serde(default)]
    pub other_users: bool,
}

/// An app named by nothing but its entry.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedApp {
    /// What it shall be called.
    pub id: AppId,
    /// The host it answers.
    pub host: String,
    /// Its entry, as `start` takes it; absolute where it is a path.
    pub entry: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of the Edgefile.
    pub outcome: Option<Outcome>,
    /// Of the added apps, in their order: the app, or why it cannot be launched.
    pub added: Vec<Result<AppDescriptor, String>>,
    /// Environments of the added apps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<AppId, BTreeMap<String, String>>,
}

/// What came of formatting an Edgefile.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Formatted {
    /// The file as it should look; `None` when it is not a document of its language.
    pub text: Option<String>,
    /// Why not.
    pub diagnostics: Vec<Diagnostic>,
}
