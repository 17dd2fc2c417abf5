//! The flags about what runs and how many.

use crate::cli::value::{self, Workers};
use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use rip::contract::app::{Listen, Ready, Runtime, Select};

/// What runs and how many.
#[derive(Args, Clone, Debug, Default)]
pub struct AppFlags {
    /// Worker processes [default: auto]
    #[arg(long, value_name = "N|auto|half", value_parser = value::workers)]
    pub workers: Option<Workers>,
    /// Requests one worker may have in flight [default: 1]
    #[arg(long, value_name = "N", value_parser = value::concurrency)]
    pub concurrency: Option<u32>,
    /// How a worker is chosen [default: lifo when c:1]
    #[arg(long, value_name = "lifo|least-inflight", hide_possible_values = true, value_parser = selects())]
    pub select: Option<Select>,
    /// What runs the entry, see below [default: by its name]
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = runtimes())]
    pub runtime: Option<Runtime>,
    /// What a command after -- listens on, see below [default: fd]
    #[arg(long, value_name = "fd|path|port", hide_possible_values = true, value_parser = listens())]
    pub listen: Option<Listen>,
    /// Ready by an HTTP answer or by a connect [default: http]
    #[arg(long, value_name = "http|listen", hide_possible_values = true, value_parser = readies())]
    pub ready: Option<Ready>,
    /// Asked for readiness; if given, 2xx only [default: /ready]
    #[arg(long, value_name = "PATH", value_parser = value::path)]
    pub health_path: Option<String>,
    /// Environment of the app, or a file of such lines; repeatable
    #[arg(long, value_name = "KEY=VALUE|FILE", value_parser = NonEmptyStringValueParser::new())]
    pub env: Vec<String>,
    /// This master's name for other verbs [default: the app's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

fn selects() -> impl TypedValueParser<Value = Select> {
    PossibleValuesParser::new(["lifo", "least-inflight"]).map(|text| match text.as_str() {
        "lifo" => Select::Lifo,
        _ => Select::LeastInflight,
    })
}

pub(super) fn runtimes() -> impl TypedValueParser<Value = Runtime> {
    // The parser knows no others.
    PossibleValuesParser::new(Runtime::ALL.map(Runtime::name))
        .map(|text| Runtime::named(&text).unwrap_or(Runtime::Command))
}

pub(super) fn listens() -> impl TypedValueParser<Value = Listen> {
    PossibleValuesParser::new(["fd", "path", "port"]).map(|text| match text.as_str() {
        "fd" => Listen::Fd,
        "path" => Listen::Path,
        _ => Listen::Port,
    })
}

fn readies() -> impl TypedValueParser<Value = Ready> {
    PossibleValuesParser::new(["http", "listen"]).map(|text| match text.as_str() {
        "http" => Ready::Http,
        _ => Ready::Listen,
    })
}
