//! The flags about WebSockets whose app hears of them by HTTP.

use crate::cli::value;
use clap::Args;
use rip::contract::secret::Secret;

/// WebSockets whose app hears of them by HTTP.
#[derive(Args, Clone, Debug, Default)]
pub struct RealtimeFlags {
    /// Where clients open them; no page is there [default: /realtime]
    #[arg(long, value_name = "PATH", value_parser = value::place)]
    pub realtime_path: Option<String>,
    /// What publishers present; seen by nobody in RIP_PUBLISH_SECRET
    #[arg(long, value_name = "SECRET", hide_env_values = true)]
    pub publish_secret: Option<Secret>,
    /// Accepted, and changes nothing: WebSockets are always on
    #[arg(long, hide = true)]
    pub realtime: bool,
}
