//! The flags about how long each step may take.

use crate::cli::value;
use clap::Args;
use std::time::Duration;

/// How long each step may take.
#[derive(Args, Clone, Debug, Default)]
pub struct DeadlineFlags {
    /// A whole request head must arrive within this [default: 10000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub head_timeout_ms: Option<Duration>,
    /// Longest silence inside a request body [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub body_timeout_ms: Option<Duration>,
    /// An idle keep-alive connection is closed after this [default: 75000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub idle_timeout_ms: Option<Duration>,
    /// A response may stand still for this long [default: 60000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub write_timeout_ms: Option<Duration>,
    /// A request waits this long for a worker; then 504 [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub queue_timeout_ms: Option<Duration>,
    /// Connecting to a worker [default: 2000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub connect_timeout_ms: Option<Duration>,
    /// A worker's answer, then each gap in it; then 504 [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub read_timeout_ms: Option<Duration>,
    /// A worker must be ready within this [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub start_timeout_ms: Option<Duration>,
    /// A leaving worker may finish; then SIGTERM [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub drain_timeout_ms: Option<Duration>,
    /// From SIGTERM to SIGKILL [default: 5000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub kill_timeout_ms: Option<Duration>,
    /// A request that was given up must end; then SIGABRT [default: 30000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub stuck_timeout_ms: Option<Duration>,
}
