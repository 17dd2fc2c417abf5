//! The flags about crashed workers and about those whose place fresh ones take.

use crate::cli::value;
use clap::Args;
use rip::contract::app::{Recycle, Surge};
use std::time::Duration;

/// What happens after crashes.
#[derive(Args, Clone, Debug, Default)]
pub struct RestartFlags {
    /// Crashes within the window before a worker is given up [default: 10]
    #[arg(long, value_name = "N", value_parser = value::count)]
    pub max_restarts: Option<u32>,
    /// First pause before a restart; doubles up to 30 s [default: 1000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub restart_backoff_ms: Option<Duration>,
    /// The window in which crashes are counted [default: 60000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub restart_window_ms: Option<Duration>,
}

/// When and how fresh workers take the place of others.
#[derive(Args, Clone, Debug, Default)]
pub struct ReplacingFlags {
    /// Replaced after so much; the token r:, see below [default: never]
    #[arg(long, value_name = "N[,Ss][,Rr]", value_parser = value::recycle)]
    pub recycle: Option<Recycle>,
    /// A worker that holds more memory is replaced [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = value::memory)]
    pub max_rss: Option<u64>,
    /// Fresh workers started at once while all are replaced [default: 1]
    #[arg(long, value_name = "N|P%", value_parser = value::surge)]
    pub surge: Option<Surge>,
    /// A running worker's health is asked this often [default: 5000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub health_interval_ms: Option<Duration>,
    /// It must answer within this [default: 2000]
    #[arg(long, value_name = "MS", value_parser = value::millis)]
    pub health_timeout_ms: Option<Duration>,
    /// Failures in a row before it is replaced [default: 3]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub unhealthy_threshold: Option<u32>,
}
