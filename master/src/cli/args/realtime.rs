//! The flags about WebSocket clients.

use crate::cli::value;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// WebSocket clients of an app that speaks HTTP, and who may publish to them.
#[derive(Args, Clone, Debug, Default)]
pub struct RealtimeFlags {
    /// Hold WebSocket clients for the app, as is done anyway
    #[arg(long)]
    pub realtime: bool,
    /// Where they connect, and nothing else is served [default: upgrades at /realtime]
    #[arg(long, value_name = "PATH", value_parser = value::place)]
    pub realtime_path: Option<String>,
    /// What POST /publish has to know; without it only this machine may
    #[arg(long, value_name = "SECRET", hide_env_values = true, value_parser = NonEmptyStringValueParser::new())]
    pub publish_secret: Option<String>,
}
