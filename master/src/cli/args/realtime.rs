//! The flags about WebSockets whose app hears of them by HTTP.

use crate::cli::value;
use clap::Args;
use rip::contract::secret::Secret;

/// WebSockets whose app hears of them by HTTP.
#[derive(Args, Clone, Debug, Default)]
pub struct RealtimeFlags {
    /// Where clients open them; then no page of the app has that path [default: /realtime]
    #[arg(long, value_name = "PATH", value_parser = value::place)]
    pub realtime_path: Option<String>,
    /// What publishers present; everybody on this machine sees it here, nobody in RIP_PUBLISH_SECRET
    #[arg(long, value_name = "SECRET", hide_env_values = true)]
    pub publish_secret: Option<Secret>,
    /// Accepted, and changes nothing: WebSockets are always on
    #[arg(long, hide = true)]
    pub realtime: bool,
}
