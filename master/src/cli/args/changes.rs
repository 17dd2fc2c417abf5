//! The flags about changes of an app's files.

use crate::cli::value;
use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use rip::contract::app::Reload;

/// What a change of the app's files does.
#[derive(Args, Clone, Debug, Default)]
pub struct ChangeFlags {
    /// Replace the workers, or reload inside them [default: process]
    #[arg(long, value_name = "none|process|module", hide_possible_values = true, value_parser = reloads())]
    pub reload: Option<Reload>,
    /// The app's files do not change: nothing is watched
    #[arg(long = "static")]
    pub is_static: bool,
    /// Files that matter; repeatable [default: by the runtime]
    #[arg(long, value_name = "GLOB", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub watch: Vec<String>,
    /// Look for changes where the kernel cannot tell of them
    #[arg(long)]
    pub watch_poll: bool,
    /// Reloads inside a worker before it is replaced [default: 10]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    pub max_reloads: Option<u32>,
    /// Run by the shell before the workers [default: a file setup.*]
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub setup: Option<String>,
}

fn reloads() -> impl TypedValueParser<Value = Reload> {
    PossibleValuesParser::new(["none", "process", "module"]).map(|text| match text.as_str() {
        "none" => Reload::None,
        "process" => Reload::Process,
        _ => Reload::Module,
    })
}
