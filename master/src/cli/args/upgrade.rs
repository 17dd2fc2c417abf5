//! How a running master is replaced by another one.

use super::Order;
use crate::cli::value;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::time::Duration;

/// The order that another process of the program takes the place of the one that runs.
#[derive(Args, Clone, Debug, Default)]
pub struct Upgrade {
    /// The program to start; by default the one that is now where this one was started from
    #[arg(long, value_name = "PATH", value_parser = NonEmptyStringValueParser::new())]
    pub binary: Option<String>,
    /// How long it may take to become ready [default: the longest start timeout and 30 s]
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds)]
    pub within: Option<Duration>,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}
