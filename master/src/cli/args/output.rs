//! The flags about what is told.

use clap::Args;

/// What is told.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputFlags {
    /// Access lines, events and worker output as JSON
    #[arg(long)]
    pub json_logging: bool,
    /// No line per request
    #[arg(long)]
    pub no_access_log: bool,
    /// Tell only of trouble
    #[arg(long)]
    pub quiet: bool,
    /// Diagnostics in detail; RIP_LOG=TARGET=LEVEL selects them
    #[arg(long)]
    pub debug: bool,
}
