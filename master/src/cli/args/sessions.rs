//! The flags about durable sessions.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// Sessions that outlive the server, whose turns the app runs.
#[derive(Args, Clone, Debug, Default)]
pub struct SessionFlags {
    /// Serve sessions of the app at /v1/session and /v1/ws
    #[arg(long)]
    pub sessions: bool,
    /// Where they are kept [default: ~/.rip/sessions.db]
    #[arg(long, value_name = "PATH|:memory:", value_parser = NonEmptyStringValueParser::new())]
    pub sessions_db: Option<String>,
}
