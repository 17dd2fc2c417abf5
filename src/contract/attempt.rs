//! One try to put another configuration in the place of the active one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An attempt that has ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number, from 1.
    pub id: u64,
    /// What asked for it.
    pub source: AttemptSource,
    /// The version that was active.
    pub old_version: u64,
    /// The version it was to be; active only if it was applied.
    pub new_version: u64,
    /// How it ended.
    pub result: AttemptResult,
    /// Why; `ok` when it was applied.
    pub code: AttemptCode,
    /// In words, for an operator: each thing that is wrong, or what was changed.
    pub details: Vec<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// What asks for another configuration.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptSource {
    /// The control socket.
    Api,
    /// SIGHUP.
    Signal,
    /// The master's own start.
    Start,
    /// The file has changed.
    Watch,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// The new configuration is active.
    Applied,
    /// The active configuration was never touched.
    Rejected,
    /// The new one was active for a moment; the old one is again.
    RolledBack,
}

/// Why an attempt ended as it did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptCode {
    /// An app of the new configuration ended right after it became active.
    AppDied,
    /// An app's fresh workers did not become ready.
    AppNotReady,
    /// A certificate or its key cannot be read, or they do not belong together.
    CertUnreadable,
    /// An entry or directory does not exist.
    EntryMissing,
    /// The file is understood and what it says cannot be.
    Invalid,
    /// An address cannot be listened at.
    ListenFailed,
    /// It was applied.
    Ok,
    /// The file is not a document of its language.
    ParseError,
    /// The process that reads the file died or took too long.
    ParserCrashed,
    /// The server began to stop.
    Stopping,
    /// It took longer than it may.
    Timeout,
    /// No target of an upstream is healthy.
    UpstreamUnhealthy,
}

impl fmt::Display for AttemptCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

impl fmt::Display for AttemptResult {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

impl fmt::Display for AttemptSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}
