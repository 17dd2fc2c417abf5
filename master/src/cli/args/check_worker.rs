//! The question whether a server keeps the contract of a worker.

use super::app::{listens, runtimes};
use crate::cli::value;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use rip::contract::app::{Listen, Runtime};
use std::time::Duration;

/// The question whether a server keeps the contract of a worker.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "rip-master check-worker [ENTRY|PROGRAM ARGS…] [FLAGS]\n       \
                      rip-master check-worker [DIRECTORY] [FLAGS] -- ARGV…",
    after_help = AFTER_CHECK_WORKER
)]
pub struct CheckWorker {
    /// What start would be given, or a program and its arguments [default: .]
    #[arg(value_name = "ENTRY", num_args = 0.., value_parser = NonEmptyStringValueParser::new())]
    pub words: Vec<String>,
    /// The server as a command, where its arguments begin with a dash
    #[arg(value_name = "ARGV", last = true, num_args = 0..)]
    pub command: Option<Vec<String>>,
    /// What a command listens on [default: fd]
    #[arg(long, value_name = "fd|path|port", hide_possible_values = true, value_parser = listens())]
    pub listen: Option<Listen>,
    /// What runs an entry, where that is not to follow from it
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = runtimes())]
    pub runtime: Option<Runtime>,
    /// The path that is asked for
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = value::path)]
    pub path: String,
    /// A path that answers a POST with its body: then bodies are compared
    #[arg(long, value_name = "PATH", value_parser = value::path)]
    pub echo: Option<String>,
    /// For being ready, and for each answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = value::seconds)]
    pub timeout: Duration,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

const AFTER_CHECK_WORKER: &str = "\
The server is started as `start` would start one worker of it, is asked what it must be able to
answer, is treated as clients treat servers, and is stopped. What is asked is in WORKERS.md.

Examples:
  rip-master check-worker app.py
  rip-master check-worker python3 server.py
  rip-master check-worker --listen port -- node server.js --quiet";
