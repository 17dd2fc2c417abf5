//! What is wrong with an Edgefile, where, and how to mend it.

use crate::contract::attempt::AttemptCode;
use serde::{Deserialize, Serialize};

/// One thing that is wrong, or odd.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// Whether it keeps the file from being used.
    pub severity: Severity,
    /// What kind of wrong it is, for the attempt that fails of it.
    pub code: AttemptCode,
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
    /// How many characters are meant, at least 1, not beyond the line.
    pub length: u32,
    /// The line, as it stands in the file.
    pub excerpt: String,
    /// Which field: `site "example.com" › route "/api/*" › to-app`; empty for the whole file.
    pub path: String,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a diagnostic keeps the file from being used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}
