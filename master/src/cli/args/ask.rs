//! How a running master is asked, and how it is given orders.

use crate::cli::value;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use rip::ids::WorkerId;
use std::time::Duration;

/// A question to a running master.
#[derive(Args, Clone, Debug, Default)]
pub struct Ask {
    /// Print the answer of the control socket as it is
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = value::seconds)]
    pub timeout: Duration,
}

/// The order to stop.
#[derive(Args, Clone, Debug, Default)]
pub struct Stop {
    /// Cut what is in flight instead of finishing it
    #[arg(long)]
    pub now: bool,
    /// Return when its process is gone [the default]
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return when it has begun to stop
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// Print the answer of the control socket as it is
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = value::seconds)]
    pub timeout: Duration,
}

/// How an order is given.
#[derive(Args, Clone, Debug, Default)]
pub struct Order {
    /// Print the answer of the control socket as it is
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Return when it is done [the default]
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return when it has begun
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// Wait no longer than so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = value::seconds)]
    pub timeout: Duration,
}

/// An order that concerns one app.
#[derive(Args, Clone, Debug, Default)]
pub struct OnApp {
    /// Which app; by default the only one
    #[arg(value_name = "APP", value_parser = NonEmptyStringValueParser::new())]
    pub app: Option<String>,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The order to run so many workers.
#[derive(Args, Clone, Debug, Default)]
#[command(override_usage = "rip-master ctl scale [APP] N [OPTIONS]")]
pub struct Scale {
    /// The number of workers, behind the app where there are several
    #[arg(value_name = "N", num_args = 1..=2, required = true)]
    pub words: Vec<String>,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The order to drain a worker.
#[derive(Args, Clone, Debug)]
pub struct Drain {
    /// The worker, as `list` shows it: w3
    #[arg(value_name = "WORKER", value_parser = value::worker_id)]
    pub worker: WorkerId,
    /// How it is given.
    #[command(flatten)]
    pub order: Order,
}

/// The question what happens.
#[derive(Args, Clone, Debug, Default)]
pub struct Events {
    /// Go on with what happens from now on, until the master stops
    #[arg(long)]
    pub follow: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Which master; by default the only one that runs
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give up, or follow no longer, after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds)]
    pub timeout: Option<Duration>,
}
